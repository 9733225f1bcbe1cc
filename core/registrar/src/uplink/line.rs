//! How a registration of our own at an upstream stands.

use wakeline_clock::Time;
use wakeline_flow::FlowId;
use wakeline_sip_auth::{Credentials, Session};
use wakeline_sip_transaction::ClientKey;

use crate::number::UpstreamId;

/// What a line wants of its upstream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// To be bound: a phone is bound here.
    Bound,
    /// Not to be bound.
    Gone,
}

/// Whether a next hop was away for a while before it could be sent to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outage {
    /// It was not.
    None,
    /// It was, and is no more.
    Over,
}

/// How a line stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LineStanding {
    /// Neither bound nor asking.
    Idle,
    /// A REGISTER is on its way.
    Asking { client: ClientKey, hop: FlowId, wish: Wish, challenges: u8, silent_at: Time },
    /// Bound; refreshed then.
    Bound { refresh: Time },
    /// It did not work; tried again then.
    Waiting { until: Time },
}

/// One registration of ours.
pub(crate) struct Line {
    pub(crate) upstream: UpstreamId,
    pub(crate) credentials: Credentials,
    pub(crate) session: Session,
    pub(crate) call_id: String,
    pub(crate) tag: String,
    pub(crate) cseq: u32,
    pub(crate) expires: u32,
    pub(crate) standing: LineStanding,
    pub(crate) failures: u8,
    pub(crate) armed: Time,
}
