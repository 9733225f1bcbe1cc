//! What is logged.

use crate::store::Settings;

/// The log group, as the phone obeys it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogSettings {
    /// `loglevel`, not above `maxloglevel` (B-300, B-301); at least 1, so that what a person must know is not lost.
    pub level: u8,
}

impl LogSettings {
    /// Whether whole SIP messages are logged.
    pub const fn shows_messages(self) -> bool {
        self.level >= 5
    }
}

impl Settings {
    /// The log group.
    pub fn log(&self) -> LogSettings {
        let most = self.number("maxloglevel").filter(|most| *most > 0).unwrap_or(i64::from(u8::MAX));
        let level = self.number("loglevel").unwrap_or(1).min(most);
        LogSettings { level: u8::try_from(level.clamp(1, i64::from(u8::MAX))).unwrap_or(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    #[test]
    fn b300_b301_levels_are_capped_and_never_silent() {
        for (level, most, expected) in [
            ("1", "", 1),
            ("5", "", 5),
            ("9", "", 9),
            ("5", "3", 3),
            ("0", "", 1),
            ("-4", "", 1),
            ("999", "", 255),
        ] {
            let mut settings = Settings::new();
            settings.set("loglevel", level, Source::File);
            settings.set("maxloglevel", most, Source::File);
            assert_eq!(settings.log().level, expected, "{level} {most}");
        }
        assert!(!LogSettings { level: 4 }.shows_messages() && LogSettings { level: 5 }.shows_messages());
    }
}
