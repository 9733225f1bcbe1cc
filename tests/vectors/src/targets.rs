//! Functions that take any bytes and must come back. Each also holds what it reads against what it writes.

#![allow(clippy::expect_used, reason = "a fuzz target tells what it found by a panic")]

use bytes::Bytes;
use wakeline_sip_message::{
    AuthParams, Builder, Frame, Framer, InfoUri, Item, MediaType, Message, Name, NameAddr, OwnedUri, Params,
    Part, Uri, Via, Warning, limits,
};

/// Reads a message through every view, grades, answers, edits and shows it.
///
/// # Panics
/// When a law of the crate is broken: what a message is written as does not read back as the same.
pub fn message(bytes: &[u8]) {
    let message = match Message::parse(Bytes::copy_from_slice(bytes)) {
        Ok(message) => message,
        Err(error) => {
            let _ = error.to_string();
            match error.remains() {
                Some(message) => message.clone(),
                None => return,
            }
        }
    };
    views(&message);
    let shown = format!("{message:?}");
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "a log line holds a control character");
    for check in
        [message.check(), message.check_against(&crate::ENDPOINT), message.check_against(&crate::PROXY)]
    {
        if let Err(refusal) = check
            && let Some(answer) = refusal.answer(&message, "tag")
        {
            let answer = answer.expect("a refusal that is due can be written");
            assert_eq!(answer.status(), refusal.code());
            assert!(answer.lines().count() <= message.lines().count() + 5, "an answer holds a forged line");
        }
    }
    if message.flaw().is_some() {
        return;
    }
    let edited = message
        .edit()
        .prepend(Name::Via, "SIP/2.0/UDP proxy.example;branch=z9hG4bK1")
        .remove_first(Name::Route)
        .replace(Name::MaxForwards, 69)
        .finish();
    match edited {
        Ok(edited) => {
            assert_eq!(edited.body(), message.body());
            assert_eq!(edited.call_id(), message.call_id());
            assert!(edited.lines().count() <= message.lines().count() + 3, "an edit forged a line");
        }
        Err(error) => {
            let _ = error.to_string();
        }
    }
    if message.is_request() && message.check().is_ok() {
        let answer =
            Builder::response(&message, 200, "").to_tag("x").build().expect("a good request can be answered");
        assert_eq!(answer.vias().count(), message.vias().count());
        assert_eq!(answer.call_id(), message.call_id());
    }
}

/// Asks for every view there is.
fn views(message: &Message) {
    let _ = (message.method(), message.status(), message.reason(), message.request_uri(), message.call_id());
    let _ =
        (message.via(), message.from(), message.to(), message.cseq(), message.contacts(), message.contact());
    let _ = (message.max_forwards(), message.expires(), message.min_expires(), message.content_length());
    let _ = (message.rack(), message.rseq(), message.session_expires(), message.min_se(), message.replaces());
    let _ = (
        message.join(),
        message.target_dialog(),
        message.refer_to(),
        message.referred_by(),
        message.refer_sub(),
    );
    let _ = (
        message.event(),
        message.subscription_state(),
        message.retry_after(),
        message.timestamp(),
        message.date(),
    );
    let _ = (
        message.flow_timer(),
        message.reply_to(),
        message.content_disposition(),
        message.authentication_info(),
    );
    let addresses = [
        message.routes().filter_map(Result::ok).count(),
        message.record_routes().filter_map(Result::ok).count(),
        message.paths().filter_map(Result::ok).count(),
        message.service_routes().filter_map(Result::ok).count(),
        message.p_asserted_identity().filter_map(Result::ok).count(),
        message.p_preferred_identity().filter_map(Result::ok).count(),
        message.p_associated_uri().filter_map(Result::ok).count(),
        message.remote_party_id().filter_map(Result::ok).count(),
        message.diversion().filter_map(Result::ok).count(),
        message.history_info().filter_map(Result::ok).count(),
    ];
    let others = [
        message.vias().filter_map(Result::ok).count(),
        message.reason_header().filter_map(Result::ok).count(),
        message.warning().filter_map(Result::ok).count(),
        message.alert_info().filter_map(Result::ok).count(),
        message.call_info().filter_map(Result::ok).count(),
        message.feature_caps().filter_map(Result::ok).count(),
        message.accept().filter_map(Result::ok).count(),
        message.privacy().count(),
        message.www_authenticate().filter_map(Result::ok).map(|one| one.iter().count()).sum(),
        message.proxy_authenticate().filter_map(Result::ok).map(|one| one.iter().count()).sum(),
        message.authorization().filter_map(Result::ok).map(|one| one.iter().count()).sum(),
        message.proxy_authorization().filter_map(Result::ok).map(|one| one.iter().count()).sum(),
    ];
    let values = addresses.iter().chain(&others).sum::<usize>();
    assert!(values <= 4 * message.len() + 8, "more values than bytes");
    for name in Name::KNOWN {
        let _ = message.items(name.clone()).filter_map(Result::ok).count();
    }
    let _ = message.sdp();
}

