//! Names of dialogs (RFC 3261 §12).

use core::fmt;

use wakeline_sip_message::Message;

/// The Call-ID on the wire; not to be taken for the names that shells and platforms give to calls.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SipCallId(pub String);

impl fmt::Display for SipCallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Call-ID and both tags. A peer of RFC 2543 has no tag, which is the empty text here (RFC 3261 §12.1.1, §12.1.2).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DialogId {
    /// The Call-ID.
    pub call_id: SipCallId,
    /// Our tag.
    pub local_tag: String,
    /// The peer's tag; empty if it has none.
    pub remote_tag: String,
}

impl DialogId {
    fn of(message: &Message, local_tag: Option<&str>, remote_tag: Option<&str>) -> Option<DialogId> {
        let call_id = message.call_id();
        let local_tag = local_tag?;
        (!call_id.is_empty()).then(|| DialogId {
            call_id: SipCallId(call_id.into()),
            local_tag: local_tag.into(),
            remote_tag: remote_tag.unwrap_or("").into(),
        })
    }

    /// The dialog that a request from the peer is of: its To tag is ours. Nothing if there is no To tag.
    pub fn of_request(request: &Message) -> Option<DialogId> {
        DialogId::of(request, request.to_tag(), request.from_tag())
    }

    /// The dialog that a response to a request of ours is of: its From tag is ours.
    pub fn of_response(response: &Message) -> Option<DialogId> {
        DialogId::of(response, response.from_tag(), response.to_tag())
    }
}
