//! Answering an offer (RFC 3264 §6).

use super::negotiated::{events_for, packet_time, remote_addresses};
use super::offer::{finish, key_line, rtpmap, session};
use super::{Capabilities, Dtmf, Established, Negotiated, Preference, SecurityPolicy, SrtpKeys};
use crate::codec::{Encoding, OpusParameters, PayloadFormat};
use crate::crypto::{CryptoLine, SdesKeys};
use crate::error::Refusal;
use crate::line::Attribute;
use crate::media::{Media, Protocol};
use crate::session::{Origin, SessionDescription};

/// Answers a first offer: the first audio that can be encrypted (when that is wanted), else the first that can be had;
/// every other medium is rejected with port 0.
pub fn answer(
    offer: &SessionDescription,
    capabilities: &Capabilities,
    origin: &Origin,
    keys: &SdesKeys,
) -> Result<(SessionDescription, Negotiated), Refusal> {
    answer_within(offer, capabilities, origin, keys, None)
}

/// Answers an offer in a session that stands. One that would make an encrypted session clear is refused, and the
/// session goes on as it was (RFC 3261 §14.2).
pub fn answer_again(
    offer: &SessionDescription,
    capabilities: &Capabilities,
    established: &Established,
    keys: &SdesKeys,
) -> Result<(SessionDescription, Negotiated), Refusal> {
    let origin = &established.local.origin;
    let (described, negotiated) = answer_within(offer, capabilities, origin, keys, Some(established))?;
    Ok((described.revised_from(&established.local), negotiated))
}

fn answer_within(
    offer: &SessionDescription,
    capabilities: &Capabilities,
    origin: &Origin,
    keys: &SdesKeys,
    established: Option<&Established>,
) -> Result<(SessionDescription, Negotiated), Refusal> {
    let mut chosen: Option<(usize, Media, Negotiated)> = None;
    let mut refusal = Refusal::NoAudio;
    for (index, media) in offer.media.iter().enumerate() {
        if media.kind != "audio" || media.port == 0 {
            continue;
        }
        match answer_media(offer, index, media, capabilities, keys) {
            Ok((described, negotiated)) => {
                let is_better = match &chosen {
                    None => true,
                    // Some offer the same audio twice, in the clear and encrypted.
                    Some((_, _, other)) => negotiated.is_encrypted() && !other.is_encrypted(),
                };
                if is_better {
                    chosen = Some((index, described, negotiated));
                }
            }
            Err(error) => refusal = error,
        }
    }
    let (index, audio, negotiated) = chosen.ok_or(refusal)?;
    if established.is_some_and(|before| before.negotiated.is_encrypted()) && !negotiated.is_encrypted() {
        return Err(Refusal::Downgrade);
    }
    let media = offer
        .media
        .iter()
        .enumerate()
        .map(|(place, media)| if place == index { audio.clone() } else { media.rejected() });
    Ok((session(origin, capabilities, media.collect()), negotiated))
}

/// Which key line protects this medium, or none when it may be clear: the whole matrix of policy and profile.
fn protection(media: &Media, capabilities: &Capabilities) -> Result<Option<CryptoLine>, Refusal> {
    let usable = || {
        // The offerer's order decides (RFC 4568 §5.1.2), among what our account lists.
        let lines = media.crypto_lines();
        lines.into_iter().find(|line| capabilities.suites.contains(&line.suite))
    };
    match (&media.protocol, capabilities.security) {
        (Protocol::DtlsSavp | Protocol::DtlsSavpf | Protocol::Other(_), _) => Err(Refusal::Profile),
        (Protocol::Avp | Protocol::Avpf, SecurityPolicy::Off) => Ok(None),
        (Protocol::Savp | Protocol::Savpf, SecurityPolicy::Off) => Err(Refusal::EncryptionOff),
        (Protocol::Avp | Protocol::Avpf, SecurityPolicy::Offered) => {
            Ok(if capabilities.uses_keys() { usable() } else { None })
        }
        // A clear profile with keys is encrypted all the same (RFC 8643 §3).
        (Protocol::Avp | Protocol::Avpf, SecurityPolicy::Required) if capabilities.uses_keys() => {
            usable().map(Some).ok_or(Refusal::EncryptionRequired)
        }
        (Protocol::Avp | Protocol::Avpf, SecurityPolicy::Required) => Err(Refusal::EncryptionRequired),
        (Protocol::Savp | Protocol::Savpf, SecurityPolicy::Offered | SecurityPolicy::Required) => {
            if !capabilities.uses_keys() {
                return Err(Refusal::KeysOverClearSignalling);
            }
            usable().map(Some).ok_or(Refusal::NoUsableKey)
        }
    }
}

