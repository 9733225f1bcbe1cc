//! Two phones' paths against each other, strangers, NATs and damage.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::net::SocketAddr;
use std::time::Duration;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_media_path::{Component, Dropped, Incoming, MediaPath, PathOptions, SrtpError};
use wakeline_rtp::{RtcpPacket, RtpPacket, rtcp};
use wakeline_sdp::{
    Capabilities, Direction, Negotiated, Origin, SdesKeys, SecurityPolicy, answer, conclude, offer,
};

const RTP: Component = Component::Rtp;

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// What two phones at 192.0.2.1:4000 and 192.0.2.2:5000 agree on.
fn agreed(security: SecurityPolicy, rtcp_mux: bool) -> (Negotiated, Negotiated) {
    let us =
        |ip: &str, port| Capabilities { security, rtcp_mux, ..Capabilities::all(ip.parse().unwrap(), port) };
    let (a, b) = (us("192.0.2.1", 4000), us("192.0.2.2", 5000));
    let keys = |seed| SdesKeys::generate(&mut Entropy::from_number(seed));
    let offered = offer(&a, &Origin::new(8, a.address), &keys(1)).unwrap();
    let (answered, theirs) = answer(&offered, &b, &Origin::new(9, b.address), &keys(2)).unwrap();
    (conclude(&offered, &answered, &a).unwrap(), theirs)
}

fn path(negotiated: &Negotiated) -> MediaPath {
    MediaPath::new(at(0), negotiated, PathOptions::default(), Entropy::from_number(5)).unwrap()
}

fn paths(security: SecurityPolicy) -> (MediaPath, MediaPath) {
    let (a, b) = agreed(security, true);
    (path(&a), path(&b))
}

fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    RtpPacket { ssrc, sequence, payload: &[7; 160], ..RtpPacket::default() }.to_bytes().unwrap()
}

fn report() -> Vec<u8> {
    rtcp::write(&[RtcpPacket::ReceiverReport(rtcp::ReceiverReport { ssrc: 1, blocks: vec![] })]).unwrap()
}

#[test]
fn s2_foreign_packets_never_reach_a_clear_call_nor_move_its_destination() {
    let (mut a, mut b) = paths(SecurityPolicy::Off);
    let peer = address("192.0.2.2:5000");
    let strangers = ["192.0.2.2:5002", "192.0.2.66:5000", "198.51.100.1:5000", "127.0.0.1:9", "192.0.2.2:1"];
    let mut foreign = 0;
    for n in 0..500_u16 {
        let now = at(u64::from(n) * 20);
        let (_, datagram) = b.send_rtp(now, &packet(1, n)).unwrap();
        assert_eq!(a.receive(now, RTP, peer, &datagram), Ok(Incoming::Rtp(packet(1, n))));
        for stranger in strangers {
            // Random, and a copy of what the peer would send next.
            for forged in [packet(999, n.wrapping_mul(77)), packet(1, n + 1)] {
                assert_eq!(a.receive(now, RTP, address(stranger), &forged), Err(Dropped::Stranger));
                foreign += 1;
            }
        }
        assert_eq!(a.send_rtp(now, &packet(2, n)).unwrap().0, peer);
    }
    assert_eq!(a.counters().dropped[&Dropped::Stranger], foreign);
    assert_eq!(a.counters().received, 500);
}

#[test]
fn s2_no_foreign_packet_is_decoded_under_srtp() {
    let (mut a, mut b) = paths(SecurityPolicy::Required);
    let peer = address("192.0.2.2:5000");
    for n in 0..200_u16 {
        let now = at(u64::from(n) * 20);
        let (_, datagram) = b.send_rtp(now, &packet(1, n)).unwrap();
        assert_ne!(datagram[12..172], packet(1, n)[12..]);
        assert_eq!(a.receive(now, RTP, peer, &datagram), Ok(Incoming::Rtp(packet(1, n))));
        for forged in [packet(1, n + 1), packet(77, n)] {
            let dropped = a.receive(now, RTP, address("198.51.100.1:5000"), &forged).unwrap_err();
            assert!(matches!(dropped, Dropped::Srtp(_)), "{dropped:?}");
        }
        // A true packet sent again from elsewhere is a replay and moves nothing.
        let again = a.receive(now, RTP, address("198.51.100.1:5000"), &datagram);
        assert_eq!(again, Err(Dropped::Srtp(SrtpError::Replayed)));
        assert_eq!(a.destination(RTP), Some(peer));
    }
}

