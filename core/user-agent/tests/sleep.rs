//! A day slept through, the process standing still: in every phase (class S26).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::time::Duration;

use scripted::{Phone, account, in_dialog, invite};
use wakeline_sip_message::Method;
use wakeline_user_agent::*;

const DAY: Duration = Duration::from_secs(86_400);
const SPANS: [Duration; 4] =
    [Duration::from_secs(60), Duration::from_secs(600), Duration::from_secs(7200), DAY];

/// Two seconds after the process runs again one REGISTER at most is out, and with it the binding stands.
fn is_back(phone: &mut Phone, least: usize) {
    phone.pass(Duration::from_secs(2));
    let registers = phone.requests(&Method::Register);
    assert!((least..=1).contains(&registers.len()), "{} REGISTER requests", registers.len());
    phone.accept_registers();
    assert_eq!(phone.phase(0), RegistrationPhase::Registered);
}

#[test]
fn s26_idle() {
    for transport in ["0", "1"] {
        for span in SPANS {
            let mut phone = Phone::registered(vec![account(
                "mia",
                &[("transport", transport), ("registerinterval", "3600")],
            )]);
            phone.sleep(span);
            is_back(&mut phone, usize::from(span > Duration::from_secs(3600)));
            // And it is as quiet as before: no timer makes up for what it missed.
            phone.sent.clear();
            phone.pass(Duration::from_secs(600));
            assert!(phone.requests(&Method::Register).is_empty());
        }
    }
}

#[test]
fn s26_suspended_nothing_ticks_and_the_return_costs_one_register() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    phone.command(Command::Suspend);
    phone.pass(Duration::from_secs(200));
    phone.forget();
    assert_eq!(phone.agent.poll_timeout(), None);
    phone.sleep(DAY);
    assert!(phone.sent.is_empty());
    phone.command(Command::Resume);
    is_back(&mut phone, 1);
}

#[test]
fn s26_while_the_register_is_out() {
    for transport in ["0", "1"] {
        for span in SPANS {
            let mut phone = Phone::registered(vec![account("mia", &[("transport", transport)])]);
            phone.command(Command::Register { account: AccountId(0) });
            phone.forget();
            phone.sleep(span);
            is_back(&mut phone, 1);
        }
    }
}

#[test]
fn s26_while_a_call_rings() {
    for span in SPANS {
        let mut phone = Phone::registered(vec![account("mia", &[])]);
        let flow = phone.last_flow();
        phone.receive(flow, &invite("mia", "c1"));
        assert_eq!(phone.rings().len(), 1);
        phone.sleep(span);
        is_back(&mut phone, 0);
        // Nobody rings for a day: the call has ended, once, and says why.
        if span > Duration::from_secs(200) {
            assert_eq!(phone.ends().len(), 1);
            assert_eq!(phone.ends()[0].reason, "no-answer");
        }
        phone.pass(Duration::from_secs(200));
        assert_eq!(phone.ends().len(), 1);
        phone.assert_nothing_left();
    }
}

#[test]
fn s26_while_it_rings_at_the_far_end() {
    for span in SPANS {
        let mut phone = Phone::registered(vec![account("mia", &[])]);
        phone.command(Command::Dial { account: AccountId(0), to: "bob".into() });
        let sent = phone.last(&Method::Invite);
        phone.answer(&sent, 180, &[]);
        phone.sleep(span);
        is_back(&mut phone, 0);
        if let Some(cancel) = phone.requests(&Method::Cancel).pop() {
            phone.answer(&cancel, 200, &[]);
            phone.answer(&sent, 487, &[]);
        }
        phone.pass(Duration::from_secs(200));
        assert_eq!(phone.ends().len(), 1, "{span:?}");
        assert!(!phone.ends()[0].reason.is_empty());
        phone.assert_nothing_left();
    }
}

#[test]
fn a_registration_that_is_answered_leaves_the_phone_idle_though_copies_may_come() {
    for transport in ["0", "1"] {
        let mut phone = Phone::new(vec![account("mia", &[("transport", transport)])]);
        phone.command(Command::Start);
        assert!(!phone.agent.is_idle(), "a REGISTER is out");
        phone.accept_registers();
        assert!(phone.agent.is_idle(), "transport {transport}");
    }
}

#[test]
fn s26_in_a_call() {
    for span in SPANS {
        let mut phone = Phone::registered(vec![account("mia", &[("transport", "0")])]);
        let flow = phone.last_flow();
        phone.receive(flow, &invite("mia", "c1"));
        let call = phone.rings()[0].call;
        phone.command(Command::Answer { call });
        let ok = phone.response(&Method::Invite, 200);
        phone.receive(flow, &in_dialog(Method::Ack, &ok, 1, "ack"));
        phone.forget();
        phone.sleep(span);
        is_back(&mut phone, 0);
        // It lives, or it has ended with a cause; then the far end's BYE finds nothing to end.
        assert_eq!(phone.calls().len() + phone.ends().len(), 1, "{span:?}");
        let flow = phone.last_flow();
        phone.receive(flow, &in_dialog(Method::Bye, &ok, 2, "bye"));
        for bye in phone.requests(&Method::Bye) {
            phone.answer(&bye, 481, &[]);
        }
        assert_eq!(phone.ends().len(), 1);
        assert!(!phone.ends()[0].reason.is_empty());
        phone.assert_nothing_left();
    }
}

#[test]
fn s26_an_announced_call_is_over_and_the_push_still_registers() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    phone.command(Command::Suspend);
    phone.pass(Duration::from_secs(200));
    phone.forget();
    let payload = "{\"v\":\"1\",\"t\":\"call\",\"wid\":\"Zk3vQm1xT0aB9wLr\",\"ttl\":\"20\"}".to_owned();
    phone.command(Command::PushReceived { payload });
    phone.sleep(DAY);
    assert_eq!((phone.ends().len(), phone.rings().len()), (1, 0));
    phone.sent.retain(|(_, sent)| sent.method() != Method::Register);
    phone.pass(Duration::from_secs(2));
    phone.accept_registers();
    phone.pass(Duration::from_secs(10));
    phone.accept_registers();
    assert_eq!(phone.phase(0), RegistrationPhase::Registered);
}
