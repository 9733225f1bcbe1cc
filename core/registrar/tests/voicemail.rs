//! Calls that nobody took: voicemail, or the right words to a PBX that has its own.
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

use wakeline_push::{WakeId, WakeState, read_wake_states};
use wakeline_registrar::{Divert, Leg, Loaded, Voicemail};
use wakeline_sip_message::{Message, Method, Name};
use world::*;

const SECOND: Duration = Duration::from_secs(1);
const BOX: &str = "sip:eve@voice.example.org";

/// A gateway whose voicemail is eve's, and mia's phone, awake.
fn with(rules: Voicemail) -> (World, Phone, Phone, Trunk) {
    let mut rules_of_all = config();
    rules_of_all.voicemail = Some(Voicemail { target: BOX.to_owned(), ..rules });
    let mut world = World::with(rules_of_all, Loaded::default(), 1);
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let mut server = Phone::new(&mut world, "eve", INSTANCE_B, "");
    server.register_for(&mut world, 3600);
    let trunk = Trunk::new(&mut world);
    world.take();
    (world, mia, server, trunk)
}

/// The one INVITE to a phone.
fn invite_of(out: &[Out], phone: &Phone) -> Message {
    let found = requests(out, phone.flow, &Method::Invite);
    assert_eq!(found.len(), 1, "one INVITE");
    found[0].clone()
}

fn assert_ends(world: &mut World) {
    world.pass(Duration::from_secs(400));
    let gauges = world.gateway.gauges();
    assert_eq!((gauges.contexts, gauges.held, gauges.pushes, gauges.client_transactions), (0, 0, 0, 0));
}

#[test]
fn nobody_answers_and_the_call_goes_to_voicemail() {
    let (mut world, mia, server, trunk) = with(Voicemail { after: 25 * SECOND, ..Voicemail::default() });
    trunk.invite(&mut world, "mia", "call-1");
    let rings = invite_of(&world.take(), &mia);
    mia.answer(&mut world, &rings, 180);
    world.pass(24 * SECOND);
    assert!(requests(&world.take(), mia.flow, &Method::Cancel).is_empty(), "it rings");
    world.pass(SECOND);
    let out = world.take();
    assert_eq!(requests(&out, mia.flow, &Method::Cancel).len(), 1);
    let cancel = requests(&out, mia.flow, &Method::Cancel)[0].clone();
    mia.answer(&mut world, &cancel, 200);
    mia.answer(&mut world, &rings, 487);
    let out = world.take();
    assert!(legs(&out).contains(&&Leg::Diverted));
    let taken = invite_of(&out, &server);
    // What happened goes along, in each of the forms that servers read.
    assert_eq!(
        taken.header(Name::Diversion),
        Some("<sip:mia@voice.example.org>;reason=no-answer;counter=1;privacy=off")
    );
    let history: Vec<&str> = taken.headers(Name::HistoryInfo).collect();
    assert_eq!(
        history,
        [
            "<sip:mia@voice.example.org?Reason=SIP%3Bcause%3D480>;index=1",
            "<sip:eve@voice.example.org;target=sip%3Amia%40voice.example.org;cause=408>;index=1.1;mp=1"
        ]
    );
    server.answer(&mut world, &taken, 200);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(200));
    assert_ends(&mut world);
}

#[test]
fn phone_that_wakes_while_the_call_is_with_voicemail_does_not_ring() {
    let (mut world, mut mia, server, trunk) = with(Voicemail::default());
    mia.extra.push(("X-Wake-Id", "AAAAAAAAAAAAAAAA".into()));
    mia.register(&mut world);
    world.close(mia.flow);
    trunk.invite(&mut world, "mia", "call-1");
    assert_eq!(pushes(&world.take()).len(), 1);
    world.pass(20 * SECOND);
    let taken = invite_of(&world.take(), &server);
    assert!(taken.header(Name::Diversion).unwrap().contains("reason=unavailable"));
    server.answer(&mut world, &taken, 180);
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    assert!(requests(&out, mia.flow, &Method::Invite).is_empty());
    server.answer(&mut world, &taken, 200);
    let (out, _) = mia.register(&mut world);
    let ok = sent(&out, mia.flow).into_iter().find(|m| m.status() == Some(200)).unwrap().clone();
    let states = read_wake_states(ok.header_by_name("X-Wake-State").unwrap_or(""));
    assert!(states.contains(&(WakeId::of("call-1", "caller"), WakeState::Failed)), "missed: {states:?}");
    assert_ends(&mut world);
}

