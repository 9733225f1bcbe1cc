//! What was received of one source: sequence validation (RFC 3550 A.1), loss (A.3) and jitter (A.8).

use core::time::Duration;

use wakeline_clock::Time;

use crate::NtpTime;
use crate::ntp::to_short;
use crate::rtcp::ReportBlock;
use crate::sequence::{sequence_distance, timestamp_distance};

/// A jump forward of this many numbers is a restart, not loss (A.1).
const MAX_DROPOUT: i16 = 3000;
/// A number this far back is late or a duplicate; further back is a restart (A.1).
const MAX_MISORDER: i16 = 100;

/// How a packet's number relates to those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arrival {
    /// The first, or the next: in order, perhaps after a gap of lost packets.
    InOrder {
        /// How many numbers were skipped.
        gap: u16,
    },
    /// Out of order, or a duplicate.
    Late,
    /// Too far away to count: waits for a second packet in sequence before it is believed.
    Suspect,
    /// The second packet of a new numbering: the source restarted, and the counts with it.
    Restarted,
}

/// The reception figures of one SSRC.
#[derive(Clone, Debug)]
pub struct Reception {
    clock_rate: u32,
    ssrc: u32,
    numbering: Option<Numbering>,
    /// Jitter in timestamp units times 16, as A.8 keeps it.
    jitter: u64,
    last_transit: Option<(Time, u32)>,
    last_sender_report: Option<(Time, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Numbering {
    base: u16,
    highest: u16,
    cycles: u32,
    /// What a packet after a jump must carry for the jump to be believed.
    awaited_after_jump: Option<u16>,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
}

impl Numbering {
    const fn starting_at(sequence: u16) -> Numbering {
        Numbering {
            base: sequence,
            highest: sequence,
            cycles: 0,
            awaited_after_jump: None,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
        }
    }

    fn extended_highest(&self) -> u64 {
        u64::from(self.cycles) << 16 | u64::from(self.highest)
    }

    fn expected(&self) -> u64 {
        (self.extended_highest() + 1).saturating_sub(u64::from(self.base))
    }
}

impl Reception {
    /// Begins for a source whose timestamps count at `clock_rate`.
    pub fn new(ssrc: u32, clock_rate: u32) -> Reception {
        Reception {
            clock_rate: clock_rate.max(1),
            ssrc,
            numbering: None,
            jitter: 0,
            last_transit: None,
            last_sender_report: None,
        }
    }

    /// The source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Counts one packet.
    pub fn packet(&mut self, now: Time, sequence: u16, timestamp: u32) -> Arrival {
        let arrival = self.number(sequence);
        match arrival {
            Arrival::Suspect => return arrival,
            Arrival::Restarted => {
                self.last_transit = None;
                self.jitter = 0;
            }
            Arrival::InOrder { .. } | Arrival::Late => {}
        }
        self.transit(now, timestamp);
        arrival
    }

    fn number(&mut self, sequence: u16) -> Arrival {
        let numbering = self.numbering.get_or_insert(Numbering::starting_at(sequence));
        if numbering.received == 0 {
            numbering.received = 1;
            return Arrival::InOrder { gap: 0 };
        }
        let distance = sequence_distance(numbering.highest, sequence);
        if (1..MAX_DROPOUT).contains(&distance) {
            if sequence < numbering.highest {
                numbering.cycles = numbering.cycles.wrapping_add(1);
            }
            numbering.highest = sequence;
            numbering.received += 1;
            numbering.awaited_after_jump = None;
            return Arrival::InOrder { gap: (distance - 1).unsigned_abs() };
        }
        if (-MAX_MISORDER..=0).contains(&distance) {
            numbering.received += 1;
            return Arrival::Late;
        }
        if numbering.awaited_after_jump == Some(sequence) {
            // Two packets in sequence: the other side restarted without telling (A.1).
            *numbering = Numbering::starting_at(sequence);
            numbering.received = 1;
            return Arrival::Restarted;
        }
        numbering.awaited_after_jump = Some(sequence.wrapping_add(1));
        Arrival::Suspect
    }

    fn transit(&mut self, now: Time, timestamp: u32) {
        if let Some((before, stamp_before)) = self.last_transit {
            let units =
                u128::from(now.since(before).as_nanos() as u64) * u128::from(self.clock_rate) / 1_000_000_000;
            let units = i64::try_from(units).unwrap_or(i64::MAX);
            let moved = i64::from(timestamp_distance(stamp_before, timestamp));
            let difference = units.saturating_sub(moved).unsigned_abs().min(u64::from(u32::MAX));
            // J += (|D| - J)/16, in sixteenths and rounded as A.8 does.
            self.jitter = (self.jitter + difference).saturating_sub((self.jitter + 8) >> 4);
        }
        self.last_transit = Some((now, timestamp));
    }

    /// Remembers a sender report of this source, for LSR and DLSR.
    pub fn sender_report(&mut self, now: Time, sent: NtpTime) {
        self.last_sender_report = Some((now, sent.middle()));
    }

    /// Packets counted, duplicates included.
    pub fn received(&self) -> u64 {
        self.numbering.map_or(0, |numbering| numbering.received)
    }

    /// Packets that should have come.
    pub fn expected(&self) -> u64 {
        self.numbering.map_or(0, |numbering| numbering.expected())
    }

    /// Packets lost so far; negative with duplicates (A.3).
    pub fn lost(&self) -> i64 {
        i64::try_from(self.expected()).unwrap_or(i64::MAX)
            - i64::try_from(self.received()).unwrap_or(i64::MAX)
    }

    /// Jitter in timestamp units.
    pub fn jitter(&self) -> u32 {
        u32::try_from(self.jitter >> 4).unwrap_or(u32::MAX)
    }

    /// Jitter as a span.
    pub fn jitter_span(&self) -> Duration {
        Duration::from_nanos(
            u64::from(self.jitter()).saturating_mul(1_000_000_000) / u64::from(self.clock_rate),
        )
    }

    /// The report block that is due now, and the begin of the next interval (A.3).
    pub fn report(&mut self, now: Time) -> Option<ReportBlock> {
        let lost = self.lost().clamp(-0x80_0000, 0x7F_FFFF) as i32;
        let jitter = self.jitter();
        let numbering = self.numbering.as_mut()?;
        let expected = numbering.expected();
        let expected_interval = expected.saturating_sub(numbering.expected_prior);
        let received_interval = numbering.received.saturating_sub(numbering.received_prior);
        numbering.expected_prior = expected;
        numbering.received_prior = numbering.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction = (lost_interval << 8).checked_div(expected_interval).unwrap_or(0).min(255);
        let (last_sender_report, delay) = match self.last_sender_report {
            Some((at, middle)) => (middle, to_short(now.since(at))),
            None => (0, 0),
        };
        Some(ReportBlock {
            ssrc: self.ssrc,
            fraction_lost: fraction as u8,
            cumulative_lost: lost,
            highest_sequence: numbering.extended_highest() as u32,
            jitter,
            last_sender_report,
            delay_since_last_sender_report: delay,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn steady_packets_have_no_loss_and_no_jitter() {
        let mut reception = Reception::new(9, 8000);
        for n in 0..100_u32 {
            let sequence = 65500_u16.wrapping_add(n as u16);
            assert_eq!(
                reception.packet(at(u64::from(n) * 20), sequence, n * 160),
                Arrival::InOrder { gap: 0 }
            );
        }
        let report = reception.report(at(2000)).unwrap();
        assert_eq!((report.fraction_lost, report.cumulative_lost, report.jitter), (0, 0, 0));
        assert_eq!(report.highest_sequence, 0x1_0000 + 63, "wrapped once");
    }

    #[test]
    fn every_fourth_packet_lost_is_a_quarter() {
        let mut reception = Reception::new(9, 8000);
        for n in 0..401_u16 {
            if n % 4 != 3 {
                reception.packet(at(u64::from(n) * 20), n, u32::from(n) * 160);
            }
        }
        let report = reception.report(at(8000)).unwrap();
        assert_eq!(report.cumulative_lost, 100);
        assert_eq!(report.fraction_lost, 63, "100/401 of 256");
        let quiet = reception.report(at(9000)).unwrap();
        assert_eq!((quiet.fraction_lost, quiet.cumulative_lost), (0, 100));
    }

    #[test]
    fn duplicates_make_the_loss_negative() {
        let mut reception = Reception::new(9, 8000);
        reception.packet(at(0), 1, 0);
        assert_eq!(reception.packet(at(1), 1, 0), Arrival::Late);
        assert_eq!(reception.lost(), -1);
        assert_eq!(reception.report(at(2)).unwrap().cumulative_lost, -1);
    }

    #[test]
    fn alternating_delay_converges_to_its_mean_difference() {
        let mut reception = Reception::new(9, 8000);
        for n in 0..1000_u32 {
            let late = if n % 2 == 0 { 0 } else { 10 };
            reception.packet(at(u64::from(n) * 20 + late), n as u16, n * 160);
        }
        // Every transit differs from the one before by 10 ms, 80 units.
        assert!((78..=80).contains(&reception.jitter()), "{}", reception.jitter());
        assert_eq!(reception.jitter_span(), Duration::from_micros(u64::from(reception.jitter()) * 125));
    }

    #[test]
    fn a_jump_is_believed_at_the_second_packet_in_sequence() {
        let mut reception = Reception::new(9, 8000);
        reception.packet(at(0), 100, 0);
        assert_eq!(reception.packet(at(20), 30_000, 0), Arrival::Suspect);
        assert_eq!(reception.packet(at(40), 101, 320), Arrival::InOrder { gap: 0 }, "a stray, no restart");
        assert_eq!(reception.packet(at(60), 30_000, 0), Arrival::Suspect);
        assert_eq!(reception.packet(at(80), 30_001, 160), Arrival::Restarted);
        assert_eq!((reception.received(), reception.expected()), (1, 1));
        assert_eq!(reception.packet(at(100), 30_005, 800), Arrival::InOrder { gap: 3 });
    }

    #[test]
    fn reports_tell_when_the_last_sender_report_came() {
        let mut reception = Reception::new(9, 8000);
        assert!(reception.report(at(0)).is_none(), "nothing received, nothing to report");
        reception.packet(at(0), 1, 0);
        reception.sender_report(at(1000), NtpTime(0x0000_1234_5678_0000));
        let report = reception.report(at(2500)).unwrap();
        assert_eq!(report.last_sender_report, 0x1234_5678);
        assert_eq!(report.delay_since_last_sender_report, 0x1_8000);
    }
}
