//! The embedded store: one SQLite file in WAL mode.
//!
//! A kill at any instant loses at most the batch that was being written; the file itself stays whole (WAL, commits in
//! order). A damaged file is set aside under another name and a new one begun, because a gateway that does not start
//! helps nobody; phones register anew and the accounts of the configuration come back by themselves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, params};
use wakeline_clock::{WallTime, system};

use super::{Change, Row, Store, StoreError, Table};

/// The newest schema, and how to get to it from each older one: step `n` leads from version `n` to `n + 1`.
const STEPS: [&str; 6] = [
    "
    CREATE TABLE bindings (key BLOB PRIMARY KEY, value BLOB NOT NULL, until INTEGER) WITHOUT ROWID;
    CREATE TABLE accounts (key BLOB PRIMARY KEY, value BLOB NOT NULL, until INTEGER) WITHOUT ROWID;
    CREATE TABLE wakes (key BLOB PRIMARY KEY, value BLOB NOT NULL, until INTEGER) WITHOUT ROWID;
    CREATE TABLE own (key BLOB PRIMARY KEY, value BLOB NOT NULL, until INTEGER) WITHOUT ROWID;
    CREATE TABLE tls_sessions (key BLOB PRIMARY KEY, value BLOB NOT NULL, until INTEGER) WITHOUT ROWID;
",
    "CREATE TABLE grants (key BLOB PRIMARY KEY, value BLOB NOT NULL, until INTEGER) WITHOUT ROWID;",
    "CREATE TABLE subscriptions (key BLOB PRIMARY KEY, value BLOB NOT NULL, until INTEGER) WITHOUT ROWID;",
    "CREATE TABLE mail (key BLOB PRIMARY KEY, value BLOB NOT NULL, until INTEGER) WITHOUT ROWID;",
    "
    CREATE TABLE nodes (key BLOB PRIMARY KEY, value BLOB NOT NULL, until INTEGER) WITHOUT ROWID;
    CREATE TABLE spent (key BLOB PRIMARY KEY, value BLOB NOT NULL, until INTEGER) WITHOUT ROWID;
",
    "CREATE TABLE nonces (key BLOB PRIMARY KEY, value BLOB NOT NULL, until INTEGER) WITHOUT ROWID;",
];

/// The open file, or the wish for it.
#[derive(Debug)]
pub struct Sqlite {
    path: PathBuf,
    connection: Option<Connection>,
}

impl Sqlite {
    /// Opens or creates the file and brings its schema up to date. A damaged file is set aside first; a file that may
    /// only be read is read, and every write fails with [`StoreError::ReadOnly`] until that changes.
    ///
    /// # Errors
    /// When the file can neither be opened nor created, or a newer program wrote it.
    pub fn open(path: &Path) -> Result<Sqlite, StoreError> {
        let mut store = Sqlite { path: path.to_owned(), connection: None };
        match store.connect() {
            Ok(connection) => store.connection = Some(connection),
            Err(StoreError::Damaged { why, .. }) => {
                store.set_aside(&why)?;
                store.connection = Some(store.connect()?);
            }
            // Without write permission not even the WAL can be made; what is in the file can still be read.
            Err(error @ (StoreError::ReadOnly { .. } | StoreError::Open { .. })) => {
                store.connection = Some(store.connect_to_read().map_err(|_| error)?);
            }
            Err(error) => return Err(error),
        }
        Ok(store)
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        let mut connection = Connection::open(&self.path).map_err(|error| self.why(&error))?;
        self.prepare(&mut connection).map_err(|error| self.why(&error))?;
        let found: u32 = connection
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(|error| self.why(&error))?;
        let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
        if found > known {
            return Err(StoreError::Newer { place: self.place(), found, known });
        }
        for (version, step) in (0..known).zip(STEPS).skip(found as usize) {
            // Schema and version change together: a kill between them cannot happen.
            let change = format!("BEGIN IMMEDIATE; {step} PRAGMA user_version = {}; COMMIT;", version + 1);
            connection.execute_batch(&change).map_err(|error| self.why(&error))?;
        }
        Ok(connection)
    }

    fn prepare(&self, connection: &mut Connection) -> rusqlite::Result<()> {
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
        connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 1000;")?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(())
    }

