//! What was said and heard, for the log: a line a message at `debug`, its header at `trace`.
//!
//! Credentials and push tokens are left out and bodies only counted (class S23): a session description may hold keys.

use bytes::Bytes;
use tracing::{Level, debug, enabled, trace};
use wakeline_flow::FlowId;
use wakeline_sip_message::Message;

/// Which way a message went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// To the far end.
    Said,
    /// From the far end.
    Heard,
}

/// Logs a message, if anybody wants to know.
pub(crate) fn message(direction: Direction, flow: FlowId, bytes: &Bytes) {
    if !enabled!(Level::DEBUG) {
        return;
    }
    let Ok(message) = Message::parse(bytes.clone()) else {
        debug!(?direction, flow = flow.0, bytes = bytes.len(), "no SIP message");
        return;
    };
    let shown = format!("{message:?}");
    let start = shown.lines().next().unwrap_or_default();
    let cseq = message.cseq().map(|cseq| cseq.number).unwrap_or_default();
    debug!(?direction, flow = flow.0, call_id = message.call_id(), cseq, "{start}");
    for line in shown.lines().skip(1) {
        trace!("{line}");
    }
}
