//! What an account's settings say of its media.

use std::net::IpAddr;
use std::time::Duration;

use wakeline_media::{Codec as MediaCodec, EventTypes, StreamConfig, opus};
use wakeline_sdp::{
    Capabilities, Codec, CryptoSuite, Direction, Encoding, KeyTransport, Negotiated, OpusParameters,
    Preference, SecurityPolicy,
};
use wakeline_settings::{Codec as NamedCodec, DtmfMode, Hold, MediaEncryption, Settings};
use wakeline_user_agent::Way;

/// Milliseconds of sound per packet that we like to receive, and the most that we can.
const PTIME: u16 = 20;
const MAX_PTIME: u16 = 120;

/// Whose description is being made: we offer what we like, and take a little more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// Ours.
    Offering,
    /// Theirs.
    Answering,
}

/// What we can and want, for one offer or answer.
pub(super) fn capabilities(
    settings: &Settings,
    turn: Turn,
    hold: bool,
    way: &Way,
    (address, port): (IpAddr, u16),
) -> Capabilities {
    let media = settings.media();
    let tolerated = match turn {
        Turn::Offering => &[][..],
        Turn::Answering => &media.codecs.tolerated[..],
    };
    let audio =
        media.codecs.offered.iter().chain(tolerated).map(|&codec| Codec::new(encoding(codec))).collect();
    let security = match media.encryption {
        MediaEncryption::Off => SecurityPolicy::Off,
        MediaEncryption::WhenAsked => SecurityPolicy::Offered,
        MediaEncryption::Required => SecurityPolicy::Required,
    };
    // Whoever demands SRTP without TLS has said so in so many words; nobody else's keys travel in the clear (S3).
    let may_carry_keys = way.secure || media.encryption == MediaEncryption::Required;
    Capabilities {
        audio,
        preference: Preference::Theirs,
        dtmf: takes_events(media.dtmf),
        comfort_noise: settings.number("silencesupress") != Some(0),
        security,
        key_transport: if may_carry_keys { KeyTransport::Allowed } else { KeyTransport::Forbidden },
        suites: CryptoSuite::USUAL.to_vec(),
        ptime: PTIME,
        maxptime: MAX_PTIME,
        address,
        port,
        direction: if hold { hold_direction(settings.call().hold) } else { Direction::SendReceive },
        rtcp_mux: true,
    }
}

/// Telephone events are negotiated unless digits go as sound, or not at all. Those that go by INFO only may still come
/// as events.
fn takes_events(mode: DtmfMode) -> bool {
    match mode {
        DtmfMode::Off | DtmfMode::InBand | DtmfMode::InfoAndInBand => false,
        DtmfMode::Info | DtmfMode::Automatic | DtmfMode::InfoAndEvent | DtmfMode::Event => true,
    }
}

/// The user agent asks for no hold where there is none; should it all the same, the gentlest form serves.
fn hold_direction(hold: Hold) -> Direction {
    match hold {
        Hold::Ignored | Hold::Off | Hold::SendOnly => Direction::SendOnly,
        Hold::RecvOnly => Direction::ReceiveOnly,
        Hold::Inactive => Direction::Inactive,
    }
}

fn encoding(codec: NamedCodec) -> Encoding {
    match codec {
        NamedCodec::Opus => Encoding::Opus,
        NamedCodec::G722 => Encoding::G722,
        NamedCodec::Pcmu => Encoding::Pcmu,
        NamedCodec::Pcma => Encoding::Pcma,
    }
}

fn codec(encoding: Encoding) -> MediaCodec {
    match encoding {
        Encoding::Opus => MediaCodec::Opus,
        Encoding::G722 => MediaCodec::G722,
        Encoding::Pcmu => MediaCodec::Pcmu,
        Encoding::Pcma => MediaCodec::Pcma,
    }
}

/// The stream that carries an agreement.
pub(super) fn stream_config(negotiated: &Negotiated, settings: &Settings, device_rate: u32) -> StreamConfig {
    StreamConfig {
        receive: negotiated
            .receive_payload_types
            .iter()
            .map(|&(number, encoding)| (number, codec(encoding)))
            .collect(),
        events: negotiated.dtmf.map(|events| EventTypes {
            send: events.send,
            receive: events.receive,
            clock: events.clock_rate,
        }),
        comfort_noise: negotiated.comfort_noise.map(|(send, _)| send),
        ptime: packet_time(negotiated),
        opus: tuning(&negotiated.opus),
        send_when_muted: settings.switch("sendrtponmuted", false),
        ..StreamConfig::new(codec(negotiated.codec), negotiated.send_payload_type, device_rate)
    }
}

/// Opus has no frames of 30 and 50 ms; the next shorter ones keep the peer's limit.
fn packet_time(negotiated: &Negotiated) -> u32 {
    match (negotiated.codec, negotiated.ptime) {
        (Encoding::Opus, 30) => 20,
        (Encoding::Opus, 50) => 40,
        (Encoding::Opus | Encoding::G722 | Encoding::Pcmu | Encoding::Pcma, time) => u32::from(time),
    }
}

/// What the peer's `fmtp` wishes of our encoder (RFC 7587 §6.1).
fn tuning(wish: &OpusParameters) -> opus::Tuning {
    let usual = opus::Tuning::default();
    opus::Tuning {
        bitrate: wish.max_average_bitrate.map_or(usual.bitrate, |most| most.min(usual.bitrate)),
        fec: wish.use_inband_fec,
        dtx: wish.use_dtx,
        constant: wish.constant_bitrate,
        ..usual
    }
}

/// Where RTP ports are taken from: `rtpport`, else two above a fixed SIP port, else anywhere.
pub(super) fn first_port(settings: &Settings) -> Option<u16> {
    let network = settings.network();
    match (network.rtp_port, network.signaling_port) {
        (0, 0) => None,
        (0, sip) => sip.checked_add(2),
        (rtp, _) => Some(rtp),
    }
}

/// How long a call may be without media: half of the account's limit until its first (B-147).
pub(super) fn silence_limit(limit: Option<Duration>, is_flowing: bool) -> Option<Duration> {
    limit.map(|limit| if is_flowing { limit } else { limit / 2 })
}

/// Packets sent ahead of media to open a NAT (`natopenpackets`).
pub(super) fn opening_packets(settings: &Settings) -> u8 {
    settings.number("natopenpackets").and_then(|count| u8::try_from(count).ok()).unwrap_or(2).min(10)
}
