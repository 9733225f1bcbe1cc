//! What the loop is asked from outside: by the handle, the administrator's view and provisioning.

use std::time::Duration;

use tokio::sync::oneshot;
use wakeline_clock::{Time, WallTime};
use wakeline_flow::FlowInfo;
use wakeline_push::WakeId;
use wakeline_registrar::{Account, AorView, BindingView};

use super::Server;
use crate::cluster::{Condition, Heard, NodeReport};
use crate::stats::Stats;
use crate::store::{Change, Keeper, Table, record};
use crate::wakes::Wake;

/// What a [`crate::Handle`] asks for.
pub(crate) enum Command {
    Stats(oneshot::Sender<Stats>),
    Bindings {
        user: String,
        domain: String,
        reply: oneshot::Sender<Vec<BindingView>>,
    },
    /// The newest wakes.
    Wakes {
        most: usize,
        reply: oneshot::Sender<Vec<Wake>>,
    },
    Wake {
        wake: WakeId,
        reply: oneshot::Sender<Option<Wake>>,
    },
    /// A page of addresses of record.
    Aors {
        from: u32,
        most: usize,
        reply: oneshot::Sender<Vec<AorView>>,
    },
    Aor {
        user: String,
        domain: String,
        reply: oneshot::Sender<Option<AorView>>,
    },
    PutAccount(Account),
    RemoveAccount {
        user: String,
        domain: String,
    },
    /// What the 200s to this account's REGISTERs say of its settings.
    SettingsNews {
        user: String,
        domain: String,
        news: Option<String>,
    },
    ReloadCertificate,
    /// What other nodes have told.
    Heard(Heard),
    /// Take on nothing new; tell when nothing is in progress, or when it took too long.
    Drain {
        limit: Duration,
        done: oneshot::Sender<bool>,
    },
    /// Take on nothing new, or do again; tells how this node is then.
    SetDraining {
        on: bool,
        reply: oneshot::Sender<NodeReport>,
    },
    /// Every node that lives, this one first.
    Nodes(oneshot::Sender<Vec<NodeReport>>),
    Shutdown,
}

/// A drain that somebody waits for.
pub(super) struct Draining {
    pub(super) until: Time,
    pub(super) done: oneshot::Sender<bool>,
}

impl Server {
    /// Does what is asked.
    pub(super) fn obey(&mut self, now: Time, wall: WallTime, command: Command) {
        match command {
            Command::Stats(reply) => drop(reply.send(self.stats(now))),
            Command::Bindings { user, domain, reply } => {
                drop(reply.send(self.registrar.bindings_of(now, &user, &domain)));
            }
            Command::Wakes { most, reply } => drop(reply.send(self.state.wakes.recent(most))),
            Command::Wake { wake, reply } => drop(reply.send(self.state.wakes.get(&wake))),
            Command::Aors { from, most, reply } => drop(reply.send(self.registrar.aors(now, from, most))),
            Command::Aor { user, domain, reply } => {
                drop(reply.send(self.registrar.aor(now, &user, &domain)));
            }
            Command::PutAccount(account) => {
                // A password that is kept for an upstream lies nowhere in clear: such an account stands in the file, sealed.
                if let Some(keeper) = self.keeper.as_ref().filter(|_| account.upstream.is_none()) {
                    keeper.put(Table::Accounts, Change::Put(record::account_row(&account)));
                }
                self.registrar.put_account(now, account);
            }
            Command::RemoveAccount { user, domain } => {
                if let Some(keeper) = &self.keeper {
                    keeper.put(Table::Accounts, Change::Remove(record::account_key(&user, &domain)));
                }
                self.registrar.remove_account(now, wall, &user, &domain);
            }
            Command::SettingsNews { user, domain, news } => {
                self.registrar.set_settings_news(&user, &domain, news);
            }
            Command::Heard(heard) => self.hear_nodes(now, wall, heard),
            Command::ReloadCertificate => self.certificates.reload(),
            Command::Drain { limit, done } => {
                self.registrar.drain();
                self.state.draining = Some(Draining { until: now + limit, done });
                self.state.duties = now;
                self.look_after(now, wall);
            }
            Command::SetDraining { on, reply } => {
                if on {
                    self.registrar.drain()
                } else {
                    self.registrar.resume()
                }
                self.say_alive(now, wall);
                drop(reply.send(self.own_report(now)));
            }
            Command::Nodes(reply) => {
                let others = self.state.others.iter().map(|(name, (beat, heard))| {
                    beat.report(name, now.since(*heard), self.registrar.is_linked(name))
                });
                drop(reply.send(std::iter::once(self.own_report(now)).chain(others).collect()));
            }
            Command::Shutdown => {}
        }
    }

