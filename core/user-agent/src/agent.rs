//! The phone as one machine: what comes in is handed to the machine that it concerns, what they want goes out.

use std::collections::{BTreeMap, VecDeque};

use wakeline_clock::{Time, WallTime, earliest};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, Transmit};
use wakeline_push::PushParameters;
use wakeline_registration::Instance;
use wakeline_secret::Secret;
use wakeline_settings::Settings;
use wakeline_sip_resolve::Resolver;
use wakeline_sip_transaction::{ServerKey, Transactions};

use crate::account::{AccountError, Identity};
use crate::delivery::{Delivery, Job};
use crate::event::{Event, Problem};
use crate::farewell::Farewell;
use crate::flows::Flows;
use crate::line::Line;
use crate::output::{Input, MediaRequest, Output};
use crate::phone_call::PhoneCall;
use crate::provisions::Provisions;
use crate::snapshot::{AccountId, CallId, Snapshot};
use crate::wakes::Wakes;
use crate::withdrawal::Withdrawal;

/// What a phone is started with.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// The accounts, each described by webphone parameters; the first is the main one.
    pub accounts: Vec<Settings>,
    /// What [`Output::Remember`] kept in an earlier life, by key.
    pub memory: BTreeMap<String, Secret>,
}

/// Whether the phone may use the network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    /// Not started yet, or stopped.
    Off,
    /// In front, or working on a wake.
    Awake,
    /// In the background: no flow is open, nothing ticks.
    Suspended,
    /// There is no network.
    Offline,
    /// Told to stop: the last messages are under way.
    Stopping,
}

/// Under this key the addresses are remembered that names led to (fault F5: the DNS may be gone tomorrow).
const GOOD_HOPS: &str = "addresses";

/// The phone. See the crate's head for the run loop.
pub struct UserAgent {
    pub(crate) now: Time,
    /// What the wall clock showed at [`UserAgent::new`], and when that was.
    pub(crate) wall_origin: (WallTime, Time),
    pub(crate) life: Life,
    pub(crate) entropy: Entropy,
    pub(crate) lines: Vec<Line>,
    pub(crate) calls: BTreeMap<CallId, PhoneCall>,
    pub(crate) next_call: u64,
    /// Calls that are over, as long as late messages may come for them.
    pub(crate) farewells: BTreeMap<CallId, Farewell>,
    pub(crate) wakes: Wakes,
    pub(crate) push: Option<PushParameters>,
    pub(crate) audio_granted: bool,
    pub(crate) flows: Flows,
    /// Flows that no binding wants any more, and the calls that were being set up when they were left.
    pub(crate) left_flows: BTreeMap<FlowId, Vec<CallId>>,
    /// INVITEs whose flow is gone and that are to be cancelled when there is another one.
    pub(crate) withdrawals: Vec<Withdrawal>,
    pub(crate) resolver: Resolver,
    remembered_addresses: String,
    pub(crate) delivery: Delivery,
    pub(crate) transactions: Transactions,
    /// The call that each open server transaction belongs to.
    pub(crate) served: BTreeMap<ServerKey, CallId>,
    /// OPTIONS that a person asked for: from which account, whom.
    pub(crate) options: BTreeMap<u64, (AccountId, String)>,
    pub(crate) next_options: u64,
    pub(crate) provisions: Provisions,
    outputs: VecDeque<Output>,
    events: VecDeque<Event>,
}

