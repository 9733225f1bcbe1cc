//! Is what was heard what was said? Delay, level and similarity of a recording against its original.

use serde::Serialize;

/// The outcome of one comparison.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub(crate) struct AudioCheck {
    /// How much later the original stands in the recording, in milliseconds; the median of its stretches.
    pub(crate) delay_ms: f64,
    /// The recording's level against the original's, in decibels.
    pub(crate) level_db: f64,
    /// Normalised correlation, the mean over all stretches that are not silent: 1 is the same sound, 0 has nothing to do
    /// with it.
    pub(crate) similarity: f64,
}

/// Steps per second of the first, coarse search.
const COARSE_RATE: u32 = 2_000;
/// Speech is compared below this rate's half: codecs keep the waveform there, and change it above.
const FINE_RATE: u32 = 8_000;
/// Stretches that are compared by themselves: a few syllables.
const WINDOW_MS: u32 = 400;
/// How far a stretch may be from where the whole is.
const REACH_MS: u32 = 80;

/// Compares `heard` with `said`, both mono at `rate`; `None` when either is too short or silent.
///
/// The delay is sought between `earliest_ms` and `latest_ms` after the start of `heard`.
pub(crate) fn compare(
    said: &[i16],
    heard: &[i16],
    rate: u32,
    earliest_ms: u32,
    latest_ms: u32,
) -> Option<AudioCheck> {
    let (coarse_said, coarse_heard) = (decimate(said, rate, COARSE_RATE), decimate(heard, rate, COARSE_RATE));
    let from = (earliest_ms * COARSE_RATE / 1000) as usize;
    let until = (latest_ms * COARSE_RATE / 1000) as usize;
    let (coarse, _) = best_lag(&coarse_said, &coarse_heard, from, until)?;
    let (fine_said, fine_heard) = (decimate(said, rate, FINE_RATE), decimate(heard, rate, FINE_RATE));
    let near = coarse * (FINE_RATE / COARSE_RATE) as usize;
    let windows = windows(&fine_said, &fine_heard, near);
    let (mut lags, mut alike): (Vec<usize>, Vec<f64>) = (Vec::new(), Vec::new());
    let (mut original, mut copy) = (0.0, 0.0);
    for window in &windows {
        lags.push(window.lag);
        alike.push(window.similarity);
        original += window.original;
        copy += window.copy;
    }
    lags.sort_unstable();
    let lag = *lags.get(lags.len() / 2)?;
    Some(AudioCheck {
        delay_ms: lag as f64 * 1000.0 / f64::from(FINE_RATE),
        level_db: 10.0 * (copy / original).log10(),
        similarity: alike.iter().sum::<f64>() / alike.len() as f64,
    })
}

/// One stretch of the original and where it was heard.
struct Window {
    lag: usize,
    similarity: f64,
    original: f64,
    copy: f64,
}

/// Every stretch of the original that is not silent, sought around `near`. A receiver may play faster or slower for
/// moments to follow the network's delay: the lag of the whole is not that of each part.
fn windows(said: &[f32], heard: &[f32], near: usize) -> Vec<Window> {
    let length = (WINDOW_MS * FINE_RATE / 1000) as usize;
    let reach = (REACH_MS * FINE_RATE / 1000) as usize;
    let loud = energy(said) / 10.0;
    let mut windows = Vec::new();
    for (at, original) in
        said.chunks_exact(length).enumerate().filter(|(_, original)| energy(original) > loud)
    {
        let start = at * length;
        let first = (start + near).saturating_sub(reach);
        // Nothing of it was recorded any more.
        let Some(there) = heard.get(first..(start + near + reach + length).min(heard.len())) else { break };
        let Some(most) = there.len().checked_sub(length) else { break };
        let at = |lag: usize| (lag, correlation(original, &there[lag..lag + length]).unwrap_or(0.0));
        let Some((lag, similarity)) = (0..=most).map(at).max_by(|a, b| a.1.total_cmp(&b.1)) else { break };
        let copy = energy(&there[lag..lag + length]);
        let Some(lag) = (first + lag).checked_sub(start) else { continue };
        windows.push(Window { lag, similarity, original: energy(original), copy });
    }
    windows
}

