//! One binding's life: from the first REGISTER over refreshes, pushes and sleeps to the last.
//!
//! RFC 3261 §10; RFC 5626 §4 (outbound), RFC 5627 (GRUU), RFC 3327 and RFC 3608 (Path, Service-Route), RFC 8599 §4 (push).
//! A [`Registration`] keeps one address of record bound on one flow at a time. Every attempt starts on a fresh flow when
//! the old one may be dead: after a push, a sleep, a change of network, or a timer that fired late.
//!
//! In: what the person and the shell want (start, suspend, wake, a token), flows that opened or broke, responses, time.
//! Out: REGISTER requests as values, flows to open or close, what is to be remembered, [`Event`]s, a deadline.
//! Never: transactions, sockets, a push parameter outside of a REGISTER (RFC 8599 §4.1), more than ten tries a minute.

mod answer;
mod attempt;
mod compose;
mod config;
mod contact;
mod event;
mod inputs;
mod instance;
mod memory;
mod next_hop;
mod reconfigure;
mod recovery;
mod registration;
mod responses;
mod seen;
mod state;
mod successor;
mod views;

pub use answer::{Gruus, Offer};
pub use config::{AccountConfig, OutboundUse, PushRefresh, Reregister};
pub use contact::BindingContact;
pub use event::{Cause, Event, HopChoice, OtherHops, Output, Phase, PushStatus, Registered};
pub use instance::Instance;
pub use memory::{History, OutboundSupport, Remembered};
pub use reconfigure::Edge;
pub use recovery::RecoveryTimes;
pub use registration::Registration;
pub use seen::SeenAddress;
