//! A gateway before a PBX whose passwords it does not know: REGISTER passes through, calls are held and released here.
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

use wakeline_flow::{FlowInfo, Transport};
use wakeline_push::{WakeId, WakeState, read_wake_states};
use wakeline_registrar::{Config, HopId, Leg, Loaded, NextHop, Persist, TrustedPeer, Upstream};
use wakeline_secret::Secret;
use wakeline_sip_auth::{Asker, Credentials, Session};
use wakeline_sip_message::{Builder, Message, Method, Name, Uri};
use world::*;

const SECOND: Duration = Duration::from_secs(1);
const PBX: &str = "pbx.example.net";
/// What the PBX grants: much less than phones ask for.
const GRANTED: u32 = 7200;

fn edge_config() -> Config {
    let mut config = config();
    let hop = |host: &str| NextHop { transport: Transport::Tcp, host: host.into(), port: 5060 };
    config.upstreams = vec![
        Upstream {
            domains: vec![PBX.into()],
            next_hops: vec![hop("10.0.0.5"), hop("10.0.0.6")],
            networks: vec![TrustedPeer { network: "10.0.0.0".parse().unwrap(), prefix: 24 }],
            expires: 604_800,
            line_expires: 600,
        },
        Upstream {
            domains: vec!["other.example.net".into()],
            next_hops: vec![hop("10.0.9.5")],
            networks: Vec::new(),
            expires: 604_800,
            line_expires: 600,
        },
    ];
    config
}

/// A world with the upstreams' connections open.
struct Edge {
    world: World,
    hops: Vec<FlowInfo>,
}

impl Edge {
    fn new() -> Edge {
        Edge::with(Loaded::default(), 1)
    }

    fn with(loaded: Loaded, seed: u8) -> Edge {
        let mut world = World::with(edge_config(), loaded, seed);
        world.drain();
        let asked: Vec<HopId> = asked(&world.take());
        assert_eq!(asked, [HopId(0), HopId(1), HopId(2)]);
        let mut edge = Edge { world, hops: Vec::new() };
        for (hop, address) in asked.into_iter().zip(["10.0.0.5", "10.0.0.6", "10.0.9.5"]) {
            let flow = edge.reopen(hop, address);
            edge.hops.push(flow);
        }
        edge
    }

    fn reopen(&mut self, hop: HopId, address: &str) -> FlowInfo {
        let flow = self.world.open(Transport::Tcp, address);
        self.world.gateway.handle_hop_opened(self.world.now, hop, flow);
        self.world.drain();
        self.world.take();
        flow
    }

    /// The one request of a method that has gone to the first next hop since the last look.
    fn at_pbx(&mut self, method: &Method) -> Message {
        let out = self.world.take();
        one(&out, self.hops[0], method)
    }

    fn pbx_sends(&mut self, message: &Message) -> Vec<Out> {
        self.world.receive(self.hops[0], message);
        self.world.take()
    }
}

fn asked(out: &[Out]) -> Vec<HopId> {
    out.iter()
        .filter_map(|one| match one {
            Out::OpenFlow(hop) => Some(*hop),
            _ => None,
        })
        .collect()
}

fn one(out: &[Out], flow: FlowInfo, method: &Method) -> Message {
    let found = requests(out, flow, method);
    assert_eq!(found.len(), 1, "one {method}: {out:#?}");
    found[0].clone()
}

fn status(out: &[Out], flow: FlowInfo) -> Message {
    sent(out, flow).into_iter().rfind(|message| message.status().is_some()).expect("a response").clone()
}

/// The PBX's 401.
fn challenge(request: &Message) -> Message {
    Builder::response(request, 401, "")
        .to_tag("pbx")
        .header(
            Name::WwwAuthenticate,
            format!("Digest realm=\"{PBX}\", nonce=\"abcdef\", algorithm=MD5, qop=\"auth\""),
        )
        .build()
        .unwrap()
}

fn contact(message: &Message) -> String {
    message.header(Name::Contact).expect("a Contact").to_owned()
}

/// The PBX's 200: it lists our Contact and somebody else's.
fn grant(request: &Message, granted: u32) -> Message {
    let ours = contact(request);
    let uri = ours.split_once('>').unwrap().0;
    Builder::response(request, 200, "")
        .to_tag("pbx")
        .header(Name::Contact, format!("{uri}>;expires={granted}, <sip:desk@10.0.0.77:5060>;expires=50"))
        .header(Name::AuthenticationInfo, "nextnonce=\"ghijkl\"")
        .header(Name::ServiceRoute, "<sip:10.0.0.5;lr>")
        .build()
        .unwrap()
}

/// A phone of the PBX's domain.
struct Sleeper {
    flow: FlowInfo,
    user: &'static str,
    instance: &'static str,
    token: String,
    session: Session,
    cseq: u32,
    expires: u32,
}

impl Sleeper {
    fn new(edge: &mut Edge, user: &'static str, instance: &'static str) -> Sleeper {
        let flow = edge.world.open(Transport::Tls, "192.0.2.10");
        let token = format!("TOKEN-OF-{user}-{}", &instance[10..18]);
        Sleeper { flow, user, instance, token, session: Session::new(), cseq: 0, expires: 604_800 }
    }

    fn contact(&self) -> String {
        format!(
            "<sip:{}@{};transport=tls;ob;pn-provider=fcm;pn-param=acme;pn-prid={}>",
            self.user, self.flow.remote, self.token
        )
    }

    fn request(&mut self, edge: &mut Edge) -> Message {
        self.cseq += 1;
        let uri = format!("sip:{PBX}");
        let credentials = Credentials::password(self.user, Secret::from("known to the PBX only"));
        let mut entropy = wakeline_entropy::Entropy::from_number(9);
        let lines = self.session.authorize(&Method::Register, &uri, b"", &credentials, &mut entropy);
        Builder::request(Method::Register, &uri)
            .header(
                Name::Via,
                format!("SIP/2.0/TLS {};branch={};rport", self.flow.remote, edge.world.branch()),
            )
            .header(Name::Route, "<sip:203.0.113.1:5061;transport=tls;lr>")
            .header(Name::From, format!("<sip:{}@{PBX}>;tag=reg", self.user))
            .header(Name::To, format!("<sip:{}@{PBX}>", self.user))
            .header(Name::CallId, format!("reg-{}", &self.instance[10..18]))
            .header(Name::CSeq, format!("{} REGISTER", self.cseq))
            .header(Name::Supported, "path, outbound, gruu, replaces")
            .header(
                Name::Contact,
                format!("{};reg-id=1;+sip.instance=\"{}\";+sip.pnsreg;q=0.5", self.contact(), self.instance),
            )
            .header(Name::Expires, self.expires)
            .header_text("X-Wake-Id", "Zk3vQm1xT0aB9wLr")
            .headers(lines)
            .build()
            .unwrap()
    }

