//! A fresh RSA key for a service account.
//!
//! The TLS library used here signs with RSA but cannot generate such keys, and a private key in the repository would
//! be one that someone copies: so two primes are drawn here. For stand-ins only; not hardened against side channels.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use num_bigint::BigUint;

use crate::StartError;

/// Rounds of Miller-Rabin for a *random* candidate; the error is far below 2⁻⁸⁰ at 1024 bits.
const ROUNDS: usize = 6;

/// An RSA-2048 key pair.
pub struct RsaKey {
    modulus: BigUint,
    exponent: BigUint,
    pkcs8: Vec<u8>,
}

impl RsaKey {
    /// Draws a key from the operating system's randomness.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<RsaKey, StartError> {
        let small = small_primes(2000);
        let exponent = BigUint::from(65_537_u32);
        let one = BigUint::from(1_u8);
        loop {
            let (a, b) = (prime(&small)?, prime(&small)?);
            // The first prime must be the larger one (RFC 8017 §3.2 gives the order by qInv).
            let (p, q) = if a > b { (a, b) } else { (b, a) };
            let modulus = &p * &q;
            if modulus.bits() != 2048 || p == q {
                continue;
            }
            let totient = (&p - &one) * (&q - &one);
            let (Some(d), Some(inverse)) = (exponent.modinv(&totient), q.modinv(&p)) else { continue };
            let pkcs8 = pkcs8(&modulus, &exponent, &d, &p, &q, &inverse);
            return Ok(RsaKey { modulus, exponent, pkcs8 });
        }
    }

    /// The private key as a PEM block, as it stands in a service account's JSON.
    pub fn private_pem(&self) -> String {
        let text = STANDARD.encode(&self.pkcs8);
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for line in text.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        pem
    }

    /// The public half: modulus and exponent, big-endian.
    pub fn public(&self) -> (Vec<u8>, Vec<u8>) {
        (self.modulus.to_bytes_be(), self.exponent.to_bytes_be())
    }
}

impl core::fmt::Debug for RsaKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("RsaKey(..)")
    }
}

/// Every odd prime below `bound`, for trial division before the costly test.
fn small_primes(bound: u32) -> Vec<u32> {
    (3..bound)
        .step_by(2)
        .filter(|n| (3..).step_by(2).take_while(|d| d * d <= *n).all(|d| n % d != 0))
        .collect()
}

/// A random 1024-bit prime whose two top bits are set, so that two of them multiply to 2048 bits.
fn prime(small: &[u32]) -> Result<BigUint, StartError> {
    let mut bytes = [0_u8; 128];
    loop {
        getrandom::fill(&mut bytes).map_err(|_| StartError::Key("no randomness"))?;
        bytes[0] |= 0xC0;
        bytes[127] |= 1;
        let candidate = BigUint::from_bytes_be(&bytes);
        // p-1 must share no factor with the exponent, else it has no inverse.
        let coprime = &candidate % 65_537_u32 != BigUint::from(1_u8);
        if coprime
            && small.iter().all(|prime| &candidate % *prime != BigUint::ZERO)
            && is_probable_prime(&candidate)?
        {
            return Ok(candidate);
        }
    }
}

/// Miller-Rabin with random bases.
fn is_probable_prime(n: &BigUint) -> Result<bool, StartError> {
    let one = BigUint::from(1_u8);
    let less = n - &one;
    let twos = less.trailing_zeros().unwrap_or(0);
    let odd = &less >> twos;
    let mut bytes = [0_u8; 127];
    'rounds: for _ in 0..ROUNDS {
        getrandom::fill(&mut bytes).map_err(|_| StartError::Key("no randomness"))?;
        bytes[126] |= 2;
        let base = BigUint::from_bytes_be(&bytes);
        let mut x = base.modpow(&odd, n);
        if x == one || x == less {
            continue;
        }
        for _ in 1..twos {
            x = &x * &x % n;
            if x == less {
                continue 'rounds;
            }
        }
        return Ok(false);
    }
    Ok(true)
}

/// RFC 5208 PrivateKeyInfo around an RFC 8017 §A.1.2 RSAPrivateKey.
fn pkcs8(n: &BigUint, e: &BigUint, d: &BigUint, p: &BigUint, q: &BigUint, inverse: &BigUint) -> Vec<u8> {
    let one = BigUint::from(1_u8);
    let mut key = integer(&BigUint::ZERO);
    for value in [n, e, d, p, q, &(d % (p - &one)), &(d % (q - &one)), inverse] {
        key.extend(integer(value));
    }
    let mut info = integer(&BigUint::ZERO);
    // AlgorithmIdentifier: rsaEncryption (1.2.840.113549.1.1.1) with NULL parameters.
    info.extend([0x30, 13, 6, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1, 5, 0]);
    info.extend(element(0x04, element(0x30, key)));
    element(0x30, info)
}

fn integer(value: &BigUint) -> Vec<u8> {
    let mut bytes = value.to_bytes_be();
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        bytes.insert(0, 0);
    }
    element(2, bytes)
}

fn element(tag: u8, content: Vec<u8>) -> Vec<u8> {
    let mut bytes = vec![tag];
    let length = content.len();
    if length < 128 {
        bytes.push(length as u8);
    } else {
        let encoded: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
        bytes.push(0x80 | encoded.len() as u8);
        bytes.extend(encoded);
    }
    bytes.extend(content);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_accepts_the_key_and_its_signature_verifies() {
        let key = RsaKey::generate().unwrap();
        let pair = ring::signature::RsaKeyPair::from_pkcs8(&key.pkcs8).unwrap();
        let mut signature = vec![0; pair.public().modulus_len()];
        let random = ring::rand::SystemRandom::new();
        pair.sign(&ring::signature::RSA_PKCS1_SHA256, &random, b"hello", &mut signature).unwrap();
        let (n, e) = key.public();
        let public = ring::signature::RsaPublicKeyComponents { n, e };
        public.verify(&ring::signature::RSA_PKCS1_2048_8192_SHA256, b"hello", &signature).unwrap();
        assert!(public.verify(&ring::signature::RSA_PKCS1_2048_8192_SHA256, b"other", &signature).is_err());
    }
}
