//! Our phone registers with Kamailio.

use std::time::Duration;

use serde_json::json;
use wakeline_interop::kamailio::Kamailio;
use wakeline_interop::phone::Phone;
use wakeline_interop::place::{Folder, wait_until};

const UDP: &str = "0";
const TCP: &str = "1";
const TLS: &str = "2";

fn register_then_unregister(transport: &str) {
    let folder = Folder::new("registration");
    let kamailio = Kamailio::start(&folder);
    let mut phone = Phone::at(&folder, &kamailio, "mia", transport, &["--no-audio"], &[]);
    let registered = phone.wait_registration("registered");
    assert_eq!(registered["round_trips"], 2, "one challenge, one answer: {registered}");
    assert!(registered["expires_s"].as_u64().is_some_and(|seconds| seconds > 0), "{registered}");
    phone.forget();
    phone.command(&json!({ "command": "unregister" }));
    phone.wait_registration("unregistered");
    // Kamailio writes its log behind its answer.
    wait_until("no contact is bound", || kamailio.contacts_of("mia").is_empty());
    phone.quit();
}

#[test]
fn challenge_answer_registered_unregistered_over_udp() {
    register_then_unregister(UDP);
}

#[test]
fn challenge_answer_registered_unregistered_over_tcp() {
    register_then_unregister(TCP);
}

#[test]
fn challenge_answer_registered_unregistered_over_tls() {
    register_then_unregister(TLS);
}

#[test]
fn a_certificate_of_nobody_is_refused_before_a_password_is_shown() {
    let folder = Folder::new("registration");
    let kamailio = Kamailio::start(&folder);
    let mut account = kamailio.account("mia", TLS);
    account.retain(|(name, _)| *name != "tlsroots");
    // Whatever the error was; by default only what had succeeded before is tried again (B-071).
    account.push(("forcereregister", "2".to_owned()));
    let mut phone = Phone::start(&folder, "phone.log", &account, &["--no-audio"]);
    let failed = phone.wait_registration("failed");
    assert!(failed["retry_in_ms"].as_u64().is_some_and(|wait| wait >= 1000), "{failed}");
    assert_eq!(kamailio.requests("REGISTER"), 0);
    phone.quit();
}

#[test]
fn a_wrong_password_fails_and_is_not_tried_again_at_once() {
    let folder = Folder::new("registration");
    let kamailio = Kamailio::start(&folder);
    let mut phone = Phone::at(&folder, &kamailio, "mia", UDP, &["--no-audio"], &[("password", "wrong")]);
    let failed = phone.wait_registration("failed");
    assert_eq!((&failed["text"], &failed["code"]), (&"credentials refused".into(), &401.into()), "{failed}");
    assert!(failed["retry_in_ms"].is_null(), "only a person can help: {failed}");
    std::thread::sleep(Duration::from_secs(3));
    let tries = kamailio.requests("REGISTER");
    assert!((2..=3).contains(&tries), "{tries} REGISTER requests in three seconds");
    assert!(kamailio.contacts_of("mia").is_empty());
    phone.quit();
}

#[test]
fn registered_started_again_registers_with_the_remembered_nonce() {
    let folder = Folder::new("registration");
    let kamailio = Kamailio::start(&folder);
    let state = folder.path("state").display().to_string();
    let flags = ["--no-audio", "--state", &state];
    let keep = [("needunregister", "false")];
    let mut first = Phone::at(&folder, &kamailio, "mia", TLS, &flags, &keep);
    assert_eq!(first.wait_registration("registered")["round_trips"], 2);
    first.quit();
    let mut second = Phone::at(&folder, &kamailio, "mia", TLS, &flags, &keep);
    assert_eq!(second.wait_registration("registered")["round_trips"], 1);
    second.quit();
}
