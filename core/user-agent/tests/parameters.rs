//! What the account's parameters do on the wire, one test a group; what settings make of their text is tested there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::time::Duration;

use scripted::{Phone, account, in_dialog, invite};
use wakeline_flow::Transport;
use wakeline_sip_message::{Message, Method, Name};
use wakeline_user_agent::*;

const SECOND: Duration = Duration::from_secs(1);

fn started(more: &[(&str, &str)]) -> Phone {
    let mut phone = Phone::new(vec![account("mia", more)]);
    phone.command(Command::Start);
    phone
}

fn registered(more: &[(&str, &str)]) -> Phone {
    Phone::registered(vec![account("mia", more)])
}

fn field(message: &Message, name: Name) -> String {
    message.header(name).unwrap_or_default().to_owned()
}

fn dial(phone: &mut Phone, to: &str) {
    phone.command(Command::Dial { account: AccountId(0), to: to.to_owned() });
}

/// Bob calls, and is answered.
fn answered(more: &[(&str, &str)]) -> (Phone, CallId) {
    let mut phone = registered(more);
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia", "c1"));
    let call = phone.rings()[0].call;
    phone.command(Command::Answer { call });
    let ok = phone.response(&Method::Invite, 200);
    phone.receive(flow, &in_dialog(Method::Ack, &ok, 1, "ack"));
    phone.forget();
    (phone, call)
}

#[test]
fn b084_b068_names_stand_where_they_belong() {
    let mut phone = started(&[("displayname", "Mia M"), ("sipusername", "login-7")]);
    let register = phone.last(&Method::Register);
    assert!(field(&register, Name::From).starts_with("\"Mia M\" <sip:mia@example.org>"), "{register:?}");
    assert_eq!(register.header(Name::Authorization), None);
    let challenge = "Digest realm=\"example.org\", nonce=\"n1\", algorithm=SHA-256, qop=\"auth\"";
    phone.answer(&register, 401, &[(Name::WwwAuthenticate, challenge)]);
    let proof = field(&phone.last(&Method::Register), Name::Authorization);
    assert!(proof.contains("username=\"login-7\"") && proof.contains("realm=\"example.org\""), "{proof}");
    assert!(!proof.contains("secret"), "{proof}");
}

#[test]
fn proxyaddress_takes_what_is_for_the_server() {
    let mut phone = started(&[("proxyaddress", "192.0.2.77:5070")]);
    assert_eq!(phone.last_flow().remote, "192.0.2.77:5070".parse().unwrap());
    let register = phone.last(&Method::Register);
    assert!(register.to_bytes().starts_with(b"REGISTER sip:example.org SIP/2.0"), "{register:?}");
    phone.accept_registers();
    assert_eq!(phone.phase(0), RegistrationPhase::Registered);
}

#[test]
fn b095_transport_opens_that_kind_of_flow() {
    for (value, expected) in [("0", Transport::Udp), ("1", Transport::Tcp), ("2", Transport::Tls)] {
        assert_eq!(started(&[("transport", value)]).last_flow().transport, expected);
    }
}

#[test]
fn b064_b065_b067_register_and_mustconnect() {
    let mut never = started(&[("register", "0")]);
    never.pass(SECOND * 60);
    assert!(never.requests(&Method::Register).is_empty());
    dial(&mut never, "sip:bob@example.org");
    assert_eq!(never.requests(&Method::Invite).len(), 1, "calls need no registration");
    assert!(never.requests(&Method::Register).is_empty());

    for waits in [("register", "2"), ("mustconnect", "true")] {
        let mut phone = started(&[waits]);
        dial(&mut phone, "sip:bob@example.org");
        assert_eq!((phone.requests(&Method::Invite).len(), phone.problems().len()), (0, 1), "{waits:?}");
        phone.accept_registers();
        dial(&mut phone, "sip:bob@example.org");
        assert_eq!(phone.requests(&Method::Invite).len(), 1, "{waits:?}");
    }
}

#[test]
fn b070_registerinterval_is_what_a_register_asks_for() {
    let register = started(&[("registerinterval", "777")]).last(&Method::Register);
    let asked = field(&register, Name::Expires) + &field(&register, Name::Contact);
    assert!(asked.contains("777"), "{register:?}");
}

