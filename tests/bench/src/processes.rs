//! What processes cost, read from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

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

/// What each thread of some processes has cost so far: processor seconds, and how often it went to sleep of its own will.
pub type Costs = BTreeMap<PathBuf, (f64, f64)>;

/// What these processes' threads have cost so far.
pub fn costs(ids: &[u32]) -> Costs {
    let tasks = ids.iter().filter_map(|id| fs::read_dir(format!("/proc/{id}/task")).ok()).flatten().flatten();
    tasks.map(|task| (task.path(), of_task(&task.path()))).collect()
}

fn of_task(path: &Path) -> (f64, f64) {
    // The scheduler's own count in nanoseconds; ticks of 10 ms are too coarse here.
    let text = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
    let processor =
        text.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or_default() / 1e9;
    let text = fs::read_to_string(path.join("status")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
    let wakeups = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default();
    (processor, wakeups)
}

/// What was spent between two counts: of threads that began meanwhile all, of those that ended nothing.
pub fn spent(before: &Costs, after: &Costs) -> (f64, f64) {
    after.iter().fold((0.0, 0.0), |sum, (task, now)| {
        let then = before.get(task).copied().unwrap_or_default();
        (sum.0 + now.0 - then.0, sum.1 + now.1 - then.1)
    })
}

/// Processor time of these processes so far, in seconds.
pub fn processor(ids: &[u32]) -> f64 {
    spent(&Costs::new(), &costs(ids)).0
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

/// What a span of time costs these processes: processor seconds, and wake-ups.
pub fn over<T>(ids: &[u32], span: impl FnOnce() -> T) -> (f64, f64, T) {
    let before = costs(ids);
    let result = span();
    let (processor, wakeups) = spent(&before, &costs(ids));
    (processor, wakeups, result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_ended_takes_nothing_off() {
        let costs = |all: &[(&str, f64)]| -> Costs {
            all.iter().map(|(task, cost)| (PathBuf::from(task), (*cost, 1.0))).collect()
        };
        let (before, after) = (costs(&[("1", 5.0), ("2", 3.0)]), costs(&[("1", 5.5), ("3", 0.25)]));
        assert_eq!(spent(&before, &after), (0.75, 1.0));
    }
}
