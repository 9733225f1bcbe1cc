//! Fuzz targets as plain functions, and the replay of their seeds.
//!
//! A target takes any bytes and must come back; it panics when a law of the crate under test is broken. The parsers
//! read the bytes as they are; the machines take them as a *script* (what is done next, which message comes, how it is
//! bent, how much time passes) and run on virtual time. `tests/replay.rs` replays every seed and some mutations of it;
//! `tests/fuzz/libfuzzer` is the one program that puts libFuzzer around them.
//!
//! In: bytes. Out: nothing, or a panic. Never: sockets, clocks, part of a program.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    reason = "a fuzz target tells what it found by a panic, and its own scripts are fixed text"
)]

mod bend;
mod call;
mod descriptions;
mod dialog;
mod dns;
mod edge;
mod phone;
mod phone_script;
mod proofs;
mod provisioning;
mod push;
mod registrar;
mod registration;
mod script;
mod settings;
mod sound;
mod streams;
mod transactions;

/// One target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder of seeds.
    pub name: &'static str,
    /// Runs it on any bytes.
    pub run: fn(&[u8]),
}

const fn target_of(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// Every target, parsers first.
pub const TARGETS: &[Target] = &[
    target_of("message", wakeline_vectors::targets::message),
    target_of("framer", streams::framer),
    target_of("uri", wakeline_vectors::targets::uri),
    target_of("multipart", wakeline_vectors::targets::multipart),
    target_of("sdp", descriptions::sdp),
    target_of("offer-answer", descriptions::offer_answer),
    target_of("digest", proofs::digest),
    target_of("rtp", streams::rtp),
    target_of("rtcp", streams::rtcp),
    target_of("srtp", streams::srtp),
    target_of("media-path", streams::media_path),
    target_of("media-stream", sound::stream),
    target_of("decoders", sound::decoders),
    target_of("wav", sound::wav),
    target_of("push", push::push),
    target_of("settings", settings::settings),
    target_of("provisioning", provisioning::provisioning),
    target_of("call-route", settings::call_route),
    target_of("resolve", dns::resolve),
    target_of("transactions", transactions::transactions),
    target_of("dialog", dialog::dialog),
    target_of("registration", registration::registration),
    target_of("call", call::call),
    target_of("user-agent", phone::user_agent),
    target_of("registrar", registrar::registrar),
    target_of("edge", edge::edge),
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
