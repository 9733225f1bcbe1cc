//! A copy of the embedded store while the gateway goes on, and the way back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use super::StoreError;
use super::sqlite::{inspect, schema};

/// Pages of one step, and the pause between two: the gateway's own writes go between them.
const STEP: (core::ffi::c_int, Duration) = (256, Duration::from_millis(5));

fn trouble(place: &Path, why: impl ToString) -> StoreError {
    StoreError::Trouble { place: place.display().to_string(), why: why.to_string() }
}

/// An empty file that only its owner may read: a store holds tokens and secrets.
fn create(path: &Path) -> Result<(), StoreError> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(|_| ()).map_err(|error| trouble(path, error))
}

fn copy(from: &Path, to: &Path) -> Result<u64, StoreError> {
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(|error| trouble(from, error))?;
    source.busy_timeout(Duration::from_secs(5)).map_err(|error| trouble(from, error))?;
    create(to)?;
    let copied = || -> rusqlite::Result<()> {
        let mut target = Connection::open(to)?;
        Backup::new(&source, &mut target)?.run_to_completion(STEP.0, STEP.1, None)?;
        // One file, and not three: the journal's mode is copied too.
        target.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
    };
    copied().map_err(|error| trouble(to, error))?;
    inspect(to)
}

/// Copies a store, whether a gateway uses it or not; how many rows the copy has. The copy is looked at before it is
/// called one.
///
/// # Errors
/// When the store cannot be read, or the copy is there already or cannot be written.
pub fn backup(store: &Path, copy_to: &Path) -> Result<u64, StoreError> {
    if !store.is_file() {
        return Err(trouble(store, "there is no such file"));
    }
    copy(store, copy_to)
}

/// Puts a copy in a store's place; how many rows it has. What was there before is kept beside it, under the name that is
/// given back.
///
/// # Errors
/// When the copy is damaged or of a newer program, or a gateway is using the store.
pub fn restore(copy_from: &Path, store: &Path, mark: u64) -> Result<(u64, Option<PathBuf>), StoreError> {
    inspect(copy_from)?;
    schema(copy_from)?;
    if store.exists() {
        unused(store)?;
    }
    let fresh = PathBuf::from(format!("{}.restoring-{mark}", store.display()));
    let rows = copy(copy_from, &fresh)?;
    let kept = store.exists().then(|| PathBuf::from(format!("{}.before-{mark}", store.display())));
    if let Some(kept) = &kept {
        std::fs::rename(store, kept).map_err(|error| trouble(store, error))?;
    }
    std::fs::rename(&fresh, store).map_err(|error| trouble(store, error))?;
    Ok((rows, kept))
}

/// Whether nobody has the store open: only then can it leave its journal behind.
fn unused(store: &Path) -> Result<(), StoreError> {
    let left = || -> rusqlite::Result<String> {
        let connection = Connection::open(store)?;
        connection.query_row("PRAGMA journal_mode = DELETE", [], |row| row.get(0))
    };
    match left() {
        Ok(mode) if mode == "delete" => Ok(()),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase) => Ok(()),
        Ok(_) | Err(_) => Err(trouble(store, "a gateway is using it; stop that first")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::keeper::tests::folder;
    use crate::store::{Change, Row, Sqlite, Store as _, Table};
    use wakeline_clock::WallTime;

    const NOW: WallTime = WallTime(1_800_000_000_000);

    fn put(store: &mut Sqlite, key: &str) {
        let row = Row { key: key.into(), value: vec![7; 5000], until: None };
        store.write(&[(Table::Bindings, Change::Put(row))]).unwrap();
    }

    fn count(path: &Path) -> usize {
        Sqlite::open(path).unwrap().load(Table::Bindings, NOW).unwrap().len()
    }

    #[test]
    fn a_store_in_use_is_copied_whole_and_comes_back() {
        let folder = folder();
        let (live, copied) = (folder.path().join("live.db"), folder.path().join("copy.db"));
        let mut store = Sqlite::open(&live).unwrap();
        for number in 0..50 {
            put(&mut store, &number.to_string());
        }
        // What is in the journal only is in the copy too, and the gateway goes on meanwhile.
        assert_eq!(backup(&live, &copied).unwrap(), 50);
        put(&mut store, "later");
        assert!(backup(&live, &copied).unwrap_err().to_string().contains("exists"), "never over another");
        assert!(restore(&copied, &live, 1).unwrap_err().to_string().contains("a gateway is using it"));
        drop(store);
        let (rows, kept) = restore(&copied, &live, 1).unwrap();
        assert_eq!((rows, count(&live), count(&kept.unwrap())), (50, 50, 51));
        // Onto a machine that has none.
        let fresh = folder.path().join("fresh.db");
        assert_eq!(restore(&copied, &fresh, 1).unwrap(), (50, None));
        assert_eq!(count(&fresh), 50);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&copied).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn f9_a_copy_that_is_damaged_or_newer_is_refused_and_a_damaged_store_replaced() {
        let folder = folder();
        let (live, copied) = (folder.path().join("live.db"), folder.path().join("copy.db"));
        put(&mut Sqlite::open(&live).unwrap(), "a");
        backup(&live, &copied).unwrap();
        let damaged = folder.path().join("damaged.db");
        std::fs::write(&damaged, vec![b'x'; 8192]).unwrap();
        assert!(matches!(restore(&damaged, &live, 1), Err(StoreError::Damaged { .. })));
        assert_eq!(count(&live), 1);
        let newer = folder.path().join("newer.db");
        std::fs::copy(&copied, &newer).unwrap();
        Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        assert!(matches!(restore(&newer, &live, 1), Err(StoreError::Newer { .. })));
        assert_eq!(restore(&copied, &damaged, 2).unwrap().0, 1);
        assert_eq!(count(&damaged), 1);
        assert!(backup(&folder.path().join("none.db"), &folder.path().join("x.db")).is_err());
    }
}
