//! Accounts whose credential the gateway keeps: it registers them at the PBX itself, and their phones with itself.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test stops where it fails"
)]

mod world;

use std::time::Duration;

use wakeline_entropy::Entropy;
use wakeline_flow::{FlowInfo, Transport};
use wakeline_registrar::{
    Account, Config, Credential, HopId, Leg, Loaded, NextHop, Persist, Upstream, UpstreamCredential,
};
use wakeline_secret::Secret;
use wakeline_sip_auth::{Asker, Credentials, Session};
use wakeline_sip_message::{Builder, Message, Method, Name};
use world::*;

const SECOND: Duration = Duration::from_secs(1);
const PBX: &str = "pbx.example.net";
/// What the PBX grants, whatever is asked for.
const GRANTED: u32 = 60;

fn edge_config() -> Config {
    let mut config = config();
    let hop = |host: &str| NextHop { transport: Transport::Udp, host: host.into(), port: 5060 };
    config.upstreams = vec![Upstream {
        domains: vec![PBX.into()],
        next_hops: vec![hop("10.0.0.5"), hop("10.0.0.6")],
        networks: Vec::new(),
        expires: 604_800,
        line_expires: 600,
    }];
    config
}

fn kept(user: &str) -> Account {
    let password = Secret::from("known to the PBX and to us");
    Account {
        user: user.into(),
        domain: PBX.into(),
        credential: Credential::Password(password.clone()),
        upstream: Some(UpstreamCredential { username: format!("auth-{user}"), password }),
        voicemail: None,
    }
}

struct Edge {
    world: World,
    hops: Vec<FlowInfo>,
}

impl Edge {
    fn new() -> Edge {
        Edge::with(Loaded { accounts: vec![kept("mia")], ..Loaded::default() }, 1)
    }

    fn with(loaded: Loaded, seed: u8) -> Edge {
        let mut world = World::with(edge_config(), loaded, seed);
        world.drain();
        world.take();
        let mut hops = Vec::new();
        for (hop, address) in [(HopId(0), "10.0.0.5"), (HopId(1), "10.0.0.6")] {
            let flow = world.open(Transport::Udp, address);
            world.gateway.handle_hop_opened(world.now, hop, flow);
            hops.push(flow);
        }
        world.drain();
        // Lines begin a moment after each other; sooner than a REGISTER over UDP is repeated.
        world.pass(SECOND / 10);
        Edge { world, hops }
    }

    fn at_pbx(&mut self, method: &Method) -> Message {
        let out = self.world.take();
        one(&out, self.hops[0], method)
    }

    fn pbx_sends(&mut self, message: &Message) -> Vec<Out> {
        self.world.receive(self.hops[0], message);
        self.world.take()
    }

    /// The PBX challenges our REGISTER, and grants the next.
    fn grants(&mut self, register: &Message, granted: u32) -> Message {
        let out = self.pbx_sends(&challenge(register, 401, "first"));
        let proved = one(&out, self.hops[0], &Method::Register);
        assert!(proved.header(Name::Authorization).unwrap().contains("username=\"auth-mia\""));
        let ok = grant(&proved, granted);
        self.pbx_sends(&ok);
        proved
    }
}

fn one(out: &[Out], flow: FlowInfo, method: &Method) -> Message {
    let found = requests(out, flow, method);
    assert_eq!(found.len(), 1, "one {method}: {out:#?}");
    found[0].clone()
}

/// The first of a request that may have been repeated.
fn first(out: &[Out], flow: FlowInfo, method: &Method) -> Message {
    (*requests(out, flow, method).first().expect("a request")).clone()
}

fn status(out: &[Out], flow: FlowInfo) -> Message {
    sent(out, flow).into_iter().rfind(|message| message.status().is_some()).expect("a response").clone()
}

