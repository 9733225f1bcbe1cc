//! What outlives the process.

use serde::{Deserialize, Serialize};
use wakeline_clock::WallTime;
use wakeline_push::PushParameters;
use wakeline_sip_auth::SessionMemory;

use crate::instance::Instance;

/// Whether the registrar speaks RFC 5626.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum OutboundSupport {
    /// Not asked yet.
    #[default]
    Unknown,
    /// Its 2xx required it.
    Confirmed,
    /// Its 2xx did not.
    Lacking,
    /// An edge said 439 (RFC 5626 §11.6): it is not offered any more.
    Refused,
}

/// Whether this account has ever been bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum History {
    /// Not at this registrar.
    #[default]
    NeverBound,
    /// A registration has succeeded: what fails now was lost (B-071).
    BoundBefore,
}

/// Everything that lets a cold start go on with one REGISTER (RFC 3261 §10.2.4: same Call-ID, growing CSeq). It holds a
/// push token and nonces, no password.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Remembered {
    /// Of all our REGISTERs.
    pub call_id: String,
    /// The last one used.
    pub cseq: u32,
    /// The installation's name.
    pub instance: Instance,
    /// Cached challenges.
    pub session: SessionMemory,
    /// The token that was registered last.
    pub push: Option<PushParameters>,
    /// The Contact that was registered last, where the registrar cannot tell instances apart: to be removed when the
    /// token changes. It is as secret as the token.
    pub old_contact: Option<wakeline_secret::Secret>,
    /// RFC 3608.
    pub service_route: Vec<String>,
    /// When the binding ends, if there is one.
    pub expires_at: Option<WallTime>,
    /// Whether the registrar speaks RFC 5626.
    pub outbound: OutboundSupport,
    /// The longest Min-Expires that it has asked for.
    pub min_expires: u32,
    /// Whether it has ever succeeded.
    #[serde(default)]
    pub history: History,
}
