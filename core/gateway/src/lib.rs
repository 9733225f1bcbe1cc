//! The push gateway's I/O: SIP edge, push senders and the store.
//!
//! [`Gateway::start`] takes a [`Config`] and serves on a thread of its own: one event loop owns the sans-IO machine of
//! `wakeline-registrar` and the UDP sockets, one task per stream frames TCP, TLS (RFC 8446 early data included) and
//! WebSocket (RFC 7118), one HTTP/2 connection per push service carries the wakes (FCM HTTP v1, APNs, Web Push), one
//! thread writes the store behind, an HTTP listener shows it all to the administrator, and another gives phones their
//! settings. [`Handle`] gives addresses, trace values, numbers, and the ordered end.
//!
//! In: a configuration, datagrams, streams. Out: SIP, pushes, a store, traces.
//! Never: a token, a password or a caller's name in a log; a call decided here and not in the machine.

mod addresses;
mod admin;
mod cluster;
pub mod config;
pub mod doctor;
mod edge;
mod gateway;
mod household;
pub mod init;
mod knocks;
mod provision;
pub mod push;
pub mod relay;
mod server;
mod stats;
pub mod store;
mod strangers;
pub mod vault;
mod wakes;
mod web;

pub use cluster::{Condition, NodeReport};
pub use config::{Config, ConfigError};
pub use edge::certificate::CertificateError;
pub use gateway::{Gateway, Handle, StartError};
pub use push::CanaryReport;
pub use stats::{Counters, Durations, Stats};
pub use wakeline_registrar::{Account, BindingId, BindingView, Credential, Gauges, Leg, Trace};
pub use wakes::{Outcome, Step, Wake};
