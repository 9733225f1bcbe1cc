//! The adaptive jitter buffer: packets in when they come, sound out when the device asks.
//!
//! Time runs by two clocks that are never compared directly. A packet's *transit* is its arrival less its media time,
//! on an origin of its own; the [`DelayHistogram`] says up to which transit it pays to wait. Each time a packet is
//! needed, the *margin* is how much longer than that one could have waited. Margins that stay positive are taken out
//! of the sound period by period, negative ones are put in; on an even path neither happens, because a pull comes at
//! most one pull after the packet did.
//!
//! A packet that is missing when it is needed is
//! - waited for while nothing newer has come (sound is concealed meanwhile, and nothing is lost when it comes),
//! - rebuilt from its successor where that carries redundancy (Opus), or bridged towards it (PCM),
//! - concealed otherwise.

mod adapt;
mod conceal;
mod delay;
mod gaps;
mod pitch;
mod queue;
mod stats;
mod stretch;

use wakeline_clock::Time;

pub use delay::DelayHistogram;
pub use queue::{Content, Waiting};
pub use stats::PlayoutStats;

use crate::codec::{Codec, Decoder};
use crate::comfort_noise::Generator;
use crate::{MediaError, opus};
use conceal::Concealer;
use queue::{Inserted, Queue};

/// Sound kept behind the playing position, in milliseconds: what concealment and stretching learn from.
const HISTORY: usize = 60;
/// How many margins are remembered.
const MARGINS: usize = 8;
/// A stall that lasts this long ends the timeline; the next packet begins a new one. In milliseconds.
const GIVE_UP: usize = 2_000;
/// Until this many packets have shown what the path is like, a gap is waited at rather than given up: a packet that
/// comes within a frame is played, and one that is lost costs no delay.
const LEARNING: u32 = 64;
/// A transit that differs by this much from what is known belongs to another timeline, in microseconds.
const JUMP: u64 = 10_000_000;
/// One that is this much quicker than all known begins the learning anew, in microseconds.
const QUICKER: i64 = 300_000;
/// Excess delay beyond this is cut instead of played faster, in microseconds.
const CUT: i64 = 500_000;

/// What the line is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has come yet, or too long ago.
    Idle,
    /// The sample after the last decoded one is due at this position.
    Playing { next: i64 },
    /// Nothing was there; `filled` samples have been made up since, which are not part of the timeline. A gap is given
    /// up when that is as much as `patience`.
    Stalled { next: i64, filled: usize, patience: usize },
    /// The sender pauses.
    Pausing { next: i64 },
}

/// The buffer, the decoder and the sound between them.
pub struct Playout {
    codec: Codec,
    rate: u32,
    clock: u32,
    decoder: Decoder,
    queue: Queue,
    delay: DelayHistogram,
    state: State,
    /// Played sound, then sound that waits to be played.
    line: Vec<i16>,
    cursor: usize,
    concealer: Concealer,
    noise: Generator,
    /// The sender said how its pause sounds, so a gap is a pause.
    sender_pauses: bool,
    margins: [i64; MARGINS],
    margin_count: usize,
    since_stretch: u32,
    largest_pull: usize,
    frame: usize,
    loss: f32,
    redundancy: f32,
    last_sequence: Option<u64>,
    /// Samples that were lost since the last packet.
    lost: usize,
    stats: PlayoutStats,
}

impl Playout {
    /// A buffer for `codec`, decoding at `rate`; `seed` is for the noise.
    ///
    /// # Errors
    /// [`MediaError::Codec`] when the codec does not know the rate.
    pub fn new(codec: Codec, rate: u32, seed: u32) -> Result<Playout, MediaError> {
        Ok(Playout {
            codec,
            rate,
            clock: codec.rtp_clock(),
            decoder: Decoder::new(codec, rate)?,
            queue: Queue::default(),
            delay: DelayHistogram::default(),
            state: State::Idle,
            line: Vec::new(),
            cursor: 0,
            concealer: Concealer::new(rate),
            noise: Generator::new(seed),
            sender_pauses: false,
            margins: [0; MARGINS],
            margin_count: 0,
            since_stretch: 0,
            largest_pull: 0,
            frame: rate as usize / 50,
            loss: 0.0,
            redundancy: 0.0,
            last_sequence: None,
            lost: 0,
            stats: PlayoutStats::default(),
        })
    }

    /// Samples per second of what [`Playout::pull`] gives.
    pub fn rate(&self) -> u32 {
        self.rate
    }

    /// The counters.
    pub fn stats(&self) -> PlayoutStats {
        self.stats
    }

