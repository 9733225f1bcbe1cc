//! The whole phone: commands of a person, answers of networks, messages of friends and strangers, on virtual time.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use wakeline_clock::{Time, WallTime};
use wakeline_flow::{FlowId, FlowInfo, Received, Transport};
use wakeline_secret::Secret;
use wakeline_settings::{Settings, Source};
use wakeline_sip_message::{Message, Method, Name};
use wakeline_sip_resolve::{Answer, LookupFailure, Question, Record};
use wakeline_user_agent::{
    CallId, Command, Configuration, Encryption, Event, FlowFailure, Input, MediaAnswer, MediaEvent,
    MediaRequest, Output, UserAgent,
};

use crate::bend::{SDP, response};
use crate::phone_script::{command, incoming};
use crate::script::{Bound, Script};

const PASSWORD: &str = "a canary of a password";
const TOKEN: &str = "aCanaryOfAToken";

struct Bench {
    agent: UserAgent,
    now: Time,
    memory: BTreeMap<String, Secret>,
    opening: Vec<(FlowId, Transport, core::net::SocketAddr)>,
    flows: Vec<FlowInfo>,
    sent: Vec<(FlowId, Message)>,
    questions: Vec<Question>,
    media: Vec<(CallId, MediaRequest)>,
    calls: Vec<CallId>,
    ended: BTreeMap<CallId, String>,
    rang: BTreeMap<CallId, u32>,
}

fn account(user: &str, transport: &str) -> Settings {
    let mut settings = Settings::default();
    let parameters = [
        ("serveraddress", "192.0.2.1"),
        ("realm", "example.org"),
        ("username", user),
        ("password", PASSWORD),
        ("transport", transport),
    ];
    for (name, value) in parameters {
        settings.set(name, value, Source::File);
    }
    settings
}

fn agent(memory: BTreeMap<String, Secret>, transport: &str, now: Time) -> UserAgent {
    let accounts = vec![account("mia", transport), account("tom", "1")];
    let configuration = Configuration { accounts, memory };
    UserAgent::new(configuration, [7; 32], now, WallTime(1_789_000_000_000)).expect("settings that work")
}

impl Bench {
    fn drain(&mut self) {
        let mut bound = Bound::new(1_500, "what a phone wants");
        while let Some(output) = self.agent.poll_output() {
            bound.count();
            match output {
                Output::Open { flow, hop, .. } => self.opening.push((flow, hop.transport, hop.remote)),
                Output::Send(transmit) => self.sent(transmit.flow, transmit.bytes),
                Output::Close(flow) => {
                    self.flows.retain(|one| one.id != flow);
                    self.opening.retain(|(id, _, _)| *id != flow);
                }
                Output::Resolve(question) => self.questions.push(question),
                Output::Provision { .. } | Output::Configure(_) => {}
                Output::Media { call, request } => self.media.push((call, request)),
                Output::Remember { key, record } => drop(self.memory.insert(key, record)),
            }
        }
        while let Some(event) = self.agent.poll_event() {
            bound.count();
            let shown = format!("{event:?}");
            let told = serde_json::to_string(&event).expect("an event can be written");
            for canary in [PASSWORD, TOKEN] {
                assert!(!shown.contains(canary) && !told.contains(canary), "S23: {shown}");
            }
            match event {
                Event::Rings(call) => {
                    let rings = self.rang.entry(call.call).or_default();
                    *rings += 1;
                    assert_eq!(*rings, 1, "one call rings twice (S25)");
                    self.calls.push(call.call);
                }
                Event::CallChanged(call) if !self.calls.contains(&call.call) => self.calls.push(call.call),
                Event::CallEnded(call) => {
                    let former = self.ended.insert(call.last.call, shown.clone());
                    assert_eq!(former, None, "a call ends twice: {shown}");
                }
                _ => {}
            }
        }
    }

