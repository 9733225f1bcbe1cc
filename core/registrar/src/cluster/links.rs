//! Which nodes live, and the links to them.

use core::time::Duration;

use wakeline_clock::{Time, WallTime};
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_push::{WakeId, WakeState};

use super::{Cluster, Home, Link, NodeView, Standing};
use crate::context::Step;
use crate::deadline::Due;
use crate::machine::Registrar;
use crate::number::{AorId, BindingId, NodeId};
use crate::outcome::{By, Ended};
use crate::output::Output;

/// The first wait for a link that could not be opened; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(8);

impl Registrar {
    /// The other nodes that live now, all of them. Whoever is missing, or has another mark than before, is gone with its
    /// connections: what it held has failed, and a phone that it had woken learns that from us (row 15 of the race table).
    pub fn handle_nodes(&mut self, now: Time, wall: WallTime, living: &[NodeView]) {
        self.wall = wall;
        self.cluster.sources = living.iter().flat_map(|node| node.sources.iter().copied()).collect();
        for node in living {
            if self.cluster.is_other(&node.name) {
                self.cluster.number(&node.name);
            }
        }
        for index in 0..u16::try_from(self.cluster.nodes.len()).unwrap_or(u16::MAX) {
            let id = NodeId(index);
            let Some(node) = self.cluster.get(id) else { continue };
            let found = living.iter().find(|view| view.name == node.name);
            let same = match (&node.standing, found) {
                (Standing::Living { mark, address, .. }, Some(view)) => {
                    *mark == view.mark && *address == view.address
                }
                (Standing::Living { .. } | Standing::Gone, _) => false,
            };
            if same {
                continue;
            }
            match (&node.standing, found) {
                // Its rows came before it was named here.
                (Standing::Gone, Some(_)) => {}
                (Standing::Living { .. } | Standing::Gone, _) => self.node_gone(now, id),
            }
            if let (Some(view), Some(node)) = (found, self.cluster.get_mut(id)) {
                let (mark, address) = (view.mark.clone(), view.address.clone());
                node.standing = Standing::Living { mark, address, link: Link::Opening };
                node.failures = 0;
                self.open_link(id);
            }
        }
        let marks = self.cluster.nodes.iter().filter_map(|node| match &node.standing {
            Standing::Living { mark, .. } => Some((node.name.as_str(), mark.as_str())),
            Standing::Gone => None,
        });
        self.seal.know(self.config.secret.expose(), marks);
        self.pump(now);
    }

    /// A node lives no more, or has never been seen although rows name it.
    fn node_gone(&mut self, now: Time, id: NodeId) {
        let link = self.cluster.link(id);
        if let Some(node) = self.cluster.get_mut(id) {
            node.standing = Standing::Gone;
            let mut armed = node.armed;
            self.deadlines.rearm(&mut armed, Time::NEVER, Due::Link(id));
        }
        if let Some(node) = self.cluster.get_mut(id) {
            node.armed = Time::NEVER;
        }
        for home in self.cluster.homes.values_mut() {
            match *home {
                Home::Connected(node) | Home::Asleep(node) if node == id => *home = Home::Orphan,
                Home::Connected(_) | Home::Asleep(_) | Home::Orphan => {}
            }
        }
        let lost: Vec<(WakeId, AorId)> = self
            .cluster
            .wakes
            .iter()
            .filter(|(_, (_, node))| *node == id)
            .map(|(wake, (aor, _))| (*wake, *aor))
            .collect();
        for (wake, aor) in lost {
            self.cluster.wakes.remove(&wake);
            self.end_elsewhere(now, aor, Ended::bare(wake, WakeState::Failed, By::Restart));
            self.persist_wake(Some(aor), wake, WakeState::Failed);
        }
        if let Some(link) = link {
            self.outputs.push_back(Output::CloseFlow(link.id));
            self.flows.closed(link.id);
            // Whatever was handed over is held here from now on, if its device can be woken.
            self.transactions.handle_flow_failed(now, link.id);
        }
        self.pump(now);
    }

    fn open_link(&mut self, id: NodeId) {
        let Some(node) = self.cluster.get_mut(id) else { return };
        if let Standing::Living { address, link, .. } = &mut node.standing {
            *link = Link::Opening;
            self.outputs.push_back(Output::OpenFlow(Cluster::hop_of(id), address.clone()));
        }
    }

    /// The link that [`Output::OpenFlow`] asked for is there.
    pub(crate) fn link_opened(&mut self, now: Time, id: NodeId, flow: FlowInfo) {
        if !self.flows.heard(now, flow) {
            return self.link_down(now, id);
        }
        let Some(node) = self.cluster.get_mut(id) else { return };
        node.failures = 0;
        match &mut node.standing {
            Standing::Living { link, .. } => *link = Link::Open(flow),
            Standing::Gone => {
                self.flows.closed(flow.id);
                self.outputs.push_back(Output::CloseFlow(flow.id));
                return;
            }
        }
        // What was held for devices that are connected there.
        let waiting: Vec<(AorId, BindingId)> = self
            .contexts
            .values()
            .flat_map(|context| context.branches.iter().map(|branch| (context.aor, branch)))
            .filter(|(_, branch)| matches!(branch.step, Step::Held { .. }))
            .filter_map(|(aor, branch)| Some((aor?, branch.binding?)))
            .filter(|(_, binding)| self.cluster.home(*binding) == Some(id))
            .collect();
        for (aor, binding) in waiting {
            self.release_elsewhere(now, aor, binding);
        }
        self.pump(now);
    }

    pub(crate) fn link_down(&mut self, now: Time, id: NodeId) {
        let Some(node) = self.cluster.get_mut(id) else { return };
        let wait = (FIRST_WAIT * (1 << u32::from(node.failures.min(6)))).min(LONGEST_WAIT);
        node.failures = node.failures.saturating_add(1);
        let until = now + wait;
        match &mut node.standing {
            Standing::Living { link, .. } => *link = Link::Down { until },
            Standing::Gone => return,
        }
        let mut armed = node.armed;
        self.deadlines.rearm(&mut armed, until, Due::Link(id));
        if let Some(node) = self.cluster.get_mut(id) {
            node.armed = armed;
        }
    }

    /// A connection was closed; if it was a link, it is opened anew.
    pub(crate) fn link_closed(&mut self, now: Time, flow: FlowId) {
        if let Some(id) = self.cluster.at_end_of(flow) {
            self.link_down(now, id);
        }
    }

    pub(crate) fn on_link_due(&mut self, id: NodeId) {
        let Some(node) = self.cluster.get_mut(id) else { return };
        node.armed = Time::NEVER;
        self.open_link(id);
    }

    /// Whether requests can be handed to the node of this name now.
    pub fn is_linked(&self, name: &str) -> bool {
        self.cluster.find(name).is_some_and(|id| self.cluster.link(id).is_some())
    }

    /// How many other nodes live, and to how many of them a link is open.
    pub fn nodes(&self) -> (usize, usize) {
        self.cluster.count()
    }
}
