//! When a push is tried again, and how long an answer is waited for.

use std::time::Duration;

use wakeline_clock::{Time, system};

/// The longest wait for one answer; a push that is answered later woke nobody in time.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// How long to leave a service alone after 429 without Retry-After.
pub(super) const QUOTA_PAUSE: Duration = Duration::from_secs(60);

/// Waits unless that would be too late; says whether it waited.
pub(super) async fn pause(span: Option<Duration>, until: Time) -> bool {
    let Some(span) = span else { return false };
    if system::now() + span >= until {
        return false;
    }
    tokio::time::sleep(span).await;
    true
}

/// A quarter more at the most, so that many senders do not come back in step.
pub(super) fn jittered(span: Duration) -> Duration {
    let mut byte = [0_u8];
    if getrandom::fill(&mut byte).is_err() {
        return span;
    }
    span + span * u32::from(byte[0]) / 1024
}

/// What is left until then, and not more than one answer is worth waiting for.
pub(super) fn answer_within(until: Time) -> Duration {
    until.since(system::now()).min(ANSWER)
}
