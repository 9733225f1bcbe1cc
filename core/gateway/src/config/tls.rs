//! `[tls]`: the certificate that phones see.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ConfigError;

/// The certificate's files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM chain; empty: self-signed.
    pub certificate: PathBuf,
    /// PEM key.
    pub key: PathBuf,
    /// Sessions that may be resumed.
    pub sessions: usize,
}

impl Default for Tls {
    fn default() -> Tls {
        Tls { certificate: PathBuf::new(), key: PathBuf::new(), sessions: 100_000 }
    }
}

impl Tls {
    /// Certificate and key; `None`: a self-signed one is made.
    pub(crate) fn checked(&self) -> Result<Option<(&Path, &Path)>, ConfigError> {
        files(&self.certificate, &self.key)
    }
}

/// Both files or neither.
pub(crate) fn files<'a>(
    certificate: &'a Path,
    key: &'a Path,
) -> Result<Option<(&'a Path, &'a Path)>, ConfigError> {
    match (certificate.as_os_str().is_empty(), key.as_os_str().is_empty()) {
        (false, false) => Ok(Some((certificate, key))),
        (true, true) => Ok(None),
        (true, false) | (false, true) => {
            Err(ConfigError::value("tls", "certificate and key belong together: name both or neither"))
        }
    }
}
