//! Flows that die, registrars that refuse, clocks and peers that want harm; named after their class.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test program")]

mod bench;

use std::time::Duration;

use bench::*;
use wakeline_clock::{Time, WallTime};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_push::WakeId;
use wakeline_registration::*;
use wakeline_sip_auth::{AuthError, Credentials};
use wakeline_sip_message::Name;

#[test]
fn f14_423_with_a_lower_minimum_is_no_loop() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(423, &[(Name::MinExpires, "60")]);
    assert_eq!((bench.sent.len(), bench.machine.phase()), (1, Phase::Failed));
}

#[test]
fn s26_a_refresh_slept_through_is_one_register_on_a_fresh_flow_at_once() {
    for slept in [60, 600, 7200, 30 * 86_400] {
        let mut bench = Bench::registered(config(), None);
        let due = bench.machine.poll_timeout().unwrap();
        bench.now = due + Duration::from_secs(slept);
        for _ in 0..3 {
            bench.act(|machine, now| machine.handle_timeout(now));
        }
        bench.open();
        bench.act(|machine, now| machine.handle_timeout(now));
        assert_eq!(bench.sent.len(), 1);
        bench.accept();
        assert_eq!(bench.machine.phase(), Phase::Registered);
    }
}

#[test]
fn s26_a_wall_clock_that_jumps_moves_no_timer() {
    let mut bench = Bench::registered(config(), None);
    let due = bench.machine.poll_timeout();
    bench.wall = WallTime(0);
    bench.act(|machine, now| machine.handle_timeout(now));
    assert_eq!((bench.machine.poll_timeout(), bench.sent.len()), (due, 0));
}

#[test]
fn f6_flow_lost_reopens_within_ten_seconds_spread_over_them() {
    let mut waits = Vec::new();
    for seed in 0..200 {
        let mut bench = Bench::registered(config(), None);
        bench.machine = Registration::new(config(), None, Entropy::from_number(seed));
        bench.act(|machine, now| machine.start(now));
        let flow = bench.open();
        bench.accept();
        bench.act(|machine, now| machine.flow_lost(now, flow.id));
        assert_eq!(bench.machine.phase(), Phase::Registering);
        waits.push(bench.next());
        bench.open();
        bench.accept();
    }
    waits.sort();
    assert!(waits[199] <= Duration::from_secs(10));
    assert!(waits[199] - waits[0] > Duration::from_secs(6), "no herd: {:?}..{:?}", waits[0], waits[199]);
}

#[test]
fn f14_a_wrong_password_is_told_and_not_tried_again() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(401, &[(Name::WwwAuthenticate, CHALLENGE)]);
    bench.answer(401, &[(Name::WwwAuthenticate, &CHALLENGE.replace("n1", "n2"))]);
    let told =
        Event::Failed { cause: Cause::Auth { error: AuthError::Rejected, code: Some(401) }, retry_at: None };
    assert_eq!(bench.events, [told]);
    assert_eq!((bench.sent.len(), bench.machine.poll_timeout()), (2, None));
    assert_eq!(bench.closed, [FlowId(1)]);
    let right = AccountConfig { credentials: Credentials::password("mia", "right"), ..config() };
    bench.act(|machine, now| machine.reconfigure(now, right, Edge::Same));
    bench.open();
    assert_eq!(bench.sent.len(), 3);
}

#[test]
fn f14_at_most_ten_requests_in_a_minute_whatever_the_registrar_says() {
    for code in [401u16, 408, 423, 430, 439, 480, 500, 503, 555, 600] {
        let untiring = AccountConfig { reregister: Reregister::Always, ..config() };
        let mut bench = Bench::new(untiring, None);
        bench.act(|machine, now| machine.set_push(now, Some(token("t1"))));
        bench.act(|machine, now| machine.start(now));
        let mut times: Vec<Time> = Vec::new();
        for nonce in 0..2000u32 {
            if bench.opening > 0 {
                bench.open();
            }
            while times.len() < bench.sent.len() {
                times.push(bench.now);
            }
            if bench.machine.phase() == Phase::Registering && bench.opening == 0 {
                let stale = format!("Digest realm=\"r\", nonce=\"{nonce}\", stale=true");
                let least = (3600 + nonce).to_string();
                bench.answer(code, &[(Name::WwwAuthenticate, &stale), (Name::MinExpires, &least)]);
            } else if bench.machine.poll_timeout().is_some() {
                bench.next();
            }
        }
        for window in times.windows(11) {
            assert!(window[10] - window[0] >= Duration::from_secs(60), "{code}: {window:?}");
        }
        assert!(times.len() < 2000);
    }
}

