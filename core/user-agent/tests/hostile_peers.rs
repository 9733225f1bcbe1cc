//! The phone among strangers: what they send, what a person is made to type, and a clock that jumps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use wakeline_clock::{Time, WallTime};
use wakeline_flow::{FlowId, FlowInfo, Received, Transport};
use wakeline_secret::Secret;
use wakeline_settings::{Settings, Source};
use wakeline_sip_message::{Builder, Message, Method, Name};
use wakeline_user_agent::{
    AccountId, CallId, Command, Configuration, Event, Input, MediaAnswer, MediaRequest, Output, UserAgent,
};

const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
const CHALLENGE: &str = "Digest realm=\"example.org\", nonce=\"n1\", qop=\"auth\"";

struct Phone {
    agent: UserAgent,
    now: Time,
    flows: Vec<FlowInfo>,
    sent: Vec<(FlowId, Message)>,
    events: Vec<Event>,
}

impl Phone {
    /// Registered over UDP, after a challenge: a nonce is kept.
    fn registered() -> Phone {
        let mut settings = Settings::default();
        for (name, value) in [
            ("serveraddress", "192.0.2.1"),
            ("realm", "example.org"),
            ("username", "mia"),
            ("password", "secret"),
            ("transport", "0"),
        ] {
            settings.set(name, value, Source::File);
        }
        let now = Time::from_millis(1_000_000);
        let configuration = Configuration { accounts: vec![settings], ..Configuration::default() };
        let agent = UserAgent::new(configuration, [7; 32], now, WallTime(1_789_000_000_000)).unwrap();
        let mut phone = Phone { agent, now, flows: Vec::new(), sent: Vec::new(), events: Vec::new() };
        phone.command(Command::Start);
        let request = phone.last(&Method::Register);
        let challenge = Builder::response(&request, 401, "").header(Name::WwwAuthenticate, CHALLENGE);
        phone.receive(phone.flows[0], &challenge.build().unwrap());
        phone.accept_register();
        phone.sent.clear();
        phone
    }

    fn accept_register(&mut self) {
        let request = self.last(&Method::Register);
        let contact = format!("{};expires=3600", request.header(Name::Contact).unwrap());
        let ok = Builder::response(&request, 200, "").to_tag("r").header(Name::Contact, contact);
        let flow = *self.flows.last().unwrap();
        self.receive(flow, &ok.build().unwrap());
    }

    fn command(&mut self, command: Command) {
        self.agent.handle_command(self.now, command);
        self.drain();
    }

    fn receive(&mut self, flow: FlowInfo, message: &Message) {
        let received = Received { flow, bytes: message.to_bytes() };
        self.agent.handle_input(self.now, Input::Received(received));
        self.drain();
    }

    /// Flows open at once, and the media takes everything.
    fn drain(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            let input = match output {
                Output::Open { flow, hop, .. } => {
                    let local = "10.20.0.5:40001".parse().unwrap();
                    let info = FlowInfo { id: flow, transport: hop.transport, local, remote: hop.remote };
                    self.flows.push(info);
                    Input::Opened(info)
                }
                Output::Send(transmit) => {
                    if let Ok(message) = Message::parse(transmit.bytes) {
                        self.sent.push((transmit.flow, message));
                    }
                    continue;
                }
                Output::Media { call, request: MediaRequest::Offer { .. } | MediaRequest::Answer { .. } } => {
                    let description = Bytes::from_static(SDP.as_bytes());
                    Input::Described { call, answer: MediaAnswer::Description { description } }
                }
                Output::Media { call, request: MediaRequest::Conclude { .. } } => {
                    Input::Described { call, answer: MediaAnswer::Accepted }
                }
                Output::Provision { .. }
                | Output::Configure(_)
                | Output::Media { .. }
                | Output::Close(_)
                | Output::Resolve(_)
                | Output::Remember { .. } => {
                    continue;
                }
            };
            self.agent.handle_input(self.now, input);
        }
        while let Some(event) = self.agent.poll_event() {
            self.events.push(event);
        }
    }

    fn last(&self, method: &Method) -> Message {
        let found = self.sent.iter().rev().find(|(_, sent)| sent.is_request() && sent.method() == *method);
        found.unwrap_or_else(|| panic!("no {method} was sent")).1.clone()
    }

    fn rings(&self) -> Vec<CallId> {
        let ring = |event: &Event| if let Event::Rings(call) = event { Some(call.call) } else { None };
        self.events.iter().filter_map(ring).collect()
    }
}