fn answer_media(
    offer: &SessionDescription,
    index: usize,
    media: &Media,
    capabilities: &Capabilities,
    keys: &SdesKeys,
) -> Result<(Media, Negotiated), Refusal> {
    let line = protection(media, capabilities)?;
    let formats = media.payload_formats();
    let (format, encoding) = choose_codec(&formats, capabilities).ok_or(Refusal::NoCommonCodec)?;
    let rtcp_mux = capabilities.rtcp_mux && media.attribute("rtcp-mux").is_some();
    let (remote_rtp, remote_rtcp) = remote_addresses(offer, media, rtcp_mux)?;

    // The offer's numbers serve both ways (RFC 3264 §6.1).
    let number = format.payload_type;
    let mut answered = vec![number.to_string()];
    let mut attributes = vec![rtpmap(number, encoding)];
    if encoding == Encoding::Opus
        && let Some(codec) = capabilities.codec(encoding)
    {
        attributes.push(Attribute::with("fmtp", format!("{number} {}", codec.opus.to_fmtp())));
    }
    let noise = formats
        .iter()
        .find(|format| format.is_comfort_noise())
        .filter(|_| capabilities.comfort_noise && encoding.clock_rate() == 8000)
        .map(|format| format.payload_type);
    if let Some(number) = noise {
        answered.push(number.to_string());
        attributes.push(Attribute::with("rtpmap", format!("{number} CN/8000")));
    }
    let events = events_for(&formats, encoding.clock_rate()).filter(|_| capabilities.dtmf);
    if let Some(events) = events {
        let (number, clock) = (events.payload_type, events.clock_rate);
        answered.push(number.to_string());
        attributes.push(Attribute::with("rtpmap", format!("{number} telephone-event/{clock}")));
        attributes.push(Attribute::with("fmtp", format!("{number} 0-16")));
    }
    if let Some(line) = &line {
        attributes.push(key_line(line.tag, line.suite, keys));
    }
    if let Some(mid) = media.attribute("mid") {
        attributes.push(Attribute::with("mid", mid));
    }
    let remote_direction = offer.direction(media);
    let direction = capabilities.direction.and(remote_direction.reversed());
    finish(&mut attributes, capabilities, direction, rtcp_mux);

    let negotiated = Negotiated {
        media_index: index,
        protocol: media.protocol.clone(),
        codec: encoding,
        opus: OpusParameters::parse(format.fmtp),
        send_payload_type: number,
        receive_payload_types: vec![(number, encoding)],
        dtmf: events.map(|events| Dtmf {
            send: events.payload_type,
            receive: events.payload_type,
            clock_rate: events.clock_rate,
        }),
        comfort_noise: noise.map(|number| (number, number)),
        remote_rtp,
        remote_rtcp,
        rtcp_mux,
        direction,
        remote_direction,
        srtp: line.map(|line| SrtpKeys {
            suite: line.suite,
            local: keys.key(line.suite).clone(),
            remote: line.key,
            remote_lifetime: line.lifetime,
        }),
        ptime: packet_time(capabilities, media),
    };
    let described = Media {
        kind: media.kind.clone(),
        port: capabilities.port,
        ports: 1,
        protocol: media.protocol.clone(),
        formats: answered,
        connection: None,
        lines: Vec::new(),
        attributes,
    };
    Ok((described, negotiated))
}

fn choose_codec<'a>(
    formats: &[PayloadFormat<'a>],
    capabilities: &Capabilities,
) -> Option<(PayloadFormat<'a>, Encoding)> {
    let mut common = formats.iter().filter_map(|format| {
        let encoding = format.encoding()?;
        capabilities.codec(encoding).map(|_| (*format, encoding))
    });
    match capabilities.preference {
        Preference::Theirs => common.next(),
        Preference::Ours => {
            let common: Vec<_> = common.collect();
            let wanted = capabilities.audio.iter();
            let mut found =
                wanted.filter_map(|codec| common.iter().find(|(_, encoding)| *encoding == codec.encoding));
            found.next().copied()
        }
    }
}
