//! Extended reports (RFC 3611): receiver reference time, DLRR, VoIP metrics.

use super::Reader;
use crate::{NtpTime, RtpError};

/// XR.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExtendedReport {
    /// Who reports.
    pub ssrc: u32,
    /// The report blocks in order.
    pub blocks: Vec<ExtendedBlock>,
}

/// One report block (RFC 3611 §3).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExtendedBlock {
    /// Type 4: a receiver's NTP time, for its own round trip (§4.4).
    ReceiverReferenceTime(NtpTime),
    /// Type 5: the answers to such (§4.5).
    Dlrr(Vec<Dlrr>),
    /// Type 7: how a VoIP call sounds (§4.7).
    VoipMetrics(VoipMetrics),
    /// Any other, and what is broken inside.
    Unknown {
        /// Block type.
        kind: u8,
        /// The type-specific byte.
        specific: u8,
        /// Whole 32-bit words.
        body: Vec<u8>,
    },
}

/// One sub-block of DLRR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dlrr {
    /// The receiver answered.
    pub ssrc: u32,
    /// The middle of its reference time.
    pub last_receiver_report: u32,
    /// Since then, in 1/65536 s.
    pub delay: u32,
}

/// The VoIP metrics block. Rates are in 1/256, durations in ms; 127 says "unknown" for scores and levels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VoipMetrics {
    /// The source reported on.
    pub ssrc: u32,
    /// Lost on the way.
    pub loss_rate: u8,
    /// Thrown away by the jitter buffer.
    pub discard_rate: u8,
    /// Lost and discarded within bursts.
    pub burst_density: u8,
    /// The same within gaps.
    pub gap_density: u8,
    /// Mean length of a burst.
    pub burst_duration: u16,
    /// Mean length of a gap.
    pub gap_duration: u16,
    /// Between the RTP interfaces.
    pub round_trip_delay: u16,
    /// In the end systems.
    pub end_system_delay: u16,
    /// dBm, signed.
    pub signal_level: i8,
    /// dBm, signed.
    pub noise_level: i8,
    /// Residual echo return loss in dB.
    pub residual_echo_return_loss: u8,
    /// The gap threshold, 16 as a rule.
    pub gap_threshold: u8,
    /// Transmission rating, 0 to 100.
    pub r_factor: u8,
    /// The same over the parts outside this RTP path.
    pub external_r_factor: u8,
    /// Listening quality, MOS times 10.
    pub mos_lq: u8,
    /// Conversational quality, MOS times 10.
    pub mos_cq: u8,
    /// Packet loss concealment and jitter buffer kind (§4.7.6).
    pub receiver_configuration: u8,
    /// Nominal jitter buffer delay.
    pub buffer_nominal: u16,
    /// Current maximum of it.
    pub buffer_maximum: u16,
    /// The largest it can be.
    pub buffer_absolute_maximum: u16,
}

impl VoipMetrics {
    /// A block that claims to know nothing.
    pub const UNKNOWN: VoipMetrics = VoipMetrics {
        ssrc: 0,
        loss_rate: 0,
        discard_rate: 0,
        burst_density: 0,
        gap_density: 0,
        burst_duration: 0,
        gap_duration: 0,
        round_trip_delay: 0,
        end_system_delay: 0,
        signal_level: 127,
        noise_level: 127,
        residual_echo_return_loss: 127,
        gap_threshold: 16,
        r_factor: 127,
        external_r_factor: 127,
        mos_lq: 127,
        mos_cq: 127,
        receiver_configuration: 0,
        buffer_nominal: 0,
        buffer_maximum: 0,
        buffer_absolute_maximum: 0,
    };

