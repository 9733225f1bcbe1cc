use bytes::Bytes;
use wakeline_sip_message::{Message, Method, Name};

use super::*;
use crate::forks::Forks;

fn read(text: &str) -> Message {
    Message::parse(Bytes::from(text.replace('\n', "\r\n"))).unwrap()
}

fn invite() -> Message {
    read(
        "INVITE sip:bob@example.org SIP/2.0\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\nFrom: \"A\" <sip:alice@example.org>;tag=at\n\
         To: <sip:bob@example.org>\nCall-ID: c1\nCSeq: 7 INVITE\nContact: <sip:alice@192.0.2.1>\n\
         Record-Route: <sip:p2.example.org;lr>\nRecord-Route: <sip:p1.example.org;lr>\nMax-Forwards: 68\nContent-Length: 0\n\n",
    )
}

fn response(code: u16, to: &str, contact: &str) -> Message {
    read(&format!(
        "SIP/2.0 {code} X\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\nFrom: \"A\" <sip:alice@example.org>;tag=at\n\
         To: <sip:bob@example.org>{to}\nCall-ID: c1\nCSeq: 7 INVITE\n{contact}\
         Record-Route: <sip:p2.example.org;lr>\nRecord-Route: <sip:p1.example.org;lr>\nContent-Length: 0\n\n"
    ))
}

const BOB: &str = "Contact: <sip:bob@192.0.2.2;method=INVITE?Subject=x>\n";

fn in_dialog(method: &str, cseq: u32, from: &str, to: &str) -> Message {
    read(&format!(
        "{method} sip:alice@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP b;branch=z9hG4bK{cseq}\nFrom: <sip:bob@example.org>{from}\n\
         To: <sip:alice@example.org>{to}\nCall-ID: c1\nCSeq: {cseq} {method}\nContact: <sip:bob@192.0.2.9>\nMax-Forwards: 70\nContent-Length: 0\n\n"
    ))
}

fn routes(message: &Message) -> Vec<String> {
    message.headers(Name::Route).map(str::to_owned).collect()
}

#[test]
fn a_caller_reverses_the_record_route_and_a_callee_does_not() {
    let mut caller = Dialog::from_uac(&invite(), &response(200, ";tag=bt", BOB)).unwrap();
    assert_eq!(caller.state(), State::Confirmed);
    let bye = caller.request(Method::Bye).build().unwrap();
    assert_eq!(bye.request_uri_text(), "sip:bob@192.0.2.2");
    assert_eq!(routes(&bye), ["<sip:p1.example.org;lr>", "<sip:p2.example.org;lr>"]);
    assert_eq!((bye.cseq().unwrap().number, bye.from_tag(), bye.to_tag()), (8, Some("at"), Some("bt")));
    assert_eq!(caller.next_hop(), "sip:p1.example.org;lr");

    let mut callee = Dialog::from_uas(&invite(), &response(180, ";tag=bt", BOB)).unwrap();
    assert_eq!(callee.state(), State::Early);
    let bye = callee.request(Method::Bye).build().unwrap();
    assert_eq!(bye.request_uri_text(), "sip:alice@192.0.2.1");
    assert_eq!(routes(&bye), ["<sip:p2.example.org;lr>", "<sip:p1.example.org;lr>"]);
    assert_eq!((bye.cseq().unwrap().number, bye.from_tag(), bye.to_tag()), (1, Some("bt"), Some("at")));
    assert_eq!(bye.from().unwrap().uri().as_str(), "sip:bob@example.org");
    assert_eq!(callee.remote_cseq(), Some(7));
}

#[test]
fn the_ack_has_the_number_of_its_invite_and_takes_none_itself() {
    let mut dialog = Dialog::from_uac(&invite(), &response(200, ";tag=bt", BOB)).unwrap();
    let first = dialog.request(Method::Invite).build().unwrap().cseq().unwrap().number;
    let ack = dialog.ack(first).build().unwrap();
    assert_eq!(ack.cseq().unwrap(), wakeline_sip_message::CSeq { number: 8, method: Method::Ack });
    assert_eq!(dialog.request(Method::Bye).build().unwrap().cseq().unwrap().number, 9);
}

