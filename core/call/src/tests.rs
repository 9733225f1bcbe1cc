//! Tests of the whole machine: two calls on a wire, one call against a script, and random interleavings.

#![allow(clippy::wildcard_enum_match_arm)]

mod endings;
mod hostile;
mod interleavings;
mod modifying;
mod script;
mod scripted;
mod set_up;
mod states;
mod wire;
