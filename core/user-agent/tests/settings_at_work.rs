//! Parameters set while the phone is registered: in force at once, by one REGISTER where the registrar must know.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::time::Duration;

use scripted::{Phone, account, invite};
use wakeline_flow::Transport;
use wakeline_sip_message::{Method, Name};
use wakeline_user_agent::*;

fn wire(message: &wakeline_sip_message::Message) -> String {
    String::from_utf8(message.to_bytes().to_vec()).unwrap()
}

#[test]
fn what_the_registrar_is_to_know_goes_out_in_one_register_on_the_same_flow() {
    for (name, value, seen) in [
        ("registerinterval", "77", "Expires: 77\r\n"),
        ("displayname", "Mia B", "From: \"Mia B\" <sip:mia@example.org>"),
        ("contact_parameters", "+sip.x=1", ";+sip.x=1"),
        ("contact_uri_parameters", "y=1", ";y=1"),
        ("customsipheader", "X-A: b", "X-A: b\r\n"),
        ("useragent", "Other/1", "User-Agent: Other/1\r\n"),
    ] {
        let mut phone = Phone::registered(vec![account("mia", &[])]);
        phone.set(name, value);
        let registers = phone.requests(&Method::Register);
        assert_eq!((registers.len(), phone.flows.len()), (1, 1), "{name}");
        assert!(wire(&registers[0]).contains(seen), "{name}: {}", wire(&registers[0]));
        phone.accept_registers();
        assert_eq!(phone.phase(0), RegistrationPhase::Registered, "{name}");
        // The same value again changes nothing.
        phone.forget();
        phone.set(name, value);
        assert!(phone.sent.is_empty(), "{name}");
    }
}

#[test]
fn another_way_to_the_registrar_is_gone_on_a_fresh_flow_before_the_old_one_ends() {
    for (name, value, transport, remote) in [
        ("serveraddress", "192.0.2.77", Transport::Tcp, "192.0.2.77:5060"),
        ("serveraddress", "192.0.2.1:5070", Transport::Tcp, "192.0.2.1:5070"),
        ("proxyaddress", "192.0.2.78", Transport::Tcp, "192.0.2.78:5060"),
        ("transport", "0", Transport::Udp, "192.0.2.1:5060"),
        ("transport", "2", Transport::Tls, "192.0.2.1:5061"),
    ] {
        let mut phone = Phone::registered(vec![account("mia", &[])]);
        let old = phone.last_flow().id;
        phone.set(name, value);
        let flow = phone.last_flow();
        assert_eq!((flow.transport, flow.remote), (transport, remote.parse().unwrap()), "{name}");
        assert!(!phone.closed.contains(&old), "{name}");
        phone.accept_registers();
        assert_eq!(phone.phase(0), RegistrationPhase::Registered, "{name}");
        assert_eq!(phone.closed, [old], "{name}");
    }
}

#[test]
fn another_user_removes_the_old_binding_first() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    phone.set("username", "max");
    let removal = phone.last(&Method::Register);
    assert!(removal.header(Name::Contact).unwrap().ends_with(";expires=0"));
    assert!(removal.header(Name::To).unwrap().contains("sip:mia@"));
    phone.answer(&removal, 200, &[]);
    phone.accept_register(&phone.last(&Method::Register));
    assert_eq!(
        (phone.phase(0), phone.registration(0).address.as_str()),
        (RegistrationPhase::Registered, "sip:max@example.org")
    );
    // Calls for the new name ring, those for the old one do not.
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia", "c1"));
    phone.receive(flow, &invite("max", "c2"));
    assert_eq!(phone.rings().len(), 1);
    assert_eq!(phone.responses(&Method::Invite), [404, 180]);
}

#[test]
fn register_0_takes_the_binding_away_and_1_brings_it_back() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    phone.set("register", "0");
    let removal = phone.last(&Method::Register);
    assert!(removal.header(Name::Contact).unwrap().ends_with(";expires=0"));
    phone.answer(&removal, 200, &[]);
    assert_eq!(phone.phase(0), RegistrationPhase::Unregistered);
    phone.forget();
    phone.set("register", "1");
    phone.accept_registers();
    assert_eq!(phone.phase(0), RegistrationPhase::Registered);
}