    /// Sends a REGISTER; gives what reached the PBX.
    fn send(&mut self, edge: &mut Edge) -> (Message, Message) {
        let request = self.request(edge);
        edge.world.receive(self.flow, &request);
        let arrived = edge.at_pbx(&Method::Register);
        (request, arrived)
    }

    /// Registers through a challenge; gives what came out with the PBX's 200.
    fn register(&mut self, edge: &mut Edge) -> (Message, Vec<Out>) {
        self.register_for(edge, GRANTED)
    }

    fn register_for(&mut self, edge: &mut Edge, granted: u32) -> (Message, Vec<Out>) {
        if !self.session.is_ready() {
            let (request, arrived) = self.send(edge);
            let out = edge.pbx_sends(&challenge(&arrived));
            let credentials = Credentials::password(self.user, Secret::from("known to the PBX only"));
            let challenge = status(&out, self.flow);
            self.session.on_challenge(&request, &challenge, &credentials, Asker::Configured).unwrap();
        }
        let (_, arrived) = self.send(edge);
        let out = edge.pbx_sends(&grant(&arrived, granted));
        assert_eq!(statuses(&out, self.flow), [200]);
        (arrived, out)
    }

    fn sleep(&self, edge: &mut Edge) {
        edge.world.close(self.flow);
        edge.world.pass(60 * SECOND);
        edge.world.take();
    }

    fn wake(&mut self, edge: &mut Edge) -> Vec<Out> {
        self.flow = edge.world.open(Transport::Tls, "192.0.2.20");
        self.register(edge).1
    }

    fn answer(&self, edge: &mut Edge, request: &Message, code: u16) -> Vec<Out> {
        let mut response = Builder::response(request, code, "").copy(request, Name::RecordRoute);
        if code > 100 {
            response = response.to_tag("phone").header(Name::Contact, self.contact());
        }
        edge.world.receive(self.flow, &response.build().unwrap());
        edge.world.take()
    }
}

/// Where the PBX sends this phone's calls.
fn name_at_pbx(arrived: &Message) -> String {
    let contact = contact(arrived);
    contact[1..contact.find('>').unwrap()].to_owned()
}

/// A request of the PBX.
fn of_pbx(edge: &mut Edge, method: Method, uri: &str, call_id: &str) -> Message {
    let branch = edge.world.branch();
    Builder::request(method.clone(), uri)
        .header(Name::Via, format!("SIP/2.0/TCP 10.0.0.5:5060;branch={branch}"))
        .header(Name::From, "\"Uncle Bob\" <sip:bob@pbx.example.net>;tag=caller")
        .header(Name::To, format!("<{uri}>"))
        .header(Name::CallId, call_id)
        .header(Name::CSeq, format!("1 {method}"))
        .header(Name::Contact, "<sip:bob@10.0.0.5:5060;transport=tcp>")
        .header(Name::PAssertedIdentity, "<sip:bob@pbx.example.net>")
        .build()
        .unwrap()
}

/// A request of a phone outside of a dialog.
fn of_phone(edge: &mut Edge, phone: &Sleeper, method: Method, uri: &str, call_id: &str) -> Message {
    let branch = edge.world.branch();
    Builder::request(method.clone(), uri)
        .header(Name::Via, format!("SIP/2.0/TLS {};branch={branch};rport", phone.flow.remote))
        .header(Name::From, format!("<sip:{}@{PBX}>;tag=phone", phone.user))
        .header(Name::To, format!("<{uri}>"))
        .header(Name::CallId, call_id)
        .header(Name::CSeq, format!("1 {method}"))
        .header(Name::Contact, phone.contact())
        .header(Name::PAssertedIdentity, "<sip:boss@pbx.example.net>")
        .header_text("Remote-Party-ID", "<sip:boss@pbx.example.net>")
        .build()
        .unwrap()
}

/// A request within the dialog that a 2xx has opened, as its caller sends it.
fn within(edge: &mut Edge, invite: &Message, ok: &Message, method: Method, via: &str) -> Message {
    let branch = edge.world.branch();
    let number = if method == Method::Ack { 1 } else { 2 };
    let target = contact(ok);
    let target = &target[1..target.find('>').unwrap()];
    let mut builder = Builder::request(method.clone(), target)
        .header(Name::Via, format!("{via};branch={branch}"))
        .copy(invite, Name::From)
        .copy(ok, Name::To)
        .copy(invite, Name::CallId)
        .header(Name::CSeq, format!("{number} {method}"));
    let routes: Vec<String> = ok.headers(Name::RecordRoute).map(str::to_owned).collect();
    let routes: Vec<&str> = routes.iter().flat_map(|line| line.split(',')).map(str::trim).collect();
    for route in routes.iter().rev() {
        builder = builder.header(Name::Route, route);
    }
    builder.build().unwrap()
}

fn assert_quiet(edge: &mut Edge) {
    edge.world.pass(Duration::from_secs(4000));
    let gauges = edge.world.gateway.gauges();
    assert_eq!(
        (gauges.contexts, gauges.held, gauges.pushes, gauges.outcomes, gauges.client_transactions),
        (0, 0, 0, 0, 0),
        "{gauges:?}"
    );
    assert_eq!((gauges.server_transactions, gauges.registering, gauges.quota_names), (0, 0, 0), "{gauges:?}");
}

