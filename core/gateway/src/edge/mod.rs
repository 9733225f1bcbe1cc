//! The SIP edge: sockets on one side, whole messages on the other.
//!
//! UDP belongs to the event loop itself and is read and written in batches; every stream (TCP, TLS, WebSocket) is one
//! task that frames what comes in and writes what it is handed. A task never looks into a message.

pub(crate) mod certificate;
pub(crate) mod listen;
pub(crate) mod next_hop;
pub(crate) mod sessions;
pub(crate) mod stream;
pub(crate) mod stun;
pub(crate) mod tls;
pub(crate) mod udp;
pub(crate) mod websocket;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_registrar::HopId;
use wakeline_sip_message::Message;

/// What comes up from a stream.
pub(crate) enum Inbound {
    /// A connection was accepted; its handshakes may still fail.
    Opened(FlowInfo, mpsc::Sender<Outgoing>),
    /// One whole message.
    Message(FlowInfo, Bytes),
    /// A keep-alive, answered already (RFC 5626 §4.4.1).
    KeepAlive(FlowId),
    /// The stream cannot be framed any further. With the header that could be read, if it can be answered: RFC 3261
    /// §18.3. The connection closes once that is sent.
    Broken(FlowInfo, Option<Message>),
    /// The connection is gone.
    Closed(FlowId),
    /// A next hop's name is resolved; it is spoken to from a UDP socket of ours.
    HopFound(HopId, SocketAddr),
    /// A connection to a next hop is open, its handshake done.
    HopOpened(HopId, FlowInfo, mpsc::Sender<Outgoing>),
    /// There is no way to a next hop now.
    HopFailed(HopId),
}

/// What goes down to a stream.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// Whole messages that leave in one flight.
    Flight(Vec<Bytes>),
    /// Close when everything before has left.
    Close,
}

/// Flights that may wait for one slow reader before the connection is given up.
pub(crate) const BACKLOG: usize = 64;
/// The longest a TLS or WebSocket handshake may take.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// The longest a peer may take over one message, or over taking what it is sent.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Keep-alives within one second that are still taken for honest (class S10).
pub(crate) const PINGS: u32 = 20;

/// Whether a message may be acted on before the TLS handshake has proved that it is no replay: only a REGISTER, whose
/// digest has a nonce count of its own (RFC 8446 §8, RFC 7616 §5.12).
pub(crate) fn safe_in_early_data(bytes: &[u8]) -> bool {
    bytes.starts_with(b"REGISTER ")
}
