//! Several nodes of one gateway: what they tell each other through the store, the connections between them, their deaths.

use std::time::Duration;

use bytes::Bytes;
use wakeline_flow::{FlowId, FlowInfo, Received, Transport};
use wakeline_registrar::{HopId, NextHop, Persist};

use crate::gateway::Standing;
use crate::network::LinkState;
use crate::world::{Happening, World, seed_of};

/// How long a node is believed to live that says nothing.
const LIFE: Duration = Duration::from_secs(6);

/// The far end of a connection between nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeEnd {
    node: usize,
    life: u32,
    flow: FlowId,
}

/// Something that reaches a node from another, if it is still in that life.
#[derive(Clone, Debug)]
pub enum NodeNews {
    /// A change that another one has stored.
    Told(usize, u32, Box<Persist>),
    /// The connection that it asked for stands, or could not be made.
    Linked(usize, u32, HopId, Option<FlowId>),
    /// Bytes.
    Carried(usize, u32, FlowId, Bytes),
    /// A connection is gone.
    Lost(usize, u32, FlowId),
    /// It looks which others live.
    Judge(usize),
}

impl World {
    fn lives(&self, node: usize, life: u32) -> bool {
        self.gateways.get(node).is_some_and(|one| one.lives == life && one.standing == Standing::Up)
    }

    pub(crate) fn tell_nodes(&mut self, from: usize, change: &Persist) {
        for to in (0..self.gateways.len()).filter(|to| *to != from) {
            let news = NodeNews::Told(to, self.gateways[to].lives, Box::new(change.clone()));
            self.after(self.news, Happening::Nodes(news));
        }
    }

    pub(crate) fn node_news(&mut self, news: NodeNews) {
        let (now, wall) = (self.now, self.wall());
        let node = match news {
            NodeNews::Told(node, life, change) if self.lives(node, life) => {
                self.gateways[node].registrar.handle_elsewhere(now, wall, *change);
                node
            }
            NodeNews::Linked(node, life, hop, flow) if self.lives(node, life) => {
                let registrar = &mut self.gateways[node].registrar;
                match flow {
                    Some(flow) => registrar.handle_hop_opened(now, hop, between(flow)),
                    None => registrar.handle_hop_failed(now, hop),
                }
                node
            }
            NodeNews::Carried(node, life, flow, bytes) if self.lives(node, life) => {
                let received = Received { flow: between(flow), bytes };
                self.gateways[node].registrar.handle_received(now, wall, received);
                node
            }
            NodeNews::Lost(node, life, flow) if self.lives(node, life) => {
                self.gateways[node].registrar.handle_flow_closed(now, wall, flow);
                node
            }
            NodeNews::Judge(node) if self.gateways[node].standing == Standing::Up => {
                let others = self.gateways.iter().enumerate();
                let living = others.filter(|(other, one)| *other != node && one.standing == Standing::Up);
                let views: Vec<_> = living.filter_map(|(other, one)| one.view(other)).collect();
                self.gateways[node].registrar.handle_nodes(now, wall, &views);
                node
            }
            NodeNews::Told(..)
            | NodeNews::Linked(..)
            | NodeNews::Carried(..)
            | NodeNews::Lost(..)
            | NodeNews::Judge(_) => return,
        };
        self.settle_gateway(node);
    }

    pub(crate) fn open_between(&mut self, from: usize, hop: HopId, next: &NextHop) {
        let to = usize::from(next.port);
        let (life, trip) = (self.gateways[from].lives, self.news * 2);
        let up = self.gateways.get(to).is_some_and(|one| one.standing == Standing::Up);
        let flow = up.then(|| {
            let (here, there) = (FlowId(self.next_gateway_flow), FlowId(self.next_gateway_flow + 1));
            self.next_gateway_flow += 2;
            let far = NodeEnd { node: to, life: self.gateways[to].lives, flow: there };
            self.node_flows.insert((from, here), far);
            self.node_flows.insert((to, there), NodeEnd { node: from, life, flow: here });
            here
        });
        self.after(trip, Happening::Nodes(NodeNews::Linked(from, life, hop, flow)));
    }

    /// Bytes of a node to another; `false` when the flow is none between nodes.
    pub(crate) fn carry_between(&mut self, from: usize, flow: FlowId, bytes: &Bytes) -> bool {
        let Some(far) = self.node_flows.get(&(from, flow)).copied() else { return false };
        if self.timeline.is_some() {
            let line = crate::sniff::lines(bytes).next().unwrap_or_default().to_owned();
            self.note(|| format!("node {from} -> node {}: {line}", far.node));
        }
        let news = NodeNews::Carried(far.node, far.life, far.flow, bytes.clone());
        self.after(self.news, Happening::Nodes(news));
        true
    }

    /// A node has closed a connection to another; `false` when it is none.
    pub(crate) fn close_between(&mut self, from: usize, flow: FlowId) -> bool {
        let Some(far) = self.node_flows.remove(&(from, flow)) else { return false };
        self.after(self.news, Happening::Nodes(NodeNews::Lost(far.node, far.life, far.flow)));
        true
    }

    pub(crate) fn kill_node(&mut self, node: usize) {
        let now = self.now;
        if self.gateways.get(node).is_none_or(|one| one.standing == Standing::Down) {
            return;
        }
        self.gateways[node].standing = Standing::Down;
        self.watch.gateway_restarted();
        self.watch.answers.disturbed(now, None);
        for link in 0..self.links.len() {
            if self.links[link].node == node && self.links[link].transport.is_reliable() {
                self.lose(link, LinkState::ClosedByGateway, false);
            }
        }
        let flows: Vec<FlowId> =
            self.node_flows.keys().filter(|(whose, _)| *whose == node).map(|(_, flow)| *flow).collect();
        for flow in flows {
            self.close_between(node, flow);
        }
        for other in (0..self.gateways.len()).filter(|other| *other != node) {
            self.after(LIFE, Happening::Nodes(NodeNews::Judge(other)));
        }
    }

    pub(crate) fn start_node(&mut self, node: usize) {
        let (now, wall, seed) = (self.now, self.wall(), seed_of(&mut self.entropy));
        if self.gateways.get(node).is_none_or(|one| one.standing == Standing::Up) {
            return;
        }
        self.gateways[node].restart(&self.kept, seed, now, wall);
        if self.gateways.len() > 1 {
            for one in 0..self.gateways.len() {
                self.after(self.news, Happening::Nodes(NodeNews::Judge(one)));
            }
        }
        self.settle_gateway(node);
    }

    /// The node that a new connection comes to: one that lives, if any does.
    pub(crate) fn draw_node(&mut self) -> usize {
        if self.gateways.len() < 2 {
            return 0;
        }
        let up = self.gateways.iter().enumerate().filter(|(_, one)| one.standing == Standing::Up);
        let up: Vec<usize> = up.map(|(node, _)| node).collect();
        let most = u32::try_from(up.len()).unwrap_or(0);
        if most == 0 { 0 } else { up[self.entropy.below(most) as usize] }
    }
}

fn between(flow: FlowId) -> FlowInfo {
    let (local, remote) = (([10, 99, 0, 1], 5060).into(), ([10, 99, 0, 2], 5060).into());
    FlowInfo { id: flow, transport: Transport::Tcp, local, remote }
}
