//! Web Push and UnifiedPush: RFC 8030, sealed by RFC 8291, signed by RFC 8292.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use tokio::sync::Semaphore;
use wakeline_clock::system;
use wakeline_push::{PushTarget, WebPushKeys};
use wakeline_secret::Secret;

use super::es256::SigningKey;
use super::http::{Trust, client_for_many};
use super::outcome::{Outcome, retry_after};
use super::pace::{QUOTA_PAUSE, answer_within, jittered, pause};
use super::push_address::{AllowedHosts, Guard, Lookup, is_not_public};
use super::vapid::Vapid;
use super::webpush_seal::{SealError, seal};
use super::{Purpose, Push, SetupError};

/// Waits before the second, third and fourth attempt, unless the service names one.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];

/// How the sender is set up.
#[derive(Debug)]
pub struct WebPushSetup {
    /// The VAPID key.
    pub key: SigningKey,
    /// Who runs this gateway: `mailto:` or `https:`.
    pub subject: String,
    /// Who may be pushed to.
    pub allowed: AllowedHosts,
    /// Where names lead.
    pub lookup: Lookup,
    /// Whom to believe.
    pub trust: Trust,
    /// How many requests may be on their way at once; half of them to one push service.
    pub concurrency: usize,
}

/// The sender; cheap to clone.
#[derive(Debug, Clone)]
pub struct WebPushSender(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: reqwest::Client,
    vapid: Vapid,
    allowed: AllowedHosts,
    slots: Semaphore,
    /// Requests on their way by origin: one that does not answer takes no more than its share.
    busy: Mutex<BTreeMap<String, usize>>,
    share: usize,
}

/// What one attempt gave.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    Accepted,
    Gone,
    TooLarge,
    Quota(Option<Duration>),
    Retry(Option<Duration>),
    End(Outcome),
}

/// Goes back when the request has.
struct Share<'a> {
    inner: &'a Inner,
    origin: String,
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        let mut busy = self.inner.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = busy.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                busy.remove(&self.origin);
            }
        }
    }
}

impl WebPushSender {
    /// Builds the sender; nothing is sent before the first push.
    ///
    /// # Errors
    /// When the subject, the CA file or the trust store cannot be used.
    pub fn new(setup: WebPushSetup) -> Result<WebPushSender, SetupError> {
        let guard = Guard { allowed: setup.allowed.clone(), lookup: setup.lookup };
        let concurrency = setup.concurrency.max(2);
        Ok(WebPushSender(Arc::new(Inner {
            client: client_for_many(&setup.trust, guard)?,
            vapid: Vapid::new(setup.key, &setup.subject)?,
            allowed: setup.allowed,
            slots: Semaphore::new(concurrency),
            busy: Mutex::new(BTreeMap::new()),
            share: concurrency / 2,
        })))
    }

