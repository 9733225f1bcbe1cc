//! Whom we trust over TLS.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest::{SHA256, digest};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::BuilderVerifierExt;
use wakeline_settings::Settings;

/// Sessions kept for resumption: an edge or two per account.
const SESSIONS: usize = 16;

/// How a server's certificate is judged. There is no way to accept any.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// By the operating system's store (the default).
    #[default]
    System,
    /// By the authorities in this PEM file, and no others.
    Authorities(PathBuf),
    /// By the SHA-256 of the server's public key (SubjectPublicKeyInfo), and nothing else: for a gateway with a
    /// self-signed certificate. The key survives a renewed certificate.
    Pin([u8; 32]),
}

impl Trust {
    /// What an account asks for: `tlspin` before `tlsroots` before the system's store. A pin that cannot be read is an
    /// error: falling back to another judgement would be a downgrade.
    pub(crate) fn of(settings: &Settings) -> Result<Trust, String> {
        let network = settings.network();
        match (network.tls_pin, network.tls_roots) {
            (Some(pin), _) => pin_of(&pin)
                .map(Trust::Pin)
                .ok_or_else(|| "tlspin is no SHA-256: give 64 hex digits, or base64 of 32 bytes".to_owned()),
            (None, Some(path)) => Ok(Trust::Authorities(path.into())),
            (None, None) => Ok(Trust::System),
        }
    }
}

/// Hex, with colons or without, or base64, as HPKP wrote it (RFC 7469 §2.4).
fn pin_of(text: &str) -> Option<[u8; 32]> {
    let text = text.trim();
    let text = text.strip_prefix("sha256/").unwrap_or(text);
    let digits: Vec<u32> = text.chars().filter(|c| *c != ':').map_while(|c| c.to_digit(16)).collect();
    if digits.len() == 64 && text.chars().all(|c| c == ':' || c.is_ascii_hexdigit()) {
        let bytes = digits.chunks_exact(2).map_while(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok());
        return bytes.collect::<Vec<u8>>().try_into().ok();
    }
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

/// A client configuration with session resumption, and early data for sessions that allow it.
pub(crate) fn configuration(trust: &Trust) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let mut configuration = match trust {
        Trust::System => builder.with_platform_verifier()?.with_no_client_auth(),
        Trust::Authorities(path) => {
            let mut roots = RootCertStore::empty();
            let unreadable = |error| Error::General(format!("{}: {error}", path.display()));
            for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
                roots.add(certificate.map_err(unreadable)?)?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Pin(pin) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { pin: *pin, provider }))
            .with_no_client_auth(),
    };
    configuration.resumption = Resumption::in_memory_sessions(SESSIONS);
    // REGISTER may travel as early data: it is replayable there, and the registrar refuses a nonce count twice.
    configuration.enable_early_data = true;
    Ok(Arc::new(configuration))
}

/// Accepts the one public key that was pinned.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = webpki::EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let key = certificate.subject_public_key_info();
        if digest(&SHA256, key.as_ref()).as_ref() == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_read_as_people_write_them() {
        let pin: [u8; 32] = std::array::from_fn(|n| n as u8 * 7);
        let hex: String = pin.iter().map(|byte| format!("{byte:02X}")).collect();
        let colons = pin.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
        for text in [
            hex.clone(),
            colons,
            BASE64_STANDARD.encode(pin),
            format!("sha256/{}", BASE64_STANDARD.encode(pin)),
        ] {
            assert_eq!(pin_of(&text), Some(pin), "{text}");
        }
        for text in ["", "ab", &hex[..62], "sha256/", "not a pin at all"] {
            assert_eq!(pin_of(text), None, "{text}");
        }
    }
}