#[test]
fn an_account_that_is_filled_in_after_the_start_registers() {
    let mut phone = Phone::new(vec![wakeline_settings::Settings::default()]);
    phone.command(Command::Start);
    for (name, value) in
        [("password", "x"), ("transport", "1"), ("serveraddress", "192.0.2.1"), ("username", "mia")]
    {
        assert!(phone.sent.is_empty());
        phone.set(name, value);
    }
    assert_eq!(phone.requests(&Method::Register).len(), 1);
}

#[test]
fn push_mode_and_enablepush_reach_the_registrar_at_once() {
    let mut phone = Phone::new(vec![account("mia", &[])]);
    let token =
        Command::SetPushToken { provider: "fcm".into(), param: "acme".into(), prid: "token-1".into() };
    phone.command(token);
    phone.command(Command::Start);
    phone.accept_registers();
    assert_eq!(phone.registration(0).push, PushStatus::NotOffered);
    phone.set("push_mode", "linphone");
    assert!(wire(&phone.last(&Method::Register)).contains("pn-silent=1"));
    phone.accept_registers();
    assert_eq!(phone.registration(0).push, PushStatus::Confirmed);
    phone.set("enablepush", "0");
    // A registrar without outbound forgets the old Contact first; then come the plain one and its shorter interval.
    let mut last = None;
    while let Some(register) = phone.requests(&Method::Register).first().cloned() {
        phone.accept_register(&register);
        last = Some(wire(&register));
    }
    let last = last.unwrap();
    assert!(last.contains("Expires: 300\r\n") && !last.contains("pn-prid"), "{last}");
    assert_eq!(phone.registration(0).push, PushStatus::NotAsked);
}

#[test]
fn keepaliveival_counts_from_now_on() {
    let mut phone =
        Phone::registered(vec![account("mia", &[("transport", "0"), ("registerinterval", "3600")])]);
    // Until the transaction of the REGISTER is over.
    phone.pass(Duration::from_secs(40));
    phone.set("keepaliveival", "0");
    let next = phone.agent.poll_timeout().unwrap();
    assert!(next - phone.now > Duration::from_secs(60), "nothing but the refresh: {:?}", next - phone.now);
    phone.set("keepaliveival", "10000");
    let next = phone.agent.poll_timeout().unwrap();
    assert!(next - phone.now <= Duration::from_secs(10));
    assert!(phone.sent.is_empty());
}

#[test]
fn a_right_password_after_a_wrong_one_registers_at_once() {
    let mut phone = Phone::new(vec![account("mia", &[])]);
    phone.command(Command::Start);
    let challenge = |nonce: &str| format!("Digest realm=\"example.org\", nonce=\"{nonce}\", qop=\"auth\"");
    for nonce in ["n1", "n2"] {
        let register = phone.last(&Method::Register);
        phone.answer(&register, 401, &[(Name::WwwAuthenticate, &challenge(nonce))]);
    }
    assert_eq!((phone.phase(0), phone.registration(0).code), (RegistrationPhase::Failed, Some(401)));
    phone.forget();
    phone.set("password", "right");
    phone.accept_registers();
    assert_eq!((phone.phase(0), phone.registration(0).code), (RegistrationPhase::Registered, None));
}

#[test]
fn a_failed_registration_shows_the_code_that_ended_it() {
    for code in [403, 404, 480, 500, 503, 603] {
        let mut phone = Phone::new(vec![account("mia", &[])]);
        phone.command(Command::Start);
        phone.answer(&phone.last(&Method::Register), code, &[]);
        assert_eq!((phone.phase(0), phone.registration(0).code), (RegistrationPhase::Failed, Some(code)));
    }
    for (code, field) in [(401, Name::WwwAuthenticate), (407, Name::ProxyAuthenticate)] {
        let mut phone = Phone::new(vec![account("mia", &[("password", "nopassword")])]);
        phone.command(Command::Start);
        let challenge = "Digest realm=\"example.org\", nonce=\"n1\"";
        for _ in 0..4 {
            if phone.phase(0) == RegistrationPhase::Registering {
                phone.answer(&phone.last(&Method::Register), code, &[(field.clone(), challenge)]);
            }
        }
        assert_eq!((phone.phase(0), phone.registration(0).code), (RegistrationPhase::Failed, Some(code)));
    }
}

#[test]
fn a_value_that_cannot_be_changes_nothing_and_is_told() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    phone.set("username", "mi a\u{7}@@");
    phone.set("transport", "carrier pigeon");
    assert_eq!(phone.registration(0).address, "sip:mia@example.org");
    assert!(phone.problems().len() >= 2 && phone.sent.is_empty(), "{:?}", phone.problems());
}
