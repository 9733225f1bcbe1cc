//! Via: the way a request came (RFC 3261 §20.42, RFC 3581).

use core::net::IpAddr;

use wakeline_flow::Transport;

use crate::error::{Flaw, ParseError};
use crate::grammar::{find, find2, is_token, number, trim};
use crate::host::{Host, host_port};
use crate::params::Params;

/// One Via value, borrowed from a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Via<'a> {
    text: &'a str,
    version: &'a str,
    transport: &'a str,
    host: Host<'a>,
    host_text: &'a str,
    port: Option<u16>,
    params: Params<'a>,
}

/// The start of every branch that an RFC 3261 element writes (§8.1.1.7).
pub const MAGIC_COOKIE: &str = "z9hG4bK";

impl<'a> Via<'a> {
    /// Reads one value: `SIP/2.0/UDP host:port;branch=…`.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let bad = || ParseError::value(Flaw::Syntax);
        let text = trim(text);
        crate::grammar::work::done(text.len());
        let cut = |text: &'a str| {
            let slash = find(text.as_bytes(), b'/')?;
            Some((&text[..slash], &text[slash + 1..]))
        };
        let (name, rest) = cut(text).ok_or_else(bad)?;
        let (version, rest) = cut(rest).ok_or_else(bad)?;
        if !trim(name).eq_ignore_ascii_case("SIP") {
            return Err(bad());
        }
        let version = trim(version);
        if !is_token(version) {
            return Err(bad());
        }
        let rest = trim(rest);
        let space = find2(rest.as_bytes(), b' ', b'\t').ok_or_else(bad)?;
        let (transport, rest) = rest.split_at(space);
        if !is_token(transport) {
            return Err(bad());
        }
        let semicolon = find(rest.as_bytes(), b';').unwrap_or(rest.len());
        let sent_by = trim(&rest[..semicolon]);
        let (host, port) = host_port(sent_by)?;
        Ok(Via {
            text,
            version,
            transport,
            host,
            host_text: sent_by,
            port,
            params: Params::parse(&rest[semicolon..])?,
        })
    }

    /// The value as it was written.
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The version; anything but `2.0` is not ours (RFC 3261 §21.5.6), but such a request can still be told so.
    pub fn version(&self) -> &'a str {
        self.version
    }

    /// The transport's token as it was written.
    pub fn transport_text(&self) -> &'a str {
        self.transport
    }

    /// The transport, if it is one of ours.
    pub fn transport(&self) -> Option<Transport> {
        Transport::from_token(self.transport)
    }

    /// The host of sent-by.
    pub fn host(&self) -> Host<'a> {
        self.host
    }

    /// The port of sent-by, if one is written.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Host and port as they were written.
    pub fn sent_by(&self) -> &'a str {
        self.host_text
    }

    /// The parameters.
    pub fn params(&self) -> Params<'a> {
        self.params
    }

    /// The branch.
    pub fn branch(&self) -> Option<&'a str> {
        self.params.get("branch").filter(|branch| !branch.is_empty())
    }

    /// Whether the branch is one of RFC 3261's: it starts with the cookie and goes on behind it.
    pub fn has_cookie(&self) -> bool {
        self.branch().is_some_and(|branch| {
            branch.len() > MAGIC_COOKIE.len()
                && branch
                    .get(..MAGIC_COOKIE.len())
                    .is_some_and(|cookie| cookie.eq_ignore_ascii_case(MAGIC_COOKIE))
        })
    }

    /// The `received` parameter. IPv6 is read with and without brackets (RFC 5118 §4.5).
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.get("received")?;
        text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text).parse().ok()
    }

    /// Whether `rport` is asked for or filled in (RFC 3581 §3).
    pub fn wants_rport(&self) -> bool {
        self.params.has("rport")
    }

    /// The value of `rport`, once a server filled it in.
    pub fn rport(&self) -> Option<u16> {
        self.params.get("rport").and_then(number)
    }

    /// The `maddr` parameter.
    pub fn maddr(&self) -> Option<&'a str> {
        self.params.get("maddr")
    }

    /// The `ttl` parameter.
    pub fn ttl(&self) -> Option<u8> {
        self.params.get("ttl").and_then(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_anywhere_the_grammar_allows() {
        let via = Via::parse("SIP  / 2.0 /  UDP  first.example.com : 4000 ;ttl=16 ;maddr=224.2.0.1 ;branch=z9hG4bKa7c6a8dlze.1").unwrap();
        assert_eq!(
            (via.host(), via.port(), via.ttl()),
            (Host::Name("first.example.com"), Some(4000), Some(16))
        );
        assert_eq!((via.branch(), via.has_cookie()), (Some("z9hG4bKa7c6a8dlze.1"), true));
    }

    #[test]
    fn received_with_and_without_brackets() {
        for text in ["[2001:db8::9:1]", "2001:db8::9:1"] {
            let via = format!("SIP/2.0/UDP [2001:db8::9:1];received={text};branch=z9hG4bKas3-111;rport");
            let via = Via::parse(&via).unwrap();
            assert_eq!(via.received(), "2001:db8::9:1".parse().ok());
            assert_eq!((via.wants_rport(), via.rport()), (true, None));
        }
    }

    #[test]
    fn malformed_values_are_refused() {
        for bad in
            ["", "SIP/2.0/UDP", "SIP/2.0 host", "SIP/2.0/U P host", "SIP/2.0/UDP host;", "X/2.0/UDP host:x"]
        {
            let outcome = Via::parse(bad);
            assert!(outcome.is_err() || bad.ends_with(';'), "{bad}");
        }
        assert_eq!(Via::parse("SIP/7.0/UDP host").map(|via| via.version()), Ok("7.0"));
    }
}
