//! A server's address as people write it.

use core::fmt;
use core::net::Ipv6Addr;

/// A name or address with a port or without.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPort {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port, if one is written.
    pub port: Option<u16>,
}

impl HostPort {
    /// Reads `name`, `name:port`, `[v6]`, `[v6]:port` or a bare IPv6 address; a `sip:` or `sips:` before it is passed
    /// over.
    pub fn parse(text: &str) -> Option<HostPort> {
        let text = text.trim();
        let scheme =
            |name: &str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        let text = if scheme("sips:") {
            &text[5..]
        } else if scheme("sip:") {
            &text[4..]
        } else {
            text
        };
        if text.len() > 262 {
            return None;
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (host, behind) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            let port = if behind.is_empty() { None } else { Some(port(behind.strip_prefix(':')?)?) };
            return Some(HostPort { host: host.to_owned(), port });
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Some(HostPort { host: text.to_owned(), port: None });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, digits)) => (host, Some(port(digits)?)),
            None => (text, None),
        };
        let name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        (!host.is_empty() && host.bytes().all(name)).then(|| HostPort { host: host.to_owned(), port })
    }
}

fn port(digits: &str) -> Option<u16> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|port| *port != 0)
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, host, port) in [
            ("sip.example", "sip.example", None),
            (" sip.example:5070 ", "sip.example", Some(5070)),
            ("sip:sip.example", "sip.example", None),
            ("SIPS:sip.example:5061", "sip.example", Some(5061)),
            ("192.0.2.1:5060", "192.0.2.1", Some(5060)),
            ("[2001:db8::1]:5061", "2001:db8::1", Some(5061)),
            ("[::1]", "::1", None),
            ("2001:db8::1", "2001:db8::1", None),
        ] {
            assert_eq!(HostPort::parse(text), Some(HostPort { host: host.to_owned(), port }), "{text}");
        }
        assert_eq!(HostPort::parse("[::1]:5").map(|one| one.to_string()).as_deref(), Some("[::1]:5"));
    }

    #[test]
    fn s8_what_is_no_address_is_refused() {
        for bad in [
            "",
            "a b",
            "a:",
            "a:0",
            "a:65536",
            "a:+5",
            "a:5:6",
            "[x]",
            "[::1",
            "[::1]5",
            "a;transport=tcp",
            "a/b",
            "a@b",
        ] {
            assert_eq!(HostPort::parse(bad), None, "{bad}");
        }
        assert_eq!(HostPort::parse(&"a".repeat(300)), None);
    }
}
