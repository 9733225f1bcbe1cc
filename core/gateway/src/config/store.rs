//! `[store]`: what outlives the process.

use std::path::PathBuf;

use serde::Deserialize;

/// The store's place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// SQLite file; empty: none.
    pub path: PathBuf,
}

impl Store {
    /// Whether anything outlives the process.
    pub(crate) fn is_on(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }
}