#[test]
fn b072_needunregister_and_unregall_on_the_way_out() {
    let leaving = |more: &[(&str, &str)]| {
        let mut phone = registered(more);
        phone.command(Command::Stop);
        phone.requests(&Method::Register).iter().map(|one| field(one, Name::Contact)).collect::<Vec<_>>()
    };
    assert_eq!(leaving(&[("needunregister", "false")]), Vec::<String>::new());
    assert_eq!(leaving(&[("unregall", "1")]), ["*"]);
    assert!(leaving(&[])[0].contains("sip:mia@10.20.0.5"));
}

#[test]
fn b088_rport_is_asked_for_unless_it_is_off() {
    for (value, asks) in [("0", false), ("1", true), ("2", true), ("3", true), ("9", true)] {
        let via = field(&started(&[("use_rport", value)]).last(&Method::Register), Name::Via);
        assert_eq!(via.contains(";rport"), asks, "{value}: {via}");
    }
}

#[test]
fn b093_keep_alives_leave_at_their_interval_or_never() {
    for (interval, least, most) in [("10000", 5, 8), ("0", 0, 0)] {
        let mut phone = registered(&[("transport", "0"), ("keepaliveival", interval)]);
        let (end, mut pings) = (phone.now + SECOND * 60, 0);
        while let Some(due) = phone.agent.poll_timeout().filter(|due| *due <= end) {
            phone.now = due;
            phone.agent.handle_timeout(due);
            while let Some(output) = phone.agent.poll_output() {
                if let Output::Send(sent) = output {
                    assert!(Message::parse(sent.bytes).is_err(), "only keep-alives are due");
                    pings += 1;
                }
            }
        }
        assert!((least..=most).contains(&pings), "{interval}: {pings}");
    }
}

#[test]
fn b086_b087_what_a_person_adds_is_on_register_and_invite() {
    let mut phone = started(&[
        ("customsipheader", "X-Shop: 7;X-Floor: 2"),
        ("contact_uri_parameters", ";x-in=1"),
        ("contact_parameters", ";x-out=2"),
        ("useragent", "Desk/1"),
    ]);
    let register = phone.last(&Method::Register);
    phone.accept_registers();
    dial(&mut phone, "sip:bob@example.org");
    for message in [register, phone.last(&Method::Invite)] {
        assert_eq!(message.header_by_name("X-Shop"), Some("7"), "{message:?}");
        assert_eq!(message.header_by_name("X-Floor"), Some("2"));
        assert_eq!(message.header(Name::UserAgent), Some("Desk/1"));
        let contact = field(&message, Name::Contact);
        let (inside, behind) = contact.split_once('>').unwrap();
        assert!(inside.contains(";x-in=1") && behind.contains(";x-out=2"), "{contact}");
    }
}

#[test]
fn b130_a_dialled_number_is_cleaned_rewritten_and_prefixed() {
    let rules = [("normalizenumber", "1"), ("numpxrewrite", "06,0036,8,15"), ("techprefix", "99")];
    let mut phone = registered(&rules);
    dial(&mut phone, "06 (20) 111-2222");
    let line = phone.last(&Method::Invite);
    assert!(line.to_bytes().starts_with(b"INVITE sip:990036201112222@example.org"), "{line:?}");
    dial(&mut phone, "sip:bob@example.org");
    assert!(phone.last(&Method::Invite).to_bytes().starts_with(b"INVITE sip:bob@example.org"));
}

#[test]
fn b146_ringing_ends_with_ringtimeout_both_ways() {
    for (name, ours) in [("ringtimeout", true), ("ringtimeoutout", true), ("ringtimeoutin", false)] {
        let mut phone = registered(&[(name, "20000")]);
        dial(&mut phone, "sip:bob@example.org");
        let invite = phone.last(&Method::Invite);
        phone.answer(&invite, 180, &[]);
        phone.pass(SECOND * 19);
        assert!(phone.requests(&Method::Cancel).is_empty(), "{name}");
        phone.pass(SECOND * 2);
        assert_eq!(phone.requests(&Method::Cancel).len(), usize::from(ours), "{name}");
    }
    for (name, ours) in [("ringtimeout", true), ("ringtimeoutin", true), ("ringtimeoutout", false)] {
        let mut phone = registered(&[(name, "20000")]);
        let flow = phone.last_flow();
        phone.receive(flow, &invite("mia", "c1"));
        phone.pass(SECOND * 19);
        assert!(phone.ends().is_empty(), "{name}");
        phone.pass(SECOND * 2);
        assert_eq!(phone.ends().len(), usize::from(ours), "{name}");
    }
}

