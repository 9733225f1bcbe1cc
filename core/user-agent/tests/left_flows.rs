//! A flow that is left for a fresh one: what came on it is answered there for as long as it is open (RFC 3261 §18.2.2),
//! and it closes when nobody needs it any more.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::time::Duration;

use scripted::{Phone, account, in_dialog, invite, invite_by};
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_sip_message::{Builder, Message, Method, Name};
use wakeline_user_agent::*;

const S: fn(u64) -> Duration = Duration::from_secs;

/// A phone whose binding has not been proven for a while: the next push finds a fresh flow for it.
fn phone(transport: &str) -> Phone {
    let mut phone = Phone::registered(vec![account("mia", &[("transport", transport)])]);
    phone.pass(S(60));
    phone.forget();
    phone
}

/// A push that asks for no more than a REGISTER: the phone registers on a fresh flow and leaves the old one.
fn leaves(phone: &mut Phone) -> FlowInfo {
    phone.command(Command::PushReceived { payload: r#"{"kind":"refresh"}"#.into() });
    phone.accept_registers();
    assert_eq!(phone.phase(0), RegistrationPhase::Registered);
    phone.last_flow()
}

/// The responses of this kind that left on a flow.
fn on(phone: &Phone, flow: FlowId, method: &Method) -> Vec<u16> {
    let there = phone.sent.iter().filter(|(at, sent)| *at == flow && sent.method() == *method);
    there.filter_map(|(_, sent)| sent.status()).collect()
}

/// A datagram phone that rings on one flow and is bound on another.
fn rings_on_a_left_flow() -> (Phone, CallId, FlowInfo, FlowInfo) {
    let mut phone = phone("0");
    let old = phone.last_flow();
    phone.receive(old, &invite("mia", "c1"));
    let call = phone.rings()[0].call;
    let new = leaves(&mut phone);
    assert!(old.id != new.id && !phone.closed.contains(&old.id));
    phone.forget();
    (phone, call, old, new)
}

fn bye(phone: &mut Phone, flow: FlowInfo, ok: &Message) {
    phone.receive(flow, &in_dialog(Method::Bye, ok, 9, "bye"));
    assert_eq!(phone.ends().len(), 1);
    phone.assert_nothing_left();
}

#[test]
fn an_answer_leaves_on_the_left_flow_and_is_repeated_there_until_its_ack() {
    let (mut phone, call, old, new) = rings_on_a_left_flow();
    phone.command(Command::Answer { call });
    phone.pass(S(4));
    assert_eq!(on(&phone, old.id, &Method::Invite), [200; 4], "at 0, 0.5, 1.5 and 3.5 s");
    assert_eq!(on(&phone, new.id, &Method::Invite), [0; 0]);
    let ok = phone.response(&Method::Invite, 200);
    phone.receive(old, &in_dialog(Method::Ack, &ok, 1, "ack"));
    assert_eq!(phone.calls()[0].phase, CallPhase::Established);
    phone.pass(S(40));
    assert_eq!(phone.closed, [old.id], "nobody needs it any more");
    bye(&mut phone, new, &ok);
}

/// The 200 was lost; the copy of the INVITE on the new flow meets the same answer.
#[test]
fn the_copy_that_overtakes_the_answer_is_answered_where_it_came() {
    let (mut phone, call, old, new) = rings_on_a_left_flow();
    phone.command(Command::Answer { call });
    assert_eq!(on(&phone, old.id, &Method::Invite), [200]);
    phone.receive(new, &invite_by("mia", "c1", "z9hG4bK2"));
    phone.pass(S(2));
    assert_eq!(on(&phone, new.id, &Method::Invite), [200; 3]);
    let ok = phone.response(&Method::Invite, 200);
    phone.receive(new, &in_dialog(Method::Ack, &ok, 1, "ack"));
    phone.pass(S(40));
    assert_eq!((phone.rings().len(), phone.calls()[0].phase), (0, CallPhase::Established));
    assert_eq!(phone.closed, [old.id]);
    bye(&mut phone, new, &ok);
}

/// The copy came first: the person's answer goes there, and the old place hears that it is the same call.
#[test]
fn the_copy_that_comes_before_the_answer_takes_the_call_along() {
    let (mut phone, call, old, new) = rings_on_a_left_flow();
    phone.receive(new, &invite_by("mia", "c1", "z9hG4bK2"));
    assert_eq!(on(&phone, old.id, &Method::Invite), [482]);
    assert_eq!(on(&phone, new.id, &Method::Invite), [180]);
    phone.command(Command::Answer { call });
    assert_eq!(on(&phone, new.id, &Method::Invite), [180, 200]);
    let ok = phone.response(&Method::Invite, 200);
    phone.receive(new, &in_dialog(Method::Ack, &ok, 1, "ack"));
    bye(&mut phone, new, &ok);
}

#[test]
fn a_refusal_is_repeated_on_the_left_flow_and_a_cancel_there_ends_the_call() {
    let (mut phone, call, old, _) = rings_on_a_left_flow();
    phone.command(Command::Decline { call });
    phone.pass(S(2));
    let codes = on(&phone, old.id, &Method::Invite);
    assert!(codes.len() == 3 && codes.iter().all(|code| *code >= 400), "timer G: {codes:?}");
    phone.assert_nothing_left();
    assert!(phone.closed.contains(&old.id));

    let (mut phone, _, old, _) = rings_on_a_left_flow();
    let invite = invite("mia", "c1");
    let cancel = Builder::request(Method::Cancel, invite.request_uri_text())
        .copy(&invite, Name::Via)
        .copy(&invite, Name::From)
        .copy(&invite, Name::To)
        .copy(&invite, Name::CallId)
        .header(Name::CSeq, "1 CANCEL")
        .build()
        .unwrap();
    phone.receive(old, &cancel);
    assert_eq!(
        (on(&phone, old.id, &Method::Cancel), on(&phone, old.id, &Method::Invite)),
        (vec![200], vec![487])
    );
    assert_eq!(phone.ends().len(), 1);
    phone.assert_nothing_left();
    assert!(phone.closed.contains(&old.id));
}

/// There is no call, and yet an answer is owed: its request may be repeated (timer J).
#[test]
fn what_was_just_answered_is_answered_again_and_then_the_flow_closes() {
    let mut phone = phone("0");
    let old = phone.last_flow();
    let options = Builder::request(Method::Options, "sip:mia@10.20.0.5")
        .header(Name::Via, "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKo")
        .header(Name::From, "<sip:bob@example.org>;tag=b")
        .header(Name::To, "<sip:mia@example.org>")
        .header(Name::CallId, "o1")
        .header(Name::CSeq, "1 OPTIONS")
        .header(Name::MaxForwards, 70)
        .build()
        .unwrap();
    phone.receive(old, &options);
    leaves(&mut phone);
    phone.receive(old, &options);
    assert_eq!(on(&phone, old.id, &Method::Options), [200, 200]);
    phone.pass(S(33));
    assert_eq!(phone.closed, [old.id]);
    // Without any of this it closes at once, and so it does when the phone is put to sleep.
    phone.pass(S(60));
    let second = phone.last_flow();
    leaves(&mut phone);
    assert!(phone.closed.contains(&second.id));
    let third = phone.last_flow();
    phone.receive(third, &options);
    phone.command(Command::Suspend);
    assert!(phone.closed.contains(&third.id) && phone.flows.is_empty());
}

/// What was left and then breaks is lost: the copy on the new flow is all there is, and it takes the call along.
#[test]
fn a_left_flow_that_breaks_loses_nothing() {
    let mut phone = phone("1");
    let old = phone.last_flow();
    phone.receive(old, &invite("mia", "c1"));
    let call = phone.rings()[0].call;
    let new = leaves(&mut phone);
    phone.lose(old.id);
    assert_eq!(phone.calls().len(), 1);
    phone.receive(new, &invite_by("mia", "c1", "z9hG4bK2"));
    phone.command(Command::Answer { call });
    let ok = phone.response(&Method::Invite, 200);
    assert_eq!(phone.flow_of(&ok).id, new.id);
    phone.receive(new, &in_dialog(Method::Ack, &ok, 1, "ack"));
    bye(&mut phone, new, &ok);
}

/// What was dialled stays where it was asked until it is answered (RFC 3261 §18.1.1); then it moves.
#[test]
fn a_call_that_was_dialled_on_a_left_flow_moves_when_it_is_answered() {
    for transport in ["0", "1"] {
        let mut phone = phone(transport);
        let old = phone.last_flow();
        phone.command(Command::Dial { account: AccountId(0), to: "bob".into() });
        let sent = phone.last(&Method::Invite);
        assert_eq!(phone.flow_of(&sent).id, old.id);
        phone.answer(&sent, 180, &[(Name::Contact, "<sip:bob@192.0.2.1:5060>")]);
        let new = leaves(&mut phone);
        assert!(phone.ends().is_empty() && !phone.closed.contains(&old.id));
        phone.answer_with_sdp(&sent, 200);
        let ack = phone.last(&Method::Ack);
        assert_eq!(phone.calls()[0].phase, CallPhase::Established);
        let told = phone.last(&Method::Invite);
        assert!(
            told.to_tag().is_some() && told.header(Name::Contact) != sent.header(Name::Contact),
            "{told:?}"
        );
        assert!(told.cseq().unwrap().number > ack.cseq().unwrap().number);
        phone.answer_with_sdp(&told, 200);
        phone.pass(S(40));
        assert_eq!((phone.closed.contains(&old.id), phone.closed.contains(&new.id)), (true, false));
        let bye = in_dialog_of_ours(&told);
        phone.receive(new, &bye);
        assert_eq!(phone.ends().len(), 1);
        phone.assert_nothing_left();
    }
}

/// The far end's BYE in a dialog that we opened.
fn in_dialog_of_ours(ours: &Message) -> Message {
    let contact =
        ours.header(Name::Contact).and_then(|text| text.split(['<', '>']).nth(1)).unwrap().to_owned();
    Builder::request(Method::Bye, contact)
        .header(Name::Via, "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKbye")
        .header(Name::MaxForwards, 70)
        .header(Name::From, ours.header(Name::To).unwrap())
        .header(Name::To, ours.header(Name::From).unwrap())
        .copy(ours, Name::CallId)
        .header(Name::CSeq, "9 BYE")
        .build()
        .unwrap()
}

/// An established call goes along when a push finds another flow for its binding: one REGISTER, one re-INVITE from the
/// new place (RFC 3261 §14.1).
fn call_that_moves() -> (Phone, FlowInfo, Message, Message) {
    let mut phone = phone("0");
    let old = phone.last_flow();
    phone.receive(old, &invite("mia", "c1"));
    let call = phone.rings()[0].call;
    phone.command(Command::Answer { call });
    let ok = phone.response(&Method::Invite, 200);
    phone.receive(old, &in_dialog(Method::Ack, &ok, 1, "ack"));
    phone.pass(S(60));
    phone.forget();
    let new = leaves(&mut phone);
    let told = phone.requests(&Method::Invite);
    assert_eq!(told.len(), 1);
    assert!(told[0].header(Name::Contact) != ok.header(Name::Contact), "{:?}", told[0]);
    assert_eq!(phone.flow_of(&told[0]).id, new.id);
    (phone, new, ok, told[0].clone())
}

#[test]
fn f1_a_push_that_moves_the_binding_moves_the_call() {
    let (mut phone, new, ok, told) = call_that_moves();
    phone.answer_with_sdp(&told, 200);
    phone.pass(S(40));
    assert_eq!((phone.calls()[0].phase, phone.flows.len()), (CallPhase::Established, 1));
    bye(&mut phone, new, &ok);
}

/// Both change at once (§14.1): who owns the Call-ID waits longer; ours is told again after a while.
#[test]
fn f1_the_move_that_meets_glare_is_told_again() {
    let (mut phone, new, ok, told) = call_that_moves();
    phone.answer(&told, 491, &[]);
    phone.pass(S(5));
    let again = phone.last(&Method::Invite);
    assert!(again.cseq().unwrap().number > told.cseq().unwrap().number, "{again:?}");
    assert_eq!(again.header(Name::Contact), told.header(Name::Contact));
    phone.answer_with_sdp(&again, 200);
    assert_eq!(phone.calls()[0].phase, CallPhase::Established);
    bye(&mut phone, new, &ok);
}

/// A refusal costs nothing but the change; a far end that knows no such call ends it, and so does silence (RFC 5057 §5.1).
#[test]
fn f1_the_move_that_fails_leaves_the_call_or_ends_it_with_a_cause() {
    for code in [488, 500, 503] {
        let (mut phone, new, ok, told) = call_that_moves();
        phone.answer(&told, code, &[]);
        phone.pass(S(1));
        assert_eq!(phone.calls()[0].phase, CallPhase::Established, "{code}");
        bye(&mut phone, new, &ok);
    }
    for code in [481, 408] {
        let (mut phone, _, _, told) = call_that_moves();
        phone.answer(&told, code, &[]);
        phone.pass(S(40));
        assert_eq!((phone.ends().len(), phone.ends()[0].reason.as_str()), (1, "peer-lost"), "{code}");
        phone.assert_nothing_left();
    }
    let (mut phone, ..) = call_that_moves();
    phone.pass(S(100));
    assert_eq!((phone.ends().len(), phone.ends()[0].reason.as_str()), (1, "peer-lost"));
    phone.assert_nothing_left();
}
