//! Another network, a rebound NAT, a server that restarts: in every phase of a call (faults F1, F2, F6).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::time::Duration;

use scripted::{Phone, account, in_dialog, invite, invite_by};
use wakeline_flow::FlowInfo;
use wakeline_sip_message::{Message, Method, Name};
use wakeline_user_agent::*;

const NEW: [u8; 4] = [10, 99, 0, 7];

/// A network change as a shell tells it: the old address is gone, the new one is there.
fn roam(phone: &mut Phone) {
    phone.local = NEW;
    phone.forget();
    phone.command(Command::NetworkChanged);
}

/// The one REGISTER of the new network, answered.
fn registers_once(phone: &mut Phone) -> FlowInfo {
    let registers = phone.requests(&Method::Register);
    assert_eq!(registers.len(), 1, "{registers:?}");
    assert!(registers[0].header(Name::Contact).unwrap().contains("10.99.0.7"), "{:?}", registers[0]);
    let flow = phone.flow_of(&registers[0]);
    phone.accept_register(&registers[0]);
    assert_eq!(phone.phase(0), RegistrationPhase::Registered);
    flow
}

fn contact(message: &Message) -> String {
    message.header(Name::Contact).unwrap().to_owned()
}

fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

/// A call of Bob's that we have answered; the 200 that answered it.
fn answered(phone: &mut Phone) -> (CallId, Message) {
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia", "c1"));
    let call = phone.rings()[0].call;
    phone.command(Command::Answer { call });
    let ok = phone.response(&Method::Invite, 200);
    phone.receive(flow, &in_dialog(Method::Ack, &ok, 1, "ack"));
    assert_eq!(phone.calls()[0].phase, CallPhase::Established);
    (call, ok)
}

/// The far end's end of a call, wherever we are now.
fn bye(phone: &mut Phone, ok: &Message) {
    let flow = phone.last_flow();
    phone.receive(flow, &in_dialog(Method::Bye, ok, 9, "bye"));
    assert_eq!(phone.ends().len(), 1);
    phone.assert_nothing_left();
}

#[test]
fn f1_idle_registers_once_from_the_new_address() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    let old = phone.last_flow().id;
    roam(&mut phone);
    let new = registers_once(&mut phone);
    assert_eq!((phone.flows.len(), phone.closed.contains(&old)), (1, true));
    assert_eq!(new.local.ip(), std::net::Ipv4Addr::from(NEW));
}

#[test]
fn f1_ringing_goes_on_and_is_answered_from_the_new_address() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia", "c1"));
    let call = phone.rings()[0].call;
    roam(&mut phone);
    let new = registers_once(&mut phone);
    assert_eq!((phone.calls().len(), phone.ends().len()), (1, 0));
    // The gateway repeats the INVITE on the new flow (row 14).
    phone.receive(new, &invite_by("mia", "c1", "z9hG4bK2"));
    assert_eq!(phone.rings().len(), 0, "it rings on, it does not ring anew");
    phone.command(Command::Answer { call });
    let ok = phone.response(&Method::Invite, 200);
    assert_eq!(phone.flow_of(&ok).id, new.id);
    assert!(contact(&ok).contains("10.99.0.7") && body(&ok).contains("10.99.0.7"), "{ok:?}");
    phone.receive(new, &in_dialog(Method::Ack, &ok, 1, "ack"));
    assert_eq!(phone.calls()[0].phase, CallPhase::Established);
    bye(&mut phone, &ok);
}

