//! Why nothing started.

use std::net::SocketAddr;

use wakeline_flow::Transport;

use crate::config::ConfigError;
use crate::edge::certificate::CertificateError;
use crate::push::SetupError;
use crate::store::StoreError;

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration means nothing.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The push sender cannot be set up.
    #[error(transparent)]
    Push(#[from] SetupError),
    /// There is no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// TLS cannot be set up.
    #[error("tls: {0}")]
    Tls(#[from] rustls::Error),
    /// An address cannot be listened on.
    #[error("listen.{}: cannot listen on {address}: {source}; is another server running there?", transport.via_token().to_ascii_lowercase())]
    Bind {
        /// On which transport.
        transport: Transport,
        /// On which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The administrator's address cannot be listened on.
    #[error("admin.listen: cannot listen on {address}: {source}; is another server running there?")]
    BindAdmin {
        /// On which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// An address for phones and apps cannot be listened on.
    #[error("{key}: cannot listen on {address}: {source}; is another server running there?")]
    BindWeb {
        /// The key that names it.
        key: &'static str,
        /// On which address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system gives no thread, no randomness or no event queue.
    #[error("cannot start: {0}")]
    System(std::io::Error),
}
