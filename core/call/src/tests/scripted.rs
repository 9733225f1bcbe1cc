//! Scenarios against a scripted far end: what two honest phones do not do to each other.

use wakeline_sip_message::{Message, Name};
use wakeline_sip_transaction::ServerKey;

use super::script::{Script, contact, flow, invite, respond, sdp};
use crate::*;

const RELIABLE: [(Name, &str); 2] = [(Name::Require, "100rel"), (Name::RSeq, "5")];

fn ours() -> Script {
    Script::dial(Config::default(), Opening::Offer)
}

// ---- forks -------------------------------------------------------------------------------------------------------

#[test]
fn two_forks_ring_and_the_second_answers() {
    let mut script = ours();
    script.answer(180, "b1", None);
    script.answer(183, "b2", Some("early two"));
    script.answer(183, "b1", Some("early one"));
    script.answer(200, "b2", Some("early two"));
    // The media followed the first fork last, so it hears the winner's answer again.
    let heard: Vec<Describe> = script
        .out
        .iter()
        .filter_map(|output| match output {
            Output::Describe(question @ Describe::Conclude { .. }) => Some(question.clone()),
            _ => None,
        })
        .collect();
    let answers =
        ["early two", "early one", "early two"].map(|text| Describe::Conclude { answer: sdp(text) });
    assert_eq!(heard, answers);
    assert_eq!(script.call.dialog_id().unwrap().remote_tag, "b2");
    assert_eq!(script.acks().len(), 1);
}

#[test]
fn every_further_200_is_acknowledged_and_ended_with_bye() {
    let mut script = Script::talking();
    script.answer_first(200, "b2");
    script.answer_first(200, "b3");
    let byes: Vec<Message> = script
        .sent()
        .into_iter()
        .filter(|(_, request)| request.method().as_str() == "BYE")
        .map(|(_, bye)| bye)
        .collect();
    let tags: Vec<_> = byes.iter().map(|bye| bye.to_tag().unwrap().to_owned()).collect();
    assert_eq!((tags, script.acks().len()), (vec!["b2".to_owned(), "b3".into()], 2));
    assert_eq!(script.call.phase(), Phase::Established);
    // Repeated: another ACK, no other BYE.
    script.answer_first(200, "b2");
    assert_eq!((script.acks().len(), script.sent().len()), (3, 2));
    assert_eq!(script.call.dialogs(), 3);
    // A loser that hangs up by itself is answered.
    let id = DialogId { remote_tag: "b2".into(), ..script.call.dialog_id().unwrap().clone() };
    assert_eq!(script.request_in(&id, "BYE", None, &[]), [200]);
    script.wait(40);
    assert_eq!(script.call.dialogs(), 1);
}

#[test]
fn a_fork_that_ends_by_199_is_forgotten() {
    let mut script = ours();
    script.answer(180, "b1", None);
    script.answer(180, "b2", None);
    assert_eq!(script.call.dialogs(), 2);
    script.answer(199, "b1", None);
    assert_eq!(script.call.dialogs(), 1);
}

#[test]
fn a_challenge_in_a_fork_that_is_gone_leaves_nothing_behind() {
    let mut script = ours();
    script.answer_with(183, "b1", Some("answer"), &[(Name::Require, "100rel"), (Name::RSeq, "7")]);
    script.answer_to("PRACK", 407, None, &[]);
    let id = script.last("PRACK").0;
    script.answer(199, "b1", None);
    let headers = vec![(Name::ProxyAuthorization, "Digest username=\"us\"".to_owned())];
    script.call.authorize(script.now, id, Some(headers));
    script.drain();
    assert_eq!(script.sent().iter().filter(|(_, request)| request.method().as_str() == "PRACK").count(), 1);
    script.answer(486, "b2", None);
    assert_eq!(script.call.phase(), Phase::Ended);
    assert!(script.call.is_finished());
}

#[test]
fn a_200_after_the_end_is_acknowledged_and_ended() {
    let mut script = ours();
    script.answer(180, "b1", None);
    script.call.hang_up(script.now);
    script.drain();
    script.answer(487, "b1", None);
    assert_eq!(script.reason(), Some(EndReason::Cancelled));
    script.answer(200, "b2", Some("late"));
    assert_eq!(script.acks().len(), 1);
    assert_eq!(script.last("BYE").1.to_tag(), Some("b2"));
    assert!(!script.call.is_finished());
    script.answer_to("BYE", 200, None, &[]);
    script.wait(40);
    assert!(script.call.is_finished());
    assert_eq!(script.records().len(), 1);
}

