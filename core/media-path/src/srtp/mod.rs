//! SRTP and SRTCP by RFC 3711 (AES in counter mode, HMAC-SHA1) and RFC 7714 (AES-GCM), keys handed in.
//!
//! State for a source is made only after its first packet was authenticated, so that no spray of sources fills memory.
//! The block cipher is the `aes` crate's; GCM and HMAC are ring's.

mod cipher;
mod counter_mode;
mod derivation;
mod index;
#[cfg(test)]
mod tests;

use thiserror::Error;
use wakeline_rtp::header_length;
use wakeline_sdp::CryptoSuite;
use wakeline_sdp::crypto::decode_key;
use wakeline_secret::Secret;

use cipher::SessionCipher;
use index::Sources;

/// Packets one key may protect (RFC 3711 §9.2); we stop where the peer must.
const MAX_RTP_PACKETS: u64 = 1 << 48;
/// The SRTCP index has 31 bits.
const MAX_RTCP_INDEX: u32 = 0x7FFF_FFFF;

/// Why a packet is not protected or not opened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Error)]
pub enum SrtpError {
    /// The key material does not fit the suite.
    #[error("key material of the wrong length")]
    Key,
    /// Too short or malformed to be protected at all.
    #[error("not a packet")]
    Malformed,
    /// The tag is wrong: tampered with, of another key, or a rollover apart.
    #[error("authentication failed")]
    Unauthenticated,
    /// Opened before, or older than the window.
    #[error("replayed")]
    Replayed,
    /// SRTCP without the encryption flag, which was not negotiated.
    #[error("not encrypted")]
    NotEncrypted,
    /// A sequence number that was used already; the same key stream must not serve twice.
    #[error("sequence number used twice")]
    SequenceReused,
    /// The key has protected all that it may; new keys are needed.
    #[error("key used up")]
    KeyExhausted,
    /// More sources than one stream has.
    #[error("too many sources")]
    TooManySources,
}

/// Where an opened packet stands among those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Newer than all before.
    Newest,
    /// Late, yet in the window.
    Late,
}

/// Our side: protects what we send.
pub struct Protector {
    cipher: SessionCipher,
    sources: Vec<(u32, u64)>,
    rtcp_index: u32,
}

/// The peer's side: opens what it sends.
pub struct Unprotector {
    cipher: SessionCipher,
    rtp: Sources,
    rtcp: Sources,
    lifetime: u64,
    opened: u64,
}

/// Sources one side may use under one key.
const MAX_SOURCES: usize = 64;

impl Protector {
    /// From key material as descriptions carry it.
    pub fn new(suite: CryptoSuite, key: &Secret) -> Result<Protector, SrtpError> {
        Ok(Protector { cipher: session_cipher(suite, key)?, sources: Vec::new(), rtcp_index: 0 })
    }

    /// Protects an RTP packet. Sequence numbers must grow; the first had better be below 2¹⁵, so that a peer that
    /// misses it does not miss its rollover (RFC 3711 §3.3.1).
    pub fn rtp(&mut self, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let header = header_length(packet).map_err(|_| SrtpError::Malformed)?;
        let (sequence, ssrc) = sequence_and_source(packet);
        let is_full = self.sources.len() == MAX_SOURCES;
        let known = self.sources.iter_mut().find(|(source, _)| *source == ssrc);
        let index = match &known {
            None => u64::from(sequence),
            Some((_, last)) => {
                let index = index::estimate(*last, sequence).ok_or(SrtpError::SequenceReused)?;
                if index <= *last {
                    return Err(SrtpError::SequenceReused);
                }
                index
            }
        };
        if index >= MAX_RTP_PACKETS {
            return Err(SrtpError::KeyExhausted);
        }
        match known {
            Some((_, last)) => *last = index,
            None if is_full => return Err(SrtpError::TooManySources),
            None => self.sources.push((ssrc, index)),
        }
        self.cipher.protect_rtp(packet, header, ssrc, index)
    }

    /// Protects an RTCP compound.
    pub fn rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, SrtpError> {
        let ssrc = rtcp_source(packet).ok_or(SrtpError::Malformed)?;
        if self.rtcp_index == MAX_RTCP_INDEX {
            return Err(SrtpError::KeyExhausted);
        }
        self.rtcp_index += 1;
        self.cipher.protect_rtcp(packet, ssrc, self.rtcp_index)
    }
}

impl Unprotector {
    /// From key material as descriptions carry it, and the lifetime that the peer gave it.
    pub fn new(suite: CryptoSuite, key: &Secret, lifetime: Option<u64>) -> Result<Unprotector, SrtpError> {
        Ok(Unprotector {
            cipher: session_cipher(suite, key)?,
            rtp: Sources::default(),
            rtcp: Sources::default(),
            lifetime: lifetime.unwrap_or(MAX_RTP_PACKETS).min(MAX_RTP_PACKETS),
            opened: 0,
        })
    }

    /// Opens an RTP packet.
    pub fn rtp(&mut self, packet: &[u8]) -> Result<(Vec<u8>, Order), SrtpError> {
        let header = header_length(packet).map_err(|_| SrtpError::Malformed)?;
        if self.opened >= self.lifetime {
            return Err(SrtpError::KeyExhausted);
        }
        let (sequence, ssrc) = sequence_and_source(packet);
        let mut failure = SrtpError::Unauthenticated;
        for index in self.rtp.candidates(ssrc, sequence) {
            if let Err(error) = self.rtp.check(ssrc, index) {
                failure = error;
                continue;
            }
            match self.cipher.open_rtp(packet, header, ssrc, index) {
                Ok(clear) => {
                    let order = self.rtp.accept(ssrc, index)?;
                    self.opened += 1;
                    return Ok((clear, order));
                }
                Err(error) => failure = error,
            }
        }
        // Also what seems too old: after a long silence the guess is a rollover behind, and looks like a replay.
        self.rtp.failed(ssrc);
        Err(failure)
    }

    /// Opens an RTCP compound.
    pub fn rtcp(&mut self, packet: &[u8]) -> Result<(Vec<u8>, Order), SrtpError> {
        let ssrc = rtcp_source(packet).ok_or(SrtpError::Malformed)?;
        let index = self.cipher.rtcp_index(packet)?;
        self.rtcp.check(ssrc, u64::from(index))?;
        let clear = self.cipher.open_rtcp(packet, ssrc, index)?;
        let order = self.rtcp.accept(ssrc, u64::from(index))?;
        Ok((clear, order))
    }
}

impl core::fmt::Debug for Protector {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Protector(..)")
    }
}

impl core::fmt::Debug for Unprotector {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Unprotector(..)")
    }
}

fn session_cipher(suite: CryptoSuite, key: &Secret) -> Result<SessionCipher, SrtpError> {
    let (key, salt) = decode_key(suite, key).ok_or(SrtpError::Key)?;
    SessionCipher::derive(suite, &key, &salt)
}

/// Of a packet whose header was measured.
fn sequence_and_source(packet: &[u8]) -> (u16, u32) {
    (
        u16::from_be_bytes([packet[2], packet[3]]),
        u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]),
    )
}

/// The source of the first packet of a compound.
fn rtcp_source(packet: &[u8]) -> Option<u32> {
    if packet.first()? >> 6 != 2 {
        return None;
    }
    packet.get(4..8).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}
