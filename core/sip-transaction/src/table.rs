//! The table of all transactions: matching, timers, flows and queues around the four machines.

mod arrivals;
mod client;
mod reply;
mod server;

use std::collections::{BTreeSet, HashMap, VecDeque};

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Transmit};
use wakeline_sip_message::Message;

use crate::config::Config;
use crate::event::{Event, Gauges};
use crate::input::{ClientInput, ServerInput};
use crate::key::{ClientKey, Key, ServerKey, Slots};
use crate::matching::{MatchKey, Matcher};
use crate::step::{Step, Terms};
use crate::timer::{Running, Timers};
use client::Client;
use server::Server;

/// Characters of a branch behind the cookie: 100 bits.
const BRANCH: usize = 20;

/// Every client and server transaction of one engine or gateway.
pub struct Transactions {
    config: Config,
    entropy: Entropy,
    matcher: Matcher,
    clients: Slots<Client>,
    servers: Slots<Server>,
    by_response: HashMap<MatchKey, ClientKey>,
    by_request: HashMap<MatchKey, ServerKey>,
    by_merge: HashMap<MatchKey, ServerKey>,
    by_flow: BTreeSet<(FlowId, Key)>,
    timers: Timers,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

/// Whom a transaction's events concern.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    User,
    /// A CANCEL's, or one that was refused here.
    Table,
}

impl Transactions {
    /// An empty table. Branches and tags are drawn from `entropy`.
    pub fn new(config: Config, mut entropy: Entropy) -> Transactions {
        let matcher = Matcher::new(&mut entropy);
        Transactions {
            config,
            entropy,
            matcher,
            clients: Slots::default(),
            servers: Slots::default(),
            by_response: HashMap::new(),
            by_request: HashMap::new(),
            by_merge: HashMap::new(),
            by_flow: BTreeSet::new(),
            timers: Timers::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Forgets a transaction without a word on the wire or an event. What still comes for it is a stray.
    pub fn abandon(&mut self, key: Key) {
        match key {
            Key::Client(key) => drop(self.remove_client(key)),
            Key::Server(key) => drop(self.remove_server(key)),
        }
    }

    /// Takes a message that came in on a flow.
    pub fn handle_received(&mut self, now: Time, flow: &FlowInfo, message: Message) {
        if message.is_request() {
            self.handle_request(now, flow, message);
        } else {
            self.handle_response(now, flow, message);
        }
    }

    /// A flow broke, or was closed: nothing more comes or goes on it.
    pub fn handle_flow_failed(&mut self, now: Time, flow: FlowId) {
        for key in self.on_flow(flow) {
            match key {
                Key::Client(key) => self.step_client(now, key, ClientInput::TransportFailed, None),
                Key::Server(key) => self.lose_reply(flow, key),
            }
        }
    }

    /// Lets every timer fire that is due.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((owner, timer)) = self.timers.first_due(now) {
            let late = match owner {
                Key::Client(key) => match self.clients.get_mut(key.0) {
                    Some(client) => {
                        self.timers.stop(owner, &mut client.running, timer);
                        is_over(&client.running, now)
                    }
                    None => true,
                },
                Key::Server(key) => match self.servers.get_mut(key.0) {
                    Some(server) => {
                        self.timers.stop(owner, &mut server.running, timer);
                        is_over(&server.running, now)
                    }
                    None => true,
                },
            };
            // After a long sleep the end of a state is due as well: nothing is repeated for it (class S26).
            if late && timer.repeats() {
                continue;
            }
            match owner {
                Key::Client(key) => self.step_client(now, key, ClientInput::Timer(timer), None),
                Key::Server(key) => self.step_server(now, key, ServerInput::Timer(timer), None),
            }
        }
    }

    /// When [`Transactions::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The next bytes to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// How much the table holds.
    pub fn gauges(&self) -> Gauges {
        Gauges { client: self.clients.len(), server: self.servers.len(), timers: self.timers.len() }
    }

    /// Whether every request that went out has its final answer: client transactions that are left wait for copies only.
    pub fn is_answered(&self) -> bool {
        self.clients.values().all(|client| client.machine.is_answered())
    }

    /// Whether any transaction needs this flow.
    pub fn is_flow_used(&self, flow: FlowId) -> bool {
        let first = (flow, Key::Client(ClientKey(0)));
        let last = (flow, Key::Server(ServerKey(u64::MAX)));
        self.by_flow.range(first..=last).next().is_some()
    }

    fn terms(&self, flow: &FlowInfo) -> Terms {
        Terms { intervals: self.config.intervals, reliable: flow.transport.is_reliable() }
    }
}

/// Whether a timer that ends the state is due.
fn is_over(running: &Running, now: Time) -> bool {
    running.iter().any(|(timer, at)| !timer.repeats() && *at <= now)
}

fn lifted<S, M>(step: Step<S>, lift: impl FnOnce(S) -> M) -> Step<M> {
    Step { next: step.next.map(lift), actions: step.actions }
}
