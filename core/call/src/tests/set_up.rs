//! Scenarios of setting a call up, named by the order of events.

use std::time::Duration;

use super::wire::{A, Act, B, Wire};
use crate::*;

fn ended(wire: &Wire) -> (Option<&EndReason>, Option<&EndReason>) {
    (wire.phones[A].reason(), wire.phones[B].reason())
}

#[test]
fn ring_answer_talk_hang_up() {
    let mut wire = Wire::new(1);
    wire.dial(Opening::Offer);
    wire.run_ms(100);
    assert_eq!(wire.phones[A].phase(), Some(Phase::Alerting));
    assert_eq!(wire.phones[B].phase(), Some(Phase::Ringing));
    assert!(wire.phones[A].has(&Event::Progress { code: 180, ringback: true }));
    wire.act(B, Act::Answer);
    wire.run_ms(200);
    for phone in &wire.phones {
        assert_eq!(phone.phase(), Some(Phase::Established));
        assert!(phone.has(&Event::MediaAgreed) && phone.has(&Event::Answered) && phone.has(&Event::Settled));
    }
    wire.run_ms(5_000);
    wire.act(A, Act::HangUp);
    wire.finish();
    assert_eq!(ended(&wire), (Some(&EndReason::LocalHangup), Some(&EndReason::RemoteHangup)));
    let record = &wire.phones[B].records[0];
    assert!(record.by_peer && record.rang.is_some());
    let talk = record.ended.since(record.answered.unwrap());
    assert!(talk > Duration::from_millis(5_000) && talk < Duration::from_millis(5_500), "{talk:?}");
    assert_eq!(record.peer, "sip:alice@example.org");
    assert_eq!(record.peer_name.as_deref(), Some("Alice"));
}

#[test]
fn offerless_invite_the_answer_comes_in_the_ack() {
    let mut wire = Wire::new(2);
    wire.dial(Opening::Offerless);
    wire.run_ms(100);
    wire.act(B, Act::Answer);
    wire.run_ms(200);
    assert!(matches!(wire.phones[A].media.questions[..], [Describe::Answer { .. }]));
    assert!(matches!(
        wire.phones[B].media.questions[..],
        [Describe::Offer { .. }, Describe::Conclude { .. }]
    ));
    for phone in &wire.phones {
        assert!(phone.has(&Event::MediaAgreed) && phone.has(&Event::Settled));
    }
    wire.act(B, Act::HangUp);
    wire.finish();
    assert_eq!(ended(&wire), (Some(&EndReason::RemoteHangup), Some(&EndReason::LocalHangup)));
}

