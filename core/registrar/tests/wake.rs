//! The wake of a phone: rows of the race table, named by the order of events.
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
use wakeline_registrar::{Leg, PushPurpose, PushResult};
use wakeline_sip_message::{Message, Method, Name};
use world::*;

const SECOND: Duration = Duration::from_secs(1);

/// A gateway with one phone of mia that is registered and then asleep.
fn asleep(provider: &'static str) -> (World, Phone, Trunk) {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, provider);
    let (out, rounds) = mia.register(&mut world);
    assert_eq!((statuses(&out, mia.flow), rounds), (vec![401, 200], 2));
    world.close(mia.flow);
    world.pass(60 * SECOND);
    let trunk = Trunk::new(&mut world);
    world.take();
    (world, mia, trunk)
}

fn invite_out(out: &[Out], phone: &Phone) -> Message {
    let found = requests(out, phone.flow, &Method::Invite);
    assert_eq!(found.len(), 1, "one INVITE");
    found[0].clone()
}

fn states(out: &[Out], phone: &Phone) -> Vec<(WakeId, WakeState)> {
    let ok = sent(out, phone.flow).into_iter().find(|m| m.status() == Some(200)).expect("a 200");
    read_wake_states(ok.header_by_name("X-Wake-State").unwrap_or(""))
}

/// Nothing is left but bindings and flows once all timers have run.
fn assert_quiet(world: &mut World) {
    world.pass(Duration::from_secs(4000));
    let gauges = world.gateway.gauges();
    assert_eq!(
        (gauges.contexts, gauges.held, gauges.pushes, gauges.outcomes, gauges.client_transactions),
        (0, 0, 0, 0, 0),
        "{gauges:?}"
    );
    assert_eq!((gauges.server_transactions, gauges.answers, gauges.quota_names), (0, 0, 0), "{gauges:?}");
    assert!(gauges.timers <= gauges.bindings + usize::from(gauges.mail > 0), "{gauges:?}");
}

#[test]
fn held_invite_leaves_right_behind_the_200() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    let invite = trunk.invite(&mut world, "mia", "call-1");
    let out = world.take();
    assert_eq!(statuses(&out, trunk.flow), [100]);
    let push = pushes(&out)[0];
    let wake = WakeId::of("call-1", "caller");
    assert_eq!(push.purpose.wake(), Some(&wake));
    assert_eq!(push.target.prid.expose(), mia.token);
    assert_eq!((push.attempt, push.hold), (1, 20 * SECOND));
    assert_eq!(world.gateway.gauges().held, 1);
    world.push_result(push.key, PushResult::Accepted);
    world.pass(SECOND);
    mia.extra.push(("X-Wake-Id", wake.to_string()));
    let (out, rounds) = mia.wake(&mut world, "192.0.2.20");
    assert_eq!(rounds, 1, "the cached nonce holds: one round trip");
    // In one drain: the 200, then the INVITE, nothing between them on that flow.
    let on_flow = sent(&out, mia.flow);
    assert_eq!(on_flow.len(), 2);
    assert_eq!(on_flow[0].status(), Some(200));
    assert_eq!((on_flow[1].is_request(), on_flow[1].method()), (true, Method::Invite));
    assert_eq!(states(&out, &mia), [(wake, WakeState::Pending)]);
    let leaving = on_flow[1].clone();
    assert!(!leaving.request_uri_text().contains("pn-"), "{}", leaving.request_uri_text());
    assert_eq!(leaving.max_forwards().unwrap(), Some(69));
    assert_eq!((leaving.call_id(), leaving.from_tag()), ("call-1", Some("caller")));
    // 180 and 200 go to the caller; the token in the phone's Contact does not.
    mia.answer(&mut world, &leaving, 180);
    mia.answer(&mut world, &leaving, 200);
    let out = world.take();
    assert_eq!(statuses(&out, trunk.flow), [180, 200]);
    for response in sent(&out, trunk.flow) {
        assert!(!response.header(Name::Contact).unwrap().contains("pn-"));
        assert_eq!(response.vias().count(), 1);
    }
    // A second REGISTER forwards nothing more.
    let (out, _) = mia.register(&mut world);
    assert!(requests(&out, mia.flow, &Method::Invite).is_empty());
    let _ = invite;
    assert_quiet(&mut world);
}

