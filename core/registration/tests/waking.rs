//! Pushes and sleep (RFC 8599 §4.1): what a wake joins, what it gives up, and what it does not wait for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test program")]

mod bench;

use std::time::Duration;

use bench::*;
use wakeline_flow::FlowId;
use wakeline_push::WakeState;
use wakeline_registration::*;
use wakeline_sip_message::Name;

#[test]
fn suspend_then_resume_and_push_at_once_is_one_flow_and_one_register() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.pass(Duration::from_secs(7200));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    bench.act(|machine, now| machine.resume(now));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    bench.open();
    bench.act(|machine, now| machine.resume(now));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    assert_eq!((bench.sent.len(), bench.opening), (1, 0));
}

#[test]
fn two_pushes_for_two_calls_each_ask_for_their_state() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    bench.open();
    bench.act(|machine, now| machine.wake(now, Some(wid("BBBBBBBBBBBBBBBB"))));
    assert_eq!(bench.last().header_by_name("X-Wake-Id"), Some("AAAAAAAAAAAAAAAA"));
    let states = [(Name::parse("X-Wake-State").unwrap(), "AAAAAAAAAAAAAAAA=cancelled")];
    bench.answer(200, &states);
    let told = Event::WakeStates(vec![(wid("AAAAAAAAAAAAAAAA"), WakeState::Cancelled)]);
    assert!(bench.events.contains(&told));
    assert_eq!(bench.last().header_by_name("X-Wake-Id"), Some("BBBBBBBBBBBBBBBB"));
    bench.answer(200, &[]);
    assert_eq!(bench.sent.len(), 2);
}

#[test]
fn push_while_the_old_flow_seems_alive_registers_on_a_fresh_one() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.pass(Duration::from_secs(60));
    bench.act(|machine, now| machine.wake(now, None));
    let fresh = bench.open();
    assert!(bench.closed.is_empty(), "an INVITE may still come on the old one");
    bench.accept();
    assert_eq!((bench.closed.as_slice(), bench.machine.flow()), (&[FlowId(1)][..], Some(fresh)));
}

#[test]
fn push_within_a_refresh_on_a_dead_flow_starts_over() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.next();
    assert_eq!((bench.sent.len(), bench.opening), (1, 0));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    bench.open();
    assert_eq!((bench.sent.len(), bench.closed.as_slice()), (2, &[FlowId(1)][..]));
    assert_eq!(bench.last().header_by_name("X-Wake-Id"), Some("AAAAAAAAAAAAAAAA"));
}

#[test]
fn a_wake_whose_handshake_hangs_asks_for_another_flow_after_two_seconds() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.wake(now, None));
    assert_eq!((bench.next(), bench.opening), (Duration::from_secs(2), 2));
    assert_eq!((bench.next(), bench.opening), (Duration::from_secs(2), 3));
    assert_eq!(bench.machine.poll_timeout(), None, "three at once are enough");
    let first = bench.open_one();
    assert_eq!((bench.sent.len(), bench.sent[0].1), (1, first));
    // Whatever else opens now is closed, and whatever does not is no failure.
    let second = bench.open_one();
    bench.opening -= 1;
    bench.act(|machine, now| machine.flow_not_opened(now));
    assert_eq!((bench.sent.len(), bench.closed.last()), (1, Some(&second.id)));
    bench.accept();
    assert_eq!(bench.machine.phase(), Phase::Registered);
}

#[test]
fn without_a_push_one_flow_is_waited_for() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.network_changed(now));
    assert_eq!((bench.machine.poll_timeout(), bench.opening), (None, 1));
}

#[test]
fn a_refused_handshake_beside_a_hanging_one_is_not_repeated_at_once() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.wake(now, None));
    for _ in 0..20 {
        assert_eq!((bench.next(), bench.opening), (Duration::from_secs(2), 2));
        bench.opening -= 1;
        bench.act(|machine, now| machine.flow_not_opened(now));
        assert_eq!(bench.events, [], "the other one may still open");
    }
}

