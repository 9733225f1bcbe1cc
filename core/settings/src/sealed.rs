//! Values that are scrambled in a file (B-056). This hides a password from a glance, no more.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use wakeline_secret::Secret;

/// How a scrambled value starts.
pub(crate) const PREFIX: &str = "encrypted__3__";

/// Base64, then XOR with the deployment's key, repeated. `None`: not base64, no key, or not text afterwards.
pub(crate) fn unseal(sealed: &str, key: Option<&Secret>) -> Option<Secret> {
    let key = key.filter(|key| !key.is_empty())?.expose().as_bytes();
    let bytes = STANDARD.decode(sealed.trim()).ok()?;
    let plain = bytes.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let plain = String::from_utf8(plain).ok()?;
    (!plain.chars().any(char::is_control)).then(|| Secret::new(plain))
}

#[cfg(test)]
pub(crate) fn seal(plain: &str, key: &str) -> String {
    let bytes: Vec<u8> = plain.bytes().zip(key.bytes().cycle()).map(|(byte, key)| byte ^ key).collect();
    format!("{PREFIX}{}", STANDARD.encode(bytes))
}
