//! A sleeping phone is called.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use wakeline_sim::{Happening, SimPhone, World};
use wakeline_user_agent::{CallPhase, Command};

const S: Duration = Duration::from_secs(1);

/// A caller (0) and a callee with push (1), both registered over TCP.
fn two_phones(seed: u64) -> World {
    let mut callee = SimPhone::new("mia", 1, Some("token-of-mia"));
    callee.answers_after = Some(Duration::from_millis(300));
    let mut world = World::new(seed, vec![SimPhone::new("bob", 1, None), callee]);
    for phone in 0..2 {
        world.after(Duration::ZERO, Happening::Start(phone));
    }
    assert!(
        world.run_until(5 * S, |world| world.is_registered(0) && world.is_registered(1)),
        "{:#?}",
        world.phones[1].told
    );
    world
}

fn dial(world: &mut World) {
    world.wish(0, Command::Dial { account: Default::default(), to: "sip:mia@sim.example".into() });
}

#[test]
fn invite_reaches_a_phone_that_is_awake_without_a_push() {
    let mut world = two_phones(1);
    dial(&mut world);
    assert!(
        world.run_until(5 * S, |world| world.has_call(0, CallPhase::Established)),
        "{:#?}",
        world.phones[0].told
    );
    assert_eq!((world.phones[1].rings(), world.pushes.len()), (1, 0));
    let call = world.phones[0].call_in(CallPhase::Established).unwrap();
    world.wish(0, Command::Hangup { call });
    world.run(70 * S);
    assert_eq!((world.phones[0].ends(), world.phones[1].ends()), (vec!["hangup"], vec!["hangup-by-peer"]));
}

#[test]
fn invite_wakes_a_killed_phone_that_registers_once_and_rings_once() {
    let mut world = two_phones(2);
    world.kill(1, true);
    world.run(30 * S);
    let before = world.wire.len();
    dial(&mut world);
    assert!(
        world.run_until(5 * S, |world| world.has_call(0, CallPhase::Established)),
        "{:#?}",
        world.phones[1].told
    );
    assert_eq!((world.phones[1].rings(), world.pushes.len()), (1, 1));
    let registers = world.wire[before..].iter().filter(|seen| seen.is("REGISTER")).count();
    assert_eq!(registers, 1, "a wake costs one REGISTER");
}
