//! The senders against their stand-ins: the production code path, another endpoint. And the gateway with all of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod apns;
mod ground;
mod hook;
#[path = "../phone/mod.rs"]
mod phone;
mod wake;
mod webpush;
