//! The phone's I/O: sockets, TLS, DNS, audio devices and storage around one event loop.
//!
//! [`Phone::start`] puts a [`wakeline_user_agent::UserAgent`] on a thread of its own with everything that it needs
//! from the operating system. Commands go in, events come out; both are the user agent's vocabulary. Media runs here
//! too: `sdp` agrees, `media-path` carries, `media` encodes and plays.
//!
//! Transports: UDP, TCP, TLS (system store, own authorities or a pinned key), WS and WSS (RFC 7118), over IPv4 and IPv6.
//!
//! Never: protocol decisions; those are the machines' below.

mod alarm;
mod audio;
mod dns;
mod https;
mod media;
mod net;
mod phone;
mod provider;
mod rest;
mod store;
mod wire_log;

pub use audio::{AudioChoice, AudioError};
pub use media::Quality;
pub use net::Trust;
pub use phone::{Options, Phone, StartError, Stats, TimedEvent};
