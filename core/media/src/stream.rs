//! One call's audio: the microphone's sound to RTP, RTP to the loudspeaker's sound, and the figures between.
//!
//! The caller drives it by four inputs, [`Stream::capture`], [`Stream::playout`], [`Stream::handle_rtp`] and
//! [`Stream::handle_rtcp`], and one timer; after each it drains [`Stream::poll_transmit`] and [`Stream::poll_event`].

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_rtp::reception::Arrival;
use wakeline_rtp::rtcp::VoipMetrics;
use wakeline_rtp::{ExtendedSequence, RtcpSession, RtpPacket};

use crate::codec::Codec;
use crate::comfort_noise::ComfortNoise;
use crate::dtmf::EventReceiver;
use crate::level::{Gain, Meter};
use crate::playout::{Content, Playout, PlayoutStats};
use crate::send::{Microphone, Payload, SendSetting, SendSide};
use crate::statistics::{Figures, StreamStats};
use crate::tone::{Generator, Tone};
use crate::{MediaError, Resampler, opus};

/// A source that has been silent this long may be replaced by another at once, in milliseconds.
const SOURCE_GONE: u128 = 200;
/// Events that are not fetched are dropped beyond this.
const MOST_EVENTS: usize = 256;

/// Payload types of telephone events (RFC 4733 §7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTypes {
    /// What the peer wants to receive.
    pub send: u8,
    /// What we said we receive.
    pub receive: u8,
    /// Ticks per second of the durations.
    pub clock: u32,
}

/// What a stream is told when it begins: the outcome of offer and answer, and the device's rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StreamConfig {
    /// What is sent.
    pub codec: Codec,
    /// The payload type that the peer expects for it.
    pub payload_type: u8,
    /// What may come, by our payload types; the sent codec's should be among them.
    pub receive: Vec<(u8, Codec)>,
    /// Telephone events, when negotiated; without them digits go as sound.
    pub events: Option<EventTypes>,
    /// Comfort noise, when negotiated: pauses are then sent as noise levels, except with Opus.
    pub comfort_noise: Option<u8>,
    /// Milliseconds of sound per packet: 10, 20, 30 (not Opus), 40 or 60.
    pub ptime: u32,
    /// Samples per second of what is captured and played.
    pub device_rate: u32,
    /// The Opus encoder's settings.
    pub opus: opus::Tuning,
    /// Whether packets (of silence) go on while the microphone is muted.
    pub send_when_muted: bool,
}

impl StreamConfig {
    /// A stream of one codec with 20 ms packets, its static (or given) payload type both ways, and nothing else.
    pub fn new(codec: Codec, payload_type: u8, device_rate: u32) -> StreamConfig {
        StreamConfig {
            codec,
            payload_type,
            receive: vec![(payload_type, codec)],
            events: None,
            comfort_noise: None,
            ptime: 20,
            device_rate,
            opus: opus::Tuning::default(),
            send_when_muted: true,
        }
    }
}

/// Where the RTP numbers begin (RFC 3550 §5.1: at random).
#[derive(Debug)]
pub struct Seeds {
    /// Our source.
    pub ssrc: u32,
    /// The first packet's number.
    pub sequence: u16,
    /// The first packet's timestamp.
    pub timestamp: u32,
    /// For the reports' times and the noise.
    pub entropy: Entropy,
}

impl Seeds {
    /// Draws all of them.
    pub fn draw(entropy: &mut Entropy) -> Seeds {
        Seeds {
            ssrc: entropy.u32(),
            // Below half, so that the first wrap comes late: some receivers of SRTP count it wrongly (RFC 3711 §3.3.1).
            sequence: (entropy.u32() & 0x7fff) as u16,
            timestamp: entropy.u32(),
            entropy: entropy.fork(),
        }
    }
}

/// What the stream has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamEvent {
    /// The first packet of the peer's sound has come.
    MediaStarted {
        /// Its codec.
        codec: Codec,
    },
    /// The peer pressed a key (told once, at the key's begin).
    Dtmf {
        /// `0-9 * # A-D`, or `!` for a hook flash.
        digit: char,
    },
    /// The peer's packets come from another source now.
    SourceChanged {
        /// The new SSRC.
        ssrc: u32,
    },
    /// The peer sends another of the negotiated codecs now.
    CodecChanged {
        /// The new one.
        codec: Codec,
    },
    /// The peer's RTCP said BYE.
    Goodbye,
}

