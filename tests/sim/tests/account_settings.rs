//! What an account's webphone parameters make of calls.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::time::Duration;

use wakeline_sim::{Happening, SimPhone, World};
use wakeline_user_agent::{CallPhase, Command};

const S: Duration = Duration::from_secs(1);

/// A caller (0), a callee with these parameters (1), and a third phone (2), all registered over TCP.
fn world(parameters: &[(&str, &str)]) -> World {
    let mut callee = SimPhone::new("mia", 1, Some("token-of-mia"));
    for (name, value) in parameters {
        callee.set(name, value);
    }
    let mut world = World::new(7, vec![SimPhone::new("bob", 1, None), callee, SimPhone::new("eve", 1, None)]);
    for phone in 0..3 {
        world.after(Duration::ZERO, Happening::Start(phone));
    }
    assert!(world.run_until(5 * S, |world| (0..3).all(|phone| world.is_registered(phone))));
    world
}

fn dial(world: &mut World, phone: usize) {
    world.wish(phone, Command::Dial { account: Default::default(), to: "mia".into() });
}

#[test]
fn b139_a_listed_caller_is_refused_and_does_not_ring() {
    let mut world = world(&[("blacklist", "eve,mallory")]);
    dial(&mut world, 2);
    world.run(5 * S);
    assert_eq!((world.phones[2].ends(), world.phones[1].rings()), (vec!["declined"], 0));
    dial(&mut world, 0);
    assert!(world.run_until(5 * S, |world| world.has_call(1, CallPhase::Ringing)));
}

#[test]
fn b140_autoaccept_answers_without_a_ring() {
    let mut world = world(&[("autoaccept", "true")]);
    dial(&mut world, 0);
    assert!(world.run_until(5 * S, |world| world.has_call(0, CallPhase::Established)));
    assert_eq!(world.phones[1].rings(), 0);
}

#[test]
fn b135_a_second_call_is_refused_while_there_is_one() {
    let mut world = world(&[("rejectonbusy", "true"), ("autoaccept", "true")]);
    dial(&mut world, 0);
    assert!(world.run_until(5 * S, |world| world.has_call(0, CallPhase::Established)));
    dial(&mut world, 2);
    world.run(5 * S);
    assert_eq!((world.phones[2].ends(), world.has_call(0, CallPhase::Established)), (vec!["busy"], true));
}

#[test]
fn b136_calls_are_forwarded_always_and_when_nobody_answers() {
    for parameters in [
        &[("callforwardalways", "eve")][..],
        &[("callforwardonnoanswer", "eve"), ("callforwardonnoanswertimeout", "5")],
    ] {
        let mut world = world(parameters);
        world.phones[2].answers_after = Some(Duration::from_millis(300));
        dial(&mut world, 0);
        assert!(
            world.run_until(12 * S, |world| world.has_call(2, CallPhase::Established)),
            "{parameters:?} {:#?}",
            world.phones[0].told
        );
        assert!(world.run_until(S, |world| world.has_call(0, CallPhase::Established)), "{parameters:?}");
    }
}

#[test]
fn b138_an_ignored_caller_hears_it_ring_and_nobody_is_disturbed() {
    let mut world = world(&[("autoignore", "1")]);
    dial(&mut world, 0);
    assert!(world.run_until(5 * S, |world| world.has_call(0, CallPhase::Alerting)));
    assert_eq!(world.phones[1].rings(), 0);
}

#[test]
fn b129_digits_behind_a_comma_are_sent_after_the_answer_and_hold_goes_and_comes() {
    let mut world = world(&[("autoaccept", "true")]);
    world.wish(0, Command::Dial { account: Default::default(), to: "mia".into() });
    assert!(world.run_until(5 * S, |world| world.has_call(0, CallPhase::Established)));
    let call = world.phones[0].call_in(CallPhase::Established).unwrap();
    for on in [true, false] {
        world.wish(0, Command::Hold { call, on });
        assert!(world.run_until(5 * S, |world| world.snapshot(0).unwrap().calls[0].on_hold == on));
    }
}

#[test]
fn a_suspended_phone_sends_nothing_for_a_day_and_is_woken_with_one_register() {
    let mut world = world(&[("autoaccept", "true")]);
    world.wish(1, Command::Suspend);
    world.kill(0, true);
    world.kill(2, true);
    world.run(S);
    let before = world.wire.len();
    world.run(20 * 3600 * S);
    assert_eq!(world.wire.len(), before, "a suspended phone is silent");
    world.after(Duration::ZERO, Happening::Start(0));
    assert!(world.run_until(5 * S, |world| world.is_registered(0)));
    let before = world.wire.len();
    dial(&mut world, 0);
    assert!(
        world.run_until(5 * S, |world| world.has_call(0, CallPhase::Established)),
        "{:#?}",
        world.phones[1].told
    );
    let registers = world.wire[before..].iter().filter(|seen| seen.bytes.starts_with(b"REGISTER")).count();
    assert_eq!((registers, world.pushes.len()), (1, 1));
}

/// Push is switched off, and on again: the registrar hears of the token and of the interval that follows from it at once.
#[test]
fn enablepush_costs_one_register_each_way() {
    let mut world = world(&[]);
    world.run(30 * S);
    for (value, interval) in [("0", "Expires: 300"), ("1", "Expires: 604800"), ("0", "Expires: 300")] {
        let before = world.wire.len();
        let (account, name) = (Default::default(), "enablepush".to_owned());
        world.wish(1, Command::SetParameter { account, name, value: value.into() });
        world.run(10 * S);
        let sent: Vec<String> = world.wire[before..]
            .iter()
            .filter(|seen| seen.of_phone(1) && seen.to_gateway)
            .map(|seen| String::from_utf8_lossy(&seen.bytes).into_owned())
            .filter(|text| text.starts_with("REGISTER "))
            .collect();
        assert_eq!(sent.len(), 1, "enablepush {value}: {sent:#?}");
        assert_eq!(
            (sent[0].contains("pn-prid"), sent[0].contains(interval)),
            (value == "1", true),
            "{sent:#?}"
        );
        assert!(world.is_registered(1));
    }
}
