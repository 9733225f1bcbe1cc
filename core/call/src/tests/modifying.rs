//! Scenarios of changing an answered call, named by the order of events.

use std::time::Duration;

use super::wire::{A, Act, B, Wire};
use crate::*;

#[test]
fn hold_then_resume() {
    for holder in [A, B] {
        let mut wire = Wire::established(201 + holder as u64);
        wire.act(holder, Act::Hold(true));
        wire.run_ms(200);
        assert!(wire.phones[holder].call().is_held() && !wire.phones[1 - holder].call().is_held());
        assert!(wire.phones[holder].has(&Event::Changed { hold: true }));
        assert!(wire.phones[holder].media.questions.contains(&Describe::Offer { hold: true, fresh: false }));
        wire.act(holder, Act::Hold(false));
        wire.run_ms(200);
        assert!(!wire.phones[holder].call().is_held());
        wire.act(A, Act::HangUp);
        wire.finish();
    }
}

#[test]
fn hold_and_resume_before_the_first_is_answered() {
    let mut wire = Wire::established(203);
    wire.act(A, Act::Hold(true));
    wire.act(A, Act::Hold(false));
    wire.run_ms(500);
    assert!(!wire.phones[A].call().is_held());
    assert_eq!(wire.phones[A].count("INVITE"), 3);
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn both_reinvite_491() {
    let mut wire = Wire::established(204);
    wire.delay = Duration::from_millis(50);
    wire.act(A, Act::Hold(true));
    wire.act(B, Act::Hold(true));
    wire.run_ms(120);
    assert_eq!((wire.phones[A].count("SIP/2.0 491"), wire.phones[B].count("SIP/2.0 491")), (1, 1));
    assert_eq!((wire.phones[A].media.rollbacks, wire.phones[B].media.rollbacks), (1, 1));
    wire.run_ms(10_000);
    // Both wishes are met in the end: glare loses none.
    assert!(wire.phones[A].call().is_held() && wire.phones[B].call().is_held());
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn the_owner_of_the_call_id_waits_longer_after_491() {
    for seed in 0..20 {
        let mut wire = Wire::established(2_040 + seed);
        wire.delay = Duration::from_millis(5);
        wire.act(A, Act::Hold(true));
        wire.act(B, Act::Hold(true));
        wire.run_ms(2_090);
        // A hears of the hold by B's second try, and says in its answer that it holds too.
        assert!(wire.phones[B].call().is_held() && wire.phones[A].call().is_held());
        assert_eq!((wire.phones[A].count("INVITE"), wire.phones[B].count("INVITE")), (2, 2));
        assert!(wire.phones[A].has(&Event::Changed { hold: true }));
    }
}

#[test]
fn their_offer_comes_while_ours_is_being_described() {
    let mut wire = Wire::established(205);
    wire.phones[A].media.delay = Duration::from_millis(300);
    wire.act(A, Act::Hold(true));
    wire.run_ms(50);
    wire.act(B, Act::Hold(true));
    wire.run_ms(3_000);
    assert_eq!(wire.phones[A].count("SIP/2.0 491"), 0);
    assert!(wire.phones[A].call().is_held() && wire.phones[B].call().is_held());
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn a_refused_hold_leaves_the_call_as_it_was() {
    let mut wire = Wire::established(206);
    wire.phones[B].media.refuse = Some(wire.phones[B].media.questions.len());
    wire.act(A, Act::Hold(true));
    wire.run_ms(500);
    assert!(wire.phones[A].has(&Event::ChangeRefused { code: 488 }));
    assert!(!wire.phones[A].call().is_held());
    assert_eq!((wire.phones[A].media.rollbacks, wire.phones[B].media.rollbacks), (1, 1));
    assert_eq!(wire.phones[A].phase(), Some(Phase::Established));
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn a_moved_flow_reinvites_with_the_new_contact() {
    for mover in [A, B] {
        let mut wire = Wire::established(207 + mover as u64);
        wire.act(mover, Act::Moved);
        wire.run_ms(300);
        assert!(wire.phones[mover].media.questions.contains(&Describe::Offer { hold: false, fresh: true }));
        assert_eq!(wire.phones[1 - mover].phase(), Some(Phase::Established));
        // The far end's next request goes to the new Contact.
        wire.act(1 - mover, Act::HangUp);
        assert!(
            wire.phones[1 - mover].sent.last().unwrap().contains(";m=1"),
            "{:?}",
            wire.phones[1 - mover].sent
        );
        wire.finish();
    }
}

#[test]
fn moved_before_the_answer_reinvites_after_it() {
    let mut wire = Wire::new(209);
    wire.dial(Opening::Offer);
    wire.run_ms(100);
    wire.act(A, Act::Moved);
    wire.act(B, Act::Moved);
    // The early dialog learns the new Contact at once, the media after the answer.
    assert_eq!(wire.phones[A].count("UPDATE"), 1);
    wire.run_ms(100);
    assert_eq!(wire.phones[B].count("SIP/2.0 200"), 1);
    wire.act(B, Act::Answer);
    wire.run_ms(500);
    assert_eq!(wire.phones[A].count("INVITE"), 2);
    assert_eq!(wire.phones[B].count("INVITE"), 0);
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn session_refresh_goes_by_update_and_keeps_the_call() {
    let mut wire = Wire::new(210);
    let timers = SessionTimers { interval: Duration::from_secs(120), min_se: Duration::from_secs(90) };
    wire.phones[A].config.session_timer = Some(timers);
    wire.settle();
    wire.run(Duration::from_secs(610));
    assert_eq!(wire.phones[A].phase(), Some(Phase::Established));
    assert_eq!((wire.phones[A].count("UPDATE"), wire.phones[B].count("UPDATE")), (10, 0));
    wire.act(B, Act::HangUp);
    wire.finish();
}

#[test]
fn interval_too_brief_is_raised_and_the_call_goes_on() {
    let mut wire = Wire::new(211);
    wire.phones[A].config.session_timer =
        Some(SessionTimers { interval: Duration::from_secs(100), min_se: Duration::from_secs(90) });
    wire.phones[B].config.session_timer =
        Some(SessionTimers { interval: Duration::from_secs(1800), min_se: Duration::from_secs(300) });
    wire.settle();
    assert_eq!((wire.phones[B].count("SIP/2.0 422"), wire.phones[A].count("INVITE")), (1, 2));
    wire.run(Duration::from_secs(160));
    assert_eq!(wire.phones[A].count("UPDATE"), 1);
    wire.act(A, Act::HangUp);
    wire.finish();
    assert_eq!(wire.phones[A].records.len() + wire.phones[B].records.len(), 2);
}

#[test]
fn digits_go_one_after_the_other_in_both_forms() {
    for style in [InfoDigits::Relay, InfoDigits::Plain] {
        let mut wire = Wire::new(212);
        wire.phones[A].config.info_digits = style;
        wire.settle();
        wire.loss = 30;
        wire.act(A, Act::Digits("12x3*#dR"));
        wire.act(B, Act::Digits("9"));
        wire.run(Duration::from_secs(60));
        wire.loss = 0;
        let heard = |phone: usize| -> String {
            let digit = |event: &Event| match event {
                Event::Digit(digit) => Some(*digit),
                _ => None,
            };
            wire.phones[phone].events.iter().filter_map(digit).collect()
        };
        assert_eq!((heard(B).as_str(), heard(A).as_str()), ("123*#DR", "9"));
        wire.act(A, Act::HangUp);
        wire.finish();
    }
}

#[test]
fn s27_glare_with_loss_meets_both_wishes_in_the_end() {
    for seed in 0..200 {
        let mut wire = Wire::established(3_000 + seed);
        wire.loss = 20;
        wire.jitter = Duration::from_millis(80);
        wire.act(A, Act::Hold(true));
        wire.act(B, Act::Hold(true));
        wire.run(Duration::from_secs(100));
        if wire.phones[A].phase() == Some(Phase::Established)
            && wire.phones[B].phase() == Some(Phase::Established)
        {
            assert!(wire.phones[A].call().is_held() && wire.phones[B].call().is_held(), "seed {seed}");
        }
        wire.act(A, Act::HangUp);
        wire.finish();
    }
}
