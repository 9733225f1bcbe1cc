//! Every seed of every target, and some mutations of each, run again: what a fuzzer once found stays found.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use wakeline_entropy::Entropy;
use wakeline_fuzz::TARGETS;
use wakeline_vectors::mutate::mutate;

/// Mutations of each seed.
const MUTATIONS: usize = 8;
/// No seed is larger: they are read by people too.
const LARGEST: usize = 16 * 1024;

fn seeds_of(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

#[test]
fn every_target_has_seeds_and_every_folder_of_seeds_a_target() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len(), "two targets of one name");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let folders: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(folders, targets);
    for target in &targets {
        let seeds = seeds_of(target);
        assert!(!seeds.is_empty(), "{target} has no seeds");
        for (path, bytes) in seeds {
            assert!(bytes.len() <= LARGEST, "{} is too large for a seed", path.display());
        }
    }
}

#[test]
fn every_seed_and_its_mutations_come_back() {
    // One thread for each half: the targets are independent of each other.
    let broken: Vec<String> = std::thread::scope(|scope| {
        let halves = [0, 1].map(|half| {
            scope.spawn(move || TARGETS.iter().skip(half).step_by(2).filter_map(replay).collect::<Vec<_>>())
        });
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Replays one target; the first input that breaks a law.
fn replay(target: &wakeline_fuzz::Target) -> Option<String> {
    let seeds = seeds_of(target.name);
    let mut entropy = Entropy::from_number(3261);
    for (path, bytes) in &seeds {
        let name = path.file_name()?.to_string_lossy();
        if let Some(broken) = run(target, bytes, &name) {
            return Some(broken);
        }
        for _ in 0..MUTATIONS {
            let other = &seeds[entropy.below(u32::try_from(seeds.len()).unwrap()) as usize].1;
            let changed = mutate(bytes, other, &mut entropy);
            if let Some(broken) = run(target, &changed, &format!("a mutation of {name}")) {
                return Some(broken);
            }
        }
    }
    None
}

fn run(target: &wakeline_fuzz::Target, bytes: &[u8], name: &str) -> Option<String> {
    let outcome = std::panic::catch_unwind(|| (target.run)(bytes));
    outcome.err().map(|_| format!("{}: {name}: {}", target.name, bytes.escape_ascii()))
}
