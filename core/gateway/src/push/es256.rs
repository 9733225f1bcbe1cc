//! Signed tokens with ES256 (RFC 7515, RFC 7518 §3.4): for Apple's service and for VAPID.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use wakeline_secret::Secret;

use super::SetupError;

/// A P-256 key that signs; it shows itself to nobody.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl SigningKey {
    /// Reads a PEM file of PKCS#8.
    ///
    /// # Errors
    /// When the file cannot be read or holds no such key.
    pub fn from_file(path: &Path) -> Result<SigningKey, SetupError> {
        let named = || path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|source| SetupError::KeyFile { path: named(), source })?;
        SigningKey::from_pem(&Secret::from(text)).map_err(|why| SetupError::Key { path: named(), why })
    }

    /// Reads a PEM text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_pem(pem: &Secret) -> Result<SigningKey, &'static str> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes())
            .map_err(|_| "it holds no PEM block `PRIVATE KEY`")?;
        let random = SystemRandom::new();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der(), &random)
                .map_err(|_| "it is no P-256 key with its public half")?;
        Ok(SigningKey { pair, random })
    }

    /// The public half: an uncompressed point, base64url.
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref())
    }

    /// A signed token. `None` when the system has no randomness.
    pub(super) fn token(&self, header: &serde_json::Value, claims: &serde_json::Value) -> Option<Secret> {
        let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut text = format!("{}.{}", encode(header), encode(claims));
        let signature = self.pair.sign(&self.random, text.as_bytes()).ok()?;
        text.push('.');
        text.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Some(Secret::from(text))
    }
}

impl core::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s23_a_key_that_is_none_is_refused_without_being_shown() {
        for text in ["canary", "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n"] {
            let error = SigningKey::from_pem(&Secret::from(text)).unwrap_err();
            assert!(!error.contains("canary") && !error.contains("Y2Fu"), "{error}");
        }
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = SigningKey::from_pem(&Secret::from(pair.serialize_pem())).unwrap();
        assert_eq!(format!("{key:?}"), "SigningKey(..)");
        assert_eq!(key.public().len(), 87);
    }
}
