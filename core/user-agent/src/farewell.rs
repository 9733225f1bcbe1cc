//! Calls that are over and still acknowledge what comes late (RFC 3261 §13.2.2.4, §13.3.1.4).

use wakeline_clock::Time;
use wakeline_flow::FlowId;
use wakeline_sip_transaction::Intervals;

use crate::snapshot::AccountId;

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

    /// Whether its duties must have ended.
    pub(crate) fn is_overdue(&self, now: Time) -> bool {
        self.until <= now
    }

    /// When something is due.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        wakeline_clock::earliest(self.session.poll_timeout(), Some(self.until))
    }
}
