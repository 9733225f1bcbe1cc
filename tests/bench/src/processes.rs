//! What processes cost, read from `/proc`.

use std::fs;

/// A process and all that descend from it.
pub fn family(first: u32) -> Vec<u32> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc").expect("a list of processes").flatten() {
        let Ok(id) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let Some((_, tail)) = stat.rsplit_once(") ") else { continue };
        let parent = tail.split(' ').nth(1).and_then(|text| text.parse::<u32>().ok()).unwrap_or_default();
        all.push((id, parent));
    }
    let mut family = vec![first];
    let mut at = 0;
    while let Some(&id) = family.get(at) {
        family.extend(all.iter().filter(|(_, parent)| *parent == id).map(|(child, _)| *child));
        at += 1;
    }
    family
}

/// Processor time of these processes so far, in seconds.
pub fn processor(ids: &[u32]) -> f64 {
    // The scheduler's own count in nanoseconds; ticks of 10 ms are too coarse here.
    let of_task = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default() / 1e9
    };
    ids.iter()
        .filter_map(|id| fs::read_dir(format!("/proc/{id}/task")).ok())
        .flat_map(|tasks| tasks.flatten().map(|task| of_task(task.path())).collect::<Vec<_>>())
        .sum()
}

/// A field of `smaps_rollup` summed over these processes, in KiB: `Rss`, `Pss`.
pub fn memory(ids: &[u32], field: &str) -> f64 {
    let of = |id: &u32| -> f64 {
        let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(&format!("{field}:")));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default()
    };
    ids.iter().map(of).sum()
}

/// How often these processes' threads were put to sleep and woken of their own will so far.
pub fn wakeups(ids: &[u32]) -> f64 {
    let of_task = |path: std::path::PathBuf| -> f64 {
        let text = fs::read_to_string(path.join("status")).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default()
    };
    ids.iter()
        .filter_map(|id| fs::read_dir(format!("/proc/{id}/task")).ok())
        .flat_map(|tasks| tasks.flatten().map(|task| of_task(task.path())).collect::<Vec<_>>())
        .sum()
}

/// What a span of time costs these processes: processor seconds, and wake-ups.
pub fn over<T>(ids: &[u32], span: impl FnOnce() -> T) -> (f64, f64, T) {
    let before = (processor(ids), wakeups(ids));
    let result = span();
    (processor(ids) - before.0, wakeups(ids) - before.1, result)
}
