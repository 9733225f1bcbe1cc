//! The sending side of a stream: microphone to payloads.

use wakeline_rtp::telephone_event::event_of;

use crate::codec::{Codec, Encoder};
use crate::comfort_noise::ComfortNoise;
use crate::dtmf::{EventPacket, EventSender};
use crate::level::{Gain, Meter, decibels_below_overload};
use crate::tone::{Generator, Tone};
use crate::{Activity, MediaError, Resampler, opus};

/// The noise level is sent again after this many milliseconds of pause, or when it moved by 3 dB.
const NOISE_INTERVAL: u32 = 480;

/// What of the microphone is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Microphone {
    /// Its sound.
    #[default]
    Live,
    /// Nothing of it; whether silence is sent in its place is the configuration's matter.
    Muted,
    /// Silence in its place: the far end is held, and shall neither overhear us nor take the stream for dead.
    Silent,
}

/// One payload with what its RTP header needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Payload {
    pub(crate) payload_type: u8,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
}

/// How pauses of speech are sent.
#[derive(Clone, Debug)]
enum Pauses {
    /// As sound.
    Sent,
    /// As RFC 3389 noise of this payload type.
    Noise { payload_type: u8, activity: Activity, since: u32, level: u8, paused: bool },
    /// Opus decides; its empty packets are left out after the first.
    Dtx { paused: bool },
}

pub(crate) struct SendSide {
    encoder: Encoder,
    payload_type: u8,
    event_type: Option<u8>,
    ptime: u32,
    frame: usize,
    rate: u32,
    ticks: u32,
    timestamp: u32,
    resampler: Resampler,
    waiting: Vec<i16>,
    pauses: Pauses,
    events: EventSender,
    in_band: Option<(Generator, u32)>,
    in_band_waiting: std::collections::VecDeque<(char, u32)>,
    marker: bool,
    pub(crate) microphone: Microphone,
    pub(crate) send_when_muted: bool,
    pub(crate) enabled: bool,
    pub(crate) gain: Gain,
    pub(crate) meter: Meter,
}

pub(crate) struct SendSetting {
    pub(crate) codec: Codec,
    pub(crate) payload_type: u8,
    pub(crate) events: Option<(u8, u32)>,
    pub(crate) noise_type: Option<u8>,
    pub(crate) ptime: u32,
    pub(crate) device_rate: u32,
    pub(crate) tuning: opus::Tuning,
    pub(crate) timestamp: u32,
}

impl SendSide {
    pub(crate) fn new(setting: &SendSetting) -> Result<SendSide, MediaError> {
        let SendSetting { codec, ptime, device_rate, tuning, .. } = *setting;
        let rate = codec.sample_rate(device_rate);
        let pauses = match (codec, setting.noise_type) {
            (Codec::Opus, _) if tuning.dtx => Pauses::Dtx { paused: false },
            (Codec::Opus, _) => Pauses::Sent,
            (Codec::G722 | Codec::Pcmu | Codec::Pcma, Some(payload_type)) => Pauses::Noise {
                payload_type,
                activity: Activity::default(),
                since: 0,
                level: 0,
                paused: false,
            },
            (Codec::G722 | Codec::Pcmu | Codec::Pcma, None) => Pauses::Sent,
        };
        let (event_type, event_clock) = setting.events.unzip();
        Ok(SendSide {
            encoder: Encoder::new(codec, rate, tuning)?,
            payload_type: setting.payload_type,
            event_type,
            ptime,
            frame: (rate * ptime / 1000) as usize,
            rate,
            ticks: codec.rtp_clock() / 1000 * ptime,
            timestamp: setting.timestamp,
            resampler: Resampler::new(device_rate, rate),
            waiting: Vec::new(),
            pauses,
            events: EventSender::new(event_clock.unwrap_or(8000)),
            in_band: None,
            in_band_waiting: std::collections::VecDeque::new(),
            marker: true,
            microphone: Microphone::Live,
            send_when_muted: true,
            enabled: true,
            gain: Gain::new(1.0, 1.0),
            meter: Meter::default(),
        })
    }

    pub(crate) fn expect_loss(&mut self, percent: u8) {
        self.encoder.expect_loss(percent);
    }

    pub(crate) fn is_sending_digits(&self) -> bool {
        self.events.is_busy() || self.in_band.is_some() || !self.in_band_waiting.is_empty()
    }

