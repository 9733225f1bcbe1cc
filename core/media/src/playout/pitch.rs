//! Where does a waveform repeat itself? The search that stretching and concealment share.
//!
//! The search runs coarsely on a signal thinned to about 4 kHz and then finely around the best coarse lag, so that its
//! cost does not grow with the square of the sampling rate.

/// A lag and how alike the signal is to itself at that distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Lag {
    /// In samples.
    pub(crate) samples: usize,
    /// Normalised correlation, -1 to 1; 1 for silence.
    pub(crate) likeness: f32,
}

/// Normalised correlation of two equally long blocks; silence is like silence.
pub(crate) fn likeness(a: &[i16], b: &[i16], step: usize) -> f32 {
    let (mut cross, mut left, mut right) = (0.0f32, 1.0f32, 1.0f32);
    for (&a, &b) in a.iter().step_by(step).zip(b.iter().step_by(step)) {
        let (a, b) = (f32::from(a), f32::from(b));
        cross += a * b;
        left += a * a;
        right += b * b;
    }
    let quiet = 40.0 * 40.0 * (a.len() / step.max(1)) as f32;
    if left < quiet && right < quiet {
        return 1.0;
    }
    cross / (left * right).sqrt()
}

/// The best lag in `lags` at which `signal[at - lag..]` resembles `signal[at..]` over `window` samples.
///
/// `at + window` and `at - lag` must lie within the signal; lags that do not are passed over.
pub(crate) fn best_lag(
    signal: &[i16],
    at: usize,
    window: usize,
    lags: std::ops::RangeInclusive<usize>,
    rate: u32,
) -> Option<Lag> {
    let (shortest, longest) = (*lags.start(), (*lags.end()).min(at));
    if at + window > signal.len() || shortest > longest || window == 0 {
        return None;
    }
    let template = &signal[at..at + window];
    let coarse = (rate as usize / 4000).max(1);
    let score = |lag: usize, step: usize| likeness(template, &signal[at - lag..at - lag + window], step);
    let mut best = Lag { samples: shortest, likeness: f32::MIN };
    for lag in (shortest..=longest).step_by(coarse) {
        let likeness = score(lag, coarse);
        if likeness > best.likeness {
            best = Lag { samples: lag, likeness };
        }
    }
    let (low, high) =
        ((best.samples.saturating_sub(coarse)).max(shortest), (best.samples + coarse).min(longest));
    let fine = (rate as usize / 16_000).max(1);
    let mut exact = Lag { samples: best.samples, likeness: score(best.samples, fine) };
    for lag in low..=high {
        let likeness = score(lag, fine);
        if likeness > exact.likeness {
            exact = Lag { samples: lag, likeness };
        }
    }
    Some(exact)
}

/// Mixes from `from` to `to` over their length, into `to`.
pub(crate) fn fade_into(from: &[i16], to: &mut [i16]) {
    let length = to.len().min(from.len());
    for (n, (old, new)) in from.iter().zip(to.iter_mut()).enumerate() {
        let share = (n + 1) as f32 / (length + 1) as f32;
        *new = (f32::from(*old) * (1.0 - share) + f32::from(*new) * share) as i16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_of_a_voice_is_found_at_every_rate() {
        for rate in [8000u32, 16_000, 48_000] {
            for hertz in [90.0, 155.0, 240.0] {
                let signal: Vec<i16> = (0..rate as usize / 10)
                    .map(|n| {
                        let t = std::f32::consts::TAU * hertz * n as f32 / rate as f32;
                        (4000.0 * (t.sin() + 0.6 * (2.0 * t + 0.4).sin() + 0.4 * (3.0 * t).sin())) as i16
                    })
                    .collect();
                let window = rate as usize / 50;
                let (low, high) = (rate as usize / 400, rate as usize * 15 / 1000);
                let lag = best_lag(&signal, signal.len() - window, window, low..=high, rate).unwrap();
                let period = rate as f32 / hertz;
                let off = lag.samples as f32 / period;
                assert!((off - off.round()).abs() < 0.03 && off > 0.9, "{rate} {hertz}: {lag:?}");
                assert!(lag.likeness > 0.95);
            }
        }
    }

    #[test]
    fn searches_outside_the_signal_find_nothing() {
        assert_eq!(best_lag(&[1; 100], 90, 20, 10..=50, 8000), None);
        assert_eq!(best_lag(&[1; 100], 5, 20, 10..=50, 8000), None);
        assert_eq!(likeness(&[0; 80], &[3; 80], 1), 1.0);
    }
}