#[test]
fn s14_what_has_its_answer_is_not_looked_at_again() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    mia.wake(&mut world, "192.0.2.20");
    for call in 0..200 {
        trunk.invite(&mut world, "mia", &format!("call-{call}"));
        let invite = invite_out(&world.take(), &mia);
        mia.answer(&mut world, &invite, if call % 2 == 0 { 486 } else { 200 });
        world.take();
    }
    let gauges = world.gateway.gauges();
    // Copies may come for half a minute (RFC 6026 §7.1, RFC 3261 §17.2.1); no later call pays for them.
    assert!(gauges.contexts + gauges.server_transactions >= 200, "{gauges:?}");
    assert_eq!(gauges.waiting, 0);
}

#[test]
fn invite_before_register_ok_keeps_holding_on_401() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    trunk.invite(&mut world, "mia", "call-1");
    mia.session.clear();
    mia.flow = world.open(wakeline_flow::Transport::Tls, "192.0.2.20");
    world.take();
    let request = mia.register_request(&mut world, 604_800);
    world.receive(mia.flow, &request);
    let out = world.take();
    assert_eq!(statuses(&out, mia.flow), [401]);
    assert!(requests(&out, mia.flow, &Method::Invite).is_empty(), "not on an unauthenticated REGISTER");
    assert_eq!(world.gateway.gauges().held, 1);
    let (out, rounds) = mia.register(&mut world);
    assert_eq!(rounds, 2);
    invite_out(&out, &mia);
}

#[test]
fn cancel_while_held_answers_487_at_once_and_tells_the_late_waker() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    let invite = trunk.invite(&mut world, "mia", "call-1");
    let key = pushes(&world.take())[0].key;
    world.pass(2 * SECOND);
    trunk.cancel(&mut world, &invite);
    let out = world.take();
    assert_eq!(statuses(&out, trunk.flow), [200, 487]);
    assert!(out.iter().any(|one| matches!(one, Out::CancelPush(cancelled) if *cancelled == key)));
    assert_eq!(world.gateway.gauges().held, 0);
    let ended = sent(&out, trunk.flow)[1].clone();
    trunk.ack(&mut world, &invite, &ended);
    world.pass(10 * SECOND);
    assert!(pushes(&world.take()).is_empty(), "no repetition after the end");
    let wake = WakeId::of("call-1", "caller");
    mia.extra.push(("X-Wake-Id", wake.to_string()));
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    assert_eq!(states(&out, &mia), [(wake, WakeState::Cancelled)]);
    assert!(requests(&out, mia.flow, &Method::Invite).is_empty());
    // After 90 seconds nothing is known any more.
    world.pass(90 * SECOND);
    let (out, _) = mia.register(&mut world);
    assert_eq!(states(&out, &mia), [(wake, WakeState::Unknown)]);
    assert_quiet(&mut world);
}

#[test]
fn foreign_phone_that_wakes_late_gets_invite_then_cancel() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    let invite = trunk.invite(&mut world, "mia", "call-1");
    trunk.cancel(&mut world, &invite);
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    let late = invite_out(&out, &mia);
    assert_eq!(late.call_id(), "call-1");
    assert!(requests(&out, mia.flow, &Method::Cancel).is_empty(), "not before its first response");
    mia.answer(&mut world, &late, 180);
    let out = world.take();
    assert_eq!(requests(&out, mia.flow, &Method::Cancel).len(), 1);
    let cancel = requests(&out, mia.flow, &Method::Cancel)[0].clone();
    mia.answer(&mut world, &cancel, 200);
    mia.answer(&mut world, &late, 487);
    let out = world.take();
    assert_eq!(requests(&out, mia.flow, &Method::Ack).len(), 1);
    assert!(sent(&out, trunk.flow).is_empty());
    let (out, _) = mia.register(&mut world);
    assert!(requests(&out, mia.flow, &Method::Invite).is_empty(), "only once");
    assert_quiet(&mut world);
}

