//! Concealment for the codecs that have none of their own: the voice's last period is repeated.
//!
//! The idea is that of ITU-T G.711 Appendix I: find the pitch, repeat it with smooth seams, fade out when the loss
//! lasts, and fade into what comes after. Where the successor is at hand, the repetition is bent so that its phase and
//! loudness arrive where the successor begins.

use super::pitch::{best_lag, fade_into, likeness};

/// Longest silence-free concealment: after this the sound has faded to nothing, in microseconds.
const FADED: usize = 90_000;
/// Fading begins after this.
const FADE_FROM: usize = 20_000;

/// One concealment in progress.
#[derive(Clone, Debug, Default)]
pub(crate) struct Concealer {
    rate: u32,
    /// One period of sound that repeats without a seam; empty when nothing is being concealed.
    period: Vec<f32>,
    /// Samples concealed so far.
    done: usize,
    /// What the first sample lacks towards its predecessor, faded out over the first two milliseconds.
    step: f32,
    /// How periodic the sound was.
    voiced: f32,
}

impl Concealer {
    pub(crate) fn new(rate: u32) -> Concealer {
        Concealer { rate, ..Concealer::default() }
    }

    pub(crate) fn is_active(&self) -> bool {
        !self.period.is_empty()
    }

    pub(crate) fn reset(&mut self) {
        self.period.clear();
        self.done = 0;
    }

    /// What comes next is to rise from silence.
    pub(crate) fn silence(&mut self) {
        self.reset();
        self.period.push(0.0);
        self.step = 0.0;
    }

    fn micros(&self, micros: usize) -> usize {
        self.rate as usize * micros / 1_000_000
    }

    fn begin(&mut self, heard: &[i16]) {
        let window = self.micros(8_000);
        let (shortest, longest) = (self.micros(2_500), self.micros(16_000));
        let found = heard
            .len()
            .checked_sub(window)
            .and_then(|at| best_lag(heard, at, window, shortest..=longest, self.rate));
        let (lag, voiced) = match found {
            Some(lag) if lag.likeness > 0.3 => (lag.samples, lag.likeness),
            // Noise has no period; a long one buzzes least.
            Some(lag) => (longest, lag.likeness.max(0.0)),
            None => (longest, 0.0),
        };
        self.voiced = voiced;
        let lag = lag.min(heard.len().saturating_sub(1)).max(1);
        let Some(start) = heard.len().checked_sub(lag) else { return };
        self.period = heard[start..].iter().map(|&sample| f32::from(sample)).collect();
        if self.period.is_empty() {
            self.period.push(0.0);
        }
        // The end of the period leads to its beginning the way the sound before it did.
        let seam = (lag / 4).min(start);
        for n in 0..seam {
            let share = (n + 1) as f32 / (seam + 1) as f32;
            let before = f32::from(heard[start - seam + n]);
            let at = lag - seam + n;
            self.period[at] = self.period[at] * (1.0 - share) + before * share;
        }
        let last = heard.last().map_or(0.0, |&sample| f32::from(sample));
        let expected = start.checked_sub(1).map_or(last, |at| f32::from(heard[at]));
        self.step = last - expected;
        self.done = 0;
    }

    fn envelope(&self, done: usize) -> f32 {
        let (from, to) = (self.micros(FADE_FROM), self.micros(FADED).max(1));
        // What has no pitch is faded sooner.
        let done = if self.voiced < 0.3 { done * 3 / 2 } else { done };
        if done <= from { 1.0 } else { 1.0 - ((done - from) as f32 / (to - from).max(1) as f32).min(1.0) }
    }

    fn at(&self, done: usize) -> f32 {
        let length = self.period.len();
        if length == 0 {
            return 0.0;
        }
        self.period[done % length] * self.envelope(done)
    }

    /// The repetition at a place between samples.
    fn between(&self, place: f32) -> f32 {
        let whole = place.max(0.0) as usize;
        let part = place.max(0.0) - whole as f32;
        self.at(whole) * (1.0 - part) + self.at(whole + 1) * part
    }

    /// Appends `count` samples to what was heard.
    pub(crate) fn conceal(&mut self, line: &mut Vec<i16>, count: usize) {
        if !self.is_active() {
            self.begin(line);
        }
        let smooth = self.micros(2_000).max(1);
        for _ in 0..count {
            let healing = self.step * (1.0 - self.done as f32 / smooth as f32).max(0.0);
            line.push((self.at(self.done) + healing).clamp(-32_768.0, 32_767.0) as i16);
            self.done += 1;
        }
    }

