//! From what was typed to the URI that is called.

use std::borrow::Cow;

use thiserror::Error;
use wakeline_settings::{Normalize, Settings};
use wakeline_sip_message::{OwnedUri, Scheme};

use crate::number::{is_number, normalized};
use crate::rewrite::{RewriteRule, rewritten};

/// Longest text that is dialled.
const MAX_TYPED: usize = 1024;

/// What is called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dialled {
    /// The URI to call.
    pub uri: String,
    /// Digits to be sent once the call is up; a space or comma is a pause (B-129).
    pub digits: Option<String>,
}

/// Why nothing can be called (B-133).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DialError {
    /// Nothing was typed.
    #[error("nothing was dialled")]
    Empty,
    /// It is neither a number nor a name nor an address.
    #[error("this is neither a number nor a SIP address")]
    NotAnAddress,
    /// What stands behind the comma cannot be sent as digits.
    #[error("only 0-9, *, #, A-D and pauses can be sent as digits")]
    NotDigits,
    /// A number or name needs a server, and there is none.
    #[error("a number needs a server, and none is set")]
    NoServer,
}

/// How an account dials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dialling {
    normalize: bool,
    prefix: String,
    rules: Vec<RewriteRule>,
    /// Host and port behind the `@` of what is called.
    domain: Option<String>,
}

impl Dialling {
    /// How the account of these settings dials.
    pub fn of(settings: &Settings) -> Dialling {
        let (account, call) = (settings.account(), settings.call());
        Dialling {
            normalize: match call.normalize {
                Normalize::Off => false,
                Normalize::On => true,
                // Where users have such names, a dialled text may be one.
                Normalize::Automatic => {
                    account.username.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+')
                }
            },
            // Both are numbers, or parts of them; what is not must not reach a URI (S8).
            prefix: Some(call.tech_prefix).filter(|prefix| is_prefix(prefix)).unwrap_or_default(),
            rules: RewriteRule::read_all(&call.rewrite_rules),
            // `realm` is a domain by itself; a server without one is named with its port.
            domain: account.realm.or_else(|| account.server.map(|server| server.to_string())),
        }
    }

    /// The URI for what was typed: a number, `number,digits`, a user name, `user@host`, a `sip:`, `sips:` or `tel:` URI.
    ///
    /// # Errors
    /// When it is none of these, or needs a server and there is none.
    pub fn dial(&self, typed: &str) -> Result<Dialled, DialError> {
        let typed = typed.trim();
        if typed.is_empty() {
            return Err(DialError::Empty);
        }
        if typed.len() > MAX_TYPED || typed.chars().any(char::is_control) {
            return Err(DialError::NotAnAddress);
        }
        if scheme_is(typed, "sip") || scheme_is(typed, "sips") {
            return whole(typed);
        }
        if scheme_is(typed, "tel") {
            return self.telephone(&typed[4..]);
        }
        if let Some((user, _)) = typed.split_once('@') {
            // Another scheme, or a password, which nobody dials.
            if user.contains(':') {
                return Err(DialError::NotAnAddress);
            }
            return whole(&format!("sip:{typed}"));
        }
        let (target, digits) = match typed.split_once(',') {
            Some((target, digits)) => (target.trim(), Some(post_dial(digits)?)),
            None => (typed, None),
        };
        Ok(Dialled { uri: self.at_domain(&self.rewritten(target)?)?, digits: digits.flatten() })
    }

    /// A number as it is called, or a name as it is.
    fn rewritten(&self, target: &str) -> Result<String, DialError> {
        if !is_number(target) {
            // B-130: user names are left alone. What cannot be one is refused here, not by the far end.
            let plain =
                |byte: u8| byte.is_ascii_graphic() && !b"<>\"\\^`{|}[],:".contains(&byte) || byte >= 0x80;
            let name = !target.is_empty() && target.bytes().all(plain);
            return if name { Ok(target.to_owned()) } else { Err(DialError::NotAnAddress) };
        }
        // Marks that were not to be removed are no part of a URI's user either, so spaces go in any case.
        let number = normalized(target)
            .filter(|_| self.normalize)
            .unwrap_or_else(|| target.chars().filter(|c| *c != ' ').collect());
        // The rules see the number as it was dialled; the prefix then stands before every called number.
        Ok(format!("{}{}", self.prefix, rewritten(&self.rules, number)))
    }

    fn at_domain(&self, user: &str) -> Result<String, DialError> {
        let domain = self.domain.as_deref().ok_or(DialError::NoServer)?;
        let host = OwnedUri::parse(&format!("sip:{domain}")).map_err(|_| DialError::NoServer)?;
        let host = host.view();
        OwnedUri::sip(Scheme::Sip, Some(user), host.host_text(), host.port())
            .map(|uri| uri.as_str().to_owned())
            .map_err(|_| DialError::NotAnAddress)
    }