#[test]
fn push_unregistered_answers_480_at_once_and_drops_the_token() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    trunk.invite(&mut world, "mia", "call-1");
    let key = pushes(&world.take())[0].key;
    world.push_result(key, PushResult::Gone { since: None });
    let out = world.take();
    assert_eq!(final_status(&out, trunk.flow), Some(480));
    // The next call finds a device that cannot be woken.
    trunk.invite(&mut world, "mia", "call-2");
    let out = world.take();
    assert!(pushes(&out).is_empty());
    assert_eq!(final_status(&out, trunk.flow), Some(480));
    // Until it registers again.
    mia.wake(&mut world, "192.0.2.20");
    world.close(mia.flow);
    trunk.invite(&mut world, "mia", "call-3");
    assert_eq!(pushes(&world.take()).len(), 1);
}

#[test]
fn token_registered_after_it_died_stays() {
    let (mut world, _mia, trunk) = asleep("apns");
    trunk.invite(&mut world, "mia", "call-1");
    let key = pushes(&world.take())[0].key;
    world.push_result(key, PushResult::Gone { since: Some(wakeline_clock::WallTime(1_000)) });
    world.take();
    trunk.invite(&mut world, "mia", "call-2");
    assert_eq!(pushes(&world.take()).len(), 1);
}

#[test]
fn f8_a_token_rotated_while_its_push_was_on_its_way_stays() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register_for(&mut world, 100_000);
    world.close(mia.flow);
    world.pass(Duration::from_secs(50_001));
    let asked = pushes(&world.take())[0].clone();
    world.pass(SECOND);
    mia.token = "rotated-token".to_owned();
    mia.wake(&mut world, "192.0.2.20");
    world.close(mia.flow);
    // The service does not tell since when the old one is dead; the gateway knows when it asked.
    world.push_result(asked.key, PushResult::Gone { since: Some(asked.asked_at) });
    world.take();
    let trunk = Trunk::new(&mut world);
    trunk.invite(&mut world, "mia", "call-1");
    assert_eq!(pushes(&world.take()).len(), 1);
}

#[test]
fn fcm_is_repeated_at_four_and_nine_seconds_and_480_comes_at_twenty() {
    let (mut world, _mia, trunk) = asleep("fcm");
    trunk.invite(&mut world, "mia", "call-1");
    let first = pushes(&world.take())[0].clone();
    let mut times = Vec::new();
    for second in 1..=19 {
        world.pass(SECOND);
        let out = world.take();
        for push in pushes(&out) {
            assert_eq!((push.key, push.purpose.wake()), (first.key, first.purpose.wake()));
            times.push((second, push.attempt));
        }
        assert_eq!(final_status(&out, trunk.flow), None);
    }
    assert_eq!(times, [(4, 2), (9, 3)]);
    world.pass(SECOND);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(480));
    assert_quiet(&mut world);
}

#[test]
fn apns_is_never_repeated_and_never_used_for_anything_but_calls() {
    let (mut world, _mia, trunk) = asleep("apns");
    trunk.invite(&mut world, "mia", "call-1");
    assert_eq!(pushes(&world.take()).len(), 1);
    world.pass(19 * SECOND);
    assert!(pushes(&world.take()).is_empty());
    let message = trunk.request(&mut world, Method::Message, "sip:mia@voice.example.org", "m-1");
    world.receive(trunk.flow, &message);
    let out = world.take();
    assert!(pushes(&out).is_empty(), "a VoIP push rings");
    assert_eq!(final_status(&out, trunk.flow), Some(202), "it waits");
}

