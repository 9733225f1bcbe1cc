//! One binding's life against a scripted registrar, on virtual time. Tests are named by the order of events.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test program")]

mod bench;

use std::time::Duration;

use bench::*;
use wakeline_flow::FlowId;
use wakeline_push::PushMode;
use wakeline_registration::*;
use wakeline_sip_message::{Builder, Name};

#[test]
fn start_flow_register_200_registered() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("dK2:APA91b"))));
    bench.act(|machine, now| machine.start(now));
    let flow = bench.open();
    let request = bench.last().clone();
    assert_eq!(request.request_uri_text(), "sip:example.org");
    assert_eq!(
        bench.contact(),
        format!(
            "<sip:mia@10.20.0.5:40001;transport=tls;ob;pn-provider=fcm;pn-param=acme-voice;pn-prid=dK2:APA91b>\
             ;reg-id=1;+sip.instance=\"<{INSTANCE}>\""
        )
    );
    assert_eq!(request.header(Name::Supported), Some("path, outbound, gruu"));
    assert_eq!((request.expires(), request.to_tag()), (Ok(Some(3600)), None));
    bench.accept();
    let registered =
        Registered { expires: 604_800, push: PushStatus::Confirmed, round_trips: 1, flow, flow_timer: None };
    assert_eq!(bench.events, [Event::Registered(registered)]);
    assert_eq!(bench.machine.offer().purr.as_deref(), Some("p1"));
    assert_eq!(bench.machine.flow(), Some(flow));
    assert!(!format!("{:?}", bench.machine.contact()).contains("APA91b"), "a log shows no token");
}

#[test]
fn register_401_register_200_then_a_refresh_of_one_round_trip() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(401, &[(Name::WwwAuthenticate, CHALLENGE)]);
    assert_eq!(bench.sent.len(), 2);
    let numbers: Vec<u32> = bench.sent.iter().map(|(sent, _)| sent.cseq().unwrap().number).collect();
    assert_eq!(numbers[1], numbers[0] + 1);
    assert_eq!(bench.sent[0].0.call_id(), bench.sent[1].0.call_id());
    bench.accept_with(3600, "fcm");
    assert_eq!(bench.machine.round_trips(), Some(2));
    assert_eq!(bench.next(), Duration::from_secs(3000));
    assert!(bench.last().header(Name::Authorization).unwrap().contains("nc=00000002"));
    bench.accept_with(3600, "fcm");
    assert_eq!((bench.machine.round_trips(), bench.sent.len()), (Some(1), 3));
}

#[test]
fn cold_start_after_a_kill_costs_one_register_and_goes_on_counting() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("t1"))));
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(401, &[(Name::WwwAuthenticate, CHALLENGE)]);
    bench.accept();
    let before = bench.last().clone();
    let memory = serde_json::to_string(&bench.remembered.clone().unwrap()).unwrap();

    let mut woken = Bench::new(config(), Some(serde_json::from_str(&memory).unwrap()));
    woken.act(|machine, now| machine.wake(now, Some(wid("Zk3vQm1xT0aB9wLr"))));
    woken.open();
    let request = woken.last();
    assert_eq!(request.call_id(), before.call_id());
    assert_eq!(request.cseq().unwrap().number, before.cseq().unwrap().number + 1);
    assert!(request.header(Name::Authorization).unwrap().contains("nc=00000002"));
    assert_eq!(request.header_by_name("X-Wake-Id"), Some("Zk3vQm1xT0aB9wLr"));
    assert!(woken.contact().contains("pn-prid=t1"), "the token is kept without being told again");
    woken.accept();
    assert_eq!(woken.machine.round_trips(), Some(1));
}

#[test]
fn the_count_is_remembered_before_the_request_leaves() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("t"))));
    let memory = bench.remembered.clone().unwrap();
    assert_eq!(memory.cseq, bench.last().cseq().unwrap().number);
}

#[test]
fn every_register_of_a_binding_carries_the_same_push_parameters() {
    let mut bench = Bench::registered(config(), Some(token("dK2_ex:APA91b")));
    let push = |contact: &str| {
        let from = contact.find(";pn-provider").expect("push parameters");
        contact[from..contact.find('>').unwrap()].to_owned()
    };
    let mut seen = Vec::new();
    bench.next();
    seen.push(push(&bench.contact()));
    bench.accept();
    bench.act(|machine, now| machine.suspend(now));
    bench.pass(Duration::from_secs(7200));
    bench.act(|machine, now| machine.wake(now, None));
    bench.open();
    seen.push(push(&bench.contact()));
    assert_eq!(seen[0], seen[1]);
}

