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
/// The stream in which nodes tell each other what they have written, and about how many batches it holds.
const TOLD: &str = "wakeline-told";
const REMEMBERED: usize = 100_000;
/// Compares and writes in one step: the row's key and the stream; what has to stand there, what is to (nothing: an empty
/// text), when it may be forgotten (0: never), the stream's length, who tells, and of what.
const SWAP: &str = "
    local stands = redis.call('GET', KEYS[1])
    if (stands or '') ~= ARGV[1] then return 0 end
    if ARGV[2] == '' then redis.call('DEL', KEYS[1])
    elseif ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2])
    else redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3]) end
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'node', ARGV[5], ARGV[6], '')
    return 1
";
/// In front of every key.
const PREFIX: &str = "wakeline";

/// The server, and the connection while there is one.
pub struct Redis {
    client: Client,
    place: String,
    connection: Option<Connection>,
    /// The node in whose name changes are told to the others; empty: to nobody.
    teller: String,
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
        let mut store = Redis { client, place, connection: None, teller: String::new() };
        store.with(|connection| redis::cmd("PING").query::<()>(connection))?;
        Ok(store)
    }

    /// From now on every batch is told to the other nodes in the same transaction that writes it, in this node's name.
    #[must_use]
    pub fn telling(mut self, node: &str) -> Redis {
        node.clone_into(&mut self.teller);
        self
    }

    /// The last thing that any node has told.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn last_told(&mut self) -> Result<String, StoreError> {
        let newest: Vec<(String, Vec<Vec<u8>>)> = self.with(|connection| {
            redis::cmd("XREVRANGE").arg(TOLD).arg("+").arg("-").arg("COUNT").arg(1).query(connection)
        })?;
        Ok(newest.into_iter().next().map_or_else(|| "0-0".to_owned(), |(id, _)| id))
    }

    /// What nodes have told after that, waiting a while for it; oldest first.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn told_after(&mut self, last: &str, wait: Duration) -> Result<Vec<Told>, StoreError> {
        type Entries = Vec<(String, Vec<Vec<u8>>)>;
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
        let found: Option<Vec<(Vec<u8>, Entries)>> = self.with(|connection| {
            let mut read = redis::cmd("XREAD");
            read.arg("COUNT").arg(STEP).arg("BLOCK").arg(wait).arg("STREAMS").arg(TOLD).arg(last);
            read.query(connection)
        })?;
        let entries = found.into_iter().flatten().flat_map(|(_, entries)| entries);
        Ok(entries.map(|(id, fields)| told(id, &fields)).collect())
    }

    /// Puts a row where none is; what stands there afterwards, whoever put it.
    fn put_first(&mut self, table: Table, row: &Row) -> Result<Row, StoreError> {
        let key = name(table, &row.key);
        let stands: Vec<u8> = self.with(|connection| {
            redis::cmd("SET").arg(&key).arg(written(row)).arg("NX").query::<Option<()>>(connection)?;
            redis::cmd("GET").arg(&key).query(connection)
        })?;
        Ok(read(row.key.clone(), &stands).unwrap_or_else(|| row.clone()))
    }

    /// What stands under a key now.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn get(&mut self, table: Table, key: &[u8]) -> Result<Option<Row>, StoreError> {
        let name = name(table, key);
        let value: Option<Vec<u8>> = self.with(|connection| redis::cmd("GET").arg(name).query(connection))?;
        Ok(value.and_then(|value| read(key.to_vec(), &value)))
    }

    /// Writes a change if `before` is what stands under its key (`None`: nothing); `false` if something else does. The
    /// other nodes are told which key has changed, and not to what: they read it where it stands.
    ///
    /// # Errors
    /// When nothing is known to be written.
    pub fn swap(&mut self, table: Table, before: Option<&Row>, change: &Change) -> Result<bool, StoreError> {
        let (after, until) = match change {
            Change::Put(row) => (written(row), row.until.map_or(0, |until| until.0.max(1))),
            Change::Remove(_) => (Vec::new(), 0),
        };
        let mut touched = format!("~{}:", table.name()).into_bytes();
        touched.extend_from_slice(change.key());
        let (name, teller) = (name(table, change.key()), self.teller.clone());
        self.with(|connection| {
            redis::cmd("EVAL")
                .arg(SWAP)
                .arg(2)
                .arg(name)
                .arg(TOLD)
                .arg(before.map(written).unwrap_or_default())
                .arg(after)
                .arg(until)
                .arg(REMEMBERED)
                .arg(teller)
                .arg(touched)
                .query(connection)
        })
    }

    /// Where it is, without its password.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What matters of how it runs.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn facts(&mut self) -> Result<Facts, StoreError> {
        let info: String = self.with(|connection| redis::cmd("INFO").arg("server").query(connection))?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default();
        let (seconds, micros): (u64, u64) = self.with(|connection| redis::cmd("TIME").query(connection))?;
        // An operator may have forbidden this command.
        let mut setting = |name: &str| -> Option<String> {
            let found: Result<Vec<String>, StoreError> =
                self.with(|connection| redis::cmd("CONFIG").arg("GET").arg(name).query(connection));
            found.ok()?.into_iter().nth(1)
        };
        Ok(Facts {
            version: version.to_owned(),
            wall: WallTime(seconds.saturating_mul(1000).saturating_add(micros / 1000)),
            append_only: setting("appendonly"),
            when_full: setting("maxmemory-policy"),
        })
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

