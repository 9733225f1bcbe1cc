//! A gateway, phones and callers on one virtual clock: messages are written by hand, outputs are collected in order.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wakeline_clock::{Time, WallTime};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Received, Transport};
use wakeline_registrar::{
    Account, Config, Credential, HopId, Leg, Loaded, Output, Persist, PushKey, PushRequest, PushResult,
    Registrar, TrustedPeer,
};
use wakeline_secret::Secret;
use wakeline_sip_auth::{Asker, Credentials, Session};
use wakeline_sip_message::{Builder, Message, Method, Name};

pub const DOMAIN: &str = "voice.example.org";
pub const INSTANCE_A: &str = "<urn:uuid:0f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a77>";
pub const INSTANCE_B: &str = "<urn:uuid:1f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a78>";

/// One thing that came out.
#[derive(Debug)]
pub enum Out {
    Sent(FlowId, Message),
    Push(Box<PushRequest>),
    CancelPush(PushKey),
    Persist(Box<Persist>),
    Trace(Leg),
    OpenFlow(HopId),
    CloseFlow(FlowId),
}

pub struct World {
    pub gateway: Registrar,
    pub now: Time,
    pub out: Vec<Out>,
    next_flow: u64,
    next_branch: u64,
    flows: BTreeMap<u64, FlowInfo>,
}

pub fn config() -> Config {
    let mut config = Config::new(DOMAIN, Secret::from("a secret of the gateway"));
    config.push.fcm = true;
    config.push.apns = true;
    config.push.others = vec!["hms".to_owned()];
    config.trusted.push(TrustedPeer { network: "198.51.100.0".parse().unwrap(), prefix: 24 });
    config
}

pub fn account(user: &str) -> Account {
    Account {
        user: user.into(),
        domain: DOMAIN.into(),
        credential: Credential::Password(Secret::from(format!("password of {user}"))),
        upstream: None,
        voicemail: None,
    }
}

impl World {
    pub fn new() -> World {
        World::with(config(), Loaded::default(), 1)
    }

    pub fn with(config: Config, mut loaded: Loaded, seed: u8) -> World {
        loaded.accounts.extend([account("mia"), account("ben"), account("eve")]);
        let now = Time::from_millis(1_000_000);
        let gateway = Registrar::new(config, loaded, [seed; 32], now, WallTime(1_789_000_000_000));
        World { gateway, now, out: Vec::new(), next_flow: 0, next_branch: 0, flows: BTreeMap::new() }
    }

    pub fn wall(&self) -> WallTime {
        WallTime(1_789_000_000_000 + self.now.as_millis() - 1_000_000)
    }

    pub fn open(&mut self, transport: Transport, remote: &str) -> FlowInfo {
        self.next_flow += 1;
        let info = FlowInfo {
            id: FlowId(self.next_flow),
            transport,
            local: "203.0.113.1:5061".parse().unwrap(),
            remote: format!("{remote}:{}", 40_000 + self.next_flow).parse().unwrap(),
        };
        self.flows.insert(info.id.0, info);
        info
    }

    pub fn close(&mut self, flow: FlowInfo) {
        self.gateway.handle_flow_closed(self.now, self.wall(), flow.id);
        self.drain();
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.gateway.poll_output() {
            self.out.push(match output {
                Output::Transmit(transmit) => {
                    let message = Message::parse(transmit.bytes).expect("what leaves can be read");
                    Out::Sent(transmit.flow, message)
                }
                Output::Push(push) => Out::Push(push),
                Output::CancelPush(key) => Out::CancelPush(key),
                Output::Persist(change) => Out::Persist(change),
                Output::Trace(trace) => Out::Trace(trace.leg),
                Output::CloseFlow(flow) => Out::CloseFlow(flow),
                Output::OpenFlow(hop, _) => Out::OpenFlow(hop),
            });
        }
    }

    pub fn receive(&mut self, flow: FlowInfo, message: &Message) {
        let received = Received { flow, bytes: message.to_bytes() };
        self.gateway.handle_received(self.now, self.wall(), received);
        self.drain();
    }

    pub fn receive_text(&mut self, flow: FlowInfo, text: &str) {
        let received = Received { flow, bytes: Bytes::copy_from_slice(text.as_bytes()) };
        self.gateway.handle_received(self.now, self.wall(), received);
        self.drain();
    }

