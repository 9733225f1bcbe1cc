//! Calls and registrations against real peers.
//!
//! Each peer is a Debian package started on ports and in a folder of its own, on loopback only, and ended with the test.
//! Our side is the `wakeline` program itself, driven over its headless control mode: what users run is what is tested.
//! Audio is checked by what arrived in a recording, never by counters alone.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a harness for tests: it panics where a test shall fail, and waits by the wall clock for real programs"
)]

pub mod baresip;
pub mod gateway;
pub mod kamailio;
pub mod linphone;
pub mod phone;
pub mod place;
pub mod sipp;
pub mod sipvicious;
pub mod sound;
