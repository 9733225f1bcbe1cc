//! Comfort noise: RFC 3389, payload type 13.
//!
//! The payload's first byte is the noise level in -dBov (0..=127); reflection coefficients may follow, one byte each.
//! We send the level and no spectrum, and play the coefficients of peers that send them through a lattice filter.

/// The most coefficients that are honoured; more is a spectrum finer than a telephone needs.
const MAX_ORDER: usize = 12;

/// Background noise as RFC 3389 describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ComfortNoise {
    /// The level in decibels below overload, 0..=127.
    pub level: u8,
    /// Reflection coefficients, -1 exclusive to 1 exclusive.
    pub reflections: Vec<f32>,
}

impl ComfortNoise {
    /// White noise of a level.
    pub fn white(level: u8) -> ComfortNoise {
        ComfortNoise { level: level.min(127), reflections: Vec::new() }
    }

    /// Reads a payload (RFC 3389 §3); an empty one is silence.
    pub fn parse(payload: &[u8]) -> ComfortNoise {
        let level = payload.first().map_or(127, |byte| byte & 0x7f);
        let reflections = payload
            .iter()
            .skip(1)
            .take(MAX_ORDER)
            .map(|&byte| (f32::from(byte) - 127.0) / 128.0)
            .map(|value| value.clamp(-0.98, 0.98))
            .collect();
        ComfortNoise { level, reflections }
    }

    /// The payload that describes this noise.
    pub fn payload(&self) -> Vec<u8> {
        let quantised = self.reflections.iter().map(|value| (value * 128.0 + 127.0).clamp(0.0, 254.0) as u8);
        std::iter::once(self.level & 0x7f).chain(quantised).collect()
    }
}

/// Plays noise that changes smoothly from one description to the next.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u32,
    amplitude: f32,
    target: f32,
    reflections: [f32; MAX_ORDER],
    order: usize,
    state: [f32; MAX_ORDER + 1],
}

impl Generator {
    /// A generator that is silent until it is told a level; `seed` makes it repeatable.
    pub fn new(seed: u32) -> Generator {
        Generator {
            seed: seed | 1,
            amplitude: 0.0,
            target: 0.0,
            reflections: [0.0; MAX_ORDER],
            order: 0,
            state: [0.0; MAX_ORDER + 1],
        }
    }

    /// Follows a new description.
    pub fn set(&mut self, noise: &ComfortNoise) {
        self.order = noise.reflections.len().min(MAX_ORDER);
        let mut gain = 1.0;
        for (own, &new) in self.reflections.iter_mut().zip(&noise.reflections) {
            *own = new;
            gain *= 1.0 - new * new;
        }
        // dBov: 0 is a full-scale square wave. Uniform noise of amplitude a has the power a²/3; the lattice
        // amplifies by the inverse of the prediction gain.
        let rms = 32_768.0 * 10f32.powf(-f32::from(noise.level) / 20.0);
        self.target = if noise.level >= 127 { 0.0 } else { rms * 3f32.sqrt() * gain.sqrt() };
    }

    /// Appends `count` samples.
    pub fn play(&mut self, count: usize, out: &mut Vec<i16>) {
        for _ in 0..count {
            self.amplitude += (self.target - self.amplitude) * 0.005;
            // xorshift32: cheap, and white enough to sound like noise.
            self.seed ^= self.seed << 13;
            self.seed ^= self.seed >> 17;
            self.seed ^= self.seed << 5;
            let white = self.seed as i32 as f32 / 2_147_483_648.0;
            let mut forward = white * self.amplitude;
            for stage in (0..self.order).rev() {
                forward -= self.reflections[stage] * self.state[stage];
                self.state[stage + 1] = self.state[stage] + self.reflections[stage] * forward;
            }
            self.state[0] = forward;
            out.push(forward.clamp(-32_768.0, 32_767.0) as i16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::decibels_below_overload;

    #[test]
    fn the_level_of_a_payload_is_the_level_that_is_heard() {
        for level in [30, 45, 60] {
            let mut generator = Generator::new(9);
            generator.set(&ComfortNoise::white(level));
            let mut heard = Vec::new();
            generator.play(16_000, &mut heard);
            let got = decibels_below_overload(&heard[4000..]);
            assert!((got - f32::from(level)).abs() < 1.0, "asked -{level} dBov, got -{got}");
        }
    }

    #[test]
    fn a_spectrum_keeps_the_level_and_stays_stable() {
        let noise = ComfortNoise::parse(&[40, 0, 255, 200, 30, 127]);
        assert_eq!(noise.reflections.len(), 5);
        let mut generator = Generator::new(3);
        generator.set(&noise);
        let mut heard = Vec::new();
        generator.play(32_000, &mut heard);
        let got = decibels_below_overload(&heard[8000..]);
        assert!((got - 40.0).abs() < 4.0, "got -{got}");
    }

    #[test]
    fn payloads_survive_and_hostile_ones_are_bounded() {
        assert_eq!(ComfortNoise::parse(&ComfortNoise::white(61).payload()), ComfortNoise::white(61));
        assert_eq!(ComfortNoise::parse(&[]).level, 127);
        assert_eq!(ComfortNoise::parse(&[0xff; 1400]).reflections.len(), MAX_ORDER);
    }
}
