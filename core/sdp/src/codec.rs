//! Codecs as descriptions name them: `rtpmap` and `fmtp`, static payload types (RFC 3551 §6), Opus (RFC 7587).

use crate::line::Attribute;

/// A codec that this phone speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Encoding {
    /// RFC 6716, RFC 7587.
    Opus,
    /// G.722 at 64 kbit/s; 16 kHz sound whose RTP clock says 8000 (RFC 3551 §4.5.2).
    G722,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

impl Encoding {
    /// All, best first.
    pub const ALL: [Encoding; 4] = [Encoding::Opus, Encoding::G722, Encoding::Pcma, Encoding::Pcmu];

    /// The name in `rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Opus => "opus",
            Encoding::G722 => "G722",
            Encoding::Pcmu => "PCMU",
            Encoding::Pcma => "PCMA",
        }
    }

    /// The RTP clock.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Encoding::Opus => 48_000,
            Encoding::G722 | Encoding::Pcmu | Encoding::Pcma => 8000,
        }
    }

    /// The rate of its sound.
    pub const fn sample_rate(self) -> u32 {
        match self {
            Encoding::Opus => 48_000,
            Encoding::G722 => 16_000,
            Encoding::Pcmu | Encoding::Pcma => 8000,
        }
    }

    /// The number of channels in `rtpmap`; Opus always says 2 (RFC 7587 §7).
    pub const fn channels(self) -> u8 {
        match self {
            Encoding::Opus => 2,
            Encoding::G722 | Encoding::Pcmu | Encoding::Pcma => 1,
        }
    }

    /// The payload type that needs no `rtpmap`.
    pub const fn static_payload_type(self) -> Option<u8> {
        match self {
            Encoding::Opus => None,
            Encoding::G722 => Some(9),
            Encoding::Pcmu => Some(0),
            Encoding::Pcma => Some(8),
        }
    }
}

/// A codec as we offer it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Codec {
    /// Which.
    pub encoding: Encoding,
    /// The payload type wished for; another is taken when this one is in use.
    pub payload_type_hint: u8,
    /// Its parameters when it is Opus.
    pub opus: OpusParameters,
}

impl Codec {
    /// A codec with its usual payload type and parameters.
    pub fn new(encoding: Encoding) -> Codec {
        Codec {
            encoding,
            payload_type_hint: encoding.static_payload_type().unwrap_or(96),
            opus: OpusParameters::default(),
        }
    }
}

/// What a side tells of its Opus decoder (RFC 7587 §6.1): wishes for what it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpusParameters {
    /// `useinbandfec`: it can use redundancy.
    pub use_inband_fec: bool,
    /// `usedtx`: silence need not be sent.
    pub use_dtx: bool,
    /// `cbr`.
    pub constant_bitrate: bool,
    /// `stereo`: it prefers two channels. We never do.
    pub stereo: bool,
    /// `maxaveragebitrate`, 6000 to 510000.
    pub max_average_bitrate: Option<u32>,
    /// `maxplaybackrate`, 8000 to 48000.
    pub max_playback_rate: Option<u32>,
    /// `minptime`, 3 to 120.
    pub min_packet_time: Option<u16>,
}

impl Default for OpusParameters {
    fn default() -> OpusParameters {
        OpusParameters {
            use_inband_fec: true,
            use_dtx: false,
            constant_bitrate: false,
            stereo: false,
            max_average_bitrate: None,
            max_playback_rate: None,
            min_packet_time: None,
        }
    }
}

impl OpusParameters {
    /// Reads an `fmtp` value. Absent means the RFC's default; numbers out of range are left out.
    pub fn parse(fmtp: &str) -> OpusParameters {
        let mut parameters = OpusParameters { use_inband_fec: false, ..OpusParameters::default() };
        for parameter in fmtp.split(';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
            let number = value.parse::<u32>().ok();
            match name.as_str() {
                "useinbandfec" => parameters.use_inband_fec = value == "1",
                "usedtx" => parameters.use_dtx = value == "1",
                "cbr" => parameters.constant_bitrate = value == "1",
                "stereo" => parameters.stereo = value == "1",
                "maxaveragebitrate" => {
                    parameters.max_average_bitrate = number.filter(|rate| (6000..=510_000).contains(rate));
                }
                "maxplaybackrate" => {
                    parameters.max_playback_rate = number.filter(|rate| (8000..=48_000).contains(rate));
                }
                "minptime" => {
                    parameters.min_packet_time = number
                        .and_then(|time| u16::try_from(time).ok())
                        .filter(|time| (3..=120).contains(time));
                }
                _ => {}
            }
        }
        parameters
    }

