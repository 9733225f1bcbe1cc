//! `cargo xtask bench`: installs the peers, builds what is measured, runs the scoreboard.
//!
//! What is measured is always built first, in the shipping profile, so that a stale program never is.

use std::path::PathBuf;

use crate::setup::{self, Purpose};
use crate::shell;

/// The Python package that scores speech by ITU-T P.862, and its version.
const PESQ: &str = "pesq==0.0.4";

/// Builds and runs the scoreboard with these arguments.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    setup::ensure(Purpose::Demo)?;
    setup::ensure(Purpose::Interop)?;
    setup::ensure(Purpose::Bench)?;
    eprintln!(
        "building wakeline as it ships, and what is measured alone (some minutes when much has changed)"
    );
    let build = |more: &[&str]| {
        let mut build = shell::cargo(&["build", "--quiet", "--profile", "shipping"]);
        build.args(more);
        shell::run(build)
    };
    build(&["-p", "wakeline"])?;
    build(&["-p", "wakeline-engine", "--example", "cost"])?;
    build(&["-p", "wakeline-sip-message", "--example", "read_again"])?;
    build(&["-p", "wakeline-gateway", "--example", "push_load"])?;
    let built = shell::target().join("shipping");
    let mut command = shell::cargo(&["run", "--quiet", "--release", "-p", "wakeline-bench", "--"]);
    command
        .args(arguments.iter().filter(|argument| *argument != "--"))
        .env("WAKELINE_PROGRAM", built.join("wakeline"))
        .env("WAKELINE_BENCH_ENGINE", built.join("examples/cost"))
        .env("WAKELINE_BENCH_READ", built.join("examples/read_again"))
        .env("WAKELINE_BENCH_PUSH", built.join("examples/push_load"))
        // What a user's phone logs, and not what a test's does.
        .env("WAKELINE_LOG", "warn");
    match python() {
        Ok(python) => command.env("WAKELINE_BENCH_PYTHON", python),
        // The rows that need it say so themselves.
        Err(why) => {
            eprintln!("no PESQ on this machine: {why}");
            &mut command
        }
    };
    shell::run(command)
}

/// A Python of our own, outside the clone, that has PESQ.
fn python() -> Result<PathBuf, String> {
    let folder = shell::cache().join("bench-python");
    let python = folder.join("bin/python");
    let has_it = || shell::output(shell::command(&python, &["-c", "import pesq"])).is_ok();
    if !python.is_file() || !has_it() {
        println!("installing {PESQ} (once per machine)");
        let mut make = shell::command("/usr/bin/python3", &["-m", "venv"]);
        make.arg(&folder);
        shell::run(make)?;
        shell::run(shell::command(folder.join("bin/pip"), &["install", "--quiet", "numpy", PESQ]))?;
    }
    Ok(python)
}
