//! An answered call connects: where the network delivers, the callee's 2xx gets its ACK, and soon (RFC 3261 §13.3.1.4).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wakeline_clock::Time;
use wakeline_push::WakeId;

use super::{branch, wake_of};
use crate::sniff;

/// What a 2xx may take beyond its way: it is repeated after 0.5, 1.5 and 3.5 s.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who called, and when the INVITE left.
struct Asked {
    caller: Option<usize>,
    at: Time,
}

/// Every answer of a phone, until its ACK is there.
#[derive(Default)]
pub(crate) struct Answers {
    asked: BTreeMap<WakeId, Asked>,
    /// Branches of INVITEs that phones got: an ACK with one of them is that of a refusal (§17.1.1.3).
    refusable: BTreeSet<(usize, String)>,
    answered: BTreeSet<(usize, WakeId)>,
    open: BTreeMap<(usize, WakeId), Time>,
    /// When a phone was last killed, frozen, moved, or lost its paths; `None` is the gateway.
    disturbed: BTreeMap<Option<usize>, Time>,
}

impl Answers {
    /// A request left for the gateway.
    pub(crate) fn sent(&mut self, now: Time, caller: Option<usize>, bytes: &[u8]) {
        if let Some(wake) = wake_of(bytes) {
            self.asked.entry(wake).or_insert(Asked { caller, at: now });
        }
    }

    /// A phone got something.
    pub(crate) fn reached(&mut self, phone: usize, bytes: &[u8]) {
        let Some(branch) = branch(bytes) else { return };
        if bytes.starts_with(b"INVITE ") {
            self.refusable.insert((phone, branch));
        } else if bytes.starts_with(b"ACK ") && !self.refusable.contains(&(phone, branch)) {
            let tag = sniff::header(bytes, "From").and_then(|from| sniff::parameter(from, "tag"));
            if let (Some(call_id), Some(tag)) = (sniff::header(bytes, "Call-ID"), tag) {
                self.open.remove(&(phone, WakeId::of(call_id, tag)));
            }
        }
    }

    /// A phone answers; `way` is the longest that anything is under way.
    pub(crate) fn answered(&mut self, now: Time, phone: usize, wake: WakeId, way: Duration) {
        if self.answered.insert((phone, wake)) {
            self.open.insert((phone, wake), now + way * 4 + PATIENCE);
        }
    }

    /// The call is over at the phone that answered it.
    pub(crate) fn ended(&mut self, phone: usize, wake: WakeId) {
        self.open.remove(&(phone, wake));
    }

    /// A fault strikes a phone, or the gateway.
    pub(crate) fn disturbed(&mut self, now: Time, whom: Option<usize>) {
        self.disturbed.insert(whom, now);
    }

    /// A process is gone with its calls.
    pub(crate) fn killed(&mut self, phone: usize) {
        self.open.retain(|(whose, _), _| *whose != phone);
    }

    /// Phones whose answer came to nothing though nobody who took part was disturbed; each is told once.
    pub(crate) fn late(&mut self, now: Time) -> Vec<usize> {
        let late: Vec<(usize, WakeId)> =
            self.open.iter().filter(|(_, until)| **until < now).map(|(key, _)| *key).collect();
        let mut wronged = Vec::new();
        for (phone, wake) in late {
            self.open.remove(&(phone, wake));
            let Some(Asked { caller, at }) = self.asked.get(&wake) else { continue };
            let since = |whom: &Option<usize>| self.disturbed.get(whom).is_some_and(|when| when >= at);
            let undisturbed = ![Some(phone), *caller, None].iter().any(since);
            wronged.extend(undisturbed.then_some(phone));
        }
        wronged
    }
}
