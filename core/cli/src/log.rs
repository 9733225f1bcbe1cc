//! Logs: to standard error, in one line each, whatever foreign text they carry.

use std::io::{self, Write};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use wakeline_settings::Settings;

/// The variable that says what is logged.
pub(crate) const VARIABLE: &str = "WAKELINE_LOG";

/// Starts logging: by `WAKELINE_LOG` when it is set, else by the account's `loglevel`, else warnings.
pub(crate) fn start(settings: Option<&Settings>, to: impl Write + Send + 'static) {
    let by_level = Targets::new().with_default(level(settings.map_or(1, |settings| settings.log().level)));
    let filter = match std::env::var(VARIABLE) {
        Ok(text) if !text.trim().is_empty() => text.trim().parse().unwrap_or_else(|error| {
            eprintln!(
                "wakeline: {VARIABLE}: {error}; try {VARIABLE}=debug or {VARIABLE}=warn,wakeline_engine=trace"
            );
            by_level
        }),
        _ => by_level,
    };
    let writer = std::sync::Mutex::new(Escaped(to));
    let lines = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false);
    // A subscriber that stands already is a test's.
    let _ = lines.with_writer(writer).finish().with(filter).try_init();
}

/// `loglevel` in the words of the log.
fn level(loglevel: u8) -> LevelFilter {
    match loglevel {
        0..=2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 | 5 => LevelFilter::DEBUG,
        6.. => LevelFilter::TRACE,
    }
}

/// Writes control characters as escapes, so that a foreign text can neither forge a line nor speak to the terminal (S7).
struct Escaped<W>(W);

impl<W: Write> Write for Escaped<W> {
    /// The log hands over one whole line at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (text, end) = text.strip_suffix('\n').map_or((text.as_ref(), ""), |text| (text, "\n"));
        let mut shown = String::with_capacity(text.len() + 1);
        for character in text.chars() {
            if character.is_control() {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        shown.push_str(end);
        self.0.write_all(shown.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s7_a_foreign_text_stays_in_its_line() {
        let mut shown = Escaped(Vec::new());
        shown.write_all("call from \u{1b}[2J\r\nERROR forged\u{9b}\n".as_bytes()).unwrap();
        assert_eq!(String::from_utf8(shown.0).unwrap(), "call from \\u{1b}[2J\\r\\nERROR forged\\u{9b}\n");
    }

    #[test]
    fn levels_grow() {
        let levels = [LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE];
        assert_eq!([1, 3, 5, 9].map(level), levels);
    }
}
