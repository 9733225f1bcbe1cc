//! How often a password may be guessed (class S16).
//!
//! A guesser waits longer and longer for one address of record, and the owner at another source does not. Who tries one
//! password with everybody is counted by its source alone; a phone that is registered from the same source (an office
//! behind one address) does not wait for that.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;

use wakeline_clock::Time;

use crate::keyed::{Keyed, Table};

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
    /// When the last failure of each source has run off, whoever was tried.
    sources: Table<u64, Time>,
    source_queue: VecDeque<u64>,
    /// How long one failure of a source takes to run off, and how long as many as it may have take.
    step: Duration,
    full: Duration,
    keyed: Keyed,
    most: usize,
}

/// Failures that cost nothing: a mistyped password, a stale second device.
const FREE_FAILURES: u16 = 5;
/// After this long without a failure all is forgotten.
const FORGIVEN_AFTER: Duration = Duration::from_secs(900);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// In this time all the failures that a source may have run off.
const SPAN: Duration = Duration::from_secs(600);

impl Guard {
    /// Names in each table at most `most`; `per_source` failures of one source within [`SPAN`], whoever is tried.
    pub(crate) fn new(most: usize, per_source: u16, keyed: Keyed) -> Guard {
        let step = SPAN / u32::from(per_source.max(1));
        Guard {
            failures: keyed.table(),
            queue: VecDeque::new(),
            sources: keyed.table(),
            source_queue: VecDeque::new(),
            step,
            full: step * u32::from(per_source.max(1)),
            keyed,
            most,
        }
    }

    /// How long `source` must wait before the next try for `aor` is looked at at all; `None` when it need not. Who is
    /// at home there does not wait for what its neighbours do.
    pub(crate) fn wait(&self, now: Time, source: IpAddr, aor: &str, at_home: bool) -> Option<Duration> {
        self.own_wait(now, source, aor).max(if at_home { None } else { self.source_wait(now, source) })
    }

    fn source_wait(&self, now: Time, source: IpAddr) -> Option<Duration> {
        let ahead = self.sources.get(&self.source(source))?.since(now);
        let over = (ahead + self.step).checked_sub(self.full)?;
        Some(over).filter(|wait| !wait.is_zero())
    }

    fn own_wait(&self, now: Time, source: IpAddr, aor: &str) -> Option<Duration> {
        let failures = self.failures.get(&self.name(source, aor))?;
        let over = failures.count.checked_sub(FREE_FAILURES)?;
        let wait = Duration::from_secs(1 << over.min(9)).min(LONGEST_WAIT);
        let until = failures.last + wait;
        (until > now).then(|| until.since(now))
    }

    /// One more failure.
    pub(crate) fn failed(&mut self, now: Time, source: IpAddr, aor: &str) {
        self.forget_idle(now, 2);
        self.count(now, source);
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

    /// One more failure of the source, whoever was tried.
    fn count(&mut self, now: Time, source: IpAddr) {
        let source = self.source(source);
        if !self.sources.contains_key(&source) {
            self.source_queue.push_back(source);
        }
        let runs_off = self.sources.entry(source).or_insert(now);
        *runs_off = ((*runs_off).max(now) + self.step).min(now + self.full);
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
        for _ in 0..most.min(self.source_queue.len()) {
            let Some(source) = self.source_queue.pop_front() else { return };
            match self.sources.get(&source) {
                Some(runs_off) if *runs_off > now && self.sources.len() < self.most => {
                    self.source_queue.push_back(source);
                }
                Some(_) => {
                    self.sources.remove(&source);
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
        self.failures.len().max(self.sources.len())
    }

    fn name(&self, source: IpAddr, aor: &str) -> (u64, u64) {
        (self.source(source), self.keyed.digest(aor.as_bytes()))
    }

    fn source(&self, source: IpAddr) -> u64 {
        match line(source) {
            IpAddr::V4(v4) => self.keyed.digest(&v4.octets()),
            IpAddr::V6(v6) => self.keyed.digest(&v6.octets()),
        }
    }
}

/// What counts as one source: an IPv4 address, or the /64 of IPv6 that one subscriber line holds.
pub(crate) fn line(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
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
    fn s16_who_tries_one_password_with_everybody_is_stopped_and_who_is_at_home_is_not() {
        let mut guard = Guard::new(10_000, 100, keyed());
        let (sprayer, elsewhere) =
            (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));
        let mut looked_at = 0;
        for second in 0..600 {
            let aor = format!("user{second}");
            if guard.wait(at(second), sprayer, &aor, false).is_none() {
                guard.failed(at(second), sprayer, &aor);
                looked_at += 1;
            }
        }
        assert!((190..=201).contains(&looked_at), "{looked_at}: 100 at once and 100 in ten minutes");
        while guard.wait(at(600), sprayer, "mia", false).is_none() {
            guard.failed(at(600), sprayer, "another");
        }
        assert!(guard.wait(at(600), sprayer, "mia", false).is_some_and(|wait| wait <= guard.step));
        assert_eq!(guard.wait(at(600), sprayer, "mia", true), None);
        assert_eq!(guard.wait(at(600), elsewhere, "mia", false), None);
        assert_eq!(guard.wait(at(607), sprayer, "mia", false), None, "one ran off");
        for _ in 0..3 {
            guard.forget_idle(at(100_000), 1000);
        }
        assert_eq!((guard.len(), guard.source_queue.len()), (0, 0));
    }

    #[test]
    fn s16_a_guesser_waits_longer_and_the_owner_elsewhere_does_not() {
        let mut guard = Guard::new(100, 1000, keyed());
        let (guesser, owner) =
            (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)));
        for _ in 0..5 {
            assert_eq!(guard.wait(at(0), guesser, "mia", false), None);
            guard.failed(at(0), guesser, "mia");
        }
        assert_eq!(guard.wait(at(0), guesser, "mia", false), Some(Duration::from_secs(1)));
        guard.failed(at(1), guesser, "mia");
        assert_eq!(guard.wait(at(1), guesser, "mia", false), Some(Duration::from_secs(2)));
        for _ in 0..20 {
            guard.failed(at(2), guesser, "mia");
        }
        assert_eq!(guard.wait(at(2), guesser, "mia", false), Some(LONGEST_WAIT));
        assert_eq!(guard.wait(at(2), owner, "mia", false), None);
        assert_eq!(guard.wait(at(2), guesser, "ben", false), None);
        guard.succeeded(guesser, "mia");
        assert_eq!(guard.wait(at(2), guesser, "mia", false), None);
    }

    #[test]
    fn s14_the_guard_forgets_the_oldest_when_full() {
        let mut guard = Guard::new(50, 2000, keyed());
        let source = IpAddr::V4(Ipv4Addr::LOCALHOST);
        for number in 0..1000 {
            guard.failed(at(number), source, &format!("user{number}"));
        }
        assert!(guard.len() <= 52, "{}", guard.len());
        assert!(guard.queue.len() <= 52);
    }
}
