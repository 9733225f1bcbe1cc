//! Messages as a far end without manners sends them: written well, then bent in a place that the script chooses.

use bytes::Bytes;
use wakeline_sip_message::{Builder, Message, Method, Name};

use crate::script::Script;

/// Header lines that change what a machine does.
const LINES: [&str; 48] = [
    "Contact: *",
    "Contact: <sip:x@203.0.113.66>",
    "Contact: <sip:x@[2001:db8::66]:5070;transport=tcp;ob>;q=0.5;expires=5",
    "Contact: <tel:+1>",
    "Expires: 0",
    "Expires: 4294967295",
    "Min-Expires: 4294967295",
    "Min-Expires: 7200",
    "Retry-After: 1",
    "Retry-After: 4294967295 (later);duration=5",
    "Session-Expires: 90;refresher=uac",
    "Session-Expires: 1;refresher=uas",
    "Session-Expires: 4294967295",
    "Min-SE: 4294967295",
    "Require: 100rel",
    "Require: timer",
    "Require: unknown-thing",
    "Proxy-Require: unknown-thing",
    "Supported: 100rel, timer, replaces, outbound, path",
    "RSeq: 1",
    "RSeq: 4294967295",
    "RAck: 1 1 INVITE",
    "RAck: 4294967295 4294967295 INVITE",
    "WWW-Authenticate: Digest realm=\"example.org\", nonce=\"n2\", qop=\"auth,auth-int\", algorithm=SHA-256",
    "WWW-Authenticate: Digest realm=\"elsewhere.example\", nonce=\"n3\"",
    "Proxy-Authenticate: Digest realm=\"example.org\", nonce=\"n4\", stale=true, qop=auth",
    "Authentication-Info: nextnonce=\"n5\", qop=auth, nc=00000001",
    "Authorization: Digest username=\"mia\", realm=\"voice.example.org\", nonce=\"x\", uri=\"sip:voice.example.org\", response=\"0\"",
    "Record-Route: <sip:proxy.example;lr>, <sip:strict.example>",
    "Route: <sip:203.0.113.1;lr>",
    "Path: <sip:edge.example;lr>",
    "Service-Route: <sip:192.0.2.1;lr>",
    "Feature-Caps: *;+sip.pns=\"fcm\";+sip.pnsreg=\"120\";+sip.pnspurr=\"p1\"",
    "X-Wake-State: Zk3vQm1xT0aB9wLr;cancelled",
    "X-Wake-Id: Zk3vQm1xT0aB9wLr",
    "Flow-Timer: 1",
    "Replaces: c1;to-tag=t1;from-tag=f1",
    "Replaces: c1;to-tag=t1;from-tag=f1;early-only",
    "Join: c1;to-tag=t1;from-tag=f1",
    "Refer-To: <sip:x@y.example?Replaces=c%3Bto-tag%3Da%3Bfrom-tag%3Db>",
    "Event: refer",
    "Max-Forwards: 0",
    "Reason: SIP;cause=200;text=\"elsewhere\"",
    "Content-Type: application/dtmf-relay",
    "Content-Type: multipart/mixed;boundary=b",
    "Via: SIP/2.0/UDP 203.0.113.9;branch=z9hG4bKother",
    "Call-Info: <sip:x>;answer-after=0",
    "Content-Length: 5",
];

/// Values that stand where they should not.
const VALUES: [&str; 16] = [
    "",
    "0",
    "4294967295",
    "4294967296",
    "18446744073709551616",
    "-1",
    "*",
    "\"",
    "<",
    "<sip:>",
    "<sip:a@b>;tag=",
    "%s%n%x",
    "1 BYE",
    ",,,",
    "a;b;c=\"\\\"",
    "<sip:a@[::1]:65535;lr;transport=ws;x=%0d%0aEvil:1>;tag=t1",
];

