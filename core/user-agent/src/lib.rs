//! The phone, composed of the machines below it.
//!
//! [`UserAgent`] is handed commands of a person ([`Command`]), what the network and the media did ([`Input`]) and time;
//! it gives back what is to be done ([`Output`]), what a person should know ([`Event`]) and, at any moment, the whole
//! state as plain data ([`Snapshot`]). The vocabulary is written here once; UniFFI, the JSON control protocol, the
//! browser build and the command line translate it (law 3 of ARCHITECTURE.md).
//!
//! Composition: `registration` keeps one binding per account, `call` one machine per INVITE session, `sip-transaction`
//! the table under both, `sip-resolve` finds next hops, `push` names wakes. RFC 3261 §8-§15 for the user agent's own
//! duties (dispatch, OPTIONS, out-of-dialog requests), RFC 8599 §4 for waking, RFC 5626 §4 for flows.
//!
//! The run loop is: one `handle_*`, then drain `poll_output` and `poll_event`, then wait until `poll_timeout`.
//!
//! Never: sockets, names looked up, clocks, randomness (a seed is handed in), codecs, devices.

mod account;
mod agent;
mod attempts;
mod call_media;
mod call_news;
mod call_wishes;
mod calling;
mod command;
mod commands;
mod conference;
mod delivery;
mod dialling;
mod event;
mod farewell;
mod flows;
mod inbound;
mod line;
mod network;
mod output;
mod phone_call;
mod provisioning;
mod provisions;
mod registering;
mod snapshot;
mod wakes;
mod waking;
mod withdrawal;

pub use account::AccountError;
pub use agent::{Configuration, UserAgent};
pub use command::{Command, MuteDirection};
pub use event::{Event, Problem, ProvisioningStep};
pub use output::{FlowFailure, Input, MediaAnswer, MediaEvent, MediaRequest, Output, ProvisionFact, Way};
pub use snapshot::{
    AccountId, CallId, CallPhase, CallSnapshot, Direction, Encryption, EndedCall, PushStatus,
    RegistrationPhase, RegistrationSnapshot, Snapshot, WakeLeg,
};

/// What we call ourselves when the account has no `useragent`.
pub(crate) const USER_AGENT: &str = concat!("Wakeline/", env!("CARGO_PKG_VERSION"));

/// The methods that we serve, for Allow.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO";

/// The extensions that we know, for Supported.
pub(crate) const SUPPORTED: &str = "100rel, timer, replaces, outbound, gruu, path";
