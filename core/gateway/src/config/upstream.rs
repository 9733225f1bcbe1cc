//! One `[[upstream]]` of the operator's file: a PBX that some domains are passed on to.

use std::path::PathBuf;

use serde::Deserialize;
use wakeline_flow::Transport;
use wakeline_registrar as registrar;
use wakeline_sip_message::{Scheme, Uri};

use super::trust::network;
use super::{Config, ConfigError};

/// A PBX behind this gateway.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upstream {
    /// The domains that it serves.
    pub domains: Vec<String>,
    /// Where it is, `sip:host:port;transport=udp`, tcp or tls; the first that is up is taken.
    pub next_hops: Vec<String>,
    /// From where else it sends.
    pub networks: Vec<String>,
    /// Seconds that are asked for at least for a phone that can be woken.
    pub expires: u32,
    /// Seconds that the gateway asks for when it registers an account itself.
    pub account_expires: u32,
    /// PEM certificates to trust under TLS instead of the system's.
    pub ca_file: PathBuf,
    /// SHA-256 of the server's public key, hex: trusted under TLS instead of any certificate.
    pub pin: String,
}

impl Default for Upstream {
    fn default() -> Upstream {
        Upstream {
            domains: Vec::new(),
            next_hops: Vec::new(),
            networks: Vec::new(),
            expires: 7 * 86_400,
            account_expires: 600,
            ca_file: PathBuf::new(),
            pin: String::new(),
        }
    }
}

impl Upstream {
    /// What the machine is told.
    pub(crate) fn checked(&self, config: &Config) -> Result<registrar::Upstream, ConfigError> {
        let wrong = |key, why: String| ConfigError::value(key, why);
        if self.domains.iter().all(String::is_empty) {
            return Err(wrong("upstream.domains", "at least one domain is needed".to_owned()));
        }
        let own = |domain: &&String| config.domains.iter().any(|ours| ours.eq_ignore_ascii_case(domain));
        if let Some(domain) = self.domains.iter().find(own) {
            let why = format!("{domain} is among the gateway's own `domains`: it can be only one of both");
            return Err(wrong("upstream.domains", why));
        }
        let next_hops = self.hops()?;
        if next_hops.is_empty() {
            let why = "at least one is needed, such as sip:192.0.2.5:5060;transport=udp".to_owned();
            return Err(wrong("upstream.next_hops", why));
        }
        if config.listen.udp.is_empty() && next_hops.iter().any(|hop| hop.transport == Transport::Udp) {
            let why = "a next hop over UDP is spoken to from a socket of listen.udp: name one".to_owned();
            return Err(wrong("upstream.next_hops", why));
        }
        self.pinned()?;
        Ok(registrar::Upstream {
            domains: self.domains.iter().map(|domain| domain.to_ascii_lowercase()).collect(),
            next_hops,
            networks: self
                .networks
                .iter()
                .map(|text| network("upstream.networks", text))
                .collect::<Result<_, _>>()?,
            expires: self.expires,
            line_expires: self.account_expires,
        })
    }

    /// Its next hops in order.
    pub(crate) fn hops(&self) -> Result<Vec<registrar::NextHop>, ConfigError> {
        self.next_hops.iter().map(|text| next_hop(text)).collect()
    }

    /// The pinned key, if there is one.
    pub(crate) fn pinned(&self) -> Result<Option<[u8; 32]>, ConfigError> {
        if self.pin.is_empty() {
            return Ok(None);
        }
        let digits: Vec<u8> = self.pin.bytes().filter(|byte| *byte != b':').map_while(hex_digit).collect();
        let whole = digits.len() == 64 && self.pin.bytes().all(|b| b == b':' || b.is_ascii_hexdigit());
        let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
        match bytes.try_into() {
            Ok(pin) if whole => Ok(Some(pin)),
            Ok(_) | Err(_) => Err(ConfigError::value(
                "upstream.pin",
                "64 hex digits are needed: the SHA-256 of the server's public key",
            )),
        }
    }
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn next_hop(text: &str) -> Result<registrar::NextHop, ConfigError> {
    let wrong = || {
        let why = format!(
            "{text:?} is not a next hop: write sip:host:port;transport=udp (or tcp, tls), such as sip:192.0.2.5:5060;transport=tcp"
        );
        ConfigError::value("upstream.next_hops", why)
    };
    let uri = Uri::parse(text).map_err(|_| wrong())?;
    if !uri.is_sip() || uri.user().is_some() || uri.host_text().is_empty() {
        return Err(wrong());
    }
    let transport = match (uri.param("transport"), uri.scheme() == Scheme::Sips) {
        (None, true) => Transport::Tls,
        (None, false) => Transport::Udp,
        (Some(named), secure) => match Transport::from_token(named) {
            Some(Transport::Tcp) if secure => Transport::Tls,
            Some(known @ (Transport::Udp | Transport::Tcp)) if !secure => known,
            Some(Transport::Tls) => Transport::Tls,
            Some(Transport::Udp | Transport::Tcp | Transport::Ws | Transport::Wss) | None => {
                return Err(wrong());
            }
        },
    };
    let port = uri.port().unwrap_or(transport.default_port());
    Ok(registrar::NextHop { transport, host: uri.host_text().to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops_are_read_with_their_transport_and_port() {
        for (text, told) in [
            ("sip:pbx.example.org", "sip:pbx.example.org:5060;transport=udp"),
            ("sip:192.0.2.5:5080;transport=TCP", "sip:192.0.2.5:5080;transport=tcp"),
            ("sips:pbx.example.org", "sip:pbx.example.org:5061;transport=tls"),
            ("sip:[2001:db8::1];transport=tls", "sip:[2001:db8::1]:5061;transport=tls"),
        ] {
            assert_eq!(next_hop(text).unwrap().to_string(), told);
        }
        for text in ["", "pbx", "sip:user@pbx", "tel:+1", "sips:pbx;transport=udp", "sip:pbx;transport=sctp"]
        {
            assert!(next_hop(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pin_is_read_with_colons_or_without() {
        let pin = |text: &str| Upstream { pin: text.into(), ..Upstream::default() }.pinned();
        assert_eq!(pin("").unwrap(), None);
        assert_eq!(pin(&"aB".repeat(32)).unwrap(), Some([0xAB; 32]));
        assert_eq!(pin(&["01"; 32].join(":")).unwrap(), Some([1; 32]));
        assert!(pin("abc").is_err() && pin(&"zz".repeat(32)).is_err());
    }
}
