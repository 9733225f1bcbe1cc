//! A Web Push service (RFC 8030) and the browsers behind it, on a loopback port: it checks the gateway's signature (RFC
//! 8292), and each subscription opens what was sealed for it (RFC 8291).

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::{HeaderMap, Method};
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p256::{PublicKey, SecretKey};
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;
use serde_json::{Value, json};

use crate::StartError;
use crate::desk::{self, Bound, Delivered, Desk, Running};
use crate::es256;
use crate::http2::{Reply, Whole};
use crate::script::{Answer, Step};

/// The longest body (RFC 8030 §7.2).
const MAX_BODY: usize = 4096;

/// One request and what it was told.
#[derive(Debug, Clone)]
pub struct WebPushRecord {
    /// Number of the TCP connection it came on, from 1.
    pub connection: u64,
    /// The subscription's name, or the path that was asked for.
    pub device: String,
    /// `TTL`.
    pub ttl: String,
    /// `Urgency`.
    pub urgency: String,
    /// `Topic`.
    pub topic: String,
    /// The length of the body.
    pub size: usize,
    /// What the subscription opened; `None` without a body, or when it could not.
    pub payload: Option<Value>,
    /// The status of the answer; 0 when the stream was reset or left without one.
    pub status: u16,
    /// What was wrong with the request.
    pub wrong: &'static str,
}

/// A running stand-in.
#[derive(Debug)]
pub struct WebPushService {
    running: Running<WebPushRecord>,
    subscriptions: Arc<Mutex<BTreeMap<String, Subscription>>>,
}

/// A browser's half of a subscription, and the gateway's key that it was made for, base64url.
struct Subscription {
    keys: DeviceKeys,
    server: String,
}

/// The keys of a subscription as the device has them: what is sealed for it, only it can open (RFC 8291).
pub struct DeviceKeys {
    key: SecretKey,
    auth: [u8; 16],
}

impl core::fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("DeviceKeys(..)")
    }
}

impl DeviceKeys {
    /// New ones.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn generate() -> Result<DeviceKeys, StartError> {
        let (mut secret, mut auth) = ([0_u8; 32], [0_u8; 16]);
        let random = |bytes: &mut [u8]| getrandom::fill(bytes).map_err(|_| StartError::Key("no randomness"));
        random(&mut auth)?;
        loop {
            random(&mut secret)?;
            if let Ok(key) = SecretKey::from_slice(&secret) {
                return Ok(DeviceKeys { key, auth });
            }
        }
    }

    /// The public half, as a phone writes it behind the subscription's address.
    pub fn fragment(&self) -> String {
        let public = URL_SAFE_NO_PAD.encode(self.key.public_key().to_encoded_point(false).as_bytes());
        format!("p256dh={public}&auth={}", URL_SAFE_NO_PAD.encode(self.auth))
    }

    /// Opens a body; `None` when it was sealed for somebody else.
    pub fn open(&self, body: &[u8]) -> Option<Vec<u8>> {
        open(self, body)
    }
}

impl core::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Subscription(..)")
    }
}

impl Deref for WebPushService {
    type Target = Running<WebPushRecord>;

    fn deref(&self) -> &Running<WebPushRecord> {
        &self.running
    }
}

impl WebPushService {
    /// Starts the stand-in on the current runtime.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> Result<WebPushService, StartError> {
        let bound = Bound::new(0, true).await?;
        let desk = Desk::default();
        let subscriptions: Arc<Mutex<BTreeMap<String, Subscription>>> = Arc::default();
        let port = bound.endpoint().rsplit_once(':').map_or(String::new(), |(_, port)| port.to_owned());
        let service =
            Arc::new(Service { port, subscriptions: Arc::clone(&subscriptions), desk: desk.clone() });
        let handler = move |whole| {
            let service = Arc::clone(&service);
            async move { service.answer(whole).await }
        };
        Ok(WebPushService { running: bound.serve(None, desk, handler)?, subscriptions })
    }

    /// Subscribes a browser for the gateway with this VAPID key: the address, with the keys as its fragment.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn browser(&self, name: &str, host: &str, server: &str) -> Result<String, StartError> {
        let keys = DeviceKeys::generate()?;
        let fragment = keys.fragment();
        let mut subscriptions = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        subscriptions.insert(name.to_owned(), Subscription { keys, server: server.to_owned() });
        Ok(format!("https://{host}:{}/push/{name}#{fragment}", self.address().port()))
    }
}

struct Service {
    port: String,
    subscriptions: Arc<Mutex<BTreeMap<String, Subscription>>>,
    desk: Desk<WebPushRecord>,
}

impl Service {
    async fn answer(&self, (connection, request): Whole) -> Reply {
        let headers = request.headers();
        let field = |name: &str| text(headers, name).to_owned();
        let path = request.uri().path();
        let device = path.strip_prefix("/push/").unwrap_or(path).to_owned();
        let mut record = WebPushRecord {
            connection,
            device: device.clone(),
            ttl: field("ttl"),
            urgency: field("urgency"),
            topic: field("topic"),
            size: request.body().len(),
            payload: None,
            status: 0,
            wrong: "",
        };
        let step = match self.check(request.method(), headers, request.body(), &mut record) {
            Err((status, wrong)) => {
                record.wrong = wrong;
                Step::refuse(status, wrong)
            }
            Ok(()) => self.desk.take(&device),
        };
        record.status = step.answer.status(201);
        let payload = record.payload.clone().unwrap_or(Value::Null);
        let number = self.desk.record(record);
        if step.answer == Answer::Accept {
            self.desk.deliver(Delivered { device, data: desk::fields(&payload) }, step.delivery);
        }
        if step.answer_after > Duration::ZERO {
            tokio::time::sleep(step.answer_after).await;
        }
        match step.answer {
            Answer::Accept => {
                desk::response(201, &[("location", &format!("/message/{number}"))], &Value::Null)
            }
            Answer::Refuse { status, code, retry_after } => {
                let mut headers = Vec::new();
                if let Some(later) = &retry_after {
                    headers.push(("retry-after", later.as_str()));
                }
                let elsewhere = format!("https://127.0.0.1:{}/elsewhere", self.port);
                if (300..400).contains(&status) {
                    headers.push(("location", elsewhere.as_str()));
                }
                desk::response(status, &headers, &json!({ "message": code }))
            }
            Answer::RefuseSince { status, code, .. } => {
                desk::response(status, &[], &json!({ "message": code }))
            }
            Answer::BadRequest { field } => desk::response(400, &[], &json!({ "message": field })),
            Answer::Reset => None,
            Answer::Silence => std::future::pending().await,
        }
    }

