//! How often phones may be woken, and how often a password may be guessed.
//!
//! Pushes are amplification: one small request makes a phone ring (class S24, row 32 of the race table), so both the
//! callee's address and the caller have an allowance, asked before any push. Failed digests have a back-off per source
//! and address of record (class S16): a guesser waits longer and longer, the owner at another source does not.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;

use wakeline_clock::Time;

use crate::keyed::{Keyed, Table};

/// How many in a minute and in an hour.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// In any minute.
    pub per_minute: u16,
    /// In any hour.
    pub per_hour: u16,
}

/// What is left of an allowance now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Left {
    /// In this minute.
    pub minute: u16,
    /// In this hour.
    pub hour: u16,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// One name's use: the instants of the last hour, never more than the hour's allowance.
type Use = VecDeque<Time>;

/// Allowances by name. A name that took nothing within the hour is forgotten.
pub(crate) struct Quota {
    allowance: Allowance,
    uses: Table<u64, Use>,
    /// Names in the order in which they were last looked at, to forget the idle ones without walking the table.
    queue: VecDeque<u64>,
    most: usize,
}

impl Quota {
    pub(crate) fn new(allowance: Allowance, most: usize, keyed: Keyed) -> Quota {
        Quota { allowance, uses: keyed.table(), queue: VecDeque::new(), most }
    }

    /// Takes one from `name`'s allowance; `false` when there is none left, or when the table is full of busy names.
    pub(crate) fn take(&mut self, now: Time, name: u64) -> bool {
        self.forget_idle(now, 4);
        if !self.uses.contains_key(&name) {
            if self.uses.len() >= self.most {
                return false;
            }
            self.queue.push_back(name);
        }
        let used = self.uses.entry(name).or_default();
        while used.front().is_some_and(|taken| now.since(*taken) >= HOUR) {
            used.pop_front();
        }
        let in_minute = used.iter().rev().take_while(|taken| now.since(**taken) < MINUTE).count();
        let granted = used.len() < usize::from(self.allowance.per_hour)
            && in_minute < usize::from(self.allowance.per_minute);
        if granted {
            used.push_back(now);
        }
        granted
    }

    /// What `name` has left, without taking any of it.
    pub(crate) fn left(&self, now: Time, name: u64) -> Left {
        let within = |span| {
            let used = self.uses.get(&name).into_iter().flatten();
            u16::try_from(used.filter(|taken| now.since(**taken) < span).count()).unwrap_or(u16::MAX)
        };
        Left {
            minute: self.allowance.per_minute.saturating_sub(within(MINUTE)),
            hour: self.allowance.per_hour.saturating_sub(within(HOUR)),
        }
    }

