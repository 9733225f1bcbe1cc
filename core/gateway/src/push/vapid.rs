//! How a gateway names itself to a Web Push service (RFC 8292).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wakeline_clock::Time;
use wakeline_secret::Secret;

use super::SetupError;
use super::es256::SigningKey;

/// What a token claims to live; 24 hours is the most that is allowed (RFC 8292 §2).
const LIFE: Duration = Duration::from_secs(12 * 3600);
/// Push services whose token is kept. A stranger's addresses can name any number of them.
const KEPT: usize = 256;

/// The key, and a token for each push service.
#[derive(Debug)]
pub(super) struct Vapid {
    key: SigningKey,
    subject: String,
    tokens: Mutex<BTreeMap<String, (Secret, Time)>>,
}

impl Vapid {
    pub(super) fn new(key: SigningKey, subject: &str) -> Result<Vapid, SetupError> {
        let named = ["mailto:", "https://"]
            .iter()
            .any(|scheme| subject.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        if !named || subject.chars().any(char::is_control) {
            return Err(SetupError::Subject);
        }
        Ok(Vapid { key, subject: subject.to_owned(), tokens: Mutex::new(BTreeMap::new()) })
    }

    /// The public key, base64url: `+sip.vapid` and a browser's `applicationServerKey`.
    pub(super) fn public(&self) -> String {
        self.key.public()
    }

    /// The Authorization header's value for a push service's origin; `wall` is seconds since 1970.
    pub(super) fn authorization(&self, origin: &str, now: Time, wall: u64) -> Option<Secret> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((kept, made)) = tokens.get(origin)
            && now.since(*made) < LIFE / 2
        {
            return Some(kept.clone());
        }
        let header = serde_json::json!({ "typ": "JWT", "alg": "ES256" });
        let claims = serde_json::json!({ "aud": origin, "exp": wall + LIFE.as_secs(), "sub": self.subject });
        let token = self.key.token(&header, &claims)?;
        let value = Secret::from(format!("vapid t={}, k={}", token.expose(), self.key.public()));
        if tokens.len() >= KEPT {
            tokens.clear();
        }
        tokens.insert(origin.to_owned(), (value.clone(), now));
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_per_origin_is_kept_for_half_its_life() {
        let key = |()| {
            SigningKey::from_pem(&Secret::from(rcgen::KeyPair::generate().unwrap().serialize_pem())).unwrap()
        };
        for subject in ["", "mailto:", "ops@example.org", "https://", "mailto:a\r\nb"] {
            assert!(Vapid::new(key(()), subject).is_err(), "{subject:?}");
        }
        let vapid = Vapid::new(key(()), "mailto:ops@example.org").unwrap();
        let at = |hours: u64| Time::ZERO + Duration::from_secs(hours * 3600);
        let first = vapid.authorization("https://a", at(1), 0).unwrap();
        assert_eq!(vapid.authorization("https://a", at(6), 0).unwrap(), first);
        assert_ne!(vapid.authorization("https://b", at(6), 0).unwrap(), first);
        assert_ne!(vapid.authorization("https://a", at(8), 0).unwrap(), first);
        for number in 0..1000 {
            vapid.authorization(&format!("https://{number}"), at(8), 0).unwrap();
        }
        assert!(vapid.tokens.lock().unwrap().len() <= KEPT);
    }
}
