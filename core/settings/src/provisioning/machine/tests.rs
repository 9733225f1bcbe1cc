//! Links and newer settings to their end, with a signature that is whatever the test says.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test waits for one outcome and shows any other")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::*;
use crate::{Settings, Source};

const CODE: &str = "77777777777777777777777777";
const NOW: WallTime = WallTime(1_000_000_000);

fn payload() -> Value {
    json!({
        "iss": "https://voice.example.org", "sub": "grant-1", "name": "Acme", "iat": 1_000_000, "exp": 1_000_600,
        "serial": 1, "parameters": { "serveraddress": "sip.example.org", "username": "mia", "password": "open sesame" },
        "fetch": "https://voice.example.org/provision/settings", "keys": "https://voice.example.org/.well-known/jwks.json",
    })
}

fn preview() -> Value {
    json!({ "name": "Acme", "parameters": { "serveraddress": "sip.example.org", "username": "mia", "password": null } })
}

fn jws_of(header: &Value, payload: &Value) -> String {
    let part = |text: String| URL_SAFE_NO_PAD.encode(text);
    format!("{}.{}.{}", part(header.to_string()), part(payload.to_string()), URL_SAFE_NO_PAD.encode([7; 64]))
}

fn jws(kid: &str, payload: &Value) -> String {
    jws_of(&json!({ "alg": "EdDSA", "kid": kid, "typ": "wakeline-settings+jws" }), payload)
}

fn keys(kids: &[&str]) -> Value {
    let key = |kid: &&str| {
        let first = kid.bytes().next().unwrap_or(0);
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": URL_SAFE_NO_PAD.encode([first; 32]) })
    };
    json!({ "keys": kids.iter().map(key).collect::<Vec<_>>() })
}

fn ok(body: impl ToString) -> Result<Answer, FetchFailure> {
    answer(200, body)
}

fn answer(status: u16, body: impl ToString) -> Result<Answer, FetchFailure> {
    Ok(Answer { status, body: Secret::new(body.to_string()) })
}

fn asked(run: &mut Provisioning) -> (String, Value) {
    match run.poll_wish() {
        Some(Wish::Fetch(Request { address, body })) => {
            let body = match body {
                Body::None => Value::Null,
                Body::Json(text) => serde_json::from_str(text.expose()).unwrap(),
            };
            (address.target().to_owned(), body)
        }
        other => panic!("{other:?}"),
    }
}

/// A link that was agreed to; the exchange is asked for.
fn agreed() -> Provisioning {
    let link = Link::parse(&format!("https://voice.example.org/p/{CODE}"), None).unwrap();
    let mut run = Provisioning::open(link, "k".repeat(26).into());
    assert_eq!(asked(&mut run), ("/provision/preview".to_owned(), json!({ "code": CODE })));
    run.handle_answer(ok(preview()));
    let Some(Told::Ask(consent)) = run.poll_told() else { panic!("{run:?}") };
    assert_eq!((consent.host.as_str(), consent.name.as_deref()), ("voice.example.org", Some("Acme")));
    assert_eq!(consent.settings["password"], None);
    assert_eq!(consent.settings["username"].as_deref(), Some("mia"));
    assert!(run.poll_wish().is_none(), "nothing goes out before the yes");
    run.handle_agreement(Agreement::Given);
    let (path, body) = asked(&mut run);
    assert_eq!((path.as_str(), &body["consent"]), ("/provision/exchange", &json!(true)));
    run
}

/// What comes of this object.
fn outcome(object: &str, verdict: Verdict) -> Told {
    let mut run = agreed();
    run.handle_answer(ok(object));
    if let Some(told) = run.poll_told() {
        return told;
    }
    assert_eq!(asked(&mut run).0, "/.well-known/jwks.json");
    run.handle_answer(ok(keys(&["a", "b"])));
    if let Some(told) = run.poll_told() {
        return told;
    }
    let Some(Wish::Check(check)) = run.poll_wish() else { panic!("{run:?}") };
    assert_eq!((check.public, check.signature), ([b'a'; 32], [7; 64]));
    assert_eq!(check.signed, object.rsplit_once('.').unwrap().0.as_bytes());
    run.handle_verdict(NOW, verdict);
    run.poll_told().unwrap()
}

