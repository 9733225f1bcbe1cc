//! One request in progress: where it came from, its branches, and how it stands (RFC 3261 §16.7, the response context).

use core::time::Duration;

use smallvec::SmallVec;
use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_push::WakeId;
use wakeline_sip_message::{Message, Method};
use wakeline_sip_transaction::{ClientKey, ServerKey};

use crate::config::Timers;
use crate::number::{AorId, BindingId, Device, PushKey, UpstreamId};

/// What kind of request it is: that decides how long it may be held and what an error may destroy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// An INVITE that opens a dialog: the call.
    Call,
    /// An INVITE within a dialog.
    Reinvite,
    /// A BYE: answered by us if its party sleeps.
    Bye,
    /// Any other request within a dialog.
    InDialog,
    /// Any other request outside a dialog.
    Other,
    /// An INVITE of a phone that opens a dialog through its upstream: it rings as long as the upstream lets it.
    Outgoing,
    /// An ended call shown to a foreign device that woke up late: INVITE, then CANCEL. It has no caller.
    Late,
}

impl Kind {
    pub(crate) fn of(request: &Message, in_dialog: bool) -> Kind {
        match (request.method(), in_dialog) {
            (Method::Invite, false) => Kind::Call,
            (Method::Invite, true) => Kind::Reinvite,
            (Method::Bye, true) => Kind::Bye,
            (_, true) => Kind::InDialog,
            (_, false) => Kind::Other,
        }
    }

    /// How long a sleeping device is waited for.
    pub(crate) fn wake(self, timers: &Timers, webpush: bool) -> Duration {
        match self {
            Kind::Call | Kind::Reinvite if webpush => timers.wake_webpush,
            Kind::Call | Kind::Reinvite | Kind::Bye => timers.wake,
            Kind::InDialog | Kind::Other => timers.hold_other,
            Kind::Outgoing | Kind::Late => Duration::ZERO,
        }
    }

    /// When the whole request is given up. Other requests end before their sender's Timer F (32 s) does.
    pub(crate) fn total(self, timers: &Timers) -> Duration {
        match self {
            Kind::Call | Kind::Reinvite => timers.ring_total,
            Kind::Bye | Kind::InDialog | Kind::Other => Duration::from_secs(31),
            // RFC 3261 §16.6 step 11: timer C is above three minutes.
            Kind::Outgoing => Duration::from_secs(240),
            Kind::Late => timers.cancel,
        }
    }

    /// What a device that did not come is worth. Within a dialog neither 404 nor 480: they would end more than the
    /// transaction (RFC 5057 §5.1).
    pub(crate) const fn absent(self) -> u16 {
        match self {
            Kind::Call | Kind::Other | Kind::Late => 480,
            Kind::Outgoing | Kind::Reinvite | Kind::InDialog | Kind::Bye => 503,
        }
    }

    pub(crate) const fn is_invite(self) -> bool {
        matches!(self, Kind::Call | Kind::Outgoing | Kind::Reinvite | Kind::Late)
    }
}

/// How the whole request stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// No final response has gone to the caller.
    Open,
    /// It is being ended: CANCELs are out; this code goes to the caller when the branches have ended, or when time is up.
    Closing { with: u16, until: Time },
    /// A 2xx has gone to the caller; other branches are ending.
    Answered,
    /// A final response other than 2xx has gone to the caller, or there is none.
    Ended,
}

/// Who is asked to take a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Course {
    /// The devices that it is for.
    Devices,
    /// Voicemail, since they did not.
    Voicemail,
    /// One device, for another node: waking it, holding for it and remembering are that node's.
    Handed,
}

/// What a device has said to the request that was sent to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Heard {
    /// Nothing.
    Nothing,
    /// 100.
    Trying,
    /// 101 to 199.
    Ringing,
}

/// How one branch stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Held for a device that sleeps.
    Held { until: Time },
    /// Sent on a flow.
    Sent { client: ClientKey, flow: FlowId, since: Time, heard: Heard },
    /// The device did not come in time. It may still come while others ring.
    Expired,
    /// It has its final response.
    Ended(u16),
}

/// How far waking a branch's device is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Waking {
    /// It was not asked for.
    No,
    /// A push is on its way, or has been.
    Asked {
        key: PushKey,
        /// When the first of this series was asked for.
        since: Time,
        /// How many.
        attempt: u8,
        /// Until when the device is waited for.
        until: Time,
    },
    /// It was not asked for and will not be: the device has spoken.
    Spared,
    /// It was asked for, and nothing more is to be pushed: the device came, the push failed, or the call is over.
    Over,
}

/// Why a branch that was sent is without a connection now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lost {
    /// The flow broke.
    Flow,
    /// Nothing came back, or the device's edge says that it cannot reach it (408, 430).
    Silence,
}

