//! Every rule of the simulation is broken once on purpose, and must be seen to be broken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::time::Duration;

use wakeline_sim::{Broken, Happening, SimPhone, Whim, World};
use wakeline_user_agent::{CallPhase, Command};

const S: Duration = Duration::from_secs(1);

/// A caller (0) and a callee (1), registered, the callee's process killed where `asleep` says so.
fn world(asleep: bool) -> World {
    let phones = vec![SimPhone::new("bob", 1, None), SimPhone::new("mia", 1, Some("token-of-mia-0"))];
    let mut world = World::new(1, phones);
    for phone in 0..2 {
        world.after(Duration::ZERO, Happening::Start(phone));
    }
    assert!(world.run_until(5 * S, |world| world.is_registered(0) && world.is_registered(1)));
    if asleep {
        world.kill(1, true);
        world.run(30 * S);
    }
    world
}

/// A call is made, rings, and is hung up by its caller; with this fault, if any.
fn cancelled(asleep: bool, broken: Option<Broken>) -> Vec<String> {
    let mut world = world(asleep);
    world.broken = broken;
    world.wish(0, Command::Dial { account: Default::default(), to: "sip:mia@sim.example".into() });
    world.run(3 * S);
    world.whim(0, Whim::Hangup);
    world.run(20 * S);
    world.finish()
}

/// A call is made and answered by a phone that sleeps or not.
fn answered(asleep: bool, broken: Option<Broken>) -> Vec<String> {
    let mut world = world(asleep);
    world.broken = broken;
    world.phones[1].answers_after = Some(S);
    world.wish(0, Command::Dial { account: Default::default(), to: "sip:mia@sim.example".into() });
    world.run(20 * S);
    world.finish()
}

/// A call is made and declined.
fn declined(broken: Option<Broken>) -> Vec<String> {
    let mut world = world(false);
    world.broken = broken;
    world.wish(0, Command::Dial { account: Default::default(), to: "sip:mia@sim.example".into() });
    world.run(3 * S);
    world.whim(1, Whim::Decline);
    world.run(5 * S);
    world.finish()
}

fn alarm(violations: &[String], rule: &str) {
    assert!(violations.iter().any(|one| one.contains(rule)), "{rule:?} is not among {violations:#?}");
}

#[test]
fn without_a_fault_no_rule_is_broken() {
    assert_eq!(cancelled(true, None), Vec::<String>::new());
    assert_eq!(cancelled(false, None), Vec::<String>::new());
    assert_eq!(declined(None), Vec::<String>::new());
    assert_eq!(answered(true, None), Vec::<String>::new());
    assert_eq!(answered(false, None), Vec::<String>::new());
}

#[test]
fn a_phone_that_does_not_register_after_a_push_is_seen() {
    alarm(&cancelled(true, Some(Broken::NoRegister(1))), "did not register within 5 s");
}

#[test]
fn a_phone_that_registers_too_late_is_seen() {
    alarm(&cancelled(true, Some(Broken::LateRegister(1))), "did not register within 5 s");
}

#[test]
fn a_phone_that_rings_on_after_the_end_is_seen() {
    alarm(&cancelled(false, Some(Broken::DeafToCancel(1))), "still rings a round trip after");
}

#[test]
fn a_phone_that_begins_to_ring_after_the_end_is_seen() {
    alarm(&cancelled(false, Some(Broken::LateInvite(1))), "rings for a call that is over");
}

#[test]
fn a_second_ring_is_seen() {
    alarm(&declined(Some(Broken::RingsTwice(1))), "rings 2 times for one wake");
}

#[test]
fn a_second_end_is_seen() {
    alarm(&declined(Some(Broken::EndsTwice(1))), "ends CallId(1) twice");
}

#[test]
fn a_token_outside_of_register_is_seen() {
    alarm(&declined(Some(Broken::LeaksToken(1))), "a push parameter outside of REGISTER: SIP/2.0 180");
}

#[test]
fn a_missing_final_response_is_seen() {
    alarm(&declined(Some(Broken::NoFinal)), "never got a final response");
}

#[test]
fn a_second_final_response_is_seen() {
    alarm(&declined(Some(Broken::TwoFinals)), "two final responses to one INVITE");
    alarm(&declined(Some(Broken::FinalTwice)), "two final responses to one INVITE");
}

#[test]
fn an_answered_call_that_does_not_connect_is_seen() {
    for asleep in [true, false] {
        alarm(
            &answered(asleep, Some(Broken::LosesAnswer(1))),
            "phone 1 answered a call that did not connect",
        );
    }
}

#[test]
fn a_second_branch_to_one_device_is_seen() {
    alarm(&declined(Some(Broken::ForksTwice)), "two live branches to one device");
}

#[test]
fn what_is_left_over_is_seen() {
    let mut world = world(false);
    world.phones[1].answers_after = Some(Duration::ZERO);
    world.wish(0, Command::Dial { account: Default::default(), to: "sip:mia@sim.example".into() });
    assert!(world.run_until(5 * S, |world| world.has_call(1, CallPhase::Established)));
    world.broken = Some(Broken::KeepsCalls(1));
    let violations = world.finish();
    alarm(&violations, "phone 1 is left with 1 calls");
    alarm(&violations, "CallId(1) of phone 1 never ended");
}

#[test]
fn timers_that_nobody_serves_are_seen() {
    alarm(&cancelled(true, Some(Broken::NoTimers)), "time stands still");
}
