//! Access tokens: kept until shortly before their end, fetched by one refresher for any number of senders.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use wakeline_clock::{Time, system};
use wakeline_secret::Secret;

use super::ServiceAccount;
use super::http::Line;
use super::outcome::http_date;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How long before its end a token is renewed.
const EARLY: Duration = Duration::from_secs(300);
/// A clock that is off by more than this is corrected from the service's Date header.
const SKEW: i64 = 60;

/// A token with its life.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) text: Secret,
    renew: Time,
    end: Time,
}

/// Why there is no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Denied {
    /// The service refused the account; its code.
    Refused(String),
    /// The service did not answer, or with a fault of its own.
    Unavailable,
}

/// The tokens of one service account.
#[derive(Debug)]
pub(super) struct Tokens {
    account: ServiceAccount,
    line: Arc<Line>,
    current: Mutex<Option<Arc<Token>>>,
    refreshing: tokio::sync::Mutex<()>,
    /// What must be added to our wall clock to get the service's, in seconds.
    skew: AtomicI64,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refused {
    error: String,
}

impl Tokens {
    pub(super) fn new(account: ServiceAccount, line: Arc<Line>) -> Tokens {
        Tokens {
            account,
            line,
            current: Mutex::new(None),
            refreshing: tokio::sync::Mutex::new(()),
            skew: AtomicI64::new(0),
        }
    }

    pub(super) fn account(&self) -> &ServiceAccount {
        &self.account
    }

    /// A token that holds; fetched when there is none. A token near its end is still handed out while one task renews
    /// it, so that no push waits for that.
    pub(super) async fn get(self: &Arc<Self>) -> Result<Arc<Token>, Denied> {
        let now = system::now();
        match self.current() {
            Some(token) if now < token.renew => Ok(token),
            Some(token) if now < token.end => {
                if self.refreshing.try_lock().is_ok() {
                    let tokens = Arc::clone(self);
                    tokio::spawn(async move { tokens.refresh().await });
                }
                Ok(token)
            }
            Some(_) | None => self.refresh().await,
        }
    }

    /// The service no longer accepts this token. Nothing happens when it is not the current one any more.
    pub(super) fn spoilt(&self, token: &Arc<Token>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, token)) {
            *current = None;
        }
    }

    fn current(&self) -> Option<Arc<Token>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn refresh(&self) -> Result<Arc<Token>, Denied> {
        let _one = self.refreshing.lock().await;
        if let Some(token) = self.current().filter(|token| system::now() < token.renew) {
            return Ok(token);
        }
        let token = match self.fetch().await {
            // The clock was corrected from the service's own date: once more with the right time.
            Err((denied, true)) => {
                tracing::warn!(
                    ?denied,
                    "the clock differs from the push service's; corrected for its tokens"
                );
                self.fetch().await.map_err(|(denied, _)| denied)
            }
            other => other.map_err(|(denied, _)| denied),
        }?;
        let token = Arc::new(token);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&token));
        tracing::debug!(project = self.account.project(), "push access token renewed");
        Ok(token)
    }

    /// One exchange (RFC 7523 §2.1). The flag says whether the clock was corrected meanwhile.
    async fn fetch(&self) -> Result<Token, (Denied, bool)> {
        let wall = system::wall().as_secs();
        let now = wall.saturating_add_signed(self.skew.load(Ordering::Relaxed));
        let Some(assertion) = self.account.assertion(now) else {
            return Err((Denied::Refused("the key cannot sign".to_owned()), false));
        };
        let asked = system::now();
        let response = self
            .line
            .client()
            .1
            .post(self.account.token_uri())
            .timeout(Duration::from_secs(10))
            .form(&[("grant_type", GRANT), ("assertion", &assertion)])
            .send()
            .await
            .map_err(|_| (Denied::Unavailable, false))?;
        let status = response.status();
        let date = response.headers().get("date").and_then(|value| http_date(value.to_str().ok()?));
        let body = response.bytes().await.map_err(|_| (Denied::Unavailable, false))?;
        if status.is_success() {
            let granted: Granted = serde_json::from_slice(&body).map_err(|_| (Denied::Unavailable, false))?;
            let life = Duration::from_secs(granted.expires_in);
            // A token that lives shorter than the margin is renewed half-way, not for every push.
            let early = EARLY.min(life / 2);
            return Ok(Token {
                text: Secret::from(granted.access_token),
                renew: asked + (life - early),
                end: asked + life,
            });
        }
        if status.is_server_error() || status.as_u16() == 429 {
            return Err((Denied::Unavailable, false));
        }
        let code = serde_json::from_slice::<Refused>(&body).unwrap_or_default().error;
        let mut corrected = false;
        if let (Some(date), "invalid_grant") = (date, code.as_str()) {
            let skew = date.cast_signed() - wall.cast_signed();
            corrected = (skew - self.skew.load(Ordering::Relaxed)).abs() > SKEW;
            if corrected {
                self.skew.store(skew, Ordering::Relaxed);
            }
        }
        Err((Denied::Refused(code), corrected))
    }
}
