//! URIs: `sip:`, `sips:`, `tel:` and what else a peer may write (RFC 3261 §19.1, RFC 3966).

use core::fmt;
use core::str::FromStr;
use std::borrow::Cow;

use crate::error::{BuildError, Flaw, ParseError, Place};
use crate::grammar::{escape, find, find2, has_control, may_be_uri, unescape};
use crate::host::{Host, host_port};
use crate::params::Params;

/// A URI's scheme.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// `sip`
    Sip,
    /// `sips`
    Sips,
    /// `tel` (RFC 3966)
    Tel,
    /// Any other; the URI is kept as it is.
    Other,
}

/// Where the pieces of a URI stand in its text. Offsets; a range that is empty and starts at 0 is absent.
#[derive(Clone, Copy, Debug)]
struct Parts {
    scheme: Scheme,
    user: (u32, u32),
    password: (u32, u32),
    has_user: bool,
    has_password: bool,
    host: (u32, u32),
    port: Option<u16>,
    params: (u32, u32),
    headers: (u32, u32),
}

/// A URI inside a message, borrowed from it.
#[derive(Clone, Copy)]
pub struct Uri<'a> {
    text: &'a str,
    parts: Parts,
}

fn bad() -> ParseError {
    ParseError::value(Flaw::Syntax)
}

impl<'a> Uri<'a> {
    /// Reads a URI, without angle brackets or white space around it.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        Ok(Uri { text, parts: Parts::of(text)? })
    }

    fn slice(&self, range: (u32, u32)) -> &'a str {
        self.text.get(range.0 as usize..range.1 as usize).unwrap_or("")
    }

    /// The whole URI as it was written.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.parts.scheme
    }

    /// Whether the scheme is `sip` or `sips`.
    pub fn is_sip(&self) -> bool {
        matches!(self.parts.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The user as it was written, with its escapes. For `tel:` the number with its visual separators.
    pub fn user(&self) -> Option<&'a str> {
        self.parts.has_user.then(|| self.slice(self.parts.user))
    }

    /// The user with its escapes resolved. Unresolvable escapes leave it as it was written.
    pub fn user_unescaped(&self) -> Option<Cow<'a, str>> {
        self.user().map(|user| unescape(user).unwrap_or(Cow::Borrowed(user)))
    }

    /// The password (RFC 3261 §19.1.1 advises against it).
    pub fn password(&self) -> Option<&'a str> {
        self.parts.has_password.then(|| self.slice(self.parts.password))
    }

    /// The host. A `tel:` or unknown URI has an empty name here.
    pub fn host(&self) -> Host<'a> {
        let text = self.slice(self.parts.host);
        Host::parse(text).unwrap_or(Host::Name(text))
    }

    /// The host as it was written.
    pub fn host_text(&self) -> &'a str {
        self.slice(self.parts.host)
    }

    /// The port, if one is written.
    pub fn port(&self) -> Option<u16> {
        self.parts.port
    }

    /// The parameters.
    pub fn params(&self) -> Params<'a> {
        Params::trusted(self.slice(self.parts.params))
    }

    /// The value of one parameter, empty for a flag. Its name may be written with escapes (RFC 4475 §3.1.1.3).
    pub fn param(&self, name: &str) -> Option<&'a str> {
        let same = |found: &str| {
            found.eq_ignore_ascii_case(name)
                || found.contains('%')
                    && unescape(found).is_some_and(|found| found.eq_ignore_ascii_case(name))
        };
        self.params().iter().find(|(found, _)| same(found)).map(|(_, value)| value.unwrap_or(""))
    }

    /// Whether the URI names a loose router (RFC 3261 §16.12).
    pub fn is_loose(&self) -> bool {
        self.param("lr").is_some()
    }

    /// The header part, behind the question mark: names and values with their escapes.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let text = self.slice(self.parts.headers);
        text.split('&').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")))
    }

    /// The value of one header of the header part, its escapes resolved (RFC 3891 §4: `?Replaces=…`).
    pub fn header(&self, name: &str) -> Option<Cow<'a, str>> {
        self.headers()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| unescape(value))
    }

    /// A copy that borrows nothing.
    pub fn to_owned(&self) -> OwnedUri {
        OwnedUri { text: self.text.into(), parts: self.parts }
    }
}

