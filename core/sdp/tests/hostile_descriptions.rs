//! No description, however damaged, makes this crate panic or hang; what is wrong is named.

#![allow(clippy::unwrap_used, reason = "seeds of a test")]

use std::time::Instant;

use wakeline_entropy::Entropy;
use wakeline_sdp::{
    Capabilities, Established, Origin, SdesKeys, SdpError, SessionDescription, answer, answer_again,
    conclude, offer, offer_again,
};

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n";

fn parse(rest: &str) -> Result<SessionDescription, SdpError> {
    SessionDescription::parse(format!("{HEAD}{rest}").as_bytes())
}

#[test]
fn s6_each_known_wreck_has_its_error() {
    let many = "m=audio 5000 RTP/AVP 0\r\n".repeat(1000);
    assert_eq!(parse(&many), Err(SdpError::TooManyMedia { line: 14 }));
    assert_eq!(parse("m=audio 17000 RTP/AVP 4294967296\r\n"), Err(SdpError::PayloadType { line: 6 }));
    assert_eq!(parse("m=audio 17000 RTP/AVP 128\r\n"), Err(SdpError::PayloadType { line: 6 }));
    assert_eq!(parse("m=audio 65536 RTP/AVP 0\r\n"), Err(SdpError::Port { line: 6 }));
    assert_eq!(parse("m=audio -1 RTP/AVP 0\r\n"), Err(SdpError::Port { line: 6 }));
    assert_eq!(parse("m=audio 65000/1000 RTP/AVP 0\r\n"), Err(SdpError::Port { line: 6 }));
    assert_eq!(parse("m=audio 5000/0 RTP/AVP 0\r\n"), Err(SdpError::Port { line: 6 }));
    assert_eq!(parse("m=audio 5000 RTP/AVP\r\n"), Err(SdpError::Media { line: 6 }));
    let nul = "m=audio 5000 RTP/AVP 96\r\na=fmtp:96 a=\0\r\n";
    assert_eq!(parse(nul), Err(SdpError::ForbiddenCharacter { line: 7 }));
    let mids = "m=audio 5000 RTP/AVP 0\r\na=mid:0\r\nm=audio 5002 RTP/AVP 0\r\na=mid:0\r\n";
    assert_eq!(parse(mids), Err(SdpError::DuplicateMid { line: 9 }));
    let key = format!("m=audio 5000 RTP/SAVP 0\r\na=crypto:1 {}\r\n", "A".repeat(10_000));
    assert_eq!(parse(&key), Err(SdpError::LineTooLong { line: 7 }));
    assert_eq!(parse(&format!("a={}\r\n", "x".repeat(64 * 1024))), Err(SdpError::TooLong));
    assert_eq!(parse(&"a=x\r\n".repeat(600)), Err(SdpError::TooManyLines));
    assert_eq!(
        parse(&format!("m=audio 5000 RTP/AVP{}\r\n", " 0".repeat(129))),
        Err(SdpError::LineTooLong { line: 6 })
    );
    assert_eq!(parse("nonsense\r\n"), Err(SdpError::NotALine { line: 6 }));
    assert_eq!(parse("c=IN\r\n"), Err(SdpError::Connection { line: 6 }));
    assert_eq!(SessionDescription::parse(b""), Err(SdpError::Version));
    assert_eq!(SessionDescription::parse(b"v=1\r\n"), Err(SdpError::Version));
    assert_eq!(SessionDescription::parse(b"v=0\r\ns=-\r\n"), Err(SdpError::Origin { line: 0 }));
    assert_eq!(SessionDescription::parse(b"v=0\r\no=- a b IN IP4 x\r\n"), Err(SdpError::Origin { line: 2 }));
}

#[test]
fn s6_a_large_key_line_below_the_limit_is_passed_over() {
    let text = format!(
        "m=audio 5000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{}\r\n",
        "A".repeat(4000)
    );
    assert!(parse(&text).unwrap().media[0].crypto_lines().is_empty());
}

#[test]
fn tolerated_forms_read_and_write_back_strictly() {
    let text = "v=0\no=My Phone 123456789012345678901234 99 IN IP4 host\nc=IN IP4 192.0.2.9/127\nx=odd\nb=AS:64\n\
                m=Audio 5000 rtp/avp 0 101\na=rtpmap:101\ttelephone-event/8000\na = sendonly\nb=TIAS:64000\ny=q";
    let text = text.replace("a = sendonly", "a=sendonly ");
    let read = SessionDescription::parse(text.as_bytes()).unwrap();
    assert_eq!(read.media[0].payload_formats().len(), 2);
    let written = read.to_string();
    assert_eq!(
        written,
        "v=0\r\no=My_Phone 123456789012345678901234 99 IN IP4 host\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nb=AS:64\r\n\
         t=0 0\r\nx=odd\r\nm=audio 5000 RTP/AVP 0 101\r\nb=TIAS:64000\r\ny=q\r\n\
         a=rtpmap:101\ttelephone-event/8000\r\na=sendonly\r\n"
    );
    assert_eq!(SessionDescription::parse(written.as_bytes()).unwrap().to_string(), written);
}

