//! What comes as a stream of bytes or as datagrams: SIP framing, RTP, RTCP, SRTP, and the path that guards them.

use core::net::SocketAddr;
use core::time::Duration;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_media_path::srtp::{Protector, Unprotector};
use wakeline_media_path::{Component, Learning, MediaPath, PathOptions, demultiplex};
use wakeline_rtp::{
    ExtendedSequence, Reception, RtcpSession, RtpPacket, TelephoneEvent, header_length, rtcp,
};
use wakeline_sdp::{
    Capabilities, CryptoSuite, Negotiated, Origin, SdesKeys, SecurityPolicy, answer, conclude, offer,
};
use wakeline_vectors::targets;

use crate::script::Script;

/// Frames the bytes whole, in steps, byte by byte and at places that the bytes themselves choose.
pub(crate) fn framer(bytes: &[u8]) {
    targets::framer(bytes);
    let whole = targets::messages_of(bytes.chunks(bytes.len().max(1)));
    assert_eq!(whole, targets::messages_of(bytes.chunks(1)), "frames depend on how the bytes came");
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for length in bytes {
        let (piece, later) = rest.split_at((usize::from(*length) + 1).min(rest.len()));
        pieces.push(piece);
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(whole, targets::messages_of(pieces.into_iter()), "frames depend on how the bytes came");
}

/// Reads a packet and writes it back the same; the payload as a telephone event.
pub(crate) fn rtp(bytes: &[u8]) {
    let packet = match RtpPacket::parse(bytes) {
        Ok(packet) => packet,
        Err(error) => return drop(error.to_string()),
    };
    assert!(header_length(bytes).is_ok_and(|length| length + packet.payload.len() <= bytes.len()));
    let written = packet.to_bytes().expect("what was read can be written");
    let again = RtpPacket::parse(&written).expect("and read again");
    assert_eq!(again, packet);
    if let Ok(event) = TelephoneEvent::parse(packet.payload) {
        let _ = event.digit();
        assert_eq!(TelephoneEvent::parse(&event.to_bytes()), Ok(event));
    }
    // The rest of the bytes as numbers that arrive: counters stay within what arrived.
    let mut reception = Reception::new(packet.ssrc, 8000);
    let mut extended = ExtendedSequence::new();
    let mut now = Time::ZERO;
    let mut arrived = 0_u64;
    for four in bytes.chunks_exact(4) {
        let sequence = u16::from_be_bytes([four[0], four[1]]);
        now += Duration::from_millis(u64::from(four[3]));
        let _ = reception.packet(now, sequence, u32::from(four[2]) << 20);
        let _ = extended.extend(sequence);
        arrived += 1;
        assert!(reception.received() <= arrived);
        if four[3] == 0 {
            let _ = (reception.report(now), reception.jitter_span(), reception.lost());
        }
    }
}

/// Reads a compound, writes it, reads it again; a session hears it.
pub(crate) fn rtcp(bytes: &[u8]) {
    let _ = (rtcp::is_rtcp(bytes), demultiplex::classify(bytes));
    let mut session = RtcpSession::new(Time::ZERO, 7, 48_000, Entropy::from_number(1));
    let heard = session.rtcp_received(Time::from_millis(20), bytes);
    let parsed = rtcp::parse(bytes);
    if parsed.is_err() {
        assert!(heard.is_err(), "a broken compound is heard");
    }
    if let Ok(packets) = parsed
        && let Ok(written) = rtcp::write(&packets)
    {
        // Data of an odd length is padded by zeros; from then on nothing changes.
        let again = rtcp::parse(&written).expect("what we write can be read");
        assert_eq!(again.len(), packets.len());
        assert_eq!(rtcp::write(&again).as_ref(), Ok(&written));
    }
    let mut now = session.next_report();
    for _ in 0..3 {
        if let Some(report) = session.report(now, None) {
            rtcp::parse(&report).expect("our own report");
        }
        assert!(session.next_report() > now, "reports without end");
        now = session.next_report();
    }
    rtcp::parse(&session.goodbye(now)).expect("our own goodbye");
}

const SUITES: [CryptoSuite; 2] = [CryptoSuite::USUAL[0], CryptoSuite::USUAL[1]];

/// Foreign bytes never open; what the peer protects opens once.
pub(crate) fn srtp(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let suite = SUITES[script.below(2)];
    // Another key for every input: a fuzzer sees what a tag is compared with, and would learn the tag of a fixed one.
    let secret = bytes
        .iter()
        .fold(3_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23));
    let keys = SdesKeys::generate(&mut Entropy::from_number(secret));
    let key = keys.key(suite);
    let (mut ours, Ok(mut theirs)) =
        (Protector::new(suite, key).expect("a good key"), Unprotector::new(suite, key, None))
    else {
        return;
    };
    let mut opened = std::collections::BTreeSet::new();
    script.play(|script| {
        let kind = script.below(4);
        let (sequence, payload) = (script.u16(), script.bytes(60));
        let packet =
            RtpPacket { ssrc: u32::from(script.byte() & 3), sequence, payload, ..Default::default() };
        let clear = packet.to_bytes().expect("a good packet");
        match kind {
            0 => assert!(theirs.rtp(payload).is_err() && theirs.rtcp(payload).is_err(), "foreign bytes open"),
            1 => {
                if let Ok(mut sealed) = ours.rtp(&clear) {
                    let at = script.below(sealed.len());
                    sealed[at] ^= script.byte() | 1;
                    assert!(theirs.rtp(&sealed).is_err(), "a damaged packet opens");
                }
            }
            2 => {
                // The payload as it is may be no RTCP; if it can be protected, it opens to the same.
                if let Ok(sealed) = ours.rtcp(payload) {
                    let (again, _) = theirs.rtcp(&sealed).expect("the peer's report");
                    assert_eq!(again, payload);
                    assert!(theirs.rtcp(&sealed).is_err(), "a replayed report opens");
                }
            }
            _ => {
                if let Ok(sealed) = ours.rtp(&clear) {
                    if let Ok((again, _)) = theirs.rtp(&sealed) {
                        assert_eq!(again, clear);
                        assert!(opened.insert(sealed.clone()), "one packet opens twice");
                    }
                    assert!(theirs.rtp(&sealed).is_err(), "a replayed packet opens");
                }
            }
        }
    });
}

