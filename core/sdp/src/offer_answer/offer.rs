//! Making an offer (RFC 3264 §5, §8).

use super::{Capabilities, Established, SecurityPolicy};
use crate::codec::{Encoding, PayloadFormat};
use crate::crypto::{CryptoLine, CryptoSuite, SdesKeys};
use crate::error::Refusal;
use crate::line::{Attribute, Connection};
use crate::media::{Direction, Media, Protocol};
use crate::session::{Origin, SessionDescription};

/// A first offer. Refused only when encryption is required and keys may not travel.
pub fn offer(
    capabilities: &Capabilities,
    origin: &Origin,
    keys: &SdesKeys,
) -> Result<SessionDescription, Refusal> {
    let protocol = match capabilities.security {
        SecurityPolicy::Off | SecurityPolicy::Offered => Protocol::Avp,
        SecurityPolicy::Required if capabilities.uses_keys() => Protocol::Savp,
        SecurityPolicy::Required => return Err(Refusal::KeysOverClearSignalling),
    };
    let suites = if capabilities.uses_keys() { &capabilities.suites[..] } else { &[] };
    if capabilities.security == SecurityPolicy::Required && suites.is_empty() {
        return Err(Refusal::NoUsableKey);
    }
    Ok(session(origin, capabilities, vec![audio(capabilities, protocol, suites, keys, &[])]))
}

/// An offer in a session that stands: every `m=` line keeps its place, payload types their meaning, the profile and
/// the chosen suite stay, and the version grows when anything changed (RFC 3264 §8).
pub fn offer_again(
    capabilities: &Capabilities,
    established: &Established,
    keys: &SdesKeys,
) -> Result<SessionDescription, Refusal> {
    let negotiated = &established.negotiated;
    let protocol = negotiated.protocol.clone();
    let suites: Vec<CryptoSuite> = match (&negotiated.srtp, capabilities.security) {
        // The suite in use comes alone: a re-offer is no place to change what works.
        (Some(srtp), _) if capabilities.uses_keys() => vec![srtp.suite],
        (Some(_), _) => return Err(Refusal::KeysOverClearSignalling),
        (None, SecurityPolicy::Required) => return Err(Refusal::EncryptionRequired),
        (None, SecurityPolicy::Off | SecurityPolicy::Offered) => Vec::new(),
    };
    let before = established.local.media.get(negotiated.media_index);
    let mapped = before.map(Media::payload_formats).unwrap_or_default();
    let mut audio = audio(capabilities, protocol, &suites, keys, &mapped);
    if let Some(line) = before.and_then(|media| media.crypto_lines().into_iter().next()) {
        // An unchanged key keeps its tag, so that an unchanged description stays unchanged.
        for attribute in audio.attributes.iter_mut().filter(|attribute| attribute.name == "crypto") {
            if let Some(mut ours) = attribute.value.as_deref().and_then(CryptoLine::parse) {
                ours.tag = line.tag;
                attribute.value = Some(ours.to_value());
            }
        }
    }
    if let Some(mid) = before.and_then(|media| media.attribute("mid")) {
        audio.attributes.push(Attribute::with("mid", mid));
    }
    let media =
        established.local.media.iter().enumerate().map(|(index, media)| {
            if index == negotiated.media_index { audio.clone() } else { media.rejected() }
        });
    let described = session(&established.local.origin, capabilities, media.collect());
    Ok(described.revised_from(&established.local))
}

/// The session around the media.
pub(super) fn session(origin: &Origin, capabilities: &Capabilities, media: Vec<Media>) -> SessionDescription {
    SessionDescription {
        origin: origin.clone(),
        name: "-".into(),
        connection: Some(Connection::from(capabilities.address)),
        lines: Vec::new(),
        attributes: Vec::new(),
        media,
    }
}

/// Gives payload types: the ones before, then the hints, then what is free.
struct PayloadTypes<'a> {
    before: &'a [PayloadFormat<'a>],
    taken: [bool; 128],
}

