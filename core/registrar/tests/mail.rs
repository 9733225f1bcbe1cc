//! What waits for phones that sleep: MESSAGEs, the last state of a voicemail box, missed calls.
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

use std::collections::BTreeMap;
use std::time::Duration;

use wakeline_registrar::{Leg, Loaded, MissedCalls, Persist, PushPurpose, StoredMail, TrustedPeer};
use wakeline_sip_message::{Message, Method, Name};
use world::*;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

fn asleep(provider: &'static str) -> (World, Phone, Trunk) {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, provider);
    mia.register(&mut world);
    world.close(mia.flow);
    world.pass(60 * SECOND);
    let trunk = Trunk::new(&mut world);
    (world, mia, trunk)
}

/// A MESSAGE of the trunk to mia, with a text and further header fields.
fn message(world: &mut World, trunk: &Trunk, call_id: &str, extra: &[(Name, &str)]) -> Vec<Out> {
    let request = trunk.request(world, Method::Message, &format!("sip:mia@{DOMAIN}"), call_id);
    let mut edit = request.edit();
    for (name, value) in extra {
        edit = edit.append(name.clone(), value);
    }
    let request = edit.set_body("text/plain", format!("text of {call_id}").into_bytes()).finish().unwrap();
    world.take();
    world.receive(trunk.flow, &request);
    world.take()
}

/// A NOTIFY of the voicemail box.
fn summary(world: &mut World, trunk: &Trunk, call_id: &str, waiting: u32) -> Vec<Out> {
    let request = trunk.request(world, Method::Notify, &format!("sip:mia@{DOMAIN}"), call_id);
    let body = format!("Messages-Waiting: yes\r\nVoice-Message: {waiting}/0\r\n");
    let request = request
        .edit()
        .append(Name::Event, "message-summary")
        .append(Name::SubscriptionState, "active")
        .set_body("application/simple-message-summary", body.into_bytes())
        .finish()
        .unwrap();
    world.take();
    world.receive(trunk.flow, &request);
    world.take()
}

fn texts(out: &[Out], phone: &Phone) -> Vec<String> {
    let found = requests(out, phone.flow, &Method::Message);
    found.into_iter().map(|one| String::from_utf8(one.body().to_vec()).unwrap()).collect()
}

/// What the store holds after all that came out.
fn kept(stored: &mut BTreeMap<String, StoredMail>, out: &[Out]) {
    for one in out {
        let Out::Persist(change) = one else { continue };
        match &**change {
            Persist::MailPut(mail) => drop(stored.insert(mail.name.clone(), mail.clone())),
            Persist::MailRemoved(name) => drop(stored.remove(name)),
            _ => {}
        }
    }
}

/// Takes what is sent to the phone, piece after piece, answering each with `status`; gives the texts in order.
fn fetch(world: &mut World, phone: &Phone, first: &[Out], status: u16) -> Vec<String> {
    let mut all = texts(first, phone);
    let mut next = requests(first, phone.flow, &Method::Message).first().map(|one| (*one).clone());
    while let Some(request) = next.take() {
        phone.answer(world, &request, status);
        let out = world.take();
        all.extend(texts(&out, phone));
        next = requests(&out, phone.flow, &Method::Message).first().map(|one| (*one).clone());
    }
    all
}

#[test]
fn message_to_a_sleeping_phone_is_202_and_comes_in_order_after_its_register() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    let out = message(&mut world, &trunk, "m-1", &[]);
    assert_eq!(final_status(&out, trunk.flow), Some(202));
    let asked = pushes(&out);
    assert_eq!(asked.len(), 1);
    assert!(matches!(asked[0].purpose, PushPurpose::Message { .. }), "nothing that rings");
    assert!(asked[0].ttl >= DAY, "worth delivering for as long as it waits");
    for number in 2..=4 {
        let out = message(&mut world, &trunk, &format!("m-{number}"), &[]);
        assert_eq!(
            (final_status(&out, trunk.flow), pushes(&out).len()),
            (Some(202), 0),
            "one push fetches all"
        );
    }
    assert_eq!(world.gateway.gauges().mail, 4);
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    let first = requests(&out, mia.flow, &Method::Message)[0].clone();
    assert_eq!(first.count(Name::Via), 1, "the way it came by is nobody's business");
    assert!(first.date().unwrap().is_some(), "when it came");
    assert!(!first.request_uri_text().contains("pn-"));
    assert_eq!(
        fetch(&mut world, &mia, &out, 200),
        ["text of m-1", "text of m-2", "text of m-3", "text of m-4"]
    );
    assert_eq!((world.gateway.gauges().mail, world.gateway.gauges().mail_bytes), (0, 0));
    let (out, _) = mia.register(&mut world);
    assert!(texts(&out, &mia).is_empty(), "each once");
}

