//! Running other programs, with errors that name the command.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The workspace's root folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// A command that starts in the workspace's root.
pub(crate) fn command(program: impl AsRef<OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    command
}

/// Cargo, with our arguments, in the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    command(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()), arguments)
}

/// How the command is written in a shell, for messages.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// Runs a command to its end; anything but success is an error.
pub(crate) fn run(mut command: Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("cannot start '{}': {error}", shown(&command)))?;
    if status.success() { Ok(()) } else { Err(format!("'{}' ended with {status}", shown(&command))) }
}

/// Runs a command and returns what it printed; the end of it stands in the error when the command fails.
pub(crate) fn output(mut command: Command) -> Result<String, String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start '{}': {error}", shown(&command)))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let end = last_lines(&printed, 20);
        return Err(format!("'{}' ended with {}; it printed:\n{end}", shown(&command), output.status));
    }
    Ok(printed)
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// Runs a command, hands every line of its output to `line` as it comes, and tells whether it succeeded.
pub(crate) fn stream(mut command: Command, mut line: impl FnMut(&str)) -> Result<bool, String> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start '{}': {error}", shown(&command)))?;
    if let Some(out) = child.stdout.take() {
        for text in BufReader::new(out).lines().map_while(Result::ok) {
            line(&text);
        }
    }
    Ok(child.wait().map_err(|error| format!("'{}': {error}", shown(&command)))?.success())
}

/// Whether a program of this name is on the search path.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|paths| std::env::split_paths(&paths).any(|folder| folder.join(program).is_file()))
}

/// The folder of build output; what Debian's compiler builds goes into a folder of its own in it, so that neither
/// compiler throws the other's work away.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Where tools that we build ourselves are kept: outside the clone, so that the next clone finds them.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("WAKELINE_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        std::env::var_os("HOME").map(PathBuf::from).unwrap_or_else(std::env::temp_dir).join(".cache/wakeline")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_what_was_printed() {
        let mut failing = command("sh", &["-c", "seq 1 30; exit 3"]);
        failing.stderr(Stdio::null());
        let error = output(failing).unwrap_err();
        assert!(error.contains("exit status: 3") && error.ends_with("\n29\n30"), "{error}");
        assert!(error.contains("printed:\n11\n"), "{error}");
    }
}
