//! `[limits]`: caps on everything that strangers can make grow.

use serde::Deserialize;
use wakeline_registrar as registrar;

/// Caps.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Unregistered connections from one address.
    pub unregistered_per_source: usize,
    /// Altogether.
    pub unregistered: usize,
    /// Seconds after which one is closed.
    pub unregistered_seconds: u64,
    /// Refused requests of people who are not registered, from one address, at once.
    pub refusals: u32,
    /// How many of them run off again in a second.
    pub refusals_per_second: u32,
    /// Wrong passwords from one address within ten minutes.
    pub wrong_passwords: u16,
    /// Bindings.
    pub bindings: usize,
    /// Of one address of record.
    pub bindings_per_aor: usize,
    /// Requests in progress.
    pub requests: usize,
    /// Towards one address of record.
    pub requests_per_aor: usize,
    /// Subscriptions altogether; zero: they go to the devices.
    pub subscriptions: usize,
    /// To one state, and of one watcher.
    pub subscriptions_per_aor: usize,
    /// Publications altogether.
    pub publications: usize,
    /// Wakes a minute.
    pub wakes_per_minute: u16,
    /// Wakes an hour.
    pub wakes_per_hour: u16,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            unregistered_per_source: 512,
            unregistered: 20_000,
            unregistered_seconds: 30,
            refusals: 400,
            refusals_per_second: 20,
            wrong_passwords: 100,
            bindings: 1_000_000,
            bindings_per_aor: 10,
            requests: 200_000,
            requests_per_aor: 20,
            subscriptions: 100_000,
            subscriptions_per_aor: 50,
            publications: 100_000,
            wakes_per_minute: 6,
            wakes_per_hour: 30,
        }
    }
}

impl Limits {
    /// The machine's caps; those that the file does not name stay as they are.
    pub(super) fn tell(&self, limits: &mut registrar::Limits) {
        limits.wrong_passwords = self.wrong_passwords;
        limits.bindings = self.bindings;
        limits.bindings_per_aor = self.bindings_per_aor;
        limits.contexts = self.requests;
        limits.contexts_per_aor = self.requests_per_aor;
        limits.subscriptions = self.subscriptions;
        limits.subscriptions_per_aor = self.subscriptions_per_aor;
        limits.publications = self.publications;
        let wakes = registrar::Allowance { per_minute: self.wakes_per_minute, per_hour: self.wakes_per_hour };
        limits.wakes_per_aor = wakes;
        limits.wakes_per_caller = wakes;
    }
}
