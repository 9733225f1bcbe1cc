//! REGISTER: its rules, its push answers, and what it refuses.
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

use wakeline_clock::WallTime;
use wakeline_flow::Transport;
use wakeline_push::{FeatureCaps, Provider, WakeId, WakeState, read_wake_states};
use wakeline_registrar::{Leg, Loaded, Persist, StoredBinding, StoredWake};
use wakeline_sip_auth::Asker;
use wakeline_sip_message::{Message, Method, Name};
use world::*;

fn ok(out: &[Out], phone: &Phone) -> Message {
    let found = sent(out, phone.flow).into_iter().find(|m| m.status() == Some(200));
    found.expect("a 200").clone()
}

fn last_status(out: &[Out], phone: &Phone) -> Option<u16> {
    statuses(out, phone.flow).last().copied()
}

fn stored(out: &[Out]) -> Vec<StoredBinding> {
    out.iter()
        .filter_map(|one| match one {
            Out::Persist(change) => match &**change {
                Persist::BindingPut(binding) => Some(binding.clone()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

#[test]
fn ok_carries_all_that_was_agreed() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let (out, _) = mia.register(&mut world);
    let ok = ok(&out, &mia);
    assert_eq!(ok.require().collect::<Vec<_>>(), ["outbound"]);
    assert_eq!(ok.header(Name::FlowTimer), Some("120"));
    let contact = ok.contact().unwrap().unwrap();
    assert_eq!(contact.expires(), Some(604_800));
    assert_eq!(contact.uri().param("pn-prid"), Some(mia.token.as_str()), "its own Contact is whole");
    assert_eq!(
        contact.pub_gruu().as_deref(),
        Some("sip:mia@voice.example.org;gr=urn:uuid:0f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a77")
    );
    assert!(contact.temp_gruu().unwrap().ends_with("@voice.example.org;gr"));
    let caps = FeatureCaps::read(ok.header(Name::FeatureCaps).unwrap());
    assert_eq!((caps.len(), &caps[0].provider, caps[0].refresh_before), (1, &Provider::Fcm, Some(3600)));
    assert_eq!(caps[0].purr.as_ref().map(String::len), Some(30));
    assert_eq!(ok.header_by_name("X-Wake-State"), None);
}

#[test]
fn other_devices_of_the_user_are_shown_without_their_tokens() {
    let mut world = World::new();
    let mut one = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let mut two = Phone::new(&mut world, "mia", INSTANCE_B, "apns");
    one.register(&mut world);
    let (out, _) = two.register(&mut world);
    let text = String::from_utf8(ok(&out, &two).to_bytes().to_vec()).unwrap();
    assert!(text.contains(&two.token) && !text.contains(&one.token), "{text}");
    assert_eq!(ok(&out, &two).contacts().unwrap().list().len(), 2);
}

#[test]
fn purr_is_new_with_every_ok() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let purr = |out: &[Out], mia: &Phone| ok(out, mia).header(Name::FeatureCaps).unwrap().to_owned();
    let (first, _) = mia.register(&mut world);
    let (second, rounds) = mia.register(&mut world);
    assert_eq!(rounds, 1, "the nonce of the last time still holds");
    assert_ne!(purr(&first, &mia), purr(&second, &mia));
}

#[test]
fn unknown_push_service_is_555_and_queries_are_answered() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "webpush");
    let (out, _) = mia.register(&mut world);
    assert_eq!(last_status(&out, &mia), Some(555));
    assert_eq!(world.gateway.gauges().bindings, 0);
    for (asked, expected) in
        [(";pn-provider", vec!["fcm", "apns", "hms"]), (";pn-provider=apns", vec!["apns"])]
    {
        let mut request = mia.register_request(&mut world, 600);
        let contact = format!("<sip:mia@192.0.2.10:5061{asked}>;+sip.instance=\"{INSTANCE_A}\"");
        request = request.edit().replace(Name::Contact, contact).finish().unwrap();
        world.receive(mia.flow, &request);
        let out = world.take();
        let caps: Vec<FeatureCaps> =
            ok(&out, &mia).headers(Name::FeatureCaps).flat_map(FeatureCaps::read).collect();
        let names: Vec<&str> = caps.iter().map(|caps| caps.provider.as_str()).collect();
        assert_eq!(names, expected);
        assert!(caps.iter().all(|caps| caps.purr.is_none()), "nothing is bound to push");
    }
}

#[test]
fn push_bindings_live_seven_days_and_too_short_ones_are_423() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    for (asked, status, granted) in
        [(3599, 423, None), (3600, 200, Some(3600)), (100_000_000, 200, Some(30 * 86_400))]
    {
        let (out, _) = mia.register_for(&mut world, asked);
        assert_eq!(last_status(&out, &mia), Some(status), "{asked}");
        match granted {
            None => assert_eq!(sent(&out, mia.flow)[0].min_expires().unwrap(), Some(3600)),
            Some(_) => assert_eq!(ok(&out, &mia).contact().unwrap().unwrap().expires(), granted),
        }
    }
    let request = mia.register_request(&mut world, 0).edit().remove_all(Name::Expires).finish().unwrap();
    world.receive(mia.flow, &request);
    assert_eq!(ok(&world.take(), &mia).contact().unwrap().unwrap().expires(), Some(604_800));
}

