//! A provider's settings at work: followed, renewed when the registrar tells of newer ones, withdrawn.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and waits for one thing"
)]

mod scripted;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use scripted::Phone;
use serde_json::{Value, json};
use wakeline_secret::Secret;
use wakeline_settings::Settings;
use wakeline_settings::provisioning::{Answer, Body, FetchFailure, Verdict, Wish};
use wakeline_sip_message::{Method, Name};
use wakeline_user_agent::*;

const ACCOUNT: AccountId = AccountId(0);
const LINK: &str = "https://voice.example.org/p/77777777777777777777777777";
/// The scripted phone's wall clock.
const SECONDS: u64 = 1_789_000_000;

fn parameters(display: &str) -> Value {
    json!({ "serveraddress": "192.0.2.1", "realm": "example.org", "username": "mia", "password": "secret",
            "transport": "1", "displayname": display })
}

fn jws(serial: u32, display: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let base = "https://voice.example.org";
    let header = json!({ "alg": "EdDSA", "kid": "a", "typ": "wakeline-settings+jws" });
    let payload = json!({
        "iss": base, "sub": "g1", "name": "Acme", "iat": SECONDS, "exp": SECONDS + 600_000, "serial": serial,
        "parameters": parameters(display), "fetch": format!("{base}/provision/settings"), "keys": format!("{base}/k"),
    });
    format!("{}.{}.{}", part(&header), part(&payload), URL_SAFE_NO_PAD.encode([7; 64]))
}

/// The target and body of the one request that is out.
fn asked(phone: &mut Phone) -> (u64, String, Value) {
    let [(run, Wish::Fetch(request))] = &phone.wishes[..] else { panic!("{:?}", phone.wishes) };
    let body = match &request.body {
        Body::None => Value::Null,
        Body::Json(text) => serde_json::from_str(text.expose()).unwrap(),
    };
    let asked = (*run, request.address.target().to_owned(), body);
    phone.wishes.clear();
    asked
}

fn answer(phone: &mut Phone, run: u64, status: u16, body: impl ToString) {
    let answer = Ok(Answer { status, body: Secret::new(body.to_string()) });
    phone.input(Input::Provision { run, fact: ProvisionFact::Answered(answer) });
}

fn check(phone: &mut Phone, verdict: Verdict) {
    let [(run, Wish::Check(_))] = phone.wishes[..] else { panic!("{:?}", phone.wishes) };
    phone.wishes.clear();
    phone.input(Input::Provision { run, fact: ProvisionFact::Checked(verdict) });
}

fn steps(phone: &Phone) -> Vec<ProvisioningStep> {
    let step = |event: &Event| match event {
        Event::Provisioning { step, .. } => Some(step.clone()),
        _ => None,
    };
    phone.events.iter().filter_map(step).collect()
}

/// A phone without settings follows a link and is asked.
fn asking() -> (Phone, u64) {
    let mut phone = Phone::new(vec![Settings::new()]);
    phone.command(Command::Start);
    phone.command(Command::Provision { account: ACCOUNT, link: LINK.into() });
    let (run, target, _) = asked(&mut phone);
    assert_eq!(target, "/provision/preview");
    let mut shown = parameters("Mia");
    shown["password"] = Value::Null;
    answer(&mut phone, run, 200, json!({ "name": "Acme", "parameters": shown }));
    assert!(
        matches!(&steps(&phone)[..], [ProvisioningStep::ConsentWanted(consent)] if consent.host == "voice.example.org")
    );
    (phone, run)
}

/// The same, agreed to, verified and registered.
fn provisioned() -> Phone {
    let (mut phone, _) = asking();
    phone.command(Command::Consent { account: ACCOUNT, agreed: true });
    let (run, target, body) = asked(&mut phone);
    assert_eq!((target.as_str(), body["device_key"].as_str().unwrap().len()), ("/provision/exchange", 32));
    answer(&mut phone, run, 200, jws(1, "Mia"));
    let (run, target, _) = asked(&mut phone);
    assert_eq!(target, "/.well-known/jwks.json");
    let key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "a", "x": URL_SAFE_NO_PAD.encode([1; 32]) });
    answer(&mut phone, run, 200, json!({ "keys": [key] }));
    check(&mut phone, Verdict::Good);
    assert!(matches!(steps(&phone).last(), Some(ProvisioningStep::Done { serial: 1, .. })));
    assert_eq!(phone.configured, [ACCOUNT]);
    phone.accept_registers();
    assert_eq!(phone.agent.snapshot().registrations[0].phase, RegistrationPhase::Registered);
    phone.forget();
    phone
}

/// The registrar tells this in the 200 to the next REGISTER.
fn told(phone: &mut Phone, news: &str) {
    phone.command(Command::Register { account: ACCOUNT });
    phone.pass(Duration::from_secs(1));
    let request = phone.last(&Method::Register);
    let contact = format!("{};expires=3600", request.header(Name::Contact).unwrap());
    phone.answer(&request, 200, &[(Name::Contact, &contact), (Name::parse("X-Settings").unwrap(), news)]);
    phone.sent.clear();
}

