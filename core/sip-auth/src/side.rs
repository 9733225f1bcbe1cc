//! The two sides that ask for credentials, and the header fields of each (RFC 3261 §22.2, §22.3).

use serde::{Deserialize, Serialize};
use wakeline_sip_message::{AuthParams, Message, Name};

/// Whether the server is the request's goal or on its way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Side {
    /// 401, WWW-Authenticate, Authorization: a registrar or user agent.
    Origin,
    /// 407, Proxy-Authenticate, Proxy-Authorization: a proxy.
    Proxy,
}

impl Side {
    /// The status code of a challenge.
    pub const fn code(self) -> u16 {
        match self {
            Side::Origin => 401,
            Side::Proxy => 407,
        }
    }

    /// The header field of a challenge.
    pub const fn challenge(self) -> Name {
        match self {
            Side::Origin => Name::WwwAuthenticate,
            Side::Proxy => Name::ProxyAuthenticate,
        }
    }

    /// The header field of credentials.
    pub const fn answer(self) -> Name {
        match self {
            Side::Origin => Name::Authorization,
            Side::Proxy => Name::ProxyAuthorization,
        }
    }
}

/// The credentials of a request that can be read.
pub(crate) fn answers(request: &Message, side: Side) -> impl Iterator<Item = AuthParams<'_>> {
    request.headers(side.answer()).filter_map(|line| AuthParams::parse(line).ok())
}

/// A quoted string (RFC 3261 §25.1).
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    push_quoted(&mut quoted, text);
    quoted
}

/// The same behind other text.
pub(crate) fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    for part in text.split_inclusive(['"', '\\']) {
        match part.strip_suffix(['"', '\\']) {
            Some(plain) => {
                out.push_str(plain);
                out.push('\\');
                out.push_str(&part[plain.len()..]);
            }
            None => out.push_str(part),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_quoted_string_is_escaped() {
        for (text, expected) in
            [("", "\"\""), ("plain", "\"plain\""), ("a\"\\", r#""a\"\\""#), ("\"é", r#""\"é""#)]
        {
            assert_eq!(quoted(text), expected);
        }
    }
}