#[test]
fn a_stray_200_is_acknowledged_again() {
    let mut script = Script::talking();
    let response = respond(&script.invite_sent(), 200, "b1", Some("answer"), &[]);
    assert!(script.call.owns_response(&response));
    script.call.handle_stray_response(script.now, &response);
    script.drain();
    assert_eq!(script.acks().len(), 1);
    assert!(script.sent().is_empty());
}

#[test]
fn s14_a_thousand_forks_do_not_fill_the_memory() {
    let mut script = ours();
    for number in 0..1_000 {
        script.answer(180, &format!("b{number}"), None);
    }
    assert!(script.call.dialogs() <= 16);
    script.answer(200, "b0", Some("answer"));
    for number in 1..1_000 {
        script.answer_first(200, &format!("b{number}"));
    }
    assert!(script.call.dialogs() <= 33);
}

// ---- provisional responses ---------------------------------------------------------------------------------------

#[test]
fn an_unknown_provisional_code_is_a_183() {
    let mut script = ours();
    script.answer(110, "b1", None);
    script.answer(100, "", None);
    script.answer(182, "b1", None);
    let progress: Vec<Event> =
        script.events().into_iter().filter(|event| matches!(event, Event::Progress { .. })).collect();
    let wanted = [183, 182].map(|code| Event::Progress { code, ringback: false });
    assert_eq!(progress, wanted);
}

#[test]
fn reliable_responses_out_of_order_are_not_acknowledged() {
    let mut script = ours();
    script.answer_with(180, "b1", None, &[(Name::Require, "100rel"), (Name::RSeq, "5")]);
    script.answer_with(183, "b1", None, &[(Name::Require, "100rel"), (Name::RSeq, "7")]);
    script.answer_with(180, "b1", None, &[(Name::Require, "100rel"), (Name::RSeq, "5")]);
    let racks: Vec<_> = script
        .sent()
        .iter()
        .filter_map(|(_, request)| request.header(Name::RAck).map(str::to_owned))
        .collect();
    let cseq = script.last("INVITE").1.cseq().unwrap().number;
    assert_eq!(racks, [format!("5 {cseq} INVITE")]);
}

#[test]
fn a_reliable_offer_to_an_offerless_invite_is_answered_in_prack() {
    let mut script = Script::dial(Config::default(), Opening::Offerless);
    script.answer_with(183, "b1", Some("their offer"), &RELIABLE);
    assert_eq!(script.last("PRACK").1.body(), &sdp("our answer"));
    script.answer(200, "b1", None);
    assert!(script.acks()[0].body().is_empty());
    assert_eq!(script.call.phase(), Phase::Established);
}

#[test]
fn update_before_the_answer_is_answered_but_not_before_our_offer_is() {
    let mut script = ours();
    script.answer(180, "b1", None);
    let id = DialogId {
        call_id: SipCallId("our-call".into()),
        local_tag: script.last("INVITE").1.from_tag().unwrap().into(),
        remote_tag: "b1".into(),
    };
    let offer = Some(("application/sdp", "v=0 new"));
    assert_eq!(script.request_in(&id, "UPDATE", offer, &[]), [491]);
    script.answer_with(183, "b1", Some("answer"), &RELIABLE);
    assert_eq!(script.request_in(&id, "UPDATE", offer, &[]), [200]);
    assert_eq!(script.responses().last().unwrap().1.body(), &sdp("our answer"));
    assert_eq!(script.request_in(&id, "UPDATE", None, &[]), [200]);
}

#[test]
fn update_before_prack() {
    // Incoming: our reliable 180 with our offer is out, and an UPDATE with another offer comes first (S27).
    let requires = [(Name::Require, "100rel"), (Name::Supported, "100rel")];
    let mut script = Script::incoming(Config::default(), &invite(1, "1", &requires, None));
    assert_eq!(script.codes(), [180]);
    assert_eq!(script.request("UPDATE", Some(("application/sdp", "v=0 x")), &[]), [491]);
    assert_eq!(script.request("PRACK", None, &[(Name::RAck, "1 1 INVITE")]), [481]);
    let rseq = script.responses()[0].1.header(Name::RSeq).unwrap().to_owned();
    let rack = format!("{rseq} 1 INVITE");
    assert_eq!(
        script.request("PRACK", Some(("application/sdp", "v=0 answer")), &[(Name::RAck, &rack)]),
        [200]
    );
    assert_eq!(script.request("UPDATE", Some(("application/sdp", "v=0 x")), &[]), [200]);
    script.call.answer(script.now);
    script.drain();
    assert_eq!(script.codes().last(), Some(&200));
    assert!(script.responses().last().unwrap().1.body().is_empty());
}

// ---- refusals of an outgoing call --------------------------------------------------------------------------------

