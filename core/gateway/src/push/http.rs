//! The one HTTP/2 client of all senders.

use std::path::PathBuf;
use std::sync::Arc;
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

/// An HTTP/2-only client: one connection per service, kept open by PING so that a wake never waits for a handshake,
/// no redirects (an answer with another address is not the service's), no proxies from the environment.
pub(super) fn client(trust: &Trust) -> Result<reqwest::Client, SetupError> {
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
    tls.alpn_protocols = vec![b"h2".to_vec()];
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .http2_prior_knowledge()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(5))
        .pool_idle_timeout(None)
        .http2_keep_alive_interval(Duration::from_secs(45))
        .http2_keep_alive_timeout(Duration::from_secs(10))
        .http2_keep_alive_while_idle(true)
        .user_agent(concat!("wakeline-gateway/", env!("CARGO_PKG_VERSION")))
        .build()?)
}
