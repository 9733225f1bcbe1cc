//! `cargo xtask check`: everything that needs no test run.

use crate::setup::{self, Purpose};
use crate::{layers, mobile, shell, wasm};

const CARGO_DENY: &str = "0.20.2";

/// Format, clippy, layers, the wasm build's imports, licences, documentation, the types of the phones' builds; stops at the
/// first that fails.
pub(crate) fn run() -> Result<(), String> {
    setup::ensure(Purpose::Demo)?;
    step("format", || shell::run(shell::cargo(&["fmt", "--all", "--check"])))?;
    step("layers", layers::run)?;
    step("clippy", || {
        shell::run(shell::cargo(&[
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ]))
    })?;
    step("documentation", || {
        let mut doc = shell::cargo(&["doc", "--quiet", "--workspace", "--no-deps"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        shell::run(doc)
    })?;
    step("licences and sources", licences)?;
    step("wasm imports", wasm::run)?;
    mobile::run()
}

/// Names the step, runs it, and says how long it took.
pub(crate) fn step(name: &str, work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    println!("== {name}");
    #[expect(clippy::disallowed_methods, reason = "a task tells how long it took")]
    let start = std::time::Instant::now();
    work().map_err(|why| format!("{name}: {why}"))?;
    println!("== {name}: done in {} s", start.elapsed().as_secs());
    Ok(())
}

/// Licences, bans and sources of every dependency by deny.toml. Advisories need a database from the network: they are
/// looked at when it can be had.
fn licences() -> Result<(), String> {
    let deny = setup::tool("cargo-deny", CARGO_DENY)?;
    shell::run(shell::command(
        deny,
        &["--all-features", "check", "--hide-inclusion-graph", "licenses", "bans", "sources"],
    ))
}
