//! What a datagram on a media port is, by its first bytes (RFC 7983 §7, RFC 5761 §4).

use wakeline_rtp::rtcp::is_rtcp;

/// The kinds of datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// First byte 0 to 3.
    Stun,
    /// 16 to 19.
    Zrtp,
    /// 20 to 63.
    Dtls,
    /// 64 to 79.
    TurnChannel,
    /// 128 to 191 and an RTCP packet type.
    Rtcp,
    /// 128 to 191 else.
    Rtp,
    /// Nothing of these, or nothing at all.
    Unknown,
}

/// Names a datagram.
pub fn classify(datagram: &[u8]) -> Kind {
    match datagram.first() {
        Some(0..=3) => Kind::Stun,
        Some(16..=19) => Kind::Zrtp,
        Some(20..=63) => Kind::Dtls,
        Some(64..=79) => Kind::TurnChannel,
        Some(128..=191) if is_rtcp(datagram) => Kind::Rtcp,
        Some(128..=191) => Kind::Rtp,
        Some(_) | None => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_has_its_kind() {
        for first in 0..=255_u8 {
            let expected = match first {
                0..=3 => Kind::Stun,
                16..=19 => Kind::Zrtp,
                20..=63 => Kind::Dtls,
                64..=79 => Kind::TurnChannel,
                128..=191 => Kind::Rtp,
                _ => Kind::Unknown,
            };
            assert_eq!(classify(&[first, 0, 0, 0]), expected, "{first}");
        }
        assert_eq!(classify(&[0x80, 200, 0, 0]), Kind::Rtcp);
        assert_eq!(
            classify(&[0x80, 0x80 | 72, 0, 0]),
            Kind::Rtcp,
            "RTP types 64 to 95 with marker are given up"
        );
        assert_eq!(classify(&[]), Kind::Unknown);
    }
}
