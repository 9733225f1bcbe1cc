//! Callers, dialogs, quotas, and what is not relayed.
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
use wakeline_sip_auth::{Asker, Credentials, Session};
use wakeline_sip_message::{Builder, Message, Method, Name};
use world::*;

const SECOND: Duration = Duration::from_secs(1);

/// A call of the trunk to mia that has been answered.
struct Call {
    world: World,
    mia: Phone,
    trunk: Trunk,
    /// As the phone got it.
    invite: Message,
    /// As the caller got it.
    ok: Message,
}

fn call() -> Call {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let invite = requests(&world.take(), mia.flow, &Method::Invite)[0].clone();
    mia.answer(&mut world, &invite, 200);
    let out = world.take();
    let ok = sent(&out, trunk.flow).into_iter().find(|m| m.status() == Some(200)).unwrap().clone();
    Call { world, mia, trunk, invite, ok }
}

impl Call {
    /// A request of the caller within the dialog.
    fn callers_request(&mut self, method: Method, cseq: u32) -> Message {
        let uri = self.ok.contact().unwrap().unwrap().uri().as_str().to_owned();
        let routes: Vec<&str> = self.ok.headers(Name::RecordRoute).collect();
        let via = format!("SIP/2.0/TCP {};branch={}", self.trunk.flow.remote, self.world.branch());
        Builder::request(method.clone(), uri)
            .header(Name::Via, via)
            .headers(routes.iter().rev().map(|route| (Name::Route, *route)))
            .header(Name::From, &self.trunk.from)
            .copy(&self.ok, Name::To)
            .copy(&self.ok, Name::CallId)
            .header(Name::CSeq, format!("{cseq} {method}"))
            .build()
            .unwrap()
    }

    /// A request of the phone within the dialog.
    fn phones_request(&mut self, method: Method, cseq: u32) -> Message {
        let uri = self.invite.contact().unwrap().unwrap().uri().as_str().to_owned();
        let via = format!("SIP/2.0/TLS {};branch={}", self.mia.flow.remote, self.world.branch());
        Builder::request(method.clone(), uri)
            .header(Name::Via, via)
            .headers(self.invite.headers(Name::RecordRoute).map(|route| (Name::Route, route)))
            .header(Name::From, self.ok.header(Name::To).unwrap())
            .header(Name::To, &self.trunk.from)
            .copy(&self.ok, Name::CallId)
            .header(Name::CSeq, format!("{cseq} {method}"))
            .build()
            .unwrap()
    }
}

#[test]
fn dialog_goes_both_ways_over_the_recorded_route() {
    let mut call = call();
    assert_eq!(call.invite.record_routes().count(), 2);
    let ack = call.callers_request(Method::Ack, 1);
    call.world.receive(call.trunk.flow, &ack);
    let out = call.world.take();
    let ack = requests(&out, call.mia.flow, &Method::Ack)[0];
    assert_eq!((ack.routes().count(), ack.vias().count()), (0, 2));
    for (method, cseq) in [(Method::Info, 2), (Method::Update, 3), (Method::Refer, 4)] {
        let request = call.callers_request(method.clone(), cseq);
        call.world.receive(call.trunk.flow, &request);
        let found = requests(&call.world.take(), call.mia.flow, &method)[0].clone();
        assert_eq!(found.record_routes().count(), 0);
        call.mia.answer(&mut call.world, &found, 200);
        assert_eq!(final_status(&call.world.take(), call.trunk.flow), Some(200));
    }
    let bye = call.phones_request(Method::Bye, 1);
    call.world.receive(call.mia.flow, &bye);
    let out = call.world.take();
    let bye = requests(&out, call.trunk.flow, &Method::Bye)[0];
    assert_eq!(bye.routes().count(), 0);
    let response = Builder::response(bye, 200, "").build().unwrap();
    call.world.receive(call.trunk.flow, &response);
    assert_eq!(final_status(&call.world.take(), call.mia.flow), Some(200));
}

#[test]
fn bye_to_a_sleeping_party_is_answered_after_five_seconds_and_still_delivered() {
    let mut call = call();
    call.world.close(call.mia.flow);
    let bye = call.callers_request(Method::Bye, 2);
    call.world.receive(call.trunk.flow, &bye);
    let out = call.world.take();
    assert_eq!(pushes(&out).len(), 1);
    assert_eq!(final_status(&out, call.trunk.flow), None);
    call.world.pass(5 * SECOND);
    assert_eq!(final_status(&call.world.take(), call.trunk.flow), Some(200));
    let (out, _) = call.mia.wake(&mut call.world, "192.0.2.20");
    let bye = requests(&out, call.mia.flow, &Method::Bye)[0].clone();
    call.mia.answer(&mut call.world, &bye, 200);
    assert!(sent(&call.world.take(), call.trunk.flow).is_empty(), "answered already");
    call.world.pass(Duration::from_secs(100));
    assert_eq!(call.world.gateway.gauges().contexts, 0);
}

