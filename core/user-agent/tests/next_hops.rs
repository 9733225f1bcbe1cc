//! The next server of a domain when one does not answer (RFC 3263 §4.3, fault F5).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::time::Duration;

use scripted::{Phone, Reach, account};
use wakeline_flow::Transport;
use wakeline_sip_message::{Message, Method, Name};
use wakeline_sip_resolve::{Kind, Question, Record};
use wakeline_user_agent::*;

const FIRST: [u8; 4] = [192, 0, 2, 11];
const SECOND: [u8; 4] = [192, 0, 2, 12];

/// `voice.example.org` has two servers, one to be tried first, for every transport.
fn zone(question: &Question) -> Option<Vec<Record>> {
    let host = |host: [u8; 4]| Some(vec![Record::Address(host.into())]);
    let srv = |port: u16| {
        let one =
            |priority, target: &str| Record::Srv { priority, weight: 1, port, target: target.to_owned() };
        Some(vec![one(2, "two.example.org"), one(1, "one.example.org")])
    };
    match (question.kind, question.name.as_str()) {
        (Kind::Srv, "_sip._udp.voice.example.org" | "_sip._tcp.voice.example.org") => srv(5060),
        (Kind::A, "one.example.org") => host(FIRST),
        (Kind::A, "two.example.org") => host(SECOND),
        _ => None,
    }
}

fn phone(transport: &str, more: &[(&str, &str)]) -> Phone {
    let mut all = vec![("serveraddress", "voice.example.org"), ("transport", transport)];
    all.extend(more);
    let mut phone = Phone::new(vec![account("mia", &all)]);
    phone.names = Box::new(zone);
    phone
}

#[test]
fn f5_a_silent_server_is_left_for_the_next_within_four_seconds() {
    let mut phone = phone("0", &[]);
    phone.command(Command::Start);
    assert_eq!(phone.last_flow().remote, (FIRST, 5060).into());
    phone.pass(Duration::from_secs(4));
    assert_eq!(phone.last_flow().remote, (SECOND, 5060).into());
    phone.accept_register(&phone.last(&Method::Register));
    assert_eq!(phone.phase(0), RegistrationPhase::Registered);
    // What is left of the first try fails nothing.
    phone.pass(Duration::from_secs(60));
    assert_eq!(phone.phase(0), RegistrationPhase::Registered);
    assert_eq!(phone.flows.len(), 1);
}

#[test]
fn f5_a_server_that_cannot_be_reached_is_left_for_the_next() {
    for reach in [Reach::Refuses, Reach::Waits] {
        let mut phone = phone("1", &[]);
        phone.reach =
            Box::new(
                move |hop| {
                    if hop.remote.ip() == std::net::Ipv4Addr::from(FIRST) { reach } else { Reach::Opens }
                },
            );
        phone.command(Command::Start);
        phone.pass(Duration::from_secs(4));
        let flow = phone.last_flow();
        assert_eq!((flow.remote, flow.transport), ((SECOND, 5060).into(), Transport::Tcp), "{reach:?}");
        phone.accept_registers();
        assert_eq!(phone.phase(0), RegistrationPhase::Registered);
    }
}

#[test]
fn f5_503_or_a_connection_that_breaks_leads_to_the_next_server_at_once() {
    for unavailable in [true, false] {
        let mut phone = phone("1", &[]);
        phone.command(Command::Start);
        let (flow, register) = (phone.last_flow(), phone.last(&Method::Register));
        if unavailable {
            phone.answer(&register, 503, &[]);
        } else {
            phone.lose(flow.id);
        }
        assert_eq!(phone.last_flow().remote, (SECOND, 5060).into());
        phone.accept_register(&phone.last(&Method::Register));
        assert_eq!(phone.phase(0), RegistrationPhase::Registered);
        assert!(phone.events.iter().all(|event| !matches!(
            event,
            Event::RegistrationChanged(RegistrationSnapshot { phase: RegistrationPhase::Failed, .. })
        )));
    }
}

