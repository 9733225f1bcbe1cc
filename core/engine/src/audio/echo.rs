//! An echo in place of a microphone: what is heard is said again, as echo numbers of telephone networks do.
//!
//! The clock paces it like a real device, in turns of 10 ms, so that a line can be measured with it: what comes back
//! has gone through decoder, playout and encoder. It adds one turn of delay.

use wakeline_clock::Time;

use super::AudioDevice;
use super::paced::Pace;

/// A loudspeaker that is heard by a microphone beside it.
pub(crate) struct Echo {
    rate: u32,
    played: Pace,
    heard: Vec<i16>,
}

impl Echo {
    /// Nothing was heard yet.
    pub(crate) fn new(now: Time, rate: u32) -> Echo {
        Echo { rate, played: Pace::new(now), heard: Vec::new() }
    }
}

impl AudioDevice for Echo {
    fn rate(&self) -> u32 {
        self.rate
    }

    fn capture(&mut self, _: Time, samples: &mut Vec<i16>) {
        samples.append(&mut self.heard);
    }

    fn wanted(&mut self, now: Time) -> usize {
        self.played.due(now, self.rate)
    }

    fn play(&mut self, samples: &[i16]) {
        self.played.advance(samples.len());
        self.heard.extend_from_slice(samples);
    }

    fn failure(&mut self) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_played_is_captured_once_at_the_next_turn() {
        let start = Time::from_millis(0);
        let mut echo = Echo::new(start, 16_000);
        let mut samples = Vec::new();
        echo.capture(start, &mut samples);
        assert_eq!((samples.len(), echo.wanted(start)), (0, 0));
        let now = start + Duration::from_millis(10);
        assert_eq!(echo.wanted(now), 160);
        echo.play(&[7; 160]);
        assert_eq!(echo.wanted(now), 0);
        echo.capture(now, &mut samples);
        echo.capture(now, &mut samples);
        assert_eq!(samples, [7; 160]);
    }
}
