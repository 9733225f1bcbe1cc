//! The race table of the wake design (section 5), row by row, on the machines that ship.
//!
//! Rows that cannot be expressed here: 24 (a device before its first unlock) and 28 (permissions) are the shells'. Of row
//! 22 there is what the gateway does when the push service does not know it any more; the renewal of keys is the senders'.
//! Of row 31 there is the port that is blocked; certificates are tested in `engine`. Of row 11 there is the call screen's silence; of row 20 only the lateness; row 23's missed-call
//! message is a later feature.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use wakeline_registrar::{Leg, PushResult};
use wakeline_sim::{Fate, Happening, SimPhone, Whim, World, gateway_config};
use wakeline_sip_message::{Method, Name};
use wakeline_user_agent::{CallPhase, Command, RegistrationPhase};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// A caller (0) and devices of one callee (from 1), all registered, the devices' processes killed then.
fn asleep(seed: u64, devices: usize) -> World {
    let mut world = awake(seed, devices);
    for device in 1..=devices {
        world.kill(device, true);
    }
    world.run(30 * S);
    world
}

fn awake(seed: u64, devices: usize) -> World {
    let mut phones = vec![SimPhone::new("bob", 1, None)];
    for device in 0..devices {
        phones.push(SimPhone::new("mia", 1, Some(&format!("token-of-mia-{device}"))));
    }
    registered(World::with(seed, phones, gateway_config()))
}

/// A callee that sends no keep-alive: after a minute its flow is as good as dead to the gateway.
fn quiet(transport: u8) -> SimPhone {
    SimPhone::new("mia", transport, Some("token-of-mia-0")).with("keepaliveival", "0")
}

fn registered(mut world: World) -> World {
    let all = world.phones.len();
    for phone in 0..all {
        world.after(Duration::ZERO, Happening::Start(phone));
    }
    let all_registered = |world: &World| (0..all).all(|phone| world.is_registered(phone));
    assert!(world.run_until(5 * S, all_registered), "{:#?}", world.snapshot(1).map(|s| s.registrations));
    world
}

fn dial(world: &mut World) {
    world.wish(0, Command::Dial { account: Default::default(), to: "sip:mia@sim.example".into() });
}

fn rings(world: &mut World, phone: usize) {
    assert!(
        world.run_until(10 * S, |world| world.has_call(phone, CallPhase::Ringing)),
        "{:#?}",
        world.phones[phone].told
    );
}

fn talks(world: &mut World, phone: usize) {
    assert!(
        world.run_until(10 * S, |world| world.has_call(phone, CallPhase::Established)),
        "{:#?}",
        world.phones[phone].told
    );
}

fn well(mut world: World) -> World {
    assert_eq!(world.finish(), Vec::<String>::new());
    world
}

// Row 1
#[test]
fn push_before_the_network_then_network_rings_once() {
    let mut world = asleep(1, 1);
    world.phones[1].reach = wakeline_sim::Reach::Offline;
    dial(&mut world);
    world.run(2 * S);
    assert_eq!(world.phones[1].rings(), 0);
    world.after(Duration::ZERO, Happening::Moved(1));
    rings(&mut world, 1);
    assert_eq!(well(world).phones[1].rings(), 1);
}

// Row 2
#[test]
fn cancel_before_the_phone_woke_ends_quietly_without_a_ring() {
    let mut world = asleep(2, 1);
    world.delivery.delay = 4 * S;
    dial(&mut world);
    world.run(2 * S);
    world.whim(0, Whim::Hangup);
    world.run(S);
    assert_eq!(world.phones[0].ends(), ["cancelled"]);
    world.run(5 * S);
    assert_eq!((world.phones[1].rings(), world.phones[1].ends()), (0, vec!["cancelled"]));
    assert_eq!(world.pushes.len(), 1);
    well(world);
}

// Row 3
#[test]
fn cancel_while_the_phone_connects_never_rings_after_the_end() {
    for hangup in 150..260 {
        let mut world = asleep(hangup, 1);
        dial(&mut world);
        world.run(hangup as u32 * 2 * MS);
        world.whim(0, Whim::Hangup);
        world.run(5 * S);
        assert_eq!(world.phones[0].ends(), ["cancelled"]);
        assert_eq!(world.phones[1].ends(), ["cancelled"], "hung up after {} ms", hangup * 2);
        well(world);
    }
}