impl Parts {
    fn of(text: &str) -> Result<Parts, ParseError> {
        if text.len() > crate::limits::MESSAGE {
            return Err(ParseError::value(Flaw::TooLarge));
        }
        let bytes = text.as_bytes();
        crate::grammar::work::done(text.len());
        let (scheme, colon) = scheme_of(text)?;
        if !may_be_uri(bytes) {
            return Err(bad());
        }
        let start = colon + 1;
        let end = text.len();
        let span = |from: usize, to: usize| (from as u32, to as u32);
        let mut parts = Parts {
            scheme,
            user: (0, 0),
            password: (0, 0),
            has_user: false,
            has_password: false,
            host: (0, 0),
            port: None,
            params: (0, 0),
            headers: (0, 0),
        };
        match scheme {
            Scheme::Other => return if start < end { Ok(parts) } else { Err(bad()) },
            Scheme::Tel => {
                let semicolon = find(&bytes[start..], b';').map_or(end, |at| at + start);
                if !is_number(&text[start..semicolon]) {
                    return Err(bad());
                }
                Params::parse(&text[semicolon..])?;
                parts.user = span(start, semicolon);
                parts.has_user = true;
                parts.params = span(semicolon, end);
                return Ok(parts);
            }
            Scheme::Sip | Scheme::Sips => {}
        }
        let mut at = start;
        // The user may hold `;` and `?` (RFC 4475 §3.1.1.13), so it is looked for first.
        if let Some(found) = find(&bytes[start..], b'@') {
            let sign = start + found;
            let user_end = find(&bytes[start..sign], b':').map_or(sign, |at| at + start);
            if user_end == start || !escapes_hold(&bytes[start..sign]) {
                return Err(bad());
            }
            parts.user = span(start, user_end);
            parts.has_user = true;
            if user_end < sign {
                parts.password = span(user_end + 1, sign);
                parts.has_password = true;
            }
            at = sign + 1;
        }
        let host_end = find2(&bytes[at..], b';', b'?').map_or(end, |found| found + at);
        let (host, port) = host_port(&text[at..host_end])?;
        parts.port = port;
        let host_len = match (host, port) {
            (_, None) => host_end - at,
            (_, Some(_)) => text[at..host_end].rfind(':').unwrap_or(host_end - at),
        };
        parts.host = span(at, at + host_len);
        let question = find(&bytes[host_end..], b'?').map_or(end, |found| found + host_end);
        Params::parse(&text[host_end..question])?;
        parts.params = span(host_end, question);
        if question < end {
            if find(&bytes[question..], b'@').is_some() || !escapes_hold(&bytes[question..]) {
                return Err(bad());
            }
            parts.headers = span(question + 1, end);
        }
        Ok(parts)
    }
}

/// The scheme and the place of its colon.
fn scheme_of(text: &str) -> Result<(Scheme, usize), ParseError> {
    let bytes = text.as_bytes();
    match bytes {
        [b's', b'i', b'p', b':', ..] => return Ok((Scheme::Sip, 3)),
        [b's', b'i', b'p', b's', b':', ..] => return Ok((Scheme::Sips, 4)),
        _ => {}
    }
    let colon = find(bytes, b':').ok_or_else(bad)?;
    let scheme = &bytes[..colon];
    // RFC 3986 §3.1.
    let letter = |(at, byte): (usize, &u8)| {
        byte.is_ascii_alphabetic() || at > 0 && (byte.is_ascii_digit() || b"+-.".contains(byte))
    };
    if colon == 0 || !scheme.iter().enumerate().all(letter) {
        return Err(bad());
    }
    let known = [(&b"sip"[..], Scheme::Sip), (b"sips", Scheme::Sips), (b"tel", Scheme::Tel)];
    let found = known.iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name));
    Ok((found.map_or(Scheme::Other, |(_, scheme)| *scheme), colon))
}

/// Whether every `%` is followed by two hexadecimal digits.
fn escapes_hold(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = find(rest, b'%') {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => rest = &rest[at + 3..],
            Some(_) | None => return false,
        }
    }
    true
}

/// RFC 3966 §3: global or local number digits with visual separators.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let global = digits.len() < text.len();
    let digit =
        |byte: u8| byte.is_ascii_digit() || !global && (byte.is_ascii_hexdigit() || b"*#".contains(&byte));
    digits.bytes().any(digit) && digits.bytes().all(|byte| digit(byte) || b"-.()".contains(&byte))
}

impl PartialEq for Uri<'_> {
    /// Same text; see [`Uri::equivalent`] for the comparison of the RFC.
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Uri<'_> {}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// The push token is a secret (RFC 8599 §10) and shows as `…`. A password in the URI is not hidden.
impl fmt::Debug for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", crate::redact::line(self.text).escape_debug())
    }
}

/// A URI that borrows nothing.
#[derive(Clone)]
pub struct OwnedUri {
    text: Box<str>,
    parts: Parts,
}

impl OwnedUri {
    /// Reads a URI.
    pub fn parse(text: &str) -> Result<OwnedUri, ParseError> {
        Uri::parse(text).map(|uri| uri.to_owned())
    }

