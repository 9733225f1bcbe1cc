//! Telephone events: DTMF digits as RTP payloads (RFC 4733 §2.3, §3.2).

use crate::RtpError;

/// The four-byte payload of one event packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TelephoneEvent {
    /// Which event; 0 to 15 are the digits (RFC 4733 §3.2).
    pub event: u8,
    /// Whether the event has ended; the last packet is sent three times (§2.5.1.4).
    pub end: bool,
    /// Power below 0 dBm0, 0 to 63; digits are sent at about 10.
    pub volume: u8,
    /// How long the event has lasted, in timestamp units.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Reads a payload. More events in one payload is RFC 2198's business; what follows the first is left alone.
    pub fn parse(payload: &[u8]) -> Result<TelephoneEvent, RtpError> {
        let Some(&[event, flags, high, low]) = payload.first_chunk() else {
            return Err(RtpError::Truncated("telephone event"));
        };
        Ok(TelephoneEvent {
            event,
            end: flags & 0x80 != 0,
            volume: flags & 0x3F,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The payload; the volume is held to its six bits.
    pub fn to_bytes(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event, u8::from(self.end) << 7 | self.volume.min(63), high, low]
    }

    /// The digit of this event, if it is one.
    pub fn digit(self) -> Option<char> {
        digit_of(self.event)
    }
}

/// The keys in event order: `0`-`9`, `*`, `#`, `A`-`D`.
const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

/// The digit of an event number; also 16, the hook flash, as `!`.
pub fn digit_of(event: u8) -> Option<char> {
    if event == 16 {
        return Some('!');
    }
    DIGITS.get(usize::from(event)).copied().map(char::from)
}

/// The event number of a digit, in either case.
pub fn event_of(digit: char) -> Option<u8> {
    if digit == '!' {
        return Some(16);
    }
    let digit = digit.to_ascii_uppercase();
    DIGITS.iter().position(|&known| char::from(known) == digit).and_then(|place| u8::try_from(place).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payload_is_laid_out_as_in_rfc_4733() {
        let event = TelephoneEvent { event: 11, end: true, volume: 10, duration: 800 };
        assert_eq!(event.to_bytes(), [11, 0x8A, 0x03, 0x20]);
        assert_eq!(TelephoneEvent::parse(&event.to_bytes()), Ok(event));
        assert_eq!(event.digit(), Some('#'));
        let reserved = TelephoneEvent::parse(&[1, 0x4A, 0, 160, 9, 9]).unwrap();
        assert_eq!((reserved.end, reserved.volume, reserved.duration), (false, 10, 160), "R bit ignored");
        assert!(TelephoneEvent::parse(&[1, 2, 3]).is_err());
    }

    #[test]
    fn digits_and_events_are_two_ways_of_one_table() {
        for event in 0..=16 {
            assert_eq!(event_of(digit_of(event).unwrap()), Some(event));
        }
        assert_eq!(event_of('d'), Some(15));
        assert_eq!(event_of('x'), None);
        assert_eq!(digit_of(17), None);
    }
}
