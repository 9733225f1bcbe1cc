//! Readers of whole texts: files, lists, environments, flags.

use serde_json::Value;
use thiserror::Error;

use crate::pairs::pairs;
use crate::parameter::parameter;
use crate::script;
use crate::source::Source;
use crate::store::Settings;

/// Largest file that is read.
const MAX_TEXT: usize = 1024 * 1024;

/// Why a text could not be read at all.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ReadError {
    /// It has more than a mebibyte.
    #[error("the text is too long for settings")]
    TooLong,
    /// It starts like a JSON object and is none.
    #[error("the text is not a JSON object (line {line}): {cause}")]
    Json {
        /// Where.
        line: usize,
        /// What the parser says; it shows no value.
        cause: &'static str,
    },
    /// It is a script in which the object of parameters does not end, or is not made of plain values.
    #[error("the parameter object cannot be read (line {line})")]
    Script {
        /// Where.
        line: usize,
    },
    /// A line is neither `name=value` nor empty nor a comment.
    #[error("line {line} is not name=value")]
    Line {
        /// Which.
        line: usize,
    },
}

impl Settings {
    /// Reads a configuration file in whichever form it has: a JSON object, a `webphone_config.js`, or lines of
    /// `name=value`.
    ///
    /// # Errors
    /// When the form itself is broken; wrong names and values are told by [`Settings::diagnoses`].
    pub fn read_file(&mut self, text: &str, source: Source) -> Result<(), ReadError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.len() > MAX_TEXT {
            return Err(ReadError::TooLong);
        }
        if text.trim_start().starts_with('{') {
            self.read_json(text, source)
        } else if script::is_script(text) {
            self.read_script(text, source)
        } else {
            self.read_lines(text, source)
        }
    }

    /// Reads a JSON object; `null` clears. An object under `parameters` is read too.
    ///
    /// # Errors
    /// Not a JSON object.
    pub fn read_json(&mut self, text: &str, source: Source) -> Result<(), ReadError> {
        if text.len() > MAX_TEXT {
            return Err(ReadError::TooLong);
        }
        let broken = |line, cause| ReadError::Json { line, cause };
        let object = match serde_json::from_str(text) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return Err(broken(1, "not an object")),
            Err(error) => return Err(broken(error.line(), "syntax")),
        };
        for (name, value) in object {
            if let ("parameters", Value::Object(inner)) = (name.as_str(), &value) {
                for (name, value) in inner {
                    self.set_json(name, value, source);
                }
            } else {
                self.set_json(&name, &value, source);
            }
        }
        Ok(())
    }

    fn set_json(&mut self, name: &str, value: &Value, source: Source) {
        match value {
            Value::Null => self.set(name, "NULL", source),
            Value::String(text) => self.set(name, text, source),
            // Such as `ice`, which is a JSON text by itself.
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                self.set(name, &value.to_string(), source)
            }
        };
    }

    /// Reads a script that assigns an object of plain values to `parameters`, or single ones
    /// (`parameters['name'] = value`). Nothing is run.
    ///
    /// # Errors
    /// The object does not end, or holds something else than names and plain values.
    pub fn read_script(&mut self, text: &str, source: Source) -> Result<(), ReadError> {
        if text.len() > MAX_TEXT {
            return Err(ReadError::TooLong);
        }
        for (name, value) in script::read(text).map_err(|line| ReadError::Script { line })? {
            self.set(&name, &value, source);
        }
        Ok(())
    }

    /// Reads lines of `name=value`. Empty lines, comments (`#`, `;`, `//`) and headings (`[…]`) are passed over; a
    /// value may stand in quotes.
    ///
    /// # Errors
    /// The first line that is something else; the lines before it have been read.
    pub fn read_lines(&mut self, text: &str, source: Source) -> Result<(), ReadError> {
        if text.len() > MAX_TEXT {
            return Err(ReadError::TooLong);
        }
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty()
                || line.starts_with(['#', ';'])
                || line.starts_with("//")
                || (line.starts_with('[') && line.ends_with(']'))
            {
                continue;
            }
            let Some((name, value)) = line.split_once('=') else {
                return Err(ReadError::Line { line: at + 1 });
            };
            let value = unquoted(value.trim());
            self.set(name.trim(), &value, source);
        }
        Ok(())
    }

    /// Reads a list of `name=value`: separated by commas as a server answers, or by semicolons as in `x-mparam`
    /// (B-044, B-045).
    pub fn read_list(&mut self, text: &str, separator: char, source: Source) {
        for (name, value) in pairs(text.get(..MAX_TEXT).unwrap_or(text), separator) {
            self.set(name, value, source);
        }
    }

    /// Reads an environment: names that start with `WP_` or `WAKELINE_`, in any case. The others are not looked at,
    /// and neither are `WAKELINE_` names that are no parameters, which may be other programs' own.
    pub fn read_environment<N: AsRef<str>, V: AsRef<str>>(
        &mut self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) {
        for (name, value) in variables {
            let name = name.as_ref();
            if let Some(plain) = without_prefix(name, "WP_") {
                self.set(&plain.to_ascii_lowercase(), value.as_ref(), Source::Environment);
            } else if let Some(plain) = without_prefix(name, "WAKELINE_")
                && parameter(plain).is_some()
            {
                self.set(&plain.to_ascii_lowercase(), value.as_ref(), Source::Environment);
            }
        }
    }

    /// Reads a command line's pairs; dashes before a name do not count, and those within one stand for underscores
    /// where the parameter has them.
    pub fn read_flags<N: AsRef<str>, V: AsRef<str>>(&mut self, flags: impl IntoIterator<Item = (N, V)>) {
        for (name, value) in flags {
            let name = name.as_ref().trim_start_matches('-');
            let underscored = name.replace('-', "_");
            let name = if parameter(&underscored).is_some() { &underscored } else { name };
            self.set(name, value.as_ref(), Source::Session);
        }
    }
}

