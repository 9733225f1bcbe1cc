//! Opus (RFC 6716) as RFC 7587 carries it: mono, 48 kHz RTP clock, in-band FEC, discontinuous transmission.
//!
//! The library works at any of five rates inside, so the device's rate is used directly when it is one of them.

use serde::{Deserialize, Serialize};

use crate::MediaError;

/// The sampling rates that the codec accepts.
pub const RATES: [u32; 5] = [8000, 12_000, 16_000, 24_000, 48_000];
/// The longest packet that is written (RFC 7587 has no limit; this is 1275 plus a header, under any MTU).
const LONGEST: usize = 1276;

/// How the encoder is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tuning {
    /// Bits per second, 6000 to 128000.
    pub bitrate: u32,
    /// 0 (cheapest) to 10.
    pub complexity: u8,
    /// Whether each packet also carries its predecessor at a lower quality (RFC 6716 §2.1.7).
    pub fec: bool,
    /// Whether silence is sent as one short packet every 400 ms (RFC 6716 §2.1.9).
    pub dtx: bool,
    /// The share of packets, in per cent, that is expected to be lost.
    pub expected_loss: u8,
    /// Constant bit rate (`cbr=1` of RFC 7587 §6.1).
    pub constant: bool,
}

impl Default for Tuning {
    fn default() -> Tuning {
        Tuning { bitrate: 24_000, complexity: 9, fec: true, dtx: false, expected_loss: 0, constant: false }
    }
}

fn refused(error: ::opus::Error) -> MediaError {
    MediaError::Codec(error.to_string())
}

/// The coder of one direction.
pub struct Encoder {
    inner: ::opus::Encoder,
    tuning: Tuning,
}

impl Encoder {
    /// An encoder at `rate` samples per second.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when the rate is none of [`RATES`] or the library has no memory.
    pub fn new(rate: u32, tuning: Tuning) -> Result<Encoder, MediaError> {
        let mut inner =
            ::opus::Encoder::new(rate, ::opus::Channels::Mono, ::opus::Application::Voip).map_err(refused)?;
        inner.set_signal(::opus::Signal::Voice).map_err(refused)?;
        let mut encoder = Encoder { inner, tuning };
        encoder.apply(tuning)?;
        Ok(encoder)
    }

    fn apply(&mut self, tuning: Tuning) -> Result<(), MediaError> {
        let inner = &mut self.inner;
        let bitrate = tuning.bitrate.clamp(6_000, 128_000);
        inner.set_bitrate(::opus::Bitrate::Bits(bitrate as i32)).map_err(refused)?;
        inner.set_complexity(i32::from(tuning.complexity.min(10))).map_err(refused)?;
        inner.set_inband_fec(tuning.fec).map_err(refused)?;
        inner.set_packet_loss_perc(i32::from(tuning.expected_loss.min(100))).map_err(refused)?;
        inner.set_dtx(tuning.dtx).map_err(refused)?;
        inner.set_vbr(!tuning.constant).map_err(refused)?;
        self.tuning = tuning;
        Ok(())
    }

    /// What the peer's reports say about loss; moves the encoder when it matters.
    pub fn expect_loss(&mut self, percent: u8) {
        if self.tuning.expected_loss != percent
            && self.inner.set_packet_loss_perc(i32::from(percent.min(100))).is_ok()
        {
            self.tuning.expected_loss = percent;
        }
    }

    /// The settings in force.
    pub fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// Appends the packet of one frame (2.5, 5, 10, 20, 40 or 60 ms of sound).
    ///
    /// # Errors
    /// [`MediaError::Codec`] for another frame length.
    pub fn encode(&mut self, frame: &[i16], out: &mut Vec<u8>) -> Result<(), MediaError> {
        let start = out.len();
        out.resize(start + LONGEST, 0);
        match self.inner.encode(frame, &mut out[start..]) {
            Ok(length) => {
                out.truncate(start + length);
                Ok(())
            }
            Err(error) => {
                out.truncate(start);
                Err(refused(error))
            }
        }
    }

