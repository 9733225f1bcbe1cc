//! The push service: what it does with what it is handed.

use std::time::Duration;

/// How pushes are delivered.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// From the gateway's request to the phone.
    pub delay: Duration,
    /// What may come on top of it.
    pub jitter: Duration,
    /// Lost, in percent.
    pub loss: u32,
    /// Delivered twice, in percent.
    pub double: u32,
    /// From the push to the app's process being up.
    pub process_start: Duration,
    /// What the gateway is told of every request.
    pub verdict: wakeline_registrar::PushResult,
}

impl Default for Delivery {
    fn default() -> Delivery {
        Delivery {
            delay: Duration::from_millis(150),
            jitter: Duration::ZERO,
            loss: 0,
            double: 0,
            process_start: Duration::from_millis(30),
            verdict: wakeline_registrar::PushResult::Accepted,
        }
    }
}
