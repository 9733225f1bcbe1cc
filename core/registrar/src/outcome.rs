//! What became of calls that ended a moment ago (rule 5 of the wake design).
//!
//! A phone that wakes up late must not ring for a dead call: the 2xx to its REGISTER says how each wake of the last 90
//! seconds ended, or, for a phone that does not read that, the INVITE is repeated and cancelled at once.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use smallvec::SmallVec;
use wakeline_clock::Time;
use wakeline_push::{WakeId, WakeState};
use wakeline_sip_message::Message;

use crate::number::{AorId, Device};

/// How a call ended for those who were still waking up.
pub(crate) struct Ended {
    pub(crate) wake: WakeId,
    pub(crate) state: WakeState,
    /// Whether it ended because this program did (row 15 of the race table).
    pub(crate) by: By,
    /// Devices that ended their branch themselves: they know better than we do.
    pub(crate) knowing: SmallVec<[Device; 2]>,
    /// Foreign devices that were pushed and have not come yet; the INVITE is kept only for them.
    pub(crate) expected: SmallVec<[Device; 1]>,
    pub(crate) invite: Option<Message>,
}

/// What ended a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum By {
    /// Its people, or a timer.
    Itself,
    /// A restart of this program while it was held.
    Restart,
}

impl Ended {
    /// Of a call that was not ours to the end.
    pub(crate) fn bare(wake: WakeId, state: WakeState, by: By) -> Ended {
        let (knowing, expected) = (SmallVec::new(), SmallVec::new());
        Ended { wake, state, by, knowing, expected, invite: None }
    }

    /// The same wake ended once more: a repeated INVITE after a restart, or another copy of one that an upstream forked.
    /// Who knows still knows, and an answer elsewhere is no cancelling.
    fn meet(&mut self, later: Ended) {
        let mut merged = later;
        if self.state == WakeState::Elsewhere && merged.state == WakeState::Cancelled {
            merged.state = WakeState::Elsewhere;
        }
        for device in self.knowing.drain(..) {
            if !merged.knowing.contains(&device) {
                merged.knowing.push(device);
            }
        }
        for device in self.expected.drain(..) {
            if !merged.expected.contains(&device) && !merged.knowing.contains(&device) {
                merged.expected.push(device);
            }
        }
        merged.invite = merged.invite.take().or_else(|| self.invite.take());
        *self = merged;
    }
}

struct Memory {
    ended: Ended,
}

/// The memory of ended calls.
pub(crate) struct Outcomes {
    by_aor: BTreeMap<AorId, Vec<Memory>>,
    queue: VecDeque<(Time, AorId)>,
    keep: Duration,
    most: usize,
}

impl Outcomes {
    pub(crate) fn new(keep: Duration, most: usize) -> Outcomes {
        Outcomes { by_aor: BTreeMap::new(), queue: VecDeque::new(), keep, most }
    }

    /// Remembers how a call ended; gives what had to be forgotten for it.
    pub(crate) fn remember(&mut self, now: Time, aor: AorId, ended: Ended) -> Option<WakeId> {
        let forgotten = if self.queue.len() >= self.most { self.forget_first() } else { None };
        let until = now + self.keep;
        let memories = self.by_aor.entry(aor).or_default();
        if let Some(known) = memories.iter_mut().find(|known| known.ended.wake == ended.wake) {
            // The same wake once more (a repeated INVITE after a restart): the queue already counts it.
            known.ended.meet(ended);
            return forgotten;
        }
        memories.push(Memory { ended });
        self.queue.push_back((until, aor));
        forgotten
    }

    /// When the oldest is to be forgotten.
    pub(crate) fn next(&self) -> Time {
        self.queue.front().map_or(Time::NEVER, |(until, _)| *until)
    }

    /// Forgets the oldest if its time has come.
    pub(crate) fn forget(&mut self, now: Time) -> Option<WakeId> {
        if self.next() > now { None } else { self.forget_first() }
    }

    fn forget_first(&mut self) -> Option<WakeId> {
        let (_, aor) = self.queue.pop_front()?;
        let memories = self.by_aor.get_mut(&aor)?;
        // Of one address they lie in the order of the queue.
        let wake = (!memories.is_empty()).then(|| memories.remove(0).ended.wake);
        if memories.is_empty() {
            self.by_aor.remove(&aor);
        }
        wake
    }

    fn of(&self, aor: AorId) -> impl Iterator<Item = &Memory> {
        self.by_aor.get(&aor).into_iter().flatten()
    }

    /// How one wake of an address of record ended.
    pub(crate) fn state(&self, aor: AorId, wake: &WakeId) -> Option<WakeState> {
        self.of(aor).find(|known| known.ended.wake == *wake).map(|known| known.ended.state)
    }

    /// Whether a restart ended this wake.
    pub(crate) fn was_lost(&self, aor: AorId, wake: &WakeId) -> bool {
        self.of(aor).any(|known| known.ended.wake == *wake && known.ended.by == By::Restart)
    }

    /// Every wake of an address of record that a device should hear of.
    pub(crate) fn states(&self, aor: AorId, device: Device) -> impl Iterator<Item = (&WakeId, WakeState)> {
        self.of(aor)
            .filter(move |known| !known.ended.knowing.contains(&device))
            .map(|known| (&known.ended.wake, known.ended.state))
    }

    /// The INVITEs of ended calls that a foreign device was woken for and has not seen; each only once.
    pub(crate) fn take_late(&mut self, aor: AorId, device: Device) -> Vec<(WakeId, Message)> {
        let mut late = Vec::new();
        for known in self.by_aor.get_mut(&aor).into_iter().flatten() {
            let before = known.ended.expected.len();
            known.ended.expected.retain(|expected| *expected != device);
            if known.ended.expected.len() < before
                && let Some(invite) = &known.ended.invite
            {
                late.push((known.ended.wake, invite.clone()));
            }
            if known.ended.expected.is_empty() {
                known.ended.invite = None;
            }
        }
        late
    }

    /// Whether anything is remembered for an address of record.
    pub(crate) fn has(&self, aor: AorId) -> bool {
        self.by_aor.contains_key(&aor)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}
