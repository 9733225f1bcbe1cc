//! Client and server against each other, and against scripted peers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test program")]

use std::time::Duration;

use wakeline_clock::WallTime;
use wakeline_entropy::Entropy;
use wakeline_sip_auth::*;
use wakeline_sip_message::{AuthParams, Builder, Message, Method, Name};

const DAY: u64 = 24 * 3600 * 1000;
const ALL: [Algorithm; 3] = [Algorithm::Sha512Half, Algorithm::Sha256, Algorithm::Md5];

struct Phone {
    session: Session,
    credentials: Credentials,
    entropy: Entropy,
    cseq: u32,
}

impl Phone {
    fn new(password: &str) -> Phone {
        let credentials = Credentials::password("mia", password);
        Phone { session: Session::new(), credentials, entropy: Entropy::from_number(1), cseq: 0 }
    }

    fn request(&mut self, method: Method) -> Message {
        self.cseq += 1;
        let uri = "sip:example.org";
        let added = self.session.authorize(&method, uri, b"", &self.credentials, &mut self.entropy);
        Builder::request(method.clone(), uri)
            .header(Name::From, "<sip:mia@example.org>;tag=1")
            .header(Name::To, "<sip:mia@example.org>")
            .header(Name::CallId, "c1")
            .header(Name::CSeq, format!("{} {method}", self.cseq))
            .headers(added)
            .build()
            .unwrap()
    }
}

fn server(algorithms: &[Algorithm]) -> Authenticator {
    Authenticator::new("example.org", algorithms, [9; 32], Duration::from_secs(8 * 86400), 1000, WallTime(0))
}

fn stored(password: &'static str) -> impl Fn(&str, Algorithm) -> Option<Ha1> {
    move |user, algorithm| (user == "mia").then(|| Ha1::of(algorithm, user, "example.org", &password.into()))
}

fn answer(request: &Message, code: u16, fields: Vec<(Name, String)>) -> Message {
    Builder::response(request, code, "").headers(fields).build().unwrap()
}

/// Sends a REGISTER until it is accepted; the number of round trips, or why not.
fn register(phone: &mut Phone, server: &mut Authenticator, now: u64) -> Result<u32, AuthError> {
    for trips in 1..10 {
        let request = phone.request(Method::Register);
        let now = WallTime(now);
        let stale = match server.verify(now, &request, Side::Origin, stored("secret")) {
            Verdict::Accepted { info, username, .. } => {
                assert_eq!(username, "mia");
                let response = answer(&request, 200, vec![(Name::AuthenticationInfo, info)]);
                phone.session.on_success(&request, &response, &phone.credentials)?;
                return Ok(trips);
            }
            Verdict::Challenge { stale } => stale,
            Verdict::Replay => true,
            Verdict::Refused => false,
            Verdict::Malformed => panic!("malformed"),
        };
        let response = answer(&request, 401, server.challenge(now, Side::Origin, stale));
        phone.session.on_challenge(&request, &response, &phone.credentials, Asker::Configured)?;
    }
    Err(AuthError::Loop)
}

#[test]
fn challenge_answer_then_one_round_trip_for_each_wake() {
    for algorithms in [&ALL[..], &[Algorithm::Md5], &[Algorithm::Sha256Session], &[Algorithm::Md5Session]] {
        let (mut phone, mut server) = (Phone::new("secret"), server(algorithms));
        assert_eq!(register(&mut phone, &mut server, 1), Ok(2));
        // More often than a nonce is used, and over more days than one lives: nextnonce carries it on.
        for wake in 1..200 {
            assert_eq!(register(&mut phone, &mut server, 1 + wake * DAY / 4), Ok(1), "wake {wake}");
        }
    }
}

#[test]
fn cold_start_with_the_kept_session_costs_one_round_trip() {
    let (mut phone, mut server) = (Phone::new("secret"), server(&ALL));
    register(&mut phone, &mut server, 1).unwrap();
    let kept = serde_json::to_string(&phone.session.export()).unwrap();
    assert!(!kept.contains("\"secret\""), "no password is kept");
    let mut woken = Phone::new("secret");
    woken.session = Session::import(serde_json::from_str(&kept).unwrap());
    assert_eq!(register(&mut woken, &mut server, 7 * DAY), Ok(1));
}

#[test]
fn cold_start_after_the_nonce_died_costs_two_and_rejects_nothing() {
    let (mut phone, mut server) = (Phone::new("secret"), server(&ALL));
    register(&mut phone, &mut server, 1).unwrap();
    assert_eq!(register(&mut phone, &mut server, 30 * DAY), Ok(2));
}

#[test]
fn a_lost_count_is_answered_stale_not_accepted() {
    let (mut phone, mut server) = (Phone::new("secret"), server(&ALL));
    register(&mut phone, &mut server, 1).unwrap();
    let before = phone.session.export();
    register(&mut phone, &mut server, 2).unwrap();
    // The process was killed before the count was written down.
    phone.session = Session::import(before);
    assert_eq!(register(&mut phone, &mut server, 3), Ok(2));
}

