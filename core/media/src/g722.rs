//! G.722 at 64 kbit/s: ITU-T G.722 (sub-band ADPCM, 16 kHz, seven kilohertz of speech).
//!
//! A two-band quadrature mirror filter splits the signal; the lower band is coded with six bits a sample, the upper
//! one with two, each against an adaptive predictor of two poles and six zeros. One byte carries one sample of each
//! band, i.e. two samples of sound. The arithmetic is the recommendation's 16-bit fixed point, so that a stream
//! decodes alike everywhere.

/// Half of the symmetric 24-tap quadrature mirror filter (G.722 Table 11).
const MIRROR: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

/// Decision levels of the lower band's 60-level quantiser (Table 14).
const LOW_DECISIONS: [i32; 29] = [
    35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219,
    1339, 1458, 1612, 1765, 1980, 2195, 2557, 2919,
];
/// Output levels of the 60-level (six bits), and of the 15-level quantiser (four bits, which drives the adaptation).
const LOW_LEVELS_6: [i32; 32] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360,
    -8576, -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688,
    -1360, -1040, -728,
];
const LOW_LEVELS_4: [i32; 8] = [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200];
/// Logarithmic scale factor multipliers of the lower band, by the four-bit code's magnitude.
const LOW_WEIGHTS: [i32; 16] =
    [-60, 3042, 1198, 538, 334, 172, 58, -30, 3042, 1198, 538, 334, 172, 58, -30, -60];
const HIGH_LEVELS: [i32; 4] = [-7408, -1616, 7408, 1616];
const HIGH_WEIGHTS: [i32; 4] = [798, -214, 798, -214];
/// The upper band's only decision level.
const HIGH_DECISION: i32 = 564;

/// 2048 * 2^(i/32): the fractional part of the logarithmic scale factors.
const POWERS: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896,
    2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];

fn saturate(value: i32) -> i32 {
    value.clamp(-32_768, 32_767)
}

fn low_level_6(code: i32) -> i32 {
    let index = (code & 31) as usize;
    match (code & 32 != 0, index) {
        (false, _) => LOW_LEVELS_6[index],
        // The last four codes of the positive half are small values: +432, +136, -432, -136.
        (true, 28) => 432,
        (true, 29) => 136,
        (true, 30) => -432,
        (true, 31) => -136,
        (true, _) => -LOW_LEVELS_6[index + 4],
    }
}

fn low_level_4(code: i32) -> i32 {
    match code & 15 {
        15 => 0,
        code @ 8.. => -LOW_LEVELS_4[(code - 7) as usize],
        code => LOW_LEVELS_4[code as usize],
    }
}

/// The adaptive predictor and quantiser scale of one band (blocks 3 and 4 of the recommendation).
#[derive(Clone, Debug)]
struct Band {
    /// Predicted value and its part from the zeros.
    predicted: i32,
    zeros: i32,
    /// The last two reconstructed values, doubled on use.
    reconstructed: [i32; 2],
    /// The last two partially reconstructed values, whose signs steer the poles.
    partial: [i32; 2],
    poles: [i32; 2],
    zero_gains: [i32; 6],
    differences: [i32; 6],
    log_scale: i32,
    scale: i32,
}

impl Band {
    fn new(scale: i32) -> Band {
        Band {
            predicted: 0,
            zeros: 0,
            reconstructed: [0; 2],
            partial: [0; 2],
            poles: [0; 2],
            zero_gains: [0; 6],
            differences: [0; 6],
            log_scale: 0,
            scale,
        }
    }

    /// Leaky adaptation of the logarithmic scale, then back to a linear one.
    fn rescale(&mut self, weight: i32, ceiling: i32, shift: i32) {
        self.log_scale = (((self.log_scale * 127) >> 7) + weight).clamp(0, ceiling);
        let fraction = POWERS[((self.log_scale >> 6) & 31) as usize];
        let exponent = shift - (self.log_scale >> 11);
        self.scale = if exponent < 0 { fraction << -exponent } else { fraction >> exponent } << 2;
    }