#[test]
fn s23_register_reaches_the_pbx_with_its_digest_and_without_its_token() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    let (request, arrived) = mia.send(&mut edge);
    assert_eq!(arrived.request_uri_text(), request.request_uri_text());
    assert_eq!(arrived.max_forwards().unwrap(), Some(69));
    let text = String::from_utf8(arrived.to_bytes().to_vec()).unwrap();
    for secret in [mia.token.as_str(), "pn-", "X-Wake-Id", "urn:uuid", "reg-id", "192.0.2.10:40002;transport"]
    {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(arrived.header(Name::Route).is_none(), "{text}");
    assert_eq!(arrived.header(Name::Supported), Some("replaces"));
    assert_eq!(arrived.expires().unwrap(), Some(604_800));
    let ours = contact(&arrived);
    assert!(ours.contains("@203.0.113.1:5061;transport=tcp>;expires=604800;q=0.5"), "{ours}");
    // The challenge comes through, and nothing is bound yet.
    let out = edge.pbx_sends(&challenge(&arrived));
    let refused = status(&out, mia.flow);
    assert_eq!(refused.status(), Some(401));
    assert_eq!(refused.header(Name::WwwAuthenticate), challenge(&arrived).header(Name::WwwAuthenticate));
    assert_eq!((refused.vias().count(), edge.world.gateway.gauges().bindings), (1, 0));
    let credentials = Credentials::password("mia", Secret::from("known to the PBX only"));
    mia.session.on_challenge(&request, &refused, &credentials, Asker::Configured).unwrap();
    let (request, arrived) = mia.send(&mut edge);
    assert_eq!(arrived.header(Name::Authorization), request.header(Name::Authorization));
    let out = edge.pbx_sends(&grant(&arrived, GRANTED));
    let ok = status(&out, mia.flow);
    // Its own Contact with what the PBX granted; nobody else's, no GRUU of a domain that is not ours.
    let own: Vec<&str> = ok.headers(Name::Contact).collect();
    assert_eq!(own.len(), 1, "{own:?}");
    assert!(own[0].contains(&mia.token) && own[0].contains(";expires=7200"), "{own:?}");
    assert!(!own[0].contains("gruu") && !own[0].contains("desk"), "{own:?}");
    assert_eq!(ok.header(Name::Require), Some("outbound"));
    assert_eq!(ok.header(Name::FlowTimer), Some("120"));
    assert!(ok.header(Name::FeatureCaps).unwrap().contains("+sip.pns=\"fcm\""));
    assert_eq!(ok.header(Name::AuthenticationInfo), Some("nextnonce=\"ghijkl\""));
    assert!(ok.header(Name::ServiceRoute).is_none());
    assert_eq!(edge.world.gateway.gauges().bindings, 1);
    // What is stored has the token; what was said to the log has not.
    assert!(!format!("{:?}", legs(&out)).contains(&mia.token));
}

#[test]
fn a_refresh_is_one_to_the_pbx_too_also_after_a_restart() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    let (first, out) = mia.register(&mut edge);
    let stored = out.into_iter().find_map(|one| match one {
        Out::Persist(change) => match *change {
            Persist::BindingPut(binding) => Some(binding),
            _ => None,
        },
        _ => None,
    });
    let stored = stored.expect("a stored binding");
    assert_eq!((stored.aor.as_str(), stored.lifetime), ("mia@pbx.example.net", GRANTED));
    let name = name_at_pbx(&first);
    // The same phone from another address, with another token.
    mia.flow = edge.world.open(Transport::Tls, "192.0.2.99");
    mia.token.push_str("-rotated");
    let (second, _) = mia.register(&mut edge);
    assert_eq!(name_at_pbx(&second), name);
    // Another process, another seed.
    let loaded = Loaded { bindings: vec![stored], ..Loaded::default() };
    let mut edge = Edge::with(loaded, 2);
    let invite = of_pbx(&mut edge, Method::Invite, &name, "call-1");
    let out = edge.pbx_sends(&invite);
    assert_eq!((statuses(&out, edge.hops[0]), pushes(&out).len()), (vec![100], 1));
    let mut again = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    again.cseq = 50;
    let (third, out) = again.register(&mut edge);
    assert_eq!(name_at_pbx(&third), name);
    assert_eq!(requests(&out, again.flow, &Method::Invite).len(), 1);
}

#[test]
fn the_binding_lives_no_longer_than_the_pbx_grants_and_the_phone_is_woken_in_time() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    mia.register_for(&mut edge, 7200);
    mia.sleep(&mut edge);
    // It refreshes by a timer if it can (`+sip.pnsreg`); one that has not is asked for before the end.
    edge.world.pass(Duration::from_secs(5400 - 61));
    assert!(pushes(&edge.world.take()).is_empty());
    edge.world.pass(2 * SECOND);
    assert_eq!(pushes(&edge.world.take()).len(), 1);
    mia.wake(&mut edge);
    mia.sleep(&mut edge);
    edge.world.pass(Duration::from_secs(7200));
    assert_eq!(edge.world.gateway.gauges().bindings, 0);
    // One that asks for less than the PBX would grant gets no more than it asked for.
    mia.flow = edge.world.open(Transport::Tls, "192.0.2.21");
    mia.expires = 3600;
    let (arrived, out) = mia.register_for(&mut edge, 604_800);
    assert_eq!(arrived.expires().unwrap(), Some(604_800), "the PBX is asked for the operator's wish");
    assert!(contact(&status(&out, mia.flow)).contains(";expires=3600"));
}

#[test]
fn held_invite_leaves_behind_the_pbxs_200_once() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    let (arrived, _) = mia.register(&mut edge);
    mia.sleep(&mut edge);
    let invite = of_pbx(&mut edge, Method::Invite, &name_at_pbx(&arrived), "call-1");
    let out = edge.pbx_sends(&invite);
    assert_eq!(statuses(&out, edge.hops[0]), [100]);
    assert_eq!(pushes(&out).len(), 1);
    assert_eq!(pushes(&out)[0].target.prid.expose(), mia.token);
    // A wake with a stale nonce: neither the REGISTER nor the challenge releases anything.
    mia.flow = edge.world.open(Transport::Tls, "192.0.2.20");
    let (_, arrived) = mia.send(&mut edge);
    assert!(requests(&edge.world.take(), mia.flow, &Method::Invite).is_empty());
    let out = edge.pbx_sends(&challenge(&arrived));
    assert!(requests(&out, mia.flow, &Method::Invite).is_empty());
    assert_eq!(edge.world.gateway.gauges().held, 1);
    let (_, out) = mia.register(&mut edge);
    let on_flow = sent(&out, mia.flow);
    assert_eq!(on_flow.len(), 2);
    assert_eq!(on_flow[0].status(), Some(200));
    let leaving = on_flow[1].clone();
    assert_eq!(leaving.method(), Method::Invite);
    assert_eq!(leaving.request_uri_text(), "sip:mia@192.0.2.20:40005;transport=tls;ob");
    // The upstream may say who calls (RFC 3325).
    assert_eq!(leaving.header(Name::PAssertedIdentity), Some("<sip:bob@pbx.example.net>"));
    let states = read_wake_states(on_flow[0].header_by_name("X-Wake-State").unwrap_or(""));
    assert!(states.contains(&(WakeId::of("call-1", "caller"), WakeState::Pending)), "{states:?}");
    // A second REGISTER brings no second INVITE.
    let (_, out) = mia.register(&mut edge);
    assert!(requests(&out, mia.flow, &Method::Invite).is_empty());
    mia.answer(&mut edge, &leaving, 180);
    let out = mia.answer(&mut edge, &leaving, 200);
    let ok = status(&out, edge.hops[0]);
    assert!(!contact(&ok).contains("pn-"), "{}", contact(&ok));
    // The dialog goes on through us in both directions.
    let ack = within(&mut edge, &invite, &ok, Method::Ack, "SIP/2.0/TCP 10.0.0.5:5060");
    let out = edge.pbx_sends(&ack);
    assert_eq!(requests(&out, mia.flow, &Method::Ack).len(), 1);
    let bye = within(&mut edge, &invite, &ok, Method::Bye, "SIP/2.0/TCP 10.0.0.5:5060");
    let out = edge.pbx_sends(&bye);
    let bye = one(&out, mia.flow, &Method::Bye);
    let out = mia.answer(&mut edge, &bye, 200);
    assert_eq!(statuses(&out, edge.hops[0]), [200]);
    assert_quiet(&mut edge);
}

