//! The next hop by RFC 3263; asks its DNS questions as outputs.
//!
//! RFC 3263 §4 (transport, port and address of a request's next hop), RFC 7118 §5.5 and §9 (WebSocket), RFC 8305 §4
//! (order of address families), RFC 5922 §4 (the name that a certificate must carry).
//!
//! In: a target (from a URI), the transports that the account allows, answers to questions, time. Out: questions, and for
//! each target a list of [`Hop`](wakeline_flow::Hop)s to be tried in order. Never: a socket, a resolver of its own, a hop without TLS for a
//! `sips:` target (class S18).
//!
//! When DNS fails, or says that a known name has vanished, the hops that were good before are used again, for the same
//! target and transports only (fault F5); an answer with gaps does not displace them. What is slow is not waited for
//! longer than [`PATIENCE`], and where there is enough to go on with, only for a moment ([`RECORD_DELAY`],
//! [`FAMILY_DELAY`]); one name's slowness does not hold up another's. Answers are not cached here: that is the resolver's
//! duty, which knows their time to live; it also follows aliases.

mod question;
mod record_of_good;
mod resolution;
mod resolver;
mod srv;
mod target;

pub use question::{Answer, Kind, LookupFailure, Question, Record};
pub use resolution::{FAMILY_DELAY, PATIENCE, RECORD_DELAY};
pub use resolver::{ResolutionId, ResolveError, Resolver};
pub use target::Target;