// Row 4
#[test]
fn two_pushes_for_one_call_ring_once() {
    let mut world = asleep(4, 1);
    world.delivery.script.push_back(Fate::Delivered(vec![100 * MS, 120 * MS, 3 * S]));
    dial(&mut world);
    rings(&mut world, 1);
    world.run(5 * S);
    assert_eq!(well(world).phones[1].rings(), 1);
}

// Row 5
#[test]
fn push_after_the_answer_elsewhere_does_not_ring() {
    let mut world = asleep(5, 2);
    world.delivery.script.extend([Fate::Delivered(vec![100 * MS]), Fate::Delivered(vec![8 * S])]);
    dial(&mut world);
    world.run(S);
    let first = if world.has_call(1, CallPhase::Ringing) { 1 } else { 2 };
    let other = 3 - first;
    world.whim(first, Whim::Answer);
    talks(&mut world, 0);
    world.run(10 * S);
    assert_eq!((world.phones[other].rings(), world.phones[other].ends()), (0, vec!["answered-elsewhere"]));
    well(world);
}

// Row 6
#[test]
fn push_token_gone_answers_480_at_once() {
    let mut world = asleep(6, 1);
    world.delivery.script.push_back(Fate::Refused(PushResult::Gone { since: None }));
    dial(&mut world);
    world.run(S);
    assert_eq!(world.phones[0].ends(), ["no-answer"]);
    assert_eq!(world.legs(|leg| *leg == Leg::FinalOut(480)), 1);
    well(world);
}

// Row 7
#[test]
fn decline_before_the_invite_refuses_everywhere() {
    let mut world = asleep(7, 1);
    dial(&mut world);
    assert!(world.run_until(5 * S, |world| world.has_call(1, CallPhase::Announced)));
    world.whim(1, Whim::Decline);
    world.run(3 * S);
    assert_eq!((world.phones[0].ends(), world.phones[1].rings()), (vec!["declined"], 0));
    well(world);
}

// Row 8
#[test]
fn answer_before_the_invite_connects_without_a_ring() {
    let mut world = asleep(8, 1);
    dial(&mut world);
    assert!(world.run_until(5 * S, |world| world.has_call(1, CallPhase::Announced)));
    world.whim(1, Whim::Answer);
    talks(&mut world, 0);
    assert_eq!(world.phones[1].rings(), 0);
    well(world);
}

// Row 9
#[test]
fn killed_while_ringing_is_pushed_once_more_and_rings_again_in_its_new_life() {
    let mut world = asleep(9, 1);
    dial(&mut world);
    rings(&mut world, 1);
    world.kill(1, true);
    rings(&mut world, 1);
    assert_eq!((world.phones[1].rings(), world.phones[1].lives, world.pushes.len()), (2, 3, 2));
    well(world);
}

// Row 10
#[test]
fn second_call_while_one_is_talking_rings_once_and_without_a_push() {
    let phones = vec![
        SimPhone::new("bob", 1, None),
        SimPhone::new("mia", 1, Some("token-of-mia-0")),
        SimPhone::new("eve", 1, None),
    ];
    let mut world = registered(World::new(10, phones));
    dial(&mut world);
    rings(&mut world, 1);
    world.whim(1, Whim::Answer);
    talks(&mut world, 0);
    world.wish(2, Command::Dial { account: Default::default(), to: "sip:mia@sim.example".into() });
    rings(&mut world, 1);
    assert_eq!((world.phones[1].rings(), world.pushes.len()), (2, 0));
    world.whim(1, Whim::Busy);
    world.run(2 * S);
    assert_eq!(world.phones[2].ends(), ["busy"]);
    assert!(world.has_call(0, CallPhase::Established) && world.has_call(1, CallPhase::Established));
    well(world);
}

