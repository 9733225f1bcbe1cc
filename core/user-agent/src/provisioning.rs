//! Settings from a provider, per account: links that a person follows, and newer settings that the registrar tells of.

use std::time::Duration;

use wakeline_secret::Secret;
use wakeline_settings::provisioning::{
    Agreement, Grant, Link, News, ProvisionError, Provisioning, SETTINGS_FIELD, Told,
};
use wakeline_settings::{Settings, Source};
use wakeline_sip_message::Message;

use crate::agent::UserAgent;
use crate::event::{Event, ProvisioningStep};
use crate::line::{Line, wall_at};
use crate::output::{Output, ProvisionFact};
use crate::provisions::memory_key;
use crate::snapshot::AccountId;

/// Letters of the key that this phone makes for a provider: 160 bits.
const DEVICE_KEY: usize = 32;
/// After a failure, newer settings are asked for again at the next occasion that is at least so much later, then twice.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// The longest such wait.
const LAST_WAIT: Duration = Duration::from_secs(3600);

impl UserAgent {
    /// The settings of an account that are in force, a provider's included.
    pub fn settings(&self, account: AccountId) -> Option<&Settings> {
        self.line(account).map(|line| &line.identity().settings)
    }

    /// A person follows a link.
    pub(crate) fn provision(&mut self, account: AccountId, link: &str) {
        let key = Secret::new(self.entropy.token(DEVICE_KEY));
        if !self.provisions.accounts.contains_key(&account) {
            return self.no_such_account(account);
        }
        match Link::parse(link, None) {
            Ok(link) => self.begin_run(account, Provisioning::open(link, key)),
            Err(error) => self.provision_failed(account, &error),
        }
    }

    /// The person has answered.
    pub(crate) fn consent(&mut self, account: AccountId, agreed: bool) {
        let Some((_, machine)) = self.provisions.accounts.get_mut(&account).and_then(|one| one.run.as_mut())
        else {
            return self.complain(Some(account), None, "nobody asked for consent", "follow a link first");
        };
        machine.handle_agreement(if agreed { Agreement::Given } else { Agreement::Refused });
        self.pump_provision(account);
    }

    /// The I/O has done what was wished.
    pub(crate) fn provision_fact(&mut self, run: u64, fact: ProvisionFact) {
        let wall = wall_at(self.wall_origin, self.now);
        // Of a run that another one has replaced nothing is wanted.
        let Some((account, machine)) = self.provisions.of_run(run) else { return };
        match fact {
            ProvisionFact::Answered(answer) => machine.handle_answer(answer),
            ProvisionFact::Checked(verdict) => machine.handle_verdict(wall, verdict),
        }
        self.pump_provision(account);
    }

    /// A 200 to REGISTER: does it tell of newer settings, or that ours were withdrawn? A hint: the provider is asked.
    pub(crate) fn settings_news(&mut self, account: AccountId, response: &Message) {
        let Some(field) = response.header_by_name(SETTINGS_FIELD) else { return };
        let Some(grant) = self.provisions.accounts.get(&account).and_then(|one| one.grant.as_ref()) else {
            return;
        };
        let is_news = match News::of(field, grant.id()) {
            Some(News::Serial(serial)) => serial > grant.serial(),
            Some(News::Revoked) => true,
            None => false,
        };
        if is_news {
            self.renew(account);
        }
    }

    /// Asks for newer settings, unless that was done a moment ago or a person is being asked.
    pub(crate) fn renew(&mut self, account: AccountId) {
        let now = self.now;
        let Some(provision) = self.provisions.accounts.get_mut(&account) else { return };
        let waits = provision.patience.is_some_and(|(until, _)| now < until);
        if waits || provision.run.is_some() {
            return;
        }
        if let Some(grant) = provision.grant.clone() {
            let wait = provision.patience.map_or(FIRST_WAIT, |(_, wait)| (wait * 2).min(LAST_WAIT));
            provision.patience = Some((now + wait, wait));
            self.begin_run(account, Provisioning::renew(grant));
        }
    }

    fn begin_run(&mut self, account: AccountId, machine: Provisioning) {
        self.provisions.next_run += 1;
        let run = self.provisions.next_run;
        if let Some(provision) = self.provisions.accounts.get_mut(&account) {
            provision.run = Some((run, machine));
        }
        self.pump_provision(account);
    }

    fn pump_provision(&mut self, account: AccountId) {
        while let Some((run, machine)) =
            self.provisions.accounts.get_mut(&account).and_then(|one| one.run.as_mut())
        {
            if let Some(wish) = machine.poll_wish() {
                let run = *run;
                self.put(Output::Provision { account, run, wish });
            } else if let Some(told) = machine.poll_told() {
                self.provision_told(account, told);
            } else {
                break;
            }
        }
    }

    fn provision_told(&mut self, account: AccountId, told: Told) {
        if let Told::Ask(consent) = told {
            return self.provision_step(account, ProvisioningStep::ConsentWanted(consent));
        }
        if let Some(provision) = self.provisions.accounts.get_mut(&account) {
            provision.run = None;
        }
        match told {
            Told::Granted(grant) => self.use_grant(account, Some(*grant)),
            Told::Withdrawn => self.use_grant(account, None),
            Told::Failed(error) => self.provision_failed(account, &error),
            Told::Same | Told::Ask(_) => {}
        }
    }

    /// Puts a provider's settings in force, or takes them out.
    fn use_grant(&mut self, account: AccountId, grant: Option<Grant>) {
        let Some(provision) = self.provisions.accounts.get(&account) else { return };
        let mut settings = provision.local.clone();
        if let Some(grant) = &grant {
            grant.apply(&mut settings);
        }
        // What was assigned while the phone runs stays the strongest (B-039).
        let current = self.line(account).map(|line| line.identity().settings.clone()).unwrap_or_default();
        for (name, _, value) in current.iter().filter(|(_, source, _)| *source == Source::Assigned) {
            settings.set(name, value.expose(), Source::Assigned);
        }
        settings.take_diagnoses();
        if let Err(error) = self.configure(account, settings) {
            let (cause, cure) = (error.to_string(), "nothing was changed; tell the provider".to_owned());
            return self.provision_step(account, ProvisioningStep::Failed { cause, cure });
        }
        let record = grant.as_ref().map(Grant::record).unwrap_or_default();
        self.put(Output::Remember { key: memory_key(account), record });
        self.put(Output::Configure(account));
        let Some(provision) = self.provisions.accounts.get_mut(&account) else { return };
        let former = core::mem::replace(&mut provision.grant, grant);
        provision.patience = None;
        let step = match (&provision.grant, former) {
            (Some(grant), _) => ProvisioningStep::Done { provider: grant.provider(), serial: grant.serial() },
            (None, Some(former)) => ProvisioningStep::Withdrawn { provider: former.provider() },
            (None, None) => return,
        };
        self.provision_step(account, step);
    }

    fn provision_failed(&mut self, account: AccountId, error: &ProvisionError) {
        let (cause, cure) = (error.to_string(), error.cure().to_owned());
        self.provision_step(account, ProvisioningStep::Failed { cause, cure });
    }

    fn provision_step(&mut self, account: AccountId, step: ProvisioningStep) {
        self.tell(Event::Provisioning { account, step });
    }

    /// The registrar refuses our credentials: a provider may have changed them before it could tell.
    pub(crate) fn credentials_refused(&mut self, account: AccountId) {
        if self.line(account).map(Line::is_registered) == Some(false) {
            self.renew(account);
        }
    }
}
