//! The one writer thread: changes are merged by key while they wait, and written in batches.
//!
//! Whoever changes something never waits for the disk. While the store cannot be written to (full, read-only, slow),
//! the newest value of each key stays here and the trouble is told once; when it passes, all of it is written and that
//! is told once too (fault F11).

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use wakeline_clock::system;

use super::{Change, Store, StoreError, Table};

/// How long changes are gathered before they are written.
const GATHER: Duration = Duration::from_millis(50);
/// Rows of one transaction; more wait for the next one, so that a kill loses little.
const BATCH: usize = 5000;
/// Waits between tries while the store is in trouble.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));
/// How often what is past its time is deleted.
const SWEEP: Duration = Duration::from_secs(60);

/// Whether what changes reaches the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Health {
    /// It does.
    #[default]
    Good,
    /// Not now; the newest values wait in memory.
    Troubled(String),
}

impl Health {
    /// What the trouble is, if there is one.
    pub fn trouble(self) -> Option<String> {
        match self {
            Health::Good => None,
            Health::Troubled(why) => Some(why),
        }
    }
}

/// The hand that writes.
#[derive(Debug, Clone)]
pub struct Keeper(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: BTreeMap<(Table, Vec<u8>), Change>,
    /// Changes taken in so far, and how many of them are safe.
    taken: u64,
    safe: u64,
    life: Life,
    urgent: bool,
    health: Health,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Life {
    #[default]
    Running,
    Ending,
    Ended,
}

impl Keeper {
    /// Starts the writer thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(store: Box<dyn Store>) -> std::io::Result<(Keeper, JoinHandle<()>)> {
        Keeper::start_with(store, GATHER)
    }

    /// The same, gathering for so long: other nodes wait for what is written.
    ///
    /// # Errors
    /// As [`Keeper::start`].
    pub fn start_with(store: Box<dyn Store>, gather: Duration) -> std::io::Result<(Keeper, JoinHandle<()>)> {
        let shared = Arc::new(Shared { state: Mutex::default(), work: Condvar::new(), done: Condvar::new() });
        let keeper = Keeper(Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("gateway-store".to_owned())
            .spawn(move || shared.run(store, gather))?;
        Ok((keeper, thread))
    }

    /// Takes a change; it is written soon, or replaced by a newer one of the same key before that.
    pub fn put(&self, table: Table, change: Change) {
        let mut state = self.0.locked();
        state.taken += 1;
        let was_idle = state.waiting.is_empty();
        state.waiting.insert((table, change.key().to_vec()), change);
        drop(state);
        if was_idle {
            self.0.work.notify_one();
        }
    }

    /// Waits until everything taken before is safe; `false` when that did not happen within `limit`.
    pub fn flush(&self, limit: Duration) -> bool {
        let mut state = self.0.locked();
        let goal = state.taken;
        let until = system::now() + limit;
        state.urgent = true;
        self.0.work.notify_one();
        while state.safe < goal {
            let left = until.since(system::now());
            if left.is_zero() || state.life == Life::Ended {
                return false;
            }
            (state, _) = self.0.done.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
        }
        true
    }

    /// Whether the store takes what it is given.
    pub fn health(&self) -> Health {
        self.0.locked().health.clone()
    }

    /// How many changes wait.
    pub fn waiting(&self) -> usize {
        self.0.locked().waiting.len()
    }

    /// Writes what waits, once, and ends the thread.
    pub fn end(&self) {
        let mut state = self.0.locked();
        if state.life == Life::Running {
            state.life = Life::Ending;
        }
        drop(state);
        self.0.work.notify_one();
    }
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut store: Box<dyn Store>, gather: Duration) {
        let mut pause = None;
        let mut swept = system::now();
        loop {
            let mut state = self.locked();
            while state.waiting.is_empty() && state.life == Life::Running {
                (state, _) = self.work.wait_timeout(state, SWEEP).unwrap_or_else(PoisonError::into_inner);
                if system::now().since(swept) >= SWEEP {
                    break;
                }
            }
            // Gather, unless somebody waits for this very batch; in trouble, wait before the next try.
            let span = pause.unwrap_or(gather);
            if state.life == Life::Running && !(state.urgent && pause.is_none()) {
                let until = system::now() + span;
                while state.life == Life::Running && system::now() < until {
                    let left = until.since(system::now());
                    (state, _) = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
                    if state.urgent && pause.is_none() {
                        break;
                    }
                }
            }
            let batch = take(&mut state.waiting);
            let covers = if state.waiting.is_empty() { state.taken } else { state.safe };
            let life = state.life;
            drop(state);

            let changes: Vec<(Table, Change)> =
                batch.into_iter().map(|((table, _), change)| (table, change)).collect();
            let mut result = if changes.is_empty() { Ok(()) } else { store.write(&changes) };
            if result.is_ok() && system::now().since(swept) >= SWEEP {
                swept = system::now();
                result = store.sweep(system::wall());
            }
            self.settle(result, changes, covers, &mut pause);
            let mut state = self.locked();
            if life != Life::Running && (state.waiting.is_empty() || pause.is_some()) {
                if let (false, Health::Troubled(why)) = (state.waiting.is_empty(), &state.health) {
                    tracing::error!(
                        why,
                        lost = state.waiting.len(),
                        "the store ended with changes that it could not keep"
                    );
                }
                state.life = Life::Ended;
                self.done.notify_all();
                return;
            }
        }
    }

    fn settle(
        &self,
        result: Result<(), StoreError>,
        changes: Vec<(Table, Change)>,
        covers: u64,
        pause: &mut Option<Duration>,
    ) {
        let mut state = self.locked();
        match result {
            Ok(()) => {
                state.safe = state.safe.max(covers);
                if state.waiting.is_empty() {
                    state.urgent = false;
                }
                if state.health != Health::Good {
                    state.health = Health::Good;
                    tracing::info!("the store takes changes again; nothing was lost");
                }
                *pause = None;
            }
            Err(error) => {
                for (table, change) in changes {
                    // A newer change of the same key, taken meanwhile, stands.
                    state.waiting.entry((table, change.key().to_vec())).or_insert(change);
                }
                let text = error.to_string();
                if state.health == Health::Good {
                    tracing::error!("{text}; calls go on, changes wait in memory");
                }
                state.health = Health::Troubled(text);
                *pause = Some(pause.map_or(PAUSES.0, |pause| (pause * 2).min(PAUSES.1)));
            }
        }
        drop(state);
        self.done.notify_all();
    }
}

