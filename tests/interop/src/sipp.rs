//! SIPp as a scripted peer.

use std::path::Path;
use std::process::Command;

use crate::place::{Folder, Process, wait_until};

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

/// Waits until SIPp hears UDP at this port: a call that comes before is refused by ICMP, and our phone believes that. The
/// kernel's list is read because a trial of our own could take the port away.
pub fn hears(port: u16) {
    let local = format!(":{port:04X}");
    wait_until("SIPp opens its port", || {
        let sockets = std::fs::read_to_string("/proc/self/net/udp").unwrap_or_default();
        sockets.lines().filter_map(|line| line.split_whitespace().nth(1)).any(|at| at.ends_with(&local))
    });
}