#[test]
fn a_wake_that_nobody_answers_gives_up_its_flow_after_four_seconds_and_then_eight() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    for (nth, seconds) in [4, 8, 16, 32].into_iter().enumerate() {
        let flow = bench.open();
        assert_eq!(bench.last().header_by_name("X-Wake-Id"), Some("AAAAAAAAAAAAAAAA"));
        assert_eq!((bench.next(), bench.sent.len()), (Duration::from_secs(seconds), nth + 1));
        assert_eq!(bench.closed.last(), Some(&flow.id));
    }
    bench.open();
    bench.accept();
    assert_eq!((bench.machine.phase(), bench.sent.len()), (Phase::Registered, 5));
}

#[test]
fn a_refresh_that_no_push_waits_for_is_left_to_its_transaction() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    assert_eq!(bench.machine.poll_timeout(), None);
}

#[test]
fn a_wake_that_joins_a_register_is_answered_by_it_or_by_the_next_one() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.pass(Duration::from_secs(2));
    bench.act(|machine, now| machine.wake(now, None));
    assert_eq!(bench.next(), Duration::from_secs(2), "four seconds after it left");
    bench.open();
    assert_eq!(bench.sent.len(), 2);
}

#[test]
fn suspend_before_the_pushs_register_left_waits_for_it_and_rests_then() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.pass(Duration::from_secs(60));
    bench.act(|machine, now| machine.wake(now, None));
    bench.act(|machine, now| machine.suspend(now));
    assert!(bench.machine.awaits_flow());
    let flow = bench.open();
    assert_eq!(bench.sent.len(), 1);
    bench.accept();
    assert_eq!((bench.machine.phase(), bench.closed.last()), (Phase::Suspended, Some(&flow.id)));
    assert_eq!(bench.machine.poll_timeout(), None);
}

#[test]
fn suspend_while_a_push_waits_then_resume_stays_awake() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.wake(now, None));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.resume(now));
    bench.open();
    bench.accept();
    assert_eq!(bench.machine.phase(), Phase::Registered);
}

#[test]
fn suspend_without_a_push_gives_up_the_flow_that_is_being_opened() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.act(|machine, now| machine.suspend(now));
    assert_eq!((bench.machine.phase(), bench.machine.awaits_flow()), (Phase::Suspended, false));
    let late = bench.open();
    assert_eq!((bench.sent.len(), bench.closed.as_slice()), (0, &[late.id][..]));
}

#[test]
fn refresh_push_without_a_call_registers_too() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.pass(Duration::from_secs(3600));
    bench.act(|machine, now| machine.wake(now, None));
    bench.open();
    assert_eq!((bench.sent.len(), bench.last().header_by_name("X-Wake-Id")), (1, None));
}

#[test]
fn refresh_push_joins_the_register_that_is_out_unless_that_is_unanswered_for_three_seconds() {
    for (waited, sent) in [(2900, 1), (3100, 2)] {
        let mut bench = Bench::new(config(), None);
        bench.act(|machine, now| machine.start(now));
        let first = bench.open();
        bench.pass(Duration::from_millis(waited));
        bench.act(|machine, now| machine.wake(now, None));
        if sent == 2 {
            assert_eq!(bench.closed, [first.id], "the flow is taken for dead");
            bench.open();
        }
        assert_eq!((bench.sent.len(), bench.opening), (sent, 0), "after {waited} ms");
    }
}

/// Race of a lost REGISTER with the next push: whoever pushed waits 5 s, from each of its pushes.
#[test]
fn push_that_comes_again_begins_the_patience_anew() {
    for (again, waits) in [(false, 8), (true, 4)] {
        let mut bench = Bench::registered(config(), Some(token("t1")));
        bench.act(|machine, now| machine.suspend(now));
        bench.act(|machine, now| machine.wake(now, None));
        let first = bench.open();
        assert_eq!(bench.next(), Duration::from_secs(4));
        let second = bench.open();
        assert_eq!((bench.sent.len(), bench.closed.last()), (2, Some(&first.id)), "the first is given up");
        if again {
            bench.act(|machine, now| machine.wake(now, None));
        }
        assert_eq!(bench.next(), Duration::from_secs(waits));
        assert_eq!(bench.closed.last(), Some(&second.id));
    }
}
