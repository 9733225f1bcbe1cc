//! Input that wants harm, named after its class.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use bytes::Bytes;
use wakeline_sip_message::{
    BuildError, Builder, Flaw, Frame, Framer, Message, Method, Name, NameAddr, OwnedNameAddr, OwnedUri,
    ParseError, Place, Scheme, Uri, limits,
};

const HEAD: &str = "INVITE sip:bob@example.net SIP/2.0\r\n\
    Via: SIP/2.0/TCP phone.example.org;branch=z9hG4bK776\r\n\
    From: <sip:alice@example.org>;tag=1\r\n\
    To: <sip:bob@example.net>\r\n\
    Call-ID: c1\r\n\
    CSeq: 1 INVITE\r\n\
    Max-Forwards: 70\r\n\
    Contact: <sip:alice@phone.example.org>\r\n";

fn with(lines: &str, body: &str) -> String {
    format!("{HEAD}{lines}\r\n{body}")
}

fn parse(text: impl Into<Bytes>) -> Result<Message, ParseError> {
    Message::parse(text.into())
}

fn code(text: impl Into<Bytes>) -> Option<u16> {
    let outcome = match parse(text) {
        Ok(message) => message.check(),
        Err(error) => error.remains()?.check(),
    };
    outcome.err()?.code()
}

fn base() -> Builder {
    Builder::request(Method::Invite, "sip:bob@example.net")
        .header(Name::Via, "SIP/2.0/TCP phone.example.org;branch=z9hG4bK776")
        .header(Name::From, "<sip:alice@example.org>;tag=1")
        .header(Name::To, "<sip:bob@example.net>")
        .header(Name::CallId, "c1")
        .header(Name::CSeq, "1 INVITE")
}

// S7: what is logged stays on its line and shows no control characters, nor secrets.

#[test]
fn s7_log_lines_are_escaped() {
    let hostile = "%s%n%x \x1b[31mred\x1b[0m \x07 \u{202e}rtl \u{2028} \u{85} \\\" end";
    let text = HEAD.replace("<sip:alice@example.org>", &format!("\"{hostile}\" <sip:%25s%25n@example.org>"));
    let message = parse(format!("{text}Subject: {hostile}\r\nX-\u{7f}: y\r\nX: \0\r\n\r\n"));
    let message = message.unwrap_or_else(|error| error.remains().cloned().unwrap());
    let shown = format!("{message:?}");
    assert_eq!(shown.lines().count(), message.lines().count() + 2);
    assert!(shown.contains("%s%n%x"), "the text itself is still there");
    for c in shown.chars() {
        assert!(c == '\n' || !c.is_control() && !matches!(c, '\u{2028}' | '\u{202e}' | '\u{85}'), "{c:?}");
    }
    let from = format!("{:?} {:?} {:?}", message.from(), message.via(), message.request_uri());
    assert!(!from.chars().any(char::is_control));
}

#[test]
fn s7_logs_show_no_secrets() {
    let text = with(
        "Authorization: Digest username=\"alice\", response=\"0123456789abcdef\"\r\n\
         Proxy-Authorization: Digest nonce=\"geheim\"\r\n\
         X-Copy: <sip:a@b;pn-provider=fcm;pn-prid=tokentoken;ob>\r\n",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:keykeykey",
    );
    let shown = format!("{:?}", parse(text).unwrap());
    for secret in ["0123456789abcdef", "geheim", "tokentoken", "keykeykey"] {
        assert!(!shown.contains(secret), "{secret}");
    }
    let uri = OwnedUri::parse("sip:a@b;pn-prid=tokentoken;ob").unwrap();
    assert!(!format!("{uri:?}").contains("tokentoken"));
}

// S8: no value that goes in through the API comes out as a header line of its own.

