//! A program of the operator's that pushes to services we have no sender for.
//!
//! It gets one POST with JSON per push, signed: `X-Wakeline-Signature: t=<seconds>,v1=<hex>`, where the hex text is
//! HMAC-SHA-256 under the shared secret of `<seconds>.<body>`. It answers 2xx when the push is on its way, 410 when the
//! token is dead, 429 or 5xx (with Retry-After) when it is to be asked again.

use std::sync::Arc;
use std::time::Duration;

use ring::hmac;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use wakeline_clock::system;
use wakeline_push::PushTarget;
use wakeline_secret::Secret;

use super::http::{Trust, client_for_one};
use super::outcome::{Outcome, retry_after};
use super::pace::{QUOTA_PAUSE, answer_within, jittered, pause};
use super::{Purpose, Push, SetupError};

/// The header field with time and signature.
pub const SIGNATURE: &str = "x-wakeline-signature";
/// Waits before the second, third and fourth attempt, unless the program names one.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// The shortest secret that cannot be guessed from a signature.
const SECRET: usize = 16;

/// How the sender is set up.
#[derive(Debug)]
pub struct HookSetup {
    /// Where to post: https, or http on this machine.
    pub url: String,
    /// The shared secret.
    pub secret: Secret,
    /// Whom to believe.
    pub trust: Trust,
    /// How many requests may be on their way at once.
    pub concurrency: usize,
}

/// The sender; cheap to clone.
#[derive(Debug, Clone)]
pub struct HookSender(Arc<Inner>);

struct Inner {
    client: reqwest::Client,
    url: reqwest::Url,
    key: hmac::Key,
    slots: Semaphore,
}

impl core::fmt::Debug for Inner {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Hook(..)")
    }
}

/// What one attempt gave.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    End(Outcome),
    Quota(Option<Duration>),
    Retry(Option<Duration>),
}

impl HookSender {
    /// Builds the sender; nothing is sent before the first push.
    ///
    /// # Errors
    /// When the address, the secret, the CA file or the trust store cannot be used.
    pub fn new(setup: HookSetup) -> Result<HookSender, SetupError> {
        let url = reqwest::Url::parse(&setup.url).map_err(|_| SetupError::HookUrl)?;
        let local = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if url.scheme() != "https" && !(url.scheme() == "http" && local) {
            return Err(SetupError::HookUrl);
        }
        if setup.secret.expose().len() < SECRET {
            return Err(SetupError::HookSecret);
        }
        Ok(HookSender(Arc::new(Inner {
            client: client_for_one(&setup.trust)?,
            url,
            key: hmac::Key::new(hmac::HMAC_SHA256, setup.secret.expose().as_bytes()),
            slots: Semaphore::new(setup.concurrency.max(1)),
        })))
    }

    /// Sends, and tries again while the push is of use.
    pub async fn send(&self, push: &Push) -> Outcome {
        let started = system::now();
        let outcome = self.0.send(push).await;
        outcome.log(push.target.token(), started);
        outcome
    }
}

impl Inner {
    async fn send(&self, push: &Push) -> Outcome {
        let mut pauses = PAUSES.into_iter();
        loop {
            if system::now() >= push.until {
                return Outcome::TooLate;
            }
            let again = match self.attempt(push).await {
                Attempt::End(outcome) => return outcome,
                Attempt::Quota(wait) => {
                    let retry_after = wait.unwrap_or(QUOTA_PAUSE);
                    if pauses.next().is_none() || !pause(Some(retry_after), push.until).await {
                        return Outcome::QuotaExceeded { retry_after };
                    }
                    continue;
                }
                Attempt::Retry(wait) => pauses.next().map(|ours| wait.unwrap_or_else(|| jittered(ours))),
            };
            if !pause(again, push.until).await {
                return Outcome::Unavailable;
            }
        }
    }

