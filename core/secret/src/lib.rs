//! Text that never shows itself.
//!
//! Passwords, digest secrets, push tokens and keys travel through many rooms; in this wrapper they reach no log, no
//! panic message and no debug output (bug class S23). Reading one is a word that can be searched for: `expose`.
//!
//! In: text. Out: the text, when asked by name. Never: a `Display` or a telling `Debug`.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A secret text. Serialised as the plain text, because that is how it is stored and provisioned.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself; for the wire and the store only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret::new(text)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "Secret(empty)" } else { "Secret(..)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s23_debug_shows_neither_text_nor_length() {
        let shown = format!("{:?} {:#?}", Secret::from("hunter2"), Some(Secret::from("a much longer one")));
        assert!(!shown.contains("hunter2") && !shown.contains("longer"));
        assert_eq!(format!("{:?}", Secret::from("a")), format!("{:?}", Secret::from("abc")));
    }
}
