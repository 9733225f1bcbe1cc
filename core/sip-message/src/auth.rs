//! Challenges and credentials (RFC 3261 §20.44, RFC 7616, RFC 8760): how they are written, not what they prove.

use core::fmt;
use std::borrow::Cow;

use crate::error::{Flaw, ParseError};
use crate::grammar::{Commas, is_token, quoted_end, split_at_space, token_len, trim, unquote};
use crate::message::Message;
use crate::name::Name;

/// A scheme and its comma-separated parameters: one challenge, or one set of credentials.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AuthParams<'a> {
    scheme: &'a str,
    params: &'a str,
}

/// Parameters in the order in which they were asked for, each without its quotes.
pub type Picked<'a, const N: usize> = [Option<Cow<'a, str>>; N];

impl<'a> AuthParams<'a> {
    /// Reads `Digest realm="…", nonce="…"`.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        Self::parse_picking(text, []).map(|(read, [])| read)
    }

    /// As [`AuthParams::parse`], and in the same reading takes several parameters out, as [`AuthParams::pick`] does.
    pub fn parse_picking<const N: usize>(
        text: &'a str,
        names: [&str; N],
    ) -> Result<(Self, Picked<'a, N>), ParseError> {
        let text = trim(text);
        let (scheme, params) = split_at_space(text).unwrap_or((text, ""));
        if !is_token(scheme) {
            return Err(ParseError::value(Flaw::Syntax));
        }
        let params = trim(params);
        let picked = pick(fields(params), names)?;
        Ok((AuthParams { scheme, params }, picked))
    }

    /// Reads parameters without a scheme: Authentication-Info (RFC 7616 §3.5).
    pub fn bare(text: &'a str) -> Result<Self, ParseError> {
        let params = trim(text);
        pick(fields(params), [])?;
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
        fields(self.params).filter_map(Field::named)
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
    pub fn pick<const N: usize>(&self, names: [&str; N]) -> Picked<'a, N> {
        // What was read before reads again.
        pick(fields(self.params), names).unwrap_or_else(|_| names.map(|_| None))
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

/// What stands between two commas.
#[derive(Clone, Copy)]
enum Field<'a> {
    /// `name=value`, the value as it was written.
    Named(&'a str, &'a str),
    /// A scheme other than Digest may carry one bare token instead (RFC 7235 §2.1).
    Bare,
    /// Neither.
    Broken,
}

impl<'a> Field<'a> {
    /// Of what stands between two commas, without the white space around it.
    fn of(one: &'a str) -> Field<'a> {
        let Some(at) = memchr::memchr(b'=', one.as_bytes()) else { return Field::Bare };
        let (name, value) = (trim(&one[..at]), trim(&one[at + 1..]));
        let whole = !value.starts_with('"') || quoted_end(value.as_bytes()) == Some(value.len());
        if is_token(name) && whole { Field::Named(name, value) } else { Field::Broken }
    }

    fn named(self) -> Option<(&'a str, &'a str)> {
        match self {
            Field::Named(name, value) => Some((name, value)),
            Field::Bare | Field::Broken => None,
        }
    }
}

/// The fields of a list. Credentials come with every request: those in the usual spelling are read in one pass.
fn fields(params: &str) -> impl Iterator<Item = Field<'_>> {
    let mut rest = Some(params);
    core::iter::from_fn(move || {
        loop {
            let text = rest?;
            if let Some((name, value, behind)) = usual(text) {
                rest = behind;
                return Some(Field::Named(name, value));
            }
            let mut commas = Commas::of(text);
            let one = commas.next()?;
            rest = commas.rest();
            if !one.is_empty() {
                return Some(Field::of(one));
            }
        }
    })
}

/// A field in the usual spelling and what stands behind its comma: a token, the equals sign, a quoted string or another
/// token, no white space but before and behind.
fn usual(text: &str) -> Option<(&str, &str, Option<&str>)> {
    let bytes = text.as_bytes();
    let start = bytes.iter().position(|byte| *byte != b' ')?;
    let equals = start + token_len(&bytes[start..]);
    if equals == start || bytes.get(equals) != Some(&b'=') {
        return None;
    }
    let from = equals + 1;
    let to = match bytes.get(from)? {
        b'"' => from + quoted_end(&bytes[from..])?,
        _ => from + token_len(&bytes[from..]),
    };
    crate::grammar::work::done(to);
    let behind = match bytes.get(to) {
        Some(b',') => Some(text.get(to + 1..)?),
        Some(_) => return None,
        None => None,
    };
    Some((text.get(start..equals)?, text.get(from..to)?, behind))
}

/// Takes parameters out of a list that is whole; the first of its name counts.
fn pick<'a, const N: usize>(
    fields: impl Iterator<Item = Field<'a>>,
    names: [&str; N],
) -> Result<Picked<'a, N>, ParseError> {
    let mut picked = [None; N];
    for field in fields {
        let (found, value) = match field {
            Field::Named(found, value) => (found, value),
            Field::Bare => continue,
            Field::Broken => return Err(ParseError::value(Flaw::Syntax)),
        };
        let place = names.iter().position(|name| found.eq_ignore_ascii_case(name));
        if let Some(place) = place.and_then(|place| picked.get_mut(place)) {
            place.get_or_insert(value);
        }
    }
    Ok(picked.map(|value| value.map(unquote)))
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
    fn the_usual_spelling_reads_as_every_other_one() {
        // Every text of up to six of these characters, read in one pass and comma by comma.
        let alphabet = ['a', '=', '"', ',', ' ', '<', '\\'];
        let shown = |field: Field<'_>| match field {
            Field::Named(name, value) => Some(format!("{name}={value}")),
            Field::Bare => None,
            Field::Broken => Some("broken".to_owned()),
        };
        for number in 0..alphabet.len().pow(6) {
            let places = (0..6).map(|place| number / alphabet.len().pow(place) % alphabet.len());
            let text: String = places.map(|place| alphabet[place]).collect();
            let text = text.trim_end();
            let slow = Commas::of(text).filter(|one| !one.is_empty()).map(Field::of);
            assert!(fields(text).map(shown).eq(slow.map(shown)), "{text:?}");
        }
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