#[test]
fn reinvite_to_a_sleeping_party_fails_the_transaction_only() {
    let mut call = call();
    call.world.close(call.mia.flow);
    let info = call.callers_request(Method::Info, 2);
    call.world.receive(call.trunk.flow, &info);
    call.world.pass(8 * SECOND);
    assert_eq!(final_status(&call.world.take(), call.trunk.flow), Some(503));
    let reinvite = call.callers_request(Method::Invite, 3);
    call.world.receive(call.trunk.flow, &reinvite);
    call.world.pass(20 * SECOND);
    assert_eq!(final_status(&call.world.take(), call.trunk.flow), Some(503));
}

#[test]
fn purr_in_the_request_uri_finds_the_sleeping_device() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let (out, _) = mia.register(&mut world);
    let ok = sent(&out, mia.flow).into_iter().find(|m| m.status() == Some(200)).unwrap();
    let caps = wakeline_push::FeatureCaps::read(ok.header(Name::FeatureCaps).unwrap());
    let purr = caps[0].purr.clone().unwrap();
    world.close(mia.flow);
    world.take();
    let trunk = Trunk::new(&mut world);
    let uri = format!("sip:mia@{DOMAIN};gr=urn:uuid:0;pn-purr={purr}");
    let bye = trunk.request(&mut world, Method::Bye, &uri, "old-call");
    let bye = bye.edit().replace(Name::To, format!("<{uri}>;tag=there")).finish().unwrap();
    world.receive(trunk.flow, &bye);
    assert_eq!(pushes(&world.take()).len(), 1);
}

#[test]
fn every_request_of_a_dialog_wakes_its_sleeping_party_and_comes_behind_the_200() {
    for (number, method) in
        (2..).zip([Method::Invite, Method::Update, Method::Info, Method::Refer, Method::Bye, Method::Message])
    {
        let mut call = call();
        call.world.close(call.mia.flow);
        let request = call.callers_request(method.clone(), number);
        call.world.receive(call.trunk.flow, &request);
        let out = call.world.take();
        let asked = pushes(&out);
        assert_eq!(asked.len(), 1, "{method}");
        assert!(
            matches!(&asked[0].purpose, wakeline_registrar::PushPurpose::Request { method: said, .. } if *said == method.as_str()),
            "{method}: nothing rings"
        );
        call.world.pass(2 * SECOND);
        let (out, _) = call.mia.wake(&mut call.world, "192.0.2.20");
        let places: Vec<String> = sent(&out, call.mia.flow)
            .into_iter()
            .map(|one| one.status().map_or_else(|| one.method().to_string(), |code| code.to_string()))
            .collect();
        assert_eq!(places.last().map(String::as_str), Some(method.as_str()), "{places:?}");
        assert_eq!(places[places.len() - 2], "200");
        let found = requests(&out, call.mia.flow, &method)[0].clone();
        call.mia.answer(&mut call.world, &found, 200);
        assert_eq!(final_status(&call.world.take(), call.trunk.flow), Some(200), "{method}");
    }
}

#[test]
fn purr_of_an_earlier_registration_still_wakes_and_tells_nothing() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let mut purrs = Vec::new();
    for _ in 0..5 {
        let (out, _) = mia.register(&mut world);
        let ok = sent(&out, mia.flow).into_iter().rfind(|m| m.status() == Some(200)).unwrap();
        let caps = wakeline_push::FeatureCaps::read(ok.header(Name::FeatureCaps).unwrap());
        purrs.push(caps[0].purr.clone().unwrap());
    }
    let mut all_different = purrs.clone();
    all_different.sort();
    all_different.dedup();
    assert_eq!(all_different.len(), 5, "rotated");
    for purr in &purrs {
        assert!(purr.len() >= 22, "128 bits and more");
        assert!(!purr.contains("mia") && !INSTANCE_A.contains(purr.as_str()));
        // No two have a beginning in common that would tell that they are one device's.
        assert_eq!(purrs.iter().filter(|other| other[..4] == purr[..4]).count(), 1);
    }
    world.close(mia.flow);
    let trunk = Trunk::new(&mut world);
    for (number, purr) in purrs.iter().enumerate() {
        world.take();
        let uri = format!("sip:anything@{DOMAIN};pn-purr={purr}");
        let info = trunk.request(&mut world, Method::Info, &uri, &format!("old-{number}"));
        let info = info.edit().replace(Name::To, format!("<{uri}>;tag=there")).finish().unwrap();
        world.receive(trunk.flow, &info);
        assert_eq!(pushes(&world.take()).len(), 1, "old ones stay good while their dialogs live");
    }
    // One that we never gave leads nowhere.
    let uri = format!("sip:nobody@{DOMAIN};pn-purr={}x", &purrs[0][1..]);
    let info = trunk.request(&mut world, Method::Info, &uri, "forged");
    let info = info.edit().replace(Name::To, format!("<{uri}>;tag=there")).finish().unwrap();
    world.receive(trunk.flow, &info);
    let out = world.take();
    assert_eq!((final_status(&out, trunk.flow), pushes(&out).len()), (Some(404), 0));
}

