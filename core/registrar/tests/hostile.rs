//! What strangers send, and what passes through without being looked at.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    reason = "a test stops where it fails, and one measures by the wall clock"
)]

mod world;

use std::time::{Duration, Instant};

use wakeline_flow::Transport;
use wakeline_sip_message::{Message, Method, Name};
use world::*;

#[test]
fn s28_a_strangers_request_for_elsewhere_opens_nothing_and_reaches_nobody() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    world.close(mia.flow);
    world.pass(Duration::from_secs(60));
    world.take();
    let before = world.gateway.gauges();
    let mut number = 0;
    for method in
        [Method::Invite, Method::Message, Method::Subscribe, Method::Options, Method::Bye, Method::Refer]
    {
        for target in
            ["sip:victim@third.example", "sip:victim@198.51.100.9:5060;transport=udp", "tel:+4930123456"]
        {
            for from in ["<sip:x@third.example>;tag=1", "<sip:mia@voice.example.org>;tag=1"] {
                for route in [None, Some("<sip:third.example;lr>"), Some("<sip:voice.example.org;lr>")] {
                    number += 1;
                    let flow = world.open(Transport::Udp, &format!("192.0.2.{}", 1 + number % 200));
                    let stranger = Trunk { flow, from: from.into() };
                    let mut request =
                        stranger.request(&mut world, method.clone(), target, &format!("elsewhere-{number}"));
                    if let Some(route) = route {
                        request = request.edit().prepend(Name::Route, route).finish().unwrap();
                    }
                    world.receive(flow, &request);
                    let out = world.take();
                    let case = format!("{method} {target} {from} {route:?}");
                    assert!(pushes(&out).is_empty(), "{case}");
                    for one in &out {
                        match one {
                            Out::Sent(to, _) => assert_eq!(*to, flow.id, "{case}: somebody else is sent to"),
                            Out::Trace(_) => {}
                            other => panic!("{case}: {other:?}"),
                        }
                    }
                    let told = final_status(&out, flow);
                    assert!(
                        matches!(told, Some(400 | 403 | 404 | 405 | 407 | 416 | 481 | 489)),
                        "{case}: {told:?}"
                    );
                    let now = world.gateway.gauges();
                    assert_eq!(
                        (now.contexts, now.client_transactions, now.server_transactions, now.pushes),
                        (before.contexts, before.client_transactions, 0, before.pushes),
                        "{case}"
                    );
                    assert_eq!(now.quota_names, before.quota_names, "{case}");
                }
            }
        }
    }
}

#[test]
fn s28_a_refused_stranger_is_sent_one_datagram_and_forgotten() {
    for from in ["<sip:x@third.example>;tag=1", "<sip:mia@voice.example.org>;tag=1"] {
        let mut world = World::new();
        let flow = world.open(Transport::Udp, "192.0.2.66");
        let stranger = Trunk { flow, from: from.into() };
        let invite = stranger.invite(&mut world, "ben", "forged-1");
        assert_eq!(world.gateway.gauges().server_transactions, 0, "{from}");
        // The address was forged: nobody there sends an ACK.
        world.pass(Duration::from_secs(64));
        let out = world.take();
        let answers = sent(&out, flow);
        assert_eq!(answers.len(), 1, "{from}");
        assert!(answers[0].len() * 2 <= invite.len() * 3, "{} for {}", answers[0].len(), invite.len());
        // One who is there may ask again, and its ACK is of no account.
        stranger.ack(&mut world, &invite, &answers[0].clone());
        assert!(sent(&world.take(), flow).is_empty());
        world.receive(flow, &invite);
        let out = world.take();
        let again = sent(&out, flow);
        assert_eq!((again.len(), again[0].status()), (1, answers[0].status()));
        assert_eq!(again[0].to_tag(), answers[0].to_tag(), "the same answer (RFC 3261 §8.2.7)");
    }
}

