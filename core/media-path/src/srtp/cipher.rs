//! How a packet is laid out when protected: RFC 3711 §3.1, §3.4 and RFC 7714 §8, §9.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use wakeline_sdp::CryptoSuite;

use super::SrtpError;
use super::counter_mode::{CounterMode, is_equal};
use super::derivation::{Derivation, Label};

/// The bytes of an RTCP header that stay in the clear.
const RTCP_HEADER: usize = 8;
/// The encryption flag before the SRTCP index.
const ENCRYPTED: u32 = 1 << 31;
/// SRTCP tags of HMAC-SHA1 are long in every suite (RFC 4568 §6.2.2).
const RTCP_TAG: usize = 10;
const GCM_TAG: usize = 16;

/// The session keys of one side.
pub(super) enum SessionCipher {
    CounterMode { rtp: Box<CounterMode>, rtcp: Box<CounterMode>, rtp_tag: usize },
    Gcm { rtp: Box<Gcm>, rtcp: Box<Gcm> },
}

/// A GCM key with its salt.
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Gcm {
    pub(super) fn new(key: &[u8], salt: [u8; 12]) -> Result<Gcm, SrtpError> {
        let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let key = UnboundKey::new(algorithm, key).map_err(|_| SrtpError::Key)?;
        Ok(Gcm { key: LessSafeKey::new(key), salt })
    }

    /// 16 zero bits, the source, the 48-bit index; with the salt over it (RFC 7714 §8.1, §9.1).
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let mut nonce = self.salt;
        for (byte, source) in nonce[2..6].iter_mut().zip(ssrc.to_be_bytes()) {
            *byte ^= source;
        }
        for (byte, index) in nonce[6..].iter_mut().zip(&index.to_be_bytes()[2..]) {
            *byte ^= index;
        }
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(
        &self,
        ssrc: u32,
        index: u64,
        associated: &[u8],
        data: &mut [u8],
    ) -> Result<[u8; GCM_TAG], SrtpError> {
        let nonce = self.nonce(ssrc, index);
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from(associated), data);
        let tag = tag.map_err(|_| SrtpError::Malformed)?;
        tag.as_ref().try_into().map_err(|_| SrtpError::Malformed)
    }

    /// Opens ciphertext and tag; the clear text is what is returned of `data`.
    fn open(&self, ssrc: u32, index: u64, associated: &[u8], data: &mut [u8]) -> Result<usize, SrtpError> {
        let nonce = self.nonce(ssrc, index);
        let clear = self.key.open_in_place(nonce, Aad::from(associated), data);
        clear.map(|clear| clear.len()).map_err(|_| SrtpError::Unauthenticated)
    }
}

impl SessionCipher {
    pub(super) fn derive(suite: CryptoSuite, key: &[u8], salt: &[u8]) -> Result<SessionCipher, SrtpError> {
        let derivation = Derivation::new(key, salt)?;
        let counter_mode = |rtp_tag| {
            let rtp = CounterMode::new(
                derivation.derive(Label::RtpEncryption),
                derivation.derive(Label::RtpSalt),
                derivation.derive(Label::RtpAuthentication),
            );
            let rtcp = CounterMode::new(
                derivation.derive(Label::RtcpEncryption),
                derivation.derive(Label::RtcpSalt),
                derivation.derive(Label::RtcpAuthentication),
            );
            SessionCipher::CounterMode { rtp: Box::new(rtp), rtcp: Box::new(rtcp), rtp_tag }
        };
        let (rtp_salt, rtcp_salt) = (derivation.derive(Label::RtpSalt), derivation.derive(Label::RtcpSalt));
        Ok(match suite {
            CryptoSuite::AesCm128HmacSha1_80 => counter_mode(10),
            CryptoSuite::AesCm128HmacSha1_32 => counter_mode(4),
            CryptoSuite::AeadAes128Gcm => SessionCipher::Gcm {
                rtp: Box::new(Gcm::new(&derivation.derive::<16>(Label::RtpEncryption), rtp_salt)?),
                rtcp: Box::new(Gcm::new(&derivation.derive::<16>(Label::RtcpEncryption), rtcp_salt)?),
            },
            CryptoSuite::AeadAes256Gcm => SessionCipher::Gcm {
                rtp: Box::new(Gcm::new(&derivation.derive::<32>(Label::RtpEncryption), rtp_salt)?),
                rtcp: Box::new(Gcm::new(&derivation.derive::<32>(Label::RtcpEncryption), rtcp_salt)?),
            },
        })
    }