#[test]
fn f14_a_wrong_password_is_told_after_two_requests() {
    let (mut phone, mut server) = (Phone::new("wrong"), server(&ALL));
    assert_eq!(register(&mut phone, &mut server, 1), Err(AuthError::Rejected));
    assert_eq!(phone.cseq, 2);
}

#[test]
fn f14_a_server_that_calls_everything_stale_is_left() {
    let mut phone = Phone::new("secret");
    let mut nth = 0;
    let outcome = loop {
        nth += 1;
        let request = phone.request(Method::Register);
        let text = format!("Digest realm=\"r\", nonce=\"n{nth}\", stale=true");
        let response = answer(&request, 401, vec![(Name::WwwAuthenticate, text)]);
        if let Err(error) =
            phone.session.on_challenge(&request, &response, &phone.credentials, Asker::Configured)
        {
            break error;
        }
    };
    assert_eq!((outcome, nth), (AuthError::Loop, 5));
}

#[test]
fn s17_a_captured_request_is_a_replay_and_so_is_a_lower_count() {
    let (mut phone, mut server) = (Phone::new("secret"), server(&ALL));
    register(&mut phone, &mut server, 1).unwrap();
    let (first, second) = (phone.request(Method::Register), phone.request(Method::Register));
    let mut judge = |request: &Message| server.verify(WallTime(5), request, Side::Origin, stored("secret"));
    assert!(matches!(judge(&second), Verdict::Accepted { .. }));
    assert_eq!(judge(&second), Verdict::Replay);
    assert_eq!(judge(&first), Verdict::Replay);
}

#[test]
fn s17_credentials_of_another_request_do_not_hold() {
    let (mut phone, mut server) = (Phone::new("secret"), server(&ALL));
    register(&mut phone, &mut server, 1).unwrap();
    let good = phone.request(Method::Register);
    let moved = good.edit().set_request_uri("sip:elsewhere.example").finish().unwrap();
    let verdict = server.verify(WallTime(5), &moved, Side::Origin, stored("secret"));
    assert_eq!(verdict, Verdict::Malformed);
}

#[test]
fn s16_an_unknown_user_and_a_wrong_password_look_the_same() {
    let mut server = server(&ALL);
    let mut verdicts = Vec::new();
    for (user, password) in [("mia", "wrong"), ("nobody", "wrong"), ("nobody", "secret")] {
        let mut phone = Phone::new(password);
        phone.credentials.username = user.into();
        let first = phone.request(Method::Register);
        let response = answer(&first, 401, server.challenge(WallTime(1), Side::Origin, false));
        phone.session.on_challenge(&first, &response, &phone.credentials, Asker::Configured).unwrap();
        let request = phone.request(Method::Register);
        verdicts.push(server.verify(WallTime(2), &request, Side::Origin, stored("secret")));
    }
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Refused));
    assert_eq!(server.remembered(), 0, "a refused request uses nothing up");
}

#[test]
fn s1_no_answer_for_peers_and_foreign_realms() {
    let mut phone = Phone::new("secret");
    let bye = phone.request(Method::Bye);
    let challenge = |realm: &str| {
        answer(&bye, 401, vec![(Name::WwwAuthenticate, format!("Digest realm=\"{realm}\", nonce=\"n\""))])
    };
    let mut ask = |response: &Message, asker| {
        let outcome = phone.session.on_challenge(&bye, response, &phone.credentials, asker);
        (outcome, phone.session.is_ready())
    };
    assert_eq!(ask(&challenge("example.org"), Asker::Other), (Err(AuthError::Untrusted), false));
    let mut fixed = Phone::new("secret");
    fixed.credentials.realm = Some("example.org".into());
    let outcome = fixed.session.on_challenge(&bye, &challenge("evil"), &fixed.credentials, Asker::Configured);
    assert_eq!(outcome, Err(AuthError::ForeignRealm));
    assert!(fixed.request(Method::Bye).header(Name::Authorization).is_none());
}

#[test]
fn s1_what_a_register_learned_does_not_go_to_the_far_end_of_a_call() {
    let (mut phone, mut server) = (Phone::new("secret"), server(&ALL));
    register(&mut phone, &mut server, 1).unwrap();
    assert!(phone.request(Method::Invite).header(Name::Authorization).is_none());
    assert!(phone.request(Method::Register).header(Name::Authorization).is_some());
}

#[test]
fn the_strongest_challenge_that_fits_is_answered() {
    let line = |algorithm: &str| {
        (
            Name::WwwAuthenticate,
            format!("Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm={algorithm}"),
        )
    };
    let chosen = |credentials: Credentials, algorithms: &[&str]| {
        let mut phone = Phone::new("");
        phone.credentials = credentials;
        let request = phone.request(Method::Register);
        let response = answer(&request, 401, algorithms.iter().map(|name| line(name)).collect());
        let outcome = phone.session.on_challenge(&request, &response, &phone.credentials, Asker::Configured);
        let again = phone.request(Method::Register);
        let sent = again.authorization().next().map(|sent| sent.unwrap().algorithm().into_owned());
        (outcome, sent)
    };
    let password = || Credentials::password("mia", "secret");
    let md5 = || Credentials { proof: Proof::Ha1("0".repeat(32).into()), ..password() };
    let of = |name: &str| (Ok(()), Some(name.to_owned()));
    assert_eq!(chosen(password(), &["MD5", "SHA-256", "token"]), of("SHA-256"));
    assert_eq!(chosen(password(), &["MD5", "SHA-512-256", "SHA-256"]), of("SHA-512-256"));
    assert_eq!(chosen(md5(), &["SHA-256", "MD5"]), of("MD5"));
    assert_eq!(chosen(md5(), &["SHA-256"]), (Err(AuthError::Unsupported), None));
    assert_eq!(chosen(password(), &["AKAv1-MD5"]), (Err(AuthError::Unsupported), None));
    assert_eq!(chosen(password(), &[]), (Err(AuthError::Missing), None));
}

