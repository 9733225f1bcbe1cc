//! No datagram, however damaged, makes this crate panic, hang or grow; what reads, reads back the same.

#![allow(clippy::unwrap_used, reason = "seeds of a test")]

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_rtp::rtcp::{
    self, Application, Description, ExtendedBlock, ExtendedReport, Goodbye, VoipMetrics,
};
use wakeline_rtp::{ReportBlock, RtcpPacket, RtcpSession, RtpPacket, TelephoneEvent};

fn seeds() -> Vec<Vec<u8>> {
    let rtp = RtpPacket { payload: &[1; 40], padding: 4, ..RtpPacket::default() };
    let report = rtcp::SenderReport { blocks: vec![ReportBlock::default(); 3], ..Default::default() };
    let blocks = vec![
        ExtendedBlock::Dlrr(vec![]),
        ExtendedBlock::VoipMetrics(VoipMetrics::UNKNOWN),
        ExtendedBlock::ReceiverReferenceTime(wakeline_rtp::NtpTime(9)),
    ];
    let compound = rtcp::write(&[
        RtcpPacket::SenderReport(report),
        RtcpPacket::Description(vec![Description::cname(1, "name"), Description::cname(2, "")]),
        RtcpPacket::ExtendedReport(ExtendedReport { ssrc: 1, blocks }),
        RtcpPacket::Application(Application { subtype: 0, ssrc: 0, name: *b"abcd", data: vec![] }),
        RtcpPacket::Goodbye(Goodbye { sources: vec![1], reason: Some("x".into()) }),
    ]);
    vec![rtp.to_bytes().unwrap(), compound.unwrap(), vec![0x9F, 0xC8, 0xFF, 0xFF], vec![]]
}

fn damage(entropy: &mut Entropy, bytes: &mut Vec<u8>) {
    for _ in 0..=entropy.below(6) {
        let length = bytes.len() as u32;
        match entropy.below(5) {
            0 if length > 0 => bytes[entropy.below(length) as usize] = entropy.u32() as u8,
            1 if length > 0 => bytes[entropy.below(length) as usize] ^= 1 << entropy.below(8),
            2 => bytes.truncate(entropy.below(length + 1) as usize),
            3 => bytes.extend_from_slice(&entropy.u32().to_be_bytes()),
            _ => bytes.insert(entropy.below(length + 1) as usize, entropy.u32() as u8),
        }
    }
}

#[test]
fn mutated_datagrams_never_panic_and_what_reads_writes_back() {
    let mut entropy = Entropy::from_number(3550);
    let seeds = seeds();
    let mut session = RtcpSession::new(Time::ZERO, 1, 8000, entropy.fork());
    let (mut as_rtp, mut as_rtcp) = (0_u32, 0_u32);
    for round in 0..60_000_u64 {
        let mut bytes = seeds[round as usize % seeds.len()].clone();
        damage(&mut entropy, &mut bytes);
        let now = Time::from_millis(round);
        if let Ok(packet) = RtpPacket::parse(&bytes) {
            as_rtp += 1;
            let again = packet.to_bytes().unwrap();
            assert_eq!(RtpPacket::parse(&again), Ok(packet));
            session.packet_received(now, &packet);
            let _ = TelephoneEvent::parse(packet.payload);
        }
        if let Ok(packets) = rtcp::parse(&bytes) {
            as_rtcp += 1;
            assert!(packets.len() <= bytes.len() / 4);
            if let Ok(again) = rtcp::write(&packets) {
                assert_eq!(rtcp::parse(&again).unwrap(), packets);
            }
        }
        let _ = session.rtcp_received(now, &bytes);
        if let Some(report) = session.report(now, Some(VoipMetrics::UNKNOWN)) {
            assert!(rtcp::parse(&report).is_ok());
        }
    }
    assert!(as_rtp > 1000 && as_rtcp > 1000, "the damage leaves something to read: {as_rtp}, {as_rtcp}");
}

#[test]
fn s13_a_datagram_of_many_small_packets_reads_in_linear_time() {
    // 16,000 packets of four bytes are the most that 64 kB hold.
    let flood: Vec<u8> = [0x80, 203, 0, 0].repeat(16_000);
    assert_eq!(rtcp::parse(&flood).unwrap().len(), 16_000);
}
