//! What an answer of Apple's service means: its error table.

use std::time::Duration;

use serde::Deserialize;
use wakeline_clock::WallTime;

/// The meaning of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApnsVerdict {
    /// 200: queued.
    Accepted,
    /// 400 BadDeviceToken: of the other environment, or no token at all.
    OtherEnvironment,
    /// 410: the token is dead.
    Gone {
        /// Since when: a token that was registered later lives.
        since: Option<WallTime>,
    },
    /// 400, 404, 405: our request is wrong. No token dies of it.
    OurBug {
        /// The service's reason.
        reason: String,
    },
    /// 403 ExpiredProviderToken.
    TokenExpired,
    /// 403: our key, team or environment is not accepted.
    NotAuthorised {
        /// The service's reason.
        reason: String,
    },
    /// 413.
    TooLarge,
    /// 429 TooManyProviderTokenUpdates: we make tokens too often.
    TooManyTokens {
        /// What the service asks for.
        retry_after: Option<Duration>,
    },
    /// 429 TooManyRequests for this device.
    TooManyPushes {
        /// What the service asks for.
        retry_after: Option<Duration>,
    },
    /// 500, 503: nothing was queued.
    Retry {
        /// What the service asks for.
        retry_after: Option<Duration>,
    },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    reason: String,
    /// Milliseconds since 1970.
    timestamp: Option<u64>,
}

impl ApnsVerdict {
    /// Reads an answer. `retry_after` is the header of that name, already a span.
    pub fn of(status: u16, body: &[u8], retry_after: Option<Duration>) -> ApnsVerdict {
        let Body { reason, timestamp } = serde_json::from_slice(body).unwrap_or_default();
        match (status, reason.as_str()) {
            (200, _) => ApnsVerdict::Accepted,
            (400, "BadDeviceToken") => ApnsVerdict::OtherEnvironment,
            (410, _) => ApnsVerdict::Gone { since: timestamp.map(WallTime) },
            (403, "ExpiredProviderToken") => ApnsVerdict::TokenExpired,
            (401 | 403, _) => ApnsVerdict::NotAuthorised { reason },
            (413, _) => ApnsVerdict::TooLarge,
            (429, "TooManyProviderTokenUpdates") => ApnsVerdict::TooManyTokens { retry_after },
            (429, _) => ApnsVerdict::TooManyPushes { retry_after },
            (500..=599, _) => ApnsVerdict::Retry { retry_after },
            (status, _) => {
                ApnsVerdict::OurBug { reason: format!("status {status} {reason}").trim_end().to_owned() }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_apples_error_table_has_its_verdict() {
        let later = Some(Duration::from_secs(7));
        let bug =
            |status: u16, reason: &str| ApnsVerdict::OurBug { reason: format!("status {status} {reason}") };
        let denied = |reason: &str| ApnsVerdict::NotAuthorised { reason: reason.to_owned() };
        let mut rows = vec![
            (200, "", ApnsVerdict::Accepted),
            (400, "BadDeviceToken", ApnsVerdict::OtherEnvironment),
            (403, "ExpiredProviderToken", ApnsVerdict::TokenExpired),
            (404, "BadPath", bug(404, "BadPath")),
            (405, "MethodNotAllowed", bug(405, "MethodNotAllowed")),
            (410, "Unregistered", ApnsVerdict::Gone { since: None }),
            (410, "ExpiredToken", ApnsVerdict::Gone { since: None }),
            (413, "PayloadTooLarge", ApnsVerdict::TooLarge),
            (429, "TooManyProviderTokenUpdates", ApnsVerdict::TooManyTokens { retry_after: later }),
            (429, "TooManyRequests", ApnsVerdict::TooManyPushes { retry_after: later }),
            (500, "InternalServerError", ApnsVerdict::Retry { retry_after: later }),
            (503, "ServiceUnavailable", ApnsVerdict::Retry { retry_after: later }),
            (503, "Shutdown", ApnsVerdict::Retry { retry_after: later }),
        ];
        for reason in [
            "DeviceTokenNotForTopic",
            "MissingTopic",
            "BadTopic",
            "TopicDisallowed",
            "InvalidPushType",
            "BadPriority",
            "BadExpirationDate",
            "PayloadEmpty",
            "DuplicateHeaders",
            "IdleTimeout",
        ] {
            rows.push((400, reason, bug(400, reason)));
        }
        for reason in [
            "InvalidProviderToken",
            "MissingProviderToken",
            "UnrelatedKeyIdInToken",
            "BadEnvironmentKeyInToken",
            "Forbidden",
        ] {
            rows.push((403, reason, denied(reason)));
        }
        for (status, reason, verdict) in rows {
            let body = format!(r#"{{"reason":"{reason}"}}"#);
            assert_eq!(ApnsVerdict::of(status, body.as_bytes(), later), verdict, "{status} {reason}");
        }
        let gone = ApnsVerdict::of(410, br#"{"reason":"Unregistered","timestamp":1789000000123}"#, None);
        assert_eq!(gone, ApnsVerdict::Gone { since: Some(WallTime(1_789_000_000_123)) });
        assert_eq!(
            ApnsVerdict::of(400, b"<html>", None),
            ApnsVerdict::OurBug { reason: "status 400".into() }
        );
    }
}
