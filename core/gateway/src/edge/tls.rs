//! TLS as the edge speaks it.

use std::sync::Arc;

use rustls::server::{NoServerSessionStorage, ResolvesServerCert, StoresServerSessions};
use rustls::{CipherSuite, ServerConfig};

/// Early data that is taken: one REGISTER fits, a second hardly.
const EARLY_DATA: u32 = 16 * 1024;

/// TLS 1.2 and 1.3 for SIP: sessions resume with early data, and the answer leaves before the handshake is over, so
/// that a wake costs one round trip after the TCP handshake.
pub(crate) fn for_sip(
    certificates: Arc<dyn ResolvesServerCert>,
    sessions: Arc<dyn StoresServerSessions>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = plain(certificates)?;
    config.session_storage = sessions;
    config.max_early_data_size = EARLY_DATA;
    config.send_half_rtt_data = true;
    Ok(Arc::new(config))
}

/// TLS 1.2 and 1.3 for WebSocket. Its sessions resume too, but its handshake is not over with the first flight.
pub(crate) fn for_websocket(
    certificates: Arc<dyn ResolvesServerCert>,
    sessions: Arc<dyn StoresServerSessions>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = plain(certificates)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = sessions;
    Ok(Arc::new(config))
}

/// TLS 1.2 and 1.3 for the administrator's HTTP.
pub(crate) fn for_http(
    certificates: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = plain(certificates)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The same for HTTP/2 as well: whoever posts many wakes needs one connection.
pub(crate) fn for_http2(
    certificates: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = plain(certificates)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn plain(certificates: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let mut provider = rustls::crypto::ring::default_provider();
    // A wake's key schedule is a dozen hashes: processors have SHA-256 in hardware, SHA-384 hardly any. The suite that
    // RFC 8446 §9.1 makes everybody know comes first, whatever a phone's library puts first.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // A phone has one connection, and a session of its own is used up by each wake: with one new one for each, nothing piles up.
    config.send_tls13_tickets = 1;
    Ok(config)
}