    /// RFC 3966: the number without its visual separators; a local number with a global context gets it as its start;
    /// an extension is sent once the call is up.
    fn telephone(&self, text: &str) -> Result<Dialled, DialError> {
        let mut parts = text.split(';');
        let number = unescaped(parts.next().unwrap_or(""));
        let mut number: String =
            number.chars().filter(|c| !matches!(c, '-' | '.' | '(' | ')' | ' ')).collect();
        if !is_number(&number) {
            return Err(DialError::NotAnAddress);
        }
        let mut digits = None;
        for parameter in parts {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if name.eq_ignore_ascii_case("phone-context")
                && value.starts_with('+')
                && !number.starts_with('+')
            {
                let context: String = value.chars().filter(|c| c.is_ascii_digit()).collect();
                number = format!("+{context}{number}");
            } else if name.eq_ignore_ascii_case("ext") || name.eq_ignore_ascii_case("postd") {
                digits = post_dial(&unescaped(value).replace(['-', '.', '(', ')'], ""))?;
            }
        }
        Ok(Dialled { uri: self.at_domain(&self.rewritten(&number)?)?, digits })
    }
}

/// A whole URI is left alone (B-130), but for its header part: what is dialled, perhaps from a link, adds no header
/// field to the INVITE (bug class S8).
fn whole(text: &str) -> Result<Dialled, DialError> {
    let uri = OwnedUri::parse(text).map_err(|_| DialError::NotAnAddress)?;
    if !uri.view().is_sip() {
        return Err(DialError::NotAnAddress);
    }
    Ok(Dialled { uri: uri.without_headers().as_str().to_owned(), digits: None })
}

fn scheme_is(text: &str, scheme: &str) -> bool {
    text.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(scheme))
}

fn is_prefix(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+*#".contains(&byte))
}

/// What is sent after the call is up; nothing when only pauses are left.
fn post_dial(text: &str) -> Result<Option<String>, DialError> {
    let text = text.trim();
    // `p` and `w` are pauses in telephone notation.
    let digits: String =
        text.chars().map(|c| if matches!(c, 'p' | 'P' | 'w' | 'W' | ';') { ',' } else { c }).collect();
    let fits =
        |c: char| c.is_ascii_digit() || matches!(c.to_ascii_uppercase(), '*' | '#' | 'A'..='D' | ',' | ' ');
    if !digits.chars().all(fits) {
        return Err(DialError::NotDigits);
    }
    Ok(digits.chars().any(|c| !matches!(c, ',' | ' ')).then_some(digits))
}