    /// Whether sound of the peer's is being played (not silence before the first packet, nor a stall's remains).
    pub fn is_playing(&self) -> bool {
        matches!(self.state, State::Playing { .. } | State::Pausing { .. })
    }

    /// Takes a packet in. `sequence` is extended; `timestamp` is the packet's.
    pub fn insert(&mut self, now: Time, sequence: u64, timestamp: u32, content: Content) {
        let mut position = self.queue.position(timestamp, self.rate, self.clock);
        let arrival = (now.as_nanos() / 1000) as i64;
        if let Content::Audio(payload) = &content {
            let Some(samples) = self.decoder.duration(payload) else { return };
            self.frame = samples;
            self.stats.received += 1;
            if self.codec == Codec::Opus && !opus::is_silence(payload) {
                let seen = if opus::carries_redundancy(payload) { 1.0 } else { 0.0 };
                self.redundancy += (seen - self.redundancy) * 0.05;
            }
        }
        if !matches!(content, Content::Event) {
            let mut transit = arrival.saturating_sub(self.micros(position));
            if self.delay.target().is_some_and(|target| transit.abs_diff(target) > JUMP) {
                // The timestamps jumped: another timeline.
                self.restart();
                position = self.queue.position(timestamp, self.rate, self.clock);
                transit = arrival.saturating_sub(self.micros(position));
            } else if self.delay.quickest().is_some_and(|quickest| transit < quickest - QUICKER) {
                // A far quicker path, or a small jump: what was learned is about something else.
                self.delay = DelayHistogram::default();
                self.margin_count = 0;
            }
            let frame = self.micros(self.frame as i64);
            let help = self.loss * self.helpfulness();
            self.delay.observe(transit, help, frame);
        }
        let passed = self.last_sequence.is_some_and(|last| sequence <= last);
        if passed {
            if !self.queue.seen(sequence) && matches!(content, Content::Audio(_)) {
                self.stats.late += 1;
            } else {
                self.stats.duplicates += 1;
            }
            self.queue.note(sequence);
            return;
        }
        match self.queue.insert(Waiting { sequence, position, content }) {
            Inserted::New => {}
            Inserted::Duplicate => self.stats.duplicates += 1,
            Inserted::Overflow => self.restart_at_newest(),
        }
    }

    /// How much of a loss the successor can heal: what waiting for it is worth.
    fn helpfulness(&self) -> f32 {
        match self.codec {
            Codec::Opus => self.redundancy,
            Codec::G722 | Codec::Pcmu | Codec::Pcma => 0.0,
        }
    }

    /// Begins a new timeline, e.g. for another SSRC; the sound so far ends softly.
    pub fn restart(&mut self) {
        let last = self.line.last().copied().map_or(0.0, f32::from);
        let fade = self.rate as usize / 200;
        self.line.extend((1..fade).map(|n| (last * (1.0 - n as f32 / fade as f32)) as i16));
        self.concealer.reset();
        self.queue.clear();
        self.delay = DelayHistogram::default();
        self.state = State::Idle;
        self.margin_count = 0;
        self.last_sequence = None;
        self.sender_pauses = false;
    }

    fn restart_at_newest(&mut self) {
        self.queue.keep_newest(2);
        self.state = State::Idle;
        self.margin_count = 0;
    }

    fn micros(&self, samples: i64) -> i64 {
        samples.saturating_mul(1000) / i64::from(self.rate / 1000).max(1)
    }

    fn samples(&self, micros: i64) -> usize {
        usize::try_from(micros * i64::from(self.rate / 1000) / 1000).unwrap_or(0)
    }

    fn pending(&self) -> usize {
        self.line.len() - self.cursor
    }

    /// Fills `out` with the next sound.
    pub fn pull(&mut self, now: Time, out: &mut [i16]) {
        self.largest_pull = out.len().max(self.largest_pull - self.largest_pull / 64);
        let micros = (now.as_nanos() / 1000) as i64;
        // Every turn adds samples; the bound only guards against a decoder that gives none.
        for _ in 0..64 {
            let Some(needed) = out.len().checked_sub(self.pending()).filter(|&needed| needed > 0) else {
                break;
            };
            self.produce(micros, needed);
        }
        let give = self.pending().min(out.len());
        out[..give].copy_from_slice(&self.line[self.cursor..self.cursor + give]);
        out[give..].fill(0);
        self.cursor += give;
        self.stats.played += out.len() as u64;
        let keep = HISTORY * self.rate as usize / 1000;
        if self.cursor > 3 * keep {
            self.line.drain(..self.cursor - keep);
            self.cursor = keep;
        }
    }

