//! A request as it leaves towards a device (RFC 3261 §16.6), and a response as it leaves towards the caller (§16.7).

use wakeline_push::is_token_parameter;
use wakeline_sip_message::{BuildError, Edit, Message, Method, Name, NameAddr, OwnedUri};

use crate::answer::without_token;

/// What is put into a request for one branch.
pub(crate) struct Leg<'a> {
    /// The Request-URI: the device's Contact; `None` leaves it.
    pub(crate) uri: Option<&'a str>,
    /// Path values, to become Route.
    pub(crate) path: &'a str,
    /// Record-Route values, topmost first.
    pub(crate) record_routes: &'a [String],
    /// Our Route values on top.
    pub(crate) own_routes: u8,
    /// Whether identity headers of the sender may pass (RFC 3325 §5).
    pub(crate) trusted: bool,
    /// Whether our own digest is taken out (its realm is ours).
    pub(crate) realm: &'a str,
}

/// The forwarded request without Via, which the transaction adds.
pub(crate) fn towards_device(request: &Message, leg: &Leg<'_>) -> Result<Message, BuildError> {
    let mut edit = hop(request, leg.own_routes);
    if let Some(uri) = leg.uri {
        edit = edit.set_request_uri(as_request_uri(uri));
    }
    if !leg.path.is_empty() {
        edit = edit.prepend(Name::Route, leg.path);
    }
    for value in leg.record_routes.iter().rev() {
        edit = edit.prepend(Name::RecordRoute, value);
    }
    if !leg.trusted {
        edit = edit.remove_all(Name::PAssertedIdentity);
    }
    let ours = |value: &str| {
        wakeline_sip_message::AuthParams::parse(value)
            .ok()
            .and_then(|found| found.realm().map(|realm| realm == leg.realm))
            .unwrap_or(false)
    };
    if request.count(Name::ProxyAuthorization) > 0 && request.headers(Name::ProxyAuthorization).all(ours) {
        edit = edit.remove_all(Name::ProxyAuthorization);
    }
    edit.finish()
}

/// A Contact's URI as a Request-URI: without tokens, and without the headers and the method that a URI may bring along
/// for other places (RFC 3261 §16.6 step 2, §19.1.1).
pub(crate) fn as_request_uri(uri: &str) -> String {
    let uri = without_token(uri);
    if !uri.contains('?') && !uri.to_ascii_lowercase().contains(";method=") {
        return uri;
    }
    match OwnedUri::parse(&uri) {
        Ok(parsed) => parsed.without_headers().without_param("method").as_str().to_owned(),
        Err(_) => uri,
    }
}

/// A request along its dialog: nothing but the hop count and our Routes changes.
pub(crate) fn within_dialog(request: &Message, own_routes: u8) -> Result<Message, BuildError> {
    let stripped = request.request_uri_text();
    let mut edit = hop(request, own_routes);
    if leaks(stripped) {
        edit = edit.set_request_uri(without_token(stripped));
    }
    edit.finish()
}

fn hop(request: &Message, own_routes: u8) -> Edit<'_> {
    // RFC 3261 §16.6 step 3. Zero was refused on the way in.
    let hops = request.max_forwards().ok().flatten().map_or(70, |hops| hops.saturating_sub(1));
    let mut edit = request.edit().replace(Name::MaxForwards, hops);
    for _ in 0..own_routes {
        edit = edit.remove_first(Name::Route);
    }
    clean_contacts(request, edit)
}

/// A response without our Via and without tokens, under the caller's own CSeq.
pub(crate) fn towards_caller(response: &Message, ahead: u8) -> Result<Message, BuildError> {
    let mut edit = response.edit().remove_first(Name::Via);
    if ahead > 0
        && let Ok(cseq) = response.cseq()
    {
        let number = cseq.number.saturating_sub(u32::from(ahead));
        edit = edit.replace(Name::CSeq, format!("{number} {}", cseq.method));
    }
    clean_contacts(response, edit).finish()
}

