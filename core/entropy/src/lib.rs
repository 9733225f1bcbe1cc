//! Unguessable names from a seed that is handed in.
//!
//! Tags (RFC 3261 §19.3, at least 32 bits), branches (§8.1.1.7), Call-IDs, client nonces and server nonces must not be
//! guessable, and a simulation must be able to repeat them: so the machines draw from this generator, and whoever
//! starts them hands in 32 bytes (from the operating system, or from a scenario's seed).
//!
//! In: a seed. Out: numbers and tokens. Never: the operating system's randomness.

use core::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// 32 characters that are RFC 3261 `token` and `word` characters, and safe in a URI.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A seeded generator (ChaCha12) of names and jitter.
pub struct Entropy(ChaCha12Rng);

impl Entropy {
    /// A generator that repeats itself for the same seed.
    pub fn from_seed(seed: [u8; 32]) -> Entropy {
        Entropy(ChaCha12Rng::from_seed(seed))
    }

    /// A generator for tests and simulations, from a small number.
    pub fn from_number(seed: u64) -> Entropy {
        Entropy(ChaCha12Rng::seed_from_u64(seed))
    }

    /// A new generator whose numbers are independent of what this one draws later.
    pub fn fork(&mut self) -> Entropy {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        Entropy::from_seed(seed)
    }

    /// Fills `bytes` with random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// A random 32-bit number.
    pub fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A random 64-bit number.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound`; zero when `bound` is zero. The bias of the reduction is below 2⁻³².
    pub fn below(&mut self, bound: u32) -> u32 {
        u32::try_from((u64::from(bound) * u64::from(self.u32())) >> 32).unwrap_or(0)
    }

    /// A span between `low` and `high`, for jittered timers (RFC 5626 §4.5).
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let width = high.saturating_sub(low);
        low + Duration::from_nanos(
            (width.as_nanos() as u64 / 1_000).saturating_mul(u64::from(self.below(1_000))),
        )
    }

    /// A token of `length` lower-case letters and digits, five bits each.
    pub fn token(&mut self, length: usize) -> String {
        let mut text = String::with_capacity(length);
        while text.len() < length {
            let mut bits = self.u64();
            for _ in 0..12.min(length - text.len()) {
                text.push(char::from(ALPHABET[(bits & 31) as usize]));
                bits >>= 5;
            }
        }
        text
    }
}

impl core::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Entropy(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_names_the_same() {
        let (mut a, mut b) = (Entropy::from_number(7), Entropy::from_number(7));
        assert_eq!(a.token(20), b.token(20));
        assert_ne!(a.token(20), a.token(20));
    }

    #[test]
    fn tokens_have_the_length_asked_for_and_only_safe_characters() {
        let mut entropy = Entropy::from_number(1);
        for length in [0, 1, 11, 12, 13, 40] {
            let token = entropy.token(length);
            assert_eq!(token.len(), length);
            assert!(token.bytes().all(|byte| ALPHABET.contains(&byte)));
        }
    }

    #[test]
    fn spans_stay_in_their_bounds() {
        let mut entropy = Entropy::from_number(3);
        for _ in 0..1000 {
            let span = entropy.between(Duration::from_secs(1), Duration::from_secs(3));
            assert!((Duration::from_secs(1)..=Duration::from_secs(3)).contains(&span));
            assert!(entropy.below(10) < 10);
        }
    }
}
