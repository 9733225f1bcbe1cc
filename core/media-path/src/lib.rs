//! How the packets of one audio stream travel: SRTP with keys from SDES, symmetric RTP with a source lock.
//!
//! RFC 3711, RFC 7714 (SRTP), RFC 4961 (symmetric RTP), RFC 5761 (RTCP on RTP's port), RFC 7983 (what else may come to
//! the port), RFC 6263 (keeping a NAT's binding open).
//!
//! In: what was negotiated, time, (source, datagram), clear packets to send. Out: clear packets, (destination,
//! datagram), counters. Never: sockets, codecs, a clear packet where keys were agreed (bug class S3), a packet from a
//! stranger (S2). ICE, DTLS: not yet; such datagrams are named, counted and dropped.

pub mod demultiplex;
mod path;
pub mod source_lock;
pub mod srtp;

pub use path::{Component, Counters, Dropped, Incoming, MediaPath, PathOptions};
pub use source_lock::Learning;
pub use srtp::SrtpError;
