//! Telephone events on a stream: RFC 4733, the sender's and the receiver's machine.

use std::collections::VecDeque;

use wakeline_rtp::TelephoneEvent;
use wakeline_rtp::sequence::timestamp_distance;
use wakeline_rtp::telephone_event::{digit_of, event_of};

use crate::MediaError;

/// Power of the digits that are sent, in -dBm0.
const VOLUME: u8 = 10;
/// How often the last packet is sent (§2.5.1.4).
const ENDS: u8 = 3;
/// Shortest and longest digit in milliseconds (§2.5.1.3: a longer one needs a second segment).
const SHORTEST: u32 = 40;
const LONGEST: u32 = 5_000;
/// Milliseconds between two digits.
const PAUSE: u32 = 60;
/// More digits than this do not wait.
const MOST_WAITING: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Idle,
    Digit { event: u8, began: u32, lasted: u32, wanted: u32 },
    Ending { event: u8, began: u32, lasted: u32, left: u8 },
    Pause { left: u32 },
}

/// One packet to send in place of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// The event's begin, which is every packet's timestamp (§2.3.5).
    pub timestamp: u32,
    /// Set on the first packet (§2.5.1.2).
    pub marker: bool,
    /// What to send.
    pub payload: TelephoneEvent,
}

/// Sends digits, one packet per frame time.
#[derive(Clone, Debug)]
pub struct EventSender {
    clock: u32,
    waiting: VecDeque<(u8, u32)>,
    sending: Sending,
}

impl EventSender {
    /// A sender whose durations count at `clock`, the rate in the event's `a=rtpmap`.
    pub fn new(clock: u32) -> EventSender {
        EventSender { clock, waiting: VecDeque::new(), sending: Sending::Idle }
    }

    /// Queues a digit for `millis` milliseconds (40 to 5000).
    ///
    /// # Errors
    /// [`MediaError::Digit`] for a character without an event, [`MediaError::Setting`] when too many wait.
    pub fn push(&mut self, digit: char, millis: u32) -> Result<(), MediaError> {
        let event = event_of(digit).ok_or(MediaError::Digit(digit))?;
        if self.waiting.len() >= MOST_WAITING {
            return Err(MediaError::Setting("too many digits wait"));
        }
        self.waiting.push_back((event, millis.clamp(SHORTEST, LONGEST)));
        Ok(())
    }

    /// Whether a digit is being sent or waits.
    pub fn is_busy(&self) -> bool {
        self.sending != Sending::Idle || !self.waiting.is_empty()
    }

    /// What takes the place of the frame that begins at `timestamp` and lasts `millis`; `None` leaves it to the sound.
    pub fn frame(&mut self, timestamp: u32, millis: u32) -> Option<EventPacket> {
        let mut marker = false;
        self.sending = match self.sending {
            Sending::Pause { left } if left > millis => Sending::Pause { left: left - millis },
            Sending::Idle | Sending::Pause { .. } => match self.waiting.pop_front() {
                Some((event, wanted)) => {
                    marker = true;
                    Sending::Digit { event, began: timestamp, lasted: 0, wanted }
                }
                None => Sending::Idle,
            },
            Sending::Ending { left: 0, .. } => Sending::Pause { left: PAUSE },
            other @ (Sending::Digit { .. } | Sending::Ending { .. }) => other,
        };
        let (event, began, lasted, end) = match self.sending {
            Sending::Idle | Sending::Pause { .. } => return None,
            Sending::Digit { event, began, lasted, wanted } => {
                let lasted = lasted + millis;
                let end = lasted >= wanted;
                self.sending = if end {
                    Sending::Ending { event, began, lasted, left: ENDS - 1 }
                } else {
                    Sending::Digit { event, began, lasted, wanted }
                };
                (event, began, lasted, end)
            }
            Sending::Ending { event, began, lasted, left } => {
                self.sending = Sending::Ending { event, began, lasted, left: left - 1 };
                (event, began, lasted, true)
            }
        };
        let duration = u16::try_from(u64::from(lasted) * u64::from(self.clock) / 1000).unwrap_or(u16::MAX);
        let payload = TelephoneEvent { event, end, volume: VOLUME, duration };
        Some(EventPacket { timestamp: began, marker, payload })
    }
}

/// Hears digits: each one once, however many of its packets come, and in whatever order.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventReceiver {
    last: Option<Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    event: u8,
    began: u32,
    duration: u16,
    ended: bool,
}