fn stranger(number: u64) -> FlowInfo {
    FlowInfo {
        id: FlowId(1_000 + number),
        transport: Transport::Udp,
        local: "10.20.0.5:40001".parse().unwrap(),
        remote: SocketAddr::from(([203, 0, 113, 66], 5060)),
    }
}

fn invite(call_id: &str, from: &str) -> Message {
    Builder::request(Method::Invite, "sip:mia@10.20.0.5:40001")
        .header(Name::Via, format!("SIP/2.0/UDP 203.0.113.66;branch=z9hG4bK{call_id}"))
        .header(Name::MaxForwards, 70)
        .header(Name::From, from)
        .header(Name::To, "<sip:mia@example.org>")
        .header(Name::CallId, call_id)
        .header(Name::CSeq, "1 INVITE")
        .header(Name::Contact, "<sip:eve@203.0.113.66>")
        .body("application/sdp", SDP)
        .build()
        .unwrap()
}

/// A call of a stranger, answered and then ended by us; the BYE and the flow that it left on.
fn bye_to_a_stranger(phone: &mut Phone, way: FlowInfo) -> (FlowInfo, Message) {
    phone.receive(way, &invite("c1", "<sip:eve@203.0.113.66>;tag=e"));
    let call = *phone.rings().first().expect("it rings");
    phone.command(Command::Answer { call });
    let ok =
        phone.sent.iter().rev().find(|(_, sent)| sent.status() == Some(200)).expect("answered").1.clone();
    let ack = Builder::request(Method::Ack, "sip:mia@10.20.0.5:40001")
        .header(Name::Via, "SIP/2.0/UDP 203.0.113.66;branch=z9hG4bKack")
        .copy(&ok, Name::From)
        .copy(&ok, Name::To)
        .copy(&ok, Name::CallId)
        .header(Name::CSeq, "1 ACK");
    phone.receive(way, &ack.build().unwrap());
    phone.command(Command::Hangup { call });
    let (flow, bye) = phone.sent.iter().rev().find(|(_, sent)| sent.method() == Method::Bye).unwrap().clone();
    let way = phone.flows.iter().find(|one| one.id == flow).copied().unwrap_or(way);
    (way, bye)
}

#[test]
fn s1_a_stranger_that_challenges_our_bye_gets_no_credentials() {
    for (code, field) in [(401, Name::WwwAuthenticate), (407, Name::ProxyAuthenticate)] {
        for realm in ["example.org", "elsewhere.example"] {
            let mut phone = Phone::registered();
            let (way, bye) = bye_to_a_stranger(&mut phone, stranger(1));
            phone.sent.clear();
            let challenge = format!("Digest realm=\"{realm}\", nonce=\"evil\", qop=\"auth\"");
            let answer = Builder::response(&bye, code, "").header(field.clone(), challenge).build().unwrap();
            phone.receive(way, &answer);
            let server: std::net::IpAddr = [192, 0, 2, 1].into();
            for (flow, sent) in &phone.sent {
                let to_us = phone.flows.iter().any(|one| one.id == *flow && one.remote.ip() == server);
                let credentials = sent.header(Name::Authorization).or(sent.header(Name::ProxyAuthorization));
                assert!(to_us || credentials.is_none(), "{code} {realm}: {sent:?}");
                assert!(credentials.is_none_or(|text| !text.contains("elsewhere.example")), "{sent:?}");
            }
        }
    }
}