#[test]
fn message_waits_until_the_phone_takes_it() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    message(&mut world, &trunk, "m-1", &[]);
    message(&mut world, &trunk, "m-2", &[]);
    // The phone breaks off before it answers.
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    assert_eq!(texts(&out, &mia), ["text of m-1"]);
    world.close(mia.flow);
    // It has no room now.
    let (out, _) = mia.wake(&mut world, "192.0.2.21");
    assert_eq!(fetch(&mut world, &mia, &out, 480), ["text of m-1"]);
    // It says nothing at all.
    let (out, _) = mia.wake(&mut world, "192.0.2.22");
    assert_eq!(texts(&out, &mia), ["text of m-1"]);
    world.pass(40 * SECOND);
    let (out, _) = mia.register(&mut world);
    assert_eq!(fetch(&mut world, &mia, &out, 200), ["text of m-1", "text of m-2"]);
}

#[test]
fn message_that_the_phone_will_never_take_does_not_stop_the_next() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    message(&mut world, &trunk, "m-1", &[]);
    message(&mut world, &trunk, "m-2", &[]);
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    assert_eq!(fetch(&mut world, &mia, &out, 415), ["text of m-1", "text of m-2"]);
    assert_eq!(world.gateway.gauges().mail, 0);
}

#[test]
fn message_is_kept_no_longer_than_it_asks_for() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    message(&mut world, &trunk, "short", &[(Name::Expires, "60")]);
    message(&mut world, &trunk, "long", &[(Name::Expires, "99999999")]);
    message(&mut world, &trunk, "plain", &[]);
    world.pass(61 * SECOND);
    assert_eq!(world.gateway.gauges().mail, 2);
    let out = world.take();
    assert!(legs(&out).contains(&&Leg::MailExpired));
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    assert_eq!(fetch(&mut world, &mia, &out, 200), ["text of long", "text of plain"]);
    world.close(mia.flow);
    message(&mut world, &trunk, "longest", &[(Name::Expires, "99999999")]);
    world.pass(7 * DAY);
    assert_eq!(world.gateway.gauges().mail, 0, "seven days are the longest");
}

#[test]
fn message_now_or_never_and_typing_are_not_kept() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    let out = message(&mut world, &trunk, "now", &[(Name::Expires, "0")]);
    assert_eq!((final_status(&out, trunk.flow), pushes(&out).len()), (None, 1), "held");
    world.pass(8 * SECOND);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(480));
    let typing = trunk.request(&mut world, Method::Message, &format!("sip:mia@{DOMAIN}"), "typing");
    let typing =
        typing.edit().set_body("application/im-iscomposing+xml", &b"<isComposing/>"[..]).finish().unwrap();
    world.receive(trunk.flow, &typing);
    assert_eq!(world.gateway.gauges().mail, 0);
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    assert_eq!(requests(&out, mia.flow, &Method::Message).len(), 1, "held, as ever");
}

#[test]
fn voip_token_is_never_pushed_for_a_message() {
    let (mut world, mut mia, trunk) = asleep("apns");
    let out = message(&mut world, &trunk, "m-1", &[]);
    assert_eq!((final_status(&out, trunk.flow), pushes(&out).len()), (Some(202), 0));
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    assert_eq!(texts(&out, &mia), ["text of m-1"]);
    let (mut world, _, trunk) = asleep("apns with a notification token");
    assert_eq!(pushes(&message(&mut world, &trunk, "m-1", &[])).len(), 1, "that one does not ring");
}