#[test]
fn a_refused_register_changes_no_binding_and_releases_nothing() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    let (arrived, _) = mia.register(&mut edge);
    let name = name_at_pbx(&arrived);
    mia.sleep(&mut edge);
    let invite = of_pbx(&mut edge, Method::Invite, &name, "call-1");
    edge.pbx_sends(&invite);
    // Somebody else's REGISTER for mia's instance, without her token, is refused: her call goes on being held.
    let mut eve = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    eve.cseq = 100;
    eve.token = "a token of Eve's".replace(' ', "-");
    for code in [403, 500, 423] {
        let (_, arrived) = eve.send(&mut edge);
        let refusal = Builder::response(&arrived, code, "").to_tag("pbx").build().unwrap();
        let out = edge.pbx_sends(&refusal);
        assert_eq!(statuses(&out, eve.flow), [code]);
        assert!(requests(&out, eve.flow, &Method::Invite).is_empty());
    }
    let gauges = edge.world.gateway.gauges();
    assert_eq!((gauges.bindings, gauges.held), (1, 1));
    let bindings = edge.world.gateway.bindings_of(edge.world.now, "mia", PBX);
    assert_eq!(bindings[0].flow, None);
    // Mia's own still brings the call to her.
    mia.cseq = 200;
    let out = mia.wake(&mut edge);
    assert_eq!(requests(&out, mia.flow, &Method::Invite).len(), 1);
}

#[test]
fn s16_a_guesser_at_the_pbx_is_slowed_down_here() {
    let mut edge = Edge::new();
    let mut eve = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    let (request, arrived) = eve.send(&mut edge);
    let out = edge.pbx_sends(&challenge(&arrived));
    let credentials = Credentials::password("mia", Secret::from("a guess"));
    eve.session.on_challenge(&request, &status(&out, eve.flow), &credentials, Asker::Configured).unwrap();
    let mut reached = 0;
    for _ in 0..20 {
        let request = eve.request(&mut edge);
        edge.world.receive(eve.flow, &request);
        let out = edge.world.take();
        let Some(arrived) = requests(&out, edge.hops[0], &Method::Register).first().copied().cloned() else {
            let refused = status(&out, eve.flow);
            assert_eq!(refused.status(), Some(503));
            assert!(refused.header(Name::RetryAfter).is_some());
            continue;
        };
        reached += 1;
        edge.pbx_sends(&challenge(&arrived));
    }
    assert_eq!(reached, 5, "as many as cost nothing, and no more");
    // The owner at another address is not concerned.
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    mia.flow = edge.world.open(Transport::Tls, "192.0.2.77");
    mia.register(&mut edge);
}

#[test]
fn a_call_of_the_phone_goes_upstream_and_its_challenge_comes_back() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    mia.register(&mut edge);
    let uri = format!("sip:bob@{PBX}");
    let invite = of_phone(&mut edge, &mia, Method::Invite, &uri, "call-out");
    edge.world.receive(mia.flow, &invite);
    let arrived = edge.at_pbx(&Method::Invite);
    assert_eq!(arrived.request_uri_text(), uri);
    assert_eq!(arrived.record_routes().count(), 2);
    // What a phone claims to be is not passed on, and neither is what wakes it.
    assert!(arrived.header(Name::PAssertedIdentity).is_none());
    assert!(arrived.header_by_name("Remote-Party-ID").is_none());
    assert!(!contact(&arrived).contains("pn-"));
    let challenge = Builder::response(&arrived, 407, "")
        .to_tag("pbx")
        .header(Name::ProxyAuthenticate, format!("Digest realm=\"{DOMAIN}\", nonce=\"n\", algorithm=MD5"))
        .build()
        .unwrap();
    let out = edge.pbx_sends(&challenge);
    let refused = status(&out, mia.flow);
    assert_eq!(refused.status(), Some(407));
    assert_eq!(refused.header(Name::ProxyAuthenticate), challenge.header(Name::ProxyAuthenticate));
    // The answer to it passes, even to a realm of our own name.
    let answer =
        format!("Digest username=\"mia\", realm=\"{DOMAIN}\", nonce=\"n\", uri=\"{uri}\", response=\"0\"");
    let invite = of_phone(&mut edge, &mia, Method::Invite, &uri, "call-out")
        .edit()
        .replace(Name::CSeq, "2 INVITE")
        .append(Name::ProxyAuthorization, &answer)
        .finish()
        .unwrap();
    edge.world.receive(mia.flow, &invite);
    let arrived = edge.at_pbx(&Method::Invite);
    assert_eq!(arrived.header(Name::ProxyAuthorization), Some(answer.as_str()));
    // It rings for as long as the PBX lets it, longer than a call to one of our own devices would.
    let ringing = Builder::response(&arrived, 180, "").to_tag("bob").build().unwrap();
    edge.pbx_sends(&ringing);
    edge.world.pass(Duration::from_secs(150));
    let ok = Builder::response(&arrived, 200, "")
        .to_tag("bob")
        .copy(&arrived, Name::RecordRoute)
        .header(Name::Contact, "<sip:bob@10.0.0.44:5062>")
        .build()
        .unwrap();
    let out = edge.pbx_sends(&ok);
    let ok = status(&out, mia.flow);
    assert_eq!(ok.status(), Some(200));
    let ack = within(&mut edge, &invite, &ok, Method::Ack, "SIP/2.0/TLS 192.0.2.10:4444");
    edge.world.receive(mia.flow, &ack);
    let ack = edge.at_pbx(&Method::Ack);
    assert_eq!((ack.request_uri_text(), ack.routes().count()), ("sip:bob@10.0.0.44:5062", 0));
    // The PBX hangs up.
    let branch = edge.world.branch();
    let mut bye = Builder::request(Method::Bye, "sip:mia@192.0.2.10:40004;transport=tls;ob")
        .header(Name::Via, format!("SIP/2.0/TCP 10.0.0.5:5060;branch={branch}"))
        .header(Name::From, ok.header(Name::To).unwrap())
        .header(Name::To, invite.header(Name::From).unwrap())
        .copy(&invite, Name::CallId)
        .header(Name::CSeq, "7 BYE");
    for route in arrived.headers(Name::RecordRoute) {
        bye = bye.header(Name::Route, route);
    }
    let bye = bye.build().unwrap();
    let out = edge.pbx_sends(&bye);
    let bye = one(&out, mia.flow, &Method::Bye);
    assert_eq!(bye.routes().count(), 0);
    mia.answer(&mut edge, &bye, 200);
    assert_quiet(&mut edge);
}

