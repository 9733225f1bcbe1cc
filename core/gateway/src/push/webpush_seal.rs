//! Sealing a Web Push payload for one subscription (RFC 8291, with the coding of RFC 8188).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};
use wakeline_push::WebPushKeys;

/// The longest body that every push service takes (RFC 8030 §7.2).
pub(super) const MAX_BODY: usize = 4096;
/// The record size that the header names; the one record is shorter.
const RECORD: u32 = 4096;
/// Salt, record size, length of the key, key.
const HEADER: usize = 16 + 4 + 1 + 65;
/// The end of a record: the delimiter and the tag.
const TAIL: usize = 1 + 16;
/// Payloads are padded to a multiple of this, so that their length tells little.
const PADDING: usize = 64;

/// Why a payload cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SealError {
    /// The subscription's keys are no keys.
    Keys,
    /// It does not fit into one record.
    TooLong,
    /// The system gives no randomness.
    Random,
}

/// A length for HKDF.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// Seals `payload`: the whole body.
pub(super) fn seal(keys: &WebPushKeys, payload: &[u8]) -> Result<Vec<u8>, SealError> {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Keys);
    let (theirs, auth) = (decode(keys.p256dh.expose())?, decode(keys.auth.expose())?);
    let padded = (payload.len() + 1).next_multiple_of(PADDING) - 1;
    let padded = if HEADER + padded + TAIL <= MAX_BODY { padded } else { payload.len() };
    if HEADER + padded + TAIL > MAX_BODY {
        return Err(SealError::TooLong);
    }
    let random = SystemRandom::new();
    let mut salt = [0; 16];
    random.fill(&mut salt).map_err(|_| SealError::Random)?;
    let ours = EphemeralPrivateKey::generate(&ECDH_P256, &random).map_err(|_| SealError::Random)?;
    let public = ours.compute_public_key().map_err(|_| SealError::Random)?;
    let public = public.as_ref().to_vec();
    // The agreement refuses a point that is not on the curve.
    agree_ephemeral(ours, &UnparsedPublicKey::new(&ECDH_P256, &theirs), |shared| {
        record(shared, &auth, &theirs, &public, salt, payload, padded - payload.len())
    })
    .map_err(|_| SealError::Keys)?
}

/// RFC 8291 §3.4, and the one record of RFC 8188 §2.
fn record(
    shared: &[u8],
    auth: &[u8],
    theirs: &[u8],
    ours: &[u8],
    salt: [u8; 16],
    payload: &[u8],
    padding: usize,
) -> Result<Vec<u8>, SealError> {
    let info = [b"WebPush: info\0".as_slice(), theirs, ours].concat();
    let material = expand(auth, shared, &info, 32)?;
    let key = expand(&salt, &material, b"Content-Encoding: aes128gcm\0", 16)?;
    let nonce = expand(&salt, &material, b"Content-Encoding: nonce\0", 12)?;

    let mut sealed = payload.to_vec();
    sealed.push(2);
    sealed.resize(sealed.len() + padding, 0);
    let key = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key).map_err(|_| SealError::Keys)?);
    let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| SealError::Keys)?;
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed).map_err(|_| SealError::TooLong)?;

    let mut body = salt.to_vec();
    body.extend(RECORD.to_be_bytes());
    body.push(u8::try_from(ours.len()).map_err(|_| SealError::Keys)?);
    body.extend(ours);
    body.extend(sealed);
    Ok(body)
}

/// HKDF with SHA-256 (RFC 5869).
fn expand(salt: &[u8], secret: &[u8], info: &[u8], length: usize) -> Result<Vec<u8>, SealError> {
    let mut out = vec![0; length];
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info], Length(length))
        .and_then(|okm| okm.fill(&mut out))
        .map_err(|_| SealError::TooLong)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_8291_comes_out_byte_by_byte() {
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let body = record(
            &decode("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs"),
            &decode("BTBZMqHH6r4Tts7J_aSIgg"),
            &decode(
                "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            ),
            &decode(
                "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8",
            ),
            decode("DGv6ra1nlYgDCS1FRnbzlw").try_into().unwrap(),
            b"When I grow up, I want to be a watermelon",
            0,
        );
        let expected = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";
        assert_eq!(URL_SAFE_NO_PAD.encode(body.unwrap()), expected);
    }

    #[test]
    fn a_body_never_passes_four_kilobytes_and_its_length_tells_little() {
        let keys = WebPushKeys {
            p256dh: "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
                .into(),
            auth: "BTBZMqHH6r4Tts7J_aSIgg".into(),
        };
        let length = |payload: usize| seal(&keys, &vec![b'x'; payload]).map(|body| body.len());
        assert_eq!(length(1), length(60));
        assert_eq!(length(3993), Ok(4096));
        assert_eq!(length(3994), Err(SealError::TooLong));
        // No point on the curve; no keys at all.
        let flat = WebPushKeys { p256dh: "BA".to_owned().as_str().into(), auth: keys.auth.clone() };
        assert_eq!(seal(&flat, b"x"), Err(SealError::Keys));
        let off = WebPushKeys { p256dh: format!("B{}", "A".repeat(86)).into(), auth: keys.auth };
        assert_eq!(seal(&off, b"x"), Err(SealError::Keys));
    }
}