/// Frames a stream that comes in pieces; whatever the pieces, the frames are the same.
///
/// # Panics
/// When the cut of the pieces shows in the frames, or more than the limit is held back.
pub fn framer(bytes: &[u8]) {
    let whole = messages_of(bytes.chunks(bytes.len().max(1)));
    let step = bytes.first().map_or(1, |first| usize::from(*first) % 7 + 1);
    assert_eq!(whole, messages_of(bytes.chunks(step)), "frames depend on how the bytes came");
}

/// The messages of a stream, and whether it ended in an error.
pub fn messages_of<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Bytes>, bool) {
    let mut framer = Framer::default();
    let mut messages = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next() {
                Ok(Some(Frame::Message(message))) => messages.push(message),
                Ok(Some(Frame::Ping | Frame::Pong)) => {}
                Ok(None) => break,
                Err(error) => {
                    let _ = (error.to_string(), error.refusal());
                    return (messages, true);
                }
            }
        }
        assert!(framer.buffered() <= limits::BUFFERED, "too much held back");
    }
    (messages, false)
}

/// Reads a URI and the other values that stand alone, and holds their writers against their readers.
///
/// # Panics
/// When a URI does not read back, or is not equivalent to itself.
pub fn uri(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    let _ = (NameAddr::parse(text), Via::parse(text), Params::parse(text), Item::parse(text));
    let _ = (MediaType::parse(text), AuthParams::parse(text), Warning::parse(text), InfoUri::parse(text));
    let Ok(uri) = Uri::parse(text) else { return };
    assert!(uri.equivalent(&uri), "not equivalent to itself");
    let owned: OwnedUri = uri.to_owned();
    assert_eq!(owned.as_str(), text);
    let _ = (uri.user_unescaped(), uri.password(), uri.host().to_string(), uri.header("Replaces"));
    if uri.is_sip() {
        let Ok(changed) = owned.without_headers().with_param("x-mark", Some("1")) else {
            // The reader is tolerant of controls beyond ASCII, the writer is not.
            assert!(text.chars().any(char::is_control), "a mark can be set");
            return;
        };
        assert_eq!(changed.view().param("x-mark"), Some("1"));
        assert_eq!(changed.without_param("x-mark").view().param("x-mark"), None);
    }
}

/// Reads bytes as a multipart body whose boundary is `b`.
///
/// # Panics
/// When there are more parts than the limit allows.
pub fn multipart(bytes: &[u8]) {
    let built = Builder::request(wakeline_sip_message::Method::Message, "sip:a@b.example")
        .header(Name::From, "<sip:c@d.example>;tag=1")
        .header(Name::To, "<sip:a@b.example>")
        .header(Name::CallId, "1")
        .header(Name::CSeq, "1 MESSAGE")
        .header(Name::Via, "SIP/2.0/UDP d.example;branch=z9hG4bK1")
        .body("multipart/mixed;boundary=b", bytes.to_vec())
        .build();
    let Ok(message) = built else { return };
    let _ = (message.sdp(), message.check());
    let Ok(parts) = message.parts() else { return };
    assert!(parts.len() <= limits::MULTIPART_PARTS);
    let inside = |part: &Part| part.parts().map_or(0, |parts| parts.len());
    let _ = parts.iter().map(inside).sum::<usize>();
}