    /// Looks at `most` of the names that wait longest and drops the idle ones.
    pub(crate) fn forget_idle(&mut self, now: Time, most: usize) {
        for _ in 0..most.min(self.queue.len()) {
            let Some(name) = self.queue.pop_front() else { return };
            match self.uses.get(&name) {
                Some(used) if used.back().is_some_and(|taken| now.since(*taken) < HOUR) => {
                    self.queue.push_back(name);
                }
                Some(_) => {
                    self.uses.remove(&name);
                }
                None => {}
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.uses.len()
    }
}

/// What is known of failed digests from one source for one address of record.
#[derive(Clone, Copy)]
struct Failures {
    count: u16,
    last: Time,
}

/// Back-off after failed digests.
pub(crate) struct Guard {
    failures: Table<(u64, u64), Failures>,
    queue: VecDeque<(u64, u64)>,
    keyed: Keyed,
    most: usize,
}

/// Failures that cost nothing: a mistyped password, a stale second device.
const FREE_FAILURES: u16 = 5;
/// After this long without a failure all is forgotten.
const FORGIVEN_AFTER: Duration = Duration::from_secs(900);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

impl Guard {
    pub(crate) fn new(most: usize, keyed: Keyed) -> Guard {
        Guard { failures: keyed.table(), queue: VecDeque::new(), keyed, most }
    }

    /// How long `source` must wait before the next try for `aor` is looked at at all; `None` when it need not.
    pub(crate) fn wait(&self, now: Time, source: IpAddr, aor: &str) -> Option<Duration> {
        let failures = self.failures.get(&self.name(source, aor))?;
        let over = failures.count.checked_sub(FREE_FAILURES)?;
        let wait = Duration::from_secs(1 << over.min(9)).min(LONGEST_WAIT);
        let until = failures.last + wait;
        (until > now).then(|| until.since(now))
    }

    /// One more failure.
    pub(crate) fn failed(&mut self, now: Time, source: IpAddr, aor: &str) {
        for _ in 0..2 {
            let Some(name) = self.queue.pop_front() else { break };
            match self.failures.get(&name) {
                Some(known) if now.since(known.last) < FORGIVEN_AFTER && self.failures.len() < self.most => {
                    self.queue.push_back(name);
                }
                Some(_) => {
                    self.failures.remove(&name);
                }
                None => {}
            }
        }
        let name = self.name(source, aor);
        if !self.failures.contains_key(&name) {
            self.queue.push_back(name);
        }
        let failures = self.failures.entry(name).or_insert(Failures { count: 0, last: now });
        if now.since(failures.last) >= FORGIVEN_AFTER {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// Looks at `most` of the names that wait longest; drops the forgiven ones, and any when there is no room.
    pub(crate) fn forget_idle(&mut self, now: Time, most: usize) {
        for _ in 0..most.min(self.queue.len()) {
            let Some(name) = self.queue.pop_front() else { return };
            match self.failures.get(&name) {
                Some(known) if now.since(known.last) < FORGIVEN_AFTER && self.failures.len() < self.most => {
                    self.queue.push_back(name);
                }
                Some(_) => {
                    self.failures.remove(&name);
                }
                None => {}
            }
        }
    }

    /// The right password came from `source`.
    pub(crate) fn succeeded(&mut self, source: IpAddr, aor: &str) {
        if !self.failures.is_empty() {
            let name = self.name(source, aor);
            self.failures.remove(&name);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.failures.len()
    }

    fn name(&self, source: IpAddr, aor: &str) -> (u64, u64) {
        let source = match source {
            IpAddr::V4(v4) => self.keyed.digest(&v4.octets()),
            // One subscriber line holds a whole /64.
            IpAddr::V6(v6) => self.keyed.digest(&v6.octets()[..8]),
        };
        (source, self.keyed.digest(aor.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use wakeline_entropy::Entropy;

    fn keyed() -> Keyed {
        Keyed::draw(&mut Entropy::from_number(1))
    }

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn s24_six_in_a_minute_and_thirty_in_an_hour() {
        let mut quota = Quota::new(Allowance { per_minute: 6, per_hour: 30 }, 100, keyed());
        let granted: usize = (0..7200u64).filter(|second| quota.take(at(*second), 1)).count();
        let first_minute = {
            let mut quota = Quota::new(Allowance { per_minute: 6, per_hour: 30 }, 100, keyed());
            (0..10).filter(|_| quota.take(at(0), 1)).count()
        };
        assert_eq!(first_minute, 6);
        assert_eq!(granted, 60, "in two hours");
        assert!(quota.take(at(0), 2), "another name has its own allowance");
    }

    #[test]
    fn s14_the_table_is_capped_and_idle_names_are_forgotten() {
        let mut quota = Quota::new(Allowance { per_minute: 6, per_hour: 30 }, 10, keyed());
        let granted = (0..100).filter(|name| quota.take(at(0), *name)).count();
        assert_eq!(granted, 10);
        for _ in 0..20 {
            quota.forget_idle(at(7200), 10);
        }
        assert_eq!(quota.len(), 0);
        assert!(quota.queue.is_empty());
    }

    #[test]
    fn s16_a_guesser_waits_longer_and_the_owner_elsewhere_does_not() {
        let mut guard = Guard::new(100, keyed());
        let (guesser, owner) =
            (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));
        for _ in 0..5 {
            assert_eq!(guard.wait(at(0), guesser, "mia"), None);
            guard.failed(at(0), guesser, "mia");
        }
        assert_eq!(guard.wait(at(0), guesser, "mia"), Some(Duration::from_secs(1)));
        guard.failed(at(1), guesser, "mia");
        assert_eq!(guard.wait(at(1), guesser, "mia"), Some(Duration::from_secs(2)));
        for _ in 0..20 {
            guard.failed(at(2), guesser, "mia");
        }
        assert_eq!(guard.wait(at(2), guesser, "mia"), Some(LONGEST_WAIT));
        assert_eq!(guard.wait(at(2), owner, "mia"), None);
        assert_eq!(guard.wait(at(2), guesser, "ben"), None);
        guard.succeeded(guesser, "mia");
        assert_eq!(guard.wait(at(2), guesser, "mia"), None);
    }

    #[test]
    fn s14_the_guard_forgets_the_oldest_when_full() {
        let mut guard = Guard::new(50, keyed());
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        for number in 0..1000 {
            guard.failed(at(number), source, &format!("user{number}"));
        }
        assert!(guard.len() <= 51, "{}", guard.len());
        assert!(guard.queue.len() <= 52);
    }
}