    /// Writes a `sip:` or `sips:` URI. The user is plain text and is escaped here; the host is a name or an address
    /// as it stands in a URI (IPv6 in brackets).
    pub fn sip(
        scheme: Scheme,
        user: Option<&str>,
        host: &str,
        port: Option<u16>,
    ) -> Result<OwnedUri, BuildError> {
        let scheme = match scheme {
            Scheme::Sip => "sip:",
            Scheme::Sips => "sips:",
            Scheme::Tel | Scheme::Other => return Err(BuildError::Syntax(Place::Value)),
        };
        let mut text = String::from(scheme);
        if let Some(user) = user {
            if has_control(user) {
                return Err(BuildError::Control(Place::Value));
            }
            text.push_str(&escape(user, b"-_.!~*'()&=+$,;?/"));
            text.push('@');
        }
        Host::parse(host).map_err(|_| BuildError::Syntax(Place::Value))?;
        text.push_str(host);
        if let Some(port) = port {
            text.push_str(&format!(":{port}"));
        }
        OwnedUri::checked(text)
    }

    fn checked(text: String) -> Result<OwnedUri, BuildError> {
        if has_control(&text) {
            return Err(BuildError::Control(Place::Value));
        }
        let parts = Parts::of(&text).map_err(|_| BuildError::Syntax(Place::Value))?;
        Ok(OwnedUri { text: text.into(), parts })
    }

    /// The URI as a view.
    pub fn view(&self) -> Uri<'_> {
        Uri { text: &self.text, parts: self.parts }
    }

    /// The whole URI.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// With this parameter in place of any of the same name. The value is written as it is: a token or a host;
    /// anything else must have been escaped.
    pub fn with_param(&self, name: &str, value: Option<&str>) -> Result<OwnedUri, BuildError> {
        let plain = |text: &str| {
            !text.bytes().any(|byte| matches!(byte, b';' | b'?' | b'=' | b'&' | b'@' | b'"' | b','))
        };
        if !crate::grammar::is_token(name) || !value.is_none_or(plain) {
            return Err(BuildError::Syntax(Place::Value));
        }
        let base = self.without_param(name);
        let at = base.parts.params.1 as usize;
        let (head, tail) = match at {
            0 => (base.as_str(), ""),
            at => base.text.split_at(at),
        };
        let value = value.map_or(String::new(), |value| format!("={value}"));
        OwnedUri::checked(format!("{head};{name}{value}{tail}"))
    }

    /// Without any parameter of this name.
    pub fn without_param(&self, name: &str) -> OwnedUri {
        let view = self.view();
        if !view.params().has(name) {
            return self.clone();
        }
        let (from, to) = self.parts.params;
        let mut text = String::from(&self.text[..from as usize]);
        for (found, value) in view.params() {
            if !found.eq_ignore_ascii_case(name) {
                text.push(';');
                text.push_str(found);
                if let Some(value) = value {
                    text.push('=');
                    text.push_str(value);
                }
            }
        }
        text.push_str(&self.text[to as usize..]);
        // What could be read stays readable without a parameter; what a peer wrote is not held to what we may write.
        match Parts::of(&text) {
            Ok(parts) => OwnedUri { text: text.into(), parts },
            Err(_) => self.clone(),
        }
    }

    /// Without the header part, which must not stand in a request URI or a Contact (RFC 3261 §19.1.1, table 1).
    pub fn without_headers(&self) -> OwnedUri {
        match self.parts.headers {
            (0, 0) => self.clone(),
            // They stand last: everything before them stays where it is.
            (from, _) => OwnedUri {
                text: self.text[..from as usize - 1].into(),
                parts: Parts { headers: (0, 0), ..self.parts },
            },
        }
    }

    /// With this user (plain text, escaped here), or none.
    pub fn with_user(&self, user: Option<&str>) -> Result<OwnedUri, BuildError> {
        let view = self.view();
        let base = OwnedUri::sip(view.scheme(), user, view.host_text(), view.port())?;
        let rest = &self.text[self.parts.params.0 as usize..];
        OwnedUri::checked(format!("{}{rest}", base.as_str()))
    }

    /// With this host and port.
    pub fn with_host(&self, host: &str, port: Option<u16>) -> Result<OwnedUri, BuildError> {
        if !self.view().is_sip() {
            return Err(BuildError::Syntax(Place::Value));
        }
        Host::parse(host).map_err(|_| BuildError::Syntax(Place::Value))?;
        let head = &self.text[..self.parts.host.0 as usize];
        let rest = &self.text[self.parts.params.0 as usize..];
        let port = port.map_or(String::new(), |port| format!(":{port}"));
        OwnedUri::checked(format!("{head}{host}{port}{rest}"))
    }
}

impl PartialEq for OwnedUri {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for OwnedUri {}

impl core::hash::Hash for OwnedUri {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl FromStr for OwnedUri {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        OwnedUri::parse(text)
    }
}

impl fmt::Display for OwnedUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for OwnedUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}
