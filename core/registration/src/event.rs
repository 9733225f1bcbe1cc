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
    OpenFlow {
        /// To which of its hops.
        hop: HopChoice,
    },
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

/// Which hop of the edge a flow is wanted to (RFC 3263 §4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HopChoice {
    /// The best that can be reached; names are looked up anew.
    Best,
    /// The next one after that of the flow which was opened last, in the order of the last look-up.
    Next,
}

/// Whether the edge has hops beyond the one that a flow leads to (RFC 3263 §4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtherHops {
    /// It was the last one.
    None,
    /// There are: a hop that does not answer is left soon.
    Left,
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
    #[error("{error}")]
    Auth {
        /// What is wrong.
        error: AuthError,
        /// The status of the challenge; none when it was the registrar that could not prove itself.
        code: Option<u16>,
    },
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

impl Cause {
    /// The status code of the registrar's answer, if there was one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Cause::Auth { code, .. } => *code,
            Cause::Refused { code, .. } => Some(*code),
            Cause::TimedOut | Cause::NoFlow | Cause::Settings(_) => None,
        }
    }

    /// Whether it may pass without anybody changing anything: on another network, or later.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Cause::TimedOut | Cause::NoFlow => true,
            Cause::Refused { code, .. } => may_pass(*code),
            Cause::Auth { .. } | Cause::Settings(_) => false,
        }
    }
}

/// Whether a refusal is of the moment; 430 says that the flow is of no use (RFC 5626 §4.3).
pub(crate) fn may_pass(code: u16) -> bool {
    matches!(code, 408 | 430 | 480 | 500..=599)
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
