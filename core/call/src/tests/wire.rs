//! Two phones on a wire with virtual time: real calls on real transaction tables, and a network that can be bad.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use wakeline_clock::{Time, earliest};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Transport};
use wakeline_sip_dialog::{DialogContact, SipCallId};
use wakeline_sip_message::{Message, OwnedUri};
use wakeline_sip_transaction::{ClientKey, Event as Happened, SentBy, Transactions};

use crate::*;

pub(crate) const A: usize = 0;
pub(crate) const B: usize = 1;

/// What a person or a network does at a moment.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Answer,
    Decline(Refusal),
    HangUp,
    Hold(bool),
    Digits(&'static str),
    Moved,
    Transfer(u16),
    /// The flow breaks under this phone; the same flow works again at once.
    Break,
}

/// What a phone's media does with questions.
#[derive(Clone, Debug)]
pub(crate) struct Media {
    pub(crate) delay: Duration,
    /// Refuses the n-th question, counted from 0.
    pub(crate) refuse: Option<usize>,
    asked: usize,
    pending: VecDeque<(Time, Described)>,
    /// Everything that was asked, in order.
    pub(crate) questions: Vec<Describe>,
    pub(crate) rollbacks: usize,
}

pub(crate) struct Phone {
    name: &'static str,
    address: SocketAddr,
    pub(crate) config: Config,
    entropy: Entropy,
    pub(crate) table: Transactions,
    pub(crate) call: Option<Call>,
    clients: BTreeMap<ClientKey, RequestId>,
    latest: BTreeMap<RequestId, ClientKey>,
    pub(crate) media: Media,
    pub(crate) events: Vec<Event>,
    pub(crate) records: Vec<CallRecord>,
    /// First lines of what was sent by the call, ACKs of transactions not counted.
    pub(crate) sent: Vec<String>,
    moves: u16,
}

impl Phone {
    fn new(name: &'static str, port: u16, seed: u64) -> Phone {
        let mut entropy = Entropy::from_number(seed);
        let table = Transactions::new(wakeline_sip_transaction::Config::default(), entropy.fork());
        Phone {
            name,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            config: Config::default(),
            entropy,
            table,
            call: None,
            clients: BTreeMap::new(),
            latest: BTreeMap::new(),
            media: Media {
                delay: Duration::ZERO,
                refuse: None,
                asked: 0,
                pending: VecDeque::new(),
                questions: Vec::new(),
                rollbacks: 0,
            },
            events: Vec::new(),
            records: Vec::new(),
            sent: Vec::new(),
            moves: 0,
        }
    }

    pub(crate) fn contact(&self) -> DialogContact {
        let uri = format!("sip:{}@{};m={}", self.name, self.address, self.moves);
        DialogContact::new(&OwnedUri::parse(&uri).unwrap()).unwrap()
    }

    pub(crate) fn phase(&self) -> Option<Phase> {
        self.call.as_ref().map(Call::phase)
    }

    pub(crate) fn call(&mut self) -> &mut Call {
        self.call.as_mut().unwrap()
    }

    pub(crate) fn reason(&self) -> Option<&EndReason> {
        self.records.first().map(|record| &record.reason)
    }

    pub(crate) fn has(&self, event: &Event) -> bool {
        self.events.contains(event)
    }

    /// How many requests or responses whose first line starts so the call has sent.
    pub(crate) fn count(&self, start: &str) -> usize {
        self.sent.iter().filter(|line| line.starts_with(start)).count()
    }
}

/// Sender and message; whether to drop it.
type Filter = Box<dyn FnMut(usize, &Message) -> bool>;

struct Letter {
    at: Time,
    to: usize,
    bytes: Bytes,
    order: u64,
}

pub(crate) struct Wire {
    pub(crate) now: Time,
    pub(crate) phones: [Phone; 2],
    pub(crate) transport: Transport,
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    /// Of a hundred datagrams.
    pub(crate) loss: u32,
    pub(crate) duplicates: u32,
    air: Vec<Letter>,
    acts: Vec<(Time, usize, Act)>,
    chance: Entropy,
    order: u64,
    /// Drops what a test does not want to arrive: the sender and the first line decide.
    pub(crate) drop_if: Option<Filter>,
}