#[test]
fn final_codes_and_their_reasons() {
    let rejected = |code: u16, reason: &str| EndReason::Rejected { code, reason: reason.into() };
    for (code, reason) in [
        (486, EndReason::Busy),
        (600, EndReason::Busy),
        (603, EndReason::Declined),
        (408, EndReason::NoAnswer),
        (480, EndReason::NoAnswer),
        (487, EndReason::Cancelled),
        (403, rejected(403, "Forbidden")),
        (404, rejected(404, "Not Found")),
        (484, rejected(484, "Address Incomplete")),
        (488, EndReason::MediaRefused { code: 488, why: "Not Acceptable Here".into() }),
        (500, EndReason::Failed { code: Some(500), why: "Server Internal Error".into() }),
    ] {
        let mut script = ours();
        script.answer(code, "b1", None);
        assert_eq!(script.reason(), Some(reason), "{code}");
        assert_eq!(script.records()[0].code, Some(code));
        assert!(script.call.is_finished());
    }
}

#[test]
fn a_challenge_is_handed_out_and_the_invite_sent_again() {
    let mut script = ours();
    let first = script.last("INVITE");
    script.answer(407, "p", None);
    assert!(matches!(script.out.last(), Some(Output::Authorize { id, .. }) if *id == first.0));
    let credentials = vec![(Name::ProxyAuthorization, "Digest username=\"us\"".to_owned())];
    script.call.authorize(script.now, first.0, Some(credentials));
    script.drain();
    let second = script.last("INVITE");
    assert_eq!(second.0, first.0);
    assert_eq!(second.1.cseq().unwrap().number, first.1.cseq().unwrap().number + 1);
    assert_eq!(second.1.from_tag(), first.1.from_tag());
    // The answer to the first attempt, should it come again, is of no interest.
    let late = respond(&first.1, 486, "p", None, &[]);
    script.call.handle_response(script.now, first.0, &late);
    assert_eq!(script.call.phase(), Phase::Dialling);
    script.answer(200, "b1", Some("answer"));
    // RFC 3261 §13.2.2.4: the ACK has the credentials of its INVITE.
    assert_eq!(script.acks()[0].header(Name::ProxyAuthorization), Some("Digest username=\"us\""));
}

#[test]
fn f14_challenges_without_end_are_bounded() {
    let mut script = ours();
    for _ in 0..20 {
        if script.call.phase() != Phase::Dialling {
            break;
        }
        script.answer(401, "p", None);
        let id = script.last("INVITE").0;
        script.call.authorize(script.now, id, Some(vec![(Name::Authorization, "Digest x=\"y\"".to_owned())]));
        script.drain();
    }
    assert_eq!(script.reason(), Some(EndReason::NotAuthorized));
    assert_eq!(script.sent().len(), 4);
}

#[test]
fn a_challenge_that_is_not_to_be_answered_ends_the_call() {
    let mut script = ours();
    script.answer(401, "p", None);
    let id = script.last("INVITE").0;
    script.call.authorize(script.now, id, None);
    script.drain();
    assert_eq!(script.reason(), Some(EndReason::NotAuthorized));
}

#[test]
fn s1_a_bye_that_is_challenged_asks_and_ends_all_the_same() {
    let mut script = Script::talking();
    script.call.hang_up(script.now);
    script.drain();
    script.answer_to("BYE", 401, None, &[]);
    let id = script.last("BYE").0;
    assert!(
        script.out.iter().any(|output| matches!(output, Output::Authorize { id: asked, .. } if *asked == id))
    );
    script.call.authorize(script.now, id, None);
    script.drain();
    assert_eq!(script.reason(), Some(EndReason::LocalHangup));
}

#[test]
fn a_redirection_is_followed_by_q_and_bounded() {
    let mut script = ours();
    let contacts = [(Name::Contact, "<sip:low@x.example.org>;q=0.2, <sip:high@y.example.org>;q=0.9")];
    script.answer_with(302, "p", None, &contacts);
    assert_eq!(script.last("INVITE").1.request_uri_text(), "sip:high@y.example.org");
    // The first target fails, the second is tried.
    script.answer(486, "p", None);
    assert_eq!(script.last("INVITE").1.request_uri_text(), "sip:low@x.example.org");
    assert_eq!(script.last("INVITE").1.header(Name::To), Some("<sip:bob@example.org>"));
    script.answer(486, "p", None);
    assert_eq!(script.reason(), Some(EndReason::Busy));
}

#[test]
fn f14_redirections_without_end_are_bounded() {
    let mut script = ours();
    for number in 0..20 {
        if script.call.phase() == Phase::Ended {
            break;
        }
        let contact = format!("<sip:n{number}@example.org>");
        script.answer_with(302, "p", None, &[(Name::Contact, contact.as_str())]);
    }
    assert_eq!(script.sent().len(), 6);
    assert!(matches!(script.reason(), Some(EndReason::Failed { .. })));
    // A loop ends at once.
    let mut script = ours();
    script.answer_with(302, "p", None, &[(Name::Contact, "<sip:bob@example.org>")]);
    assert_eq!((script.sent().len(), script.records().len()), (1, 1));
}

