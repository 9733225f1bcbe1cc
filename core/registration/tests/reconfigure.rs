//! The account's settings change while it is registered.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test program")]

mod bench;

use bench::*;
use wakeline_flow::FlowId;
use wakeline_registration::*;
use wakeline_sip_message::{Name, OwnedUri};

#[test]
fn changed_settings_are_told_to_the_registrar_at_once_on_the_same_flow() {
    type Change = fn(&mut AccountConfig);
    let changes: [(Change, &str); 5] = [
        (|config| config.expires = 77, "Expires: 77\r\n"),
        (|config| config.display_name = Some("Mia B".into()), "From: \"Mia B\" <sip:mia@example.org>"),
        (|config| config.contact_parameters = vec![("+sip.x".into(), None)], ";+sip.x\r\n"),
        (|config| config.contact_uri_parameters = vec![("y".into(), Some("1".into()))], ";y=1;ob"),
        (|config| config.headers = vec![(Name::parse("X-A").unwrap(), "b".into())], "X-A: b\r\n"),
    ];
    for (change, seen) in changes {
        let mut bench = Bench::registered(config(), None);
        let mut changed = config();
        change(&mut changed);
        bench.act(|machine, now| machine.reconfigure(now, changed.clone(), Edge::Same));
        assert_eq!((bench.sent.len(), bench.opening), (1, 0), "{seen}");
        let wire = String::from_utf8(bench.last().to_bytes().to_vec()).unwrap();
        assert!(wire.contains(seen), "{seen}: {wire}");
        // While one is out, the change follows it.
        let mut bench = Bench::registered(config(), None);
        bench.act(|machine, now| machine.start(now));
        bench.act(|machine, now| machine.reconfigure(now, changed.clone(), Edge::Same));
        assert_eq!(bench.sent.len(), 1);
        bench.accept();
        assert_eq!(bench.sent.len(), 2);
        bench.accept();
        // The same once more changes nothing.
        bench.act(|machine, now| machine.reconfigure(now, changed.clone(), Edge::Same));
        assert_eq!(bench.sent.len(), 2);
        assert_eq!(bench.machine.phase(), Phase::Registered);
    }
}

#[test]
fn a_changed_way_is_gone_on_a_fresh_flow_and_the_old_one_ends_after_the_200() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.reconfigure(now, config(), Edge::Changed));
    assert!(bench.closed.is_empty());
    bench.open();
    bench.accept();
    assert_eq!((bench.closed.as_slice(), bench.sent.len()), (&[FlowId(1)][..], 1));
}

#[test]
fn another_address_of_record_removes_the_old_binding_and_begins_anew() {
    let uri = |text| OwnedUri::parse(text).unwrap();
    let mut other = config();
    other.address = uri("sip:max@example.org");
    other.contact_user = "max".into();
    let mut bench = Bench::registered(config(), Some(token("t1")));
    let old = bench.machine.remembered().call_id;
    bench.act(|machine, now| machine.reconfigure(now, other.clone(), Edge::Changed));
    assert!(
        bench.contact().contains("sip:mia@") && bench.contact().ends_with(";expires=0"),
        "{}",
        bench.contact()
    );
    // A further change before the answer: only the last one counts.
    other.display_name = Some("Max".into());
    bench.act(|machine, now| machine.reconfigure(now, other.clone(), Edge::Same));
    bench.answer(200, &[]);
    assert_eq!(bench.events.pop(), Some(Event::Unregistered));
    bench.open();
    let register = bench.last().clone();
    assert_eq!(register.header(Name::To), Some("<sip:max@example.org>"));
    assert!(register.header(Name::From).unwrap().starts_with("\"Max\""), "{register:?}");
    assert_ne!(register.call_id(), old);
    assert!(bench.contact().contains("pn-prid=t1") && bench.contact().contains(INSTANCE));
    bench.accept();
    assert_eq!((bench.machine.phase(), bench.sent.len()), (Phase::Registered, 2));

    // Told to unregister meanwhile, the new account stays away until it is started.
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.reconfigure(now, other.clone(), Edge::Same));
    bench.act(|machine, now| machine.unregister(now));
    bench.answer(200, &[]);
    if bench.machine.phase() == Phase::Registering {
        bench.answer(200, &[]);
    }
    assert_eq!((bench.machine.phase(), bench.opening), (Phase::Idle, 0));
    bench.act(|machine, now| machine.start(now));
    bench.open();
    assert_eq!(bench.last().header(Name::To), Some("<sip:max@example.org>"));
}

#[test]
fn a_registration_that_rests_takes_its_new_settings_along() {
    let mut bench = Bench::registered(config(), None);
    bench.act(|machine, now| machine.suspend(now));
    let changed = AccountConfig { expires: 77, ..config() };
    bench.act(|machine, now| machine.reconfigure(now, changed, Edge::Changed));
    assert_eq!((bench.opening, bench.sent.len()), (0, 0));
    bench.act(|machine, now| machine.resume(now));
    bench.open();
    assert_eq!(bench.last().header(Name::Expires), Some("77"));
}