// Row 10, with a flow that has been quiet: the push that comes along moves the registration, not the call.
#[test]
fn push_for_a_second_call_leaves_the_first_one_alone() {
    for transport in [0, 1, 2] {
        let phones = vec![SimPhone::new("bob", 1, None), quiet(transport), SimPhone::new("eve", 1, None)];
        let mut world = registered(World::new(10, phones));
        dial(&mut world);
        rings(&mut world, 1);
        world.whim(1, Whim::Answer);
        talks(&mut world, 0);
        world.run(60 * S);
        world.wish(2, Command::Dial { account: Default::default(), to: "sip:mia@sim.example".into() });
        rings(&mut world, 1);
        world.run(5 * S);
        assert_eq!(world.pushes.len(), 1, "transport {transport}");
        world.whim(1, Whim::Answer);
        talks(&mut world, 2);
        assert!(world.has_call(0, CallPhase::Established), "transport {transport}");
        assert_eq!(well(world).phones[1].rings(), 2, "transport {transport}");
    }
}

// Row 10: while it dials itself
#[test]
fn push_for_a_call_while_another_is_being_dialled_leaves_that_one_alone() {
    for transport in [0, 1, 2] {
        let phones = vec![SimPhone::new("bob", 1, None), quiet(transport), SimPhone::new("eve", 1, None)];
        let mut world = registered(World::new(10, phones));
        world.run(60 * S);
        world.wish(1, Command::Dial { account: Default::default(), to: "sip:eve@sim.example".into() });
        rings(&mut world, 2);
        world.run(20 * S);
        dial(&mut world);
        rings(&mut world, 1);
        world.run(3 * S);
        assert_eq!(world.pushes.len(), 1, "transport {transport}");
        world.whim(2, Whim::Answer);
        talks(&mut world, 2);
        assert!(world.run_until(2 * S, |world| world.has_call(1, CallPhase::Established)));
        well(world);
    }
}

// Row 11
#[test]
fn do_not_disturb_neither_rings_nor_answers() {
    let phones = vec![
        SimPhone::new("bob", 1, None),
        SimPhone::new("mia", 1, Some("token-of-mia-0")).with("autoignore", "1"),
        SimPhone::new("mia", 1, Some("token-of-mia-1")),
    ];
    let mut world = registered(World::new(11, phones));
    dial(&mut world);
    rings(&mut world, 2);
    world.whim(2, Whim::Answer);
    talks(&mut world, 0);
    assert_eq!((world.phones[1].rings(), world.phones[2].rings()), (0, 1));
    well(world);
}

// Row 12
#[test]
fn clock_an_hour_off_changes_nothing() {
    for ahead in [-3_600_000, 3_600_000] {
        let mut world = asleep(12, 1);
        world.phones[1].clock_ahead = ahead;
        dial(&mut world);
        rings(&mut world, 1);
        world.whim(1, Whim::Answer);
        talks(&mut world, 0);
        well(world);
    }
}

// Rows 13 and 14
#[test]
fn new_network_while_ringing_moves_the_call_without_a_second_ring() {
    let mut world = awake(13, 1);
    dial(&mut world);
    rings(&mut world, 1);
    world.after(Duration::ZERO, Happening::Moved(1));
    world.run(2 * S);
    world.whim(1, Whim::Answer);
    talks(&mut world, 0);
    assert_eq!(well(world).phones[1].rings(), 1);
}

// Row 15
#[test]
fn gateway_restart_while_holding_ends_the_announced_call() {
    let mut world = asleep(15, 1);
    world.delivery.delay = 3 * S;
    dial(&mut world);
    world.run(S);
    world.after(Duration::ZERO, Happening::RestartGateway);
    world.run(30 * S);
    assert_eq!((world.phones[1].rings(), world.phones[1].ends()), (0, vec!["failed"]));
    well(world);
}

// Rows 13 and 19: the flow was thought dead, the phone rings on it all the same, and its push comes then.
#[test]
fn push_for_a_call_that_rings_moves_it_to_the_new_flow_and_the_answer_arrives() {
    for transport in [0, 1, 2] {
        let phones = vec![SimPhone::new("bob", 1, None), quiet(transport)];
        let mut world = registered(World::new(13, phones));
        world.run(60 * S);
        dial(&mut world);
        rings(&mut world, 1);
        world.run(5 * S);
        assert_eq!(world.pushes.len(), 1);
        world.whim(1, Whim::Answer);
        talks(&mut world, 0);
        assert_eq!(well(world).phones[1].rings(), 1, "transport {transport}");
    }
}