    fn produce(&mut self, now: i64, needed: usize) {
        self.queue.skip_events(&mut self.last_sequence);
        let head = self.queue.front().map(|head| (head.position, head.sequence));
        match (self.state, head) {
            (State::Idle, Some((position, _)))
                if self.delay.count() < LEARNING || self.is_due(now, position, i64::MIN) =>
            {
                self.concealer.silence();
                self.state = State::Playing { next: position };
            }
            (State::Idle, Some(_) | None) => self.line.resize(self.line.len() + needed, 0),
            (State::Playing { next }, None) => {
                self.state = if self.sender_pauses || self.queue.in_event() {
                    State::Pausing { next }
                } else {
                    State::Stalled { next, filled: 0, patience: self.patience() }
                };
            }
            (State::Playing { next }, Some((position, sequence))) => {
                self.play_or_fill(now, next, position, sequence);
            }
            (State::Stalled { next, filled, patience }, Some((position, sequence)))
                if position <= next || filled >= patience =>
            {
                self.end_stall(next, filled, position, sequence);
            }
            (State::Stalled { next, filled, patience }, Some(_) | None) => {
                self.stall(next, filled, patience, needed);
            }
            (State::Pausing { next }, Some((position, _))) if self.is_due(now, position, next) => {
                self.state = State::Playing { next: position };
                self.concealer.reset();
                self.margin_count = 0;
            }
            (State::Pausing { next }, Some((_, _)) | None) => {
                self.pause(needed);
                self.state = State::Pausing { next };
            }
        }
    }

    /// Whether the first packet after a pause should begin now: not before the target delay, so that the talk spurt's
    /// own jitter is covered.
    fn is_due(&self, now: i64, position: i64, next: i64) -> bool {
        let target = self.delay.target().unwrap_or(i64::MIN);
        let pull = self.micros(self.largest_pull as i64);
        position <= next || now.saturating_sub(self.micros(position)) > target.saturating_sub(pull / 2)
    }

    fn play_or_fill(&mut self, now: i64, next: i64, position: i64, sequence: u64) {
        let gap = position.saturating_sub(next);
        if gap <= 0 {
            self.take(now, next);
            return;
        }
        let gap = usize::try_from(gap).unwrap_or(usize::MAX);
        let missing = self.missing_before(sequence);
        if missing == 0 || gap > (missing as usize).saturating_mul(self.frame.max(1)) * 2 {
            // Nothing was lost: the sender paused without saying so.
            self.state = State::Pausing { next };
            return;
        }
        if self.patience() > 0 {
            self.state = State::Stalled { next, filled: 0, patience: self.patience() };
            return;
        }
        let frame = self.frame.max(1);
        self.count_missing(1);
        if gap > frame + frame / 2 {
            self.conceal(frame, None);
            self.state = State::Playing { next: next + frame as i64 };
        } else {
            self.heal(gap, 0);
            self.state = State::Playing { next: position };
        }
    }

    /// Decodes the head of the queue, whose turn it is at `next`.
    fn take(&mut self, now: i64, next: i64) {
        let Some(head) = self.queue.pop() else { return };
        self.last_sequence = Some(head.sequence);
        let start = self.line.len();
        let samples = match head.content {
            Content::Event => {
                self.state = State::Playing { next };
                return;
            }
            Content::Noise(noise) => {
                self.noise.set(&noise);
                self.sender_pauses = true;
                self.state = State::Pausing { next: next.max(head.position) };
                return;
            }
            Content::Audio(payload) => {
                self.sender_pauses = self.codec == Codec::Opus && opus::is_silence(&payload);
                self.catch_up();
                match self.decoder.decode(&payload, &mut self.line) {
                    Ok(samples) => samples,
                    Err(_) => {
                        let frame = self.frame;
                        self.conceal(frame, None);
                        frame
                    }
                }
            }
        };
        self.loss -= self.loss * 0.01;
        if self.concealer.is_active() && self.line.len() > start {
            let mut fresh = self.line.split_off(start);
            self.concealer.meet(&mut fresh);
            self.line.append(&mut fresh);
        }
        // A packet that reaches back into what has been played (after a resync) is cut to what is new.
        let overlap = usize::try_from(next.saturating_sub(head.position)).unwrap_or(0).min(samples);
        self.line.drain(start..start + overlap);
        self.state = State::Playing { next: head.position + samples as i64 };
        self.adapt(now, head.position, start);
    }
}

#[cfg(test)]
mod tests;
