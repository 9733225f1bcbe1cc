//! Voice activity: is anybody speaking in this frame?
//!
//! A frame's level is compared with a noise floor that follows quiet frames down at once and loud ones up slowly; a
//! hangover keeps the ends of words. Errs towards speech: a cut word costs more than a few bytes of noise.

use crate::level::decibels_below_overload;

/// A frame this many decibels above the floor is speech.
const MARGIN: f32 = 9.0;
/// How long after the last loud frame speech is assumed, in milliseconds.
const HANGOVER: u32 = 240;
/// Quieter than this (in -dBov) is never speech.
const QUIET: f32 = 65.0;

/// The detector of one direction.
#[derive(Clone, Debug)]
pub struct Activity {
    /// The noise floor in -dBov: a larger number is quieter.
    floor: f32,
    /// Milliseconds of assumed speech left.
    left: u32,
}

impl Default for Activity {
    fn default() -> Activity {
        Activity { floor: 50.0, left: HANGOVER }
    }
}

impl Activity {
    /// Whether a frame of `millis` milliseconds is speech, or close after it.
    pub fn observe(&mut self, frame: &[i16], millis: u32) -> bool {
        let level = decibels_below_overload(frame);
        let rise = 0.002 * millis as f32;
        self.floor =
            if level > self.floor { level } else { (self.floor - rise).max(level) }.clamp(25.0, 90.0);
        if level < QUIET && level < self.floor - MARGIN {
            self.left = HANGOVER;
        } else {
            self.left = self.left.saturating_sub(millis);
        }
        self.left > 0
    }

    /// The background noise in -dBov.
    pub fn noise_floor(&self) -> u8 {
        self.floor as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(amplitude: i32, seed: u32) -> Vec<i16> {
        (0..160u32)
            .map(|n| {
                let hash = (n + seed * 160).wrapping_mul(2_654_435_761) >> 8;
                ((hash as i32 % 2048) * amplitude / 1024 - amplitude) as i16
            })
            .collect()
    }

    #[test]
    fn speech_over_noise_is_found_and_its_end_kept() {
        let mut activity = Activity::default();
        let quiet = (0..50).filter(|&n| activity.observe(&noise(60, n), 20)).count();
        assert!(quiet <= 13, "{quiet} frames of noise taken for speech");
        assert!((0..20).all(|n| activity.observe(&noise(4000, n), 20)));
        let tail = (0..50).take_while(|&n| activity.observe(&noise(60, n), 20)).count();
        assert_eq!(tail, 11);
        assert!((50..=62).contains(&activity.noise_floor()), "{}", activity.noise_floor());
    }
}
