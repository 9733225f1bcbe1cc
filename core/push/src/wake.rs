//! One name for a call in every layer, and how that call went while the phone woke up.

use core::fmt;
use core::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::error::PushError;

/// Wake states that are read from one header field value.
const MAX_STATES: usize = 64;

/// The header field of a 2xx to REGISTER that tells how calls went: `wid=state`, separated by commas.
pub const WAKE_STATE_HEADER: &str = "X-Wake-State";

/// The name of one wake: 96 bits of the call's Call-ID and From-tag, as the leg towards the phone has them. So a push,
/// its duplicate, the INVITE and its CANCEL all lead to one call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WakeId([u8; 16]);

impl WakeId {
    /// The first sixteen characters of base64url(SHA-256(Call-ID ‖ From-tag)).
    pub fn of(call_id: &str, from_tag: &str) -> WakeId {
        let mut hasher = Sha256::new();
        hasher.update(call_id.as_bytes());
        hasher.update(from_tag.as_bytes());
        let hash = hasher.finalize();
        let mut text = [b'A'; 16];
        // Twelve bytes make sixteen characters; the buffer has just that size.
        let _ = URL_SAFE_NO_PAD.encode_slice(&hash[..12], &mut text);
        WakeId(text)
    }

    /// The sixteen characters.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).unwrap_or("")
    }
}

impl FromStr for WakeId {
    type Err = PushError;

    fn from_str(text: &str) -> Result<WakeId, PushError> {
        let bytes: [u8; 16] = text.as_bytes().try_into().map_err(|_| PushError::WakeId)?;
        if bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            Ok(WakeId(bytes))
        } else {
            Err(PushError::WakeId)
        }
    }
}

impl TryFrom<String> for WakeId {
    type Error = PushError;

    fn try_from(text: String) -> Result<WakeId, PushError> {
        text.parse()
    }
}

impl From<WakeId> for String {
    fn from(id: WakeId) -> String {
        id.as_str().to_owned()
    }
}

impl fmt::Display for WakeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for WakeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WakeId({})", self.as_str())
    }
}

/// The UUID under which CallKit or Telecom knows a call: version 5 (RFC 9562 §5.5) of the wake id in the project's
/// namespace, so that a shell can compute it from a push alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ExternalId([u8; 16]);

impl ExternalId {
    /// The project's namespace `09a2e5cf-f5a0-50f0-a46b-b82def7d9eb0`: version 5, in the RFC's namespace for URLs, of
    /// `https://github.com/wakeline/wakeline`.
    pub const NAMESPACE: [u8; 16] =
        [0x09, 0xa2, 0xe5, 0xcf, 0xf5, 0xa0, 0x50, 0xf0, 0xa4, 0x6b, 0xb8, 0x2d, 0xef, 0x7d, 0x9e, 0xb0];

    /// The UUID of a wake.
    pub fn of(wake: &WakeId) -> ExternalId {
        let mut hasher = Sha1::new();
        hasher.update(Self::NAMESPACE);
        hasher.update(wake.0);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize()[..16]);
        bytes[6] = (bytes[6] & 0x0f) | 0x50;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        ExternalId(bytes)
    }

    /// The sixteen bytes, most significant first.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternalId({self})")
    }
}

impl FromStr for ExternalId {
    type Err = PushError;

    fn from_str(text: &str) -> Result<ExternalId, PushError> {
        let shape = |(at, byte): (usize, u8)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        };
        if text.len() != 36 || !text.bytes().enumerate().all(shape) {
            return Err(PushError::Malformed("uuid"));
        }
        let digits: Vec<u8> = text
            .chars()
            .filter_map(|c| c.to_digit(16))
            .filter_map(|digit| u8::try_from(digit).ok())
            .collect();
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] * 16 + pair[1];
        }
        Ok(ExternalId(bytes))
    }
}

impl TryFrom<String> for ExternalId {
    type Error = PushError;

    fn try_from(text: String) -> Result<ExternalId, PushError> {
        text.parse()
    }
}

impl From<ExternalId> for String {
    fn from(id: ExternalId) -> String {
        id.to_string()
    }
}

/// How the call of a wake went, as the gateway remembers it for late wakers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WakeState {
    /// It is held, or on its way: it will ring.
    Pending,
    /// The caller gave up.
    Cancelled,
    /// Another device of the same person took it.
    Elsewhere,
    /// The person declined it on another device.
    Declined,
    /// The gateway could not deliver it.
    Failed,
    /// The gateway knows nothing of it.
    Unknown,
}