#[test]
fn f14_503_with_retry_after_is_honoured() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.network_changed(now));
    bench.open();
    bench.answer(503, &[(Name::RetryAfter, "300")]);
    let wait = bench.next();
    assert!(wait >= Duration::from_secs(300) && wait < Duration::from_secs(301), "{wait:?}");
    bench.open();
    bench.accept();
    assert_eq!(bench.machine.phase(), Phase::Registered);
}

#[test]
fn no_answer_backs_off_by_doubling_and_a_wake_cuts_it_short() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.network_changed(now));
    let mut waits = Vec::new();
    for _ in 0..6 {
        bench.open();
        bench.act(|machine, now| machine.timed_out(now));
        assert!(matches!(bench.events.pop(), Some(Event::Failed { cause: Cause::TimedOut, .. })));
        waits.push(bench.next());
    }
    assert!(waits[5] > waits[0] * 8, "{waits:?}");
    bench.opening -= 1;
    bench.act(|machine, now| machine.flow_not_opened(now));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    bench.open();
}

#[test]
fn a_wake_that_finds_no_network_tries_again_within_two_seconds() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
    bench.opening -= 1;
    bench.act(|machine, now| machine.flow_not_opened(now));
    assert!(bench.next() <= Duration::from_secs(2));
    bench.open();
    assert_eq!(bench.last().header_by_name("X-Wake-Id"), Some("AAAAAAAAAAAAAAAA"));
}

#[test]
fn f1_network_changed_gives_up_even_a_flow_that_was_proven_a_moment_ago() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.resume(now));
    assert_eq!((bench.opening, bench.sent.len()), (0, 0), "a return finds a proven flow");
    bench.act(|machine, now| machine.network_changed(now));
    let fresh = bench.open();
    assert_eq!((bench.sent.len(), bench.sent[0].1), (1, fresh));
}

#[test]
fn f1_network_changed_moves_the_binding_to_a_fresh_flow() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.network_changed(now));
    bench.open();
    bench.act(|machine, now| machine.network_changed(now));
    assert_eq!(bench.closed, [FlowId(2), FlowId(1)]);
    bench.open();
    bench.accept();
    assert_eq!(bench.machine.flow().map(|flow| flow.id), Some(FlowId(3)));
}

#[test]
fn s23_no_token_or_password_in_any_debug_text() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("canary-token"))));
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(401, &[(Name::WwwAuthenticate, CHALLENGE)]);
    let shown = format!("{:?} {:?} {:?}", bench.sent, bench.remembered, config());
    for canary in ["canary-token", "secret\"", "n1\""] {
        assert!(!shown.contains(canary), "{canary}");
    }
}

#[test]
fn s8_settings_that_would_forge_a_header_line_make_no_register() {
    for (name, value) in [("x", "a\r\nRoute: <sip:evil>"), ("x\r\ny", "a"), ("x", "a;pn-prid=t\0")] {
        let mut account = config();
        account.contact_parameters = vec![(name.into(), Some(value.into()))];
        let mut bench = Bench::new(account, None);
        bench.act(|machine, now| machine.start(now));
        bench.open();
        assert!(bench.sent.is_empty());
        assert!(matches!(bench.events[..], [Event::Failed { cause: Cause::Settings(_), retry_at: None }]));
    }
}

/// 10,000 random orders of events: the machine never has two requests out, never asks for a second flow while one is
/// being opened (three, while a push waits), closes every flow in the end, and ends idle.
#[test]
fn s27_random_orders_of_events_end_idle_with_every_flow_closed() {
    for seed in 0..10_000u64 {
        let mut random = Entropy::from_number(seed);
        let mut bench = Bench::new(config(), None);
        let mut open: Vec<FlowInfo> = Vec::new();
        for step in 0..40 {
            match random.below(14) {
                0 => bench.act(|machine, now| machine.start(now)),
                1 => bench.act(|machine, now| machine.suspend(now)),
                2 => bench.act(|machine, now| machine.resume(now)),
                3 => bench.act(|machine, now| machine.network_changed(now)),
                4 => bench.act(|machine, now| machine.wake(now, Some(WakeId::of("c", &step.to_string())))),
                5 => bench.act(|machine, now| machine.set_push(now, Some(token(&step.to_string())))),
                6 => bench.act(|machine, now| machine.timed_out(now)),
                7 => {
                    if let Some(flow) = open.pop() {
                        bench.act(|machine, now| machine.flow_lost(now, flow.id));
                    }
                }
                8 if bench.opening > 0 => {
                    bench.opening -= 1;
                    bench.act(|machine, now| machine.flow_not_opened(now));
                }
                9 if bench.opening > 0 => {
                    open.push(bench.open_one());
                }
                10 if !bench.sent.is_empty() => bench.accept(),
                11 if !bench.sent.is_empty() => {
                    let code = [401, 403, 423, 430, 439, 503, 555][random.below(7) as usize];
                    bench.answer(code, &[(Name::WwwAuthenticate, CHALLENGE), (Name::MinExpires, "9000")]);
                }
                12 => bench.act(|machine, now| machine.unregister(now)),
                _ => {
                    let span = Duration::from_secs(u64::from(random.below(4000)));
                    bench.pass(span);
                    bench.act(|machine, now| machine.handle_timeout(now));
                }
            }
            assert!(bench.opening <= 3, "seed {seed}: flows asked for");
            open.retain(|flow| !bench.closed.contains(&flow.id));
        }
        bench.act(|machine, now| machine.unregister(now));
        for _ in 0..20 {
            if bench.machine.phase() == Phase::Idle && bench.opening == 0 {
                break;
            }
            if bench.opening > 0 {
                open.push(bench.open_one());
            } else {
                bench.act(|machine, now| machine.timed_out(now));
            }
        }
        open.retain(|flow| !bench.closed.contains(&flow.id));
        assert_eq!(bench.machine.phase(), Phase::Idle, "seed {seed}");
        assert_eq!(bench.machine.poll_timeout(), None, "seed {seed}");
        assert!(open.is_empty(), "seed {seed}: {open:?} stay open");
    }
}

