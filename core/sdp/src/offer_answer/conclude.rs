//! Reading the answer to our offer (RFC 3264 §7).

use super::negotiated::{events_for, packet_time, remote_addresses};
use super::{Capabilities, Dtmf, Established, Negotiated, SecurityPolicy, SrtpKeys};
use crate::codec::{Encoding, OpusParameters};
use crate::error::Refusal;
use crate::media::{Media, Protocol};
use crate::session::SessionDescription;

/// Reads the answer to a first offer. A refusal ends the call: ACK, then BYE.
pub fn conclude(
    our_offer: &SessionDescription,
    answer: &SessionDescription,
    capabilities: &Capabilities,
) -> Result<Negotiated, Refusal> {
    let mut refusal = Refusal::NoAudio;
    for (index, ours) in our_offer.media.iter().enumerate() {
        if ours.kind != "audio" || ours.port == 0 {
            continue;
        }
        // An answer names as many media as the offer; with fewer, what is missing is rejected.
        let Some(theirs) = answer.media.get(index) else { continue };
        if theirs.kind != ours.kind {
            return Err(Refusal::Mismatch);
        }
        if theirs.port == 0 {
            continue;
        }
        match conclude_media(index, ours, answer, theirs, our_offer, capabilities) {
            Ok(negotiated) => return Ok(negotiated),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}

/// Reads the answer to a re-offer. When it is refused, the session is as it was before the offer.
pub fn conclude_again(
    our_offer: &SessionDescription,
    answer: &SessionDescription,
    capabilities: &Capabilities,
    established: &Established,
) -> Result<Negotiated, Refusal> {
    let negotiated = conclude(our_offer, answer, capabilities)?;
    if established.negotiated.is_encrypted() && !negotiated.is_encrypted() {
        return Err(Refusal::Downgrade);
    }
    Ok(negotiated)
}

/// The keys that the answer chose, or none when the session may be clear.
fn protection(
    ours: &Media,
    theirs: &Media,
    capabilities: &Capabilities,
) -> Result<Option<SrtpKeys>, Refusal> {
    let offered = ours.crypto_lines();
    let is_secure = |protocol: &Protocol| match protocol {
        Protocol::Savp | Protocol::Savpf => Ok(true),
        Protocol::Avp | Protocol::Avpf => Ok(false),
        Protocol::DtlsSavp | Protocol::DtlsSavpf | Protocol::Other(_) => Err(Refusal::Profile),
    };
    match (is_secure(&ours.protocol)?, is_secure(&theirs.protocol)?) {
        // The downgrade itself: we said SAVP and hear AVP.
        (true, false) => return Err(Refusal::EncryptionRequired),
        // Some answer our clear profile with keys by the secure one; sound, if a key of ours is chosen.
        (false, true) if offered.is_empty() => return Err(Refusal::Mismatch),
        (true, true) | (false, true | false) => {}
    }
    let names_keys = theirs.attributes.iter().any(|attribute| attribute.name == "crypto");
    let must = is_secure(&ours.protocol)?
        || is_secure(&theirs.protocol)?
        || capabilities.security == SecurityPolicy::Required;
    if offered.is_empty() || !names_keys {
        return if must { Err(Refusal::EncryptionRequired) } else { Ok(None) };
    }
    // An answer has exactly one line, with the tag and suite of one of ours (RFC 4568 §5.1.2). A bad one is not
    // "no encryption": the peer would send what we cannot read.
    let lines = theirs.crypto_lines();
    let [line] = &lines[..] else { return Err(Refusal::NoUsableKey) };
    let ours = offered
        .iter()
        .find(|offered| offered.tag == line.tag && offered.suite == line.suite)
        .ok_or(Refusal::Mismatch)?;
    // A peer that sends our own key back knows nothing of keys, and one key both ways would break counter mode.
    if ours.key == line.key {
        return Err(Refusal::NoUsableKey);
    }
    Ok(Some(SrtpKeys {
        suite: line.suite,
        local: ours.key.clone(),
        remote: line.key.clone(),
        remote_lifetime: line.lifetime,
    }))
}

fn conclude_media(
    index: usize,
    ours: &Media,
    answer: &SessionDescription,
    theirs: &Media,
    our_offer: &SessionDescription,
    capabilities: &Capabilities,
) -> Result<Negotiated, Refusal> {
    let srtp = protection(ours, theirs, capabilities)?;
    let (our_formats, their_formats) = (ours.payload_formats(), theirs.payload_formats());
    // Each side's numbers are for what it receives (RFC 3264 §5.1): the answer's to send with, the offer's to receive.
    let receive_payload_types: Vec<(u8, Encoding)> = our_formats
        .iter()
        .filter_map(|format| Some((format.payload_type, format.encoding()?)))
        .filter(|(_, encoding)| their_formats.iter().any(|format| format.encoding() == Some(*encoding)))
        .collect();
    let (format, codec) = their_formats
        .iter()
        .filter_map(|format| Some((format, format.encoding()?)))
        .find(|(_, encoding)| receive_payload_types.iter().any(|(_, known)| known == encoding))
        .ok_or(Refusal::NoCommonCodec)?;
    let dtmf = events_for(&their_formats, codec.clock_rate()).and_then(|theirs| {
        let mut ours = our_formats.iter().filter(|format| format.is_telephone_event());
        let ours = ours.find(|format| format.clock_rate == theirs.clock_rate)?;
        Some(Dtmf { send: theirs.payload_type, receive: ours.payload_type, clock_rate: theirs.clock_rate })
    });
    let noise = |formats: &[crate::codec::PayloadFormat<'_>]| {
        formats.iter().find(|format| format.is_comfort_noise()).map(|format| format.payload_type)
    };
    let rtcp_mux = ours.attribute("rtcp-mux").is_some() && theirs.attribute("rtcp-mux").is_some();
    let (remote_rtp, remote_rtcp) = remote_addresses(answer, theirs, rtcp_mux)?;
    let remote_direction = answer.direction(theirs);
    Ok(Negotiated {
        media_index: index,
        protocol: theirs.protocol.clone(),
        codec,
        opus: OpusParameters::parse(format.fmtp),
        send_payload_type: format.payload_type,
        receive_payload_types,
        dtmf,
        comfort_noise: noise(&their_formats).zip(noise(&our_formats)).filter(|_| codec.clock_rate() == 8000),
        remote_rtp,
        remote_rtcp,
        rtcp_mux,
        direction: our_offer.direction(ours).and(remote_direction.reversed()),
        remote_direction,
        srtp,
        ptime: packet_time(capabilities, theirs),
    })
}