fn without_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let start = name.get(..prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then(|| &name[prefix.len()..])
}

/// A value without its quotes; in double quotes a backslash escapes as in JSON.
fn unquoted(value: &str) -> String {
    if value.len() >= 2 && value.starts_with('"') && value.ends_with('"') {
        return serde_json::from_str(value).unwrap_or_else(|_| value[1..value.len() - 1].to_owned());
    }
    if value.len() >= 2 && value.starts_with('\'') && value.ends_with('\'') {
        return value[1..value.len() - 1].to_owned();
    }
    value.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b036_a_json_object_is_read() {
        let mut settings = Settings::new();
        settings
            .read_file(
                r#" {"serveraddress":"sip.example","register":false,"keepaliveival":15000,
                    "proxyaddress":null,"parameters":{"username":"mia"}}"#,
                Source::File,
            )
            .unwrap();
        assert_eq!(settings.text("serveraddress"), Some("sip.example"));
        assert_eq!(settings.number("register"), Some(0));
        assert_eq!(settings.number("keepaliveival"), Some(15000));
        assert!(settings.is_set("proxyaddress") && settings.text("proxyaddress").is_none());
        assert_eq!(settings.text("username"), Some("mia"));
    }

    #[test]
    fn b036_lines_are_read_with_comments_headings_and_quotes() {
        let mut settings = Settings::new();
        settings
            .read_file(
                "\u{feff}# phone\r\n[account]\r\nserveraddress = sip.example\r\n\r\nusername='mia'\n; old\n// older\n\
                 displayname = \"Mia \\\"M\\\" \"\npassword=a=b#c\ncontact_uri_parameters=a=1;b\n",
                Source::File,
            )
            .unwrap();
        assert_eq!(settings.text("username"), Some("mia"));
        assert_eq!(settings.text("displayname"), Some("Mia \"M\" "));
        assert_eq!(settings.text("password"), Some("a=b#c"));
        assert_eq!(settings.text("contact_uri_parameters"), Some("a=1;b"));
    }

    #[test]
    fn broken_texts_name_the_line_and_show_no_value() {
        let mut settings = Settings::new();
        assert_eq!(settings.read_file("realm=a\nnonsense", Source::File), Err(ReadError::Line { line: 2 }));
        let error = settings.read_file("{\"password\":\n\"canary", Source::File).unwrap_err();
        assert_eq!(error, ReadError::Json { line: 2, cause: "syntax" });
        assert!(!error.to_string().contains("canary"));
        assert_eq!(settings.read_file(&" ".repeat(MAX_TEXT + 1), Source::File), Err(ReadError::TooLong));
    }

    #[test]
    fn b044_a_servers_answer_is_a_list_with_commas() {
        let mut settings = Settings::new();
        settings.read_list("codec=pcmu,pcma, transport=1 ,realm=x.example,", ',', Source::Server);
        assert_eq!(settings.text("codec"), Some("pcmu,pcma"));
        assert_eq!(settings.number("transport"), Some(1));
        assert_eq!(settings.text("realm"), Some("x.example"));
    }

    #[test]
    fn b045_x_mparam_is_a_list_with_semicolons() {
        let mut settings = Settings::new();
        settings.read_list("blacklist=a,b;loglevel=5", ';', Source::Server);
        assert_eq!(settings.text("blacklist"), Some("a,b"));
        assert_eq!(settings.number("loglevel"), Some(5));
    }

    #[test]
    fn the_environment_counts_with_its_prefixes_only() {
        let mut settings = Settings::new();
        settings.read_environment([
            ("WP_SERVERADDRESS", "a.example"),
            ("WAKELINE_USERNAME", "mia"),
            ("WAKELINE_LOG", "debug"),
            ("PASSWORD", "no"),
            ("WP_PASWORD", "no"),
            ("wp_realm", "r"),
        ]);
        assert_eq!(settings.text("serveraddress"), Some("a.example"));
        assert_eq!(settings.text("username"), Some("mia"));
        assert_eq!(settings.text("realm"), Some("r"));
        assert_eq!(settings.text("password"), None);
        assert_eq!(settings.diagnoses().len(), 1);
    }

    #[test]
    fn flags_may_have_dashes_and_beat_the_file() {
        let mut settings = Settings::new();
        settings.set("keepaliveival", "0", Source::File);
        settings.read_flags([("--keepaliveival", "2"), ("username", "mia"), ("--nonsence", "x")]);
        assert_eq!(settings.number("keepaliveival"), Some(2));
        assert_eq!(settings.text("username"), Some("mia"));
        assert_eq!(settings.diagnoses().len(), 1);
    }

    #[test]
    fn s13_hostile_lists_take_linear_time() {
        let mut settings = Settings::new();
        for text in ["=,".repeat(50_000), ",".repeat(100_000), "a=b,c".repeat(20_000), "x,".repeat(50_000)] {
            settings.read_list(&text, ',', Source::Server);
        }
        assert!(settings.diagnoses().len() <= 128);
    }
}