#[test]
fn lapsed_binding_goes_and_refresh_pushes_come_before() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register_for(&mut world, 100_000);
    world.close(mia.flow);
    let start = world.now;
    let mut at = Vec::new();
    for _ in 0..1001 {
        world.pass(Duration::from_secs(100));
        for push in pushes(&world.take()) {
            assert_eq!(push.purpose, wakeline_registrar::PushPurpose::Refresh);
            at.push((world.now - start).as_secs());
        }
    }
    assert_eq!(at, [50_000, 80_000, 99_900]);
    assert_eq!(world.gateway.gauges().bindings, 0);
}

#[test]
fn refresh_pushes_go_where_they_stay_quiet() {
    for (provider, refreshes) in [("fcm", 3), ("hms", 3), ("apns with a notification token", 3), ("apns", 0)]
    {
        let mut world = World::new();
        let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, provider);
        mia.register_for(&mut world, 100_000);
        world.close(mia.flow);
        let mut seen = 0;
        for _ in 0..1001 {
            world.pass(Duration::from_secs(100));
            seen += pushes(&world.take()).len();
        }
        assert_eq!(seen, refreshes, "{provider}");
    }
}

#[test]
fn dead_flow_never_unbinds() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    world.close(mia.flow);
    assert_eq!(world.gateway.gauges().bindings, 1);
    assert_eq!(world.gateway.bindings_of(world.now, "mia", DOMAIN)[0].flow, None);
}

#[test]
fn s17_star_needs_expires_zero_and_order_of_cseq_counts() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let star = |mia: &mut Phone, world: &mut World, expires| {
        let request =
            mia.register_request(world, expires).edit().replace(Name::Contact, "*").finish().unwrap();
        world.receive(mia.flow, &request);
        let out = world.take();
        last_status(&out, mia)
    };
    assert_eq!(star(&mut mia, &mut world, 10), Some(400));
    assert_eq!(world.gateway.gauges().bindings, 1);
    mia.cseq = 0;
    assert_eq!(star(&mut mia, &mut world, 0), Some(500), "an old CSeq");
    let (out, _) = mia.register(&mut world);
    assert_eq!(last_status(&out, &mia), Some(500));
    assert_eq!(world.gateway.gauges().bindings, 1);
    mia.cseq = 50;
    assert_eq!(star(&mut mia, &mut world, 0), Some(200));
    assert_eq!(world.gateway.gauges().bindings, 0);
}

#[test]
fn s17_replayed_register_changes_nothing() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let request = mia.register_request(&mut world, 604_800);
    world.receive(mia.flow, &request);
    assert_eq!(statuses(&world.take(), mia.flow), [200]);
    let thief = world.open(Transport::Tls, "192.0.2.66");
    world.receive(thief, &request);
    assert_eq!(statuses(&world.take(), thief), [401]);
    let view = world.gateway.bindings_of(world.now, "mia", DOMAIN);
    assert_eq!(view[0].flow, Some(mia.flow.id));
}

#[test]
fn s17_nobody_registers_for_another() {
    let mut world = World::new();
    let mut eve = Phone::new(&mut world, "eve", INSTANCE_B, "fcm");
    eve.register(&mut world);
    for name in [Name::To, Name::From] {
        let request = eve.register_request(&mut world, 604_800);
        let request = request.edit().replace(name, "<sip:mia@voice.example.org>;tag=x").finish().unwrap();
        world.receive(eve.flow, &request);
        assert_eq!(statuses(&world.take(), eve.flow), [403]);
    }
    assert!(world.gateway.bindings_of(world.now, "mia", DOMAIN).is_empty());
}