    fn read(body: &[u8]) -> Option<VoipMetrics> {
        let mut reader = Reader(body);
        let metrics = VoipMetrics {
            ssrc: reader.u32()?,
            loss_rate: reader.u8()?,
            discard_rate: reader.u8()?,
            burst_density: reader.u8()?,
            gap_density: reader.u8()?,
            burst_duration: reader.u16()?,
            gap_duration: reader.u16()?,
            round_trip_delay: reader.u16()?,
            end_system_delay: reader.u16()?,
            signal_level: reader.u8()? as i8,
            noise_level: reader.u8()? as i8,
            residual_echo_return_loss: reader.u8()?,
            gap_threshold: reader.u8()?,
            r_factor: reader.u8()?,
            external_r_factor: reader.u8()?,
            mos_lq: reader.u8()?,
            mos_cq: reader.u8()?,
            receiver_configuration: reader.u8()?,
            buffer_nominal: {
                reader.u8()?;
                reader.u16()?
            },
            buffer_maximum: reader.u16()?,
            buffer_absolute_maximum: reader.u16()?,
        };
        reader.0.is_empty().then_some(metrics)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&[self.loss_rate, self.discard_rate, self.burst_density, self.gap_density]);
        for span in [self.burst_duration, self.gap_duration, self.round_trip_delay, self.end_system_delay] {
            out.extend_from_slice(&span.to_be_bytes());
        }
        out.extend_from_slice(&[
            self.signal_level as u8,
            self.noise_level as u8,
            self.residual_echo_return_loss,
            self.gap_threshold,
            self.r_factor,
            self.external_r_factor,
            self.mos_lq,
            self.mos_cq,
            self.receiver_configuration,
            0,
        ]);
        for span in [self.buffer_nominal, self.buffer_maximum, self.buffer_absolute_maximum] {
            out.extend_from_slice(&span.to_be_bytes());
        }
    }
}

impl ExtendedReport {
    pub(super) fn read(body: &[u8]) -> Option<ExtendedReport> {
        let mut reader = Reader(body);
        let ssrc = reader.u32()?;
        let mut blocks = Vec::new();
        while !reader.0.is_empty() {
            let (kind, specific) = (reader.u8()?, reader.u8()?);
            let words = reader.u16()?;
            let body = reader.take(usize::from(words) * 4)?;
            blocks.push(ExtendedBlock::read(kind, specific, body));
        }
        Some(ExtendedReport { ssrc, blocks })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<usize, RtpError> {
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        for block in &self.blocks {
            block.write(out)?;
        }
        Ok(0)
    }
}

impl ExtendedBlock {
    fn read(kind: u8, specific: u8, body: &[u8]) -> ExtendedBlock {
        let known = match kind {
            4 if body.len() == 8 => {
                Reader(body).u64().map(|time| ExtendedBlock::ReceiverReferenceTime(NtpTime(time)))
            }
            5 if body.len().is_multiple_of(12) => {
                let mut reader = Reader(body);
                let answers = (0..body.len() / 12).map(|_| {
                    Some(Dlrr {
                        ssrc: reader.u32()?,
                        last_receiver_report: reader.u32()?,
                        delay: reader.u32()?,
                    })
                });
                answers.collect::<Option<Vec<_>>>().map(ExtendedBlock::Dlrr)
            }
            7 => VoipMetrics::read(body).map(ExtendedBlock::VoipMetrics),
            _ => None,
        };
        known.unwrap_or_else(|| ExtendedBlock::Unknown { kind, specific, body: body.to_vec() })
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), RtpError> {
        let start = out.len();
        match self {
            ExtendedBlock::ReceiverReferenceTime(time) => {
                out.extend_from_slice(&[4, 0, 0, 0]);
                out.extend_from_slice(&time.0.to_be_bytes());
            }
            ExtendedBlock::Dlrr(answers) => {
                out.extend_from_slice(&[5, 0, 0, 0]);
                for answer in answers {
                    for word in [answer.ssrc, answer.last_receiver_report, answer.delay] {
                        out.extend_from_slice(&word.to_be_bytes());
                    }
                }
            }
            ExtendedBlock::VoipMetrics(metrics) => {
                out.extend_from_slice(&[7, 0, 0, 0]);
                metrics.write(out);
            }
            ExtendedBlock::Unknown { kind, specific, body } => {
                out.extend_from_slice(&[*kind, *specific, 0, 0]);
                out.extend_from_slice(body);
            }
        }
        while !(out.len() - start).is_multiple_of(4) {
            out.push(0);
        }
        let words = u16::try_from((out.len() - start) / 4 - 1).map_err(|_| RtpError::TooLarge("XR block"))?;
        out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
        Ok(())
    }
}