#[test]
fn busy_declined_and_absent_go_there_as_the_operator_says() {
    for (code, rules, diverted, reason) in [
        (486, Voicemail::default(), true, "user-busy"),
        (486, Voicemail { busy: false, ..Voicemail::default() }, false, ""),
        (603, Voicemail::default(), false, ""),
        (603, Voicemail { declined: true, ..Voicemail::default() }, true, "do-not-disturb"),
        (480, Voicemail::default(), true, "unavailable"),
        (480, Voicemail { absent: false, ..Voicemail::default() }, false, ""),
        // What is wrong with the call itself would be wrong there too.
        (488, Voicemail { declined: true, ..Voicemail::default() }, false, ""),
    ] {
        let (mut world, mia, server, trunk) = with(rules);
        trunk.invite(&mut world, "mia", "call-1");
        let rings = invite_of(&world.take(), &mia);
        mia.answer(&mut world, &rings, code);
        let out = world.take();
        if diverted {
            assert_eq!(final_status(&out, trunk.flow), None, "{code}");
            let taken = invite_of(&out, &server);
            assert!(taken.header(Name::Diversion).unwrap().contains(reason), "{code}");
            server.answer(&mut world, &taken, 486);
            assert_eq!(final_status(&world.take(), trunk.flow), Some(486), "once, and no circle");
        } else {
            assert_eq!(final_status(&out, trunk.flow), Some(code));
            assert!(requests(&out, server.flow, &Method::Invite).is_empty());
        }
        assert_ends(&mut world);
    }
}

#[test]
fn address_without_a_device_goes_to_voicemail_at_once() {
    let (mut world, _, server, trunk) = with(Voicemail::default());
    trunk.invite(&mut world, "ben", "call-1");
    let taken = invite_of(&world.take(), &server);
    assert!(taken.header(Name::HistoryInfo).unwrap().starts_with("<sip:ben@voice.example.org?Reason"));
    server.answer(&mut world, &taken, 200);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(200));
    assert_ends(&mut world);
}

#[test]
fn caller_who_gives_up_reaches_no_voicemail() {
    let (mut world, mia, server, trunk) = with(Voicemail::default());
    let invite = trunk.invite(&mut world, "mia", "call-1");
    let rings = invite_of(&world.take(), &mia);
    mia.answer(&mut world, &rings, 180);
    trunk.cancel(&mut world, &invite);
    mia.answer(&mut world, &rings, 487);
    let out = world.take();
    assert!(requests(&out, server.flow, &Method::Invite).is_empty());
    // And one who gives up while voicemail rings ends it there.
    let invite = trunk.invite(&mut world, "mia", "call-2");
    let rings = invite_of(&world.take(), &mia);
    mia.answer(&mut world, &rings, 486);
    let taken = invite_of(&world.take(), &server);
    server.answer(&mut world, &taken, 180);
    trunk.cancel(&mut world, &invite);
    assert_eq!(requests(&world.take(), server.flow, &Method::Cancel).len(), 1);
    server.answer(&mut world, &taken, 487);
    let finals: Vec<u16> =
        statuses(&world.take(), trunk.flow).into_iter().filter(|status| *status == 487).collect();
    assert_eq!(finals, [487]);
    assert_ends(&mut world);
}