#[test]
fn gruu_goes_to_its_device_alone() {
    let mut world = World::new();
    let mut one = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let mut two = Phone::new(&mut world, "mia", INSTANCE_B, "fcm");
    one.register(&mut world);
    let (out, _) = two.register(&mut world);
    let ok = sent(&out, two.flow).into_iter().find(|m| m.status() == Some(200)).unwrap().clone();
    let contacts = ok.contacts().unwrap();
    let own = contacts.list().iter().find(|contact| contact.pub_gruu().is_some()).unwrap();
    let trunk = Trunk::new(&mut world);
    for (number, gruu) in [own.pub_gruu().unwrap(), own.temp_gruu().unwrap()].iter().enumerate() {
        let invite = trunk.request(&mut world, Method::Invite, gruu, &format!("gruu-{number}"));
        world.receive(trunk.flow, &invite);
        let out = world.take();
        assert_eq!(requests(&out, two.flow, &Method::Invite).len(), 1, "{gruu}");
        assert!(requests(&out, one.flow, &Method::Invite).is_empty());
    }
}

/// An INVITE of a local user, through the challenge.
fn local_invite(world: &mut World, flow: FlowInfo, from: &str, as_user: &str, to: &str) -> Vec<Out> {
    let credentials =
        Credentials::password(as_user, wakeline_secret::Secret::from(format!("password of {as_user}")));
    let mut session = Session::new();
    let mut entropy = wakeline_entropy::Entropy::from_number(3);
    let uri = format!("sip:{to}@{DOMAIN}");
    let mut all = Vec::new();
    for cseq in 1..=2 {
        let mut builder = Builder::request(Method::Invite, &uri)
            .header(Name::Via, format!("SIP/2.0/TLS {};branch={}", flow.remote, world.branch()))
            .header(Name::From, format!("<sip:{from}@{DOMAIN}>;tag=local"))
            .header(Name::To, format!("<{uri}>"))
            .header(Name::CallId, "local-call")
            .header(Name::CSeq, format!("{cseq} INVITE"))
            .header(
                Name::Contact,
                format!("<sip:{from}@{};transport=tls;pn-provider=fcm;pn-prid=leak>", flow.remote),
            );
        for (name, value) in session.authorize(&Method::Invite, &uri, b"", &credentials, &mut entropy) {
            builder = builder.header(name, value);
        }
        let request = builder.build().unwrap();
        world.receive(flow, &request);
        let out = world.take();
        let challenge = sent(&out, flow).into_iter().find(|m| m.status() == Some(407)).cloned();
        all.extend(out);
        let Some(challenge) = challenge else { break };
        assert!(pushes(&all).is_empty(), "no push before the caller is known");
        session.on_challenge(&request, &challenge, &credentials, Asker::Configured).unwrap();
    }
    all
}

#[test]
fn local_caller_is_challenged_and_leaks_nothing() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let flow = world.open(Transport::Tls, "192.0.2.50");
    world.take();
    let out = local_invite(&mut world, flow, "ben", "ben", "mia");
    assert_eq!(statuses(&out, flow), [407, 100]);
    let invite = requests(&out, mia.flow, &Method::Invite)[0];
    let text = String::from_utf8(invite.to_bytes().to_vec()).unwrap();
    assert!(!text.contains("pn-prid") && !text.contains("Proxy-Authorization"), "{text}");
}

