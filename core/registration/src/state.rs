//! Where a registration stands, and how long it is patient.

use core::time::Duration;

use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_push::{PushParameters, WakeId};
use wakeline_sip_message::Message;

use crate::contact::BindingContact;

/// Wakes that one REGISTER names.
pub(crate) const WAKES: usize = 8;
/// A timer that fires later than this slept through: its flow is taken for dead (class S26).
pub(crate) const SLEPT: Duration = Duration::from_secs(5);
/// A push that finds a REGISTER unanswered for this long takes its flow for dead: whoever pushes cannot reach us there.
pub(crate) const UNANSWERED: Duration = Duration::from_secs(3);
/// While a push waits for its REGISTER, another flow is asked for whenever none has opened for this long, [`FLOWS`] in all:
/// the handshake of the first may have met a path that just died, and whoever pushed waits 5 s.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(2);
/// See [`HANDSHAKE`].
pub(crate) const FLOWS: u8 = 3;
/// While a push waits, a REGISTER without an answer for this long is given up with its flow, the next one after twice that:
/// Timer F (32 s) is longer than any gateway holds a call.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);
/// A flow that has carried an answer within this time is alive.
pub(crate) const PROVEN: Duration = Duration::from_secs(15);

/// What an attempt is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Goal {
    /// A binding, new or refreshed.
    Bind,
    /// To remove the Contact of an old token, and then to bind (RFC 8599 §4.1.2, a registrar without RFC 5626).
    Replace,
    /// No binding.
    Remove,
    /// No binding of anyone: `Contact: *` (RFC 3261 §10.2.2).
    RemoveAll,
}

/// What follows the attempt that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Then {
    Stay,
    Refresh,
    Suspend,
    Remove(Goal),
}

pub(crate) enum State {
    /// Nothing is wanted.
    Idle,
    /// A flow was asked for.
    Opening(Goal),
    /// A REGISTER is out.
    Asking(Box<Asking>),
    /// Bound on a live flow.
    Bound(FlowInfo),
    /// Flows are closed on purpose; nothing ticks.
    Suspended,
    /// To be tried again.
    Waiting { at: Time, after: After },
    /// Not to be tried again by itself.
    Stopped(Stop),
}

/// Why nothing is tried any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// It needs other settings or another registrar.
    Refused,
    /// Another network, or another time, may help.
    Unanswered,
}

/// Whether flows are being opened for us; also after nobody wants them any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opener {
    Rests,
    /// So many, and nothing has changed with them since then.
    Asked {
        flows: u8,
        since: Time,
    },
}

/// Whether a push still waits for the REGISTER that answers it, and for that one's 200 (RFC 8599 §4.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Summons {
    Answered,
    /// A REGISTER that stayed unanswered was given up so many times.
    Owed {
        given_up: u8,
    },
}

/// What a wait follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum After {
    Failure,
    LostFlow,
}

pub(crate) struct Asking {
    pub(crate) goal: Goal,
    pub(crate) flow: FlowInfo,
    pub(crate) request: Message,
    pub(crate) contact: BindingContact,
    pub(crate) expires: u32,
    pub(crate) push: Option<PushParameters>,
    pub(crate) wakes: Vec<WakeId>,
    pub(crate) rounds: u32,
    /// When it left.
    pub(crate) since: Time,
}

/// What the last 2xx granted.
pub(crate) struct Binding {
    pub(crate) contact: BindingContact,
    pub(crate) flow: FlowId,
    pub(crate) until: Time,
    pub(crate) refresh_at: Time,
    pub(crate) proven_at: Time,
    pub(crate) rounds: u32,
    pub(crate) flow_timer: Option<u32>,
}
