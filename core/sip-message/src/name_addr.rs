//! Addresses with a name: From, To, Contact, Route and their kin (RFC 3261 §20.10).

use core::fmt;
use std::borrow::Cow;

use crate::error::{BuildError, Flaw, ParseError, Place};
use crate::grammar::{find, find2, has_control, is_token, number, quote, quoted_end, trim, unquote};
use crate::params::Params;
use crate::uri::{OwnedUri, Uri};

/// `"Display name" <uri>;params` or `uri;params`, borrowed from a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NameAddr<'a> {
    display: &'a str,
    uri: Uri<'a>,
    params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one address. In the form without brackets every parameter belongs to the header, none to the URI.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let bad = || ParseError::value(Flaw::Syntax);
        let text = trim(text);
        crate::grammar::work::done(text.len());
        let bytes = text.as_bytes();
        let name_end = match bytes.first() {
            Some(b'"') => quoted_end(bytes).ok_or_else(bad)?,
            _ => 0,
        };
        let Some(open) = find(&bytes[name_end..], b'<').map(|at| at + name_end) else {
            return Self::without_brackets(text, name_end);
        };
        let display = trim(&text[..open]);
        let between = trim(&text[name_end..open]);
        if name_end > 0 && !between.is_empty() {
            return Err(bad());
        }
        if name_end == 0 && find2(display.as_bytes(), b'"', b';').is_some() {
            // `sip:a@b;x="<"` has no brackets of its own.
            return if display.contains('"') { Self::without_brackets(text, 0) } else { Err(bad()) };
        }
        let close = find(&bytes[open..], b'>').ok_or_else(bad)? + open;
        Ok(NameAddr {
            display,
            uri: Uri::parse(&text[open + 1..close])?,
            params: Params::parse(&text[close + 1..])?,
        })
    }

    fn without_brackets(text: &'a str, name_end: usize) -> Result<Self, ParseError> {
        if name_end > 0 {
            return Err(ParseError::value(Flaw::Syntax));
        }
        let semicolon = find(text.as_bytes(), b';').unwrap_or(text.len());
        let uri = Uri::parse(trim(&text[..semicolon]))?;
        // RFC 3261 §20.10: a URI with comma or question mark must stand in brackets.
        if uri.is_sip() && uri.as_str().contains([',', '?']) {
            return Err(ParseError::value(Flaw::Syntax));
        }
        Ok(NameAddr { display: "", uri, params: Params::parse(&text[semicolon..])? })
    }

    /// The display name, without quotes; nothing if there is none.
    pub fn display_name(&self) -> Option<Cow<'a, str>> {
        (!self.display.is_empty()).then(|| unquote(self.display))
    }

    /// The URI.
    pub fn uri(&self) -> Uri<'a> {
        self.uri
    }

    /// The header parameters, behind the brackets.
    pub fn params(&self) -> Params<'a> {
        self.params
    }

    /// The value of one header parameter, empty for a flag.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.get(name)
    }

    /// The tag of a From or To (RFC 3261 §19.3).
    pub fn tag(&self) -> Option<&'a str> {
        self.param("tag").filter(|tag| !tag.is_empty())
    }

    /// A Contact's preference in thousandths, 1000 if none is written (RFC 3261 §20.10).
    pub fn q(&self) -> Option<u16> {
        self.param("q").map_or(Some(1000), thousandths)
    }

    /// A Contact's `expires`, in seconds. A value that cannot be read counts as 3600 (RFC 3261 §10.2.1.1).
    pub fn expires(&self) -> Option<u32> {
        self.param("expires").map(|text| seconds(text).unwrap_or(3600))
    }

    /// `+sip.instance` without quotes (RFC 5626 §4.1): `<urn:uuid:…>`.
    pub fn instance(&self) -> Option<Cow<'a, str>> {
        self.params.get_unquoted("+sip.instance")
    }

    /// `reg-id` (RFC 5626 §4.2).
    pub fn reg_id(&self) -> Option<u32> {
        self.param("reg-id").and_then(number).filter(|id| *id > 0)
    }

    /// `pub-gruu` without quotes (RFC 5627 §4.2).
    pub fn pub_gruu(&self) -> Option<Cow<'a, str>> {
        self.params.get_unquoted("pub-gruu")
    }

    /// `temp-gruu` without quotes (RFC 5627 §4.2).
    pub fn temp_gruu(&self) -> Option<Cow<'a, str>> {
        self.params.get_unquoted("temp-gruu")
    }
}

/// A number of seconds; more than 2^32-1 counts as that (RFC 3261 §20.19 gives the range; RFC 4475 §3.1.2.4).
pub(crate) fn seconds(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}

