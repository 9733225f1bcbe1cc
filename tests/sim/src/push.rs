//! The push service: what it does with what it is handed.

use std::collections::VecDeque;
use std::time::Duration;

use wakeline_push::{Payload, WakeId};
use wakeline_registrar::{PushPurpose, PushRequest, PushResult};

/// How pushes are delivered.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// From the gateway's request to the phone.
    pub delay: Duration,
    /// What may come on top of it.
    pub jitter: Duration,
    /// Lost, in percent.
    pub loss: u32,
    /// Delivered twice, in percent.
    pub double: u32,
    /// From the push to the app's process being up.
    pub process_start: Duration,
    /// What the gateway is told of every request.
    pub verdict: PushResult,
    /// What becomes of the next pushes, one after the other; when it is empty, the rules above hold.
    pub script: VecDeque<Fate>,
}

/// What becomes of one push.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It is delivered after these spans, once for each (none: it is lost although it was accepted).
    Delivered(Vec<Duration>),
    /// The service does not take it.
    Refused(PushResult),
}

impl Default for Delivery {
    fn default() -> Delivery {
        Delivery {
            delay: Duration::from_millis(150),
            jitter: Duration::ZERO,
            loss: 0,
            double: 0,
            process_start: Duration::from_millis(30),
            verdict: PushResult::Accepted,
            script: VecDeque::new(),
        }
    }
}

/// The payload that the gateway's sender would make of a request.
pub(crate) fn payload_of(request: &PushRequest) -> String {
    let ttl = u32::try_from(request.hold.as_secs()).unwrap_or(0);
    let call = |wake: &WakeId| Payload::call(*wake, request.asked_at.0, ttl).to_json();
    match &request.purpose {
        PushPurpose::Call { wake, .. } => call(wake),
        PushPurpose::Request { .. } | PushPurpose::Message { .. } | PushPurpose::Refresh => {
            Payload::refresh(request.asked_at.0).to_json()
        }
    }
}
