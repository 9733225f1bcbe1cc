//! The service account: the file that the vendor's console hands out.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Deserialize;

use super::SetupError;

/// What an access token must allow.
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
/// How long an assertion claims to live, in seconds; the longest that is allowed.
const ASSERTION_LIFE: u64 = 3600;

/// A service account that can sign.
pub struct ServiceAccount {
    project: String,
    email: String,
    key_id: String,
    token_uri: String,
    key: RsaKeyPair,
}

#[derive(Deserialize)]
struct File {
    project_id: String,
    client_email: String,
    #[serde(default)]
    private_key_id: String,
    private_key: String,
    #[serde(default = "google")]
    token_uri: String,
}

fn google() -> String {
    "https://oauth2.googleapis.com/token".to_owned()
}

impl ServiceAccount {
    /// Reads the file.
    ///
    /// # Errors
    /// When the file cannot be read or is no service account.
    pub fn from_file(path: &Path) -> Result<ServiceAccount, SetupError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SetupError::AccountFile { path: path.display().to_string(), source })?;
        ServiceAccount::from_json(&text)
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// When it is no service account, or its key is not RSA of 2048 bits or more.
    pub fn from_json(text: &str) -> Result<ServiceAccount, SetupError> {
        let file: File = serde_json::from_str(text)
            .map_err(|_| SetupError::Account("project_id, client_email and private_key are needed"))?;
        let der = PrivatePkcs8KeyDer::from_pem_slice(file.private_key.as_bytes())
            .map_err(|_| SetupError::Account("private_key is not a PEM block"))?;
        let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der())
            .map_err(|_| SetupError::Account("private_key is not an RSA key"))?;
        Ok(ServiceAccount {
            project: file.project_id,
            email: file.client_email,
            key_id: file.private_key_id,
            token_uri: file.token_uri,
            key,
        })
    }

    /// The Firebase project.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Where access tokens come from.
    pub fn token_uri(&self) -> &str {
        &self.token_uri
    }

    /// A signed assertion (RFC 7523 §3) issued at `now`, in seconds since 1970.
    pub(super) fn assertion(&self, now: u64) -> Option<String> {
        let header = serde_json::json!({ "alg": "RS256", "typ": "JWT", "kid": self.key_id });
        let claims = serde_json::json!({
            "iss": self.email,
            "scope": SCOPE,
            "aud": self.token_uri,
            "iat": now,
            "exp": now + ASSERTION_LIFE,
        });
        let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let mut text = format!("{}.{}", encode(header), encode(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).ok()?;
        text.push('.');
        text.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Some(text)
    }
}

impl core::fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ServiceAccount").field("project", &self.project).finish_non_exhaustive()
    }
}
