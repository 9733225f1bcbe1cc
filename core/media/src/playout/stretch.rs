//! Time stretching: one pitch period less, or one more, without a change of pitch (overlap-add at the best lag).

use super::pitch::{best_lag, fade_into};

/// Voices between 67 and 400 Hz.
const SHORTEST_MICROS: usize = 2_500;
const LONGEST_MICROS: usize = 15_000;
/// Below this likeness a cut would be heard.
const ALIKE: f32 = 0.80;
/// When time presses, this much is enough.
const ALIKE_IN_HASTE: f32 = 0.4;

fn samples(micros: usize, rate: u32) -> usize {
    rate as usize * micros / 1_000_000
}

/// Takes one period out of `line[start..]` and returns how many samples that were (zero: nothing was alike enough, or
/// the sound is too short). `start` is the first sample that has not been played; at most `most` samples go.
pub(crate) fn accelerate(line: &mut Vec<i16>, start: usize, most: usize, rate: u32, haste: bool) -> usize {
    let overlap = samples(5_000, rate);
    let shortest = samples(SHORTEST_MICROS, rate);
    let longest = samples(LONGEST_MICROS, rate).min(most);
    let Some(room) = line.len().checked_sub(start + overlap) else { return 0 };
    let longest = longest.min(room);
    if shortest > longest {
        return 0;
    }
    // Compare what would be kept (the end) with what it would follow (the beginning).
    let at = line.len() - overlap;
    let least = if haste { ALIKE_IN_HASTE } else { ALIKE };
    let Some(lag) = best_lag(line, at, overlap, shortest..=longest, rate).filter(|lag| lag.likeness >= least)
    else {
        return 0;
    };
    let lag = lag.samples;
    let (head, tail) = line.split_at_mut(at);
    let before = head[at - lag..].iter().chain(tail.iter()).copied().take(overlap).collect::<Vec<i16>>();
    fade_into(&before, tail);
    line.drain(at - lag..at);
    lag
}

/// Puts one period more into `line[start..]` and returns how many samples that were. The sound before `start` has been
/// played and serves as the example.
pub(crate) fn expand(line: &mut Vec<i16>, start: usize, most: usize, rate: u32, haste: bool) -> usize {
    let overlap = samples(5_000, rate);
    let (shortest, longest) = (samples(SHORTEST_MICROS, rate), samples(LONGEST_MICROS, rate).min(most));
    let Some(at) = line.len().checked_sub(overlap).filter(|&at| at >= start) else { return 0 };
    // Several short periods at once when much is wanted.
    let shortest = shortest.max(longest / 2);
    let Some(lag) = best_lag(line, at, overlap, shortest..=longest.max(shortest), rate) else { return 0 };
    if lag.likeness < if haste { ALIKE_IN_HASTE } else { ALIKE } {
        return 0;
    }
    // From `at`, fade back to one period earlier, and play that period and the end again.
    let lag = lag.samples;
    let mut repeated = line[at - lag..].to_vec();
    fade_into(&line[at..], &mut repeated[..overlap]);
    line.truncate(at);
    line.extend_from_slice(&repeated);
    lag
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(rate: u32, count: usize) -> Vec<i16> {
        (0..count)
            .map(|n| {
                let t = std::f32::consts::TAU * 130.0 * n as f32 / rate as f32;
                (5000.0 * (t.sin() + 0.5 * (2.0 * t).sin())) as i16
            })
            .collect()
    }

    /// The largest step between neighbours: a click would show.
    fn roughest(signal: &[i16]) -> u16 {
        signal.windows(2).map(|pair| pair[0].abs_diff(pair[1])).max().unwrap()
    }

    #[test]
    fn a_period_goes_or_comes_without_a_click() {
        for rate in [8000, 16_000, 48_000] {
            let original = voice(rate, rate as usize * 60 / 1000);
            let start = rate as usize / 50;
            let period = rate as usize / 130;
            let mut shorter = original.clone();
            let gone = accelerate(&mut shorter, start, usize::MAX, rate, false);
            assert!(
                gone.abs_diff(period) <= rate as usize / 2000
                    || gone.abs_diff(2 * period) <= rate as usize / 2000
            );
            assert_eq!(shorter.len(), original.len() - gone);
            let mut longer = original.clone();
            let more = expand(&mut longer, start, usize::MAX, rate, false);
            assert!(more > 0);
            assert_eq!(longer.len(), original.len() + more);
            for stretched in [&shorter, &longer] {
                assert!(roughest(stretched) <= roughest(&original) + roughest(&original) / 2 + 8);
                assert_eq!(stretched[..start], original[..start]);
            }
        }
    }

    #[test]
    fn what_is_not_alike_is_left_alone() {
        let mut noise: Vec<i16> =
            (0..480u32).map(|n| ((n.wrapping_mul(2_654_435_761) >> 9) % 8000) as i16 - 4000).collect();
        assert_eq!(accelerate(&mut noise, 0, usize::MAX, 8000, false), 0);
        assert_eq!(expand(&mut noise, 200, usize::MAX, 8000, false), 0);
        assert_eq!(accelerate(&mut vec![0; 10], 0, usize::MAX, 8000, true), 0);
        assert_eq!(expand(&mut vec![0; 10], 0, usize::MAX, 8000, true), 0);
    }
}