    /// Samples by which the encoder looks ahead.
    pub fn look_ahead(&mut self) -> usize {
        self.inner.get_lookahead().map_or(0, |samples| samples.unsigned_abs() as usize)
    }
}

/// The decoder of one direction.
pub struct Decoder {
    inner: ::opus::Decoder,
    rate: u32,
}

impl Decoder {
    /// A decoder at `rate` samples per second.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when the rate is none of [`RATES`] or the library has no memory.
    pub fn new(rate: u32) -> Result<Decoder, MediaError> {
        let inner = ::opus::Decoder::new(rate, ::opus::Channels::Mono).map_err(refused)?;
        Ok(Decoder { inner, rate })
    }

    fn run(
        &mut self,
        payload: &[u8],
        samples: usize,
        fec: bool,
        out: &mut Vec<i16>,
    ) -> Result<usize, MediaError> {
        let start = out.len();
        out.resize(start + samples, 0);
        match self.inner.decode(payload, &mut out[start..], fec) {
            Ok(count) => {
                out.truncate(start + count);
                Ok(count)
            }
            Err(error) => {
                out.truncate(start);
                Err(refused(error))
            }
        }
    }

    /// Samples that a payload stands for; `None` when it is no Opus packet.
    pub fn duration(&self, payload: &[u8]) -> Option<usize> {
        ::opus::packet::get_nb_samples(payload, self.rate).ok().filter(|&samples| samples > 0)
    }

    /// Appends the sound of a packet.
    ///
    /// # Errors
    /// [`MediaError::Payload`] when it is no Opus packet.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<usize, MediaError> {
        let samples = self.duration(payload).ok_or(MediaError::Payload("not an Opus packet"))?;
        self.run(payload, samples, false, out)
    }

    /// Appends the sound of the packet before `payload`, from the redundancy that `payload` carries; where there is
    /// none, the library conceals.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when `samples` is no multiple of 2.5 ms.
    pub fn recover(
        &mut self,
        payload: &[u8],
        samples: usize,
        out: &mut Vec<i16>,
    ) -> Result<usize, MediaError> {
        self.run(payload, samples, true, out)
    }

    /// Appends the library's guess at what a lost packet was.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when `samples` is no multiple of 2.5 ms.
    pub fn conceal(&mut self, samples: usize, out: &mut Vec<i16>) -> Result<usize, MediaError> {
        self.run(&[], samples, false, out)
    }
}

/// Whether a packet carries redundancy of its predecessor: the LBRR flag of its first frame (RFC 6716 §4.2.3, §4.2.4).
///
/// The flags are the range coder's first symbols and equally likely, so they are the top bits of the first byte: one
/// voice-activity bit per SILK frame, then the LBRR bit.
pub fn carries_redundancy(payload: &[u8]) -> bool {
    let Some((&toc, frames)) = payload.split_first() else { return false };
    let configuration = toc >> 3;
    let silk_frames = match configuration {
        // SILK: 10, 20, 40 or 60 ms in each of three bandwidths.
        0..=11 => [1, 1, 2, 3][usize::from(configuration & 3)],
        // Hybrid: 10 or 20 ms.
        12..=15 => 1,
        _ => return false,
    };
    let first = match toc & 3 {
        0 | 1 => frames.first(),
        // Two frames of different size: one or two bytes of length come first.
        2 => frames.get(if frames.first().is_some_and(|&length| length >= 252) { 2 } else { 1 }),
        _ => None,
    };
    frames.len() > 2 && first.is_some_and(|&byte| byte & (0x80 >> silk_frames) != 0)
}

