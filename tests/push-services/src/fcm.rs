//! FCM HTTP v1 and its OAuth token endpoint on one loopback port.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Response, StatusCode};
use serde_json::json;

use crate::StartError;
use crate::assertion::{self, Expected};
use crate::desk::{Bound, Delivered, Desk, Running};
use crate::fcm_rules;
use crate::http2::{Reply, Whole};
use crate::script::{Answer, Step};
use crate::service_account::ServiceAccount;

/// What an access token must allow.
pub const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How the stand-in is set up.
#[derive(Debug, Clone)]
pub struct FcmOptions {
    /// The project that the service account belongs to.
    pub project: String,
    /// TLS with a certificate of its own authority; otherwise clear-text HTTP/2 with prior knowledge.
    pub tls: bool,
    /// The port on 127.0.0.1; 0 lets the system choose.
    pub port: u16,
    /// Life of an access token, in seconds.
    pub token_life: u64,
    /// How far the service's clock is ahead of this machine's, in seconds.
    pub clock_ahead: i64,
}

impl Default for FcmOptions {
    fn default() -> FcmOptions {
        FcmOptions {
            project: "wakeline-demo".to_owned(),
            tls: true,
            port: 0,
            token_life: 3599,
            clock_ahead: 0,
        }
    }
}

/// One `messages:send` request and what it was told.
#[derive(Debug, Clone)]
pub struct Record {
    /// Number of the TCP connection it came on, from 1.
    pub connection: u64,
    /// The project in the path.
    pub project: String,
    /// The registration token or installation id; empty when the body could not be read.
    pub device: String,
    /// The data map.
    pub data: BTreeMap<String, String>,
    /// `android.priority`.
    pub priority: Option<String>,
    /// `android.ttl`.
    pub ttl: Option<String>,
    /// `android.restricted_package_name`.
    pub package: Option<String>,
    /// Whether a notification block was there (it would bypass a sleeping phone's own code).
    pub has_notification: bool,
    /// The status of the answer; 0 when the stream was reset or left without one.
    pub status: u16,
}

/// A running stand-in; it ends with this value.
#[derive(Debug)]
pub struct FcmService {
    running: Running<Record>,
    account: ServiceAccount,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    tokens: BTreeSet<String>,
    token_requests: Vec<u16>,
    token_faults: u32,
}

impl Deref for FcmService {
    type Target = Running<Record>;

    fn deref(&self) -> &Running<Record> {
        &self.running
    }
}

impl FcmService {
    /// Starts the stand-in on the current runtime with a fresh service account.
    ///
    /// # Errors
    /// When the port is taken or no key can be made.
    pub async fn start(options: FcmOptions) -> Result<FcmService, StartError> {
        let account = ServiceAccount::generate(&options.project)?;
        FcmService::start_with(options, account).await
    }

    /// The same for an account that exists already, so that a restart keeps it.
    ///
    /// # Errors
    /// When the port is taken.
    pub async fn start_with(options: FcmOptions, account: ServiceAccount) -> Result<FcmService, StartError> {
        let bound = Bound::new(options.port, options.tls).await?;
        let desk = Desk::default();
        let state = Arc::new(Mutex::new(State::default()));
        let service = Arc::new(Service {
            expected: Expected {
                issuer: account.email().to_owned(),
                audience: format!("{}/token", bound.endpoint()),
                scope: SCOPE.to_owned(),
                key: account.key().public(),
            },
            project: options.project,
            token_life: options.token_life,
            clock_ahead: options.clock_ahead,
            state: Arc::clone(&state),
            desk: desk.clone(),
        });
        let handler = move |whole| {
            let service = Arc::clone(&service);
            async move { service.answer(whole).await }
        };
        Ok(FcmService { running: bound.serve(None, desk, handler)?, account, state })
    }

    /// The token endpoint.
    pub fn token_uri(&self) -> String {
        format!("{}/token", self.endpoint())
    }

    /// The service account's file, whose `token_uri` leads here.
    pub fn service_account_json(&self) -> String {
        self.account.json(&self.token_uri())
    }

    /// Lets the next `count` token requests fail with 503.
    pub fn fail_tokens(&self, count: u32) {
        self.locked().token_faults = count;
    }

    /// Forgets every access token, as after a rotation: the next send gets 401.
    pub fn revoke_tokens(&self) {
        self.locked().tokens.clear();
    }

    /// The status of every token request so far.
    pub fn token_requests(&self) -> Vec<u16> {
        self.locked().token_requests.clone()
    }

