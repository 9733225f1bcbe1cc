//! Hosts: names and addresses.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{Flaw, ParseError};
use crate::grammar::{find, may_be_name, number};

/// A host of the grammar (RFC 3261 §25.1).
#[derive(Clone, Copy, Debug)]
pub enum Host<'a> {
    /// A domain name; compared without regard to case.
    Name(&'a str),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address, which stands in brackets (RFC 3261 §19.1.1; RFC 5118 §4.1).
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Reads a host without port. Brackets are part of an IPv6 address.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let bad = || ParseError::value(Flaw::Syntax);
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(bad)?;
            // RFC 5118 §4.10: RFC 3261's grammar could be read to have three colons before an embedded IPv4 address.
            let read = inner.parse().or_else(|_| inner.replacen(":::", "::", 1).parse());
            return read.map(Host::V6).map_err(|_| bad());
        }
        if text.as_bytes().first().is_some_and(u8::is_ascii_digit)
            && let Ok(address) = text.parse()
        {
            return Ok(Host::V4(address));
        }
        if text.is_empty() || !may_be_name(text.as_bytes()) {
            return Err(bad());
        }
        Ok(Host::Name(text))
    }

    /// The address, if the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Host::Name(_) => None,
            Host::V4(address) => Some(IpAddr::V4(*address)),
            Host::V6(address) => Some(IpAddr::V6(*address)),
        }
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Host::Name(one), Host::Name(two)) => one.eq_ignore_ascii_case(two),
            (Host::V4(one), Host::V4(two)) => one == two,
            (Host::V6(one), Host::V6(two)) => one == two,
            (Host::Name(_) | Host::V4(_) | Host::V6(_), _) => false,
        }
    }
}

impl Eq for Host<'_> {}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::V4(address) => address.fmt(f),
            Host::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// Splits `host[:port]`; white space around the colon is allowed where a Via stands (RFC 3261 §25.1, COLON).
pub(crate) fn host_port(text: &str) -> Result<(Host<'_>, Option<u16>), ParseError> {
    let bad = || ParseError::value(Flaw::Syntax);
    let colon = match text.strip_prefix('[') {
        Some(rest) => {
            let close = rest.find(']').ok_or_else(bad)? + 2;
            text[close..].find(':').map(|at| at + close)
        }
        None => find(text.as_bytes(), b':'),
    };
    match colon {
        Some(at) => {
            let port = number(crate::grammar::trim(&text[at + 1..])).ok_or_else(bad)?;
            Ok((Host::parse(crate::grammar::trim(&text[..at]))?, Some(port)))
        }
        None => Ok((Host::parse(text)?, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        assert_eq!(host_port("a.example:5070"), Ok((Host::Name("A.EXAMPLE"), Some(5070))));
        assert_eq!(host_port("192.0.2.1"), Ok((Host::V4(Ipv4Addr::new(192, 0, 2, 1)), None)));
        assert_eq!(host_port("[2001:db8::1]:5061").map(|x| x.1), Ok(Some(5061)));
        assert_eq!(host_port("[::1]").map(|x| x.0.to_string()), Ok("[::1]".into()));
        for bad in ["", "[::1", "::1", "a b", "a:99999", "a:", "a:+1", "[::g]", "[::1]x"] {
            assert!(host_port(bad).is_err(), "{bad}");
        }
    }
}
