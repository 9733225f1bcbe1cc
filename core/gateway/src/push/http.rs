//! The HTTP clients of the senders.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls_platform_verifier::Verifier;

use super::SetupError;

/// Whom the senders believe, beside the system's trust store.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// PEM certificates of further authorities.
    pub ca_file: Option<PathBuf>,
}

/// TLS that offers these protocols.
fn tls(trust: &Trust, protocols: &[&[u8]]) -> Result<ClientConfig, SetupError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = match &trust.ca_file {
        None => Verifier::new(Arc::clone(&provider))?,
        Some(path) => {
            let unusable = |why: String| SetupError::CaFile { path: path.display().to_string(), why };
            let certificates: Result<Vec<CertificateDer<'static>>, _> =
                CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?.collect();
            let certificates = certificates.map_err(|error| unusable(error.to_string()))?;
            if certificates.is_empty() {
                return Err(unusable("no certificate in it".to_owned()));
            }
            Verifier::new_with_extra_roots(certificates, Arc::clone(&provider))?
        }
    };
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    tls.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    Ok(tls)
}

/// What every client has: no redirects (an answer with another address is not the service's), no proxies from the
/// environment, a connection that PING keeps and proves, so that a wake never waits for a handshake.
fn builder(tls: ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .http2_keep_alive_interval(Duration::from_secs(45))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .http2_keep_alive_while_idle(true)
        .user_agent(concat!("wakeline-gateway/", env!("CARGO_PKG_VERSION")))
}

/// A client for one service that speaks HTTP/2: one connection, kept open.
fn one_connection(tls: ClientConfig) -> Result<reqwest::Client, SetupError> {
    Ok(builder(tls).http2_prior_knowledge().pool_idle_timeout(None).build()?)
}

/// A client for hosts that others name, HTTP/2 or HTTP/1.1, which connects only to what `resolver` gives.
pub(super) fn client_for_many<R>(trust: &Trust, resolver: R) -> Result<reqwest::Client, SetupError>
where
    R: reqwest::dns::Resolve + 'static,
{
    let tls = tls(trust, &[b"h2", b"http/1.1"])?;
    let idle = Duration::from_secs(120);
    Ok(builder(tls)
        .dns_resolver(Arc::new(resolver))
        .pool_idle_timeout(idle)
        .pool_max_idle_per_host(4)
        .build()?)
}

/// A client for one address that the operator names, HTTP/2 or HTTP/1.1.
pub(crate) fn client_for_one(trust: &Trust) -> Result<reqwest::Client, SetupError> {
    Ok(builder(tls(trust, &[b"h2", b"http/1.1"])?).pool_idle_timeout(Duration::from_secs(120)).build()?)
}

/// One HTTP/2 connection that can be left behind. A peer that went away without a word keeps a connection that looks
/// open until PING finds out; a push that got no answer does not wait for that, and the next goes by a new one.
#[derive(Debug)]
pub(super) struct Line {
    tls: ClientConfig,
    current: Mutex<(u64, reqwest::Client)>,
}

impl Line {
    pub(super) fn new(trust: &Trust) -> Result<Line, SetupError> {
        let tls = tls(trust, &[b"h2"])?;
        let client = one_connection(tls.clone())?;
        Ok(Line { tls, current: Mutex::new((0, client)) })
    }

    /// The connection of now, and its number.
    pub(super) fn client(&self) -> (u64, reqwest::Client) {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Leaves this connection behind. What is still on its way on it may end there.
    pub(super) fn leave(&self, number: u64) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != number {
            return;
        }
        match one_connection(self.tls.clone()) {
            Ok(client) => *current = (number + 1, client),
            Err(error) => tracing::error!(%error, "no new connection to the push service"),
        }
    }
}
