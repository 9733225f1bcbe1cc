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

mod conceal;
mod delay;
mod pitch;
mod queue;
mod stretch;

use wakeline_clock::Time;

pub use delay::DelayHistogram;
pub use queue::{Content, Waiting};

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

/// Counters of one received stream. All but the two delays only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutStats {
    /// Audio packets taken in.
    pub received: u64,
    /// Packets that came after they were needed.
    pub late: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that were missing when they were needed (late ones among them).
    pub missing: u64,
    /// Missing packets that were rebuilt from redundancy.
    pub recovered: u64,
    /// Samples made up by concealment, at the codec's rate.
    pub concealed: u64,
    /// Of these, samples that were played while waiting: they made the delay longer.
    pub stalled: u64,
    /// Samples taken out to become quicker.
    pub accelerated: u64,
    /// Samples put in to become safer.
    pub expanded: u64,
    /// Samples of noise in the sender's pauses.
    pub noise: u64,
    /// Samples played in all.
    pub played: u64,
    /// What the buffer adds to the quickest packet's transit, in microseconds.
    pub delay_micros: i64,
    /// What it aims to add.
    pub target_micros: i64,
}

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

    fn missing_before(&self, sequence: u64) -> u64 {
        self.last_sequence.map_or(0, |last| sequence.saturating_sub(last + 1))
    }

    /// Fills the gap before the head of the queue, of which `already` samples have been made up.
    fn heal(&mut self, gap: usize, already: usize) {
        let start = self.line.len();
        let payload = match self.queue.front().map(|head| &head.content) {
            Some(Content::Audio(payload)) => payload.clone(),
            Some(Content::Noise(_) | Content::Event) | None => Vec::new(),
        };
        match &mut self.decoder {
            Decoder::Opus(decoder)
                if opus::carries_redundancy(&payload)
                    && (gap + already).is_multiple_of(self.rate as usize / 400) =>
            {
                if decoder.recover(&payload, gap + already, &mut self.line).is_err() {
                    self.line.resize(start + gap, 0);
                }
                if already > 0 {
                    self.line.drain(start..(start + already).min(self.line.len()));
                }
                self.stats.recovered += 1;
            }
            Decoder::Opus(_) => self.conceal(gap, None),
            Decoder::Pcmu | Decoder::Pcma | Decoder::G722(_) => {
                let mut successor = Vec::new();
                let decoded = match &self.decoder {
                    // The state must not move before its time: a copy looks ahead.
                    Decoder::G722(decoder) => {
                        decoder.as_ref().clone().decode(&payload, &mut successor);
                        true
                    }
                    Decoder::Pcmu => Decoder::Pcmu.decode(&payload, &mut successor).is_ok(),
                    Decoder::Pcma => Decoder::Pcma.decode(&payload, &mut successor).is_ok(),
                    Decoder::Opus(_) => false,
                };
                self.conceal(gap, Some(&successor).filter(|_| decoded && !payload.is_empty()));
            }
        }
    }

    /// Makes `count` samples up.
    fn conceal(&mut self, count: usize, successor: Option<&Vec<i16>>) {
        self.stats.concealed += count as u64;
        let start = self.line.len();
        match (&mut self.decoder, successor) {
            (Decoder::Opus(decoder), _) => {
                let step = self.rate as usize / 400;
                let whole = count.div_ceil(step) * step;
                if decoder.conceal(whole, &mut self.line).is_err() {
                    self.line.resize(start + whole, 0);
                }
                self.line.truncate(start + count);
            }
            (Decoder::G722(_) | Decoder::Pcmu | Decoder::Pcma, Some(successor)) => {
                self.concealer.bridge(&mut self.line, count, successor);
            }
            (Decoder::G722(_) | Decoder::Pcmu | Decoder::Pcma, None) => {
                self.concealer.conceal(&mut self.line, count);
            }
        }
    }

    fn patience(&self) -> usize {
        if self.delay.count() < LEARNING { self.frame } else { 0 }
    }

    fn stall(&mut self, next: i64, filled: usize, patience: usize, needed: usize) {
        let step = self.rate as usize / 400;
        let count = match self.decoder {
            // The library conceals in steps of 2.5 ms.
            Decoder::Opus(_) => needed.div_ceil(step) * step,
            Decoder::G722(_) | Decoder::Pcmu | Decoder::Pcma => needed,
        };
        self.conceal(count, None);
        self.stats.stalled += count as u64;
        let filled = filled + count;
        self.state = if filled > GIVE_UP * self.rate as usize / 1000 {
            self.margin_count = 0;
            State::Idle
        } else {
            State::Stalled { next, filled, patience }
        };
    }

    /// Sound came while waiting: packets that are missing before it have been filled by the wait.
    fn end_stall(&mut self, next: i64, filled: usize, position: i64, sequence: u64) {
        let gap = usize::try_from(position.saturating_sub(next)).unwrap_or(0);
        let missing = self.missing_before(sequence);
        if gap == 0 {
            self.state = State::Playing { next };
            return;
        }
        if missing == 0 || gap > (missing as usize).saturating_mul(self.frame.max(1)) * 2 {
            self.state = State::Pausing { next };
            return;
        }
        let frame = self.frame.max(1);
        let covered = gap.min(filled);
        self.stats.stalled = self.stats.stalled.saturating_sub(covered as u64);
        let rest = gap - covered;
        if rest == 0 || gap <= frame {
            self.count_missing(missing);
            if rest > 0 {
                self.heal(rest, covered);
            }
            self.state = State::Playing { next: position };
            return;
        }
        // More than one packet is missing: give up those whose time has begun, and leave the others theirs.
        let begun = covered.div_ceil(frame) * frame;
        if begun > covered {
            self.conceal(begun.min(gap) - covered, None);
        }
        self.count_missing((begun / frame) as u64);
        self.state = State::Playing { next: next + begun.min(gap) as i64 };
    }

    fn count_missing(&mut self, packets: u64) {
        self.stats.missing += packets;
        self.loss += (1.0 - self.loss) * 0.01 * packets.min(10) as f32;
        self.last_sequence = self.last_sequence.map(|last| last + packets);
    }

    fn pause(&mut self, needed: usize) {
        self.stats.noise += needed as u64;
        match &mut self.decoder {
            Decoder::Opus(_) => {
                // The library makes its own comfort noise when nothing comes after a silence packet.
                self.stall_free_noise(needed);
            }
            Decoder::G722(_) | Decoder::Pcmu | Decoder::Pcma => {
                let start = self.line.len();
                self.noise.play(needed, &mut self.line);
                if self.concealer.is_active() {
                    let mut fresh = self.line.split_off(start);
                    self.concealer.meet(&mut fresh);
                    self.line.append(&mut fresh);
                }
            }
        }
    }

    fn stall_free_noise(&mut self, needed: usize) {
        let step = self.rate as usize / 400;
        let count = needed.div_ceil(step) * step;
        let start = self.line.len();
        let made = match &mut self.decoder {
            Decoder::Opus(decoder) => decoder.conceal(count, &mut self.line).is_ok(),
            Decoder::G722(_) | Decoder::Pcmu | Decoder::Pcma => false,
        };
        if !made {
            self.line.resize(start + count, 0);
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

    /// Compares the delay with its target and stretches the frame at `line[start..]` if need be.
    fn adapt(&mut self, now: i64, position: i64, start: usize) {
        let Some(target) = self.delay.target() else { return };
        let needed_at = now.saturating_sub(self.micros(position));
        let quickest = self.delay.quickest().unwrap_or(target);
        self.stats.delay_micros = needed_at - quickest;
        self.stats.target_micros = target - quickest;
        self.margins[self.margin_count % MARGINS] = needed_at - target;
        self.margin_count += 1;
        self.since_stretch += 1;
        if self.margin_count < 2 {
            return;
        }
        let known = self.margin_count.min(MARGINS);
        let margin = self.margins[..known].iter().copied().min().unwrap_or(0);
        if margin < -200 {
            let most = self.samples(-margin).max(self.rate as usize / 200);
            let haste = margin < -15_000;
            let more = stretch::expand(&mut self.line, start, most, self.rate, haste);
            self.stretched(more as i64);
            self.stats.expanded += more as u64;
        } else if known == MARGINS {
            self.quicken(margin, start, target - quickest);
        }
    }

    fn quicken(&mut self, margin: i64, start: usize, spread: i64) {
        // Taking out less than a pull can bring the need forward by a whole pull.
        let pull = self.micros(self.largest_pull as i64).max(1);
        let reserve = 2_000 + spread / 10;
        let spare = margin - reserve;
        if spare < pull {
            return;
        }
        if spare > CUT {
            // Far too much: drop what waits, down to the target.
            let packets = spare / self.micros(self.frame as i64).max(1);
            for _ in 0..packets {
                if self.queue.len() < 2 {
                    break;
                }
                if let Some(dropped) = self.queue.pop() {
                    self.last_sequence = Some(dropped.sequence);
                    self.stats.accelerated += self.frame as u64;
                }
            }
            if let Some(head) = self.queue.front() {
                self.state = State::Playing { next: head.position };
            }
            self.margin_count = 0;
            return;
        }
        let haste = spare > 100_000;
        if self.since_stretch < if haste { 1 } else { 3 } {
            return;
        }
        let most = self.samples(spare / pull * pull);
        let gone = stretch::accelerate(&mut self.line, start.max(self.cursor), most, self.rate, haste);
        // As if a whole number of pulls had gone: the margins that follow will tell.
        let pulls = self.micros(gone as i64).div_ceil_signed(pull);
        self.stretched(-(pulls * pull));
        self.stats.accelerated += gone as u64;
    }

    fn stretched(&mut self, by: i64) {
        if by == 0 {
            return;
        }
        self.since_stretch = 0;
        let shift = if by > 0 { self.micros(by) } else { by };
        self.margins.iter_mut().for_each(|margin| *margin += shift);
    }
}

trait DivCeilSigned {
    fn div_ceil_signed(self, by: i64) -> i64;
}

impl DivCeilSigned for i64 {
    fn div_ceil_signed(self, by: i64) -> i64 {
        (self + by - 1).div_euclid(by)
    }
}

#[cfg(test)]
mod tests;
