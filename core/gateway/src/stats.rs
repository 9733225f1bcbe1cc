//! What the gateway is doing, in numbers.

use serde::Serialize;
use wakeline_registrar::{Gauges, Leg};

use crate::push::CanaryReport;

/// A snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// Milliseconds since the start.
    pub up_ms: u64,
    /// The machine's tables.
    pub gauges: Gauges,
    /// Other nodes of this gateway that live.
    pub nodes: usize,
    /// Those of them that calls can be handed to now.
    pub linked_nodes: usize,
    /// Open streams (TCP, TLS, WebSocket).
    pub streams: usize,
    /// Those of them that have not registered.
    pub unregistered_streams: usize,
    /// Senders that were refused of late.
    pub refused_senders: usize,
    /// Push requests without an answer yet.
    pub pushes_on_their_way: usize,
    /// Datagrams that could not be sent.
    pub udp_dropped: u64,
    /// Changes that wait for the store.
    pub store_waiting: usize,
    /// Why the store takes nothing, if it does not.
    pub store_trouble: Option<String>,
    /// What the canary pushes have found.
    pub canaries: Vec<CanaryReport>,
    /// What happened since the start.
    pub counters: Counters,
    /// From the push to the REGISTER of the device that was waited for.
    #[serde(skip)]
    pub wake: Durations,
    /// From the INVITE to the first ringing.
    #[serde(skip)]
    pub ring: Durations,
}

/// How long something took, counted by limits: a histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Durations {
    counts: [u64; LIMITS.len()],
    count: u64,
    sum: f64,
}

/// Upper limits in seconds: a wake over an open connection, over a push, and where callers give up.
const LIMITS: [f64; 12] = [0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0];

impl Durations {
    pub(crate) fn add(&mut self, seconds: f64) {
        self.count += 1;
        self.sum += seconds;
        if let Some(place) = LIMITS.iter().position(|limit| seconds <= *limit) {
            self.counts[place] += 1;
        }
    }

    /// Each limit in seconds with how many took at most that long.
    pub fn up_to(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        LIMITS.iter().zip(&self.counts).scan(0, |sum, (limit, count)| {
            *sum += count;
            Some((*limit, *sum))
        })
    }

    /// Seconds altogether, and how many.
    pub fn total(&self) -> (f64, u64) {
        (self.sum, self.count)
    }
}

/// What happened since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Messages sent.
    pub sent: u64,
    /// REGISTERs accepted.
    pub registered: u64,
    /// REGISTERs refused.
    pub register_refused: u64,
    /// Requests let in.
    pub requests: u64,
    /// Requests refused.
    pub requests_refused: u64,
    /// Pushes asked for.
    pub pushes: u64,
    /// Pushes that the service did not take.
    pub pushes_failed: u64,
    /// Requests held for a sleeping device.
    pub held: u64,
    /// Devices that did not come in time.
    pub wakes_expired: u64,
    /// Wakes refused for their number.
    pub over_quota: u64,
    /// Subscriptions taken in.
    pub subscribed: u64,
    /// Publications taken in.
    pub published: u64,
    /// NOTIFYs of the gateway's own.
    pub notified: u64,
    /// Calls that went to voicemail.
    pub diverted: u64,
    /// Requests kept for devices that slept.
    pub mail_kept: u64,
    /// Devices that took a kept request.
    pub mail_delivered: u64,
    /// Devices that would not take one.
    pub mail_refused: u64,
    /// Kept requests whose time was over.
    pub mail_expired: u64,
    /// Requests that there was no room to keep.
    pub mail_full: u64,
    /// Bytes that were no message.
    pub garbage: u64,
    /// Requests that found no next hop of their upstream up.
    pub upstream_down: u64,
    /// Times that a next hop could not be reached or did not answer.
    pub hops_lost: u64,
    /// Connections closed to make room for newer ones.
    pub evicted: u64,
    /// Connections closed because they did not read.
    pub given_up: u64,
    /// Requests that were not looked at, because their sender was refused too often.
    pub turned_away: u64,
}

impl Counters {
    pub(crate) fn count(&mut self, leg: &Leg) {
        let counter = match leg {
            Leg::Registered { .. } => &mut self.registered,
            Leg::RegisterRefused(_) => &mut self.register_refused,
            Leg::InviteIn { .. } => &mut self.requests,
            Leg::RequestRefused(_) => &mut self.requests_refused,
            Leg::PushAsked { .. } => &mut self.pushes,
            Leg::PushFailed(_) => &mut self.pushes_failed,
            Leg::Held(_) => &mut self.held,
            Leg::WakeExpired(_) => &mut self.wakes_expired,
            Leg::OverQuota => &mut self.over_quota,
            Leg::Subscribed => &mut self.subscribed,
            Leg::Published => &mut self.published,
            Leg::Notified => &mut self.notified,
            Leg::Diverted => &mut self.diverted,
            Leg::MailKept(_) => &mut self.mail_kept,
            Leg::MailDelivered => &mut self.mail_delivered,
            Leg::MailRefused(_) => &mut self.mail_refused,
            Leg::MailExpired => &mut self.mail_expired,
            Leg::MailFull => &mut self.mail_full,
            Leg::Garbage => &mut self.garbage,
            Leg::UpstreamDown => &mut self.upstream_down,
            Leg::HopDown(_) => &mut self.hops_lost,
            Leg::PushAccepted(_)
            | Leg::MadeRoom(_)
            | Leg::TooManyBindings
            | Leg::HopOpen(_)
            | Leg::LineBound
            | Leg::LineRefused(_)
            | Leg::RegisterIn(_)
            | Leg::RegisterOk(_)
            | Leg::InviteOut { .. }
            | Leg::Ringing(_)
            | Leg::Answered(_)
            | Leg::Refused(..)
            | Leg::FlowLost(_)
            | Leg::LateWake(_)
            | Leg::CallerGone
            | Leg::FinalOut(_) => return,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_cumulatively_and_the_longest_only_in_the_total() {
        let mut durations = Durations::default();
        for seconds in [0.01, 0.02, 0.6, 100.0] {
            durations.add(seconds);
        }
        let up_to: Vec<u64> = durations.up_to().map(|(_, count)| count).collect();
        assert_eq!(up_to, [2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3]);
        assert_eq!(durations.total().1, 4);
    }
}
