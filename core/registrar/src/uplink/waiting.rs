//! A REGISTER that waits for its upstream.

use smallvec::SmallVec;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_sip_message::Message;
use wakeline_sip_transaction::ServerKey;

use crate::number::{BindingId, UpstreamId};

/// One REGISTER that waits for its upstream.
pub(crate) struct Registering {
    pub(crate) server: ServerKey,
    pub(crate) flow: FlowInfo,
    pub(crate) request: Message,
    pub(crate) upstream: UpstreamId,
    pub(crate) hop: FlowInfo,
    /// The next hops that did not answer.
    pub(crate) tried: SmallVec<[FlowId; 2]>,
    /// The binding of each Contact, known or to be made.
    pub(crate) bindings: SmallVec<[BindingId; 1]>,
    pub(crate) heard: Heard,
}

/// Whether the upstream has said anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// No.
    Nothing,
    /// A 1xx.
    Trying,
}