    /// Appends `count` samples that lead to `successor`, the sound that follows the gap.
    pub(crate) fn bridge(&mut self, line: &mut Vec<i16>, count: usize, successor: &[i16]) {
        if !self.is_active() {
            self.begin(line);
        }
        let window = self.micros(8_000).min(successor.len());
        let period = self.period.len();
        let reach = (period / 2).min(count / 4);
        // Where in the repetition does the successor begin? Search around the gap's end.
        let (mut shift, mut best) = (0i64, 0.6);
        let probe: Vec<i16> = (0..window + 2 * reach)
            .map(|n| self.period[(self.done + count + period * 2 + n - reach) % period] as i16)
            .collect();
        for candidate in 0..=2 * reach {
            let alike = likeness(&probe[candidate..candidate + window], &successor[..window], 1);
            // A small preference for not bending at all.
            let alike = alike - 0.05 * candidate.abs_diff(reach) as f32 / reach.max(1) as f32;
            if alike > best {
                (shift, best) = (candidate as i64 - reach as i64, alike);
            }
        }
        let known = best > 0.6;
        let loudness = |samples: &mut dyn Iterator<Item = f32>| samples.map(|s| s * s).sum::<f32>();
        let arriving = loudness(&mut successor[..window].iter().map(|&s| f32::from(s)));
        let leaving = loudness(&mut (0..window).map(|n| self.at(self.done + count + n)));
        let ratio = (arriving / leaving.max(1.0)).sqrt().clamp(0.1, if known { 1.6 } else { 1.0 });
        let speed = if known { (count as f32 + shift as f32) / count.max(1) as f32 } else { 1.0 };
        let smooth = self.micros(2_000).max(1);
        let start = self.done;
        for n in 0..count {
            let share = n as f32 / count.max(1) as f32;
            let healing = self.step * (1.0 - (start + n) as f32 / smooth as f32).max(0.0);
            let value = self.between(start as f32 + n as f32 * speed) * (1.0 + (ratio - 1.0) * share);
            line.push((value + healing).clamp(-32_768.0, 32_767.0) as i16);
        }
        // What `meet` fades from continues at the bent place.
        self.done = start.saturating_add_signed((count as i64 + if known { shift } else { 0 }) as isize);
        if ratio < 1.0 || known {
            self.period.iter_mut().for_each(|sample| *sample *= ratio);
        }
    }

    /// The samples that concealment would go on with.
    pub(crate) fn ahead(&self, count: usize) -> impl Iterator<Item = i16> + '_ {
        (0..count).map(|n| self.at(self.done + n) as i16)
    }

    /// Fades from the repetition into the first samples of the sound that has come, and ends.
    pub(crate) fn meet(&mut self, fresh: &mut [i16]) {
        if !self.is_active() {
            return;
        }
        let overlap = self.micros(2_000 + 2_000 * (self.done / self.micros(10_000).max(1)).min(3));
        let overlap = overlap.min(fresh.len());
        let tail: Vec<i16> = self.ahead(overlap).collect();
        fade_into(&tail, &mut fresh[..overlap]);
        self.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(rate: u32, from: usize, count: usize) -> Vec<i16> {
        (from..from + count)
            .map(|n| {
                let t = std::f32::consts::TAU * 125.0 * n as f32 / rate as f32;
                (5000.0 * (t.sin() + 0.5 * (2.0 * t + 1.0).sin() + 0.2 * (7.0 * t).sin())) as i16
            })
            .collect()
    }

    fn ratio(wanted: &[i16], got: &[i16]) -> f32 {
        let power: f32 = wanted.iter().map(|&s| f32::from(s).powi(2)).sum();
        let noise: f32 = wanted.iter().zip(got).map(|(&a, &b)| (f32::from(a) - f32::from(b)).powi(2)).sum();
        10.0 * (power / noise.max(1.0)).log10()
    }

    #[test]
    fn a_steady_voice_goes_on_through_the_gap() {
        for rate in [8000u32, 16_000] {
            let frame = rate as usize / 50;
            let mut line = voice(rate, 0, frame * 3);
            let mut concealer = Concealer::new(rate);
            concealer.conceal(&mut line, frame);
            let wanted = voice(rate, frame * 3, frame);
            assert!(ratio(&wanted, &line[frame * 3..]) > 15.0);
            let mut next = voice(rate, frame * 4, frame);
            let clean = next.clone();
            concealer.meet(&mut next);
            assert!(ratio(&clean, &next) > 15.0);
            assert!(!concealer.is_active());
        }
    }

    #[test]
    fn a_known_successor_bends_the_gap_towards_itself() {
        let frame = 160;
        // The pitch glides, so that plain repetition runs out of phase.
        let glide = |n: usize| {
            let t = n as f32 / 8000.0;
            let phase = std::f32::consts::TAU * (110.0 * t + 120.0 * t * t);
            (5000.0 * (phase.sin() + 0.4 * (2.0 * phase).sin())) as i16
        };
        let sound: Vec<i16> = (0..frame * 6).map(glide).collect();
        let (mut plain, mut bent) = (sound[..frame * 4].to_vec(), sound[..frame * 4].to_vec());
        let successor = &sound[frame * 5..];
        Concealer::new(8000).conceal(&mut plain, frame);
        Concealer::new(8000).bridge(&mut bent, frame, successor);
        let gap = &sound[frame * 4..frame * 5];
        let (plain, bent) = (ratio(gap, &plain[frame * 4..]), ratio(gap, &bent[frame * 4..]));
        assert!(bent > plain + 2.0, "bent {bent} dB, plain {plain} dB");
    }

    #[test]
    fn a_long_loss_fades_to_silence() {
        let mut line = voice(8000, 0, 480);
        let mut concealer = Concealer::new(8000);
        concealer.conceal(&mut line, 1600);
        assert!(line[480 + 900..].iter().all(|&sample| sample == 0));
    }

    #[test]
    fn nothing_heard_yet_is_silence() {
        let mut line = Vec::new();
        let mut concealer = Concealer::new(8000);
        concealer.conceal(&mut line, 160);
        assert_eq!(line, [0; 160]);
        concealer.reset();
        concealer.bridge(&mut line, 160, &[]);
        assert_eq!(line.len(), 320);
    }
}
