//! The token by which Apple's service knows a team: one per team and key, shared by all pushes.
//!
//! It holds for an hour, and the service refuses a team that makes new ones more often than every 20 minutes. Time is
//! handed in, so that hours pass in a test without waiting.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wakeline_clock::Time;
use wakeline_secret::Secret;

use super::es256::SigningKey;

/// A token of this age is replaced.
const RENEW: Duration = Duration::from_secs(45 * 60);
/// A younger one is never replaced.
const YOUNGEST: Duration = Duration::from_secs(20 * 60);
/// An older one is of no use.
const OLDEST: Duration = Duration::from_secs(59 * 60);

/// The team's tokens.
#[derive(Debug)]
pub(super) struct ProviderTokens {
    team: String,
    key_id: String,
    key: SigningKey,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<ProviderToken>,
    /// The one before, in case the service finds that the new one came too early.
    previous: Option<ProviderToken>,
}

/// One token.
#[derive(Debug, Clone)]
pub(super) struct ProviderToken {
    pub(super) text: Secret,
    made: Time,
}

impl ProviderToken {
    fn age(&self, now: Time) -> Duration {
        now.since(self.made)
    }
}

impl ProviderTokens {
    pub(super) fn new(team: &str, key_id: &str, key: SigningKey) -> ProviderTokens {
        ProviderTokens {
            team: team.to_owned(),
            key_id: key_id.to_owned(),
            key,
            state: Mutex::new(State::default()),
        }
    }

    /// The token to send now; `wall` is seconds since 1970. `None` when the system has no randomness to sign with.
    pub(super) fn get(&self, now: Time, wall: u64) -> Option<ProviderToken> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.current {
            Some(token) if token.age(now) < RENEW => Some(token.clone()),
            Some(_) | None => self.renew(&mut state, now, wall),
        }
    }

    /// The service says that this token has expired. A new one, if that may be: never within 20 minutes, and not
    /// twice for many pushes that hear it at once.
    pub(super) fn expired(&self, token: &ProviderToken, now: Time, wall: u64) -> Option<ProviderToken> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &state.current {
            Some(current) if current.text != token.text => Some(current.clone()),
            Some(current) if current.age(now) < YOUNGEST => None,
            Some(_) | None => self.renew(&mut state, now, wall),
        }
    }

    /// The service says that new tokens come too often: back to the one before, while it holds.
    pub(super) fn too_many(&self, token: &ProviderToken, now: Time) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = state.current.as_ref().is_some_and(|current| current.text == token.text);
        let previous = state.previous.take().filter(|previous| previous.age(now) < OLDEST);
        if let (true, Some(mut previous)) = (refused, previous) {
            // As if it were at the age of renewal but for the pause: the next try comes in five minutes.
            previous.made = previous.made.max(now - (RENEW - Duration::from_secs(300)));
            state.current = Some(previous);
        }
    }

    fn renew(&self, state: &mut State, now: Time, wall: u64) -> Option<ProviderToken> {
        let header = serde_json::json!({ "alg": "ES256", "kid": self.key_id });
        let claims = serde_json::json!({ "iss": self.team, "iat": wall });
        let token = ProviderToken { text: self.key.token(&header, &claims)?, made: now };
        state.previous = state.current.replace(token.clone());
        tracing::debug!("token for Apple's service made");
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> ProviderTokens {
        let pem = Secret::from(rcgen::KeyPair::generate().unwrap().serialize_pem());
        ProviderTokens::new("AB12CD34EF", "KEY1234567", SigningKey::from_pem(&pem).unwrap())
    }

    fn at(minutes: u64) -> Time {
        Time::ZERO + Duration::from_secs(86_400 + minutes * 60)
    }

    #[test]
    fn a_token_is_shared_for_45_minutes_and_then_replaced() {
        let tokens = tokens();
        let first = tokens.get(at(0), 1_800_000_000).unwrap();
        for minutes in [1, 19, 30, 44] {
            assert_eq!(tokens.get(at(minutes), 1_800_000_000 + minutes * 60).unwrap().text, first.text);
        }
        let second = tokens.get(at(45), 1_800_002_700).unwrap();
        assert_ne!(second.text, first.text);
        assert_eq!(tokens.get(at(89), 1_800_005_340).unwrap().text, second.text);
    }

    #[test]
    fn over_a_day_no_two_tokens_are_closer_than_20_minutes_nor_any_older_than_an_hour() {
        let tokens = tokens();
        let (mut made, mut last) = (Vec::new(), Secret::default());
        for minute in 0..24 * 60 {
            let token = tokens.get(at(minute), 1_800_000_000 + minute * 60).unwrap();
            // The service is never content: every push is told that its token has expired.
            let token = tokens.expired(&token, at(minute), 1_800_000_000 + minute * 60).unwrap_or(token);
            assert!(token.age(at(minute)) < Duration::from_secs(3600));
            if token.text != last {
                made.push(minute);
                last = token.text;
            }
        }
        assert!(made.windows(2).all(|pair| pair[1] - pair[0] >= 20), "{made:?}");
        assert_eq!(made.len(), 72);
    }

    #[test]
    fn an_expired_token_is_replaced_once_for_all_who_hear_it() {
        let tokens = tokens();
        let first = tokens.get(at(0), 0).unwrap();
        assert!(tokens.expired(&first, at(19), 19 * 60).is_none(), "too young");
        let second = tokens.expired(&first, at(21), 21 * 60).unwrap();
        assert_eq!(tokens.expired(&first, at(21), 21 * 60).unwrap().text, second.text);
        assert!(tokens.expired(&second, at(22), 22 * 60).is_none());
    }

    #[test]
    fn too_many_tokens_lead_back_to_the_one_before() {
        let tokens = tokens();
        let first = tokens.get(at(0), 0).unwrap();
        let second = tokens.get(at(45), 2700).unwrap();
        tokens.too_many(&second, at(45));
        assert_eq!(tokens.get(at(46), 2760).unwrap().text, first.text);
        assert_eq!(tokens.get(at(49), 2940).unwrap().text, first.text);
        assert_ne!(tokens.get(at(50), 3000).unwrap().text, first.text, "before its hour is over");
        // Nothing to go back to: the token stays.
        let only = super::tests::tokens();
        let first = only.get(at(0), 0).unwrap();
        only.too_many(&first, at(0));
        assert_eq!(only.get(at(1), 60).unwrap().text, first.text);
    }
}