/// A packet to protect and send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// To the peer's RTP address.
    Rtp(Vec<u8>),
    /// To the peer's RTCP address.
    Rtcp(Vec<u8>),
}

#[derive(Clone, Copy, Debug)]
enum Source {
    /// Nothing has come.
    None,
    /// One source, the newcomer that has been seen once, and when the source was heard last.
    Locked { ssrc: u32, heard: Time, newcomer: Option<u32> },
}

/// The stream.
pub struct Stream {
    config: StreamConfig,
    send: SendSide,
    ssrc: u32,
    sequence: u16,
    rtcp: RtcpSession,
    source: Source,
    extended: ExtendedSequence,
    playout: Playout,
    playing: Codec,
    seed: u32,
    resampler: Resampler,
    scratch: (Vec<i16>, Vec<i16>),
    digits: EventReceiver,
    receiving: bool,
    speaker: Gain,
    speaker_meter: Meter,
    local_tone: Option<Generator>,
    figures: Figures,
    /// Counters of decoders that an earlier codec had.
    earlier: PlayoutStats,
    transmits: VecDeque<Outgoing>,
    events: VecDeque<StreamEvent>,
}

impl Stream {
    /// A stream that begins at `now`.
    ///
    /// # Errors
    /// [`MediaError::Setting`] for a packet time, rate or payload type that cannot be; [`MediaError::Codec`] when the
    /// codec library refuses.
    pub fn new(now: Time, config: StreamConfig, seeds: Seeds) -> Result<Stream, MediaError> {
        let ptime_is_possible = match config.codec {
            Codec::Opus => [10, 20, 40, 60].contains(&config.ptime),
            Codec::G722 | Codec::Pcmu | Codec::Pcma => {
                config.ptime.is_multiple_of(10) && (10..=120).contains(&config.ptime)
            }
        };
        if !ptime_is_possible {
            return Err(MediaError::Setting("packet time"));
        }
        if !(8000..=192_000).contains(&config.device_rate) {
            return Err(MediaError::Setting("device rate"));
        }
        if config.payload_type > 127 {
            return Err(MediaError::Setting("payload type"));
        }
        let Seeds { ssrc, sequence, timestamp, mut entropy } = seeds;
        let seed = entropy.u32();
        let mut send = SendSide::new(&SendSetting {
            codec: config.codec,
            payload_type: config.payload_type,
            events: config.events.map(|events| (events.send, events.clock)),
            noise_type: config.comfort_noise,
            ptime: config.ptime,
            device_rate: config.device_rate,
            tuning: config.opus,
            timestamp,
        })?;
        send.send_when_muted = config.send_when_muted;
        let rate = config.codec.sample_rate(config.device_rate);
        Ok(Stream {
            send,
            ssrc,
            sequence,
            rtcp: RtcpSession::new(now, ssrc, config.codec.rtp_clock(), entropy),
            source: Source::None,
            extended: ExtendedSequence::new(),
            playout: Playout::new(config.codec, rate, seed)?,
            playing: config.codec,
            seed,
            resampler: Resampler::new(rate, config.device_rate),
            scratch: (Vec::new(), Vec::new()),
            digits: EventReceiver::default(),
            receiving: true,
            speaker: Gain::new(0.0, 1.0),
            speaker_meter: Meter::default(),
            local_tone: None,
            figures: Figures::default(),
            earlier: PlayoutStats::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            config,
        })
    }

    /// What the stream was told.
    pub fn config(&self) -> &StreamConfig {
        &self.config
    }

    /// Sends one frame of silence at once: the peer's first packet need not wait for our microphone, and a NAT or a
    /// symmetric peer learns our address. Call it when media may flow.
    ///
    /// # Errors
    /// As [`Stream::capture`].
    pub fn start(&mut self, now: Time) -> Result<(), MediaError> {
        self.sending(now, |send, emit| send.first(emit))
    }

    /// Takes the microphone's sound in, any number of samples at the device's rate.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when the encoder fails.
    pub fn capture(&mut self, now: Time, sound: &[i16]) -> Result<(), MediaError> {
        self.sending(now, |send, emit| send.capture(sound, emit))
    }

