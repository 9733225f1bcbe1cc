//! What is wrong with a file, on which line, and what would be right.

use toml::de::{DeTable, DeValue};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration: cannot read {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, has an unknown key, or a value of the wrong kind; the text names the line.
    #[error("configuration: {0}")]
    Text(Box<toml::de::Error>),
    /// A value means nothing.
    #[error("configuration: {}{key}: {why}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
    Value {
        /// Which key.
        key: &'static str,
        /// In which of several blocks of that name, from zero.
        block: usize,
        /// On which line, once [`ConfigError::placed`] has looked; `None` when the file does not name the key.
        line: Option<usize>,
        /// What is wrong and what would be right.
        why: String,
    },
}

impl ConfigError {
    /// A value that means nothing.
    pub(crate) fn value(key: &'static str, why: impl Into<String>) -> ConfigError {
        ConfigError::Value { key, block: 0, line: None, why: why.into() }
    }

    /// The same in a certain one of several blocks, from zero.
    pub(crate) fn in_block(self, number: usize) -> ConfigError {
        match self {
            ConfigError::Value { key, line, why, .. } => ConfigError::Value { key, block: number, line, why },
            error @ (ConfigError::Read { .. } | ConfigError::Text(_)) => error,
        }
    }

    /// The same with its line in this text, which the value was read from.
    #[must_use]
    pub fn placed(self, text: &str) -> ConfigError {
        match self {
            ConfigError::Value { key, block, why, .. } => {
                ConfigError::Value { key, block, line: line_of(text, key, block), why }
            }
            error @ (ConfigError::Read { .. } | ConfigError::Text(_)) => error,
        }
    }
}

/// The line, from one, on which `a.b` stands; where the file has no `b`, that of `[a]`.
fn line_of(text: &str, key: &str, block: usize) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut table = root.get_ref();
    let mut at = None;
    for name in key.split('.') {
        let Some((found, value)) = table.get_key_value(name) else { break };
        at = Some(found.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            DeValue::Array(blocks) => {
                let Some(one) = blocks.get(block).filter(|one| one.get_ref().is_table()) else { break };
                // A block begins with its `[[name]]`, which is where its span begins too.
                at = Some(one.span().start);
                match one.get_ref() {
                    DeValue::Table(inner) => table = inner,
                    DeValue::String(_)
                    | DeValue::Integer(_)
                    | DeValue::Float(_)
                    | DeValue::Boolean(_)
                    | DeValue::Datetime(_)
                    | DeValue::Array(_) => break,
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => break,
        }
    }
    Some(text.get(..at?)?.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_the_line_of_its_key() {
        let text = "domains = []\n\n[expiry]\nplain_min = 1\n[[account]]\nuser = \"a\"\n\n[[account]]\nuser = \"b\"\n[[upstream]]\npin = \"1\"\n";
        for (key, block, line) in [
            ("domains", 0, Some(1)),
            ("expiry.plain_min", 0, Some(4)),
            ("expiry.push_min", 0, Some(3)),
            ("account", 0, Some(5)),
            ("account", 1, Some(8)),
            ("upstream.pin", 0, Some(11)),
            ("upstream.next_hops", 0, Some(10)),
            ("admin.token", 0, None),
        ] {
            assert_eq!(line_of(text, key, block), line, "{key} {block}");
        }
        let told = ConfigError::value("expiry.plain_min", "why").placed(text).to_string();
        assert_eq!(told, "configuration: line 4: expiry.plain_min: why");
        assert_eq!(ConfigError::value("a", "b").placed("").to_string(), "configuration: a: b");
    }
}
