//! The push gateway's I/O: SIP edge, push senders and the store.

mod edge;
pub mod push;
pub mod store;