/// Writes the message anew, with what the script changes in it; often it changes nothing.
pub(crate) fn bend(script: &mut Script<'_>, message: &Message) -> Bytes {
    let bytes = message.to_bytes();
    let kind = script.below(8);
    if kind < 4 {
        return bytes;
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines: Vec<String> = head.split("\r\n").map(str::to_owned).collect();
    let place = 1 + script.below(lines.len());
    match kind {
        4 => lines.insert(place.min(lines.len()), LINES[script.below(LINES.len())].to_owned()),
        5 => {
            if let Some(line) = lines.get_mut(place) {
                let name = line.split_once(':').map_or(line.as_str(), |(name, _)| name);
                let value = match script.below(VALUES.len() + 1) {
                    own if own == VALUES.len() => script.text(24),
                    known => VALUES[known].to_owned(),
                };
                *line = format!("{name}: {value}");
            }
        }
        6 => {
            if place < lines.len() {
                lines.remove(place);
            }
        }
        _ => {
            let mut bytes = bytes.to_vec();
            let at = usize::from(script.u16()) % bytes.len().max(1);
            bytes[at] ^= script.byte() | 1;
            return bytes.into();
        }
    }
    Bytes::from(format!("{}\r\n\r\n{body}", lines.join("\r\n")))
}

/// The same, read again; a message with a flaw is taken as far as it could be read.
pub(crate) fn bent(script: &mut Script<'_>, message: &Message) -> Option<Message> {
    match Message::parse(bend(script, message)) {
        Ok(message) => Some(message),
        Err(error) => error.remains().cloned(),
    }
}

pub(crate) const METHODS: [Method; 14] = Method::KNOWN;

const CODES: [u16; 40] = [
    100, 180, 181, 183, 199, 200, 202, 204, 300, 301, 302, 305, 400, 401, 403, 404, 405, 407, 408, 420, 421,
    422, 423, 430, 439, 480, 481, 482, 486, 487, 488, 491, 494, 500, 503, 504, 555, 600, 603, 699,
];

/// A response to a request, with the far end's tag where there is none, and often with what such a code brings along.
pub(crate) fn response(script: &mut Script<'_>, request: &Message) -> Option<Message> {
    let code = CODES[script.below(CODES.len())];
    let mut builder = Builder::response(request, code, "");
    if code > 100 && request.to_tag().is_none() {
        builder = builder.to_tag(["t1", "t2", "t3"][script.below(3)]);
    }
    let register = request.method() == Method::Register;
    match code {
        401 => {
            let nonce = ["n1", "n2"][script.below(2)];
            let line = format!("Digest realm=\"example.org\", nonce=\"{nonce}\", qop=\"auth\"");
            builder = builder.header(Name::WwwAuthenticate, line);
        }
        407 => {
            let line = "Digest realm=\"example.org\", nonce=\"n7\", algorithm=SHA-256, qop=\"auth\"";
            builder = builder.header(Name::ProxyAuthenticate, line);
        }
        200..=299 if register => {
            let expires = ["0", "1", "60", "3600", "604800", "4294967295"][script.below(6)];
            if let Some(contact) = request.header(Name::Contact).filter(|contact| *contact != "*") {
                builder = builder.header(Name::Contact, format!("{contact};expires={expires}"));
            }
        }
        101..=399 if !register => builder = builder.header(Name::Contact, "<sip:far@192.0.2.1:5070>"),
        422 => builder = builder.header(Name::MinSe, "300"),
        423 => builder = builder.header(Name::MinExpires, "120"),
        503 => builder = builder.header(Name::RetryAfter, "5"),
        _ => {}
    }
    if request.method() == Method::Invite && script.flag() {
        builder = builder.body("application/sdp", SDP);
    }
    bent(script, &builder.build().ok()?)
}

/// A description that anybody can take.
pub(crate) const SDP: &str =
    "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";

/// What names a far end's request.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) uri: &'a str,
    pub(crate) call_id: &'a str,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) cseq: u32,
    pub(crate) branch: &'a str,
    pub(crate) via: &'a str,
}

/// A far end's request, bent.
pub(crate) fn request(script: &mut Script<'_>, names: &Request<'_>) -> Option<Message> {
    let message = straight(script.flag(), names)?;
    bent(script, &message)
}

/// The same as it should be.
pub(crate) fn straight(with_offer: bool, names: &Request<'_>) -> Option<Message> {
    let mut builder = Builder::request(names.method.clone(), names.uri)
        .header(Name::Via, format!("{};branch={}", names.via, names.branch))
        .header(Name::MaxForwards, 70)
        .header(Name::From, names.from)
        .header(Name::To, names.to)
        .header(Name::CallId, names.call_id)
        .header(Name::CSeq, format!("{} {}", names.cseq, names.method))
        .header(Name::Contact, "<sip:far@192.0.2.1:5070>");
    if with_offer && matches!(names.method, Method::Invite | Method::Update | Method::Ack | Method::Prack) {
        builder = builder.body("application/sdp", SDP);
    }
    builder.build().ok()
}
