//! Reading a description: tolerant of what peers really send, in one pass over its lines.
//!
//! Taken: LF for CRLF, no last line end, lines out of order, no `s=`, `t=` or `c=`, unknown letters, bytes that are not
//! UTF-8. Not taken: what cannot be meant (see [`SdpError`]).

use std::collections::BTreeSet;

use crate::error::SdpError;
use crate::line::{Attribute, Connection, Line};
use crate::media::{Media, Protocol};
use crate::session::{Origin, SessionDescription};
use crate::{MAX_FORMATS, MAX_LENGTH, MAX_LINE_LENGTH, MAX_LINES, MAX_MEDIA};

impl SessionDescription {
    /// Reads a description.
    pub fn parse(text: &[u8]) -> Result<SessionDescription, SdpError> {
        if text.len() > MAX_LENGTH {
            return Err(SdpError::TooLong);
        }
        let mut reading = Reading::default();
        let mut seen = 0;
        for (index, bytes) in text.split(|&byte| byte == b'\n').enumerate() {
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            let number = index + 1;
            if bytes.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
                continue;
            }
            seen += 1;
            if seen > MAX_LINES {
                return Err(SdpError::TooManyLines);
            }
            if bytes.len() > MAX_LINE_LENGTH {
                return Err(SdpError::LineTooLong { line: number });
            }
            if bytes.iter().any(|byte| matches!(byte, 0 | b'\r')) {
                return Err(SdpError::ForbiddenCharacter { line: number });
            }
            let [kind, b'=', value @ ..] = bytes else {
                return Err(SdpError::NotALine { line: number });
            };
            if !kind.is_ascii_alphabetic() {
                return Err(SdpError::NotALine { line: number });
            }
            if seen == 1 && (*kind, value.trim_ascii()) != (b'v', b"0") {
                return Err(SdpError::Version);
            }
            reading.line(number, *kind, &String::from_utf8_lossy(value))?;
        }
        reading.finish(seen)
    }
}

#[derive(Default)]
struct Reading {
    origin: Option<Origin>,
    name: Option<String>,
    connection: Option<Connection>,
    lines: Vec<Line>,
    attributes: Vec<Attribute>,
    media: Vec<Media>,
    mids: BTreeSet<String>,
}

impl Reading {
    fn line(&mut self, line: usize, kind: u8, value: &str) -> Result<(), SdpError> {
        match kind {
            // A second version line changes nothing.
            b'v' => {}
            b'o' if self.origin.is_none() => self.origin = Some(origin(line, value)?),
            b's' if self.media.is_empty() => self.name = Some(value.into()),
            b'c' => {
                let connection = connection(line, value)?;
                // Of several lines (layered multicast) the first counts.
                match self.media.last_mut() {
                    Some(media) => media.connection.get_or_insert(connection),
                    None => self.connection.get_or_insert(connection),
                };
            }
            b'a' => self.attribute(line, value)?,
            b'm' => {
                if self.media.len() == MAX_MEDIA {
                    return Err(SdpError::TooManyMedia { line });
                }
                self.media.push(media(line, value)?);
            }
            other => {
                let kept = Line { kind: char::from(other), value: value.into() };
                match self.media.last_mut() {
                    Some(media) => media.lines.push(kept),
                    None => self.lines.push(kept),
                }
            }
        }
        Ok(())
    }

    fn attribute(&mut self, line: usize, value: &str) -> Result<(), SdpError> {
        let attribute = match value.split_once(':') {
            Some((name, value)) => Attribute::with(name.trim(), value.trim()),
            None => Attribute::flag(value.trim()),
        };
        if attribute.name == "mid" && !self.media.is_empty() {
            let mid = attribute.value.clone().unwrap_or_default();
            if !self.mids.insert(mid) {
                return Err(SdpError::DuplicateMid { line });
            }
        }
        match self.media.last_mut() {
            Some(media) => media.attributes.push(attribute),
            None => self.attributes.push(attribute),
        }
        Ok(())
    }

    fn finish(self, seen: usize) -> Result<SessionDescription, SdpError> {
        if seen == 0 {
            return Err(SdpError::Version);
        }
        Ok(SessionDescription {
            origin: self.origin.ok_or(SdpError::Origin { line: 0 })?,
            name: self.name.unwrap_or_else(|| "-".into()),
            connection: self.connection,
            lines: self.lines,
            attributes: self.attributes,
            media: self.media,
        })
    }
}

fn origin(line: usize, value: &str) -> Result<Origin, SdpError> {
    let words: Vec<&str> = value.split_ascii_whitespace().collect();
    // A user name with spaces is forbidden and seen; the other five are counted from the end.
    let [user @ .., session_id, version, network, _family, address] = &words[..] else {
        return Err(SdpError::Origin { line });
    };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !network.eq_ignore_ascii_case("IN") || !is_number(session_id) || !is_number(version) {
        return Err(SdpError::Origin { line });
    }
    Ok(Origin {
        username: if user.is_empty() { "-".into() } else { user.join("_") },
        session_id: (*session_id).into(),
        version: (*version).into(),
        address: (*address).into(),
    })
}

fn connection(line: usize, value: &str) -> Result<Connection, SdpError> {
    let mut words = value.split_ascii_whitespace();
    let (network, family, address) = (words.next(), words.next(), words.next());
    let (Some(network), Some(_), Some(address)) = (network, family, address) else {
        return Err(SdpError::Connection { line });
    };
    if !network.eq_ignore_ascii_case("IN") {
        return Err(SdpError::Connection { line });
    }
    // Multicast adds a TTL and a count, which a phone has no use for.
    let address = address.split('/').next().unwrap_or(address);
    if address.is_empty() {
        return Err(SdpError::Connection { line });
    }
    Ok(Connection { address: address.into() })
}

fn media(line: usize, value: &str) -> Result<Media, SdpError> {
    let mut words = value.split_ascii_whitespace();
    let (Some(kind), Some(port), Some(protocol)) = (words.next(), words.next(), words.next()) else {
        return Err(SdpError::Media { line });
    };
    let (port, ports) = match port.split_once('/') {
        None => (port, Some(1)),
        Some((port, count)) => (port, count.parse::<u16>().ok().filter(|&count| count > 0)),
    };
    let (Ok(port), Some(ports)) = (port.parse::<u16>(), ports) else {
        return Err(SdpError::Port { line });
    };
    // A range takes every second port (RFC 8866 §5.14).
    if u32::from(port) + 2 * u32::from(ports - 1) > 65535 {
        return Err(SdpError::Port { line });
    }
    let protocol = Protocol::from_token(protocol);
    let formats: Vec<String> = words.by_ref().take(MAX_FORMATS).map(String::from).collect();
    if words.next().is_some() {
        return Err(SdpError::LineTooLong { line });
    }
    if formats.is_empty() {
        return Err(SdpError::Media { line });
    }
    if protocol.is_rtp() && formats.iter().any(|format| !format.parse().is_ok_and(|number: u8| number < 128))
    {
        return Err(SdpError::PayloadType { line });
    }
    Ok(Media {
        kind: kind.to_ascii_lowercase(),
        port,
        ports,
        protocol,
        formats,
        connection: None,
        lines: Vec::new(),
        attributes: Vec::new(),
    })
}
