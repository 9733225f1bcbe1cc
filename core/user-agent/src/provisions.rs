//! What is known of providers, per account: the grant in force, and what is under way.

use std::collections::BTreeMap;
use std::time::Duration;

use wakeline_clock::Time;
use wakeline_secret::Secret;
use wakeline_settings::Settings;
use wakeline_settings::provisioning::{Grant, Provisioning};

use crate::snapshot::AccountId;

/// One account's share.
#[derive(Debug, Default)]
pub(crate) struct Provision {
    /// The settings without any provider's.
    pub(crate) local: Settings,
    /// What a provider granted.
    pub(crate) grant: Option<Grant>,
    /// What is under way, by its number.
    pub(crate) run: Option<(u64, Provisioning)>,
    /// Before this nobody is asked unless the person wants it, and how long the next wait is.
    pub(crate) patience: Option<(Time, Duration)>,
}

/// The provisioning of every account.
#[derive(Debug, Default)]
pub(crate) struct Provisions {
    pub(crate) accounts: BTreeMap<AccountId, Provision>,
    pub(crate) next_run: u64,
}

/// Under this key an account's grant is remembered.
pub(crate) fn memory_key(account: AccountId) -> String {
    format!("provision-{}", account.0)
}

impl Provisions {
    /// Takes an account in; gives its settings with those of its provider, when there was one in an earlier life.
    pub(crate) fn begin(
        &mut self,
        account: AccountId,
        local: Settings,
        memory: &BTreeMap<String, Secret>,
    ) -> Settings {
        let grant = memory.get(&memory_key(account)).and_then(Grant::read);
        let mut settings = local.clone();
        if let Some(grant) = &grant {
            grant.apply(&mut settings);
        }
        self.accounts.insert(account, Provision { local, grant, ..Provision::default() });
        settings
    }

    /// The machine of a run, unless another one has replaced it.
    pub(crate) fn of_run(&mut self, run: u64) -> Option<(AccountId, &mut Provisioning)> {
        self.accounts.iter_mut().find_map(|(account, provision)| match &mut provision.run {
            Some((id, machine)) if *id == run => Some((*account, machine)),
            Some(_) | None => None,
        })
    }
}
