//! The mixer of a conference: everybody hears everybody else (N-1).

/// Adds several equally long blocks and gives each speaker the sum without himself.
///
/// The sum is kept in 32 bits and limited once, so that taking a loud speaker out again leaves the others unharmed.
#[derive(Clone, Debug, Default)]
pub struct Mixer {
    sum: Vec<i32>,
}

impl Mixer {
    /// Begins a block of `samples` samples.
    pub fn begin(&mut self, samples: usize) {
        self.sum.clear();
        self.sum.resize(samples, 0);
    }

    /// Adds one speaker's block; a shorter one counts as followed by silence.
    pub fn add(&mut self, block: &[i16]) {
        for (sum, &sample) in self.sum.iter_mut().zip(block) {
            *sum += i32::from(sample);
        }
    }

    /// Everybody.
    pub fn all(&self, out: &mut [i16]) {
        for (out, &sum) in out.iter_mut().zip(&self.sum) {
            *out = limit(sum);
        }
    }

    /// Everybody but the speaker of `own`, which was added before.
    pub fn without(&self, own: &[i16], out: &mut [i16]) {
        let own = own.iter().copied().chain(std::iter::repeat(0));
        for ((out, &sum), own) in out.iter_mut().zip(&self.sum).zip(own) {
            *out = limit(sum - i32::from(own));
        }
    }
}

/// Linear up to three quarters of full scale, then bent so that loud sums do not clip hard.
fn limit(sum: i32) -> i16 {
    const KNEE: i32 = 24_576;
    const ROOM: i32 = 32_767 - KNEE;
    let magnitude = sum.abs();
    if magnitude <= KNEE {
        return sum as i16;
    }
    let over = magnitude - KNEE;
    let bent = KNEE + (i64::from(ROOM) * i64::from(over) / i64::from(ROOM + over)) as i32;
    (bent * sum.signum()) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_hears_the_others_and_not_himself() {
        let speakers = [[100i16; 4], [20; 4], [3; 4]];
        let mut mixer = Mixer::default();
        mixer.begin(4);
        speakers.iter().for_each(|block| mixer.add(block));
        let mut out = [0; 4];
        mixer.all(&mut out);
        assert_eq!(out, [123; 4]);
        for (block, heard) in speakers.iter().zip([23, 103, 120]) {
            mixer.without(block, &mut out);
            assert_eq!(out, [heard; 4]);
        }
    }

    #[test]
    fn loud_sums_bend_and_do_not_wrap() {
        let mut mixer = Mixer::default();
        mixer.begin(2);
        (0..8).for_each(|_| mixer.add(&[i16::MAX, i16::MIN]));
        let mut out = [0; 2];
        mixer.all(&mut out);
        assert!(out[0] > 30_000 && out[1] < -30_000);
        mixer.add(&[5]);
        mixer.without(&[5], &mut out);
        assert!(out[1] < -30_000);
    }
}
