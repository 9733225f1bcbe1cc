//! Checks tokens that are signed with ES256 (RFC 7515, RFC 7518 §3.4).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::KeyPair;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::Value;

use crate::StartError;

/// A fresh P-256 key, as a vendor's console or `openssl` makes it.
pub struct EcKey(KeyPair);

impl core::fmt::Debug for EcKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("EcKey(..)")
    }
}

impl EcKey {
    /// Draws a key.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<EcKey, StartError> {
        Ok(EcKey(KeyPair::generate()?))
    }

    /// PKCS#8, PEM: the .p8 file.
    pub fn private_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// The public half: an uncompressed point.
    pub fn public(&self) -> Vec<u8> {
        self.0.public_key_raw().to_vec()
    }
}

/// Header and claims of a token that this key has signed.
///
/// # Errors
/// What is wrong with it.
pub fn verify(token: &str, public: &[u8]) -> Result<(Value, Value), &'static str> {
    let (signed, signature) = token.rsplit_once('.').ok_or("not a JWT")?;
    let (header, claims) = signed.split_once('.').ok_or("not a JWT")?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| "not base64url");
    let signature = decode(signature)?;
    if signature.len() != 64 {
        return Err("the signature is not r and s of 32 bytes each");
    }
    let json = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).map_err(|_| "not JSON");
    let header = json(decode(header)?)?;
    if header["alg"] != "ES256" {
        return Err("the algorithm is not ES256");
    }
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public)
        .verify(signed.as_bytes(), &signature)
        .map_err(|_| "the signature is another key's")?;
    Ok((header, json(decode(claims)?)?))
}
