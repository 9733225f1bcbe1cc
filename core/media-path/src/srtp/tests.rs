//! The RFCs' vectors, and what an attacker or a bad path sends.

use wakeline_entropy::Entropy;
use wakeline_rtp::{RtpPacket, rtcp};
use wakeline_sdp::{CryptoSuite, SdesKeys};

use super::cipher::Gcm;
use super::counter_mode::CounterMode;
use super::derivation::{Derivation, Label};
use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn fixed<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

fn pair(suite: CryptoSuite) -> (Protector, Unprotector) {
    let keys = SdesKeys::generate(&mut Entropy::from_number(3711));
    let key = keys.key(suite);
    (Protector::new(suite, key).unwrap(), Unprotector::new(suite, key, None).unwrap())
}

fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
    RtpPacket { ssrc, sequence, timestamp: 9, payload: &[0x55; 160], ..RtpPacket::default() }
        .to_bytes()
        .unwrap()
}

#[test]
fn rfc_3711_appendix_b_2_key_stream() {
    let mode = CounterMode::new(
        fixed("2B7E151628AED2A6ABF7158809CF4F3C"),
        fixed("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"),
        [0; 20],
    );
    let mut stream = vec![0; 0xFF02 * 16];
    mode.apply(0, 0, &mut stream);
    assert_eq!(
        stream[..48],
        bytes(
            "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0"
        )
    );
    assert_eq!(
        stream[0xFEFF * 16..],
        bytes(
            "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44"
        )
    );
}

#[test]
fn rfc_3711_appendix_b_3_key_derivation() {
    let derivation =
        Derivation::new(&bytes("E1F97A0D3E018BE0D64FA32C06DE4139"), &bytes("0EC675AD498AFEEBB6960B3AABE6"))
            .unwrap();
    assert_eq!(derivation.derive::<16>(Label::RtpEncryption), fixed("C61E7A93744F39EE10734AFE3FF7A087"));
    assert_eq!(derivation.derive::<14>(Label::RtpSalt), fixed("30CBBC08863D8C85D49DB34A9AE1"));
    assert_eq!(
        derivation.derive::<32>(Label::RtpAuthentication),
        fixed("CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE")
    );
}

/// A cipher with the session keys that RFC 7714 §16 and §17 give directly.
fn gcm(key: &str) -> SessionCipher {
    let salt = fixed("517569642070726f2071756f");
    let gcm = || Box::new(Gcm::new(&bytes(key), salt).unwrap());
    SessionCipher::Gcm { rtp: gcm(), rtcp: gcm() }
}

const GCM_KEYS: [&str; 2] =
    ["000102030405060708090a0b0c0d0e0f", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"];

#[test]
fn rfc_7714_section_16_rtp() {
    let clear = bytes(
        "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 \
         73207472 6573",
    );
    let protected = [
        "8040f17b8041f8d35501a0b2 f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833 \
         899d7f27beb16a9152cf765ee4390cce",
        "8040f17b8041f8d35501a0b2 32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b \
         7aa3db36dfffd6b0f9bb7878d7a76c13",
    ];
    for (key, protected) in GCM_KEYS.into_iter().zip(protected) {
        let cipher = gcm(key);
        let sealed = cipher.protect_rtp(&clear, 12, 0x5501_a0b2, 0xf17b).unwrap();
        assert_eq!(sealed, bytes(protected));
        assert_eq!(cipher.open_rtp(&sealed, 12, 0x5501_a0b2, 0xf17b), Ok(clear.clone()));
    }
}

#[test]
fn rfc_7714_section_17_rtcp() {
    let clear = bytes(
        "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef \
         deadbeef deadbeef",
    );
    let protected = [
        "81c8000d4d617273 63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b \
         c84aa45896cf4d2fc5abf87245d9eade 800005d4",
        "81c8000d4d617273 d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad \
         1d1eb30c4446839f57ff6f6cb26ac3be 800005d4",
    ];
    for (key, protected) in GCM_KEYS.into_iter().zip(protected) {
        let cipher = gcm(key);
        let sealed = cipher.protect_rtcp(&clear, 0x4d61_7273, 0x5d4).unwrap();
        assert_eq!(sealed, bytes(protected));
        assert_eq!(cipher.rtcp_index(&sealed), Ok(0x5d4));
        assert_eq!(cipher.open_rtcp(&sealed, 0x4d61_7273, 0x5d4), Ok(clear.clone()));
    }
}

#[test]
fn every_suite_opens_its_own_and_nothing_changed() {
    for suite in CryptoSuite::ALL {
        let (mut protector, mut unprotector) = pair(suite);
        let clear = packet(7, 1);
        let sealed = protector.rtp(&clear).unwrap();
        assert_ne!(sealed[12..172], clear[12..]);
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(unprotector.rtp(&changed).is_err(), "{suite:?} byte {place}");
        }
        for length in 0..sealed.len() {
            assert!(unprotector.rtp(&sealed[..length]).is_err());
        }
        assert_eq!(unprotector.rtp(&sealed), Ok((clear, Order::Newest)), "{suite:?}");
        assert_eq!(unprotector.rtp(&sealed), Err(SrtpError::Replayed));

        let report = rtcp::ReceiverReport { ssrc: 7, blocks: vec![] };
        let clear = rtcp::write(&[wakeline_rtp::RtcpPacket::ReceiverReport(report)]).unwrap();
        let sealed = protector.rtcp(&clear).unwrap();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(unprotector.rtcp(&changed).is_err(), "{suite:?} RTCP byte {place}");
        }
        assert_eq!(unprotector.rtcp(&sealed), Ok((clear, Order::Newest)));
        assert_eq!(unprotector.rtcp(&sealed), Err(SrtpError::Replayed));
    }
}

