//! An INVITE whose flow is gone: the far end may ring for it, and nobody is there who could be told (RFC 3261 §9.1).

use std::time::Duration;

use wakeline_clock::Time;
use wakeline_flow::Hop;
use wakeline_sip_message::Message;

use crate::snapshot::AccountId;

/// A far end that rings does so no longer than this (RFC 3261 §16.6: timer C is at least 3 minutes).
const RINGS_AT_MOST: Duration = Duration::from_secs(180);

/// What is to be cancelled as soon as there is a way.
pub(crate) struct Withdrawal {
    pub(crate) account: AccountId,
    /// As it left, with its Via.
    pub(crate) invite: Message,
    /// Where it went: its CANCEL goes there as well.
    pub(crate) hop: Hop,
    until: Time,
}

impl Withdrawal {
    /// The flow to this hop has just gone.
    pub(crate) fn new(account: AccountId, invite: Message, hop: Hop, now: Time) -> Withdrawal {
        Withdrawal { account, invite, hop, until: now + RINGS_AT_MOST }
    }

    /// Whether nobody can ring for it any more.
    pub(crate) fn is_over(&self, now: Time) -> bool {
        self.until <= now
    }
}
