//! Loudness: a meter, a gain and a fade.

/// How far the mean power of `samples` lies below overload, in decibels (0 is a full-scale square wave), at most 127.
pub fn decibels_below_overload(samples: &[i16]) -> f32 {
    if samples.is_empty() {
        return 127.0;
    }
    let power: f32 = samples.iter().map(|&sample| f32::from(sample).powi(2)).sum();
    let mean = power / samples.len() as f32 / (32_768.0 * 32_768.0);
    (-10.0 * mean.max(1e-13).log10()).clamp(0.0, 127.0)
}

/// The level of what was seen lately, with a quick rise and a slow fall.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Meter {
    power: f32,
}

impl Meter {
    /// Takes a block of samples in.
    pub fn observe(&mut self, samples: &[i16]) {
        if samples.is_empty() {
            return;
        }
        let sum: i64 = samples.iter().map(|&sample| i64::from(sample) * i64::from(sample)).sum();
        let mean = sum as f32 / samples.len() as f32;
        let weight = if mean > self.power { 0.5 } else { 0.1 };
        self.power += (mean - self.power) * weight;
    }

    /// The level in -dBov, 0 (loudest) to 127 (silent).
    pub fn level(&self) -> u8 {
        let mean = self.power / (32_768.0 * 32_768.0);
        (-10.0 * mean.max(1e-13).log10()).clamp(0.0, 127.0) as u8
    }
}

/// A factor that follows its setting without a click, in steps of one 1/64 of the way per sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    now: f32,
    wanted: f32,
}

impl Gain {
    /// Starts at `now` and moves to `wanted`: `Gain::new(0.0, 1.0)` fades in.
    pub fn new(now: f32, wanted: f32) -> Gain {
        Gain { now, wanted }
    }

    /// A new factor, 0 (mute) to 8.
    pub fn set(&mut self, wanted: f32) {
        self.wanted = if wanted.is_finite() { wanted.clamp(0.0, 8.0) } else { 1.0 };
    }

    /// The factor that is being moved to.
    pub fn wanted(&self) -> f32 {
        self.wanted
    }

    /// Applies the factor; a factor of one costs nothing.
    pub fn apply(&mut self, samples: &mut [i16]) {
        let mut rest = samples;
        while (self.now - self.wanted).abs() > 1e-3 {
            let Some((sample, tail)) = rest.split_first_mut() else { return };
            self.now += (self.wanted - self.now) / 64.0;
            *sample = (f32::from(*sample) * self.now) as i16;
            rest = tail;
        }
        self.now = self.wanted;
        if (self.now - 1.0).abs() > f32::EPSILON {
            for sample in rest {
                *sample = (f32::from(*sample) * self.now) as i16;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_wave_at_full_scale_is_overload() {
        assert!(decibels_below_overload(&[32_767, -32_768].repeat(100)) < 0.1);
        assert_eq!(decibels_below_overload(&[]), 127.0);
        assert!((decibels_below_overload(&[3277; 100]) - 20.0).abs() < 0.1);
    }

    #[test]
    fn the_meter_rises_quickly_and_falls_slowly() {
        let mut meter = Meter::default();
        assert_eq!(meter.level(), 127);
        meter.observe(&[3277; 160]);
        assert!(meter.level() <= 23);
        meter.observe(&[0; 160]);
        assert!(meter.level() <= 25);
    }

    #[test]
    fn gain_fades_in_then_leaves_the_sound_alone() {
        let mut gain = Gain::new(0.0, 1.0);
        let mut sound = [1000i16; 1000];
        gain.apply(&mut sound);
        assert!(sound[0] < 50 && sound[999] == 1000);
        gain.set(f32::NAN);
        assert_eq!(gain.wanted(), 1.0);
        gain.set(2.0);
        gain.apply(&mut sound);
        assert_eq!(sound[999], 2000);
    }
}
