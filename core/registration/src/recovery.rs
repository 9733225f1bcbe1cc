//! When to try again (RFC 5626 §4.5), and not more often than ten times a minute (fault F14).

use core::time::Duration;
use std::collections::VecDeque;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;

/// Requests in [`WINDOW`] at most.
const BURST: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);

/// The times of RFC 5626 §4.5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveryTimes {
    /// Before doubling. The RFC's 30 s are for phones that nobody waits for; ours is 4 s, so that a restarted
    /// registrar has everybody back within 10 s (fault F6).
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
    /// Before doubling while a call waits for us.
    pub urgent: Duration,
}

impl Default for RecoveryTimes {
    fn default() -> Self {
        RecoveryTimes {
            base: Duration::from_secs(4),
            max: Duration::from_secs(1800),
            urgent: Duration::from_secs(1),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Urgency {
    /// A push announced a call.
    Woken,
    Ordinary,
    /// It will not help to come back soon: 403, 404.
    Hopeless,
}

#[derive(Default)]
pub(crate) struct Recovery {
    failures: u32,
    sent: VecDeque<Time>,
}

impl Recovery {
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Half to all of base · 2^failures, at most `max` (RFC 5626 §4.5); not before `retry_after`.
    pub(crate) fn next_try(
        &mut self,
        now: Time,
        times: &RecoveryTimes,
        urgency: Urgency,
        retry_after: Option<u32>,
        entropy: &mut Entropy,
    ) -> Time {
        self.failures = self.failures.saturating_add(1);
        let grown = |base: Duration| base.saturating_mul(1 << self.failures.min(16)).min(times.max);
        let upper = match urgency {
            Urgency::Woken => grown(times.urgent),
            Urgency::Ordinary => grown(times.base),
            Urgency::Hopeless => times.max,
        };
        let wait = entropy.between(upper / 2, upper);
        // A registrar may say how long it rests; a day is as long as we believe it.
        let told = Duration::from_secs(u64::from(retry_after.unwrap_or(0).min(86_400)));
        self.paced(now + wait.max(told))
    }

    /// After a flow broke that was fine until then: soon, but not all phones at once.
    pub(crate) fn after_loss(&mut self, now: Time, times: &RecoveryTimes, entropy: &mut Entropy) -> Time {
        self.paced(now + entropy.between(times.base / 20, times.base.saturating_mul(2)))
    }

    /// The first moment from `at` on that leaves the last minute's requests within bounds.
    pub(crate) fn paced(&self, at: Time) -> Time {
        match self.sent.len().checked_sub(BURST).and_then(|first| self.sent.get(first)) {
            Some(tenth_last) => at.max(*tenth_last + WINDOW),
            None => at,
        }
    }

    pub(crate) fn note_sent(&mut self, now: Time) {
        if self.sent.len() >= BURST {
            self.sent.pop_front();
        }
        self.sent.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_are_jittered() {
        let (mut recovery, mut entropy) = (Recovery::default(), Entropy::from_number(5));
        let times = RecoveryTimes::default();
        let now = Time::from_millis(1000);
        for failure in 1..20u32 {
            let at = recovery.next_try(now, &times, Urgency::Ordinary, None, &mut entropy);
            let upper = Duration::from_secs(4 << failure.min(16)).min(times.max);
            assert!(at >= now + upper / 2 && at <= now + upper, "failure {failure}: {at:?}");
        }
    }

    #[test]
    fn f14_retry_after_is_honoured_within_a_day() {
        let (mut recovery, mut entropy) = (Recovery::default(), Entropy::from_number(5));
        let times = RecoveryTimes::default();
        let mut at =
            |told| recovery.next_try(Time::ZERO, &times, Urgency::Ordinary, Some(told), &mut entropy);
        assert_eq!(at(3000), Time::from_millis(3_000_000));
        assert_eq!(at(u32::MAX), Time::from_millis(86_400_000));
    }

    #[test]
    fn f14_ten_requests_a_minute_at_most() {
        let mut recovery = Recovery::default();
        for nth in 0..10 {
            assert_eq!(recovery.paced(Time::from_millis(nth)), Time::from_millis(nth));
            recovery.note_sent(Time::from_millis(nth));
        }
        assert_eq!(recovery.paced(Time::from_millis(10)), Time::from_millis(60_000));
        recovery.note_sent(Time::from_millis(60_000));
        assert_eq!(recovery.paced(Time::from_millis(60_000)), Time::from_millis(60_001));
    }
}