#[test]
fn stolen_token_is_refused_and_two_accounts_of_one_device_share_theirs() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let mut eve = Phone::new(&mut world, "eve", INSTANCE_B, "fcm");
    eve.token = mia.token.clone();
    let (out, _) = eve.register(&mut world);
    assert_eq!(last_status(&out, &eve), Some(403));
    let mut ben = Phone::new(&mut world, "ben", INSTANCE_A, "fcm");
    ben.token = mia.token.clone();
    let (out, _) = ben.register(&mut world);
    assert_eq!(last_status(&out, &ben), Some(200));
}

#[test]
fn rotated_token_replaces_by_instance_and_reg_id() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let (out, _) = mia.register(&mut world);
    let first = stored(&out);
    mia.token = "rotated:token".into();
    mia.call_id = "another-call-id".into();
    let (out, _) = mia.register(&mut world);
    let second = stored(&out);
    assert_eq!(world.gateway.gauges().bindings, 1);
    assert_eq!((first.len(), second.len(), first[0].id), (1, 1, second[0].id));
    assert!(second[0].contact.contains("rotated:token"));
    mia.reg_id = 2;
    mia.register(&mut world);
    assert_eq!(world.gateway.gauges().bindings, 2, "another flow of the same device");
}

#[test]
fn refresh_alone_is_not_written_every_time() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    world.pass(Duration::from_secs(60));
    let (out, _) = mia.register(&mut world);
    assert!(stored(&out).is_empty());
    world.pass(Duration::from_secs(100_000));
    let (out, _) = mia.register(&mut world);
    assert_eq!(stored(&out).len(), 1);
}

#[test]
fn s16_unknown_user_and_wrong_password_look_the_same() {
    let mut world = World::new();
    let mut answers = Vec::new();
    for user in ["mia", "xyz"] {
        let mut guesser = Phone::new(&mut world, user, INSTANCE_A, "");
        guesser.credentials =
            wakeline_sip_auth::Credentials::password(user, wakeline_secret::Secret::from("guess"));
        let (out, _) = guesser.register(&mut world);
        answers.push(
            sent(&out, guesser.flow)
                .iter()
                .map(|m| (m.status(), m.len(), m.lines().count()))
                .collect::<Vec<_>>(),
        );
    }
    assert_eq!(
        answers[0].iter().map(|one| (one.0, one.2)).collect::<Vec<_>>(),
        answers[1].iter().map(|one| (one.0, one.2)).collect::<Vec<_>>()
    );
}

#[test]
fn s16_guesser_is_slowed_down_and_the_owner_elsewhere_is_not() {
    let mut world = World::new();
    let mut guesser = Phone::new(&mut world, "mia", INSTANCE_B, "");
    guesser.flow = world.open(Transport::Tls, "192.0.2.66");
    guesser.credentials =
        wakeline_sip_auth::Credentials::password("mia", wakeline_secret::Secret::from("guess"));
    for _ in 0..5 {
        guesser.session.clear();
        let (out, _) = guesser.register(&mut world);
        assert_eq!(last_status(&out, &guesser), Some(403));
    }
    let request = guesser.register_request(&mut world, 600);
    world.receive(guesser.flow, &request);
    assert_eq!(statuses(&world.take(), guesser.flow), [503]);
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let (out, _) = mia.register(&mut world);
    assert_eq!(last_status(&out, &mia), Some(200));
}

#[test]
fn copies_over_udp_are_told_what_was_taken() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "");
    mia.flow = world.open(Transport::Udp, "192.0.2.10");
    mia.register_for(&mut world, 600);
    let request = mia.register_request(&mut world, 600);
    world.receive(mia.flow, &request);
    world.pass(Duration::from_millis(500));
    world.receive(mia.flow, &request);
    let out = world.take();
    let answers = sent(&out, mia.flow);
    assert_eq!(answers.len(), 2);
    assert_eq!((answers[0].status(), answers[1].status()), (Some(200), Some(200)));
    assert_eq!(answers[0].to_tag(), answers[1].to_tag());
    let bound = |answer: &Message| {
        let contacts = answer.contacts().unwrap();
        assert_eq!(contacts.list().len(), 1);
        (contacts.list()[0].uri().as_str().to_owned(), contacts.list()[0].expires())
    };
    assert_eq!(bound(answers[0]), bound(answers[1]));
    // It counts from the first: a copy refreshes nothing.
    world.pass(Duration::from_secs(10));
    world.receive(mia.flow, &request);
    let out = world.take();
    assert_eq!(bound(sent(&out, mia.flow)[0]).1, Some(590));
    world.pass(Duration::from_secs(40));
    assert_eq!(world.gateway.gauges().answers, 0);
}