fn grant() -> Grant {
    match outcome(&jws("a", &payload()), Verdict::Good) {
        Told::Granted(grant) => *grant,
        other => panic!("{other:?}"),
    }
}

#[test]
fn from_a_link_to_settings_that_were_agreed_to() {
    let grant = grant();
    assert_eq!((grant.id(), grant.serial(), grant.provider().as_str()), ("grant-1", 1, "Acme"));
    let mut settings = Settings::new();
    settings.set("username", "person", Source::Session);
    grant.apply(&mut settings);
    assert_eq!(
        (settings.text("serveraddress"), settings.text("username")),
        (Some("sip.example.org"), Some("person"))
    );
    assert_eq!(Grant::read(&grant.record()), Some(grant.clone()));
    assert!(!format!("{grant:?}").contains("sesame"), "S23");
}

#[test]
fn a_no_sends_nothing_and_a_yes_that_nobody_asked_for_neither() {
    let link = Link::parse(&format!("https://voice.example.org/p/{CODE}"), None).unwrap();
    let mut run = Provisioning::open(link, "k".repeat(26).into());
    asked(&mut run);
    run.handle_agreement(Agreement::Given);
    assert!(run.poll_wish().is_none());
    run.handle_answer(ok(preview()));
    run.poll_told();
    run.handle_agreement(Agreement::Refused);
    assert_eq!(run.poll_told(), Some(Told::Failed(ProvisionError::Declined)));
    assert!(run.is_over());
}

#[test]
fn other_settings_than_were_shown_are_asked_for_again() {
    let mut other = payload();
    other["parameters"]["proxyaddress"] = json!("evil.example");
    let Told::Ask(consent) = outcome(&jws("a", &other), Verdict::Good) else { panic!() };
    assert_eq!(consent.settings["proxyaddress"].as_deref(), Some("evil.example"));
}

#[test]
fn what_is_the_devices_own_is_left_out_and_told() {
    let mut other = payload();
    other["parameters"]["tlsroots"] = json!("/etc/passwd");
    other["parameters"]["extraoption"] = json!("localip=192.0.2.1;tlspin=00");
    let Told::Ask(consent) = outcome(&jws("a", &other), Verdict::Good) else { panic!() };
    for local in ["tlsroots", "localip", "tlspin"] {
        assert!(!consent.settings.contains_key(local));
        assert!(
            consent.left_out.iter().any(|text| text.starts_with(local)),
            "{local}: {:?}",
            consent.left_out
        );
    }
}