/// Whether a packet stands for silence under discontinuous transmission: it holds no frame data.
pub fn is_silence(payload: &[u8]) -> bool {
    payload.len() <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(rate: u32, count: usize) -> Vec<i16> {
        (0..count)
            .map(|n| {
                let t = n as f32 / rate as f32;
                let pitch = std::f32::consts::TAU * 140.0 * t;
                let swell = 0.6 + 0.4 * (std::f32::consts::TAU * 4.0 * t).sin();
                (swell * 4000.0 * (pitch.sin() + 0.5 * (2.0 * pitch).sin() + 0.3 * (5.0 * pitch).sin()))
                    as i16
            })
            .collect()
    }

    #[test]
    fn every_rate_and_frame_length_decodes_to_its_duration() {
        for rate in RATES {
            let mut encoder = Encoder::new(rate, Tuning::default()).unwrap();
            let mut decoder = Decoder::new(rate).unwrap();
            for millis in [10, 20, 40, 60] {
                let frame = voice(rate, (rate * millis / 1000) as usize);
                let (mut packet, mut heard) = (Vec::new(), Vec::new());
                encoder.encode(&frame, &mut packet).unwrap();
                assert_eq!(decoder.duration(&packet), Some(frame.len()));
                assert_eq!(decoder.decode(&packet, &mut heard).unwrap(), frame.len());
            }
            assert!(encoder.encode(&[0; 77], &mut Vec::new()).is_err());
        }
        assert!(Encoder::new(44_100, Tuning::default()).is_err());
    }

    #[test]
    fn redundancy_is_seen_and_brings_the_lost_packet_back() {
        let tuning = Tuning { expected_loss: 20, ..Tuning::default() };
        let mut encoder = Encoder::new(16_000, tuning).unwrap();
        let sound = voice(16_000, 16_000 * 4);
        let packets: Vec<Vec<u8>> = sound
            .chunks(320)
            .map(|frame| {
                let mut packet = Vec::new();
                encoder.encode(frame, &mut packet).unwrap();
                packet
            })
            .collect();
        let seen = packets.iter().filter(|packet| carries_redundancy(packet)).count();
        assert!(seen > packets.len() / 2, "{seen} of {}", packets.len());

        let decode = |lost: bool, fec: bool| {
            let mut decoder = Decoder::new(16_000).unwrap();
            let mut out = Vec::new();
            for (n, packet) in packets.iter().enumerate() {
                if lost && n % 10 == 9 && n + 1 < packets.len() {
                    if fec {
                        decoder.recover(&packets[n + 1], 320, &mut out).unwrap();
                    } else {
                        decoder.conceal(320, &mut out).unwrap();
                    }
                } else {
                    decoder.decode(packet, &mut out).unwrap();
                }
            }
            out
        };
        let error = |other: &[i16]| {
            let clean = decode(false, false);
            clean.iter().zip(other).map(|(&a, &b)| (f32::from(a) - f32::from(b)).powi(2)).sum::<f32>()
        };
        let (guessed, recovered) = (error(&decode(true, false)), error(&decode(true, true)));
        assert!(recovered < guessed * 0.7, "{recovered} against {guessed}");
    }

    #[test]
    fn silence_is_sent_rarely_with_dtx() {
        let mut encoder = Encoder::new(16_000, Tuning { dtx: true, ..Tuning::default() }).unwrap();
        let short = (0..200)
            .filter(|_| {
                let mut packet = Vec::new();
                encoder.encode(&[0; 320], &mut packet).unwrap();
                is_silence(&packet)
            })
            .count();
        assert!(short > 150, "{short} of 200");
    }

    #[test]
    fn bytes_that_are_no_packet_are_refused() {
        let mut decoder = Decoder::new(48_000).unwrap();
        let mut out = Vec::new();
        for bytes in [&[0xff, 0xff, 0xff][..], &[0x03], &[0x02, 0xff]] {
            let before = out.len();
            if decoder.decode(bytes, &mut out).is_err() {
                assert_eq!(out.len(), before);
            }
        }
        assert!(!carries_redundancy(&[]) && !carries_redundancy(&[0xff]));
    }
}
