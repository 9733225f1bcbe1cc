//! A push leads to a REGISTER (RFC 8599 §4.1.3), and soon: OpenSIPS waits 6 s, so ours leaves within 5.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wakeline_clock::Time;

use super::branch;
use crate::sniff;

/// A push must lead to a REGISTER within this span (section 6 of the wake design).
const WITHIN: Duration = Duration::from_secs(5);

/// A push that no REGISTER has answered yet.
enum Due {
    /// It is to leave by then.
    By(Time),
    /// The phone is frozen or has no network: counted anew when it is back.
    Excused,
}

/// The pushes that phones have taken, until a REGISTER answers them.
#[derive(Default)]
pub(crate) struct Summonses {
    due: BTreeMap<usize, Due>,
    /// REGISTERs that have left, by phone and branch: a repetition of one answers no push.
    sent: BTreeSet<(usize, String)>,
}

impl Summonses {
    pub(crate) fn taken(&mut self, now: Time, phone: usize) {
        match self.due.get(&phone) {
            Some(Due::By(_)) => {}
            Some(Due::Excused) | None => drop(self.due.insert(phone, Due::By(now + WITHIN))),
        }
    }

    /// A phone sent something to the gateway.
    pub(crate) fn sent(&mut self, phone: usize, bytes: &[u8]) {
        if bytes.starts_with(b"REGISTER ") && branch(bytes).is_some_and(|one| self.sent.insert((phone, one)))
        {
            self.due.remove(&phone);
        }
    }

    /// A phone got something. Pushes join a REGISTER that is out: its answer is theirs.
    pub(crate) fn got(&mut self, phone: usize, bytes: &[u8]) {
        let is_final = sniff::status(bytes).is_some_and(|code| code >= 200);
        if is_final && sniff::header(bytes, "CSeq").is_some_and(|cseq| cseq.ends_with("REGISTER")) {
            self.due.remove(&phone);
        }
    }

    /// Nothing can be expected of a phone now: it is frozen, or has lost its network.
    pub(crate) fn excused(&mut self, phone: usize) {
        if let Some(due) = self.due.get_mut(&phone) {
            *due = Due::Excused;
        }
    }

    /// It can again.
    pub(crate) fn expected(&mut self, now: Time, phone: usize) {
        if let Some(due @ Due::Excused) = self.due.get_mut(&phone) {
            *due = Due::By(now + WITHIN);
        }
    }

    /// Its shell puts it to sleep: a push that came while there was no network has had its time.
    pub(crate) fn put_to_sleep(&mut self, phone: usize) {
        if let Some(Due::Excused) = self.due.get(&phone) {
            self.due.remove(&phone);
        }
    }

    /// Its process is gone. The next one registers by itself, and owes nothing for this one.
    pub(crate) fn killed(&mut self, phone: usize) {
        self.due.remove(&phone);
    }

    /// Phones that are late; each is told once.
    pub(crate) fn late(&mut self, now: Time) -> Vec<usize> {
        let is_late = |due: &Due| matches!(due, Due::By(until) if *until < now);
        let late: Vec<usize> =
            self.due.iter().filter(|(_, due)| is_late(due)).map(|(phone, _)| *phone).collect();
        self.due.retain(|_, due| !is_late(due));
        late
    }
}
