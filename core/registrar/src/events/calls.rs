//! Who is on the telephone, for those who watch (RFC 4235 §3.7.1). Kept only while anybody watches: who begins to watch
//! during a call learns of the next one.
//!
//! A proxy sees a call begin and its BYE pass. One whose BYE it never sees is forgotten after a long while.

use core::time::Duration;
use std::collections::BTreeMap;

use wakeline_clock::Time;
use wakeline_push::WakeId;

use crate::number::AorId;

/// A call that lasts longer is one whose end we have not seen.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// Calls of one address.
const MOST: usize = 20;

/// How far a call is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum CallState {
    /// It has begun.
    Trying,
    /// A device rings.
    Early,
    /// It was answered.
    Confirmed,
    /// It is over.
    Terminated,
}

impl CallState {
    pub(super) const fn word(self) -> &'static str {
        match self {
            CallState::Trying => "trying",
            CallState::Early => "early",
            CallState::Confirmed => "confirmed",
            CallState::Terminated => "terminated",
        }
    }
}

/// Who began it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Initiator,
    Recipient,
}

impl Direction {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Direction::Initiator => "initiator",
            Direction::Recipient => "recipient",
        }
    }
}

/// One call of an address.
pub(super) struct Call {
    pub(super) name: WakeId,
    /// Stands for its Call-ID.
    mark: u64,
    pub(super) direction: Direction,
    pub(super) state: CallState,
    since: Time,
}

/// The calls of addresses that are watched.
#[derive(Default)]
pub(crate) struct Calls {
    by_aor: BTreeMap<AorId, Vec<Call>>,
    by_mark: BTreeMap<u64, Vec<AorId>>,
}

impl Calls {
    pub(super) fn of(&self, aor: AorId) -> impl Iterator<Item = &Call> {
        self.by_aor.get(&aor).into_iter().flatten()
    }

    pub(super) fn forget(&mut self, aor: AorId) {
        self.by_aor.remove(&aor);
        self.by_mark.retain(|_, aors| {
            aors.retain(|other| *other != aor);
            !aors.is_empty()
        });
    }

    fn remove(&mut self, aor: AorId, mark: u64) -> bool {
        let Some(calls) = self.by_aor.get_mut(&aor) else { return false };
        let before = calls.len();
        calls.retain(|call| call.mark != mark);
        let removed = calls.len() < before;
        if calls.is_empty() {
            self.by_aor.remove(&aor);
        }
        if let Some(aors) = self.by_mark.get_mut(&mark) {
            aors.retain(|other| *other != aor);
            if aors.is_empty() {
                self.by_mark.remove(&mark);
            }
        }
        removed
    }

    /// A call of an address stands there now; a state that it has been beyond is passed over.
    pub(super) fn put(
        &mut self,
        now: Time,
        aor: AorId,
        mark: u64,
        name: WakeId,
        direction: Direction,
        state: CallState,
    ) {
        if state == CallState::Terminated {
            self.remove(aor, mark);
            return;
        }
        let old: Vec<u64> =
            self.of(aor).filter(|call| now.since(call.since) > LONGEST).map(|call| call.mark).collect();
        for mark in old {
            self.remove(aor, mark);
        }
        let calls = self.by_aor.entry(aor).or_default();
        if let Some(known) = calls.iter_mut().find(|call| call.mark == mark) {
            known.state = known.state.max(state);
        } else if calls.len() < MOST {
            calls.push(Call { name, mark, direction, state, since: now });
            self.by_mark.entry(mark).or_default().push(aor);
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_mark.is_empty()
    }

    /// The call is over; whose it was.
    pub(super) fn end(&mut self, mark: u64) -> Vec<AorId> {
        let aors = self.by_mark.get(&mark).cloned().unwrap_or_default();
        for aor in &aors {
            self.remove(*aor, mark);
        }
        aors
    }
}