impl UserAgent {
    /// A phone that has not started. `seed` must be unguessable; `wall` is used for what outlives the process.
    pub fn new(
        configuration: Configuration,
        seed: [u8; 32],
        now: Time,
        wall: WallTime,
    ) -> Result<UserAgent, AccountError> {
        let mut entropy = Entropy::from_seed(seed);
        let mut outputs = VecDeque::new();
        let instance = Line::remembered_instance(&configuration.memory).unwrap_or_else(|| {
            let drawn = Instance::draw(&mut entropy);
            let record = Secret::new(drawn.to_string());
            outputs.push_back(Output::Remember { key: Line::INSTANCE_KEY.to_owned(), record });
            drawn
        });
        let mut provisions = Provisions::default();
        let mut lines = Vec::with_capacity(configuration.accounts.len());
        for (number, settings) in (0_u32..).zip(configuration.accounts) {
            let id = AccountId(number);
            let remembered = configuration.memory.get(&Line::memory_key(id));
            let local = settings.clone();
            let settings = provisions.begin(id, settings, &configuration.memory);
            // What a provider has set must not keep the phone from starting.
            let identity = Identity::new(id, settings).or_else(|_| Identity::new(id, local))?;
            lines.push(Line::new(identity, remembered, instance.clone(), &mut entropy)?);
        }
        let mut resolver = Resolver::default();
        if let Some(good) = configuration.memory.get(GOOD_HOPS) {
            resolver.import(good.expose(), now);
        }
        let transactions = Transactions::new(wakeline_sip_transaction::Config::default(), entropy.fork());
        Ok(UserAgent {
            now,
            wall_origin: (wall, now),
            life: Life::Off,
            lines,
            calls: BTreeMap::new(),
            // Numbers start at one: zero would read like "none" in a script.
            next_call: 1,
            farewells: BTreeMap::new(),
            wakes: Wakes::default(),
            push: None,
            audio_granted: true,
            flows: Flows::default(),
            left_flows: BTreeMap::new(),
            withdrawals: Vec::new(),
            remembered_addresses: resolver.export(),
            resolver,
            delivery: Delivery::default(),
            transactions,
            served: BTreeMap::new(),
            options: BTreeMap::new(),
            next_options: 0,
            provisions,
            outputs,
            events: VecDeque::new(),
            entropy,
        })
    }

    /// Takes a fact from the I/O.
    pub fn handle_input(&mut self, now: Time, input: Input) {
        self.now = now;
        match input {
            Input::Opened(info) => self.flow_opened(info),
            Input::Closed { flow, failure } => self.flow_closed(flow, failure),
            Input::Received(received) => self.received(received),
            Input::Resolved(answer) => self.resolver.handle_answer(&answer, &mut self.entropy, now),
            Input::Described { call, answer } => self.described(call, answer),
            Input::Media { call, event } => self.media_event(call, event),
            Input::Provision { run, fact } => self.provision_fact(run, fact),
        }
        self.pump();
    }

