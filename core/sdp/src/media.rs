//! One medium of a description: the `m=` line and what stands below it (RFC 8866 §5.14).

use core::net::IpAddr;

use crate::codec::PayloadFormat;
use crate::crypto::CryptoLine;
use crate::line::{Attribute, Connection, Line, find};

/// A medium.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Media {
    /// `audio`, `video`, `image`, …
    pub kind: String,
    /// Zero disables the medium (RFC 3264 §6).
    pub port: u16,
    /// How many ports, 1 as a rule.
    pub ports: u16,
    /// The transport profile.
    pub protocol: Protocol,
    /// Payload types for RTP, other tokens else; in order of preference.
    pub formats: Vec<String>,
    /// `c=` of the medium.
    pub connection: Option<Connection>,
    /// Lines of other kinds, in order.
    pub lines: Vec<Line>,
    /// `a=` of the medium, in order.
    pub attributes: Vec<Attribute>,
}

/// The transport profile of an `m=` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// RTP in the clear (RFC 3551), or with keys beside it (RFC 8643).
    Avp,
    /// The same with quicker feedback (RFC 4585).
    Avpf,
    /// SRTP, keys in the description (RFC 3711, RFC 4568).
    Savp,
    /// The same with quicker feedback (RFC 5124).
    Savpf,
    /// SRTP, keys by DTLS (RFC 5764).
    DtlsSavp,
    /// The same with quicker feedback.
    DtlsSavpf,
    /// Anything else.
    Other(String),
}

impl Protocol {
    /// Reads the token, in any case.
    pub fn from_token(token: &str) -> Protocol {
        let known = [
            Protocol::Avp,
            Protocol::Avpf,
            Protocol::Savp,
            Protocol::Savpf,
            Protocol::DtlsSavp,
            Protocol::DtlsSavpf,
        ];
        known
            .into_iter()
            .find(|protocol| protocol.as_str().eq_ignore_ascii_case(token))
            .unwrap_or_else(|| Protocol::Other(token.into()))
    }

    /// The token.
    pub fn as_str(&self) -> &str {
        match self {
            Protocol::Avp => "RTP/AVP",
            Protocol::Avpf => "RTP/AVPF",
            Protocol::Savp => "RTP/SAVP",
            Protocol::Savpf => "RTP/SAVPF",
            Protocol::DtlsSavp => "UDP/TLS/RTP/SAVP",
            Protocol::DtlsSavpf => "UDP/TLS/RTP/SAVPF",
            Protocol::Other(token) => token,
        }
    }

    /// Whether its formats are RTP payload types.
    pub fn is_rtp(&self) -> bool {
        match self {
            Protocol::Avp
            | Protocol::Avpf
            | Protocol::Savp
            | Protocol::Savpf
            | Protocol::DtlsSavp
            | Protocol::DtlsSavpf => true,
            Protocol::Other(token) => token.to_ascii_uppercase().contains("RTP/"),
        }
    }
}

/// Who sends and who receives, as the describing side sees it (RFC 8866 §6.7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendReceive,
    /// Only from here.
    SendOnly,
    /// Only to here.
    ReceiveOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The attribute's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Direction::SendReceive => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::ReceiveOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    pub(crate) fn of(attributes: &[Attribute]) -> Option<Direction> {
        attributes.iter().find_map(|attribute| match attribute.name.as_str() {
            "sendrecv" => Some(Direction::SendReceive),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::ReceiveOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        })
    }

    /// Whether the describing side sends.
    pub const fn sends(self) -> bool {
        matches!(self, Direction::SendReceive | Direction::SendOnly)
    }

    /// Whether the describing side receives.
    pub const fn receives(self) -> bool {
        matches!(self, Direction::SendReceive | Direction::ReceiveOnly)
    }

    /// The same stream seen from the other side.
    #[must_use]
    pub const fn reversed(self) -> Direction {
        match self {
            Direction::SendOnly => Direction::ReceiveOnly,
            Direction::ReceiveOnly => Direction::SendOnly,
            Direction::SendReceive | Direction::Inactive => self,
        }
    }

    /// What both allow.
    #[must_use]
    pub const fn and(self, other: Direction) -> Direction {
        match (self.sends() && other.sends(), self.receives() && other.receives()) {
            (true, true) => Direction::SendReceive,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::ReceiveOnly,
            (false, false) => Direction::Inactive,
        }
    }
}

/// `a=rtcp` (RFC 3605).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RtcpAddress {
    /// Where RTCP goes.
    pub port: u16,
    /// When it is not the address of the medium.
    pub address: Option<IpAddr>,
}

impl Media {
    /// The value of an attribute; empty for a flag.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        find(&self.attributes, name).map(|attribute| attribute.value.as_deref().unwrap_or(""))
    }

    /// The direction written at the medium itself.
    pub fn own_direction(&self) -> Option<Direction> {
        Direction::of(&self.attributes)
    }

    /// The payload formats in order of preference: number, codec, parameters. Numbers without a meaning are left out.
    pub fn payload_formats(&self) -> Vec<PayloadFormat<'_>> {
        PayloadFormat::all(&self.formats, &self.attributes)
    }

    /// The usable key lines, in order; see [`CryptoLine::parse`] for what is not usable.
    pub fn crypto_lines(&self) -> Vec<CryptoLine> {
        self.attributes
            .iter()
            .filter(|attribute| attribute.name == "crypto")
            .filter_map(|attribute| CryptoLine::parse(attribute.value.as_deref()?))
            .collect()
    }

    /// Where RTCP goes, when it is said.
    pub fn rtcp(&self) -> Option<RtcpAddress> {
        let mut words = self.attribute("rtcp")?.split_ascii_whitespace();
        let port = words.next()?.parse().ok().filter(|&port| port != 0)?;
        Some(RtcpAddress { port, address: words.nth(2).and_then(|address| address.parse().ok()) })
    }

    /// Milliseconds per packet, when said: `ptime` or `maxptime`.
    pub fn packet_time(&self, name: &str) -> Option<u16> {
        // Some write fractions, which are of no use.
        let text = self.attribute(name)?.trim();
        text.split('.').next()?.parse().ok().filter(|&time| time > 0)
    }

    /// This medium as an answer rejects it: port 0, everything else without weight (RFC 3264 §6).
    #[must_use]
    pub fn rejected(&self) -> Media {
        Media {
            kind: self.kind.clone(),
            port: 0,
            ports: 1,
            protocol: self.protocol.clone(),
            formats: self.formats.clone(),
            connection: None,
            lines: Vec::new(),
            attributes: find(&self.attributes, "mid").cloned().into_iter().collect(),
        }
    }
}