#[test]
fn a_dialog_outlives_the_connection_to_its_next_hop() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    mia.register(&mut edge);
    let invite = of_phone(&mut edge, &mia, Method::Invite, "sip:bob@pbx.example.net", "call-out");
    edge.world.receive(mia.flow, &invite);
    let arrived = edge.at_pbx(&Method::Invite);
    let ok = Builder::response(&arrived, 200, "")
        .to_tag("bob")
        .copy(&arrived, Name::RecordRoute)
        .header(Name::Contact, "<sip:bob@10.0.0.44:5062>")
        .build()
        .unwrap();
    let ok = status(&edge.pbx_sends(&ok), mia.flow);
    edge.world.take();
    edge.world.close(edge.hops[0]);
    // One that worked is asked for at once, one that fails then a second later.
    assert_eq!(asked(&edge.world.take()), [HopId(0)]);
    edge.world.gateway.handle_hop_failed(edge.world.now, HopId(0));
    let bye = within(&mut edge, &invite, &ok, Method::Bye, "SIP/2.0/TLS 192.0.2.10:4444");
    // Until it is back only the request fails, not the dialog; it does not go to the other next hop.
    edge.world.take();
    edge.world.receive(mia.flow, &bye);
    let out = edge.world.take();
    assert_eq!(status(&out, mia.flow).status(), Some(503));
    edge.world.pass(2 * SECOND);
    assert_eq!(asked(&edge.world.take()), [HopId(0)]);
    edge.hops[0] = edge.reopen(HopId(0), "10.0.0.5");
    let again = bye.edit().replace_first(Name::Via, "SIP/2.0/TLS 192.0.2.10:4444;branch=z9hG4bKagain");
    let again = again.replace(Name::CSeq, "3 BYE").finish().unwrap();
    edge.world.receive(mia.flow, &again);
    edge.at_pbx(&Method::Bye);
}

#[test]
fn upstream_down_is_503_with_retry_after_and_the_next_hop_is_taken_in_order() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    mia.register(&mut edge);
    // The first says nothing: after four seconds the second is asked, and the first is left alone for a while.
    let request = mia.request(&mut edge);
    edge.world.receive(mia.flow, &request);
    edge.at_pbx(&Method::Register);
    edge.world.pass(4 * SECOND);
    let out = edge.world.take();
    let arrived = one(&out, edge.hops[1], &Method::Register);
    assert!(legs(&out).contains(&&Leg::HopDown(HopId(0))));
    assert!(out.iter().any(|one| matches!(one, Out::CloseFlow(flow) if *flow == edge.hops[0].id)));
    edge.world.close(edge.hops[0]);
    edge.world.receive(edge.hops[1], &grant(&arrived, GRANTED));
    assert_eq!(status(&edge.world.take(), mia.flow).status(), Some(200));
    // A call while only the second is up; it has no room, and there is no other.
    let uri = format!("sip:bob@{PBX}");
    let invite = of_phone(&mut edge, &mia, Method::Invite, &uri, "call-1");
    edge.world.receive(mia.flow, &invite);
    let arrived = one(&edge.world.take(), edge.hops[1], &Method::Invite);
    let full = Builder::response(&arrived, 503, "").to_tag("x").header(Name::RetryAfter, 7).build().unwrap();
    edge.world.receive(edge.hops[1], &full);
    let out = edge.world.take();
    assert_eq!(status(&out, mia.flow).header(Name::RetryAfter), Some("7"));
    // Nothing is up.
    edge.world.close(edge.hops[1]);
    edge.world.gateway.handle_hop_failed(edge.world.now, HopId(1));
    edge.world.take();
    for method in [Method::Invite, Method::Message] {
        let request = of_phone(&mut edge, &mia, method, &uri, "call-2");
        edge.world.receive(mia.flow, &request);
        let out = edge.world.take();
        let refused = status(&out, mia.flow);
        assert_eq!((refused.status(), refused.header(Name::RetryAfter)), (Some(503), Some("10")));
        assert!(legs(&out).contains(&&Leg::UpstreamDown));
    }
    let request = mia.request(&mut edge);
    edge.world.receive(mia.flow, &request);
    let refused = status(&edge.world.take(), mia.flow);
    assert_eq!((refused.status(), refused.header(Name::RetryAfter)), (Some(503), Some("10")));
    assert_eq!(edge.world.gateway.gauges().bindings, 1, "the phone stays bound");
    // They are asked for again and again, at growing distances.
    let mut count = 0;
    for _ in 0..240 {
        edge.world.pass(SECOND);
        for hop in asked(&edge.world.take()) {
            count += 1;
            edge.world.gateway.handle_hop_failed(edge.world.now, hop);
            edge.world.drain();
        }
    }
    assert!((12..=24).contains(&count), "{count} attempts in four minutes on two next hops");
}

