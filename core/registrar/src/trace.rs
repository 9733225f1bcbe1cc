//! What a wake looks like from outside: one value per leg, for logs, metrics and the timeline.
//!
//! No leg carries a token, a number or a name (class S23): wake id, our own numbers, codes.

use wakeline_clock::Time;
use wakeline_flow::FlowId;
use wakeline_push::WakeId;

use crate::number::{BindingId, HopId, PushKey};

/// Something that happened, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    /// When.
    pub at: Time,
    /// The wake it belongs to; `None` for what belongs to no call (a plain REGISTER, a refusal).
    pub wake: Option<WakeId>,
    /// What.
    pub leg: Leg,
}

/// The legs of a wake, in the order in which they mostly come, and what else is worth counting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Leg {
    /// A request to one of our addresses was let in.
    InviteIn {
        /// How many devices it is for.
        devices: usize,
    },
    /// It is held for a device.
    Held(BindingId),
    /// A push was asked for.
    PushAsked {
        /// Its name.
        key: PushKey,
        /// For whom.
        binding: BindingId,
        /// 1 for the first.
        attempt: u8,
    },
    /// The push service took it (which proves nothing yet).
    PushAccepted(PushKey),
    /// The push service did not take it.
    PushFailed(PushKey),
    /// A REGISTER of a device with a pending wake came in.
    RegisterIn(BindingId),
    /// It was answered 200.
    RegisterOk(BindingId),
    /// The INVITE left towards a device.
    InviteOut {
        /// Whose.
        binding: BindingId,
        /// On which flow.
        flow: FlowId,
    },
    /// A device rings (first response above 100).
    Ringing(BindingId),
    /// A device answered with 2xx.
    Answered(BindingId),
    /// A device ended its branch with this code.
    Refused(BindingId, u16),
    /// The flow of a branch died; it is held again, or tried elsewhere.
    FlowLost(BindingId),
    /// A device did not come within the wake time.
    WakeExpired(BindingId),
    /// A device came when the call had already ended.
    LateWake(BindingId),
    /// Nobody took it: it goes to voicemail.
    Diverted,
    /// The caller gave up.
    CallerGone,
    /// The final response to the caller.
    FinalOut(u16),
    /// A REGISTER was answered (outside or inside a wake).
    Registered {
        /// How many bindings the address of record has now.
        bindings: usize,
    },
    /// A REGISTER was refused with this code.
    RegisterRefused(u16),
    /// A binding that nothing was heard of made room for a new one of its address of record.
    MadeRoom(BindingId),
    /// An address of record has as many bindings as it may have, and all are alive: a new one was refused.
    TooManyBindings,
    /// A request was refused with this code before anything was done for it.
    RequestRefused(u16),
    /// A quota was exhausted: no push.
    OverQuota,
    /// Somebody watches a state from now on.
    Subscribed,
    /// A phone has published something.
    Published,
    /// A watcher is told.
    Notified,
    /// A request is kept for a device that sleeps.
    MailKept(BindingId),
    /// A device has taken a piece of mail.
    MailDelivered,
    /// A device will not take one, with this code.
    MailRefused(u16),
    /// There is no room for more mail.
    MailFull,
    /// A piece of mail waited in vain.
    MailExpired,
    /// Bytes that were no message we can answer.
    Garbage,
    /// A next hop of an upstream can be sent to.
    HopOpen(HopId),
    /// A next hop of an upstream cannot be reached, or did not answer.
    HopDown(HopId),
    /// The upstream has taken a registration of our own.
    LineBound,
    /// The upstream refuses the credential that we keep, with this code.
    LineRefused(u16),
    /// A request found no next hop of its upstream up.
    UpstreamDown,
}