/// A request under a CSeq that is ahead of its sender's, and what refers to it (RFC 3262 §7.2).
pub(crate) fn ahead_by(request: &Message, ahead: u8) -> Result<Message, BuildError> {
    let mut edit = request.edit();
    if let Ok(cseq) = request.cseq() {
        let number = cseq.number.saturating_add(u32::from(ahead));
        edit = edit.replace(Name::CSeq, format!("{number} {}", cseq.method));
    }
    let rack: Vec<&str> = request.header(Name::RAck).unwrap_or("").split_whitespace().collect();
    if let [response, number, method] = rack[..]
        && let Ok(number) = number.parse::<u32>()
    {
        let number = number.saturating_add(u32::from(ahead));
        edit = edit.replace(Name::RAck, format!("{response} {number} {method}"));
    }
    edit.finish()
}

/// Whether a text may hold a push token. `pn-purr` is meant to be there, and is sorted out later.
fn leaks(text: &str) -> bool {
    let bytes = text.as_bytes();
    let at = |place: usize, word: &[u8]| {
        bytes.get(place..place + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    memchr::memchr_iter(b';', bytes).any(|semicolon| {
        let start = bytes[semicolon + 1..].iter().position(|byte| !byte.is_ascii_whitespace());
        let start = semicolon + 1 + start.unwrap_or(0);
        (at(start, b"pn-") && !at(start, b"pn-purr")) || at(start, b"app-id")
    })
}

/// Takes push tokens out of the Contacts of what leaves us (RFC 8599 §4.1, §13).
fn clean_contacts<'a>(message: &Message, mut edit: Edit<'a>) -> Edit<'a> {
    if !message.headers(Name::Contact).any(leaks) || message.method() == Method::Register {
        return edit;
    }
    let clean: Vec<String> = message.headers(Name::Contact).map(clean_contact).collect();
    edit = edit.remove_all(Name::Contact);
    for value in clean {
        edit = edit.append(Name::Contact, value);
    }
    edit
}

fn clean_contact(value: &str) -> String {
    let Ok(address) = NameAddr::parse(value) else { return value.to_owned() };
    let mut text = String::with_capacity(value.len());
    if let Some(display) = value.split_once('<').map(|(display, _)| display.trim()) {
        text.push_str(display);
        if !display.is_empty() {
            text.push(' ');
        }
    }
    text.push('<');
    text.push_str(&without_token(address.uri().as_str()));
    text.push('>');
    for (name, value) in address.params() {
        if is_token_parameter(name) {
            continue;
        }
        text.push(';');
        text.push_str(name);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_leave_a_contact_and_a_purr_stays() {
        let cleaned = clean_contact(
            "\"Mia\" <sip:mia@h;gr=urn:uuid:1;pn-provider=fcm;pn-prid=abc;pn-purr=xyz?a=b>;+sip.instance=\"<urn:uuid:1>\";app-id=7",
        );
        assert_eq!(
            cleaned,
            "\"Mia\" <sip:mia@h;gr=urn:uuid:1;pn-purr=xyz?a=b>;+sip.instance=\"<urn:uuid:1>\""
        );
    }

    #[test]
    fn only_texts_with_tokens_are_rewritten() {
        for (text, expected) in [
            ("<sip:a@b;pn-prid=1>", true),
            ("<sip:a@b; PN-Provider=fcm>", true),
            ("<sip:a@b>;app-id=1", true),
            ("<sip:a@b;pn-purr=1>", false),
            ("<sip:pn-prid@b;ob>;reg-id=1", false),
        ] {
            assert_eq!(leaks(text), expected, "{text}");
        }
    }

    #[test]
    fn contact_with_uri_headers_becomes_a_bare_request_uri() {
        assert_eq!(as_request_uri("sip:u@h:5;ob?Route=%3Csip:x%3E&body=y"), "sip:u@h:5;ob");
        assert_eq!(as_request_uri("sip:a?b@h;method=BYE;ob;pn-prid=1"), "sip:a?b@h;ob");
        assert_eq!(as_request_uri("sip:u@h;ob"), "sip:u@h;ob");
    }

    #[test]
    fn without_token_keeps_everything_else() {
        assert_eq!(without_token("sip:u@h:5;ob;pn-provider=fcm;pn-prid=a;x=1"), "sip:u@h:5;ob;x=1");
        assert_eq!(without_token("sip:u@h"), "sip:u@h");
        assert_eq!(without_token("sip:u@h;pn-prid=1?a=b"), "sip:u@h?a=b");
        assert_eq!(without_token("sip:u@h?x=y;ob;pn-provider=fcm;pn-prid=1"), "sip:u@h");
        assert_eq!(without_token("sip:u@h;ob?a=b;app-id=7"), "sip:u@h;ob");
    }
}