fn challenge(request: &Message, code: u16, nonce: &str) -> Message {
    let name = if code == 401 { Name::WwwAuthenticate } else { Name::ProxyAuthenticate };
    Builder::response(request, code, "")
        .to_tag("pbx")
        .header(name, format!("Digest realm=\"asterisk\", nonce=\"{nonce}\", algorithm=MD5, qop=\"auth\""))
        .build()
        .unwrap()
}

fn grant(request: &Message, granted: u32) -> Message {
    let contact = request.header(Name::Contact).unwrap();
    let uri = contact.split_once('>').unwrap().0;
    Builder::response(request, 200, "")
        .to_tag("pbx")
        .header(Name::Contact, format!("{uri}>;expires={granted}"))
        .build()
        .unwrap()
}

fn line_contact(register: &Message) -> String {
    let contact = register.header(Name::Contact).unwrap();
    contact[1..contact.find('>').unwrap()].to_owned()
}

/// A phone that knows the account's password and proves itself to the gateway.
struct Handset {
    flow: FlowInfo,
    instance: &'static str,
    session: Session,
    credentials: Credentials,
    cseq: u32,
}

impl Handset {
    fn new(edge: &mut Edge, instance: &'static str) -> Handset {
        let flow = edge.world.open(Transport::Tcp, "192.0.2.10");
        let credentials = Credentials::password("mia", Secret::from("known to the PBX and to us"));
        Handset { flow, instance, session: Session::new(), credentials, cseq: 0 }
    }

    /// Sends a request through whatever challenge the gateway has for it; gives the last that was sent and what came out.
    fn send(
        &mut self,
        edge: &mut Edge,
        method: Method,
        uri: &str,
        call_id: &str,
        expires: u32,
    ) -> (Message, Vec<Out>) {
        for _ in 0..3 {
            self.cseq += 1;
            let branch = edge.world.branch();
            let push = format!("pn-provider=fcm;pn-param=acme;pn-prid=TOKEN{}", &self.instance[10..14]);
            let contact = format!("<sip:mia@{};transport=tcp;ob;{push}>", self.flow.remote);
            let mut builder = Builder::request(method.clone(), uri)
                .header(Name::Via, format!("SIP/2.0/TCP {};branch={branch};rport", self.flow.remote))
                .header(Name::From, format!("<sip:mia@{PBX}>;tag=phone"))
                .header(Name::CallId, format!("{call_id}-{}", &self.instance[10..14]))
                .header(Name::CSeq, format!("{} {method}", self.cseq));
            builder = if method == Method::Register {
                builder
                    .header(Name::To, format!("<sip:mia@{PBX}>"))
                    .header(Name::Supported, "outbound")
                    .header(Name::Expires, expires)
                    .header(Name::Contact, format!("{contact};reg-id=1;+sip.instance=\"{}\"", self.instance))
            } else {
                builder.header(Name::To, format!("<{uri}>")).header(Name::Contact, contact)
            };
            let mut entropy = Entropy::from_number(3);
            let lines = self.session.authorize(&method, uri, b"", &self.credentials, &mut entropy);
            let request = builder.headers(lines).build().unwrap();
            edge.world.receive(self.flow, &request);
            let out = edge.world.take();
            let answer =
                sent(&out, self.flow).into_iter().find(|m| matches!(m.status(), Some(401 | 407))).cloned();
            let Some(answer) = answer else { return (request, out) };
            self.session.on_challenge(&request, &answer, &self.credentials, Asker::Configured).unwrap();
        }
        panic!("no end of challenges");
    }

    fn register(&mut self, edge: &mut Edge, expires: u32) -> Vec<Out> {
        let (_, out) = self.send(edge, Method::Register, &format!("sip:{PBX}"), "reg", expires);
        assert_eq!(final_status(&out, self.flow), Some(200));
        out
    }
}

