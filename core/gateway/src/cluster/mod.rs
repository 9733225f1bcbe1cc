//! Several gateways as one: nodes that share a Redis server.
//!
//! What a node writes it also tells, in the same transaction, through one Redis stream; a thread of every node listens
//! there and hands the changes to its own event loop, so reads never leave the process. Each node says every other second
//! that it lives, by a row of its own; one that has said nothing for six is gone. A node whose server is away judges
//! nobody: it goes on with what it knows, and reads everything again when the server is back.
//!
//! In: the stream, the tables at the start and after every loss of the connection. Out: commands for the event loop.
//! Never: a call's signalling through Redis.

mod listener;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wakeline_clock::WallTime;
use wakeline_flow::Transport;
use wakeline_registrar::{NextHop, NodeView};

use crate::store::{Change, Row, Table};

pub(crate) use listener::{Ears, Heard, Listener};

/// How often a node says that it lives.
pub(crate) const BEAT: Duration = Duration::from_secs(2);
/// How long it is believed to.
const LIFE: Duration = Duration::from_secs(6);
/// How long changes are gathered before they are written and told.
pub(crate) const GATHER: Duration = Duration::from_millis(2);

/// How a node is, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// Milliseconds since its start.
    pub up_ms: u64,
    /// Whether it takes in nothing that would have to wait.
    pub draining: bool,
    /// Bindings that it knows: all of the gateway's.
    pub bindings: usize,
    /// Requests in progress there.
    pub contexts: usize,
    /// Branches of them that are held for sleeping devices.
    pub held: usize,
}

/// One node as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeReport {
    /// Its name; empty when this gateway is no cluster.
    pub name: String,
    /// Where the other nodes reach it, `host:port`.
    pub address: String,
    /// Whether it is the one that was asked.
    pub own: bool,
    /// Whether requests can be handed to it now.
    pub linked: bool,
    /// Milliseconds since it has said that it lives.
    pub heard_ms: u64,
    /// What it said.
    #[serde(flatten)]
    pub condition: Condition,
}

/// What a node writes of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beat {
    pub(crate) mark: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Its clock, by which another one's doctor sees how far they are apart.
    pub(crate) wall: u64,
    #[serde(flatten)]
    pub(crate) condition: Condition,
}

impl Beat {
    /// The row that says that `name` lives, and how.
    pub(crate) fn change(&self, name: &str, now: WallTime, condition: Condition) -> (Table, Change) {
        let beat = Beat { wall: now.0, condition, ..self.clone() };
        let value = serde_json::to_vec(&beat).unwrap_or_default();
        let until = Some(WallTime(now.0.saturating_add(LIFE.as_millis() as u64)));
        (Table::Nodes, Change::Put(Row { key: name.as_bytes().to_vec(), value, until }))
    }

    /// What this one says, heard so long ago.
    pub(crate) fn report(&self, name: &str, heard: Duration, linked: bool) -> NodeReport {
        NodeReport {
            name: name.to_owned(),
            address: format!("{}:{}", self.host, self.port),
            own: false,
            linked,
            heard_ms: u64::try_from(heard.as_millis()).unwrap_or(u64::MAX),
            condition: self.condition,
        }
    }

    fn view(&self, name: &str) -> NodeView {
        let address = NextHop { transport: Transport::Tcp, host: self.host.clone(), port: self.port };
        NodeView { name: name.to_owned(), mark: self.mark.clone(), address, sources: Vec::new() }
    }
}