#[test]
fn a_call_that_gets_no_answer_goes_to_the_next_hop() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    mia.register(&mut edge);
    let invite = of_phone(&mut edge, &mia, Method::Invite, "sip:bob@pbx.example.net", "call-1");
    edge.world.receive(mia.flow, &invite);
    edge.at_pbx(&Method::Invite);
    edge.world.pass(2 * SECOND);
    let arrived = one(&edge.world.take(), edge.hops[1], &Method::Invite);
    let busy = Builder::response(&arrived, 486, "").to_tag("x").build().unwrap();
    edge.world.receive(edge.hops[1], &busy);
    assert_eq!(final_status(&edge.world.take(), mia.flow), Some(486));
    edge.world.close(edge.hops[0]);
    assert_quiet(&mut edge);
}

#[test]
fn a_qualify_of_the_pbx_is_answered_for_a_sleeping_phone() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    let (arrived, _) = mia.register(&mut edge);
    mia.sleep(&mut edge);
    let name = name_at_pbx(&arrived);
    let options = of_pbx(&mut edge, Method::Options, &name, "ping");
    let out = edge.pbx_sends(&options);
    assert_eq!((statuses(&out, edge.hops[0]), pushes(&out).len()), (vec![200], 0));
    // Not for one that is gone.
    edge.world.pass(Duration::from_secs(8000));
    edge.world.take();
    let options = of_pbx(&mut edge, Method::Options, &name, "ping-2");
    assert_eq!(statuses(&edge.pbx_sends(&options), edge.hops[0]), [480]);
}

#[test]
fn a_pbx_that_forks_wakes_both_devices_and_the_slower_one_learns_who_answered() {
    let mut edge = Edge::new();
    let mut one_phone = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    let mut other = Sleeper::new(&mut edge, "mia", INSTANCE_B);
    let first = name_at_pbx(&one_phone.register(&mut edge).0);
    let second = name_at_pbx(&other.register(&mut edge).0);
    assert_ne!(first, second);
    one_phone.sleep(&mut edge);
    other.sleep(&mut edge);
    let to_first = of_pbx(&mut edge, Method::Invite, &first, "call-1");
    let to_second = of_pbx(&mut edge, Method::Invite, &second, "call-1");
    let mut out = edge.pbx_sends(&to_first);
    out.extend(edge.pbx_sends(&to_second));
    assert_eq!((statuses(&out, edge.hops[0]), pushes(&out).len()), (vec![100, 100], 2));
    // A third copy for a device that has one already came round in a circle.
    let again = of_pbx(&mut edge, Method::Invite, &second, "call-1");
    assert_eq!(final_status(&edge.pbx_sends(&again), edge.hops[0]), Some(482));
    let out = one_phone.wake(&mut edge);
    let invite = one(&out, one_phone.flow, &Method::Invite);
    one_phone.answer(&mut edge, &invite, 200);
    let cancel = Builder::request(Method::Cancel, &second)
        .copy(&to_second, Name::Via)
        .copy(&to_second, Name::From)
        .copy(&to_second, Name::To)
        .copy(&to_second, Name::CallId)
        .header(Name::CSeq, "1 CANCEL")
        .header(Name::Reason, "SIP;cause=200;text=\"Call completed elsewhere\"")
        .build()
        .unwrap();
    edge.pbx_sends(&cancel);
    let wake = WakeId::of("call-1", "caller");
    let told = |out: &[Out], flow| {
        read_wake_states(status(out, flow).header_by_name("X-Wake-State").unwrap_or(""))
            .into_iter()
            .find(|(known, _)| *known == wake)
    };
    other.flow = edge.world.open(Transport::Tls, "192.0.2.30");
    let (_, out) = other.register(&mut edge);
    assert!(requests(&out, other.flow, &Method::Invite).is_empty());
    assert_eq!(told(&out, other.flow), Some((wake, WakeState::Elsewhere)));
    // The one that answered is not told that its own call was cancelled.
    let (_, out) = one_phone.register(&mut edge);
    assert_eq!(told(&out, one_phone.flow), None);
    assert_quiet(&mut edge);
}

#[test]
fn s28_no_relay_and_no_way_back_to_where_it_came_from() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    let (arrived, _) = mia.register(&mut edge);
    let name = name_at_pbx(&arrived);
    let uri = format!("sip:bob@{PBX}");
    // A stranger has no way to the PBX through us, whomever it claims to be.
    let mut eve = Sleeper::new(&mut edge, "mia", INSTANCE_B);
    eve.flow = edge.world.open(Transport::Tls, "192.0.2.66");
    for target in [&uri, &name, "sip:bob@10.0.0.5"] {
        for method in [Method::Invite, Method::Options, Method::Message] {
            let request = of_phone(&mut edge, &eve, method, target, "scan");
            edge.world.receive(eve.flow, &request);
            let out = edge.world.take();
            assert_eq!(final_status(&out, eve.flow), Some(403), "{target}");
            assert!(edge.hops.iter().all(|hop| sent(&out, *hop).is_empty()));
        }
    }
    // A phone of one upstream has no way to another, nor to anywhere else.
    for target in ["sip:bob@other.example.net", "sip:bob@elsewhere.example.com", "sip:bob@10.0.9.5"] {
        let request = of_phone(&mut edge, &mia, Method::Invite, target, "away");
        edge.world.receive(mia.flow, &request);
        let out = edge.world.take();
        assert_eq!(final_status(&out, mia.flow), Some(403), "{target}");
        assert!(edge.hops.iter().all(|hop| sent(&out, *hop).is_empty()));
    }
    // Nor on a connection that it did not register on.
    let elsewhere = edge.world.open(Transport::Tls, "192.0.2.10");
    let request = of_phone(&mut edge, &mia, Method::Invite, &uri, "other-flow");
    edge.world.receive(elsewhere, &request);
    assert_eq!(final_status(&edge.world.take(), elsewhere), Some(403));
    // What the upstream sends is never sent back to it.
    let register = mia.request(&mut edge);
    assert_eq!(final_status(&edge.pbx_sends(&register), edge.hops[0]), Some(482));
    let invite = of_pbx(&mut edge, Method::Invite, &uri, "loop");
    assert_eq!(final_status(&edge.pbx_sends(&invite), edge.hops[0]), Some(404));
    // A name of ours opens nothing for another upstream, and a forged one nothing for anybody.
    let invite = of_pbx(&mut edge, Method::Invite, &name, "stolen");
    edge.world.receive(edge.hops[2], &invite);
    assert_eq!(final_status(&edge.world.take(), edge.hops[2]), Some(404));
    let user = Uri::parse(&name).unwrap().user().unwrap().to_owned();
    let forged = name.replace(&user, &format!("A{}", &user[1..]));
    let forged = if forged == name { name.replace(&user, &format!("B{}", &user[1..])) } else { forged };
    let invite = of_pbx(&mut edge, Method::Invite, &forged, "forged");
    assert_eq!(final_status(&edge.pbx_sends(&invite), edge.hops[0]), Some(404));
    // The PBX may name the phone by its address as well, and forget to take its own name off the Route.
    let invite = of_pbx(&mut edge, Method::Invite, &format!("sip:mia@{PBX}"), "by-name");
    let invite = invite.edit().append(Name::Route, "<sip:10.0.0.5:5060;transport=tcp;lr>").finish().unwrap();
    let out = edge.pbx_sends(&invite);
    assert_eq!(one(&out, mia.flow, &Method::Invite).routes().count(), 0);
}

