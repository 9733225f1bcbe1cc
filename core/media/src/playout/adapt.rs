//! The delay follows its target: sound is stretched period by period, or cut when far too much of it waits.

use super::{CUT, MARGINS, Playout, State, stretch};

impl Playout {
    /// Compares the delay with its target and stretches the frame at `line[start..]` if need be.
    pub(super) fn adapt(&mut self, now: i64, position: i64, start: usize) {
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

    pub(super) fn quicken(&mut self, margin: i64, start: usize, spread: i64) {
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

    pub(super) fn stretched(&mut self, by: i64) {
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
