//! What the phone remembers between two starts of its process: one file per record, private to the user.
//!
//! A record is replaced whole (write beside, sync, rename), so a process killed at any instant leaves the old record or
//! the new one and never half of either (fault F9). A full or read-only disk costs the record, not the call (F11).

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use wakeline_secret::Secret;

/// The folder of records; without one, nothing is remembered.
pub(crate) struct Store {
    folder: Option<PathBuf>,
    /// Whether the last write failed: told once, not at every record.
    failing: bool,
}

const ENDING: &str = "json";

impl Store {
    /// Opens the folder, making it when it is not there, and reads every record in it.
    pub(crate) fn open(folder: Option<PathBuf>) -> io::Result<(Store, BTreeMap<String, Secret>)> {
        let mut records = BTreeMap::new();
        if let Some(folder) = &folder {
            make_private(folder)?;
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                let key = path.file_stem().and_then(|stem| stem.to_str());
                if let Some(key) = key.filter(|_| path.extension().is_some_and(|ending| ending == ENDING)) {
                    match fs::read_to_string(&path) {
                        Ok(record) => drop(records.insert(key.to_owned(), Secret::new(record))),
                        // A damaged one costs what it held, not the phone: an account then registers anew.
                        Err(error) => {
                            tracing::error!(file = %path.display(), %error, "a record cannot be read")
                        }
                    }
                }
            }
        }
        Ok((Store { folder, failing: false }, records))
    }

    /// Replaces a record; an empty one is removed.
    pub(crate) fn keep(&mut self, key: &str, record: &Secret) {
        let Some(folder) = &self.folder else { return };
        match replace(folder, key, record) {
            Ok(()) => self.failing = false,
            Err(error) => {
                if !self.failing {
                    tracing::error!(folder = %folder.display(), %error, "cannot keep the phone's state: is the disk full or read-only?");
                }
                self.failing = true;
            }
        }
    }
}

fn replace(folder: &Path, key: &str, record: &Secret) -> io::Result<()> {
    let path = folder.join(format!("{key}.{ENDING}"));
    if record.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let beside = folder.join(format!("{key}.new"));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(record.expose().as_bytes())?;
    file.sync_data()?;
    fs::rename(beside, path)
}

fn make_private(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("wakeline-store-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn records_come_back_and_empty_ones_go() {
        let folder = folder("back");
        let (mut store, records) = Store::open(Some(folder.clone())).unwrap();
        assert!(records.is_empty());
        store.keep("account-0", &"{\"nonce\":1}".into());
        store.keep("account-1", &"{}".into());
        store.keep("account-1", &Secret::default());
        let (_, records) = Store::open(Some(folder.clone())).unwrap();
        assert_eq!(records.keys().collect::<Vec<_>>(), ["account-0"]);
        assert_eq!(records["account-0"].expose(), "{\"nonce\":1}");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn f9_half_a_write_leaves_the_old_record() {
        let folder = folder("half");
        let (mut store, _) = Store::open(Some(folder.clone())).unwrap();
        store.keep("account-0", &"old".into());
        // What a kill between write and rename leaves behind.
        fs::write(folder.join("account-0.new"), "ne").unwrap();
        let (_, records) = Store::open(Some(folder.clone())).unwrap();
        assert_eq!(records["account-0"].expose(), "old");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn f9_a_write_that_stops_at_any_byte_leaves_the_old_record_and_a_damaged_one_only_itself() {
        let folder = folder("torn");
        let (mut store, _) = Store::open(Some(folder.clone())).unwrap();
        store.keep("account-0", &"old".into());
        store.keep("account-1", &"whole".into());
        let new = "{\"nonce\":\"é\",\"count\":2}".as_bytes();
        for written in 0..=new.len() {
            fs::write(folder.join("account-0.new"), &new[..written]).unwrap();
            let (mut store, records) = Store::open(Some(folder.clone())).unwrap();
            assert_eq!((records.len(), records["account-0"].expose()), (2, "old"));
            // What was left beside is in nobody's way.
            store.keep("account-0", &"old".into());
        }
        fs::write(folder.join("account-0.json"), [b'{', 0xff]).unwrap();
        let (_, records) = Store::open(Some(folder.clone())).unwrap();
        assert_eq!(records.keys().collect::<Vec<_>>(), ["account-1"]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn records_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder("private");
        let (mut store, _) = Store::open(Some(folder.clone())).unwrap();
        store.keep("account-0", &"secret".into());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("account-0.json"))), (0o700, 0o600));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn f11_a_folder_that_cannot_be_written_costs_only_the_record() {
        let folder = folder("gone");
        let (mut store, _) = Store::open(Some(folder.clone())).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        store.keep("account-0", &"lost".into());
        assert!(store.failing);
        fs::create_dir_all(&folder).unwrap();
        store.keep("account-0", &"kept".into());
        assert!(!store.failing);
        fs::remove_dir_all(folder).unwrap();
    }
}
