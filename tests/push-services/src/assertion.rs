//! Checks the signed assertion by which a service account asks for an access token (RFC 7523 §3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

/// How far the sender's clock may be off, in seconds.
const SKEW: u64 = 300;
/// The longest life an assertion may claim, in seconds.
const LONGEST: u64 = 3600;

/// Whom the assertion must come from and what it must ask for.
#[derive(Debug, Clone)]
pub struct Expected {
    /// `iss`: the account's e-mail form name.
    pub issuer: String,
    /// `aud`: the token endpoint's address.
    pub audience: String,
    /// One of the words of `scope`.
    pub scope: String,
    /// Modulus and exponent of the account's key, big-endian.
    pub key: (Vec<u8>, Vec<u8>),
}

#[derive(serde::Deserialize)]
struct Header {
    alg: String,
}

#[derive(serde::Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    scope: String,
    iat: u64,
    exp: u64,
}

/// Checks `assertion` at `now` (seconds since 1970).
///
/// # Errors
/// The service's own words for what is wrong.
pub fn verify(assertion: &str, expected: &Expected, now: u64) -> Result<(), &'static str> {
    let (signed, signature) = assertion.rsplit_once('.').ok_or("not a JWT")?;
    let (header, claims) = signed.split_once('.').ok_or("not a JWT")?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| "not base64url");
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| "unreadable header")?;
    if header.alg != "RS256" {
        return Err("the algorithm is not RS256");
    }
    let (n, e) = &expected.key;
    RsaPublicKeyComponents { n, e }
        .verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &decode(signature)?)
        .map_err(|_| "Invalid JWT Signature.")?;
    let claims: Claims = serde_json::from_slice(&decode(claims)?).map_err(|_| "unreadable claims")?;
    if claims.iss != expected.issuer {
        return Err("Invalid JWT: unknown issuer.");
    }
    if claims.aud != expected.audience {
        return Err("Invalid JWT: wrong audience.");
    }
    if !claims.scope.split(' ').any(|scope| scope == expected.scope) {
        return Err("Invalid OAuth scope.");
    }
    if claims.iat > now + SKEW || claims.exp + SKEW < now || claims.iat + LONGEST < claims.exp {
        return Err(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.",
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rsa_key::RsaKey;

    fn signed(key: &RsaKey, header: &str, claims: &serde_json::Value) -> String {
        let pem: String = key.private_pem().lines().filter(|line| !line.starts_with('-')).collect();
        let der = base64::engine::general_purpose::STANDARD.decode(pem).unwrap();
        let pair = ring::signature::RsaKeyPair::from_pkcs8(&der).unwrap();
        let text =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; pair.public().modulus_len()];
        let random = ring::rand::SystemRandom::new();
        pair.sign(&ring::signature::RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn only_a_right_and_fresh_assertion_of_the_right_key_passes() {
        let (key, other) = (RsaKey::generate().unwrap(), RsaKey::generate().unwrap());
        let expected = Expected {
            issuer: "me@x".into(),
            audience: "https://a/token".into(),
            scope: "push".into(),
            key: key.public(),
        };
        let now = 1_800_000_000;
        let good = serde_json::json!({
            "iss": "me@x", "aud": "https://a/token", "scope": "push", "iat": now, "exp": now + 3600
        });
        let rs256 = r#"{"alg":"RS256","typ":"JWT"}"#;
        let grade = |assertion: &str| verify(assertion, &expected, now).is_ok();
        assert!(grade(&signed(&key, rs256, &good)));
        assert!(!grade(&signed(&other, rs256, &good)), "another key");
        assert!(!grade(&signed(&key, r#"{"alg":"none"}"#, &good)), "another algorithm");
        assert!(!grade("a.b"), "no signature");
        for (field, value) in [
            ("iss", serde_json::json!("you@x")),
            ("aud", serde_json::json!("https://b/token")),
            ("scope", serde_json::json!("read")),
            ("iat", serde_json::json!(now + 400)),
            ("exp", serde_json::json!(now - 400)),
            ("exp", serde_json::json!(now + 4000)),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            assert!(!grade(&signed(&key, rs256, &bad)), "{field}");
        }
    }
}
