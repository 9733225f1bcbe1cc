//! The scoreboard: figures of ours beside a peer's, in one run.
//!
//! Ours and the peer are measured in turns (A B A B) in the same job; a row is the median of the pairs' ratios. In: the
//! peers of Debian's packages and our own programs, on loopback only. Out: one row a metric, which says `met`, `missed`
//! and by how much, or that it was not measured and why. Never: a figure from another run or machine.

#![allow(clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "a bench reads the clock")]

pub mod load;
pub mod parse;
pub mod processes;
pub mod registering;
pub mod relay;
pub mod row;