#[test]
fn a_late_copy_makes_no_binding_again() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "");
    mia.flow = world.open(Transport::Udp, "192.0.2.10");
    mia.register_for(&mut world, 600);
    let request = mia.register_request(&mut world, 600);
    world.receive(mia.flow, &request);
    mia.register_for(&mut world, 0);
    world.take();
    assert_eq!(world.gateway.gauges().bindings, 0);
    world.receive(mia.flow, &request);
    let out = world.take();
    assert_eq!(statuses(&out, mia.flow), [200]);
    assert!(sent(&out, mia.flow)[0].contacts().unwrap().list().is_empty());
    assert_eq!(world.gateway.gauges().bindings, 0);
    assert!(stored(&out).is_empty());
}

#[test]
fn s16_a_copy_of_a_wrong_password_counts_once() {
    let mut world = World::new();
    let mut guesser = Phone::new(&mut world, "mia", INSTANCE_B, "");
    guesser.flow = world.open(Transport::Udp, "192.0.2.66");
    guesser.credentials =
        wakeline_sip_auth::Credentials::password("mia", wakeline_secret::Secret::from("guess"));
    guesser.register(&mut world);
    let request = guesser.register_request(&mut world, 600);
    for _ in 0..10 {
        world.receive(guesser.flow, &request);
    }
    let out = world.take();
    let told = statuses(&out, guesser.flow);
    assert!(told.len() == 10 && told.iter().all(|code| *code == 403), "{told:?}");
}

#[test]
fn s28_challenge_is_not_larger_than_one_and_a_half_requests() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.flow = world.open(Transport::Udp, "192.0.2.10");
    let request = mia.register_request(&mut world, 600);
    world.receive(mia.flow, &request);
    let out = world.take();
    let challenge = sent(&out, mia.flow)[0];
    assert!(challenge.len() * 2 <= request.len() * 3, "{} for {}", challenge.len(), request.len());
}

#[test]
fn dialects_of_other_clients_are_understood() {
    let contacts = [
        ("<sip:mia@192.0.2.10:5061;app-id=481516234200;pn-type=firebase;pn-tok=dK2_ex:APA91b>", None),
        ("<sip:mia@192.0.2.10:5061;ob>;app-id=org.example.app.voip.prod;pn-type=apple;pn-tok=6F9A", None),
        (
            "<sip:mia@192.0.2.10:5061;pn-provider=fcm;pn-param=481516234200;pn-prid=dK2_ex:APA91b;pn-silent=1>",
            None,
        ),
        ("<sip:mia@192.0.2.10:5061>", Some("a:org.example.app:dK2_ex:APA91b")),
    ];
    for (contact, mpush) in contacts {
        let mut world = World::new();
        let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "");
        mia.register_for(&mut world, 0);
        let mut request = mia
            .register_request(&mut world, 604_800)
            .edit()
            .replace(Name::Contact, contact)
            .finish()
            .unwrap();
        if let Some(value) = mpush {
            let name = Name::parse("X-MPUSH").unwrap();
            request = request.edit().append(name, value).finish().unwrap();
        }
        world.receive(mia.flow, &request);
        let out = world.take();
        assert_eq!(last_status(&out, &mia), Some(200), "{contact}");
        world.close(mia.flow);
        let trunk = Trunk::new(&mut world);
        world.take();
        trunk.invite(&mut world, "mia", "call-1");
        let out = world.take();
        assert_eq!(pushes(&out).len(), 1, "{contact}");
        pushes(&out)[0].target.targets().expect("a target");
    }
}

