//! A far end, a media side and a transaction layer without manners: nothing panics, memory stays bounded, and a call
//! still ends once (classes S14 and S27).

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_sip_message::{Message, Method, Name};
use wakeline_sip_transaction::ServerKey;

use super::script::{Script, contact, flow, invite, respond, sdp};
use crate::*;

const METHODS: [&str; 14] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "UPDATE",
    "PRACK",
    "INFO",
    "OPTIONS",
    "REFER",
    "NOTIFY",
    "MESSAGE",
    "SUBSCRIBE",
    "REGISTER",
    "NONSENSE",
];

const FIELDS: [(Name, &str); 16] = [
    (Name::Require, "100rel"),
    (Name::Require, "x-unknown"),
    (Name::RSeq, "4294967295"),
    (Name::RSeq, "1"),
    (Name::RAck, "1 1 INVITE"),
    (Name::RAck, "nonsense"),
    (Name::SessionExpires, "1;refresher=uac"),
    (Name::SessionExpires, "4294967295;refresher=uas"),
    (Name::SessionExpires, ";;;"),
    (Name::MinSe, "4294967295"),
    (Name::RetryAfter, "4294967295"),
    (Name::Supported, "timer, 100rel"),
    (Name::Reason, "SIP;cause=99999"),
    (Name::Replaces, ";to-tag=;from-tag="),
    (Name::ReferTo, "<sip:x@y>"),
    (Name::RecordRoute, "<sip:strict.example.org>"),
];

fn pick<'a, T>(chance: &mut Entropy, list: &'a [T]) -> &'a T {
    &list[chance.below(list.len() as u32) as usize]
}

