//! SDES key lines: `a=crypto` (RFC 4568; GCM by RFC 7714 §14).

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose::STANDARD};
use wakeline_entropy::Entropy;
use wakeline_secret::Secret;

/// Padding is often left out.
const TOLERANT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The longest key line that is looked at; the longest good one has some 150 characters.
const MAX_CRYPTO_LINE: usize = 512;

/// The SRTP protections that this phone speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum CryptoSuite {
    /// AES in counter mode, 80-bit tags: what every SRTP phone speaks.
    AesCm128HmacSha1_80,
    /// The same with 32-bit tags; only when the account lists it.
    AesCm128HmacSha1_32,
    /// AES-128 in GCM.
    AeadAes128Gcm,
    /// AES-256 in GCM.
    AeadAes256Gcm,
}

impl CryptoSuite {
    /// All of them.
    pub const ALL: [CryptoSuite; 4] = [
        CryptoSuite::AeadAes256Gcm,
        CryptoSuite::AeadAes128Gcm,
        CryptoSuite::AesCm128HmacSha1_80,
        CryptoSuite::AesCm128HmacSha1_32,
    ];

    /// What is offered as a rule, best first: without the short tags.
    pub const USUAL: [CryptoSuite; 3] =
        [CryptoSuite::AeadAes256Gcm, CryptoSuite::AeadAes128Gcm, CryptoSuite::AesCm128HmacSha1_80];

    /// The name in a key line.
    pub const fn name(self) -> &'static str {
        match self {
            CryptoSuite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            CryptoSuite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            CryptoSuite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            CryptoSuite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Bytes of master key.
    pub const fn key_length(self) -> usize {
        match self {
            CryptoSuite::AesCm128HmacSha1_80
            | CryptoSuite::AesCm128HmacSha1_32
            | CryptoSuite::AeadAes128Gcm => 16,
            CryptoSuite::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of master salt.
    pub const fn salt_length(self) -> usize {
        match self {
            CryptoSuite::AesCm128HmacSha1_80 | CryptoSuite::AesCm128HmacSha1_32 => 14,
            CryptoSuite::AeadAes128Gcm | CryptoSuite::AeadAes256Gcm => 12,
        }
    }

    const fn index(self) -> usize {
        match self {
            CryptoSuite::AesCm128HmacSha1_80 => 0,
            CryptoSuite::AesCm128HmacSha1_32 => 1,
            CryptoSuite::AeadAes128Gcm => 2,
            CryptoSuite::AeadAes256Gcm => 3,
        }
    }
}

/// A key line that can be used as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CryptoLine {
    /// Names the line in an answer; up to nine digits.
    pub tag: u32,
    /// The protection.
    pub suite: CryptoSuite,
    /// Master key and salt, base64.
    pub key: Secret,
    /// How many packets the key may protect, when said.
    pub lifetime: Option<u64>,
}

impl CryptoLine {
    /// Reads an attribute's value. `None` for a line that cannot be used: another suite, a key of the wrong length, a
    /// master key index (this phone reads none, RFC 4568 §6.1 lets it pass the line over), several keys, or a session
    /// parameter that is not understood or takes protection away (§6.3).
    pub fn parse(value: &str) -> Option<CryptoLine> {
        if value.len() > MAX_CRYPTO_LINE {
            return None;
        }
        let mut words = value.split_ascii_whitespace();
        let tag = words.next()?;
        if tag.is_empty() || tag.len() > 9 || !tag.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let tag = tag.parse().ok()?;
        let name = words.next()?;
        let suite = CryptoSuite::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))?;
        let (method, key) = words.next()?.split_once(':')?;
        if !method.eq_ignore_ascii_case("inline") || key.contains(';') {
            return None;
        }
        let mut parts = key.split('|');
        let material = TOLERANT.decode(parts.next()?).ok()?;
        if material.len() != suite.key_length() + suite.salt_length() {
            return None;
        }
        let lifetime = match parts.next() {
            None => None,
            // A colon is a master key index.
            Some(lifetime) => Some(self::lifetime(lifetime)?),
        };
        if parts.next().is_some() || !words.all(harmless) {
            return None;
        }
        Some(CryptoLine { tag, suite, key: Secret::new(STANDARD.encode(material)), lifetime })
    }

    /// The attribute's value. It holds the key: for the wire only.
    pub fn to_value(&self) -> String {
        let mut text = format!("{} {} inline:{}", self.tag, self.suite.name(), self.key.expose());
        if let Some(lifetime) = self.lifetime {
            text.push_str(&format!("|{lifetime}"));
        }
        text
    }
}

/// `2^20` or digits; at least one packet.
fn lifetime(text: &str) -> Option<u64> {
    let packets = match text.strip_prefix("2^") {
        Some(exponent) => 1_u64.checked_shl(exponent.parse().ok()?)?,
        None => text.parse().ok()?,
    };
    (packets > 0).then_some(packets)
}

/// Session parameters that change nothing for us (RFC 4568 §6.3).
fn harmless(parameter: &str) -> bool {
    // A dash marks what may be left unread (§6.3.7); a window hint is only a hint.
    parameter.starts_with('-') || parameter == "KDR=0" || parameter.starts_with("WSH=")
}

/// Our own keys for one session: one for each suite, the same through its re-offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SdesKeys([Secret; 4]);

impl SdesKeys {
    /// Draws fresh keys.
    pub fn generate(entropy: &mut Entropy) -> SdesKeys {
        let mut keys: [Secret; 4] = Default::default();
        for suite in CryptoSuite::ALL {
            let mut material = [0; 46];
            let material = &mut material[..suite.key_length() + suite.salt_length()];
            entropy.fill(material);
            keys[suite.index()] = Secret::new(STANDARD.encode(material));
        }
        SdesKeys(keys)
    }

    /// The key of a suite: base64 of master key and salt.
    pub fn key(&self, suite: CryptoSuite) -> &Secret {
        &self.0[suite.index()]
    }
}

/// The master key and salt of base64 key material, when its length fits the suite.
pub fn decode_key(suite: CryptoSuite, key: &Secret) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut material = TOLERANT.decode(key.expose()).ok()?;
    if material.len() != suite.key_length() + suite.salt_length() {
        return None;
    }
    let salt = material.split_off(suite.key_length());
    Some((material, salt))
}
