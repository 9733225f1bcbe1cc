//! The gateway's machine: phones that register and sleep, callers of all kinds, push services, flows that break.

use core::time::Duration;

use bytes::Bytes;
use wakeline_clock::{Time, WallTime};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Received, Transport};
use wakeline_registrar::{
    Account, Config, Credential, HopId, Loaded, Output, PushKey, PushResult, Registrar, TrustedPeer,
};
use wakeline_secret::Secret;
use wakeline_sip_auth::{Asker, Credentials, Session};
use wakeline_sip_message::{Builder, HeaderLine, Message, Method, Name};

use crate::bend::{METHODS, Request, bend, bent, request, response, straight};
use crate::script::{Bound, Script};

const DOMAIN: &str = "voice.example.org";
pub(crate) const PASSWORD: &str = "a canary of a password";
pub(crate) const TOKEN: &str = "aCanaryOfAToken";

/// Headers that say where somebody is.
const ADDRESSES: [Name; 7] =
    [Name::Contact, Name::From, Name::To, Name::Route, Name::RecordRoute, Name::Path, Name::ReferTo];

/// A gateway, what is connected to it, and what it has said last.
pub(crate) struct Bench {
    pub(crate) gateway: Registrar,
    pub(crate) now: Time,
    /// The domain of those who register.
    domain: &'static str,
    pub(crate) flows: Vec<FlowInfo>,
    next_flow: u64,
    pub(crate) sent: Vec<(FlowId, Message)>,
    pub(crate) pushes: Vec<PushKey>,
    /// Connections that were asked for.
    pub(crate) wanted: Vec<HopId>,
    session: Session,
    entropy: Entropy,
    asked: Option<Message>,
    cseq: u32,
    branch: u32,
}

impl Bench {
    pub(crate) fn new(config: Config, loaded: Loaded, domain: &'static str) -> Bench {
        let now = Time::from_millis(1_000_000);
        let gateway = Registrar::new(config, loaded, [1; 32], now, WallTime(1_789_001_000_000));
        let mut bench = Bench {
            gateway,
            now,
            domain,
            flows: Vec::new(),
            next_flow: 0,
            sent: Vec::new(),
            pushes: Vec::new(),
            wanted: Vec::new(),
            session: Session::new(),
            entropy: Entropy::from_number(7),
            asked: None,
            cseq: 0,
            branch: 0,
        };
        bench.drain();
        bench
    }

    /// Everything that is due is done.
    pub(crate) fn settle(&mut self) {
        self.drain();
        let mut bound = Bound::new(600, "a gateway's timers");
        while self.gateway.poll_timeout().is_some_and(|due| due <= self.now) {
            bound.count();
            let wall = self.wall();
            self.gateway.handle_timeout(self.now, wall);
            self.drain();
        }
    }

    /// A number that no request has had.
    pub(crate) fn fresh(&mut self) -> u32 {
        self.branch += 1;
        self.branch
    }

    pub(crate) fn wall(&self) -> WallTime {
        WallTime(1_789_000_000_000 + self.now.as_millis())
    }