    fn connect_to_read(&self) -> Result<Connection, StoreError> {
        // `immutable` because the WAL's shared memory file cannot be made beside a file that may only be read.
        let uri = format!("file:{}?immutable=1", self.path.display().to_string().replace('?', "%3f"));
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(uri, flags).map_err(|error| self.why(&error))?;
        connection
            .query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0))
            .map_err(|error| self.why(&error))?;
        Ok(connection)
    }

    /// Moves a damaged file (and its WAL) out of the way, so that it can be looked at later.
    fn set_aside(&mut self, why: &str) -> Result<(), StoreError> {
        self.connection = None;
        let mark = system::wall().as_secs();
        for suffix in ["", "-wal", "-shm"] {
            let from = PathBuf::from(format!("{}{suffix}", self.path.display()));
            let to = PathBuf::from(format!("{}.damaged-{mark}{suffix}", self.path.display()));
            if from.exists() {
                std::fs::rename(&from, &to)
                    .map_err(|error| StoreError::Open { place: self.place(), why: error.to_string() })?;
            }
        }
        tracing::error!(
            file = %self.path.display(),
            why,
            "the store was damaged; it is kept as .damaged-{mark} and a new one begun, phones register anew"
        );
        Ok(())
    }

    fn why(&self, error: &rusqlite::Error) -> StoreError {
        let place = self.place();
        let why = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged { place, why },
            Some(ErrorCode::DiskFull) => StoreError::Full { place },
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => StoreError::ReadOnly { place },
            Some(ErrorCode::CannotOpen) => StoreError::Open { place, why },
            Some(_) | None => StoreError::Trouble { place, why },
        }
    }

    /// The open connection; opened anew when it had been closed or may only read.
    fn connection(&mut self) -> Result<&mut Connection, StoreError> {
        let readable = self.connection.as_ref().is_some_and(|c| !c.is_readonly("main").unwrap_or(true));
        if !readable {
            match self.connect() {
                Ok(connection) => self.connection = Some(connection),
                // Damaged while we ran: everything that matters is in memory and comes back with the next changes.
                Err(StoreError::Damaged { why, .. }) => {
                    self.set_aside(&why)?;
                    self.connection = Some(self.connect()?);
                }
                Err(StoreError::Open { .. }) if self.path.exists() => {
                    return Err(StoreError::ReadOnly { place: self.place() });
                }
                Err(error) => return Err(error),
            }
        }
        let place = self.place();
        self.connection.as_mut().ok_or(StoreError::Trouble { place, why: "not open".to_owned() })
    }

    /// Runs `work` in a transaction; a connection that met damage is given up.
    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let connection = self.connection()?;
        let done = connection.transaction().and_then(|transaction| {
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        });
        done.map_err(|error| {
            let error = self.why(&error);
            if let StoreError::Damaged { .. } = error {
                self.connection = None;
            }
            error
        })
    }
}

/// Whether this program knows a file's schema.
///
/// # Errors
/// When a newer one wrote it, or it cannot be read.
pub(super) fn schema(path: &Path) -> Result<(), StoreError> {
    let store = Sqlite { path: path.to_owned(), connection: None };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| store.why(&error))?;
    let found: u32 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| store.why(&error))?;
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    if found > known { Err(StoreError::Newer { place: store.place(), found, known }) } else { Ok(()) }
}

/// Looks at a store's file without changing it: whether it is sound, and how many rows it has.
///
/// # Errors
/// When it cannot be read, or is damaged.
pub fn inspect(path: &Path) -> Result<u64, StoreError> {
    let store = Sqlite { path: path.to_owned(), connection: None };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| store.why(&error))?;
    let look = || -> rusqlite::Result<(String, u64)> {
        connection.busy_timeout(Duration::from_secs(5))?;
        let verdict = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        let mut rows = 0;
        for table in Table::ALL {
            // A file of an older version lacks a table; the next start adds it.
            let sql = format!("SELECT count(*) FROM {}", table.name());
            rows += connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap_or(0).cast_unsigned();
        }
        Ok((verdict, rows))
    };
    let (verdict, rows) = look().map_err(|error| store.why(&error))?;
    if verdict == "ok" { Ok(rows) } else { Err(StoreError::Damaged { place: store.place(), why: verdict }) }
}

impl Store for Sqlite {
    fn load(&mut self, table: Table, now: WallTime) -> Result<Vec<Row>, StoreError> {
        let place = self.place();
        let connection =
            self.connection.as_ref().ok_or(StoreError::Trouble { place, why: "not open".to_owned() })?;
        let rows = || -> rusqlite::Result<Vec<Row>> {
            let mut statement = connection.prepare(&format!(
                "SELECT key, value, until FROM {} WHERE until IS NULL OR until > ?1",
                table.name()
            ))?;
            let rows = statement.query_map([now.0.cast_signed()], |row| {
                Ok(Row {
                    key: row.get(0)?,
                    value: row.get(1)?,
                    until: row.get::<_, Option<i64>>(2)?.map(|until| WallTime(until.cast_unsigned())),
                })
            })?;
            rows.collect()
        };
        let error = match rows() {
            Ok(rows) => return Ok(rows),
            Err(error) => self.why(&error),
        };
        let StoreError::Damaged { why, .. } = error else { return Err(error) };
        self.set_aside(&why)?;
        self.connection = Some(self.connect()?);
        Ok(Vec::new())
    }

