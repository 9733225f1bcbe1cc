//! A table on virtual time with everything that left it and that it told.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and no test uses all of the bench"
)]

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Transport};
use wakeline_sip_message::{Builder, Message, Method, Name};
use wakeline_sip_transaction::*;

pub fn flow(id: u64, transport: Transport) -> FlowInfo {
    FlowInfo {
        id: FlowId(id),
        transport,
        local: "10.0.0.1:5060".parse().unwrap(),
        remote: "192.0.2.9:5070".parse().unwrap(),
    }
}

pub const UDP: fn(u64) -> FlowInfo = |id| flow(id, Transport::Udp);
pub const TCP: fn(u64) -> FlowInfo = |id| flow(id, Transport::Tcp);

pub fn plain(method: Method, cseq: u32) -> Builder {
    Builder::request(method.clone(), "sip:bob@example.net")
        .header(Name::From, "<sip:alice@example.org>;tag=a1")
        .header(Name::To, "<sip:bob@example.net>")
        .header(Name::CallId, "c1@example.org")
        .header(Name::CSeq, format!("{cseq} {method}"))
}

/// A request as a peer sends it.
pub fn incoming(method: Method, branch: &str) -> Message {
    plain(method, 1).header(Name::Via, format!("SIP/2.0/UDP 192.0.2.9:5070;branch={branch}")).build().unwrap()
}

pub struct Bench {
    pub table: Transactions,
    pub now: Time,
    pub sent: Vec<(u64, FlowId, Message)>,
    pub events: Vec<Event>,
}

impl Bench {
    pub fn new(config: Config) -> Bench {
        let table = Transactions::new(config, Entropy::from_number(11));
        Bench { table, now: Time::ZERO, sent: Vec::new(), events: Vec::new() }
    }

    pub fn drain(&mut self) {
        while let Some(transmit) = self.table.poll_transmit() {
            let message = Message::parse(transmit.bytes).unwrap();
            self.sent.push((self.now.as_millis(), transmit.flow, message));
        }
        while let Some(event) = self.table.poll_event() {
            self.events.push(event);
        }
    }

    pub fn send(&mut self, method: Method, on: FlowInfo) -> ClientKey {
        let request = plain(method, 1).build().unwrap();
        let key = self.table.send(self.now, request, &on, &SentBy::address(on.local)).unwrap();
        self.drain();
        key
    }

    pub fn receive(&mut self, on: FlowInfo, message: Message) {
        self.table.handle_received(self.now, &on, message);
        self.drain();
    }

    /// A response to what was sent first.
    pub fn answer(&mut self, on: FlowInfo, code: u16, tag: &str) {
        let mut response = Builder::response(&self.sent[0].2, code, "");
        if !tag.is_empty() {
            response = response.to_tag(tag);
        }
        self.receive(on, response.build().unwrap());
    }

    pub fn respond(&mut self, key: ServerKey, request: &Message, code: u16) -> Result<(), TransactionError> {
        let response = Builder::response(request, code, "").to_tag("b1").build().unwrap();
        let outcome = self.table.respond(self.now, key, response);
        self.drain();
        outcome
    }

    pub fn run_until(&mut self, end: u64) {
        let end = Time::from_millis(end);
        while let Some(due) = self.table.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.table.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    pub fn times(&self, method: &Method) -> Vec<u64> {
        let requests = self.sent.iter().filter(|(_, _, sent)| sent.is_request() && sent.method() == *method);
        requests.map(|(at, _, _)| *at).collect()
    }

    pub fn statuses(&self) -> Vec<(u64, u16)> {
        self.sent.iter().filter_map(|(at, _, sent)| Some((*at, sent.status()?))).collect()
    }

    pub fn told(&self) -> Vec<&'static str> {
        let name = |event: &Event| match event {
            Event::Request { .. } => "request",
            Event::Ack { .. } => "ack",
            Event::Cancelled { .. } => "cancelled",
            Event::Response { .. } => "response",
            Event::StrayResponse { .. } => "stray",
            Event::TimedOut { .. } => "timed out",
            Event::TransportFailed { .. } => "transport failed",
            Event::FlowLost { .. } => "flow lost",
            Event::AckTimedOut { .. } => "ack timed out",
            Event::Terminated { .. } => "terminated",
        };
        self.events.iter().map(name).collect()
    }

    pub fn request(&mut self) -> (ServerKey, Message) {
        match self.events.pop() {
            Some(Event::Request { key, request, .. }) => (key, request),
            other => panic!("{other:?}"),
        }
    }

    pub fn assert_empty(&self) {
        assert_eq!(self.table.gauges(), Gauges::default());
        assert!((0..9).all(|id| !self.table.is_flow_used(FlowId(id))));
    }
}
