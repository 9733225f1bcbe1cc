//! Class S13: the work of reading grows with the size of what is read, not faster. The readers count the bytes they look
//! at, so nothing here depends on a clock.

use bytes::Bytes;

use crate::grammar::work;
use crate::{Frame, Framer, Message, Name, Uri};

/// All header fields with values of a form.
fn read_everything(message: &Message, field: &str) {
    let _ = (
        message.request_uri(),
        message.via(),
        message.from(),
        message.to(),
        message.cseq(),
        message.contacts(),
    );
    let _ = (
        message.replaces(),
        message.join(),
        message.refer_to(),
        message.session_expires(),
        message.retry_after(),
    );
    let _ = (
        message.event(),
        message.subscription_state(),
        message.content_type(),
        message.parts(),
        message.sdp(),
    );
    let _ =
        (message.check(), message.authentication_info(), message.date(), message.timestamp(), message.rack());
    if let Some(name) = Name::parse(field) {
        let _ = message.headers(name.clone()).count();
        let _ = message.items(name.clone()).count();
        let _ = message.every(name.clone(), crate::NameAddr::parse).count();
        let _ = message
            .every(name.clone(), crate::AuthParams::parse)
            .flatten()
            .flat_map(|one| one.iter())
            .count();
        let _ = message.every(name.clone(), crate::Warning::parse).count();
        let _ = message.challenges(name.clone()).count();
    }
    if let Ok(to) = message.to() {
        let _ = (to.uri().equivalent(&to.uri()), to.tag(), to.display_name(), to.uri().user_unescaped());
        let more = format!("{};x=1", to.uri());
        let _ = Uri::parse(&more).map(|more| more.equivalent(&to.uri()));
    }
    let _ = format!("{message:?}");
}

fn work_of(text: &str, field: &str) -> u64 {
    work::take();
    match Message::parse(Bytes::copy_from_slice(text.as_bytes())) {
        Ok(message) => read_everything(&message, field),
        Err(error) => {
            if let Some(message) = error.remains() {
                read_everything(message, field);
            }
        }
    }
    work::take()
}

const PATTERNS: [&str; 20] = [
    "((((",
    ",,,,",
    ";;;;",
    "<sip:<sip:",
    "\"\"",
    "\"",
    "\\\\",
    "\\\"",
    ";a=\"",
    ";a=b",
    ",<sip:a@b>",
    "\"<",
    "<\"",
    "%41",
    "[::",
    " \t",
    "@",
    "a=b,",
    "Digest a=\"b\", ",
    "--b\r\n ",
];

#[test]
fn s13_reading_grows_linearly_with_size() {
    let fields = [
        "Via",
        "From",
        "To",
        "Contact",
        "Route",
        "Record-Route",
        "Call-ID",
        "CSeq",
        "Authorization",
        "WWW-Authenticate",
        "Warning",
        "Retry-After",
        "Subject",
        "Replaces",
        "Content-Type",
        "Supported",
        "Reason",
        "X-Other",
    ];
    for field in fields {
        for pattern in PATTERNS {
            for lead in ["", "sip:a@b", "<sip:a@b>", "\"", "SIP/2.0/UDP a", "Digest "] {
                let text = |size: usize| {
                    let value = pattern.repeat(size / pattern.len());
                    format!("OPTIONS sip:a SIP/2.0\r\nTo: <sip:a@b>\r\n{field}: {lead}{value}\r\n\r\n")
                };
                let (small, large) = (work_of(&text(2_000), field), work_of(&text(8_000), field));
                assert!(
                    large <= small * 5,
                    "{field}: {lead}{pattern}: {small} bytes looked at, then {large}"
                );
            }
        }
    }
}

#[test]
fn s13_many_lines_grow_linearly() {
    for line in [
        "Via: SIP/2.0/UDP a;branch=z9hG4bK1\r\n",
        "Route: <sip:a;lr>\r\n",
        "X: y\r\n",
        " folded\r\n",
        "\u{e9}\r\n",
        "To: a\r\n",
    ] {
        let text = |count: usize| format!("OPTIONS sip:a SIP/2.0\r\nX: y\r\n{}\r\n", line.repeat(count));
        let (small, large) = (work_of(&text(50), "Via"), work_of(&text(200), "Via"));
        assert!(large <= small * 5, "{line:?}: {small} bytes looked at, then {large}");
    }
}

#[test]
fn s13_multipart_bodies_grow_linearly() {
    for piece in [
        "--b",
        "--b\r\n",
        "\r\n--bb",
        "\r\n\r\n",
        "--b\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n",
        "-",
    ] {
        let text = |size: usize| {
            let body = piece.repeat(size / piece.len());
            format!(
                "MESSAGE sip:a SIP/2.0\r\nContent-Type: multipart/mixed;boundary=b\r\n\r\n{body}\r\n--b--\r\n"
            )
        };
        let (small, large) = (work_of(&text(10_000), "X"), work_of(&text(40_000), "X"));
        assert!(large <= small * 5, "{piece:?}: {small} bytes looked at, then {large}");
    }
}

#[test]
fn s13_a_stream_that_comes_byte_by_byte_is_searched_once() {
    for line in
        ["X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n", "X: y\r\n", "X: y\n"]
    {
        let work_of = |count: usize| {
            let text = format!("OPTIONS sip:a SIP/2.0\r\n{}Content-Length: 0\r\n\r\n", line.repeat(count));
            let mut framer = Framer::default();
            let mut messages = 0;
            work::take();
            for byte in text.as_bytes() {
                framer.push(&[*byte]);
                while let Ok(Some(frame)) = framer.next() {
                    messages += usize::from(matches!(frame, Frame::Message(_)));
                }
            }
            assert_eq!(messages, 1);
            work::take()
        };
        let (small, large) = (work_of(50), work_of(200));
        assert!(large <= small * 5, "{line:?}: {small} bytes looked at, then {large}");
    }
}
