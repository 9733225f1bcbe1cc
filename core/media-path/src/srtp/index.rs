//! Packet indices: rollover (RFC 3711 §3.3.1) and the replay window (§3.3.2).

use super::{MAX_SOURCES, Order, SrtpError};

/// Packets that may come late. 64 is the least; a jittery path reorders more.
const WINDOW: u64 = 128;
/// After so many failures in a row another rollover is tried: the peer may have gone on while the path was dead.
const FAILURES_BEFORE_RESYNC: u32 = 32;

/// The index of a sequence number near the highest index seen; `None` before the first rollover began.
pub(super) fn estimate(highest: u64, sequence: u16) -> Option<u64> {
    let distance = sequence.wrapping_sub(highest as u16) as i16;
    highest.checked_add_signed(i64::from(distance))
}

/// What was opened of each source.
#[derive(Default)]
pub(super) struct Sources(Vec<Source>);

struct Source {
    ssrc: u32,
    highest: u64,
    /// Bit n: index `highest - n` was opened.
    window: u128,
    failures: u32,
}

impl Sources {
    fn find(&self, ssrc: u32) -> Option<&Source> {
        self.0.iter().find(|source| source.ssrc == ssrc)
    }

    /// The indices that a sequence number can mean, likeliest first.
    pub(super) fn candidates(&self, ssrc: u32, sequence: u16) -> impl Iterator<Item = u64> + use<> {
        let sequence_index = u64::from(sequence);
        let (first, second) = match self.find(ssrc) {
            // The first packets, whose numbers were just before the wrap, may be lost: one rollover is possible.
            None => (Some(sequence_index), (sequence < 0x8000).then_some(sequence_index + 0x1_0000)),
            Some(source) => {
                let first = estimate(source.highest, sequence);
                let resync = source.failures >= FAILURES_BEFORE_RESYNC;
                (first, first.filter(|_| resync).map(|index| index + 0x1_0000))
            }
        };
        first.into_iter().chain(second)
    }

    /// Whether an index is new.
    pub(super) fn check(&self, ssrc: u32, index: u64) -> Result<(), SrtpError> {
        let Some(source) = self.find(ssrc) else { return Ok(()) };
        match source.highest.checked_sub(index) {
            None => Ok(()),
            Some(age) if age >= WINDOW || source.window >> age & 1 == 1 => Err(SrtpError::Replayed),
            Some(_) => Ok(()),
        }
    }

    /// Remembers an authenticated index.
    pub(super) fn accept(&mut self, ssrc: u32, index: u64) -> Result<Order, SrtpError> {
        let Some(source) = self.0.iter_mut().find(|source| source.ssrc == ssrc) else {
            if self.0.len() == MAX_SOURCES {
                return Err(SrtpError::TooManySources);
            }
            self.0.push(Source { ssrc, highest: index, window: 1, failures: 0 });
            return Ok(Order::Newest);
        };
        source.failures = 0;
        match index.checked_sub(source.highest) {
            None | Some(0) => {
                source.window |= 1_u128.checked_shl((source.highest - index) as u32).unwrap_or(0);
                Ok(Order::Late)
            }
            Some(ahead) => {
                let shift = u32::try_from(ahead).unwrap_or(u32::MAX);
                source.window = source.window.checked_shl(shift).unwrap_or(0) | 1;
                source.highest = index;
                Ok(Order::Newest)
            }
        }
    }

    /// Counts a failure of a known source.
    pub(super) fn failed(&mut self, ssrc: u32) {
        if let Some(source) = self.0.iter_mut().find(|source| source.ssrc == ssrc) {
            source.failures = source.failures.saturating_add(1);
        }
    }
}
