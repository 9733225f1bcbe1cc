//! A phone in a process of its own, driven by JSON lines.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command as Process};
use wakeline_engine::TimedEvent;
use wakeline_user_agent::Command;

use crate::exit::{Exit, Failure};

/// How long a phone may take to end in good order.
const FAREWELL: Duration = Duration::from_secs(5);

/// A line of a headless phone.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    /// It is up since then.
    Ready {
        /// `ready`; without the word it is another line.
        #[serde(rename = "reply")]
        _reply: Ready,
        /// When its process began.
        at_us: u64,
    },
    /// Something happened.
    Event(Box<TimedEvent>),
    /// An answer to something that this program did not ask.
    Other(serde::de::IgnoredAny),
}

/// The one word.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ready {
    Ready,
}

/// The process.
pub(crate) struct PhoneChild {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl PhoneChild {
    /// Starts `wakeline phone --headless` with further flags; its log goes beside the others in `folder`.
    pub(crate) fn start(
        name: &'static str,
        folder: &Path,
        flags: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Result<PhoneChild, Failure> {
        let failed =
            |error: std::io::Error| Failure::new(Exit::Failed, format!("{name} cannot be started: {error}"));
        let log = folder.join(format!("{name}.log"));
        let to = std::fs::OpenOptions::new().create(true).append(true).open(&log).map_err(failed)?;
        let mut process = Process::new(std::env::current_exe().map_err(failed)?);
        process.args(["phone", "--headless"]).args(flags);
        // The demo's phones are described by their files alone.
        for (variable, _) in std::env::vars_os() {
            let text = variable.to_string_lossy().to_ascii_uppercase();
            if text.starts_with("WP_") || (text.starts_with("WAKELINE_") && text != crate::log::VARIABLE) {
                process.env_remove(&variable);
            }
        }
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(to).kill_on_drop(true);
        let mut child = process.spawn().map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new(Exit::Failed, format!("{name} has no pipes")));
        };
        Ok(PhoneChild { name, child, input, lines: BufReader::new(output).lines(), log })
    }

    /// Its next line; safe to drop while waiting.
    pub(crate) async fn line(&mut self) -> Result<Line, Failure> {
        loop {
            match self.lines.next_line().await {
                Ok(Some(text)) => {
                    if let Ok(line) = serde_json::from_str(&text) {
                        return Ok(line);
                    }
                }
                Ok(None) | Err(_) => return Err(self.gone()),
            }
        }
    }

    /// Asks for something.
    pub(crate) async fn command(&mut self, command: &Command) -> Result<(), Failure> {
        let line =
            serde_json::to_string(command).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        self.write(&line).await
    }

    async fn write(&mut self, line: &str) -> Result<(), Failure> {
        let written = self.input.write_all(format!("{line}\n").as_bytes()).await;
        if written.is_err() { Err(self.gone()) } else { Ok(()) }
    }

    /// Ends it as a system ends an app: at once and without a word to anybody.
    pub(crate) async fn kill(mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().await;
    }

    /// Ends it in good order, so that its recording is whole.
    pub(crate) async fn quit(mut self) {
        let asked = self.write("{\"command\":\"quit\"}").await;
        let ended = async {
            // Nobody is to wait for a reader.
            while let Ok(Some(_)) = self.lines.next_line().await {}
            self.child.wait().await
        };
        // One that does not end by itself is killed with this value.
        if asked.is_ok() {
            let _ = tokio::time::timeout(FAREWELL, ended).await;
        }
    }

    fn gone(&self) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(8)..].join("\n");
        Failure::new(Exit::Failed, format!("{} ended unexpectedly; its last words:\n{tail}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart() {
        let read = |text: &str| serde_json::from_str::<Line>(text).unwrap();
        assert!(matches!(read(r#"{"reply":"ready","at_us":5,"version":"0"}"#), Line::Ready { at_us: 5, .. }));
        let event = r#"{"at_us":7,"event":"problem","account":null,"call":null,"cause":"c","cure":""}"#;
        assert!(matches!(read(event), Line::Event(event) if event.at_us == 7));
        assert!(matches!(read(r#"{"reply":"stats","at_us":5}"#), Line::Other(_)));
    }
}
