//! Responses to REGISTER over UDP, kept for copies of their request.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use wakeline_clock::Time;

use crate::keyed::{Keyed, Table};

/// How long a copy of a request may come over UDP: 64·T1 (RFC 3261 §17.2.2, timer J).
const COPIES: Duration = Duration::from_secs(32);

/// Answers to requests over UDP, kept for their copies, so that a copy meets no second judgement (its nonce count
/// would look replayed). Bounded: when it is full the oldest goes, and its copy gets a challenge and mends itself.
pub(crate) struct Answers {
    by_name: Table<u64, Bytes>,
    queue: VecDeque<(Time, u64)>,
    most: usize,
    pub(crate) armed: Time,
}

impl Answers {
    pub(crate) fn new(most: usize, keyed: Keyed) -> Answers {
        Answers { by_name: keyed.table(), queue: VecDeque::new(), most, armed: Time::NEVER }
    }

    pub(crate) fn get(&self, name: u64) -> Option<Bytes> {
        self.by_name.get(&name).cloned()
    }

    pub(crate) fn keep(&mut self, now: Time, name: u64, bytes: Bytes) {
        while self.queue.len() >= self.most {
            let Some((_, oldest)) = self.queue.pop_front() else { break };
            self.by_name.remove(&oldest);
        }
        if self.most > 0 && self.by_name.insert(name, bytes).is_none() {
            self.queue.push_back((now + COPIES, name));
        }
    }

    pub(crate) fn next(&self) -> Time {
        self.queue.front().map_or(Time::NEVER, |(until, _)| *until)
    }

    pub(crate) fn forget(&mut self, now: Time) {
        while self.next() <= now {
            if let Some((_, name)) = self.queue.pop_front() {
                self.by_name.remove(&name);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }
}