#[test]
fn f5_a_hop_that_does_not_answer_is_left_for_the_next_within_four_seconds() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    let began = bench.now;
    bench.open_with(OtherHops::Left);
    bench.next();
    assert!(bench.now - began < Duration::from_secs(4), "{:?}", bench.now - began);
    assert_eq!(
        (bench.closed.as_slice(), bench.hops.as_slice()),
        (&[FlowId(1)][..], &[HopChoice::Best, HopChoice::Next][..])
    );
    assert_eq!((bench.machine.phase(), bench.events.len()), (Phase::Registering, 0));
    bench.open();
    assert_eq!(bench.sent.len(), 2);
    bench.accept();
    assert_eq!(bench.machine.phase(), Phase::Registered);
    // A refresh on the hop that works leaves it alone.
    bench.next();
    assert_eq!((bench.sent.len(), bench.machine.poll_timeout()), (3, None));
}

#[test]
fn f5_a_hop_that_breaks_or_says_503_is_left_for_the_next_at_once_and_the_last_one_fails() {
    type Fault = fn(&mut Bench);
    let faults: [Fault; 3] = [
        |bench| bench.act(|machine, now| machine.transport_failed(now)),
        |bench| bench.act(|machine, now| machine.flow_lost(now, FlowId(1))),
        |bench| bench.answer(503, &[]),
    ];
    for fault in faults {
        let mut bench = Bench::new(config(), None);
        bench.act(|machine, now| machine.wake(now, Some(wid("AAAAAAAAAAAAAAAA"))));
        bench.open_with(OtherHops::Left);
        fault(&mut bench);
        assert_eq!(bench.hops, [HopChoice::Best, HopChoice::Next]);
        bench.open();
        // The next hop is told of the wake as well.
        assert_eq!(bench.last().header_by_name("X-Wake-Id"), Some("AAAAAAAAAAAAAAAA"));
        bench.answer(503, &[]);
        assert_eq!(bench.machine.phase(), Phase::Failed);
        assert_eq!(bench.hops.len(), 2);
    }
}

#[test]
fn f14_going_from_hop_to_hop_keeps_to_ten_requests_a_minute() {
    let untiring = AccountConfig { reregister: Reregister::Always, ..config() };
    let mut bench = Bench::new(untiring, None);
    bench.act(|machine, now| machine.start(now));
    let mut times = Vec::new();
    for _ in 0..60 {
        if bench.opening > 0 {
            bench.open_with(OtherHops::Left);
            times.push(bench.now);
            bench.answer(503, &[]);
        } else {
            bench.next();
        }
    }
    assert!(times.len() > 10);
    for window in times.windows(11) {
        assert!(window[10] - window[0] >= Duration::from_secs(60), "{window:?}");
    }
}

#[test]
fn s26_a_day_slept_through_while_the_register_was_out_is_one_register_at_once() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.network_changed(now));
    bench.open();
    bench.sent.clear();
    bench.pass(Duration::from_secs(86_400));
    bench.act(|machine, now| machine.timed_out(now));
    bench.act(|machine, now| machine.handle_timeout(now));
    bench.open();
    assert_eq!(bench.sent.len(), 1);
    bench.accept();
    assert_eq!((bench.machine.phase(), bench.sent.len()), (Phase::Registered, 1));
}
