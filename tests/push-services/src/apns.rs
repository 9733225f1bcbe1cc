//! Apple's push service, one of its two hosts, on a loopback port.

use std::ops::Deref;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::{HeaderMap, Method};
use serde_json::{Value, json};

use crate::StartError;
use crate::desk::{self, Bound, Delivered, Desk, Running};
use crate::es256::{self, EcKey};
use crate::http2::{Reply, Whole};
use crate::script::{Answer, Step};

/// A token that is older has expired, in seconds.
const LIFE: u64 = 3600;
/// New tokens may not come more often, in seconds.
const UPDATES: u64 = 20 * 60;

/// How the stand-in is set up.
#[derive(Debug, Clone)]
pub struct ApnsOptions {
    /// The team's id.
    pub team: String,
    /// The key's id.
    pub key_id: String,
    /// The app.
    pub bundle: String,
    /// How many streams a connection may have open at once.
    pub streams: Option<u32>,
}

impl Default for ApnsOptions {
    fn default() -> ApnsOptions {
        ApnsOptions {
            team: "AB12CD34EF".to_owned(),
            key_id: "KEY1234567".to_owned(),
            bundle: "org.example.voice".to_owned(),
            streams: None,
        }
    }
}

/// One request and what it was told.
#[derive(Debug, Clone)]
pub struct ApnsRecord {
    /// Number of the TCP connection it came on, from 1.
    pub connection: u64,
    /// The token in the path.
    pub device: String,
    /// The provider token.
    pub bearer: String,
    /// `apns-topic`.
    pub topic: String,
    /// `apns-push-type`.
    pub push_type: String,
    /// `apns-priority`.
    pub priority: String,
    /// `apns-expiration`.
    pub expiration: String,
    /// `apns-id`.
    pub id: String,
    /// The body.
    pub payload: Value,
    /// Its length.
    pub size: usize,
    /// The status of the answer; 0 when the stream was reset or left without one.
    pub status: u16,
    /// The reason in it.
    pub reason: String,
}

/// A running stand-in.
#[derive(Debug)]
pub struct ApnsService {
    running: Running<ApnsRecord>,
    key: Arc<EcKey>,
    clock: Arc<AtomicI64>,
    peak: Arc<AtomicUsize>,
}

impl Deref for ApnsService {
    type Target = Running<ApnsRecord>;

    fn deref(&self) -> &Running<ApnsRecord> {
        &self.running
    }
}

impl ApnsService {
    /// Starts the stand-in on the current runtime with a fresh key.
    ///
    /// # Errors
    /// When no port or key can be had.
    pub async fn start(options: ApnsOptions) -> Result<ApnsService, StartError> {
        ApnsService::start_with(options, Arc::new(EcKey::generate()?)).await
    }

    /// The same with a key that exists already: the other environment's host.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start_with(options: ApnsOptions, key: Arc<EcKey>) -> Result<ApnsService, StartError> {
        let bound = Bound::new(0, true).await?;
        let desk = Desk::default();
        let (clock, peak) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicUsize::new(0)));
        let streams = options.streams;
        let service = Arc::new(Service {
            options,
            public: key.public(),
            clock: Arc::clone(&clock),
            open: AtomicUsize::new(0),
            peak: Arc::clone(&peak),
            seen: Mutex::new(None),
            desk: desk.clone(),
        });
        let handler = move |whole| {
            let service = Arc::clone(&service);
            async move { service.answer(whole).await }
        };
        Ok(ApnsService { running: bound.serve(streams, desk, handler)?, key, clock, peak })
    }

    /// The team's key: its .p8 file.
    pub fn key(&self) -> &Arc<EcKey> {
        &self.key
    }

    /// Moves the service's clock, in seconds ahead of this machine's.
    pub fn set_clock_ahead(&self, seconds: i64) {
        self.clock.store(seconds, Ordering::SeqCst);
    }

    /// The most requests that were open at once.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::SeqCst)
    }
}

struct Service {
    options: ApnsOptions,
    public: Vec<u8>,
    clock: Arc<AtomicI64>,
    open: AtomicUsize,
    peak: Arc<AtomicUsize>,
    /// The last token that was accepted, and its `iat`.
    seen: Mutex<Option<(String, u64)>>,
    desk: Desk<ApnsRecord>,
}

impl Service {
    async fn answer(&self, whole: Whole) -> Reply {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(open, Ordering::SeqCst);
        let reply = self.push(whole).await;
        self.open.fetch_sub(1, Ordering::SeqCst);
        reply
    }

