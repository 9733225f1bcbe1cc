//! RTCP compound packets (RFC 3550 §6, RFC 3611, RFC 5506): read, and written in the order given.
//!
//! What is not known, and what is known but broken inside, is kept as [`RtcpPacket::Unknown`], so that a part that a
//! peer invents does not take the reports beside it along.

mod extended;
mod report;
mod source;

pub use extended::{Dlrr, ExtendedBlock, ExtendedReport, VoipMetrics};
pub use report::{ReceiverReport, ReportBlock, SenderReport};
pub use source::{Application, Description, DescriptionItem, Goodbye};

use crate::RtpError;

/// One packet of a compound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RtcpPacket {
    /// SR, type 200.
    SenderReport(SenderReport),
    /// RR, type 201.
    ReceiverReport(ReceiverReport),
    /// SDES, type 202: one chunk per source.
    Description(Vec<Description>),
    /// BYE, type 203.
    Goodbye(Goodbye),
    /// APP, type 204.
    Application(Application),
    /// XR, type 207.
    ExtendedReport(ExtendedReport),
    /// Any other, whole with its header.
    Unknown(Vec<u8>),
}

/// The two packet types RFC 5761 §4 gives to RTCP: a second byte of 192 to 223.
pub const fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.len() >= 4 && datagram[0] >> 6 == 2 && datagram[1] >= 192 && datagram[1] <= 223
}

/// Reads a compound, or a reduced-size packet (RFC 5506). At most a datagram's worth of small packets.
pub fn parse(datagram: &[u8]) -> Result<Vec<RtcpPacket>, RtpError> {
    let mut packets = Vec::new();
    let mut rest = datagram;
    loop {
        let Some(&[first, kind, high, low]) = rest.first_chunk() else {
            return Err(RtpError::Truncated("RTCP header"));
        };
        if first >> 6 != 2 {
            return Err(RtpError::Version);
        }
        if !(192..=223).contains(&kind) {
            return Err(RtpError::NotRtcp);
        }
        let length = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
        let (packet, after) = rest.split_at_checked(length).ok_or(RtpError::Truncated("RTCP packet"))?;
        let padding = match (first & 0x20 != 0, packet.last()) {
            (false, _) | (true, None) => 0,
            (true, Some(&count)) if count > 0 && usize::from(count) <= length - 4 => usize::from(count),
            (true, Some(_)) => return Err(RtpError::Padding),
        };
        let body = &packet[4..length - padding];
        packets.push(read(kind, first & 0x1F, body).unwrap_or_else(|| RtcpPacket::Unknown(packet.to_vec())));
        if after.is_empty() {
            return Ok(packets);
        }
        rest = after;
    }
}

fn read(kind: u8, count: u8, body: &[u8]) -> Option<RtcpPacket> {
    match kind {
        200 => SenderReport::read(count, body).map(RtcpPacket::SenderReport),
        201 => ReceiverReport::read(count, body).map(RtcpPacket::ReceiverReport),
        202 => source::read_descriptions(count, body).map(RtcpPacket::Description),
        203 => Goodbye::read(count, body).map(RtcpPacket::Goodbye),
        204 => Application::read(count, body).map(RtcpPacket::Application),
        207 => ExtendedReport::read(body).map(RtcpPacket::ExtendedReport),
        _ => None,
    }
}

/// Writes the packets as one compound.
pub fn write(packets: &[RtcpPacket]) -> Result<Vec<u8>, RtpError> {
    let mut out = Vec::with_capacity(128);
    for packet in packets {
        packet.write(&mut out)?;
    }
    Ok(out)
}

impl RtcpPacket {
    /// Appends the packet.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), RtpError> {
        let start = out.len();
        let result = match self {
            RtcpPacket::SenderReport(report) => framed(out, 200, |out| report.write(out)),
            RtcpPacket::ReceiverReport(report) => framed(out, 201, |out| report.write(out)),
            RtcpPacket::Description(chunks) => {
                framed(out, 202, |out| source::write_descriptions(chunks, out))
            }
            RtcpPacket::Goodbye(goodbye) => framed(out, 203, |out| goodbye.write(out)),
            RtcpPacket::Application(application) => framed(out, 204, |out| application.write(out)),
            RtcpPacket::ExtendedReport(report) => framed(out, 207, |out| report.write(out)),
            RtcpPacket::Unknown(bytes) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
        };
        if result.is_err() {
            out.truncate(start);
        }
        result
    }
}

/// Writes a header around a body; the body's writer gives the header's count.
fn framed(
    out: &mut Vec<u8>,
    kind: u8,
    body: impl FnOnce(&mut Vec<u8>) -> Result<usize, RtpError>,
) -> Result<(), RtpError> {
    let start = out.len();
    out.extend_from_slice(&[0x80, kind, 0, 0]);
    let count = body(out)?;
    let count = u8::try_from(count).ok().filter(|&count| count < 32);
    out[start] |= count.ok_or(RtpError::TooLarge("RTCP count"))?;
    while !(out.len() - start).is_multiple_of(4) {
        out.push(0);
    }
    let words = u16::try_from((out.len() - start) / 4 - 1).map_err(|_| RtpError::TooLarge("RTCP packet"))?;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
    Ok(())
}

