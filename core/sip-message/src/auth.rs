//! Challenges and credentials (RFC 3261 §20.44, RFC 7616, RFC 8760): how they are written, not what they prove.

use core::fmt;
use std::borrow::Cow;

use crate::error::{Flaw, ParseError};
use crate::grammar::{Commas, is_token, quoted_end, trim, unquote};
use crate::message::Message;
use crate::name::Name;

/// A scheme and its comma-separated parameters: one challenge, or one set of credentials.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthParams<'a> {
    scheme: &'a str,
    params: &'a str,
}

impl<'a> AuthParams<'a> {
    /// Reads `Digest realm="…", nonce="…"`.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let text = trim(text);
        let (scheme, params) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        if !is_token(scheme) {
            return Err(ParseError::value(Flaw::Syntax));
        }
        Self::bare(params).map(|read| AuthParams { scheme, ..read })
    }

    /// Reads parameters without a scheme: Authentication-Info (RFC 7616 §3.5).
    pub fn bare(text: &'a str) -> Result<Self, ParseError> {
        let params = trim(text);
        for one in Commas::of(params).filter(|one| !one.is_empty()) {
            // A scheme other than Digest may carry one bare token instead (RFC 7235 §2.1).
            let Some((name, value)) = name_and_value(one) else { continue };
            let value = trim(value);
            let whole = !value.starts_with('"') || quoted_end(value.as_bytes()) == Some(value.len());
            if !is_token(trim(name)) || !whole {
                return Err(ParseError::value(Flaw::Syntax));
            }
        }
        Ok(AuthParams { scheme: "", params })
    }

    /// The scheme: `Digest`, `Bearer`, `Basic`, ….
    pub fn scheme(&self) -> &'a str {
        self.scheme
    }

    /// Whether the scheme is Digest.
    pub fn is_digest(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("Digest")
    }

    /// Names and raw values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        Commas::of(self.params)
            .filter_map(|one| name_and_value(one).map(|(name, value)| (trim(name), trim(value))))
    }

    /// A parameter without its quotes.
    pub fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.raw(name).map(unquote)
    }

    /// A parameter as it was written.
    pub fn raw(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Several parameters in one reading, each without its quotes; the first of its name counts.
    pub fn pick<const N: usize>(&self, names: [&str; N]) -> [Option<Cow<'a, str>>; N] {
        let mut picked = [None; N];
        for (found, value) in self.iter() {
            let place = names.iter().position(|name| found.eq_ignore_ascii_case(name));
            if let Some(place) = place.and_then(|place| picked.get_mut(place)) {
                place.get_or_insert(value);
            }
        }
        picked.map(|value| value.map(unquote))
    }

    /// `realm`
    pub fn realm(&self) -> Option<Cow<'a, str>> {
        self.get("realm")
    }

    /// `nonce`
    pub fn nonce(&self) -> Option<Cow<'a, str>> {
        self.get("nonce")
    }

    /// `opaque`
    pub fn opaque(&self) -> Option<Cow<'a, str>> {
        self.get("opaque")
    }

    /// `algorithm`; MD5 if none is written (RFC 7616 §3.3).
    pub fn algorithm(&self) -> Cow<'a, str> {
        self.get("algorithm").unwrap_or(Cow::Borrowed("MD5"))
    }

    /// Whether a challenge offers this quality of protection, or credentials use it.
    pub fn has_qop(&self, wanted: &str) -> bool {
        self.get("qop").is_some_and(|list| list.split(',').any(|one| trim(one).eq_ignore_ascii_case(wanted)))
    }

    /// `stale=true` (RFC 7616 §3.3).
    pub fn is_stale(&self) -> bool {
        self.get("stale").is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// `username`
    pub fn username(&self) -> Option<Cow<'a, str>> {
        self.get("username")
    }

    /// `uri`
    pub fn uri(&self) -> Option<Cow<'a, str>> {
        self.get("uri")
    }

    /// `response`
    pub fn response(&self) -> Option<Cow<'a, str>> {
        self.get("response")
    }

    /// `cnonce`
    pub fn cnonce(&self) -> Option<Cow<'a, str>> {
        self.get("cnonce")
    }

    /// `nc`, eight hexadecimal digits.
    pub fn nonce_count(&self) -> Option<u32> {
        nonce_count(&self.get("nc")?)
    }

    /// `nextnonce` of an Authentication-Info.
    pub fn next_nonce(&self) -> Option<Cow<'a, str>> {
        self.get("nextnonce")
    }
}

/// At the first equals sign; nonces are long, and read with every request.
fn name_and_value(one: &str) -> Option<(&str, &str)> {
    let (name, value) = one.split_at_checked(memchr::memchr(b'=', one.as_bytes())?)?;
    Some((name, value.get(1..)?))
}

/// A count of uses as it is written: eight hexadecimal digits (RFC 7616 §3.4).
pub fn nonce_count(text: &str) -> Option<u32> {
    let whole = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    whole.then(|| u32::from_str_radix(text, 16).ok())?
}

