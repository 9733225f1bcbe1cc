//! Tests of the whole machine: two calls on a wire, one call against a script, and random interleavings.

mod endings;
mod interleavings;
mod modifying;
mod script;
mod scripted;
mod set_up;
mod states;
mod wire;
