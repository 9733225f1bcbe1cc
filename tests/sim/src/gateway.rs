//! The gateway in the simulation: the registrar, and a store that survives its restarts.

use std::collections::BTreeMap;

use wakeline_clock::{Time, WallTime};
use wakeline_flow::Transport;
use wakeline_push::WakeId;
use wakeline_registrar::{
    Account, BindingId, Config, Credential, Leg, Loaded, NextHop, NodeName, NodeView, Persist, PushServices,
    Registrar, StoredBinding, StoredMail, StoredWake, Trace, TrustedPeer,
};
use wakeline_secret::Secret;
use wakeline_sip_auth::NonceUse;

/// What the store holds; of several nodes it is one.
#[derive(Default)]
pub(crate) struct Kept {
    bindings: BTreeMap<BindingId, StoredBinding>,
    wakes: BTreeMap<WakeId, StoredWake>,
    mail: BTreeMap<String, StoredMail>,
    nonces: Vec<NonceUse>,
}

/// Whether a process runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    Up,
    Down,
}

/// One node of the gateway; mostly the only one.
pub(crate) struct Gateway {
    pub(crate) registrar: Registrar,
    /// Another number with each start, and no other node's: what was under way for a former life means nothing to this one.
    pub(crate) lives: u32,
    pub(crate) standing: Standing,
    pub(crate) traces: Vec<Trace>,
    config: Config,
    users: Vec<String>,
}

impl Gateway {
    pub(crate) fn new(
        mut config: Config,
        users: &[String],
        seed: [u8; 32],
        now: Time,
        wall: WallTime,
        node: Option<usize>,
    ) -> Gateway {
        let lives = node.map_or(1, |node| 1 + 1_000_000 * u32::try_from(node).unwrap_or(0));
        config.node = node.map(|node| NodeName { name: format!("node-{node}"), mark: lives.to_string() });
        let mut gateway = Gateway {
            registrar: Registrar::new(config.clone(), Loaded::default(), seed, now, wall),
            lives,
            standing: Standing::Up,
            traces: Vec::new(),
            config,
            users: users.to_vec(),
        };
        for account in gateway.accounts() {
            gateway.registrar.put_account(now, account);
        }
        gateway
    }

    /// What this node says of itself; the port of its address is its number.
    pub(crate) fn view(&self, number: usize) -> Option<NodeView> {
        let NodeName { name, mark } = self.config.node.clone()?;
        let port = u16::try_from(number).unwrap_or(0);
        let address = NextHop { transport: Transport::Tcp, host: "10.99.0.1".into(), port };
        Some(NodeView { name, mark, address, sources: vec![[10, 99, 0, 2].into()] })
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

    /// The process is killed and comes back with what the store holds.
    pub(crate) fn restart(&mut self, kept: &Kept, seed: [u8; 32], now: Time, wall: WallTime) {
        let nonces = self.registrar.export_nonces();
        let loaded = Loaded {
            bindings: kept.bindings.values().cloned().collect(),
            wakes: kept.wakes.values().cloned().collect(),
            mail: kept.mail.values().cloned().collect(),
            accounts: self.accounts(),
            nonces: kept.nonces.clone(),
        };
        self.lives += 1;
        self.standing = Standing::Up;
        if let Some(node) = &mut self.config.node {
            node.mark = self.lives.to_string();
        }
        self.registrar = Registrar::new(self.config.clone(), loaded, seed, now, wall);
        if self.config.node.is_none() {
            self.registrar.import_nonces(nonces);
        }
    }

    /// How often this leg was reached.
    pub(crate) fn count(&self, wanted: impl Fn(&Leg) -> bool) -> usize {
        self.traces.iter().filter(|trace| wanted(&trace.leg)).count()
    }
}

impl Kept {
    /// Takes note of what is to survive.
    pub(crate) fn persist(&mut self, change: Persist) {
        match change {
            Persist::BindingPut(binding) => drop(self.bindings.insert(binding.id, binding)),
            Persist::BindingRemoved(id) => drop(self.bindings.remove(&id)),
            Persist::WakePut(wake) => drop(self.wakes.insert(wake.wake, wake)),
            Persist::WakeSpent { .. } => {}
            Persist::NonceUsed { used, .. } => self.nonces.push(used),
            Persist::WakeForgotten(wake) => drop(self.wakes.remove(&wake)),
            Persist::MailPut(mail) => drop(self.mail.insert(mail.name.clone(), mail)),
            Persist::MailRemoved(name) => drop(self.mail.remove(&name)),
        }
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
