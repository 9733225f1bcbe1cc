//! What a registration wants done, and what it tells.

use serde::{Deserialize, Serialize};
use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_push::{WakeId, WakeState};
use wakeline_sip_auth::AuthError;
use wakeline_sip_message::Message;

use crate::memory::Remembered;

/// One thing to do, in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Open a new flow to the account's edge and tell how it went: [`crate::Registration::flow_opened`] or
    /// [`crate::Registration::flow_not_opened`]. Only one is asked for at a time.
    OpenFlow,
    /// This flow is needed no longer: let it end cleanly.
    CloseFlow {
        /// Which.
        flow: FlowId,
    },
    /// Send this request in a client transaction, and tell the outcome: [`crate::Registration::responded`],
    /// [`crate::Registration::timed_out`] or [`crate::Registration::transport_failed`].
    Send {
        /// A REGISTER without Via.
        request: Message,
        /// On which flow.
        flow: FlowInfo,
    },
    /// Keep this for the next start of the process. It stands before the `Send` whose counts it holds.
    Remember(Box<Remembered>),
}

/// One thing that happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The binding stands, anew or again.
    Registered(Registered),
    /// It does not.
    Failed {
        /// Why.
        cause: Cause,
        /// When it is tried again; not by itself when absent.
        retry_at: Option<Time>,
    },
    /// The binding was removed, or given up.
    Unregistered,
    /// How the calls went that woke us (`X-Wake-State` of a 2xx).
    WakeStates(Vec<(WakeId, WakeState)>),
}

/// What a registrar granted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    /// Seconds.
    pub expires: u32,
    /// Whether we shall be woken.
    pub push: PushStatus,
    /// REGISTER requests that it took: one when the kept nonce held.
    pub round_trips: u32,
    /// The flow that is bound.
    pub flow: FlowInfo,
    /// Seconds between keep-alives at most (Flow-Timer, RFC 5626 §4.4).
    pub flow_timer: Option<u32>,
}

/// What became of our wish to be pushed (RFC 8599 §4.1.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PushStatus {
    /// No token, or no wish.
    #[default]
    NotAsked,
    /// Promised, or taken for granted with a server that does not say.
    Confirmed,
    /// The 2xx did not name our service.
    NotOffered,
    /// 555; registered without.
    Refused,
}

/// Why there is no binding.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Cause {
    /// The credentials were refused, or cannot be given.
    #[error("{0}")]
    Auth(#[from] AuthError),
    /// A final response that nothing cures.
    #[error("refused: {code} {reason}")]
    Refused {
        /// The status code.
        code: u16,
        /// Its phrase.
        reason: String,
    },
    /// No answer.
    #[error("no answer from the registrar")]
    TimedOut,
    /// No flow to the edge could be opened, or it broke.
    #[error("no connection to the registrar")]
    NoFlow,
    /// The settings make no valid REGISTER.
    #[error("settings: {0}")]
    Settings(String),
}

/// Where a registration stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Not wanted.
    Idle,
    /// On its way, or between two tries of which none has failed yet.
    Registering,
    /// Bound on a live flow.
    Registered,
    /// Bound, without a flow on purpose.
    Suspended,
    /// The last try failed.
    Failed,
}
