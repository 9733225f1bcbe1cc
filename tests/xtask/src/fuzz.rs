//! `cargo xtask fuzz`: libFuzzer on the targets of `wakeline-fuzz`, for real.
//!
//! The targets are plain functions; `tests/fuzz/libfuzzer` is the one program around them. Coverage comes from flags
//! that the stable compiler has, so no other toolchain is needed.

use crate::shell;

const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1";

/// Runs one target, or each in turn, for a bounded time (60 s each when nothing is said).
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let mut seconds = 60_u32;
    let mut chosen = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--seconds" {
            let number = words.next().ok_or("--seconds wants a number")?;
            seconds = number.parse().map_err(|_| format!("--seconds {number}: not a number"))?;
        } else {
            chosen.push(word.clone());
        }
    }
    let folder = shell::root().join("tests/fuzz");
    let targets = seeds(&folder.join("seeds"))?;
    if let Some(unknown) = chosen.iter().find(|name| !targets.contains(name)) {
        return Err(format!("there is no target '{unknown}'; there are: {}", targets.join(", ")));
    }
    let build = folder.join("target");
    let host = host()?;
    let mut cargo = shell::cargo(&[
        "build",
        "--release",
        "--manifest-path",
        "tests/fuzz/libfuzzer/Cargo.toml",
        "--target-dir",
    ]);
    // With a target named, the flags reach our code and not the build scripts, which have no libFuzzer to link with.
    cargo.arg(&build).args(["--target", &host]).env("RUSTFLAGS", COVERAGE);
    shell::run(cargo)?;
    let program = build.join(&host).join("release/wakeline-libfuzzer");
    for target in if chosen.is_empty() { &targets } else { &chosen } {
        println!("== {target}, {seconds} s");
        let corpus = folder.join("corpus").join(target);
        std::fs::create_dir_all(&corpus).map_err(|error| format!("{}: {error}", corpus.display()))?;
        let mut fuzzer = shell::command(&program, &[]);
        fuzzer
            .env("WAKELINE_FUZZ_TARGET", target)
            .args([&corpus, &folder.join("seeds").join(target)])
            .args([format!("-max_total_time={seconds}"), "-timeout=1".into(), "-rss_limit_mb=1024".into()])
            .arg(format!("-artifact_prefix={}/", folder.join("seeds").join(target).display()));
        shell::run(fuzzer)
            .map_err(|why| format!("{why}\nthe input that did it stands in tests/fuzz/seeds/{target}"))?;
    }
    Ok(())
}

/// The name of the machine we build on, as the compiler has it.
fn host() -> Result<String, String> {
    let told = shell::output(shell::command("rustc", &["-vV"]))?;
    let line = told.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

/// The targets are the folders of seeds.
fn seeds(folder: &std::path::Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    Ok(names)
}
