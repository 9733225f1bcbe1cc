//! `[mail]`: what waits for phones that sleep.

use std::time::Duration;

use serde::Deserialize;
use wakeline_registrar as registrar;

/// Messages, last states and missed calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mail {
    /// Hours that a piece waits at most.
    pub keep_hours: u64,
    /// Whether missed calls are told.
    pub missed_calls: bool,
    /// Pieces altogether; zero: none are kept.
    pub most: usize,
    /// Of one address of record.
    pub per_aor: usize,
    /// Megabytes altogether.
    pub megabytes: usize,
}

impl Default for Mail {
    fn default() -> Mail {
        Mail { keep_hours: 168, missed_calls: true, most: 200_000, per_aor: 100, megabytes: 256 }
    }
}

impl Mail {
    /// The machine's rules and caps.
    pub(super) fn tell(&self, config: &mut registrar::Config) {
        config.mail.keep = Duration::from_secs(self.keep_hours.saturating_mul(3600));
        config.mail.missed_calls =
            if self.missed_calls { registrar::MissedCalls::Message } else { registrar::MissedCalls::Silence };
        config.limits.mail = self.most;
        config.limits.mail_per_aor = self.per_aor;
        config.limits.mail_bytes = self.megabytes.saturating_mul(1 << 20);
    }
}
