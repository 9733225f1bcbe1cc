//! The table on virtual time: what leaves, when, and what is told.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm)]

mod bench;

use std::time::Duration;

use bench::*;
use bytes::Bytes;
use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, Transport};
use wakeline_sip_message::{Builder, Message, Method, Name};
use wakeline_sip_transaction::*;

#[test]
fn timers_a_and_b_invite_on_udp_without_answer() {
    let mut bench = Bench::new(Config::default());
    bench.send(Method::Invite, UDP(1));
    bench.run_until(31_999);
    assert_eq!(bench.times(&Method::Invite), [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
    assert!(bench.events.is_empty());
    bench.run_until(32_000);
    assert_eq!(bench.told(), ["timed out", "terminated"]);
    bench.assert_empty();
}

#[test]
fn timers_e_and_f_register_on_udp_without_answer() {
    let mut bench = Bench::new(Config::default());
    bench.send(Method::Register, UDP(1));
    bench.run_until(32_000);
    let expected = [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500];
    assert_eq!(bench.times(&Method::Register), expected);
    assert_eq!(bench.told(), ["timed out", "terminated"]);
    bench.assert_empty();
}

#[test]
fn timer_e_becomes_t2_after_a_provisional_response() {
    let mut bench = Bench::new(Config::default());
    bench.send(Method::Options, UDP(1));
    bench.now = Time::from_millis(100);
    bench.answer(UDP(1), 100, "");
    bench.run_until(10_000);
    assert_eq!(bench.times(&Method::Options), [0, 500, 4500, 8500]);
}

#[test]
fn reliable_transports_repeat_nothing_and_still_time_out() {
    for method in [Method::Invite, Method::Register] {
        let mut bench = Bench::new(Config::default());
        bench.send(method.clone(), TCP(1));
        bench.run_until(32_000);
        assert_eq!(bench.times(&method), [0]);
        assert_eq!(bench.told(), ["timed out", "terminated"]);
        bench.assert_empty();
    }
}

#[test]
fn invite_180_486_ack_timer_d_and_ack_again() {
    let mut bench = Bench::new(Config::default());
    bench.send(Method::Invite, UDP(1));
    bench.answer(UDP(1), 180, "b1");
    bench.run_until(1000);
    assert_eq!(bench.times(&Method::Invite), [0], "a provisional response ends timer A");
    bench.answer(UDP(1), 486, "b1");
    bench.answer(UDP(1), 486, "b1");
    assert_eq!(bench.told(), ["response", "response"]);
    assert_eq!(bench.times(&Method::Ack), [1000, 1000]);
    let (invite, ack) = (&bench.sent[0].2, &bench.sent[1].2);
    assert_eq!(ack.via().unwrap().as_str(), invite.via().unwrap().as_str());
    assert_eq!((ack.to_tag(), ack.cseq().unwrap().number), (Some("b1"), 1));
    assert_eq!(ack.request_uri_text(), invite.request_uri_text());
    bench.run_until(32_999);
    assert_eq!(bench.table.gauges().client, 1);
    bench.run_until(33_000);
    assert_eq!(bench.told().last(), Some(&"terminated"));
    bench.assert_empty();
}

#[test]
fn invite_two_200s_of_a_fork_both_go_up_until_timer_m() {
    let mut bench = Bench::new(Config::default());
    bench.send(Method::Invite, UDP(1));
    bench.answer(UDP(1), 200, "b1");
    bench.answer(UDP(1), 200, "b2");
    bench.answer(UDP(1), 486, "b3");
    assert_eq!(bench.told(), ["response", "response"]);
    assert!(bench.times(&Method::Ack).is_empty(), "the user acknowledges a 2xx");
    bench.run_until(32_000);
    bench.assert_empty();
    bench.answer(UDP(1), 200, "b1");
    assert_eq!(bench.told(), ["response", "response", "terminated", "stray"]);
}

#[test]
fn timer_k_absorbs_the_responses_that_come_again() {
    let mut bench = Bench::new(Config::default());
    bench.send(Method::Register, UDP(1));
    assert!(!bench.table.is_answered());
    bench.answer(UDP(1), 200, "b1");
    // Nobody needs to stay for the copies.
    assert!(bench.table.is_answered());
    bench.answer(UDP(1), 200, "b1");
    bench.run_until(4_999);
    assert_eq!((bench.told(), bench.table.gauges().client), (vec!["response"], 1));
    bench.run_until(5_000);
    bench.assert_empty();
}

#[test]
fn cancel_waits_for_the_first_provisional_response() {
    let mut bench = Bench::new(Config::default());
    let key = bench.send(Method::Invite, TCP(1));
    bench.table.cancel(bench.now, key, &[(Name::Reason, "SIP;cause=200".into())]).unwrap();
    bench.drain();
    assert!(bench.times(&Method::Cancel).is_empty());
    bench.now = Time::from_millis(50);
    bench.answer(TCP(1), 100, "");
    assert_eq!(bench.times(&Method::Cancel), [50]);
    let cancel = bench.sent.last().unwrap().2.clone();
    assert_eq!(cancel.via().unwrap().branch(), bench.sent[0].2.via().unwrap().branch());
    assert_eq!((cancel.header(Name::Reason), cancel.to_tag()), (Some("SIP;cause=200"), None));
    let ok = Builder::response(&cancel, 200, "").to_tag("x").build().unwrap();
    bench.receive(TCP(1), ok);
    bench.answer(TCP(1), 487, "b1");
    assert_eq!(bench.told(), ["response", "response", "terminated"], "of the CANCEL nothing is told");
    bench.assert_empty();
}

#[test]
fn cancel_that_a_200_crosses_is_not_sent() {
    let mut bench = Bench::new(Config::default());
    let key = bench.send(Method::Invite, TCP(1));
    bench.table.cancel(bench.now, key, &[]).unwrap();
    bench.answer(TCP(1), 200, "b1");
    assert!(bench.times(&Method::Cancel).is_empty());
}

#[test]
fn a_cancelled_invite_that_nobody_ends_is_over_after_64_t1() {
    let mut bench = Bench::new(Config::default());
    let key = bench.send(Method::Invite, TCP(1));
    bench.answer(TCP(1), 180, "b1");
    bench.run_until(10_000);
    bench.table.cancel(bench.now, key, &[]).unwrap();
    bench.table.cancel(bench.now, key, &[]).unwrap();
    bench.drain();
    assert_eq!(bench.times(&Method::Cancel), [10_000]);
    bench.run_until(42_000);
    assert_eq!(bench.told(), ["response", "timed out", "terminated"]);
    bench.assert_empty();
}

#[test]
fn server_says_100_after_200_ms_of_silence_and_repeats_what_it_said_last() {
    let mut bench = Bench::new(Config::default());
    let invite = incoming(Method::Invite, "z9hG4bK1");
    bench.receive(UDP(1), invite.clone());
    let (key, request) = bench.request();
    bench.receive(UDP(1), invite.clone());
    assert!(bench.sent.is_empty(), "nothing was said yet");
    bench.run_until(200);
    bench.receive(UDP(1), invite.clone());
    bench.respond(key, &request, 180).unwrap();
    bench.receive(UDP(1), invite);
    assert_eq!(bench.statuses(), [(200, 100), (200, 100), (200, 180), (200, 180)]);
    let bytes: Vec<_> = bench.sent.iter().map(|(_, _, sent)| sent.to_bytes()).collect();
    assert!(bytes[0] == bytes[1] && bytes[2] == bytes[3], "word for word");
    assert!(bench.events.is_empty());
}

#[test]
fn timers_g_and_h_486_on_udp_without_ack() {
    let mut bench = Bench::new(Config::default());
    bench.receive(UDP(1), incoming(Method::Invite, "z9hG4bK1"));
    let (key, request) = bench.request();
    bench.respond(key, &request, 486).unwrap();
    bench.run_until(31_999);
    let times: Vec<u64> = bench.statuses().iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [0, 500, 1500, 3500, 7500, 11_500, 15_500, 19_500, 23_500, 27_500, 31_500]);
    bench.run_until(32_000);
    assert_eq!(bench.told(), ["ack timed out", "terminated"]);
    bench.assert_empty();
}

#[test]
fn timer_i_486_ack_and_ack_again() {
    let mut bench = Bench::new(Config::default());
    bench.receive(UDP(1), incoming(Method::Invite, "z9hG4bK1"));
    let (key, request) = bench.request();
    bench.respond(key, &request, 486).unwrap();
    bench.receive(UDP(1), incoming(Method::Ack, "z9hG4bK1"));
    bench.receive(UDP(1), incoming(Method::Ack, "z9hG4bK1"));
    bench.run_until(4_999);
    assert_eq!((bench.statuses().len(), bench.table.gauges().server), (1, 1));
    bench.run_until(5_000);
    assert_eq!(bench.told(), ["terminated"], "the ACK is the table's own");
    bench.assert_empty();
}

#[test]
fn timer_l_200_is_repeated_by_the_user_and_absorbs_the_invite() {
    let mut bench = Bench::new(Config::default());
    let invite = incoming(Method::Invite, "z9hG4bK1");
    bench.receive(UDP(1), invite.clone());
    let (key, request) = bench.request();
    bench.respond(key, &request, 200).unwrap();
    bench.receive(UDP(1), invite);
    assert_eq!(bench.statuses(), [(0, 200)]);
    bench.respond(key, &request, 200).unwrap();
    assert_eq!(bench.statuses().len(), 2);
    assert!(matches!(bench.respond(key, &request, 486), Err(TransactionError::Complete)));
    bench.receive(UDP(1), incoming(Method::Ack, "z9hG4bK2"));
    assert_eq!(bench.told(), ["ack"]);
    bench.run_until(32_000);
    bench.assert_empty();
    assert!(matches!(bench.respond(key, &request, 200), Err(TransactionError::Gone)));
}

#[test]
fn timer_j_repeats_the_final_response() {
    let mut bench = Bench::new(Config::default());
    let options = incoming(Method::Options, "z9hG4bK1");
    bench.receive(UDP(1), options.clone());
    let (key, request) = bench.request();
    bench.receive(UDP(1), options.clone());
    bench.respond(key, &request, 200).unwrap();
    bench.run_until(31_999);
    bench.receive(UDP(1), options.clone());
    assert_eq!(bench.statuses(), [(0, 200), (31_999, 200)]);
    bench.run_until(32_000);
    bench.assert_empty();
    bench.receive(TCP(1), options);
    let (key, request) = bench.request();
    bench.respond(key, &request, 200).unwrap();
    bench.assert_empty();
}

#[test]
fn cancel_is_answered_here_and_its_invite_is_told_once() {
    let mut bench = Bench::new(Config::default());
    bench.receive(UDP(1), incoming(Method::Invite, "z9hG4bK1"));
    let (key, request) = bench.request();
    bench.respond(key, &request, 180).unwrap();
    let cancel = incoming(Method::Cancel, "z9hG4bK1");
    bench.receive(UDP(1), cancel.clone());
    bench.receive(UDP(1), cancel);
    assert_eq!(bench.told(), ["cancelled"]);
    assert_eq!(bench.statuses(), [(0, 180), (0, 200), (0, 200)]);
    assert_eq!(bench.sent[1].2.to_tag(), Some("b1"), "the tag of the INVITE's responses (§9.2)");
    bench.respond(key, &request, 487).unwrap();
    bench.receive(UDP(1), incoming(Method::Ack, "z9hG4bK1"));
    bench.run_until(64_000);
    assert_eq!(bench.told(), ["cancelled", "terminated"]);
    bench.assert_empty();
}

#[test]
fn cancel_after_the_200_is_answered_and_changes_nothing_and_of_nothing_is_481() {
    let mut bench = Bench::new(Config::default());
    bench.receive(UDP(1), incoming(Method::Invite, "z9hG4bK1"));
    let (key, request) = bench.request();
    bench.respond(key, &request, 200).unwrap();
    bench.receive(UDP(1), incoming(Method::Cancel, "z9hG4bK1"));
    bench.receive(UDP(1), incoming(Method::Cancel, "z9hG4bK7"));
    assert_eq!((bench.statuses(), bench.told().len()), (vec![(0, 200), (0, 200), (0, 481)], 0));
}

#[test]
fn a_peer_of_rfc_2543_is_matched_by_everything_else() {
    let mut bench = Bench::new(Config::default());
    let old = |method| plain(method, 1).header(Name::Via, "SIP/2.0/UDP 192.0.2.9:5070").build().unwrap();
    bench.receive(UDP(1), old(Method::Invite));
    let (key, request) = bench.request();
    bench.receive(UDP(1), old(Method::Invite));
    bench.respond(key, &request, 486).unwrap();
    let ack = |tag: &str| {
        old(Method::Ack).edit().replace(Name::To, format!("<sip:b@x>;tag={tag}")).finish().unwrap()
    };
    bench.receive(UDP(1), ack("other"));
    assert_eq!(bench.told(), ["ack"], "another response's ACK");
    bench.receive(UDP(1), ack("b1"));
    bench.run_until(5_000);
    assert_eq!(bench.told(), ["ack", "terminated"]);
    bench.assert_empty();
}

#[test]
fn received_and_rport_are_written_and_claims_of_the_sender_ignored() {
    let mut bench = Bench::new(Config { merged: Merged::Deliver, ..Config::default() });
    let mut via = |text: &str| {
        let via = format!("SIP/2.0/UDP {text}");
        bench.receive(UDP(1), plain(Method::Options, 1).header(Name::Via, via).build().unwrap());
        bench.request().1.via().unwrap().as_str().to_owned()
    };
    let named = "SIP/2.0/UDP phone.invalid;branch=z9hG4bKa;received=192.0.2.9;rport=5070";
    assert_eq!(via("phone.invalid;branch=z9hG4bKa;rport"), named);
    let natted = "SIP/2.0/UDP 10.9.9.9;branch=z9hG4bKb;received=192.0.2.9";
    assert_eq!(via("10.9.9.9;branch=z9hG4bKb;received=8.8.8.8"), natted);
    assert_eq!(via("192.0.2.9:5070;branch=z9hG4bKc"), "SIP/2.0/UDP 192.0.2.9:5070;branch=z9hG4bKc");
    let claimed = "SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKd;received=192.0.2.9;rport=5070";
    assert_eq!(via("192.0.2.9;branch=z9hG4bKd;received=8.8.8.8;rport=1"), claimed);
}

#[test]
fn more_than_1300_bytes_need_a_flow_that_controls_congestion() {
    let mut bench = Bench::new(Config::default());
    let large = plain(Method::Message, 1).body("text/plain", vec![b'x'; 1300]).build().unwrap();
    let by = SentBy::name("phone.invalid");
    let outcome = bench.table.send(bench.now, large.clone(), &UDP(1), &by);
    let Err(TransactionError::TooLargeForDatagram { bytes, request }) = outcome else {
        panic!("{outcome:?}")
    };
    assert!(bytes > 1300 && request == large);
    bench.assert_empty();
    assert!(bench.table.send(bench.now, request.clone(), &TCP(2), &by).is_ok());
    assert!(bench.table.send_of_any_size(bench.now, request, &UDP(1), &by).is_ok());
}

#[test]
fn s14_a_full_table_says_503_with_retry_after_or_nothing_and_recovers() {
    for overload in [Overload::Refuse { retry_after: 7 }, Overload::Silence] {
        let config = Config { max_servers: 2, overload, merged: Merged::Deliver, ..Config::default() };
        let mut bench = Bench::new(config);
        for branch in ["z9hG4bK1", "z9hG4bK2", "z9hG4bK3", "z9hG4bK3"] {
            bench.receive(UDP(1), incoming(Method::Options, branch));
        }
        let expected = if overload == Overload::Silence { vec![] } else { vec![(0, 503), (0, 503)] };
        assert_eq!((bench.statuses(), bench.table.gauges().server), (expected, 2));
        if let [one, two] = &bench.sent[..] {
            assert_eq!(one.2.header(Name::RetryAfter), Some("7"));
            assert_eq!(one.2.to_tag(), two.2.to_tag(), "the same answer to the same request (§8.2.7)");
        }
        for _ in 0..2 {
            let (key, request) = bench.request();
            bench.respond(key, &request, 200).unwrap();
        }
        bench.run_until(32_000);
        bench.assert_empty();
    }
}

#[test]
fn s26_after_a_long_sleep_every_transaction_ends_and_nothing_is_repeated() {
    let mut bench = Bench::new(Config::default());
    bench.send(Method::Invite, UDP(1));
    bench.send(Method::Register, UDP(1));
    bench.receive(UDP(1), incoming(Method::Invite, "z9hG4bK1"));
    let (key, request) = bench.request();
    bench.respond(key, &request, 486).unwrap();
    let sent = bench.sent.len();
    bench.now = Time::ZERO + Duration::from_secs(7200);
    bench.table.handle_timeout(bench.now);
    bench.drain();
    assert_eq!(bench.sent.len(), sent, "no storm");
    bench.assert_empty();
}

#[test]
fn what_cannot_be_read_well_enough_is_dropped() {
    let mut bench = Bench::new(Config::default());
    for text in [
        "OPTIONS sip:x SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n",
        "OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\r\n",
        "SIP/2.0 200 OK\r\nCSeq: 1 OPTIONS\r\n\r\n",
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\r\n",
    ] {
        bench.receive(UDP(1), Message::parse(Bytes::from_static(text.as_bytes())).unwrap());
    }
    assert!(bench.events.is_empty() && bench.sent.is_empty());
    bench.assert_empty();
}

#[test]
fn s14_a_hundred_thousand_transactions_end_with_nothing_left() {
    let mut bench = Bench::new(Config::server());
    for number in 0..100_000 {
        let request = incoming(Method::Options, &format!("z9hG4bK{number}"));
        bench.table.handle_received(bench.now, &UDP(number % 8), request);
    }
    assert_eq!(bench.table.gauges().server, 100_000);
    while let Some(event) = bench.table.poll_event() {
        if let Event::Request { key, request, .. } = event {
            let response = Builder::response(&request, 200, "").to_tag("t").build().unwrap();
            bench.table.respond(bench.now, key, response).unwrap();
        }
    }
    assert_eq!(bench.table.gauges().timers, 100_000);
    bench.table.handle_timeout(Time::from_millis(32_000));
    bench.assert_empty();
}

/// Two tables and a network that loses, repeats and reorders; users that answer, cancel and lose flows at random.
#[test]
fn s27_random_interleavings_end_with_all_gauges_at_zero() {
    for seed in 0..2_000u64 {
        let mut random = Entropy::from_number(seed);
        let transport = if random.below(2) == 0 { Transport::Udp } else { Transport::Tcp };
        let on = flow(1, transport);
        let new = |seed| Transactions::new(Config::default(), Entropy::from_number(seed));
        let (mut caller, mut callee) = (new(seed), new(seed + 1_000_000));
        let mut now = Time::ZERO;
        let (mut to_callee, mut to_caller): (Vec<Bytes>, Vec<Bytes>) = (Vec::new(), Vec::new());
        let mut clients: Vec<ClientKey> = Vec::new();
        let mut servers: Vec<(ServerKey, Message)> = Vec::new();
        let (mut failed, mut ended) = (0, 0);
        let pick = |random: &mut Entropy, len: usize| random.below(len as u32) as usize;
        for step in 0..150u32 {
            match random.below(12) {
                0..=2 if !to_callee.is_empty() => {
                    let place = pick(&mut random, to_callee.len());
                    let bytes = to_callee[place].clone();
                    if random.below(10) > 0 {
                        to_callee.remove(place);
                    }
                    if random.below(10) < 7 {
                        callee.handle_received(now, &on, Message::parse(bytes).unwrap());
                    }
                }
                3..=5 if !to_caller.is_empty() => {
                    let bytes = to_caller.remove(pick(&mut random, to_caller.len()));
                    caller.handle_received(now, &on, Message::parse(bytes).unwrap());
                }
                6 if !servers.is_empty() => {
                    let (key, request) = servers[pick(&mut random, servers.len())].clone();
                    let code = [100, 180, 200, 200, 404, 486, 603][random.below(7) as usize];
                    let response = Builder::response(&request, code, "").to_tag("t").build().unwrap();
                    drop(callee.respond(now, key, response));
                }
                7 => {
                    now += Duration::from_millis(u64::from(random.below(900)));
                    caller.handle_timeout(now);
                    callee.handle_timeout(now);
                }
                8 | 9 if step < 70 => {
                    let method = if random.below(2) == 0 { Method::Invite } else { Method::Info };
                    let request = plain(method, step + 1).build().unwrap();
                    clients.push(caller.send(now, request, &on, &SentBy::name("a.invalid")).unwrap());
                }
                10 if !clients.is_empty() => {
                    drop(caller.cancel(now, clients[pick(&mut random, clients.len())], &[]));
                }
                11 if random.below(8) == 0 => {
                    caller.handle_flow_failed(now, FlowId(1));
                    callee.handle_flow_failed(now, FlowId(1));
                }
                _ => {}
            }
            for (table, wire) in [(&mut caller, &mut to_callee), (&mut callee, &mut to_caller)] {
                wire.extend(std::iter::from_fn(|| table.poll_transmit()).map(|transmit| transmit.bytes));
                while let Some(event) = table.poll_event() {
                    match event {
                        Event::Request { key, request, .. } => servers.push((key, request)),
                        Event::TimedOut { .. } | Event::TransportFailed { .. } => failed += 1,
                        Event::Terminated { key: Key::Client(_) } => ended += 1,
                        _ => {}
                    }
                }
            }
        }
        // The users finish what they have; then time runs out.
        for (key, request) in &servers {
            let response = Builder::response(request, 480, "").to_tag("t").build().unwrap();
            drop(callee.respond(now, *key, response));
        }
        for key in &clients {
            drop(caller.cancel(now, *key, &[]));
        }
        while let Some(due) = wakeline_clock::earliest(caller.poll_timeout(), callee.poll_timeout()) {
            now = now.max(due);
            caller.handle_timeout(now);
            callee.handle_timeout(now);
        }
        while let Some(event) = caller.poll_event() {
            match event {
                Event::TimedOut { .. } | Event::TransportFailed { .. } => failed += 1,
                Event::Terminated { key: Key::Client(_) } => ended += 1,
                _ => {}
            }
        }
        assert_eq!(ended, clients.len(), "seed {seed}: every transaction ends once");
        assert!(failed <= clients.len(), "seed {seed}");
        for table in [&caller, &callee] {
            assert_eq!(table.gauges(), Gauges::default(), "seed {seed}");
            assert!(!table.is_flow_used(FlowId(1)), "seed {seed}");
        }
    }
}
