//! Flows that break, that are left, and requests that come once more by another one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm)]

mod bench;

use bench::*;
use wakeline_flow::FlowId;
use wakeline_sip_message::Method;
use wakeline_sip_transaction::*;

#[test]
fn merged_request_is_482_while_the_first_flow_lives_and_delivered_when_it_is_dead() {
    let mut bench = Bench::new(Config::default());
    bench.receive(UDP(1), incoming(Method::Invite, "z9hG4bK1"));
    let (first, _) = bench.request();
    bench.receive(UDP(2), incoming(Method::Invite, "z9hG4bK2"));
    assert_eq!((bench.statuses(), bench.events.len()), (vec![(0, 482)], 0));
    bench.receive(UDP(2), incoming(Method::Ack, "z9hG4bK2"));
    assert!(bench.events.is_empty(), "its ACK is absorbed");
    bench.table.handle_flow_failed(bench.now, FlowId(1));
    bench.drain();
    assert_eq!(bench.told(), ["flow lost"]);
    bench.receive(UDP(3), incoming(Method::Invite, "z9hG4bK3"));
    assert!(matches!(bench.events.last(), Some(Event::Request { merges: Some(key), .. }) if *key == first));
}

#[test]
fn a_server_delivers_merged_requests_with_a_note() {
    let mut bench = Bench::new(Config { trying: None, ..Config::server() });
    bench.receive(UDP(1), incoming(Method::Invite, "z9hG4bK1"));
    let (first, _) = bench.request();
    bench.receive(UDP(2), incoming(Method::Invite, "z9hG4bK2"));
    assert!(matches!(bench.events.last(), Some(Event::Request { merges: Some(key), .. }) if *key == first));
}

#[test]
fn flow_fails_and_every_client_transaction_on_it_is_told_at_once() {
    let mut bench = Bench::new(Config::default());
    bench.send(Method::Invite, TCP(1));
    bench.send(Method::Register, TCP(1));
    bench.send(Method::Register, TCP(2));
    bench.table.handle_flow_failed(bench.now, FlowId(1));
    bench.drain();
    let failed = ["transport failed", "terminated", "transport failed", "terminated"];
    assert_eq!(bench.told(), failed);
    assert_eq!(bench.table.gauges().client, 1);
}

#[test]
fn flow_lost_under_an_invite_moves_to_another_and_repeats_the_last_response() {
    let mut bench = Bench::new(Config::default());
    bench.receive(TCP(1), incoming(Method::Invite, "z9hG4bK1"));
    let (key, request) = bench.request();
    bench.respond(key, &request, 180).unwrap();
    bench.table.handle_flow_failed(bench.now, FlowId(1));
    bench.drain();
    assert_eq!((bench.told(), bench.table.reply_flow(key)), (vec!["flow lost"], None));
    bench.table.move_to(key, &TCP(2)).unwrap();
    bench.drain();
    bench.respond(key, &request, 200).unwrap();
    let places: Vec<u64> = bench.sent.iter().map(|(_, flow, _)| flow.0).collect();
    assert_eq!(places, [1, 2, 2]);
}

/// The copies of the responses that left on a flow.
fn statuses_on(bench: &Bench, flow: u64) -> Vec<u16> {
    let there = bench.sent.iter().filter(|(_, on, _)| *on == FlowId(flow));
    there.filter_map(|(_, _, sent)| sent.status()).collect()
}

/// RFC 3261 §18.2.2: the way of a response is that of its request, for as long as it is open.
#[test]
fn leave_flow_and_what_came_there_is_still_answered_there() {
    let mut bench = Bench::new(Config::default());
    bench.receive(UDP(1), incoming(Method::Invite, "z9hG4bK1"));
    let (key, request) = bench.request();
    bench.table.leave_flow(FlowId(1));
    bench.drain();
    assert_eq!((bench.told(), bench.table.reply_flow(key).map(|flow| flow.id)), (vec![], Some(FlowId(1))));
    assert!(bench.table.owes_answers_on(FlowId(1)));
    // 100 by itself, 180, and again for a copy; the 200, and its repetition by the user (RFC 6026 §7.1).
    bench.run_until(200);
    bench.respond(key, &request, 180).unwrap();
    bench.receive(UDP(1), incoming(Method::Invite, "z9hG4bK1"));
    bench.respond(key, &request, 200).unwrap();
    bench.run_until(700);
    bench.respond(key, &request, 200).unwrap();
    assert_eq!(statuses_on(&bench, 1), [100, 180, 180, 200, 200]);
    bench.run_until(60_000);
    bench.assert_empty();
}

