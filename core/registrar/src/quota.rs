//! How often phones may be woken.
//!
//! Pushes are amplification: one small request makes a phone ring (class S24, row 32 of the race table), so both the
//! callee's address and the caller have an allowance, asked before any push.

use core::time::Duration;
use std::collections::VecDeque;

use smallvec::SmallVec;
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

/// One name's use: the instants of the last hour, oldest first, never more than the hour's allowance. Most have one or
/// two, and cost nothing beside the table.
type Use = SmallVec<[Time; 2]>;

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
        let past = used.iter().take_while(|taken| now.since(**taken) >= HOUR).count();
        drop(used.drain(..past));
        let in_minute = used.iter().rev().take_while(|taken| now.since(**taken) < MINUTE).count();
        let granted = used.len() < usize::from(self.allowance.per_hour)
            && in_minute < usize::from(self.allowance.per_minute);
        if granted {
            used.push(now);
        }
        granted
    }

    /// One was taken at another node.
    pub(crate) fn note(&mut self, now: Time, name: u64) {
        if !self.uses.contains_key(&name) {
            if self.uses.len() >= self.most {
                return;
            }
            self.queue.push_back(name);
        }
        let used = self.uses.entry(name).or_default();
        if used.len() >= usize::from(self.allowance.per_hour) {
            drop(used.drain(..used.len().min(1)));
        }
        used.push(now);
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
                Some(used) if used.last().is_some_and(|taken| now.since(*taken) < HOUR) => {
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

#[cfg(test)]
mod tests {
    use super::*;
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
}