#[test]
fn message_that_is_sent_again_is_kept_once() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    for _ in 0..3 {
        // Another branch, the same Call-ID and CSeq: the sender missed the 202.
        assert_eq!(final_status(&message(&mut world, &trunk, "m-1", &[]), trunk.flow), Some(202));
    }
    assert_eq!(world.gateway.gauges().mail, 1);
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    assert_eq!(fetch(&mut world, &mia, &out, 200).len(), 1);
    world.close(mia.flow);
    assert_eq!(final_status(&message(&mut world, &trunk, "m-1", &[]), trunk.flow), Some(202));
    assert_eq!(world.gateway.gauges().mail, 0, "it has it already");
}

#[test]
fn every_device_gets_a_message_and_one_that_is_awake_answers_for_itself() {
    let (mut world, mut one, trunk) = asleep("fcm");
    let mut two = Phone::new(&mut world, "mia", INSTANCE_B, "fcm");
    two.register(&mut world);
    let out = message(&mut world, &trunk, "m-1", &[]);
    assert_eq!(final_status(&out, trunk.flow), None, "one of them is about to answer");
    let first = requests(&out, two.flow, &Method::Message)[0].clone();
    two.answer(&mut world, &first, 200);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(200));
    world.close(two.flow);
    assert_eq!(final_status(&message(&mut world, &trunk, "m-2", &[]), trunk.flow), Some(202));
    let (out, _) = one.wake(&mut world, "192.0.2.20");
    assert_eq!(fetch(&mut world, &one, &out, 200), ["text of m-1", "text of m-2"]);
    let (out, _) = two.wake(&mut world, "192.0.2.21");
    assert_eq!(fetch(&mut world, &two, &out, 200), ["text of m-2"]);
    assert_eq!(world.gateway.gauges().mail, 0);
    // What is kept for one is a success, also when the other refuses.
    world.close(one.flow);
    let out = message(&mut world, &trunk, "m-3", &[]);
    let refused = requests(&out, two.flow, &Method::Message)[0].clone();
    two.answer(&mut world, &refused, 403);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(202));
}

#[test]
fn connection_that_is_as_good_as_dead_keeps_the_message() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let trunk = Trunk::new(&mut world);
    // Proven, but nothing comes back.
    let out = message(&mut world, &trunk, "m-1", &[]);
    assert_eq!((final_status(&out, trunk.flow), texts(&out, &mia).len()), (None, 1));
    world.pass(2 * SECOND);
    let out = world.take();
    assert_eq!(
        (final_status(&out, trunk.flow), pushes(&out).len()),
        (Some(202), 0),
        "a moment is not yet a sleep"
    );
    world.pass(60 * SECOND);
    // Unproven: on that flow, and a push.
    let out = message(&mut world, &trunk, "m-2", &[]);
    assert_eq!((final_status(&out, trunk.flow), pushes(&out).len()), (Some(202), 1));
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    let came = fetch(&mut world, &mia, &out, 200);
    assert_eq!(came.last().unwrap(), "text of m-2");
}

#[test]
fn restart_loses_no_message() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    let mut bindings = Vec::new();
    let mut stored = BTreeMap::new();
    mia.register(&mut world);
    let mut all = world.take();
    world.close(mia.flow);
    for number in 1..=3 {
        all.extend(message(&mut world, &trunk, &format!("m-{number}"), &[]));
    }
    all.extend(summary(&mut world, &trunk, "s-1", 1));
    kept(&mut stored, &all);
    assert_eq!(stored.len(), 4);
    // The binding as the first registration wrote it.
    let mut again = World::new();
    let mut twin = Phone::new(&mut again, "mia", INSTANCE_A, "fcm");
    let (out, _) = twin.register(&mut again);
    for one in out {
        if let Out::Persist(change) = one
            && let Persist::BindingPut(binding) = *change
        {
            bindings.push(binding);
        }
    }
    // JSON there and back, as the store does it.
    let text = serde_json::to_string(&stored.into_values().rev().collect::<Vec<_>>()).unwrap();
    assert!(!text.contains("text of m-1"));
    let mail: Vec<StoredMail> = serde_json::from_str(&text).unwrap();
    let mut world = World::with(config(), Loaded { bindings, mail, ..Loaded::default() }, 9);
    assert_eq!(world.gateway.gauges().mail, 4);
    let trunk = Trunk::new(&mut world);
    assert_eq!(final_status(&message(&mut world, &trunk, "m-2", &[]), trunk.flow), Some(202));
    assert_eq!(world.gateway.gauges().mail, 4, "known from before");
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.cseq = 10;
    let (out, _) = mia.register(&mut world);
    assert_eq!(fetch(&mut world, &mia, &out, 200), ["text of m-1", "text of m-2", "text of m-3"]);
    world.pass(SECOND);
    assert_eq!(world.gateway.gauges().mail, 1, "the summary is on its way");
}