/// One device of the request.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub(crate) device: Device,
    /// The binding that is used; none for a party that is only a flow.
    pub(crate) binding: Option<BindingId>,
    pub(crate) step: Step,
    pub(crate) waking: Waking,
    /// Flows on which it failed: they are not tried again.
    pub(crate) failed: SmallVec<[FlowId; 2]>,
    /// How often it was sent, over all flows.
    pub(crate) sent: u8,
    /// Where it was sent before, when its device registered on another flow meanwhile.
    pub(crate) earlier: Option<(ClientKey, FlowId)>,
}

impl Branch {
    /// A branch that nothing was done for yet.
    pub(crate) fn new(device: Device, binding: Option<BindingId>) -> Branch {
        Branch {
            device,
            binding,
            step: Step::Ended(0),
            waking: Waking::No,
            failed: SmallVec::new(),
            sent: 0,
            earlier: None,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        match self.step {
            Step::Held { .. } | Step::Sent { .. } => false,
            Step::Expired | Step::Ended(_) => true,
        }
    }
}

/// A request in progress.
pub(crate) struct Context {
    pub(crate) kind: Kind,
    pub(crate) phase: Phase,
    /// The caller's transaction; none for [`Kind::Late`].
    pub(crate) server: Option<ServerKey>,
    /// The request as it came in; dropped when no branch can need it any more.
    pub(crate) request: Option<Message>,
    pub(crate) caller: FlowInfo,
    /// The caller's end of the Record-Route, if it is a registered device.
    pub(crate) caller_binding: Option<BindingId>,
    /// Routes of ours on top of the request.
    pub(crate) own_routes: u8,
    /// Whether the caller is trusted to say who it is (P-Asserted-Identity).
    pub(crate) trusted: bool,
    /// The caller's name in the quota tables.
    pub(crate) quota: u64,
    pub(crate) wake: WakeId,
    /// For whom.
    pub(crate) aor: Option<AorId>,
    /// The upstream that it goes to, if it does.
    pub(crate) upstream: Option<UpstreamId>,
    /// Whose credential of ours authorises it there.
    pub(crate) line: Option<AorId>,
    /// How far the CSeq that the upstream has seen is ahead of the phone's: each challenge that we answer costs one.
    pub(crate) ahead: u8,
    pub(crate) branches: SmallVec<[Branch; 1]>,
    /// Transactions of branches that were sent again on a newer flow; a 2xx on one of them still counts.
    pub(crate) superseded: SmallVec<[ClientKey; 1]>,
    /// The best final response so far (§16.7 step 6).
    pub(crate) best: Option<Message>,
    pub(crate) started: Time,
    /// When it is given up.
    pub(crate) until: Time,
    pub(crate) course: Course,
    /// Client transactions that still live, superseded ones too.
    pub(crate) clients: u16,
    pub(crate) armed: Time,
}

impl Context {
    /// When something is due next.
    pub(crate) fn next(&self, timers: &Timers) -> Time {
        let mut next = match self.phase {
            Phase::Open => {
                let total = self.until;
                if self.kind == Kind::Bye { total.min(self.started + timers.bye_answer) } else { total }
            }
            Phase::Closing { until, .. } => return until,
            // Only a BYE goes on being held after it was answered.
            Phase::Ended if self.kind == Kind::Bye => Time::NEVER,
            Phase::Answered | Phase::Ended => return Time::NEVER,
        };
        for branch in &self.branches {
            match branch.step {
                Step::Held { until } => next = next.min(until),
                Step::Sent { since, heard: Heard::Nothing, .. } if branch.waking == Waking::No => {
                    next = next.min(since + timers.proof);
                }
                Step::Sent { .. } | Step::Expired | Step::Ended(_) => {}
            }
            if let Waking::Asked { since, attempt, until, .. } = branch.waking
                && !branch.is_over()
            {
                next = next.min(until);
                if let Some(resend) = timers.resend.get(usize::from(attempt).saturating_sub(1)) {
                    next = next.min(since + *resend);
                }
            }
        }
        next
    }

    pub(crate) fn all_over(&self) -> bool {
        self.branches.iter().all(Branch::is_over)
    }

    /// Whether it still matters to it what becomes of its devices. One that has its answer stays for half a minute for
    /// copies (RFC 6026 §7.1); an address that is called often has thousands of those.
    pub(crate) fn is_waiting(&self) -> bool {
        let held = |branch: &Branch| matches!(branch.step, Step::Held { .. });
        match self.phase {
            Phase::Open | Phase::Closing { .. } => true,
            Phase::Answered => self.branches.iter().any(held),
            // A BYE goes on being delivered after it was answered.
            Phase::Ended => self.kind == Kind::Bye || self.branches.iter().any(held),
        }
    }

    /// Whether this is nobody's any more.
    pub(crate) fn is_finished(&self) -> bool {
        match self.phase {
            Phase::Open | Phase::Closing { .. } => false,
            Phase::Answered | Phase::Ended => self.all_over() && self.clients == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_request_costs_little_beside_its_bytes() {
        assert!(size_of::<Context>() <= 464, "{}", size_of::<Context>());
        assert!(size_of::<Branch>() <= 160, "{}", size_of::<Branch>());
    }
}
