//! Being woken.

use crate::store::Settings;

/// The push group, as the phone obeys it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PushSettings {
    /// `enablepush`.
    pub choice: PushChoice,
    /// `pushmode`.
    pub dialect: PushDialect,
}

/// `enablepush` (B-244, B-248).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushChoice {
    /// -1: when the shell has a token.
    Automatic,
    /// 0: never, and nothing is asked of a person.
    Off,
    /// 1: yes, and a missing token is a problem to tell.
    On,
}

/// `pushmode`: in which spelling the server is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushDialect {
    /// RFC 8599, confirmed by the server.
    Rfc8599,
    /// RFC 8599's names as Linphone writes them, not confirmed.
    Linphone,
    /// The `X-MPUSH` header field, not confirmed.
    Xmpush,
    /// No push.
    None,
}

impl Settings {
    /// The push group.
    pub fn push(&self) -> PushSettings {
        PushSettings {
            choice: match self.number("enablepush") {
                Some(0) => PushChoice::Off,
                Some(1) => PushChoice::On,
                Some(_) | None => PushChoice::Automatic,
            },
            dialect: match self.text("pushmode").unwrap_or("").to_ascii_lowercase().as_str() {
                "linphone" => PushDialect::Linphone,
                "xmpush" => PushDialect::Xmpush,
                "none" => PushDialect::None,
                _ => PushDialect::Rfc8599,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    #[test]
    fn b244_b248_enablepush_and_mode() {
        let mut settings = Settings::new();
        assert_eq!(
            settings.push(),
            PushSettings { choice: PushChoice::Automatic, dialect: PushDialect::Rfc8599 }
        );
        for (value, choice) in [("0", PushChoice::Off), ("1", PushChoice::On), ("-1", PushChoice::Automatic)]
        {
            settings.set("enablepush", value, Source::File);
            assert_eq!(settings.push().choice, choice);
        }
        for (value, dialect) in [
            ("Linphone", PushDialect::Linphone),
            ("xmpush", PushDialect::Xmpush),
            ("none", PushDialect::None),
            ("rfc8599", PushDialect::Rfc8599),
        ] {
            assert!(settings.set("push_mode", value, Source::File));
            assert_eq!(settings.push().dialect, dialect);
        }
        assert!(!settings.set("pushmode", "pigeon", Source::File));
    }
}
