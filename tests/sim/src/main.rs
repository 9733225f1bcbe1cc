//! Runs many seeds and says which of them broke a rule.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use wakeline_sim::{Run, run_pair, run_seed};

/// Random worlds and schedules against what must always hold.
#[derive(Parser)]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Threads; by default one per core.
    #[arg(long)]
    threads: Option<usize>,
    /// With a gateway of two nodes.
    #[arg(long)]
    pairs: bool,
    /// Prints everything that happens; for one seed.
    #[arg(long)]
    verbose: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let threads = arguments
        .threads
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
        .max(1);
    let started = wakeline_clock::system::now();
    let next = AtomicU64::new(arguments.from);
    let end = arguments.from.saturating_add(arguments.seeds);
    let failures: Mutex<Vec<(u64, Vec<String>)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let run = guarded(seed, arguments.pairs, arguments.verbose);
                    for line in run.timeline {
                        println!("{line}");
                    }
                    if !run.violations.is_empty()
                        && let Ok(mut failures) = failures.lock()
                    {
                        for violation in &run.violations {
                            println!("seed {seed}: {violation}");
                        }
                        failures.push((seed, run.violations));
                    }
                    let done = seed - arguments.from + 1;
                    if done.is_multiple_of(5000) {
                        println!("{done} seeds");
                    }
                }
            });
        }
    });
    let seconds = wakeline_clock::system::now().since(started).as_secs_f64().max(0.001);
    let failures = failures.into_inner().unwrap_or_default();
    let violations: usize = failures.iter().map(|(_, violations)| violations.len()).sum();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = arguments.seeds as f64 / seconds;
    println!(
        "{} seeds in {seconds:.1} s on {threads} threads, {rate:.0} seeds/s, {violations} violations in {} seeds",
        arguments.seeds,
        failures.len()
    );
    let mut kinds: std::collections::BTreeMap<String, (usize, u64)> = std::collections::BTreeMap::new();
    for (seed, violations) in &failures {
        for violation in violations {
            // Without the time and numbers, so that alike ones fall together.
            let text: String = violation.chars().skip(10).filter(|c| !c.is_ascii_digit()).take(60).collect();
            kinds.entry(text).or_insert((0, *seed)).0 += 1;
        }
    }
    for (kind, (count, seed)) in kinds {
        println!("{count:>6} x {kind} (e.g. seed {seed})");
    }
    println!("{violations} violations");
    if violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A panic is a violation like others.
fn guarded(seed: u64, pairs: bool, verbose: bool) -> Run {
    let run_seed = if pairs { run_pair } else { run_seed };
    catch_unwind(AssertUnwindSafe(|| run_seed(seed, verbose))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_else(|| "without a word".into());
        Run { violations: vec![format!("{:>9} panic: {text}", 0)], timeline: Vec::new() }
    })
}