#[test]
fn new_phone_of_the_account_gets_what_the_old_one_left() {
    let (mut world, mut old, trunk) = asleep("fcm");
    message(&mut world, &trunk, "m-1", &[]);
    let mut new = Phone::new(&mut world, "mia", INSTANCE_B, "fcm");
    let (out, _) = new.register(&mut world);
    assert!(texts(&out, &new).is_empty(), "it is for the other one");
    old.flow = world.open(wakeline_flow::Transport::Tls, "192.0.2.30");
    let request = old.register_request(&mut world, 0);
    world.receive(old.flow, &request);
    world.take();
    let (out, _) = new.register(&mut world);
    assert_eq!(fetch(&mut world, &new, &out, 200), ["text of m-1"]);
}

#[test]
fn removed_account_takes_its_mail_along() {
    let (mut world, _, trunk) = asleep("fcm");
    let mut stored = BTreeMap::new();
    kept(&mut stored, &message(&mut world, &trunk, "m-1", &[]));
    let wall = world.wall();
    world.gateway.remove_account(world.now, wall, "mia", DOMAIN);
    world.drain();
    kept(&mut stored, &world.take());
    assert_eq!((stored.len(), world.gateway.gauges().mail), (0, 0));
}

#[test]
fn s14_mail_is_bounded_for_each_and_in_all() {
    let mut rules = config();
    rules.limits.mail_per_aor = 3;
    rules.limits.mail = 5;
    rules.limits.mail_each = 2000;
    let mut world = World::with(rules, Loaded::default(), 1);
    for (user, instance) in [("mia", INSTANCE_A), ("ben", INSTANCE_B)] {
        let mut phone = Phone::new(&mut world, user, instance, "fcm");
        phone.register(&mut world);
        world.close(phone.flow);
    }
    let trunk = Trunk::new(&mut world);
    for number in 0..200 {
        let out = message(&mut world, &trunk, &format!("m-{number}"), &[]);
        assert_eq!(final_status(&out, trunk.flow), Some(if number < 3 { 202 } else { 480 }));
        let to_ben =
            trunk.request(&mut world, Method::Message, &format!("sip:ben@{DOMAIN}"), &format!("b-{number}"));
        world.receive(trunk.flow, &to_ben);
        assert_eq!(final_status(&world.take(), trunk.flow), Some(if number < 2 { 202 } else { 480 }));
        assert!(world.gateway.gauges().mail <= 5);
    }
    let large = trunk.request(&mut world, Method::Message, &format!("sip:mia@{DOMAIN}"), "large");
    let large = large.edit().set_body("text/plain", vec![b'x'; 3000]).finish().unwrap();
    world.receive(trunk.flow, &large);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(513));
    let mut rules = config();
    rules.limits.mail_bytes = 1000;
    let mut world = World::with(rules, Loaded::default(), 1);
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    world.close(mia.flow);
    let trunk = Trunk::new(&mut world);
    for number in 0..10 {
        message(&mut world, &trunk, &format!("m-{number}"), &[]);
        assert!(world.gateway.gauges().mail_bytes <= 1000);
    }
}

