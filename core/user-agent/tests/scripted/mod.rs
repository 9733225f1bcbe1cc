//! A phone on virtual time whose network, registrar and media are the test's script.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and no test uses all of the script"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wakeline_clock::{Time, WallTime};
use wakeline_flow::{FlowId, FlowInfo, Hop, Received};
use wakeline_secret::Secret;
use wakeline_settings::{Settings, Source};
use wakeline_sip_message::{Builder, Message, Method, Name};
use wakeline_sip_resolve::{Answer, Question, Record};
use wakeline_user_agent::*;

pub const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
const START: u64 = 1_000_000;
const WALL: WallTime = WallTime(1_789_000_000_000);

/// How the world takes an attempt to open a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    Opens,
    Refuses,
    Waits,
}

/// What the DNS says; `None` for a name without such records.
pub type Zone = Box<dyn Fn(&Question) -> Option<Vec<Record>>>;

pub struct Phone {
    pub agent: UserAgent,
    pub now: Time,
    /// Open flows, in the order of opening.
    pub flows: Vec<FlowInfo>,
    /// Flows that were asked for and wait for the script.
    pub opening: Vec<(FlowId, Hop)>,
    pub closed: Vec<FlowId>,
    pub sent: Vec<(FlowId, Message)>,
    pub events: Vec<Event>,
    pub media: Vec<(CallId, MediaRequest)>,
    pub memory: BTreeMap<String, Secret>,
    /// What is wished of providers.
    pub wishes: Vec<(u64, wakeline_settings::provisioning::Wish)>,
    /// Accounts whose settings a provider has changed.
    pub configured: Vec<AccountId>,
    /// Our address in the network that we are in.
    pub local: [u8; 4],
    pub reach: Box<dyn Fn(&Hop) -> Reach>,
    pub names: Zone,
    /// How many descriptions the media has made: each is another one.
    described: u32,
}

/// An account of `mia` or another user at 192.0.2.1, TCP unless `more` says otherwise.
pub fn account(user: &str, more: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::default();
    let usual = [
        ("serveraddress", "192.0.2.1"),
        ("realm", "example.org"),
        ("username", user),
        ("password", "secret"),
        ("transport", "1"),
    ];
    for (name, value) in usual.iter().chain(more) {
        assert!(settings.set(name, value, Source::File), "{name}");
    }
    settings
}

impl Phone {
    pub fn new(accounts: Vec<Settings>) -> Phone {
        Phone::with_memory(accounts, BTreeMap::new())
    }

    pub fn with_memory(accounts: Vec<Settings>, memory: BTreeMap<String, Secret>) -> Phone {
        let now = Time::from_millis(START);
        let configuration = Configuration { accounts, memory: memory.clone() };
        Phone {
            agent: UserAgent::new(configuration, [7; 32], now, WALL).unwrap(),
            now,
            flows: Vec::new(),
            opening: Vec::new(),
            closed: Vec::new(),
            sent: Vec::new(),
            events: Vec::new(),
            media: Vec::new(),
            memory,
            local: [10, 20, 0, 5],
            reach: Box::new(|_| Reach::Opens),
            names: Box::new(|_| None),
            wishes: Vec::new(),
            configured: Vec::new(),
            described: 0,
        }
    }

    /// Started, and every account registered.
    pub fn registered(accounts: Vec<Settings>) -> Phone {
        let mut phone = Phone::new(accounts);
        phone.command(Command::Start);
        phone.accept_registers();
        phone.forget();
        phone
    }

    /// Forgets what was seen so far, but for the flows.
    pub fn forget(&mut self) {
        self.sent.clear();
        self.events.clear();
        self.media.clear();
        self.closed.clear();
    }

    // ---- what the script does --------------------------------------------------------------------------------

    pub fn command(&mut self, command: Command) {
        self.agent.handle_command(self.now, command);
        self.drain();
    }

    pub fn set(&mut self, name: &str, value: &str) {
        let (account, value) = (AccountId(0), Secret::from(value));
        self.command(Command::SetParameter { account, name: name.to_owned(), value });
    }

    pub fn input(&mut self, input: Input) {
        self.agent.handle_input(self.now, input);
        self.drain();
    }

    pub fn receive(&mut self, flow: FlowInfo, message: &Message) {
        self.input(Input::Received(Received { flow, bytes: message.to_bytes() }));
    }

    pub fn lose(&mut self, flow: FlowId) {
        self.flows.retain(|open| open.id != flow);
        self.input(Input::Closed { flow, failure: FlowFailure::ClosedByPeer });
    }

    pub fn open(&mut self, flow: FlowId, hop: &Hop) {
        let port = 40_000 + u16::try_from(flow.0 % 20_000).unwrap();
        let info = FlowInfo {
            id: flow,
            transport: hop.transport,
            local: (self.local, port).into(),
            remote: hop.remote,
        };
        self.flows.push(info);
        self.agent.handle_input(self.now, Input::Opened(info));
    }