// Rows 3 and 13: the same, and the caller gives up.
#[test]
fn push_for_a_call_that_rings_then_cancel_ends_it() {
    for transport in [0, 1, 2] {
        for after in 0..40 {
            let phones = vec![SimPhone::new("bob", 1, None), quiet(transport)];
            let mut world = registered(World::new(13, phones));
            world.run(60 * S);
            dial(&mut world);
            world.run(100 * MS + after * 10 * MS);
            world.whim(0, Whim::Hangup);
            world.run(5 * S);
            assert!(!world.has_call(1, CallPhase::Ringing), "transport {transport}, after {after}");
            well(world);
        }
    }
}

// Row 3: a process that was frozen reads its INVITE when the call is long over.
#[test]
fn frozen_until_the_call_is_over_stops_within_a_round_trip() {
    let mut world = awake(3, 1);
    world.after(Duration::ZERO, Happening::Freeze(1));
    world.delivery.script.push_back(Fate::Delivered(Vec::new()));
    dial(&mut world);
    world.run(2 * S);
    world.whim(0, Whim::Hangup);
    world.run(12 * S);
    assert_eq!(world.phones[0].ends(), ["cancelled"]);
    world.after(Duration::ZERO, Happening::Thaw(1));
    world.run(S);
    assert_eq!(world.phones[1].ends(), ["cancelled"]);
    well(world);
}

// Rows 16 and 18
#[test]
fn wake_on_a_known_nonce_costs_one_register_and_rings() {
    let mut world = asleep(16, 1);
    let before = world.wire.len();
    dial(&mut world);
    rings(&mut world, 1);
    assert_eq!(world.wire[before..].iter().filter(|seen| seen.is("REGISTER")).count(), 1);
    well(world);
}

// Row 17
#[test]
fn register_refused_at_the_wake_ends_the_announced_call_and_says_why() {
    for (code, reason) in [(403, "refused"), (423, "too brief")] {
        let mut world = asleep(17, 1);
        for _ in 0..20 {
            world.registers.push_back(wakeline_sim::Scripted { code, headers: Vec::new() });
        }
        dial(&mut world);
        world.run(25 * S);
        assert_eq!(world.phones[0].ends(), ["no-answer"], "{reason}");
        assert_eq!((world.phones[1].rings(), world.phones[1].ends().len()), (0, 1), "{reason}");
        let account = world.snapshot(1).unwrap().registrations[0].clone();
        assert_eq!((account.phase, account.code), (RegistrationPhase::Failed, Some(code)));
        world.registers.clear();
        well(world);
    }
}

// Row 19
#[test]
fn late_push_for_a_call_that_is_over_does_not_ring() {
    let mut world = asleep(19, 1);
    world.delivery.script.push_back(Fate::Delivered(vec![100 * MS, 40 * S]));
    dial(&mut world);
    rings(&mut world, 1);
    world.whim(1, Whim::Decline);
    world.run(60 * S);
    assert_eq!((world.phones[1].rings(), world.phones[1].ends()), (1, vec!["declined"]));
    well(world);
}

// Rows 20 and 23
#[test]
fn push_later_than_the_call_ends_quietly() {
    let mut world = asleep(20, 1);
    world.delivery.delay = 40 * S;
    dial(&mut world);
    world.run(25 * S);
    assert_eq!(world.phones[0].ends(), ["no-answer"]);
    assert_eq!(world.legs(|leg| *leg == Leg::FinalOut(480)), 1);
    world.run(60 * S);
    assert_eq!((world.phones[1].rings(), world.phones[1].ends().len()), (0, 1));
    well(world);
}

// Row 21
#[test]
fn push_service_down_answers_480_before_the_timer() {
    let mut world = asleep(21, 1);
    world.delivery.verdict = PushResult::Unavailable;
    dial(&mut world);
    world.run(S);
    assert_eq!(world.phones[0].ends(), ["no-answer"]);
    well(world);
}

