//! What outlives the process: bindings, accounts, wake outcomes, secrets, TLS sessions.
//!
//! The machines keep everything in memory; the store is written behind them and read once, at start. A [`Store`] is
//! a few tables of named values, so that an embedded file and a cluster's server are equally easy; what stands in a
//! value is [`record`]'s matter. [`Keeper`] owns the one writer thread.

mod backup;
mod keeper;
pub mod record;
mod redis;
mod sqlite;
#[cfg(test)]
mod suite;

pub use backup::{backup, restore};
pub use keeper::{Health, Keeper};
pub use redis::{Facts, Redis};
pub use sqlite::{Sqlite, inspect};

use wakeline_clock::WallTime;

/// One kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Who may be woken, and where.
    Bindings,
    /// Who may register, with one digest secret per algorithm.
    Accounts,
    /// How wakes ended, for phones that register late.
    Wakes,
    /// Secrets and marks of the gateway itself.
    Own,
    /// TLS sessions that may be resumed, each once.
    TlsSessions,
    /// Settings that were granted to phones.
    Grants,
    /// Push addresses of the relay.
    Subscriptions,
    /// Requests that wait for phones that sleep.
    Mail,
    /// The nodes of a gateway that live.
    Nodes,
    /// Wakes that were taken from allowances.
    Spent,
    /// Uses of nonces, where several nodes accept the same ones.
    Nonces,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 11] = [
        Table::Bindings,
        Table::Accounts,
        Table::Wakes,
        Table::Own,
        Table::TlsSessions,
        Table::Grants,
        Table::Subscriptions,
        Table::Mail,
        Table::Nodes,
        Table::Spent,
        Table::Nonces,
    ];

    /// Its name in a store.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Bindings => "bindings",
            Table::Accounts => "accounts",
            Table::Wakes => "wakes",
            Table::Own => "own",
            Table::TlsSessions => "tls_sessions",
            Table::Grants => "grants",
            Table::Subscriptions => "subscriptions",
            Table::Mail => "mail",
            Table::Nodes => "nodes",
            Table::Spent => "spent",
            Table::Nonces => "nonces",
        }
    }
}

/// One stored value.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// Its name within the table.
    pub key: Vec<u8>,
    /// Its content.
    pub value: Vec<u8>,
    /// When it may be forgotten; `None` keeps it.
    pub until: Option<WallTime>,
}

impl core::fmt::Debug for Row {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Keys and values hold tokens and digest secrets.
        write!(f, "Row({} bytes, until {:?})", self.value.len(), self.until)
    }
}

/// One change that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// This value now stands under its key.
    Put(Row),
    /// Nothing stands under this key any more.
    Remove(Vec<u8>),
}

impl Change {
    /// The key that changes.
    pub fn key(&self) -> &[u8] {
        match self {
            Change::Put(row) => &row.key,
            Change::Remove(key) => key,
        }
    }
}

/// Why the store cannot be used, or not now.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file or server cannot be opened at all.
    #[error("store: cannot open {place}: {why}; check that the directory exists and may be written to")]
    Open {
        /// Which.
        place: String,
        /// Why.
        why: String,
    },
    /// The server does not answer.
    #[error(
        "store: cannot reach {place}: {why}; check that the server runs, and the address, the password and the firewall"
    )]
    Away {
        /// Which, without its password.
        place: String,
        /// Why.
        why: String,
    },
    /// A newer version of this program wrote it.
    #[error(
        "store: {place} has schema version {found}, this program knows {known}; use the newer program or another file"
    )]
    Newer {
        /// Which.
        place: String,
        /// The version found.
        found: u32,
        /// The newest version known here.
        known: u32,
    },
    /// It is damaged beyond reading.
    #[error("store: {place} is damaged: {why}")]
    Damaged {
        /// Which.
        place: String,
        /// Why.
        why: String,
    },
    /// There is no room.
    #[error("store: no room left for {place}; free some disk space, nothing is lost until then")]
    Full {
        /// Which.
        place: String,
    },
    /// It may only be read.
    #[error("store: {place} may not be written to; give it write permission, nothing is lost until then")]
    ReadOnly {
        /// Which.
        place: String,
    },
    /// Anything else that may pass.
    #[error("store: {place}: {why}")]
    Trouble {
        /// Which.
        place: String,
        /// Why.
        why: String,
    },
}

/// Where the records are.
pub trait Store: Send {
    /// Every row of a table that is still good at `now`.
    ///
    /// # Errors
    /// When it cannot be read; [`StoreError::Damaged`] when it never will be.
    fn load(&mut self, table: Table, now: WallTime) -> Result<Vec<Row>, StoreError>;

    /// Writes all of `changes` or none.
    ///
    /// # Errors
    /// When nothing was written.
    fn write(&mut self, changes: &[(Table, Change)]) -> Result<(), StoreError>;

    /// Puts a row where none is; what stands there afterwards, whoever put it. Several may try at once.
    ///
    /// # Errors
    /// When the store cannot be used.
    fn claim(&mut self, table: Table, row: Row) -> Result<Row, StoreError> {
        // A file has one owner: what it writes stands.
        let _ = table;
        Ok(row)
    }

    /// Forgets what is past its time.
    ///
    /// # Errors
    /// When nothing was forgotten.
    fn sweep(&mut self, now: WallTime) -> Result<(), StoreError>;
}

/// Opens the store: the server when there is an address, else the file.
///
/// # Errors
/// When it cannot be opened or reached.
pub fn open(path: &std::path::Path, url: &wakeline_secret::Secret) -> Result<Box<dyn Store>, StoreError> {
    Ok(if url.is_empty() { Box::new(Sqlite::open(path)?) } else { Box::new(Redis::open(url)?) })
}

/// A store that forgets with the process.
#[derive(Debug, Default)]
pub struct Forgetful;

impl Store for Forgetful {
    fn load(&mut self, _table: Table, _now: WallTime) -> Result<Vec<Row>, StoreError> {
        Ok(Vec::new())
    }

    fn write(&mut self, _changes: &[(Table, Change)]) -> Result<(), StoreError> {
        Ok(())
    }

    fn sweep(&mut self, _now: WallTime) -> Result<(), StoreError> {
        Ok(())
    }
}