fn of_pbx(edge: &mut Edge, uri: &str, call_id: &str) -> Message {
    let branch = edge.world.branch();
    Builder::request(Method::Invite, uri)
        .header(Name::Via, format!("SIP/2.0/UDP 10.0.0.5:5060;branch={branch}"))
        .header(Name::From, "<sip:bob@pbx.example.net>;tag=caller")
        .header(Name::To, format!("<{uri}>"))
        .header(Name::CallId, call_id)
        .header(Name::CSeq, "1 INVITE")
        .header(Name::Contact, "<sip:bob@10.0.0.5:5060>")
        .build()
        .unwrap()
}

#[test]
fn the_pbx_sees_one_device_that_refreshes_in_time_while_the_phones_sleep() {
    let mut edge = Edge::new();
    assert!(requests(&edge.world.take(), edge.hops[0], &Method::Register).is_empty(), "no phone, no line");
    let mut mia = Handset::new(&mut edge, INSTANCE_A);
    let out = mia.register(&mut edge, 604_800);
    let register = one(&out, edge.hops[0], &Method::Register);
    assert!(register.header(Name::Authorization).is_none());
    assert_eq!(register.expires().unwrap(), Some(600));
    let proved = edge.grants(&register, GRANTED);
    let name = line_contact(&proved);
    assert!(!String::from_utf8(proved.to_bytes().to_vec()).unwrap().contains("pn-"));
    edge.world.close(mia.flow);
    // Twenty refreshes, each at four fifths, each with the nonce that is known: one REGISTER a time.
    for round in 1..=20 {
        edge.world.pass(47 * SECOND);
        assert!(requests(&edge.world.take(), edge.hops[0], &Method::Register).is_empty());
        edge.world.pass(SECOND);
        let refresh = edge.at_pbx(&Method::Register);
        assert_eq!((line_contact(&refresh), refresh.call_id()), (name.clone(), proved.call_id()));
        assert!(refresh.header(Name::Authorization).unwrap().contains(&format!("nc={:08x}", round + 1)));
        edge.pbx_sends(&grant(&refresh, GRANTED));
    }
    assert!(pushes(&edge.world.take()).is_empty(), "no phone was woken for it");
    // The last phone leaves, and so does the line.
    mia.flow = edge.world.open(Transport::Tcp, "192.0.2.11");
    let out = mia.register(&mut edge, 0);
    let last = one(&out, edge.hops[0], &Method::Register);
    assert_eq!(last.expires().unwrap(), Some(0));
    edge.pbx_sends(&grant(&last, 0));
    edge.world.pass(Duration::from_secs(4000));
    assert!(requests(&edge.world.take(), edge.hops[0], &Method::Register).is_empty());
    assert_eq!(edge.world.gateway.gauges().client_transactions, 0);
}

#[test]
fn a_call_of_the_pbx_wakes_every_device_of_the_account() {
    let mut edge = Edge::new();
    let mut first = Handset::new(&mut edge, INSTANCE_A);
    let out = first.register(&mut edge, 604_800);
    let register = one(&out, edge.hops[0], &Method::Register);
    let name = line_contact(&edge.grants(&register, GRANTED));
    let mut second = Handset::new(&mut edge, INSTANCE_B);
    let out = second.register(&mut edge, 604_800);
    assert!(requests(&out, edge.hops[0], &Method::Register).is_empty(), "one registration per account");
    edge.world.close(first.flow);
    edge.world.close(second.flow);
    let invite = of_pbx(&mut edge, &name, "call-1");
    let out = edge.pbx_sends(&invite);
    assert_eq!((statuses(&out, edge.hops[0]), pushes(&out).len()), (vec![100], 2));
    second.flow = edge.world.open(Transport::Tcp, "192.0.2.12");
    let out = second.register(&mut edge, 604_800);
    assert_eq!(requests(&out, second.flow, &Method::Invite).len(), 1);
    // Not for anybody else.
    let stranger = edge.world.open(Transport::Tcp, "192.0.2.66");
    let invite = of_pbx(&mut edge, &name, "call-2");
    edge.world.receive(stranger, &invite);
    assert_eq!(final_status(&edge.world.take(), stranger), Some(403));
}

