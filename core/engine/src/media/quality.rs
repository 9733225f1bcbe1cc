//! How a call sounds, in figures.

use serde::{Deserialize, Serialize};
use wakeline_user_agent::CallId;

/// How a call sounds.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Quality {
    /// Which call.
    pub call: Option<CallId>,
    /// Packets of the far end that never came, in percent.
    pub loss_percent: f32,
    /// Interarrival jitter (RFC 3550 §6.4.1), in milliseconds.
    pub jitter_ms: f32,
    /// Round trip by RTCP, in milliseconds, once a report has come back.
    pub round_trip_ms: Option<f32>,
    /// The receive side's delay (jitter buffer and decoder), in milliseconds.
    pub delay_ms: f32,
    /// Samples that had to be invented, in percent.
    pub concealed_percent: f32,
    /// Estimated mean opinion score, 1 to 4.5 (ITU-T G.107, simplified).
    pub mos: f32,
    /// Packets sent and received.
    pub packets: (u64, u64),
}
