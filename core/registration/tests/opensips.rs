//! Our phone at OpenSIPS 3.4, as registrar or in front of a gateway of ours.
//!
//! Modelled, in our own words, on what that version does: it writes `Feature-Caps` without RFC 6809's `*;`, asks for a refresh 130 s
//! before the end, hands out a PURR that is its contact's number, does not require outbound, answers 555 for a service that it
//! was not told of, and finds a binding by its push parameters, so that another token is another Contact to it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test program")]

mod bench;

use std::time::Duration;

use bench::*;
use wakeline_push::PushMode;
use wakeline_registration::*;
use wakeline_sip_message::Name;

const CAPS: &str = "+sip.pns=\"fcm\";+sip.pnsreg=\"130\";+sip.pnspurr=\"3.5.8\"";

/// A phone that is registered there; with what the 200 said of push.
fn registered(config: AccountConfig, caps: &[&str], expires: u32) -> Bench {
    let mut bench = Bench::new(config, None);
    bench.act(|machine, now| machine.set_push(now, Some(token("dK2:APA91b"))));
    bench.act(|machine, now| machine.start(now));
    bench.open();
    ok(&mut bench, caps, expires);
    bench
}

fn ok(bench: &mut Bench, caps: &[&str], expires: u32) {
    let contact = format!("{};expires={expires}", bench.contact());
    let mut fields = vec![(Name::Contact, contact.as_str())];
    fields.extend(caps.iter().map(|caps| (Name::FeatureCaps, *caps)));
    bench.answer(200, &fields);
}

#[test]
fn its_feature_caps_confirm_the_push_and_its_purr_is_taken() {
    let mut bench = registered(config(), &[CAPS], 3600);
    assert_eq!(
        (bench.machine.phase(), bench.machine.push_status()),
        (Phase::Registered, PushStatus::Confirmed)
    );
    assert_eq!(bench.machine.offer().purr.as_deref(), Some("3.5.8"));
    assert_eq!(bench.machine.offer().refresh_before, Some(130));
    assert!(bench.next() <= Duration::from_secs(3600 - 130), "never later than it asks for");
}

#[test]
fn of_several_services_in_one_field_or_in_many_ours_is_found() {
    for caps in [
        &["+sip.pns=\"apns\";+sip.pnspurr=\"1.1.1\", +sip.pns=\"fcm\";+sip.pnspurr=\"3.5.8\""][..],
        &["+sip.pns=\"apns\";+sip.pnspurr=\"1.1.1\"", "+sip.pns=\"fcm\";+sip.pnspurr=\"3.5.8\""],
        &["*;+sip.ice", "*;+sip.pns=\"FCM\";+sip.pnspurr=\"3.5.8\""],
    ] {
        let bench = registered(config(), caps, 3600);
        assert_eq!(bench.machine.push_status(), PushStatus::Confirmed, "{caps:?}");
        assert_eq!(bench.machine.offer().purr.as_deref(), Some("3.5.8"), "{caps:?}");
    }
    let bench = registered(config(), &["+sip.pns=\"apns\""], 3600);
    assert_eq!(bench.machine.push_status(), PushStatus::NotOffered);
}

#[test]
fn in_another_mode_its_word_is_not_needed_and_does_no_harm() {
    for mode in [PushMode::Linphone, PushMode::Xmpush] {
        let mut account = config();
        account.push_mode = mode;
        let bench = registered(account, &[CAPS], 3600);
        assert_eq!(bench.machine.push_status(), PushStatus::Confirmed, "{mode:?}");
    }
}

#[test]
fn a_new_token_takes_the_old_contact_away_first_since_it_would_stay_beside_it() {
    let mut bench = registered(config(), &[CAPS], 3600);
    bench.sent.clear();
    bench.act(|machine, now| machine.set_push(now, Some(token("another"))));
    assert!(bench.contact().contains("expires=0"), "{}", bench.contact());
    bench.answer(200, &[]);
    assert!(bench.contact().contains("pn-prid=another") && !bench.contact().contains("expires=0"));
    ok(&mut bench, &[CAPS], 3600);
    assert_eq!((bench.sent.len(), bench.machine.phase()), (2, Phase::Registered));
    assert_eq!(bench.machine.push_status(), PushStatus::Confirmed);
}
