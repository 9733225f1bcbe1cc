//! Keeping tokens where they belong: out of everything but REGISTER, and out of logs (RFC 8599 §4.1, §13).

use sha2::{Digest, Sha256};
use wakeline_secret::Secret;

/// Whether a URI parameter tells how a phone is woken, in any dialect. `pn-purr` does not: it is made for requests
/// within dialogs (RFC 8599 §6.1).
pub fn is_token_parameter(name: &str) -> bool {
    if name.eq_ignore_ascii_case("app-id") {
        return true;
    }
    name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("pn-"))
        && !name.eq_ignore_ascii_case("pn-purr")
}

/// The parameters without those that tell how a phone is woken: for every request but REGISTER, for Contacts shown to
/// others, and for a Request-URI on its way to the phone.
pub fn strip_token_parameters<'a>(
    parameters: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
    parameters.into_iter().filter(|(name, _)| !is_token_parameter(name))
}

/// A short name of a token for logs: the same token has the same name, and the name does not lead back to it.
pub fn token_mark(token: &Secret) -> String {
    let mut hasher = Sha256::new();
    hasher.update(b"wakeline push token\0");
    hasher.update(token.expose().as_bytes());
    hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s23_no_token_parameter_survives_stripping() {
        let all = [
            ("transport", Some("tls")),
            ("ob", None),
            ("pn-provider", Some("fcm")),
            ("PN-PRID", Some("t")),
            ("pn-param", Some("p")),
            ("pn-type", Some("apple")),
            ("pn-tok", Some("t")),
            ("App-Id", Some("a")),
            ("pn-silent", Some("1")),
            ("pn-msg-str", Some("IM_MSG")),
            ("pn-purr", Some("pB7")),
            ("pn", None),
            ("é", None),
        ];
        let left: Vec<_> = strip_token_parameters(all).map(|(name, _)| name).collect();
        assert_eq!(left, ["transport", "ob", "pn-purr", "pn", "é"]);
    }

    #[test]
    fn s23_the_mark_of_a_token_is_stable_short_and_not_the_token() {
        let (a, b) = (token_mark(&"canary-a".into()), token_mark(&"canary-b".into()));
        assert_eq!(a, token_mark(&"canary-a".into()));
        assert_ne!(a, b);
        assert_eq!(a.len(), 12);
        assert!(!a.contains("canary"));
    }
}
