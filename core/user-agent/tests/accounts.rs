//! Several accounts on one phone.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::time::Duration;

use scripted::{Phone, account, in_dialog, invite};
use wakeline_push::WakeId;
use wakeline_sip_message::{Message, Method, Name};
use wakeline_user_agent::*;

fn instance(register: &Message) -> String {
    let contact = register.header(Name::Contact).unwrap();
    contact.split("+sip.instance=").nth(1).unwrap().split(';').next().unwrap().to_owned()
}

fn two() -> Vec<wakeline_settings::Settings> {
    vec![account("mia", &[]), account("mia-at-work", &[("displayname", "Mia at work")])]
}

fn token() -> Command {
    Command::SetPushToken { provider: "fcm".into(), param: "acme".into(), prid: "token-1".into() }
}

fn push(wake: &WakeId, account: Option<u32>) -> Command {
    let account = account.map(|number| format!(",\"acc\":\"{number}\"")).unwrap_or_default();
    Command::PushReceived {
        payload: format!("{{\"v\":\"1\",\"t\":\"call\",\"wid\":\"{}\"{account}}}", wake.as_str()),
    }
}

fn asleep() -> Phone {
    let mut phone = Phone::new(two());
    phone.command(token());
    phone.command(Command::Start);
    phone.accept_registers();
    phone.command(Command::Suspend);
    phone.pass(Duration::from_secs(60));
    phone.forget();
    phone
}

#[test]
fn one_installation_has_one_instance_whatever_its_accounts() {
    let mut phone = Phone::new(two());
    phone.command(Command::Start);
    let registers = phone.requests(&Method::Register);
    assert_eq!(registers.len(), 2);
    let first = instance(&registers[0]);
    assert!(first.starts_with("\"<urn:uuid:"), "{first}");
    assert_eq!(instance(&registers[1]), first);

    // The next process, and one that has got a third account meanwhile, are the same installation.
    let mut accounts = two();
    accounts.push(account("mia-at-home", &[]));
    let mut next = Phone::with_memory(accounts, phone.memory);
    next.command(Command::Start);
    let registers = next.requests(&Method::Register);
    assert_eq!(registers.len(), 3);
    assert!(registers.iter().all(|register| instance(register) == first), "{registers:?}");
}

#[test]
fn a_damaged_record_of_the_instance_is_replaced() {
    let memory = [("instance".to_owned(), "x\r\nEvil: 1".into())].into();
    let mut phone = Phone::with_memory(two(), memory);
    phone.command(Command::Start);
    let registers = phone.requests(&Method::Register);
    assert_eq!(instance(&registers[0]), instance(&registers[1]));
    assert!(phone.memory["instance"].expose().starts_with("urn:uuid:"));
}

#[test]
fn a_push_registers_every_account_of_its_token_once() {
    let mut phone = asleep();
    phone.command(push(&WakeId::of("call-1", "b"), None));
    let registers = phone.requests(&Method::Register);
    let user = |one: &Message| one.from().unwrap().uri().user_unescaped().unwrap().into_owned();
    let users: Vec<String> = registers.iter().map(user).collect();
    assert_eq!(users, ["mia", "mia-at-work"]);
    assert!(registers.iter().all(|one| one.header(Name::Contact).unwrap().contains("pn-prid=token-1")));
    phone.accept_registers();
    assert_eq!(
        (phone.phase(0), phone.phase(1)),
        (RegistrationPhase::Registered, RegistrationPhase::Registered)
    );
}

#[test]
fn only_the_account_that_a_push_names_tells_its_registrar_of_the_wake() {
    for (named, told) in [(None, [true, true]), (Some(0), [true, false]), (Some(1), [false, true])] {
        let mut phone = asleep();
        let wake = WakeId::of("call-1", "b");
        phone.command(push(&wake, named));
        let tells =
            |one: &Message| one.header_by_name("X-Wake-Id").is_some_and(|id| id.contains(wake.as_str()));
        let registers = phone.requests(&Method::Register);
        assert_eq!(registers.iter().map(tells).collect::<Vec<_>>(), told, "{named:?}");
    }
}

#[test]
fn a_push_without_account_then_an_invite_for_the_second_is_the_seconds_call() {
    let mut phone = asleep();
    let wake = WakeId::of("call-1", "b");
    phone.command(push(&wake, None));
    phone.accept_registers();
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia-at-work", "call-1"));
    let rings = phone.rings();
    assert_eq!(rings.len(), 1);
    assert_eq!((rings[0].account, rings[0].wake_id), (AccountId(1), Some(wake)));
    phone.command(Command::Answer { call: rings[0].call });
    let ok = phone.response(&Method::Invite, 200);
    assert!(ok.header(Name::Contact).unwrap().contains("sip:mia-at-work@"), "{ok:?}");
    phone.receive(flow, &in_dialog(Method::Ack, &ok, 1, "a"));
    phone.receive(flow, &in_dialog(Method::Bye, &ok, 2, "b"));
    assert_eq!(phone.ends().len(), 1);
    phone.assert_nothing_left();
}

/// The registrar of the account that is not called knows nothing of the wake, however often it is asked.
#[test]
fn what_the_other_accounts_registrar_does_not_know_ends_no_call() {
    let wake = WakeId::of("call-1", "b");
    let answer = |phone: &mut Phone, states: [&str; 2]| {
        for (register, state) in phone.requests(&Method::Register).iter().zip(states) {
            let contact = format!("{};expires=3600", register.header(Name::Contact).unwrap());
            let state = format!("{}={state}", wake.as_str());
            let wake_state = Name::parse("X-Wake-State").unwrap();
            phone.answer(register, 200, &[(Name::Contact, &contact), (wake_state, &state)]);
        }
        phone.sent.clear();
    };
    let mut phone = asleep();
    for _ in 0..3 {
        phone.command(push(&wake, None));
        answer(&mut phone, ["unknown", "pending"]);
    }
    assert_eq!((phone.ends().len(), phone.calls().len()), (0, 1));

    // When neither knows it, twice, the call is lost (row 15).
    let mut phone = asleep();
    phone.command(push(&wake, None));
    answer(&mut phone, ["unknown", "unknown"]);
    assert_eq!(phone.ends().len(), 0);
    phone.command(push(&wake, None));
    answer(&mut phone, ["unknown", "unknown"]);
    assert_eq!(phone.ends().len(), 1);
    assert!(phone.calls().is_empty());
}
