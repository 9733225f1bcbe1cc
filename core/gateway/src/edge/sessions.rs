//! TLS sessions that may be resumed: each once, also after a restart.
//!
//! Early data needs a server that knows which tickets it has already seen (RFC 8446 §8.1), so tickets are names of
//! entries here and an entry is taken out when it is used. A second use falls back to a full handshake; it carries no
//! early data.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::server::StoresServerSessions;
use wakeline_clock::{WallTime, system};

use crate::store::{Change, Keeper, Row, Table};

/// How long a session may be resumed; what the TLS library writes into its tickets.
const LIFE: Duration = Duration::from_secs(24 * 3600);

/// The sessions.
pub(crate) struct Sessions {
    inner: Mutex<Inner>,
    keeper: Option<Keeper>,
    most: usize,
}

#[derive(Default)]
struct Inner {
    by_name: HashMap<Vec<u8>, Vec<u8>>,
    /// Names in the order in which they were made; a name may be gone already.
    order: VecDeque<Vec<u8>>,
}

impl Sessions {
    /// At most `most` sessions, of which `loaded` are known already.
    pub(crate) fn new(most: usize, loaded: Vec<Row>, keeper: Option<Keeper>) -> Sessions {
        let mut inner = Inner::default();
        for row in loaded.into_iter().take(most) {
            inner.order.push_back(row.key.clone());
            inner.by_name.insert(row.key, row.value);
        }
        Sessions { inner: Mutex::new(inner), keeper, most }
    }

    /// Another node has made a session: it may be resumed here too.
    pub(crate) fn put_elsewhere(&self, row: Row) {
        let mut inner = self.locked();
        while inner.order.len() >= self.most {
            // That node forgets it in the store; here it only makes room.
            let Some(oldest) = inner.order.pop_front() else { return };
            inner.by_name.remove(&oldest);
        }
        if inner.by_name.insert(row.key.clone(), row.value).is_none() {
            inner.order.push_back(row.key);
        }
    }

    /// Another node has resumed a session: it is used up.
    pub(crate) fn take_elsewhere(&self, key: &[u8]) {
        self.locked().by_name.remove(key);
    }

    fn locked(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn persist(&self, change: Change) {
        if let Some(keeper) = &self.keeper {
            keeper.put(Table::TlsSessions, change);
        }
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let until = WallTime(system::wall().0 + LIFE.as_millis() as u64);
        let mut inner = self.locked();
        while inner.order.len() >= self.most {
            let Some(oldest) = inner.order.pop_front() else { break };
            if inner.by_name.remove(&oldest).is_some() {
                self.persist(Change::Remove(oldest));
            }
        }
        inner.order.push_back(key.clone());
        inner.by_name.insert(key.clone(), value.clone());
        drop(inner);
        self.persist(Change::Put(Row { key, value, until: Some(until) }));
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.locked().by_name.get(key).cloned()
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let taken = self.locked().by_name.remove(key);
        if taken.is_some() {
            self.persist(Change::Remove(key.to_vec()));
        }
        taken
    }

    fn can_cache(&self) -> bool {
        self.most > 0
    }
}

impl core::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Sessions({})", self.locked().by_name.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_taken_once_and_the_oldest_makes_room() {
        let sessions = Sessions::new(2, Vec::new(), None);
        for key in [b"a", b"b", b"c"] {
            assert!(sessions.put(key.to_vec(), b"secret".to_vec()));
        }
        assert_eq!(sessions.take(b"a"), None);
        assert_eq!(sessions.get(b"b"), Some(b"secret".to_vec()));
        assert_eq!(sessions.take(b"b"), Some(b"secret".to_vec()));
        assert_eq!(sessions.take(b"b"), None);
        assert!(!format!("{sessions:?}").contains("secret"));
    }
}
