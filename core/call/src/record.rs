//! The record of one call: written once, when it is over.

use wakeline_clock::Time;
use wakeline_sip_dialog::SipCallId;

use crate::end::EndReason;

/// Who started a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// We.
    Outgoing,
    /// The far end.
    Incoming,
}

/// The call detail record; exactly one per call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallRecord {
    /// Who started it.
    pub direction: Direction,
    /// The Call-ID on the wire; nothing if a pushed call never arrived.
    pub call_id: Option<SipCallId>,
    /// The far end's URI; empty if it is not known.
    pub peer: String,
    /// The far end's display name.
    pub peer_name: Option<String>,
    /// The first sign of the call.
    pub started: Time,
    /// When it began to ring: here, or at the far end as far as we heard.
    pub rang: Option<Time>,
    /// When it was answered.
    pub answered: Option<Time>,
    /// When it ended: the moment of the wish or message that ended it, not of its confirmation.
    pub ended: Time,
    /// Why it ended.
    pub reason: EndReason,
    /// The SIP code that ended it, if one did.
    pub code: Option<u16>,
    /// Whether the far end ended it.
    pub by_peer: bool,
}

/// A record in the making.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) direction: Direction,
    pub(crate) call_id: Option<SipCallId>,
    pub(crate) peer: String,
    pub(crate) peer_name: Option<String>,
    pub(crate) started: Time,
    pub(crate) rang: Option<Time>,
    pub(crate) answered: Option<Time>,
    verdict: Option<Verdict>,
    closed: bool,
}

/// How and when the end was decided; the confirmation may take longer.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) reason: EndReason,
    pub(crate) code: Option<u16>,
    pub(crate) by_peer: bool,
    pub(crate) at: Time,
}

impl Draft {
    pub(crate) fn new(direction: Direction, now: Time) -> Draft {
        Draft {
            direction,
            call_id: None,
            peer: String::new(),
            peer_name: None,
            started: now,
            rang: None,
            answered: None,
            verdict: None,
            closed: false,
        }
    }

    /// The first verdict stands: what comes later is its consequence.
    pub(crate) fn decide(&mut self, reason: EndReason, code: Option<u16>, by_peer: bool, at: Time) {
        self.verdict.get_or_insert(Verdict { reason, code, by_peer, at });
    }

    /// A later fact corrects the verdict: the far end answered what we were cancelling, for example.
    pub(crate) fn reconsider(&mut self, reason: EndReason, code: Option<u16>, by_peer: bool) {
        if let Some(verdict) = &mut self.verdict {
            *verdict = Verdict { reason, code, by_peer, at: verdict.at };
        }
    }

    pub(crate) fn reason(&self) -> Option<&EndReason> {
        self.verdict.as_ref().map(|verdict| &verdict.reason)
    }

    pub(crate) fn code(&self) -> Option<u16> {
        self.verdict.as_ref().and_then(|verdict| verdict.code)
    }

    /// The record, the first time this is asked.
    pub(crate) fn close(&mut self, now: Time) -> Option<CallRecord> {
        if core::mem::replace(&mut self.closed, true) {
            return None;
        }
        let failed = || EndReason::Failed { code: None, why: "ended without a verdict".into() };
        let fallback = || Verdict { reason: failed(), code: None, by_peer: false, at: now };
        let verdict = self.verdict.clone().unwrap_or_else(fallback);
        Some(CallRecord {
            direction: self.direction,
            call_id: self.call_id.clone(),
            peer: self.peer.clone(),
            peer_name: self.peer_name.clone(),
            started: self.started,
            rang: self.rang,
            answered: self.answered,
            ended: verdict.at,
            reason: verdict.reason,
            code: verdict.code,
            by_peer: verdict.by_peer,
        })
    }
}
