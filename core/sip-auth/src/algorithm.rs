//! The hash algorithms (RFC 7616 §3.3, RFC 8760 §2).

use core::fmt;

use md5::Md5;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256, Sha512_256};

/// An algorithm; the order is that of strength.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Algorithm {
    /// `MD5`
    Md5,
    /// `MD5-sess`
    Md5Session,
    /// `SHA-256`
    Sha256,
    /// `SHA-256-sess`
    Sha256Session,
    /// `SHA-512-256`
    Sha512Half,
    /// `SHA-512-256-sess`
    Sha512HalfSession,
}

impl Algorithm {
    /// Every algorithm, the weakest first.
    pub const ALL: [Algorithm; 6] = [
        Algorithm::Md5,
        Algorithm::Md5Session,
        Algorithm::Sha256,
        Algorithm::Sha256Session,
        Algorithm::Sha512Half,
        Algorithm::Sha512HalfSession,
    ];

    /// Reads a name, in any case.
    pub fn parse(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name))
    }

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Md5Session => "MD5-sess",
            Algorithm::Sha256 => "SHA-256",
            Algorithm::Sha256Session => "SHA-256-sess",
            Algorithm::Sha512Half => "SHA-512-256",
            Algorithm::Sha512HalfSession => "SHA-512-256-sess",
        }
    }

    /// Whether HA1 is bound to the nonces (RFC 7616 §3.4.2).
    pub const fn is_session(self) -> bool {
        matches!(self, Algorithm::Md5Session | Algorithm::Sha256Session | Algorithm::Sha512HalfSession)
    }

    /// The same hash without the binding to a session: the one that HA1 is stored under.
    pub const fn plain(self) -> Algorithm {
        match self {
            Algorithm::Md5 | Algorithm::Md5Session => Algorithm::Md5,
            Algorithm::Sha256 | Algorithm::Sha256Session => Algorithm::Sha256,
            Algorithm::Sha512Half | Algorithm::Sha512HalfSession => Algorithm::Sha512Half,
        }
    }

    /// Hexadecimal digits of a hash.
    pub const fn digits(self) -> usize {
        match self {
            Algorithm::Md5 | Algorithm::Md5Session => 32,
            Algorithm::Sha256
            | Algorithm::Sha256Session
            | Algorithm::Sha512Half
            | Algorithm::Sha512HalfSession => 64,
        }
    }

    /// The hash of the parts joined by colons.
    pub(crate) fn hash(self, parts: &[&[u8]]) -> Digits {
        match self.plain() {
            Algorithm::Md5 | Algorithm::Md5Session => hashed::<Md5>(parts),
            Algorithm::Sha256 | Algorithm::Sha256Session => hashed::<Sha256>(parts),
            Algorithm::Sha512Half | Algorithm::Sha512HalfSession => hashed::<Sha512_256>(parts),
        }
    }
}

/// A hash in lower-case hexadecimal digits. It is not kept: a digest takes several, and each request a digest.
pub(crate) struct Digits {
    text: [u8; 64],
    length: usize,
}

impl Digits {
    /// Of at most 32 bytes.
    pub(crate) fn of(bytes: &[u8]) -> Digits {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Digits { text, length: bytes.len().min(32) * 2 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or(&[])
    }

    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("")
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn hashed<D: Digest>(parts: &[&[u8]]) -> Digits {
    let mut hash = D::new();
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    Digits::of(&hash.finalize())
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