    /// Takes the quantised difference in and predicts the next value.
    fn adapt(&mut self, difference: i32) {
        let reconstructed = saturate(self.predicted + difference);
        let partial = saturate(self.zeros + difference);

        let same = |a: i32, b: i32| (a < 0) == (b < 0);
        let [first, second] = self.partial;
        let quadrupled = saturate(self.poles[0] << 2);
        let pull =
            if same(partial, first) { saturate(-quadrupled).min(32_767) } else { quadrupled.min(32_767) };
        let lean = if same(partial, second) { 128 } else { -128 };
        let pole_2 = (lean + (pull >> 7) + ((self.poles[1] * 32_512) >> 15)).clamp(-12_288, 12_288);
        let lean = if same(partial, first) { 192 } else { -192 };
        let bound = saturate(15_360 - pole_2);
        let pole_1 = saturate(lean + ((self.poles[0] * 32_640) >> 15)).clamp(-bound, bound);

        let step = if difference == 0 { 0 } else { 128 };
        for (gain, &past) in self.zero_gains.iter_mut().zip(&self.differences) {
            let lean = if same(past, difference) { step } else { -step };
            *gain = saturate(lean + ((*gain * 32_640) >> 15));
        }

        self.differences.copy_within(0..5, 1);
        self.differences[0] = difference;
        self.reconstructed = [reconstructed, self.reconstructed[0]];
        self.partial = [partial, first];
        self.poles = [pole_1, pole_2];

        let from_poles = self
            .poles
            .iter()
            .zip(&self.reconstructed)
            .map(|(&pole, &value)| (pole * saturate(value + value)) >> 15)
            .sum::<i32>();
        self.zeros = self
            .zero_gains
            .iter()
            .zip(&self.differences)
            .fold(0, |sum, (&gain, &value)| saturate(sum + ((gain * saturate(value + value)) >> 15)));
        self.predicted = saturate(saturate(from_poles) + self.zeros);
    }

    fn adapt_low(&mut self, code: i32) {
        let coarse = code >> 2;
        let difference = (self.scale * low_level_4(coarse)) >> 15;
        self.rescale(LOW_WEIGHTS[(coarse & 15) as usize], 18_432, 8);
        self.adapt(difference);
    }

    fn adapt_high(&mut self, code: i32) {
        let difference = (self.scale * HIGH_LEVELS[(code & 3) as usize]) >> 15;
        self.rescale(HIGH_WEIGHTS[(code & 3) as usize], 22_528, 10);
        self.adapt(difference);
    }
}

fn bands() -> [Band; 2] {
    [Band::new(32), Band::new(8)]
}

/// The two half-sums of the mirror filter over 24 samples.
fn mirror(line: &[i32; 24]) -> (i32, i32) {
    let (mut even, mut odd) = (0, 0);
    for tap in 0..12 {
        odd += line[2 * tap] * MIRROR[tap];
        even += line[2 * tap + 1] * MIRROR[11 - tap];
    }
    (even, odd)
}

/// The coder of one direction.
#[derive(Clone, Debug)]
pub struct Encoder {
    bands: [Band; 2],
    line: [i32; 24],
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder { bands: bands(), line: [0; 24] }
    }
}

impl Encoder {
    /// Appends one byte per two samples of 16 kHz sound; a last odd sample is left out.
    pub fn encode(&mut self, samples: &[i16], out: &mut Vec<u8>) {
        for pair in samples.chunks_exact(2) {
            self.line.copy_within(2.., 0);
            self.line[22] = i32::from(pair[0]);
            self.line[23] = i32::from(pair[1]);
            let (even, odd) = mirror(&self.line);
            let low = self.quantise_low((even + odd) >> 14);
            let high = self.quantise_high((even - odd) >> 14);
            out.push(((high << 6) | low) as u8);
        }
    }

    fn quantise_low(&mut self, value: i32) -> i32 {
        let band = &mut self.bands[0];
        let error = saturate(value - band.predicted);
        let magnitude = if error >= 0 { error } else { -(error + 1) };
        let step = LOW_DECISIONS.partition_point(|&level| magnitude >= (level * band.scale) >> 12) as i32;
        let code = match (error < 0, step) {
            (true, 0) => 63,
            (true, 1) => 62,
            (true, step) => 33 - step,
            (false, step) => 61 - step,
        };
        band.adapt_low(code);
        code
    }

    fn quantise_high(&mut self, value: i32) -> i32 {
        let band = &mut self.bands[1];
        let error = saturate(value - band.predicted);
        let magnitude = if error >= 0 { error } else { -(error + 1) };
        let outer = magnitude >= (HIGH_DECISION * band.scale) >> 12;
        let code = match (error < 0, outer) {
            (true, false) => 1,
            (true, true) => 0,
            (false, false) => 3,
            (false, true) => 2,
        };
        band.adapt_high(code);
        code
    }
}

/// The decoder of one direction.
#[derive(Clone, Debug)]
pub struct Decoder {
    bands: [Band; 2],
    line: [i32; 24],
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder { bands: bands(), line: [0; 24] }
    }
}

/// How far the coder's and the decoder's filters are behind together, in samples.
pub(crate) const FILTER_DELAY: usize = 22;

impl Decoder {
    /// Goes through what was played in place of lost codes: the far end's coder has gone on meanwhile, and predictors that
    /// stood still would take its next codes for something else (the idea of G.722 Appendix IV). The first two samples are
    /// those before the loss, the last [`FILTER_DELAY`] those that would have followed.
    pub(crate) fn follow(&mut self, played: &[i16]) {
        let Some((before, played)) = played.split_at_checked(FILTER_DELAY + 2) else { return };
        let mut coder = Encoder { bands: self.bands.clone(), line: [0; 24] };
        coder.line.iter_mut().zip(before).for_each(|(place, &sample)| *place = i32::from(sample));
        let (mut codes, mut same) = (Vec::with_capacity(played.len() / 2), Vec::new());
        coder.encode(played, &mut codes);
        self.decode(&codes, &mut same);
    }

