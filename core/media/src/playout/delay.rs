//! The delay histogram: how late do packets come, and how much delay is that worth?
//!
//! Every packet's transit time (arrival less media time, on any common origin) falls into a bucket of two
//! milliseconds; older packets weigh less and less. The target is the transit time up to which it pays to wait: one
//! per cent of packets lost costs as much as [`COST_OF_LOSS`] / 100 milliseconds of delay. A steady jitter is thus
//! covered to its edge, and a single straggler is not waited for.

/// Width of a bucket in microseconds.
const WIDTH: i64 = 2_000;
/// Number of buckets: 1.2 s from the quickest packet to the latest that counts.
const BUCKETS: usize = 600;
/// Milliseconds of delay that losing every packet would be worth.
const COST_OF_LOSS: f32 = 2_500.0;
/// The share of weight that is kept per packet, once enough have come: a memory of about 9 s at 20 ms.
const KEEP: f32 = 0.9978;
/// Weights below this are forgotten for good.
const NOTHING: f32 = 5e-4;

/// So many packets in a row beyond the histogram's end are a path of their own.
const MOVED: u32 = 8;
/// How many packets each of the remembered peaks stands for.
const PEAK_SPAN: u32 = 50;

/// Transit times lately seen.
#[derive(Clone, Debug)]
pub struct DelayHistogram {
    /// A ring: bucket `n` of absolute transit time lies at `n mod BUCKETS`.
    weights: Vec<f32>,
    /// The lowest and highest absolute bucket with weight.
    low: i64,
    high: i64,
    count: u32,
    /// Packets in a row that came later than the last bucket.
    beyond: u32,
    target: i64,
    /// The latest transit of the last packets, exactly: on an even path a bucket's width would be waiting for nothing.
    peaks: [i64; 9],
}

impl Default for DelayHistogram {
    fn default() -> DelayHistogram {
        DelayHistogram {
            weights: vec![0.0; BUCKETS],
            low: 0,
            high: -1,
            count: 0,
            beyond: 0,
            target: 0,
            peaks: [i64::MIN; 9],
        }
    }
}

impl DelayHistogram {
    /// Takes one packet's transit time in, in microseconds.
    ///
    /// `redundancy` is the share of packets that are lost and could be rebuilt from their successor, and `frame` the
    /// microseconds between the two: both zero when the codec has no such means.
    pub fn observe(&mut self, transit: i64, redundancy: f32, frame: i64) {
        let mut bucket = transit.div_euclid(WIDTH);
        if self.count == 0 {
            (self.low, self.high) = (bucket, bucket);
        }
        // Beyond the ring: a straggler counts as the latest that is worth a bucket, many are another path; a much
        // quicker path pushes the slowest out.
        let is_beyond = bucket >= self.low + BUCKETS as i64;
        self.beyond = if is_beyond { self.beyond + 1 } else { 0 };
        if self.beyond >= MOVED {
            *self = DelayHistogram::default();
            (self.low, self.high) = (bucket, bucket);
        }
        bucket = bucket.min(self.low + BUCKETS as i64 - 1);
        while self.high - bucket >= BUCKETS as i64 {
            let index = self.index(self.high);
            self.weights[index] = 0.0;
            self.high -= 1;
        }
        self.count = self.count.saturating_add(1);
        let keep = (1.0 - 1.0 / self.count as f32).min(KEEP);
        self.low = self.low.min(bucket);
        self.high = self.high.max(bucket);
        for absolute in self.low..=self.high {
            let index = self.index(absolute);
            self.weights[index] *= keep;
        }
        let index = self.index(bucket);
        self.weights[index] += 1.0 - keep;
        if self.count.is_multiple_of(PEAK_SPAN) {
            self.peaks.rotate_right(1);
            self.peaks[0] = i64::MIN;
        }
        self.peaks[0] = self.peaks[0].max(transit);
        self.trim();
        self.target = self.cheapest(redundancy, frame);
    }

    /// The transit time that playing should allow for, in microseconds; nothing before the first packet.
    pub fn target(&self) -> Option<i64> {
        (self.count > 0).then_some(self.target)
    }

    /// The quickest transit time remembered, in microseconds.
    pub fn quickest(&self) -> Option<i64> {
        (self.count > 0).then_some(self.low * WIDTH)
    }