impl Wire {
    pub(crate) fn new(seed: u64) -> Wire {
        Wire {
            now: Time::from_millis(1),
            phones: [Phone::new("alice", 5060, seed * 3 + 1), Phone::new("bob", 5070, seed * 3 + 2)],
            transport: Transport::Udp,
            delay: Duration::from_millis(20),
            jitter: Duration::ZERO,
            loss: 0,
            duplicates: 0,
            air: Vec::new(),
            acts: Vec::new(),
            chance: Entropy::from_number(seed * 3 + 3),
            order: 0,
            drop_if: None,
        }
    }

    fn flow(&self, phone: usize) -> FlowInfo {
        let (local, remote) = (self.phones[phone].address, self.phones[1 - phone].address);
        FlowInfo { id: FlowId(phone as u64), transport: self.transport, local, remote }
    }

    pub(crate) fn dial(&mut self, opening: Opening) {
        let dial = Dial {
            target: format!("sip:bob@{}", self.phones[B].address),
            to: "<sip:bob@example.org>".into(),
            from: "\"Alice\" <sip:alice@example.org>".into(),
            call_id: SipCallId(self.phones[A].entropy.token(20)),
            contact: self.phones[A].contact(),
            routes: Vec::new(),
            headers: Vec::new(),
            opening,
        };
        let (config, entropy) = (self.phones[A].config.clone(), self.phones[A].entropy.fork());
        self.phones[A].call = Some(Call::dial(self.now, config, dial, entropy));
        self.pump(A);
    }

    pub(crate) fn announce(&mut self, deadline: Duration) {
        let phone = &mut self.phones[B];
        let (config, contact, entropy) = (phone.config.clone(), phone.contact(), phone.entropy.fork());
        let deadline = self.now + deadline;
        let call = Call::announced(self.now, config, contact, deadline, Announcement::default(), entropy);
        phone.call = Some(call);
        self.pump(B);
    }

    pub(crate) fn act(&mut self, phone: usize, act: Act) {
        let now = self.now;
        let side = &mut self.phones[phone];
        if matches!(act, Act::Break) {
            side.table.handle_flow_failed(now, FlowId(phone as u64));
            if let Some(call) = &mut side.call {
                call.handle_flow_lost(FlowId(phone as u64));
            }
        }
        if matches!(act, Act::Moved) {
            side.moves += 1;
        }
        let contact = side.contact();
        if let Some(call) = &mut side.call {
            match act {
                Act::Answer => call.answer(now),
                Act::Decline(refusal) => call.decline(now, refusal),
                Act::HangUp => call.hang_up(now),
                Act::Hold(on) => call.hold(now, on),
                Act::Digits(digits) => call.send_digits(digits),
                Act::Moved => call.moved(now, contact),
                Act::Transfer(code) => call.transfer_progress(code, "Progress"),
                Act::Break => {}
            }
        }
        self.pump(phone);
    }