/// Names only: nonces and responses are not for logs.
impl fmt::Debug for AuthParams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with", self.scheme)?;
        self.iter().try_for_each(|(name, _)| write!(f, " {}", name.escape_debug()))
    }
}

/// Several challenges may stand on one line (RFC 7235 §4.1 allows it, and some servers do it in SIP too): a comma
/// starts a new one where a scheme and a space follow it rather than `name=`.
fn challenges(line: &str) -> impl Iterator<Item = &str> + Clone {
    let mut cuts = vec![0];
    for one in Commas::of(line) {
        let head = one.split(['=', '"']).next().unwrap_or(one);
        let at = one.as_ptr() as usize - line.as_ptr() as usize;
        // Without white space around `=` there is a space only between a scheme and its first parameter.
        if at > 0 && trim(head).contains([' ', '\t']) {
            cuts.push(at);
        }
    }
    cuts.push(line.len());
    (1..cuts.len())
        .map(move |nth| (cuts[nth - 1], cuts[nth]))
        .map(move |(from, to)| line[from..to].trim_end_matches([' ', '\t', ',']))
}

impl Message {
    fn auth(&self, name: Name) -> impl Iterator<Item = Result<AuthParams<'_>, ParseError>> + Clone {
        let lines = self.headers(name.clone());
        lines.map(move |line| AuthParams::parse(line).map_err(|error| error.at(name.clone())))
    }

    /// The challenges of WWW-Authenticate (401) or Proxy-Authenticate (407), in the server's order of preference.
    pub fn challenges(&self, name: Name) -> impl Iterator<Item = Result<AuthParams<'_>, ParseError>> + Clone {
        let lines = self.headers(name.clone());
        lines
            .flat_map(challenges)
            .map(move |one| AuthParams::parse(one).map_err(|error| error.at(name.clone())))
    }

    /// WWW-Authenticate (RFC 3261 §20.44).
    pub fn www_authenticate(&self) -> impl Iterator<Item = Result<AuthParams<'_>, ParseError>> + Clone {
        self.challenges(Name::WwwAuthenticate)
    }

    /// Proxy-Authenticate (RFC 3261 §20.27).
    pub fn proxy_authenticate(&self) -> impl Iterator<Item = Result<AuthParams<'_>, ParseError>> + Clone {
        self.challenges(Name::ProxyAuthenticate)
    }

    /// Authorization (RFC 3261 §20.7).
    pub fn authorization(&self) -> impl Iterator<Item = Result<AuthParams<'_>, ParseError>> + Clone {
        self.auth(Name::Authorization)
    }

    /// Proxy-Authorization (RFC 3261 §20.28).
    pub fn proxy_authorization(&self) -> impl Iterator<Item = Result<AuthParams<'_>, ParseError>> + Clone {
        self.auth(Name::ProxyAuthorization)
    }

    /// Authentication-Info (RFC 3261 §20.6, RFC 7616 §3.5).
    pub fn authentication_info(&self) -> Result<Option<AuthParams<'_>>, ParseError> {
        self.optional(Name::AuthenticationInfo, AuthParams::bare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_reads() {
        let text = r#"Digest realm="a, b", nonce="x\"y", qop="auth,auth-int", algorithm=SHA-256, stale=TRUE"#;
        let read = AuthParams::parse(text).unwrap();
        assert!(read.is_digest() && read.is_stale() && read.has_qop("auth-int") && !read.has_qop("int"));
        assert_eq!(read.realm().as_deref(), Some("a, b"));
        assert_eq!(read.nonce().as_deref(), Some("x\"y"));
        assert_eq!(read.algorithm(), "SHA-256");
        assert!(!format!("{read:?}").contains("x\\\"y"), "a log shows no nonce");
    }

    #[test]
    fn several_are_picked_in_one_reading() {
        let read = AuthParams::parse(r#"Digest A=1, b="x, \"y\"", b=2, nc=0000000g"#).unwrap();
        let picked = read.pick(["b", "a", "c", "nc"]);
        let picked = picked.each_ref().map(|value| value.as_deref());
        assert_eq!(picked, [Some("x, \"y\""), Some("1"), None, Some("0000000g")]);
        assert_eq!(picked.map(|text| text.and_then(nonce_count)), [None; 4]);
    }

    #[test]
    fn credentials_read() {
        let read =
            AuthParams::parse(r#"Digest username="bob",nc=0000002A,uri="sip:x",response="r""#).unwrap();
        assert_eq!((read.nonce_count(), read.username().as_deref()), (Some(42), Some("bob")));
        for bad in ["", "Digest realm=\"x", "Digest a b=\"c", "Di,gest x=y"] {
            assert!(AuthParams::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(AuthParams::parse("Digest nc=2A").unwrap().nonce_count(), None);
    }

    #[test]
    fn several_challenges_on_one_line() {
        let line =
            r#"Digest realm="a", algorithm=SHA-256, nonce="1", Digest realm="b, Digest x=y", nonce="2""#;
        let read: Vec<_> = challenges(line).map(|one| AuthParams::parse(one).unwrap()).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].realm().as_deref(), Some("b, Digest x=y"));
        assert_eq!(read[0].nonce().as_deref(), Some("1"));
    }
}