#[test]
fn the_rollover_counts_on_both_sides_through_loss_and_reordering() {
    let (mut protector, mut unprotector) = pair(CryptoSuite::AesCm128HmacSha1_80);
    let mut held = None;
    for n in 0..200_000_u32 {
        let clear = packet(7, n as u16);
        let sealed = protector.rtp(&clear).unwrap();
        if n % 10 == 3 {
            continue;
        }
        if n % 10 == 5 {
            held = Some((clear, sealed));
            continue;
        }
        assert_eq!(unprotector.rtp(&sealed), Ok((clear, Order::Newest)), "{n}");
        if n % 10 == 8 {
            let (clear, sealed) = held.take().unwrap();
            assert_eq!(unprotector.rtp(&sealed), Ok((clear, Order::Late)), "{n}");
            assert_eq!(unprotector.rtp(&sealed), Err(SrtpError::Replayed));
        }
    }
}

#[test]
fn a_receiver_that_missed_the_first_wrap_or_a_long_silence_finds_the_rollover() {
    let (mut protector, mut unprotector) = pair(CryptoSuite::AeadAes128Gcm);
    protector.rtp(&packet(7, 65_535)).unwrap();
    let sealed = protector.rtp(&packet(7, 0)).unwrap();
    assert!(unprotector.rtp(&sealed).is_ok(), "the packets before the wrap were lost");
    // 40,000 packets go nowhere; then the guess is one rollover behind.
    let mut sequence = 0_u16;
    for _ in 0..40_000 {
        sequence = sequence.wrapping_add(1);
        protector.rtp(&packet(7, sequence)).unwrap();
    }
    let mut tries = 0;
    loop {
        sequence = sequence.wrapping_add(1);
        if unprotector.rtp(&protector.rtp(&packet(7, sequence)).unwrap()).is_ok() {
            break;
        }
        tries += 1;
        assert!(tries <= 32, "not found within 32 packets");
    }
}

#[test]
fn packets_older_than_the_window_are_replays() {
    let (mut protector, mut unprotector) = pair(CryptoSuite::AesCm128HmacSha1_80);
    let sealed: Vec<_> = (0..200).map(|n| protector.rtp(&packet(7, n)).unwrap()).collect();
    assert!(unprotector.rtp(&sealed[199]).is_ok());
    assert_eq!(unprotector.rtp(&sealed[71]), Err(SrtpError::Replayed));
    assert!(unprotector.rtp(&sealed[72]).is_ok());
}

#[test]
fn a_sequence_number_is_never_used_twice() {
    let (mut protector, _) = pair(CryptoSuite::AeadAes128Gcm);
    protector.rtp(&packet(7, 10)).unwrap();
    for sequence in [10, 9, 60_000] {
        assert_eq!(protector.rtp(&packet(7, sequence)), Err(SrtpError::SequenceReused));
    }
    assert!(protector.rtp(&packet(8, 10)).is_ok(), "another source has another key stream");
}

#[test]
fn s2_a_spray_of_sources_leaves_no_state() {
    let (mut protector, mut unprotector) = pair(CryptoSuite::AesCm128HmacSha1_80);
    let sealed = protector.rtp(&packet(7, 1)).unwrap();
    for ssrc in 0..10_000_u32 {
        let mut forged = sealed.clone();
        forged[8..12].copy_from_slice(&(ssrc + 100).to_be_bytes());
        assert_eq!(unprotector.rtp(&forged), Err(SrtpError::Unauthenticated));
    }
    assert!(unprotector.rtp(&sealed).is_ok());
}

#[test]
fn a_key_ends_with_its_lifetime() {
    let suite = CryptoSuite::AesCm128HmacSha1_80;
    let keys = SdesKeys::generate(&mut Entropy::from_number(1));
    let mut protector = Protector::new(suite, keys.key(suite)).unwrap();
    let mut unprotector = Unprotector::new(suite, keys.key(suite), Some(2)).unwrap();
    for n in 0..2 {
        assert!(unprotector.rtp(&protector.rtp(&packet(7, n)).unwrap()).is_ok());
    }
    let third = protector.rtp(&packet(7, 2)).unwrap();
    assert_eq!(unprotector.rtp(&third), Err(SrtpError::KeyExhausted));
}

#[test]
fn clear_rtcp_is_not_taken_for_protected() {
    let (mut protector, mut unprotector) = pair(CryptoSuite::AesCm128HmacSha1_80);
    let mut sealed = protector.rtcp(&[0x80, 201, 0, 1, 0, 0, 0, 7]).unwrap();
    let flag = sealed.len() - 14;
    sealed[flag] &= 0x7F;
    assert_eq!(unprotector.rtcp(&sealed), Err(SrtpError::NotEncrypted));
}

#[test]
fn key_material_of_another_suite_is_refused() {
    let keys = SdesKeys::generate(&mut Entropy::from_number(1));
    let key = keys.key(CryptoSuite::AeadAes256Gcm);
    assert_eq!(Protector::new(CryptoSuite::AeadAes128Gcm, key).err(), Some(SrtpError::Key));
    assert_eq!(Unprotector::new(CryptoSuite::AeadAes128Gcm, &"x".into(), None).err(), Some(SrtpError::Key));
}
