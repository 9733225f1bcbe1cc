//! What the table tells its transaction user.

use wakeline_flow::FlowInfo;
use wakeline_sip_message::Message;

use crate::key::{ClientKey, Key, ServerKey};

/// One thing that happened. Messages carry `received` and `rport` already.
#[derive(Clone, Debug)]
pub enum Event {
    /// A new request, to be answered with [`crate::Transactions::respond`].
    Request {
        /// Its transaction.
        key: ServerKey,
        /// The request; neither ACK nor CANCEL.
        request: Message,
        /// Where it came in.
        flow: FlowInfo,
        /// An ongoing transaction that carries the same request by another way (RFC 3261 §8.2.2.2): set when the
        /// table passes merged requests on, or when the flow of that transaction is dead or
        /// left.
        merges: Option<ServerKey>,
    },
    /// An ACK to a 2xx: it belongs to a dialog, not to a transaction (RFC 3261 §13.3.1.4).
    Ack {
        /// The ACK.
        request: Message,
        /// Where it came in.
        flow: FlowInfo,
    },
    /// The caller gave up. Its CANCEL has been answered with 200; the INVITE is to be answered with 487 (§9.2).
    Cancelled {
        /// The INVITE's transaction.
        key: ServerKey,
        /// The CANCEL, for its Reason.
        cancel: Message,
    },
    /// A response: provisional, final, or one more 2xx to an INVITE.
    Response {
        /// Its transaction.
        key: ClientKey,
        /// The response.
        response: Message,
        /// Where it came in.
        flow: FlowInfo,
    },
    /// A response without transaction, such as a 2xx that comes after its INVITE's ended.
    StrayResponse {
        /// The response.
        response: Message,
        /// Where it came in.
        flow: FlowInfo,
    },
    /// No final response in time: to be taken for a 408 (§8.1.3.1).
    TimedOut {
        /// The transaction, which is over.
        key: ClientKey,
    },
    /// The flow broke: to be taken for a 503 (§8.1.3.1).
    TransportFailed {
        /// The transaction, which is over.
        key: ClientKey,
    },
    /// The flow of a request that still waits for us broke. The transaction stays as it is (RFC 6026 §8.9); see
    /// [`crate::Transactions::move_to`].
    FlowLost {
        /// The transaction.
        key: ServerKey,
    },
    /// No ACK to a non-2xx response came.
    AckTimedOut {
        /// The transaction, which is over.
        key: ServerKey,
    },
    /// A transaction is over and its handle names nothing any more. The last event of every transaction.
    Terminated {
        /// The transaction.
        key: Key,
    },
}

/// What a table holds at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gauges {
    /// Client transactions.
    pub client: usize,
    /// Server transactions.
    pub server: usize,
    /// Running timers.
    pub timers: usize,
}