impl PayloadTypes<'_> {
    fn give(&mut self, name: &str, clock_rate: u32, hint: u8) -> Option<u8> {
        let before = self
            .before
            .iter()
            .find(|format| format.name.eq_ignore_ascii_case(name) && format.clock_rate == clock_rate);
        let number = match before {
            Some(format) => format.payload_type,
            None => core::iter::once(hint).chain(96..=127).find(|&number| {
                self.taken.get(usize::from(number)) == Some(&false)
                    && !self.before.iter().any(|format| format.payload_type == number)
            })?,
        };
        self.taken[usize::from(number & 127)] = true;
        Some(number)
    }
}

fn audio(
    capabilities: &Capabilities,
    protocol: Protocol,
    suites: &[CryptoSuite],
    keys: &SdesKeys,
    before: &[PayloadFormat<'_>],
) -> Media {
    let mut numbers = PayloadTypes { before, taken: [false; 128] };
    let mut formats = Vec::new();
    let mut attributes = Vec::new();
    let mut clocks: Vec<u32> = Vec::new();
    for codec in &capabilities.audio {
        let encoding = codec.encoding;
        let hint = encoding.static_payload_type().unwrap_or(codec.payload_type_hint);
        let Some(number) = numbers.give(encoding.name(), encoding.clock_rate(), hint) else { continue };
        formats.push(number.to_string());
        attributes.push(rtpmap(number, encoding));
        if encoding == Encoding::Opus {
            attributes.push(Attribute::with("fmtp", format!("{number} {}", codec.opus.to_fmtp())));
        }
        if !clocks.contains(&encoding.clock_rate()) {
            clocks.push(encoding.clock_rate());
        }
    }
    if capabilities.comfort_noise
        && clocks.contains(&8000)
        && let Some(number) = numbers.give("CN", 8000, 13)
    {
        formats.push(number.to_string());
        attributes.push(Attribute::with("rtpmap", format!("{number} CN/8000")));
    }
    if capabilities.dtmf {
        for clock in clocks {
            let Some(number) = numbers.give("telephone-event", clock, 101) else { continue };
            formats.push(number.to_string());
            attributes.push(Attribute::with("rtpmap", format!("{number} telephone-event/{clock}")));
            attributes.push(Attribute::with("fmtp", format!("{number} 0-16")));
        }
    }
    for (tag, &suite) in (1..).zip(suites) {
        attributes.push(key_line(tag, suite, keys));
    }
    finish(&mut attributes, capabilities, capabilities.direction, capabilities.rtcp_mux);
    Media {
        kind: "audio".into(),
        port: capabilities.port,
        ports: 1,
        protocol,
        formats,
        connection: None,
        lines: Vec::new(),
        attributes,
    }
}

pub(super) fn rtpmap(number: u8, encoding: Encoding) -> Attribute {
    let channels = if encoding.channels() > 1 { format!("/{}", encoding.channels()) } else { String::new() };
    Attribute::with("rtpmap", format!("{number} {}/{}{channels}", encoding.name(), encoding.clock_rate()))
}

pub(super) fn key_line(tag: u32, suite: CryptoSuite, keys: &SdesKeys) -> Attribute {
    let line = CryptoLine { tag, suite, key: keys.key(suite).clone(), lifetime: None };
    Attribute::with("crypto", line.to_value())
}

/// The attributes that every medium of ours ends with.
pub(super) fn finish(
    attributes: &mut Vec<Attribute>,
    capabilities: &Capabilities,
    direction: Direction,
    rtcp_mux: bool,
) {
    attributes.push(Attribute::with("ptime", capabilities.ptime.to_string()));
    attributes.push(Attribute::with("maxptime", capabilities.maxptime.to_string()));
    if let Some(port) = capabilities.port.checked_add(1) {
        attributes.push(Attribute::with("rtcp", if rtcp_mux { capabilities.port } else { port }.to_string()));
    }
    if rtcp_mux {
        attributes.push(Attribute::flag("rtcp-mux"));
    }
    attributes.push(Attribute::flag(direction.as_str()));
}
