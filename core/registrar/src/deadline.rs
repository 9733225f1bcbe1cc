//! Every timer of this machine in one queue. (The transactions keep their own, RFC 3261 §17.)

use std::collections::BTreeSet;

use wakeline_clock::Time;

use crate::events::Package;
use crate::number::{AorId, BindingId, ContextId, HopId, NodeId};

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Due {
    /// Something within a request in progress: which of its instants has come is looked up there.
    Context(ContextId),
    /// A binding lapses or is to be refreshed by push.
    Binding(BindingId),
    /// The oldest ended call is to be forgotten.
    Outcomes,
    /// The oldest kept response to a REGISTER is to be forgotten.
    Answers,
    /// A subscription lapses, or its watcher is to be told.
    Subscription(u64),
    /// What a phone has published lapses.
    Publication(AorId, Package, u64),
    /// The oldest mail is to be forgotten.
    Mail,
    /// The quota tables are to be looked through.
    Quotas,
    /// A next hop that failed is to be asked for again.
    Hop(HopId),
    /// A link to another node that failed is to be asked for again.
    Link(NodeId),
    /// A registration of our own at an upstream is to be refreshed or tried again.
    Line(AorId),
    /// The oldest REGISTER on its way to an upstream has waited long enough for a first word.
    Registering,
}

/// The queue. A timer is one entry; whoever arms it again disarms the old instant.
#[derive(Default)]
pub(crate) struct Deadlines {
    queue: BTreeSet<(Time, Due)>,
}

impl Deadlines {
    /// Moves a timer from the instant `armed` to `at`; `Time::NEVER` stands for not armed, on both sides.
    pub(crate) fn rearm(&mut self, armed: &mut Time, at: Time, due: Due) {
        if *armed == at {
            return;
        }
        if *armed != Time::NEVER {
            self.queue.remove(&(*armed, due));
        }
        if at != Time::NEVER {
            self.queue.insert((at, due));
        }
        *armed = at;
    }

    /// The next instant at which something is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Takes one timer that is due.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Due> {
        let (at, due) = *self.queue.first()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        Some(due)
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_one_entry_however_often_it_moves() {
        let mut deadlines = Deadlines::default();
        let mut armed = Time::NEVER;
        let due = Due::Binding(BindingId(1));
        for at in [5, 9, 3, 3] {
            deadlines.rearm(&mut armed, Time::from_millis(at), due);
        }
        assert_eq!((deadlines.len(), deadlines.next()), (1, Some(Time::from_millis(3))));
        assert_eq!(deadlines.pop(Time::from_millis(2)), None);
        assert_eq!(deadlines.pop(Time::from_millis(3)), Some(due));
        armed = Time::NEVER;
        deadlines.rearm(&mut armed, Time::from_millis(7), due);
        deadlines.rearm(&mut armed, Time::NEVER, due);
        assert_eq!((deadlines.len(), armed), (0, Time::NEVER));
    }
}
