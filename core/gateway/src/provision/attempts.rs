//! How often an address may be wrong before it has to wait.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use wakeline_clock::Time;

use crate::household;

/// Over this span attempts are counted.
pub(crate) const SPAN: Duration = Duration::from_secs(60);
/// Addresses that are remembered (class S14).
const ADDRESSES: usize = 20_000;

/// Wrong attempts of late.
#[derive(Debug)]
pub(crate) struct Attempts {
    most: u32,
    seen: BTreeMap<IpAddr, (Time, u32)>,
}

impl Attempts {
    /// At most this many wrong ones a minute.
    pub(crate) fn new(most: u32) -> Attempts {
        Attempts { most, seen: BTreeMap::new() }
    }

    /// Whether this address may try; a right guess by one that was wrong too often counts for nothing.
    pub(crate) fn may_try(&self, now: Time, address: IpAddr) -> bool {
        self.seen
            .get(&household::of(address))
            .is_none_or(|(since, count)| now.since(*since) >= SPAN || *count < self.most)
    }

    /// It was wrong.
    pub(crate) fn wrong(&mut self, now: Time, address: IpAddr) {
        if self.seen.len() >= ADDRESSES {
            self.seen.retain(|_, (since, _)| now.since(*since) < SPAN);
            if self.seen.len() >= ADDRESSES {
                self.seen.pop_first();
            }
        }
        let entry = self.seen.entry(household::of(address)).or_insert((now, 0));
        if now.since(entry.0) >= SPAN {
            *entry = (now, 0);
        }
        entry.1 = entry.1.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s16_who_guesses_waits_and_a_neighbour_does_not() {
        let mut attempts = Attempts::new(3);
        let start = Time::ZERO + Duration::from_secs(100);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for _ in 0..3 {
            assert!(attempts.may_try(start, ip("192.0.2.1")));
            attempts.wrong(start, ip("192.0.2.1"));
        }
        assert!(!attempts.may_try(start, ip("192.0.2.1")));
        assert!(!attempts.may_try(start, ip("::ffff:192.0.2.1")));
        assert!(attempts.may_try(start, ip("192.0.2.2")));
        assert!(attempts.may_try(start + SPAN, ip("192.0.2.1")));
        for last in 0..3 {
            attempts.wrong(start, ip(&format!("2001:db8::{last}")));
        }
        assert!(!attempts.may_try(start, ip("2001:db8::ffff")));
        assert!(attempts.may_try(start, ip("2001:db8:0:1::1")));
    }

    #[test]
    fn s14_the_memory_of_attempts_is_bounded() {
        let mut attempts = Attempts::new(3);
        for number in 0..30_000_u32 {
            attempts.wrong(Time::ZERO, IpAddr::V4(number.into()));
        }
        assert!(attempts.seen.len() <= ADDRESSES);
    }
}