#[test]
fn redirected_caller_is_told_where_and_why() {
    let (mut world, mia, server, trunk) = with(Voicemail { how: Divert::Redirect, ..Voicemail::default() });
    trunk.invite(&mut world, "mia", "call-1");
    let rings = invite_of(&world.take(), &mia);
    mia.answer(&mut world, &rings, 486);
    let out = world.take();
    let moved = sent(&out, trunk.flow).into_iter().find(|m| m.status() == Some(302)).unwrap();
    assert_eq!(
        moved.header(Name::Contact),
        Some("<sip:eve@voice.example.org;target=sip%3Amia%40voice.example.org;cause=486>")
    );
    assert!(moved.header(Name::Diversion).unwrap().contains("user-busy"));
    assert!(requests(&out, server.flow, &Method::Invite).is_empty());
    assert_ends(&mut world);
}

#[test]
fn account_may_have_a_target_of_its_own_or_none() {
    let (mut world, mia, server, trunk) = with(Voicemail::default());
    for (target, diverted) in [("", false), ("sip:ben@voice.example.org", false), (BOX, true)] {
        let mut again = account("mia");
        again.voicemail = Some(target.to_owned());
        world.gateway.put_account(world.now, again);
        trunk.invite(&mut world, "mia", &format!("call-{target}"));
        let rings = invite_of(&world.take(), &mia);
        mia.answer(&mut world, &rings, 486);
        let out = world.take();
        assert_eq!(requests(&out, server.flow, &Method::Invite).len(), usize::from(diverted), "{target}");
        // Nobody is at ben's: then the call ends as it would have.
        assert_eq!(final_status(&out, trunk.flow).is_none(), diverted, "{target}");
        world.pass(100 * SECOND);
        world.take();
    }
}

#[test]
fn s28_diversions_end_somewhere_and_privacy_is_kept() {
    let (mut world, mia, server, trunk) = with(Voicemail::default());
    let called = |world: &mut World, call_id: &str, extra: &[(Name, &str)]| {
        let request = trunk.request(world, Method::Invite, &format!("sip:mia@{DOMAIN}"), call_id);
        let mut edit = request.edit();
        for (name, value) in extra {
            edit = edit.append(name.clone(), value);
        }
        let request = edit.finish().unwrap();
        world.receive(trunk.flow, &request);
        let rings = invite_of(&world.take(), &mia);
        mia.answer(world, &rings, 486);
        world.take()
    };
    let one = (Name::Diversion, "<sip:a@b>;reason=unknown");
    let out = called(&mut world, "many", &vec![one; 5]);
    assert_eq!(final_status(&out, trunk.flow), Some(486));
    let out = called(
        &mut world,
        "second",
        &[
            (Name::HistoryInfo, "<sip:a@b?Reason=SIP%3Bcause%3D302>;index=1"),
            (Name::HistoryInfo, "<sip:mia@voice.example.org>;index=1.1"),
        ],
    );
    let history: Vec<String> =
        invite_of(&out, &server).headers(Name::HistoryInfo).map(str::to_owned).collect();
    assert_eq!(history.len(), 4);
    assert!(history[2].ends_with(";index=1.1.1") && history[3].ends_with(";index=1.1.1.1;mp=1.1.1"));
    let out = called(&mut world, "private", &[(Name::Privacy, "history")]);
    let taken = invite_of(&out, &server);
    assert_eq!((taken.count(Name::HistoryInfo), taken.count(Name::Diversion)), (0, 0));
}

#[test]
fn without_voicemail_the_final_response_says_what_a_pbx_decides_by() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "rings");
    let rings = invite_of(&world.take(), &mia);
    mia.answer(&mut world, &rings, 180);
    world.pass(61 * SECOND);
    let reason = |out: &[Out]| {
        let last = sent(out, trunk.flow).into_iter().find(|m| m.status().is_some_and(|status| status >= 300));
        let last = last.expect("a final response");
        (last.status().unwrap(), last.header(Name::Reason).unwrap_or("").to_owned())
    };
    assert_eq!(reason(&world.take()), (480, "Q.850;cause=19;text=\"No answer\"".to_owned()));
    world.close(mia.flow);
    trunk.invite(&mut world, "mia", "sleeps");
    world.pass(21 * SECOND);
    assert_eq!(reason(&world.take()), (480, "Q.850;cause=20;text=\"Subscriber absent\"".to_owned()));
}