#[test]
fn s24_unknown_callers_wake_nobody_and_learn_nothing() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    world.close(mia.flow);
    let flow = world.open(Transport::Udp, "192.0.2.66");
    world.take();
    let mut answers = Vec::new();
    for user in ["mia", "nobody"] {
        let stranger = Trunk { flow, from: "<sip:x@evil.example>;tag=1".into() };
        stranger.invite(&mut world, user, user);
        let out = world.take();
        assert!(pushes(&out).is_empty());
        answers.push(statuses(&out, flow));
    }
    assert_eq!(answers[0], [403]);
    assert_eq!(answers[0], answers[1]);
    // Somebody else's name with one's own password.
    let out = local_invite(&mut world, flow, "ben", "eve", "mia");
    assert_eq!(statuses(&out, flow).last(), Some(&403));
    assert!(pushes(&out).is_empty());
}

#[test]
fn s24_six_wakes_a_minute_then_busy() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    world.close(mia.flow);
    let trunk = Trunk::new(&mut world);
    world.take();
    let mut ends = Vec::new();
    for number in 0..8 {
        trunk.invite(&mut world, "mia", &format!("flood-{number}"));
        let out = world.take();
        ends.push((pushes(&out).len(), final_status(&out, trunk.flow)));
    }
    assert_eq!(ends[..6], [(1, None); 6]);
    assert_eq!(ends[6..], [(0, Some(486)); 2]);
}

#[test]
fn s28_no_relay_no_loop() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let trunk = Trunk::new(&mut world);
    world.take();
    let invite = trunk.request(&mut world, Method::Invite, "sip:victim@third.example", "relay-1");
    world.receive(trunk.flow, &invite);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(403));
    let routed = trunk.request(&mut world, Method::Invite, &format!("sip:mia@{DOMAIN}"), "relay-2");
    let routed = routed.edit().prepend(Name::Route, "<sip:third.example;lr>").finish().unwrap();
    world.receive(trunk.flow, &routed);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(403));
    let tired = trunk.request(&mut world, Method::Invite, &format!("sip:mia@{DOMAIN}"), "relay-3");
    let tired = tired.edit().replace(Name::MaxForwards, 0).finish().unwrap();
    world.receive(trunk.flow, &tired);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(483));
    // It comes back to us while it is still in progress.
    let circle = trunk.invite(&mut world, "mia", "relay-4");
    world.take();
    let again = circle
        .edit()
        .prepend(Name::Via, "SIP/2.0/TCP 198.51.100.7:5060;branch=z9hG4bKother")
        .finish()
        .unwrap();
    world.receive(trunk.flow, &again);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(482));
}

#[test]
fn s28_a_spiral_is_not_a_circle() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let mut ben = Phone::new(&mut world, "ben", INSTANCE_B, "");
    ben.register(&mut world);
    let trunk = Trunk::new(&mut world);
    world.take();
    // RFC 5393 §4.2: it went out to somebody who led it on to another address here, so it comes back with another
    // Request-URI, the same Call-ID, and one Via more.
    let first = trunk.invite(&mut world, "mia", "spiral-1");
    world.take();
    let again = first
        .edit()
        .set_request_uri(format!("sip:ben@{DOMAIN}"))
        .prepend(Name::Via, "SIP/2.0/TCP 198.51.100.7:5060;branch=z9hG4bKspiral")
        .finish()
        .unwrap();
    world.receive(trunk.flow, &again);
    let out = world.take();
    assert_eq!(final_status(&out, trunk.flow), None);
    assert!(sent(&out, ben.flow).iter().any(|message| message.method() == Method::Invite));
}

#[test]
fn s28_forged_route_names_lead_nowhere() {
    let mut world = World::new();
    let trunk = Trunk::new(&mut world);
    for name in ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "x", ""] {
        let request = trunk.request(&mut world, Method::Bye, "sip:a@third.example", &format!("forged{name}"));
        let at = if name.is_empty() { "" } else { "@" };
        let request = request
            .edit()
            .prepend(Name::Route, format!("<sip:{name}{at}{DOMAIN};lr>"))
            .replace(Name::To, "<sip:a@third.example>;tag=1")
            .finish()
            .unwrap();
        world.receive(trunk.flow, &request);
        assert_eq!(final_status(&world.take(), trunk.flow), Some(403));
    }
}

#[test]
fn options_to_us_and_unknown_users() {
    let mut world = World::new();
    let trunk = Trunk::new(&mut world);
    let options = trunk.request(&mut world, Method::Options, &format!("sip:{DOMAIN}"), "o-1");
    world.receive(trunk.flow, &options);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(200));
    trunk.invite(&mut world, "nobody", "n-1");
    assert_eq!(final_status(&world.take(), trunk.flow), Some(404));
    trunk.invite(&mut world, "ben", "n-2");
    assert_eq!(final_status(&world.take(), trunk.flow), Some(480), "no binding");
}

