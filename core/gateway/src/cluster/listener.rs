//! The thread that hears what other nodes tell.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc;
use wakeline_clock::{Time, system};
use wakeline_registrar::{Loaded, NodeView};

use super::{Beat, LIFE};
use crate::edge::sessions::Sessions;
use crate::provision::Office;
use crate::server::Command;
use crate::store::{Change, Redis, Row, Store as _, StoreError, Table, record};

/// How long one look at the stream waits.
const LOOK: Duration = Duration::from_millis(500);
/// How long the server is left alone after a failure.
const PAUSE: Duration = Duration::from_millis(500);

/// News for the event loop.
pub(crate) enum Heard {
    /// The nodes that live, all others than this one.
    Nodes(Vec<NodeView>),
    /// A node says that it lives, and how.
    Beat(String, Beat),
    /// Changes of one node, in its order.
    Changes(Vec<(Table, Change)>),
    /// Everything, read again.
    All(Box<Loaded>),
}

/// What hears of changes beside the event loop.
pub(crate) struct Ears {
    /// TLS sessions that may be resumed.
    pub(crate) sessions: Arc<Sessions>,
    /// Granted settings, where phones get any.
    pub(crate) office: Option<Arc<Office>>,
}

/// The thread's own.
pub(crate) struct Listener {
    store: Redis,
    name: String,
    commands: mpsc::UnboundedSender<Command>,
    ears: Ears,
    ended: Arc<AtomicBool>,
    living: BTreeMap<String, (Beat, Time)>,
    /// What the event loop was told last.
    told: Option<Vec<NodeView>>,
    /// Nobody is called dead before that: after a pause of our own we have not listened for long enough.
    judges_from: Time,
}

impl Listener {
    /// Starts listening in the name of `name`; it ends when `ended` is set or the event loop is gone.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        store: Redis,
        name: &str,
        commands: mpsc::UnboundedSender<Command>,
        ears: Ears,
        ended: Arc<AtomicBool>,
    ) -> std::io::Result<JoinHandle<()>> {
        let listener = Listener {
            store,
            name: name.to_owned(),
            commands,
            ears,
            ended,
            living: BTreeMap::new(),
            told: None,
            judges_from: Time::ZERO,
        };
        std::thread::Builder::new().name("gateway-cluster".to_owned()).spawn(move || listener.run())
    }

    fn run(mut self) {
        let mut away = false;
        while !self.ended.load(Ordering::Relaxed) {
            let Err(error) = self.listen() else { return };
            if !away {
                tracing::error!("{error}; calls go on, other nodes' changes are read when it is back");
            }
            away = true;
            std::thread::sleep(PAUSE);
        }
    }

    /// Reads everything, then listens until the server fails (`Err`) or nobody wants to know any more.
    fn listen(&mut self) -> Result<(), StoreError> {
        let mut last = self.store.last_told()?;
        let wall = system::wall();
        for row in self.store.load(Table::Nodes, wall)? {
            self.beat(&row);
        }
        self.judges_from = system::now() + LIFE;
        self.judge();
        let (all, _) = record::load(&mut self.store, wall)?;
        for row in self.store.load(Table::TlsSessions, wall)? {
            self.ears.sessions.put_elsewhere(row);
        }
        if let Some(office) = &self.ears.office {
            office.heard_all(&self.store.load(Table::Grants, wall)?);
        }
        self.say(Heard::All(Box::new(all)));
        while !self.ended.load(Ordering::Relaxed) && !self.commands.is_closed() {
            for told in self.store.told_after(&last, LOOK)? {
                last = told.id;
                if told.node != self.name {
                    self.hear(told.changes);
                }
                // Our own too: what was read at the start may be older than what we have written since.
                self.look_at(&told.touched)?;
            }
            self.judge();
        }
        Ok(())
    }

    /// Reads what has changed where it stands.
    fn look_at(&mut self, touched: &[(Table, Vec<u8>)]) -> Result<(), StoreError> {
        let Some(office) = &self.ears.office else { return Ok(()) };
        for (_, key) in touched.iter().filter(|(table, _)| *table == Table::Grants) {
            let stands = self.store.get(Table::Grants, key)?;
            office.heard(&String::from_utf8_lossy(key), stands.as_ref());
        }
        Ok(())
    }

    fn hear(&mut self, changes: Vec<(Table, Change)>) {
        let mut others = Vec::new();
        for (table, change) in changes {
            match (table, change) {
                (Table::Nodes, Change::Put(row)) => {
                    self.beat(&row);
                    self.judge();
                }
                (Table::Nodes, Change::Remove(key)) => {
                    self.living.remove(&*String::from_utf8_lossy(&key));
                    self.judge();
                }
                (Table::TlsSessions, Change::Put(row)) => self.ears.sessions.put_elsewhere(row),
                (Table::TlsSessions, Change::Remove(key)) => self.ears.sessions.take_elsewhere(&key),
                (table, change) => others.push((table, change)),
            }
        }
        if !others.is_empty() {
            self.say(Heard::Changes(others));
        }
    }

    fn beat(&mut self, row: &Row) {
        let name = String::from_utf8_lossy(&row.key).into_owned();
        if let Ok(beat) = serde_json::from_slice::<Beat>(&row.value)
            && name != self.name
        {
            self.say(Heard::Beat(name.clone(), beat.clone()));
            self.living.insert(name, (beat, system::now()));
        }
    }

    /// Tells who lives, when that has changed.
    fn judge(&mut self) {
        let now = system::now();
        if now >= self.judges_from {
            self.living.retain(|name, (_, heard)| {
                let lives = now.since(*heard) < LIFE;
                if !lives {
                    tracing::warn!(node = name.as_str(), "a node has said nothing for too long; it is gone");
                }
                lives
            });
        }
        let views: Vec<NodeView> = self.living.iter().map(|(name, (beat, _))| beat.view(name)).collect();
        if self.told.as_ref() == Some(&views) {
            return;
        }
        // Whoever seems to be alone waits first whether that is so: then what dead nodes have left is ended.
        if self.told.is_none() && views.is_empty() && now < self.judges_from {
            return;
        }
        let nodes = views.iter().map(|view| {
            let host = view.address.host.trim_start_matches('[').trim_end_matches(']');
            let found = (host, view.address.port).to_socket_addrs();
            let sources = found.map(|all| all.map(|one| one.ip()).collect()).unwrap_or_default();
            NodeView { sources, ..view.clone() }
        });
        self.say(Heard::Nodes(nodes.collect()));
        self.told = Some(views);
    }

    fn say(&self, heard: Heard) {
        let _ = self.commands.send(Command::Heard(heard));
    }
}
