//! Apple's push service, HTTP/2 with a token (.p8 key).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use wakeline_clock::system;
use wakeline_push::{ExternalId, PushTarget, Service, token_mark};
use wakeline_secret::Secret;

use super::apns_answer::ApnsVerdict;
use super::es256::SigningKey;
use super::http::{Line, Trust};
use super::outcome::{Outcome, retry_after};
use super::pace::{answer_within, jittered, pause};
use super::provider_token::ProviderTokens;
use super::{Purpose, Push, SetupError};

/// The production host.
pub const ENDPOINT: &str = crate::config::APNS;
/// The host for development builds.
pub const SANDBOX: &str = crate::config::APNS_SANDBOX;
/// Waits before the second, third and fourth attempt after a fault of the service's own, unless it names one.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_millis(600), Duration::from_millis(1200)];
/// How long to wait when the service finds that our tokens are renewed too often.
const TOKEN_PAUSE: Duration = Duration::from_secs(2);
/// How long others wait for the first push on a new connection.
const ALONE: Duration = Duration::from_secs(1);
/// The longest payloads, in bytes.
const MAX_VOIP: usize = 5120;
const MAX_OTHER: usize = 4096;
/// The longest device token, in hex digits; Apple reserves the right to make them longer than 64.
const MAX_TOKEN: usize = 200;
/// Tokens whose environment is remembered.
const REMEMBERED: usize = 10_000;

/// How the sender is set up.
#[derive(Debug)]
pub struct ApnsSetup {
    /// The team's id, ten characters.
    pub team: String,
    /// The key's id, ten characters.
    pub key_id: String,
    /// The .p8 key.
    pub key: SigningKey,
    /// Only this app may be pushed to; `None`: whatever phones name.
    pub bundle: Option<String>,
    /// Whether tokens without a word about it are of the development environment.
    pub sandbox: bool,
    /// Scheme, host and port; [`ENDPOINT`].
    pub endpoint: String,
    /// The same for development; [`SANDBOX`].
    pub sandbox_endpoint: String,
    /// Whom to believe.
    pub trust: Trust,
    /// How many requests may be on their way at once.
    pub concurrency: usize,
}

/// The sender; cheap to clone, all clones share a connection per environment and one token.
#[derive(Debug, Clone)]
pub struct ApnsSender(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tokens: ProviderTokens,
    production: Host,
    development: Host,
    bundle: Option<String>,
    sandbox: bool,
    slots: Semaphore,
    /// By digest, the environment that a token turned out to be of.
    known: Mutex<BTreeMap<String, Environment>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Environment {
    Production,
    Development,
}

/// One of the two hosts.
#[derive(Debug)]
struct Host {
    endpoint: String,
    line: Line,
    /// Whether the connection has given an authenticated answer. Until then the service allows one stream.
    proven: AtomicBool,
    first: Semaphore,
}

/// What goes out, whole.
struct Request<'a> {
    token: &'a str,
    topic: &'a str,
    push_type: &'static str,
    priority: &'static str,
    expiration: u64,
    id: Option<ExternalId>,
    body: String,
}

/// What one attempt gave.
enum Attempt {
    Answered(ApnsVerdict),
    /// Nothing came back.
    Lost,
}

