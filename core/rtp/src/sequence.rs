//! Numbers that wrap: 16-bit sequence numbers extended to 64 bits, and 32-bit timestamps.

/// How far `later` lies after `earlier` on the 16-bit circle; negative when it lies before.
pub const fn sequence_distance(earlier: u16, later: u16) -> i16 {
    later.wrapping_sub(earlier) as i16
}

/// How far `later` lies after `earlier` on the 32-bit circle; negative when it lies before.
pub const fn timestamp_distance(earlier: u32, later: u32) -> i32 {
    later.wrapping_sub(earlier) as i32
}

/// Extends sequence numbers by the nearest-neighbour rule: every number is taken as the one closest to the highest
/// seen. The first number is itself, plus one cycle so that stragglers from before it stay positive.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExtendedSequence {
    highest: Option<u64>,
}

impl ExtendedSequence {
    /// Nothing seen yet.
    pub const fn new() -> ExtendedSequence {
        ExtendedSequence { highest: None }
    }

    /// Extends a received number, and remembers it when it is the highest yet.
    pub fn extend(&mut self, sequence: u16) -> u64 {
        let extended = self.peek(sequence);
        if self.highest.is_none_or(|highest| extended > highest) {
            self.highest = Some(extended);
        }
        extended
    }

    /// Extends a number without remembering it.
    pub fn peek(&self, sequence: u16) -> u64 {
        match self.highest {
            None => 0x1_0000 + u64::from(sequence),
            Some(highest) => {
                highest.saturating_add_signed(i64::from(sequence_distance(highest as u16, sequence)))
            }
        }
    }

    /// The highest number seen.
    pub const fn highest(&self) -> Option<u64> {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wrap_forward_and_stragglers_step_back() {
        let mut sequence = ExtendedSequence::new();
        assert_eq!(sequence.extend(65534), 0x1_FFFE);
        assert_eq!(sequence.extend(1), 0x2_0001);
        assert_eq!(sequence.extend(65535), 0x1_FFFF);
        assert_eq!(sequence.highest(), Some(0x2_0001));
        assert_eq!(sequence.extend(2), 0x2_0002);
    }

    #[test]
    fn a_straggler_before_the_first_number_is_below_it() {
        let mut sequence = ExtendedSequence::new();
        let first = sequence.extend(0);
        assert_eq!(sequence.extend(65535), first - 1);
    }

    #[test]
    fn distances_have_a_sign() {
        assert_eq!(sequence_distance(65535, 2), 3);
        assert_eq!(sequence_distance(2, 65535), -3);
        assert_eq!(timestamp_distance(u32::MAX, 159), 160);
        assert_eq!(timestamp_distance(159, u32::MAX), -160);
    }
}
