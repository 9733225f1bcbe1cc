//! Calls that are over and still acknowledge what comes late (RFC 3261 §13.2.2.4, §13.3.1.4).

use wakeline_clock::Time;
use wakeline_flow::FlowId;
use wakeline_sip_transaction::Intervals;

use crate::agent::UserAgent;
use crate::snapshot::{AccountId, CallId};

/// A call that is over.
pub(crate) struct Farewell {
    pub(crate) account: AccountId,
    pub(crate) flow: Option<FlowId>,
    pub(crate) session: Box<wakeline_call::Call>,
    /// When the last of its duties must have ended.
    until: Time,
}

impl Farewell {
    /// A call that has just ended. Its longest duty is a re-INVITE that the end overtook: 64 × T1 until its first
    /// response (timer B), as much from the CANCEL to the final one (§9.1), and as much for the ACK of a 2xx that crossed
    /// it (§13.2.2.4).
    pub(crate) fn new(
        account: AccountId,
        flow: Option<FlowId>,
        session: Box<wakeline_call::Call>,
        now: Time,
    ) -> Farewell {
        Farewell { account, flow, session, until: now + Intervals::default().timeout() * 3 }
    }

    /// When something is due.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        wakeline_clock::earliest(self.session.poll_timeout(), Some(self.until))
    }
}

impl UserAgent {
    /// Forgets the calls whose duties are done; true when there was more to do for one. What has not even left by then
    /// (a flow that neither opens nor fails) is given up, and nothing else may be left.
    pub(crate) fn forget_farewells(&mut self) -> bool {
        self.farewells.retain(|_, farewell| !farewell.session.is_finished());
        let now = self.now;
        let overdue: Vec<CallId> =
            self.farewells.iter().filter(|(_, left)| left.until <= now).map(|(id, _)| *id).collect();
        let mut moved = false;
        for id in overdue {
            let unsent = self.delivery.take_unsent_of(id);
            if unsent.is_empty() {
                let left = self.farewells.remove(&id);
                debug_assert!(left.is_none(), "{id:?} is over and still waits for something");
            }
            moved |= !unsent.is_empty();
            for job in unsent {
                self.undeliverable(job);
            }
        }
        moved
    }
}