/// `%23` and its like, as browsers write them into `tel:` links.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let pairs = [("%23", "#"), ("%2A", "*"), ("%2a", "*"), ("%2B", "+"), ("%2b", "+"), ("%20", " ")];
    Cow::Owned(pairs.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeline_settings::Source;

    fn dialling(pairs: &[(&str, &str)]) -> Dialling {
        let mut settings = Settings::new();
        settings.set("serveraddress", "sip.example:5070", Source::File);
        settings.set("username", "mia", Source::File);
        for (name, value) in pairs {
            settings.set(name, value, Source::File);
        }
        Dialling::of(&settings)
    }

    fn uri(dialling: &Dialling, typed: &str) -> String {
        dialling.dial(typed).map_or_else(|error| format!("{error:?}"), |dialled| dialled.uri)
    }

    #[test]
    fn b130_numbers_are_cleaned_rewritten_and_prefixed_in_this_order() {
        let set = dialling(&[("techprefix", "99#"), ("numpxrewrite", "06,+36,9,12")]);
        assert_eq!(uri(&set, "06 (1) 234-567"), "sip:99%23+361234567@sip.example:5070");
        assert_eq!(uri(&set, "100"), "sip:99%23100@sip.example:5070");
        assert_eq!(uri(&dialling(&[]), "+36 1 234-567"), "sip:+361234567@sip.example:5070");
    }

    #[test]
    fn b130_names_and_uris_are_left_alone() {
        let set = dialling(&[("techprefix", "99"), ("numpxrewrite", ",00")]);
        for (typed, expected) in [
            ("bob", "sip:bob@sip.example:5070"),
            ("bob.smith-1", "sip:bob.smith-1@sip.example:5070"),
            ("bob@other.example", "sip:bob@other.example"),
            ("100@[::1]:5080", "sip:100@[::1]:5080"),
            ("sip:100@other.example;transport=tcp", "sip:100@other.example;transport=tcp"),
            ("SIPS:bob@other.example", "SIPS:bob@other.example"),
        ] {
            assert_eq!(uri(&set, typed), expected);
        }
    }

    #[test]
    fn normalizenumber_automatic_looks_at_the_own_name() {
        assert_eq!(uri(&dialling(&[("username", "mia.m")]), "12-345"), "sip:12-345@sip.example:5070");
        assert_eq!(
            uri(&dialling(&[("username", "mia.m"), ("normalizenumber", "1")]), "12-345"),
            "sip:12345@sip.example:5070"
        );
        assert_eq!(uri(&dialling(&[("normalizenumber", "0")]), "1 2-345"), "sip:12-345@sip.example:5070");
    }

    #[test]
    fn b129_what_stands_behind_a_comma_is_sent_once_the_call_is_up() {
        let set = dialling(&[]);
        let dialled = |typed| set.dial(typed).map(|dialled| (dialled.uri, dialled.digits));
        let to = |number: &str, digits: Option<&str>| {
            Ok((format!("sip:{number}@sip.example:5070"), digits.map(str::to_owned)))
        };
        assert_eq!(dialled("100,42#"), to("100", Some("42#")));
        assert_eq!(dialled("100 , ,1p2"), to("100", Some(",1,2")));
        assert_eq!(dialled("100,"), to("100", None));
        assert_eq!(dialled("100,x"), Err(DialError::NotDigits));
        assert_eq!(dialled(",1"), Err(DialError::NotAnAddress));
    }

    #[test]
    fn tel_uris_are_read_by_rfc_3966() {
        let set = dialling(&[]);
        let dialled = |typed| set.dial(typed).map(|dialled| (dialled.uri, dialled.digits));
        assert_eq!(dialled("tel:+1-201-555-0123"), Ok(("sip:+12015550123@sip.example:5070".into(), None)));
        assert_eq!(
            dialled("tel:7042;phone-context=+1-914-555"),
            Ok(("sip:+19145557042@sip.example:5070".into(), None))
        );
        assert_eq!(
            dialled("TEL:7042;phone-context=example.com"),
            Ok(("sip:7042@sip.example:5070".into(), None))
        );
        assert_eq!(
            dialled("tel:+12015550123;ext=1-2"),
            Ok(("sip:+12015550123@sip.example:5070".into(), Some("12".into())))
        );
        assert_eq!(dialled("tel:%2A97%23"), Ok(("sip:*97%23@sip.example:5070".into(), None)));
        assert_eq!(dialled("tel:bob"), Err(DialError::NotAnAddress));
    }

    #[test]
    fn b173_a_whole_uri_needs_no_server() {
        let set = Dialling::of(&Settings::new());
        assert_eq!(uri(&set, "sip:bob@other.example"), "sip:bob@other.example");
        assert_eq!(set.dial("100"), Err(DialError::NoServer));
    }

    #[test]
    fn the_realm_is_the_domain_when_it_is_set() {
        assert_eq!(uri(&dialling(&[("realm", "voice.example")]), "100"), "sip:100@voice.example");
        assert_eq!(uri(&dialling(&[("serveraddress", "[::1]:5070")]), "100"), "sip:100@[::1]:5070");
    }

    #[test]
    fn b133_what_is_no_peer_is_refused_here() {
        let set = dialling(&[]);
        assert_eq!(set.dial("  "), Err(DialError::Empty));
        for bad in
            ["a b", "<bob>", "bob\"", "sip:", "sip:@", "bob@", "@x", "mailto:a@b", "http://x", "\u{1}", "a:b"]
        {
            assert_eq!(set.dial(bad), Err(DialError::NotAnAddress), "{bad}");
        }
        assert_eq!(set.dial(&"1".repeat(5000)), Err(DialError::NotAnAddress));
    }

    #[test]
    fn s8_nothing_dialled_adds_a_header_field() {
        let set = dialling(&[]);
        assert_eq!(
            uri(&set, "sip:bob@x.example?Route=%3Csip:evil%3E&Subject=a%0d%0aX:y"),
            "sip:bob@x.example"
        );
        for bad in ["bob\r\nRoute: x", "sip:bob@x\r\nRoute: x", "tel:+1\n2345"] {
            assert_eq!(set.dial(bad), Err(DialError::NotAnAddress), "{bad:?}");
        }
        // Neither does a setting.
        let forged = dialling(&[("techprefix", "9@evil.example>"), ("numpxrewrite", "0,<sip:x>;1,2@evil")]);
        assert_eq!(uri(&forged, "01234567"), "sip:01234567@sip.example:5070");
    }
}