/// Timer G and the final response of another request go on as if nothing were.
#[test]
fn leave_flow_and_final_responses_are_repeated_there() {
    let mut bench = Bench::new(Config::default());
    bench.receive(UDP(1), incoming(Method::Invite, "z9hG4bK1"));
    let (invite, request) = bench.request();
    bench.respond(invite, &request, 486).unwrap();
    bench.receive(UDP(1), incoming(Method::Options, "z9hG4bK2"));
    let (options, request) = bench.request();
    bench.respond(options, &request, 200).unwrap();
    bench.sent.clear();
    bench.table.leave_flow(FlowId(1));
    bench.receive(UDP(1), incoming(Method::Options, "z9hG4bK2"));
    bench.run_until(1500);
    assert_eq!(statuses_on(&bench, 1), [200, 486, 486]);
    bench.receive(UDP(1), incoming(Method::Ack, "z9hG4bK1"));
    bench.run_until(60_000);
    assert_eq!(statuses_on(&bench, 1).len(), 3, "the ACK ended it");
    bench.assert_empty();
}

/// The copy that another flow brings is handed up with a note, and both are answered where they came.
#[test]
fn leave_flow_and_the_copy_elsewhere_is_no_merged_request() {
    let mut bench = Bench::new(Config::default());
    bench.receive(UDP(1), incoming(Method::Invite, "z9hG4bK1"));
    let (first, request) = bench.request();
    bench.table.leave_flow(FlowId(1));
    bench.receive(UDP(2), incoming(Method::Invite, "z9hG4bK2"));
    let Some(Event::Request { key: second, request: copy, merges, .. }) = bench.events.pop() else {
        panic!()
    };
    assert_eq!(merges, Some(first));
    bench.respond(first, &request, 482).unwrap();
    bench.respond(second, &copy, 200).unwrap();
    assert_eq!((statuses_on(&bench, 1), statuses_on(&bench, 2)), (vec![482], vec![200]));
    // One more while the second one's flow is in use is merged.
    bench.receive(UDP(3), incoming(Method::Invite, "z9hG4bK3"));
    assert_eq!(statuses_on(&bench, 3), [482]);
}

/// A CANCEL is answered on the flow that it came on, and its INVITE on its own.
#[test]
fn leave_flow_and_a_late_cancel_ends_the_invite() {
    let mut bench = Bench::new(Config::default());
    bench.receive(UDP(1), incoming(Method::Invite, "z9hG4bK1"));
    let (key, request) = bench.request();
    bench.table.leave_flow(FlowId(1));
    bench.receive(UDP(1), incoming(Method::Cancel, "z9hG4bK1"));
    assert_eq!(bench.told(), ["cancelled"]);
    bench.respond(key, &request, 487).unwrap();
    assert_eq!(statuses_on(&bench, 1), [200, 487]);
}

/// What is left may still break: then it is lost as any other.
#[test]
fn leave_flow_and_then_it_breaks() {
    let mut bench = Bench::new(Config::default());
    bench.receive(TCP(1), incoming(Method::Invite, "z9hG4bK1"));
    let (key, request) = bench.request();
    bench.table.leave_flow(FlowId(1));
    bench.table.handle_flow_failed(bench.now, FlowId(1));
    bench.drain();
    assert_eq!((bench.told(), bench.table.reply_flow(key)), (vec!["flow lost"], None));
    assert!(!bench.table.owes_answers_on(FlowId(1)));
    bench.respond(key, &request, 200).unwrap();
    assert!(bench.sent.is_empty());
    bench.table.move_to(key, &TCP(2)).unwrap();
    bench.drain();
    assert_eq!(statuses_on(&bench, 2), [200]);
}
