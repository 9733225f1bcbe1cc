//! What a network tells of its push abilities (RFC 8599 §4.1.1, §9 - §11; RFC 6809).

use core::fmt::{self, Write};
use std::borrow::Cow;

use crate::provider::Provider;

/// Longest header field value that is read.
const MAX_VALUE: usize = 8192;
/// Push services that are read from one value.
const MAX_SERVICES: usize = 16;

/// One value of a `Feature-Caps` header field that names a push service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeatureCaps {
    /// `+sip.pns`: this network will push through it.
    pub provider: Provider,
    /// `+sip.pnsreg`: a phone that can do so by itself is to refresh this many seconds before its binding expires.
    pub refresh_before: Option<u32>,
    /// `+sip.pnspurr`: the key under which requests within a dialog wake the phone.
    pub purr: Option<String>,
    /// `+sip.vapid`: the public key of the network for Web Push (RFC 8292).
    pub vapid: Option<String>,
}

impl FeatureCaps {
    /// A value that names a service and nothing more.
    pub fn new(provider: Provider) -> FeatureCaps {
        FeatureCaps { provider, refresh_before: None, purr: None, vapid: None }
    }

    /// Reads a header field's value, several of them separated by commas. Both the RFC's form `*;+sip.pns="x"` and the
    /// form without `*;` are known. What names no push service is left out.
    pub fn read(value: &str) -> Vec<FeatureCaps> {
        if value.len() > MAX_VALUE {
            return Vec::new();
        }
        split_unquoted(value, ',').filter_map(read_one).take(MAX_SERVICES).collect()
    }
}

fn read_one(value: &str) -> Option<FeatureCaps> {
    let mut caps = FeatureCaps::new(Provider::Other(String::new()));
    for part in split_unquoted(value, ';') {
        let (name, text) = part.split_once('=').map_or((part, ""), |(name, text)| (name, text));
        let name = name.trim();
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        if is("+sip.pns") {
            caps.provider = Provider::parse(unquoted(text)?.trim());
        } else if is("+sip.pnsreg") {
            // RFC 8599 §10: the value is greater than 120; a smaller one leaves no time and is not followed.
            caps.refresh_before = unquoted(text)?.trim().parse().ok().filter(|seconds| *seconds > 120);
        } else if is("+sip.pnspurr") {
            caps.purr = unquoted(text).map(Cow::into_owned).filter(|key| !key.is_empty());
        } else if is("+sip.vapid") {
            caps.vapid = unquoted(text).map(Cow::into_owned).filter(|key| !key.is_empty());
        }
    }
    (!caps.provider.as_str().is_empty()).then_some(caps)
}

/// Splits at a separator that stands outside quoted strings.
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let mut escaped = false;
    text.split(move |c: char| {
        if escaped {
            escaped = false;
        } else if quoted && c == '\\' {
            escaped = true;
        } else if c == '"' {
            quoted = !quoted;
        }
        !quoted && c == separator
    })
}

/// The text of a quoted string, or a bare token. `None` for an open quote, and for controls, which neither can hold
/// (RFC 3261 §25.1).
fn unquoted(text: &str) -> Option<Cow<'_, str>> {
    let text = text.trim();
    if text.contains(char::is_control) {
        return None;
    }
    let Some(rest) = text.strip_prefix('"') else {
        return Some(Cow::Borrowed(text));
    };
    let inner = rest.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        plain.push(if c == '\\' { characters.next()? } else { c });
    }
    Some(Cow::Owned(plain))
}