    fn sending(
        &mut self,
        now: Time,
        run: impl FnOnce(&mut SendSide, &mut dyn FnMut(Payload, &[u8])) -> Result<(), MediaError>,
    ) -> Result<(), MediaError> {
        let Stream { send, rtcp, transmits, sequence, ssrc, .. } = self;
        let mut emit = |header: Payload, payload: &[u8]| {
            let packet = RtpPacket {
                marker: header.marker,
                payload_type: header.payload_type,
                sequence: *sequence,
                timestamp: header.timestamp,
                ssrc: *ssrc,
                payload,
                ..RtpPacket::default()
            };
            if let Ok(bytes) = packet.to_bytes() {
                *sequence = sequence.wrapping_add(1);
                rtcp.packet_sent(now, &packet);
                transmits.push_back(Outgoing::Rtp(bytes));
            }
        };
        run(send, &mut emit)
    }

    /// Takes an RTP packet in (decrypted). What is not ours to play is left aside without an error.
    ///
    /// # Errors
    /// [`MediaError::Payload`] when the bytes are no RTP packet.
    pub fn handle_rtp(&mut self, now: Time, datagram: &[u8]) -> Result<(), MediaError> {
        let packet = RtpPacket::parse(datagram).map_err(|_| MediaError::Payload("not an RTP packet"))?;
        let event = self.config.events.is_some_and(|events| events.receive == packet.payload_type);
        let noise = packet.payload_type == self.config.comfort_noise.unwrap_or(13);
        let codec = self.config.receive.iter().find(|(number, _)| *number == packet.payload_type);
        let codec = codec.map(|&(_, codec)| codec);
        if !(event || noise || codec.is_some()) || packet.ssrc == self.ssrc || !self.receiving {
            self.figures.foreign += 1;
            return Ok(());
        }
        if !self.admit(now, packet.ssrc) {
            return Ok(());
        }
        match self.rtcp.packet_received(now, &packet) {
            Arrival::InOrder { .. } | Arrival::Late => {}
            Arrival::Suspect => return Ok(()),
            Arrival::Restarted => {
                self.playout.restart();
                self.extended = ExtendedSequence::new();
            }
        }
        let content = match codec {
            Some(codec) => {
                if codec != self.playing {
                    self.change_codec(codec)?;
                }
                if !std::mem::replace(&mut self.figures.started, true) {
                    self.tell(StreamEvent::MediaStarted { codec });
                }
                Content::Audio(packet.payload.to_vec())
            }
            None if event => {
                if let Some(digit) = self.digits.packet(packet.timestamp, packet.payload) {
                    self.tell(StreamEvent::Dtmf { digit });
                }
                Content::Event
            }
            None => Content::Noise(ComfortNoise::parse(packet.payload)),
        };
        self.figures.bytes_received += packet.payload.len() as u64;
        let sequence = self.extended.extend(packet.sequence);
        self.playout.insert(now, sequence, packet.timestamp, content);
        Ok(())
    }

    /// Whether a packet of this source counts: the source that is playing, or one that takes its place. A single stray
    /// packet does not.
    fn admit(&mut self, now: Time, ssrc: u32) -> bool {
        let changed = match &mut self.source {
            Source::None => false,
            Source::Locked { ssrc: locked, heard, newcomer } if *locked == ssrc => {
                (*heard, *newcomer) = (now, None);
                return true;
            }
            Source::Locked { heard, newcomer, .. } => {
                let gone = now.since(*heard).as_millis() > SOURCE_GONE;
                if !gone && *newcomer != Some(ssrc) {
                    *newcomer = Some(ssrc);
                    return false;
                }
                true
            }
        };
        self.source = Source::Locked { ssrc, heard: now, newcomer: None };
        if changed {
            self.playout.restart();
            self.extended = ExtendedSequence::new();
            self.digits = EventReceiver::default();
            self.tell(StreamEvent::SourceChanged { ssrc });
        }
        true
    }

    fn change_codec(&mut self, codec: Codec) -> Result<(), MediaError> {
        let rate = codec.sample_rate(self.config.device_rate);
        let fresh = Playout::new(codec, rate, self.seed)?;
        self.earlier = self.earlier.and(&std::mem::replace(&mut self.playout, fresh).stats());
        self.resampler = Resampler::new(rate, self.config.device_rate);
        self.playing = codec;
        if self.figures.started {
            self.tell(StreamEvent::CodecChanged { codec });
        }
        Ok(())
    }