    /// Appends two samples of 16 kHz sound per byte.
    pub fn decode(&mut self, bytes: &[u8], out: &mut Vec<i16>) {
        for &byte in bytes {
            let (low_code, high_code) = (i32::from(byte & 63), i32::from(byte >> 6));

            let low = &mut self.bands[0];
            let value = low.predicted + ((low.scale * low_level_6(low_code)) >> 15);
            let value_low = value.clamp(-16_384, 16_383);
            low.adapt_low(low_code);

            let high = &mut self.bands[1];
            let value = high.predicted + ((high.scale * HIGH_LEVELS[high_code as usize]) >> 15);
            let value_high = value.clamp(-16_384, 16_383);
            high.adapt_high(high_code);

            self.line.copy_within(2.., 0);
            self.line[22] = value_low + value_high;
            self.line[23] = value_low - value_high;
            let (even, odd) = mirror(&self.line);
            out.push(saturate(even >> 11) as i16);
            out.push(saturate(odd >> 11) as i16);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hertz: f32, amplitude: f32, samples: usize) -> Vec<i16> {
        (0..samples)
            .map(|n| (amplitude * (std::f32::consts::TAU * hertz * n as f32 / 16_000.0).sin()) as i16)
            .collect()
    }

    /// Signal-to-noise ratio in decibels after the filter's delay of 22 samples.
    fn round_trip(signal: &[i16]) -> f32 {
        let (mut bytes, mut heard) = (Vec::new(), Vec::new());
        Encoder::default().encode(signal, &mut bytes);
        Decoder::default().decode(&bytes, &mut heard);
        assert_eq!(bytes.len() * 2, signal.len());
        let (mut power, mut noise) = (0.0, 0.0);
        for (&sent, &got) in signal.iter().zip(&heard[22..]).skip(800) {
            power += f32::from(sent).powi(2);
            noise += (f32::from(sent) - f32::from(got)).powi(2);
        }
        10.0 * (power / noise).log10()
    }

    #[test]
    fn tones_of_the_lower_band_come_back_clean() {
        for hertz in [300.0, 1000.0, 2500.0] {
            for amplitude in [500.0, 4000.0, 12_000.0] {
                let ratio = round_trip(&tone(hertz, amplitude, 16_000));
                assert!(ratio > 28.0, "{hertz} Hz at {amplitude}: {ratio} dB");
            }
        }
    }

    #[test]
    fn tones_of_the_upper_band_come_back_audible() {
        let ratio = round_trip(&tone(5500.0, 6000.0, 16_000));
        assert!(ratio > 8.0, "{ratio} dB");
    }

    #[test]
    fn a_decoder_that_followed_the_lost_sound_goes_on_as_if_nothing_was_lost() {
        let sound = tone(700.0, 6000.0, 3200);
        let mut codes = Vec::new();
        Encoder::default().encode(&sound, &mut codes);
        let (mut whole, mut heard) = (Decoder::default(), Vec::new());
        whole.decode(&codes, &mut heard);
        // 20 ms are lost, and concealment guessed them well.
        let error = |follows: bool| {
            let (mut decoder, mut first, mut rest) = (Decoder::default(), Vec::new(), Vec::new());
            decoder.decode(&codes[..800], &mut first);
            if follows {
                decoder.follow(&heard[1598..1920 + FILTER_DELAY]);
            }
            decoder.decode(&codes[960..], &mut rest);
            let gap = |(a, b): (&i16, &i16)| (f32::from(*a) - f32::from(*b)).powi(2);
            rest[..320].iter().zip(&heard[1920..]).map(gap).sum::<f32>()
        };
        assert!(error(true) < error(false) / 100.0, "{} {}", error(true), error(false));
    }

    #[test]
    fn silence_stays_silent_and_full_scale_does_not_wrap() {
        let (mut bytes, mut heard) = (Vec::new(), Vec::new());
        Encoder::default().encode(&[0; 640], &mut bytes);
        Decoder::default().decode(&bytes, &mut heard);
        assert!(heard.iter().all(|sample| sample.unsigned_abs() < 16));
        let square: Vec<i16> = (0..3200).map(|n| if n / 40 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        assert!(round_trip(&square) > 5.0);
    }

    #[test]
    fn any_bytes_decode() {
        let bytes: Vec<u8> = (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut heard = Vec::new();
        Decoder::default().decode(&bytes, &mut heard);
        assert_eq!(heard.len(), 8192);
    }
}