#[test]
fn a_call_of_the_phone_is_proved_to_us_by_the_phone_and_to_the_pbx_by_us() {
    let mut edge = Edge::new();
    let mut mia = Handset::new(&mut edge, INSTANCE_A);
    let out = mia.register(&mut edge, 604_800);
    let register = one(&out, edge.hops[0], &Method::Register);
    edge.grants(&register, GRANTED);
    let uri = format!("sip:bob@{PBX}");
    let (invite, out) = mia.send(&mut edge, Method::Invite, &uri, "out", 0);
    assert!(invite.header(Name::ProxyAuthorization).is_some(), "we have asked the phone");
    let number = invite.cseq().unwrap().number;
    let arrived = one(&out, edge.hops[0], &Method::Invite);
    assert!(arrived.header(Name::ProxyAuthorization).is_none(), "its answer is for us alone");
    assert_eq!(arrived.cseq().unwrap().number, number);
    // The PBX's challenge never reaches the phone.
    let out = edge.pbx_sends(&challenge(&arrived, 407, "for-calls"));
    assert!(sent(&out, mia.flow).is_empty(), "{out:#?}");
    let proved = one(&out, edge.hops[0], &Method::Invite);
    let answer = proved.header(Name::ProxyAuthorization).unwrap();
    assert!(answer.contains("username=\"auth-mia\"") && answer.contains("nonce=\"for-calls\""), "{answer}");
    assert_eq!((proved.call_id(), proved.cseq().unwrap().number), (invite.call_id(), number + 1));
    let ringing = Builder::response(&proved, 180, "").to_tag("bob").build().unwrap();
    assert_eq!(status(&edge.pbx_sends(&ringing), mia.flow).cseq().unwrap().number, number);
    let ok = Builder::response(&proved, 200, "")
        .to_tag("bob")
        .copy(&proved, Name::RecordRoute)
        .header(Name::Contact, "<sip:bob@10.0.0.44:5062>")
        .build()
        .unwrap();
    let ok = status(&edge.pbx_sends(&ok), mia.flow);
    assert_eq!((ok.status(), ok.cseq().unwrap().number), (Some(200), number));
    // The dialog goes on with the distance that the challenge has made.
    for (method, cseq) in [(Method::Ack, number), (Method::Bye, number + 1)] {
        let branch = edge.world.branch();
        let mut builder = Builder::request(method.clone(), "sip:bob@10.0.0.44:5062")
            .header(Name::Via, format!("SIP/2.0/TCP {};branch={branch}", mia.flow.remote))
            .copy(&invite, Name::From)
            .copy(&ok, Name::To)
            .copy(&invite, Name::CallId)
            .header(Name::CSeq, format!("{cseq} {method}"));
        let routes: Vec<String> = ok.headers(Name::RecordRoute).map(str::to_owned).collect();
        for route in routes.iter().rev() {
            builder = builder.header(Name::Route, route);
        }
        edge.world.receive(mia.flow, &builder.build().unwrap());
        let arrived = edge.at_pbx(&method);
        assert_eq!(arrived.cseq().unwrap().number, cseq + 1);
        if method == Method::Bye {
            let done = Builder::response(&arrived, 200, "").build().unwrap();
            assert_eq!(status(&edge.pbx_sends(&done), mia.flow).cseq().unwrap().number, cseq);
        }
    }
    // The next call goes out with what is known now: no challenge, nothing ahead.
    let (invite, out) = mia.send(&mut edge, Method::Invite, &uri, "again", 0);
    let arrived = one(&out, edge.hops[0], &Method::Invite);
    assert!(arrived.header(Name::ProxyAuthorization).unwrap().contains("nc=00000003"), "{arrived:?}");
    assert_eq!(arrived.cseq().unwrap().number, invite.cseq().unwrap().number);
}