#[test]
fn drain_holds_nothing_new() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    world.close(mia.flow);
    let trunk = Trunk::new(&mut world);
    trunk.invite(&mut world, "mia", "before");
    world.gateway.drain();
    world.take();
    trunk.invite(&mut world, "mia", "after");
    let out = world.take();
    assert_eq!(final_status(&out, trunk.flow), Some(503));
    assert!(pushes(&out).is_empty());
    assert!(!world.gateway.is_drained());
    world.pass(60 * SECOND);
    assert!(world.gateway.is_drained());
}

#[test]
fn garbage_is_answered_or_dropped_and_never_kept() {
    let mut world = World::new();
    let flow = world.open(Transport::Udp, "192.0.2.66");
    for text in [
        "",
        "\r\n",
        "INVITE",
        "INVITE sip:mia@voice.example.org SIP/2.0\r\n\r\n",
        "SIP/2.0 200 OK\r\n\r\n",
        "\0\0\0\0",
    ] {
        world.receive_text(flow, text);
    }
    assert_eq!(world.gateway.gauges().server_transactions, 0);
    assert_eq!(world.gateway.gauges().contexts, 0);
}

#[test]
fn s14_no_more_requests_in_progress_than_allowed() {
    let mut config = config();
    config.limits.contexts = 2;
    let mut world = World::with(config, wakeline_registrar::Loaded::default(), 1);
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    world.close(mia.flow);
    let trunk = Trunk::new(&mut world);
    world.take();
    let mut ends = Vec::new();
    for number in 0..4 {
        trunk.invite(&mut world, "mia", &format!("flood-{number}"));
        ends.push(final_status(&world.take(), trunk.flow));
    }
    assert_eq!(ends, [None, None, Some(503), Some(503)]);
    world.pass(60 * SECOND);
    world.take();
    trunk.invite(&mut world, "mia", "after");
    assert_eq!(final_status(&world.take(), trunk.flow), None, "it recovers");
}

#[test]
fn two_flows_of_one_device_are_tried_in_turn_and_then_it_is_woken() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let first = mia.flow;
    mia.reg_id = 2;
    mia.call_id = "the-second-flow".into();
    mia.wake(&mut world, "192.0.2.11");
    let second = mia.flow;
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let out = world.take();
    let here = if requests(&out, first, &Method::Invite).is_empty() { second } else { first };
    let there = if here == first { second } else { first };
    let invite = requests(&out, here, &Method::Invite)[0].clone();
    assert!(requests(&out, there, &Method::Invite).is_empty(), "one branch for one device");
    mia.answer_on(&mut world, here, &invite, 430);
    let out = world.take();
    let invite = requests(&out, there, &Method::Invite)[0].clone();
    assert!(pushes(&out).is_empty());
    mia.answer_on(&mut world, there, &invite, 430);
    let out = world.take();
    assert_eq!(pushes(&out).len(), 1);
    assert_eq!(final_status(&out, trunk.flow), None);
}

#[test]
fn s24_a_flood_of_ten_thousand_unauthenticated_invites_causes_no_push() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    world.close(mia.flow);
    // From many addresses and names, also those of our own users, whom a digest is asked of.
    let flows: Vec<_> = (1..=50)
        .map(|host| {
            let transport = if host % 2 == 0 { Transport::Udp } else { Transport::Tcp };
            world.open(transport, &format!("192.0.2.{}", 100 + host))
        })
        .collect();
    let names =
        ["x@evil.example", "ben@voice.example.org", "mia@voice.example.org", "nobody@voice.example.org"];
    let mut answered = 0;
    for number in 0..10_000 {
        let flow = flows[number % flows.len()];
        let from = format!("<sip:{}>;tag=flood{number}", names[number / flows.len() % names.len()]);
        Trunk { flow, from }.invite(&mut world, "mia", &format!("flood-{number}"));
        world.pass(Duration::from_millis(1));
        let out = world.take();
        assert!(pushes(&out).is_empty(), "the INVITE of number {number} woke a phone");
        let last = statuses(&out, flow).last().copied();
        assert!(matches!(last, Some(403 | 407)), "{number}: {last:?}");
        answered += usize::from(last.is_some());
        let gauges = world.gateway.gauges();
        assert_eq!((gauges.contexts, gauges.held, gauges.pushes), (0, 0, 0));
    }
    assert_eq!(answered, 10_000);
    // The quotas of the flooded address are untouched: the next real caller wakes it at once.
    let trunk = Trunk::new(&mut world);
    trunk.invite(&mut world, "mia", "real");
    assert_eq!(pushes(&world.take()).len(), 1);
    world.pass(Duration::from_secs(200));
    assert_eq!(world.gateway.gauges().server_transactions, 0, "nothing of the flood is left");
}
