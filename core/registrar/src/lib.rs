//! The gateway's machine: bindings, flows, held requests, forks and wake outcomes.
//!
//! A registrar and proxy that wakes phones: REGISTER with digest (RFC 3261 §10.3, RFC 5626, RFC 5627, RFC 3327), the
//! answers of RFC 8599, requests held while a push wakes their device (§5.6.2), forking with one response context
//! (RFC 3261 §16.7), requests within dialogs (Record-Route, `pn-purr`), and a memory of ended calls for late wakers.
//! It is a proxy: dialog identifiers are end to end, so the wake id of a call is the same on both of its legs.
//!
//! In: received messages, flows that open, live and close, results of pushes, accounts, time, and what the store held.
//! Out: [`Output`]s in order: bytes to send, pushes to ask for, changes to store, trace values.
//! Never: sockets, HTTP, files, clocks; a push before the caller is known; a push token in anything but a push request.

mod account;
mod admit;
mod answer;
mod binding;
mod bindings;
mod cluster;
mod config;
mod contact;
mod context;
mod copies;
mod deadline;
mod divert;
mod events;
mod flow;
mod fork;
mod forward;
mod guard;
mod hold;
mod keyed;
mod lapse;
mod machine;
mod mail;
mod number;
mod outcome;
mod output;
mod quota;
mod refused;
mod register;
mod respond;
mod room;
mod route;
mod seal;
mod trace;
mod uplink;
mod upstream;
mod view;
mod waking;

pub use account::{Account, Credential, UpstreamCredential};
pub use cluster::NodeView;
pub use config::{
    Config, Divert, Expiry, LateForeignDevice, Limits, MailRules, MissedCalls, NextHop, NodeName,
    PublicAddress, PushServices, Timers, TrustedPeer, Upstream, Voicemail,
};
pub use machine::{BindingView, Registrar};
pub use number::{BindingId, HopId, PushKey};
pub use output::{
    Caller, Gauges, Loaded, Output, Persist, PushPurpose, PushRequest, PushResult, StoredBinding,
    StoredDevice, StoredMail, StoredWake, StoredWhat,
};
pub use quota::{Allowance, Left};
pub use trace::{Leg, Trace};
pub use view::AorView;

/// The header field of a 200 to a REGISTER that names settings to be fetched again, or withdrawn: `grant=serial`,
/// `grant=revoked`, separated by commas.
pub const SETTINGS_HEADER: &str = "X-Settings";