#[test]
fn lower_and_equal_numbers_are_out_of_order_but_not_for_ack() {
    let mut dialog = Dialog::from_uac(&invite(), &response(200, ";tag=bt", BOB)).unwrap();
    let mut accept = |method: &str, cseq| dialog.accept(&in_dialog(method, cseq, ";tag=bt", ";tag=at"));
    // The first number is the peer's free choice (§12.2.2).
    assert!(accept("INVITE", 900).is_ok());
    assert!(accept("ACK", 900).is_ok());
    assert!(matches!(accept("INFO", 899), Err(DialogError::OutOfOrder { last: 900, got: 899 })));
    assert!(matches!(accept("INFO", 900), Err(DialogError::OutOfOrder { .. })));
    assert!(accept("INFO", 905).is_ok());
    assert!(accept("BYE", 906).is_ok());
    assert_eq!(dialog.remote_cseq(), Some(906));
}

#[test]
fn a_request_matches_by_call_id_and_both_tags() {
    let dialog = Dialog::from_uac(&invite(), &response(200, ";tag=bt", BOB)).unwrap();
    assert!(dialog.owns_request(&in_dialog("BYE", 1, ";tag=bt", ";tag=at")));
    assert!(!dialog.owns_request(&in_dialog("BYE", 1, ";tag=zz", ";tag=at")));
    assert!(!dialog.owns_request(&in_dialog("BYE", 1, ";tag=bt", ";tag=zz")));
    assert!(!dialog.owns_request(&in_dialog("BYE", 1, "", ";tag=at")));
    assert!(!dialog.owns_request(&in_dialog("BYE", 1, ";tag=bt", "")));
    let id = DialogId::of_request(&in_dialog("BYE", 1, ";tag=bt", ";tag=at")).unwrap();
    assert_eq!(&id, dialog.id());
    assert_eq!(DialogId::of_response(&response(200, ";tag=bt", BOB)).as_ref(), Some(dialog.id()));
}

#[test]
fn a_peer_of_rfc_2543_has_no_tag() {
    let mut dialog = Dialog::from_uac(&invite(), &response(200, "", BOB)).unwrap();
    assert_eq!(dialog.id().remote_tag, "");
    assert!(dialog.owns_request(&in_dialog("BYE", 1, "", ";tag=at")));
    let bye = dialog.request(Method::Bye).build().unwrap();
    assert_eq!(bye.to_tag(), None);
}

#[test]
fn target_refresh_follows_the_contact() {
    let mut dialog = Dialog::from_uac(&invite(), &response(200, ";tag=bt", BOB)).unwrap();
    dialog.refresh_target(&in_dialog("INVITE", 1, ";tag=bt", ";tag=at"));
    assert_eq!(dialog.remote_target(), "sip:bob@192.0.2.9");
    dialog.refresh_target(&response(200, ";tag=bt", ""));
    assert_eq!(dialog.remote_target(), "sip:bob@192.0.2.9");
}

#[test]
fn a_2xx_without_contact_makes_no_dialog_but_a_180_does() {
    assert!(matches!(
        Dialog::from_uac(&invite(), &response(200, ";tag=bt", "")),
        Err(DialogError::NoContact)
    ));
    let early = Dialog::from_uac(&invite(), &response(180, ";tag=bt", "")).unwrap();
    assert_eq!(early.remote_target(), "sip:bob@example.org");
}

#[test]
fn forks_make_one_early_dialog_per_tag() {
    let (request, mut forks) = (invite(), Forks::<u32>::default());
    assert!(forks.hear(&request, &response(100, "", "")).unwrap().is_none());
    assert!(forks.hear(&request, &response(180, "", BOB)).unwrap().is_none());
    forks.hear(&request, &response(180, ";tag=b1", BOB)).unwrap().unwrap().note = 1;
    forks.hear(&request, &response(183, ";tag=b2", BOB)).unwrap().unwrap().note = 2;
    assert_eq!(forks.hear(&request, &response(180, ";tag=b1", BOB)).unwrap().unwrap().note, 1);
    assert_eq!(forks.len(), 2);
    let settled = forks.hear(&request, &response(200, ";tag=b2", BOB)).unwrap().unwrap();
    assert_eq!((settled.dialog.state(), settled.note), (State::Confirmed, 2));
    assert!(forks.of_request(&in_dialog("BYE", 1, ";tag=b1", ";tag=at")).is_some());
    assert!(forks.take("b2").is_some() && forks.take("b2").is_none());
}

#[test]
fn s14_forks_are_bounded_but_a_2xx_always_counts() {
    let (request, mut forks) = (invite(), Forks::<()>::default());
    for number in 0..100 {
        let _ = forks.hear(&request, &response(180, &format!(";tag=b{number}"), BOB)).unwrap();
    }
    assert_eq!(forks.len(), 16);
    assert!(forks.hear(&request, &response(200, ";tag=late", BOB)).unwrap().is_some());
}
