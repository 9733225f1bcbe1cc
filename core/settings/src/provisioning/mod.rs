//! Settings from a provider: from a link to signed settings that a person has agreed to, and their later changes.
//!
//! A gateway makes a link with a one-time code. [`Provisioning`] asks it what the code would set, has a person agree,
//! exchanges the code for a signed object (JWS, RFC 7515, with Ed25519, RFC 8037), checks it, and yields a [`Grant`]:
//! the settings, and what the phone needs to ask for newer ones. Whether there are newer ones stands in the 200 to a
//! REGISTER ([`News`]); that is a hint only, the answer over TLS decides.
//!
//! In: a link, the bodies of answers, whether a signature is good, a person's yes or no, the wall clock's time. Out:
//! requests as values, signatures to check, what there is to tell. Never: a connection, a key of its own making, a
//! parameter that is the device's own ([`Parameter::is_local`](crate::Parameter::is_local)).

mod address;
mod code;
mod consent;
mod error;
mod grant;
mod link;
mod machine;
mod news;
mod signed;

pub use address::HttpsAddress;
pub use code::{CODE_ALPHABET, CODE_LENGTH, read_code};
pub use consent::Consent;
pub use error::{FetchFailure, ProvisionError};
pub use grant::{Grant, TrustedKey};
pub use link::Link;
pub use machine::{Agreement, Answer, Body, Provisioning, Request, Told, Wish};
pub use news::{News, SETTINGS_FIELD};
pub use signed::{SignatureCheck, Verdict};