    /// Lets time pass, timer by timer.
    pub fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        let mut steps = 0;
        while let Some(at) = self.gateway.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.gateway.handle_timeout(self.now, self.wall());
            self.drain();
            steps += 1;
            assert!(steps < 100_000, "a timer that never goes away");
        }
        self.now = end;
    }

    pub fn push_result(&mut self, key: PushKey, result: PushResult) {
        self.gateway.handle_push_result(self.now, self.wall(), key, result);
        self.drain();
    }

    /// Everything since the last call.
    pub fn take(&mut self) -> Vec<Out> {
        std::mem::take(&mut self.out)
    }

    pub fn branch(&mut self) -> String {
        self.next_branch += 1;
        format!("z9hG4bKtest{}", self.next_branch)
    }
}

/// Messages sent on a flow.
pub fn sent(out: &[Out], flow: FlowInfo) -> Vec<&Message> {
    out.iter()
        .filter_map(|one| match one {
            Out::Sent(id, message) if *id == flow.id => Some(message),
            _ => None,
        })
        .collect()
}

pub fn statuses(out: &[Out], flow: FlowInfo) -> Vec<u16> {
    sent(out, flow).into_iter().filter_map(Message::status).collect()
}

pub fn requests<'a>(out: &'a [Out], flow: FlowInfo, method: &Method) -> Vec<&'a Message> {
    sent(out, flow).into_iter().filter(|m| m.is_request() && m.method() == *method).collect()
}

pub fn pushes(out: &[Out]) -> Vec<&PushRequest> {
    out.iter()
        .filter_map(|one| match one {
            Out::Push(push) => Some(&**push),
            _ => None,
        })
        .collect()
}

pub fn legs(out: &[Out]) -> Vec<&Leg> {
    out.iter()
        .filter_map(|one| match one {
            Out::Trace(leg) => Some(leg),
            _ => None,
        })
        .collect()
}

pub fn final_status(out: &[Out], flow: FlowInfo) -> Option<u16> {
    let finals: Vec<u16> = statuses(out, flow).into_iter().filter(|status| *status >= 200).collect();
    assert!(finals.len() <= 1, "one final response, not {finals:?}");
    finals.first().copied()
}

/// A phone: one instance of one user.
pub struct Phone {
    pub user: &'static str,
    pub instance: &'static str,
    pub provider: &'static str,
    pub token: String,
    pub flow: FlowInfo,
    pub session: Session,
    pub credentials: Credentials,
    pub entropy: Entropy,
    pub cseq: u32,
    pub call_id: String,
    pub extra: Vec<(&'static str, String)>,
    pub reg_id: u32,
}

impl Phone {
    pub fn new(
        world: &mut World,
        user: &'static str,
        instance: &'static str,
        provider: &'static str,
    ) -> Phone {
        let flow = world.open(Transport::Tls, "192.0.2.10");
        Phone {
            user,
            instance,
            provider,
            token: format!("{user}TokenOf:{}", &instance[10..18]),
            flow,
            session: Session::new(),
            credentials: Credentials::password(user, Secret::from(format!("password of {user}"))),
            entropy: Entropy::from_number(7),
            cseq: 0,
            call_id: format!("reg-{user}-{}", &instance[10..18]),
            extra: Vec::new(),
            reg_id: 1,
        }
    }

    pub fn contact(&self) -> String {
        let push = match self.provider {
            "" => String::new(),
            "apns" => {
                format!(";pn-provider=apns;pn-param=AB12CD34EF.org.example.voice.voip;pn-prid={}", self.token)
            }
            "apns with a notification token" => format!(
                ";pn-provider=apns;pn-param=AB12CD34EF.org.example.voice.voip&remote;pn-prid={0}:voip&{0}ff:remote",
                self.token
            ),
            provider => format!(";pn-provider={provider};pn-param=acme-voice-prod;pn-prid={}", self.token),
        };
        format!(
            "<sip:{}@{};transport=tls;ob{push}>;reg-id={};+sip.instance=\"{}\"",
            self.user, self.flow.remote, self.reg_id, self.instance
        )
    }

    /// A REGISTER with what is known of the nonce.
    pub fn register_request(&mut self, world: &mut World, expires: u32) -> Message {
        self.cseq += 1;
        let uri = format!("sip:{DOMAIN}");
        let mut builder = Builder::request(Method::Register, &uri)
            .header(
                Name::Via,
                format!(
                    "SIP/2.0/{} {};branch={};rport",
                    self.flow.transport,
                    self.flow.remote,
                    world.branch()
                ),
            )
            .header(Name::From, format!("<sip:{}@{DOMAIN}>;tag=reg", self.user))
            .header(Name::To, format!("<sip:{}@{DOMAIN}>", self.user))
            .header(Name::CallId, &self.call_id)
            .header(Name::CSeq, format!("{} REGISTER", self.cseq))
            .header(Name::Supported, "path, outbound, gruu")
            .header(Name::Contact, self.contact())
            .header(Name::Expires, expires);
        for (name, value) in &self.extra {
            builder = builder.header_text(name, value);
        }
        for (name, value) in
            self.session.authorize(&Method::Register, &uri, b"", &self.credentials, &mut self.entropy)
        {
            builder = builder.header(name, value);
        }
        builder.build().unwrap()
    }

