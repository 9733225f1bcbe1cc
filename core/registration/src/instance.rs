//! The name of an installation (RFC 5626 §4.1).

use core::fmt;

use serde::{Deserialize, Serialize};
use wakeline_entropy::Entropy;

/// `urn:uuid:…`: one per installation, the same for every account and for as long as the installation lasts
/// (RFC 5626 §4.1). A registrar knows a device by it: two names on one device with one push token look like theft.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Instance(String);

impl Instance {
    /// A new one: a random UUID (RFC 9562 §5.4).
    pub fn draw(entropy: &mut Entropy) -> Instance {
        let random = u128::from(entropy.u64()) << 64 | u128::from(entropy.u64());
        let bits = random & !(0xf000 << 64 | 0xc << 60) | 0x4000 << 64 | 0x8 << 60;
        let digits = format!("{bits:032x}");
        let groups = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| digits.get(range).unwrap_or_default());
        Instance(format!("urn:uuid:{}", groups.join("-")))
    }

    /// Reads one back; nothing but a UUID passes, as it is written into a header field.
    pub fn parse(text: &str) -> Option<Instance> {
        let groups: Vec<&str> = text.strip_prefix("urn:uuid:")?.split('-').collect();
        let fits = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
            && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
        fits.then(|| Instance(text.to_owned()))
    }

    /// As it is written between the brackets of `+sip.instance`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Instance {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Instance, &'static str> {
        Instance::parse(&text).ok_or("no urn:uuid")
    }
}

impl From<Instance> for String {
    fn from(instance: Instance) -> String {
        instance.0
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_ones_are_random_uuids_that_read_back() {
        let mut entropy = Entropy::from_number(3);
        let (one, two) = (Instance::draw(&mut entropy), Instance::draw(&mut entropy));
        assert_ne!(one, two);
        for drawn in [one, two] {
            assert_eq!(Instance::parse(drawn.as_str()), Some(drawn.clone()));
            assert_eq!(drawn.as_str().get(23..24), Some("4"), "{drawn}");
            assert!(drawn.as_str().get(28..29).is_some_and(|digit| "89ab".contains(digit)), "{drawn}");
        }
    }

    #[test]
    fn s8_what_is_no_uuid_is_no_instance() {
        for text in [
            "",
            "urn:uuid:",
            "urn:uuid:0f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a7",
            "urn:uuid:0f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a77-0",
            "urn:uuid:0f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a\r\n",
            "urn:uuid:0f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a>\"",
            "0f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a77",
        ] {
            assert_eq!(Instance::parse(text), None, "{text:?}");
        }
    }
}