    /// The VAPID public key that phones are told (`+sip.vapid`).
    pub fn vapid_public(&self) -> String {
        self.0.vapid.public()
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
        let PushTarget::WebPush { address, keys } = &push.target else {
            return Outcome::OurBug { field: "target".to_owned() };
        };
        let url = match self.allowed.check(address.expose()) {
            Ok(url) => url,
            Err(why) => return Outcome::NotAllowed { why },
        };
        let origin = url.origin().ascii_serialization();
        let mut slim = false;
        let mut pauses = PAUSES.into_iter();
        loop {
            if system::now() >= push.until {
                return Outcome::TooLate;
            }
            let body = match body(push, keys.as_ref(), slim) {
                Ok(body) => body,
                // Keys that are none: no payload will ever arrive there.
                Err(SealError::Keys) => return Outcome::TokenDead { since: None },
                Err(SealError::TooLong) if !slim => {
                    slim = true;
                    continue;
                }
                Err(SealError::TooLong) => return Outcome::OurBug { field: "the payload's size".to_owned() },
                Err(SealError::Random) => return Outcome::Unavailable,
            };
            let again = match self.attempt(&url, &origin, body, push).await {
                Attempt::Accepted => return Outcome::Accepted,
                Attempt::Gone => return Outcome::TokenDead { since: None },
                Attempt::End(outcome) => return outcome,
                Attempt::TooLarge if !slim => {
                    slim = true;
                    continue;
                }
                Attempt::TooLarge => return Outcome::OurBug { field: "status 413".to_owned() },
                Attempt::Quota(wait) => {
                    let retry_after = wait.unwrap_or(QUOTA_PAUSE);
                    // Not for ever, should a service say `0` each time.
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

    /// A place among the requests to this origin; `None` when its share is used up.
    fn share(&self, origin: &str) -> Option<Share<'_>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        let count = busy.entry(origin.to_owned()).or_insert(0);
        if *count >= self.share {
            return None;
        }
        *count += 1;
        Some(Share { inner: self, origin: origin.to_owned() })
    }

    async fn attempt(&self, url: &reqwest::Url, origin: &str, body: Vec<u8>, push: &Push) -> Attempt {
        let Some(_share) = self.share(origin) else { return Attempt::Retry(None) };
        let left = push.until.since(system::now());
        let Ok(Ok(_slot)) = tokio::time::timeout(left, self.slots.acquire()).await else {
            return Attempt::End(Outcome::TooLate);
        };
        let (now, wall) = (system::now(), system::wall().as_secs());
        let Some(authorization) = self.vapid.authorization(origin, now, wall) else {
            return Attempt::End(Outcome::NotAuthorised { code: "the VAPID key cannot sign".to_owned() });
        };
        let topic = match push.payload.wake_id() {
            // A second push for the same call takes the first one's place.
            Some(wake) => wake.as_str().to_owned(),
            None => "refresh".to_owned(),
        };
        let mut request = self
            .client
            .post(url.clone())
            .timeout(answer_within(push.until))
            .header("authorization", sensitive(&authorization))
            .header("ttl", push.until.since(system::now()).as_secs())
            .header("urgency", urgency(push.purpose))
            .header("topic", topic);
        if !body.is_empty() {
            request = request
                .header(HeaderName::from_static("content-encoding"), "aes128gcm")
                .header("content-type", "application/octet-stream");
        }
        match request.body(body).send().await {
            Ok(response) => {
                let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
                let wait = header.and_then(|text| retry_after(text, system::wall().as_secs()));
                // The body is a stranger's: it is not read.
                verdict(response.status().as_u16(), wait)
            }
            Err(error) if is_not_public(&error) => {
                Attempt::End(Outcome::NotAllowed { why: "the name leads to no public address" })
            }
            Err(error) => {
                let error = error.without_url();
                tracing::debug!(
                    timeout = error.is_timeout(),
                    connect = error.is_connect(),
                    "push request failed"
                );
                Attempt::Retry(None)
            }
        }
    }
}

/// What an answer means (RFC 8030 §5, §7.3, §8.4; RFC 8292 §4.2).
fn verdict(status: u16, wait: Option<Duration>) -> Attempt {
    match status {
        200 | 201 | 202 | 204 => Attempt::Accepted,
        404 | 410 => Attempt::Gone,
        413 => Attempt::TooLarge,
        429 => Attempt::Quota(wait),
        500..=599 => Attempt::Retry(wait),
        // Made with another VAPID key, or our clock is wrong.
        401 | 403 => Attempt::End(Outcome::NotAuthorised { code: format!("status {status}") }),
        300..=399 => Attempt::End(Outcome::NotAllowed { why: "the push service redirects" }),
        status => Attempt::End(Outcome::OurBug { field: format!("status {status}") }),
    }
}

fn sensitive(text: &Secret) -> HeaderValue {
    let mut value = HeaderValue::from_str(text.expose()).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// The sealed payload; nothing for a subscription without keys (RFC 8599 §12).
fn body(push: &Push, keys: Option<&WebPushKeys>, slim: bool) -> Result<Vec<u8>, SealError> {
    let Some(keys) = keys else { return Ok(Vec::new()) };
    let mut payload = push.payload.clone();
    if slim {
        payload.envelope = None;
    }
    seal(keys, payload.to_json().as_bytes())
}

/// RFC 8030 §5.3: `high` is a call's; what is held besides is as a chat's message, and must not ring where a relay has
/// nothing but a ringing token.
fn urgency(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Call => "high",
        Purpose::Request | Purpose::Message => "normal",
        Purpose::Refresh => "low",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_of_a_push_service_has_its_verdict() {
        let wait = Some(Duration::from_secs(3));
        let denied = |status: u16| Attempt::End(Outcome::NotAuthorised { code: format!("status {status}") });
        let elsewhere = || Attempt::End(Outcome::NotAllowed { why: "the push service redirects" });
        for (status, expected) in [
            (200, Attempt::Accepted),
            (201, Attempt::Accepted),
            (202, Attempt::Accepted),
            (204, Attempt::Accepted),
            (301, elsewhere()),
            (307, elsewhere()),
            (308, elsewhere()),
            (400, Attempt::End(Outcome::OurBug { field: "status 400".to_owned() })),
            (401, denied(401)),
            (403, denied(403)),
            (404, Attempt::Gone),
            (410, Attempt::Gone),
            (413, Attempt::TooLarge),
            (429, Attempt::Quota(wait)),
            (500, Attempt::Retry(wait)),
            (502, Attempt::Retry(wait)),
            (503, Attempt::Retry(wait)),
        ] {
            assert_eq!(verdict(status, wait), expected, "{status}");
        }
    }
}
