//! Hash tables whose order and cost nobody outside can steer.
//!
//! The standard library keys its tables from the operating system's randomness, which a machine may not read; an
//! unkeyed hash would let a stranger choose colliding names (class S14). This hasher is keyed from the seed that the
//! machine was started with. Tables built on it are looked up, never walked: their order means nothing.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use sha2::{Digest as _, Sha256};

/// A table keyed by [`Keyed`].
pub(crate) type Table<K, V> = HashMap<K, V, Keyed>;

/// Builds hashers that share one secret key.
#[derive(Clone, Copy)]
pub(crate) struct Keyed {
    first: u64,
    second: u64,
}

impl Keyed {
    /// A key drawn from the machine's entropy.
    pub(crate) fn draw(entropy: &mut wakeline_entropy::Entropy) -> Keyed {
        Keyed { first: entropy.u64(), second: entropy.u64() | 1 }
    }

    /// A key that every node with this secret has: what it digests is the same at all of them.
    pub(crate) fn of(secret: &str) -> Keyed {
        let digest = Sha256::new().chain_update(b"tables").chain_update(secret).finalize();
        let word = |from: usize| {
            let bytes = digest.iter().skip(from).take(8);
            bytes.fold(0, |word: u64, byte| word << 8 | u64::from(*byte))
        };
        Keyed { first: word(0), second: word(8) | 1 }
    }

    /// An empty table under this key.
    pub(crate) fn table<K, V>(self) -> Table<K, V> {
        HashMap::with_hasher(self)
    }

    /// 64 bits that stand for `bytes` within this process.
    pub(crate) fn digest(self, bytes: &[u8]) -> u64 {
        let mut hasher = self.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}

impl BuildHasher for Keyed {
    type Hasher = KeyedHasher;

    fn build_hasher(&self) -> KeyedHasher {
        KeyedHasher { state: self.first, key: self.second }
    }
}

/// A folded-multiply hash: every eight bytes are mixed with the key and folded from 128 to 64 bits.
pub(crate) struct KeyedHasher {
    state: u64,
    key: u64,
}

impl KeyedHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.key ^ word.rotate_left(32) | 1);
        self.state = (product as u64) ^ ((product >> 64) as u64) ^ self.key;
    }
}

impl Hasher for KeyedHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in words.by_ref() {
            let mut buffer = [0; 8];
            buffer.copy_from_slice(word);
            self.mix(u64::from_le_bytes(buffer));
        }
        let rest = words.remainder();
        let mut buffer = [0; 8];
        buffer[..rest.len()].copy_from_slice(rest);
        self.mix(u64::from_le_bytes(buffer));
        self.mix(bytes.len() as u64);
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    fn write_u32(&mut self, word: u32) {
        self.mix(u64::from(word));
    }

    fn finish(&self) -> u64 {
        let product = u128::from(self.state) * u128::from(self.key.rotate_left(17) | 1);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeline_entropy::Entropy;

    #[test]
    fn digests_differ_by_content_length_and_key() {
        let (a, b) = (Keyed::draw(&mut Entropy::from_number(1)), Keyed::draw(&mut Entropy::from_number(2)));
        assert_eq!(a.digest(b"alice@example.org"), a.digest(b"alice@example.org"));
        assert_ne!(a.digest(b"alice@example.org"), a.digest(b"alicf@example.org"));
        assert_ne!(a.digest(b"\0"), a.digest(b"\0\0"));
        assert_ne!(a.digest(b"alice@example.org"), b.digest(b"alice@example.org"));
    }

    #[test]
    fn many_sequential_names_spread_over_the_low_bits() {
        let keyed = Keyed::draw(&mut Entropy::from_number(3));
        let mut seen = [0u32; 256];
        for number in 0..25_600u64 {
            let mut hasher = keyed.build_hasher();
            hasher.write_u64(number);
            seen[(hasher.finish() & 255) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (40..=180).contains(count)), "{seen:?}");
    }
}
