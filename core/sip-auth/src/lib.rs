//! Digest access authentication for SIP, both sides.
//!
//! RFC 3261 §22, RFC 7616, RFC 8760, and RFC 2069's form without qop. The client side ([`Session`]) answers the
//! challenges of the servers an account is configured for, keeps their nonces and counts their uses, so that a wake
//! costs one REGISTER; [`Session::export`] and [`Session::import`] carry them over a cold start. The server side
//! ([`Authenticator`]) makes nonces that it need not remember and remembers how often each was used.
//!
//! In: requests, responses, credentials, time and randomness. Out: header fields to add, verdicts. Never: a word to
//! whoever is not configured (class S1), a stored password, a telling `Debug`.

mod algorithm;
mod client;
mod credentials;
mod digest;
mod error;
mod nonce;
mod server;
mod side;

pub use algorithm::Algorithm;
pub use client::{Asker, Session, SessionMemory};
pub use credentials::{Credentials, Ha1, Proof};
pub use digest::Qop;
pub use error::AuthError;
pub use nonce::{NonceUse, ReplayMemory};
pub use server::{Authenticator, Verdict};
pub use side::Side;