#[test]
fn two_devices_one_answers_other_told_elsewhere() {
    let mut world = World::new();
    let mut one = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let mut two = Phone::new(&mut world, "mia", INSTANCE_B, "fcm");
    let mut three = Phone::new(&mut world, "mia", "<urn:uuid:33333333-6a1e-4d0a-9c55-2b1f5d0e8a77>", "fcm");
    for phone in [&mut one, &mut two, &mut three] {
        phone.register(&mut world);
    }
    world.close(three.flow);
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let out = world.take();
    let (first, second) = (invite_out(&out, &one), invite_out(&out, &two));
    assert_eq!(pushes(&out).len(), 1, "proven flows need no push");
    one.answer(&mut world, &first, 180);
    two.answer(&mut world, &second, 180);
    one.answer(&mut world, &first, 200);
    let out = world.take();
    assert_eq!(statuses(&out, trunk.flow), [180, 180, 200]);
    let cancel = requests(&out, two.flow, &Method::Cancel)[0];
    assert_eq!(cancel.header(Name::Reason), Some("SIP;cause=200;text=\"Call completed elsewhere\""));
    assert!(out.iter().any(|one| matches!(one, Out::CancelPush(_))));
    two.answer(&mut world, &second, 487);
    three.extra.push(("X-Wake-Id", WakeId::of("call-1", "caller").to_string()));
    let (out, _) = three.wake(&mut world, "192.0.2.30");
    assert_eq!(states(&out, &three), [(WakeId::of("call-1", "caller"), WakeState::Elsewhere)]);
    assert_quiet(&mut world);
}

#[test]
fn decline_with_603_ends_all_and_is_told() {
    let mut world = World::new();
    let mut one = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let mut two = Phone::new(&mut world, "mia", INSTANCE_B, "fcm");
    let mut three = Phone::new(&mut world, "mia", "<urn:uuid:33333333-6a1e-4d0a-9c55-2b1f5d0e8a77>", "fcm");
    for phone in [&mut one, &mut two, &mut three] {
        phone.register(&mut world);
    }
    world.close(three.flow);
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let out = world.take();
    let (first, second) = (invite_out(&out, &one), invite_out(&out, &two));
    two.answer(&mut world, &second, 180);
    one.answer(&mut world, &first, 603);
    let out = world.take();
    let cancel = requests(&out, two.flow, &Method::Cancel)[0];
    assert!(cancel.header(Name::Reason).unwrap().starts_with("SIP;cause=603"));
    assert_eq!(final_status(&out, trunk.flow), None, "the other branch is still ending");
    two.answer(&mut world, &second, 487);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(603));
    let (out, _) = three.wake(&mut world, "192.0.2.30");
    assert_eq!(states(&out, &three), [(WakeId::of("call-1", "caller"), WakeState::Declined)]);
}

#[test]
fn busy_device_does_not_end_the_wait_for_a_sleeping_one() {
    let mut world = World::new();
    let mut one = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let mut two = Phone::new(&mut world, "mia", INSTANCE_B, "fcm");
    one.register(&mut world);
    two.register(&mut world);
    world.close(two.flow);
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let first = invite_out(&world.take(), &one);
    one.answer(&mut world, &first, 486);
    assert_eq!(final_status(&world.take(), trunk.flow), None);
    world.pass(20 * SECOND);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(486), "the best of both");
}

#[test]
fn open_but_unproven_flow_gets_the_invite_and_a_push() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let trunk = Trunk::new(&mut world);
    world.pass(16 * SECOND);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let out = world.take();
    let old = invite_out(&out, &mia);
    assert_eq!(pushes(&out).len(), 1);
    // The phone wakes up and registers on a new flow: the branch moves there, silently.
    let before = mia.flow;
    let (out, _) = mia.wake(&mut world, "192.0.2.99");
    let new = invite_out(&out, &mia);
    assert!(requests(&out, before, &Method::Cancel).is_empty());
    // What the old branch says now is ignored, unless it is an answer.
    mia.answer_on(&mut world, before, &old, 486);
    assert_eq!(final_status(&world.take(), trunk.flow), None);
    mia.answer(&mut world, &new, 180);
    mia.answer(&mut world, &new, 200);
    assert_eq!(statuses(&world.take(), trunk.flow), [180, 200]);
    assert_quiet(&mut world);
}

#[test]
fn ping_before_the_invite_proves_the_flow() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let trunk = Trunk::new(&mut world);
    world.pass(60 * SECOND);
    world.gateway.handle_flow_alive(world.now, mia.flow.id);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    assert!(pushes(&world.take()).is_empty());
    // Proven, and yet silent: after two seconds the push follows.
    world.pass(2 * SECOND);
    assert_eq!(pushes(&world.take()).len(), 1);
}

