//! One RTP packet: a view that borrows from the datagram, and its writer (RFC 3550 §5.1, §5.3.1).

use crate::RtpError;

/// Bytes of the fixed header.
const FIXED_HEADER: usize = 12;

/// An RTP packet. Read from a datagram with [`RtpPacket::parse`], or filled in and written with [`RtpPacket::write`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RtpPacket<'a> {
    /// For audio: the first packet of a talk spurt (RFC 3551 §4.1), or of a telephone event.
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Counts packets, wraps.
    pub sequence: u16,
    /// Counts samples of the payload type's clock, wraps.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
    /// Sources a mixer mixed.
    pub csrcs: Csrcs<'a>,
    /// The header extension, if there is one.
    pub extension: Option<Extension<'a>>,
    /// The payload without padding.
    pub payload: &'a [u8],
    /// How many bytes of padding follow the payload (with the count byte); zero when there are none.
    pub padding: u8,
}

/// The list of contributing sources.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Csrcs<'a>(&'a [u8]);

impl<'a> Csrcs<'a> {
    /// A list from its wire form, four bytes each; at most 15.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Csrcs<'a>, RtpError> {
        if bytes.len() > 60 || !bytes.len().is_multiple_of(4) {
            return Err(RtpError::TooLarge("CSRC list"));
        }
        Ok(Csrcs(bytes))
    }

    /// The sources in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.0.chunks_exact(4).map(|chunk| u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len() / 4
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A header extension (RFC 3550 §5.3.1); what is inside is the profile's business.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extension<'a> {
    /// Defined by the profile; 0xBEDE marks RFC 8285 one-byte elements.
    pub profile: u16,
    /// Whole 32-bit words.
    pub data: &'a [u8],
}

/// How many bytes come before the payload: what SRTP leaves in the clear (RFC 3711 §3.1).
pub fn header_length(datagram: &[u8]) -> Result<usize, RtpError> {
    let first = *datagram.first().ok_or(RtpError::Truncated("fixed header"))?;
    if first >> 6 != 2 {
        return Err(RtpError::Version);
    }
    let mut length = FIXED_HEADER + usize::from(first & 0x0F) * 4;
    if datagram.len() < FIXED_HEADER {
        return Err(RtpError::Truncated("fixed header"));
    }
    if datagram.len() < length {
        return Err(RtpError::Truncated("CSRC list"));
    }
    if first & 0x10 != 0 {
        let words = datagram.get(length + 2..length + 4).ok_or(RtpError::Truncated("header extension"))?;
        length += 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
        if datagram.len() < length {
            return Err(RtpError::Truncated("header extension"));
        }
    }
    Ok(length)
}

