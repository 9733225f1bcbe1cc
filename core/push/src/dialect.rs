//! The spellings of push parameters, and how an account asks for one.

use serde::{Deserialize, Serialize};

/// In which spelling push parameters came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// RFC 8599 as written.
    #[default]
    Rfc8599,
    /// RFC 8599 names with several services (`&`), tokens with a suffix (`:voip`), `apns.dev`, or a project number.
    Linphone,
    /// `app-id`, `pn-type`, `pn-tok`: `param` is the topic or project itself.
    Legacy,
    /// The `X-MPUSH` header field: `param` is the bundle or package.
    Xmpush,
}

/// How an account asks its server to be woken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PushMode {
    /// RFC 8599, which the server confirms in Feature-Caps.
    #[default]
    Rfc8599,
    /// RFC 8599 names as Linphone writes them, for servers that push without saying so.
    Linphone,
    /// The `X-MPUSH` header field.
    Xmpush,
    /// No push.
    None,
}

impl PushMode {
    /// Reads the name of a mode.
    pub fn parse(name: &str) -> Option<PushMode> {
        [PushMode::Rfc8599, PushMode::Linphone, PushMode::Xmpush, PushMode::None]
            .into_iter()
            .find(|mode| mode.as_str().eq_ignore_ascii_case(name))
    }

    /// The name of the mode in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            PushMode::Rfc8599 => "rfc8599",
            PushMode::Linphone => "linphone",
            PushMode::Xmpush => "xmpush",
            PushMode::None => "none",
        }
    }

    /// Whether a 2xx without a matching Feature-Caps means that there is no push (RFC 8599 §4.1.1).
    pub const fn needs_feature_caps(self) -> bool {
        matches!(self, PushMode::Rfc8599)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_have_names() {
        for mode in [PushMode::Rfc8599, PushMode::Linphone, PushMode::Xmpush, PushMode::None] {
            assert_eq!(PushMode::parse(mode.as_str()), Some(mode));
        }
        assert_eq!(PushMode::parse("carrier pigeon"), None);
    }
}