#[test]
fn s3_an_encrypted_path_neither_sends_nor_takes_clear_packets() {
    let (mut a, _) = paths(SecurityPolicy::Required);
    assert!(a.is_encrypted());
    let peer = address("192.0.2.2:5000");
    assert!(matches!(a.receive(at(0), RTP, peer, &packet(1, 1)), Err(Dropped::Srtp(_))));
    assert!(matches!(a.receive(at(0), RTP, peer, &report()), Err(Dropped::Srtp(_))));
    let (_, sent) = a.send_rtp(at(0), &packet(1, 1)).unwrap();
    assert!(!sent.windows(16).any(|window| window == [7; 16]));
    let (clear, _) = agreed(SecurityPolicy::Off, true);
    assert_eq!(a.renegotiate(at(1), &clear), Err(SrtpError::NotEncrypted));
    assert!(a.is_encrypted());
    let (_, sent) = a.send_rtp(at(2), &packet(1, 2)).unwrap();
    assert!(!sent.windows(16).any(|window| window == [7; 16]), "still encrypted after the refusal");
}

#[test]
fn f2_an_authenticated_packet_moves_the_lock_and_a_late_one_does_not() {
    let (mut a, mut b) = paths(SecurityPolicy::Required);
    let (before, after) = (address("192.0.2.2:5000"), address("203.0.113.9:33000"));
    let sealed: Vec<_> = (0..4).map(|n| b.send_rtp(at(0), &packet(1, n)).unwrap().1).collect();
    a.receive(at(0), RTP, before, &sealed[0]).unwrap();
    a.receive(at(90_000), RTP, after, &sealed[3]).unwrap();
    assert_eq!(a.destination(RTP), Some(after));
    a.receive(at(90_001), RTP, before, &sealed[2]).unwrap();
    assert_eq!(a.destination(RTP), Some(after), "late by the old path");
}

#[test]
fn s2_hold_and_resume_keep_the_lock_and_a_new_address_opens_it() {
    let (negotiated, _) = agreed(SecurityPolicy::Off, true);
    let mut a = path(&negotiated);
    let natted = address("192.0.2.2:61000");
    a.receive(at(0), RTP, natted, &packet(1, 1)).unwrap();
    let held = Negotiated { direction: Direction::Inactive, ..negotiated.clone() };
    a.renegotiate(at(5000), &held).unwrap();
    assert_eq!(a.send_rtp(at(5001), &packet(2, 1)), Err(Dropped::NotSending));
    assert!(a.send_rtcp(&report()).is_ok());
    a.renegotiate(at(9000), &negotiated).unwrap();
    assert_eq!(a.receive(at(9001), RTP, address("192.0.2.2:5000"), &packet(1, 2)), Err(Dropped::Stranger));
    let moved = Negotiated { remote_rtp: address("198.51.100.4:7000"), ..negotiated };
    a.renegotiate(at(9500), &moved).unwrap();
    assert_eq!(a.send_rtp(at(9501), &packet(2, 2)).unwrap().0, moved.remote_rtp);
    assert_eq!(a.receive(at(9502), RTP, natted, &packet(1, 3)), Err(Dropped::Stranger));
    assert!(a.receive(at(9503), RTP, moved.remote_rtp, &packet(1, 3)).is_ok());
}

#[test]
fn a_re_offer_with_the_same_keys_goes_on_counting() {
    let (ours, theirs) = agreed(SecurityPolicy::Required, true);
    let (mut a, mut b) = (path(&ours), path(&theirs));
    let peer = address("192.0.2.2:5000");
    let first = b.send_rtp(at(0), &packet(1, 1)).unwrap().1;
    a.receive(at(0), RTP, peer, &first).unwrap();
    a.renegotiate(at(10), &ours).unwrap();
    b.renegotiate(at(10), &theirs).unwrap();
    assert_eq!(a.receive(at(11), RTP, peer, &first), Err(Dropped::Srtp(SrtpError::Replayed)));
    let reused = b.send_rtp(at(11), &packet(1, 1));
    assert_eq!(reused, Err(Dropped::Srtp(SrtpError::SequenceReused)), "no key stream twice");
    let next = b.send_rtp(at(12), &packet(1, 2)).unwrap().1;
    assert!(a.receive(at(12), RTP, peer, &next).is_ok());
}