#[test]
fn b146_a_call_ends_with_calltimeout() {
    let (mut phone, _) = answered(&[("calltimeout", "60000")]);
    phone.pass(SECOND * 59);
    assert!(phone.requests(&Method::Bye).is_empty());
    phone.pass(SECOND * 2);
    assert_eq!(phone.requests(&Method::Bye).len(), 1);
}

#[test]
fn b138_b136_autoignore_refuses_and_callforwardonbusy_sends_elsewhere() {
    let mut phone = registered(&[("autoignore", "2")]);
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia", "c1"));
    assert_eq!(phone.rings().len(), 0);
    assert_eq!(phone.response(&Method::Invite, 603).status(), Some(603));

    let (mut phone, _) = answered(&[("callforwardonbusy", "eve"), ("rejectonbusy", "true")]);
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia", "c2"));
    let elsewhere = phone.response(&Method::Invite, 302);
    assert!(field(&elsewhere, Name::Contact).contains("sip:eve@example.org"), "{elsewhere:?}");
    assert_eq!(phone.rings().len(), 0);
}

#[test]
fn b157_digits_go_as_dtmfmode_says() {
    for (mode, events, info) in [("0", 0, 0), ("1", 0, 1), ("3", 1, 1), ("4", 1, 0)] {
        let (mut phone, call) = answered(&[("dtmfmode", mode)]);
        phone.command(Command::Dtmf { call, digits: "5".into() });
        let asked =
            phone.media.iter().filter(|(_, request)| matches!(request, MediaRequest::Dtmf { .. })).count();
        assert_eq!((asked, phone.requests(&Method::Info).len()), (events, info), "dtmfmode {mode}");
    }
}

#[test]
fn b157_automatic_digits_go_by_info_where_telephone_events_were_not_agreed() {
    for (events, wanted) in [(true, (1, 0)), (false, (0, 1))] {
        let (mut phone, call) = answered(&[("dtmfmode", "2")]);
        let event = MediaEvent::Agreed {
            codec: "PCMU".to_owned(),
            encryption: Encryption::None,
            held_by_peer: false,
            telephone_events: events,
        };
        phone.input(Input::Media { call, event });
        phone.command(Command::Dtmf { call, digits: "5".into() });
        let asked =
            phone.media.iter().filter(|(_, request)| matches!(request, MediaRequest::Dtmf { .. })).count();
        let infos = phone.requests(&Method::Info);
        assert_eq!((asked, infos.len()), wanted, "telephone events agreed: {events}");
        assert!(infos.iter().all(|info| info.body().starts_with(b"Signal=5\r\n")));
    }
}

#[test]
fn what_is_refused_on_principle_is_not_offered() {
    let mut answering = registered(&[]);
    let flow = answering.last_flow();
    answering.receive(flow, &invite("mia", "c1"));
    let call = answering.rings()[0].call;
    answering.command(Command::Answer { call });
    let mut dialled = registered(&[]);
    dial(&mut dialled, "sip:bob@example.org");
    let messages = [dialled.last(&Method::Invite), answering.response(&Method::Invite, 200)];
    for message in messages {
        let (allow, supported) = (field(&message, Name::Allow), field(&message, Name::Supported));
        assert!(allow.contains("INFO") && !allow.contains("REFER"), "{allow}");
        assert!(supported.contains("replaces") && supported.contains("join"), "{supported}");
    }
}

#[test]
fn b152_hold_offers_anew_unless_holdtype_has_none() {
    for (holdtype, holds) in
        [("-1", true), ("2", true), ("3", true), ("4", true), ("0", false), ("-2", false)]
    {
        let (mut phone, call) = answered(&[("holdtype", holdtype)]);
        phone.command(Command::Hold { call, on: true });
        let offers = phone
            .media
            .iter()
            .filter(|(_, one)| matches!(one, MediaRequest::Offer { hold: true, .. }))
            .count();
        let found = (offers, phone.requests(&Method::Invite).len(), phone.problems().len());
        assert_eq!(found, if holds { (1, 1, 0) } else { (0, 0, 1) }, "holdtype {holdtype}");
    }
}
