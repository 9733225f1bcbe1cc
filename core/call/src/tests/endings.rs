//! Scenarios of ending a call, named by the order of events (class S27).

use std::time::Duration;

use super::wire::{A, Act, B, Wire};
use crate::*;

fn reasons(wire: &Wire) -> (Option<EndReason>, Option<EndReason>) {
    (wire.phones[A].reason().cloned(), wire.phones[B].reason().cloned())
}

#[test]
fn cancel_before_anything_came_back() {
    let mut wire = Wire::new(101);
    wire.delay = Duration::from_millis(300);
    wire.dial(Opening::Offer);
    wire.act(A, Act::HangUp);
    assert_eq!(wire.phones[A].phase(), Some(Phase::Ending));
    wire.finish();
    assert_eq!(reasons(&wire), (Some(EndReason::Cancelled), Some(EndReason::Cancelled)));
    assert!(!wire.phones[A].records[0].by_peer && wire.phones[B].records[0].by_peer);
}

#[test]
fn cancel_while_it_rings() {
    let mut wire = Wire::new(102);
    wire.dial(Opening::Offer);
    wire.run_ms(1_000);
    wire.act(A, Act::HangUp);
    wire.run_ms(200);
    assert_eq!(reasons(&wire), (Some(EndReason::Cancelled), Some(EndReason::Cancelled)));
    wire.finish();
    assert_eq!(wire.phones[B].count("SIP/2.0 487"), 1);
}

#[test]
fn cancel_before_the_offer_is_described() {
    let mut wire = Wire::new(103);
    wire.phones[A].media.delay = Duration::from_millis(500);
    wire.dial(Opening::Offer);
    wire.act(A, Act::HangUp);
    assert_eq!(wire.phones[A].reason(), Some(&EndReason::Cancelled));
    wire.finish();
    assert_eq!(wire.phones[A].count("INVITE"), 0);
}

#[test]
fn cancel_crosses_200_then_ack_and_bye() {
    let mut wire = Wire::new(104);
    wire.delay = Duration::from_millis(100);
    wire.dial(Opening::Offer);
    wire.run_ms(500);
    wire.act(B, Act::Answer);
    wire.act(A, Act::HangUp);
    wire.finish();
    assert_eq!((wire.phones[A].count("ACK"), wire.phones[A].count("BYE")), (1, 1));
    assert_eq!(reasons(&wire), (Some(EndReason::Cancelled), Some(EndReason::RemoteHangup)));
    assert!(wire.phones[A].records[0].answered.is_none());
}

#[test]
fn cancel_crosses_200_and_every_cancel_is_lost() {
    let mut wire = Wire::new(105);
    wire.delay = Duration::from_millis(100);
    wire.drop_if = Some(Box::new(|from, message| from == A && message.method().as_str() == "CANCEL"));
    wire.dial(Opening::Offer);
    wire.run_ms(500);
    wire.act(A, Act::HangUp);
    wire.run_ms(5_000);
    wire.act(B, Act::Answer);
    wire.finish();
    assert_eq!(reasons(&wire), (Some(EndReason::Cancelled), Some(EndReason::RemoteHangup)));
}

#[test]
fn both_hang_up_at_once() {
    let mut wire = Wire::established(106);
    wire.act(A, Act::HangUp);
    wire.act(B, Act::HangUp);
    wire.finish();
    assert_eq!(reasons(&wire), (Some(EndReason::LocalHangup), Some(EndReason::LocalHangup)));
}

#[test]
fn callee_hangs_up_before_the_ack_and_waits_for_it() {
    let mut wire = Wire::new(107);
    wire.delay = Duration::from_millis(100);
    wire.dial(Opening::Offer);
    wire.run_ms(500);
    wire.act(B, Act::Answer);
    wire.act(B, Act::HangUp);
    assert_eq!(wire.phones[B].count("BYE"), 0);
    assert_eq!(wire.phones[B].phase(), Some(Phase::Ending));
    wire.run_ms(250);
    assert_eq!(wire.phones[B].count("BYE"), 1);
    wire.finish();
    assert_eq!(reasons(&wire), (Some(EndReason::RemoteHangup), Some(EndReason::LocalHangup)));
}

