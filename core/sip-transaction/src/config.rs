//! What a table is told at its start, and what may be wrong with a call to it.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use wakeline_sip_message::{BuildError, Message};

use crate::timer::Intervals;

/// How a table behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// T1, T2 and T4.
    pub intervals: Intervals,
    /// How long an INVITE's transaction user may be silent before a 100 goes out by itself (RFC 3261 §17.2.1):
    /// 200 ms; zero sends it at once, `None` never.
    pub trying: Option<Duration>,
    /// The largest request that [`crate::Transactions::send`] puts into a datagram (RFC 3261 §18.1.1).
    pub datagram: usize,
    /// Client transactions at most.
    pub max_clients: usize,
    /// Server transactions at most (class S14).
    pub max_servers: usize,
    /// What a request meets when there is no room.
    pub overload: Overload,
    /// What a merged request meets.
    pub merged: Merged,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            intervals: Intervals::default(),
            trying: Some(Duration::from_millis(200)),
            datagram: 1300,
            max_clients: 4096,
            max_servers: 4096,
            overload: Overload::Refuse { retry_after: 10 },
            merged: Merged::Refuse,
        }
    }
}

impl Config {
    /// For a server: room for 200,000 transactions of each side, a 100 at once, merged requests are passed on as
    /// RFC 3261 §16 asks of a proxy.
    pub fn server() -> Config {
        Config {
            trying: Some(Duration::ZERO),
            max_clients: 200_000,
            max_servers: 200_000,
            merged: Merged::Deliver,
            ..Config::default()
        }
    }
}

/// What a request meets when the table is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overload {
    /// 503 with Retry-After in seconds, without a transaction (RFC 3261 §21.5.4).
    Refuse {
        /// Seconds.
        retry_after: u32,
    },
    /// Nothing.
    Silence,
}

/// What the second copy of a forked request meets (RFC 3261 §8.2.2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merged {
    /// 482, as a user agent server must; but if the first copy's flow is dead or left, the second is delivered with a
    /// note.
    Refuse,
    /// It is delivered with a note.
    Deliver,
}

/// Our own address as a Via's sent-by names it (RFC 3261 §18.1.1).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SentBy {
    text: String,
    rport: ReturnPort,
}

/// Whether our Via asks for answers to the port that the request came from (RFC 3581 §3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReturnPort {
    /// With `rport`, as behind any NAT.
    Asked,
    /// Without: for servers that stumble over it.
    NotAsked,
}

impl SentBy {
    /// A local address.
    pub fn address(local: SocketAddr) -> SentBy {
        SentBy::name(local.to_string())
    }

    /// A name with or without port; for WebSocket a name under `.invalid` (RFC 7118 §5.1).
    pub fn name(name: impl Into<String>) -> SentBy {
        SentBy { text: name.into(), rport: ReturnPort::Asked }
    }

    /// The same, with the choice of `rport`; it is asked for by default.
    pub fn with_return_port(self, rport: ReturnPort) -> SentBy {
        SentBy { rport, ..self }
    }

    pub(crate) fn return_port(&self) -> ReturnPort {
        self.rport
    }
}

impl From<SocketAddr> for SentBy {
    fn from(local: SocketAddr) -> SentBy {
        SentBy::address(local)
    }
}

impl fmt::Display for SentBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Why a call to the table did nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TransactionError {
    /// The request is too large for a datagram: it needs a flow that controls congestion (RFC 3261 §18.1.1). It is
    /// handed back.
    #[error("{bytes} bytes are too many for a datagram")]
    TooLargeForDatagram {
        /// Its size with Via.
        bytes: usize,
        /// As it was given.
        request: Message,
    },
    /// The message cannot be written.
    #[error("message: {0}")]
    Message(#[from] BuildError),
    /// No room for one more client transaction.
    #[error("too many client transactions")]
    Full,
    /// The handle names no transaction, or no longer.
    #[error("no such transaction")]
    Gone,
    /// The transaction has its final response; nothing can be added to it.
    #[error("the transaction is complete")]
    Complete,
    /// Neither a request nor a response belongs here: the other one was given.
    #[error("not the kind of message that belongs here")]
    WrongKind,
}
