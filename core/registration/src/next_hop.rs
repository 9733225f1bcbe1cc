//! The next hop of the edge, when one does not answer (RFC 3263 §4.3).

use core::time::Duration;

use wakeline_clock::Time;

use crate::event::{Cause, HopChoice, OtherHops};
use crate::recovery::Urgency;
use crate::registration::Registration;
use crate::state::{Asking, Goal, SLEPT, State, Then};

/// A REGISTER that has no answer for so long goes to the next hop, if there is one: the other server is reached within
/// four seconds (fault F5), where Timer F would take 32.
const PATIENCE: Duration = Duration::from_millis(3500);
/// 64 × T1: a transaction that ends later than this slept through (RFC 3261 §17.1.2.2, class S26).
const TIMER_F: Duration = Duration::from_secs(32);

impl Registration {
    /// When the request that is out is given up for another hop.
    pub(crate) fn hop_deadline(&self, asking: &Asking) -> Option<Time> {
        self.may_go_on(asking).then(|| asking.since + PATIENCE)
    }

    /// The request that is out has no answer, and gets none.
    pub(crate) fn unanswered(&mut self, now: Time, cause: Cause) {
        let asking = match core::mem::replace(&mut self.state, State::Idle) {
            State::Asking(asking) => asking,
            // A request of before; nobody waits for it any more.
            other @ (State::Idle
            | State::Opening(_)
            | State::Bound(_)
            | State::Suspended
            | State::Waiting { .. }
            | State::Stopped(_)) => return self.state = other,
        };
        match self.go_to_next_hop(now, asking) {
            Ok(()) => {}
            // Nobody was there to wait for the answer: it is asked for at once, on a fresh flow.
            Err(asking) if now.since(asking.since) > TIMER_F + SLEPT && self.then == Then::Stay => {
                self.state = State::Asking(asking);
                self.renew(now);
            }
            Err(asking) => self.fail(now, Some(*asking), cause, Urgency::Ordinary, None),
        }
    }

    /// Leaves a hop for the next one, if there is one and a binding is still wanted; hands the attempt back if not. The
    /// former binding's flow goes on serving.
    pub(crate) fn go_to_next_hop(&mut self, now: Time, asking: Box<Asking>) -> Result<(), Box<Asking>> {
        // Not even for this more than ten requests a minute (fault F14).
        if !self.may_go_on(&asking) || self.recovery.paced(now) > now {
            return Err(asking);
        }
        self.close(asking.flow.id);
        for wake in asking.wakes {
            self.note_wake(wake);
        }
        self.open_to(now, self.bind_goal(), HopChoice::Next);
        Ok(())
    }

    /// Whether there is another hop and a binding is wanted there.
    fn may_go_on(&self, asking: &Asking) -> bool {
        match (self.others, asking.goal, self.then) {
            (OtherHops::Left, Goal::Bind | Goal::Replace, Then::Stay | Then::Refresh) => true,
            (OtherHops::Left, Goal::Bind | Goal::Replace, Then::Suspend | Then::Remove(_))
            | (OtherHops::Left, Goal::Remove | Goal::RemoveAll, _)
            | (OtherHops::None, _, _) => false,
        }
    }
}
