//! AES-128 in counter mode (RFC 3711 §4.1.1) and the HMAC-SHA1 tag (§4.2.1).

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use ring::hmac;

/// Blocks encrypted at once, as the hardware likes it.
const BATCH: usize = 8;

/// The keys of one direction of one protocol.
pub(super) struct CounterMode {
    aes: Aes128,
    salt: [u8; 14],
    authentication: hmac::Key,
}

impl CounterMode {
    pub(super) fn new(key: [u8; 16], salt: [u8; 14], authentication: [u8; 20]) -> CounterMode {
        CounterMode {
            aes: Aes128::new(&Array::from(key)),
            salt,
            authentication: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &authentication),
        }
    }

    /// Encrypts or decrypts in place: the key stream of a source and an index of 48 bits.
    pub(super) fn apply(&self, ssrc: u32, index: u64, data: &mut [u8]) {
        let mut start = [0; 16];
        start[..14].copy_from_slice(&self.salt);
        for (byte, source) in start[4..8].iter_mut().zip(ssrc.to_be_bytes()) {
            *byte ^= source;
        }
        for (byte, index) in start[8..14].iter_mut().zip(&index.to_be_bytes()[2..]) {
            *byte ^= index;
        }
        // A datagram has at most 4096 blocks, so the 16-bit counter does not wrap.
        let mut counter = 0_u16;
        for chunk in data.chunks_mut(16 * BATCH) {
            let count = chunk.len().div_ceil(16);
            let mut blocks = [Array::from([0; 16]); BATCH];
            for block in &mut blocks[..count] {
                start[14..].copy_from_slice(&counter.to_be_bytes());
                *block = Array::from(start);
                counter = counter.wrapping_add(1);
            }
            self.aes.encrypt_blocks(&mut blocks[..count]);
            for (byte, key) in chunk.iter_mut().zip(blocks.iter().flatten()) {
                *byte ^= key;
            }
        }
    }

    /// The tag over the parts.
    pub(super) fn tag(&self, parts: [&[u8]; 2]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.authentication);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }
}

/// Compares without telling by its time where the difference is.
pub(super) fn is_equal(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && core::hint::black_box(left.iter().zip(right).fold(0, |all, (left, right)| all | (left ^ right)))
            == 0
}