    /// The `fmtp` value.
    pub fn to_fmtp(&self) -> String {
        let bit = |set: bool| u8::from(set);
        let mut text = format!(
            "useinbandfec={};usedtx={};stereo={}",
            bit(self.use_inband_fec),
            bit(self.use_dtx),
            bit(self.stereo)
        );
        if self.constant_bitrate {
            text.push_str(";cbr=1");
        }
        for (name, value) in [
            ("maxaveragebitrate", self.max_average_bitrate),
            ("maxplaybackrate", self.max_playback_rate),
            ("minptime", self.min_packet_time.map(u32::from)),
        ] {
            if let Some(value) = value {
                text.push_str(&format!(";{name}={value}"));
            }
        }
        text
    }
}

/// One payload type of a medium and what it stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PayloadFormat<'a> {
    /// 0 to 127.
    pub payload_type: u8,
    /// The encoding name as written.
    pub name: &'a str,
    /// The RTP clock.
    pub clock_rate: u32,
    /// 1 unless written.
    pub channels: u8,
    /// The `fmtp` value, or nothing.
    pub fmtp: &'a str,
}

/// Payload types whose meaning is fixed (RFC 3551 §6), of the codecs that phones still send.
const STATIC: [(u8, &str); 6] = [(0, "PCMU"), (3, "GSM"), (8, "PCMA"), (9, "G722"), (13, "CN"), (18, "G729")];

impl<'a> PayloadFormat<'a> {
    /// All formats of a medium, in one pass over its attributes.
    pub(crate) fn all(formats: &[String], attributes: &'a [Attribute]) -> Vec<PayloadFormat<'a>> {
        let mut table: [Option<PayloadFormat<'a>>; 128] = [None; 128];
        for (number, name) in STATIC {
            table[usize::from(number)] =
                Some(PayloadFormat { payload_type: number, name, clock_rate: 8000, channels: 1, fmtp: "" });
        }
        let mut parameters: [&'a str; 128] = [""; 128];
        for attribute in attributes {
            let Some((number, value)) = attribute.value.as_deref().and_then(numbered) else { continue };
            match attribute.name.as_str() {
                "rtpmap" => {
                    if let Some(format) = rtpmap(number, value) {
                        table[usize::from(number)] = Some(format);
                    }
                }
                "fmtp" => parameters[usize::from(number)] = value,
                _ => {}
            }
        }
        let mut taken = [false; 128];
        let mut all = Vec::new();
        for number in formats.iter().filter_map(|format| format.parse::<u8>().ok()) {
            let place = usize::from(number);
            if let Some(format) = table.get(place).copied().flatten()
                && !taken[place]
            {
                taken[place] = true;
                all.push(PayloadFormat { fmtp: parameters[place], ..format });
            }
        }
        all
    }

    /// Which of our codecs this is.
    pub fn encoding(&self) -> Option<Encoding> {
        Encoding::ALL.into_iter().find(|encoding| {
            self.name.eq_ignore_ascii_case(encoding.name())
                && self.clock_rate == encoding.clock_rate()
                // Some leave the 2 of Opus out.
                && (self.channels == encoding.channels() || *encoding == Encoding::Opus)
        })
    }

    /// Whether these are telephone events (RFC 4733).
    pub fn is_telephone_event(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event")
    }

    /// Whether this is comfort noise (RFC 3389) on the narrow-band clock.
    pub fn is_comfort_noise(&self) -> bool {
        self.name.eq_ignore_ascii_case("CN") && self.clock_rate == 8000
    }
}

/// `96 rest` → (96, "rest"), for numbers that are payload types.
fn numbered(value: &str) -> Option<(u8, &str)> {
    let (number, rest) = value.split_once([' ', '\t'])?;
    Some((number.parse().ok().filter(|&number: &u8| number < 128)?, rest.trim()))
}

fn rtpmap(payload_type: u8, value: &str) -> Option<PayloadFormat<'_>> {
    let mut parts = value.split('/');
    let name = parts.next().filter(|name| !name.is_empty())?.trim();
    let clock_rate = parts.next()?.trim().parse().ok().filter(|&rate: &u32| rate > 0)?;
    let channels = parts.next().and_then(|channels| channels.trim().parse().ok()).unwrap_or(1);
    Some(PayloadFormat { payload_type, name, clock_rate, channels, fmtp: "" })
}