    pub(super) fn protect_rtp(
        &self,
        packet: &[u8],
        header: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<Vec<u8>, SrtpError> {
        let mut out = Vec::with_capacity(packet.len() + GCM_TAG);
        out.extend_from_slice(packet);
        match self {
            SessionCipher::CounterMode { rtp, rtp_tag, .. } => {
                rtp.apply(ssrc, index, &mut out[header..]);
                let tag = rtp.tag([&out, &rollover(index)]);
                out.extend_from_slice(&tag.as_ref()[..*rtp_tag]);
            }
            SessionCipher::Gcm { rtp, .. } => {
                let (clear, payload) = out.split_at_mut(header);
                let tag = rtp.seal(ssrc, index, clear, payload)?;
                out.extend_from_slice(&tag);
            }
        }
        Ok(out)
    }

    pub(super) fn open_rtp(
        &self,
        packet: &[u8],
        header: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<Vec<u8>, SrtpError> {
        match self {
            SessionCipher::CounterMode { rtp, rtp_tag, .. } => {
                let end = packet.len().checked_sub(*rtp_tag).filter(|&end| end >= header);
                let (body, tag) = packet.split_at(end.ok_or(SrtpError::Malformed)?);
                if !is_equal(&rtp.tag([body, &rollover(index)]).as_ref()[..*rtp_tag], tag) {
                    return Err(SrtpError::Unauthenticated);
                }
                let mut out = body.to_vec();
                rtp.apply(ssrc, index, &mut out[header..]);
                Ok(out)
            }
            SessionCipher::Gcm { rtp, .. } => {
                if packet.len() < header + GCM_TAG {
                    return Err(SrtpError::Malformed);
                }
                let mut out = packet.to_vec();
                let (clear, payload) = out.split_at_mut(header);
                let length = rtp.open(ssrc, index, clear, payload)?;
                out.truncate(header + length);
                Ok(out)
            }
        }
    }

    pub(super) fn protect_rtcp(&self, packet: &[u8], ssrc: u32, index: u32) -> Result<Vec<u8>, SrtpError> {
        let mut out = Vec::with_capacity(packet.len() + GCM_TAG + 4);
        out.extend_from_slice(packet);
        let word = (ENCRYPTED | index).to_be_bytes();
        match self {
            SessionCipher::CounterMode { rtcp, .. } => {
                rtcp.apply(ssrc, u64::from(index), &mut out[RTCP_HEADER..]);
                out.extend_from_slice(&word);
                let tag = rtcp.tag([&out, &[]]);
                out.extend_from_slice(&tag.as_ref()[..RTCP_TAG]);
            }
            SessionCipher::Gcm { rtcp, .. } => {
                let associated = associated(packet, word);
                let tag = rtcp.seal(ssrc, u64::from(index), &associated, &mut out[RTCP_HEADER..])?;
                out.extend_from_slice(&tag);
                out.extend_from_slice(&word);
            }
        }
        Ok(out)
    }

    /// The index that a packet claims, before anything is authenticated.
    pub(super) fn rtcp_index(&self, packet: &[u8]) -> Result<u32, SrtpError> {
        let (tag_after, tag_before) = match self {
            SessionCipher::CounterMode { .. } => (RTCP_TAG, 0),
            SessionCipher::Gcm { .. } => (0, GCM_TAG),
        };
        if packet.len() < RTCP_HEADER + tag_before + 4 + tag_after {
            return Err(SrtpError::Malformed);
        }
        let end = packet.len() - tag_after;
        let word = u32::from_be_bytes([packet[end - 4], packet[end - 3], packet[end - 2], packet[end - 1]]);
        if word & ENCRYPTED == 0 {
            return Err(SrtpError::NotEncrypted);
        }
        Ok(word & !ENCRYPTED)
    }

    /// Opens a packet whose length [`SessionCipher::rtcp_index`] has checked.
    pub(super) fn open_rtcp(&self, packet: &[u8], ssrc: u32, index: u32) -> Result<Vec<u8>, SrtpError> {
        match self {
            SessionCipher::CounterMode { rtcp, .. } => {
                let (body, tag) = packet.split_at(packet.len() - RTCP_TAG);
                if !is_equal(&rtcp.tag([body, &[]]).as_ref()[..RTCP_TAG], tag) {
                    return Err(SrtpError::Unauthenticated);
                }
                let mut out = body[..body.len() - 4].to_vec();
                rtcp.apply(ssrc, u64::from(index), &mut out[RTCP_HEADER..]);
                Ok(out)
            }
            SessionCipher::Gcm { rtcp, .. } => {
                let associated = associated(packet, (ENCRYPTED | index).to_be_bytes());
                let mut out = packet[..packet.len() - 4].to_vec();
                let length = rtcp.open(ssrc, u64::from(index), &associated, &mut out[RTCP_HEADER..])?;
                out.truncate(RTCP_HEADER + length);
                Ok(out)
            }
        }
    }
}

/// The rollover counter, which is authenticated and not sent (RFC 3711 §4.2).
fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// Header and index word (RFC 7714 §9.2).
fn associated(packet: &[u8], word: [u8; 4]) -> [u8; 12] {
    let mut associated = [0; 12];
    associated[..RTCP_HEADER].copy_from_slice(&packet[..RTCP_HEADER]);
    associated[RTCP_HEADER..].copy_from_slice(&word);
    associated
}