    pub(crate) fn drain(&mut self) {
        let mut bound = Bound::new(600, "what a gateway wants");
        while let Some(output) = self.gateway.poll_output() {
            bound.count();
            match output {
                Output::Transmit(transmit) => {
                    let text = String::from_utf8_lossy(&transmit.bytes).into_owned();
                    let message = Message::parse(transmit.bytes).expect("what leaves can be read");
                    // Whoever registers gets its own Contact back.
                    let to_phone = message.method() == Method::Register && !message.is_request();
                    // A name that was damaged on its way is no token's name any more.
                    let token = format!(";pn-prid={TOKEN}");
                    // What stands in a header with a damaged name says of nobody where he is.
                    let says =
                        |line: &HeaderLine<'_>| line.name().is_some_and(|name| ADDRESSES.contains(&name));
                    let shows = message.start_line().contains(&token)
                        || message.lines().filter(says).any(|line| line.value().contains(&token));
                    assert!(to_phone || !shows, "S23: a push token leaves: {text}");
                    // A question mark in the user part is one (§25.1); headers are not for a request line (§19.1.1).
                    let headers = message.request_uri().is_ok_and(|uri| uri.headers().next().is_some());
                    assert!(!message.is_request() || !headers, "RFC 3261 §16.6: {text}");
                    assert!(!text.contains(PASSWORD), "S23: a password leaves: {text}");
                    self.sent.push((transmit.flow, message));
                    if self.sent.len() > 16 {
                        self.sent.remove(0);
                    }
                }
                Output::Push(push) => {
                    assert!(!format!("{push:?}").contains(TOKEN), "S23");
                    self.pushes.push(push.key);
                }
                Output::CancelPush(key) => self.pushes.retain(|one| *one != key),
                Output::CloseFlow(flow) => self.flows.retain(|one| one.id != flow),
                Output::OpenFlow(hop, _) => self.wanted.push(hop),
                Output::Persist(change) => assert!(!format!("{change:?}").contains(TOKEN), "S23"),
                Output::Trace(_) => {}
            }
        }
    }

    pub(crate) fn receive(&mut self, flow: FlowInfo, bytes: Bytes) {
        let wall = self.wall();
        self.gateway.handle_received(self.now, wall, Received { flow, bytes });
        self.drain();
    }

    pub(crate) fn open(&mut self, script: &mut Script<'_>) -> FlowInfo {
        self.next_flow += 1;
        let hosts: [[u8; 4]; 3] = [[192, 0, 2, 10], [198, 51, 100, 7], [203, 0, 113, 66]];
        let info = FlowInfo {
            id: FlowId(self.next_flow),
            transport: Transport::ALL[script.below(5)],
            local: "203.0.113.1:5061".parse().unwrap(),
            remote: (hosts[script.below(3)], 40_000 + (self.next_flow % 20_000) as u16).into(),
        };
        self.flows.push(info);
        let now = self.now;
        self.gateway.handle_flow_opened(now, info);
        info
    }

    /// A REGISTER of a phone that knows its password, bent or not, through the challenge.
    pub(crate) fn register(&mut self, script: &mut Script<'_>, flow: FlowInfo) {
        let domain = self.domain;
        let user = ["mia", "ben"][script.below(2)];
        let credentials = Credentials::password(user, Secret::from(PASSWORD));
        let expires = [604_800, 3600, 60, 0, 1, u32::MAX][script.below(6)];
        let instance = script.below(4);
        for _ in 0..2 {
            self.cseq += 1;
            self.branch += 1;
            let uri = format!("sip:{domain}");
            let mut builder = Builder::request(Method::Register, &uri)
                .header(
                    Name::Via,
                    format!(
                        "SIP/2.0/{} {};branch=z9hG4bKr{};rport",
                        flow.transport, flow.remote, self.branch
                    ),
                )
                .header(Name::MaxForwards, 70)
                .header(Name::From, format!("<sip:{user}@{domain}>;tag=reg"))
                .header(Name::To, format!("<sip:{user}@{domain}>"))
                .header(Name::CallId, format!("reg-{user}-{instance}"))
                .header(Name::CSeq, format!("{} REGISTER", self.cseq))
                .header(Name::Supported, "path, outbound, gruu")
                .header(
                    Name::Contact,
                    format!(
                        "<sip:{user}@{};ob;pn-provider=fcm;pn-param=acme;pn-prid={TOKEN}{instance}>;reg-id=1;\
                         +sip.instance=\"<urn:uuid:0f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a7{instance}>\"",
                        flow.remote
                    ),
                )
                .header(Name::Expires, expires);
            for (name, value) in
                self.session.authorize(&Method::Register, &uri, b"", &credentials, &mut self.entropy)
            {
                builder = builder.header(name, value);
            }
            let Ok(message) = builder.build() else { return };
            self.sent.clear();
            let bytes = bend(script, &message);
            self.receive(flow, bytes);
            let answer = self.sent.iter().find(|(_, one)| one.status().is_some()).map(|(_, one)| one.clone());
            let Some(answer) = answer else { return };
            if answer.status() != Some(401) {
                let _ = self.session.on_success(&message, &answer, &credentials);
                return;
            }
            if self.session.on_challenge(&message, &answer, &credentials, Asker::Configured).is_err() {
                self.session.clear();
                return;
            }
        }
    }