#[test]
fn every_flaw_of_a_signed_object_has_its_error() {
    let with = |name: &str, value: Value| {
        let mut changed = payload();
        changed[name] = value;
        jws("a", &changed)
    };
    let header = |name: &str, value: &str| {
        let mut header = json!({ "alg": "EdDSA", "kid": "a", "typ": "wakeline-settings+jws" });
        header[name] = json!(value);
        jws_of(&header, &payload())
    };
    let mut short = payload();
    short.as_object_mut().unwrap().remove("exp");
    type Fits = fn(&ProvisionError) -> bool;
    let no_object: Fits = |error| matches!(error, ProvisionError::NoSignedObject(_));
    let schema: Fits = |error| matches!(error, ProvisionError::Schema(_));
    let table: [(String, Fits); 18] = [
        ("nonsense".to_owned(), no_object),
        ("a.b".to_owned(), no_object),
        ("!.!.!".to_owned(), no_object),
        (header("alg", "none"), no_object),
        (header("alg", "HS256"), no_object),
        (header("typ", "JWT"), no_object),
        (header("crit", "exp"), no_object),
        (header("kid", ""), no_object),
        (jws("c", &payload()), |error| *error == ProvisionError::UnknownKey),
        (with("exp", json!(1_000_000)), |error| *error == ProvisionError::Expired),
        (with("iat", json!(1_000_301)), |error| *error == ProvisionError::NotYet),
        (with("iss", json!("https://evil.example")), |error| *error == ProvisionError::OtherIssuer),
        (with("fetch", json!("https://evil.example/x")), |error| *error == ProvisionError::OtherIssuer),
        (with("iss", json!("http://voice.example.org")), schema),
        (with("serial", json!(0)), schema),
        (with("parameters", json!({ "username": 7 })), schema),
        (with("more", json!(true)), schema),
        (jws("a", &short), schema),
    ];
    for (object, fits) in table {
        match outcome(&object, Verdict::Good) {
            Told::Failed(error) => assert!(fits(&error) && !error.cure().is_empty(), "{error:?}: {object}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(outcome(&jws("a", &payload()), Verdict::Bad), Told::Failed(ProvisionError::BadSignature));
}

#[test]
fn a_lost_answer_to_the_exchange_is_asked_for_again_with_the_same_key() {
    let mut run = agreed();
    for _ in 1..EXCHANGES {
        run.handle_answer(Err(FetchFailure::TimedOut));
        let (path, body) = asked(&mut run);
        assert_eq!((path.as_str(), &body["device_key"]), ("/provision/exchange", &json!("k".repeat(26))));
    }
    run.handle_answer(Err(FetchFailure::TimedOut));
    assert_eq!(run.poll_told(), Some(Told::Failed(ProvisionError::NoAnswer(FetchFailure::TimedOut))));
}

#[test]
fn what_a_server_refuses_is_told_by_its_cause() {
    for (status, error) in [
        (404, ProvisionError::UnknownCode),
        (429, ProvisionError::TooOften),
        (302, ProvisionError::Redirected(302)),
        (500, ProvisionError::Refused(500)),
    ] {
        let mut run = agreed();
        run.handle_answer(answer(status, ""));
        assert_eq!(run.poll_told(), Some(Told::Failed(error)));
        assert!(run.is_over());
    }
}

/// What comes of the answer to a question for newer settings, and of these keys where they are asked for.
fn renewed(first: Result<Answer, FetchFailure>, published: &[&str]) -> Told {
    let mut run = Provisioning::renew(grant());
    let (path, body) = asked(&mut run);
    assert_eq!(
        (path.as_str(), &body["id"], &body["serial"]),
        ("/provision/settings", &json!("grant-1"), &json!(1))
    );
    run.handle_answer(first);
    while let Some(wish) = run.poll_wish() {
        match wish {
            Wish::Fetch(_) => run.handle_answer(ok(keys(published))),
            Wish::Check(_) => run.handle_verdict(NOW, Verdict::Good),
        }
    }
    run.poll_told().unwrap()
}

#[test]
fn newer_settings_are_checked_against_the_key_that_was_trusted() {
    let mut newer = payload();
    newer["serial"] = json!(2);
    newer["parameters"]["displayname"] = json!("Mia");
    let serial = |told: Told| match told {
        Told::Granted(grant) => grant.serial(),
        other => panic!("{other:?}"),
    };
    assert_eq!(serial(renewed(ok(jws("a", &newer)), &[])), 2, "no keys are asked for");
    assert_eq!(serial(renewed(ok(jws("b", &newer)), &["b", "a"])), 2, "a new key beside the former");
    assert_eq!(renewed(ok(jws("b", &newer)), &["b"]), Told::Failed(ProvisionError::StrangeKey));
    assert_eq!(renewed(ok(jws("c", &newer)), &["a", "b"]), Told::Failed(ProvisionError::UnknownKey));
    newer["sub"] = json!("grant-2");
    assert_eq!(renewed(ok(jws("a", &newer)), &[]), Told::Failed(ProvisionError::OtherGrant));
    assert_eq!(renewed(answer(204, ""), &[]), Told::Same);
    assert_eq!(renewed(answer(410, ""), &[]), Told::Withdrawn);
    assert_eq!(renewed(answer(404, ""), &[]), Told::Failed(ProvisionError::Forgotten));
}