#[test]
fn rtcp_goes_where_it_was_agreed() {
    for security in [SecurityPolicy::Off, SecurityPolicy::Required] {
        let (ours, theirs) = agreed(security, false);
        let (mut a, mut b) = (path(&ours), path(&theirs));
        let (to, datagram) = b.send_rtcp(&report()).unwrap();
        assert_eq!(to, address("192.0.2.1:4001"));
        let from = address("192.0.2.2:5001");
        assert_eq!(a.receive(at(0), RTP, from, &datagram), Err(Dropped::WrongComponent));
        assert_eq!(a.receive(at(0), Component::Rtcp, from, &datagram), Ok(Incoming::Rtcp(report())));
        let (mut a, mut b) = paths(security);
        let (to, datagram) = b.send_rtcp(&report()).unwrap();
        assert_eq!(to, address("192.0.2.1:4000"));
        let from = address("192.0.2.2:5000");
        assert_eq!(a.receive(at(0), RTP, from, &datagram), Ok(Incoming::Rtcp(report())));
    }
}

#[test]
fn s4_stun_and_dtls_before_media_are_named_and_teach_nothing() {
    let (mut a, _) = paths(SecurityPolicy::Off);
    let other_port = address("192.0.2.2:6000");
    assert_eq!(a.receive(at(0), RTP, other_port, &[0, 1, 0, 0]), Err(Dropped::Stun));
    assert_eq!(a.receive(at(0), RTP, other_port, &[22, 0xFE, 0xFF, 0]), Err(Dropped::Dtls));
    assert_eq!(a.receive(at(0), RTP, other_port, &[0x80, 0]), Err(Dropped::Foreign), "a torn packet");
    assert_eq!(a.receive(at(0), RTP, other_port, &[]), Err(Dropped::Foreign));
    assert_eq!(a.destination(RTP), Some(address("192.0.2.2:5000")));
}

#[test]
fn opening_packets_then_keep_alives_while_media_is_silent() {
    let (mut a, mut b) = paths(SecurityPolicy::Required);
    let mut times = Vec::new();
    while times.len() < 4 {
        let due = a.poll_timeout();
        for (component, to, datagram) in a.handle_timeout(due) {
            assert_eq!((component, to), (RTP, address("192.0.2.2:5000")));
            let dropped = b.receive(due, RTP, address("192.0.2.1:4000"), &datagram);
            assert_eq!(dropped, Err(Dropped::Stun));
            times.push(due.as_millis());
        }
    }
    assert_eq!(times, [0, 20, 15_020, 30_020]);
    a.send_rtp(at(31_000), &packet(1, 1)).unwrap();
    assert_eq!(a.poll_timeout(), at(46_000), "media is its own keep-alive");
    a.network_changed(at(32_000));
    assert_eq!(a.handle_timeout(at(32_000)).len(), 1);
}

#[test]
fn mutated_datagrams_never_panic_and_never_open_under_srtp() {
    let mut entropy = Entropy::from_number(7714);
    for suite in wakeline_sdp::CryptoSuite::ALL {
        let (mut ours, mut theirs) = agreed(SecurityPolicy::Required, true);
        for (negotiated, local, remote) in [(&mut ours, 1, 2), (&mut theirs, 2, 1)] {
            let keys = |seed| SdesKeys::generate(&mut Entropy::from_number(seed));
            let srtp = negotiated.srtp.as_mut().unwrap();
            srtp.suite = suite;
            srtp.local = keys(local).key(suite).clone();
            srtp.remote = keys(remote).key(suite).clone();
        }
        let (mut a, mut b) = (path(&ours), path(&theirs));
        let (mut clear, _) = paths(SecurityPolicy::Off);
        let source = address("192.0.2.2:5000");
        for round in 0..5000_u16 {
            let now = at(0) + Duration::from_millis(u64::from(round));
            let (_, sealed) =
                if round % 3 == 0 { b.send_rtcp(&report()) } else { b.send_rtp(now, &packet(1, round)) }
                    .unwrap();
            let mut bytes = sealed.clone();
            for _ in 0..=entropy.below(3) {
                let place = entropy.below(bytes.len() as u32 + 1) as usize;
                match entropy.below(4) {
                    0 => bytes.truncate(place),
                    1 => bytes.insert(place, entropy.u32() as u8),
                    _ if place < bytes.len() => bytes[place] ^= 1 << entropy.below(8),
                    _ => bytes.push(0),
                }
            }
            let taken = a.receive(now, RTP, source, &bytes);
            assert!(taken.is_err() || bytes == sealed, "{suite:?} {round}");
            let _ = clear.receive(now, RTP, source, &bytes);
        }
    }
}