#[test]
fn s8_nothing_typed_or_pushed_forges_a_header_line() {
    let payloads = [
        "x\r\nEvil: 1",
        "x\nEvil: 1",
        "x\rEvil: 1",
        "x%0d%0aEvil:1",
        "sip:x@y\r\n Evil: 1",
        "sip:x@y?Evil=1",
        "sip:x@y?Subject=a%0d%0aEvil:1",
        "sip:x@y;a=%0d%0aEvil:1",
        "\u{2028}Evil: 1",
        "\0Evil: 1",
        "\"><sip:x>\r\nEvil: 1",
        "sip:a%0d%0aEvil:1@y",
    ];
    for payload in payloads {
        let mut phone = Phone::registered();
        let (account, text) = (AccountId(0), || payload.to_owned());
        let set =
            |name: &str| Command::SetParameter { account, name: name.into(), value: Secret::from(payload) };
        phone.command(Command::SetPushToken { provider: text(), param: text(), prid: Secret::from(payload) });
        for name in ["displayname", "username", "useragent", "contact_parameters", "contact_uri_parameters"] {
            phone.command(set(name));
        }
        phone.command(Command::PushReceived {
            payload: format!("{{\"v\":1,\"t\":\"call\",\"wid\":{payload:?}}}"),
        });
        phone.command(Command::Dial { account, to: text() });
        phone.command(Command::Options { account, to: text() });
        phone.receive(phone.flows[0], &invite("c8", "<sip:eve@203.0.113.66>;tag=e"));
        for call in phone.rings() {
            phone.command(Command::Dtmf { call, digits: text() });
            phone.command(Command::Forward { call, to: text() });
        }
        for (_, sent) in &phone.sent {
            let bytes = sent.to_bytes();
            let wire = String::from_utf8_lossy(&bytes);
            let forged = wire.split(['\r', '\n']).any(|line| line.trim_start().starts_with("Evil"));
            assert!(!forged, "{payload:?}: {wire}");
        }
    }
}

/// `customsipheader` is there to add lines, so those it names may appear; none of the machines' own.
#[test]
fn s8_customsipheader_adds_no_line_that_is_the_machines_own() {
    for value in
        ["X-A: 1\r\nRoute: <sip:evil>", "X-A: 1\nContact: <sip:evil>", "X-A: 1;Via: evil", "To : <sip:evil>"]
    {
        let mut phone = Phone::registered();
        let (account, value) = (AccountId(0), Secret::from(value));
        phone.command(Command::SetParameter { account, name: "customsipheader".into(), value });
        phone.command(Command::Register { account });
        phone.command(Command::Dial { account, to: "bob".into() });
        assert!(phone.sent.len() >= 2);
        for (_, sent) in &phone.sent {
            assert!(!String::from_utf8_lossy(&sent.to_bytes()).contains("evil"), "{sent:?}");
        }
    }
}

#[test]
fn s7_a_hostile_display_name_stays_in_its_line() {
    let mut phone = Phone::registered();
    let text =
        String::from_utf8(invite("c7", "\"NAME\" <sip:eve@203.0.113.66>;tag=e").to_bytes().to_vec()).unwrap();
    let bytes = Bytes::from(text.replace("NAME", "%s%n\u{1b}[2J\u{7}"));
    let received = Received { flow: phone.flows[0], bytes };
    phone.agent.handle_input(phone.now, Input::Received(received));
    phone.drain();
    let answered = phone.sent.iter().any(|(_, sent)| sent.status().is_some());
    assert!(answered || !phone.rings().is_empty(), "neither refused nor rung");
    for event in &phone.events {
        let shown = format!("{event:?}");
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
    }
}

#[test]
fn s14_a_flood_of_invites_is_bounded_and_each_is_answered() {
    let mut phone = Phone::registered();
    let flow = phone.flows[0];
    for number in 0..200 {
        phone.receive(flow, &invite(&format!("flood{number}"), "<sip:eve@203.0.113.66>;tag=e"));
    }
    assert!(phone.agent.snapshot().calls.len() <= 32, "{}", phone.agent.snapshot().calls.len());
    let answered: BTreeSet<String> = phone
        .sent
        .iter()
        .filter(|(_, sent)| sent.status().is_some())
        .map(|(_, sent)| sent.call_id().to_owned())
        .collect();
    assert_eq!(answered.len(), 200);
}

#[test]
fn f10_a_day_that_passes_in_one_step_costs_one_register() {
    let mut phone = Phone::registered();
    phone.now += Duration::from_secs(86_400);
    let mut rounds = 0;
    while phone.agent.poll_timeout().is_some_and(|due| due <= phone.now) {
        phone.agent.handle_timeout(phone.now);
        phone.drain();
        rounds += 1;
        assert!(rounds < 20, "a timer that is always due");
    }
    let numbers: BTreeSet<u32> = phone
        .sent
        .iter()
        .filter(|(_, sent)| sent.is_request() && sent.method() == Method::Register)
        .map(|(_, sent)| sent.cseq().unwrap().number)
        .collect();
    assert_eq!(numbers.len(), 1, "one REGISTER, not {}", numbers.len());
}