impl ApnsSender {
    /// Builds the sender; nothing is sent before the first push.
    ///
    /// # Errors
    /// When the ids, an endpoint, the CA file or the trust store cannot be used.
    pub fn new(setup: ApnsSetup) -> Result<ApnsSender, SetupError> {
        let id = |text: &str| text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !id(&setup.team) || !id(&setup.key_id) {
            return Err(SetupError::AppleIds);
        }
        let host = |endpoint: &str| {
            if !endpoint.starts_with("https://") {
                return Err(SetupError::Endpoint(endpoint.to_owned()));
            }
            Ok(Host {
                endpoint: endpoint.trim_end_matches('/').to_owned(),
                line: Line::new(&setup.trust)?,
                proven: AtomicBool::new(false),
                first: Semaphore::new(1),
            })
        };
        Ok(ApnsSender(Arc::new(Inner {
            production: host(&setup.endpoint)?,
            development: host(&setup.sandbox_endpoint)?,
            tokens: ProviderTokens::new(&setup.team, &setup.key_id, setup.key),
            bundle: setup.bundle,
            sandbox: setup.sandbox,
            slots: Semaphore::new(setup.concurrency.max(1)),
            known: Mutex::new(BTreeMap::new()),
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
    fn host(&self, environment: Environment) -> &Host {
        match environment {
            Environment::Production => &self.production,
            Environment::Development => &self.development,
        }
    }

    /// The environment to try, and whether another one may be the right one.
    fn environment(&self, said_sandbox: bool, mark: &str) -> (Environment, bool) {
        if said_sandbox {
            return (Environment::Development, false);
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match (known.get(mark), self.sandbox) {
            (Some(environment), _) => (*environment, false),
            (None, true) => (Environment::Development, true),
            (None, false) => (Environment::Production, true),
        }
    }

    fn remember(&self, mark: String, environment: Environment) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.pop_first();
        }
        known.insert(mark, environment);
    }

    async fn send(&self, push: &Push) -> Outcome {
        let PushTarget::Apns { topic, service, sandbox, token } = &push.target else {
            return Outcome::OurBug { field: "target".to_owned() };
        };
        let token = token.expose();
        // It goes into a path: nothing but hex digits may stand there.
        if token.is_empty() || token.len() > MAX_TOKEN || !token.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Outcome::TokenDead { since: None };
        }
        let bundle = topic.strip_suffix(".voip").unwrap_or(topic);
        if self.bundle.as_deref().is_some_and(|ours| ours != bundle) || !is_topic(topic) {
            return Outcome::NotAllowed { why: "the app is not the one of push.apns.topic" };
        }
        // A VoIP push rings on the phone whatever it says.
        if *service == Service::Voip && push.purpose != Purpose::Call {
            return Outcome::OurBug { field: "a VoIP token for something that is no call".to_owned() };
        }
        let mark = token_mark(push.target.token());
        let (mut environment, mut may_change) = self.environment(*sandbox, &mark);
        let mut slim = false;
        let mut renewed = false;
        let mut resent = false;
        let mut changed = false;
        let mut pauses = PAUSES.into_iter();
        let Some(mut bearer) = self.tokens.get(system::now(), system::wall().as_secs()) else {
            return Outcome::NotAuthorised { code: "the key cannot sign".to_owned() };
        };
        loop {
            if system::now() >= push.until {
                return Outcome::TooLate;
            }
            let request = request(push, token, topic, *service, slim);
            let attempt = self.attempt(self.host(environment), &bearer.text, &request, push).await;
            let again = match attempt {
                Some(Attempt::Answered(ApnsVerdict::Accepted)) => {
                    if changed {
                        self.remember(mark, environment);
                    }
                    return Outcome::Accepted;
                }
                Some(Attempt::Answered(ApnsVerdict::OtherEnvironment)) => {
                    if !may_change {
                        return Outcome::TokenDead { since: None };
                    }
                    (may_change, changed) = (false, true);
                    environment = match environment {
                        Environment::Production => Environment::Development,
                        Environment::Development => Environment::Production,
                    };
                    continue;
                }
                Some(Attempt::Answered(ApnsVerdict::Gone { since })) => return Outcome::TokenDead { since },
                Some(Attempt::Answered(ApnsVerdict::OurBug { reason })) => {
                    return Outcome::OurBug { field: reason };
                }
                Some(Attempt::Answered(ApnsVerdict::NotAuthorised { reason })) => {
                    // A key may be limited to one environment; then the other one says nothing about the token.
                    return Outcome::NotAuthorised { code: reason };
                }
                Some(Attempt::Answered(ApnsVerdict::TokenExpired)) => {
                    let (now, wall) = (system::now(), system::wall().as_secs());
                    match self.tokens.expired(&bearer, now, wall).filter(|_| !renewed) {
                        Some(new) => {
                            (bearer, renewed) = (new, true);
                            continue;
                        }
                        None => {
                            return Outcome::NotAuthorised {
                                code: "ExpiredProviderToken: check this machine's clock".to_owned(),
                            };
                        }
                    }
                }
                Some(Attempt::Answered(ApnsVerdict::TooLarge)) if !slim => {
                    slim = true;
                    continue;
                }
                Some(Attempt::Answered(ApnsVerdict::TooLarge)) => {
                    return Outcome::OurBug { field: "PayloadTooLarge".to_owned() };
                }
                Some(Attempt::Answered(ApnsVerdict::TooManyTokens { retry_after })) => {
                    self.tokens.too_many(&bearer, system::now());
                    let now = (system::now(), system::wall().as_secs());
                    if let Some(kept) = self.tokens.get(now.0, now.1) {
                        bearer = kept;
                    }
                    let ours = pauses.next();
                    ours.map(|_| retry_after.unwrap_or_else(|| jittered(TOKEN_PAUSE)))
                }
                // The device has had too many: one more for this call would not be delivered either.
                Some(Attempt::Answered(ApnsVerdict::TooManyPushes { retry_after })) => {
                    return Outcome::QuotaExceeded { retry_after: retry_after.unwrap_or_default() };
                }
                Some(Attempt::Answered(ApnsVerdict::Retry { retry_after })) => {
                    pauses.next().map(|ours| retry_after.unwrap_or_else(|| jittered(ours)))
                }
                // It may have been queued all the same: once more and no oftener.
                Some(Attempt::Lost) if !resent => {
                    resent = true;
                    Some(Duration::ZERO)
                }
                Some(Attempt::Lost) => None,
                None => return Outcome::TooLate,
            };
            if !pause(again, push.until).await {
                return Outcome::Unavailable;
            }
        }
    }

    /// One attempt; `None` when its turn did not come in time.
    async fn attempt(
        &self,
        host: &Host,
        bearer: &Secret,
        what: &Request<'_>,
        push: &Push,
    ) -> Option<Attempt> {
        let left = push.until.since(system::now());
        let _slot = tokio::time::timeout(left, self.slots.acquire()).await.ok()?.ok()?;
        // The first one goes alone; who waits behind it does so for a moment only.
        let alone = if host.proven.load(Ordering::Acquire) {
            None
        } else {
            tokio::time::timeout(ALONE.min(left), host.first.acquire()).await.ok().and_then(Result::ok)
        };
        let alone = alone.filter(|_| !host.proven.load(Ordering::Acquire));
        let (number, client) = host.line.client();
        let mut request = client
            .post(format!("{}/3/device/{}", host.endpoint, what.token))
            .timeout(answer_within(push.until))
            .header("authorization", sensitive(bearer))
            .header("apns-topic", what.topic)
            .header("apns-push-type", what.push_type)
            .header("apns-priority", what.priority)
            .header("apns-expiration", what.expiration)
            .header("content-type", "application/json")
            .body(what.body.clone());
        if let Some(id) = &what.id {
            request = request.header("apns-id", id.to_string());
            if what.push_type == "alert" {
                // Two notifications for one call are shown as one.
                request = request.header("apns-collapse-id", id.to_string());
            }
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                let silent = error.is_timeout();
                tracing::debug!(error = %error.without_url(), "push request failed");
                host.proven.store(false, Ordering::Release);
                // A GOAWAY or an end is seen by the connection itself; silence is not.
                if silent && system::now() < push.until {
                    host.line.leave(number);
                }
                return Some(Attempt::Lost);
            }
        };
        let status = response.status().as_u16();
        // Whatever it says, unless it is about our token, it is the answer to one that was authenticated.
        host.proven.store(status != 403 && status < 500, Ordering::Release);
        drop(alone);
        let header = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let wait = header.and_then(|text| retry_after(text, system::wall().as_secs()));
        Some(match response.bytes().await {
            Ok(body) => Attempt::Answered(ApnsVerdict::of(status, &body, wait)),
            Err(_) if status == 200 => Attempt::Answered(ApnsVerdict::Accepted),
            Err(_) => Attempt::Lost,
        })
    }
}

/// A header value that no log shows.
fn sensitive(bearer: &Secret) -> reqwest::header::HeaderValue {
    let text = format!("bearer {}", bearer.expose());
    let mut value = reqwest::header::HeaderValue::from_str(&text)
        .unwrap_or_else(|_| reqwest::header::HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Bundle identifiers have letters, digits, dots and hyphens.
fn is_topic(topic: &str) -> bool {
    !topic.is_empty()
        && topic.len() <= 255
        && topic.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

fn request<'a>(push: &Push, token: &'a str, topic: &'a str, service: Service, slim: bool) -> Request<'a> {
    let (push_type, priority) = match (service, push.purpose) {
        (Service::Voip, Purpose::Call | Purpose::Request | Purpose::Message | Purpose::Refresh) => {
            ("voip", "10")
        }
        (Service::Remote, Purpose::Call) => ("alert", "10"),
        (Service::Remote, Purpose::Request | Purpose::Message | Purpose::Refresh) => ("background", "5"),
    };
    let expiration = match push.purpose {
        // A call that is late is no call: deliver now or never.
        Purpose::Call | Purpose::Request => 0,
        Purpose::Message | Purpose::Refresh => {
            system::wall().as_secs() + push.until.since(system::now()).as_secs()
        }
    };
    let limit = if push_type == "voip" { MAX_VOIP } else { MAX_OTHER };
    let mut text = body(push, push_type, slim);
    if text.len() > limit {
        text = body(push, push_type, true);
    }
    let id = push.payload.wake_id().map(|wake| ExternalId::of(&wake));
    Request { token, topic, push_type, priority, expiration, id, body: text }
}

/// Our fields beside `aps`. No name and no number of a caller stands there in clear.
fn body(push: &Push, push_type: &str, slim: bool) -> String {
    let mut payload = push.payload.clone();
    if slim {
        payload.envelope = None;
    }
    let mut aps = Map::new();
    match push_type {
        "alert" => {
            aps.insert("alert".to_owned(), json!({ "loc-key": "IC_MSG", "loc-args": [""] }));
            aps.insert("sound".to_owned(), Value::from("default"));
            aps.insert("mutable-content".to_owned(), Value::from(1));
        }
        "background" => {
            aps.insert("content-available".to_owned(), Value::from(1));
        }
        _ => {}
    }
    let mut object: Map<String, Value> = serde_json::from_str(&payload.to_json()).unwrap_or_default();
    if let Some(call_id) = &push.call_id {
        // Where Linphone's clients look for it, and where others do.
        aps.insert("call-id".to_owned(), Value::from(call_id.as_str()));
        object.insert("call-id".to_owned(), Value::from(call_id.as_str()));
    }
    object.insert("aps".to_owned(), Value::Object(aps));
    Value::Object(object).to_string()
}
