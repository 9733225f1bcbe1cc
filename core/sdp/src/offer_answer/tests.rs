//! Offer/answer against texts and against itself; the S3 matrix.

use core::net::{IpAddr, Ipv4Addr};

use wakeline_entropy::Entropy;

use super::*;
use crate::{Origin, Protocol, Refusal, SdesKeys, SessionDescription};

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
const OTHER_KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

fn us() -> Capabilities {
    Capabilities::all(HERE, 4000)
}

fn peer() -> Capabilities {
    Capabilities::all(THERE, 5000)
}

fn keys(seed: u64) -> SdesKeys {
    SdesKeys::generate(&mut Entropy::from_number(seed))
}

fn origin(address: IpAddr) -> Origin {
    Origin::new(77, address)
}

fn sdp(media: &str) -> SessionDescription {
    let text = format!("v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n{media}");
    SessionDescription::parse(text.as_bytes()).unwrap()
}

/// Through the text form, as on the wire.
fn wire(description: &SessionDescription) -> SessionDescription {
    let parsed = SessionDescription::parse(description.to_string().as_bytes()).unwrap();
    assert_eq!(parsed.to_string(), description.to_string());
    parsed
}

fn answered(media: &str, capabilities: &Capabilities) -> Result<(SessionDescription, Negotiated), Refusal> {
    answer(&sdp(media), capabilities, &origin(HERE), &keys(1))
}

#[test]
fn two_of_us_agree_on_opus_encrypted_with_crossed_keys() {
    let offered = wire(&offer(&us(), &origin(HERE), &keys(1)).unwrap());
    let (answer, theirs) = answer(&offered, &peer(), &origin(THERE), &keys(2)).unwrap();
    let ours = conclude(&offered, &wire(&answer), &us()).unwrap();
    assert_eq!((ours.codec, theirs.codec), (Encoding::Opus, Encoding::Opus));
    assert_eq!(ours.remote_rtp.to_string(), "192.0.2.2:5000");
    assert_eq!(theirs.remote_rtp.to_string(), "192.0.2.1:4000");
    assert!(ours.rtcp_mux && ours.remote_rtcp == ours.remote_rtp);
    assert_eq!(ours.dtmf.unwrap().clock_rate, 48_000);
    assert_eq!(ours.dtmf, theirs.dtmf);
    assert!(ours.opus.use_inband_fec && !ours.opus.stereo);
    let (ours, theirs) = (ours.srtp.unwrap(), theirs.srtp.unwrap());
    assert_eq!(ours.suite, CryptoSuite::AeadAes256Gcm);
    assert_eq!((ours.local, ours.remote), (theirs.remote, theirs.local));
}

#[test]
fn dynamic_payload_types_may_differ_per_direction() {
    let offered = offer(&us(), &origin(HERE), &keys(1)).unwrap();
    let theirs = sdp("m=audio 5000 RTP/AVP 111 100\r\na=rtpmap:111 OPUS/48000/2\r\n\
        a=fmtp:111 useinbandfec=1;usedtx=1;maxaveragebitrate=24000\r\na=rtpmap:100 telephone-event/48000\r\n");
    let agreed = conclude(&offered, &theirs, &us()).unwrap();
    assert_eq!(agreed.send_payload_type, 111);
    assert_eq!(agreed.receive_payload_types, [(96, Encoding::Opus)]);
    let dtmf = agreed.dtmf.unwrap();
    assert_eq!((dtmf.send, dtmf.receive, dtmf.clock_rate), (100, 101, 48_000));
    assert_eq!(agreed.opus.max_average_bitrate, Some(24_000));
    assert!(agreed.opus.use_dtx && !agreed.rtcp_mux);
    assert_eq!(agreed.remote_rtcp.port(), 5001);
    assert_eq!(agreed.srtp, None, "no key line in the answer: clear, and it says so");
}

