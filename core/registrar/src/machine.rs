//! The machine as its surroundings see it: what it is told, and what it says.

use std::collections::VecDeque;

use wakeline_clock::{Time, WallTime};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Received};
use wakeline_sip_message::Message;

use crate::account::{Account, Accounts};
use crate::binding::BindingId;
use crate::bindings::Bindings;
use crate::config::Config;
use crate::deadline::Deadlines;
use crate::flow::Flows;
use crate::keyed::Keyed;
use crate::outcome::Outcomes;
use crate::output::{Gauges, Loaded, Output, PushKey, PushResult};
use crate::quota::{Guard, Quota};
use crate::seal::Seal;

/// The gateway's machine. Tell it what happened, then drain [`Registrar::poll_output`], then wait until
/// [`Registrar::poll_timeout`].
pub struct Registrar {
    pub(crate) config: Config,
    pub(crate) entropy: Entropy,
    pub(crate) seal: Seal,
    pub(crate) accounts: Accounts,
    pub(crate) bindings: Bindings,
    pub(crate) flows: Flows,
    pub(crate) outcomes: Outcomes,
    pub(crate) deadlines: Deadlines,
    pub(crate) wakes_per_aor: Quota,
    pub(crate) wakes_per_caller: Quota,
    pub(crate) guard: Guard,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) wall: WallTime,
}

/// A binding as an administrator may see it: no token, no Contact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BindingView {
    /// Its number.
    pub id: BindingId,
    /// Seconds until it lapses.
    pub expires_in: u32,
    /// Its living connection.
    pub flow: Option<FlowId>,
    /// Whether it can be woken by push.
    pub wakeable: bool,
}

impl Registrar {
    /// A machine with what the store held. `seed`: 32 bytes from the operating system, or from a scenario.
    pub fn new(config: Config, loaded: Loaded, seed: [u8; 32], now: Time, wall: WallTime) -> Registrar {
        let mut entropy = Entropy::from_seed(seed);
        let keyed = Keyed::draw(&mut entropy);
        let limits = &config.limits;
        let mut machine = Registrar {
            seal: Seal::new(config.secret.expose(), &mut entropy),
            accounts: Accounts::new(&config.domains, keyed),
            bindings: Bindings::new(limits.bindings, keyed),
            flows: Flows::new(config.timers.proven, limits.flows, keyed),
            outcomes: Outcomes::new(config.timers.memory, limits.outcomes),
            deadlines: Deadlines::default(),
            wakes_per_aor: Quota::new(limits.wakes_per_aor, limits.quota_names, keyed),
            wakes_per_caller: Quota::new(limits.wakes_per_caller, limits.quota_names, keyed),
            guard: Guard::new(limits.quota_names, keyed),
            outputs: VecDeque::new(),
            entropy,
            config,
            wall,
        };
        for account in loaded.accounts {
            machine.put_account(now, account);
        }
        machine
    }

    /// A datagram, a WebSocket frame or a message cut out of a stream came in. Keep-alives go to
    /// [`Registrar::handle_flow_alive`] instead.
    pub fn handle_received(&mut self, now: Time, wall: WallTime, received: Received) {
        match Message::parse(received.bytes) {
            Ok(message) => self.handle_message(now, wall, received.flow, message),
            Err(_) => {}
        }
    }

    /// The same for a message that is already read.
    pub fn handle_message(&mut self, now: Time, wall: WallTime, flow: FlowInfo, message: Message) {
        self.wall = wall;
        let _ = (now, flow, message);
    }

    /// A connection was accepted, or a datagram came from a new address. Optional: a message on an unknown flow
    /// opens it too.
    pub fn handle_flow_opened(&mut self, now: Time, flow: FlowInfo) {
        self.flows.heard(now, flow);
    }

    /// A keep-alive (CRLF, WebSocket ping or pong, STUN) came in: the flow is proven (some phones answer a push with
    /// nothing but that).
    pub fn handle_flow_alive(&mut self, now: Time, flow: FlowId) {
        self.flows.pinged(now, flow);
    }

    /// A connection is gone, or a datagram address is no longer kept.
    pub fn handle_flow_closed(&mut self, now: Time, wall: WallTime, flow: FlowId) {
        self.wall = wall;
        let _ = (now, self.flows.closed(flow));
    }

    /// The last word of a push service on one request.
    pub fn handle_push_result(&mut self, now: Time, wall: WallTime, key: PushKey, result: PushResult) {
        self.wall = wall;
        let _ = (now, key, result);
    }

    /// Timers that are due.
    pub fn handle_timeout(&mut self, now: Time, wall: WallTime) {
        self.wall = wall;
        let _ = now;
    }

    /// Adds an account, or replaces the credential of one.
    pub fn put_account(&mut self, now: Time, account: Account) {
        let _ = now;
        self.accounts.put(account);
    }

    /// Takes an account and its bindings away; held requests end with 480.
    pub fn remove_account(&mut self, now: Time, wall: WallTime, user: &str, domain: &str) {
        self.wall = wall;
        let _ = now;
        if let Some(id) = self.accounts.find(user, domain) {
            self.accounts.remove(id);
        }
    }

    /// Before a planned restart: no request is held any more (503 with Retry-After instead); calls in progress go on.
    /// The gateway may end when [`Registrar::is_drained`].
    pub fn drain(&mut self) {}

    /// Whether nothing is in progress.
    pub fn is_drained(&self) -> bool {
        self.gauges().contexts == 0
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Registrar::handle_timeout`] is to be called; `None` if nothing is awaited.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// How many of everything there are.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            accounts: self.accounts.len(),
            bindings: self.bindings.len(),
            flows: self.flows.len(),
            outcomes: self.outcomes.len(),
            timers: self.deadlines.len(),
            quota_names: self.wakes_per_aor.len() + self.wakes_per_caller.len() + self.guard.len(),
            ..Gauges::default()
        }
    }

    /// The bindings of one address of record.
    pub fn bindings_of(&self, now: Time, user: &str, domain: &str) -> Vec<BindingView> {
        let entry = self.accounts.find(user, domain).and_then(|id| self.accounts.get(id));
        let ids = entry.into_iter().flat_map(|entry| entry.bindings.iter());
        ids.filter_map(|id| self.bindings.get(*id))
            .map(|binding| BindingView {
                id: binding.id,
                expires_in: binding.seconds_left(now),
                flow: binding.flow,
                wakeable: binding.wakeable.by_push(),
            })
            .collect()
    }
}
