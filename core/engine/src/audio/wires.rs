//! Two rings between the loop and a device's own threads. Callbacks never lock, allocate or wait.

use rtrb::{Consumer, Producer, RingBuffer};
use wakeline_clock::Time;

use super::AudioDevice;

/// Each ring holds this many milliseconds; the loop keeps the loudspeaker's far emptier ([`AudioDevice::wanted`]).
const RING_MS: u32 = 200;

/// What the loudspeaker's ring is kept at: two turns of the loop.
const KEPT_MS: u32 = 30;

/// A device of the system: the loop's end of the rings, and the platform's streams that run as long as they are held.
pub(crate) struct Wired<Streams> {
    end: LoopEnd,
    _streams: Streams,
}

/// The loop's end.
pub(crate) struct LoopEnd {
    rate: u32,
    captured: Consumer<i16>,
    playing: Producer<i16>,
    failures: Consumer<String>,
}

/// The microphone callback's end.
pub(crate) struct Microphone(Producer<i16>);

/// The loudspeaker callback's end.
pub(crate) struct Loudspeaker(Consumer<i16>);

/// The error callbacks' end.
pub(crate) struct Alarm(Producer<String>);

/// The rings for a device of this rate, with an alarm for either direction.
pub(crate) fn wires(rate: u32) -> (LoopEnd, Microphone, Loudspeaker, Alarm) {
    let samples = (rate * RING_MS / 1000) as usize;
    let (microphone, captured) = RingBuffer::new(samples);
    let (playing, loudspeaker) = RingBuffer::new(samples);
    let (alarm, failures) = RingBuffer::new(4);
    (
        LoopEnd { rate, captured, playing, failures },
        Microphone(microphone),
        Loudspeaker(loudspeaker),
        Alarm(alarm),
    )
}

impl LoopEnd {
    /// A device of this end and the streams that serve the others.
    pub(crate) fn with<Streams>(self, streams: Streams) -> Wired<Streams> {
        Wired { end: self, _streams: streams }
    }

    /// How many samples bring the loudspeaker's ring to its level.
    fn wanted(&self) -> usize {
        let filled = self.playing.buffer().capacity() - self.playing.slots();
        ((self.rate * KEPT_MS / 1000) as usize).saturating_sub(filled)
    }
}

impl<Streams> AudioDevice for Wired<Streams> {
    fn rate(&self) -> u32 {
        self.end.rate
    }

    fn capture(&mut self, _now: Time, samples: &mut Vec<i16>) {
        let start = samples.len();
        samples.resize(start + self.end.captured.slots(), 0);
        let (_, unfilled) = self.end.captured.pop_partial_slice(&mut samples[start..]);
        let missing = unfilled.len();
        samples.truncate(samples.len() - missing);
    }

    fn wanted(&mut self, _now: Time) -> usize {
        self.end.wanted()
    }

    /// What does not fit is dropped.
    fn play(&mut self, samples: &[i16]) {
        let (_, _dropped) = self.end.playing.push_partial_slice(samples);
    }

    fn failure(&mut self) -> Option<String> {
        self.end.failures.pop().ok()
    }
}

impl Microphone {
    /// Takes frames of `channels` samples and keeps their mean; samples that nobody fetches are dropped.
    pub(crate) fn give(&mut self, samples: &[i16], channels: usize) {
        for frame in samples.chunks_exact(channels.max(1)) {
            let sum: i32 = frame.iter().map(|&sample| i32::from(sample)).sum();
            let mean = i16::try_from(sum / i32::try_from(frame.len()).unwrap_or(1)).unwrap_or(0);
            if self.0.push(mean).is_err() {
                return;
            }
        }
    }
}

impl Loudspeaker {
    /// Fills frames of `channels` samples; silence when nothing is there.
    pub(crate) fn take(&mut self, samples: &mut [i16], channels: usize) {
        for frame in samples.chunks_mut(channels.max(1)) {
            frame.fill(self.0.pop().unwrap_or(0));
        }
    }
}

#[cfg_attr(
    all(target_os = "ios", not(test)),
    expect(dead_code, reason = "there the shell tells: AVAudioSession")
)]
impl Alarm {
    /// Tells of a failure.
    pub(crate) fn tell(&mut self, failure: String) {
        // When four failures wait already, a fifth says nothing new.
        let _ = self.0.push(failure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loudspeaker_is_kept_at_its_level_and_plays_silence_when_empty() {
        let (end, mut microphone, mut loudspeaker, mut alarm) = wires(8000);
        let mut device = end.with(());
        let now = Time::ZERO;
        assert_eq!((device.rate(), device.wanted(now)), (8000, 240));
        device.play(&[7; 100]);
        assert_eq!(device.wanted(now), 140);
        let mut stereo = [1; 220];
        loudspeaker.take(&mut stereo, 2);
        assert_eq!((stereo[199], stereo[200]), (7, 0));
        microphone.give(&[10, 20, 30, 40], 2);
        let mut samples = vec![1];
        device.capture(now, &mut samples);
        assert_eq!(samples, [1, 15, 35]);
        alarm.tell("unplugged".into());
        assert_eq!((device.failure(), device.failure()), (Some("unplugged".into()), None));
    }

    #[test]
    fn a_loop_that_sleeps_costs_samples_and_not_memory() {
        let (end, mut microphone, _, _) = wires(8000);
        microphone.give(&vec![3; 100_000], 1);
        let mut samples = Vec::new();
        end.with(()).capture(Time::ZERO, &mut samples);
        assert_eq!(samples.len(), 1600);
    }
}