fn fields(chance: &mut Entropy) -> Vec<(Name, &'static str)> {
    let mut list: Vec<(Name, &'static str)> = Vec::new();
    for _ in 0..chance.below(4) {
        let field = pick(chance, &FIELDS);
        if !list.contains(field) {
            list.push(field.clone());
        }
    }
    list
}

fn request(chance: &mut Entropy, script: &Script) -> Message {
    let method = *pick(chance, &METHODS);
    let id = script.call.dialog_id().cloned();
    let own = script.call.own_invite();
    let local = id.as_ref().map(|id| id.local_tag.clone());
    let local = local.or_else(|| own.and_then(|own| own.from_tag().map(str::to_owned)));
    let to = match (chance.below(5), local) {
        (1.., Some(tag)) => format!("<sip:us@example.org>;tag={tag}"),
        _ => "<sip:us@example.org>".to_owned(),
    };
    let from = match chance.below(6) {
        0 => String::new(),
        1 => ";tag=b2".to_owned(),
        _ => format!(";tag={}", id.as_ref().map_or("b1", |id| id.remote_tag.as_str())),
    };
    let call_id = script.call.sip_call_id().map_or("x", |id| id.0.as_str());
    // Written by hand: the builder would not write most of this.
    let mut text = format!(
        "{method} sip:us@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{}\r\n\
         From: <sip:bob@example.org>{from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {} {method}\r\n",
        chance.u32(),
        chance.below(6) * 400_000_000
    );
    if chance.below(4) > 0 {
        let contact = pick(chance, &["<sip:b@192.0.2.9>", "*", "<tel:+1>", "sip:b@h?x=y"]);
        text.push_str(&format!("Contact: {contact}\r\n"));
    }
    for (name, value) in fields(chance) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let body =
        *pick(chance, &["", "application/sdp", "application/dtmf", "application/dtmf-relay", "text/plain"]);
    match body {
        "" => text.push_str("Content-Length: 0\r\n\r\n"),
        kind => text.push_str(&format!("Content-Type: {kind}\r\nContent-Length: 5\r\n\r\nv=0 x")),
    }
    Message::parse(text.into()).unwrap()
}

fn step(chance: &mut Entropy, script: &mut Script) {
    let now = script.now;
    match chance.below(14) {
        0..=3 => {
            let request = request(chance, script);
            let key = ServerKey(u64::from(chance.below(10)));
            match request.method() {
                Method::Ack => script.call.handle_ack(now, &request),
                Method::Cancel => script.call.handle_cancelled(now, key, &request),
                _ => script.call.handle_request(now, key, flow(u64::from(chance.below(3))), &request),
            }
        }
        4..=7 => {
            let sent = script.sent();
            if !sent.is_empty() {
                let (id, request) = pick(chance, &sent).clone();
                let code = *pick(
                    chance,
                    &[100, 180, 183, 199, 200, 202, 302, 401, 408, 420, 422, 481, 487, 491, 500, 503, 603],
                );
                let tag = *pick(chance, &["", "b1", "b2", "b3"]);
                let body = *pick(chance, &[None, Some("answer")]);
                let bare = respond(&request, code, tag, body, &[]);
                let mut text = String::from_utf8(bare.to_bytes().to_vec()).unwrap();
                let line = text.find("\r\n").unwrap() + 2;
                for (name, value) in fields(chance) {
                    text.insert_str(line, &format!("{name}: {value}\r\n"));
                }
                let response = Message::parse(text.into()).unwrap();
                if chance.below(8) == 0 {
                    script.call.handle_stray_response(now, &response);
                } else {
                    script.call.handle_response(now, id, &response);
                }
            }
        }
        8 => {
            let answers = [
                Described::Accepted,
                Described::Description(sdp("x")),
                Described::Refused { code: 488, why: "\"no\"\r\n".into() },
            ];
            script.call.handle_described(now, pick(chance, &answers).clone());
        }
        9 => {
            let id = RequestId(u64::from(chance.below(8)));
            match chance.below(5) {
                0 => script.call.handle_timed_out(now, id),
                1 => script.call.handle_transport_failed(now, id),
                2 => script.call.authorize(
                    now,
                    id,
                    Some(vec![(Name::Authorization, "Digest x=\"y\"".to_owned())]),
                ),
                3 => script.call.authorize(now, id, None),
                _ => script.call.next_hop(now, id, true),
            }
        }
        10 => script.call.answer(now),
        11 => match chance.below(6) {
            0 => script.call.hold(now, true),
            1 => script.call.hold(now, false),
            2 => script.call.moved(now, contact()),
            3 => script.call.send_digits("1"),
            4 => script.call.transfer_progress(180, "Ringing"),
            _ => script.call.handle_flow_lost(flow(u64::from(chance.below(3))).id),
        },
        _ => script.wait(u64::from(chance.below(20))),
    }
    script.drain();
}

fn run(seed: u64) {
    let mut chance = Entropy::from_number(seed ^ 0xbad);
    let config =
        Config { transfer: TransferPolicy::Accept, reliable: Reliable::Preferred, ..Config::default() };
    let mut script = match chance.below(3) {
        0 => Script::dial(config, Opening::Offer),
        1 => Script::dial(config, Opening::Offerless),
        _ => {
            let offer = (chance.below(2) == 0).then_some("o");
            let extra =
                pick(&mut chance, &[(Name::Supported, "timer, 100rel"), (Name::Require, "100rel")]).clone();
            Script::incoming(config, &invite(1, "1", &[extra], offer))
        }
    };
    script.media = chance.below(3) > 0;
    for _ in 0..chance.below(60) {
        step(&mut chance, &mut script);
        assert!(script.records().len() <= 1, "seed {seed}");
        assert!(script.call.dialogs() <= 50, "seed {seed}");
    }
    script.call.hang_up(script.now);
    script.drain();
    // The transactions end, as theirs always do.
    for _ in 0..4 {
        script.wait(70);
        for (id, _) in script.sent() {
            script.call.handle_timed_out(script.now, id);
            script.call.authorize(script.now, id, None);
            script.call.next_hop(script.now, id, false);
        }
        script.drain();
    }
    script.wait(7_200);
    assert_eq!(script.call.phase(), Phase::Ended, "seed {seed}");
    assert!(script.call.is_finished(), "seed {seed}");
    assert_eq!(script.records().len(), 1, "seed {seed}");
    assert_eq!(script.call.poll_timeout(), None::<Time>, "seed {seed}");
}

#[test]
fn s27_a_far_end_without_manners_cannot_break_a_call() {
    for seed in 0..4_000 {
        if std::panic::catch_unwind(|| run(seed)).is_err() {
            panic!("seed {seed} fails");
        }
    }
}