#[test]
fn when_every_server_fails_the_registration_has() {
    let mut phone = phone("1", &[]);
    phone.command(Command::Start);
    for _ in 0..2 {
        phone.answer(&phone.last(&Method::Register), 503, &[]);
    }
    assert_eq!((phone.phase(0), phone.registration(0).code), (RegistrationPhase::Failed, Some(503)));
    assert_eq!(phone.requests(&Method::Register).len(), 2);
}

#[test]
fn a_push_that_meets_a_silent_server_tells_the_next_one_of_its_wake() {
    let mut phone = phone("0", &[]);
    let payload = "{\"v\":\"1\",\"t\":\"call\",\"wid\":\"Zk3vQm1xT0aB9wLr\",\"ttl\":\"20\"}".to_owned();
    phone.command(Command::PushReceived { payload });
    phone.pass(Duration::from_secs(4));
    let register = phone.last(&Method::Register);
    assert_eq!(phone.flow_of(&register).remote, (SECOND, 5060).into());
    assert_eq!(register.header_by_name("X-Wake-Id"), Some("Zk3vQm1xT0aB9wLr"));
    assert_eq!(phone.calls().len(), 1);
}

/// A call without registration: an INVITE that one server refuses goes to the other, as the same request.
#[test]
fn an_invite_that_one_server_refuses_goes_to_the_next() {
    let mut phone = phone("1", &[("register", "0")]);
    phone.command(Command::Start);
    phone.command(Command::Dial { account: AccountId(0), to: "bob".into() });
    let first = phone.last(&Method::Invite);
    assert_eq!(phone.flow_of(&first).remote, (FIRST, 5060).into());
    phone.answer(&first, 503, &[]);
    let second = phone.last(&Method::Invite);
    assert_eq!(phone.flow_of(&second).remote, (SECOND, 5060).into());
    assert_eq!(second.call_id(), first.call_id());
    // A challenge of the second is answered to the second.
    phone.answer(&second, 407, &[(Name::ProxyAuthenticate, "Digest realm=\"example.org\", nonce=\"n1\"")]);
    let third = phone.last(&Method::Invite);
    assert_eq!(phone.flow_of(&third).remote, (SECOND, 5060).into());
    phone.answer(&third, 503, &[]);
    assert_eq!(phone.ends().len(), 1);
    assert_eq!(phone.ends()[0].code, Some(503));
    phone.assert_nothing_left();
}

#[test]
fn a_dialled_call_finds_the_server_that_can_be_reached_and_stays_there() {
    for reach in [Reach::Refuses, Reach::Waits] {
        let mut phone = phone("1", &[("register", "0")]);
        phone.reach =
            Box::new(
                move |hop| {
                    if hop.remote.ip() == std::net::Ipv4Addr::from(FIRST) { reach } else { Reach::Opens }
                },
            );
        phone.command(Command::Start);
        phone.command(Command::Dial { account: AccountId(0), to: "bob".into() });
        phone.pass(Duration::from_secs(4));
        let sent = phone.last(&Method::Invite);
        assert_eq!(phone.flow_of(&sent).remote, (SECOND, 5060).into(), "{reach:?}");
        phone.answer(&sent, 486, &[]);
        assert_eq!(phone.ends()[0].reason, "busy");
        phone.assert_nothing_left();
    }
}

/// The way of the INVITE is trusted, that of a later request to the far end itself is not.
#[test]
fn s1_a_far_end_that_is_reached_directly_gets_no_credentials() {
    let mut phone = phone("1", &[("register", "0")]);
    phone.command(Command::Start);
    phone.command(Command::Dial { account: AccountId(0), to: "bob".into() });
    let invite = phone.last(&Method::Invite);
    // Without Record-Route: the dialog goes on with the far end itself.
    phone.answer_with_sdp(&invite, 200);
    let call = phone.calls()[0].call;
    phone.command(Command::Hangup { call });
    let bye = phone.last(&Method::Bye);
    assert_eq!(phone.flow_of(&bye).remote, ([192, 0, 2, 50], 5060).into());
    for (code, field) in [(401, Name::WwwAuthenticate), (407, Name::ProxyAuthenticate)] {
        phone.answer(&bye, code, &[(field, "Digest realm=\"example.org\", nonce=\"evil\"")]);
    }
    for (flow, sent) in &phone.sent {
        let far = phone
            .flows
            .iter()
            .any(|open| open.id == *flow && open.remote.ip() == std::net::Ipv4Addr::new(192, 0, 2, 50));
        let credentials = sent.header(Name::Authorization).or(sent.header(Name::ProxyAuthorization));
        assert!(!far || credentials.is_none(), "{sent:?}");
    }
    phone.assert_nothing_left();
}

