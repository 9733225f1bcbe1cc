//! The conference: calls that hear each other as well as us.

use std::collections::VecDeque;

use wakeline_media::Mixer;

/// How many blocks of the loudspeaker may wait for the microphone's: the two do not come in step.
const MOST_WAITING: usize = 4;

/// One call's place in the conference.
#[derive(Default)]
pub(super) struct Seat {
    /// What its far end said in this turn.
    voice: Vec<i16>,
    /// What the others said, until it is sent.
    others: VecDeque<i16>,
    /// The microphone's sound with it.
    sent: Vec<i16>,
}

impl Seat {
    /// Takes what the far end said in this turn.
    pub(super) fn say(&mut self, block: &[i16]) {
        self.voice.clear();
        self.voice.extend_from_slice(block);
    }

    /// What the far end is to hear: our microphone, unless it is muted, and the others.
    pub(super) fn hear(&mut self, microphone: &[i16], is_muted: bool) -> &[i16] {
        self.sent.clear();
        self.sent.extend(microphone.iter().map(|&sample| {
            let others = self.others.pop_front().unwrap_or(0);
            if is_muted { others } else { sample.saturating_add(others) }
        }));
        &self.sent
    }
}

/// Passes on what each of them says.
#[derive(Default)]
pub(super) struct Conference {
    mixer: Mixer,
    block: Vec<i16>,
}

impl Conference {
    /// Gives every seat what all the others said in this turn.
    pub(super) fn pass_on<'a>(&mut self, seats: impl Iterator<Item = &'a mut Seat>) {
        let mut seats: Vec<&mut Seat> = seats.collect();
        let samples = seats.iter().map(|seat| seat.voice.len()).max().unwrap_or(0);
        if samples == 0 {
            return;
        }
        self.mixer.begin(samples);
        seats.iter().for_each(|seat| self.mixer.add(&seat.voice));
        self.block.resize(samples, 0);
        for seat in &mut seats {
            self.mixer.without(&seat.voice, &mut self.block);
            seat.others.extend(&self.block);
            // A microphone that stands still must not make delay.
            let late = seat.others.len().saturating_sub(samples * MOST_WAITING);
            seat.others.drain(..late);
            seat.voice.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(conference: &mut Conference, seats: &mut [Seat], voices: &[i16]) {
        for (seat, voice) in seats.iter_mut().zip(voices) {
            seat.say(&[*voice; 4]);
        }
        conference.pass_on(seats.iter_mut());
    }

    #[test]
    fn each_hears_us_and_the_others_and_not_himself() {
        let (mut conference, mut seats) =
            (Conference::default(), [Seat::default(), Seat::default(), Seat::default()]);
        turn(&mut conference, &mut seats, &[100, 20, 3]);
        assert_eq!(seats[0].hear(&[1000; 4], false), [1023; 4]);
        assert_eq!(seats[1].hear(&[1000; 4], false), [1103; 4]);
        assert_eq!(seats[2].hear(&[1000; 4], true), [120; 4]);
        // Nothing is said twice.
        assert_eq!(seats[2].hear(&[1; 4], false), [1; 4]);
    }

    #[test]
    fn a_microphone_that_stands_still_makes_no_delay() {
        let (mut conference, mut seats) = (Conference::default(), [Seat::default(), Seat::default()]);
        (0..50).for_each(|voice| turn(&mut conference, &mut seats, &[voice, 0]));
        assert_eq!(seats[1].hear(&[0; 16], false)[..4], [46; 4]);
        assert_eq!(seats[1].hear(&[0; 4], false), [0; 4]);
    }

    #[test]
    fn who_sits_alone_hears_us_only() {
        let (mut conference, mut seats) = (Conference::default(), [Seat::default()]);
        turn(&mut conference, &mut seats, &[500]);
        assert_eq!(seats[0].hear(&[7; 4], false), [7; 4]);
    }
}
