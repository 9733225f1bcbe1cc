//! Conferences: by the person's wish, and by a caller who asks to join a call (RFC 3911).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use scripted::{Phone, account, in_dialog, invite};
use wakeline_sip_message::{Message, Method, Name};
use wakeline_user_agent::*;

/// Bob calls and is answered: the phone, the call, and our 200.
fn talking(more: &[(&str, &str)]) -> (Phone, CallId, Message) {
    let mut phone = Phone::registered(vec![account("mia", more)]);
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia", "c1"));
    let call = phone.calls()[0].call;
    phone.command(Command::Answer { call });
    let ok = phone.response(&Method::Invite, 200);
    phone.receive(flow, &in_dialog(Method::Ack, &ok, 1, "ack"));
    phone.forget();
    (phone, call, ok)
}

/// An INVITE of another caller's who wants to take part in the dialog that this 200 opened.
fn join(ok: &Message, call_id: &str) -> Message {
    let (local, remote) = (ok.to_tag().unwrap(), ok.from_tag().unwrap());
    let value = format!("{};to-tag={local};from-tag={remote}", ok.call_id());
    let plain = invite("mia", call_id);
    plain.edit().prepend(Name::Join, value).prepend(Name::Require, "join").finish().unwrap()
}

fn in_conference(phone: &Phone) -> Vec<CallId> {
    phone.calls().iter().filter(|call| call.in_conference).map(|call| call.call).collect()
}

fn asked(phone: &Phone) -> Vec<(CallId, bool)> {
    let mix = |(call, asked): &(CallId, MediaRequest)| {
        if let MediaRequest::Conference { on } = asked { Some((*call, *on)) } else { None }
    };
    phone.media.iter().filter_map(mix).collect()
}

#[test]
fn whoever_asks_to_join_rings_and_is_let_in_by_the_answer_alone() {
    // Neither busy nor automatic answers count: it is about this very call, and about its secrecy.
    for more in [&[][..], &[("rejectonbusy", "true")], &[("autoaccept", "true")]] {
        let (mut phone, first, ok) = talking(more);
        let flow = phone.last_flow();
        phone.receive(flow, &join(&ok, "c2"));
        phone.pass(std::time::Duration::from_secs(5));
        let rings = phone.rings();
        assert_eq!((rings.len(), rings[0].joins), (1, Some(first)), "{more:?}");
        assert_eq!(in_conference(&phone), []);
        let second = rings[0].call;
        phone.command(Command::Answer { call: second });
        assert_eq!(in_conference(&phone), [first, second]);
        assert_eq!(asked(&phone), [(first, true), (second, true)]);
        let ok = phone.response(&Method::Invite, 200);
        phone.receive(flow, &in_dialog(Method::Ack, &ok, 1, "ack2"));
        // Who is left is alone again, and the next call is not mixed with it.
        phone.receive(flow, &in_dialog(Method::Bye, &ok, 2, "bye"));
        assert_eq!(in_conference(&phone), []);
        assert_eq!(asked(&phone).last(), Some(&(first, false)));
        phone.command(Command::Stop);
        phone.accept_registers();
    }
}

#[test]
fn a_join_that_is_declined_leaves_the_call_as_it_was() {
    let (mut phone, first, ok) = talking(&[]);
    let flow = phone.last_flow();
    phone.receive(flow, &join(&ok, "c2"));
    let second = phone.rings()[0].call;
    phone.command(Command::Decline { call: second });
    assert_eq!(phone.responses(&Method::Invite).last(), Some(&603));
    assert_eq!((asked(&phone), in_conference(&phone)), (vec![], vec![]));
    assert_eq!(phone.calls().iter().map(|call| call.call).collect::<Vec<_>>(), [first]);
}

#[test]
fn a_join_of_no_call_meets_481_and_of_one_that_is_ending_603() {
    let (mut phone, first, ok) = talking(&[]);
    let flow = phone.last_flow();
    let unknown = join(&ok, "c2").edit().replace(Name::Join, "x@y;to-tag=a;from-tag=b").finish().unwrap();
    phone.receive(flow, &unknown);
    assert_eq!(phone.responses(&Method::Invite).last(), Some(&481));
    phone.command(Command::Hangup { call: first });
    phone.receive(flow, &join(&ok, "c3"));
    assert_eq!(phone.responses(&Method::Invite).last(), Some(&603));
    assert_eq!(phone.rings().len(), 0);
}

#[test]
fn when_the_joined_call_ended_meanwhile_the_answer_is_that_of_a_plain_call() {
    let (mut phone, _, ok) = talking(&[]);
    let flow = phone.last_flow();
    phone.receive(flow, &join(&ok, "c2"));
    let second = phone.rings()[0].call;
    phone.receive(flow, &in_dialog(Method::Bye, &ok, 2, "bye"));
    phone.command(Command::Answer { call: second });
    assert_eq!(phone.response(&Method::Invite, 200).call_id(), "c2");
    assert_eq!((asked(&phone), in_conference(&phone)), (vec![], vec![]));
}

#[test]
fn a_person_makes_and_ends_a_conference() {
    let (mut phone, first, _) = talking(&[]);
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia", "c2"));
    let second = phone.rings()[0].call;
    phone.command(Command::Answer { call: second });
    for call in [first, second] {
        phone.command(Command::Conference { call, on: true });
    }
    assert_eq!(in_conference(&phone), [first, second]);
    phone.command(Command::Conference { call: first, on: false });
    assert_eq!(in_conference(&phone), [second]);
    phone.command(Command::Conference { call: CallId(99), on: true });
    assert_eq!(phone.problems().len(), 1);
}
