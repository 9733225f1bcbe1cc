//! What an answer of the service means, and what became of a push.

use std::time::Duration;

use serde::Deserialize;
use wakeline_clock::{Time, WallTime, system};
use wakeline_push::token_mark;
use wakeline_secret::Secret;

/// What became of a push, for whoever holds a request for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The service has queued it. Only the phone's REGISTER proves that it arrived.
    Accepted,
    /// The token is gone or was never one: delete it, refuse at once, never push to it again.
    TokenDead {
        /// Since when, if the service tells: a token that was registered later lives.
        since: Option<WallTime>,
    },
    /// The token leads where we do not push: another app, an address that is not public. Keep quiet about it.
    NotAllowed {
        /// Which rule it breaks.
        why: &'static str,
    },
    /// The token is of a project that we have no account for: drop it and alarm.
    WrongProject,
    /// Our message broke the service's rules in this field: alarm, keep the token.
    OurBug {
        /// The field the service named.
        field: String,
    },
    /// Our account is not accepted, or the service lacks the vendor's credentials: alarm, keep the token.
    NotAuthorised {
        /// The service's code.
        code: String,
    },
    /// The quota is used up and nobody can wait that long.
    QuotaExceeded {
        /// How long the service asks to be left alone.
        retry_after: Duration,
    },
    /// The service did not answer, or answered with faults, until it was too late.
    Unavailable,
    /// It was too late before the first attempt (or the queue in front of the service was too long).
    TooLate,
}

impl Outcome {
    /// In two words.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::TokenDead { .. } => "token dead",
            Outcome::NotAllowed { .. } => "not allowed",
            Outcome::WrongProject => "wrong project",
            Outcome::OurBug { .. } => "our bug",
            Outcome::NotAuthorised { .. } => "not authorised",
            Outcome::QuotaExceeded { .. } => "quota exceeded",
            Outcome::Unavailable => "unavailable",
            Outcome::TooLate => "too late",
        }
    }

    /// One line in the log, as loud as an operator must hear it.
    pub(super) fn log(&self, token: &Secret, started: Time) {
        let device = token_mark(token);
        let took = system::now().since(started).as_millis();
        match self {
            Outcome::Accepted => tracing::debug!(device, took_ms = took, "push accepted"),
            Outcome::TokenDead { .. } => tracing::info!(device, "push token is dead"),
            Outcome::NotAllowed { why } => tracing::warn!(device, why, "push not allowed"),
            Outcome::Unavailable | Outcome::TooLate => {
                tracing::warn!(device, outcome = ?self, "push not delivered")
            }
            Outcome::WrongProject
            | Outcome::OurBug { .. }
            | Outcome::NotAuthorised { .. }
            | Outcome::QuotaExceeded { .. } => tracing::error!(device, outcome = ?self, "push refused"),
        }
    }
}

/// What one answer of FCM means (its error table, HTTP v1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// 200.
    Accepted,
    /// 404 UNREGISTERED, UNREGISTERED_FID, or 400 INVALID_ARGUMENT about the token itself.
    TokenDead,
    /// 403 SENDER_ID_MISMATCH.
    WrongProject,
    /// 400 with a google.rpc.BadRequest detail.
    OurBug {
        /// The field the service named.
        field: String,
    },
    /// 401: renew the access token, once.
    RenewAuth,
    /// 401 THIRD_PARTY_AUTH_ERROR, or 403 without a mismatch.
    NotAuthorised {
        /// The service's code.
        code: String,
    },
    /// 429 QUOTA_EXCEEDED.
    Quota {
        /// What the service asks for.
        retry_after: Option<Duration>,
    },
    /// 503, 500 and whatever else a server may say about itself.
    Retry {
        /// What the service asks for.
        retry_after: Option<Duration>,
    },
}

/// google.rpc.Status, as far as it is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    error: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    details: Vec<Detail>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail {
    error_code: Option<String>,
    field_violations: Vec<Violation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Violation {
    field: String,
}