#[test]
fn an_answer_takes_the_offers_numbers_and_order() {
    let text = "m=audio 5000 RTP/AVP 9 8 0 13 105\r\na=rtpmap:105 telephone-event/8000\r\na=ptime:30\r\na=maxptime:40\r\na=rtcp:6001\r\n";
    let (described, agreed) = answered(text, &us()).unwrap();
    assert_eq!(described.media[0].formats, ["9", "13", "105"]);
    assert_eq!((agreed.codec, agreed.codec.clock_rate()), (Encoding::G722, 8000));
    assert_eq!(agreed.comfort_noise, Some((13, 13)));
    assert_eq!((agreed.ptime, agreed.remote_rtcp.port()), (30, 6001));
    let ours_first = Capabilities {
        audio: [Encoding::Pcmu, Encoding::G722].map(Codec::new).to_vec(),
        preference: Preference::Ours,
        ..us()
    };
    assert_eq!(answered(text, &ours_first).unwrap().1.codec, Encoding::Pcmu);
}

#[test]
fn events_on_another_clock_serve_when_there_are_no_others() {
    let text =
        "m=audio 5000 RTP/AVP 96 101\r\na=rtpmap:96 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n";
    let (_, agreed) = answered(text, &us()).unwrap();
    assert_eq!(agreed.dtmf, Some(Dtmf { send: 101, receive: 101, clock_rate: 8000 }));
}

#[test]
fn other_media_are_rejected_in_their_places() {
    let text = "m=video 6000 RTP/AVP 97\r\na=rtpmap:97 H264/90000\r\na=mid:v\r\nm=audio 0 RTP/AVP 0\r\n\
        m=audio 5000 RTP/AVP 0\r\na=mid:a\r\nm=application 7000 UDP/DTLS/SCTP webrtc-datachannel\r\nm=audio 5002 RTP/AVP 8\r\n";
    let (described, agreed) = answered(text, &us()).unwrap();
    let ports: Vec<u16> = described.media.iter().map(|media| media.port).collect();
    assert_eq!(ports, [0, 0, 4000, 0, 0]);
    assert_eq!(agreed.media_index, 2);
    assert_eq!(described.media[0].attribute("mid"), Some("v"));
    assert_eq!(described.media[3].protocol.as_str(), "UDP/DTLS/SCTP");
    wire(&described);
}

#[test]
fn offers_without_a_common_codec_or_audio_are_refused_with_488() {
    for (text, refusal) in [
        ("m=audio 5000 RTP/AVP 18\r\n", Refusal::NoCommonCodec),
        ("m=audio 5000 RTP/AVP 96\r\na=rtpmap:96 opus/16000\r\n", Refusal::NoCommonCodec),
        ("m=audio 5000 RTP/AVP 96\r\n", Refusal::NoCommonCodec),
        ("m=video 5000 RTP/AVP 97\r\n", Refusal::NoAudio),
        ("m=audio 0 RTP/AVP 0\r\n", Refusal::NoAudio),
        ("", Refusal::NoAudio),
        ("m=audio 5000 RTP/AVP 0\r\nc=IN IP4 phone.example\r\n", Refusal::NoAddress),
        ("m=audio 5000 RTP/AVP 0\r\nc=IN IP4 224.2.1.1/127\r\n", Refusal::NoAddress),
        ("m=audio 5000 UDP/TLS/RTP/SAVPF 0\r\n", Refusal::Profile),
    ] {
        let refused = answered(text, &us()).unwrap_err();
        assert_eq!((refused, refused.code()), (refusal, 488), "{text}");
    }
}

#[test]
fn hold_in_all_its_forms() {
    use Direction::{Inactive, ReceiveOnly, SendOnly, SendReceive};
    for (line, wanted, ours, held) in [
        ("a=sendrecv", SendReceive, SendReceive, false),
        ("a=sendonly", SendReceive, ReceiveOnly, true),
        ("a=recvonly", SendReceive, SendOnly, false),
        ("a=inactive", SendReceive, Inactive, true),
        ("c=IN IP4 0.0.0.0", SendReceive, ReceiveOnly, true),
        ("c=IN IP4 0.0.0.0\r\na=recvonly", SendReceive, Inactive, true),
        ("a=sendrecv", SendOnly, SendOnly, false),
        ("a=sendonly", SendOnly, Inactive, true),
        ("a=recvonly", Inactive, Inactive, false),
    ] {
        let text = format!("m=audio 5000 RTP/AVP 0\r\n{line}\r\n");
        let (described, agreed) = answered(&text, &Capabilities { direction: wanted, ..us() }).unwrap();
        assert_eq!((agreed.direction, agreed.held_by_peer()), (ours, held), "{line} {wanted:?}");
        assert_eq!(described.media[0].own_direction(), Some(ours));
    }
}

