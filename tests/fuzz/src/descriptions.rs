//! Session descriptions, and two sides that agree about them (RFC 3264; class S3).

use wakeline_entropy::Entropy;
use wakeline_sdp::*;

use crate::script::Script;

/// What is read is written so that it reads back the same, and every view comes back.
pub(crate) fn sdp(bytes: &[u8]) {
    let description = match SessionDescription::parse(bytes) {
        Ok(description) => description,
        Err(error) => return drop(error.to_string()),
    };
    assert!(description.media.len() <= MAX_MEDIA);
    for media in &description.media {
        let _ = (description.direction(media), description.connection(media).map(Connection::ip));
        let _ = (media.payload_formats(), media.rtcp(), media.packet_time("ptime"), media.own_direction());
        for line in media.crypto_lines() {
            let _ = crypto::decode_key(line.suite, &line.key);
            assert!(CryptoLine::parse(&line.to_value()).is_some(), "a key line does not read back");
        }
    }
    let written = description.to_string();
    match SessionDescription::parse(written.as_bytes()) {
        Ok(again) => assert_eq!(again.to_string(), written, "written differently than read"),
        Err(error) => {
            // What was folded shorter on the way in may grow beyond a limit on the way out, and only that.
            assert!(written.len() > MAX_LENGTH, "does not read back: {error}\n{written}");
        }
    }
    answer_it(&description);
}

/// Any description is answered or refused, whatever the policy; a clear call is never called encrypted.
fn answer_it(description: &SessionDescription) {
    for security in [SecurityPolicy::Off, SecurityPolicy::Offered, SecurityPolicy::Required] {
        for key_transport in [KeyTransport::Allowed, KeyTransport::Forbidden] {
            let us = Capabilities { security, key_transport, ..side(9) };
            let keys = SdesKeys::generate(&mut Entropy::from_number(9));
            let Ok((answered, negotiated)) = answer(description, &us, &Origin::new(9, us.address), &keys)
            else {
                continue;
            };
            assert_eq!(answered.media.len(), description.media.len(), "RFC 3264 §6");
            honest(&us, &negotiated, &answered);
            let text = answered.to_string();
            let again = SessionDescription::parse(text.as_bytes()).expect("what we write can be read");
            assert_eq!(again.to_string(), text);
        }
    }
}

fn side(number: u8) -> Capabilities {
    Capabilities::all(core::net::IpAddr::from([192, 0, 2, number]), 4000 + 2 * u16::from(number))
}

/// What S3 demands of one side.
fn honest(us: &Capabilities, negotiated: &Negotiated, ours: &SessionDescription) {
    let keys_written = ours.media.iter().any(|media| media.attribute("crypto").is_some());
    if us.key_transport == KeyTransport::Forbidden || us.security == SecurityPolicy::Off {
        assert!(!negotiated.is_encrypted() && !keys_written, "keys where none may be");
    }
    if us.security == SecurityPolicy::Required {
        assert!(negotiated.is_encrypted(), "required, and in the clear");
    }
    let secure_profile = matches!(negotiated.protocol, Protocol::Savp | Protocol::Savpf);
    assert!(negotiated.is_encrypted() || !secure_profile, "a secure profile without keys");
}

fn capabilities(script: &mut Script<'_>, number: u8) -> Capabilities {
    let mut us = side(number);
    let mask = script.byte() | 1;
    us.audio = (0_u8..).zip(us.audio).filter(|(bit, _)| mask >> (bit % 8) & 1 == 1).map(|(_, c)| c).collect();
    us.security = [SecurityPolicy::Off, SecurityPolicy::Offered, SecurityPolicy::Required][script.below(3)];
    us.key_transport = [KeyTransport::Allowed, KeyTransport::Forbidden][script.below(2)];
    let switches = script.byte();
    us.dtmf = switches & 1 == 0;
    us.comfort_noise = switches & 2 == 0;
    us.rtcp_mux = switches & 4 == 0;
    us.preference = if switches & 8 == 0 { Preference::Theirs } else { Preference::Ours };
    us.ptime = [20, 10, 40, 60, 0, 1000][script.below(6)];
    us.direction = [Direction::SendReceive, Direction::SendOnly, Direction::ReceiveOnly, Direction::Inactive]
        [script.below(4)];
    if switches & 16 != 0 {
        us.suites.reverse();
        us.suites.truncate(script.below(4));
    }
    us
}

