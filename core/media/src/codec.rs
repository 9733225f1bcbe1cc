//! The codecs behind one face: one frame in, one payload out, and back.

use serde::{Deserialize, Serialize};

use crate::{MediaError, g711, g722, opus};

/// Which codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Codec {
    /// RFC 6716, RFC 7587.
    Opus,
    /// ITU-T G.722, RFC 3551 §4.5.2.
    G722,
    /// ITU-T G.711 µ-law.
    Pcmu,
    /// ITU-T G.711 A-law.
    Pcma,
}

impl Codec {
    /// All of them, the best first.
    pub const ALL: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcma, Codec::Pcmu];

    /// The name in `a=rtpmap`.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::Opus => "opus",
            Codec::G722 => "G722",
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
        }
    }

    /// The codec of an `a=rtpmap` name, in any case.
    pub fn from_name(name: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(name))
    }

    /// The static payload type of RFC 3551 §6, where there is one.
    pub const fn static_payload_type(self) -> Option<u8> {
        match self {
            Codec::Opus => None,
            Codec::G722 => Some(9),
            Codec::Pcmu => Some(0),
            Codec::Pcma => Some(8),
        }
    }

    /// Ticks per second of the RTP timestamp; G.722's is 8000 by an old mistake (RFC 3551 §4.5.2).
    pub const fn rtp_clock(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            Codec::G722 | Codec::Pcmu | Codec::Pcma => 8000,
        }
    }

    /// Channels in `a=rtpmap`: Opus always says two (RFC 7587 §7), and means what it sends.
    pub const fn rtpmap_channels(self) -> u8 {
        match self {
            Codec::Opus => 2,
            Codec::G722 | Codec::Pcmu | Codec::Pcma => 1,
        }
    }

    /// Samples per second of the sound, when the device runs at `device`.
    pub fn sample_rate(self, device: u32) -> u32 {
        match self {
            Codec::Opus if opus::RATES.contains(&device) => device,
            Codec::Opus => 48_000,
            Codec::G722 => 16_000,
            Codec::Pcmu | Codec::Pcma => 8000,
        }
    }

    /// The impairment of the codec itself, and its robustness against loss, for the E-model (ITU-T G.113 Appendix I;
    /// the wide-band codecs are rated on the same narrow-band scale, where they have no impairment).
    pub const fn impairment(self) -> (f32, f32) {
        match self {
            Codec::Opus => (0.0, 20.0),
            Codec::G722 => (0.0, 12.0),
            Codec::Pcmu | Codec::Pcma => (0.0, 25.1),
        }
    }
}

/// The coder of one direction.
pub enum Encoder {
    /// Opus.
    Opus(Box<opus::Encoder>),
    /// G.722.
    G722(Box<g722::Encoder>),
    /// µ-law.
    Pcmu,
    /// A-law.
    Pcma,
}

impl Encoder {
    /// An encoder of `codec` at `rate` samples per second, which must be what [`Codec::sample_rate`] says.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when Opus does not know the rate.
    pub fn new(codec: Codec, rate: u32, tuning: opus::Tuning) -> Result<Encoder, MediaError> {
        Ok(match codec {
            Codec::Opus => Encoder::Opus(Box::new(opus::Encoder::new(rate, tuning)?)),
            Codec::G722 => Encoder::G722(Box::default()),
            Codec::Pcmu => Encoder::Pcmu,
            Codec::Pcma => Encoder::Pcma,
        })
    }

    /// Appends the payload of one frame.
    ///
    /// # Errors
    /// [`MediaError::Codec`] for a frame length that Opus does not have.
    pub fn encode(&mut self, frame: &[i16], out: &mut Vec<u8>) -> Result<(), MediaError> {
        match self {
            Encoder::Opus(encoder) => encoder.encode(frame, out)?,
            Encoder::G722(encoder) => encoder.encode(frame, out),
            Encoder::Pcmu => out.extend(frame.iter().map(|&sample| g711::encode_ulaw(sample))),
            Encoder::Pcma => out.extend(frame.iter().map(|&sample| g711::encode_alaw(sample))),
        }
        Ok(())
    }

    /// Tells the codec how much of what it sends is lost.
    pub fn expect_loss(&mut self, percent: u8) {
        match self {
            Encoder::Opus(encoder) => encoder.expect_loss(percent),
            Encoder::G722(_) | Encoder::Pcmu | Encoder::Pcma => {}
        }
    }
}

/// The decoder of one direction.
pub enum Decoder {
    /// Opus.
    Opus(Box<opus::Decoder>),
    /// G.722.
    G722(Box<g722::Decoder>),
    /// µ-law.
    Pcmu,
    /// A-law.
    Pcma,
}

impl Decoder {
    /// A decoder of `codec` at `rate` samples per second, which must be what [`Codec::sample_rate`] says.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when Opus does not know the rate.
    pub fn new(codec: Codec, rate: u32) -> Result<Decoder, MediaError> {
        Ok(match codec {
            Codec::Opus => Decoder::Opus(Box::new(opus::Decoder::new(rate)?)),
            Codec::G722 => Decoder::G722(Box::default()),
            Codec::Pcmu => Decoder::Pcmu,
            Codec::Pcma => Decoder::Pcma,
        })
    }

    /// Samples that a payload stands for; `None` when it cannot be decoded.
    pub fn duration(&self, payload: &[u8]) -> Option<usize> {
        match self {
            Decoder::Opus(decoder) => decoder.duration(payload),
            Decoder::G722(_) => (!payload.is_empty()).then_some(payload.len() * 2),
            Decoder::Pcmu | Decoder::Pcma => (!payload.is_empty()).then_some(payload.len()),
        }
    }

    /// Appends the sound of a payload and returns how many samples it was.
    ///
    /// # Errors
    /// [`MediaError::Payload`] or [`MediaError::Codec`] when it is none of the codec's.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<usize, MediaError> {
        let start = out.len();
        match self {
            Decoder::Opus(decoder) => return decoder.decode(payload, out),
            Decoder::G722(decoder) => decoder.decode(payload, out),
            Decoder::Pcmu => out.extend(payload.iter().map(|&byte| g711::decode_ulaw(byte))),
            Decoder::Pcma => out.extend(payload.iter().map(|&byte| g711::decode_alaw(byte))),
        }
        Ok(out.len() - start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_brings_a_frame_back_at_its_length() {
        for codec in Codec::ALL {
            let rate = codec.sample_rate(44_100);
            let mut encoder = Encoder::new(codec, rate, opus::Tuning::default()).unwrap();
            let mut decoder = Decoder::new(codec, rate).unwrap();
            let frame = vec![500; rate as usize / 50];
            let (mut payload, mut heard) = (Vec::new(), Vec::new());
            encoder.encode(&frame, &mut payload).unwrap();
            assert_eq!(decoder.duration(&payload), Some(frame.len()), "{codec:?}");
            assert_eq!(decoder.decode(&payload, &mut heard).unwrap(), frame.len(), "{codec:?}");
            assert_eq!(Codec::from_name(&codec.name().to_lowercase()), Some(codec));
            assert_eq!(decoder.duration(&[]), None, "{codec:?}");
        }
    }
}
