//! SIPp as a scripted peer.

use std::path::Path;
use std::process::Command;

use crate::place::{Folder, Process};

/// Starts a scenario that runs `calls` calls and then ends.
pub fn start(
    folder: &Folder,
    name: &str,
    scenario: &Path,
    port: u16,
    target: &str,
    more: &[&str],
) -> Process {
    let mut command = Command::new("sipp");
    command.arg(target).arg("-sf").arg(scenario).args(["-i", "127.0.0.1", "-mi", "127.0.0.1", "-nostdin"]);
    command.args(["-p", &port.to_string(), "-timeout", "25s", "-timeout_error"]);
    command.args(["-trace_err", "-error_file"]).arg(folder.path(&format!("{name}-errors.log")));
    command.args(["-trace_msg", "-message_file"]).arg(folder.path(&format!("{name}-messages.log")));
    command.args(more).current_dir(folder.as_path());
    Process::start(&command, folder, &format!("{name}.log"))
}