    /// Queues a digit: as an event where that was negotiated, else as a sound.
    pub(crate) fn send_digit(&mut self, digit: char, millis: u32) -> Result<(), MediaError> {
        if self.event_type.is_some() {
            return self.events.push(digit, millis);
        }
        event_of(digit).ok_or(MediaError::Digit(digit))?;
        if self.in_band_waiting.len() >= 64 {
            return Err(MediaError::Setting("too many digits wait"));
        }
        self.in_band_waiting.push_back((digit, millis.clamp(40, 5_000)));
        Ok(())
    }

    /// One frame of silence, now: opens the way for the peer's packets and starts its timeline without waiting for
    /// the microphone.
    pub(crate) fn first(&mut self, emit: &mut dyn FnMut(Payload, &[u8])) -> Result<(), MediaError> {
        let silence = vec![0; self.frame];
        self.frame_of(silence, emit)
    }

    /// Takes device sound in and hands over the payloads of the frames that are full.
    pub(crate) fn capture(
        &mut self,
        sound: &[i16],
        emit: &mut dyn FnMut(Payload, &[u8]),
    ) -> Result<(), MediaError> {
        self.resampler.process(sound, &mut self.waiting);
        while self.waiting.len() >= self.frame {
            let rest = self.waiting.split_off(self.frame);
            let frame = std::mem::replace(&mut self.waiting, rest);
            self.frame_of(frame, emit)?;
        }
        Ok(())
    }

    fn frame_of(
        &mut self,
        mut frame: Vec<i16>,
        emit: &mut dyn FnMut(Payload, &[u8]),
    ) -> Result<(), MediaError> {
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(self.ticks);
        self.gain.apply(&mut frame);
        match self.microphone {
            Microphone::Live => {}
            Microphone::Muted | Microphone::Silent => frame.fill(0),
        }
        self.meter.observe(&frame);
        if !self.enabled {
            self.marker = true;
            return Ok(());
        }
        if let Some(payload_type) = self.event_type
            && let Some(EventPacket { timestamp, marker, payload }) = self.events.frame(timestamp, self.ptime)
        {
            emit(Payload { payload_type, timestamp, marker }, &payload.to_bytes());
            self.marker = true;
            return Ok(());
        }
        self.mix_digit(&mut frame);
        let is_withheld = self.microphone == Microphone::Muted && !self.send_when_muted;
        if is_withheld && self.in_band.is_none() {
            self.marker = true;
            return Ok(());
        }
        if self.is_pause(&frame, timestamp, emit) {
            self.marker = true;
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(self.frame / 2 + 16);
        self.encoder.encode(&frame, &mut bytes)?;
        if let Pauses::Dtx { paused } = &mut self.pauses {
            let silent = opus::is_silence(&bytes);
            if silent && std::mem::replace(paused, silent) {
                self.marker = true;
                return Ok(());
            }
            *paused = silent;
        }
        let marker = std::mem::take(&mut self.marker);
        emit(Payload { payload_type: self.payload_type, timestamp, marker }, &bytes);
        Ok(())
    }

    /// Puts the sound of a digit in place of the voice, when digits go as sound.
    fn mix_digit(&mut self, frame: &mut [i16]) {
        if self.in_band.is_none()
            && let Some((digit, millis)) = self.in_band_waiting.pop_front()
        {
            self.in_band = Some((Generator::new(Tone::Dtmf(digit), self.rate), millis));
        }
        if let Some((generator, left)) = &mut self.in_band {
            // The pause after a digit is a stretch of the voice: the generator simply ends first.
            if *left > 60 || self.in_band_waiting.is_empty() {
                generator.play(frame);
            }
            *left = left.saturating_sub(self.ptime);
            if *left == 0 {
                self.in_band = None;
            }
        }
    }

    /// Whether the frame is a pause that needs no sound; sends the noise's level when it is time.
    fn is_pause(&mut self, frame: &[i16], timestamp: u32, emit: &mut dyn FnMut(Payload, &[u8])) -> bool {
        let Pauses::Noise { payload_type, activity, since, level, paused } = &mut self.pauses else {
            return false;
        };
        if activity.observe(frame, self.ptime) {
            *paused = false;
            return false;
        }
        let now = decibels_below_overload(frame) as u8;
        *since += self.ptime;
        if !*paused || *since >= NOISE_INTERVAL || now.abs_diff(*level) > 3 && *since >= 100 {
            emit(
                Payload { payload_type: *payload_type, timestamp, marker: false },
                &ComfortNoise::white(now).payload(),
            );
            (*since, *level, *paused) = (0, now, true);
        }
        true
    }
}