#[test]
fn f1_an_invite_that_has_just_left_is_settled_one_way_or_the_other() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    phone.command(Command::Dial { account: AccountId(0), to: "bob".into() });
    assert_eq!(phone.requests(&Method::Invite).len(), 1);
    roam(&mut phone);
    registers_once(&mut phone);
    assert_eq!(phone.requests(&Method::Cancel).len(), 1, "it may have arrived");
    phone.pass(Duration::from_secs(2));
    // The old path took the INVITE with it: it goes out again from here, or the call has ended with a cause.
    let again = phone.requests(&Method::Invite);
    match again.last() {
        Some(again) => {
            assert!(contact(again).contains("10.99.0.7"), "{again:?}");
            phone.answer(again, 486, &[]);
            assert_eq!(phone.ends()[0].reason, "busy");
        }
        None => assert_eq!(phone.ends().len(), 1),
    }
    assert!(phone.ends().iter().all(|end| !end.reason.is_empty()));
    phone.assert_nothing_left();
}

#[test]
fn f1_in_call_a_re_invite_tells_the_new_address_after_one_register() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    let (call, ok) = answered(&mut phone);
    roam(&mut phone);
    let new = registers_once(&mut phone);
    let re_invites = phone.requests(&Method::Invite);
    assert_eq!(re_invites.len(), 1);
    let re_invite = &re_invites[0];
    assert!(re_invite.to_tag().is_some());
    assert!(
        contact(re_invite).contains("10.99.0.7") && body(re_invite).contains("10.99.0.7"),
        "{re_invite:?}"
    );
    assert_eq!(phone.flow_of(re_invite).id, new.id);
    phone.answer_with_sdp(re_invite, 200);
    assert_eq!(phone.requests(&Method::Ack).len(), 1);
    assert_eq!((phone.calls()[0].call, phone.calls()[0].phase), (call, CallPhase::Established));
    assert_eq!(phone.requests(&Method::Register).len(), 0);
    bye(&mut phone, &ok);
}

#[test]
fn f1_in_the_middle_of_a_re_invite_the_change_is_told_by_the_next() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    let (call, ok) = answered(&mut phone);
    phone.command(Command::Hold { call, on: true });
    assert_eq!(phone.requests(&Method::Invite).len(), 1);
    roam(&mut phone);
    registers_once(&mut phone);
    phone.pass(Duration::from_secs(5));
    let told = phone.requests(&Method::Invite).pop().expect("a re-INVITE from the new address");
    assert!(contact(&told).contains("10.99.0.7") && body(&told).contains("10.99.0.7"), "{told:?}");
    phone.answer_with_sdp(&told, 200);
    phone.pass(Duration::from_secs(5));
    while let Some(further) = phone
        .requests(&Method::Invite)
        .into_iter()
        .find(|one| one.cseq().unwrap().number > told.cseq().unwrap().number)
    {
        phone.answer_with_sdp(&further, 200);
        phone.sent.clear();
    }
    assert_eq!(phone.calls()[0].phase, CallPhase::Established);
    bye(&mut phone, &ok);
}

#[test]
fn f1_a_held_call_is_still_held_after_the_change() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    let (call, ok) = answered(&mut phone);
    phone.command(Command::Hold { call, on: true });
    phone.answer_with_sdp(&phone.last(&Method::Invite), 200);
    assert!(phone.calls()[0].on_hold);
    roam(&mut phone);
    registers_once(&mut phone);
    let told = phone.last(&Method::Invite);
    phone.answer_with_sdp(&told, 200);
    assert!(phone.calls()[0].on_hold);
    let offers =
        phone.media.iter().filter(|(_, request)| matches!(request, MediaRequest::Offer { hold: true, .. }));
    assert_eq!(offers.count(), 1);
    bye(&mut phone, &ok);
}

#[test]
fn f1_every_network_of_a_journey_costs_one_register_and_one_re_invite() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    let (_, ok) = answered(&mut phone);
    for network in 1..20 {
        phone.local = [10, 100, network, 1];
        phone.forget();
        phone.command(Command::NetworkChanged);
        assert_eq!(phone.requests(&Method::Register).len(), 1);
        phone.accept_registers();
        assert_eq!(phone.requests(&Method::Invite).len(), 1, "network {network}");
        phone.answer_with_sdp(&phone.last(&Method::Invite), 200);
        phone.pass(Duration::from_secs(10));
        assert_eq!((phone.calls().len(), phone.flows.len()), (1, 1));
    }
    bye(&mut phone, &ok);
}

