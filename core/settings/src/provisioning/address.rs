//! Addresses of a provider: `https://host[:port]/path`, read strictly.

use core::fmt;

use crate::host::HostPort;

/// Longest address that is read.
const LONGEST: usize = 2048;

/// An address under https. There is no other kind: settings hold a password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpsAddress {
    server: HostPort,
    target: String,
}

impl HttpsAddress {
    /// Reads one. No user information (it makes `https://bank@evil.example` look like the bank), no blanks, control
    /// characters or letters beyond ASCII, no backslash, no bare IPv6 address; a fragment is dropped.
    pub fn parse(text: &str) -> Option<HttpsAddress> {
        let fits = text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let scheme = text.get(..8).filter(|scheme| fits && scheme.eq_ignore_ascii_case("https://"))?;
        let rest = text.get(scheme.len()..)?.split('#').next()?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let lower = authority.to_ascii_lowercase();
        // What is written as a SIP address elsewhere is none here.
        if lower.starts_with("sip:") || lower.starts_with("sips:") {
            return None;
        }
        let server = HostPort::parse(&lower)?;
        if server.host.contains(':') && !lower.starts_with('[') {
            return None;
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Some(HttpsAddress { server, target })
    }

    /// The server's name or address, in lower case; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.server.host
    }

    /// The port, 443 when none is written.
    pub fn port(&self) -> u16 {
        self.server.port.unwrap_or(443)
    }

    /// Path and query, as a request has them.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The server as the Host field and a person have it: without a port when that is 443.
    pub fn authority(&self) -> String {
        let port = self.server.port.filter(|port| *port != 443);
        HostPort { host: self.server.host.clone(), port }.to_string()
    }

    /// Whether both are at one server and port (RFC 6454).
    pub fn is_same_origin(&self, other: &HttpsAddress) -> bool {
        self.host() == other.host() && self.port() == other.port()
    }

    /// Another place at the same server.
    pub(super) fn at(&self, target: &str) -> HttpsAddress {
        HttpsAddress { server: self.server.clone(), target: target.to_owned() }
    }
}

impl fmt::Display for HttpsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority(), self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, shown) in [
            ("https://Voice.Example.org", "https://voice.example.org/"),
            ("HTTPS://voice.example.org:443/p/X#frag", "https://voice.example.org/p/X"),
            ("https://voice.example.org:8443?a=b", "https://voice.example.org:8443/?a=b"),
            ("https://[2001:db8::1]:8443/a", "https://[2001:db8::1]:8443/a"),
            ("https://127.0.0.1/", "https://127.0.0.1/"),
        ] {
            assert_eq!(HttpsAddress::parse(text).map(|read| read.to_string()).as_deref(), Some(shown));
        }
        let (a, b) =
            (HttpsAddress::parse("https://a.example/x"), HttpsAddress::parse("https://a.example:443/y"));
        assert!(a.unwrap().is_same_origin(&b.unwrap()));
    }

    #[test]
    fn s13_what_only_looks_like_an_address_is_none() {
        let long = format!("https://a.example/{}", "x".repeat(LONGEST));
        for text in [
            "",
            "http://a.example/",
            "https:/a.example",
            "https://",
            "https:///p",
            "https://bank.example@evil.example/",
            "https://a.example\\@evil.example/",
            "https://a.example:0/",
            "https://a.example:99999/",
            "https://a.example:+443/",
            "https://a.example:443:443/",
            "https://a example/",
            "https://a.example/\r\nHost: b",
            "https://b\u{fc}cher.example/",
            "https://2001:db8::1/",
            "https://sip:a.example/",
            "https://%61.example/",
            "\u{fe0f}https://a.example",
            long.as_str(),
        ] {
            assert_eq!(HttpsAddress::parse(text), None, "{text:?}");
        }
    }
}