/// `qvalue` (RFC 3261 §25.1), 0 to 1 with up to three decimals, in thousandths.
pub(crate) fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = format!("{fraction:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

impl fmt::Debug for NameAddr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameAddr")
            .field("display", &self.display)
            .field("uri", &self.uri)
            .field("params", &crate::redact::line(self.params.as_str()))
            .finish()
    }
}

/// An address that borrows nothing, to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnedNameAddr {
    display: Option<String>,
    uri: OwnedUri,
    params: Vec<(String, Option<String>)>,
}

impl OwnedNameAddr {
    /// The address of this URI, with neither name nor parameters.
    pub fn new(uri: OwnedUri) -> Self {
        OwnedNameAddr { display: None, uri, params: Vec::new() }
    }

    /// With a display name; it is quoted when written.
    pub fn with_display_name(mut self, name: &str) -> Result<Self, BuildError> {
        if has_control(name) {
            return Err(BuildError::Control(Place::Value));
        }
        self.display = (!name.is_empty()).then(|| name.into());
        Ok(self)
    }

    /// With a header parameter in place of any of the same name. A value that is no token or host is quoted.
    pub fn with_param(mut self, name: &str, value: Option<&str>) -> Result<Self, BuildError> {
        if has_control(name) || value.is_some_and(has_control) {
            return Err(BuildError::Control(Place::Value));
        }
        if !is_token(name) {
            return Err(BuildError::Syntax(Place::Value));
        }
        self.params.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        let plain = |value: &str| is_token(value) || crate::host::host_port(value).is_ok();
        let value = value.map(|value| if plain(value) { value.into() } else { quote(value) });
        self.params.push((name.into(), value));
        Ok(self)
    }

    /// With a tag (RFC 3261 §19.3).
    pub fn with_tag(self, tag: &str) -> Result<Self, BuildError> {
        if !is_token(tag) {
            return Err(BuildError::Syntax(Place::Value));
        }
        self.with_param("tag", Some(tag))
    }

    /// The URI.
    pub fn uri(&self) -> &OwnedUri {
        &self.uri
    }

    /// The display name.
    pub fn display_name(&self) -> Option<&str> {
        self.display.as_deref()
    }
}

impl From<NameAddr<'_>> for OwnedNameAddr {
    fn from(view: NameAddr<'_>) -> Self {
        OwnedNameAddr {
            display: view.display_name().map(Cow::into_owned),
            uri: view.uri().to_owned(),
            params: view.params().iter().map(|(name, value)| (name.into(), value.map(Into::into))).collect(),
        }
    }
}

impl fmt::Display for OwnedNameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(display) = &self.display {
            write!(f, "{} ", quote(display))?;
        }
        write!(f, "<{}>", self.uri)?;
        for (name, value) in &self.params {
            match value {
                Some(value) => write!(f, ";{name}={value}")?,
                None => write!(f, ";{name}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms() {
        let one = NameAddr::parse(r#""A \"B\"" <sip:a@b;lr>;tag=1"#).unwrap();
        assert_eq!(one.display_name().as_deref(), Some(r#"A "B""#));
        assert_eq!((one.tag(), one.uri().is_loose()), (Some("1"), true));
        let two = NameAddr::parse("Plain Name <sip:a@b>").unwrap();
        assert_eq!(two.display_name().as_deref(), Some("Plain Name"));
        let three = NameAddr::parse("sip:a@b;tag=x;lr").unwrap();
        assert_eq!(
            (three.uri().as_str(), three.tag(), three.uri().is_loose()),
            ("sip:a@b", Some("x"), false)
        );
    }

    #[test]
    fn malformed_addresses_are_refused() {
        for bad in
            ["", "\"a <sip:a@b>", "<sip:a@b", "\"a\" b <sip:a@b>", "\"a\" sip:a@b", "sip:a@b?x=y", "<>"]
        {
            assert!(NameAddr::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn preferences() {
        assert_eq!(thousandths("0.7"), Some(700));
        assert_eq!(thousandths("1.000"), Some(1000));
        for bad in ["1.1", "2", "0.1234", ".5", "x", "0.-1"] {
            assert_eq!(thousandths(bad), None, "{bad}");
        }
    }

    #[test]
    fn written_addresses_read_back() {
        let uri = OwnedUri::sip(crate::uri::Scheme::Sip, Some("a b"), "[::1]", Some(5080)).unwrap();
        let addr = OwnedNameAddr::new(uri).with_display_name(r#"x "y" \"#).unwrap().with_tag("t1").unwrap();
        let text = addr.to_string();
        assert_eq!(text, r#""x \"y\" \\" <sip:a%20b@[::1]:5080>;tag=t1"#);
        assert_eq!(OwnedNameAddr::from(NameAddr::parse(&text).unwrap()), addr);
    }
}
