//! Digest: any challenge meets the client, any answer meets the server (RFC 7616; classes S1, S16, S17).

use core::time::Duration;

use bytes::Bytes;
use wakeline_clock::WallTime;
use wakeline_entropy::Entropy;
use wakeline_secret::Secret;
use wakeline_sip_auth::{Algorithm, Asker, Authenticator, Credentials, Ha1, Session, Side, Verdict};
use wakeline_sip_message::{Message, Method, Name};

const PASSWORD: &str = "correct horse";

fn register(lines: &str) -> Option<Message> {
    let text = format!(
        "REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.9;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
         From: <sip:mia@example.org>;tag=1\r\nTo: <sip:mia@example.org>\r\nCall-ID: c1\r\nCSeq: 1 REGISTER\r\n\
         {lines}Content-Length: 0\r\n\r\n"
    );
    Message::parse(Bytes::from(text)).ok()
}

fn lookup(user: &str, algorithm: Algorithm) -> Option<Ha1> {
    (user == "mia").then(|| Ha1::of(algorithm, "mia", "example.org", &Secret::from(PASSWORD)))
}

/// The bytes are header lines of a 401 to the client, and of a request to the server.
pub(crate) fn digest(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let lines: String = text.lines().take(40).map(|line| format!("{line}\r\n")).collect();
    let Some(plain) = register("") else { return };
    client(&plain, &lines);
    server(&lines);
}

fn client(plain: &Message, lines: &str) {
    let text = format!(
        "SIP/2.0 401 Unauthorized\r\nVia: SIP/2.0/TLS 192.0.2.9;branch=z9hG4bK1\r\nFrom: <sip:mia@example.org>;tag=1\r\n\
         To: <sip:mia@example.org>;tag=2\r\nCall-ID: c1\r\nCSeq: 1 REGISTER\r\n{lines}Content-Length: 0\r\n\r\n"
    );
    let Ok(challenge) = Message::parse(Bytes::from(text)) else { return };
    let credentials = Credentials {
        realm: Some("example.org".into()),
        ..Credentials::password("mia", Secret::from(PASSWORD))
    };
    let (mut session, mut entropy) = (Session::new(), Entropy::from_number(1));
    // S1: whoever is not our server gets nothing.
    let _ = session.on_challenge(plain, &challenge, &credentials, Asker::Other);
    assert!(session.authorize(&Method::Bye, "sip:x", b"", &credentials, &mut entropy).is_empty());
    let mut answered = 0;
    let mut request = plain.clone();
    // The same challenge again and again comes to an end: a password is not tried for ever.
    while session.on_challenge(&request, &challenge, &credentials, Asker::Configured).is_ok() {
        answered += 1;
        assert!(answered <= 4, "the same challenge is answered for ever");
        let headers =
            session.authorize(&Method::Register, "sip:example.org", b"", &credentials, &mut entropy);
        let mut written = String::new();
        for (name, value) in headers {
            assert!(value.contains("realm=\"example.org\""), "a foreign realm is answered: {value}");
            assert!(!value.contains(PASSWORD) && !value.contains(['\r', '\n', '\0']));
            written.push_str(&format!("{name}: {value}\r\n"));
        }
        request = register(&written).expect("what we write can be read");
        assert!(request.authorization().chain(request.proxy_authorization()).all(|one| one.is_ok()));
        let shown = format!("{session:?}{credentials:?}");
        assert!(!shown.contains(PASSWORD));
    }
    let _ = session.on_success(&request, &challenge, &credentials);
    let kept = serde_json::to_string(&session.export()).expect("a session can be kept");
    let back = Session::import(serde_json::from_str(&kept).expect("and read back"));
    assert_eq!(back.is_ready(), session.is_ready());
}

fn server(lines: &str) {
    let now = WallTime(1_789_000_000_000);
    let algorithms = [Algorithm::Sha256, Algorithm::Md5];
    let mut guard =
        Authenticator::new("example.org", &algorithms, [7; 32], Duration::from_secs(3600), 16, now);
    let Some(request) = register(lines) else { return };
    for side in [Side::Origin, Side::Proxy] {
        match guard.verify(now, &request, side, lookup) {
            Verdict::Accepted { .. } => panic!("nobody has a nonce yet: {lines}"),
            Verdict::Challenge { .. } | Verdict::Refused | Verdict::Replay | Verdict::Malformed => {}
        }
    }
    // One who has the password gets in once with each count, whatever else the request holds.
    let challenge = guard.challenge(now, Side::Proxy, false);
    let challenged: String = challenge.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let text = format!(
        "SIP/2.0 407 No\r\nVia: SIP/2.0/TLS 192.0.2.9;branch=z9hG4bK1\r\nFrom: <sip:mia@example.org>;tag=1\r\n\
         To: <sip:mia@example.org>;tag=2\r\nCall-ID: c1\r\nCSeq: 1 REGISTER\r\n{challenged}Content-Length: 0\r\n\r\n"
    );
    let challenge = Message::parse(Bytes::from(text)).expect("our own challenge");
    let credentials = Credentials::password("mia", Secret::from(PASSWORD));
    let (mut session, mut entropy) = (Session::new(), Entropy::from_number(2));
    session.on_challenge(&request, &challenge, &credentials, Asker::Configured).expect("a fair challenge");
    let proof: String = session
        .authorize(&Method::Register, "sip:example.org", b"", &credentials, &mut entropy)
        .into_iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let Some(good) = register(&proof) else { return };
    assert!(matches!(guard.verify(now, &good, Side::Proxy, lookup), Verdict::Accepted { .. }));
    assert_eq!(guard.verify(now, &good, Side::Proxy, lookup), Verdict::Replay, "S17");
    assert_eq!(good.header(Name::CallId), Some("c1"));
}
