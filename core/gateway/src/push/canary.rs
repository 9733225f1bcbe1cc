//! A push to a token of the operator's own, again and again: it tells that keys, clocks and services are in order before
//! a caller finds out that they are not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use wakeline_clock::system;
use wakeline_push::{Payload, Provider, PushParameters, PushTarget};

use super::dispatch::{Sender, Senders, target_for};
use super::{Outcome, Purpose, Push, SetupError};
use crate::config as settings;

/// How long one canary push may take.
const WITHIN: Duration = Duration::from_secs(20);

/// One canary.
#[derive(Debug)]
pub(crate) struct Canary {
    sender: Sender,
    target: PushTarget,
    every: Duration,
    place: usize,
    reports: Reports,
}

/// What all canaries have found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reports(Arc<Mutex<Vec<CanaryReport>>>);

/// What one canary has found.
#[derive(Debug, Clone, Serialize)]
pub struct CanaryReport {
    /// The push service.
    pub provider: String,
    /// Pushes that the service took.
    pub accepted: u64,
    /// Pushes that it did not take.
    pub failed: u64,
    /// How the last one went: `accepted`, `token dead`, `not authorised`...; empty before the first.
    pub last: &'static str,
    /// When that was, in milliseconds since 1970.
    pub last_at_ms: u64,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl Reports {
    pub(crate) fn all(&self) -> Vec<CanaryReport> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The canaries of the operator's file, and where they report.
///
/// # Errors
/// The first one that cannot sing.
pub(crate) fn canaries(
    senders: &Senders,
    settings: &[settings::Canary],
) -> Result<(Vec<Canary>, Reports), SetupError> {
    let reports = Reports::default();
    let canaries = settings.iter().map(|canary| {
        let provider = Provider::parse(&canary.provider);
        let wrong = |_| SetupError::Canary {
            provider: canary.provider.clone(),
            why: "provider, param and token are needed",
        };
        let parameters = PushParameters::new(provider, &canary.param, canary.token.clone()).map_err(wrong)?;
        Canary::new(senders, &parameters, Duration::from_secs(canary.every), &reports)
    });
    Ok((canaries.collect::<Result<_, _>>()?, reports))
}

impl Canary {
    /// A canary for one token.
    ///
    /// # Errors
    /// When no sender is configured for its service, or its push would ring on a phone.
    pub(crate) fn new(
        senders: &Senders,
        parameters: &PushParameters,
        every: Duration,
        reports: &Reports,
    ) -> Result<Canary, SetupError> {
        let provider = parameters.provider.as_str().to_owned();
        let wrong = |why| SetupError::Canary { provider: provider.clone(), why };
        let sender =
            senders.of(&parameters.provider).ok_or_else(|| wrong("no sender is configured for it"))?;
        let targets = parameters.targets().map_err(|_| wrong("param and token do not fit together"))?;
        let target = target_for(targets, Purpose::Refresh)
            .ok_or_else(|| wrong("a VoIP push rings; name a token for notifications (`:remote`)"))?;
        if every < Duration::from_secs(1) {
            return Err(wrong("`every` is at least one second"));
        }
        let mut all = reports.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(CanaryReport {
            provider: provider.clone(),
            accepted: 0,
            failed: 0,
            last: "",
            last_at_ms: 0,
            took_ms: 0,
        });
        Ok(Canary { sender, target, every, place: all.len() - 1, reports: reports.clone() })
    }

    /// Sings for ever.
    pub(crate) async fn run(self) {
        loop {
            self.sing().await;
            tokio::time::sleep(self.every).await;
        }
    }

    async fn sing(&self) {
        let (started, wall) = (system::now(), system::wall());
        let push = Push {
            target: self.target.clone(),
            purpose: Purpose::Refresh,
            payload: Payload::refresh(wall.0),
            call_id: None,
            until: started + WITHIN,
        };
        let outcome = self.sender.send(&push).await;
        let took = system::now().since(started);
        let mut reports = self.reports.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(report) = reports.get_mut(self.place) else { return };
        let before = report.last;
        report.last = outcome.name();
        report.last_at_ms = wall.0;
        report.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let provider = report.provider.as_str();
        if outcome == Outcome::Accepted {
            report.accepted += 1;
            if before != report.last {
                tracing::info!(provider, took_ms = report.took_ms, "canary push accepted");
            }
        } else {
            report.failed += 1;
            tracing::error!(provider, result = report.last, "canary push failed: calls will not ring");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_without_param_and_token_is_named_with_its_cure() {
        let canary = settings::Canary { provider: "fcm".to_owned(), ..settings::Canary::default() };
        let error = canaries(&Senders::default(), &[canary]).unwrap_err().to_string();
        assert!(error.contains("provider, param and token"), "{error}");
    }
}