#[test]
fn interval_too_brief_is_raised_once() {
    let mut script = ours();
    script.answer_with(422, "p", None, &[(Name::MinSe, "3600")]);
    let second = script.last("INVITE").1;
    assert_eq!(
        (second.header(Name::SessionExpires), second.header(Name::MinSe)),
        (Some("3600"), Some("3600"))
    );
    script.answer_with(422, "p", None, &[(Name::MinSe, "3600")]);
    assert!(matches!(script.reason(), Some(EndReason::Rejected { code: 422, .. })));
}

#[test]
fn a_required_extension_that_is_unknown_is_dropped() {
    let config = Config { reliable: Reliable::Required, ..Config::default() };
    let mut script = Script::dial(config, Opening::Offer);
    assert!(script.last("INVITE").1.require().any(|tag| tag == "100rel"));
    script.answer_with(420, "p", None, &[(Name::Unsupported, "100rel")]);
    assert!(script.last("INVITE").1.require().next().is_none());
}

#[test]
fn an_unavailable_hop_is_told_and_another_one_tried() {
    let mut script = ours();
    script.answer_with(503, "p", None, &[(Name::RetryAfter, "120 (busy)")]);
    let id = script.last("INVITE").0;
    let wanted = HopFailure::Unavailable { retry_after: Some(120) };
    assert!(matches!(script.out.last(), Some(Output::TryNextHop { cause, .. }) if *cause == wanted));
    script.call.next_hop(script.now, id, true);
    script.drain();
    script.call.handle_transport_failed(script.now, id);
    script.drain();
    script.call.next_hop(script.now, id, true);
    script.drain();
    script.call.handle_timed_out(script.now, id);
    script.drain();
    script.call.next_hop(script.now, id, false);
    script.drain();
    assert_eq!((script.sent().len(), script.reason()), (3, Some(EndReason::TimedOut)));
}

#[test]
fn a_200_without_contact_or_without_media_is_no_call() {
    let mut script = ours();
    let (id, request) = script.last("INVITE");
    let bare = wakeline_sip_message::Builder::response(&request, 200, "").to_tag("b1").build().unwrap();
    script.call.handle_response(script.now, id, &bare);
    script.drain();
    assert!(matches!(script.reason(), Some(EndReason::Failed { code: Some(200), .. })));

    let mut script = ours();
    script.answer(200, "b1", None);
    assert_eq!(script.acks().len(), 1);
    script.answer_to("BYE", 200, None, &[]);
    assert!(matches!(script.reason(), Some(EndReason::MediaRefused { .. })));
}

#[test]
fn s8_a_header_that_would_forge_another_is_refused() {
    let config =
        Config { headers: vec![(Name::Subject, "x\r\nRoute: <sip:evil>".to_owned())], ..Config::default() };
    let script = Script::dial(config, Opening::Offer);
    assert!(script.sent().is_empty());
    assert!(matches!(script.reason(), Some(EndReason::Failed { .. })));
}

