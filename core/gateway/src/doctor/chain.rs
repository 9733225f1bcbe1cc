//! The certificate that phones are shown: whose it is, who vouches for it, and until when.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::names::is_name;
use super::report::{Hop, Report};

/// A certificate that ends within this span is renewed now.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// Takes every certificate and keeps it: what is shown is looked at afterwards, so that a bad one has a name.
#[derive(Debug)]
pub(super) struct Witness {
    provider: Arc<CryptoProvider>,
    seen: Mutex<Vec<CertificateDer<'static>>>,
}

impl Witness {
    fn new() -> Arc<Witness> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Arc::new(Witness { provider, seen: Mutex::default() })
    }

    /// The chain of the last handshake.
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let all = core::iter::once(leaf).chain(others).map(|one| one.clone().into_owned());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = all.collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// TLS for the doctor's own connections.
pub(super) fn client() -> Result<(Arc<ClientConfig>, Arc<Witness>), Error> {
    let witness = Witness::new();
    let config = ClientConfig::builder_with_provider(Arc::clone(&witness.provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&witness) as _)
        .with_no_client_auth();
    Ok((Arc::new(config), witness))
}

/// Judges a chain for each name, as a phone would. `self_signed`: the file names none, so the gateway made its own.
pub(super) fn examine(
    chain: &[CertificateDer<'static>],
    domains: &[String],
    self_signed: bool,
    ca_file: Option<&Path>,
    report: &mut Report,
) {
    let Some((leaf, others)) = chain.split_first() else { return };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let extra: Vec<CertificateDer<'static>> = ca_file
        .and_then(|path| CertificateDer::pem_file_iter(path).ok())
        .map(|all| all.filter_map(Result::ok).collect())
        .unwrap_or_default();
    let verifier = match Verifier::new_with_extra_roots(extra, provider) {
        Ok(verifier) => verifier,
        Err(error) => {
            report.broken(
                Hop::Tls,
                "authorities",
                format!("the system's trust store cannot be read: {error}"),
                "install the system's CA certificates (Debian: apt install ca-certificates)",
            );
            return;
        }
    };
    // Phones ask for names; a gateway for this machine only is asked for `localhost`.
    let names: Vec<&String> = domains.iter().filter(|domain| is_name(domain)).collect();
    let names = if names.is_empty() { domains.iter().take(1).collect() } else { names };
    for name in names {
        let Ok(server) = ServerName::try_from(name.clone()) else { continue };
        let now = UnixTime::now();
        let soon = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + SOON);
        let judged = |at| verifier.verify_server_cert(leaf, others, &server, &[], at);
        match (judged(now), judged(soon)) {
            (Ok(_), Ok(_)) => report.good(Hop::Tls, name, "the certificate is good for two weeks at least"),
            (Ok(_), Err(_)) => report.doubtful(
                Hop::Tls,
                name,
                "the certificate ends within two weeks",
                "renew it; the gateway takes new files up by itself, open connections stay",
            ),
            (Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)), _) if self_signed => report.doubtful(
                Hop::Tls,
                name,
                "the certificate is self-signed, as no file is named",
                "fine for phones that pin it; for all others get one from a public authority and name it in [tls]",
            ),
            (Err(error), _) => {
                let (what, cure) = named(&error);
                report.broken(Hop::Tls, name, what, cure);
            }
        }
    }
}

/// What is wrong with a certificate, and the cure.
fn named(error: &Error) -> (String, &'static str) {
    let text = |what: &str| what.to_owned();
    let Error::InvalidCertificate(why) = error else {
        return (format!("the certificate cannot be used: {error}"), "get a new one from its authority");
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls adds kinds; an unknown one is shown by its name"
    )]
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
            text("the certificate has expired"),
            "renew it (certbot renew) and see why that did not happen by itself; the gateway takes new files up by itself",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            (text("the certificate is not valid yet"), "set this machine's clock; or wait")
        }
        CertificateError::UnknownIssuer => (
            text("no authority that phones know vouches for the certificate"),
            "get one from a public authority, and name the file with the whole chain (fullchain.pem) in tls.certificate; \
             a self-signed one works only for phones that pin it",
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            (text("the certificate is for other names"), "get one that names every domain of the file")
        }
        CertificateError::Revoked => (text("the certificate was revoked"), "get a new one, with a new key"),
        other => (format!("the certificate cannot be used: {other:?}"), "get a new one from its authority"),
    }
}
