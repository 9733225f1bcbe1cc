//! NTP times as RTCP carries them (RFC 3550 §4), and the round trip they give (§6.4.1).
//!
//! RFC 3550 lets a sender count from any origin as long as the origin does not move; a [`Time`] therefore serves, and
//! the wall clock, which jumps (fault F10), is only an option.

use core::time::Duration;

use wakeline_clock::{Time, WallTime};

/// Seconds from 1900 to 1970.
const EPOCH_1970: u64 = 2_208_988_800;

/// 32 bits of seconds, 32 bits of fraction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The time since the origin of `time`'s clock; round trips need no more.
    pub const fn from_time(time: Time) -> NtpTime {
        NtpTime::from_parts(time.as_nanos() / 1_000_000_000, time.as_nanos() % 1_000_000_000)
    }

    /// The calendar time.
    pub const fn from_wall(wall: WallTime) -> NtpTime {
        NtpTime::from_parts(wall.0 / 1000 + EPOCH_1970, wall.0 % 1000 * 1_000_000)
    }

    const fn from_parts(seconds: u64, nanos: u64) -> NtpTime {
        // The 32-bit seconds wrap in 2036 and by design nobody minds.
        NtpTime((seconds << 32) | ((nanos << 32) / 1_000_000_000))
    }

    /// The middle 32 bits: the form of LSR fields, in 1/65536 s.
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// A span in 1/65536 s, the unit of DLSR fields; saturates.
pub fn to_short(span: Duration) -> u32 {
    let whole = span.as_secs().saturating_mul(65536);
    let part = u64::from(span.subsec_nanos()) * 65536 / 1_000_000_000;
    u32::try_from(whole.saturating_add(part)).unwrap_or(u32::MAX)
}

/// A span from 1/65536 s.
pub const fn from_short(short: u32) -> Duration {
    Duration::from_nanos(short as u64 * 1_000_000_000 / 65536)
}

/// The round trip when a report block with these fields arrives at `arrival` (RFC 3550 §6.4.1); `None` when the peer
/// has seen no report of ours, or its figures would make the answer arrive before it was asked.
pub const fn round_trip(arrival: NtpTime, last_report: u32, delay: u32) -> Option<Duration> {
    if last_report == 0 {
        return None;
    }
    let trip = arrival.middle().wrapping_sub(last_report).wrapping_sub(delay) as i32;
    // Rounding may take a loopback trip a tick or two below zero.
    if trip >= 0 {
        Some(from_short(trip as u32))
    } else if trip >= -2 {
        Some(Duration::ZERO)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_3550_figure_2() {
        // A = 0xb710:8000, LSR = 0xb705:2000, DLSR = 0x0005:4000; the delay is 0x0006:2000 = 6.125 s.
        let arrival = NtpTime(0x0000_b710_8000_0000);
        assert_eq!(round_trip(arrival, 0xb705_2000, 0x0005_4000), Some(Duration::from_millis(6125)));
    }

    #[test]
    fn a_lying_delay_gives_no_round_trip() {
        let arrival = NtpTime::from_time(Time::from_millis(10_000));
        assert_eq!(round_trip(arrival, 0, 0), None);
        assert_eq!(round_trip(arrival, arrival.middle(), 65536), None);
        assert_eq!(round_trip(arrival, arrival.middle(), 1), Some(Duration::ZERO));
    }

    #[test]
    fn calendar_and_fraction() {
        assert_eq!(NtpTime::from_wall(WallTime(500)).0, EPOCH_1970 << 32 | 1 << 31);
        assert_eq!(to_short(Duration::from_millis(1500)), 0x1_8000);
        assert_eq!(from_short(0x1_8000), Duration::from_millis(1500));
        assert_eq!(to_short(Duration::MAX), u32::MAX);
    }
}
