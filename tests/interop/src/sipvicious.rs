//! SIPVicious, the scanner that every server on the Internet meets within minutes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::place::{Folder, Process};

/// What one of its tools found out.
pub struct Findings {
    /// Everything it printed.
    pub text: String,
    /// How long it took; as long as it was let run when it did not end.
    pub took: Duration,
    /// Whether it came to its end.
    pub ended: bool,
}

impl Findings {
    /// The value that it shows beside a name in its table.
    pub fn beside(&self, name: &str) -> Option<String> {
        let rows = self.text.lines().filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            Some((cells.next()?, cells.next()?.to_owned()))
        });
        rows.into_iter().find(|(first, _)| *first == name).map(|(_, second)| second)
    }

    /// How many rows its table has.
    pub fn rows(&self) -> usize {
        self.text.lines().filter(|line| line.starts_with("| ")).count().saturating_sub(1)
    }
}

/// Runs `svmap`, `svwar` or `svcrack` from this loopback address against 127.0.0.1, this long at most.
pub fn run(
    folder: &Folder,
    tool: &str,
    from: &str,
    port: u16,
    arguments: &[&str],
    limit: Duration,
) -> Findings {
    let home = folder.path(&format!("{tool}-{from}"));
    std::fs::create_dir_all(&home).expect("a folder");
    let mut command = Command::new(tool);
    command.args(["-b", from, "-p", &port.to_string()]).args(arguments).arg("127.0.0.1");
    // It keeps its sessions below this folder.
    command.env("HOME", &home).env("COLUMNS", "200");
    let log = format!("{tool}-{from}.log");
    let started = Instant::now();
    let mut process = Process::start(&command, folder, &log);
    let ended = process.ends_within(limit).is_some();
    let took = started.elapsed();
    drop(process);
    Findings { text: read(&folder.path(&log)), took, ended }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).expect("what it printed")).into_owned()
}