#[test]
fn restart_keeps_bindings_and_marks_held_wakes_failed() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.extra.push(("X-Wake-Id", "AAAAAAAAAAAAAAAA".into()));
    let (out, _) = mia.register(&mut world);
    let bindings: Vec<StoredBinding> = stored(&out)
        .iter()
        .map(|binding| serde_json::from_str(&serde_json::to_string(binding).unwrap()).unwrap())
        .collect();
    assert_eq!(bindings.len(), 1);
    let wake = WakeId::of("call-1", "caller");
    let wakes = vec![StoredWake {
        node: String::new(),
        knowing: Vec::new(),
        wake,
        aor: "mia@voice.example.org".into(),
        at: WallTime(1_789_000_000_000 - 5_000),
        state: WakeState::Pending,
    }];
    let mut world = World::with(config(), Loaded { bindings, wakes, ..Loaded::default() }, 2);
    assert_eq!(world.gateway.gauges().bindings, 1);
    let trunk = Trunk::new(&mut world);
    trunk.invite(&mut world, "mia", "call-1");
    assert_eq!(final_status(&world.take(), trunk.flow), Some(503), "the caller repeats what was lost");
    trunk.invite(&mut world, "mia", "call-2");
    assert_eq!(pushes(&world.take()).len(), 1);
    mia.extra = vec![("X-Wake-Id", wake.to_string())];
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    let states = read_wake_states(ok(&out, &mia).header_by_name("X-Wake-State").unwrap());
    assert!(states.contains(&(wake, WakeState::Failed)), "{states:?}");
    assert!(states.contains(&(WakeId::of("call-2", "caller"), WakeState::Pending)));
    assert_eq!(requests(&out, mia.flow, &Method::Invite).len(), 1);
}

#[test]
fn removed_account_loses_bindings_and_held_calls() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    world.close(mia.flow);
    let trunk = Trunk::new(&mut world);
    trunk.invite(&mut world, "mia", "call-1");
    world.take();
    let wall = world.wall();
    world.gateway.remove_account(world.now, wall, "mia", DOMAIN);
    world.drain();
    assert_eq!(final_status(&world.take(), trunk.flow), Some(480));
    assert_eq!((world.gateway.gauges().bindings, world.gateway.gauges().accounts), (0, 2));
}

/// A device of mia's of its own, registered.
fn device(world: &mut World, number: usize, provider: &'static str) -> (Phone, Option<u16>) {
    let instance: &'static str =
        Box::leak(format!("<urn:uuid:{number:08x}-6a1e-4d0a-9c55-2b1f5d0e8a77>").into_boxed_str());
    let mut phone = Phone::new(world, "mia", instance, provider);
    let (out, _) = phone.register(world);
    let status = last_status(&out, &phone);
    world.out = out;
    (phone, status)
}

/// Instances of the bindings that mia has, as the 200 to `phone` shows them.
fn bound(world: &mut World, phone: &mut Phone) -> Vec<String> {
    let (out, _) = phone.register(world);
    ok(&out, phone)
        .contacts()
        .unwrap()
        .list()
        .iter()
        .filter_map(|one| one.instance())
        .map(Into::into)
        .collect()
}

#[test]
fn s14_the_dead_make_room_for_the_eleventh_binding_and_the_sleeping_do_not() {
    let mut world = World::new();
    let mut phones: Vec<Phone> = Vec::new();
    for number in 0..10 {
        let provider = if number < 4 { "fcm" } else { "" };
        phones.push(device(&mut world, number, provider).0);
        world.pass(Duration::from_millis(10));
    }
    // The first four sleep; of those without a token two are gone, the younger one first.
    for number in [0, 1, 2, 3, 8, 6] {
        world.close(phones[number].flow);
    }
    for (newcomer, gone) in [(10, 6), (11, 8)] {
        let (mut phone, status) = device(&mut world, newcomer, "");
        assert_eq!(status, Some(200));
        let out = std::mem::take(&mut world.out);
        assert_eq!(legs(&out).iter().filter(|leg| matches!(leg, Leg::MadeRoom(_))).count(), 1);
        let left = bound(&mut world, &mut phone);
        assert_eq!(left.len(), 10);
        assert!(!left.iter().any(|one| one == phones[gone].instance), "{gone} made room");
        phones.push(phone);
    }
    let (phone, status) = device(&mut world, 12, "");
    assert_eq!(status, Some(403), "four sleep and can be woken, six are connected");
    let out = std::mem::take(&mut world.out);
    assert!(legs(&out).contains(&&Leg::TooManyBindings));
    assert_eq!(world.gateway.gauges().bindings, 10);
    let mut last = phones.pop().unwrap();
    assert!(!bound(&mut world, &mut last).iter().any(|one| one == phone.instance));
}

