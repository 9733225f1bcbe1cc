//! One suite for both stores: whatever a gateway relies on holds in a file and on a Redis server.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use wakeline_clock::{WallTime, system};
use wakeline_secret::Secret;

use super::keeper::tests::{Folder, folder};
use super::{Change, Health, Keeper, Redis, Row, Sqlite, Store, StoreError, Table};

/// A store and what it stands on.
trait Ground {
    /// Opens the store (again).
    fn open(&self) -> Box<dyn Store>;
}

struct File(Folder);

impl Ground for File {
    fn open(&self) -> Box<dyn Store> {
        Box::new(Sqlite::open(&self.0.path().join("store.db")).unwrap())
    }
}

/// A Redis server of the test's own, on a socket in its folder.
struct Server {
    folder: Folder,
    process: Child,
}

impl Server {
    fn start() -> Server {
        let folder = folder();
        let process = run(&folder);
        let server = Server { folder, process };
        server.wait();
        server
    }

    fn url(&self) -> Secret {
        Secret::new(format!("redis+unix://{}/redis.sock", self.folder.path().display()))
    }

    fn wait(&self) {
        let until = system::now() + Duration::from_secs(30);
        while Redis::open(&self.url()).is_err() {
            assert!(system::now() < until, "redis-server does not start");
            std::thread::yield_now();
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn start_again(&mut self) {
        self.process = run(&self.folder);
        self.wait();
    }
}

fn run(folder: &Folder) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--appendonly", "yes", "--appendfsync", "always", "--save", "", "--dir"])
        .arg(folder.path())
        .arg("--unixsocket")
        .arg(folder.path().join("redis.sock"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server: {error}; apt-get install redis-server"))
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone by the test's own hand.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Ground for Server {
    fn open(&self) -> Box<dyn Store> {
        Box::new(Redis::open(&self.url()).unwrap())
    }
}

fn row(key: &[u8], value: &[u8], until: Option<WallTime>) -> Row {
    Row { key: key.to_vec(), value: value.to_vec(), until }
}

fn put(key: &[u8], value: &[u8], until: Option<WallTime>) -> (Table, Change) {
    (Table::Bindings, Change::Put(row(key, value, until)))
}

fn loaded(store: &mut dyn Store, table: Table, now: WallTime) -> Vec<Row> {
    let mut rows = store.load(table, now).unwrap();
    rows.sort_by(|one, two| one.key.cmp(&two.key));
    rows
}

fn on_both(test: impl Fn(&dyn Ground)) {
    test(&File(folder()));
    test(&Server::start());
}

#[test]
fn what_was_written_is_there_for_the_next_start_under_its_table() {
    on_both(|ground| {
        let (now, later) = (system::wall(), WallTime(system::wall().0 + 3_600_000));
        let binary: Vec<u8> = (0..=255).collect();
        let mut store = ground.open();
        store
            .write(&[
                put(&binary, &binary, Some(later)),
                put(b"*", b"", None),
                (Table::Own, Change::Put(row(b"*", b"another table", None))),
            ])
            .unwrap();
        drop(store);
        let mut store = ground.open();
        let expected = [row(&binary, &binary, Some(later)), row(b"*", b"", None)];
        let mut expected: Vec<Row> = expected.to_vec();
        expected.sort_by(|one, two| one.key.cmp(&two.key));
        assert_eq!(loaded(store.as_mut(), Table::Bindings, now), expected);
        assert_eq!(loaded(store.as_mut(), Table::Own, now), [row(b"*", b"another table", None)]);
        assert_eq!(loaded(store.as_mut(), Table::Mail, now), []);
    });
}

#[test]
fn the_last_word_on_a_key_stands_also_within_one_batch() {
    on_both(|ground| {
        let now = system::wall();
        let mut store = ground.open();
        let gone = |key: &[u8]| (Table::Bindings, Change::Remove(key.to_vec()));
        store.write(&[put(b"a", b"1", None), put(b"b", b"1", None), put(b"c", b"1", None)]).unwrap();
        store
            .write(&[put(b"a", b"2", None), gone(b"b"), gone(b"c"), put(b"c", b"3", None), gone(b"never")])
            .unwrap();
        let left = [row(b"a", b"2", None), row(b"c", b"3", None)];
        assert_eq!(loaded(store.as_mut(), Table::Bindings, now), left);
        store.write(&[]).unwrap();
    });
}

#[test]
fn what_is_past_its_time_is_not_loaded_and_a_new_time_counts() {
    on_both(|ground| {
        let now = system::wall();
        let at = |millis: i64| Some(WallTime(now.0.saturating_add_signed(millis)));
        let mut store = ground.open();
        store.write(&[put(b"past", b"x", at(-1)), put(b"soon", b"x", at(3_600_000))]).unwrap();
        store.write(&[put(b"longer", b"x", at(60_000)), put(b"longer", b"x", None)]).unwrap();
        store.sweep(now).unwrap();
        let keys = |rows: Vec<Row>| rows.into_iter().map(|row| row.key).collect::<Vec<_>>();
        assert_eq!(
            keys(loaded(store.as_mut(), Table::Bindings, now)),
            [b"longer".to_vec(), b"soon".to_vec()]
        );
        let in_an_hour = WallTime(now.0 + 3_600_000);
        assert_eq!(keys(loaded(store.as_mut(), Table::Bindings, in_an_hour)), [b"longer".to_vec()]);
    });
}

#[test]
fn thousands_of_rows_are_loaded_each_once() {
    on_both(|ground| {
        let mut store = ground.open();
        let many: Vec<_> = (0..5000_u32).map(|n| put(&n.to_be_bytes(), &[7; 300], None)).collect();
        store.write(&many).unwrap();
        let rows = loaded(store.as_mut(), Table::Bindings, system::wall());
        assert_eq!(rows.len(), 5000);
        assert!(rows.iter().zip(0_u32..).all(|(row, n)| row.key == n.to_be_bytes() && row.value == [7; 300]));
    });
}

#[test]
fn f6_a_redis_server_that_is_restarted_costs_nothing_that_was_told_to_the_store() {
    let mut server = Server::start();
    let (keeper, thread) = Keeper::start(server.open()).unwrap();
    keeper.put(Table::Bindings, Change::Put(row(b"before", b"1", None)));
    assert!(keeper.flush(Duration::from_secs(20)));
    server.kill();
    keeper.put(Table::Bindings, Change::Put(row(b"meanwhile", b"2", None)));
    while keeper.health() == Health::Good {
        std::thread::yield_now();
    }
    let trouble = keeper.health().trouble().unwrap();
    assert!(trouble.contains("redis.sock"), "{trouble}");
    server.start_again();
    assert!(keeper.flush(Duration::from_secs(30)));
    assert_eq!(keeper.health(), Health::Good);
    let rows = loaded(server.open().as_mut(), Table::Bindings, system::wall());
    assert_eq!(rows, [row(b"before", b"1", None), row(b"meanwhile", b"2", None)]);
    keeper.end();
    thread.join().unwrap();
    server.kill();
    assert!(matches!(Redis::open(&server.url()), Err(StoreError::Away { .. })));
}
