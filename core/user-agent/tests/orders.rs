//! REGISTER, push, INVITE and the person in every order; OPTIONS both ways.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::time::Duration;

use scripted::{Phone, account, in_dialog, invite};
use wakeline_push::WakeId;
use wakeline_sip_message::{Builder, Message, Method, Name};
use wakeline_user_agent::*;

fn asleep() -> Phone {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    phone.command(Command::Suspend);
    phone.pass(Duration::from_secs(60));
    phone.forget();
    phone
}

fn push(phone: &mut Phone) -> CallId {
    let wake = WakeId::of("c1", "b");
    let payload = format!("{{\"v\":\"1\",\"t\":\"call\",\"wid\":\"{}\",\"ttl\":\"20\"}}", wake.as_str());
    phone.command(Command::PushReceived { payload });
    let calls = phone.calls();
    assert_eq!((calls.len(), calls[0].phase, calls[0].wake_id), (1, CallPhase::Announced, Some(wake)));
    calls[0].call
}

fn talk_and_end(phone: &mut Phone, ok: &Message) {
    let flow = phone.last_flow();
    phone.receive(flow, &in_dialog(Method::Ack, ok, 1, "ack"));
    assert_eq!(phone.calls()[0].phase, CallPhase::Established);
    phone.receive(flow, &in_dialog(Method::Bye, ok, 2, "bye"));
    assert_eq!(phone.ends().len(), 1);
    phone.assert_nothing_left();
}

#[test]
fn announced_answer_register_200_invite() {
    let mut phone = asleep();
    let call = push(&mut phone);
    phone.command(Command::Answer { call });
    phone.accept_registers();
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia", "c1"));
    // Answered already: it never rings.
    assert!(phone.rings().is_empty());
    let ok = phone.response(&Method::Invite, 200);
    talk_and_end(&mut phone, &ok);
}

#[test]
fn announced_answer_then_another_call_is_not_answered_by_it() {
    let mut phone = asleep();
    let call = push(&mut phone);
    phone.command(Command::Answer { call });
    phone.accept_registers();
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia", "c2"));
    assert_eq!(phone.rings().len(), 1);
    assert!(!phone.responses(&Method::Invite).contains(&200));
    phone.command(Command::Hangup { call: phone.rings()[0].call });
    phone.pass(Duration::from_secs(30));
    assert_eq!(phone.ends().len(), 2);
    phone.assert_nothing_left();
}

#[test]
fn announced_decline_register_200_invite() {
    let mut phone = asleep();
    let call = push(&mut phone);
    phone.command(Command::Decline { call });
    phone.accept_registers();
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia", "c1"));
    assert!(phone.rings().is_empty());
    assert_eq!(phone.responses(&Method::Invite), [603]);
    phone.pass(Duration::from_secs(60));
    assert_eq!(phone.ends().len(), 1);
    assert_eq!(phone.ends()[0].reason, "declined");
    phone.assert_nothing_left();
}

#[test]
fn invite_before_register_200() {
    let mut phone = asleep();
    let call = push(&mut phone);
    let register = phone.last(&Method::Register);
    let flow = phone.flow_of(&register);
    phone.receive(flow, &invite("mia", "c1"));
    assert_eq!(phone.rings().iter().map(|ring| ring.call).collect::<Vec<_>>(), [call]);
    phone.command(Command::Answer { call });
    let ok = phone.response(&Method::Invite, 200);
    phone.accept_register(&register);
    assert_eq!(phone.phase(0), RegistrationPhase::Registered);
    talk_and_end(&mut phone, &ok);
}

#[test]
fn invite_before_the_push() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia", "c1"));
    let call = phone.rings()[0].call;
    let wake = WakeId::of("c1", "b");
    let payload = format!("{{\"v\":\"1\",\"t\":\"call\",\"wid\":\"{}\"}}", wake.as_str());
    phone.command(Command::PushReceived { payload: payload.clone() });
    assert_eq!((phone.rings().len(), phone.calls().len()), (1, 1));
    phone.command(Command::Decline { call });
    phone.accept_registers();
    // And once more when it is over.
    phone.command(Command::PushReceived { payload });
    assert_eq!((phone.rings().len(), phone.calls().len()), (1, 0));
}

#[test]
fn announced_and_no_invite_ever_ends_at_the_deadline() {
    let mut phone = asleep();
    push(&mut phone);
    phone.accept_registers();
    phone.pass(Duration::from_secs(19));
    assert_eq!(phone.ends().len(), 0);
    phone.pass(Duration::from_secs(2));
    assert_eq!(phone.ends().len(), 1);
    assert!(phone.rings().is_empty());
    phone.assert_nothing_left();
}

#[test]
fn options_is_answered_with_what_we_can_and_asked_with_its_outcome_told() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    let flow = phone.last_flow();
    let asked = Builder::request(Method::Options, "sip:mia@10.20.0.5:40000")
        .header(Name::Via, "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bKo")
        .header(Name::MaxForwards, 70)
        .header(Name::From, "<sip:bob@example.org>;tag=b")
        .header(Name::To, "<sip:mia@example.org>")
        .header(Name::CallId, "o1")
        .header(Name::CSeq, "1 OPTIONS")
        .build()
        .unwrap();
    phone.receive(flow, &asked);
    let answer = phone.response(&Method::Options, 200);
    for method in ["INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"] {
        assert!(answer.header(Name::Allow).unwrap().contains(method), "{answer:?}");
    }
    assert!(answer.header(Name::Supported).unwrap().contains("replaces"));
    assert!(answer.to_tag().is_some());

    for (answer, told) in [(Some(200), Some(200)), (Some(404), Some(404)), (None, None)] {
        phone.forget();
        phone.command(Command::Options { account: AccountId(0), to: "bob".into() });
        let request = phone.last(&Method::Options);
        match answer {
            Some(code) => phone.answer(&request, code, &[]),
            None => phone.pass(Duration::from_secs(40)),
        }
        let outcome = Event::OptionsAnswered { account: AccountId(0), to: "bob".into(), code: told };
        assert_eq!(phone.events.iter().filter(|event| **event == outcome).count(), 1, "{told:?}");
    }
}