#[test]
fn s14_a_sleeping_device_makes_room_when_half_its_lifetime_went_by_in_silence() {
    let mut world = World::new();
    let phones: Vec<Phone> = (0..10).map(|number| device(&mut world, number, "apns").0).collect();
    world.close(phones[3].flow);
    world.pass(Duration::from_secs(604_800 / 2 - 10));
    assert_eq!(device(&mut world, 10, "apns").1, Some(403));
    world.pass(Duration::from_secs(20));
    let (mut phone, status) = device(&mut world, 11, "apns");
    assert_eq!(status, Some(200));
    let left = bound(&mut world, &mut phone);
    assert!(left.len() == 10 && !left.iter().any(|one| one == phones[3].instance));
}

#[test]
fn s14_a_datagram_phone_without_an_instance_leaves_nothing_behind_for_ever() {
    let mut world = World::new();
    let register = |world: &mut World| {
        let mut phone = Phone::new(world, "mia", INSTANCE_A, "");
        phone.flow = world.open(Transport::Udp, "192.0.2.10");
        let plain = format!("<sip:mia@{}>", phone.flow.remote);
        for _ in 0..2 {
            let request = phone.register_request(world, 600);
            let request = request.edit().replace(Name::Contact, &plain).finish().unwrap();
            world.receive(phone.flow, &request);
            let answer = sent(&world.take(), phone.flow)[0].clone();
            if answer.status() != Some(401) {
                return answer.status();
            }
            phone
                .session
                .on_challenge(&request, &answer, &phone.credentials, Asker::Configured)
                .expect("a challenge that can be answered");
        }
        None
    };
    for _ in 0..10 {
        assert_eq!(register(&mut world), Some(200));
    }
    assert_eq!(register(&mut world), Some(403), "ten that spoke a moment ago");
    world.pass(Duration::from_secs(301));
    assert_eq!(register(&mut world), Some(200), "nobody closes a datagram flow; its silence tells");
    assert_eq!(world.gateway.gauges().bindings, 10);
}

/// Somebody who tries one password with everybody, over a connection from this address.
fn spray(world: &mut World, remote: &str) {
    for number in 0..120 {
        let user: &'static str = format!("guess{number}").leak();
        let mut guesser = Phone::new(world, user, INSTANCE_B, "");
        guesser.flow = world.open(Transport::Tls, remote);
        guesser.register(world);
    }
}

#[test]
fn s16_one_password_tried_with_everybody_keeps_its_source_waiting_and_not_the_phone_that_is_at_home_there() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "");
    mia.flow = world.open(Transport::Tls, "192.0.2.66");
    mia.register_for(&mut world, 600);
    spray(&mut world, "192.0.2.66");
    world.take();
    let mut ben = Phone::new(&mut world, "ben", INSTANCE_A, "");
    ben.flow = world.open(Transport::Tls, "192.0.2.66");
    let request = ben.register_request(&mut world, 600);
    world.receive(ben.flow, &request);
    assert_eq!(statuses(&world.take(), ben.flow), [503], "who was not here before waits");
    let (out, _) = mia.register(&mut world);
    assert_eq!(last_status(&out, &mia), Some(200), "who is at home here does not");
    let mut elsewhere = Phone::new(&mut world, "ben", INSTANCE_A, "");
    let (out, _) = elsewhere.register(&mut world);
    assert_eq!(last_status(&out, &elsewhere), Some(200));
}

#[test]
fn s16_another_spelling_of_the_domain_is_no_other_name_to_guess_at() {
    let mut world = World::new();
    let mut guesser = Phone::new(&mut world, "mia", INSTANCE_B, "");
    guesser.flow = world.open(Transport::Tls, "192.0.2.66");
    guesser.credentials =
        wakeline_sip_auth::Credentials::password("mia", wakeline_secret::Secret::from("guess"));
    for _ in 0..5 {
        guesser.session.clear();
        guesser.register(&mut world);
    }
    let request = guesser.register_request(&mut world, 600);
    let to = format!("<sip:mia@{}>", DOMAIN.to_uppercase());
    let request = request.edit().replace(Name::To, to).finish().unwrap();
    world.receive(guesser.flow, &request);
    assert_eq!(statuses(&world.take(), guesser.flow), [503]);
}