#[test]
fn flow_lost_while_ringing_is_held_again_with_one_new_push() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let invite = invite_out(&world.take(), &mia);
    mia.answer(&mut world, &invite, 180);
    world.pass(3 * SECOND);
    world.take();
    world.close(mia.flow);
    let out = world.take();
    assert_eq!(pushes(&out).len(), 1);
    assert_eq!(world.gateway.gauges().held, 1);
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    let again = invite_out(&out, &mia);
    mia.answer(&mut world, &again, 200);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(200));
    assert_quiet(&mut world);
}

#[test]
fn new_address_while_ringing_moves_the_branch_and_the_old_answer_still_counts() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let old = invite_out(&world.take(), &mia);
    let old_flow = mia.flow;
    mia.answer(&mut world, &old, 180);
    let (out, _) = mia.wake(&mut world, "192.0.2.77");
    let new = invite_out(&out, &mia);
    assert_ne!(new.via().unwrap().branch(), old.via().unwrap().branch());
    mia.answer_on(&mut world, old_flow, &old, 200);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(200));
    assert_quiet(&mut world);
}

#[test]
fn second_register_on_the_same_address_while_ringing_changes_nothing() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let invite = invite_out(&world.take(), &mia);
    mia.answer(&mut world, &invite, 180);
    let (out, _) = mia.wake(&mut world, "192.0.2.10");
    assert!(requests(&out, mia.flow, &Method::Invite).is_empty());
}

#[test]
fn rejected_register_ends_the_wait_at_once() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    trunk.invite(&mut world, "mia", "call-1");
    mia.flow = world.open(wakeline_flow::Transport::Tls, "192.0.2.20");
    world.take();
    // Too short a lifetime for a push binding: 423.
    let request = mia.register_request(&mut world, 10);
    world.receive(mia.flow, &request);
    let out = world.take();
    assert_eq!(statuses(&out, mia.flow), [423]);
    assert_eq!(final_status(&out, trunk.flow), Some(480));
}

#[test]
fn wrong_password_ends_the_wait_only_with_the_token_of_the_device() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    trunk.invite(&mut world, "mia", "call-1");
    let mut liar = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    liar.token = "someOtherToken:x".into();
    liar.credentials =
        wakeline_sip_auth::Credentials::password("mia", wakeline_secret::Secret::from("guess"));
    let (out, _) = liar.register(&mut world);
    assert_eq!(statuses(&out, liar.flow), [401, 403]);
    assert_eq!(world.gateway.gauges().held, 1, "a stranger ends nothing");
    mia.credentials = liar.credentials.clone();
    mia.session.clear();
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    assert_eq!(statuses(&out, mia.flow), [401, 403]);
    assert_eq!(final_status(&out, trunk.flow), Some(480));
}

#[test]
fn unregister_while_held_drops_the_binding_and_the_call() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    trunk.invite(&mut world, "mia", "call-1");
    mia.flow = world.open(wakeline_flow::Transport::Tls, "192.0.2.20");
    mia.provider = "";
    let (out, _) = mia.register_for(&mut world, 0);
    assert_eq!(final_status(&out, trunk.flow), Some(480));
    assert_eq!(world.gateway.gauges().bindings, 0);
    assert_quiet(&mut world);
}

#[test]
fn token_rotated_while_held_delivers_by_the_new_one() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    trunk.invite(&mut world, "mia", "call-1");
    world.take();
    mia.token = "aNewToken:after".into();
    let (out, _) = mia.wake(&mut world, "192.0.2.20");
    invite_out(&out, &mia);
    assert_eq!(world.gateway.gauges().bindings, 1);
    world.close(mia.flow);
    world.take();
    trunk.invite(&mut world, "mia", "call-2");
    let out = world.take();
    let tokens: Vec<&str> = pushes(&out).iter().map(|push| push.target.prid.expose()).collect();
    assert!(tokens.iter().all(|token| *token == "aNewToken:after"), "{tokens:?}");
}

#[test]
fn provider_outage_answers_480_before_the_timer() {
    let (mut world, _mia, trunk) = asleep("fcm");
    trunk.invite(&mut world, "mia", "call-1");
    let key = pushes(&world.take())[0].key;
    world.pass(3 * SECOND);
    world.push_result(key, PushResult::Unavailable);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(480));
}