impl<'a> RtpPacket<'a> {
    /// Reads a datagram. Whether it is RTP at all and not RTCP is the caller's question (RFC 5761 §4).
    pub fn parse(datagram: &'a [u8]) -> Result<RtpPacket<'a>, RtpError> {
        let start = header_length(datagram)?;
        let (header, body) = datagram.split_at(start);
        let csrc_end = FIXED_HEADER + usize::from(header[0] & 0x0F) * 4;
        let padding = match header[0] & 0x20 {
            0 => 0,
            _ => match body.last() {
                Some(&count) if count > 0 && usize::from(count) <= body.len() => count,
                _ => return Err(RtpError::Padding),
            },
        };
        Ok(RtpPacket {
            marker: header[1] & 0x80 != 0,
            payload_type: header[1] & 0x7F,
            sequence: u16::from_be_bytes([header[2], header[3]]),
            timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            csrcs: Csrcs(&header[FIXED_HEADER..csrc_end]),
            extension: (header[0] & 0x10 != 0).then(|| Extension {
                profile: u16::from_be_bytes([header[csrc_end], header[csrc_end + 1]]),
                data: &header[csrc_end + 4..],
            }),
            payload: &body[..body.len() - usize::from(padding)],
            padding,
        })
    }

    /// Appends the packet to `out`. Fails, with `out` as it was, when a part does not fit its field.
    pub fn write(&self, out: &mut Vec<u8>) -> Result<(), RtpError> {
        if self.payload_type > 127 {
            return Err(RtpError::TooLarge("payload type"));
        }
        let mut first = 0x80 | self.csrcs.len() as u8;
        if self.padding > 0 {
            first |= 0x20;
        }
        let words = match self.extension {
            None => 0,
            Some(extension) => {
                first |= 0x10;
                if !extension.data.len().is_multiple_of(4) {
                    return Err(RtpError::TooLarge("header extension"));
                }
                u16::try_from(extension.data.len() / 4).map_err(|_| RtpError::TooLarge("header extension"))?
            }
        };
        out.reserve(FIXED_HEADER + self.csrcs.0.len() + self.payload.len() + usize::from(self.padding));
        out.push(first);
        out.push(self.payload_type | if self.marker { 0x80 } else { 0 });
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(self.csrcs.0);
        if let Some(extension) = self.extension {
            out.extend_from_slice(&extension.profile.to_be_bytes());
            out.extend_from_slice(&words.to_be_bytes());
            out.extend_from_slice(extension.data);
        }
        out.extend_from_slice(self.payload);
        if self.padding > 0 {
            out.resize(out.len() + usize::from(self.padding) - 1, 0);
            out.push(self.padding);
        }
        Ok(())
    }

    /// The packet as bytes of its own.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RtpError> {
        let mut out = Vec::new();
        self.write(&mut out)?;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_everything_reads_back() {
        let csrcs = [0, 0, 0, 1, 0, 0, 0, 2];
        let packet = RtpPacket {
            marker: true,
            payload_type: 96,
            sequence: 0xFFFE,
            timestamp: 0xDEAD_BEEF,
            ssrc: 7,
            csrcs: Csrcs::from_bytes(&csrcs).unwrap(),
            extension: Some(Extension { profile: 0xBEDE, data: &[0x10, 1, 0, 0] }),
            payload: b"sound",
            padding: 3,
        };
        let bytes = packet.to_bytes().unwrap();
        assert_eq!(bytes.len(), 12 + 8 + 8 + 5 + 3);
        assert_eq!(RtpPacket::parse(&bytes), Ok(packet));
        assert_eq!(header_length(&bytes), Ok(28));
        assert_eq!(packet.csrcs.iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn the_fixed_header_is_laid_out_as_in_rfc_3550() {
        let bytes = RtpPacket {
            payload_type: 0,
            sequence: 0x0102,
            timestamp: 0x0304_0506,
            ssrc: 0x0708_090A,
            payload: &[0xFF],
            ..RtpPacket::default()
        }
        .to_bytes()
        .unwrap();
        assert_eq!(bytes, [0x80, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xFF]);
    }

    #[test]
    fn each_broken_part_is_named() {
        let parse = |bytes: &[u8]| RtpPacket::parse(bytes).map(|_| ());
        assert_eq!(parse(&[]), Err(RtpError::Truncated("fixed header")));
        assert_eq!(parse(&[0x80; 11]), Err(RtpError::Truncated("fixed header")));
        assert_eq!(parse(&[0x40; 12]), Err(RtpError::Version));
        assert_eq!(parse(&[0x8F; 40]), Err(RtpError::Truncated("CSRC list")));
        assert_eq!(parse(&[0x90; 15]), Err(RtpError::Truncated("header extension")));
        assert_eq!(parse(&[0x90; 16]), Err(RtpError::Truncated("header extension")));
        let mut padded = [0; 14];
        padded[0] = 0xA0;
        assert_eq!(parse(&padded), Err(RtpError::Padding), "a count of zero");
        padded[13] = 3;
        assert_eq!(parse(&padded), Err(RtpError::Padding), "more than the payload");
        padded[13] = 2;
        assert_eq!(parse(&padded), Ok(()));
        assert_eq!(parse(&padded[..12]), Err(RtpError::Padding), "no count byte");
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut out = vec![1];
        let packet = RtpPacket { payload_type: 128, ..RtpPacket::default() };
        assert_eq!(packet.write(&mut out), Err(RtpError::TooLarge("payload type")));
        let extension = Some(Extension { profile: 0, data: &[1, 2, 3] });
        let packet = RtpPacket { extension, ..RtpPacket::default() };
        assert_eq!(packet.write(&mut out), Err(RtpError::TooLarge("header extension")));
        assert_eq!(out, [1]);
        assert!(Csrcs::from_bytes(&[0; 64]).is_err());
        assert!(Csrcs::from_bytes(&[0; 5]).is_err());
    }
}