    /// Takes an RTCP packet in (decrypted).
    ///
    /// # Errors
    /// [`MediaError::Payload`] when the bytes are no RTCP.
    pub fn handle_rtcp(&mut self, now: Time, datagram: &[u8]) -> Result<(), MediaError> {
        let heard = self.rtcp.rtcp_received(now, datagram).map_err(|_| MediaError::Payload("not RTCP"))?;
        if heard.goodbye {
            self.tell(StreamEvent::Goodbye);
        }
        if heard.report
            && let Some(report) = self.rtcp.peer_report()
        {
            let percent =
                self.figures.expected_loss(report.fraction_lost).max(self.config.opus.expected_loss);
            self.send.expect_loss(percent);
        }
        Ok(())
    }

    /// Fills `out` with the next sound for the loudspeaker; silence while there is none.
    pub fn playout(&mut self, now: Time, out: &mut [i16]) {
        if let Some(tone) = &mut self.local_tone {
            tone.play(out);
        } else if self.playout.rate() == self.config.device_rate {
            self.playout.pull(now, out);
        } else {
            let (pulled, converted) = &mut self.scratch;
            pulled.resize(self.resampler.input_for(out.len().saturating_sub(converted.len())), 0);
            self.playout.pull(now, pulled);
            self.resampler.process(pulled, converted);
            let give = converted.len().min(out.len());
            out[..give].copy_from_slice(&converted[..give]);
            out[give..].fill(0);
            converted.drain(..give);
        }
        self.speaker.apply(out);
        self.speaker_meter.observe(out);
        self.figures.watch(now, self.totals());
    }

    /// Presses a key for `millis` milliseconds (40 to 5000): as an event where negotiated, else as sound.
    ///
    /// # Errors
    /// [`MediaError::Digit`] for a character that is on no keypad; [`MediaError::Setting`] when too many wait.
    pub fn send_dtmf(&mut self, digit: char, millis: u32) -> Result<(), MediaError> {
        self.send.send_digit(digit, millis)
    }

    /// Whether keys are still being sent.
    pub fn is_sending_dtmf(&self) -> bool {
        self.send.is_sending_digits()
    }

    /// What of the microphone is sent from now on.
    pub fn set_microphone(&mut self, microphone: Microphone) {
        self.send.microphone = microphone;
    }

    /// What of the stream flows, after hold and resume (RFC 3264 §6.1): whether we send, and whether we receive.
    pub fn set_direction(&mut self, send: bool, receive: bool) {
        self.send.enabled = send;
        if self.receiving != receive {
            self.playout.restart();
            self.speaker.set(if receive { 1.0 } else { 0.0 });
        }
        self.receiving = receive;
    }

    /// The microphone's gain, a factor of 0 to 8.
    pub fn set_microphone_gain(&mut self, factor: f32) {
        self.send.gain.set(factor);
    }

    /// The loudspeaker's gain, a factor of 0 to 8.
    pub fn set_speaker_gain(&mut self, factor: f32) {
        self.speaker.set(factor);
    }

    /// Plays a tone to our own ear in place of the peer's sound (ringback, busy), or ends it.
    pub fn set_local_tone(&mut self, tone: Option<Tone>) {
        self.local_tone = tone.map(|tone| Generator::new(tone, self.config.device_rate));
    }

    /// When [`Stream::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        Some(self.rtcp.next_report()).filter(|&at| at != Time::NEVER)
    }

    /// Sends the report that is due.
    pub fn handle_timeout(&mut self, now: Time) {
        let metrics = self.figures.started.then(|| self.metrics());
        if let Some(bytes) = self.rtcp.report(now, metrics) {
            self.transmits.push_back(Outgoing::Rtcp(bytes));
        }
    }

    /// Ends the stream: a last report with BYE (RFC 3550 §6.6).
    pub fn finish(&mut self, now: Time) {
        let bytes = self.rtcp.goodbye(now);
        if !bytes.is_empty() {
            self.transmits.push_back(Outgoing::Rtcp(bytes));
        }
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        self.transmits.pop_front()
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    fn tell(&mut self, event: StreamEvent) {
        if self.events.len() < MOST_EVENTS {
            self.events.push_back(event);
        }
    }

    fn totals(&self) -> PlayoutStats {
        self.earlier.and(&self.playout.stats())
    }

    /// The figures as they stand.
    pub fn stats(&self) -> StreamStats {
        self.figures.stats(
            &self.rtcp,
            self.totals(),
            self.playing,
            self.playout.rate(),
            self.config.ptime,
            (self.send.meter.level(), self.speaker_meter.level()),
        )
    }

    /// The figures in the form of an RFC 3611 §4.7 block.
    fn metrics(&self) -> VoipMetrics {
        self.stats().metrics()
    }
}

#[cfg(test)]
mod tests;
