//! The other nodes of the same gateway: who they are, how they are reached, and what of ours is with them.
//!
//! Nodes share one store and one secret. Every change that one of them stores is told to the others, so each has every
//! binding in memory; a connection is one node's alone. A request for a device that is connected to another node goes
//! there over a link (plain SIP, opened by us) under a sealed Route value that names the binding, the way of a flow token
//! (RFC 5626 §5.3): that node sends it down the connection, or answers 430 and leaves what is next to the node that asked.
//! A handed request never goes on to a third node.
//!
//! In: the list of living nodes, the changes that they stored, links that open and close. Out: requests on links.
//! Never: a push for a handed request, a change stored a second time.

mod elsewhere;
mod handed;
mod links;

use core::net::IpAddr;
use std::collections::BTreeMap;

use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_push::WakeId;

use crate::config::NextHop;
use crate::number::{AorId, BindingId, HopId, NodeId};

/// Links are asked for under numbers from here on, behind those of all upstreams.
const FIRST_LINK: u16 = 1 << 15;

/// What a node says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeView {
    /// Its name, which it keeps.
    pub name: String,
    /// A text drawn anew at each of its starts: another one is another life.
    pub mark: String,
    /// Where the other nodes send it requests.
    pub address: NextHop,
    /// Where its own connections come from.
    pub sources: Vec<IpAddr>,
}

/// Whether a node lives, as far as anybody says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// It has not been heard of in this process, or no more.
    Gone,
    /// It says that it does.
    Living { mark: String, address: NextHop, link: Link },
}

/// The connection that we open to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Link {
    /// It was asked for.
    Opening,
    /// Requests can be handed over.
    Open(FlowInfo),
    /// It could not be opened; asked for again then.
    Down { until: Time },
}

/// Another node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) standing: Standing,
    pub(crate) failures: u8,
    pub(crate) armed: Time,
}

/// Whose a binding is that was last registered at another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Home {
    /// Its device is connected there.
    Connected(NodeId),
    /// It was registered there, and sleeps.
    Asleep(NodeId),
    /// That node is gone.
    Orphan,
}

/// The other nodes, and what is with them.
#[derive(Default)]
pub(crate) struct Cluster {
    /// Our own name; empty: there are no others.
    pub(crate) name: String,
    pub(crate) nodes: Vec<Node>,
    /// Bindings that were not registered here.
    pub(crate) homes: BTreeMap<BindingId, Home>,
    /// Where the nodes that live connect from: what is handed over comes from nowhere else.
    pub(crate) sources: Vec<IpAddr>,
    /// Calls that another node holds.
    pub(crate) wakes: BTreeMap<WakeId, (AorId, NodeId)>,
}

impl Cluster {
    pub(crate) fn new(name: String) -> Cluster {
        Cluster { name, ..Cluster::default() }
    }

    /// Whether there may be other nodes.
    pub(crate) fn is_on(&self) -> bool {
        !self.name.is_empty()
    }

    /// Whether a stored name is another node's.
    pub(crate) fn is_other(&self, name: &str) -> bool {
        self.is_on() && !name.is_empty() && name != self.name
    }

    /// The number of a name that is known.
    pub(crate) fn find(&self, name: &str) -> Option<NodeId> {
        let place = self.nodes.iter().position(|node| node.name == name)?;
        u16::try_from(place).ok().map(NodeId)
    }

    /// The number of a name, new or known.
    pub(crate) fn number(&mut self, name: &str) -> NodeId {
        let found = self.nodes.iter().position(|node| node.name == name);
        let place = found.unwrap_or_else(|| {
            let node =
                Node { name: name.to_owned(), standing: Standing::Gone, failures: 0, armed: Time::NEVER };
            self.nodes.push(node);
            self.nodes.len() - 1
        });
        NodeId(u16::try_from(place).unwrap_or(u16::MAX))
    }

    pub(crate) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::from(id.0))
    }

    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.nodes.get_mut(usize::from(id.0))
    }

    /// The link to a node, if it is open.
    pub(crate) fn link(&self, id: NodeId) -> Option<FlowInfo> {
        match self.get(id)?.standing {
            Standing::Living { link: Link::Open(info), .. } => Some(info),
            Standing::Living { link: Link::Opening | Link::Down { .. }, .. } | Standing::Gone => None,
        }
    }

    /// The node at the end of a link of ours.
    pub(crate) fn at_end_of(&self, flow: FlowId) -> Option<NodeId> {
        if self.nodes.is_empty() {
            return None;
        }
        let ids = (0..u16::MAX).map(NodeId).take(self.nodes.len());
        ids.into_iter().find(|id| self.link(*id).is_some_and(|info| info.id == flow))
    }

    /// Whether a node may be at the other end of a flow.
    pub(crate) fn is_from_node(&self, flow: &FlowInfo) -> bool {
        self.sources.contains(&flow.remote.ip().to_canonical())
    }

    /// Where a device is connected, if that is another node.
    pub(crate) fn home(&self, binding: BindingId) -> Option<NodeId> {
        match self.homes.get(&binding)? {
            Home::Connected(node) => Some(*node),
            Home::Asleep(_) | Home::Orphan => None,
        }
    }

    /// The name of the node that a binding was last registered at, if that is another one and lives, and whether its device
    /// is connected there.
    pub(crate) fn named_home(&self, binding: BindingId) -> Option<(String, bool)> {
        let (node, connected) = match self.homes.get(&binding)? {
            Home::Connected(node) => (*node, true),
            Home::Asleep(node) => (*node, false),
            Home::Orphan => return None,
        };
        Some((self.get(node)?.name.clone(), connected))
    }

    /// Whether what is nobody's is ours to look after: of all that live, the first by name.
    pub(crate) fn leads(&self) -> bool {
        let living = self.nodes.iter().filter(|node| matches!(node.standing, Standing::Living { .. }));
        living.into_iter().all(|node| self.name < node.name)
    }

    /// How many other nodes live, and to how many of them a link is open.
    pub(crate) fn count(&self) -> (usize, usize) {
        let living = |node: &&Node| matches!(node.standing, Standing::Living { .. });
        let linked = |node: &&Node| matches!(node.standing, Standing::Living { link: Link::Open(_), .. });
        (self.nodes.iter().filter(living).count(), self.nodes.iter().filter(linked).count())
    }

    pub(crate) fn hop_of(id: NodeId) -> HopId {
        HopId(FIRST_LINK.saturating_add(id.0))
    }

    /// The node that a link was asked for, by the number of the asking.
    pub(crate) fn of_hop(hop: HopId) -> Option<NodeId> {
        hop.0.checked_sub(FIRST_LINK).map(NodeId)
    }
}
