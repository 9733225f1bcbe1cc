//! The figures of a stream, for people and for RTCP.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wakeline_clock::Time;
use wakeline_rtp::RtcpSession;
use wakeline_rtp::rtcp::VoipMetrics;

use crate::codec::Codec;
use crate::playout::PlayoutStats;
use crate::quality::{self, Rating};

/// How far back "now" reaches for loss and quality.
const WINDOW: Duration = Duration::from_secs(5);

/// A stream's figures; counts since its begin unless said otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamStats {
    /// The codec that is played.
    pub codec: Codec,
    /// RTP packets sent.
    pub packets_sent: u32,
    /// Payload bytes sent.
    pub bytes_sent: u32,
    /// Audio packets received.
    pub packets_received: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// Packets the network lost, by the sequence numbers (RFC 3550 A.3); negative with duplicates.
    pub packets_lost: i64,
    /// Packets that came too late to be played.
    pub packets_late: u64,
    /// Packets that came twice.
    pub packets_duplicate: u64,
    /// Lost packets that were rebuilt from redundancy.
    pub packets_recovered: u64,
    /// Packets of payload types or sources that are not part of the stream.
    pub packets_foreign: u64,
    /// Interarrival jitter (RFC 3550 A.8), in milliseconds.
    pub jitter_millis: f32,
    /// The last round trip, in milliseconds.
    pub round_trip_millis: Option<f32>,
    /// What the jitter buffer adds now, and aims at, in milliseconds.
    pub playout_delay_millis: f32,
    /// See above.
    pub playout_target_millis: f32,
    /// The share of packets of the last seconds whose sound was made up, 0 to 1.
    pub effective_loss: f32,
    /// What the peer loses of ours (its last report), 0 to 1.
    pub peer_loss: Option<f32>,
    /// Milliseconds of sound that were made up.
    pub concealed_millis: u64,
    /// Milliseconds of sound that were left out to become quicker.
    pub accelerated_millis: u64,
    /// Milliseconds that were put in to become safer.
    pub expanded_millis: u64,
    /// Milliseconds of noise in the peer's pauses.
    pub noise_millis: u64,
    /// Transmission rating of the last seconds (ITU-T G.107), 0 to 100.
    pub rating: f32,
    /// Its mean opinion score, 1 to 4.5.
    pub mos: f32,
    /// The microphone's level in -dBov, 127 is silence.
    pub microphone_level: u8,
    /// The loudspeaker's.
    pub speaker_level: u8,
    /// How many packets of a hundred the peer has discarded as late, for RTCP.
    #[serde(skip)]
    late_share: f32,
}

impl StreamStats {
    /// The same as an RFC 3611 §4.7 block; what is not known says so.
    pub(crate) fn metrics(&self) -> VoipMetrics {
        let share = |value: f32| (value * 256.0).clamp(0.0, 255.0) as u8;
        let millis = |value: f32| value.clamp(0.0, 65_535.0) as u16;
        let total = self.packets_received as f32 + self.packets_lost.max(0) as f32;
        VoipMetrics {
            loss_rate: share(self.packets_lost.max(0) as f32 / total.max(1.0)),
            discard_rate: share(self.late_share),
            round_trip_delay: millis(self.round_trip_millis.unwrap_or(0.0)),
            end_system_delay: millis(self.playout_delay_millis + 40.0),
            r_factor: self.rating.clamp(0.0, 100.0) as u8,
            mos_lq: (self.mos * 10.0) as u8,
            mos_cq: (self.mos * 10.0) as u8,
            // Enhanced concealment, an adaptive buffer (§4.7.6).
            receiver_configuration: 0b1011_0000,
            buffer_nominal: millis(self.playout_target_millis),
            buffer_maximum: millis(self.playout_target_millis),
            buffer_absolute_maximum: 1_200,
            ..VoipMetrics::UNKNOWN
        }
    }
}

