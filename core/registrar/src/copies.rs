//! What was answered to REGISTER over UDP, kept for copies of the request.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use wakeline_clock::Time;

use crate::keyed::{Keyed, Table};
use crate::number::AorId;

/// How long a copy of a request may come over UDP: 64·T1 (RFC 3261 §17.2.2, timer J).
const COPIES: Duration = Duration::from_secs(32);

/// What a request has met.
#[derive(Clone)]
pub(crate) enum Kept {
    /// It was taken, for this address of record: its 200 can be written again from the bindings.
    Taken(AorId),
    /// This, word by word.
    Written(Box<Bytes>),
}

/// Answers to requests over UDP, kept for their copies, so that a copy meets no second judgement (its nonce count
/// would look replayed, a wrong password would count twice). Challenges are not kept: a copy gets another one. Bounded:
/// when it is full the oldest goes, and its copy gets a challenge and mends itself.
pub(crate) struct Answers {
    by_name: Table<u64, Kept>,
    queue: VecDeque<(Time, u64)>,
    most: usize,
    pub(crate) armed: Time,
}

impl Answers {
    pub(crate) fn new(most: usize, keyed: Keyed) -> Answers {
        Answers { by_name: keyed.table(), queue: VecDeque::new(), most, armed: Time::NEVER }
    }

    pub(crate) fn get(&self, name: u64) -> Option<Kept> {
        self.by_name.get(&name).cloned()
    }

    pub(crate) fn keep(&mut self, now: Time, name: u64, kept: Kept) {
        while self.queue.len() >= self.most {
            let Some((_, oldest)) = self.queue.pop_front() else { break };
            self.by_name.remove(&oldest);
        }
        if self.most > 0 && self.by_name.insert(name, kept).is_none() {
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