/// A request of the trunk with this body, as mia's phone gets it.
fn delivered(method: Method, content_type: &str, body: &[u8]) -> (Message, Duration) {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "");
    mia.register_for(&mut world, 600);
    let trunk = Trunk::new(&mut world);
    world.take();
    let request = trunk.request(&mut world, method.clone(), &format!("sip:mia@{DOMAIN}"), "body-1");
    let request = request.edit().set_body(content_type, body.to_vec()).finish().unwrap();
    let began = Instant::now();
    world.receive(trunk.flow, &request);
    let took = began.elapsed();
    let out = world.take();
    let found = requests(&out, mia.flow, &method);
    assert_eq!(found.len(), 1, "{content_type}: {:?}", statuses(&out, trunk.flow));
    (found[0].clone(), took)
}

#[test]
fn s2_no_media_is_relayed_descriptions_pass_as_they_are() {
    // No port, no address of ours comes into it: what is not offered cannot be sprayed.
    let offer = "v=0\r\no=- 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n\
                 m=audio 40000 RTP/SAVP 0 8 96\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n\
                 a=rtpmap:96 opus/48000/2\r\na=x-unknown:kept\r\n";
    let (invite, _) = delivered(Method::Invite, "application/sdp", offer.as_bytes());
    assert_eq!(invite.body(), offer.as_bytes());
}

#[test]
fn s12_bodies_full_of_entities_are_passed_on_and_not_read() {
    let mut laughs = String::from("<?xml version=\"1.0\"?><!DOCTYPE p [<!ENTITY a \"ha\">");
    for level in 1..40 {
        laughs.push_str(&format!("<!ENTITY a{level} \"{}\">", "&a;".repeat(10)));
    }
    laughs.push_str("]><presence>&a39;<!ENTITY e SYSTEM \"file:///etc/passwd\"></presence>");
    for (content_type, body) in [
        ("application/pidf+xml", laughs.clone()),
        ("application/dialog-info+xml", "<a>".repeat(16_000)),
        ("application/reginfo+xml", format!("{laughs}{}", "<![CDATA[".repeat(1000))),
    ] {
        let (message, took) = delivered(Method::Message, content_type, body.as_bytes());
        assert_eq!(message.body(), body.as_bytes(), "{content_type}");
        assert!(took < Duration::from_millis(50), "{content_type}: {took:?}");
    }
}

#[test]
fn s11_multipart_bombs_are_refused_at_once_and_a_whole_one_passes() {
    let level =
        |depth: usize| format!("--b{depth}\r\nContent-Type: multipart/mixed;boundary=b{}\r\n\r\n", depth + 1);
    let open: String = (0..500).map(level).collect();
    let closed =
        open.clone() + &(0..=500).rev().map(|depth| format!("\r\n--b{depth}--\r\n")).collect::<String>();
    let parts = "--b0\r\n\r\nx\r\n".repeat(4000) + "--b0--\r\n";
    for body in [open, closed, parts] {
        let mut world = World::new();
        let trunk = Trunk::new(&mut world);
        let uri = format!("sip:mia@{DOMAIN}");
        let request = trunk.request(&mut world, Method::Message, &uri, "bomb-1");
        let request = request.edit().set_body("multipart/mixed;boundary=b0", body).finish().unwrap();
        let began = Instant::now();
        world.receive(trunk.flow, &request);
        assert!(began.elapsed() < Duration::from_millis(50), "{:?}", began.elapsed());
        let told = final_status(&world.take(), trunk.flow);
        assert!(matches!(told, Some(400 | 413 | 415)), "{told:?}");
    }
    let whole: &[u8] = b"--b0\r\nContent-Type: text/plain\r\n\r\none\r\n--b0\r\n\r\ntwo\r\n--b0--\r\n";
    let (message, _) = delivered(Method::Message, "multipart/mixed;boundary=b0", whole);
    assert_eq!(message.body(), whole);
}
