//! Signed settings: Ed25519 (RFC 8037) as a compact JWS (RFC 7515), and the public keys as a JWKS (RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wakeline_clock::WallTime;

/// Former keys that are still published: what they signed is long past by then.
const FORMER: usize = 4;
/// `typ` of the signed object.
pub(crate) const TYPE: &str = "wakeline-settings+jws";

/// What is stored of the keys.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// PKCS#8, base64url.
    key: String,
    made: WallTime,
    /// Public halves of earlier ones, base64url, newest first.
    former: Vec<String>,
}

/// The key that signs.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    stored: Stored,
}

impl core::fmt::Debug for Signer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Signer({})", self.key_id())
    }
}

impl Signer {
    /// From what the store held; `None` when that is no key.
    pub(crate) fn load(text: &str) -> Option<Signer> {
        let stored: Stored = serde_json::from_str(text).ok()?;
        let der = URL_SAFE_NO_PAD.decode(&stored.key).ok()?;
        Some(Signer { pair: Ed25519KeyPair::from_pkcs8(&der).ok()?, stored })
    }

    /// A new key; the public halves of `former` stay published.
    pub(crate) fn make(now: WallTime, former: Option<&Signer>) -> Option<Signer> {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).ok()?;
        let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).ok()?;
        let earlier = former
            .into_iter()
            .flat_map(|signer| core::iter::once(signer.public()).chain(signer.stored.former.iter().cloned()));
        let stored = Stored {
            key: URL_SAFE_NO_PAD.encode(der.as_ref()),
            made: now,
            former: earlier.take(FORMER).collect(),
        };
        Some(Signer { pair, stored })
    }

    /// What is to be stored.
    pub(crate) fn store(&self) -> String {
        serde_json::to_string(&self.stored).unwrap_or_default()
    }

    fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.pair.public_key().as_ref())
    }

    /// The thumbprint of the key (RFC 7638).
    pub(crate) fn key_id(&self) -> String {
        thumbprint(&self.public())
    }

    /// A compact JWS over this value.
    pub(crate) fn sign(&self, payload: &Value) -> String {
        let header = json!({ "alg": "EdDSA", "kid": self.key_id(), "typ": TYPE });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(payload));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }

    /// The public keys, newest first.
    pub(crate) fn key_set(&self) -> Value {
        let all = core::iter::once(self.public()).chain(self.stored.former.iter().cloned());
        let keys: Vec<Value> = all
            .map(|x| {
                json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": thumbprint(&x), "x": x })
            })
            .collect();
        json!({ "keys": keys })
    }
}

fn thumbprint(x: &str) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(digest(&SHA256, members.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_the_rfc() {
        // RFC 8037 Appendix A.3.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        assert_eq!(thumbprint(x), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_new_key_signs_and_the_former_stays_published() {
        let first = Signer::make(WallTime(1), None).unwrap();
        let again = Signer::load(&first.store()).unwrap();
        assert_eq!(again.sign(&json!({ "a": 1 })), first.sign(&json!({ "a": 1 })));
        let second = Signer::make(WallTime(2), Some(&first)).unwrap();
        let keys = second.key_set();
        assert_eq!(keys["keys"][0]["kid"], second.key_id());
        assert_eq!(keys["keys"][1]["kid"], first.key_id());
        let mut last = second;
        for _ in 0..10 {
            last = Signer::make(WallTime(3), Some(&last)).unwrap();
        }
        assert_eq!(last.key_set()["keys"].as_array().unwrap().len(), 1 + FORMER);
        assert!(Signer::load("{}").is_none());
        assert!(!format!("{last:?}").contains(&last.stored.key));
    }
}