impl PlayoutStats {
    /// The sums of two decoders' counters, and the delays of the later.
    pub(crate) fn and(&self, later: &PlayoutStats) -> PlayoutStats {
        PlayoutStats {
            received: self.received + later.received,
            late: self.late + later.late,
            duplicates: self.duplicates + later.duplicates,
            missing: self.missing + later.missing,
            recovered: self.recovered + later.recovered,
            concealed: self.concealed + later.concealed,
            stalled: self.stalled + later.stalled,
            accelerated: self.accelerated + later.accelerated,
            expanded: self.expanded + later.expanded,
            noise: self.noise + later.noise,
            played: self.played + later.played,
            delay_micros: later.delay_micros,
            target_micros: later.target_micros,
        }
    }
}

/// What the stream itself keeps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) started: bool,
    pub(crate) foreign: u64,
    pub(crate) bytes_received: u64,
    window: Option<(Time, PlayoutStats)>,
    effective_loss: f32,
    expected: f32,
}

impl Figures {
    /// Closes a window of loss when it is full.
    pub(crate) fn watch(&mut self, now: Time, totals: PlayoutStats) {
        let (began, before) = *self.window.get_or_insert((now, totals));
        if now.since(began) < WINDOW {
            return;
        }
        let missing = (totals.missing - totals.recovered).saturating_sub(before.missing - before.recovered);
        let received = totals.received - before.received;
        self.effective_loss = missing as f32 / (missing + received).max(1) as f32;
        self.window = Some((now, totals));
    }

    /// What the encoder should expect, in per cent, after a report: up at once, down slowly.
    pub(crate) fn expected_loss(&mut self, fraction: u8) -> u8 {
        let percent = f32::from(fraction) * 100.0 / 256.0;
        self.expected = percent.max(self.expected * 0.75 + percent * 0.25);
        self.expected.round() as u8
    }

    pub(crate) fn stats(
        &self,
        rtcp: &RtcpSession,
        totals: PlayoutStats,
        codec: Codec,
        rate: u32,
        ptime: u32,
        (microphone_level, speaker_level): (u8, u8),
    ) -> StreamStats {
        let (packets_sent, bytes_sent) = rtcp.sent();
        let reception = rtcp.reception();
        let round_trip = rtcp.round_trip().map(|trip| trip.as_secs_f32() * 1000.0);
        let buffer = totals.delay_micros.max(0) as f32 / 1000.0;
        let (impairment, robustness) = codec.impairment();
        let delay = round_trip.unwrap_or(0.0) / 2.0 + buffer + ptime as f32;
        let Rating { r, mos } = quality::rate(delay, self.effective_loss, impairment, robustness);
        let millis = |samples: u64| samples * 1000 / u64::from(rate.max(1));
        StreamStats {
            codec,
            packets_sent,
            bytes_sent,
            packets_received: totals.received,
            bytes_received: self.bytes_received,
            packets_lost: reception.map_or(0, |reception| reception.lost()),
            packets_late: totals.late,
            packets_duplicate: totals.duplicates,
            packets_recovered: totals.recovered,
            packets_foreign: self.foreign,
            jitter_millis: reception.map_or(0.0, |reception| reception.jitter_span().as_secs_f32() * 1000.0),
            round_trip_millis: round_trip,
            playout_delay_millis: buffer,
            playout_target_millis: totals.target_micros.max(0) as f32 / 1000.0,
            effective_loss: self.effective_loss,
            peer_loss: rtcp.peer_report().map(|report| f32::from(report.fraction_lost) / 256.0),
            concealed_millis: millis(totals.concealed),
            accelerated_millis: millis(totals.accelerated),
            expanded_millis: millis(totals.expanded),
            noise_millis: millis(totals.noise),
            rating: r,
            mos,
            microphone_level,
            speaker_level,
            late_share: totals.late as f32 / totals.received.max(1) as f32,
        }
    }
}
