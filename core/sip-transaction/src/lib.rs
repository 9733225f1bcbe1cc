//! The four transaction machines of SIP and their table.
//!
//! RFC 3261 §17, §8.2.2.2, §9, §18.1.1, §18.2.1; RFC 3581; RFC 6026. One [`Transactions`] holds every client and server
//! transaction of an engine or gateway: it adds and matches branches, repeats messages, waits, absorbs copies, writes
//! `received` and `rport`, answers CANCEL and merged requests, acknowledges non-2xx responses, and says 100 where its
//! user is silent for too long.
//!
//! In: requests and responses to send, messages that came in on a flow, flows that failed, time. Out: bytes to send
//! ([`Transactions::poll_transmit`]), a deadline ([`Transactions::poll_timeout`]) and [`Event`]s.
//! Never: sockets, the choice of a next hop, dialogs, the repetition of a 2xx to an INVITE (its user does that, §13.3.1.4).

mod compose;
mod config;
mod event;
mod input;
mod invite_client;
mod invite_server;
mod key;
mod matching;
mod non_invite_client;
mod non_invite_server;
mod step;
mod table;
mod timer;

pub use config::{Config, Merged, Overload, ReturnPort, SentBy, TransactionError};
pub use event::{Event, Gauges};
pub use key::{ClientKey, Key, ServerKey};
pub use table::Transactions;
pub use timer::{Intervals, Timer};