#[test]
fn answer_before_media_is_described() {
    let mut wire = Wire::new(3);
    wire.phones[B].media.delay = Duration::from_millis(700);
    wire.dial(Opening::Offer);
    wire.run_ms(100);
    wire.act(B, Act::Answer);
    assert_eq!(wire.phones[B].phase(), Some(Phase::Answering));
    wire.run_ms(100);
    assert_eq!(wire.phones[B].count("SIP/2.0 200"), 0);
    wire.run_ms(800);
    assert_eq!(wire.phones[A].phase(), Some(Phase::Established));
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn answer_before_invite() {
    let mut wire = Wire::new(4);
    wire.announce(Duration::from_secs(20));
    wire.act(B, Act::Answer);
    assert!(matches!(wire.phones[B].call().incoming_state(), Some(IncomingState::Announced { .. })));
    assert_eq!(wire.phones[B].call().intent(), Some(&Intent::Accept));
    wire.run_ms(1_000);
    wire.dial(Opening::Offer);
    wire.run_ms(300);
    assert_eq!(wire.phones[B].call().incoming_state(), Some(IncomingState::Established));
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn decline_before_invite() {
    let mut wire = Wire::new(5);
    wire.announce(Duration::from_secs(20));
    wire.act(B, Act::Decline(Refusal::Everywhere));
    assert!(wire.phones[B].records.is_empty());
    wire.run_ms(1_000);
    wire.dial(Opening::Offer);
    wire.run_ms(300);
    assert_eq!(ended(&wire), (Some(&EndReason::Declined), Some(&EndReason::Declined)));
    assert_eq!(wire.phones[B].count("SIP/2.0 180"), 0);
    wire.finish();
}

#[test]
fn announced_and_the_invite_never_comes() {
    let mut wire = Wire::new(6);
    wire.announce(Duration::from_secs(20));
    wire.run(Duration::from_secs(19));
    assert!(wire.phones[B].records.is_empty());
    wire.run(Duration::from_secs(2));
    assert_eq!(wire.phones[B].reason(), Some(&EndReason::NeverArrived));
    wire.finish();
}

#[test]
fn announced_then_answered_then_told_that_it_is_over() {
    let mut wire = Wire::new(7);
    wire.announce(Duration::from_secs(20));
    wire.act(B, Act::Answer);
    let now = wire.now;
    wire.phones[B].call().announced_over(now, EndReason::AnsweredElsewhere);
    wire.finish();
    assert_eq!(wire.phones[B].reason(), Some(&EndReason::AnsweredElsewhere));
}

#[test]
fn ringing_then_told_that_it_is_over_stops_and_answers_487() {
    let mut wire = Wire::new(7);
    wire.dial(Opening::Offer);
    wire.run_ms(300);
    assert_eq!(wire.phones[B].count("SIP/2.0 180"), 1);
    let now = wire.now;
    wire.phones[B].call().announced_over(now, EndReason::NeverArrived);
    assert_eq!(wire.phones[B].reason(), None, "the INVITE that is here knows better");
    wire.phones[B].call().told_over(now, EndReason::Cancelled);
    wire.finish();
    assert_eq!(wire.phones[B].reason(), Some(&EndReason::Cancelled));
    assert_eq!(wire.phones[B].count("SIP/2.0 487"), 1);
}

#[test]
fn answered_then_told_that_it_is_over_goes_on() {
    let mut wire = Wire::new(7);
    wire.dial(Opening::Offer);
    wire.run_ms(300);
    wire.act(B, Act::Answer);
    wire.run_ms(300);
    let now = wire.now;
    wire.phones[B].call().told_over(now, EndReason::Cancelled);
    assert_eq!((wire.phones[B].phase(), wire.phones[B].reason()), (Some(Phase::Established), None));
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn prack_before_answer() {
    let mut wire = Wire::new(8);
    wire.phones[A].config.reliable = Reliable::Required;
    wire.dial(Opening::Offer);
    wire.run_ms(100);
    assert_eq!(wire.phones[A].count("PRACK"), 1);
    wire.act(B, Act::Answer);
    wire.run_ms(200);
    assert_eq!(wire.phones[A].phase(), Some(Phase::Established));
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn reliable_provisional_is_repeated_until_its_prack_comes() {
    let mut wire = Wire::new(9);
    wire.phones[A].config.reliable = Reliable::Required;
    let mut dropped = 0;
    wire.drop_if = Some(Box::new(move |from, message| {
        let drop = from == B && message.status() == Some(180) && dropped < 2;
        dropped += usize::from(drop);
        drop
    }));
    wire.dial(Opening::Offer);
    wire.run_ms(3_000);
    // The transaction repeats it too, for every INVITE that comes again.
    assert_eq!(wire.phones[B].count("SIP/2.0 180"), 2);
    assert_eq!(wire.phones[A].count("PRACK"), 1);
    wire.act(B, Act::Answer);
    wire.run_ms(200);
    assert_eq!(wire.phones[A].phase(), Some(Phase::Established));
    wire.act(B, Act::HangUp);
    wire.finish();
}

#[test]
fn reliable_provisional_that_nobody_acknowledges_refuses_the_invite() {
    let mut wire = Wire::new(10);
    wire.phones[A].config.reliable = Reliable::Required;
    wire.drop_if = Some(Box::new(|from, message| from == A && message.method().as_str() == "PRACK"));
    wire.dial(Opening::Offer);
    wire.run(Duration::from_secs(33));
    assert_eq!(wire.phones[B].count("SIP/2.0 504"), 1);
    wire.finish();
    assert!(matches!(wire.phones[A].reason(), Some(EndReason::Failed { code: Some(504), .. })));
}

#[test]
fn offerless_invite_with_reliable_offer_is_answered_in_prack_before_the_200() {
    let mut wire = Wire::new(11);
    wire.phones[A].config.reliable = Reliable::Required;
    wire.dial(Opening::Offerless);
    wire.run_ms(200);
    assert!(wire.phones[A].has(&Event::MediaAgreed) && wire.phones[B].has(&Event::MediaAgreed));
    wire.act(B, Act::Answer);
    wire.run_ms(200);
    assert_eq!(wire.phones[A].phase(), Some(Phase::Established));
    assert_eq!(wire.phones[A].media.questions.len(), 1);
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn answer_waits_for_the_prack_of_a_response_with_sdp() {
    let mut wire = Wire::new(12);
    wire.phones[A].config.reliable = Reliable::Required;
    let mut dropped = 0;
    wire.drop_if = Some(Box::new(move |from, message| {
        let drop = from == A && message.method().as_str() == "PRACK" && dropped < 1;
        dropped += usize::from(drop);
        drop
    }));
    wire.dial(Opening::Offerless);
    wire.run_ms(100);
    wire.act(B, Act::Answer);
    wire.run_ms(100);
    assert_eq!(wire.phones[B].count("SIP/2.0 200"), 0);
    assert_eq!(wire.phones[B].phase(), Some(Phase::Answering));
    wire.run_ms(1_000);
    assert_eq!(wire.phones[A].phase(), Some(Phase::Established));
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn early_media_then_answer_without_a_second_negotiation() {
    let mut wire = Wire::new(13);
    wire.phones[B].config.early_media = true;
    wire.dial(Opening::Offer);
    wire.run_ms(100);
    assert!(wire.phones[A].has(&Event::Progress { code: 183, ringback: false }));
    assert!(wire.phones[A].has(&Event::MediaAgreed));
    wire.act(B, Act::Answer);
    wire.run_ms(200);
    assert_eq!(wire.phones[A].phase(), Some(Phase::Established));
    // Offer and one conclusion: the 200 repeats the answer of the 183.
    assert_eq!(wire.phones[A].media.questions.len(), 2);
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn early_media_reliably_then_answer_without_sdp() {
    let mut wire = Wire::new(14);
    wire.phones[B].config.early_media = true;
    wire.phones[B].config.reliable = Reliable::Preferred;
    wire.dial(Opening::Offer);
    wire.run_ms(300);
    assert_eq!(wire.phones[A].count("PRACK"), 2);
    wire.act(B, Act::Answer);
    wire.run_ms(200);
    assert_eq!(wire.phones[A].phase(), Some(Phase::Established));
    assert_eq!(wire.phones[A].media.questions.len(), 2);
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn auto_answer_after_its_time() {
    let mut wire = Wire::new(15);
    wire.phones[B].config.auto_answer = Some(Duration::from_secs(2));
    wire.dial(Opening::Offer);
    wire.run_ms(1_900);
    assert_eq!(wire.phones[B].phase(), Some(Phase::Ringing));
    wire.run_ms(400);
    assert_eq!(wire.phones[A].phase(), Some(Phase::Established));
    wire.act(A, Act::HangUp);
    wire.finish();
}

#[test]
fn refusals_and_their_reasons() {
    for (refusal, code, there, here) in [
        (Refusal::Everywhere, 603, EndReason::Declined, EndReason::Declined),
        (Refusal::Busy, 486, EndReason::Busy, EndReason::Busy),
        (Refusal::Code(480), 480, EndReason::NoAnswer, EndReason::NoAnswer),
        (
            Refusal::Code(404),
            404,
            EndReason::Rejected { code: 404, reason: "Not Found".into() },
            EndReason::Rejected { code: 404, reason: "Not Found".into() },
        ),
    ] {
        let mut wire = Wire::new(u64::from(code));
        wire.dial(Opening::Offer);
        wire.run_ms(100);
        wire.act(B, Act::Decline(refusal));
        wire.finish();
        assert_eq!(ended(&wire), (Some(&there), Some(&here)));
        assert_eq!(wire.phones[A].records[0].code, Some(code));
        assert!(wire.phones[A].records[0].by_peer && !wire.phones[B].records[0].by_peer);
    }
}

#[test]
fn forward_is_followed_or_told() {
    let mut wire = Wire::new(20);
    wire.phones[A].config.redirects = 0;
    wire.dial(Opening::Offer);
    wire.run_ms(100);
    wire.act(B, Act::Decline(Refusal::Forward { to: "sip:carol@example.net".into() }));
    wire.finish();
    let targets = vec!["sip:carol@example.net".to_owned()];
    let wanted = EndReason::Redirected { targets };
    assert_eq!(ended(&wire), (Some(&wanted), Some(&wanted)));
}

#[test]
fn media_that_does_not_fit_is_refused_before_it_rings_long() {
    let mut wire = Wire::new(21);
    wire.phones[B].media.refuse = Some(0);
    wire.dial(Opening::Offer);
    wire.finish();
    assert!(matches!(wire.phones[A].reason(), Some(EndReason::MediaRefused { code: 488, .. })));
    assert!(matches!(wire.phones[B].reason(), Some(EndReason::MediaRefused { code: 488, .. })));
}

#[test]
fn an_answer_that_does_not_fit_ends_the_call_with_bye() {
    let mut wire = Wire::new(22);
    wire.phones[A].media.refuse = Some(1);
    wire.dial(Opening::Offer);
    wire.run_ms(100);
    wire.act(B, Act::Answer);
    wire.finish();
    assert_eq!(wire.phones[A].count("BYE"), 1);
    assert!(matches!(wire.phones[A].reason(), Some(EndReason::MediaRefused { .. })));
    assert_eq!(wire.phones[B].reason(), Some(&EndReason::RemoteHangup));
}

#[test]
fn a_lost_ack_repeats_the_200_and_its_ack() {
    let mut wire = Wire::new(23);
    let mut dropped = 0;
    wire.drop_if = Some(Box::new(move |from, message| {
        let drop = from == A && message.method().as_str() == "ACK" && dropped < 3;
        dropped += usize::from(drop);
        drop
    }));
    wire.dial(Opening::Offer);
    wire.run_ms(100);
    wire.act(B, Act::Answer);
    wire.run_ms(10_000);
    assert_eq!(wire.phones[B].count("SIP/2.0 200"), 4);
    assert_eq!(wire.phones[A].count("ACK"), 4);
    assert_eq!(wire.phones[B].phase(), Some(Phase::Established));
    wire.act(B, Act::HangUp);
    wire.finish();
}

#[test]
fn no_ack_at_all_ends_with_bye_after_64_t1() {
    let mut wire = Wire::new(24);
    wire.drop_if = Some(Box::new(|from, message| from == A && message.method().as_str() == "ACK"));
    wire.dial(Opening::Offer);
    wire.run_ms(100);
    wire.act(B, Act::Answer);
    wire.run(Duration::from_secs(31));
    assert_eq!(wire.phones[B].count("BYE"), 0);
    wire.finish();
    assert_eq!(wire.phones[B].count("BYE"), 1);
    assert!(matches!(wire.phones[B].reason(), Some(EndReason::Failed { code: Some(408), .. })));
    assert_eq!(wire.phones[A].reason(), Some(&EndReason::RemoteHangup));
    // T1, then doubled up to T2: 11 copies in 32 s (RFC 3261 §13.3.1.4).
    assert_eq!(wire.phones[B].count("SIP/2.0 200 OK"), 11);
}

#[test]
fn nobody_answers_in_time_on_either_side() {
    for (caller, callee) in [(10, 60), (60, 10)] {
        let mut wire = Wire::new(25 + caller);
        wire.phones[A].config.ring_timeout = Some(Duration::from_secs(caller));
        wire.phones[B].config.ring_timeout = Some(Duration::from_secs(callee));
        wire.dial(Opening::Offer);
        wire.finish();
        assert_eq!(wire.phones[A].reason(), Some(&EndReason::NoAnswer));
        let there = if caller < callee { EndReason::Cancelled } else { EndReason::NoAnswer };
        assert_eq!(wire.phones[B].reason(), Some(&there));
    }
}

#[test]
fn nothing_comes_back_at_all() {
    let mut wire = Wire::new(27);
    wire.loss = 100;
    wire.dial(Opening::Offer);
    wire.finish();
    assert_eq!(wire.phones[A].reason(), Some(&EndReason::TimedOut));
    assert!(wire.phones[B].call.is_none());
}

#[test]
fn s14_a_call_that_lasts_too_long_ends() {
    let mut wire = Wire::new(28);
    wire.phones[A].config.call_timeout = Some(Duration::from_secs(30));
    wire.settle();
    wire.finish();
    assert_eq!(ended(&wire), (Some(&EndReason::CallTimeout), Some(&EndReason::RemoteHangup)));
}