impl EventReceiver {
    /// Takes a packet in and returns the digit when it is the first that was heard of it.
    pub fn packet(&mut self, timestamp: u32, payload: &[u8]) -> Option<char> {
        let packet = TelephoneEvent::parse(payload).ok()?;
        let heard =
            Heard { event: packet.event, began: timestamp, duration: packet.duration, ended: packet.end };
        if let Some(last) = &mut self.last {
            let ahead = timestamp_distance(last.began, timestamp);
            if ahead < 0 {
                return None;
            }
            if ahead == 0 && last.event == packet.event {
                last.duration = last.duration.max(packet.duration);
                last.ended |= packet.end;
                return None;
            }
            // A long event goes on in another segment, which begins where the last one ended (§2.5.1.3).
            let continues = !last.ended && last.event == packet.event && ahead == i32::from(last.duration);
            if continues {
                *last = heard;
                return None;
            }
        }
        self.last = Some(heard);
        digit_of(packet.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(sender: &mut EventSender, frames: u32) -> Vec<Option<EventPacket>> {
        (0..frames).map(|n| sender.frame(1000 + n * 160, 20)).collect()
    }

    #[test]
    fn a_digit_is_marked_grows_and_ends_three_times() {
        let mut sender = EventSender::new(8000);
        sender.push('5', 100).unwrap();
        let packets = run(&mut sender, 12);
        let sent: Vec<EventPacket> = packets.iter().flatten().copied().collect();
        assert_eq!(sent.len(), 7);
        assert!(sent.iter().all(|packet| packet.timestamp == 1000 && packet.payload.event == 5));
        let durations: Vec<u16> = sent.iter().map(|packet| packet.payload.duration).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800]);
        let ends: Vec<bool> = sent.iter().map(|packet| packet.payload.end).collect();
        assert_eq!(ends, [false, false, false, false, true, true, true]);
        assert_eq!(sent.iter().filter(|packet| packet.marker).count(), 1);
        assert!(sent[0].marker && !sender.is_busy());
    }

    #[test]
    fn digits_are_kept_apart_by_a_pause() {
        let mut sender = EventSender::new(48_000);
        "1#".chars().for_each(|digit| sender.push(digit, 40).unwrap());
        let packets = run(&mut sender, 20);
        let pattern: String = packets.iter().map(|packet| if packet.is_some() { 'x' } else { '.' }).collect();
        assert_eq!(pattern, "xxxx...xxxx.........");
        assert_eq!(packets[0].map(|packet| packet.payload.duration), Some(960));
    }

    #[test]
    fn what_is_no_digit_or_too_much_is_refused() {
        let mut sender = EventSender::new(8000);
        assert_eq!(sender.push('x', 100), Err(MediaError::Digit('x')));
        let accepted = (0..100).filter(|_| sender.push('1', 100).is_ok()).count();
        assert_eq!(accepted, MOST_WAITING);
    }

    #[test]
    fn each_digit_is_heard_once_although_packets_are_lost_late_or_doubled() {
        let mut sender = EventSender::new(8000);
        "1123".chars().for_each(|digit| sender.push(digit, 60).unwrap());
        let packets: Vec<EventPacket> = run(&mut sender, 60).into_iter().flatten().collect();
        for lost in 0..3 {
            let mut receiver = EventReceiver::default();
            let mut heard = String::new();
            let kept: Vec<&EventPacket> =
                packets.iter().enumerate().filter(|(n, _)| n % 3 != lost).map(|(_, packet)| packet).collect();
            for (n, packet) in kept.iter().enumerate() {
                heard.extend(receiver.packet(packet.timestamp, &packet.payload.to_bytes()));
                // An old packet again.
                let old = kept[n.saturating_sub(2)];
                heard.extend(receiver.packet(old.timestamp, &old.payload.to_bytes()));
            }
            assert_eq!(heard, "1123", "every third from {lost} lost");
        }
    }

    #[test]
    fn a_long_event_in_segments_is_one_digit() {
        let mut receiver = EventReceiver::default();
        let packet = |duration, end| TelephoneEvent { event: 9, end, volume: 10, duration }.to_bytes();
        assert_eq!(receiver.packet(0, &packet(0x8000, false)), Some('9'));
        assert_eq!(receiver.packet(0, &packet(0xffff, false)), None);
        assert_eq!(receiver.packet(0xffff, &packet(160, false)), None);
        assert_eq!(receiver.packet(0xffff, &packet(320, true)), None);
        assert_eq!(receiver.packet(0xffff + 320, &packet(160, false)), Some('9'));
        assert_eq!(receiver.packet(70_000, &[1, 2]), None);
    }
}
