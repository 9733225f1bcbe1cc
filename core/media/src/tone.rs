//! Tones of a telephone: ringback, busy, congestion, DTMF pairs (ITU-T Q.23), a plain sine.
//!
//! The call-progress tones have the European cadences of ITU-T E.180 (425 Hz).

use std::f32::consts::TAU;

/// What is to be heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tone {
    /// The called phone rings: 1 s on, 4 s off.
    Ringback,
    /// The called person is busy: 0.5 s on, 0.5 s off.
    Busy,
    /// The network is: 0.25 s on, 0.25 s off.
    Congestion,
    /// Another call is waiting: two short beeps every 4 s.
    CallWaiting,
    /// A DTMF pair, `0-9 * # A-D`, for as long as it is played; another character is silence.
    Dtmf(char),
    /// One frequency in hertz, at full volume -12 dB.
    Sine(f32),
}

impl Tone {
    /// The two frequencies in hertz; zero is none.
    fn frequencies(self) -> [f32; 2] {
        const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
        const COLUMNS: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
        match self {
            Tone::Ringback | Tone::Busy | Tone::Congestion | Tone::CallWaiting => [425.0, 0.0],
            Tone::Sine(hertz) => [hertz, 0.0],
            Tone::Dtmf(digit) => "123A456B789C*0#D"
                .find(digit.to_ascii_uppercase())
                .map_or([0.0, 0.0], |at| [ROWS[at / 4], COLUMNS[at % 4]]),
        }
    }

    /// Whether the tone sounds at `millis` after its start.
    fn sounds(self, millis: u64) -> bool {
        match self {
            Tone::Ringback => millis % 5000 < 1000,
            Tone::Busy => millis % 1000 < 500,
            Tone::Congestion => millis % 500 < 250,
            Tone::CallWaiting => matches!(millis % 4000, 0..=149 | 300..=449),
            Tone::Dtmf(_) | Tone::Sine(_) => true,
        }
    }
}

/// Plays one tone.
#[derive(Clone, Debug)]
pub struct Generator {
    tone: Tone,
    rate: u32,
    position: u64,
    phases: [f32; 2],
    envelope: f32,
}

impl Generator {
    /// A generator at `rate` samples per second.
    pub fn new(tone: Tone, rate: u32) -> Generator {
        Generator { tone, rate: rate.max(1), position: 0, phases: [0.0; 2], envelope: 0.0 }
    }

    /// Fills `out` with the next samples; edges are rounded over 2 ms.
    pub fn play(&mut self, out: &mut [i16]) {
        let frequencies = self.tone.frequencies();
        let amplitude = if frequencies[1] > 0.0 { 6000.0 } else { 8000.0 };
        let slope = 500.0 / self.rate as f32;
        for sample in out {
            let on = self.tone.sounds(self.position * 1000 / u64::from(self.rate));
            self.position += 1;
            self.envelope = (self.envelope + if on { slope } else { -slope }).clamp(0.0, 1.0);
            let mut value = 0.0;
            for (phase, hertz) in self.phases.iter_mut().zip(frequencies) {
                value += phase.sin();
                *phase = (*phase + TAU * hertz / self.rate as f32) % TAU;
            }
            *sample = (value * amplitude * self.envelope) as i16;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The power at one frequency (a Goertzel filter), relative to the whole.
    fn share(signal: &[i16], hertz: f32, rate: f32) -> f32 {
        let w = TAU * hertz / rate;
        let (mut s, mut c, mut power) = (0.0, 0.0, 0.0);
        for (n, &sample) in signal.iter().enumerate() {
            let value = f32::from(sample);
            s += (w * n as f32).sin() * value;
            c += (w * n as f32).cos() * value;
            power += value * value;
        }
        2.0 * (s * s + c * c) / signal.len() as f32 / power
    }

    #[test]
    fn every_digit_has_its_two_frequencies() {
        for (digit, low, high) in
            [('1', 697.0, 1209.0), ('5', 770.0, 1336.0), ('#', 941.0, 1477.0), ('d', 941.0, 1633.0)]
        {
            let mut sound = [0; 1600];
            Generator::new(Tone::Dtmf(digit), 8000).play(&mut sound);
            for hertz in [low, high] {
                let share = share(&sound[100..], hertz, 8000.0);
                assert!((0.4..0.6).contains(&share), "{digit}: {share} at {hertz} Hz");
            }
        }
        let mut sound = [1; 100];
        Generator::new(Tone::Dtmf('x'), 8000).play(&mut sound);
        assert_eq!(sound, [0; 100]);
    }

    #[test]
    fn cadences_have_their_pauses() {
        for (tone, on, period) in
            [(Tone::Ringback, 1000, 5000), (Tone::Busy, 500, 1000), (Tone::Congestion, 250, 500)]
        {
            let mut sound = vec![0; period * 8];
            Generator::new(tone, 8000).play(&mut sound);
            assert!(sound[..on * 8].chunks(80).all(|block| block.iter().any(|&s| s != 0)));
            assert!(sound[(on + 3) * 8..].iter().all(|&s| s == 0));
        }
    }
}
