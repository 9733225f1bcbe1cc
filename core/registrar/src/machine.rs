//! The machine as its surroundings see it: what it is told, and what it says.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use wakeline_clock::{Time, WallTime, earliest};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Received};
use wakeline_push::WakeId;
use wakeline_sip_auth::{Authenticator, ReplayMemory};
use wakeline_sip_message::{Message, Method, Name, Refusal};
use wakeline_sip_transaction::{ClientKey, Config as TransactionConfig, Event, ServerKey, Transactions};

use crate::account::{Account, Accounts};
use crate::bindings::Bindings;
use crate::cluster::Cluster;
use crate::config::Config;
use crate::context::{Context, Lost, Step};
use crate::copies::Answers;
use crate::deadline::{Deadlines, Due};
use crate::events::Events;
use crate::flow::Flows;
use crate::guard::Guard;
use crate::keyed::Keyed;
use crate::mail::Mails;
use crate::number::{AorId, BindingId, ContextId, PushKey};
use crate::outcome::Outcomes;
use crate::output::{Gauges, Loaded, Output, PushResult};
use crate::quota::Quota;
use crate::seal::Seal;
use crate::trace::{Leg, Trace};
use crate::uplink::Upstreams;

/// Whether requests are held at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// As always.
    Serving,
    /// A restart is planned: nothing new is held.
    Draining,
}

/// What a push was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PushFor {
    /// A branch of a request.
    Branch(ContextId, u8),
    /// A binding about to lapse.
    Refresh(BindingId),
    /// Mail that waits for a binding's device.
    Mail(BindingId),
}

/// How often the quota tables are looked through.
const QUOTA_SWEEP: Duration = Duration::from_secs(60);