// Row 22
#[test]
fn push_service_that_does_not_know_us_costs_the_call_and_not_the_token() {
    let mut world = asleep(22, 1);
    world.delivery.script.push_back(Fate::Refused(PushResult::Refused));
    dial(&mut world);
    world.run(S);
    assert_eq!(world.phones[0].ends(), ["no-answer"]);
    world.run(10 * S);
    dial(&mut world);
    rings(&mut world, 1);
    well(world);
}

// Row 25
#[test]
fn two_accounts_on_one_token_ring_once_and_both_register() {
    let phones = vec![
        SimPhone::new("bob", 1, None),
        SimPhone::new("mia", 1, Some("token-of-mia")).with_account("mia-at-work", 1),
    ];
    let mut world = registered(World::new(25, phones));
    world.kill(1, true);
    world.run(30 * S);
    let before = world.wire.len();
    dial(&mut world);
    rings(&mut world, 1);
    world.run(S);
    let registers = world.wire[before..].iter().filter(|seen| seen.of_phone(1) && seen.is("REGISTER"));
    assert_eq!((world.phones[1].rings(), registers.count()), (1, 2));
    well(world);
}

// Row 26
#[test]
fn logout_while_a_call_is_held_ends_it_with_480() {
    let mut world = awake(26, 1);
    world.wish(1, Command::Suspend);
    world.run(30 * S);
    world.delivery.delay = 15 * S;
    dial(&mut world);
    world.run(S);
    world.wish(1, Command::Unregister { account: Default::default() });
    world.run(S);
    assert_eq!((world.phones[0].ends(), world.phones[1].rings()), (vec!["no-answer"], 0));
    well(world);
}

// Row 27
#[test]
fn caller_hangs_up_while_the_phone_sleeps_on_hold_and_the_bye_is_answered_in_time() {
    let mut world = awake(27, 1);
    dial(&mut world);
    rings(&mut world, 1);
    world.whim(1, Whim::Answer);
    talks(&mut world, 0);
    world.whim(1, Whim::Hold(true));
    world.run(20 * S);
    // The system takes the process away; the call's record stays at the far end.
    world.after(Duration::ZERO, Happening::Freeze(1));
    world.silence(1);
    world.run(20 * S);
    world.delivery.delay = 500 * MS;
    world.whim(0, Whim::Hangup);
    world.run(7 * S);
    assert_eq!(world.phones[0].ends(), ["hangup"], "the BYE is answered by the gateway if need be");
    assert!(!world.pushes.is_empty(), "and the phone is woken for it");
    world.run(10 * S);
    assert_eq!(world.phones[1].ends(), ["hangup-by-peer"]);
    well(world);
}

// Row 27
#[test]
fn re_invite_to_a_sleeping_phone_wakes_it_and_is_answered() {
    let mut world = awake(27, 1);
    dial(&mut world);
    rings(&mut world, 1);
    world.whim(1, Whim::Answer);
    talks(&mut world, 0);
    world.run(20 * S);
    world.after(Duration::ZERO, Happening::Freeze(1));
    world.silence(1);
    world.run(20 * S);
    world.whim(0, Whim::Hold(true));
    world.run(8 * S);
    assert!(world.snapshot(0).unwrap().calls[0].on_hold, "{:#?}", world.snapshot(0));
    assert!(!world.pushes.is_empty());
    well(world);
}

