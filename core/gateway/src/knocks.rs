//! How often people whom we do not know may be refused, by sender (classes S14, S16, S24).
//!
//! A phone is challenged once and then known; an extension scanner, a password guesser and a flood are refused again and
//! again. So refusals are what is counted: whoever is registered, trusted or let in costs nothing here, and an office
//! behind one address that starts all at once stays far below what a scanner needs. A sender over its measure is not
//! looked at any more until some of it has run off.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use wakeline_clock::Time;

use crate::household;

/// Senders that are remembered.
const SENDERS: usize = 200_000;
/// Looked at in one go when the forgotten are swept out.
const MOST: usize = 10_000;

/// Refusals of late. Each fills a sender's measure by one step, which runs off again in its time.
pub(crate) struct Knocks {
    /// When each sender's measure is empty.
    empty_at: HashMap<IpAddr, Time>,
    /// In the order in which they came, to forget without walking the table.
    order: VecDeque<IpAddr>,
    /// How long one refusal takes to run off.
    step: Duration,
    /// A full measure.
    full: Duration,
}

impl Knocks {
    /// `at_once` refusals, and `per_second` more as time goes by. 0 at once: no limit.
    pub(crate) fn new(at_once: u32, per_second: u32) -> Knocks {
        let step = Duration::from_secs(1) / per_second.max(1);
        Knocks { empty_at: HashMap::new(), order: VecDeque::new(), step, full: step * at_once }
    }

    /// How long this sender is not looked at; `None` when it is.
    pub(crate) fn wait(&self, now: Time, sender: IpAddr) -> Option<Duration> {
        if self.empty_at.is_empty() {
            return None;
        }
        let ahead = self.empty_at.get(&household::of(sender))?.since(now);
        ahead.checked_sub(self.full).filter(|wait| !wait.is_zero())
    }

    /// It was refused.
    pub(crate) fn refused(&mut self, now: Time, sender: IpAddr) {
        if self.full.is_zero() {
            return;
        }
        let sender = household::of(sender);
        // One step over: never longer than it takes to run off, however much came meanwhile.
        let most = now + self.full + self.step;
        if let Some(empty_at) = self.empty_at.get_mut(&sender) {
            *empty_at = ((*empty_at).max(now) + self.step).min(most);
            return;
        }
        if self.empty_at.len() >= SENDERS
            && let Some(oldest) = self.order.pop_front()
        {
            self.empty_at.remove(&oldest);
        }
        self.empty_at.insert(sender, now + self.step);
        self.order.push_back(sender);
    }

    /// Forgets those whose measure is empty.
    pub(crate) fn forget(&mut self, now: Time) {
        for _ in 0..MOST.min(self.order.len()) {
            let Some(sender) = self.order.pop_front() else { return };
            match self.empty_at.get(&sender) {
                Some(empty_at) if *empty_at > now => self.order.push_back(sender),
                Some(_) => {
                    self.empty_at.remove(&sender);
                }
                None => {}
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.empty_at.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(1_000_000 + millis)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn s16_a_scanner_is_not_looked_at_any_more_and_its_neighbour_is() {
        let mut knocks = Knocks::new(400, 20);
        let scanner = ip("192.0.2.66");
        let mut refused = 0;
        // A thousand a second for ten seconds.
        for millis in 0..10_000 {
            if knocks.wait(at(millis), scanner).is_none() {
                knocks.refused(at(millis), scanner);
                refused += 1;
            }
        }
        assert!((580..=602).contains(&refused), "{refused}: 400 at once and 20 a second");
        assert!(knocks.wait(at(9_999), scanner).is_some());
        assert_eq!(knocks.wait(at(9_999), ip("192.0.2.67")), None);
        assert_eq!(knocks.wait(at(11_000), scanner), None, "a second later it is looked at again");
    }

    #[test]
    fn s16_an_office_of_two_hundred_phones_behind_one_address_starts_at_once() {
        let mut knocks = Knocks::new(400, 20);
        for _ in 0..200 {
            assert_eq!(knocks.wait(at(0), ip("192.0.2.1")), None);
            knocks.refused(at(0), ip("192.0.2.1"));
        }
        assert_eq!(knocks.wait(at(0), ip("192.0.2.1")), None);
    }

    #[test]
    fn s16_a_whole_prefix_of_ipv6_is_one_sender_and_a_flood_does_not_lengthen_the_wait() {
        let mut knocks = Knocks::new(10, 1);
        for last in 0..1000 {
            knocks.refused(at(0), ip(&format!("2001:db8::{last:x}")));
        }
        assert_eq!(knocks.len(), 1);
        assert_eq!(knocks.wait(at(0), ip("2001:db8::ffff")), Some(Duration::from_secs(1)));
        assert_eq!(knocks.wait(at(0), ip("2001:db8:0:1::1")), None);
    }

    #[test]
    fn s14_the_memory_of_refusals_is_bounded_and_runs_off() {
        let mut knocks = Knocks::new(2, 1);
        for number in 0..250_000_u32 {
            knocks.refused(at(0), IpAddr::V4(number.into()));
        }
        assert_eq!(knocks.len(), SENDERS);
        for _ in 0..=SENDERS / MOST {
            knocks.forget(at(1_001));
        }
        assert_eq!((knocks.len(), knocks.order.len()), (0, 0));
        let mut unlimited = Knocks::new(0, 20);
        unlimited.refused(at(0), ip("192.0.2.1"));
        assert_eq!((unlimited.len(), unlimited.wait(at(0), ip("192.0.2.1"))), (0, None));
    }
}