/// What two phones agree on, as both see it.
pub(crate) fn agreed(security: SecurityPolicy, rtcp_mux: bool) -> (Negotiated, Negotiated) {
    let us = |number: u8, port| Capabilities {
        security,
        rtcp_mux,
        ..Capabilities::all(core::net::IpAddr::from([192, 0, 2, number]), port)
    };
    let (a, b) = (us(1, 4000), us(2, 5000));
    let keys = |seed| SdesKeys::generate(&mut Entropy::from_number(seed));
    let offered = offer(&a, &Origin::new(8, a.address), &keys(1)).expect("an offer");
    let (answered, theirs) = answer(&offered, &b, &Origin::new(9, b.address), &keys(2)).expect("an answer");
    (conclude(&offered, &answered, &a).expect("an agreement"), theirs)
}

/// Datagrams from anywhere: an encrypted path opens nothing foreign, and no stranger moves where we send (class S2).
pub(crate) fn media_path(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let security = [SecurityPolicy::Off, SecurityPolicy::Offered][script.below(2)];
    let (ours, theirs) = agreed(security, script.flag());
    let learning = [Learning::SignalledAddress, Learning::AnyWhenPrivate][script.below(2)];
    let options = PathOptions { opening_packets: script.byte() % 8, learning };
    let mut now = Time::from_millis(5);
    let mut path = MediaPath::new(now, &ours, options, Entropy::from_number(5)).expect("good keys");
    let mut peer = MediaPath::new(now, &theirs, options, Entropy::from_number(6)).expect("good keys");
    let signalled = ours.remote_rtp;
    let sources: [SocketAddr; 4] = [
        signalled,
        SocketAddr::new(signalled.ip(), signalled.port() + 7),
        SocketAddr::from(([203, 0, 113, 66], 5000)),
        ours.remote_rtcp,
    ];
    let mut sequence = 0_u16;
    script.play(|script| {
        now += script.span().min(Duration::from_secs(600));
        let component = if script.flag() { Component::Rtp } else { Component::Rtcp };
        let source = sources[script.below(4)];
        match script.below(6) {
            0 | 1 => {
                let taken = path.receive(now, component, source, script.bytes(80));
                if security == SecurityPolicy::Offered {
                    assert!(taken.is_err(), "a foreign datagram opens");
                }
            }
            2 => {
                sequence = sequence.wrapping_add(1 + u16::from(script.byte()));
                let packet = RtpPacket { ssrc: 9, sequence, payload: script.bytes(40), ..Default::default() };
                if let Ok((_, sealed)) = peer.send_rtp(now, &packet.to_bytes().expect("a good packet")) {
                    let _ = path.receive(now, Component::Rtp, source, &sealed);
                }
            }
            3 => {
                let due = path.poll_timeout();
                let sent = path.handle_timeout(now.max(due));
                assert!(sent.len() <= 16, "more keep-alives than a path needs");
                assert!(path.poll_timeout() > due, "a timer that is always due");
            }
            4 => path.network_changed(now),
            _ => drop(path.renegotiate(now, &ours)),
        }
        if security == SecurityPolicy::Off && learning == Learning::SignalledAddress {
            let to = path.destination(Component::Rtp);
            assert!(to.is_none_or(|to| to.ip() == signalled.ip()), "a stranger's address was learned");
        }
    });
    assert_eq!(path.is_encrypted(), security == SecurityPolicy::Offered);
}