// Row 27
#[test]
fn refer_to_a_sleeping_phone_wakes_it_and_is_answered_on_the_new_flow() {
    let mut world = awake(27, 1);
    let trunk = world.script();
    let invite = world.scripts[trunk].invite("sip:mia@sim.example");
    world.say(trunk, &invite);
    rings(&mut world, 1);
    world.whim(1, Whim::Answer);
    world.run(S);
    let ok = world.scripts[trunk].responses(Method::Invite).pop().expect("a 200");
    let ack = world.scripts[trunk].in_dialog(Method::Ack, 1, &ok);
    world.say(trunk, &ack);
    world.run(20 * S);
    assert!(world.has_call(1, CallPhase::Established));
    world.after(Duration::ZERO, Happening::Freeze(1));
    world.silence(1);
    world.run(20 * S);
    let (pushes, before) = (world.pushes.len(), world.wire.len());
    let refer = world.scripts[trunk].in_dialog(Method::Refer, 2, &ok);
    let refer = refer.edit().append(Name::ReferTo, "<sip:eve@sim.example>").finish().unwrap();
    world.say(trunk, &refer);
    world.run(8 * S);
    assert!(world.pushes.len() > pushes, "the phone is woken for it");
    let on = |method: &str| {
        let seen = world.wire[before..].iter().rfind(|seen| seen.of_phone(1) && seen.is(method));
        seen.unwrap_or_else(|| panic!("no {method}")).link
    };
    assert_eq!(on("REFER"), on("REGISTER"), "the REFER comes where the phone has just registered");
    // Transfers are declined (RFC 3515 §2.4.2); what matters here is that the phone says so itself, and once.
    assert_eq!(world.scripts[trunk].codes(Method::Refer), [603]);
    assert!(world.has_call(1, CallPhase::Established), "the call goes on");
    let bye = world.scripts[trunk].in_dialog(Method::Bye, 3, &ok);
    world.say(trunk, &bye);
    world.run(5 * S);
    assert_eq!(world.scripts[trunk].codes(Method::Bye), [200]);
    well(world);
}

// Row 29
#[test]
fn answer_on_two_devices_at_once_leaves_one_call() {
    let mut world = awake(29, 2);
    dial(&mut world);
    rings(&mut world, 1);
    rings(&mut world, 2);
    world.whim(1, Whim::Answer);
    world.whim(2, Whim::Answer);
    talks(&mut world, 0);
    world.run(5 * S);
    let talking = (1..3).filter(|device| world.has_call(*device, CallPhase::Established)).count();
    assert_eq!(talking, 1);
    well(world);
}

// Row 30
#[test]
fn nobody_answers_and_it_ends_after_55_seconds() {
    let mut world = awake(30, 2);
    dial(&mut world);
    rings(&mut world, 1);
    world.run(57 * S);
    assert_eq!((world.phones[0].ends(), world.phones[1].ends().len()), (vec!["no-answer"], 1));
    well(world);
}

// Row 31
#[test]
fn gateway_out_of_reach_at_the_wake_ends_quietly_on_both_sides() {
    let mut world = asleep(31, 1);
    dial(&mut world);
    world.run(50 * MS);
    world.unreachable = true;
    world.run(25 * S);
    assert_eq!(world.phones[0].ends(), ["no-answer"]);
    assert_eq!((world.phones[1].rings(), world.phones[1].ends()), (0, vec!["never-arrived"]));
    world.unreachable = false;
    well(world);
}

// Row 32
#[test]
fn flood_of_calls_pushes_six_times_a_minute_at_most() {
    let mut world = asleep(32, 1);
    world.delivery.verdict = PushResult::Refused;
    let trunk = world.script();
    for _ in 0..20 {
        let invite = world.scripts[trunk].request(Method::Invite, "sip:mia@sim.example");
        world.say(trunk, &invite);
        world.run(S);
    }
    assert_eq!(world.pushes.len(), 6);
    assert_eq!(world.scripts[trunk].codes(Method::Invite).iter().filter(|code| **code >= 400).count(), 20);
}

// F8
#[test]
fn f8_token_rotated_while_held_delivers_by_the_new_registration() {
    let mut world = asleep(8, 1);
    world.delivery.script.push_back(Fate::Delivered(Vec::new()));
    dial(&mut world);
    world.run(S);
    world.phones[1].token = Some("token-of-mia-new".into());
    world.after(Duration::ZERO, Happening::Start(1));
    rings(&mut world, 1);
    let before = world.pushes.len();
    world.run(15 * S);
    assert!(world.pushes[before..].iter().all(|(_, push)| push.target.prid.expose() == "token-of-mia-new"));
    well(world);
}

// S26
#[test]
fn s26_frozen_for_minutes_then_thawed_registers_and_rings() {
    let mut world = awake(26, 1);
    world.after(Duration::ZERO, Happening::Freeze(1));
    world.run(600 * S);
    dial(&mut world);
    rings(&mut world, 1);
    assert_eq!(well(world).phones[1].rings(), 1);
}