#[test]
fn addresses_of_both_families() {
    let text = "v=0\no=- 1 1 IN IP6 2001:db8::2\ns=-\nt=0 0\nm=audio 5000 RTP/AVP 0\nc=IN IP6 2001:db8::2\n";
    let offered = SessionDescription::parse(text.as_bytes()).unwrap();
    let capabilities = Capabilities::all("2001:db8::1".parse().unwrap(), 4000);
    let (described, agreed) = answer(&offered, &capabilities, &origin(HERE), &keys(1)).unwrap();
    assert_eq!(agreed.remote_rtp.to_string(), "[2001:db8::2]:5000");
    assert!(described.to_string().contains("c=IN IP6 2001:db8::1\r\n"));
}

/// One profile of the S3 matrix.
const PROFILES: [&str; 6] =
    ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF"];

fn media(profile: &str, key_lines: &str) -> String {
    format!("m=audio 5000 {profile} 0\r\n{key_lines}")
}

fn good_line() -> String {
    format!("a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20\r\n")
}

#[test]
fn s3_offers_profile_by_key_by_policy() {
    use SecurityPolicy::{Off, Offered, Required};
    for profile in PROFILES {
        for has_key in [false, true] {
            for policy in [Off, Offered, Required] {
                for transport in [KeyTransport::Allowed, KeyTransport::Forbidden] {
                    let line = if has_key { good_line() } else { String::new() };
                    let text = media(profile, &line);
                    let capabilities = Capabilities { security: policy, key_transport: transport, ..us() };
                    let result = answered(&text, &capabilities);
                    let can = has_key && transport == KeyTransport::Allowed;
                    // Encrypted, clear, or refused: written out, not computed by the code under test.
                    let expected = match (profile, policy) {
                        ("RTP/AVP" | "RTP/AVPF", Off) => Some(false),
                        ("RTP/AVP" | "RTP/AVPF", Offered) => Some(can),
                        ("RTP/AVP" | "RTP/AVPF", Required) => can.then_some(true),
                        ("RTP/SAVP" | "RTP/SAVPF", Off) => None,
                        ("RTP/SAVP" | "RTP/SAVPF", Offered | Required) => can.then_some(true),
                        (_, _) => None,
                    };
                    let got = result.as_ref().ok().map(|(_, agreed)| agreed.is_encrypted());
                    assert_eq!(got, expected, "{profile} key={has_key} {policy:?} {transport:?}");
                    if let Ok((described, agreed)) = result {
                        let line = described.media[0].crypto_lines();
                        assert_eq!(
                            line.len(),
                            usize::from(agreed.is_encrypted()),
                            "what is said is what is done"
                        );
                        assert_eq!(described.media[0].protocol.as_str(), profile);
                        if let [line] = &line[..] {
                            assert_eq!(line.tag, 3);
                            assert_eq!(agreed.srtp.unwrap().remote.expose(), KEY);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn s3_answers_profile_by_key_by_policy() {
    use SecurityPolicy::{Off, Offered, Required};
    for policy in [Off, Offered, Required] {
        let capabilities =
            Capabilities { security: policy, suites: vec![CryptoSuite::AesCm128HmacSha1_80], ..us() };
        let offered = offer(&capabilities, &origin(HERE), &keys(1)).unwrap();
        let written = offered.media[0].protocol.clone();
        assert_eq!(written, if policy == Required { Protocol::Savp } else { Protocol::Avp });
        assert_eq!(offered.media[0].crypto_lines().len(), usize::from(policy != Off));
        for profile in PROFILES {
            for has_key in [false, true] {
                let line = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{OTHER_KEY}\r\n");
                let text = sdp(&media(profile, if has_key { &line } else { "" }));
                let got = conclude(&offered, &text, &capabilities).ok().map(|agreed| agreed.is_encrypted());
                let expected = match (profile, policy) {
                    ("RTP/AVP" | "RTP/AVPF", Off) => Some(false),
                    ("RTP/AVP" | "RTP/AVPF", Offered) => Some(has_key),
                    // AVP against our SAVP: refused, keys or not.
                    ("RTP/AVP" | "RTP/AVPF", Required) => None,
                    ("RTP/SAVP" | "RTP/SAVPF", Off) => None,
                    ("RTP/SAVP" | "RTP/SAVPF", Offered | Required) => has_key.then_some(true),
                    (_, _) => None,
                };
                assert_eq!(got, expected, "{profile} key={has_key} {policy:?}");
            }
        }
    }
}

#[test]
fn s3_keys_do_not_travel_over_clear_signalling() {
    let capabilities = Capabilities { key_transport: KeyTransport::Forbidden, ..us() };
    let offered = offer(&capabilities, &origin(HERE), &keys(1)).unwrap();
    assert!(!offered.to_string().contains("crypto"));
    let capabilities = Capabilities { security: SecurityPolicy::Required, ..capabilities };
    assert_eq!(offer(&capabilities, &origin(HERE), &keys(1)), Err(Refusal::KeysOverClearSignalling));
}

#[test]
fn s3_a_bad_key_line_is_not_taken_for_no_encryption() {
    let capabilities = Capabilities { suites: vec![CryptoSuite::AesCm128HmacSha1_80], ..us() };
    let offered = offer(&capabilities, &origin(HERE), &keys(1)).unwrap();
    let own = keys(1).key(CryptoSuite::AesCm128HmacSha1_80).expose().to_string();
    for line in [
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4"),
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP"),
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNAUTHENTICATED_SRTP"),
        format!("a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}"),
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{}", &KEY[..20]),
        format!("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{own}"),
        format!(
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{OTHER_KEY}"
        ),
        "a=crypto:1 NULL inline:".into(),
    ] {
        let text = sdp(&media("RTP/AVP", &format!("{line}\r\n")));
        let refused = conclude(&offered, &text, &capabilities);
        assert!(matches!(refused, Err(Refusal::NoUsableKey | Refusal::Mismatch)), "{line}: {refused:?}");
    }
}

#[test]
fn of_several_key_lines_the_first_that_the_account_lists_is_taken() {
    let text = format!(
        "m=audio 5000 RTP/SAVP 0\r\na=crypto:1 F8_128_HMAC_SHA1_80 inline:{KEY}\r\n\
         a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}\r\na=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{OTHER_KEY}|2^48\r\n"
    );
    let (described, agreed) = answered(&text, &us()).unwrap();
    assert_eq!(described.media[0].crypto_lines()[0].tag, 3);
    assert_eq!(agreed.srtp.unwrap().remote_lifetime, Some(1 << 48));
    let short = Capabilities { suites: CryptoSuite::ALL.to_vec(), ..us() };
    assert_eq!(answered(&text, &short).unwrap().1.srtp.unwrap().suite, CryptoSuite::AesCm128HmacSha1_32);
}

#[test]
fn s3_the_encrypted_one_of_two_audio_lines_is_taken() {
    let text = format!("m=audio 5000 RTP/AVP 0\r\nm=audio 5002 RTP/SAVP 0\r\n{}", good_line());
    let (described, agreed) = answered(&text, &us()).unwrap();
    assert_eq!((described.media[0].port, agreed.media_index), (0, 1));
    assert!(agreed.is_encrypted());
}

fn established(capabilities: &Capabilities) -> (Established, SessionDescription) {
    let offered = offer(capabilities, &origin(HERE), &keys(1)).unwrap();
    let (answer, _) = answer(&offered, &peer(), &origin(THERE), &keys(2)).unwrap();
    let negotiated = conclude(&offered, &answer, capabilities).unwrap();
    (Established { local: offered, negotiated }, answer)
}

#[test]
fn a_re_offer_keeps_places_numbers_and_key_and_counts_its_version() {
    let (first, _) = established(&us());
    let again = offer_again(&us(), &first, &keys(1)).unwrap();
    let twice = Established { local: again.clone(), negotiated: first.negotiated.clone() };
    assert_eq!(again.media[0].formats, first.local.media[0].formats);
    assert_eq!(again.origin.version, "2", "three suites became the one in use");
    assert_eq!(offer_again(&us(), &twice, &keys(1)).unwrap(), again, "nothing changed: the same version");
    let held = Capabilities { direction: Direction::SendOnly, ..us() };
    let hold = offer_again(&held, &twice, &keys(1)).unwrap();
    assert_eq!(
        (hold.origin.version.as_str(), hold.origin.session_id == again.origin.session_id),
        ("3", true)
    );
    let (answer, theirs) = answer_again(&hold, &peer(), &established_of_peer(&first), &keys(2)).unwrap();
    assert!(theirs.held_by_peer());
    let agreed = conclude_again(&hold, &answer, &held, &twice).unwrap();
    assert_eq!((agreed.direction, agreed.srtp), (Direction::SendOnly, first.negotiated.srtp));
}

fn established_of_peer(first: &Established) -> Established {
    let (local, negotiated) = answer(&first.local, &peer(), &origin(THERE), &keys(2)).unwrap();
    Established { local, negotiated }
}

#[test]
fn a_re_offer_after_an_answer_names_the_peers_numbers_and_disabled_lines() {
    let text = "m=video 6000 RTP/AVP 97\r\nm=audio 5000 RTP/AVP 110 102\r\na=rtpmap:110 opus/48000/2\r\n\
        a=rtpmap:102 telephone-event/48000\r\n";
    let (local, negotiated) = answered(text, &us()).unwrap();
    let again = offer_again(&us(), &Established { local, negotiated }, &keys(1)).unwrap();
    assert_eq!((again.media.len(), again.media[0].port, again.media[1].port), (2, 0, 4000));
    let formats = again.media[1].payload_formats();
    let opus = formats.iter().find(|format| format.encoding() == Some(Encoding::Opus)).unwrap();
    assert_eq!(opus.payload_type, 110);
    assert!(formats.iter().any(|format| format.payload_type == 102 && format.is_telephone_event()));
    let numbers: std::collections::BTreeSet<_> = formats.iter().map(|format| format.payload_type).collect();
    assert_eq!(numbers.len(), formats.len());
}

#[test]
fn s3_a_re_offer_cannot_make_an_encrypted_call_clear() {
    for policy in [SecurityPolicy::Offered, SecurityPolicy::Required] {
        let capabilities = Capabilities { security: policy, ..us() };
        let (standing, _) = established(&capabilities);
        assert!(standing.negotiated.is_encrypted());
        let clear = sdp("m=audio 5000 RTP/AVP 0\r\n");
        let refused = answer_again(&clear, &capabilities, &standing, &keys(1)).unwrap_err();
        assert!(matches!(refused, Refusal::Downgrade | Refusal::EncryptionRequired), "{refused:?}");
        let dtls = sdp("m=audio 5000 UDP/TLS/RTP/SAVPF 0\r\na=setup:actpass\r\n");
        assert_eq!(answer_again(&dtls, &capabilities, &standing, &keys(1)).unwrap_err(), Refusal::Profile);
        let again = offer_again(&capabilities, &standing, &keys(1)).unwrap();
        let refused = conclude_again(&again, &clear, &capabilities, &standing).unwrap_err();
        assert!(matches!(refused, Refusal::Downgrade | Refusal::EncryptionRequired), "{refused:?}");
    }
}

#[test]
fn an_answer_that_answers_something_else_is_refused() {
    let offered = offer(&us(), &origin(HERE), &keys(1)).unwrap();
    for (text, refusal) in [
        ("m=video 5000 RTP/AVP 0\r\n", Refusal::Mismatch),
        ("m=audio 0 RTP/AVP 0\r\n", Refusal::NoAudio),
        ("", Refusal::NoAudio),
        ("m=audio 5000 RTP/AVP 18\r\n", Refusal::NoCommonCodec),
    ] {
        assert_eq!(conclude(&offered, &sdp(text), &us()), Err(refusal), "{text}");
    }
}

#[test]
fn s23_debug_output_shows_no_key() {
    let (standing, answer) = established(&us());
    let shown = format!("{standing:?} {answer:?} {:?}", keys(1));
    for seed in [1, 2] {
        for suite in CryptoSuite::ALL {
            assert!(!shown.contains(keys(seed).key(suite).expose()));
        }
    }
}