    pub(crate) fn call(&mut self, script: &mut Script<'_>, flow: FlowInfo) {
        self.branch += 1;
        let uri = [
            "sip:mia@voice.example.org",
            "sip:ben@voice.example.org",
            "sip:nobody@voice.example.org",
            "sip:x@elsewhere.example",
            "sip:mia@203.0.113.1:5061",
            "sip:203.0.113.1:5061;lr",
        ][script.below(6)];
        let method = match script.below(4) {
            0 => METHODS[script.below(METHODS.len())].clone(),
            1 => Method::Cancel,
            _ => Method::Invite,
        };
        let call_id = ["c1", "c2", "c3"][script.below(3)];
        let branch = format!("z9hG4bKc{}", if script.flag() { self.branch } else { self.branch.max(1) - 1 });
        let to = [format!("<{uri}>"), format!("<{uri}>;tag=t1")][script.below(2)].clone();
        let via = format!("SIP/2.0/{} {};rport", flow.transport, flow.remote);
        let names = Request {
            method,
            uri,
            call_id,
            from: "\"Uncle Bob\" <sip:+15550100@198.51.100.7>;tag=caller",
            to: &to,
            cseq: 1 + u32::from(script.byte() & 1),
            branch: &branch,
            via: &via,
        };
        if let Some(message) = request(script, &names) {
            self.asked = Some(message.clone());
            self.receive(flow, message.to_bytes());
        }
    }

    /// What is no call: messages, subscriptions, what phones publish, what voicemail boxes say.
    pub(crate) fn chat(&mut self, script: &mut Script<'_>, flow: FlowInfo) {
        self.branch += 1;
        let uri = ["sip:mia@voice.example.org", "sip:ben@voice.example.org"][script.below(2)];
        let method =
            [Method::Message, Method::Subscribe, Method::Publish, Method::Notify][script.below(4)].clone();
        let call_id = format!("chat-{}", script.below(6));
        let branch = format!("z9hG4bKm{}", self.branch);
        let from = [
            "<sip:mia@voice.example.org>;tag=w",
            "<sip:ben@voice.example.org>;tag=w",
            "\"Uncle Bob\" <sip:+15550100@198.51.100.7>;tag=caller",
        ][script.below(3)];
        // A subscription is refreshed under the tag that we gave.
        let told = self.sent.iter().rev().find(|(_, one)| one.is_request() && one.method() == Method::Notify);
        let tag = told.and_then(|(_, one)| one.from_tag()).filter(|_| script.flag()).map(str::to_owned);
        let call_id = told.filter(|_| tag.is_some()).map_or(call_id, |(_, one)| one.call_id().to_owned());
        let to = tag.map_or(format!("<{uri}>"), |tag| format!("<{uri}>;tag={tag}"));
        let via = format!("SIP/2.0/{} {};rport", flow.transport, flow.remote);
        let names = Request {
            method: method.clone(),
            uri,
            call_id: &call_id,
            from,
            to: &to,
            cseq: 1 + u32::from(script.byte()),
            branch: &branch,
            via: &via,
        };
        let Some(message) = straight(false, &names) else { return };
        let event = ["reg", "presence", "dialog", "message-summary", "weather"][script.below(5)];
        let mut edit = message.edit();
        if method != Method::Message {
            edit = edit.append(Name::Event, event);
        }
        if script.flag() {
            edit = edit.append(Name::Expires, [0, 1, 60, 3600, u32::MAX][script.below(5)]);
        }
        if script.flag() {
            let kind = ["text/plain", "application/pidf+xml", "application/dialog-info+xml"][script.below(3)];
            edit = edit.set_body(kind, script.bytes(40).to_vec());
        }
        let etag = self.sent.iter().rev().find_map(|(_, one)| one.sip_etag().map(str::to_owned));
        if let Some(etag) = etag.filter(|_| method == Method::Publish && script.flag()) {
            edit = edit.append(Name::SipIfMatch, etag);
        }
        let Some(message) = edit.finish().ok().and_then(|message| bent(script, &message)) else { return };
        self.receive(flow, message.to_bytes());
    }
}

