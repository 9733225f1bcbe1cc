//! What comes to the machines: the same for the INVITE and the non-INVITE one of a side (RFC 3261 §17.1, §17.2).

use crate::step::Class;
use crate::timer::Timer;

/// What comes to a client machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ClientInput {
    Response(Class),
    Timer(Timer),
    TransportFailed,
}

/// What comes to a server machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ServerInput {
    /// The request again.
    Again,
    /// An ACK with this transaction's branch; only INVITE has ACKs.
    Ack,
    /// The user's response.
    Respond(Class),
    Timer(Timer),
}