#[test]
fn caller_hangs_up_while_the_ack_waits_for_media() {
    let mut wire = Wire::new(108);
    wire.phones[A].media.delay = Duration::from_secs(2);
    wire.dial(Opening::Offerless);
    wire.run_ms(100);
    wire.act(B, Act::Answer);
    wire.run_ms(300);
    wire.act(A, Act::HangUp);
    wire.finish();
    assert_eq!((wire.phones[A].count("ACK"), wire.phones[A].count("BYE")), (1, 1));
    assert_eq!(reasons(&wire).0, Some(EndReason::LocalHangup));
}

#[test]
fn bye_meets_a_reinvite_in_the_air() {
    for (hangs_up, holds) in [(A, B), (B, A)] {
        let mut wire = Wire::established(109 + hangs_up as u64);
        wire.delay = Duration::from_millis(100);
        wire.act(holds, Act::Hold(true));
        wire.act(hangs_up, Act::HangUp);
        wire.finish();
        assert_eq!(wire.phones[hangs_up].reason(), Some(&EndReason::LocalHangup));
        assert_eq!(wire.phones[holds].reason(), Some(&EndReason::RemoteHangup));
    }
}

#[test]
fn bye_while_our_media_answers_a_reinvite() {
    let mut wire = Wire::established(111);
    wire.phones[B].media.delay = Duration::from_secs(1);
    wire.act(A, Act::Hold(true));
    wire.run_ms(100);
    wire.act(B, Act::HangUp);
    assert_eq!(wire.phones[B].count("SIP/2.0 487"), 1);
    wire.finish();
    assert_eq!(reasons(&wire), (Some(EndReason::RemoteHangup), Some(EndReason::LocalHangup)));
}

#[test]
fn bye_whose_answers_are_all_lost_still_ends() {
    let mut wire = Wire::established(112);
    wire.drop_if = Some(Box::new(|from, message| from == B && message.status() == Some(200)));
    wire.act(A, Act::HangUp);
    wire.run(Duration::from_secs(20));
    assert_eq!(wire.phones[A].phase(), Some(Phase::Ending));
    wire.finish();
    assert_eq!(reasons(&wire), (Some(EndReason::LocalHangup), Some(EndReason::RemoteHangup)));
    let record = &wire.phones[A].records[0];
    // The moment of the wish counts, not that of its confirmation.
    assert!(record.ended.since(record.answered.unwrap()) < Duration::from_secs(1));
}

#[test]
fn the_far_end_is_gone_and_a_session_refresh_finds_it_out() {
    let mut wire = Wire::new(113);
    wire.phones[A].config.session_timer =
        Some(SessionTimers { interval: Duration::from_secs(200), min_se: Duration::from_secs(90) });
    wire.settle();
    wire.drop_if = Some(Box::new(|_, _| true));
    wire.run(Duration::from_secs(300));
    assert_eq!(wire.phones[B].reason(), Some(&EndReason::SessionExpired));
    assert_eq!(wire.phones[A].reason(), Some(&EndReason::PeerLost));
    wire.finish();
}

#[test]
fn media_timeout_says_so_in_the_bye() {
    let mut wire = Wire::established(114);
    let now = wire.now;
    wire.phones[A].call().hang_up_for(now, EndReason::MediaTimeout);
    let mut reason = None;
    while let Some(output) = wire.phones[A].call().poll_output() {
        if let Output::Send { request, .. } = output {
            reason = request.header(wakeline_sip_message::Name::Reason).map(str::to_owned);
        }
    }
    assert_eq!(reason.as_deref(), Some("SIP;cause=503;text=\"no media\""));
}

#[test]
fn hang_up_while_it_rings_refuses() {
    let mut wire = Wire::new(115);
    wire.dial(Opening::Offer);
    wire.run_ms(100);
    wire.act(B, Act::HangUp);
    wire.finish();
    assert_eq!(reasons(&wire), (Some(EndReason::Declined), Some(EndReason::Declined)));
}
