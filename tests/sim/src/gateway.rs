//! The gateway in the simulation: the registrar, and a store that survives its restarts.

use std::collections::BTreeMap;

use wakeline_clock::{Time, WallTime};
use wakeline_push::WakeId;
use wakeline_registrar::{
    Account, BindingId, Config, Credential, Leg, Loaded, Persist, PushServices, Registrar, StoredBinding,
    StoredMail, StoredWake, Trace, TrustedPeer,
};
use wakeline_secret::Secret;

/// The gateway.
pub(crate) struct Gateway {
    pub(crate) registrar: Registrar,
    /// How often it was started: what was under way for a former life means nothing to this one.
    pub(crate) lives: u32,
    pub(crate) traces: Vec<Trace>,
    config: Config,
    bindings: BTreeMap<BindingId, StoredBinding>,
    wakes: BTreeMap<WakeId, StoredWake>,
    mail: BTreeMap<String, StoredMail>,
    users: Vec<String>,
}

impl Gateway {
    pub(crate) fn new(
        config: Config,
        users: &[String],
        seed: [u8; 32],
        now: Time,
        wall: WallTime,
    ) -> Gateway {
        let mut gateway = Gateway {
            registrar: Registrar::new(config.clone(), Loaded::default(), seed, now, wall),
            lives: 1,
            traces: Vec::new(),
            config,
            bindings: BTreeMap::new(),
            wakes: BTreeMap::new(),
            mail: BTreeMap::new(),
            users: users.to_vec(),
        };
        for account in gateway.accounts() {
            gateway.registrar.put_account(now, account);
        }
        gateway
    }

    fn accounts(&self) -> Vec<Account> {
        let credential = || Credential::Password(Secret::from("secret"));
        let account = |user: &String| Account {
            user: user.clone(),
            domain: "sim.example".into(),
            credential: credential(),
            upstream: None,
            voicemail: None,
        };
        self.users.iter().map(account).collect()
    }

    /// Takes note of what is to survive.
    pub(crate) fn persist(&mut self, change: Persist) {
        match change {
            Persist::BindingPut(binding) => drop(self.bindings.insert(binding.id, binding)),
            Persist::BindingRemoved(id) => drop(self.bindings.remove(&id)),
            Persist::WakePut(wake) => drop(self.wakes.insert(wake.wake, wake)),
            Persist::WakeSpent { .. } => {}
            Persist::WakeForgotten(wake) => drop(self.wakes.remove(&wake)),
            Persist::MailPut(mail) => drop(self.mail.insert(mail.name.clone(), mail)),
            Persist::MailRemoved(name) => drop(self.mail.remove(&name)),
        }
    }

    /// The process is killed and comes back with what the store holds.
    pub(crate) fn restart(&mut self, seed: [u8; 32], now: Time, wall: WallTime) {
        let nonces = self.registrar.export_nonces();
        let loaded = Loaded {
            bindings: self.bindings.values().cloned().collect(),
            wakes: self.wakes.values().cloned().collect(),
            mail: self.mail.values().cloned().collect(),
            accounts: self.accounts(),
        };
        self.registrar = Registrar::new(self.config.clone(), loaded, seed, now, wall);
        self.registrar.import_nonces(nonces);
        self.lives += 1;
    }

    /// How often this leg was reached.
    pub(crate) fn count(&self, wanted: impl Fn(&Leg) -> bool) -> usize {
        self.traces.iter().filter(|trace| wanted(&trace.leg)).count()
    }
}

/// The gateway of the scenarios. The network of scripted peers is a trunk: it needs no password.
pub fn gateway_config() -> Config {
    let mut config = Config::new("sim.example", Secret::from("the secret of the simulated gateway"));
    config.domains.push("192.0.2.1".into());
    config.push = PushServices { fcm: true, apns: true, pnsreg: 3600, ..PushServices::default() };
    config.trusted = vec![TrustedPeer { network: [203, 0, 113, 0].into(), prefix: 24 }];
    config
}