    /// Stops listening and gives the account back, for a restart.
    pub fn stop(self) -> ServiceAccount {
        drop(self.running);
        self.account
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Service {
    expected: Expected,
    project: String,
    token_life: u64,
    clock_ahead: i64,
    state: Arc<Mutex<State>>,
    desk: Desk<Record>,
}

impl Service {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        wakeline_clock::system::wall().as_secs().saturating_add_signed(self.clock_ahead)
    }

    async fn answer(&self, (connection, request): Whole) -> Reply {
        let path = request.uri().path();
        if path == "/token" {
            return self.token(request.method(), request.body());
        }
        let project = path
            .strip_prefix("/v1/projects/")
            .and_then(|rest| rest.strip_suffix("/messages:send"))
            .filter(|project| !project.contains('/'));
        match project {
            Some(project) if request.method() == Method::POST => {
                let bearer = request.headers().get("authorization").and_then(|value| value.to_str().ok());
                let bearer = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
                self.send(connection, project, bearer, request.body()).await
            }
            Some(_) | None => {
                self.reply(404, json!({ "error": { "code": 404, "status": "NOT_FOUND" } }), None)
            }
        }
    }

    /// RFC 7523 §2.1.
    fn token(&self, method: &Method, body: &Bytes) -> Reply {
        let (status, body) = self.grant(method, body);
        self.locked().token_requests.push(status);
        self.reply(status, body, None)
    }

    fn grant(&self, method: &Method, body: &Bytes) -> (u16, serde_json::Value) {
        {
            let mut state = self.locked();
            if state.token_faults > 0 {
                state.token_faults -= 1;
                return (503, json!({ "error": "temporarily_unavailable" }));
            }
        }
        let refuse = |error: &str, why: &str| (400, json!({ "error": error, "error_description": why }));
        if method != Method::POST {
            return refuse("invalid_request", "POST only");
        }
        let fields = form(body);
        if fields.get("grant_type").map(String::as_str) != Some(GRANT) {
            return refuse("unsupported_grant_type", "Invalid grant_type");
        }
        let Some(assertion) = fields.get("assertion") else {
            return refuse("invalid_request", "no assertion");
        };
        if let Err(why) = assertion::verify(assertion, &self.expected, self.now()) {
            return refuse("invalid_grant", why);
        }
        let mut bytes = [0_u8; 24];
        if getrandom::fill(&mut bytes).is_err() {
            return (500, json!({ "error": "internal" }));
        }
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let token = format!("ya29.{token}");
        self.locked().tokens.insert(token.clone());
        (200, json!({ "access_token": token, "expires_in": self.token_life, "token_type": "Bearer" }))
    }

    async fn send(&self, connection: u64, project: &str, bearer: &str, body: &Bytes) -> Reply {
        let mut record = Record {
            connection,
            project: project.to_owned(),
            device: String::new(),
            data: BTreeMap::new(),
            priority: None,
            ttl: None,
            package: None,
            has_notification: false,
            status: 0,
        };
        let message = fcm_rules::read(body);
        let step = if !self.locked().tokens.contains(bearer) {
            Step::refuse(401, "")
        } else if project != self.project {
            Step::refuse(403, "SENDER_ID_MISMATCH")
        } else {
            match &message {
                Err((field, _)) => Step::answer(Answer::BadRequest { field }),
                Ok(message) => self.desk.take(&message.device),
            }
        };
        if let Ok(message) = &message {
            record.device.clone_from(&message.device);
            record.data.clone_from(&message.data);
            record.priority.clone_from(&message.priority);
            record.ttl.clone_from(&message.ttl);
            record.package.clone_from(&message.package);
            record.has_notification = message.has_notification;
        }
        record.status = step.answer.status(200);
        let at = self.desk.record(record);
        if let (Answer::Accept, Ok(message)) = (&step.answer, message) {
            self.desk.deliver(Delivered { device: message.device, data: message.data }, step.delivery);
        }
        if step.answer_after > Duration::ZERO {
            tokio::time::sleep(step.answer_after).await;
        }
        match step.answer {
            Answer::Accept => {
                self.reply(200, json!({ "name": format!("projects/{project}/messages/0:{at}") }), None)
            }
            Answer::Refuse { status, code, retry_after } => {
                self.reply(status, error(status, code), retry_after.as_deref())
            }
            Answer::RefuseSince { status, code, .. } => self.reply(status, error(status, code), None),
            Answer::BadRequest { field } => self.reply(400, bad_request(field), None),
            Answer::Reset => None,
            Answer::Silence => std::future::pending().await,
        }
    }

    fn reply(&self, status: u16, body: serde_json::Value, retry_after: Option<&str>) -> Reply {
        let date = std::time::UNIX_EPOCH + Duration::from_secs(self.now());
        let mut response = Response::builder()
            .status(StatusCode::from_u16(status).ok()?)
            .header("content-type", "application/json; charset=UTF-8")
            .header("date", httpdate::fmt_http_date(date));
        if let Some(retry_after) = retry_after {
            response = response.header("retry-after", retry_after);
        }
        response.body(Full::new(Bytes::from(body.to_string()))).ok()
    }
}

/// google.rpc.Status with the service's own error detail.
fn error(status: u16, code: &str) -> serde_json::Value {
    let (canonical, message) = match (status, code) {
        (400, _) => ("INVALID_ARGUMENT", "The registration token is not a valid FCM registration token"),
        (401, _) => ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
        (403, _) => ("PERMISSION_DENIED", "SenderId mismatch"),
        (404, _) => ("NOT_FOUND", "Requested entity was not found."),
        (429, _) => ("RESOURCE_EXHAUSTED", "Quota exceeded."),
        (503, _) => ("UNAVAILABLE", "The service is currently unavailable."),
        (_, _) => ("INTERNAL", "Internal error encountered."),
    };
    let mut details = Vec::new();
    if !code.is_empty() {
        details.push(json!({
            "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",
            "errorCode": code,
        }));
    }
    json!({ "error": { "code": status, "message": message, "status": canonical, "details": details } })
}

/// google.rpc.Status with a BadRequest detail: the sender's body is wrong.
fn bad_request(field: &str) -> serde_json::Value {
    let details = json!([
        { "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT" },
        {
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{ "field": field, "description": "Invalid value" }],
        },
    ]);
    json!({ "error": { "code": 400, "message": "Invalid value", "status": "INVALID_ARGUMENT", "details": details } })
}

/// `application/x-www-form-urlencoded`.
fn form(body: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (unescape(name), unescape(value))).collect()
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
                if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                    bytes.push(byte);
                    rest = tail.get(2..).unwrap_or(&[]);
                } else {
                    bytes.push(b'%');
                }
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_unescaped() {
        let fields = form(b"grant_type=urn%3Aietf%3Ax&assertion=a.b-c_d&broken=%zz+1");
        assert_eq!(fields["grant_type"], "urn:ietf:x");
        assert_eq!(fields["assertion"], "a.b-c_d");
        assert_eq!(fields["broken"], "%zz 1");
    }
}