#[test]
fn a_pbx_on_our_own_machine_is_told_from_us_by_its_port() {
    let mut edge = Edge::new();
    let flow = edge.world.open(Transport::Tcp, "203.0.113.1");
    edge.world.close(edge.hops[0]);
    let flow = FlowInfo { remote: "203.0.113.1:5060".parse().unwrap(), ..flow };
    edge.world.gateway.handle_hop_opened(edge.world.now, HopId(0), flow);
    edge.hops[0] = flow;
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    mia.register(&mut edge);
    let invite = of_phone(&mut edge, &mia, Method::Invite, "sip:bob@pbx.example.net", "call-out");
    edge.world.receive(mia.flow, &invite);
    let arrived = edge.at_pbx(&Method::Invite);
    let ok = Builder::response(&arrived, 200, "")
        .to_tag("bob")
        .header(Name::RecordRoute, "<sip:203.0.113.1:5060;lr>")
        .copy(&arrived, Name::RecordRoute)
        .header(Name::Contact, "<sip:bob@10.0.0.44:5062>")
        .build()
        .unwrap();
    let ok = status(&edge.pbx_sends(&ok), mia.flow);
    let ack = within(&mut edge, &invite, &ok, Method::Ack, "SIP/2.0/TLS 192.0.2.10:4444");
    edge.world.receive(mia.flow, &ack);
    let ack = edge.at_pbx(&Method::Ack);
    assert_eq!(ack.header(Name::Route), Some("<sip:203.0.113.1:5060;lr>"), "the PBX's own Route stays");
}

#[test]
fn s14_no_more_registers_on_their_way_than_allowed() {
    let mut config = edge_config();
    config.limits.registering = 3;
    let world = World::with(config, Loaded::default(), 1);
    let mut edge = Edge { world, hops: Vec::new() };
    edge.world.drain();
    edge.world.take();
    let hop = edge.reopen(HopId(0), "10.0.0.5");
    edge.hops.push(hop);
    let mut refused = 0;
    for number in 0..5 {
        let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
        mia.cseq = number;
        let request = mia.request(&mut edge);
        edge.world.receive(mia.flow, &request);
        refused += statuses(&edge.world.take(), mia.flow).iter().filter(|code| **code == 503).count();
    }
    assert_eq!((refused, edge.world.gateway.gauges().registering), (2, 3));
    assert_eq!(edge.world.gateway.gauges().accounts, 3, "a stranger makes no account");
    edge.world.pass(Duration::from_secs(40));
    assert_eq!(edge.world.gateway.gauges().registering, 0);
}

#[test]
fn an_unregistered_phone_is_forgotten_after_the_pbxs_word() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    let (arrived, _) = mia.register(&mut edge);
    let name = name_at_pbx(&arrived);
    mia.expires = 0;
    let (_, arrived) = mia.send(&mut edge);
    assert!(contact(&arrived).contains(";expires=0"));
    assert_eq!(name_at_pbx(&arrived), name);
    assert_eq!(edge.world.gateway.gauges().bindings, 1, "not before the PBX agrees");
    let ok = Builder::response(&arrived, 200, "").to_tag("pbx").build().unwrap();
    let out = edge.pbx_sends(&ok);
    assert_eq!(statuses(&out, mia.flow), [200]);
    assert_eq!(edge.world.gateway.gauges().bindings, 0);
    let invite = of_pbx(&mut edge, Method::Invite, &name, "late");
    assert_eq!(final_status(&edge.pbx_sends(&invite), edge.hops[0]), Some(480));
}

#[test]
fn a_bye_of_the_pbx_for_a_sleeping_phone_is_held_and_answered() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    let (arrived, _) = mia.register(&mut edge);
    let invite = of_pbx(&mut edge, Method::Invite, &name_at_pbx(&arrived), "call-1");
    let out = edge.pbx_sends(&invite);
    let leaving = one(&out, mia.flow, &Method::Invite);
    let out = mia.answer(&mut edge, &leaving, 200);
    let ok = status(&out, edge.hops[0]);
    mia.sleep(&mut edge);
    let bye = within(&mut edge, &invite, &ok, Method::Bye, "SIP/2.0/TCP 10.0.0.5:5060");
    let out = edge.pbx_sends(&bye);
    assert_eq!(pushes(&out).len(), 1);
    edge.world.pass(5 * SECOND);
    assert_eq!(final_status(&edge.world.take(), edge.hops[0]), Some(200));
    let out = mia.wake(&mut edge);
    assert_eq!(requests(&out, mia.flow, &Method::Bye).len(), 1);
}

#[test]
fn a_message_of_the_pbx_for_a_sleeping_phone_is_202_and_comes_after_its_register() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    let (arrived, _) = mia.register(&mut edge);
    mia.sleep(&mut edge);
    let message = of_pbx(&mut edge, Method::Message, &name_at_pbx(&arrived), "m-1");
    let message = message.edit().set_body("text/plain", &b"good morning"[..]).finish().unwrap();
    let out = edge.pbx_sends(&message);
    assert_eq!((statuses(&out, edge.hops[0]), pushes(&out).len()), (vec![202], 1));
    let out = mia.wake(&mut edge);
    let found = requests(&out, mia.flow, &Method::Message)[0].clone();
    assert_eq!(found.body(), b"good morning");
    assert!(found.request_uri_text().starts_with("sip:mia@"), "the phone's own Contact");
    mia.answer(&mut edge, &found, 200);
    assert_eq!(edge.world.gateway.gauges().mail, 0);
}

