//! `[trust]`: who may call without a password of ours.

use std::net::IpAddr;

use serde::Deserialize;
use wakeline_registrar::TrustedPeer;

use super::ConfigError;

/// Trusted peers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// Networks or single addresses.
    pub networks: Vec<String>,
    /// Whether an authenticated REGISTER vouches for its TLS connection.
    pub registered_connections: bool,
}

impl Default for Trust {
    fn default() -> Trust {
        Trust { networks: Vec::new(), registered_connections: true }
    }
}

impl Trust {
    /// The networks, read.
    pub(super) fn checked(&self) -> Result<Vec<TrustedPeer>, ConfigError> {
        self.networks.iter().map(|text| network("trust.networks", text)).collect()
    }
}

/// A network, or a single address.
pub(super) fn network(key: &'static str, text: &str) -> Result<TrustedPeer, ConfigError> {
    let wrong =
        || ConfigError::value(key, format!("{text:?} is not an address or a network such as 192.0.2.0/24"));
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let network: IpAddr = address.trim().parse().map_err(|_| wrong())?;
    let bits = if network.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Ok(bits), |prefix| prefix.trim().parse().map_err(|_| wrong()))?;
    if prefix > bits {
        return Err(wrong());
    }
    Ok(TrustedPeer { network, prefix })
}