impl WakeState {
    const ALL: [WakeState; 6] = [
        WakeState::Pending,
        WakeState::Cancelled,
        WakeState::Elsewhere,
        WakeState::Declined,
        WakeState::Failed,
        WakeState::Unknown,
    ];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            WakeState::Pending => "pending",
            WakeState::Cancelled => "cancelled",
            WakeState::Elsewhere => "elsewhere",
            WakeState::Declined => "declined",
            WakeState::Failed => "failed",
            WakeState::Unknown => "unknown",
        }
    }

    /// Reads the word, in any case.
    pub fn parse(word: &str) -> Option<WakeState> {
        WakeState::ALL.into_iter().find(|state| state.as_str().eq_ignore_ascii_case(word))
    }

    /// Whether the call is over, as far as this phone is concerned. *Unknown* is not: a gateway that has just started
    /// may say so, and the phone asks once more.
    pub const fn is_over(self) -> bool {
        match self {
            WakeState::Cancelled | WakeState::Elsewhere | WakeState::Declined | WakeState::Failed => true,
            WakeState::Pending | WakeState::Unknown => false,
        }
    }
}

impl fmt::Display for WakeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the value of an `X-Wake-State` header field: `wid=state`, several separated by commas. Entries that are not
/// understood are left out, and so is what stands behind the sixty-fourth.
pub fn read_wake_states(value: &str) -> Vec<(WakeId, WakeState)> {
    value
        .split(',')
        .take(MAX_STATES)
        .filter_map(|entry| {
            let entry = entry.split(';').next().unwrap_or("");
            let (id, state) = entry.split_once('=')?;
            Some((id.trim().parse().ok()?, WakeState::parse(state.trim())?))
        })
        .collect()
}

/// Writes the value of an `X-Wake-State` header field.
pub fn write_wake_states<'a>(states: impl IntoIterator<Item = &'a (WakeId, WakeState)>) -> String {
    let mut text = String::new();
    for (id, state) in states.into_iter().take(MAX_STATES) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(id.as_str());
        text.push('=');
        text.push_str(state.as_str());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_that_other_implementations_compute() {
        let wake = WakeId::of("a84b4c76e66710@pc33.example.com", "9fxced76sl");
        assert_eq!(wake.as_str(), "oOsKa742BXb-l1yE");
        let external = ExternalId::of(&wake);
        assert_eq!(external.to_string(), "ff406f27-98d1-5d33-8547-40f0c0e10ca2");
        assert_eq!(external.to_string().to_uppercase().parse(), Ok(external));
    }

    #[test]
    fn both_parts_count() {
        assert_ne!(WakeId::of("a", "b"), WakeId::of("a", "c"));
        assert_ne!(WakeId::of("a", "b"), WakeId::of("b", "b"));
    }

    #[test]
    fn ids_travel_as_text() {
        let wake = WakeId::of("a", "b");
        let json = serde_json::to_string(&wake).unwrap();
        assert_eq!(json, format!("\"{wake}\""));
        assert_eq!(serde_json::from_str::<WakeId>(&json).unwrap(), wake);
        let external = ExternalId::of(&wake);
        let json = serde_json::to_string(&external).unwrap();
        assert_eq!(serde_json::from_str::<ExternalId>(&json).unwrap(), external);
    }

    #[test]
    fn s8_only_sixteen_safe_characters_are_a_wake_id() {
        for bad in
            ["", "short", "Zk3vQm1xT0aB9wLrX", "Zk3vQm1xT0aB9wL\n", "Zk3vQm1xT0aB9wL=", "Zk3vQm1xT0aB9w/é"]
        {
            assert!(bad.parse::<WakeId>().is_err(), "{bad:?}");
        }
        for bad in ["", "ff406f27-98d1-5d33-8547-40f0c0e10ca", "ff406f27098d1-5d33-8547-40f0c0e10ca2", "é"] {
            assert!(bad.parse::<ExternalId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn states_read_back() {
        let states: Vec<_> =
            WakeState::ALL.into_iter().map(|state| (WakeId::of(state.as_str(), "x"), state)).collect();
        assert_eq!(read_wake_states(&write_wake_states(&states)), states);
        assert_eq!(write_wake_states(&[]), "");
    }

    #[test]
    fn what_is_not_understood_is_left_out() {
        let read = read_wake_states(
            "Zk3vQm1xT0aB9wLr=Cancelled;x=1, nonsense, short=pending, Zk3vQm1xT0aB9wLs=exploded,",
        );
        assert_eq!(read, [("Zk3vQm1xT0aB9wLr".parse().unwrap(), WakeState::Cancelled)]);
    }

    #[test]
    fn s14_a_flood_of_states_is_bounded() {
        assert_eq!(read_wake_states(&"Zk3vQm1xT0aB9wLr=failed,".repeat(5000)).len(), MAX_STATES);
    }
}
