//! The scoreboard: figures of ours beside a peer's, in one run.
//!
//! Ours and the peer are measured in turns (A B A B) in the same job; a row is the median of the pairs' ratios, and its
//! last word is `met` or `missed` and by how much. Processor time comes from the scheduler's own count of the measured
//! processes, so that other work on the machine moves a ratio little; instructions are counted by valgrind where code
//! can be run alone.
//!
//! What is measured of ours is the `wakeline` program in its shipping profile (fat LTO, one codegen unit, stripped):
//! `cargo xtask bench` builds it first and hands its path on in `WAKELINE_PROGRAM`; without that nothing is measured, so
//! that a stale build never is. The bench itself is built in the release profile.
//!
//! In: the peers of Debian's packages and our own programs, on loopback only. Out: one row a metric. Never: a figure of a
//! peer from another run or machine, except where a row says so.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "a bench reads the clock, tells how far it is, and gives up a row by panicking"
)]

pub mod audio;
pub mod calls;
pub mod datagram;
pub mod exchange;
pub mod hearing;
pub mod held;
pub mod idle;
pub mod load;
pub mod parse;
pub mod path;
pub mod phones;
pub mod processes;
pub mod proxy;
pub mod pushes;
pub mod registering;
pub mod relay;
pub mod restart;
pub mod row;
pub mod servers;
pub mod size;
pub mod speech;
pub mod user;
pub mod wake;