#[test]
fn ringing_ends_after_55_seconds() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let invite = invite_out(&world.take(), &mia);
    mia.answer(&mut world, &invite, 180);
    world.pass(54 * SECOND);
    assert!(requests(&world.take(), mia.flow, &Method::Cancel).is_empty());
    world.pass(SECOND);
    assert_eq!(requests(&world.take(), mia.flow, &Method::Cancel).len(), 1);
    mia.answer(&mut world, &invite, 487);
    assert_eq!(final_status(&world.take(), trunk.flow), Some(480));
    assert_quiet(&mut world);
}

#[test]
fn cancel_crossing_the_answer_lets_the_answer_through() {
    let mut world = World::new();
    let mut mia = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    mia.register(&mut world);
    let trunk = Trunk::new(&mut world);
    world.take();
    let request = trunk.invite(&mut world, "mia", "call-1");
    let invite = invite_out(&world.take(), &mia);
    mia.answer(&mut world, &invite, 180);
    trunk.cancel(&mut world, &request);
    mia.answer(&mut world, &invite, 200);
    let out = world.take();
    assert_eq!(statuses(&out, trunk.flow).last(), Some(&200));
    assert_quiet(&mut world);
}

#[test]
fn late_wake_while_another_rings_is_still_served() {
    let mut world = World::new();
    let mut one = Phone::new(&mut world, "mia", INSTANCE_A, "fcm");
    let mut two = Phone::new(&mut world, "mia", INSTANCE_B, "fcm");
    one.register(&mut world);
    two.register(&mut world);
    world.close(two.flow);
    let trunk = Trunk::new(&mut world);
    world.take();
    trunk.invite(&mut world, "mia", "call-1");
    let first = invite_out(&world.take(), &one);
    one.answer(&mut world, &first, 180);
    world.pass(25 * SECOND);
    assert_eq!(final_status(&world.take(), trunk.flow), None);
    let (out, _) = two.wake(&mut world, "192.0.2.30");
    invite_out(&out, &two);
}

#[test]
fn trace_tells_the_legs_in_order() {
    let (mut world, mut mia, trunk) = asleep("fcm");
    trunk.invite(&mut world, "mia", "call-1");
    let (mut out, _) = mia.wake(&mut world, "192.0.2.20");
    let invite = invite_out(&out, &mia);
    mia.answer(&mut world, &invite, 180);
    mia.answer(&mut world, &invite, 200);
    out.extend(world.take());
    let names: Vec<&str> = legs(&out)
        .into_iter()
        .filter_map(|leg| match leg {
            Leg::InviteIn { .. } => Some("invite_in"),
            Leg::Held(_) => Some("held"),
            Leg::PushAsked { .. } => Some("push_asked"),
            Leg::RegisterIn(_) => Some("register_in"),
            Leg::RegisterOk(_) => Some("register_ok"),
            Leg::InviteOut { .. } => Some("invite_out"),
            Leg::Ringing(_) => Some("ringing"),
            Leg::Answered(_) => Some("answered"),
            _ => None,
        })
        .collect();
    assert_eq!(
        names,
        [
            "invite_in",
            "held",
            "push_asked",
            "register_in",
            "register_ok",
            "invite_out",
            "ringing",
            "answered"
        ]
    );
}

#[test]
fn push_names_the_caller_and_the_account() {
    let (mut world, _mia, trunk) = asleep("fcm");
    trunk.invite(&mut world, "mia", "call-1");
    let out = world.take();
    let push = pushes(&out)[0];
    let PushPurpose::Call { caller, sip_call_id, .. } = &push.purpose else { panic!("{push:?}") };
    assert_eq!(
        (caller.display_name.as_str(), caller.uri.as_str()),
        ("Uncle Bob", "sip:+15550100@198.51.100.7")
    );
    assert_eq!((sip_call_id.as_str(), push.account.as_str()), ("call-1", "mia@voice.example.org"));
    let shown = format!("{push:?}");
    assert!(!shown.contains("Bob") && !shown.contains("TokenOf"), "{shown}");
}
