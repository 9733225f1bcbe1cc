//! Sender and receiver reports (RFC 3550 §6.4).

use super::Reader;
use crate::{NtpTime, RtpError};

/// SR: what was sent, and what was received of others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SenderReport {
    /// Who reports.
    pub ssrc: u32,
    /// When.
    pub ntp: NtpTime,
    /// The same instant on the RTP clock.
    pub rtp_timestamp: u32,
    /// RTP packets sent since the start.
    pub packets: u32,
    /// Payload bytes sent since the start.
    pub octets: u32,
    /// One block per source received; at most 31.
    pub blocks: Vec<ReportBlock>,
}

/// RR: what was received of others.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReceiverReport {
    /// Who reports.
    pub ssrc: u32,
    /// One block per source received; at most 31.
    pub blocks: Vec<ReportBlock>,
}

/// The reception of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// Lost in the last interval, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the start; negative with duplicates. 24 bits on the wire.
    pub cumulative_lost: i32,
    /// Highest sequence number, with its wraps above.
    pub highest_sequence: u32,
    /// In timestamp units.
    pub jitter: u32,
    /// The middle of the last SR's NTP time; zero when none came.
    pub last_sender_report: u32,
    /// Since then, in 1/65536 s.
    pub delay_since_last_sender_report: u32,
}

impl ReportBlock {
    fn read(reader: &mut Reader<'_>) -> Option<ReportBlock> {
        let ssrc = reader.u32()?;
        let loss = reader.u32()?;
        Some(ReportBlock {
            ssrc,
            fraction_lost: (loss >> 24) as u8,
            // Sign-extends the low 24 bits.
            cumulative_lost: (loss << 8) as i32 >> 8,
            highest_sequence: reader.u32()?,
            jitter: reader.u32()?,
            last_sender_report: reader.u32()?,
            delay_since_last_sender_report: reader.u32()?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7F_FFFF) as u32 & 0xFF_FFFF;
        for word in [
            self.ssrc,
            u32::from(self.fraction_lost) << 24 | lost,
            self.highest_sequence,
            self.jitter,
            self.last_sender_report,
            self.delay_since_last_sender_report,
        ] {
            out.extend_from_slice(&word.to_be_bytes());
        }
    }
}

fn read_blocks(count: u8, reader: &mut Reader<'_>) -> Option<Vec<ReportBlock>> {
    // What follows the blocks is a profile's extension (§6.4.3) and nothing to us.
    (0..count).map(|_| ReportBlock::read(reader)).collect()
}

fn write_blocks(blocks: &[ReportBlock], out: &mut Vec<u8>) -> usize {
    for block in blocks {
        block.write(out);
    }
    blocks.len()
}

impl SenderReport {
    pub(super) fn read(count: u8, body: &[u8]) -> Option<SenderReport> {
        let mut reader = Reader(body);
        Some(SenderReport {
            ssrc: reader.u32()?,
            ntp: NtpTime(reader.u64()?),
            rtp_timestamp: reader.u32()?,
            packets: reader.u32()?,
            octets: reader.u32()?,
            blocks: read_blocks(count, &mut reader)?,
        })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<usize, RtpError> {
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&self.ntp.0.to_be_bytes());
        for word in [self.rtp_timestamp, self.packets, self.octets] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        Ok(write_blocks(&self.blocks, out))
    }
}

impl ReceiverReport {
    pub(super) fn read(count: u8, body: &[u8]) -> Option<ReceiverReport> {
        let mut reader = Reader(body);
        Some(ReceiverReport { ssrc: reader.u32()?, blocks: read_blocks(count, &mut reader)? })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<usize, RtpError> {
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        Ok(write_blocks(&self.blocks, out))
    }
}
