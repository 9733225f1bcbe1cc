//! Forwarding answers (RFC 3261 §8.1.3.4, §21.3).

use wakeline_sip_message::{Message, OwnedUri, Scheme, Uri};

/// The targets of a 3xx, the best first. A call to a `sips:` target never goes on to a lesser one (class S18), and
/// nothing but SIP is followed.
pub(crate) fn targets_of(response: &Message, called: &str) -> Vec<String> {
    let secure = Uri::parse(called).is_ok_and(|uri| uri.scheme() == Scheme::Sips);
    let Ok(contacts) = response.contacts() else { return Vec::new() };
    let mut targets: Vec<(u16, String)> = contacts
        .list()
        .iter()
        .filter(|contact| match contact.uri().scheme() {
            Scheme::Sips => true,
            Scheme::Sip => !secure,
            Scheme::Tel | Scheme::Other => false,
        })
        // §19.1.1: header parts of a Contact could forge fields of our INVITE (class S8).
        .map(|contact| (contact.q().unwrap_or(0), clean(&contact.uri().to_owned())))
        .collect();
    targets.sort_by_key(|(q, _)| core::cmp::Reverse(*q));
    targets.into_iter().map(|(_, target)| target).collect()
}

fn clean(uri: &OwnedUri) -> String {
    uri.without_param("method").without_headers().as_str().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(contacts: &str) -> Message {
        let text = format!(
            "SIP/2.0 302 Moved\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n{contacts}Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.into()).unwrap()
    }

    #[test]
    fn the_best_target_comes_first_and_loses_its_headers() {
        let response = moved(
            "Contact: <sip:low@x>;q=0.1, <sip:high@y?Route=%3csip:z%3e>;q=0.9\r\nContact: <tel:+123>\r\n",
        );
        assert_eq!(targets_of(&response, "sip:b@b"), ["sip:high@y", "sip:low@x"]);
    }

    #[test]
    fn s18_a_sips_call_is_not_led_to_sip() {
        let response = moved("Contact: <sip:low@x>, <sips:high@y>\r\n");
        assert_eq!(targets_of(&response, "sips:b@b"), ["sips:high@y"]);
    }
}
