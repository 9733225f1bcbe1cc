//! Session keys from the master key and salt (RFC 3711 §4.3; RFC 7714 §11). The key derivation rate is zero.

use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Aes256};

use super::SrtpError;

/// What a session key is for (RFC 3711 §4.3.2).
#[derive(Clone, Copy)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

enum Prf {
    Aes128(Box<Aes128>),
    Aes256(Box<Aes256>),
}

/// The derivation function keyed with one master key.
pub(super) struct Derivation {
    prf: Prf,
    salt: [u8; 14],
}

impl Derivation {
    pub(super) fn new(key: &[u8], salt: &[u8]) -> Result<Derivation, SrtpError> {
        let prf = match key.len() {
            16 => Prf::Aes128(Box::new(Aes128::new_from_slice(key).map_err(|_| SrtpError::Key)?)),
            32 => Prf::Aes256(Box::new(Aes256::new_from_slice(key).map_err(|_| SrtpError::Key)?)),
            _ => return Err(SrtpError::Key),
        };
        // The 12 bytes of GCM's salt stand to the left.
        let mut padded = [0; 14];
        padded.get_mut(..salt.len()).ok_or(SrtpError::Key)?.copy_from_slice(salt);
        Ok(Derivation { prf, salt: padded })
    }

    pub(super) fn derive<const N: usize>(&self, label: Label) -> [u8; N] {
        let mut input = [0; 16];
        input[..14].copy_from_slice(&self.salt);
        input[7] ^= label as u8;
        let mut out = [0; N];
        for (counter, chunk) in (0_u16..).zip(out.chunks_mut(16)) {
            input[14..].copy_from_slice(&counter.to_be_bytes());
            let mut block = Array::from(input);
            match &self.prf {
                Prf::Aes128(aes) => aes.encrypt_block(&mut block),
                Prf::Aes256(aes) => aes.encrypt_block(&mut block),
            }
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        out
    }
}
