//! `[listen]` and `[public]`: where we are, and how others reach us there.

use std::net::{Ipv6Addr, SocketAddr};

use serde::Deserialize;
use wakeline_flow::Transport;
use wakeline_registrar::PublicAddress;

use super::ConfigError;

/// Addresses per transport.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// UDP.
    pub udp: Vec<SocketAddr>,
    /// TCP.
    pub tcp: Vec<SocketAddr>,
    /// TLS.
    pub tls: Vec<SocketAddr>,
    /// WebSocket.
    pub ws: Vec<SocketAddr>,
    /// WebSocket under TLS.
    pub wss: Vec<SocketAddr>,
}

/// Names per transport, `host` or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Public {
    /// UDP.
    pub udp: String,
    /// TCP.
    pub tcp: String,
    /// TLS.
    pub tls: String,
    /// WebSocket.
    pub ws: String,
    /// WebSocket under TLS.
    pub wss: String,
}

impl Default for Listen {
    fn default() -> Listen {
        let on = |port: u16| vec![SocketAddr::from(([127, 0, 0, 1], port))];
        Listen { udp: on(5060), tcp: on(5060), tls: on(5061), ws: on(5066), wss: on(5067) }
    }
}

impl Public {
    /// The names that are given, checked.
    pub(super) fn checked(&self) -> Result<Vec<PublicAddress>, ConfigError> {
        let named = [
            (Transport::Udp, "public.udp", &self.udp),
            (Transport::Tcp, "public.tcp", &self.tcp),
            (Transport::Tls, "public.tls", &self.tls),
            (Transport::Ws, "public.ws", &self.ws),
            (Transport::Wss, "public.wss", &self.wss),
        ];
        let mut addresses = Vec::new();
        for (transport, key, text) in named {
            if text.is_empty() {
                continue;
            }
            let wrong = || ConfigError::value(key, format!("{text:?} is not `host` or `host:port`"));
            // A colon within brackets, or more than one of them, belongs to an IPv6 address.
            let (host, port) = match text.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                    (host, Some(port.parse().map_err(|_| wrong())?))
                }
                Some(_) | None => (text.as_str(), None),
            };
            let host = match host.parse::<Ipv6Addr>() {
                Ok(address) => format!("[{address}]"),
                Err(_) => host.to_owned(),
            };
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
            if host.is_empty() || !host.bytes().all(allowed) {
                return Err(wrong());
            }
            addresses.push(PublicAddress { transport, host, port });
        }
        Ok(addresses)
    }
}