/// Up to one batch, in key order.
fn take(waiting: &mut BTreeMap<(Table, Vec<u8>), Change>) -> BTreeMap<(Table, Vec<u8>), Change> {
    match waiting.keys().nth(BATCH).cloned() {
        None => std::mem::take(waiting),
        Some(key) => {
            let rest = waiting.split_off(&key);
            std::mem::replace(waiting, rest)
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::{Row, Sqlite};
    use std::path::{Path, PathBuf};
    use wakeline_clock::WallTime;

    /// A directory that goes with the test.
    pub(in crate::store) struct Folder(PathBuf);

    impl Folder {
        pub(in crate::store) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    pub(in crate::store) fn folder() -> Folder {
        let mut name = [0_u8; 8];
        getrandom::fill(&mut name).unwrap();
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::env::temp_dir().join(format!("wakeline-store-{name}"));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Fails as often as it is told, and remembers what was written.
    #[derive(Clone, Default)]
    struct Moody(Arc<Mutex<Mood>>);

    /// Failures to come, and what was written.
    type Mood = (usize, Vec<(Table, Change)>);

    impl Store for Moody {
        fn load(&mut self, _: Table, _: WallTime) -> Result<Vec<Row>, StoreError> {
            Ok(Vec::new())
        }

        fn write(&mut self, changes: &[(Table, Change)]) -> Result<(), StoreError> {
            let mut inner = self.0.lock().unwrap();
            if inner.0 > 0 {
                inner.0 -= 1;
                return Err(StoreError::Full { place: "here".into() });
            }
            inner.1.extend_from_slice(changes);
            Ok(())
        }

        fn sweep(&mut self, _: WallTime) -> Result<(), StoreError> {
            Ok(())
        }
    }

    fn put(key: &str, value: &str) -> Change {
        Change::Put(Row { key: key.into(), value: value.into(), until: None })
    }

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn f11_trouble_keeps_the_newest_value_of_each_key_until_it_passes() {
        let store = Moody::default();
        store.0.lock().unwrap().0 = 2;
        let (keeper, thread) = Keeper::start(Box::new(store.clone())).unwrap();
        keeper.put(Table::Bindings, put("a", "1"));
        keeper.put(Table::Bindings, put("b", "1"));
        while keeper.health() == Health::Good {
            std::thread::yield_now();
        }
        keeper.put(Table::Bindings, put("a", "2"));
        keeper.put(Table::Bindings, Change::Remove(b"b".to_vec()));
        assert!(keeper.flush(LIMIT));
        assert_eq!(keeper.health(), Health::Good);
        assert_eq!(keeper.waiting(), 0);
        let written = store.0.lock().unwrap().1.clone();
        assert_eq!(
            written,
            [(Table::Bindings, put("a", "2")), (Table::Bindings, Change::Remove(b"b".to_vec())),]
        );
        keeper.end();
        thread.join().unwrap();
        assert!(!{
            keeper.put(Table::Own, put("late", "1"));
            keeper.flush(Duration::from_millis(10))
        });
    }

    #[test]
    fn the_end_writes_what_waits() {
        let store = Moody::default();
        let (keeper, thread) = Keeper::start(Box::new(store.clone())).unwrap();
        for number in 0..12_000 {
            keeper.put(Table::Bindings, put(&format!("{number:05}"), "1"));
        }
        keeper.end();
        thread.join().unwrap();
        assert_eq!(store.0.lock().unwrap().1.len(), 12_000);
    }

    /// The child of the next test: writes numbered rows for ever and tells each number once it is safe.
    #[test]
    #[ignore = "runs as the child of f9_kill_9_while_writing"]
    fn writes_until_killed() {
        let Ok(path) = std::env::var("WAKELINE_STORE_TEST") else { return };
        let (keeper, _thread) = Keeper::start(Box::new(Sqlite::open(Path::new(&path)).unwrap())).unwrap();
        for number in 0_u64.. {
            for name in ["first", "second"] {
                keeper.put(Table::Bindings, put(name, &number.to_string()));
            }
            keeper.put(Table::Wakes, put(&number.to_string(), &"x".repeat(200)));
            if number % 16 == 0 && keeper.flush(LIMIT) {
                println!("safe {number}");
            }
        }
    }

    #[test]
    fn f9_kill_9_while_writing() {
        use std::io::BufRead as _;
        let folder = folder();
        let path = folder.path().join("kill.db");
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).unwrap();
        for round in random {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--nocapture", "--exact", "store::keeper::tests::writes_until_killed"])
                .env("WAKELINE_STORE_TEST", &path)
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap();
            let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
            let mut safe = 0;
            let mut wanted = u32::from(round) / 4 + 1;
            while wanted > 0 {
                let line = lines.next().unwrap().unwrap();
                if let Some((_, number)) = line.split_once("safe ") {
                    safe = number.parse().unwrap();
                    wanted -= 1;
                }
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let mut store = Sqlite::open(&path).unwrap();
            let rows = store.load(Table::Bindings, WallTime(0)).unwrap();
            let numbers: Vec<u64> =
                rows.iter().map(|row| std::str::from_utf8(&row.value).unwrap().parse().unwrap()).collect();
            assert_eq!(numbers.len(), 2);
            assert!(numbers.iter().all(|number| *number >= safe), "{numbers:?} but {safe} was told safe");
            let wakes = store.load(Table::Wakes, WallTime(0)).unwrap();
            assert!(wakes.len() as u64 > safe);
        }
    }
}