#[test]
fn a_phone_without_settings_follows_a_link_and_registers() {
    let phone = provisioned();
    assert!(phone.memory["provision-0"].expose().contains("g1"));
    // The next start has them from its memory, before anybody is asked.
    let mut again = Phone::with_memory(vec![Settings::new()], phone.memory.clone());
    again.command(Command::Start);
    again.accept_registers();
    assert_eq!(again.agent.snapshot().registrations[0].address, "sip:mia@example.org");
    assert!(again.wishes.is_empty());
}

#[test]
fn a_no_or_a_bad_signature_changes_nothing() {
    let (mut phone, _) = asking();
    phone.command(Command::Consent { account: ACCOUNT, agreed: false });
    assert!(matches!(steps(&phone).last(), Some(ProvisioningStep::Failed { .. })) && phone.wishes.is_empty());
    let mut phone = provisioned();
    told(&mut phone, "g1=2");
    let (run, target, body) = asked(&mut phone);
    assert_eq!((target.as_str(), &body["serial"]), ("/provision/settings", &json!(1)));
    let (memory, before) = (phone.memory.clone(), phone.agent.settings(ACCOUNT).map(|s| format!("{s:?}")));
    answer(&mut phone, run, 200, jws(2, "Eve"));
    check(&mut phone, Verdict::Bad);
    assert!(
        matches!(steps(&phone).last(), Some(ProvisioningStep::Failed { cure, .. }) if cure.contains("nothing was changed"))
    );
    assert_eq!(phone.agent.settings(ACCOUNT).map(|s| format!("{s:?}")), before);
    assert_eq!(phone.memory["provision-0"], memory["provision-0"]);
}

#[test]
fn news_in_a_200_are_fetched_once_and_told_to_the_registrar() {
    let mut phone = provisioned();
    told(&mut phone, "other=9, g1=1");
    assert!(phone.wishes.is_empty(), "nothing is new");
    told(&mut phone, "g1=2");
    let (run, _, _) = asked(&mut phone);
    told(&mut phone, "g1=2");
    assert!(phone.wishes.is_empty(), "it is being asked for");
    phone.forget();
    answer(&mut phone, run, 200, jws(2, "Mia M."));
    check(&mut phone, Verdict::Good);
    assert!(matches!(&steps(&phone)[..], [ProvisioningStep::Done { serial: 2, .. }]));
    let (_, register) = phone.sent.iter().find(|(_, sent)| sent.method() == Method::Register).unwrap();
    assert!(register.header(Name::From).unwrap().contains("Mia M."));
    phone.accept_registers();
    told(&mut phone, "g1=2");
    assert!(phone.wishes.is_empty(), "once per serial");
}

#[test]
fn a_provider_that_does_not_answer_is_asked_again_later_and_not_at_once() {
    let mut phone = provisioned();
    told(&mut phone, "g1=2");
    for wait in [60, 120, 240] {
        let (run, _, _) = asked(&mut phone);
        let fact = ProvisionFact::Answered(Err(FetchFailure::Unreachable));
        phone.input(Input::Provision { run, fact });
        phone.pass(Duration::from_secs(wait - 10));
        told(&mut phone, "g1=2");
        assert!(phone.wishes.is_empty(), "{wait}");
        phone.pass(Duration::from_secs(10));
        told(&mut phone, "g1=2");
    }
    assert_eq!(phone.wishes.len(), 1);
}

#[test]
fn a_withdrawal_is_the_providers_to_say_and_takes_everything_back() {
    let mut phone = provisioned();
    told(&mut phone, "g1=revoked");
    let (run, target, _) = asked(&mut phone);
    assert_eq!(target, "/provision/settings");
    phone.forget();
    answer(&mut phone, run, 410, "");
    assert!(matches!(&steps(&phone)[..], [ProvisioningStep::Withdrawn { provider }] if provider == "Acme"));
    let (_, register) = phone.sent.iter().find(|(_, sent)| sent.method() == Method::Register).unwrap();
    let contact = register.header(Name::Contact).unwrap();
    assert!(register.header(Name::Expires) == Some("0") || contact.ends_with("expires=0"), "{contact}");
    phone.accept_registers();
    assert_eq!(phone.agent.settings(ACCOUNT).unwrap().text("password"), None);
    assert!(phone.memory["provision-0"].is_empty());
    assert_eq!(phone.agent.snapshot().registrations[0].phase, RegistrationPhase::Unregistered);
    // What only pretends it changes nothing.
    let mut phone = provisioned();
    told(&mut phone, "g1=revoked");
    let (run, _, _) = asked(&mut phone);
    answer(&mut phone, run, 204, "");
    assert!(phone.agent.settings(ACCOUNT).unwrap().is_set("password"));
}