#[test]
fn a_credential_that_the_pbx_refuses_is_told_and_not_tried_in_a_circle() {
    let mut edge = Edge::new();
    let mut mia = Handset::new(&mut edge, INSTANCE_A);
    let out = mia.register(&mut edge, 604_800);
    let mut register = one(&out, edge.hops[0], &Method::Register);
    let mut told = false;
    for round in 0..10 {
        let out = edge.pbx_sends(&challenge(&register, 401, &format!("nonce-{round}")));
        told |= legs(&out).contains(&&Leg::LineRefused(401));
        match requests(&out, edge.hops[0], &Method::Register).first() {
            Some(again) => register = (*again).clone(),
            None => break,
        }
        assert!(round < 4, "in a circle");
    }
    assert!(told);
    edge.world.pass(Duration::from_secs(1000));
    assert!(requests(&edge.world.take(), edge.hops[0], &Method::Register).is_empty());
    // A call under that credential ends with a refusal of ours, not with a challenge that the phone cannot answer.
    let (_, out) = mia.send(&mut edge, Method::Invite, &format!("sip:bob@{PBX}"), "out", 0);
    let mut arrived = one(&out, edge.hops[0], &Method::Invite);
    for round in 0..5 {
        let out = edge.pbx_sends(&challenge(&arrived, 407, &format!("call-{round}")));
        match requests(&out, edge.hops[0], &Method::Invite).first() {
            Some(again) => arrived = (*again).clone(),
            None => {
                assert_eq!(final_status(&out, mia.flow), Some(403));
                return;
            }
        }
    }
    panic!("in a circle");
}

#[test]
fn a_line_outlives_restarts_and_silent_next_hops() {
    let mut edge = Edge::new();
    let mut mia = Handset::new(&mut edge, INSTANCE_A);
    let out = mia.register(&mut edge, 604_800);
    let stored = out.iter().find_map(|one| match one {
        Out::Persist(change) => match &**change {
            Persist::BindingPut(binding) => Some(binding.clone()),
            _ => None,
        },
        _ => None,
    });
    let name = line_contact(&one(&out, edge.hops[0], &Method::Register));
    let loaded = Loaded {
        accounts: vec![kept("mia")],
        bindings: vec![stored.expect("a stored binding")],
        ..Loaded::default()
    };
    // Another process: it registers by itself, under the same name, and goes to the second next hop when the first is silent.
    let mut edge = Edge::with(loaded, 2);
    let register = edge.at_pbx(&Method::Register);
    let contact = |message: &Message| line_contact(message).split('@').next().unwrap_or_default().to_owned();
    assert_eq!(contact(&register), name.split('@').next().unwrap());
    edge.world.pass(4 * SECOND);
    let out = edge.world.take();
    let register = first(&out, edge.hops[1], &Method::Register);
    assert!(legs(&out).contains(&&Leg::HopDown(HopId(0))));
    edge.world.receive(edge.hops[1], &grant(&register, GRANTED));
    assert!(legs(&edge.world.take()).contains(&&Leg::LineBound));
    // The account is taken away: nothing is left of it.
    let (now, wall) = (edge.world.now, edge.world.wall());
    edge.world.gateway.remove_account(now, wall, "mia", PBX);
    edge.world.drain();
    edge.world.pass(Duration::from_secs(400));
    assert_eq!(edge.world.gateway.gauges().lines, 0);
    assert_eq!(edge.world.gateway.gauges().client_transactions, 0);
}

#[test]
fn s23_what_is_stored_of_an_account_holds_no_upstream_password() {
    let account = kept("mia");
    let text =
        serde_json::to_string(&Account { credential: Credential::AtUpstream, ..account.clone() }).unwrap();
    assert!(!text.contains("known"), "{text}");
    assert!(!format!("{account:?}").contains("known"));
}