/// How a server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its version.
    pub version: String,
    /// Its clock.
    pub wall: WallTime,
    /// `appendonly`, if it tells.
    pub append_only: Option<String>,
    /// `maxmemory-policy`, if it tells.
    pub when_full: Option<String>,
}

/// What one node has told in one batch.
#[derive(Debug)]
pub(crate) struct Told {
    /// Its place in the stream.
    pub(crate) id: String,
    /// Who tells.
    pub(crate) node: String,
    /// What has changed.
    pub(crate) changes: Vec<(Table, Change)>,
    /// What has changed and is to be read where it stands.
    pub(crate) touched: Vec<(Table, Vec<u8>)>,
}

/// Reads an entry: the node, then pairs of what stands where. Whatever cannot be read is left out.
fn told(id: String, fields: &[Vec<u8>]) -> Told {
    let mut node = String::new();
    let (mut changes, mut touched) = (Vec::new(), Vec::new());
    for pair in fields.chunks_exact(2) {
        let [name, value] = pair else { continue };
        if name == b"node" {
            node = String::from_utf8_lossy(value).into_owned();
            continue;
        }
        let Some(((kind, name), separator)) =
            name.split_first().zip(name.iter().position(|byte| *byte == b':'))
        else {
            continue;
        };
        let (table, key) = name.split_at(separator.saturating_sub(1).min(name.len()));
        let key = key.get(1..).unwrap_or_default().to_vec();
        let Some(table) = Table::ALL.into_iter().find(|known| known.name().as_bytes() == table) else {
            continue;
        };
        match kind {
            b'+' => changes.extend(read(key, value).map(|row| (table, Change::Put(row)))),
            b'-' => changes.push((table, Change::Remove(key))),
            b'~' => touched.push((table, key)),
            _ => {}
        }
    }
    Told { id, node, changes, touched }
}

/// The command that tells a batch; none when nothing in it is the others' matter.
fn telling(node: &str, changes: &[(Table, Change)]) -> Option<redis::Cmd> {
    let mut common = changes.iter().filter(|(table, _)| is_told(*table)).peekable();
    common.peek()?;
    let mut tell = redis::cmd("XADD");
    tell.arg(TOLD).arg("MAXLEN").arg("~").arg(REMEMBERED).arg("*").arg("node").arg(node);
    for (table, change) in common {
        let kind = match change {
            Change::Put(_) => '+',
            Change::Remove(_) => '-',
        };
        let mut field = format!("{kind}{}:", table.name()).into_bytes();
        field.extend_from_slice(change.key());
        tell.arg(field);
        match change {
            Change::Put(row) => tell.arg(written(row)),
            Change::Remove(_) => tell.arg(b""),
        };
    }
    Some(tell)
}

/// Whether the other nodes hear of a table's changes. What is told stands in the stream after its row is gone: secrets that
/// no node listens for are not told.
const fn is_told(table: Table) -> bool {
    match table {
        Table::Bindings
        | Table::Accounts
        | Table::Wakes
        | Table::TlsSessions
        | Table::Mail
        | Table::Nodes
        | Table::Spent
        | Table::Nonces => true,
        // A node's own rows are read once, at its start; grants and the relay's addresses are asked for where they stand.
        Table::Own | Table::Grants | Table::Subscriptions => false,
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
        if !self.teller.is_empty()
            && let Some(tell) = telling(&self.teller, changes)
        {
            batch.add_command(tell).ignore();
        }
        self.with(|connection| batch.query(connection))
    }

    fn claim(&mut self, table: Table, row: Row) -> Result<Row, StoreError> {
        self.put_first(table, &row)
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
    fn s23_what_no_other_node_listens_for_is_not_told() {
        let put = |value: &str| Change::Put(Row { key: b"id".to_vec(), value: value.into(), until: None });
        let secrets = [
            (Table::Grants, put("password=canary")),
            (Table::Own, put("canary")),
            (Table::Subscriptions, put("canary")),
        ];
        assert!(telling("one", &secrets).is_none());
        let mut all = secrets.to_vec();
        all.push((Table::Wakes, put("a wake")));
        let told = telling("one", &all).unwrap().get_packed_command();
        let told = String::from_utf8_lossy(&told);
        assert!(told.contains("+wakes:id") && told.contains("a wake") && !told.contains("canary"), "{told}");
    }

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
