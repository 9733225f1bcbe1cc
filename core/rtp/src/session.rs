//! The RTCP of one audio stream with one peer: when a report is due, what it says, what the peer's reports tell
//! (RFC 3550 §6.2, §6.3; the audio call of two parties needs no member table).
//!
//! In: every RTP packet sent and received, every RTCP datagram received (in the clear), time. Out: RTCP datagrams.

use core::time::Duration;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;

use crate::ntp::{NtpTime, round_trip, to_short};
use crate::reception::{Arrival, Reception};
use crate::rtcp::{
    self, Description, Dlrr, ExtendedBlock, ExtendedReport, Goodbye, ReceiverReport, ReportBlock, RtcpPacket,
    SenderReport, VoipMetrics,
};
use crate::{RtpError, RtpPacket};

/// The least mean interval (RFC 3550 §6.2).
const INTERVAL: Duration = Duration::from_secs(5);
/// e - 3/2, which reconsideration needs (§6.3.1).
const COMPENSATION: f64 = 1.218_28;

/// What the peer told last.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct PeerReport {
    /// What it lost of our packets in its last interval, in 1/256.
    pub fraction_lost: u8,
    /// What it lost of our packets so far.
    pub cumulative_lost: i32,
    /// The jitter of our packets there, in our timestamp units.
    pub jitter: u32,
    /// Its VoIP metrics, if it sends them.
    pub voip_metrics: Option<VoipMetrics>,
}

/// What an RTCP datagram brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// The peer's reception of our stream was told; see [`RtcpSession::peer_report`].
    pub report: bool,
    /// The peer said BYE for the source we receive.
    pub goodbye: bool,
}

/// The machine.
#[derive(Debug)]
pub struct RtcpSession {
    ssrc: u32,
    cname: String,
    clock_rate: u32,
    entropy: Entropy,
    next_report: Time,
    interval_begin: Time,
    sent: Option<Sent>,
    reception: Option<Reception>,
    peer: Option<PeerReport>,
    round_trip: Option<Duration>,
    reference_time: Option<(Time, u32, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    packets: u32,
    octets: u32,
    last: Time,
    timestamp: u32,
}

impl RtcpSession {
    /// A session of ours: our SSRC, a CNAME that names no host (RFC 7022), the RTP clock of the codec.
    pub fn new(now: Time, ssrc: u32, clock_rate: u32, mut entropy: Entropy) -> RtcpSession {
        let cname = entropy.token(20);
        let mut session = RtcpSession {
            ssrc,
            cname,
            clock_rate: clock_rate.max(1),
            entropy,
            next_report: now,
            interval_begin: now,
            sent: None,
            reception: None,
            peer: None,
            round_trip: None,
            reference_time: None,
        };
        // The first report comes after half the interval (§6.2).
        session.next_report = now + session.interval(INTERVAL / 2);
        session
    }

    /// Between half and one and a half of `mean`, compensated (§6.3.1).
    fn interval(&mut self, mean: Duration) -> Duration {
        self.entropy.between(mean / 2, mean + mean / 2).div_f64(COMPENSATION)
    }

    /// Counts a packet of ours.
    pub fn packet_sent(&mut self, now: Time, packet: &RtpPacket<'_>) {
        let sent = self.sent.get_or_insert(Sent { packets: 0, octets: 0, last: now, timestamp: 0 });
        sent.packets = sent.packets.wrapping_add(1);
        sent.octets = sent.octets.wrapping_add(packet.payload.len() as u32);
        sent.last = now;
        sent.timestamp = packet.timestamp;
    }

    /// Counts a packet of the peer's. Another SSRC begins other figures: an audio call has one source at a time.
    pub fn packet_received(&mut self, now: Time, packet: &RtpPacket<'_>) -> Arrival {
        if self.reception.as_ref().is_some_and(|reception| reception.ssrc() != packet.ssrc) {
            self.reception = None;
        }
        let clock_rate = self.clock_rate;
        self.reception.get_or_insert_with(|| Reception::new(packet.ssrc, clock_rate)).packet(
            now,
            packet.sequence,
            packet.timestamp,
        )
    }

    /// Reads a datagram of the peer's.
    pub fn rtcp_received(&mut self, now: Time, datagram: &[u8]) -> Result<Heard, RtpError> {
        let mut heard = Heard::default();
        for packet in rtcp::parse(datagram)? {
            match packet {
                RtcpPacket::SenderReport(report) => {
                    if let Some(reception) = self.reception.as_mut()
                        && reception.ssrc() == report.ssrc
                    {
                        reception.sender_report(now, report.ntp);
                    }
                    heard.report |= self.blocks(now, &report.blocks);
                }
                RtcpPacket::ReceiverReport(report) => heard.report |= self.blocks(now, &report.blocks),
                RtcpPacket::ExtendedReport(report) => self.extended(now, &report),
                RtcpPacket::Goodbye(goodbye) => {
                    heard.goodbye |= self
                        .reception
                        .as_ref()
                        .is_some_and(|reception| goodbye.sources.contains(&reception.ssrc()));
                }
                RtcpPacket::Description(_) | RtcpPacket::Application(_) | RtcpPacket::Unknown(_) => {}
            }
        }
        Ok(heard)
    }

