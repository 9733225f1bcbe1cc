//! The project's own tasks: `cargo xtask setup|check|layers|verify|demo|bench|fuzz|wasm|mobile`.
//!
//! Two of them are what a newcomer types: `cargo demo` (the main job, on a fresh machine) and `cargo verify` (every
//! test). Both install what they need where they may, and say exactly what is missing where they may not.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of tasks talks to its terminal")]

mod bench;
mod check;
mod demo;
mod fuzz;
mod layers;
mod mobile;
mod setup;
mod shell;
mod verify;
mod wasm;

use std::process::ExitCode;

const HELP: &str = "\
usage: cargo xtask TASK [ARGUMENTS]

  setup [--for demo|check|verify|bench]   install the Debian packages and tools that are missing (all, if nothing is named)
  layers                                  print who knows whom; fail on an edge that runs up or sideways
  check                                   format, clippy, layers, the imports of the wasm build, licences, documentation
  wasm                                    build the phone's machines for wasm32 and look at what they import
  mobile                                  type-check the engine for Android and iOS, without their SDKs
  verify [--quick]                        check, and every test there is; ends in a line of counts
  demo [-- ARGUMENTS]                     what `cargo demo` runs: a phone that is not running is woken and takes a call
  bench [ROOM…] [--pairs N] [--quick]     the scoreboard, peers measured in the same run (rooms: tests/bench/README.md)
  fuzz [TARGET] [--seconds N]             run fuzz targets for real (`verify` only replays their seeds)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = match arguments.split_first() {
        Some((task, rest)) => (task.as_str(), rest),
        None => ("help", &[][..]),
    };
    let outcome = match task {
        "setup" => setup::run(rest),
        "layers" => layers::run(),
        "check" => check::run(),
        "wasm" => wasm::run(),
        "mobile" => mobile::run(),
        "verify" => verify::run(rest),
        "demo" => demo::run(rest),
        "bench" => bench::run(rest),
        "fuzz" => fuzz::run(rest),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        unknown => Err(format!("there is no task '{unknown}'\n\n{HELP}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("xtask {task}: {why}");
            ExitCode::FAILURE
        }
    }
}
