//! Sample-rate conversion: a polyphase filter with a windowed-sinc prototype.
//!
//! The ratio is reduced to out/in = L/M; the table holds L phases of the low-pass at the lower of the two rates' band
//! edges. Group delay is half the filter, about 0.6-1.5 ms; memory is L x taps floats (48 kHz from 8 kHz: 6 x 24).

use std::f32::consts::PI;

/// Zero crossings of the sinc on each side, at the lower of the two rates.
const HALF_WIDTH: usize = 12;

/// Converts a stream of samples from one rate to another.
#[derive(Clone, Debug)]
pub struct Resampler {
    up: usize,
    down: usize,
    taps: usize,
    phases: Vec<f32>,
    /// Samples not yet used up: the filter's memory and the newest input.
    line: Vec<f32>,
    phase: usize,
}

impl Resampler {
    /// A converter between two rates in hertz; equal rates copy.
    pub fn new(from: u32, to: u32) -> Resampler {
        let (from, to) = (from.max(1), to.max(1));
        let divisor = greatest_common_divisor(from, to);
        let (up, down) = ((to / divisor) as usize, (from / divisor) as usize);
        if up == down {
            return Resampler { up: 1, down: 1, taps: 0, phases: Vec::new(), line: Vec::new(), phase: 0 };
        }
        // The band edge relative to the input rate, a little below the lower Nyquist frequency.
        let edge = 0.94 * f64::from(to.min(from)) / f64::from(from);
        let taps = ((2 * HALF_WIDTH) as f64 / edge.min(1.0)).ceil() as usize;
        let mut phases = Vec::with_capacity(up * taps);
        let centre = taps as f32 / 2.0;
        for phase in 0..up {
            let offset = phase as f32 / up as f32;
            let start = phases.len();
            for tap in 0..taps {
                // `tap` counts from the oldest sample; position zero is the output's instant.
                let distance = tap as f32 + 1.0 - centre - offset;
                let x = distance * edge as f32;
                let sinc = if x.abs() < 1e-6 { 1.0 } else { (PI * x).sin() / (PI * x) };
                let w = (distance / centre).clamp(-1.0, 1.0);
                // Blackman window.
                let window = 0.42 + 0.5 * (PI * w).cos() + 0.08 * (2.0 * PI * w).cos();
                phases.push(sinc * window);
            }
            let sum: f32 = phases[start..].iter().sum();
            phases[start..].iter_mut().for_each(|tap| *tap /= sum);
        }
        Resampler { up, down, taps, phases, line: vec![0.0; taps - 1], phase: 0 }
    }

    /// Appends the converted samples to `out`.
    pub fn process(&mut self, input: &[i16], out: &mut Vec<i16>) {
        if self.taps == 0 {
            out.extend_from_slice(input);
            return;
        }
        self.line.extend(input.iter().map(|&sample| f32::from(sample)));
        let mut start = 0;
        while start + self.taps <= self.line.len() {
            let window = &self.line[start..start + self.taps];
            let filter = &self.phases[self.phase * self.taps..(self.phase + 1) * self.taps];
            let sum = dot(window, filter);
            out.push((sum + 0.5f32.copysign(sum)).clamp(-32_768.0, 32_767.0) as i16);
            self.phase += self.down;
            start += self.phase / self.up;
            self.phase %= self.up;
        }
        // When going down, the next output may lie beyond the newest sample: never the case by more than one step,
        // because a step is shorter than the filter.
        self.line.drain(..start.min(self.line.len()));
    }

    /// How many output samples `input` new samples will give at most.
    pub fn output_for(&self, input: usize) -> usize {
        input * self.up / self.down + 1
    }

    /// How many input samples are needed for `output` more samples, at least.
    pub fn input_for(&self, output: usize) -> usize {
        if self.taps == 0 {
            return output;
        }
        if output == 0 {
            return 0;
        }
        let last = (self.phase + (output - 1) * self.down) / self.up + self.taps;
        last.saturating_sub(self.line.len())
    }

    /// Delay of the filter, in seconds of sound at the input's rate `from`.
    pub fn delay_seconds(&self, from: u32) -> f32 {
        self.taps as f32 / 2.0 / from.max(1) as f32
    }
}

/// Eight sums side by side, which the compiler can keep in one vector register.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (left, right) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in left.zip(right) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f32, rate: u32, samples: usize) -> Vec<i16> {
        (0..samples)
            .map(|n| (8000.0 * (std::f32::consts::TAU * hertz * n as f32 / rate as f32).sin()) as i16)
            .collect()
    }

    /// The share of a signal's power that a sine of `hertz` does not explain, in decibels.
    fn residue(signal: &[i16], hertz: f32, rate: u32) -> (f32, f32) {
        let (mut s, mut c, mut power) = (0.0f64, 0.0f64, 0.0f64);
        for (n, &sample) in signal.iter().enumerate() {
            let angle = std::f64::consts::TAU * f64::from(hertz) * n as f64 / f64::from(rate);
            s += angle.sin() * f64::from(sample);
            c += angle.cos() * f64::from(sample);
            power += f64::from(sample).powi(2);
        }
        let explained = 2.0 * (s * s + c * c) / signal.len() as f64;
        let level = 10.0 * (power / signal.len() as f64).log10();
        (10.0 * ((power - explained).max(1.0) / power).log10() as f32, level as f32)
    }

    #[test]
    fn a_tone_stays_a_tone_at_every_pair_of_rates() {
        for (from, to) in
            [(8000, 48_000), (48_000, 8000), (16_000, 44_100), (44_100, 16_000), (16_000, 48_000)]
        {
            let mut resampler = Resampler::new(from, to);
            let input = tone(1000.0, from, from as usize);
            let mut output = Vec::new();
            for block in input.chunks(from as usize / 100) {
                resampler.process(block, &mut output);
            }
            let wanted = to as usize;
            assert!(output.len().abs_diff(wanted) <= to as usize / 400, "{from}->{to}: {}", output.len());
            let steady = &output[to as usize / 10..to as usize / 10 * 9];
            let (noise, level) = residue(steady, 1000.0, to);
            assert!(noise < -50.0, "{from}->{to}: noise {noise} dB");
            assert!((level - 75.05).abs() < 0.2, "{from}->{to}: level {level}");
        }
    }

    #[test]
    fn what_lies_above_the_lower_band_is_removed() {
        let mut resampler = Resampler::new(48_000, 8000);
        let mut output = Vec::new();
        resampler.process(&tone(5200.0, 48_000, 48_000), &mut output);
        let peak = output[400..].iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!(peak < 40, "alias of {peak}");
    }

    #[test]
    fn input_for_asks_for_exactly_enough() {
        for (from, to) in [(8000, 48_000), (48_000, 8000), (16_000, 44_100), (48_000, 48_000)] {
            let mut resampler = Resampler::new(from, to);
            let mut output = Vec::new();
            for count in [1usize, 7, 441, 480, 160, 960] {
                let need = resampler.input_for(count);
                output.clear();
                resampler.process(&vec![100; need], &mut output);
                assert!(output.len() >= count, "{from}->{to}: {need} gave {} of {count}", output.len());
                assert!(output.len() < count + 7, "{from}->{to}: {} for {count}", output.len());
            }
        }
    }
}