impl fmt::Display for FeatureCaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |f: &mut fmt::Formatter<'_>, name: &str, value: &str| {
            write!(f, ";+sip.{name}=\"")?;
            // Nothing that would end the line is written (S8); what would end the quoted string is escaped. Keys and names
            // hold neither, and there are several with each REGISTER.
            let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
            if value.bytes().all(plain) {
                f.write_str(value)?;
                return f.write_char('"');
            }
            for c in value.chars().filter(|c| !c.is_control()) {
                if matches!(c, '"' | '\\') {
                    f.write_char('\\')?;
                }
                f.write_char(c)?;
            }
            f.write_char('"')
        };
        f.write_str("*")?;
        quoted(f, "pns", self.provider.as_str())?;
        if let Some(seconds) = self.refresh_before {
            write!(f, ";+sip.pnsreg=\"{seconds}\"")?;
        }
        if let Some(purr) = &self.purr {
            quoted(f, "pnspurr", purr)?;
        }
        if let Some(key) = &self.vapid {
            quoted(f, "vapid", key)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_of_the_rfc_is_read_whole() {
        assert_eq!(
            FeatureCaps::read("*;+sip.pns=\"fcm\";+sip.pnsreg=\"3600\";+sip.pnspurr=\"pB7mX0c4e1\""),
            [FeatureCaps {
                provider: Provider::Fcm,
                refresh_before: Some(3600),
                purr: Some("pB7mX0c4e1".to_owned()),
                vapid: None,
            }]
        );
    }

    #[test]
    fn the_form_without_a_star_is_read_too() {
        for text in ["+sip.pns=\"apns\"", ";+SIP.PNS = \"APNS\"", "*; +sip.pns=apns", "*;+sip.pns=\"ap\\ns\""]
        {
            assert_eq!(FeatureCaps::read(text), [FeatureCaps::new(Provider::Apns)], "{text}");
        }
    }

    #[test]
    fn several_services_in_one_value_and_commas_in_quotes() {
        let read = FeatureCaps::read(
            "*;+sip.pns=\"fcm\",*;+g.oma=\"a,b\",*;+sip.pns=\"webpush\";+sip.vapid=\"BK,x\"",
        );
        assert_eq!(read.len(), 2);
        assert_eq!(read[1].vapid.as_deref(), Some("BK,x"));
    }

    #[test]
    fn what_is_not_about_push_is_left_out() {
        for text in ["", "*", "*;+sip.608", "+sip.pnsreg=\"300\"", "*;+sip.pns=\"", "*;+sip.pns", ",,,;;;"] {
            assert_eq!(FeatureCaps::read(text), [], "{text}");
        }
        assert_eq!(FeatureCaps::read("*;+sip.pns=\"fcm\";+sip.pnsreg=\"120\"")[0].refresh_before, None);
        assert_eq!(FeatureCaps::read("*;+sip.pns=\"fcm\";+sip.pnsreg=\"soon\"")[0].refresh_before, None);
    }

    #[test]
    fn what_is_written_reads_back() {
        let caps = FeatureCaps {
            provider: Provider::WebPush,
            refresh_before: Some(300),
            purr: Some("k".to_owned()),
            vapid: Some("BKey_-".to_owned()),
        };
        assert_eq!(
            caps.to_string(),
            "*;+sip.pns=\"webpush\";+sip.pnsreg=\"300\";+sip.pnspurr=\"k\";+sip.vapid=\"BKey_-\""
        );
        assert_eq!(FeatureCaps::read(&caps.to_string()), [caps]);
    }

    #[test]
    fn s8_nothing_can_be_smuggled_into_the_value() {
        let mut caps = FeatureCaps::new(Provider::Other("x\"\r\nRoute: <sip:evil>".to_owned()));
        caps.purr = Some("a\";b=\"\\".to_owned());
        let text = caps.to_string();
        assert!(!text.contains(['\r', '\n']));
        let read = FeatureCaps::read(&text);
        assert_eq!((read.len(), read[0].purr.as_deref()), (1, caps.purr.as_deref()), "{text}");
        assert_eq!(read[0].provider.as_str(), "x\"route: <sip:evil>");
    }

    #[test]
    fn s13_a_hostile_value_is_bounded() {
        let many = "*;+sip.pns=\"fcm\",".repeat(400);
        assert_eq!(FeatureCaps::read(&many).len(), MAX_SERVICES);
        assert!(FeatureCaps::read(&many.repeat(3)).is_empty());
    }
}
