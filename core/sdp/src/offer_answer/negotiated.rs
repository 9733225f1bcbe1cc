//! What an offer and its answer agree on: all that media needs.

use core::net::{IpAddr, SocketAddr};

use wakeline_secret::Secret;

use super::Capabilities;
use crate::codec::{Encoding, OpusParameters, PayloadFormat};
use crate::crypto::CryptoSuite;
use crate::error::Refusal;
use crate::media::{Direction, Media, Protocol};
use crate::session::SessionDescription;

/// One audio stream as agreed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Negotiated {
    /// Its place among the `m=` lines.
    pub media_index: usize,
    /// The transport profile.
    pub protocol: Protocol,
    /// The codec we send.
    pub codec: Encoding,
    /// What the peer wishes of our Opus, when that is the codec.
    pub opus: OpusParameters,
    /// The payload type that the peer wants for it.
    pub send_payload_type: u8,
    /// The codecs the peer may send, by the payload types we gave them.
    pub receive_payload_types: Vec<(u8, Encoding)>,
    /// Telephone events, when both know them.
    pub dtmf: Option<Dtmf>,
    /// The payload types of comfort noise, to send and to receive.
    pub comfort_noise: Option<(u8, u8)>,
    /// Where our RTP goes. An address of zeros while an old peer holds us; nothing is sent then.
    pub remote_rtp: SocketAddr,
    /// Where our RTCP goes.
    pub remote_rtcp: SocketAddr,
    /// Whether RTCP shares RTP's port.
    pub rtcp_mux: bool,
    /// What we may do.
    pub direction: Direction,
    /// What the peer does, as it said: for hold.
    pub remote_direction: Direction,
    /// The keys, when the media is encrypted; `None` says that it is in the clear.
    pub srtp: Option<SrtpKeys>,
    /// Milliseconds per packet that we send.
    pub ptime: u16,
}

impl Negotiated {
    /// Whether the peer put us on hold: it does not want to hear us.
    pub fn held_by_peer(&self) -> bool {
        !self.remote_direction.receives()
    }

    /// Whether the media is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.srtp.is_some()
    }
}

/// The payload types of telephone events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dtmf {
    /// For what we send.
    pub send: u8,
    /// For what we receive.
    pub receive: u8,
    /// The clock of their durations: the codec's, unless the peer offers no such.
    pub clock_rate: u32,
}

/// The keys of both ways (RFC 4568 §6.1): each side protects with its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SrtpKeys {
    /// The protection.
    pub suite: CryptoSuite,
    /// What we send is protected with this; base64 of master key and salt.
    pub local: Secret,
    /// What the peer sends is protected with this.
    pub remote: Secret,
    /// How many packets the peer's key protects, when it said.
    pub remote_lifetime: Option<u64>,
}

/// A session that stands: what both sides described last, and what came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Established {
    /// Our latest description.
    pub local: SessionDescription,
    /// What was agreed.
    pub negotiated: Negotiated,
}

/// Where the peer wants RTP and RTCP.
pub(super) fn remote_addresses(
    session: &SessionDescription,
    media: &Media,
    rtcp_mux: bool,
) -> Result<(SocketAddr, SocketAddr), Refusal> {
    let address =
        session.connection(media).and_then(|connection| connection.ip()).ok_or(Refusal::NoAddress)?;
    // Multicast and broadcast are no phone, and would make us a sender of floods (class S28).
    let is_many = match address {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    };
    if is_many {
        return Err(Refusal::NoAddress);
    }
    let rtp = SocketAddr::new(address, media.port);
    let rtcp = match media.rtcp() {
        _ if rtcp_mux => rtp,
        // Another address than the medium's is an invitation to reflect; only its port is taken.
        Some(rtcp) => SocketAddr::new(address, rtcp.port),
        None => SocketAddr::new(address, media.port.checked_add(1).unwrap_or(media.port)),
    };
    Ok((rtp, rtcp))
}

/// Milliseconds per packet for what we send: the peer's wish, else ours, within its limit and in steps that all
/// codecs have.
pub(super) fn packet_time(capabilities: &Capabilities, remote: &Media) -> u16 {
    let wish = remote.packet_time("ptime").unwrap_or(capabilities.ptime);
    let limit = remote.packet_time("maxptime").unwrap_or(u16::MAX);
    (wish.min(limit).clamp(10, 60) / 10) * 10
}

/// The telephone events that fit a codec: on its clock, or else the first there are.
pub(super) fn events_for<'a>(
    formats: &'a [PayloadFormat<'a>],
    clock_rate: u32,
) -> Option<&'a PayloadFormat<'a>> {
    let mut events = formats.iter().filter(|format| format.is_telephone_event());
    events.clone().find(|format| format.clock_rate == clock_rate).or_else(|| events.next())
}