    /// Registers, through a challenge if there is one; gives everything that came out and how many requests it took.
    pub fn register(&mut self, world: &mut World) -> (Vec<Out>, u32) {
        self.register_for(world, 604_800)
    }

    pub fn register_for(&mut self, world: &mut World, expires: u32) -> (Vec<Out>, u32) {
        let mut all = world.take();
        for round in 1..=3 {
            let request = self.register_request(world, expires);
            world.receive(self.flow, &request);
            let out = world.take();
            let answer = sent(&out, self.flow)
                .into_iter()
                .find(|m| m.status().is_some() && m.method() == Method::Register);
            let answer = answer.expect("an answer").clone();
            all.extend(out);
            if answer.status() == Some(401) {
                self.session
                    .on_challenge(&request, &answer, &self.credentials, Asker::Configured)
                    .expect("a challenge that can be answered");
                continue;
            }
            self.session.on_success(&request, &answer, &self.credentials).expect("a proof that holds");
            return (all, round);
        }
        panic!("no end of challenges");
    }

    /// Wakes up at another place: a new connection, then REGISTER.
    pub fn wake(&mut self, world: &mut World, remote: &str) -> (Vec<Out>, u32) {
        self.flow = world.open(Transport::Tls, remote);
        self.register(world)
    }

    /// Answers a request with a status.
    pub fn answer(&self, world: &mut World, request: &Message, status: u16) {
        self.answer_on(world, self.flow, request, status);
    }

    pub fn answer_on(&self, world: &mut World, flow: FlowInfo, request: &Message, status: u16) {
        let mut response = Builder::response(request, status, "").copy(request, Name::RecordRoute);
        if status > 100 {
            response = response.to_tag("phone").header(
                Name::Contact,
                format!("<sip:{}@{};ob;pn-prid={}>", self.user, flow.remote, self.token),
            );
        }
        let response = response.build().unwrap();
        world.receive(flow, &response);
    }
}

/// A caller behind a trusted trunk.
pub struct Trunk {
    pub flow: FlowInfo,
    pub from: String,
}

impl Trunk {
    pub fn new(world: &mut World) -> Trunk {
        let flow = world.open(Transport::Tcp, "198.51.100.7");
        Trunk { flow, from: "\"Uncle Bob\" <sip:+15550100@198.51.100.7>;tag=caller".into() }
    }

    pub fn request(&self, world: &mut World, method: Method, uri: &str, call_id: &str) -> Message {
        let cseq = format!("1 {method}");
        Builder::request(method, uri)
            .header(Name::Via, format!("SIP/2.0/TCP {};branch={};rport", self.flow.remote, world.branch()))
            .header(Name::From, &self.from)
            .header(Name::To, format!("<{uri}>"))
            .header(Name::CallId, call_id)
            .header(Name::CSeq, cseq)
            .header(Name::Contact, format!("<sip:bob@{};transport=tcp>", self.flow.remote))
            .build()
            .unwrap()
    }

    pub fn invite(&self, world: &mut World, user: &str, call_id: &str) -> Message {
        let invite = self.request(world, Method::Invite, &format!("sip:{user}@{DOMAIN}"), call_id);
        world.receive(self.flow, &invite);
        invite
    }

    pub fn cancel(&self, world: &mut World, invite: &Message) {
        let cancel = Builder::request(Method::Cancel, invite.request_uri_text())
            .copy(invite, Name::Via)
            .copy(invite, Name::From)
            .copy(invite, Name::To)
            .copy(invite, Name::CallId)
            .header(Name::CSeq, "1 CANCEL")
            .build()
            .unwrap();
        world.receive(self.flow, &cancel);
    }

    pub fn ack(&self, world: &mut World, invite: &Message, response: &Message) {
        let ack = Builder::request(Method::Ack, invite.request_uri_text())
            .header(Name::Via, invite.header(Name::Via).unwrap())
            .copy(invite, Name::From)
            .copy(response, Name::To)
            .copy(invite, Name::CallId)
            .header(Name::CSeq, "1 ACK")
            .build()
            .unwrap();
        world.receive(self.flow, &ack);
    }
}