/// The gateway's machine. Tell it what happened, then drain [`Registrar::poll_output`], then wait until
/// [`Registrar::poll_timeout`].
pub struct Registrar {
    pub(crate) config: Config,
    pub(crate) mode: Mode,
    pub(crate) entropy: Entropy,
    pub(crate) keyed: Keyed,
    pub(crate) seal: Seal,
    pub(crate) authenticator: Authenticator,
    pub(crate) transactions: Transactions,
    pub(crate) accounts: Accounts,
    pub(crate) bindings: Bindings,
    pub(crate) flows: Flows,
    pub(crate) contexts: BTreeMap<ContextId, Box<Context>>,
    /// Those that wait for devices of an address of record, see [`Context::is_waiting`].
    pub(crate) by_aor: BTreeMap<AorId, SmallVec<[ContextId; 2]>>,
    pub(crate) by_server: BTreeMap<ServerKey, ContextId>,
    pub(crate) by_client: BTreeMap<ClientKey, (ContextId, u8)>,
    pub(crate) pushes: BTreeMap<PushKey, PushFor>,
    pub(crate) last_context: u64,
    pub(crate) last_push: u64,
    pub(crate) outcomes: Outcomes,
    pub(crate) outcomes_armed: Time,
    pub(crate) answers: Answers,
    pub(crate) deadlines: Deadlines,
    quotas_armed: Time,
    pub(crate) wakes_per_aor: Quota,
    pub(crate) wakes_per_caller: Quota,
    pub(crate) mail_per_aor: Quota,
    pub(crate) mail_per_caller: Quota,
    pub(crate) mails: Mails,
    pub(crate) events: Events,
    pub(crate) guard: Guard,
    pub(crate) upstreams: Upstreams,
    pub(crate) cluster: Cluster,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) wall: WallTime,
    /// By address of record, what the 200s to its REGISTERs say of its settings.
    pub(crate) settings_news: BTreeMap<String, String>,
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
        let drawn = Keyed::draw(&mut entropy);
        let secret = config.secret.expose();
        let (keyed, seal, cluster) = match &config.node {
            Some(node) => (
                Keyed::of(secret),
                Seal::of_node(secret, &node.name, &node.mark, &mut entropy),
                Cluster::new(node.name.clone()),
            ),
            None => (drawn, Seal::new(secret, &mut entropy), Cluster::default()),
        };
        let limits = &config.limits;
        let mut nonce_key = [0; 32];
        nonce_key.copy_from_slice(
            &Sha256::new().chain_update(b"nonce").chain_update(config.secret.expose()).finalize(),
        );
        let mut transactions = TransactionConfig::server();
        // Whoever is refused gets no 100 before it; whoever is let in gets it from us, at once.
        transactions.trying = Some(Duration::from_millis(200));
        transactions.max_clients = limits.transactions;
        transactions.max_servers = limits.transactions;
        let mut machine = Registrar {
            mode: Mode::Serving,
            seal,
            cluster,
            authenticator: Authenticator::new(
                config.realm.clone(),
                &config.algorithms,
                nonce_key,
                config.nonce_lifetime,
                limits.nonces,
                wall,
            ),
            transactions: Transactions::new(transactions, entropy.fork()),
            accounts: Accounts::new(&config.domains, keyed),
            bindings: Bindings::new(keyed),
            flows: Flows::new(config.timers.proven, limits.flows, keyed),
            contexts: BTreeMap::new(),
            by_aor: BTreeMap::new(),
            by_server: BTreeMap::new(),
            by_client: BTreeMap::new(),
            pushes: BTreeMap::new(),
            last_context: 0,
            last_push: 0,
            outcomes: Outcomes::new(config.timers.memory, limits.outcomes),
            outcomes_armed: Time::NEVER,
            answers: Answers::new(limits.answers, keyed),
            deadlines: Deadlines::default(),
            quotas_armed: Time::NEVER,
            wakes_per_aor: Quota::new(limits.wakes_per_aor, limits.quota_names, keyed),
            wakes_per_caller: Quota::new(limits.wakes_per_caller, limits.quota_names, keyed),
            mail_per_aor: Quota::new(limits.wakes_per_aor, limits.quota_names, keyed),
            mail_per_caller: Quota::new(limits.wakes_per_caller, limits.quota_names, keyed),
            mails: Mails::new(keyed),
            events: Events::default(),
            guard: Guard::new(limits.quota_names, limits.wrong_passwords, keyed),
            upstreams: Upstreams::new(config.upstreams.clone()),
            outputs: VecDeque::new(),
            keyed,
            entropy,
            config,
            wall,
            settings_news: BTreeMap::new(),
        };
        let serial = machine.entropy.u32();
        machine.authenticator.begin_nonces_at(serial);
        machine.load(now, loaded);
        machine.open_hops();
        machine
    }

    /// A datagram, a WebSocket frame or a message cut out of a stream came in. Keep-alives go to
    /// [`Registrar::handle_flow_alive`] instead.
    pub fn handle_received(&mut self, now: Time, wall: WallTime, received: Received) {
        match Message::parse(received.bytes) {
            Ok(message) => self.handle_message(now, wall, received.flow, message),
            Err(error) => {
                self.wall = wall;
                self.trace(now, None, Leg::Garbage);
                let Some(remains) = error.remains() else { return };
                if let Err(Refusal::Answer { code, headers, .. }) = remains.check() {
                    // What could be read is enough to say what is wrong with it; nothing is kept.
                    let _ = self.transactions.answer_stateless(remains, &received.flow, code, &headers);
                    self.pump(now);
                }
            }
        }
    }

    /// The same for a message that is already read.
    pub fn handle_message(&mut self, now: Time, wall: WallTime, flow: FlowInfo, message: Message) {
        self.wall = wall;
        if !self.flows.heard(now, flow) && message.is_request() {
            let retry = self.config.timers.retry_after.as_secs().to_string();
            let _ = self.transactions.answer_stateless(&message, &flow, 503, &[(Name::RetryAfter, retry)]);
        } else if message.is_request()
            && message.method() == Method::Register
            && self.registers_at(&message).is_none()
        {
            self.on_register(now, flow, &message);
        } else {
            self.transactions.handle_received(now, &flow, message);
        }
        self.pump(now);
        if self.quotas_armed == Time::NEVER && self.quota_names() > 0 {
            self.deadlines.rearm(&mut self.quotas_armed, now + QUOTA_SWEEP, Due::Quotas);
        }
    }

    /// Whether a keep-alive may come on this flow without anyone being known there; for the edge's own accounting.
    pub fn knows_flow(&self, flow: FlowId) -> bool {
        self.flows.get(flow).is_some()
    }

    /// Whether a binding was registered on this flow: it may stay open although nothing is said on it.
    pub fn is_registered_flow(&self, flow: FlowId) -> bool {
        self.flows.get(flow).is_some_and(|flow| !flow.bindings.is_empty()) || self.upstreams.has_flow(flow)
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

    /// A connection is gone, or a datagram address is no longer kept. Bindings stay; requests on their way there are
    /// held again (row 9 of the race table).
    pub fn handle_flow_closed(&mut self, now: Time, wall: WallTime, flow: FlowId) {
        self.wall = wall;
        self.hop_closed(now, flow);
        self.link_closed(now, flow);
        let Some(closed) = self.flows.closed(flow) else { return };
        for id in closed.bindings {
            if let Some(binding) = self.bindings.get_mut(id)
                && binding.flow == Some(flow)
            {
                binding.flow = None;
                if self.cluster.is_on() {
                    self.persist_binding(now, id);
                }
            }
        }
        self.transactions.handle_flow_failed(now, flow);
        self.pump(now);
    }

    /// The last word of a push service on one request.
    pub fn handle_push_result(&mut self, now: Time, wall: WallTime, key: PushKey, result: PushResult) {
        self.wall = wall;
        self.on_push_result(now, key, result);
        self.pump(now);
    }

    /// Timers that are due.
    pub fn handle_timeout(&mut self, now: Time, wall: WallTime) {
        self.wall = wall;
        self.transactions.handle_timeout(now);
        self.pump(now);
        while let Some(due) = self.deadlines.pop(now) {
            match due {
                Due::Context(id) => self.on_context_due(now, id),
                Due::Binding(id) => self.on_binding_due(now, id),
                Due::Outcomes => {
                    self.outcomes_armed = Time::NEVER;
                    while let Some(wake) = self.outcomes.forget(now) {
                        self.forget_stored(wake);
                    }
                    self.arm_outcomes();
                }
                Due::Answers => {
                    self.answers.armed = Time::NEVER;
                    self.answers.forget(now);
                    let next = self.answers.next();
                    self.deadlines.rearm(&mut self.answers.armed, next, Due::Answers);
                }
                Due::Subscription(number) => self.on_subscription_due(now, number),
                Due::Publication(aor, package, number) => {
                    self.on_publication_due(now, aor, package, number);
                }
                Due::Mail => self.on_mail_due(now),
                Due::Quotas => self.sweep_quotas(now),
                Due::Hop(id) => self.on_hop_due(now, id),
                Due::Link(id) => self.on_link_due(id),
                Due::Registering => self.on_registering_due(now),
                Due::Line(aor) => self.line_due(now, aor),
            }
            self.pump(now);
        }
    }

    fn sweep_quotas(&mut self, now: Time) {
        self.quotas_armed = Time::NEVER;
        self.wakes_per_aor.forget_idle(now, 4096);
        self.wakes_per_caller.forget_idle(now, 4096);
        self.mail_per_aor.forget_idle(now, 4096);
        self.mail_per_caller.forget_idle(now, 4096);
        self.guard.forget_idle(now, 4096);
        if self.quota_names() > 0 {
            self.deadlines.rearm(&mut self.quotas_armed, now + QUOTA_SWEEP, Due::Quotas);
        }
    }

    fn quota_names(&self) -> usize {
        let wakes = self.wakes_per_aor.len() + self.wakes_per_caller.len();
        wakes + self.mail_per_aor.len() + self.mail_per_caller.len() + self.guard.len()
    }

    /// Adds an account, or replaces the credential of one.
    pub fn put_account(&mut self, now: Time, mut account: Account) {
        let upstream = account.upstream.take();
        let aor = self.accounts.put(account);
        if let Some(credential) = upstream {
            self.put_line(now, aor, credential);
        }
    }

    /// What the 200s to this account's REGISTERs say in `X-Settings` from now on: names of grants with the newest
    /// serial of each, or `revoked`, so that a phone fetches its settings again. `None`: nothing.
    pub fn set_settings_news(&mut self, user: &str, domain: &str, news: Option<String>) {
        let account = self.accounts.find(user, domain).and_then(|aor| self.accounts.get(aor));
        let name = account.map_or_else(|| format!("{user}@{domain}"), |entry| entry.name().to_owned());
        match news.filter(|text| !text.bytes().any(|byte| byte.is_ascii_control())) {
            Some(news) => drop(self.settings_news.insert(name, news)),
            None => drop(self.settings_news.remove(&name)),
        }
    }

    /// Takes an account and its bindings away; held requests end with 480.
    pub fn remove_account(&mut self, now: Time, wall: WallTime, user: &str, domain: &str) {
        self.wall = wall;
        let Some(aor) = self.accounts.find(user, domain) else { return };
        let ids = self.accounts.get(aor).map(|entry| entry.bindings.clone()).unwrap_or_default();
        for id in ids {
            self.remove_binding(now, id);
        }
        self.remove_line(aor);
        self.drop_mail_of(aor);
        self.drop_events_of(now, aor);
        self.accounts.remove(aor);
        self.pump(now);
    }

    /// Before a planned restart: no request is held any more (503 with Retry-After instead); calls in progress go on.
    /// The gateway may end when [`Registrar::is_drained`].
    pub fn drain(&mut self) {
        self.mode = Mode::Draining;
    }

    /// The restart does not come: requests are held again.
    pub fn resume(&mut self) {
        self.mode = Mode::Serving;
    }

    /// Whether nothing new is held.
    pub fn is_draining(&self) -> bool {
        self.mode == Mode::Draining
    }

    /// Whether nothing is in progress.
    pub fn is_drained(&self) -> bool {
        self.contexts.is_empty() && self.upstreams.registering.is_empty()
    }

    /// The use of nonces so far, to be stored at the end and handed in again by [`Registrar::import_nonces`]: so a
    /// phone's cached nonce outlives a restart, and a used one stays used (class S17).
    pub fn export_nonces(&self) -> ReplayMemory {
        self.authenticator.export()
    }

    /// The use of nonces from before a restart.
    pub fn import_nonces(&mut self, memory: ReplayMemory) {
        self.authenticator.import(memory);
    }

    /// Does what the transactions have to say, and hands on what they send, in order.
    pub(crate) fn pump(&mut self, now: Time) {
        loop {
            while let Some(transmit) = self.transactions.poll_transmit() {
                self.outputs.push_back(Output::Transmit(transmit));
            }
            let Some(event) = self.transactions.poll_event() else { return };
            match event {
                Event::Request { key, request, flow, merges: _ } => self.on_request(now, key, &request, flow),
                Event::Ack { request, flow } => self.on_ack(now, &flow, &request),
                Event::Cancelled { key, cancel } => self.on_cancelled(now, key, &cancel),
                Event::Response { key, response, .. } => self.on_response(now, key, &response),
                Event::TimedOut { key } => self.on_lost(now, key, Lost::Silence),
                Event::TransportFailed { key } => self.on_lost(now, key, Lost::Flow),
                Event::Terminated { key } => self.on_terminated(now, key),
                // RFC 6026 §8.9: a stray response is not forwarded. A caller whose flow is lost may come back with its
                // CANCEL on another; its request ends by its own timers.
                Event::StrayResponse { .. } | Event::FlowLost { .. } | Event::AckTimedOut { .. } => {}
            }
        }
    }

    pub(crate) fn trace(&mut self, at: Time, wake: Option<WakeId>, leg: Leg) {
        self.outputs.push_back(Output::Trace(Trace { at, wake, leg }));
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Registrar::handle_timeout`] is to be called; `None` if nothing is awaited.
    pub fn poll_timeout(&mut self) -> Option<Time> {
        earliest(self.deadlines.next(), self.transactions.poll_timeout())
    }

    /// How many of everything there are.
    pub fn gauges(&self) -> Gauges {
        let transactions = self.transactions.gauges();
        let (hops, hops_up) = self.upstreams.count();
        let held = |context: &Context| {
            context.branches.iter().filter(|branch| matches!(branch.step, Step::Held { .. })).count()
        };
        Gauges {
            accounts: self.accounts.len(),
            bindings: self.bindings.len(),
            flows: self.flows.len(),
            contexts: self.contexts.len(),
            waiting: self.by_aor.values().map(SmallVec::len).sum(),
            held: self.contexts.values().map(|context| held(context)).sum(),
            held_elsewhere: self.cluster.wakes.len(),
            pushes: self.pushes.len(),
            outcomes: self.outcomes.len(),
            client_transactions: transactions.client,
            server_transactions: transactions.server,
            timers: self.deadlines.len(),
            answers: self.answers.len(),
            subscriptions: self.events.subscriptions.len(),
            publications: self.events.published,
            mail: self.mails.len(),
            mail_bytes: self.mails.bytes(),
            quota_names: self.quota_names(),
            registering: self.upstreams.registering.len(),
            lines: self.upstreams.lines.len(),
            hops,
            hops_up,
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