#[test]
fn register_200_without_feature_caps_is_not_offered_but_taken_for_granted_in_other_modes() {
    for (mode, status) in [
        (PushMode::Rfc8599, PushStatus::NotOffered),
        (PushMode::Linphone, PushStatus::Confirmed),
        (PushMode::Xmpush, PushStatus::Confirmed),
        (PushMode::None, PushStatus::NotAsked),
    ] {
        let mut account = config();
        account.push_mode = mode;
        let mut bench = Bench::new(account, None);
        bench.act(|machine, now| machine.set_push(now, Some(token("t1"))));
        bench.act(|machine, now| machine.start(now));
        bench.open();
        bench.accept_with(3600, "apns");
        assert_eq!(bench.machine.push_status(), status, "{mode:?}");
        let contact = bench.contact();
        assert_eq!(contact.contains("pn-prid"), matches!(mode, PushMode::Rfc8599 | PushMode::Linphone));
        let header = bench.last().header_by_name("X-MPUSH");
        assert_eq!(header, (mode == PushMode::Xmpush).then_some("a:acme-voice:t1"));
    }
}

#[test]
fn register_555_register_plainly_200_refused() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("t1"))));
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(555, &[]);
    assert!(!bench.contact().contains("pn-"));
    bench.accept();
    assert_eq!(
        (bench.machine.push_status(), bench.machine.phase()),
        (PushStatus::Refused, Phase::Registered)
    );
    bench.next();
    assert!(!bench.contact().contains("pn-"), "and stays so");
}

#[test]
fn register_423_register_with_min_expires_200() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(423, &[(Name::MinExpires, "7200")]);
    assert_eq!(bench.last().expires(), Ok(Some(7200)));
    bench.accept_with(7200, "x");
    assert_eq!(bench.machine.phase(), Phase::Registered);
    assert_eq!(bench.remembered.as_ref().unwrap().min_expires, 7200);
}

#[test]
fn register_439_register_without_outbound_200() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.answer(439, &[]);
    assert!(!bench.contact().contains("reg-id") && !bench.contact().contains(";ob"));
    assert_eq!(bench.last().header(Name::Supported), Some("path, gruu"));
    bench.answer(200, &[]);
    assert_eq!(bench.machine.outbound_support(), OutboundSupport::Refused);
    bench.next();
    assert!(!bench.contact().contains("reg-id"), "and is not offered again");
}

#[test]
fn token_rotated_with_outbound_replaces_in_one_register() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.set_push(now, Some(token("t2"))));
    assert!(bench.contact().contains("pn-prid=t2") && bench.contact().contains("reg-id=1"));
    bench.accept();
    assert_eq!(bench.sent.len(), 1);
    bench.act(|machine, now| machine.set_push(now, Some(token("t2"))));
    assert_eq!(bench.sent.len(), 1, "the same token again changes nothing");
}

#[test]
fn token_rotated_without_outbound_removes_the_old_contact_first() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("t1"))));
    bench.act(|machine, now| machine.start(now));
    bench.open();
    let old = bench.contact();
    bench.answer(200, &[(Name::FeatureCaps, "+sip.pns=\"fcm\"")]);
    assert_eq!(bench.machine.outbound_support(), OutboundSupport::Lacking);
    bench.act(|machine, now| machine.set_push(now, Some(token("t2"))));
    assert_eq!(bench.contact(), format!("{old};expires=0"));
    bench.answer(200, &[]);
    assert!(bench.contact().contains("pn-prid=t2") && !bench.contact().contains("expires=0"));
    bench.answer(200, &[(Name::FeatureCaps, "+sip.pns=\"fcm\"")]);
    assert_eq!(bench.sent.len(), 3);
    assert_eq!(bench.machine.phase(), Phase::Registered);
}

#[test]
fn token_rotated_between_two_launches_is_found_at_the_second() {
    let bench = Bench::registered(config(), Some(token("t1")));
    let mut second = Bench::new(config(), bench.remembered.clone());
    second.act(|machine, now| machine.set_push(now, Some(token("t2"))));
    second.act(|machine, now| machine.start(now));
    second.open();
    assert!(second.contact().contains("pn-prid=t2"));
}

#[test]
fn token_lost_registers_plainly() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.set_push(now, None));
    assert!(!bench.contact().contains("pn-"));
    bench.accept();
    assert_eq!(bench.machine.push_status(), PushStatus::NotAsked);
}

#[test]
fn f8_token_rotated_while_the_register_is_out_follows_it() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.set_push(now, Some(token("t1"))));
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.act(|machine, now| machine.set_push(now, Some(token("t2"))));
    assert_eq!(bench.sent.len(), 1);
    bench.accept();
    assert_eq!(bench.sent.len(), 2);
    assert!(bench.contact().contains("pn-prid=t2"));
}