/// Takes big-endian numbers from the front of a body.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from(self.u32()?) << 32 | u64::from(self.u32()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NtpTime;

    fn block(ssrc: u32) -> ReportBlock {
        ReportBlock {
            ssrc,
            fraction_lost: 12,
            cumulative_lost: -3,
            highest_sequence: 0x0002_FFFF,
            jitter: 44,
            last_sender_report: 0x1234_5678,
            delay_since_last_sender_report: 99,
        }
    }

    fn everything() -> Vec<RtcpPacket> {
        vec![
            RtcpPacket::SenderReport(SenderReport {
                ssrc: 1,
                ntp: NtpTime(0x0102_0304_0506_0708),
                rtp_timestamp: 160,
                packets: 50,
                octets: 8000,
                blocks: vec![block(2), block(3)],
            }),
            RtcpPacket::ReceiverReport(ReceiverReport { ssrc: 1, blocks: vec![block(4)] }),
            RtcpPacket::Description(vec![
                Description::cname(1, "a1"),
                Description { ssrc: 2, items: vec![DescriptionItem { kind: 6, text: b"abc".to_vec() }] },
                Description { ssrc: 3, items: vec![] },
            ]),
            RtcpPacket::ExtendedReport(ExtendedReport {
                ssrc: 1,
                blocks: vec![
                    ExtendedBlock::ReceiverReferenceTime(NtpTime(77)),
                    ExtendedBlock::Dlrr(vec![Dlrr { ssrc: 2, last_receiver_report: 5, delay: 6 }]),
                    ExtendedBlock::VoipMetrics(VoipMetrics { ssrc: 2, mos_cq: 41, ..VoipMetrics::UNKNOWN }),
                    ExtendedBlock::Unknown { kind: 99, specific: 7, body: vec![1, 2, 3, 4] },
                ],
            }),
            RtcpPacket::Application(Application {
                subtype: 3,
                ssrc: 1,
                name: *b"WAKE",
                data: vec![1, 2, 3, 4],
            }),
            RtcpPacket::Unknown(vec![0x80, 210, 0, 1, 1, 2, 3, 4]),
            RtcpPacket::Goodbye(Goodbye { sources: vec![1, 2], reason: Some("moved".into()) }),
        ]
    }

    #[test]
    fn a_compound_of_every_kind_reads_back() {
        let bytes = write(&everything()).unwrap();
        assert!(bytes.len().is_multiple_of(4) && is_rtcp(&bytes));
        assert_eq!(parse(&bytes).unwrap(), everything());
    }

    #[test]
    fn a_sender_report_is_laid_out_as_in_rfc_3550() {
        let bytes = write(&everything()[..1]).unwrap();
        assert_eq!(bytes[..8], [0x82, 200, 0, 18, 0, 0, 0, 1]);
        assert_eq!(bytes[28..36], [0, 0, 0, 2, 12, 0xFF, 0xFF, 0xFD], "block: ssrc, fraction, lost -3");
    }

    #[test]
    fn a_known_type_with_a_broken_inside_is_kept_as_unknown() {
        // An RR that claims two blocks and carries none.
        let broken = [0x82, 201, 0, 1, 0, 0, 0, 1];
        assert_eq!(parse(&broken).unwrap(), [RtcpPacket::Unknown(broken.to_vec())]);
    }

    #[test]
    fn padding_of_the_last_packet_is_left_out() {
        let padded = [0xA0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4];
        let report = ReceiverReport { ssrc: 1, blocks: vec![] };
        assert_eq!(parse(&padded).unwrap(), [RtcpPacket::ReceiverReport(report)]);
        assert_eq!(parse(&[0xA0, 201, 0, 1, 0, 0, 0, 9]), Err(RtpError::Padding));
        assert_eq!(parse(&[0xA0, 201, 0, 1, 0, 0, 0, 0]), Err(RtpError::Padding));
    }

    #[test]
    fn broken_framing_is_an_error() {
        assert_eq!(parse(&[]), Err(RtpError::Truncated("RTCP header")));
        assert_eq!(parse(&[0x80, 201, 0, 9, 0, 0, 0, 1]), Err(RtpError::Truncated("RTCP packet")));
        assert_eq!(parse(&[0x00, 201, 0, 0]), Err(RtpError::Version));
        assert_eq!(parse(&[0x80, 96, 0, 0]), Err(RtpError::NotRtcp));
        assert!(!is_rtcp(&[0x80, 191, 0, 0]) && is_rtcp(&[0x80, 192, 0, 0]));
    }

    #[test]
    fn more_than_a_count_can_say_is_not_written() {
        let report = RtcpPacket::ReceiverReport(ReceiverReport { ssrc: 1, blocks: vec![block(1); 32] });
        let mut out = vec![7];
        assert_eq!(report.write(&mut out), Err(RtpError::TooLarge("RTCP count")));
        assert_eq!(out, [7]);
    }
}