/// The lag at which the correlation is highest.
fn best_lag(said: &[f32], heard: &[f32], from: usize, until: usize) -> Option<(usize, f64)> {
    let at = |lag: usize| {
        let overlap = said.len().min(heard.len().checked_sub(lag)?);
        Some((lag, correlation(&said[..overlap], &heard[lag..lag + overlap])?))
    };
    (from..=until).filter_map(at).max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Normalised correlation; `None` for silence or less than a quarter of a second.
fn correlation(a: &[f32], b: &[f32]) -> Option<f64> {
    if a.len() < (COARSE_RATE / 4) as usize {
        return None;
    }
    let product: f64 = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    let norm = (energy(a) * energy(b)).sqrt() * a.len() as f64;
    (norm > 0.0).then(|| product / norm)
}

/// Mean energy per sample.
fn energy(samples: &[f32]) -> f64 {
    samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / samples.len().max(1) as f64
}

/// Brings samples to a lower rate by the mean over each step's window: a crude low pass that treats both sides alike.
fn decimate(samples: &[i16], from: u32, to: u32) -> Vec<f32> {
    let step = f64::from(from) / f64::from(to);
    let count = (samples.len() as f64 / step) as usize;
    let mean = |index: usize| {
        let start = (index as f64 * step) as usize;
        let end = (((index + 1) as f64 * step) as usize).clamp(start + 1, samples.len());
        samples[start..end].iter().map(|&sample| f32::from(sample)).sum::<f32>() / (end - start) as f32
    };
    (0..count).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Something like speech: a buzz whose loudness and pitch wander.
    fn buzz(seconds: usize, rate: usize) -> Vec<i16> {
        let mut phase = 0.0_f32;
        let sample = |n: usize| {
            let t = n as f32 / rate as f32;
            phase += (140.0 + 40.0 * (t * 2.3).sin()) / rate as f32;
            let loud = (t * 3.1).sin().abs() * (t * 0.7).cos().abs();
            (((phase * std::f32::consts::TAU).sin() + 0.4 * (phase * 3.0 * std::f32::consts::TAU).sin())
                * loud
                * 9000.0) as i16
        };
        (0..seconds * rate).map(sample).collect()
    }

    #[test]
    fn a_delayed_quieter_copy_is_found() {
        let said = buzz(4, 16_000);
        let mut heard = vec![0; 1600];
        heard.extend(said.iter().map(|&sample| sample / 2));
        let check = compare(&said, &heard, 16_000, 0, 1000).unwrap();
        assert!((check.delay_ms - 100.0).abs() < 0.5, "{check:?}");
        assert!((check.level_db + 6.0).abs() < 0.2, "{check:?}");
        assert!(check.similarity > 0.99, "{check:?}");
    }

    #[test]
    fn another_sound_is_not_similar_and_silence_is_nothing() {
        let said = buzz(4, 16_000);
        let tone: Vec<i16> = (0..64_000).map(|n| ((n as f32 * 0.9).sin() * 9000.0) as i16).collect();
        assert!(compare(&said, &tone, 16_000, 0, 500).unwrap().similarity < 0.3);
        assert_eq!(compare(&said, &[0; 64_000], 16_000, 0, 500), None);
        assert_eq!(compare(&said, &[1; 10], 16_000, 0, 500), None);
    }

    /// Noise with the loudness of speech: the hardest stranger that chance can bring.
    fn noise(like: &[i16]) -> Vec<i16> {
        let mut state = 1_u32;
        let mut draw = |loud: i16| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 16) as i16 as i32 * i32::from(loud.unsigned_abs()) / 9000) as i16
        };
        like.iter().map(|&sample| draw(sample)).collect()
    }

    #[test]
    fn noise_is_not_similar_wherever_it_is_sought() {
        let said = buzz(4, 16_000);
        let check = compare(&said, &noise(&said), 16_000, 0, 500).unwrap();
        assert!(check.similarity < 0.2, "{check:?}");
        let mixed: Vec<i16> =
            said.iter().zip(noise(&said)).map(|(&a, b)| (a / 2).saturating_add(b)).collect();
        let check = compare(&said, &mixed, 16_000, 0, 500).unwrap();
        assert!((0.2..0.9).contains(&check.similarity), "{check:?}");
    }

    #[test]
    fn dropped_packets_cost_their_share() {
        let said = buzz(4, 16_000);
        let dropped = |percent: usize| {
            let mut heard = vec![0; 800];
            heard.extend(&said);
            for (number, packet) in heard.chunks_mut(320).enumerate() {
                if number * 37 % 100 < percent {
                    packet.fill(0);
                }
            }
            compare(&said, &heard, 16_000, 0, 200).unwrap()
        };
        let (few, many) = (dropped(3), dropped(30));
        assert!(few.similarity > 0.95, "{few:?}");
        // What is left of the energy, as an amplitude: √0.7.
        assert!((0.7..0.9).contains(&many.similarity), "{many:?}");
        assert!((many.delay_ms - 50.0).abs() < 1.0, "{many:?}");
    }

    #[test]
    fn a_lag_that_moves_is_followed_and_a_jump_beyond_the_reach_is_not() {
        let said = buzz(6, 16_000);
        let moved = |samples: usize| {
            let (first, second) = said.split_at(48_000);
            let heard: Vec<i16> =
                first.iter().copied().chain(vec![0; samples]).chain(second.iter().copied()).collect();
            compare(&said, &heard, 16_000, 0, 1000).unwrap().similarity
        };
        // 40 ms more delay from the middle on, as a jitter buffer may have it: one lag for the whole would see half.
        assert!(moved(640) > 0.9, "{}", moved(640));
        assert!(moved(6400) < 0.8, "{}", moved(6400));
    }
}
