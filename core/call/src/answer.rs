//! What comes back for a request of ours.

use wakeline_sip_message::Message;

/// What came of a request of ours.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer<'a> {
    /// A response.
    Response(&'a Message),
    /// No final response in time; counts as 408 (RFC 3261 §8.1.3.1).
    Silent,
    /// The transport failed; counts as 503, but says nothing of the far end.
    NoTransport,
}

impl Answer<'_> {
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Answer::Response(response) => response.status(),
            Answer::Silent | Answer::NoTransport => None,
        }
    }
}

/// The seconds of a response's Retry-After (RFC 3261 §20.33); an unreadable one counts as none.
pub(crate) fn retry_after(response: &Message) -> Option<u32> {
    Some(response.retry_after().ok()??.seconds)
}