#[test]
fn s24_chat_uses_up_no_calls_allowance_and_strangers_leave_nothing() {
    let (mut world, _, trunk) = asleep("fcm");
    let mut asked = 0;
    for number in 0..40 {
        asked += pushes(&message(&mut world, &trunk, &format!("m-{number}"), &[])).len();
        world.pass(25 * SECOND);
    }
    assert!((10..=30).contains(&asked), "{asked} wakes in seventeen minutes");
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    assert_eq!(pushes(&world.take()).len(), 1, "a call still wakes");
    let stranger = world.open(wakeline_flow::Transport::Udp, "192.0.2.66");
    let before = world.gateway.gauges().mail;
    let request = trunk.request(&mut world, Method::Message, &format!("sip:mia@{DOMAIN}"), "x");
    let from = format!("<sip:ben@{DOMAIN}>;tag=x");
    let request = request.edit().replace(Name::From, from).finish().unwrap();
    world.receive(stranger, &request);
    assert_eq!(final_status(&world.take(), stranger), Some(407));
    assert_eq!(world.gateway.gauges().mail, before);
}

#[test]
fn message_summary_wakes_nobody_and_the_last_one_comes_at_the_next_register() {
    for provider in ["apns", "fcm"] {
        let (mut world, mut mia, trunk) = asleep(provider);
        for waiting in 1..=3 {
            let out = summary(&mut world, &trunk, &format!("s-{waiting}"), waiting);
            assert_eq!((final_status(&out, trunk.flow), pushes(&out).len()), (Some(200), 0));
        }
        assert_eq!(world.gateway.gauges().mail, 1, "the last one");
        let (out, _) = mia.wake(&mut world, "192.0.2.20");
        let found: Vec<Message> = requests(&out, mia.flow, &Method::Notify).into_iter().cloned().collect();
        assert_eq!(found.len(), 1);
        assert!(String::from_utf8_lossy(found[0].body()).contains("Voice-Message: 3/0"));
        mia.answer(&mut world, &found[0], 200);
        assert_eq!(world.gateway.gauges().mail, 0);
        // Awake: at once, and the box hears the phone's own answer.
        world.take();
        let out = summary(&mut world, &trunk, "s-4", 4);
        assert_eq!(
            (final_status(&out, trunk.flow), requests(&out, mia.flow, &Method::Notify).len()),
            (None, 1)
        );
    }
}

#[test]
fn missed_call_is_told_at_the_next_register_when_it_is_no_longer_remembered() {
    for provider in ["fcm", "apns"] {
        let (mut world, mut mia, trunk) = asleep(provider);
        trunk.invite(&mut world, "mia", "missed-1");
        world.pass(30 * SECOND);
        let invite = trunk.invite(&mut world, "mia", "missed-2");
        world.pass(3 * SECOND);
        trunk.cancel(&mut world, &invite);
        world.pass(200 * SECOND);
        let (out, _) = mia.wake(&mut world, "192.0.2.20");
        let first = requests(&out, mia.flow, &Method::Message)[0].clone();
        assert_eq!(first.header(Name::From).unwrap().split(';').next(), Some("<sip:voice.example.org>"));
        assert_eq!(first.header_by_name("X-Wake-Id").unwrap().len(), 16);
        let told = fetch(&mut world, &mia, &out, 200);
        assert_eq!(told, ["Missed call from Uncle Bob <sip:+15550100@198.51.100.7>\r\n"; 2], "{provider}");
        assert_eq!(world.gateway.gauges().mail, 0);
    }
}

#[test]
fn missed_call_is_not_told_twice_nor_to_who_knows() {
    // Within the memory of ended calls X-Wake-State tells it.
    let (mut world, mut mia, trunk) = asleep("fcm");
    mia.extra.push(("User-Agent", "Wakeline/1".to_owned()));
    mia.wake(&mut world, "192.0.2.19");
    world.close(mia.flow);
    let invite = trunk.invite(&mut world, "mia", "missed-1");
    world.pass(3 * SECOND);
    trunk.cancel(&mut world, &invite);
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    assert!(texts(&out, &mia).is_empty());
    assert_eq!(world.gateway.gauges().mail, 0);
    // A phone that rang, and one whose other device answered, missed nothing that they do not know of.
    world.take();
    let invite = trunk.invite(&mut world, "mia", "rang");
    let rings = requests(&world.take(), mia.flow, &Method::Invite)[0].clone();
    mia.answer(&mut world, &rings, 180);
    trunk.cancel(&mut world, &invite);
    mia.answer(&mut world, &rings, 487);
    assert_eq!(world.gateway.gauges().mail, 0);
    let mut other = Phone::new(&mut world, "mia", INSTANCE_B, "fcm");
    other.register(&mut world);
    world.close(other.flow);
    world.pass(SECOND);
    world.take();
    trunk.invite(&mut world, "mia", "answered");
    let rings = requests(&world.take(), mia.flow, &Method::Invite)[0].clone();
    mia.answer(&mut world, &rings, 200);
    world.pass(200 * SECOND);
    assert_eq!(world.gateway.gauges().mail, 0, "answered elsewhere");
}

