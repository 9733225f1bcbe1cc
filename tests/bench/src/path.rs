//! A network path, played: which packets are lost and when the others arrive, from a seed.

use std::time::Duration;

use wakeline_entropy::Entropy;

/// What a path does to packets.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// The least and the greatest delay; each packet's is drawn evenly between them, so packets may overtake others.
    pub delay: (Duration, Duration),
    /// Packets of a hundred that are lost, each by itself.
    pub loss_percent: u32,
}

/// Nothing at all: what does not come through this unharmed was harmed by the phone, or by a busy machine.
pub const CLEAN: Path = Path { delay: (Duration::ZERO, Duration::ZERO), loss_percent: 0 };

/// 40 ms, 20 more or less.
pub const JITTER: Path =
    Path { delay: (Duration::from_millis(20), Duration::from_millis(60)), loss_percent: 0 };

/// The same with one packet of ten lost.
pub const LOSS: Path = Path { delay: JITTER.delay, loss_percent: 10 };

impl Path {
    /// When each of `count` packets of 20 ms arrives, counted from the sending of the first; `None` is lost. The same
    /// seed loses and delays the same packets.
    pub fn moments(&self, seed: u64, count: usize) -> Vec<Option<Duration>> {
        let mut entropy = Entropy::from_number(seed);
        (0..count)
            .map(|number| {
                let lost = entropy.below(100) < self.loss_percent;
                let delay = entropy.between(self.delay.0, self.delay.1);
                (!lost).then(|| Duration::from_millis(20 * number as u64) + delay)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_path_and_delays_do_not_change_with_loss() {
        let (clean, lossy) = (JITTER.moments(7, 5000), LOSS.moments(7, 5000));
        assert_eq!(lossy, LOSS.moments(7, 5000));
        assert_ne!(lossy, LOSS.moments(8, 5000));
        let lost = lossy.iter().filter(|moment| moment.is_none()).count();
        assert!((400..600).contains(&lost), "{lost}");
        assert!(clean.iter().zip(&lossy).all(|(a, b)| b.is_none() || a == b));
        let late = |n: usize| clean[n].unwrap() - Duration::from_millis(20 * n as u64);
        assert!((0..5000).all(|n| (JITTER.delay.0..=JITTER.delay.1).contains(&late(n))));
    }
}
