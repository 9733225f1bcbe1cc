//! What is heard where packets are missing: rebuilt, bridged, concealed, waited for, or the sender's pause.

use super::queue::Content;
use super::{GIVE_UP, HISTORY, LEARNING, Playout, State};
use crate::codec::Decoder;
use crate::g722::FILTER_DELAY;
use crate::opus;

impl Playout {
    pub(super) fn missing_before(&self, sequence: u64) -> u64 {
        self.last_sequence.map_or(0, |last| sequence.saturating_sub(last + 1))
    }

    /// Fills the gap before the head of the queue, of which `already` samples have been made up.
    pub(super) fn heal(&mut self, gap: usize, already: usize) {
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
    pub(super) fn conceal(&mut self, count: usize, successor: Option<&Vec<i16>>) {
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

    pub(super) fn patience(&self) -> usize {
        if self.delay.count() < LEARNING { self.frame } else { 0 }
    }

    pub(super) fn stall(&mut self, next: i64, filled: usize, patience: usize, needed: usize) {
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
    pub(super) fn end_stall(&mut self, next: i64, filled: usize, position: i64, sequence: u64) {
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

    pub(super) fn count_missing(&mut self, packets: u64) {
        self.stats.missing += packets;
        self.lost = self.lost.saturating_add(self.frame.saturating_mul(packets as usize));
        self.loss += (1.0 - self.loss) * 0.01 * packets.min(10) as f32;
        self.last_sequence = self.last_sequence.map(|last| last + packets);
    }

    pub(super) fn pause(&mut self, needed: usize) {
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

    pub(super) fn stall_free_noise(&mut self, needed: usize) {
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

    /// Takes the decoder through what was played in place of lost packets, before it reads the next one.
    pub(super) fn catch_up(&mut self) {
        let lost = std::mem::take(&mut self.lost) & !1;
        let Decoder::G722(decoder) = &mut self.decoder else { return };
        // What lies further back than the sound that is kept does not matter to predictors that forget in a few milliseconds.
        let kept = self.line.len().saturating_sub(2).min(HISTORY * self.rate as usize / 1000) & !1;
        let from = self.line.len().saturating_sub(lost.min(kept) + 2);
        if lost == 0 || !self.concealer.is_active() {
            return;
        }
        let mut played = self.line[from..].to_vec();
        played.extend(self.concealer.ahead(FILTER_DELAY));
        decoder.follow(&played);
    }
}