// ---- an INVITE that nobody answers (RFC 3263 §4.3) ----------------------------------------------------------

/// A call in datagrams, without registration: its INVITE is out at the first server.
fn dials(phone: &mut Phone) -> Message {
    phone.command(Command::Start);
    phone.command(Command::Dial { account: AccountId(0), to: "bob".into() });
    let first = phone.last(&Method::Invite);
    assert_eq!(phone.flow_of(&first).remote, (FIRST, 5060).into());
    first
}

/// The same call four seconds later: the copies at both servers.
fn dials_twice() -> (Phone, Message, Message) {
    let mut phone = phone("0", &[("register", "0")]);
    let first = dials(&mut phone);
    phone.pass(Duration::from_secs(4));
    let second = phone.last(&Method::Invite);
    assert_eq!(phone.flow_of(&second).remote, (SECOND, 5060).into());
    // The same request in another transaction: whoever gets both knows them for one (§8.2.2.2).
    assert_eq!((second.call_id(), second.cseq().unwrap()), (first.call_id(), first.cseq().unwrap()));
    assert_eq!(second.from_tag(), first.from_tag());
    assert_ne!(second.via().unwrap().branch(), first.via().unwrap().branch());
    (phone, first, second)
}

fn cancels(phone: &Phone) -> Vec<Option<String>> {
    let branch = |cancel: &Message| cancel.via().unwrap().branch().map(str::to_owned);
    phone.requests(&Method::Cancel).iter().map(branch).collect()
}

fn branch(invite: &Message) -> Vec<Option<String>> {
    vec![invite.via().unwrap().branch().map(str::to_owned)]
}

#[test]
fn f5_an_invite_that_meets_a_dead_server_is_at_the_next_within_four_seconds() {
    let (mut phone, _, second) = dials_twice();
    phone.answer(&second, 180, &[]);
    assert_eq!(phone.calls()[0].phase, CallPhase::Alerting);
    // Timer B of the first ends nothing, and nobody there is told anything.
    phone.pass(Duration::from_secs(60));
    assert_eq!((phone.calls().len(), cancels(&phone).len()), (1, 0));
    phone.answer_with_sdp(&second, 200);
    assert_eq!(phone.calls()[0].phase, CallPhase::Established);
    phone.command(Command::Hangup { call: phone.calls()[0].call });
    phone.answer(&phone.last(&Method::Bye), 200, &[]);
    phone.assert_nothing_left();
}

/// Three servers, and the second's connection does not open: the third is not hurried.
#[test]
fn f5_every_server_has_its_four_seconds() {
    let mut phone = phone("1", &[("register", "0")]);
    phone.names = Box::new(|question| {
        let one =
            |priority, target: &str| Record::Srv { priority, weight: 1, port: 5060, target: target.into() };
        match (question.kind, question.name.as_str()) {
            (Kind::Srv, "_sip._tcp.voice.example.org") => {
                Some(vec![one(1, "one.example.org"), one(2, "two.example.org"), one(3, "three.example.org")])
            }
            (Kind::A, "three.example.org") => Some(vec![Record::Address([192, 0, 2, 13].into())]),
            _ => zone(question),
        }
    });
    phone.reach = Box::new(|hop| {
        if hop.remote.ip() == std::net::Ipv4Addr::from(SECOND) { Reach::Waits } else { Reach::Opens }
    });
    dials(&mut phone);
    phone.pass(Duration::from_millis(6900));
    assert_eq!((phone.requests(&Method::Invite).len(), phone.opening.len()), (1, 1));
    phone.pass(Duration::from_millis(1200));
    let third = phone.last(&Method::Invite);
    assert_eq!(phone.flow_of(&third).remote, ([192, 0, 2, 13], 5060).into());
    phone.pass(Duration::from_secs(8));
    assert_eq!(phone.requests(&Method::Invite).len(), 2, "there is nobody left to ask");
    phone.answer(&third, 486, &[]);
    assert_eq!(phone.ends()[0].reason, "busy");
    phone.assert_nothing_left();
}