#[test]
fn routes_known_beforehand_lead_the_invite_and_not_the_dialog() {
    let mut script = ours();
    let next_hops: Vec<String> = script
        .out
        .iter()
        .filter_map(|output| match output {
            Output::Send { next_hop, .. } => Some(next_hop.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(next_hops, ["sip:proxy.example.org;lr"]);
    assert_eq!(script.last("INVITE").1.header(Name::Route), Some("<sip:proxy.example.org;lr>"));
    script.answer(200, "b1", Some("answer"));
    assert_eq!(script.acks()[0].header(Name::Route), None);
    assert_eq!(script.acks()[0].request_uri_text(), "sip:b1@192.0.2.2");
}

// ---- incoming ----------------------------------------------------------------------------------------------------

#[test]
fn what_an_invite_must_stand() {
    let field = |script: &Script, name: Name| script.responses()[0].1.header(name).map(str::to_owned);
    let script = Script::incoming(
        Config::default(),
        &invite(1, "1", &[(Name::Require, "foo, timer, bar")], Some("o")),
    );
    assert_eq!((script.codes(), field(&script, Name::Unsupported)), (vec![420], Some("foo, bar".into())));
    assert_eq!(script.records().len(), 1);

    let brief = [(Name::SessionExpires, "60"), (Name::Supported, "timer")];
    let script = Script::incoming(Config::default(), &invite(1, "1", &brief, Some("o")));
    assert_eq!((script.codes(), field(&script, Name::MinSe)), (vec![422], Some("90".into())));

    let mut plain = invite(1, "1", &[], None);
    plain = plain.with_body("text/plain", "hello").unwrap();
    let script = Script::incoming(Config::default(), &plain);
    assert_eq!((script.codes(), field(&script, Name::Accept)), (vec![415], Some("application/sdp".into())));

    let packed = invite(1, "1", &[(Name::ContentEncoding, "gzip")], Some("o"));
    assert_eq!(Script::incoming(Config::default(), &packed).codes(), [415]);

    let both = [(Name::Replaces, "a;to-tag=b;from-tag=c"), (Name::Join, "a;to-tag=b;from-tag=c")];
    assert_eq!(Script::incoming(Config::default(), &invite(1, "1", &both, Some("o"))).codes(), [400]);

    let config = Config { reliable: Reliable::Required, ..Config::default() };
    assert_eq!(Script::incoming(config, &invite(1, "1", &[], Some("o"))).codes(), [421]);
}

#[test]
fn an_invite_tells_whom_it_replaces_and_whether_to_answer_by_itself() {
    let extra = [(Name::Replaces, "98732@x;from-tag=r33;to-tag=xyz;early-only"), (Name::AnswerMode, "Auto")];
    let script = Script::incoming(Config::default(), &invite(1, "1", &extra, Some("o")));
    let dialog =
        DialogId { call_id: SipCallId("98732@x".into()), local_tag: "xyz".into(), remote_tag: "r33".into() };
    let replaces = Some(Replaces { dialog, early_only: true });
    assert!(script.events().contains(&Event::Arrived { replaces, join: None, answer_after: Some(0) }));
    let extra = [(Name::CallInfo, "<sip:x@y>;answer-after=3")];
    let script = Script::incoming(Config::default(), &invite(1, "1", &extra, Some("o")));
    assert!(script.events().contains(&Event::Arrived { replaces: None, join: None, answer_after: Some(3) }));
}

#[test]
fn an_established_call_may_be_joined_and_an_invite_may_require_it() {
    let script = Script::talking();
    let dialog = script.call.dialog_id().unwrap().clone();
    assert_eq!(script.call.may_be_joined(&dialog), Ok(()));
    let other = DialogId { remote_tag: "x".into(), ..dialog };
    assert_eq!(script.call.may_be_joined(&other), Err(481));
    let extra = [(Name::Join, "98732@x;from-tag=r33;to-tag=xyz"), (Name::Require, "join")];
    // Whatever the account does with other calls, this one waits for a person.
    let config = Config { auto_answer: Some(core::time::Duration::ZERO), ..Config::default() };
    let mut script = Script::incoming(config, &invite(1, "1", &extra, Some("o")));
    let join =
        DialogId { call_id: SipCallId("98732@x".into()), local_tag: "xyz".into(), remote_tag: "r33".into() };
    let arrived = Event::Arrived { replaces: None, join: Some(join), answer_after: None };
    assert!(script.events().contains(&arrived));
    script.wait(5);
    assert_eq!(script.codes(), [180]);
}

#[test]
fn an_established_call_may_be_replaced_and_ends_so() {
    let mut script = Script::talking();
    let dialog = script.call.dialog_id().unwrap().clone();
    let replaces = |early_only| Replaces { dialog: dialog.clone(), early_only };
    assert_eq!(script.call.may_be_replaced(&replaces(false)), Ok(()));
    assert_eq!(script.call.may_be_replaced(&replaces(true)), Err(486));
    let other = Replaces { dialog: DialogId { remote_tag: "x".into(), ..dialog.clone() }, early_only: false };
    assert_eq!(script.call.may_be_replaced(&other), Err(481));
    script.call.end_replaced(script.now);
    script.drain();
    script.answer_to("BYE", 200, None, &[]);
    assert_eq!(script.reason(), Some(EndReason::Replaced));
    assert_eq!(script.call.may_be_replaced(&replaces(false)), Err(603));
}

#[test]
fn cancel_with_its_reasons() {
    for (reason, wanted) in [
        ("SIP;cause=200;text=\"Call completed elsewhere\"", EndReason::AnsweredElsewhere),
        ("Q.850;cause=16, SIP ;cause=200", EndReason::AnsweredElsewhere),
        ("SIP;cause=600", EndReason::DeclinedElsewhere),
        ("SIP;cause=603", EndReason::DeclinedElsewhere),
        ("SIP;cause=487", EndReason::Cancelled),
        ("Q.850;cause=200", EndReason::Cancelled),
        ("nonsense", EndReason::Cancelled),
    ] {
        let first = invite(1, "1", &[], Some("o"));
        let mut script = Script::incoming(Config::default(), &first);
        let cancel =
            wakeline_sip_message::Builder::request(wakeline_sip_message::Method::Cancel, "sip:us@192.0.2.1")
                .copy(&first, Name::Via)
                .copy(&first, Name::From)
                .copy(&first, Name::To)
                .copy(&first, Name::CallId)
                .header(Name::CSeq, "1 CANCEL")
                .header(Name::Reason, reason)
                .build()
                .unwrap();
        script.call.handle_cancelled(script.now, ServerKey(1), &cancel);
        script.drain();
        assert_eq!(script.codes(), [180, 487]);
        assert_eq!(script.reason(), Some(wanted), "{reason}");
    }
}

#[test]
fn invite_twice_by_fork_while_the_first_flow_lives() {
    let mut script = Script::incoming(Config::default(), &invite(1, "1", &[], Some("o")));
    let second = invite(1, "2", &[], Some("o"));
    assert!(script.call.owns_request(&second));
    script.call.handle_request(script.now, ServerKey(2), flow(2), &second);
    script.drain();
    let (key, response) = script.responses().pop().unwrap();
    assert_eq!((key, response.status()), (ServerKey(2), Some(482)));
    assert_eq!(script.call.phase(), Phase::Ringing);
}

#[test]
fn invite_again_after_the_first_flow_died_is_adopted() {
    let mut script = Script::incoming(Config::default(), &invite(1, "1", &[], Some("o")));
    script.call.handle_flow_lost(flow(1).id);
    script.call.handle_request(script.now, ServerKey(2), flow(2), &invite(1, "2", &[], Some("o")));
    script.drain();
    let told: Vec<_> = script
        .responses()
        .iter()
        .skip(1)
        .map(|(key, response)| (key.0, response.status().unwrap()))
        .collect();
    assert_eq!(told, [(1, 482), (2, 180)]);
    let tags: Vec<_> = script.responses().iter().filter_map(|(_, r)| r.to_tag().map(str::to_owned)).collect();
    assert_eq!(tags[0], tags[tags.len() - 1]);
    assert_eq!(script.events().iter().filter(|event| matches!(event, Event::Arrived { .. })).count(), 1);
    script.call.answer(script.now);
    script.drain();
    let (key, response) = script.responses().pop().unwrap();
    assert_eq!((key, response.status()), (ServerKey(2), Some(200)));
    assert_eq!(response.via().unwrap().branch(), Some("z9hG4bK2"));
    // A third copy on a dead second flow gets the 200.
    script.call.handle_flow_lost(flow(2).id);
    script.call.handle_request(script.now, ServerKey(3), flow(3), &invite(1, "3", &[], Some("o")));
    script.drain();
    let (key, response) = script.responses().pop().unwrap();
    assert_eq!((key, response.status(), response.body()), (ServerKey(3), Some(200), &sdp("our answer")[..]));
    script.ack(None);
    assert_eq!(script.call.incoming_state(), Some(IncomingState::Established));
}

#[test]
fn invite_again_after_we_declined_on_a_dead_flow_hears_it_again() {
    let mut script = Script::incoming(Config::default(), &invite(1, "1", &[], Some("o")));
    script.call.handle_flow_lost(flow(1).id);
    script.call.decline(script.now, Refusal::Everywhere);
    script.drain();
    script.call.handle_request(script.now, ServerKey(2), flow(2), &invite(1, "2", &[], Some("o")));
    script.drain();
    assert_eq!(script.codes(), [180, 603, 603]);
    assert_eq!(script.records().len(), 1);
}

#[test]
fn an_invite_that_expires_while_it_rings() {
    let mut script =
        Script::incoming(Config::default(), &invite(1, "1", &[(Name::Expires, "20")], Some("o")));
    script.wait(19);
    assert_eq!(script.call.phase(), Phase::Ringing);
    script.wait(2);
    assert_eq!((script.codes(), script.reason()), (vec![180, 480], Some(EndReason::NoAnswer)));
}

#[test]
fn a_caller_that_is_kept_waiting_hears_180_every_minute() {
    let config = Config { ring_timeout: None, ..Config::default() };
    let mut script = Script::incoming(config, &invite(1, "1", &[], Some("o")));
    script.wait(185);
    assert_eq!(script.codes(), [180; 4]);
}

#[test]
fn moved_while_it_rings_describes_anew_and_answers_from_there() {
    let mut script = Script::incoming(Config::default(), &invite(1, "1", &[], Some("o")));
    let uri = wakeline_sip_message::OwnedUri::parse("sip:us@198.51.100.9").unwrap();
    script.call.moved(script.now, DialogContact::new(&uri).unwrap());
    script.drain();
    script.call.answer(script.now);
    script.drain();
    let questions = script.out.iter().filter(|output| matches!(output, Output::Describe(_))).count();
    assert_eq!(questions, 2);
    assert_eq!(script.responses().pop().unwrap().1.header(Name::Contact), Some("<sip:us@198.51.100.9>"));
}

// ---- in the call -------------------------------------------------------------------------------------------------

#[test]
fn requests_that_change_nothing() {
    let mut script = Script::talking();
    let relay = Some(("application/dtmf-relay", "Signal=7\r\nDuration=100\r\n"));
    assert_eq!(script.request("INFO", relay, &[]), [200]);
    assert_eq!(script.request("INFO", None, &[]), [200]);
    assert_eq!(script.request("INFO", Some(("text/plain", "x")), &[]), [415]);
    assert_eq!(script.request("INFO", Some(("application/dtmf", "xx")), &[]), [400]);
    assert_eq!(script.request("OPTIONS", None, &[]), [200]);
    assert_eq!(script.request("MESSAGE", Some(("text/plain", "hi")), &[]), [405]);
    assert_eq!(script.request("SUBSCRIBE", None, &[]), [405]);
    assert_eq!(script.request("NOTIFY", None, &[]), [481]);
    assert_eq!(script.request("PRACK", None, &[(Name::RAck, "1 1 INVITE")]), [481]);
    assert_eq!(script.request("FROBNICATE", None, &[]), [501]);
    assert_eq!(script.call.phase(), Phase::Established);
    assert!(script.events().contains(&Event::Digit('7')));
}

#[test]
fn an_info_package_that_we_do_not_have() {
    let mut script = Script::talking();
    let package = Name::parse("Info-Package").unwrap();
    assert_eq!(script.request("INFO", Some(("text/x", "x")), &[(package, "foo")]), [469]);
}

#[test]
fn refer_is_answered_by_policy() {
    let mut script = Script::talking();
    let to = [(Name::ReferTo, "<sip:carol@example.net>"), (Name::ReferredBy, "<sip:bob@example.org>")];
    assert_eq!(script.request("REFER", None, &to), [603]);
    assert!(script.sent().is_empty());
    assert_eq!(script.request("REFER", None, &[]), [400]);

    let config = Config { transfer: TransferPolicy::Accept, ..Config::default() };
    let mut script = Script::dial(config, Opening::Offer);
    script.answer(200, "b1", Some("answer"));
    assert_eq!(script.request("REFER", None, &to), [202]);
    let asked = Event::TransferAsked {
        refer_to: "sip:carol@example.net".into(),
        referred_by: Some("<sip:bob@example.org>".into()),
        accepted: true,
    };
    assert!(script.events().contains(&asked));
    assert_eq!(script.last("NOTIFY").1.body(), "SIP/2.0 100 Trying\r\n".as_bytes());
    script.answer_to("NOTIFY", 200, None, &[]);
    script.call.transfer_progress(200, "OK");
    script.drain();
    let last = script.last("NOTIFY").1;
    assert_eq!(last.header(Name::SubscriptionState), Some("terminated;reason=noresource"));
    // A transfer whose subscription is gone leaves the call alone.
    script.answer_to("NOTIFY", 481, None, &[]);
    assert_eq!(script.call.phase(), Phase::Established);
}

#[test]
fn a_request_out_of_order_is_refused() {
    let mut script = Script::talking();
    assert_eq!(script.request("OPTIONS", None, &[]), [200]);
    script.rewind(1);
    assert_eq!(script.request("OPTIONS", None, &[]), [500]);
    script.rewind(5);
    assert_eq!(script.request("BYE", None, &[]), [500]);
    assert_eq!(script.call.phase(), Phase::Established);
}

#[test]
fn a_peer_that_has_forgotten_the_call_ends_it() {
    for (code, byes) in [(481, 0), (408, 1), (404, 1)] {
        let mut script = Script::talking();
        script.call.hold(script.now, true);
        script.drain();
        script.answer_to("INVITE", code, None, &[]);
        let sent = script.sent().iter().filter(|(_, request)| request.method().as_str() == "BYE").count();
        assert_eq!(sent, byes, "{code}");
        if byes == 1 {
            script.answer_to("BYE", 481, None, &[]);
        }
        assert_eq!(script.reason(), Some(EndReason::PeerLost), "{code}");
    }
}

#[test]
fn a_connection_lost_in_a_reinvite_does_not_end_the_call() {
    let mut script = Script::talking();
    script.call.moved(script.now, contact());
    script.drain();
    let id = script.last("INVITE").0;
    script.call.handle_transport_failed(script.now, id);
    script.drain();
    assert_eq!(script.call.phase(), Phase::Established);
    for code in [503, 504, 488, 500, 403] {
        script.call.moved(script.now, contact());
        script.drain();
        script.answer_to("INVITE", code, None, &[]);
        assert_eq!(script.call.phase(), Phase::Established, "{code}");
    }
}

#[test]
fn a_reinvite_without_offer_gets_ours_and_its_answer_in_the_ack() {
    let mut script = Script::talking();
    assert_eq!(script.request("INVITE", None, &[]), [200]);
    assert_eq!(script.responses().last().unwrap().1.body(), &sdp("our offer"));
    // Until the ACK an offer of ours is open.
    assert_eq!(script.request("UPDATE", Some(("application/sdp", "v=0 x")), &[]), [491]);
    script.ack(Some("their answer"));
    assert!(matches!(
        &script.out[..],
        [.., Output::Describe(Describe::Conclude { .. }), Output::Event(Event::MediaAgreed)]
    ));
    assert_eq!(script.request("INVITE", Some(("application/sdp", "v=0 x")), &[]), [200]);
    assert_eq!(script.responses().last().unwrap().1.body(), &sdp("our answer"));
}

#[test]
fn a_second_reinvite_before_the_first_is_answered() {
    let mut script = Script::talking();
    script.media = false;
    assert!(script.request("INVITE", Some(("application/sdp", "v=0 x")), &[]).is_empty());
    assert_eq!(script.request("INVITE", Some(("application/sdp", "v=0 y")), &[]), [500]);
    assert!(script.responses().last().unwrap().1.header(Name::RetryAfter).is_some());
    assert_eq!(script.request("BYE", None, &[]), [200, 487]);
}

#[test]
fn target_refresh_by_reinvite_and_update() {
    let mut script = Script::talking();
    assert_eq!(script.request("UPDATE", None, &[]), [200]);
    script.call.send_digits("1");
    script.drain();
    assert_eq!(script.last("INFO").1.request_uri_text(), "sip:bob@192.0.2.77");
}

#[test]
fn an_offer_in_the_200_that_does_not_fit_is_acknowledged_and_ended() {
    let mut script = Script::dial(Config::default(), Opening::Offerless);
    script.media = false;
    script.answer(200, "b1", Some("their offer"));
    // Repeated while the media thinks: no ACK yet, and no second dialog.
    script.answer(200, "b1", Some("their offer"));
    assert!(script.acks().is_empty() && script.call.dialogs() == 1);
    script.media(Described::Refused { code: 488, why: "no codec".into() });
    assert_eq!((script.acks().len(), script.last("BYE").1.header(Name::Reason).is_some()), (1, true));
    script.answer_to("BYE", 200, None, &[]);
    assert!(matches!(script.reason(), Some(EndReason::MediaRefused { code: 488, .. })));
}

impl Script {
    /// The INVITE, though `out` was cleared since: made again from what the call still knows.
    fn invite_sent(&self) -> Message {
        self.first_invite()
    }

    /// A response to the INVITE that started the call.
    fn answer_first(&mut self, code: u16, tag: &str) {
        let request = self.first_invite();
        let response = respond(&request, code, tag, Some("another"), &[]);
        self.call.handle_response(self.now, RequestId(1), &response);
        self.drain();
    }

    fn first_invite(&self) -> Message {
        self.call.own_invite().unwrap()
    }
}

#[test]
fn what_a_change_must_stand() {
    let mut script = Script::talking();
    assert_eq!(script.request("INVITE", None, &[(Name::Require, "foo")]), [420]);
    assert_eq!(script.request("INVITE", Some(("text/plain", "x")), &[]), [415]);
    let brief = [(Name::SessionExpires, "10"), (Name::Supported, "timer")];
    assert_eq!(script.request("UPDATE", None, &brief), [422]);
    assert_eq!(script.call.phase(), Phase::Established);
    let reason = [(Name::Reason, "SIP;cause=503;text=\"no media\""), (Name::Require, "foo")];
    assert_eq!(script.request("BYE", None, &reason), [200]);
    assert_eq!((script.reason(), script.records()[0].code), (Some(EndReason::RemoteHangup), Some(503)));
}

#[test]
fn an_early_answer_that_does_not_fit_ends_the_call_if_its_fork_wins() {
    let mut script = ours();
    script.media = false;
    script.answer(183, "b1", Some("answer"));
    script.answer(200, "b1", Some("answer"));
    assert_eq!(script.call.phase(), Phase::Established);
    script.media(Described::Refused { code: 488, why: "no codec".into() });
    assert_eq!(script.call.phase(), Phase::Ending);

    // The answer of a fork that lost is of no interest any more.
    let mut script = ours();
    script.media = false;
    script.answer(183, "b1", Some("one"));
    script.answer(200, "b2", Some("two"));
    script.media(Described::Refused { code: 488, why: "no codec".into() });
    assert_eq!(script.call.phase(), Phase::Established);
    assert!(!script.events().contains(&Event::MediaAgreed));
    script.media(Described::Accepted);
    assert!(script.events().contains(&Event::MediaAgreed));
}