const PAYLOADS: [&str; 40] = [
    "x\r\nX-Injected: 1",
    "x\nX-Injected: 1",
    "x\rX-Injected: 1",
    "\r\nX-Injected: 1",
    "x\r\n\r\nINVITE sip:x@y SIP/2.0",
    "x\r\n X-Injected: 1",
    "x\r\n\tX-Injected: 1",
    " \r\nX-Injected: 1",
    "x\n\nX-Injected: 1",
    "x\r\r\nX-Injected: 1",
    "x\u{2028}X-Injected: 1",
    "x\u{2029}X-Injected: 1",
    "x\u{85}X-Injected: 1",
    "x\u{b}X-Injected: 1",
    "x\u{c}X-Injected: 1",
    "x\0X-Injected: 1",
    "x\0",
    "\0",
    "x\u{1b}[2J",
    "x\u{7f}",
    "x\u{8}",
    "x%0d%0aX-Injected: 1",
    "x%0D%0AX-Injected:%201",
    "x%0aX-Injected: 1",
    "x%00",
    "x%250d%250aX-Injected: 1",
    "x\\r\\nX-Injected: 1",
    "x&#13;&#10;X-Injected: 1",
    "x\"\r\nX-Injected: 1",
    "x\" <sip:evil@example.com>\r\nX-Injected: 1",
    "x>;tag=2\r\nX-Injected: 1",
    "x;a=\"\r\nX-Injected: 1\"",
    "x\\\r\nX-Injected: 1",
    "x, <sip:evil@example.com>\nX-Injected: 1",
    "\u{feff}\r\nX-Injected: 1",
    "x\r\nContent-Length: 0\r\n\r\n",
    "x\r\nRoute: <sip:evil@example.com>",
    "x?Subject=a%0d%0aRoute:%20<sip:evil@example.com>",
    "\r\n",
    "\n ",
];