    async fn attempt(&self, push: &Push) -> Attempt {
        let left = push.until.since(system::now());
        let Ok(Ok(_slot)) = tokio::time::timeout(left, self.slots.acquire()).await else {
            return Attempt::End(Outcome::TooLate);
        };
        let body = body(push).to_string();
        let seconds = system::wall().as_secs();
        let response = self
            .client
            .post(self.url.clone())
            .timeout(answer_within(push.until))
            .header("content-type", "application/json")
            .header(SIGNATURE, signature(&self.key, seconds, &body))
            .body(body)
            .send()
            .await;
        match response {
            Ok(response) => {
                let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
                verdict(response.status().as_u16(), header.and_then(|text| retry_after(text, seconds)))
            }
            Err(error) => {
                tracing::debug!(error = %error.without_url(), "the push hook did not answer");
                Attempt::Retry(None)
            }
        }
    }
}

fn signature(key: &hmac::Key, seconds: u64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{seconds}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

fn verdict(status: u16, wait: Option<Duration>) -> Attempt {
    match status {
        200..=299 => Attempt::End(Outcome::Accepted),
        410 => Attempt::End(Outcome::TokenDead { since: None }),
        401 | 403 => Attempt::End(Outcome::NotAuthorised { code: format!("status {status}") }),
        429 => Attempt::Quota(wait),
        500..=599 => Attempt::Retry(wait),
        // 404 too: a wrong address in the configuration must not cost any token.
        status => Attempt::End(Outcome::OurBug { field: format!("status {status} of push.hook.url") }),
    }
}

/// What the program is told; no SIP address and no caller stands there.
fn body(push: &Push) -> Value {
    let (provider, param) = match &push.target {
        PushTarget::Other { provider, param, .. } => (provider.as_str(), param.as_str()),
        PushTarget::Fcm { project, .. } => ("fcm", project.as_str()),
        PushTarget::Apns { topic, sandbox: false, .. } => ("apns", topic.as_str()),
        PushTarget::Apns { topic, sandbox: true, .. } => ("apns.dev", topic.as_str()),
        PushTarget::WebPush { .. } => ("webpush", ""),
    };
    let purpose = match push.purpose {
        Purpose::Call => "call",
        Purpose::Request => "request",
        Purpose::Message => "message",
        Purpose::Refresh => "refresh",
    };
    json!({
        "provider": provider,
        "param": param,
        "token": push.target.token().expose(),
        "purpose": purpose,
        "seconds": push.until.since(system::now()).as_secs(),
        "data": push.data(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_hmac_sha_256_over_time_and_body() {
        // Figure by another implementation: HMAC-SHA-256("0123456789abcdef", "1789000000.{}").
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        let expected = "c84c0b43e20f298c80d8ec95f6a64df0c62f7b1217e92f3be1e351f8237f6ab9";
        assert_eq!(signature(&key, 1_789_000_000, "{}"), format!("t=1789000000,v1={expected}"));
    }

    #[test]
    fn every_answer_of_the_hook_has_its_verdict() {
        let wait = Some(Duration::from_secs(2));
        let bug = |status: u16| {
            Attempt::End(Outcome::OurBug { field: format!("status {status} of push.hook.url") })
        };
        for (status, expected) in [
            (200, Attempt::End(Outcome::Accepted)),
            (202, Attempt::End(Outcome::Accepted)),
            (302, bug(302)),
            (400, bug(400)),
            (401, Attempt::End(Outcome::NotAuthorised { code: "status 401".to_owned() })),
            (404, bug(404)),
            (410, Attempt::End(Outcome::TokenDead { since: None })),
            (429, Attempt::Quota(wait)),
            (503, Attempt::Retry(wait)),
        ] {
            assert_eq!(verdict(status, wait), expected, "{status}");
        }
    }

    #[test]
    fn only_https_or_this_machine_and_a_secret_that_is_one() {
        let new = |url: &str, secret: &str| {
            let trust = Trust::default();
            HookSender::new(HookSetup { url: url.into(), secret: secret.into(), trust, concurrency: 1 })
        };
        let secret = "0123456789abcdef";
        assert!(new("https://hook.example.org/push", secret).is_ok());
        assert!(new("http://127.0.0.1:9/push", secret).is_ok());
        for url in ["http://hook.example.org/", "ftp://127.0.0.1/", "", "http://127.0.0.1.example.org/"] {
            assert!(matches!(new(url, secret), Err(SetupError::HookUrl)), "{url}");
        }
        assert!(matches!(new("https://hook.example.org/", "short"), Err(SetupError::HookSecret)));
    }
}