    /// Lets everything happen that is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.now = now;
        self.transactions.handle_timeout(now);
        self.resolver.handle_timeout(&mut self.entropy, now);
        for line in &mut self.lines {
            line.registration.handle_timeout(now);
        }
        for id in self.call_ids() {
            if let Some(session) = self.session(id) {
                session.handle_timeout(now);
            }
        }
        self.leave_slow_hops();
        self.pass_silent_hops();
        self.forward_unanswered();
        self.keep_flows_alive();
        self.pump();
    }

    /// When [`UserAgent::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let mut next = earliest(self.transactions.poll_timeout(), self.resolver.poll_timeout());
        next = earliest(next, self.flows.poll_timeout());
        next = earliest(next, self.slow_hops_due());
        next = earliest(next, self.silent_hops_due());
        for line in &self.lines {
            next = earliest(next, line.registration.poll_timeout());
        }
        for call in self.calls.values() {
            next = earliest(next, call.session_ref().and_then(|session| session.poll_timeout()));
            next = earliest(next, call.forward_at.as_ref().map(|(at, _)| *at));
        }
        for farewell in self.farewells.values() {
            next = earliest(next, farewell.poll_timeout());
        }
        next
    }

    /// The next thing that the I/O is to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next thing that a person may want to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The whole state.
    pub fn snapshot(&self) -> Snapshot {
        let gauges = self.transactions.gauges();
        Snapshot {
            registrations: self.lines.iter().map(|line| line.snapshot(self.now)).collect(),
            calls: self.calls.values().map(PhoneCall::snapshot).collect(),
            dialogs: self
                .calls
                .values()
                .filter_map(PhoneCall::session_ref)
                .map(|session| session.dialogs())
                .sum(),
            transactions: gauges.client + gauges.server,
            timers: gauges.timers,
            flows: self.flows.len(),
        }
    }

    /// Whether nothing is under way: no call, no transaction, no request on its way. A phone that was told to stop may
    /// end then.
    pub fn is_idle(&self) -> bool {
        // What is answered, by us or by them, only waits for copies (timer K of RFC 3261 §17.1.2.2 is 5 s on UDP): nobody
        // needs to stay for those. What has left is a transaction, so the table of those says whether it is answered.
        self.calls.is_empty() && !self.delivery.has_unsent() && self.transactions.is_answered()
    }

    /// Every call, the ended ones that may still get messages included.
    pub(crate) fn call_ids(&self) -> Vec<CallId> {
        self.calls.keys().chain(self.farewells.keys()).copied().collect()
    }

    /// Carries out what the machines want until none wants anything.
    pub(crate) fn pump(&mut self) {
        loop {
            let mut moved = false;
            while let Some((id, outcome)) = self.resolver.poll_resolved() {
                moved = true;
                self.remember_addresses();
                self.resolved(id, outcome);
            }
            for place in 0..self.lines.len() {
                moved |= self.pump_line(place);
            }
            for id in self.call_ids() {
                moved |= self.pump_call(id);
            }
            while let Some(event) = self.transactions.poll_event() {
                moved = true;
                self.transaction_event(event);
            }
            while let Some(Transmit { flow, bytes }) = self.transactions.poll_transmit() {
                moved = true;
                self.send(flow, bytes);
            }
            while let Some(question) = self.resolver.poll_question() {
                moved = true;
                self.outputs.push_back(Output::Resolve(question));
            }
            moved |= self.close_left_flows();
            // Last: whatever an ended call waits for may have come just now.
            if !moved && !self.forget_farewells() {
                break;
            }
        }
    }

    fn remember_addresses(&mut self) {
        let good = self.resolver.export();
        if good != self.remembered_addresses {
            self.remembered_addresses.clone_from(&good);
            self.put(Output::Remember { key: GOOD_HOPS.to_owned(), record: good.into() });
        }
    }

    /// Sends bytes on a flow; the next ping is counted from here.
    pub(crate) fn send(&mut self, flow: FlowId, bytes: bytes::Bytes) {
        self.flows.sent(flow, self.now, &mut self.entropy);
        self.outputs.push_back(Output::Send(Transmit { flow, bytes }));
    }

    /// Has the I/O do something.
    pub(crate) fn put(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    /// Has the media of a call do something.
    pub(crate) fn ask_media(&mut self, call: CallId, request: MediaRequest) {
        self.outputs.push_back(Output::Media { call, request });
    }

    /// Tells.
    pub(crate) fn tell(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Tells what went wrong and what helps.
    pub(crate) fn complain(
        &mut self,
        account: Option<AccountId>,
        call: Option<CallId>,
        cause: impl Into<String>,
        cure: &str,
    ) {
        self.tell(Event::Problem(Problem { account, call, cause: cause.into(), cure: cure.to_owned() }));
    }

    /// The line of an account.
    pub(crate) fn line(&self, account: AccountId) -> Option<&Line> {
        self.lines.get(account.0 as usize)
    }

    /// The line of an account, to change.
    pub(crate) fn line_mut(&mut self, account: AccountId) -> Option<&mut Line> {
        self.lines.get_mut(account.0 as usize)
    }

    /// Starts a job: its next hop by the URI's host, over a live flow when there is one.
    pub(crate) fn dispatch(&mut self, job: Job, next_hop: &str) {
        let Some(line) = self.line(job.account) else { return };
        let target = wakeline_sip_message::Uri::parse(next_hop)
            .ok()
            .and_then(|uri| wakeline_sip_resolve::Target::of(&uri));
        let Some(target) = target else { return self.undeliverable(job) };
        // Within the account's own edge, the flow that registered is the way: the only one through a NAT, and the one
        // that the far end knows us by (RFC 5626 §4.3).
        if let Some(flow) = line.flow_to(&target).filter(|flow| self.flows.knows(*flow)) {
            return self.over_flow(flow, job);
        }
        let transports = line.identity().transports();
        let id = self.resolver.resolve(target, &transports, self.now);
        self.delivery.resolve(id, job);
    }
}
