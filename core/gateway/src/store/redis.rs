//! A Redis server as the store: what one node kept, another one on another machine starts from.
//!
//! A row is a key of its own, `wakeline:<table>:<name>`, with Redis' own expiry; the value stands behind eight bytes with
//! the moment at which it may be forgotten (milliseconds since 1970, big-endian; zeros: never). A batch is one MULTI/EXEC:
//! all of it is written, or nothing. Redis keeps what it is told to keep: with `appendonly yes` a crash of the server
//! loses a second at most.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::{Client, Connection, RedisError, RedisResult};
use wakeline_clock::WallTime;
use wakeline_secret::Secret;

use super::{Change, Row, Store, StoreError, Table};

/// How long the server may take to accept, and to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Keys that are looked at in one step, so that other clients are served between them.
const STEP: usize = 1000;
/// In front of every key.
const PREFIX: &str = "wakeline";

/// The server, and the connection while there is one.
pub struct Redis {
    client: Client,
    place: String,
    connection: Option<Connection>,
}

impl core::fmt::Debug for Redis {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // The client's own text holds the password.
        write!(f, "Redis({})", self.place)
    }
}

impl Redis {
    /// Connects: `redis://[user][:password@]host[:port][/database]`, or `redis+unix:///path` for a server on this machine.
    ///
    /// # Errors
    /// When the address is none, or the server does not answer.
    pub fn open(url: &Secret) -> Result<Redis, StoreError> {
        let place = without_password(url.expose());
        let client = Client::open(url.expose())
            .map_err(|error| StoreError::Away { place: place.clone(), why: why(&error) })?;
        let mut store = Redis { client, place, connection: None };
        store.with(|connection| redis::cmd("PING").query::<()>(connection))?;
        Ok(store)
    }

    /// Where it is, without its password.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// How many rows it has.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn rows(&mut self) -> Result<u64, StoreError> {
        let mut rows = 0;
        for table in Table::ALL {
            rows += self.keys(table)?.len() as u64;
        }
        Ok(rows)
    }

    /// Does something with the connection, which is opened when there is none, and given up when it failed.
    fn with<T>(&mut self, work: impl FnOnce(&mut Connection) -> RedisResult<T>) -> Result<T, StoreError> {
        let done = self.connected().and_then(work);
        done.map_err(|error| {
            self.connection = None;
            let (place, why) = (self.place.clone(), why(&error));
            let kind = error.kind();
            if kind == redis::ErrorKind::Io || kind == redis::ErrorKind::AuthenticationFailed {
                StoreError::Away { place, why }
            } else {
                StoreError::Trouble { place, why }
            }
        })
    }

    fn connected(&mut self) -> RedisResult<&mut Connection> {
        match &mut self.connection {
            Some(_) => {}
            none => {
                let fresh = self.client.get_connection_with_timeout(PATIENCE)?;
                fresh.set_read_timeout(Some(PATIENCE))?;
                fresh.set_write_timeout(Some(PATIENCE))?;
                *none = Some(fresh);
            }
        }
        self.connection.as_mut().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected).into())
    }

    fn keys(&mut self, table: Table) -> Result<BTreeMap<Vec<u8>, ()>, StoreError> {
        let pattern = format!("{PREFIX}:{}:*", table.name());
        self.with(|connection| {
            let (mut cursor, mut found) = (0_u64, BTreeMap::new());
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
                let (next, keys): (u64, Vec<Vec<u8>>) = scan.query(connection)?;
                // A key may be met twice while others are written.
                found.extend(keys.into_iter().map(|key| (key, ())));
                if next == 0 {
                    return Ok(found);
                }
                cursor = next;
            }
        })
    }
}

/// The key of a row.
fn name(table: Table, key: &[u8]) -> Vec<u8> {
    let mut name = format!("{PREFIX}:{}:", table.name()).into_bytes();
    name.extend_from_slice(key);
    name
}

/// The address as it may be shown.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rfind('@')) {
        (Some((scheme, _)), Some(at)) => format!("{scheme}://{}", &url[at + 1..]),
        (Some(_) | None, _) => url.to_owned(),
    }
}

/// What went wrong, without what was sent.
fn why(error: &RedisError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn written(row: &Row) -> Vec<u8> {
    let mut value = row.until.map_or(0, |until| until.0.max(1)).to_be_bytes().to_vec();
    value.extend_from_slice(&row.value);
    value
}

fn read(key: Vec<u8>, value: &[u8]) -> Option<Row> {
    let (until, value) = value.split_first_chunk::<8>()?;
    let until = Some(WallTime(u64::from_be_bytes(*until))).filter(|until| until.0 != 0);
    Some(Row { key, value: value.to_vec(), until })
}

impl Store for Redis {
    fn load(&mut self, table: Table, now: WallTime) -> Result<Vec<Row>, StoreError> {
        let names: Vec<Vec<u8>> = self.keys(table)?.into_keys().collect();
        let lead = name(table, b"").len();
        let mut rows = Vec::with_capacity(names.len());
        for step in names.chunks(STEP) {
            let values: Vec<Option<Vec<u8>>> =
                self.with(|connection| redis::cmd("MGET").arg(step).query(connection))?;
            for (name, value) in step.iter().zip(values) {
                // One that expired meanwhile is not there any more.
                let Some(value) = value else { continue };
                match read(name[lead.min(name.len())..].to_vec(), &value) {
                    Some(row) if row.until.is_none_or(|until| until > now) => rows.push(row),
                    Some(_) => {}
                    None => {
                        tracing::error!(table = table.name(), "a stored row is cut short; it is passed over")
                    }
                }
            }
        }
        Ok(rows)
    }

    fn write(&mut self, changes: &[(Table, Change)]) -> Result<(), StoreError> {
        let mut batch = redis::pipe();
        batch.atomic();
        for (table, change) in changes {
            let key = name(*table, change.key());
            match change {
                Change::Put(row) => {
                    let command = batch.cmd("SET").arg(key).arg(written(row));
                    if let Some(until) = row.until {
                        command.arg("PXAT").arg(until.0.max(1));
                    }
                    command.ignore();
                }
                Change::Remove(_) => {
                    batch.cmd("DEL").arg(key).ignore();
                }
            }
        }
        self.with(|connection| batch.query(connection))
    }

    fn sweep(&mut self, _: WallTime) -> Result<(), StoreError> {
        // The server forgets by itself.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s23_a_password_is_neither_shown_nor_in_an_error() {
        for (url, shown) in [
            ("redis://:canary@127.0.0.1:1/0", "redis://127.0.0.1:1/0"),
            ("redis://mia:can@ry@127.0.0.1:1", "redis://127.0.0.1:1"),
            ("redis://127.0.0.1:1", "redis://127.0.0.1:1"),
        ] {
            assert_eq!(without_password(url), shown);
            let error = Redis::open(&Secret::from(url)).unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:1") && error.contains("check that the server runs"), "{error}");
            assert!(!error.contains("canary") && !error.contains("ry@"), "{error}");
        }
    }
}