    fn blocks(&mut self, now: Time, blocks: &[ReportBlock]) -> bool {
        let Some(block) = blocks.iter().find(|block| block.ssrc == self.ssrc) else {
            return false;
        };
        let trip = round_trip(
            NtpTime::from_time(now),
            block.last_sender_report,
            block.delay_since_last_sender_report,
        );
        self.round_trip = trip.or(self.round_trip);
        let peer = self.peer.get_or_insert_default();
        peer.fraction_lost = block.fraction_lost;
        peer.cumulative_lost = block.cumulative_lost;
        peer.jitter = block.jitter;
        true
    }

    fn extended(&mut self, now: Time, report: &ExtendedReport) {
        for block in &report.blocks {
            match block {
                ExtendedBlock::ReceiverReferenceTime(time) => {
                    self.reference_time = Some((now, report.ssrc, time.middle()));
                }
                ExtendedBlock::Dlrr(answers) => {
                    for answer in answers.iter().filter(|answer| answer.ssrc == self.ssrc) {
                        let trip =
                            round_trip(NtpTime::from_time(now), answer.last_receiver_report, answer.delay);
                        self.round_trip = trip.or(self.round_trip);
                    }
                }
                ExtendedBlock::VoipMetrics(metrics) if metrics.ssrc == self.ssrc => {
                    self.peer.get_or_insert_default().voip_metrics = Some(*metrics);
                }
                ExtendedBlock::VoipMetrics(_) | ExtendedBlock::Unknown { .. } => {}
            }
        }
    }

    /// When [`RtcpSession::report`] is due.
    pub fn next_report(&self) -> Time {
        self.next_report
    }

    /// The compound that is due, or `None` when it is not time. `metrics` go along as an XR block.
    pub fn report(&mut self, now: Time, metrics: Option<VoipMetrics>) -> Option<Vec<u8>> {
        if now < self.next_report {
            return None;
        }
        self.next_report = now + self.interval(INTERVAL);
        let mut packets = self.reports(now);
        packets.extend(self.extended_report(now, metrics));
        self.interval_begin = now;
        rtcp::write(&packets).ok()
    }

    /// The compound that ends the stream (§6.6): a last report and BYE.
    pub fn goodbye(&mut self, now: Time) -> Vec<u8> {
        let mut packets = self.reports(now);
        packets.push(RtcpPacket::Goodbye(Goodbye { sources: vec![self.ssrc], reason: None }));
        self.next_report = Time::NEVER;
        rtcp::write(&packets).unwrap_or_default()
    }

    fn reports(&mut self, now: Time) -> Vec<RtcpPacket> {
        let blocks: Vec<_> =
            self.reception.as_mut().and_then(|reception| reception.report(now)).into_iter().collect();
        let ssrc = self.ssrc;
        // A sender is one that sent since the report before last (§6.4); one interval is near enough for two parties.
        let first = match self.sent {
            Some(sent) if sent.last + INTERVAL >= self.interval_begin => {
                let ahead = u128::from(now.since(sent.last).as_nanos() as u64) * u128::from(self.clock_rate)
                    / 1_000_000_000;
                RtcpPacket::SenderReport(SenderReport {
                    ssrc,
                    ntp: NtpTime::from_time(now),
                    rtp_timestamp: sent.timestamp.wrapping_add(ahead as u32),
                    packets: sent.packets,
                    octets: sent.octets,
                    blocks,
                })
            }
            Some(_) | None => RtcpPacket::ReceiverReport(ReceiverReport { ssrc, blocks }),
        };
        vec![first, RtcpPacket::Description(vec![Description::cname(ssrc, &self.cname)])]
    }

    fn extended_report(&mut self, now: Time, metrics: Option<VoipMetrics>) -> Option<RtcpPacket> {
        let mut blocks = Vec::new();
        if self.sent.is_none_or(|sent| sent.last + INTERVAL < self.interval_begin) {
            // Who does not send has no SR to be answered; this block gives a round trip all the same (RFC 3611 §4.4).
            blocks.push(ExtendedBlock::ReceiverReferenceTime(NtpTime::from_time(now)));
        }
        if let Some((at, ssrc, middle)) = self.reference_time.take() {
            let delay = to_short(now.since(at));
            blocks.push(ExtendedBlock::Dlrr(vec![Dlrr { ssrc, last_receiver_report: middle, delay }]));
        }
        if let (Some(metrics), Some(reception)) = (metrics, &self.reception) {
            blocks.push(ExtendedBlock::VoipMetrics(VoipMetrics { ssrc: reception.ssrc(), ..metrics }));
        }
        (!blocks.is_empty()).then_some(RtcpPacket::ExtendedReport(ExtendedReport { ssrc: self.ssrc, blocks }))
    }