    fn write(&mut self, changes: &[(Table, Change)]) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            for (table, change) in changes {
                let table = table.name();
                match change {
                    Change::Put(row) => {
                        let sql =
                            format!("INSERT OR REPLACE INTO {table} (key, value, until) VALUES (?1, ?2, ?3)");
                        let until = row.until.map(|until| until.0.cast_signed());
                        transaction.prepare_cached(&sql)?.execute(params![row.key, row.value, until])?;
                    }
                    Change::Remove(key) => {
                        let sql = format!("DELETE FROM {table} WHERE key = ?1");
                        transaction.prepare_cached(&sql)?.execute([key])?;
                    }
                }
            }
            Ok(())
        })
    }

    fn sweep(&mut self, now: WallTime) -> Result<(), StoreError> {
        self.transaction(|transaction| {
            for table in Table::ALL {
                let sql = format!("DELETE FROM {} WHERE until <= ?1", table.name());
                transaction.prepare_cached(&sql)?.execute([now.0.cast_signed()])?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::keeper::tests::folder;

    const NOW: WallTime = WallTime(1_800_000_000_000);

    fn put(key: &str, value: &str, until: Option<u64>) -> (Table, Change) {
        let row = Row { key: key.into(), value: value.into(), until: until.map(WallTime) };
        (Table::Bindings, Change::Put(row))
    }

    fn keys(store: &mut Sqlite) -> Vec<String> {
        let rows = store.load(Table::Bindings, NOW).unwrap();
        rows.into_iter().map(|row| String::from_utf8(row.key).unwrap()).collect()
    }

    #[test]
    fn rows_are_replaced_removed_and_forgotten_in_time() {
        let folder = folder();
        let path = folder.path().join("a.db");
        let mut store = Sqlite::open(&path).unwrap();
        store
            .write(&[put("a", "1", None), put("b", "1", Some(NOW.0 + 1)), put("c", "1", Some(NOW.0))])
            .unwrap();
        assert_eq!(keys(&mut store), ["a", "b"]);
        store.write(&[put("a", "2", None), (Table::Bindings, Change::Remove(b"b".to_vec()))]).unwrap();
        drop(store);
        let mut store = Sqlite::open(&path).unwrap();
        assert_eq!(store.load(Table::Bindings, NOW).unwrap()[0].value, b"2");
        store.sweep(NOW).unwrap();
        let left: i64 = store
            .connection()
            .unwrap()
            .query_row("SELECT count(*) FROM bindings", [], |row| row.get(0))
            .unwrap();
        assert_eq!(left, 1);
        assert!(store.load(Table::Wakes, NOW).unwrap().is_empty());
    }

    #[test]
    fn f9_a_damaged_file_is_set_aside_and_a_new_one_begun() {
        let folder = folder();
        let path = folder.path().join("a.db");
        // Not a database at all.
        std::fs::write(&path, vec![b'x'; 8192]).unwrap();
        let mut store = Sqlite::open(&path).unwrap();
        store.write(&[put("a", "1", None)]).unwrap();
        assert_eq!(keys(&mut store), ["a"]);
        // A database whose pages were overwritten.
        let many: Vec<_> = (0..2000).map(|n| put(&format!("k{n}"), &"v".repeat(100), None)).collect();
        store.write(&many).unwrap();
        drop(store);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle..2 * middle].fill(0xA5);
        std::fs::write(&path, bytes).unwrap();
        let mut store = Sqlite::open(&path).unwrap();
        assert!(keys(&mut store).is_empty());
        store.write(&[put("b", "1", None)]).unwrap();
        assert_eq!(keys(&mut store), ["b"]);
        let kept = std::fs::read_dir(folder.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains("damaged"));
        assert!(kept.count() >= 1);
    }

    #[test]
    fn f11_full_and_read_only_are_told_apart_and_pass() {
        let folder = folder();
        let mut store = Sqlite::open(&folder.path().join("a.db")).unwrap();
        store.write(&[put("a", "1", None)]).unwrap();
        let connection = store.connection().unwrap();
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        let limit = |store: &mut Sqlite, pages: i64| {
            store
                .connection()
                .unwrap()
                .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
                .unwrap();
        };
        limit(&mut store, pages);
        let big = [put("b", &"v".repeat(100_000), None)];
        assert!(matches!(store.write(&big), Err(StoreError::Full { .. })));
        limit(&mut store, 1_000_000);
        store.write(&big).unwrap();
        store.connection().unwrap().execute_batch("PRAGMA query_only = 1").unwrap();
        assert!(matches!(store.write(&[put("c", "1", None)]), Err(StoreError::ReadOnly { .. })));
        store.connection().unwrap().execute_batch("PRAGMA query_only = 0").unwrap();
        store.write(&[put("c", "1", None)]).unwrap();
        assert_eq!(keys(&mut store), ["a", "b", "c"]);
    }

    #[test]
    fn a_newer_schema_is_refused_and_a_missing_directory_named() {
        let folder = folder();
        let path = folder.path().join("a.db");
        let mut store = Sqlite::open(&path).unwrap();
        store.connection().unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        drop(store);
        assert!(matches!(Sqlite::open(&path), Err(StoreError::Newer { found: 99, .. })));
        let error = Sqlite::open(&folder.path().join("no/such/a.db")).unwrap_err().to_string();
        assert!(error.contains("no/such") && error.contains("check that the directory exists"), "{error}");
    }
}
