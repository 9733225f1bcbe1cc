//! What the gateway is doing, in numbers.

use serde::Serialize;
use wakeline_registrar::{Gauges, Leg};

/// A snapshot.
#[derive(Debug, Clone, Serialize)]
pub struct Stats {
    /// Milliseconds since the start.
    pub up_ms: u64,
    /// The machine's tables.
    pub gauges: Gauges,
    /// Open streams (TCP, TLS, WebSocket).
    pub streams: usize,
    /// Those of them that have not registered.
    pub unregistered_streams: usize,
    /// Push requests without an answer yet.
    pub pushes_on_their_way: usize,
    /// Datagrams that could not be sent.
    pub udp_dropped: u64,
    /// Changes that wait for the store.
    pub store_waiting: usize,
    /// Why the store takes nothing, if it does not.
    pub store_trouble: Option<String>,
    /// What happened since the start.
    pub counters: Counters,
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
    /// Bytes that were no message.
    pub garbage: u64,
    /// Connections closed to make room for newer ones.
    pub evicted: u64,
    /// Connections closed because they did not read.
    pub given_up: u64,
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
            Leg::Garbage => &mut self.garbage,
            Leg::PushAccepted(_)
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
