//! `[timers]` and `[expiry]`: waiting times and lifetimes, in seconds.

use std::time::Duration;

use serde::Deserialize;
use wakeline_registrar as registrar;

use super::ConfigError;

/// RFC 8599 §5.5: a proxy wants this much of a binding's lifetime left to wake its phone.
const TIME_TO_WAKE: u32 = 120;

/// Waiting times, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timers {
    /// A connection counts as proven.
    pub proven: u64,
    /// From push to REGISTER.
    pub wake: u64,
    /// The same with web push.
    pub wake_webpush: u64,
    /// From INVITE to the end of ringing.
    pub ring_total: u64,
    /// Memory of ended calls.
    pub memory: u64,
    /// Keep-alive interval of phones.
    pub flow_timer: u64,
}

/// Lifetimes of bindings, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expiry {
    /// Without push: at least.
    pub plain_min: u32,
    /// When none is asked for.
    pub plain_default: u32,
    /// At most.
    pub plain_max: u32,
    /// With push: at least.
    pub push_min: u32,
    /// When none is asked for.
    pub push_default: u32,
    /// At most.
    pub push_max: u32,
}

impl Default for Timers {
    fn default() -> Timers {
        Timers { proven: 15, wake: 20, wake_webpush: 35, ring_total: 55, memory: 90, flow_timer: 120 }
    }
}

impl Default for Expiry {
    fn default() -> Expiry {
        Expiry {
            plain_min: 60,
            plain_default: 3600,
            plain_max: 7200,
            push_min: 3600,
            push_default: 7 * 86_400,
            push_max: 30 * 86_400,
        }
    }
}

impl Timers {
    /// The machine's times; those that the file does not name stay as they are.
    pub(super) fn tell(&self, timers: &mut registrar::Timers) {
        let seconds = Duration::from_secs;
        timers.proven = seconds(self.proven);
        timers.wake = seconds(self.wake);
        timers.wake_webpush = seconds(self.wake_webpush);
        timers.ring_total = seconds(self.ring_total);
        timers.memory = seconds(self.memory);
        timers.flow_timer = seconds(self.flow_timer);
    }
}

impl Expiry {
    /// Without and with push.
    pub(super) fn checked(&self) -> Result<(registrar::Expiry, registrar::Expiry), ConfigError> {
        let rising = |key, min: u32, default: u32, max: u32| {
            if min <= default && default <= max {
                Ok(registrar::Expiry { min, default, max })
            } else {
                Err(ConfigError::value(key, "min, default and max must not fall"))
            }
        };
        let plain = rising("expiry.plain_min", self.plain_min, self.plain_default, self.plain_max)?;
        let push = rising("expiry.push_min", self.push_min, self.push_default, self.push_max)?;
        if self.push_min <= TIME_TO_WAKE {
            let why = "a push binding must leave 120 seconds to wake its phone (RFC 8599 §5.5)";
            return Err(ConfigError::value("expiry.push_min", why));
        }
        Ok((plain, push))
    }
}