    /// The flow on which an answer to a request comes: its own, or the newest when that is closed.
    fn way_back(&self, request: &Message) -> FlowInfo {
        let sent = self.sent.iter().find(|(_, sent)| sent.to_bytes() == request.to_bytes());
        let open = sent.and_then(|(flow, _)| self.flows.iter().find(|open| open.id == *flow));
        open.copied().unwrap_or_else(|| self.last_flow())
    }

    /// Answers a request that we sent, on the flow that it left on.
    pub fn answer(&mut self, request: &Message, code: u16, more: &[(Name, &str)]) {
        let mut builder = Builder::response(request, code, "").to_tag("far");
        for (name, value) in more {
            builder = builder.header(name.clone(), value);
        }
        let flow = self.way_back(request);
        self.receive(flow, &builder.build().unwrap());
    }

    pub fn answer_with_sdp(&mut self, request: &Message, code: u16) {
        let contact = "<sip:bob@192.0.2.50;transport=tcp>";
        let builder = Builder::response(request, code, "").to_tag("far").header(Name::Contact, contact);
        let flow = self.way_back(request);
        self.receive(flow, &builder.body("application/sdp", SDP).build().unwrap());
    }

    /// 200 to every REGISTER that has no answer yet.
    pub fn accept_registers(&mut self) {
        for register in self.unanswered_registers() {
            self.accept_register(&register);
        }
    }

    pub fn accept_register(&mut self, register: &Message) {
        // A former Contact that is removed in the same request stands behind the first.
        let contact = register.header(Name::Contact).unwrap().split(", ").next().unwrap().to_owned();
        let contact = format!("{contact};expires=3600");
        self.answer(register, 200, &[(Name::Contact, &contact)]);
        // Answered now.
        self.sent.retain(|(_, sent)| sent.to_bytes() != register.to_bytes());
    }

    /// Lets a span pass, with every timer at its time.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..100_000 {
            match self.agent.poll_timeout() {
                Some(due) if due <= end => {
                    self.now = self.now.max(due);
                    self.agent.handle_timeout(self.now);
                    self.drain();
                }
                Some(_) | None => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("a timer that is always due");
    }

    /// Time passes while the process stands still: every timer fires late, in one go.
    pub fn sleep(&mut self, span: Duration) {
        self.now += span;
        for _ in 0..50 {
            if self.agent.poll_timeout().is_none_or(|due| due > self.now) {
                return;
            }
            self.agent.handle_timeout(self.now);
            self.drain();
        }
        panic!("a timer that is always due");
    }

