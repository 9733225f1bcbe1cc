//! `cargo verify`: the checks and every test, with one line of counts at the end.

use crate::check::{self, step};
use crate::setup::{self, Purpose};
use crate::{demo, shell};

#[derive(Default)]
struct Counts {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Runs it all. `--quick` leaves out what needs peers, the wasm build and the licence tool.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let quick = match arguments {
        [] => false,
        [flag] if flag == "--quick" => true,
        _ => return Err("usage: cargo verify [--quick]".into()),
    };
    setup::ensure(Purpose::Demo)?;
    if !quick {
        setup::ensure(Purpose::Check)?;
        setup::ensure(Purpose::Interop)?;
        check::run()?;
    }
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    let mut tests = |name: &str, arguments: &[&str]| -> Result<(), String> {
        step(name, || {
            if !cargo_test(arguments, &mut counts)? {
                failures.push(name.to_owned());
            }
            Ok(())
        })
    };
    tests(
        "unit and scenario tests",
        &[
            "--workspace",
            "--exclude",
            "wakeline-interop",
            "--exclude",
            "wakeline-e2e",
            "--no-fail-fast",
            "--lib",
            "--bins",
            "--tests",
        ],
    )?;
    tests("documentation tests", &["--workspace", "--no-fail-fast", "--doc"])?;
    // The simulation is only worth its while optimised; the programs are built for the demo anyway.
    tests("simulation", &["--release", "-p", "wakeline-sim", "--no-fail-fast"])?;
    if !quick {
        // Built here and not by the tests: what an earlier run left beside them would be an older program.
        step("the program for interop", || {
            shell::run(shell::cargo(&["build", "--quiet", "--release", "-p", "wakeline"]))
        })?;
        tests(
            "interop",
            &["--release", "-p", "wakeline-interop", "--no-fail-fast", "--", "--test-threads=1"],
        )?;
        tests("pages in a browser", &["-p", "wakeline-e2e", "--no-fail-fast", "--lib", "--tests"])?;
    }
    step("demo", || match demo::once() {
        Ok(()) => {
            counts.passed += 1;
            Ok(())
        }
        Err(why) => {
            println!("{why}");
            counts.failed += 1;
            failures.push("demo".into());
            Ok(())
        }
    })?;
    println!("{} passed, {} failed, {} skipped", counts.passed, counts.failed, counts.skipped);
    if failures.is_empty() { Ok(()) } else { Err(format!("failed: {}", failures.join(", "))) }
}

/// Runs `cargo test`, shows what it prints and adds up its closing lines.
fn cargo_test(arguments: &[&str], counts: &mut Counts) -> Result<bool, String> {
    let mut test = shell::cargo(&["test", "--quiet"]);
    test.args(arguments);
    shell::stream(test, |line| {
        if let Some(closing) = closing_line(line) {
            counts.passed += closing.passed;
            counts.failed += closing.failed;
            counts.skipped += closing.skipped;
            if closing.passed + closing.failed + closing.skipped == 0 {
                return;
            }
        }
        if !line.is_empty() && line != "running 0 tests" {
            println!("{line}");
        }
    })
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn closing_line(line: &str) -> Option<Counts> {
    let figures = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut counts = Counts::default();
    for figure in figures.split("; ") {
        let (number, word) = figure.trim().split_once(' ')?;
        let Ok(number) = number.parse() else { continue };
        match word {
            "passed" => counts.passed = number,
            "failed" => counts.failed = number,
            "ignored" => counts.skipped = number,
            _ => {}
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_read_and_others_are_not() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s";
        let counts = closing_line(line).unwrap();
        assert_eq!((counts.passed, counts.failed, counts.skipped), (3, 2, 1));
        assert!(closing_line("running 3 tests").is_none());
    }
}
