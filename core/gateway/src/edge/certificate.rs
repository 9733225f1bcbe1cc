//! The certificate that TLS and WSS show, and its replacement while connections stay (fault F13).

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or holds no PEM of the right kind.
    #[error("tls: cannot use {path}: {why}; it must be PEM, the certificate file with its whole chain")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// Key and certificate do not fit each other, or the key is of a kind that cannot be used.
    #[error("tls: certificate and key are not usable together: {0}")]
    Pair(#[from] rustls::Error),
    /// No certificate could be made.
    #[error("tls: cannot make a self-signed certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// Where a certificate comes from.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// The current certificate.
#[derive(Debug)]
pub(crate) struct Certificates {
    current: RwLock<Arc<CertifiedKey>>,
    files: Option<Files>,
    changed: RwLock<Option<SystemTime>>,
    /// The self-signed certificate, PEM, so that a phone on the same machine can pin it.
    pub(crate) self_signed: Option<String>,
    provider: Arc<CryptoProvider>,
}

impl Certificates {
    /// From files.
    pub(crate) fn from_files(certificate: &Path, key: &Path) -> Result<Certificates, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        let current = read(&files, &provider)?;
        Ok(Certificates {
            current: RwLock::new(Arc::new(current)),
            changed: RwLock::new(modified(&files)),
            files: Some(files),
            self_signed: None,
            provider,
        })
    }

    /// Self-signed for these names and addresses, from the PEM of an earlier run if there is one.
    pub(crate) fn self_signed(
        names: Vec<String>,
        earlier: Option<&str>,
    ) -> Result<(Certificates, String), CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let kept = earlier
            .and_then(|pem| Some((pem.to_owned(), pair(pem.as_bytes(), pem.as_bytes(), &provider).ok()?)));
        let (pem, current) = match kept {
            Some(kept) => kept,
            None => {
                let key = rcgen::KeyPair::generate()?;
                let mut parameters = rcgen::CertificateParams::new(names)?;
                parameters
                    .distinguished_name
                    .push(rcgen::DnType::CommonName, "wakeline gateway (self-signed)");
                let pem = parameters.self_signed(&key)?.pem() + &key.serialize_pem();
                let current = pair(pem.as_bytes(), pem.as_bytes(), &provider)?;
                (pem, current)
            }
        };
        let shown = pem.find("-----BEGIN PRIVATE").and_then(|at| pem.get(..at)).unwrap_or("").to_owned();
        let certificates = Certificates {
            current: RwLock::new(Arc::new(current)),
            changed: RwLock::new(None),
            files: None,
            self_signed: Some(shown),
            provider,
        };
        Ok((certificates, pem))
    }

    /// Reads the files again if they changed. The old certificate stays when the new one is not usable, and says so
    /// once per change.
    pub(crate) fn reload(&self) {
        let Some(files) = &self.files else { return };
        let now = modified(files);
        if now.is_none() || *self.changed.read().unwrap_or_else(PoisonError::into_inner) == now {
            return;
        }
        *self.changed.write().unwrap_or_else(PoisonError::into_inner) = now;
        match read(files, &self.provider) {
            Ok(new) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                tracing::info!("new TLS certificate in use; open connections stay");
            }
            Err(error) => tracing::error!("{error}; the old certificate stays in use"),
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn modified(files: &Files) -> Option<SystemTime> {
    let time = |path: &Path| std::fs::metadata(path).and_then(|data| data.modified()).ok();
    Some(time(&files.certificate)?.max(time(&files.key)?))
}

fn read(files: &Files, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let text = |path: &Path| {
        std::fs::read(path).map_err(|error| CertificateError::File {
            path: path.display().to_string(),
            why: error.to_string(),
        })
    };
    pair(&text(&files.certificate)?, &text(&files.key)?, provider).map_err(|error| match error {
        CertificateError::File { why, .. } => {
            CertificateError::File { path: files.certificate.display().to_string(), why }
        }
        error @ (CertificateError::Pair(_) | CertificateError::Make(_)) => error,
    })
}

fn pair(certificate: &[u8], key: &[u8], provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
    let unusable = |why: &str| CertificateError::File { path: String::new(), why: why.to_owned() };
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|_| unusable("the certificate is not PEM"))?;
    if chain.is_empty() {
        return Err(unusable("there is no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| unusable("there is no private key in the key file"))?;
    Ok(CertifiedKey::from_der(chain, key, provider)?)
}
