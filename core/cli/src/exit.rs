//! How the program ends, for scripts.

use std::process::ExitCode;

use wakeline_engine::StartError;
use wakeline_user_agent::EndedCall;

/// The exit codes, as `wakeline call --help` lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// All is well; a call was answered and ended in good order.
    Well = 0,
    /// Something else went wrong.
    Failed = 1,
    /// The command line or the settings cannot work.
    Usage = 2,
    /// The far end is busy.
    Busy = 3,
    /// The far end declined.
    Declined = 4,
    /// Nobody answered.
    NoAnswer = 5,
    /// The account could not be registered.
    NotRegistered = 6,
    /// There is no such address, or it cannot be reached.
    Unreachable = 7,
    /// It was answered, and broke off: no media, or the far end was lost.
    BrokenOff = 8,
}

/// The table for `--help`.
pub(crate) const TABLE: &str = "\
Exit codes:
  0  answered, and ended by either side      5  nobody answered
  1  failed                                  6  not registered
  2  wrong command line or settings          7  no such address, or not to be reached
  3  busy                                    8  answered, then broken off (no media, far end lost)
  4  declined";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// What the end of a call means to a script.
    pub(crate) fn of(ended: &EndedCall) -> Exit {
        match (ended.reason.as_str(), ended.code) {
            ("busy", _) | (_, Some(486 | 600)) => Exit::Busy,
            ("declined", _) | (_, Some(603)) => Exit::Declined,
            ("media-timeout" | "peer-lost" | "session-expired", _) if ended.talk_ms > 0 => Exit::BrokenOff,
            ("hangup" | "hangup-by-peer" | "call-timeout" | "replaced", _) if ended.talk_ms > 0 => Exit::Well,
            ("no-answer" | "cancelled" | "hangup" | "timed-out", _) | (_, Some(408 | 480 | 487)) => {
                Exit::NoAnswer
            }
            ("unreachable", _) | (_, Some(404 | 410 | 484 | 485 | 502 | 503 | 604)) => Exit::Unreachable,
            _ => Exit::Failed,
        }
    }
}

/// Why a task could not be done; cause and cure in one text.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    exit: Exit,
    text: String,
}

impl Failure {
    pub(crate) fn new(exit: Exit, text: impl Into<String>) -> Failure {
        Failure { exit, text: text.into() }
    }

    /// Why a phone did not start: settings that cannot work are the command line's fault.
    pub(crate) fn of_start(error: &StartError) -> Failure {
        let exit = match error {
            StartError::Settings(_) => Exit::Usage,
            StartError::State(_, _) | StartError::System(_) => Exit::Failed,
        };
        Failure::new(exit, error.to_string())
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(reason: &str, code: Option<u16>, talk_ms: u64) -> EndedCall {
        serde_json::from_value(serde_json::json!({
            "last": {
                "call": 0, "account": 0, "external_id": "2ed6657d-e927-568b-95e1-2665a8aea6a2", "wake_id": null,
                "direction": "outgoing", "phase": "ending", "peer": "sip:bob@example.org", "peer_name": null,
                "on_hold": false, "held_by_peer": false, "microphone_muted": false, "speaker_muted": false,
                "encryption": "unknown", "codec": null, "media_flows": false
            },
            "reason": reason, "code": code, "by_peer": true, "total_ms": talk_ms + 500, "talk_ms": talk_ms
        }))
        .unwrap()
    }

    #[test]
    fn every_end_of_a_call_has_its_code() {
        for (reason, code, talk, exit) in [
            ("hangup", None, 4000, Exit::Well),
            ("hangup-by-peer", None, 4000, Exit::Well),
            ("busy", Some(486), 0, Exit::Busy),
            ("rejected", Some(600), 0, Exit::Busy),
            ("declined", Some(603), 0, Exit::Declined),
            ("no-answer", None, 0, Exit::NoAnswer),
            ("hangup", None, 0, Exit::NoAnswer),
            ("rejected", Some(480), 0, Exit::NoAnswer),
            ("rejected", Some(404), 0, Exit::Unreachable),
            ("failed", Some(503), 0, Exit::Unreachable),
            ("unreachable", None, 0, Exit::Unreachable),
            ("media-timeout", None, 9000, Exit::BrokenOff),
            ("failed", Some(500), 0, Exit::Failed),
            ("media-refused", Some(488), 0, Exit::Failed),
        ] {
            assert_eq!(Exit::of(&ended(reason, code, talk)), exit, "{reason} {code:?}");
        }
    }

    #[test]
    fn the_help_lists_every_code() {
        for code in 0..=Exit::BrokenOff as u8 {
            assert!(TABLE.contains(&format!("  {code}  ")), "{code}");
        }
    }
}