    /// How many packets have been observed.
    pub fn count(&self) -> u32 {
        self.count
    }

    fn index(&self, bucket: i64) -> usize {
        bucket.rem_euclid(BUCKETS as i64) as usize
    }

    fn trim(&mut self) {
        for (edge, step) in [(true, 1), (false, -1)] {
            while self.low < self.high {
                let bucket = if edge { self.low } else { self.high };
                let index = self.index(bucket);
                if self.weights[index] > NOTHING {
                    break;
                }
                self.weights[index] = 0.0;
                if edge { self.low += step } else { self.high += step }
            }
        }
    }

    /// Walks from the latest bucket down and keeps the cheapest place to stop waiting.
    fn cheapest(&self, redundancy: f32, frame: i64) -> i64 {
        let shift = frame / WIDTH;
        let millis = WIDTH as f32 / 1000.0;
        let (mut late, mut too_late_to_help) = (0.0f32, 0.0f32);
        let (mut best, mut best_cost) = (self.high, f32::INFINITY);
        // With redundancy it may pay to wait for the successor of even the latest packet.
        let top = self.high + if redundancy > 0.0 { shift } else { 0 };
        for bucket in (self.low..=top).rev() {
            let cost =
                (bucket - self.low) as f32 * millis + COST_OF_LOSS * (late + redundancy * too_late_to_help);
            if cost < best_cost {
                (best, best_cost) = (bucket, cost);
            }
            if bucket <= self.high {
                late += self.weights[self.index(bucket)];
            }
            if (self.low..=self.high).contains(&(bucket - shift)) {
                too_late_to_help += self.weights[self.index(bucket - shift)];
            }
        }
        let edge = (best + 1) * WIDTH;
        let waited_for = if best == self.high {
            self.peaks.iter().copied().max().unwrap_or(edge).clamp(best * WIDTH, edge)
        } else {
            edge
        };
        // A little for what has not been seen yet: the more, the wider the jitter.
        waited_for + (best - self.low) * WIDTH / 32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeline_entropy::Entropy;

    #[test]
    fn an_even_path_asks_for_no_wait() {
        let mut delay = DelayHistogram::default();
        (0..500).for_each(|n| delay.observe(50_000 + n % 3 * 100, 0.0, 0));
        assert!(delay.target().unwrap() <= 53_000, "{:?}", delay.target());
    }

    #[test]
    fn uniform_jitter_is_covered_to_its_edge() {
        let (mut delay, mut entropy) = (DelayHistogram::default(), Entropy::from_number(4));
        for n in 0..3000 {
            delay.observe(20_000 + i64::from(entropy.below(40_000)), 0.0, 0);
            if n > 200 {
                let target = delay.target().unwrap();
                assert!((58_000..=64_000).contains(&target), "{target} after {n}");
            }
        }
    }

    #[test]
    fn a_single_straggler_is_not_waited_for() {
        let mut delay = DelayHistogram::default();
        (0..1000).for_each(|n| delay.observe(if n == 900 { 400_000 } else { 30_000 }, 0.0, 0));
        assert!(delay.target().unwrap() < 50_000);
    }

    #[test]
    fn redundancy_waits_one_frame_more_when_packets_are_lost() {
        let mut delay = DelayHistogram::default();
        (0..500).for_each(|_| delay.observe(30_000, 0.10, 20_000));
        assert!((50_000..=55_000).contains(&delay.target().unwrap()), "{:?}", delay.target());
        (0..500).for_each(|_| delay.observe(30_000, 0.002, 20_000));
        assert!(delay.target().unwrap() < 35_000);
    }

    #[test]
    fn a_new_path_is_learned_and_the_old_one_forgotten() {
        let mut delay = DelayHistogram::default();
        (0..500).for_each(|_| delay.observe(200_000, 0.0, 0));
        (0..60).for_each(|_| delay.observe(5_000_000, 0.0, 0));
        assert!((5_000_000..5_010_000).contains(&delay.target().unwrap()), "{:?}", delay.target());
        (0..3000).for_each(|_| delay.observe(-80_000, 0.0, 0));
        assert!(delay.target().unwrap() < -70_000, "{:?}", delay.target());
        assert_eq!(delay.quickest(), Some(-80_000));
    }
}