    fn sent(&mut self, flow: FlowId, bytes: Bytes) {
        if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
            || bytes.first().is_some_and(|byte| *byte < 4)
        {
            return;
        }
        let message = Message::parse(bytes.clone()).expect("what a phone sends can be read");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(PASSWORD), "the password itself on the wire");
        if message.method() != Method::Register {
            assert!(!text.contains(TOKEN), "pn-prid outside of REGISTER (RFC 8599 §4.1): {text}");
        }
        if let Some(way) = self.flows.iter().find(|one| one.id == flow)
            && (message.header(Name::Authorization).is_some()
                || message.header(Name::ProxyAuthorization).is_some())
        {
            let server: core::net::IpAddr = [192, 0, 2, 1].into();
            assert_eq!(way.remote.ip(), server, "S1: credentials to a stranger");
            assert!(!text.contains("realm=\"elsewhere.example\""), "S1: a foreign realm is answered");
        }
        self.sent.push((flow, message));
        if self.sent.len() > 16 {
            self.sent.remove(0);
        }
    }

    fn time(&mut self) {
        let mut bound = Bound::new(6, "a phone's timers");
        while self.agent.poll_timeout().is_some_and(|due| due <= self.now) {
            bound.count();
            self.agent.handle_timeout(self.now);
            self.drain();
        }
    }
}

fn media(script: &mut Script<'_>, request: &MediaRequest) -> Option<MediaAnswer> {
    let refused = script.below(8) == 0;
    match request {
        _ if refused => Some(MediaAnswer::Refused { code: 488, why: "no codec".into() }),
        MediaRequest::Offer { .. } | MediaRequest::Answer { .. } => {
            Some(MediaAnswer::Description { description: Bytes::from_static(SDP.as_bytes()) })
        }
        MediaRequest::Conclude { .. } => Some(MediaAnswer::Accepted),
        _ => None,
    }
}

pub(crate) fn user_agent(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    if script.says(&[PASSWORD, TOKEN]) {
        return;
    }
    let now = Time::from_millis(1_000_000);
    let transport = ["0", "1", "2", "3"][script.below(4)];
    let mut bench = Bench {
        agent: agent(BTreeMap::new(), transport, now),
        now,
        memory: BTreeMap::new(),
        opening: Vec::new(),
        flows: Vec::new(),
        sent: Vec::new(),
        questions: Vec::new(),
        media: Vec::new(),
        calls: Vec::new(),
        ended: BTreeMap::new(),
        rang: BTreeMap::new(),
    };
    bench.agent.handle_command(now, Command::Start);
    bench.drain();
    let mut cseq = 1;
    script.play(|script| {
        step(&mut bench, script, &mut cseq, transport);
        bench.drain();
        bench.time();
        let snapshot = bench.agent.snapshot();
        let told = serde_json::to_string(&snapshot).expect("a snapshot can be written");
        assert!(!told.contains(TOKEN), "S23: {told}");
    });
    over(&mut bench);
}

