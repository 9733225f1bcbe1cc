//! What a stand-in is told to do with the next messages.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What the sender is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The message is queued.
    Accept,
    /// An error of the service, e.g. `404` `UNREGISTERED`.
    Refuse {
        /// The HTTP status.
        status: u16,
        /// The service's own code (`details[].errorCode` of FCM, `reason` of APNs).
        code: &'static str,
        /// A Retry-After header's text.
        retry_after: Option<String>,
    },
    /// An error that tells since when it holds (Apple's 410).
    RefuseSince {
        /// The HTTP status.
        status: u16,
        /// The service's own code.
        code: &'static str,
        /// Milliseconds since 1970.
        since_ms: u64,
    },
    /// A google.rpc.BadRequest detail naming a field: the sender's bug.
    BadRequest {
        /// The field that is wrong.
        field: &'static str,
    },
    /// The stream is reset without an answer.
    Reset,
    /// No answer, ever.
    Silence,
}

/// What becomes of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// To the device at once.
    Now,
    /// To the device after a while.
    After(Duration),
    /// To the device twice.
    Twice,
    /// Behind the next message that is delivered.
    BehindNext,
    /// Lost.
    Never,
}

/// One scripted treatment of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What the sender is told.
    pub answer: Answer,
    /// How long the sender waits for it.
    pub answer_after: Duration,
    /// What becomes of the message; nothing is delivered unless the answer is [`Answer::Accept`].
    pub delivery: Delivery,
}

impl Step {
    /// Accepted at once, with this delivery.
    pub const fn accept(delivery: Delivery) -> Step {
        Step { answer: Answer::Accept, answer_after: Duration::ZERO, delivery }
    }

    /// Refused at once.
    pub const fn refuse(status: u16, code: &'static str) -> Step {
        Step::answer(Answer::Refuse { status, code, retry_after: None })
    }

    /// Refused at once, with a Retry-After header.
    pub fn refuse_until(status: u16, code: &'static str, retry_after: &str) -> Step {
        Step::answer(Answer::Refuse { status, code, retry_after: Some(retry_after.to_owned()) })
    }

    /// This answer at once, and nothing delivered.
    pub const fn answer(answer: Answer) -> Step {
        Step { answer, answer_after: Duration::ZERO, delivery: Delivery::Never }
    }

    /// The same, but the sender waits for the answer.
    #[must_use]
    pub fn slow(self, answer_after: Duration) -> Step {
        Step { answer_after, ..self }
    }
}

/// Steps waiting for their messages: first those of the message's own device, then those of all, then the default.
#[derive(Debug, Default)]
pub(crate) struct Script {
    any: VecDeque<Step>,
    of: BTreeMap<String, VecDeque<Step>>,
    fixed: BTreeMap<String, Step>,
}

impl Script {
    pub(crate) fn next_any(&mut self, step: Step) {
        self.any.push_back(step);
    }

    pub(crate) fn next_of(&mut self, device: &str, step: Step) {
        self.of.entry(device.to_owned()).or_default().push_back(step);
    }

    pub(crate) fn always_of(&mut self, device: &str, step: Step) {
        self.fixed.insert(device.to_owned(), step);
    }

    pub(crate) fn take(&mut self, device: &str) -> Step {
        self.of
            .get_mut(device)
            .and_then(VecDeque::pop_front)
            .or_else(|| self.any.pop_front())
            .or_else(|| self.fixed.get(device).cloned())
            .unwrap_or(Step::accept(Delivery::Now))
    }
}