#[test]
fn f1_no_network_for_a_minute_ends_nothing_and_costs_nothing() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    let (_, ok) = answered(&mut phone);
    phone.forget();
    phone.command(Command::NetworkLost);
    phone.pass(Duration::from_secs(60));
    assert!(phone.sent.is_empty(), "{:?}", phone.sent);
    assert_eq!(phone.calls().len(), 1);
    roam(&mut phone);
    registers_once(&mut phone);
    phone.answer_with_sdp(&phone.last(&Method::Invite), 200);
    assert_eq!(phone.calls()[0].phase, CallPhase::Established);
    bye(&mut phone, &ok);
}

/// The port changed on its way, and nobody told: what comes in on the flow is served all the same.
#[test]
fn f2_a_call_from_another_port_of_the_server_rings_and_is_answered_there() {
    let mut phone = Phone::registered(vec![account("mia", &[("transport", "0")])]);
    let own = phone.last_flow();
    let rebound =
        FlowInfo { id: wakeline_flow::FlowId(1 << 62), remote: ([192, 0, 2, 1], 6000).into(), ..own };
    phone.flows.push(rebound);
    phone.receive(rebound, &invite("mia", "c1"));
    assert_eq!(phone.rings().len(), 1);
    let ringing = phone.response(&Method::Invite, 180);
    assert_eq!(phone.flow_of(&ringing).id, rebound.id);
    phone.command(Command::Decline { call: phone.rings()[0].call });
    assert_eq!(phone.ends().len(), 1);
}

/// `rport` shows that the NAT has given us another port: the next refresh says so, once.
#[test]
fn f2_a_rebinding_seen_at_a_refresh_corrects_the_contact() {
    let mut phone = Phone::registered(vec![account("mia", &[("transport", "0"), ("use_rport", "3")])]);
    phone.command(Command::Register { account: AccountId(0) });
    let refresh = phone.last(&Method::Register);
    let via = refresh.header(Name::Via).unwrap().replace(";rport", ";received=198.51.100.7;rport=31000");
    let answer = wakeline_sip_message::Builder::response(&refresh, 200, "").to_tag("r").build().unwrap();
    let answer = answer.edit().replace(Name::Via, via).finish().unwrap();
    let flow = phone.flow_of(&refresh);
    phone.sent.clear();
    phone.receive(flow, &answer);
    let corrected = phone.last(&Method::Register);
    assert!(contact(&corrected).contains("198.51.100.7:31000"), "{corrected:?}");
    phone.accept_register(&corrected);
    assert_eq!((phone.phase(0), phone.requests(&Method::Register).len()), (RegistrationPhase::Registered, 0));
}

/// The server restarts: every connection breaks at once.
#[test]
fn f6_a_server_that_restarts_has_us_back_within_ten_seconds_and_the_call_goes_on() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    let (_, ok) = answered(&mut phone);
    phone.forget();
    let flow = phone.last_flow().id;
    phone.lose(flow);
    assert_eq!(phone.calls()[0].phase, CallPhase::Established);
    phone.pass(Duration::from_secs(10));
    let registers = phone.requests(&Method::Register);
    assert_eq!(registers.len(), 1);
    phone.accept_registers();
    assert_eq!(phone.phase(0), RegistrationPhase::Registered);
    let told = phone.last(&Method::Invite);
    phone.answer_with_sdp(&told, 200);
    assert_eq!(phone.calls()[0].phase, CallPhase::Established);
    bye(&mut phone, &ok);
}