fn step(bench: &mut Bench, script: &mut Script<'_>, cseq: &mut u32, transport: &str) {
    let now = bench.now;
    match script.below(22) {
        0..=4 => {
            let command = command(&bench.calls, TOKEN, script);
            assert!(!format!("{command:?}").contains(TOKEN), "S23");
            bench.agent.handle_command(now, command);
        }
        5..=7 => {
            if !bench.opening.is_empty() {
                let place = script.below(bench.opening.len());
                let (flow, transport, remote) = bench.opening.remove(place);
                if script.below(6) > 0 {
                    let local = "10.20.0.5:40001".parse().unwrap();
                    let info = FlowInfo { id: flow, transport, local, remote };
                    bench.flows.push(info);
                    bench.agent.handle_input(now, Input::Opened(info));
                } else {
                    let failure = FlowFailure::Unreachable;
                    bench.agent.handle_input(now, Input::Closed { flow, failure });
                }
            }
        }
        8 => {
            if !bench.flows.is_empty() {
                let place = script.below(bench.flows.len());
                let flow = bench.flows.remove(place).id;
                bench.agent.handle_input(now, Input::Closed { flow, failure: FlowFailure::ClosedByPeer });
            }
        }
        9..=12 => {
            if let Some((flow, message)) = script.pick(&bench.sent)
                && let Some(info) = bench.flows.iter().find(|one| one.id == flow).copied()
                && message.is_request()
                && let Some(answer) = response(script, &message)
            {
                let received = Received { flow: info, bytes: answer.to_bytes() };
                bench.agent.handle_input(now, Input::Received(received));
            }
        }
        13..=15 => {
            if let Some(info) = script.pick(&bench.flows) {
                let sent: Vec<Message> = bench.sent.iter().map(|(_, message)| message.clone()).collect();
                let bytes = incoming(&sent, script, cseq);
                bench.agent.handle_input(now, Input::Received(Received { flow: info, bytes }));
            }
        }
        16 => {
            if !bench.questions.is_empty() {
                let question = bench.questions.remove(0);
                let outcome = match script.below(3) {
                    0 => Err(LookupFailure::Unavailable),
                    1 => Err(LookupFailure::NotFound),
                    _ => Ok(vec![Record::Address([203, 0, 113, 7].into())]),
                };
                bench.agent.handle_input(now, Input::Resolved(Answer { question, outcome }));
            }
        }
        17 | 18 => {
            if !bench.media.is_empty() {
                let (call, request) = bench.media.remove(0);
                if let Some(answer) = media(script, &request) {
                    bench.agent.handle_input(now, Input::Described { call, answer });
                }
            }
        }
        19 => {
            let call = script.pick(&bench.calls).unwrap_or(CallId(1));
            let event = match script.below(5) {
                0 => MediaEvent::Agreed {
                    codec: "PCMU".into(),
                    encryption: Encryption::None,
                    held_by_peer: script.flag(),
                    telephone_events: script.flag(),
                },
                1 => MediaEvent::Flowing,
                2 => MediaEvent::Digit('5'),
                3 => MediaEvent::TimedOut,
                _ => MediaEvent::Failed("lost".into()),
            };
            bench.agent.handle_input(now, Input::Media { call, event });
        }
        20 => bench.now += script.span(),
        _ => {
            if script.below(4) == 0 {
                // Killed and started anew with what it kept.
                let memory = bench.memory.clone();
                bench.agent = agent(memory, transport, now);
                bench.opening.clear();
                bench.flows.clear();
                bench.questions.clear();
                bench.media.clear();
                bench.calls.clear();
                bench.ended.clear();
                bench.rang.clear();
                bench.agent.handle_command(now, Command::Start);
            }
        }
    }
}

/// The phone is told to stop and nobody answers any more: everything ends, and every call has ended once.
fn over(bench: &mut Bench) {
    bench.agent.handle_command(bench.now, Command::Stop);
    bench.drain();
    let mut bound = Bound::new(6_000, "the end of a phone");
    let end = bench.now + Duration::from_secs(900);
    loop {
        bound.count();
        if let Some((flow, _, _)) = bench.opening.pop() {
            let failure = FlowFailure::Unreachable;
            bench.agent.handle_input(bench.now, Input::Closed { flow, failure });
        } else if let Some(question) = bench.questions.pop() {
            let outcome = Err(LookupFailure::Unavailable);
            bench.agent.handle_input(bench.now, Input::Resolved(Answer { question, outcome }));
        } else if !bench.media.is_empty() {
            let (call, request) = bench.media.remove(0);
            if matches!(
                request,
                MediaRequest::Offer { .. } | MediaRequest::Answer { .. } | MediaRequest::Conclude { .. }
            ) {
                let answer = MediaAnswer::Refused { code: 488, why: "over".into() };
                bench.agent.handle_input(bench.now, Input::Described { call, answer });
            }
        } else if let Some(due) = bench.agent.poll_timeout().filter(|due| *due <= end) {
            bench.now = bench.now.max(due);
            bench.agent.handle_timeout(bench.now);
        } else {
            break;
        }
        bench.drain();
    }
    let snapshot = bench.agent.snapshot();
    assert!(snapshot.calls.is_empty(), "a call without an end: {:?}", snapshot.calls);
    assert_eq!((snapshot.dialogs, snapshot.transactions), (0, 0), "left behind");
}
