//! One binding on virtual time, its registrar scripted.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test program, and none uses all of the bench"
)]

use std::time::Duration;

use wakeline_clock::{Time, WallTime};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Transport};
use wakeline_push::{Provider, PushParameters, WakeId};
use wakeline_registration::*;
use wakeline_sip_auth::Credentials;
use wakeline_sip_message::{Builder, Message, Name, OwnedUri};

pub const INSTANCE: &str = "urn:uuid:0f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a77";
pub const CHALLENGE: &str = "Digest realm=\"example.org\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256";

pub fn config() -> AccountConfig {
    let uri = |text| OwnedUri::parse(text).unwrap();
    let mut config = AccountConfig::new(
        uri("sip:example.org"),
        uri("sip:mia@example.org"),
        Credentials::password("mia", "secret"),
    );
    config.instance = Instance::parse(INSTANCE);
    config
}

pub fn token(prid: &str) -> PushParameters {
    PushParameters::new(Provider::Fcm, "acme-voice", prid.into()).unwrap()
}

pub struct Bench {
    pub machine: Registration,
    pub now: Time,
    pub wall: WallTime,
    pub flows: u64,
    pub sent: Vec<(Message, FlowInfo)>,
    pub closed: Vec<FlowId>,
    pub opening: usize,
    pub hops: Vec<HopChoice>,
    pub remembered: Option<Remembered>,
    pub events: Vec<Event>,
}

impl Bench {
    pub fn new(config: AccountConfig, memory: Option<Remembered>) -> Bench {
        Bench {
            machine: Registration::new(config, memory, Entropy::from_number(42)),
            now: Time::from_millis(1_000_000),
            wall: WallTime(1_789_000_000_000),
            flows: 0,
            sent: Vec::new(),
            closed: Vec::new(),
            opening: 0,
            hops: Vec::new(),
            remembered: None,
            events: Vec::new(),
        }
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::OpenFlow { hop } => {
                    self.opening += 1;
                    self.hops.push(hop);
                }
                Output::CloseFlow { flow } => self.closed.push(flow),
                Output::Send { request, flow } => self.sent.push((request, flow)),
                Output::Remember(memory) => self.remembered = Some(*memory),
            }
        }
        while let Some(event) = self.machine.poll_event() {
            self.events.push(event);
        }
    }

    pub fn act(&mut self, act: impl FnOnce(&mut Registration, Time)) {
        act(&mut self.machine, self.now);
        self.drain();
    }

    pub fn open(&mut self) -> FlowInfo {
        assert_eq!(self.opening, 1, "flows asked for");
        self.open_one()
    }

    pub fn open_one(&mut self) -> FlowInfo {
        self.open_with(OtherHops::None)
    }

    pub fn open_with(&mut self, others: OtherHops) -> FlowInfo {
        self.opening -= 1;
        self.flows += 1;
        let flow = FlowInfo {
            id: FlowId(self.flows),
            transport: Transport::Tls,
            local: format!("10.20.0.5:{}", 40_000 + self.flows).parse().unwrap(),
            remote: "192.0.2.1:5061".parse().unwrap(),
        };
        self.act(|machine, now| machine.flow_opened(now, flow, others));
        flow
    }

    pub fn last(&self) -> &Message {
        &self.sent.last().expect("a request").0
    }

    pub fn contact(&self) -> String {
        self.last().header(Name::Contact).unwrap().to_owned()
    }

    pub fn answer(&mut self, code: u16, fields: &[(Name, &str)]) {
        let fields = fields.iter().map(|(name, value)| (name.clone(), *value));
        let response = Builder::response(self.last(), code, "").headers(fields).build().unwrap();
        let wall = self.wall;
        self.act(|machine, now| machine.responded(now, wall, &response));
    }

    /// 200 as an outbound and push server gives it.
    pub fn accept(&mut self) {
        self.accept_with(604_800, "fcm");
    }

    pub fn accept_with(&mut self, expires: u32, pns: &str) {
        let contact = format!("{};expires={expires}", self.contact());
        let caps = format!("*;+sip.pns=\"{pns}\";+sip.pnspurr=\"p1\"");
        self.answer(
            200,
            &[(Name::Contact, &contact), (Name::Require, "outbound"), (Name::FeatureCaps, &caps)],
        );
    }

    pub fn registered(config: AccountConfig, push: Option<PushParameters>) -> Bench {
        let mut bench = Bench::new(config, None);
        bench.act(|machine, now| machine.set_push(now, push));
        bench.act(|machine, now| machine.start(now));
        bench.open();
        bench.accept();
        assert_eq!(bench.machine.phase(), Phase::Registered);
        bench.events.clear();
        bench.sent.clear();
        bench
    }

    pub fn pass(&mut self, span: Duration) {
        self.now += span;
    }

    /// Lets time pass to the machine's next deadline.
    pub fn next(&mut self) -> Duration {
        let due = self.machine.poll_timeout().expect("a deadline");
        let span = due - self.now;
        self.now = self.now.max(due);
        self.act(|machine, now| machine.handle_timeout(now));
        span
    }
}

pub fn wid(text: &str) -> WakeId {
    text.parse().unwrap()
}
