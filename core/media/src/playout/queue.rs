//! Packets that wait for their turn, in order of sequence, on one unwrapped timeline.

use std::collections::VecDeque;

use wakeline_rtp::sequence::timestamp_distance;

use crate::comfort_noise::ComfortNoise;

/// More waiting packets than this are a flood or a stopped device.
const MOST: usize = 256;
/// How many packets back a straggler can be told from a duplicate.
const REMEMBERED: u64 = 128;

/// What a packet brings.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A codec payload.
    Audio(Vec<u8>),
    /// The sender pauses, and its background sounds like this.
    Noise(ComfortNoise),
    /// A telephone event: it takes a sequence number, and the place of the sound.
    Event,
}

/// One packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Extended sequence number.
    pub sequence: u64,
    /// Media time in samples of the codec's sound.
    pub position: i64,
    /// What it brings.
    pub content: Content,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    New,
    Duplicate,
    Overflow,
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    packets: VecDeque<Waiting>,
    /// The last timestamp and what it was extended to.
    timeline: Option<(u32, i64)>,
    /// Which of the latest sequence numbers have come: bit n is `highest - n`.
    seen: u128,
    highest: u64,
    in_event: bool,
}

impl Queue {
    /// Media time of a timestamp in samples; the first one is zero.
    pub(super) fn position(&mut self, timestamp: u32, rate: u32, clock: u32) -> i64 {
        let (last, extended) = self.timeline.get_or_insert((timestamp, 0));
        *extended = extended.saturating_add(i64::from(timestamp_distance(*last, timestamp)));
        *last = timestamp;
        extended.saturating_mul(i64::from(rate)) / i64::from(clock.max(1))
    }

    /// Whether the number has come before.
    pub(super) fn seen(&self, sequence: u64) -> bool {
        match self.highest.checked_sub(sequence) {
            Some(back) if back < REMEMBERED => self.seen >> back & 1 == 1,
            Some(_) => true,
            None => false,
        }
    }

    /// Remembers that the number has come.
    pub(super) fn note(&mut self, sequence: u64) {
        if let Some(ahead) = sequence.checked_sub(self.highest).filter(|&ahead| ahead > 0) {
            self.seen = if ahead < REMEMBERED { self.seen << ahead } else { 0 };
            self.highest = sequence;
        }
        if self.highest - sequence < REMEMBERED {
            self.seen |= 1 << (self.highest - sequence);
        }
    }

    pub(super) fn insert(&mut self, packet: Waiting) -> Inserted {
        self.note(packet.sequence);
        let place = self.packets.partition_point(|waiting| waiting.sequence < packet.sequence);
        if self.packets.get(place).is_some_and(|waiting| waiting.sequence == packet.sequence) {
            return Inserted::Duplicate;
        }
        self.packets.insert(place, packet);
        if self.packets.len() > MOST { Inserted::Overflow } else { Inserted::New }
    }

    pub(super) fn front(&self) -> Option<&Waiting> {
        self.packets.front()
    }

    pub(super) fn pop(&mut self) -> Option<Waiting> {
        let packet = self.packets.pop_front();
        if packet.is_some() {
            self.in_event = false;
        }
        packet
    }

    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether the last thing played was a telephone event.
    pub(super) fn in_event(&self) -> bool {
        self.in_event
    }

    /// Passes events at the head: they take a number, not a place in the sound.
    pub(super) fn skip_events(&mut self, last: &mut Option<u64>) {
        while let Some(head) = self.packets.front() {
            let next_in_turn = last.is_none_or(|last| head.sequence <= last + 1);
            if head.content != Content::Event || !next_in_turn {
                break;
            }
            *last = Some(head.sequence);
            self.in_event = true;
            self.packets.pop_front();
        }
    }

    pub(super) fn keep_newest(&mut self, count: usize) {
        while self.packets.len() > count {
            self.packets.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Queue::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u64) -> Waiting {
        Waiting { sequence, position: sequence as i64 * 160, content: Content::Audio(vec![0]) }
    }

    #[test]
    fn packets_come_out_in_order_and_once() {
        let mut queue = Queue::default();
        for sequence in [5, 3, 4, 3, 9] {
            queue.insert(packet(sequence));
        }
        assert_eq!(queue.insert(packet(4)), Inserted::Duplicate);
        assert!(queue.seen(4) && !queue.seen(7) && !queue.seen(10));
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop()).map(|packet| packet.sequence).collect();
        assert_eq!(order, [3, 4, 5, 9]);
        assert!(queue.seen(4) && queue.seen(9) && !queue.seen(8));
    }

    #[test]
    fn timestamps_wrap_and_step_back() {
        let mut queue = Queue::default();
        assert_eq!(queue.position(u32::MAX - 79, 16_000, 8000), 0);
        assert_eq!(queue.position(80, 16_000, 8000), 320);
        assert_eq!(queue.position(u32::MAX - 79, 16_000, 8000), 0);
    }

    #[test]
    fn a_flood_is_noticed() {
        let mut queue = Queue::default();
        let first = (1..).find(|&sequence| queue.insert(packet(sequence)) == Inserted::Overflow);
        assert_eq!(first, Some(257));
        queue.keep_newest(2);
        assert_eq!(queue.front().map(|packet| packet.sequence), Some(256));
    }
}