pub(crate) fn registrar(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    if script.says(&[PASSWORD, TOKEN]) {
        return;
    }
    let mut config = Config::new(DOMAIN, Secret::from("a secret of the gateway"));
    config.push.fcm = true;
    config.trusted.push(TrustedPeer { network: "198.51.100.0".parse().unwrap(), prefix: 24 });
    let account = |user: &str| Account {
        user: user.into(),
        domain: DOMAIN.into(),
        credential: Credential::Password(Secret::from(PASSWORD)),
        upstream: None,
        voicemail: None,
    };
    let loaded = Loaded { accounts: vec![account("mia"), account("ben")], ..Loaded::default() };
    let mut bench = Bench::new(config, loaded, DOMAIN);
    script.play(|script| {
        step(&mut bench, script);
        bench.settle();
    });
    over(&mut bench);
}

fn step(bench: &mut Bench, script: &mut Script<'_>) {
    let (now, wall) = (bench.now, bench.wall());
    let flow = match script.pick(&bench.flows) {
        Some(flow) if script.below(5) > 0 => flow,
        _ => bench.open(script),
    };
    match script.below(16) {
        0..=2 => bench.register(script, flow),
        3..=5 => bench.call(script, flow),
        6..=8 => {
            if let Some((flow, message)) = script.pick(&bench.sent)
                && let Some(info) = bench.flows.iter().find(|one| one.id == flow).copied()
                && message.is_request()
                && let Some(answer) = response(script, &message)
            {
                bench.receive(info, answer.to_bytes());
            }
        }
        9 => {
            if let Some(key) = bench.pushes.pop() {
                let result = [
                    PushResult::Accepted,
                    PushResult::Gone { since: None },
                    PushResult::Refused,
                    PushResult::Unavailable,
                ][script.below(4)];
                bench.gateway.handle_push_result(now, wall, key, result);
            }
        }
        10 => {
            bench.flows.retain(|one| one.id != flow.id);
            bench.gateway.handle_flow_closed(now, wall, flow.id);
        }
        11 => bench.receive(flow, Bytes::copy_from_slice(script.bytes(60))),
        12 => bench.gateway.handle_flow_alive(now, flow.id),
        13 | 14 => bench.chat(script, flow),
        _ => bench.now += script.span(),
    }
}

/// All flows break, the push services are silent, two months pass: bindings lapse and nothing is left.
pub(crate) fn over(bench: &mut Bench) {
    for flow in core::mem::take(&mut bench.flows) {
        let wall = bench.wall();
        bench.gateway.handle_flow_closed(bench.now, wall, flow.id);
        bench.drain();
    }
    let end = bench.now + Duration::from_secs(60 * 86_400);
    let mut bound = Bound::new(20_000, "the end of a gateway's work");
    loop {
        bound.count();
        let wall = bench.wall();
        for key in core::mem::take(&mut bench.pushes) {
            bench.gateway.handle_push_result(bench.now, wall, key, PushResult::Unavailable);
        }
        bench.drain();
        let Some(due) = bench.gateway.poll_timeout().filter(|due| *due <= end) else { break };
        bench.now = bench.now.max(due);
        let wall = bench.wall();
        bench.gateway.handle_timeout(bench.now, wall);
        bench.drain();
    }
    let left = bench.gateway.gauges();
    assert_eq!(
        (
            left.contexts,
            left.held,
            left.pushes,
            left.client_transactions,
            left.server_transactions,
            left.answers,
            left.mail + left.mail_bytes,
            left.subscriptions + left.publications,
            left.registering
        ),
        (0, 0, 0, 0, 0, 0, 0, 0, 0),
        "left behind: {left:?}"
    );
}
