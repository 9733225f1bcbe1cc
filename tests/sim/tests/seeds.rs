//! Random worlds against the invariants; `cargo run --release -p wakeline-sim` runs many more.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use wakeline_sim::Run;

#[test]
fn random_worlds_break_no_rule() {
    none_is_broken(wakeline_sim::run_seed);
}

#[test]
fn random_worlds_of_two_nodes_break_no_rule() {
    none_is_broken(wakeline_sim::run_pair);
}

fn none_is_broken(run: fn(u64, bool) -> Run) {
    let seeds = if cfg!(debug_assertions) { 100 } else { 2000 };
    let broken: Vec<(u64, Vec<String>)> = (1..=seeds)
        .map(|seed| (seed, run(seed, false).violations))
        .filter(|(_, violations)| !violations.is_empty())
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}