#[test]
fn s8_no_value_can_begin_another_line() {
    let mut description = parse("m=audio 5000 RTP/AVP 0\r\n").unwrap();
    description.name = "a\r\na=evil\n\0".into();
    description.origin.username = "x y\r\nm=audio".into();
    let lines = description.to_string().lines().count();
    assert_eq!(lines, 6);
}

#[test]
fn s13_parse_time_grows_linearly() {
    // One medium with as many lines and formats as the limits let through, against a quarter of it.
    let text = |lines: usize| {
        let formats: String = (0..128).map(|number| format!(" {number}")).collect();
        let mut text = format!("{HEAD}m=audio 5000 RTP/AVP{formats}\r\n");
        for line in 0..lines {
            text.push_str(&format!("a=rtpmap:{} opus/48000/2{}\r\n", line % 128, ";".repeat(90)));
        }
        text
    };
    let time = |text: &str| {
        (0..5)
            .map(|_| {
                #[allow(clippy::disallowed_methods, reason = "a test of time itself")]
                let begin = Instant::now();
                for _ in 0..20 {
                    let read = SessionDescription::parse(text.as_bytes()).unwrap();
                    assert_eq!(read.media[0].payload_formats().len(), 128);
                }
                begin.elapsed()
            })
            .min()
            .unwrap()
    };
    let (small, large) = (text(128), text(500));
    let (small_time, large_time) = (time(&small), time(&large));
    assert!(large_time < small_time * 10, "four times the lines: {small_time:?} to {large_time:?}");
}

#[test]
fn s6_mutated_descriptions_never_panic_in_parse_offer_or_answer() {
    let mut entropy = Entropy::from_number(8866);
    let capabilities = Capabilities::all("192.0.2.1".parse().unwrap(), 4000);
    let origin = Origin::new(1 << 40, capabilities.address);
    let keys = SdesKeys::generate(&mut entropy);
    let ours = offer(&capabilities, &origin, &keys).unwrap();
    let (answered, negotiated) =
        answer(&ours, &capabilities, &origin, &SdesKeys::generate(&mut entropy)).unwrap();
    let established = Established { local: ours.clone(), negotiated };
    let mut seeds: Vec<Vec<u8>> = vec![ours.to_string().into_bytes(), answered.to_string().into_bytes()];
    seeds.push(
        format!("{HEAD}a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=mid:0\r\n\
                 a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\nm=video 9 RTP/AVP 96\r\na=mid:1\r\n")
            .into_bytes(),
    );
    let words: [&[u8]; 12] = [
        b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^99\r\n",
        b"65536",
        b"\r\n",
        b"\0",
        b"m=audio 0 RTP/AVP 0\r\n",
        b"a=rtpmap:127 opus/0/0\r\n",
        b"4294967296",
        b"/",
        b"c=IN IP6 ::\r\n",
        b"a=ptime:0\r\n",
        b"a=rtcp:0\r\n",
        b"\xFF\xFE",
    ];
    let mut read = 0;
    for round in 0..30_000_usize {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..=entropy.below(5) {
            let at = entropy.below(bytes.len() as u32 + 1) as usize;
            match entropy.below(5) {
                0 if at < bytes.len() => bytes[at] = entropy.u32() as u8,
                1 if at < bytes.len() => bytes[at] ^= 1 << entropy.below(8),
                2 => bytes.truncate(at.max(bytes.len() / 2)),
                3 => {
                    let word = words[entropy.below(words.len() as u32) as usize];
                    bytes.splice(at..at, word.iter().copied());
                }
                _ => {
                    let end = (at + entropy.below(12) as usize).min(bytes.len());
                    bytes.drain(at..end);
                }
            }
        }
        let Ok(description) = SessionDescription::parse(&bytes) else { continue };
        read += 1;
        assert!(description.media.len() <= wakeline_sdp::MAX_MEDIA);
        let written = description.to_string();
        assert_eq!(SessionDescription::parse(written.as_bytes()).unwrap().to_string(), written);
        if let Ok((answered, negotiated)) = answer(&description, &capabilities, &origin, &keys) {
            assert_eq!(answered.media.len(), description.media.len());
            let established = Established { local: answered, negotiated };
            let _ = offer_again(&capabilities, &established, &keys);
        }
        let _ = answer_again(&description, &capabilities, &established, &keys);
        let _ = conclude(&ours, &description, &capabilities);
    }
    assert!(read > 3000, "the damage leaves something to read: {read}");
}