    /// This node as it sees itself.
    fn own_report(&self, now: Time) -> NodeReport {
        let report = self.beat.as_ref().map(|(name, beat)| beat.report(name, Duration::ZERO, true));
        let alone = || NodeReport {
            name: String::new(),
            address: String::new(),
            own: true,
            linked: false,
            heard_ms: 0,
            condition: Condition::default(),
        };
        NodeReport { own: true, condition: self.condition(now), ..report.unwrap_or_else(alone) }
    }

    /// What other nodes have told: the machine knows what to do with it, and accounts are put or taken away.
    fn hear_nodes(&mut self, now: Time, wall: WallTime, heard: Heard) {
        match heard {
            Heard::Beat(name, beat) => drop(self.state.others.insert(name, (beat, now))),
            Heard::Nodes(nodes) => {
                self.state.others.retain(|name, _| nodes.iter().any(|node| node.name == *name));
                self.peers = nodes.iter().flat_map(|node| node.sources.iter().copied()).collect();
                let of_nodes = self.state.streams.values().map(|stream| stream.flow);
                let of_nodes: Vec<FlowInfo> =
                    of_nodes.filter(|flow| self.peers.contains(&flow.remote.ip().to_canonical())).collect();
                of_nodes.iter().for_each(|flow| self.strangers.leave(flow.id));
                self.registrar.handle_nodes(now, wall, &nodes);
            }
            Heard::Changes(changes) => {
                for (table, change) in changes {
                    match (table, &change) {
                        (Table::Accounts, Change::Put(row)) => {
                            if let Ok(account) = serde_json::from_slice(&row.value) {
                                self.registrar.put_account(now, account);
                            }
                        }
                        (Table::Accounts, Change::Remove(key)) => {
                            let name = String::from_utf8_lossy(key).into_owned();
                            if let Some((user, domain)) = name.rsplit_once('@') {
                                self.registrar.remove_account(now, wall, user, domain);
                            }
                        }
                        (table, change) => {
                            if let Some(persist) = record::persisted(table, change) {
                                self.registrar.handle_elsewhere(now, wall, persist);
                            }
                        }
                    }
                }
            }
            Heard::All(mut loaded) => {
                for account in std::mem::take(&mut loaded.accounts) {
                    self.registrar.put_account(now, account);
                }
                self.registrar.handle_all_elsewhere(now, wall, *loaded);
            }
        }
    }

    fn stats(&self, now: Time) -> Stats {
        Stats {
            up_ms: u64::try_from(now.since(self.state.started).as_millis()).unwrap_or(u64::MAX),
            gauges: self.registrar.gauges(),
            nodes: self.registrar.nodes().0,
            linked_nodes: self.registrar.nodes().1,
            streams: self.state.streams.len(),
            unregistered_streams: self.strangers.len(),
            refused_senders: self.knocks.len(),
            pushes_on_their_way: self.pushes.on_their_way(),
            udp_dropped: self.udp.iter().map(|port| port.dropped).sum(),
            store_waiting: self.keeper.as_ref().map_or(0, Keeper::waiting),
            store_trouble: self.keeper.as_ref().and_then(|keeper| keeper.health().trouble()),
            canaries: self.canaries.all(),
            counters: self.state.counters,
            wake: self.state.wake,
            ring: self.state.ring,
        }
    }
}