fn is_raw(payload: &str) -> bool {
    payload.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Either the writer refuses, as it must for raw control characters, or nothing more stands on the wire than was meant.
fn judge(what: &str, payload: &str, outcome: Result<Message, BuildError>, lines: usize) {
    let Ok(message) = outcome else { return };
    assert!(!is_raw(payload), "{what} took {payload:?}");
    let wire = message.to_bytes();
    let read = parse(wire.clone()).unwrap();
    assert_eq!(read.lines().count(), lines, "{what}: {}", wire.escape_ascii());
    assert_eq!(read.header_by_name("X-Injected"), None, "{what}: {}", wire.escape_ascii());
    assert_eq!(read.count(Name::Route), usize::from(what == "Route"), "{what}: {}", wire.escape_ascii());
    let head = wire.len() - message.body().len();
    let control = |byte: &u8| byte.is_ascii_control() && !matches!(byte, b'\r' | b'\n' | b'\t');
    assert!(!wire[..head].iter().any(control), "{what}");
    assert_eq!(wire[..head].iter().filter(|byte| **byte == b'\n').count(), lines + 2, "{what}");
}

fn replaced(name: Name, value: &str) -> Result<Message, BuildError> {
    let mut builder = Builder::request(Method::Invite, "sip:bob@example.net")
        .header(Name::Via, "SIP/2.0/TCP phone.example.org;branch=z9hG4bK776");
    for (known, usual) in [
        (Name::From, "<sip:alice@example.org>;tag=1"),
        (Name::To, "<sip:bob@example.net>"),
        (Name::CallId, "c1"),
        (Name::CSeq, "1 INVITE"),
    ] {
        let value = if known == name { value } else { usual };
        builder = builder.header(known, value);
    }
    builder.build()
}

#[test]
fn s8_builder_writes_no_forged_line() {
    // Via, Max-Forwards, From, To, Call-ID, CSeq, Content-Length, and the one under test.
    for payload in PAYLOADS {
        for name in Name::KNOWN {
            let single =
                matches!(name, Name::From | Name::To | Name::CallId | Name::CSeq | Name::ContentLength);
            let outcome = base().header(name.clone(), payload).build();
            if single {
                assert!(outcome.is_err(), "{name}");
                continue;
            }
            let lines = if *name == Name::MaxForwards { 7 } else { 8 };
            judge(name.as_str(), payload, outcome, lines);
        }
        judge("X-Any", payload, base().header_text("X-Any", payload).build(), 8);
        judge("name", payload, base().header_text(payload, "1").build(), 8);
        judge("name prefix", payload, base().header_text(&format!("X-{payload}"), "1").build(), 8);
        judge("Content-Type", payload, base().body(payload, "x").build(), 8);
        judge("From", payload, replaced(Name::From, &format!("\"{payload}\" <sip:a@b>;tag=1")), 7);
        judge("From's tag", payload, replaced(Name::From, &format!("<sip:a@b>;tag={payload}")), 7);
        judge("To", payload, replaced(Name::To, &format!("<sip:{payload}@b>")), 7);
        judge("Call-ID", payload, replaced(Name::CallId, payload), 7);
    }
}

#[test]
fn s8_start_lines_take_no_forged_line() {
    let request = base().build().unwrap();
    for payload in PAYLOADS {
        let uris = [
            payload.to_owned(),
            format!("sip:{payload}@b"),
            format!("sip:a@b;p={payload}"),
            format!("sip:a@b?h={payload}"),
        ];
        for uri in uris {
            let builder = Builder::request(Method::Options, &uri)
                .header(Name::From, "<sip:a@b>;tag=1")
                .header(Name::To, "<sip:a@b>")
                .header(Name::CallId, "c")
                .header(Name::CSeq, "1 OPTIONS");
            judge("request URI", payload, builder.build(), 6);
            judge("set_request_uri", payload, request.edit().set_request_uri(&uri).finish(), 7);
        }
        judge("reason", payload, Builder::response(&request, 200, payload).build(), 6);
        judge("to_tag", payload, Builder::response(&request, 200, "").to_tag(payload).build(), 6);
    }
}

#[test]
fn s8_edit_writes_no_forged_line() {
    let request = base().header(Name::Subject, "s").build().unwrap();
    for payload in PAYLOADS {
        for name in
            [Name::Subject, Name::Reason, Name::UserAgent, Name::RecordRoute, Name::Contact, Name::Supported]
        {
            let same = if name == Name::Subject { 8 } else { 9 };
            judge("prepend", payload, request.edit().prepend(name.clone(), payload).finish(), 9);
            judge("append", payload, request.edit().append(name.clone(), payload).finish(), 9);
            judge("replace", payload, request.edit().replace(name.clone(), payload).finish(), same);
            judge("replace_first", payload, request.edit().replace_first(name, payload).finish(), same);
        }
        judge("set_body", payload, request.edit().set_body(payload, "x").finish(), 9);
    }
}

#[test]
fn s8_uris_and_addresses_take_no_forged_line() {
    let uri = OwnedUri::parse("sip:alice@example.org;transport=tls").unwrap();
    for payload in PAYLOADS {
        let uris = [
            ("user", OwnedUri::sip(Scheme::Sip, Some(payload), "example.org", None)),
            ("host", OwnedUri::sip(Scheme::Sip, None, payload, None)),
            ("param name", uri.with_param(payload, None)),
            ("param", uri.with_param("p", Some(payload))),
            ("with_user", uri.with_user(Some(payload))),
            ("with_host", uri.with_host(payload, None)),
        ];
        for (what, outcome) in uris {
            let Ok(made) = outcome else { continue };
            assert!(!is_raw(payload), "{what} took {payload:?}");
            judge(what, payload, replaced(Name::To, &format!("<{made}>")), 7);
            if what.contains("user") {
                assert_eq!(
                    made.view().user_unescaped().as_deref(),
                    Some(payload),
                    "{what} changed {payload:?}"
                );
                assert_eq!(made.view().host_text(), "example.org");
            }
            assert_eq!(made.view().headers().count(), 0, "{what}: {made}");
        }
        let addr = || OwnedNameAddr::new(uri.clone());
        let named = addr().with_display_name(payload);
        assert_eq!(named.is_err(), is_raw(payload), "{payload:?}");
        for (what, outcome) in [
            ("display", named),
            ("param", addr().with_param("p", Some(payload))),
            ("param name", addr().with_param(payload, None)),
            ("tag", addr().with_tag(payload)),
        ] {
            let Ok(made) = outcome else { continue };
            assert!(!is_raw(payload), "{what} took {payload:?}");
            let message = replaced(Name::From, &made.to_string());
            let from = message.as_ref().unwrap().from().unwrap();
            assert_eq!(from.uri().as_str(), uri.as_str());
            if what == "display" {
                assert_eq!(from.display_name().as_deref(), Some(payload));
            }
            judge(what, payload, message.clone(), 7);
        }
    }
}

// S9: Content-Length that lies.

const LENGTHS: [&str; 14] = [
    "-1",
    "2147483648",
    "4294967306",
    "18446744073709551616",
    "99999999999999999999999",
    "+5",
    "0x5",
    "5 5",
    "5,5",
    "five",
    "",
    "5;x",
    "5.0",
    "\u{665}",
];

#[test]
fn s9_content_lengths_that_lie_are_answered_with_400() {
    for length in LENGTHS {
        let text = with(&format!("Content-Length: {length}\r\n"), "12345");
        assert_eq!(code(text.clone()), Some(400), "{length}");
        let mut framer = Framer::default();
        framer.push(text.as_bytes());
        let error = framer.next().expect_err(length);
        assert_eq!(error.refusal().and_then(|refusal| refusal.code()), Some(400), "{length}");
        framer.push(text.as_bytes());
        assert!(
            framer.next().is_err() && framer.buffered() == 0,
            "a broken stream stays broken and holds nothing"
        );
    }
    for two in ["Content-Length: 5\r\nContent-Length: 4\r\n", "l: 5\r\nContent-Length: 4\r\n"] {
        assert_eq!(code(with(two, "12345")), Some(400));
    }
    let agreed = parse(with("l: 5\r\nContent-Length: 5\r\n", "12345"));
    assert_eq!(agreed.map(|message| message.body().len()), Ok(5));
    // A new connection is not the worse for it.
    let mut framer = Framer::default();
    framer.push(with("Content-Length: 5\r\n", "12345").as_bytes());
    assert!(matches!(framer.next(), Ok(Some(Frame::Message(_)))));
}

#[test]
fn s9_bodies_that_never_come_hold_back_no_more_than_the_limit() {
    let mut framer = Framer::default();
    framer.push(with("Content-Length: 60000\r\n", "").as_bytes());
    for _ in 0..59 {
        assert_eq!(framer.next().unwrap(), None);
        framer.push(&[b'x'; 1000]);
    }
    assert!(framer.buffered() <= limits::BUFFERED);
    // A header that never ends is given up at the limit.
    let mut framer = Framer::default();
    framer.push(HEAD.as_bytes());
    let outcome = (0..100).find_map(|_| {
        framer.push(format!("X: {}\r\n", "y".repeat(1000)).as_bytes());
        framer.next().err()
    });
    let error = outcome.expect("an end");
    assert_eq!((error.error.place, error.error.kind), (Place::Whole, Flaw::TooLarge));
    assert_eq!(framer.buffered(), 0);
}

// S10: two readers of one stream must not see two different requests.

#[test]
fn s10_smuggled_requests_are_seen_once_at_every_split() {
    let inner = with("Content-Length: 0\r\n", "").replace("Call-ID: c1", "Call-ID: smuggled");
    let streams = [
        // The body is longer than its Content-Length and starts a request.
        with("Content-Length: 0\r\n", &inner),
        // It is exactly as long: then it is a body.
        with(&format!("Content-Length: {}\r\n", inner.len()), &inner),
        // Keep-alives between.
        format!("\r\n\r\n{}\r\n\r\n\r\n\r\n{inner}", with("Content-Length: 0\r\n", "")),
        with("Content-Length : 0\r\n", &inner),
        with("Content-Length:\r\n 0\r\n", &inner),
        with("l:0\r\n", &inner),
        with("Content-Length: 0\r\nX: a\r\n\tContent-Length: 500\r\n", &inner),
        with("Content-Length: 0\n", &inner),
    ];
    for (number, stream) in streams.iter().enumerate() {
        let whole = call_ids(stream.as_bytes(), stream.len());
        let due: &[&str] = if number == 1 { &["c1"] } else { &["c1", "smuggled"] };
        assert_eq!(whole, due, "stream {number}");
        for split in 1..stream.len() {
            assert_eq!(call_ids(stream.as_bytes(), split), whole, "stream {number} split at {split}");
        }
    }
}

/// The Call-IDs of the messages in a stream that comes in two pieces. Each frame must be one whole message to the
/// parser.
fn call_ids(stream: &[u8], split: usize) -> Vec<String> {
    let mut framer = Framer::default();
    let mut found = Vec::new();
    let (one, two) = stream.split_at(split);
    for piece in [one, two] {
        framer.push(piece);
        while let Some(frame) = framer.next().unwrap() {
            if let Frame::Message(bytes) = frame {
                let message = parse(bytes.clone()).unwrap();
                assert_eq!(message.len(), bytes.len(), "framer and parser disagree about the length");
                found.push(message.call_id().to_owned());
            }
        }
    }
    found
}

#[test]
fn s10_ambiguous_line_ends_are_refused() {
    for lines in
        ["X: a\rContent-Length: 5\r\n", "Content-Length: 5\r\r\n", "X: a\r\r\n\r\nContent-Length: 5\r\n"]
    {
        let text = with(lines, "12345");
        let mut framer = Framer::default();
        framer.push(text.as_bytes());
        assert!(framer.next().is_err(), "{lines:?}");
        assert_eq!(code(text), Some(400), "{lines:?}");
    }
}

#[test]
fn s10_keep_alive_floods_cost_nothing() {
    let mut framer = Framer::default();
    let mut pings = 0;
    for _ in 0..1000 {
        framer.push(&b"\r\n\r\n".repeat(100));
        while let Some(frame) = framer.next().unwrap() {
            assert_eq!(frame, Frame::Ping);
            pings += 1;
        }
        assert_eq!(framer.buffered(), 0);
    }
    assert_eq!(pings, 100_000);
    framer.push(with("Content-Length: 0\r\n", "").as_bytes());
    assert!(matches!(framer.next(), Ok(Some(Frame::Message(_)))));
}

#[test]
fn s10_a_ping_in_two_halves_is_still_a_ping() {
    let mut framer = Framer::default();
    let mut frames = Vec::new();
    for piece in [&b"\r"[..], b"\n", b"\r", b"\n"] {
        framer.push(piece);
        frames.extend(framer.next().unwrap());
    }
    assert_eq!(frames, [Frame::Pong, Frame::Ping]);
}

#[test]
fn s10_other_protocols_end_the_stream() {
    let hellos =
        [&b"\x16\x03\x01\x02\x00"[..], b"\0\0", b"<xml>", b"{\"a\":1}", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"];
    for hello in hellos {
        let mut framer = Framer::default();
        framer.push(hello);
        let error = framer.next().expect_err("no SIP");
        assert_eq!((error.error.kind, error.refusal()), (Flaw::NotSip, None));
    }
}

// S11: multipart bombs.

fn multipart(content_type: &str, body: &str) -> String {
    with(&format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len()), body)
}

#[test]
fn s11_nesting_is_bounded() {
    let nested = |depth: usize| {
        let mut body = "v=0\r\n".to_owned();
        let mut kind = "application/sdp".to_owned();
        for level in 0..depth {
            body = format!("--b{level}x\r\nContent-Type: {kind}\r\n\r\n{body}\r\n--b{level}x--\r\n");
            kind = format!("multipart/mixed;boundary=b{level}x");
        }
        multipart(&kind, &body)
    };
    let good = parse(nested(limits::MULTIPART_DEPTH)).unwrap();
    assert_eq!((good.check(), good.sdp().as_deref()), (Ok(()), Some(&b"v=0\r\n"[..])));
    for depth in [limits::MULTIPART_DEPTH + 1, 100, 700] {
        let text = nested(depth);
        assert_eq!(code(text.clone()), Some(413), "{depth}");
        assert_eq!(parse(text).unwrap().sdp(), None);
    }
}

#[test]
fn s11_the_number_of_parts_is_bounded() {
    let many = |count: usize| {
        multipart("multipart/mixed;boundary=b", &format!("{}--b--\r\n", "--b\r\n\r\n\r\n".repeat(count)))
    };
    let most = parse(many(limits::MULTIPART_PARTS)).unwrap();
    assert_eq!(most.parts().map(|parts| parts.len()), Ok(limits::MULTIPART_PARTS));
    assert_eq!(most.check(), Ok(()));
    assert_eq!(code(many(limits::MULTIPART_PARTS + 1)), Some(413));
    assert_eq!(code(many(7_000)), Some(413));
}

#[test]
fn s11_boundaries_that_are_missing_or_prefixes() {
    let kinds = ["", ";boundary", ";boundary=\"\"", ";boundary=never"];
    for kind in kinds {
        let text = multipart(&format!("multipart/mixed{kind}"), "--b\r\n\r\nx\r\n--b--\r\n");
        assert_eq!(code(text), Some(400), "{kind}");
    }
    let long = format!("multipart/mixed;boundary={}", "b".repeat(71));
    assert_eq!(code(multipart(&long, "x")), Some(400));
    // The inner boundary starts like the outer one.
    let body = "--b\r\nContent-Type: multipart/alternative;boundary=bb\r\n\r\n--bb\r\nContent-Type: application/sdp\r\n\r\n\
        v=0\r\n--bb--\r\n--b\r\n\r\nlast\r\n--b--\r\n";
    let message = parse(multipart("multipart/mixed;boundary=b", body)).unwrap();
    let parts = message.parts().unwrap();
    let inner = parts[0].parts().unwrap();
    assert_eq!((parts.len(), inner.len(), &parts[1].body()[..]), (2, 1, &b"last"[..]));
    assert_eq!(message.sdp().as_deref(), Some(&b"v=0"[..]));
    // Cut off before its end.
    assert_eq!(code(multipart("multipart/mixed;boundary=b", "--b\r\n\r\nx\r\n")), Some(400));
}

#[test]
fn s11_encoded_bodies_are_not_unpacked() {
    let lines = "Content-Type: application/sdp\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n";
    let message = parse(with(lines, "\x1f\u{0}xx")).unwrap();
    let refusal = message.check().unwrap_err();
    let answer = refusal.answer(&message, "t").unwrap().unwrap();
    assert_eq!((answer.status(), answer.header(Name::AcceptEncoding)), (Some(415), Some("identity")));
}

// Floods of header lines.

#[test]
fn floods_of_header_lines_end_at_the_limit() {
    let flood = |count: usize| with(&"X: y\r\n".repeat(count), "");
    let usual = HEAD.lines().count() - 1;
    assert_eq!(code(flood(limits::HEADER_LINES - usual)), None);
    assert_eq!(code(flood(limits::HEADER_LINES - usual + 1)), Some(513));
    assert_eq!(code(flood(9_000)), Some(513));
    for line in [
        "Via: SIP/2.0/UDP a;branch=z9hG4bK1\r\n",
        "Route: <sip:a;lr>\r\n",
        "v: SIP/2.0/UDP a,SIP/2.0/UDP b\r\n",
    ] {
        assert_eq!(code(with(&line.repeat(1500), "")), Some(513));
        let mut framer = Framer::default();
        framer.push(with(&line.repeat(1500), "").as_bytes());
        assert_eq!(framer.next().unwrap_err().refusal().and_then(|refusal| refusal.code()), Some(513));
    }
    assert_eq!(parse(vec![b'A'; limits::MESSAGE + 1]).unwrap_err().kind, Flaw::TooLarge);
}

#[test]
fn long_request_uris_get_414() {
    let text = with("", "").replacen("sip:bob", &format!("sip:{}", "b".repeat(limits::REQUEST_URI)), 1);
    assert_eq!(code(text), Some(414));
}

#[test]
fn acknowledgements_and_responses_are_never_refused_aloud() {
    let ack = with("", "").replace("INVITE", "ACK").replace("Call-ID: c1\r\n", "");
    assert_eq!(code(ack.clone()), None);
    assert!(parse(ack).unwrap().check().is_err());
    let response = with("", "").replacen("INVITE sip:bob@example.net SIP/2.0", "SIP/2.0 200 OK", 1);
    let response = parse(response.replace("CSeq: 1 INVITE\r\n", "")).unwrap();
    assert!(response.check().is_err_and(|refusal| refusal.code().is_none()));
}

#[test]
fn names_in_other_encodings_do_not_lose_the_call() {
    let text = with("", "").replace("<sip:alice@example.org>", "\"Jos? M?ller\" <sip:alice@example.org>");
    let mut bytes = text.into_bytes();
    for byte in bytes.iter_mut().filter(|byte| **byte == b'?') {
        *byte = 0xe9;
    }
    let message = parse(bytes).unwrap();
    assert_eq!(message.from().unwrap().display_name().as_deref(), Some("Jos? M?ller"));
    assert_eq!(NameAddr::parse(message.header(Name::From).unwrap()).unwrap().tag(), Some("1"));
}

/// A control beyond ASCII is read and never written; what is taken out of such a URI is out all the same.
#[test]
fn s23_a_parameter_and_the_headers_of_a_uri_that_we_would_not_write_are_taken_out() {
    let uri = Uri::parse("sip:a?b\u{93}@c;pn-prid=tokentoken;ob?Subject=x").unwrap().to_owned();
    assert_eq!(uri.without_param("pn-prid").as_str(), "sip:a?b\u{93}@c;ob?Subject=x");
    let bare = uri.without_headers();
    assert_eq!((bare.as_str(), bare.view().headers().count()), ("sip:a?b\u{93}@c;pn-prid=tokentoken;ob", 0));
    assert!(bare.with_param("x-mark", Some("1")).is_err());
}