#[test]
fn f6_a_server_that_restarts_while_it_rings_may_send_the_invite_again() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    let flow = phone.last_flow();
    phone.receive(flow, &invite("mia", "c1"));
    phone.lose(flow.id);
    phone.pass(Duration::from_secs(10));
    phone.accept_registers();
    let new = phone.last_flow();
    phone.receive(new, &invite_by("mia", "c1", "z9hG4bK2"));
    assert_eq!(phone.rings().len(), 1);
    phone.command(Command::Answer { call: phone.rings()[0].call });
    let ok = phone.response(&Method::Invite, 200);
    assert_eq!(phone.flow_of(&ok).id, new.id);
    phone.receive(new, &in_dialog(Method::Ack, &ok, 1, "ack"));
    bye(&mut phone, &ok);
}

/// It rings at the far end, and our address changes before it answers: the responses to that INVITE go to an address that
/// is not ours any more (RFC 3261 §18.2.2), so the call ends at once, with a cause, and the next one goes out from here.
#[test]
fn f1_ringing_out_ends_once_with_a_cause_and_may_be_dialled_again() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    phone.command(Command::Dial { account: AccountId(0), to: "bob".into() });
    let sent = phone.last(&Method::Invite);
    phone.answer(&sent, 180, &[(Name::Contact, "<sip:bob@192.0.2.50;transport=tcp>")]);
    assert_eq!(phone.calls()[0].phase, CallPhase::Alerting);
    roam(&mut phone);
    assert_eq!((phone.calls().len(), phone.ends().len()), (0, 1));
    assert_eq!(phone.ends()[0].reason, "unreachable");
    assert!(phone.requests(&Method::Cancel).is_empty(), "the way is not known to lead anywhere yet");
    let new = registers_once(&mut phone);
    // Nobody rings on for a call that is over: the CANCEL of that INVITE comes from the new address (RFC 3261 §9.1).
    let cancels = phone.requests(&Method::Cancel);
    assert_eq!(cancels.len(), 1);
    assert_eq!(phone.flow_of(&cancels[0]).id, new.id);
    assert_eq!(cancels[0].header(Name::Via), sent.header(Name::Via));
    assert_eq!(cancels[0].call_id(), sent.call_id());
    assert_eq!(cancels[0].cseq().unwrap().number, sent.cseq().unwrap().number);
    phone.answer(&cancels[0], 200, &[]);
    phone.command(Command::Dial { account: AccountId(0), to: "bob".into() });
    let again = phone.last(&Method::Invite);
    assert!(contact(&again).contains("10.99.0.7"), "{again:?}");
    phone.answer(&again, 486, &[]);
    assert_eq!(phone.ends().len(), 2);
    phone.assert_nothing_left();
}

/// Without a registration nothing tells when the new way leads somewhere: the CANCEL tries it at once.
#[test]
fn f1_ringing_out_without_registration_is_cancelled_from_the_new_address() {
    for lost in [true, false] {
        let mut phone = Phone::registered(vec![account("mia", &[("register", "0")])]);
        phone.command(Command::Dial { account: AccountId(0), to: "bob".into() });
        let sent = phone.last(&Method::Invite);
        phone.answer(&sent, 180, &[]);
        if lost {
            let flow = phone.last_flow().id;
            phone.lose(flow);
        } else {
            phone.local = NEW;
            phone.command(Command::NetworkChanged);
        }
        assert_eq!(phone.ends().len(), 1);
        let cancel = phone.last(&Method::Cancel);
        assert_eq!(cancel.header(Name::Via), sent.header(Name::Via));
        phone.answer(&cancel, 481, &[]);
        phone.assert_nothing_left();
    }
}

/// No network for longer than anything rings: nobody is asked about it any more.
#[test]
fn f1_ringing_out_long_ago_is_not_cancelled() {
    let mut phone = Phone::registered(vec![account("mia", &[])]);
    phone.command(Command::Dial { account: AccountId(0), to: "bob".into() });
    phone.answer(&phone.last(&Method::Invite), 180, &[]);
    phone.command(Command::NetworkLost);
    phone.pass(Duration::from_secs(200));
    phone.forget();
    roam(&mut phone);
    registers_once(&mut phone);
    assert!(phone.requests(&Method::Cancel).is_empty());
    phone.assert_nothing_left();
}