#[test]
fn ha1_in_place_of_the_password_registers() {
    let (mut phone, mut server) = (Phone::new(""), server(&[Algorithm::Md5]));
    let ha1 = Ha1::of(Algorithm::Md5, "mia", "example.org", &"secret".into());
    phone.credentials.proof = Proof::Ha1(ha1.digits.expose().to_uppercase().into());
    assert_eq!(register(&mut phone, &mut server, 1), Ok(2));
}

#[test]
fn several_realms_of_proxies_and_the_registrar_at_once() {
    let mut phone = Phone::new("secret");
    let first = phone.request(Method::Register);
    let line = |name, realm: &str| (name, format!("Digest realm=\"{realm}\", nonce=\"n-{realm}\""));
    let response = answer(
        &first,
        407,
        vec![
            line(Name::ProxyAuthenticate, "edge"),
            line(Name::ProxyAuthenticate, "core"),
            line(Name::WwwAuthenticate, "example.org"),
        ],
    );
    phone.session.on_challenge(&first, &response, &phone.credentials, Asker::Configured).unwrap();
    let again = phone.request(Method::Register);
    let realms: Vec<String> =
        again.proxy_authorization().map(|one| one.unwrap().realm().unwrap().into_owned()).collect();
    assert_eq!(realms, ["edge", "core"]);
    assert_eq!(again.authorization().count(), 1);
    assert!(again.authorization().next().unwrap().unwrap().raw("nc").is_none(), "RFC 2069 form");
}

#[test]
fn auth_int_covers_the_body() {
    let mut phone = Phone::new("secret");
    let first = phone.request(Method::Message);
    let line = "Digest realm=\"example.org\", nonce=\"n\", qop=\"auth-int\", algorithm=MD5";
    let response = answer(&first, 401, vec![(Name::WwwAuthenticate, line.to_owned())]);
    phone.session.on_challenge(&first, &response, &phone.credentials, Asker::Configured).unwrap();
    let of = |body: &[u8]| {
        let mut session = phone.session.clone();
        let fields = session.authorize(
            &Method::Message,
            "sip:x",
            body,
            &phone.credentials,
            &mut Entropy::from_number(3),
        );
        AuthParams::parse(&fields[0].1).unwrap().response().unwrap().into_owned()
    };
    assert_ne!(of(b"one"), of(b"two"));
    assert_eq!(of(b"one"), of(b"one"));
}

#[test]
fn a_server_that_cannot_prove_itself_is_told() {
    let (mut phone, mut server) = (Phone::new("secret"), server(&ALL));
    register(&mut phone, &mut server, 1).unwrap();
    let request = phone.request(Method::Register);
    let info = "rspauth=\"00000000000000000000000000000000\", qop=auth".to_owned();
    let response = answer(&request, 200, vec![(Name::AuthenticationInfo, info)]);
    let outcome = phone.session.on_success(&request, &response, &phone.credentials);
    assert_eq!(outcome, Err(AuthError::NotMutual));
}

#[test]
fn s8_text_of_a_challenge_forges_nothing() {
    let mut phone = Phone::new("secret");
    phone.credentials.username = "mi\"a\\".into();
    let first = phone.request(Method::Register);
    let line = r#"Digest realm="a\"b", nonce="n\\n", opaque="o\"p""#.to_owned();
    let response = answer(&first, 401, vec![(Name::WwwAuthenticate, line)]);
    phone.session.on_challenge(&first, &response, &phone.credentials, Asker::Configured).unwrap();
    let again = phone.request(Method::Register);
    let sent = again.authorization().next().unwrap().unwrap();
    assert_eq!(sent.username().as_deref(), Some("mi\"a\\"));
    assert_eq!((sent.realm().as_deref(), sent.nonce().as_deref()), (Some("a\"b"), Some("n\\n")));
}

#[test]
fn s13_a_realm_of_64_kb_is_not_carried_around() {
    let mut phone = Phone::new("secret");
    let first = phone.request(Method::Register);
    let line = format!("Digest realm=\"{}\", nonce=\"n\"", "r".repeat(60_000));
    let response = answer(&first, 401, vec![(Name::WwwAuthenticate, line)]);
    let outcome = phone.session.on_challenge(&first, &response, &phone.credentials, Asker::Configured);
    assert_eq!(outcome, Err(AuthError::Unsupported));
}
