//! One-time codes, and the marks under which secrets are kept: a code or a key of a phone is stored as its digest only.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use wakeline_secret::Secret;
use wakeline_settings::provisioning::{CODE_ALPHABET, CODE_LENGTH, read_code};

/// A phone's key: 128 bits in base64 have 22 characters.
const KEY: core::ops::RangeInclusive<usize> = 22..=128;

/// The SHA-256 of a secret; what is compared and stored in its place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Mark([u8; 32]);

impl Mark {
    fn of(text: &str) -> Mark {
        let mut mark = [0; 32];
        mark.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Mark(mark)
    }

    /// The mark of a phone's key; `None` when that is too short to be one.
    pub(crate) fn of_device(key: &Secret) -> Option<Mark> {
        let text = key.expose();
        let fits = KEY.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Mark::of(text))
    }
}

/// A code that may be exchanged once.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Code(String);

impl core::fmt::Debug for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Code(..)")
    }
}

impl Code {
    /// A new one.
    pub(crate) fn draw() -> Result<Code, getrandom::Error> {
        let mut bytes = [0_u8; CODE_LENGTH];
        getrandom::fill(&mut bytes)?;
        Ok(Code(bytes.iter().map(|byte| char::from(CODE_ALPHABET[usize::from(byte % 32)])).collect()))
    }

    /// As a person may have typed it.
    pub(crate) fn read(text: &str) -> Option<Code> {
        read_code(text).map(Code)
    }

    /// What stands in a link.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// What is stored.
    pub(crate) fn mark(&self) -> Mark {
        Mark::of(&self.0)
    }
}

/// A name that cannot be guessed and need not be secret: 72 bits, base64url.
pub(crate) fn draw_name() -> Result<String, getrandom::Error> {
    use base64::Engine as _;
    let mut bytes = [0_u8; 9];
    getrandom::fill(&mut bytes)?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it_and_nothing_else_is_one() {
        let code = Code::draw().unwrap();
        assert_eq!(code.text().len(), CODE_LENGTH);
        let typed: String = code.text().to_lowercase().replace('0', "o").replace('1', "l");
        let (left, right) = typed.split_at(13);
        assert_eq!(Code::read(&format!("{left}-{right} ")), Some(code.clone()));
        assert_ne!(Code::draw().unwrap(), code);
        let long = "A".repeat(10_000);
        for none in ["", "../../etc/passwd", &code.text()[1..], "<script>alert(1)</script>", &long] {
            assert_eq!(Code::read(none), None, "{none}");
        }
    }

    #[test]
    fn s23_a_code_is_not_shown() {
        let code = Code::draw().unwrap();
        assert!(!format!("{code:?}").contains(code.text()));
        assert_eq!(Mark::of_device(&"short".into()), None);
        assert!(Mark::of_device(&"k".repeat(22).into()).is_some());
    }
}