    /// Plans an act for later.
    pub(crate) fn plan(&mut self, after: Duration, phone: usize, act: Act) {
        self.acts.push((self.now + after, phone, act));
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(next) = self.next_time().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.step();
        }
        self.now = end;
    }

    pub(crate) fn run_ms(&mut self, millis: u64) {
        self.run(Duration::from_millis(millis));
    }

    /// A call that is answered and quiet.
    pub(crate) fn established(seed: u64) -> Wire {
        let mut wire = Wire::new(seed);
        wire.settle();
        wire
    }

    /// Dials, answers and waits until nothing of the set-up is open.
    pub(crate) fn settle(&mut self) {
        self.dial(Opening::Offer);
        self.run_ms(100);
        self.act(B, Act::Answer);
        self.run_ms(200);
        assert_eq!(
            self.phones[A].phase(),
            Some(Phase::Established),
            "{:?} {:?} {:?}",
            self.phones[A].sent,
            self.phones[B].sent,
            self.phones[A].records
        );
        assert_eq!(self.phones[B].phase(), Some(Phase::Established));
    }

    fn next_time(&self) -> Option<Time> {
        let mut next = self.air.iter().map(|letter| letter.at).min();
        next = earliest(next, self.acts.iter().map(|(at, _, _)| *at).min());
        for phone in &self.phones {
            next = earliest(next, phone.table.poll_timeout());
            next = earliest(next, phone.call.as_ref().and_then(Call::poll_timeout));
            next = earliest(next, phone.media.pending.front().map(|(at, _)| *at));
        }
        next
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(place) = self.acts.iter().position(|(at, _, _)| *at <= now) {
            let (_, phone, act) = self.acts.remove(place);
            self.act(phone, act);
        }
        self.air.sort_by_key(|letter| (letter.at, letter.order));
        let due = self.air.iter().take_while(|letter| letter.at <= now).count();
        for letter in self.air.drain(..due).collect::<Vec<_>>() {
            let message = Message::parse(letter.bytes).unwrap();
            let flow = self.flow(letter.to);
            self.phones[letter.to].table.handle_received(now, &flow, message);
            self.pump(letter.to);
        }
        for phone in [A, B] {
            let side = &mut self.phones[phone];
            if side.table.poll_timeout().is_some_and(|at| at <= now) {
                side.table.handle_timeout(now);
            }
            if let Some(call) = &mut side.call
                && call.poll_timeout().is_some_and(|at| at <= now)
            {
                call.handle_timeout(now);
            }
            while side.media.pending.front().is_some_and(|(at, _)| *at <= now) {
                let (_, answer) = side.media.pending.pop_front().unwrap();
                side.call().handle_described(now, answer);
            }
            self.pump(phone);
        }
    }

    fn pump(&mut self, phone: usize) {
        loop {
            if let Some(happened) = self.phones[phone].table.poll_event() {
                self.happened(phone, happened);
            } else if let Some(output) = self.phones[phone].call.as_mut().and_then(Call::poll_output) {
                self.output(phone, output);
            } else if let Some(transmit) = self.phones[phone].table.poll_transmit() {
                self.post(phone, transmit.bytes);
            } else {
                return;
            }
        }
    }

    fn happened(&mut self, phone: usize, happened: Happened) {
        let now = self.now;
        let side = &mut self.phones[phone];
        match happened {
            Happened::Request { key, request, flow, .. } => {
                let takes = |call: &Call| {
                    call.owns_request(&request)
                        || (request.to_tag().is_none() && call.phase() == Phase::Announced)
                };
                if let Some(call) = side.call.as_mut().filter(|call| takes(call)) {
                    call.handle_request(now, key, flow, &request);
                } else if side.call.is_none() && request.method().as_str() == "INVITE" {
                    let (config, contact) = (side.config.clone(), side.contact());
                    let entropy = side.entropy.fork();
                    side.call = Some(Call::incoming(now, config, contact, key, flow, &request, entropy));
                } else {
                    let response = wakeline_sip_message::Builder::response(&request, 481, "");
                    side.table.respond(now, key, response.to_tag("none").build().unwrap()).unwrap();
                }
            }
            Happened::Ack { request, .. } => {
                if let Some(call) = &mut side.call {
                    call.handle_ack(now, &request);
                }
            }
            Happened::Cancelled { key, cancel } => side.call().handle_cancelled(now, key, &cancel),
            Happened::Response { key, response, .. } => {
                if let Some(id) = side.clients.get(&key).copied() {
                    side.call().handle_response(now, id, &response);
                }
            }
            Happened::StrayResponse { response, .. } => {
                if let Some(call) = side.call.as_mut().filter(|call| call.owns_response(&response)) {
                    call.handle_stray_response(now, &response);
                }
            }
            Happened::TimedOut { key } => {
                if let Some(id) = side.clients.get(&key).copied() {
                    side.call().handle_timed_out(now, id);
                }
            }
            Happened::TransportFailed { key } => {
                if let Some(id) = side.clients.get(&key).copied() {
                    side.call().handle_transport_failed(now, id);
                }
            }
            Happened::FlowLost { .. } | Happened::AckTimedOut { .. } | Happened::Terminated { .. } => {}
        }
    }

    fn output(&mut self, phone: usize, output: Output) {
        let now = self.now;
        let flow = self.flow(phone);
        let sent_by = SentBy::address(flow.local);
        let side = &mut self.phones[phone];
        match output {
            Output::Send { id, request, .. } => {
                side.sent.push(request.start_line().into());
                let key = side.table.send(now, request, &flow, &sent_by).unwrap();
                side.clients.insert(key, id);
                side.latest.insert(id, key);
            }
            Output::Cancel { id, headers } => {
                side.sent.push("CANCEL".into());
                let key = side.latest[&id];
                let _ = side.table.cancel(now, key, &headers);
            }
            Output::Ack { request, .. } => {
                side.sent.push(request.start_line().into());
                side.table.transmit_request(&request, &flow, &sent_by).unwrap();
            }
            Output::Respond { key, response } => {
                side.sent.push(response.start_line().into());
                // The transaction may be over already: it timed out, or was refused by the table.
                let _ = side.table.respond(now, key, response);
            }
            Output::Authorize { id, .. } => side.call().authorize(now, id, None),
            Output::TryNextHop { id, .. } => side.call().next_hop(now, id, false),
            Output::Describe(question) => {
                let media = &mut side.media;
                let number = media.asked;
                media.asked += 1;
                media.questions.push(question.clone());
                let answer = match question {
                    _ if media.refuse == Some(number) => {
                        Described::Refused { code: 488, why: "no codec".into() }
                    }
                    Describe::Offer { hold, .. } => {
                        Described::Description(format!("v=0 {} offer {number} hold {hold}", side.name).into())
                    }
                    Describe::Answer { hold, .. } => Described::Description(
                        format!("v=0 {} answer {number} hold {hold}", side.name).into(),
                    ),
                    Describe::Conclude { .. } => Described::Accepted,
                };
                media.pending.push_back((now + media.delay, answer));
                if media.delay.is_zero() {
                    let (_, answer) = media.pending.pop_front().unwrap();
                    side.call().handle_described(now, answer);
                }
            }
            Output::Rollback => side.media.rollbacks += 1,
            Output::Event(Event::Ended(record)) => {
                side.records.push(record.clone());
                side.events.push(Event::Ended(record));
            }
            Output::Event(event) => side.events.push(event),
        }
    }

    fn post(&mut self, from: usize, bytes: Bytes) {
        let message = Message::parse(bytes.clone()).unwrap();
        if let Some(drop_if) = &mut self.drop_if
            && drop_if(from, &message)
        {
            return;
        }
        let reliable = self.transport.is_reliable();
        if !reliable && self.chance.below(100) < self.loss {
            return;
        }
        let copies = if !reliable && self.chance.below(100) < self.duplicates { 2 } else { 1 };
        for _ in 0..copies {
            let jitter =
                if reliable { Duration::ZERO } else { self.chance.between(Duration::ZERO, self.jitter) };
            self.order += 1;
            let at = self.now + self.delay + jitter;
            self.air.push(Letter { at, to: 1 - from, bytes: bytes.clone(), order: self.order });
        }
    }

    /// Runs until nothing can happen any more, and checks that nothing is left (class S27).
    pub(crate) fn finish(&mut self) {
        self.pump(A);
        self.pump(B);
        self.run(Duration::from_secs(600));
        for phone in &self.phones {
            let name = phone.name;
            if let Some(call) = &phone.call {
                assert_eq!(call.phase(), Phase::Ended, "{name}: {:?} {:?}", phone.events, phone.sent);
                assert!(call.is_finished(), "{name} is not finished: {:?}", phone.sent);
                assert_eq!(phone.records.len(), 1, "{name}: {:?}", phone.records);
                assert_eq!(call.dialogs(), 0, "{name}");
                assert_eq!(call.poll_timeout(), None, "{name}");
            }
            let gauges = phone.table.gauges();
            assert_eq!((gauges.client, gauges.server, gauges.timers), (0, 0, 0), "{name}: {:?}", phone.sent);
        }
    }
}
