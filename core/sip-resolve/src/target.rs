//! What is to be resolved.

use core::net::IpAddr;

use wakeline_flow::Transport;
use wakeline_sip_message::{Scheme, Uri};

/// The TARGET of RFC 3263 §4: host, port, transport and whether TLS is a must.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Target {
    /// A host name in lower case, or an address without brackets.
    pub host: String,
    /// The port, when one is written.
    pub port: Option<u16>,
    /// The transport, when one is written.
    pub transport: Option<Transport>,
    /// `sips:`: every hop must be under TLS (RFC 3261 §26.2.2).
    pub secure: bool,
}

impl Target {
    /// The target of a SIP or SIPS URI: its `maddr` or host, port and `transport` parameter (RFC 3263 §4). `None` for other
    /// schemes and for transports that we do not speak.
    pub fn of(uri: &Uri<'_>) -> Option<Target> {
        let secure = match uri.scheme() {
            Scheme::Sip => false,
            Scheme::Sips => true,
            Scheme::Tel | Scheme::Other => return None,
        };
        let transport = match uri.param("transport") {
            Some(token) => Some(secured(Transport::from_token(token)?, secure)),
            None => None,
        };
        let host = uri.param("maddr").unwrap_or(uri.host_text());
        Some(Target { host: bare(host), port: uri.port(), transport, secure })
    }

    /// The host as an address, when it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

/// `sips:` turns TCP into TLS and WS into WSS (RFC 3261 §26.2.2, RFC 7118 §5.5); UDP stays what it is and is refused later.
pub(crate) fn secured(transport: Transport, secure: bool) -> Transport {
    match transport {
        Transport::Tcp if secure => Transport::Tls,
        Transport::Ws if secure => Transport::Wss,
        Transport::Udp | Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => transport,
    }
}

fn bare(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(uri: &str) -> Option<Target> {
        Target::of(&Uri::parse(uri).unwrap())
    }

    #[test]
    fn uris_become_targets() {
        let plain = target("sip:bob@Example.ORG.").unwrap();
        assert_eq!(
            (plain.host.as_str(), plain.port, plain.transport, plain.secure),
            ("example.org", None, None, false)
        );
        let tls = target("sips:bob@example.org:5071;transport=tcp").unwrap();
        assert_eq!((tls.port, tls.transport, tls.secure), (Some(5071), Some(Transport::Tls), true));
        let v6 = target("sip:[2001:db8::1]:5060;transport=UDP").unwrap();
        assert_eq!((v6.address(), v6.transport), ("2001:db8::1".parse().ok(), Some(Transport::Udp)));
        assert_eq!(target("sip:bob@example.org;maddr=192.0.2.9").unwrap().host, "192.0.2.9");
        assert_eq!((target("tel:+4912345"), target("sip:bob@example.org;transport=sctp")), (None, None));
        assert_eq!(target("sips:a@b.example;transport=ws").unwrap().transport, Some(Transport::Wss));
    }
}
