//! Random worlds against the invariants; `cargo run --release -p wakeline-sim` runs many more.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[test]
fn random_worlds_break_no_rule() {
    let seeds = if cfg!(debug_assertions) { 100 } else { 2000 };
    let broken: Vec<(u64, Vec<String>)> = (1..=seeds)
        .map(|seed| (seed, wakeline_sim::run_seed(seed, false).violations))
        .filter(|(_, violations)| !violations.is_empty())
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
}
