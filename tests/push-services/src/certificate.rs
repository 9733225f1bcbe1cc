//! A certificate authority of one evening and a loopback certificate under it.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

use crate::StartError;

/// What a stand-in shows, and what a client must trust to believe it.
#[derive(Debug)]
pub struct Certificate {
    /// The authority's certificate, PEM: the sender's extra CA file.
    pub ca_pem: String,
    /// TLS for the listener, ALPN `h2`.
    pub server: Arc<ServerConfig>,
}

/// Makes an authority and a certificate for `localhost`, `127.0.0.1`, `::1` and `push.example`.
///
/// # Errors
/// When a key or certificate cannot be made.
pub fn loopback() -> Result<Certificate, StartError> {
    let ca_key = KeyPair::generate()?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    ca.distinguished_name.push(DnType::CommonName, "stand-in push services");
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate()?;
    let names = ["localhost", "127.0.0.1", "::1", "push.example"].map(str::to_owned).to_vec();
    let leaf = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(StartError::Key)?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Certificate { ca_pem: ca_certificate.pem(), server: Arc::new(server) })
}