impl Verdict {
    /// Reads an answer. `retry_after` is the header of that name, already a span.
    pub fn of(status: u16, body: &[u8], retry_after: Option<Duration>) -> Verdict {
        if (200..300).contains(&status) {
            return Verdict::Accepted;
        }
        let details = serde_json::from_slice::<Body>(body).unwrap_or_default().error.details;
        let code = details.iter().find_map(|detail| detail.error_code.clone()).unwrap_or_default();
        let field = details.into_iter().flat_map(|detail| detail.field_violations).next();
        match (status, code.as_str(), field) {
            // A violation that names the token is about the token, all others are about our message.
            (400, _, Some(violation)) if violation.field != "message.token" => {
                Verdict::OurBug { field: violation.field }
            }
            (400, "INVALID_ARGUMENT", _) => Verdict::TokenDead,
            (404, "UNREGISTERED" | "UNREGISTERED_FID", _) => Verdict::TokenDead,
            (403, "SENDER_ID_MISMATCH", _) => Verdict::WrongProject,
            (401, "THIRD_PARTY_AUTH_ERROR", _) => Verdict::NotAuthorised { code },
            (401, _, _) => Verdict::RenewAuth,
            (403, _, _) => Verdict::NotAuthorised { code },
            (429, _, _) => Verdict::Quota { retry_after },
            (500..=599, _, _) => Verdict::Retry { retry_after },
            // A path that does not exist, a body that is too large, a redirect: ours to repair.
            (status, _, _) => {
                Verdict::OurBug { field: format!("status {status} {code}").trim_end().to_owned() }
            }
        }
    }
}

/// Reads a Retry-After header (RFC 9110 §10.2.3): seconds, or a date that is compared with `now` (seconds since 1970).
pub(super) fn retry_after(value: &str, now: u64) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    Some(Duration::from_secs(http_date(value)?.saturating_sub(now)))
}

/// Seconds since 1970 of an HTTP date.
pub(super) fn http_date(value: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(code: &str) -> Vec<u8> {
        format!(r#"{{"error":{{"code":0,"details":[{{"@type":"x","errorCode":"{code}"}}]}}}}"#).into_bytes()
    }

    #[test]
    fn every_row_of_the_error_table_has_its_verdict() {
        let field = br#"{"error":{"details":[{"errorCode":"INVALID_ARGUMENT"},{"fieldViolations":[{"field":"message.android.ttl"}]}]}}"#;
        let token = br#"{"error":{"details":[{"fieldViolations":[{"field":"message.token"}]},{"errorCode":"INVALID_ARGUMENT"}]}}"#;
        let later = Some(Duration::from_secs(7));
        let unauthorised = |code: &str| Verdict::NotAuthorised { code: code.into() };
        let rows: Vec<(u16, Vec<u8>, Verdict)> = vec![
            (200, b"{}".to_vec(), Verdict::Accepted),
            (400, field.to_vec(), Verdict::OurBug { field: "message.android.ttl".into() }),
            (400, token.to_vec(), Verdict::TokenDead),
            (400, body("INVALID_ARGUMENT"), Verdict::TokenDead),
            (400, b"<html>".to_vec(), Verdict::OurBug { field: "status 400".into() }),
            (404, body("UNREGISTERED"), Verdict::TokenDead),
            (404, body("UNREGISTERED_FID"), Verdict::TokenDead),
            (404, b"".to_vec(), Verdict::OurBug { field: "status 404".into() }),
            (403, body("SENDER_ID_MISMATCH"), Verdict::WrongProject),
            (403, b"".to_vec(), unauthorised("")),
            (401, b"".to_vec(), Verdict::RenewAuth),
            (401, body("THIRD_PARTY_AUTH_ERROR"), unauthorised("THIRD_PARTY_AUTH_ERROR")),
            (429, body("QUOTA_EXCEEDED"), Verdict::Quota { retry_after: later }),
            (500, body("INTERNAL"), Verdict::Retry { retry_after: later }),
            (503, body("UNAVAILABLE"), Verdict::Retry { retry_after: later }),
        ];
        for (status, body, verdict) in rows {
            assert_eq!(Verdict::of(status, &body, later), verdict, "{status}");
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        assert_eq!(retry_after(" 120 ", 0), Some(Duration::from_secs(120)));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(retry_after(date, 784_111_777 - 5), Some(Duration::from_secs(5)));
        assert_eq!(retry_after(date, 784_111_777 + 5), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", 0), None);
    }
}