/// Changes a description on its way: a line goes, is doubled, or another comes in.
fn damage(script: &mut Script<'_>, description: &SessionDescription) -> Option<SessionDescription> {
    let text = description.to_string();
    let mut lines: Vec<&str> = text.lines().collect();
    let kind = script.below(8);
    let place = script.below(lines.len() + 1);
    let own = script.text(40);
    match kind {
        0..=3 => {}
        4 if place < lines.len() => drop(lines.remove(place)),
        5 if place < lines.len() => lines.insert(place, lines[place]),
        6 => lines.insert(place, LINES[script.below(LINES.len())]),
        _ => lines.insert(place, &own),
    }
    SessionDescription::parse(lines.join("\r\n").as_bytes()).ok()
}

const LINES: [&str; 14] = [
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4",
    "a=crypto:4294967296 AES_CM_128_HMAC_SHA1_80 inline:x",
    "m=audio 0 RTP/AVP 0",
    "m=audio 4000 RTP/SAVP 0 8 96",
    "m=audio 65535 RTP/AVPF 111 111 111",
    "m=video 4000 RTP/AVP 96",
    "a=rtpmap:0 opus/48000/2",
    "a=rtpmap:96 telephone-event/8000",
    "a=fmtp:111 maxplaybackrate=0;useinbandfec=9;maxaveragebitrate=4294967296",
    "a=sendonly",
    "a=inactive",
    "c=IN IP4 0.0.0.0",
    "a=rtcp:0 IN IP6 ::",
    "a=ptime:65535",
];

/// Two sides, a wire between them that damages, a re-offer: both agree, or one says why not.
pub(crate) fn offer_answer(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let (a, b) = (capabilities(&mut script, 1), capabilities(&mut script, 2));
    let keys = |number| SdesKeys::generate(&mut Entropy::from_number(number));
    let Ok(offered) = offer(&a, &Origin::new(1, a.address), &keys(1)) else { return };
    let Some(arrived) = damage(&mut script, &offered) else { return };
    let (answered, theirs) = match answer(&arrived, &b, &Origin::new(2, b.address), &keys(2)) {
        Ok(agreed) => agreed,
        Err(refusal) => {
            assert!((400..700).contains(&refusal.code()));
            return drop(refusal.to_string());
        }
    };
    honest(&b, &theirs, &answered);
    let is_whole = arrived.to_string() == offered.to_string();
    let Some(came_back) = damage(&mut script, &answered) else { return };
    let ours = match conclude(&offered, &came_back, &a) {
        Ok(ours) => ours,
        Err(refusal) => {
            let is_same = came_back.to_string() == answered.to_string();
            assert!(!is_whole || !is_same, "a good answer is refused: {refusal}");
            return;
        }
    };
    honest(&a, &ours, &offered);
    if is_whole && came_back.to_string() == answered.to_string() {
        assert_eq!(ours.is_encrypted(), theirs.is_encrypted(), "one side thinks it is encrypted");
        assert_eq!(ours.codec, theirs.codec);
        if let (Some(one), Some(other)) = (&ours.srtp, &theirs.srtp) {
            assert!(one.local == other.remote && one.remote == other.local && one.suite == other.suite);
        }
        assert!(!ours.direction.sends() || theirs.direction.receives(), "we talk to a wall");
    }
    // The session stands; the far end comes with something else, and then we do.
    let established = Established { local: answered, negotiated: theirs };
    let Some(later) = damage(&mut script, &arrived) else { return };
    if let Ok((again, negotiated)) = answer_again(&later, &b, &established, &keys(2)) {
        honest(&b, &negotiated, &again);
        let was = established.negotiated.is_encrypted();
        assert!(!was || negotiated.is_encrypted(), "an encrypted session became clear");
        assert_eq!(again.media.len(), later.media.len());
    }
    let standing = Established { local: offered, negotiated: ours };
    let changed = Capabilities { direction: Direction::SendOnly, ..a };
    if let Ok(reoffer) = offer_again(&changed, &standing, &keys(1)) {
        assert!(reoffer.media.len() >= standing.local.media.len(), "an m= line was lost");
        if let Ok((answered, _)) = answer_again(&reoffer, &b, &established, &keys(2))
            && let Ok(negotiated) = conclude_again(&reoffer, &answered, &changed, &standing)
        {
            assert!(!standing.negotiated.is_encrypted() || negotiated.is_encrypted(), "downgraded");
        }
    }
}