#[test]
fn unregister_removes_the_contact_without_its_token() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.unregister(now));
    assert!(bench.contact().ends_with(";expires=0") && !bench.contact().contains("pn-"));
    bench.answer(200, &[]);
    assert_eq!(bench.events, [Event::Unregistered]);
    assert_eq!((bench.machine.phase(), bench.machine.poll_timeout()), (Phase::Idle, None));
    assert_eq!(bench.closed, [FlowId(1)]);
}

#[test]
fn unregister_all_is_a_star() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.unregister_all(now));
    assert_eq!((bench.contact().as_str(), bench.last().expires()), ("*", Ok(Some(0))));
    bench.answer(200, &[]);
    assert_eq!(bench.events, [Event::Unregistered]);
}

#[test]
fn unregister_that_nobody_answers_ends_all_the_same() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.unregister(now));
    bench.act(|machine, now| machine.timed_out(now));
    assert_eq!((bench.events.last(), bench.machine.phase()), (Some(&Event::Unregistered), Phase::Idle));
}

#[test]
fn unregister_while_registering_waits_for_the_200_and_start_during_it_binds_again() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.act(|machine, now| machine.unregister(now));
    bench.accept();
    assert!(bench.contact().ends_with(";expires=0"));
    bench.act(|machine, now| machine.start(now));
    bench.answer(200, &[]);
    assert!(!bench.contact().ends_with(";expires=0"));
    bench.accept();
    assert_eq!(bench.machine.phase(), Phase::Registered);
}

#[test]
fn suspend_closes_the_flow_keeps_the_binding_and_nothing_ticks() {
    let mut bench = Bench::registered(config(), Some(token("t1")));
    bench.act(|machine, now| machine.suspend(now));
    assert_eq!((bench.closed.as_slice(), bench.sent.len()), (&[FlowId(1)][..], 0));
    assert_eq!((bench.machine.phase(), bench.machine.poll_timeout()), (Phase::Suspended, None));
    bench.pass(Duration::from_secs(3600));
    bench.act(|machine, now| machine.handle_timeout(now));
    bench.act(|machine, now| machine.network_changed(now));
    assert_eq!((bench.opening, bench.sent.len()), (0, 0));
}

#[test]
fn suspend_while_registering_waits_for_the_answer() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    bench.act(|machine, now| machine.suspend(now));
    assert!(bench.closed.is_empty());
    bench.accept();
    assert_eq!((bench.machine.phase(), bench.closed.as_slice()), (Phase::Suspended, &[FlowId(1)][..]));
}

#[test]
fn an_answer_that_comes_too_late_changes_nothing() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.network_changed(now));
    bench.open();
    let late = Builder::response(bench.last(), 200, "").build().unwrap();
    bench.act(|machine, now| machine.timed_out(now));
    bench.next();
    bench.open();
    let wall = bench.wall;
    bench.act(|machine, now| machine.responded(now, wall, &late));
    assert_eq!(bench.machine.phase(), Phase::Registering);
}

#[test]
fn the_200_grants_what_its_own_contact_says() {
    let mut bench = Bench::new(config(), None);
    bench.act(|machine, now| machine.start(now));
    bench.open();
    let ours = format!(
        "{};expires=1800;pub-gruu=\"sip:mia@example.org;gr={INSTANCE}\";temp-gruu=\"sip:tg.9f@example.org;gr\"",
        bench.contact()
    );
    let other = "<sip:mia@192.0.2.77>;expires=60;+sip.instance=\"<urn:uuid:other>\"";
    bench.answer(
        200,
        &[
            (Name::Contact, other),
            (Name::Contact, &ours),
            (Name::Expires, "3600"),
            (Name::ServiceRoute, "<sip:edge.example.org;lr>, <sip:core.example.org;lr>"),
            (Name::FlowTimer, "120"),
            (Name::Require, "outbound"),
        ],
    );
    assert_eq!(bench.machine.expires_in(bench.now), Some(Duration::from_secs(1800)));
    assert_eq!(bench.machine.service_route(), ["<sip:edge.example.org;lr>", "<sip:core.example.org;lr>"]);
    assert_eq!(bench.machine.flow_timer(), Some(120));
    let gruus = bench.machine.gruus();
    assert_eq!(gruus.public.as_deref(), Some(format!("sip:mia@example.org;gr={INSTANCE}").as_str()));
    assert_eq!(gruus.temporary.as_deref(), Some("sip:tg.9f@example.org;gr"));
}