    fn check(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: &[u8],
        record: &mut WebPushRecord,
    ) -> Result<(), (u16, &'static str)> {
        let subscriptions = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        let subscription = subscriptions.get(&record.device).ok_or((404, "no such subscription"))?;
        if method != Method::POST {
            return Err((405, "POST only"));
        }
        self.vapid(text(headers, "authorization"), &subscription.server)?;
        record.ttl.parse::<u32>().map_err(|_| (400, "TTL is required (RFC 8030 §5.2)"))?;
        if !["", "very-low", "low", "normal", "high"].contains(&record.urgency.as_str()) {
            return Err((400, "no such urgency"));
        }
        let base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if record.topic.len() > 32 || !record.topic.bytes().all(base64url) {
            return Err((400, "no such topic"));
        }
        if body.len() > MAX_BODY {
            return Err((413, "too large"));
        }
        if !body.is_empty() {
            if text(headers, "content-encoding") != "aes128gcm" {
                return Err((415, "not aes128gcm"));
            }
            let opened = subscription.keys.open(body).ok_or((400, "the subscription cannot open it"))?;
            record.payload = serde_json::from_slice(&opened).ok();
        }
        Ok(())
    }

    /// RFC 8292 §2, §3, §4.
    fn vapid(&self, authorization: &str, server: &str) -> Result<(), (u16, &'static str)> {
        let parameters = authorization.strip_prefix("vapid ").ok_or((401, "no VAPID"))?;
        let parameter = |name: &str| {
            let mut pairs = parameters.split(',').filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
        };
        let (token, key) = (parameter("t").ok_or((401, "no t"))?, parameter("k").ok_or((401, "no k"))?);
        let public = URL_SAFE_NO_PAD.decode(key).map_err(|_| (401, "k is not base64url"))?;
        let (_, claims) = es256::verify(token, &public).map_err(|why| (401, why))?;
        if key != server {
            return Err((403, "the subscription was made for another key"));
        }
        let audience = claims["aud"].as_str().unwrap_or("");
        let ours =
            ["127.0.0.1", "localhost", "push.example"].map(|host| format!("https://{host}:{}", self.port));
        if !ours.iter().any(|origin| origin == audience) {
            return Err((401, "the audience is another one"));
        }
        let (now, exp) = (wakeline_clock::system::wall().as_secs(), claims["exp"].as_u64().unwrap_or(0));
        if exp <= now || exp > now + 24 * 3600 {
            return Err((401, "expired, or valid for more than a day"));
        }
        let subject = claims["sub"].as_str().unwrap_or("");
        if !subject.starts_with("mailto:") && !subject.starts_with("https:") {
            return Err((401, "no subject"));
        }
        Ok(())
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// What a browser does with a body (RFC 8291 §3, RFC 8188 §2): written for itself, not with the sender's code.
fn open(keys: &DeviceKeys, body: &[u8]) -> Option<Vec<u8>> {
    let (salt, rest) = body.split_at_checked(16)?;
    let (size, rest) = rest.split_at_checked(4)?;
    let size = u32::from_be_bytes(size.try_into().ok()?) as usize;
    let (length, rest) = rest.split_first()?;
    let (theirs, sealed) = rest.split_at_checked(usize::from(*length))?;
    if size < 18 || sealed.len() > size {
        return None;
    }
    let public = PublicKey::from_sec1_bytes(theirs).ok()?;
    let shared = p256::ecdh::diffie_hellman(keys.key.to_nonzero_scalar(), public.as_affine());
    let ours = keys.key.public_key().to_encoded_point(false);

    // HKDF (RFC 5869) with one block of output is two rounds of HMAC.
    let mac = |key: &[u8], parts: &[&[u8]]| {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        parts.iter().for_each(|part| context.update(part));
        context.sign().as_ref().to_vec()
    };
    let secret = mac(&keys.auth, &[shared.raw_secret_bytes().as_slice()]);
    let material = mac(&secret, &[b"WebPush: info\0", ours.as_bytes(), theirs, &[1]]);
    let pseudo = mac(salt, &[&material]);
    let key = mac(&pseudo, &[b"Content-Encoding: aes128gcm\0", &[1]]);
    let nonce = mac(&pseudo, &[b"Content-Encoding: nonce\0", &[1]]);

    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key.get(..16)?).ok()?);
    let nonce = Nonce::try_assume_unique_for_key(nonce.get(..12)?).ok()?;
    let mut sealed = sealed.to_vec();
    let opened = key.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
    // Padding, behind the delimiter of the last record.
    let end = opened.iter().rposition(|byte| *byte != 0)?;
    (opened[end] == 2).then(|| opened[..end].to_vec())
}
