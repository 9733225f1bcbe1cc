//! Names for connections and the bytes on them.
//!
//! A *flow* (RFC 5626 §2) is a TCP, TLS or WebSocket connection, or, for UDP, a pair of a local socket and a remote
//! address. The machines speak of flows by [`FlowId`]; only the crates with I/O know what stands behind one.
//!
//! In: nothing. Out: plain values. Never: sockets.

use core::fmt;
use core::net::SocketAddr;

use bytes::Bytes;

/// How SIP messages travel (RFC 3261 §18, RFC 7118 for WebSocket).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Transport {
    /// One message per datagram.
    Udp,
    /// A stream; messages are framed by Content-Length.
    Tcp,
    /// TCP under TLS.
    Tls,
    /// One message per WebSocket frame.
    Ws,
    /// WebSocket under TLS.
    Wss,
}

impl Transport {
    /// Every transport, in the order of this type.
    pub const ALL: [Transport; 5] =
        [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

    /// Whether the transport itself delivers in order and without loss; timers A, E, G, … do not run then.
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// Whether the bytes are protected by TLS.
    pub const fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// The token of a Via header field's sent-protocol (RFC 3261 §20.42, RFC 7118 §5.2).
    pub const fn via_token(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// The value of a SIP URI's `transport` parameter. RFC 7118 §5.5 has one value, `ws`, for both WebSocket forms.
    pub const fn uri_parameter(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws | Transport::Wss => "ws",
        }
    }

    /// The port when none is written (RFC 3261 §19.1.2; RFC 7118 §9 leaves WebSocket to HTTP's ports).
    pub const fn default_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
            Transport::Ws => 80,
            Transport::Wss => 443,
        }
    }

    /// Reads a Via transport token or a `transport` parameter's value, in any case.
    pub fn from_token(token: &str) -> Option<Transport> {
        Transport::ALL.into_iter().find(|transport| transport.via_token().eq_ignore_ascii_case(token))
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.via_token())
    }
}

/// The name of one flow, unique within one engine or gateway and never used again.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct FlowId(pub u64);

/// Where a flow is to lead: the outcome of next-hop resolution (RFC 3263).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Hop {
    /// How to travel.
    pub transport: Transport,
    /// Where to.
    pub remote: SocketAddr,
    /// The name that the far end's certificate must carry (RFC 5922 §4: the domain of the URI, not the SRV target),
    /// and the Host of a WebSocket handshake.
    pub server_name: Option<String>,
}

/// What is known of an open flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowInfo {
    /// Its name.
    pub id: FlowId,
    /// How it travels.
    pub transport: Transport,
    /// Our end.
    pub local: SocketAddr,
    /// The far end.
    pub remote: SocketAddr,
}

/// One whole message, or keep-alive, that came in on a flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Received {
    /// Where it came in.
    pub flow: FlowInfo,
    /// The message.
    pub bytes: Bytes,
}

/// Bytes that are to leave on a flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where they leave.
    pub flow: FlowId,
    /// One whole message or keep-alive.
    pub bytes: Bytes,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_read_back_in_any_case() {
        for transport in Transport::ALL {
            assert_eq!(Transport::from_token(transport.via_token()), Some(transport));
            assert_eq!(Transport::from_token(&transport.via_token().to_lowercase()), Some(transport));
        }
        assert_eq!(Transport::from_token("SCTP"), None);
    }

    #[test]
    fn only_udp_is_unreliable_and_only_tls_is_secure() {
        let unreliable: Vec<_> =
            Transport::ALL.into_iter().filter(|transport| !transport.is_reliable()).collect();
        assert_eq!(unreliable, [Transport::Udp]);
        let secure: Vec<_> = Transport::ALL.into_iter().filter(|transport| transport.is_secure()).collect();
        assert_eq!(secure, [Transport::Tls, Transport::Wss]);
    }
}