#[test]
fn s14_missed_calls_are_the_newest_ones_and_may_be_turned_off() {
    let mut rules = config();
    rules.limits.missed_per_aor = 2;
    rules.limits.wakes_per_aor.per_hour = 1000;
    rules.limits.wakes_per_caller.per_hour = 1000;
    for (missed_calls, expected) in [(MissedCalls::Message, 2), (MissedCalls::Silence, 0)] {
        rules.mail.missed_calls = missed_calls;
        rules.trusted.push(TrustedPeer { network: "198.51.100.0".parse().unwrap(), prefix: 24 });
        let mut world = World::with(rules.clone(), Loaded::default(), 1);
        let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
        mia.register(&mut world);
        world.close(mia.flow);
        let trunk = Trunk::new(&mut world);
        for number in 0..5 {
            trunk.invite(&mut world, "mia", &format!("missed-{number}"));
            world.pass(30 * SECOND);
        }
        assert_eq!(world.gateway.gauges().mail, expected);
    }
}

#[test]
fn message_taken_in_by_one_node_comes_from_the_one_that_the_phone_registers_with() {
    let (mut first, _, trunk) = asleep("fcm");
    let mut second = World::with(config(), Loaded::default(), 2);
    let mut mia = Phone::new(&mut second, "mia", INSTANCE_A, "fcm");
    mia.register(&mut second);
    second.close(mia.flow);
    // What one writes the other is told, by whatever they share.
    let tell = |out: &[Out], other: &mut World| {
        for one in out {
            let Out::Persist(change) = one else { continue };
            let (now, wall) = (other.now, other.wall());
            match &**change {
                Persist::MailPut(mail) => other.gateway.handle_mail_elsewhere(now, wall, mail.clone()),
                Persist::MailRemoved(name) => other.gateway.handle_mail_gone_elsewhere(wall, name),
                _ => {}
            }
            other.drain();
        }
    };
    for number in 1..=2 {
        let out = message(&mut first, &trunk, &format!("m-{number}"), &[]);
        tell(&out, &mut second);
    }
    assert_eq!(second.gateway.gauges().mail, 2);
    let (out, _) = mia.wake(&mut second, "192.0.2.20");
    assert_eq!(texts(&out, &mia), ["text of m-1"]);
    let request = requests(&out, mia.flow, &Method::Message)[0].clone();
    mia.answer(&mut second, &request, 200);
    let out = second.take();
    tell(&out, &mut first);
    assert_eq!((first.gateway.gauges().mail, second.gateway.gauges().mail), (1, 1));
    assert_eq!(texts(&out, &mia), ["text of m-2"]);
    // One that comes while the phone is connected there is delivered at once.
    let request = requests(&out, mia.flow, &Method::Message)[0].clone();
    mia.answer(&mut second, &request, 200);
    let out = second.take();
    tell(&out, &mut first);
    let out = message(&mut first, &trunk, "m-3", &[]);
    tell(&out, &mut second);
    assert_eq!(texts(&second.take(), &mia), ["text of m-3"]);
    assert_eq!(first.gateway.gauges().mail, 1);
}

#[test]
fn s24_call_that_was_one_too_many_wakes_nobody_and_is_told_as_missed() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    for number in 0..6 {
        let invite = trunk.invite(&mut world, "mia", &format!("call-{number}"));
        trunk.cancel(&mut world, &invite);
    }
    world.take();
    trunk.invite(&mut world, "mia", "one-too-many");
    let out = world.take();
    assert_eq!((final_status(&out, trunk.flow), pushes(&out).len()), (Some(486), 0));
    assert_eq!(world.gateway.gauges().mail, 7);
    world.pass(200 * SECOND);
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    assert_eq!(fetch(&mut world, &mia, &out, 200).len(), 7);
}