#[test]
fn a_server_that_says_100_is_waited_for() {
    let mut phone = phone("0", &[("register", "0")]);
    let first = dials(&mut phone);
    phone.pass(Duration::from_secs(3));
    phone.answer(&first, 100, &[]);
    phone.pass(Duration::from_secs(60));
    assert_eq!(phone.requests(&Method::Invite).len(), 1);
    phone.answer(&first, 486, &[]);
    assert_eq!(phone.ends()[0].reason, "busy");
    phone.assert_nothing_left();
}

/// It was only slow: it has spoken first, so the call is its, and the other is told when it wakes up.
#[test]
fn a_slow_server_that_speaks_first_has_the_call() {
    for code in [180, 200] {
        let (mut phone, first, second) = dials_twice();
        phone.pass(Duration::from_secs(2));
        if code == 180 {
            phone.answer(&first, 180, &[]);
            assert_eq!(phone.calls()[0].phase, CallPhase::Alerting);
        } else {
            phone.answer_with_sdp(&first, 200);
            assert_eq!(phone.calls()[0].phase, CallPhase::Established);
        }
        assert!(cancels(&phone).is_empty(), "not before its first response (RFC 3261 §9.1)");
        phone.answer(&second, 100, &[]);
        assert_eq!(cancels(&phone), branch(&second));
        phone.answer(&second, 487, &[]);
        assert_eq!((phone.calls().len(), phone.ends().len()), (1, 0), "{code}");
        if code == 180 {
            phone.answer_with_sdp(&first, 200);
        }
        assert_eq!(phone.calls()[0].phase, CallPhase::Established);
        phone.command(Command::Hangup { call: phone.calls()[0].call });
        phone.answer(&phone.last(&Method::Bye), 200, &[]);
        phone.assert_nothing_left();
    }
}

#[test]
fn a_server_that_speaks_too_late_is_told_so_and_its_answer_is_hung_up() {
    let (mut phone, first, second) = dials_twice();
    phone.answer(&second, 180, &[]);
    phone.answer(&first, 183, &[]);
    assert_eq!(cancels(&phone), branch(&first));
    phone.answer(&first, 503, &[]);
    assert_eq!(phone.calls()[0].phase, CallPhase::Alerting);
    phone.answer_with_sdp(&second, 200);
    assert_eq!((phone.calls()[0].phase, phone.requests(&Method::Bye).len()), (CallPhase::Established, 0));
    phone.command(Command::Hangup { call: phone.calls()[0].call });
    phone.answer(&phone.last(&Method::Bye), 200, &[]);
    phone.assert_nothing_left();
}

#[test]
fn a_call_that_is_given_up_is_given_up_at_both_servers() {
    let (mut phone, first, second) = dials_twice();
    phone.command(Command::Hangup { call: phone.calls()[0].call });
    for invite in [&first, &second] {
        phone.answer(invite, 180, &[]);
    }
    assert_eq!(cancels(&phone), [branch(&first), branch(&second)].concat());
    for invite in [&first, &second] {
        phone.answer(invite, 487, &[]);
    }
    assert_eq!((phone.ends().len(), phone.ends()[0].reason.as_str()), (1, "cancelled"));
    phone.assert_nothing_left();
}

#[test]
fn when_every_server_is_silent_the_call_ends_by_timer_b() {
    let (mut phone, ..) = dials_twice();
    phone.pass(Duration::from_secs(33));
    assert_eq!((phone.ends().len(), phone.ends()[0].reason.as_str()), (1, "timed-out"));
    assert_eq!(phone.requests(&Method::Invite).len(), 2);
    phone.assert_nothing_left();
}