    async fn push(&self, (connection, request): Whole) -> Reply {
        let headers = request.headers();
        let field = |name: &str| text(headers, name).to_owned();
        let device = request.uri().path().strip_prefix("/3/device/").unwrap_or("").to_owned();
        let bearer = field("authorization").strip_prefix("bearer ").unwrap_or("").to_owned();
        let payload: Value = serde_json::from_slice(request.body()).unwrap_or(Value::Null);
        let mut record = ApnsRecord {
            connection,
            device: device.clone(),
            topic: field("apns-topic"),
            push_type: field("apns-push-type"),
            priority: field("apns-priority"),
            expiration: field("apns-expiration"),
            id: field("apns-id"),
            size: request.body().len(),
            payload,
            bearer,
            status: 0,
            reason: String::new(),
        };
        let step = match self.check(request.method(), &record) {
            Err((status, reason)) => Step::refuse(status, reason),
            Ok(()) => self.desk.take(&device),
        };
        record.status = step.answer.status(200);
        record.reason = match &step.answer {
            Answer::Refuse { code, .. } | Answer::RefuseSince { code, .. } => (*code).to_owned(),
            Answer::Accept | Answer::BadRequest { .. } | Answer::Reset | Answer::Silence => String::new(),
        };
        let (id, payload) = (record.id.clone(), record.payload.clone());
        self.desk.record(record);
        if step.answer == Answer::Accept {
            self.desk.deliver(Delivered { device, data: desk::fields(&payload) }, step.delivery);
        }
        if step.answer_after > Duration::ZERO {
            tokio::time::sleep(step.answer_after).await;
        }
        let id = ("apns-id", id.as_str());
        match step.answer {
            Answer::Accept => desk::response(200, &[id], &Value::Null),
            Answer::Refuse { status, code, retry_after } => {
                let later = retry_after.unwrap_or_default();
                let all = [id, ("retry-after", later.as_str())];
                let headers = if later.is_empty() { &all[..1] } else { &all[..] };
                desk::response(status, headers, &json!({ "reason": code }))
            }
            Answer::RefuseSince { status, code, since_ms } => {
                desk::response(status, &[id], &json!({ "reason": code, "timestamp": since_ms }))
            }
            Answer::BadRequest { field } => desk::response(400, &[id], &json!({ "reason": field })),
            Answer::Reset => None,
            Answer::Silence => std::future::pending().await,
        }
    }

    /// The service's rules, in its own words.
    fn check(&self, method: &Method, record: &ApnsRecord) -> Result<(), (u16, &'static str)> {
        if record.device.is_empty() {
            return Err((404, "BadPath"));
        }
        if method != Method::POST {
            return Err((405, "MethodNotAllowed"));
        }
        self.token(&record.bearer)?;
        let hex = record.device.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !hex || record.device.len() < 64 {
            return Err((400, "BadDeviceToken"));
        }
        let voip = format!("{}.voip", self.options.bundle);
        match (record.push_type.as_str(), record.topic.as_str()) {
            (_, "") => return Err((400, "MissingTopic")),
            ("voip", topic) if topic == voip => {}
            ("alert" | "background", topic) if topic == self.options.bundle => {}
            ("voip" | "alert" | "background", _) => return Err((400, "DeviceTokenNotForTopic")),
            _ => return Err((400, "InvalidPushType")),
        }
        let aps = &record.payload["aps"];
        match (record.push_type.as_str(), record.priority.as_str()) {
            ("background", "5") if aps["content-available"] == 1 => {}
            ("voip" | "alert", "5" | "10") => {}
            _ => return Err((400, "BadPriority")),
        }
        if record.expiration.parse::<u64>().is_err() {
            return Err((400, "BadExpirationDate"));
        }
        let uuid = |text: &str| text.len() == 36 && text.split('-').count() == 5;
        if !record.id.is_empty() && !uuid(&record.id) {
            return Err((400, "BadMessageId"));
        }
        if !aps.is_object() || record.push_type == "alert" && aps["alert"].is_null() {
            return Err((400, "PayloadEmpty"));
        }
        if record.size > if record.push_type == "voip" { 5120 } else { 4096 } {
            return Err((413, "PayloadTooLarge"));
        }
        Ok(())
    }

    fn token(&self, bearer: &str) -> Result<(), (u16, &'static str)> {
        if bearer.is_empty() {
            return Err((403, "MissingProviderToken"));
        }
        let invalid = (403, "InvalidProviderToken");
        let (header, claims) = es256::verify(bearer, &self.public).map_err(|_| invalid)?;
        if header["kid"] != self.options.key_id.as_str() || claims["iss"] != self.options.team.as_str() {
            return Err(invalid);
        }
        let iat = claims["iat"].as_u64().ok_or(invalid)?;
        let now = wakeline_clock::system::wall().as_secs();
        let now = now.saturating_add_signed(self.clock.load(Ordering::SeqCst));
        if iat + LIFE < now || iat > now + LIFE {
            return Err((403, "ExpiredProviderToken"));
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.as_ref() {
            Some((token, last)) if token != bearer && iat.saturating_sub(*last) < UPDATES => {
                Err((429, "TooManyProviderTokenUpdates"))
            }
            Some(_) | None => {
                *seen = Some((bearer.to_owned(), iat));
                Ok(())
            }
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}