    /// Our SSRC.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// What we received.
    pub fn reception(&self) -> Option<&Reception> {
        self.reception.as_ref()
    }

    /// What the peer received of us, when it told.
    pub fn peer_report(&self) -> Option<&PeerReport> {
        self.peer.as_ref()
    }

    /// The latest round trip.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// RTP packets and payload bytes sent.
    pub fn sent(&self) -> (u32, u32) {
        self.sent.map_or((0, 0), |sent| (sent.packets, sent.octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ssrc: u32, n: u32) -> RtpPacket<'static> {
        RtpPacket { ssrc, sequence: n as u16, timestamp: n * 160, payload: &[0; 160], ..RtpPacket::default() }
    }

    fn session(ssrc: u32) -> RtcpSession {
        RtcpSession::new(Time::ZERO, ssrc, 8000, Entropy::from_number(u64::from(ssrc)))
    }

    /// Two sessions with 40 ms each way; both ends send 50 packets per second for `seconds`.
    fn talk(seconds: u64, both_send: bool) -> (RtcpSession, RtcpSession, u32) {
        let (mut a, mut b) = (session(1), session(2));
        let mut on_the_way: Vec<(Time, bool, Vec<u8>)> = Vec::new();
        let mut reports = 0;
        for tick in 0..seconds * 50 {
            let now = Time::from_millis(tick * 20);
            a.packet_sent(now, &packet(1, tick as u32));
            b.packet_received(now, &packet(1, tick as u32));
            if both_send {
                b.packet_sent(now, &packet(2, tick as u32));
                a.packet_received(now, &packet(2, tick as u32));
            }
            let arrives = now + Duration::from_millis(40);
            if let Some(datagram) = a.report(now, None) {
                reports += 1;
                on_the_way.push((arrives, true, datagram));
            }
            if let Some(datagram) = b.report(now, Some(VoipMetrics { mos_lq: 44, ..VoipMetrics::UNKNOWN })) {
                reports += 1;
                on_the_way.push((arrives, false, datagram));
            }
            on_the_way.retain(|(due, to_b, datagram)| {
                if *due <= now {
                    if *to_b { &mut b } else { &mut a }.rtcp_received(now, datagram).unwrap();
                }
                *due > now
            });
        }
        (a, b, reports)
    }

    #[test]
    fn both_learn_the_round_trip_and_each_others_reception() {
        let (a, b, reports) = talk(60, true);
        assert!((16..=40).contains(&reports), "about one in 4 to 5 s per side: {reports}");
        for side in [&a, &b] {
            let trip = side.round_trip().unwrap().as_millis();
            assert!((79..=81).contains(&trip), "{trip}");
            let report = side.peer_report().unwrap();
            assert_eq!((report.fraction_lost, report.cumulative_lost, report.jitter), (0, 0, 0));
        }
        assert_eq!(a.peer_report().unwrap().voip_metrics.unwrap().mos_lq, 44);
        assert_eq!(a.sent(), (3000, 480_000));
    }

    #[test]
    fn who_only_listens_learns_the_round_trip_by_extended_reports() {
        let (a, b, _) = talk(60, false);
        for side in [&a, &b] {
            let trip = side.round_trip().unwrap().as_millis();
            assert!((79..=81).contains(&trip), "{trip}");
        }
        assert!(a.reception().is_none());
    }

    #[test]
    fn goodbye_of_the_received_source_is_heard_and_ends_the_reports() {
        let (mut a, mut b) = (session(1), session(2));
        b.packet_received(Time::ZERO, &packet(1, 1));
        let datagram = a.goodbye(Time::from_millis(5));
        let heard = b.rtcp_received(Time::from_millis(6), &datagram).unwrap();
        assert_eq!(heard, Heard { report: false, goodbye: true });
        assert_eq!(a.next_report(), Time::NEVER);
        let foreign = session(3).goodbye(Time::ZERO);
        assert!(!b.rtcp_received(Time::from_millis(7), &foreign).unwrap().goodbye);
    }

    #[test]
    fn a_new_source_begins_new_figures() {
        let mut session = session(1);
        for n in 0..10 {
            session.packet_received(Time::from_millis(u64::from(n) * 20), &packet(7, n));
        }
        session.packet_received(Time::from_millis(200), &packet(8, 40_000));
        let reception = session.reception().unwrap();
        assert_eq!((reception.ssrc(), reception.received(), reception.lost()), (8, 1, 0));
    }
}