#[test]
fn a_pbx_runs_its_own_voicemail_and_takes_that_of_other_domains() {
    let mut rules = edge_config();
    let target = format!("sip:box@{PBX}");
    rules.voicemail = Some(wakeline_registrar::Voicemail { target, ..Default::default() });
    let mut edge = Edge::new();
    edge.world = World::with(rules, Loaded::default(), 1);
    edge.world.drain();
    edge.hops.clear();
    for (hop, address) in asked(&edge.world.take()).into_iter().zip(["10.0.0.5", "10.0.0.6", "10.0.9.5"]) {
        let flow = edge.reopen(hop, address);
        edge.hops.push(flow);
    }
    // Its own phone does not wake: 480 with a reason, and what follows is the PBX's matter.
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    let (arrived, _) = mia.register(&mut edge);
    mia.sleep(&mut edge);
    let invite = of_pbx(&mut edge, Method::Invite, &name_at_pbx(&arrived), "call-1");
    edge.pbx_sends(&invite);
    edge.world.pass(20 * SECOND);
    let out = edge.world.take();
    let last = status(&out, edge.hops[0]);
    assert_eq!(last.status(), Some(480));
    assert_eq!(last.header(Name::Reason), Some("Q.850;cause=20;text=\"Subscriber absent\""));
    assert!(requests(&out, edge.hops[0], &Method::Invite).is_empty());
    // An address of our own domain has its voicemail there.
    let trunk = Trunk::new(&mut edge.world);
    trunk.invite(&mut edge.world, "ben", "call-2");
    let out = edge.world.take();
    let sent_on = one(&out, edge.hops[0], &Method::Invite);
    assert!(sent_on.request_uri_text().starts_with("sip:box@pbx.example.net;target=sip%3Aben%40"));
    assert!(sent_on.header(Name::Diversion).unwrap().starts_with("<sip:ben@voice.example.org>"));
    let ok = Builder::response(&sent_on, 200, "")
        .copy(&sent_on, Name::RecordRoute)
        .to_tag("box")
        .header(Name::Contact, "<sip:box@10.0.0.5:5060;transport=tcp>")
        .build()
        .unwrap();
    edge.pbx_sends(&ok);
    let flow = trunk.flow;
    assert!(edge.world.gateway.gauges().contexts <= 1);
    edge.world.pass(60 * SECOND);
    assert_eq!((edge.world.gateway.gauges().contexts, flow.transport), (0, Transport::Tcp));
}

#[test]
fn subscriptions_and_publications_of_the_pbxs_phones_are_its_own_matter() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    mia.register(&mut edge);
    for (method, event) in
        [(Method::Subscribe, "dialog"), (Method::Subscribe, "weather"), (Method::Publish, "presence")]
    {
        let asked = of_phone(
            &mut edge,
            &mia,
            method.clone(),
            &format!("sip:boss@{PBX}"),
            &format!("{method}-{event}"),
        );
        let asked = asked.edit().append(Name::Event, event).finish().unwrap();
        edge.world.receive(mia.flow, &asked);
        let arrived = edge.at_pbx(&method);
        assert_eq!(arrived.header(Name::Event), Some(event));
        if method == Method::Publish {
            continue;
        }
        let ok = Builder::response(&arrived, 200, "")
            .copy(&arrived, Name::RecordRoute)
            .to_tag("pbx")
            .header(Name::Contact, "<sip:10.0.0.5:5060;transport=tcp>")
            .header(Name::Expires, 3600)
            .build()
            .unwrap();
        let out = edge.pbx_sends(&ok);
        assert_eq!(final_status(&out, mia.flow), Some(200));
    }
    assert_eq!(edge.world.gateway.gauges().subscriptions, 0);
}

#[test]
fn notify_of_a_pbx_within_a_subscription_waits_for_a_sleeping_phone_and_wakes_it_not() {
    let mut edge = Edge::new();
    let mut mia = Sleeper::new(&mut edge, "mia", INSTANCE_A);
    mia.register(&mut edge);
    let asked = of_phone(&mut edge, &mia, Method::Subscribe, &format!("sip:boss@{PBX}"), "lamp");
    let asked = asked.edit().append(Name::Event, "dialog").finish().unwrap();
    edge.world.receive(mia.flow, &asked);
    let arrived = edge.at_pbx(&Method::Subscribe);
    let ok = Builder::response(&arrived, 200, "")
        .copy(&arrived, Name::RecordRoute)
        .to_tag("pbx")
        .header(Name::Contact, "<sip:10.0.0.5:5060;transport=tcp>")
        .header(Name::Expires, 3600)
        .build()
        .unwrap();
    edge.pbx_sends(&ok);
    mia.sleep(&mut edge);
    let target = contact(&arrived);
    let target = target[1..target.find('>').unwrap()].to_owned();
    for number in 1..=3 {
        let branch = edge.world.branch();
        let notify = Builder::request(Method::Notify, &target)
            .header(Name::Via, format!("SIP/2.0/TCP 10.0.0.5:5060;branch={branch}"))
            .headers(arrived.headers(Name::RecordRoute).map(|route| (Name::Route, route)))
            .header(Name::From, format!("<sip:boss@{PBX}>;tag=pbx"))
            .header(Name::To, arrived.header(Name::From).unwrap())
            .copy(&arrived, Name::CallId)
            .header(Name::CSeq, format!("{number} NOTIFY"))
            .header(Name::Contact, "<sip:10.0.0.5:5060;transport=tcp>")
            .header(Name::Event, "dialog")
            .header(Name::SubscriptionState, "active")
            .body("application/dialog-info+xml", format!("<state>{number}</state>").into_bytes())
            .build()
            .unwrap();
        let out = edge.pbx_sends(&notify);
        assert_eq!((final_status(&out, edge.hops[0]), pushes(&out).len()), (Some(200), 0));
    }
    assert_eq!(edge.world.gateway.gauges().mail, 1, "the last one stands for all");
    let out = mia.wake(&mut edge);
    let told = requests(&out, mia.flow, &Method::Notify)[0].clone();
    assert_eq!(told.body(), b"<state>3</state>");
    assert_eq!(told.to_tag(), Some("phone"), "in its dialog");
    mia.answer(&mut edge, &told, 200);
    assert_eq!(edge.world.gateway.gauges().mail, 0);
}
