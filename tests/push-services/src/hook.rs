//! An operator's own push program on a loopback port: it checks the gateway's signature.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use ring::hmac;
use serde_json::{Value, json};

use crate::StartError;
use crate::desk::{self, Bound, Delivered, Desk, Running};
use crate::http2::{Reply, Whole};
use crate::script::{Answer, Step};

/// How old a signature may be, in seconds.
const FRESH: u64 = 300;

/// One request and what it was told.
#[derive(Debug, Clone)]
pub struct HookRecord {
    /// Number of the TCP connection it came on, from 1.
    pub connection: u64,
    /// The body.
    pub body: Value,
    /// The status of the answer; 0 when the stream was reset or left without one.
    pub status: u16,
}

/// A running stand-in.
#[derive(Debug)]
pub struct HookService(Running<HookRecord>);

impl Deref for HookService {
    type Target = Running<HookRecord>;

    fn deref(&self) -> &Running<HookRecord> {
        &self.0
    }
}

impl HookService {
    /// Starts the stand-in on the current runtime.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(secret: &str) -> Result<HookService, StartError> {
        let bound = Bound::new(0, true).await?;
        let desk = Desk::default();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let service = Arc::new(Service { key, desk: desk.clone() });
        let handler = move |whole| {
            let service = Arc::clone(&service);
            async move { service.answer(whole).await }
        };
        Ok(HookService(bound.serve(None, desk, handler)?))
    }

    /// The address to post to.
    pub fn url(&self) -> String {
        format!("{}/push", self.endpoint())
    }
}

struct Service {
    key: hmac::Key,
    desk: Desk<HookRecord>,
}

impl Service {
    async fn answer(&self, (connection, request): Whole) -> Reply {
        let signature = request.headers().get("x-wakeline-signature").and_then(|value| value.to_str().ok());
        let body: Value = serde_json::from_slice(request.body()).unwrap_or(Value::Null);
        let device = body["token"].as_str().unwrap_or("").to_owned();
        let signed = signature.is_some_and(|text| self.is_signed(text, request.body()));
        let step = if request.uri().path() != "/push" || request.method() != Method::POST {
            Step::refuse(404, "")
        } else if !signed {
            Step::refuse(401, "")
        } else {
            self.desk.take(&device)
        };
        self.desk.record(HookRecord { connection, body: body.clone(), status: step.answer.status(202) });
        if step.answer == Answer::Accept {
            self.desk.deliver(Delivered { device, data: desk::fields(&body["data"]) }, step.delivery);
        }
        if step.answer_after > Duration::ZERO {
            tokio::time::sleep(step.answer_after).await;
        }
        match step.answer {
            Answer::Accept => desk::response(202, &[], &Value::Null),
            Answer::Refuse { status, code, retry_after } => {
                let later = retry_after.unwrap_or_default();
                let all = [("retry-after", later.as_str())];
                let headers = if later.is_empty() { &all[..0] } else { &all[..] };
                desk::response(status, headers, &json!({ "error": code }))
            }
            Answer::RefuseSince { status, code, .. } => {
                desk::response(status, &[], &json!({ "error": code }))
            }
            Answer::BadRequest { field } => desk::response(400, &[], &json!({ "error": field })),
            Answer::Reset => None,
            Answer::Silence => std::future::pending().await,
        }
    }

    fn is_signed(&self, signature: &str, body: &[u8]) -> bool {
        let fields = signature.strip_prefix("t=").and_then(|rest| rest.split_once(",v1="));
        let Some((time, hex)) = fields else { return false };
        let now = wakeline_clock::system::wall().as_secs();
        if time.parse::<u64>().map_or(true, |time| time.abs_diff(now) > FRESH) {
            return false;
        }
        let digit = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let Some(tag) = (0..hex.len()).step_by(2).map(digit).collect::<Option<Vec<u8>>>() else {
            return false;
        };
        let signed = [time.as_bytes(), b".", body].concat();
        hmac::verify(&self.key, &signed, &tag).is_ok()
    }
}