    fn drain(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            match output {
                Output::Open { flow, hop, .. } => match (self.reach)(&hop) {
                    Reach::Opens => self.open(flow, &hop),
                    Reach::Refuses => {
                        let failure = FlowFailure::Unreachable;
                        self.agent.handle_input(self.now, Input::Closed { flow, failure });
                    }
                    Reach::Waits => self.opening.push((flow, hop)),
                },
                Output::Close(flow) => {
                    self.flows.retain(|open| open.id != flow);
                    self.closed.push(flow);
                }
                Output::Send(transmit) => {
                    if let Ok(message) = Message::parse(transmit.bytes) {
                        self.sent.push((transmit.flow, message));
                    }
                }
                Output::Resolve(question) => {
                    let outcome = Ok((self.names)(&question).unwrap_or_default());
                    self.agent.handle_input(self.now, Input::Resolved(Answer { question, outcome }));
                }
                Output::Remember { key, record } => drop(self.memory.insert(key, record)),
                Output::Media { call, request } => self.media_asked(call, request),
                Output::Provision { run, wish, .. } => self.wishes.push((run, wish)),
                Output::Configure(account) => self.configured.push(account),
            }
        }
        while let Some(event) = self.agent.poll_event() {
            self.events.push(event);
        }
    }

    /// The media takes everything, and describes itself by where it is.
    fn media_asked(&mut self, call: CallId, request: MediaRequest) {
        let answer = match &request {
            MediaRequest::Offer { way, .. } | MediaRequest::Answer { way, .. } => {
                self.described += 1;
                let text = format!(
                    "v=0\r\no=- 1 {} IN IP4 {2}\r\ns=-\r\nc=IN IP4 {2}\r\nt=0 0\r\nm=audio {1} RTP/AVP 0\r\n",
                    self.described, 5000, way.local
                );
                Some(MediaAnswer::Description { description: Bytes::from(text) })
            }
            MediaRequest::Conclude { .. } => Some(MediaAnswer::Accepted),
            MediaRequest::Rollback
            | MediaRequest::Start
            | MediaRequest::Pause
            | MediaRequest::Ringback { .. }
            | MediaRequest::Mute { .. }
            | MediaRequest::Conference { .. }
            | MediaRequest::Dtmf { .. }
            | MediaRequest::Stop => None,
        };
        self.media.push((call, request));
        if let Some(answer) = answer {
            self.agent.handle_input(self.now, Input::Described { call, answer });
        }
    }

    // ---- what the script looks at ----------------------------------------------------------------------------

    /// Requests of a method that were sent, once each: copies of one count as one.
    pub fn requests(&self, method: &Method) -> Vec<Message> {
        let mut seen: Vec<Message> = Vec::new();
        for (_, sent) in self.sent.iter().filter(|(_, sent)| sent.is_request() && sent.method() == *method) {
            let branch = |message: &Message| message.via().unwrap().branch().map(str::to_owned);
            if seen.iter().all(|one| branch(one) != branch(sent)) {
                seen.push(sent.clone());
            }
        }
        seen
    }

    pub fn last(&self, method: &Method) -> Message {
        self.requests(method).pop().unwrap_or_else(|| panic!("no {method} was sent"))
    }

    pub fn unanswered_registers(&self) -> Vec<Message> {
        self.requests(&Method::Register)
    }

    pub fn responses(&self, method: &Method) -> Vec<u16> {
        let answers = self.sent.iter().filter(|(_, sent)| !sent.is_request() && sent.method() == *method);
        answers.filter_map(|(_, sent)| sent.status()).collect()
    }

    pub fn response(&self, method: &Method, code: u16) -> Message {
        let found =
            self.sent.iter().rev().find(|(_, sent)| {
                !sent.is_request() && sent.method() == *method && sent.status() == Some(code)
            });
        found.unwrap_or_else(|| panic!("no {code} to {method}")).1.clone()
    }

    pub fn flow_of(&self, message: &Message) -> FlowInfo {
        let (flow, _) =
            self.sent.iter().find(|(_, sent)| sent.to_bytes() == message.to_bytes()).expect("sent");
        *self.flows.iter().find(|open| open.id == *flow).expect("the flow is open")
    }

    pub fn last_flow(&self) -> FlowInfo {
        *self.flows.last().expect("a flow is open")
    }

    pub fn phase(&self, account: u32) -> RegistrationPhase {
        self.registration(account).phase
    }

    pub fn registration(&self, account: u32) -> RegistrationSnapshot {
        self.agent.snapshot().registrations[account as usize].clone()
    }

    pub fn rings(&self) -> Vec<CallSnapshot> {
        let ring = |event: &Event| if let Event::Rings(call) = event { Some(call.clone()) } else { None };
        self.events.iter().filter_map(ring).collect()
    }

    pub fn ends(&self) -> Vec<EndedCall> {
        let end = |event: &Event| if let Event::CallEnded(end) = event { Some(end.clone()) } else { None };
        self.events.iter().filter_map(end).collect()
    }

    pub fn problems(&self) -> Vec<String> {
        let told =
            |event: &Event| if let Event::Problem(told) = event { Some(told.cause.clone()) } else { None };
        self.events.iter().filter_map(told).collect()
    }

    pub fn calls(&self) -> Vec<CallSnapshot> {
        self.agent.snapshot().calls
    }

    /// Everything is over: no call, no transaction, no dialog; what is left in the tables after the last timers.
    pub fn assert_nothing_left(&mut self) {
        self.pass(Duration::from_secs(200));
        let left = self.agent.snapshot();
        assert_eq!((left.calls.len(), left.dialogs, left.transactions), (0, 0, 0), "{left:?}");
    }
}

/// An INVITE of Bob's for a user of ours.
pub fn invite(user: &str, call_id: &str) -> Message {
    invite_by(user, call_id, "z9hG4bK1")
}

/// The same on another branch.
pub fn invite_by(user: &str, call_id: &str, branch: &str) -> Message {
    Builder::request(Method::Invite, format!("sip:{user}@10.20.0.5:40000;transport=tcp"))
        .header(Name::Via, format!("SIP/2.0/TCP 192.0.2.1;branch={branch}{call_id}"))
        .header(Name::MaxForwards, 70)
        .header(Name::From, "<sip:bob@example.org>;tag=b")
        .header(Name::To, format!("<sip:{user}@example.org>"))
        .header(Name::CallId, call_id)
        .header(Name::CSeq, "1 INVITE")
        .header(Name::Contact, "<sip:bob@192.0.2.50;transport=tcp>")
        .header(Name::RecordRoute, "<sip:192.0.2.1;transport=tcp;lr>")
        .body("application/sdp", SDP)
        .build()
        .unwrap()
}

/// The far end's next request in the dialog that this response of ours opened.
pub fn in_dialog(method: Method, ok: &Message, cseq: u32, branch: &str) -> Message {
    let target = ok.header(Name::Contact).and_then(|text| text.split(['<', '>']).nth(1)).unwrap().to_owned();
    Builder::request(method.clone(), target)
        .header(Name::Via, format!("SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK{branch}"))
        .header(Name::MaxForwards, 70)
        .copy(ok, Name::From)
        .copy(ok, Name::To)
        .copy(ok, Name::CallId)
        .header(Name::CSeq, format!("{cseq} {method}"))
        .build()
        .unwrap()
}
