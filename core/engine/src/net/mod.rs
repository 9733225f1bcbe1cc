//! The phone's network: flows as tasks.
//!
//! Every stream flow (TCP, TLS, WS, WSS) is one task with a queue; UDP is one socket per binding and address family, and its flows
//! are the remote addresses met on it. What happens goes to the loop as [`Input`]s.

mod stream;
#[cfg(test)]
mod tests;
mod tls;
mod udp;
mod unreachable;
mod websocket;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use wakeline_flow::{FlowId, FlowInfo, Hop, Transmit, Transport};
use wakeline_user_agent::{AccountId, FlowFailure, Input};

pub use tls::Trust;
pub(crate) use tls::configuration as tls_for;
use udp::UdpEdge;

/// Messages that may wait in one flow's queue; a peer that does not read costs its flow, not our memory.
const QUEUE: usize = 256;

/// Where the network's sockets are bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Binding {
    /// The local address (webphone `localip`); any when absent.
    pub(crate) address: Option<IpAddr>,
    /// The UDP port (webphone `signalingport`); any when 0.
    pub(crate) port: u16,
}

/// An account's own place in the network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// Where its sockets are bound.
    pub(crate) binding: Binding,
    /// Whom it trusts over TLS.
    pub(crate) trust: Trust,
}

/// One open or opening flow.
enum Flow {
    Udp { local: SocketAddr, remote: SocketAddr },
    Stream { queue: mpsc::Sender<Bytes>, task: tokio::task::JoinHandle<()> },
}

/// Whether strangers are heard on a fixed port, beside the flows that are wanted anyway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ear {
    Open,
    Closed,
}

/// All flows of a phone.
pub(crate) struct Network {
    /// By account.
    places: Vec<Place>,
    /// Addresses of WebSocket servers as the accounts have them: a hop does not know its path.
    doors: Vec<String>,
    /// One for every judgement in use: sessions are resumed among the accounts that share it.
    tls: Vec<(Trust, Arc<rustls::ClientConfig>)>,
    udp: Vec<UdpEdge>,
    ear: Ear,
    flows: HashMap<FlowId, Flow>,
    facts: mpsc::Sender<Input>,
}

impl Network {
    /// A network without sockets; they are opened when a flow first wants them.
    pub(crate) fn new(places: Vec<Place>, doors: Vec<String>, facts: mpsc::Sender<Input>) -> Network {
        Network {
            places,
            doors,
            tls: Vec::new(),
            udp: Vec::new(),
            ear: Ear::Closed,
            flows: HashMap::new(),
            facts,
        }
    }

    /// An account stands elsewhere in the network from now on; `doors` are those of all accounts.
    pub(crate) fn move_account(&mut self, account: AccountId, place: Place, doors: Vec<String>) {
        if let Some(known) = self.places.get_mut(account.0 as usize) {
            *known = place;
        }
        self.doors = doors;
    }

    /// Opens a flow. What is known at once is returned; else the outcome arrives as `Opened` or `Closed`.
    pub(crate) fn open(&mut self, flow: FlowId, hop: Hop, account: AccountId) -> Option<Input> {
        let place = self.places.get(account.0 as usize).cloned().unwrap_or_default();
        match hop.transport {
            Transport::Udp => Some(self.open_udp(flow, hop.remote, place.binding)),
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                self.open_stream(flow, hop, &place)
            }
        }
    }

    fn open_udp(&mut self, flow: FlowId, remote: SocketAddr, binding: Binding) -> Input {
        match self.udp_edge(binding, remote.is_ipv6()).and_then(|edge| edge.name(flow, remote)) {
            Ok(local) => {
                self.flows.insert(flow, Flow::Udp { local, remote });
                Input::Opened(FlowInfo { id: flow, transport: Transport::Udp, local, remote })
            }
            Err(error) => {
                tracing::warn!(%remote, %error, "no UDP flow");
                Input::Closed { flow, failure: FlowFailure::Unreachable }
            }
        }
    }

    fn open_stream(&mut self, flow: FlowId, hop: Hop, place: &Place) -> Option<Input> {
        let tls = if hop.transport.is_secure() {
            match self.tls_configuration(&place.trust) {
                Ok(tls) => Some(tls),
                Err(error) => {
                    tracing::error!(%error, "no TLS");
                    return Some(Input::Closed { flow, failure: FlowFailure::CertificateRefused });
                }
            }
        } else {
            None
        };
        let (queue, waiting) = mpsc::channel(QUEUE);
        let target = websocket::target(&hop, &self.doors);
        let way = stream::Way { from: place.binding.address, tls, target };
        let task = tokio::spawn(stream::run(flow, hop, way, waiting, self.facts.clone()));
        self.flows.insert(flow, Flow::Stream { queue, task });
        None
    }

    /// Listens on the fixed UDP ports, if there are any: a phone that registers nowhere is called there.
    pub(crate) fn listen(&mut self) {
        let fixed: Vec<Binding> =
            self.places.iter().map(|place| place.binding).filter(|binding| binding.port != 0).collect();
        for binding in fixed {
            self.ear = Ear::Open;
            if let Err(error) =
                self.udp_edge(binding, binding.address.is_some_and(|address| address.is_ipv6()))
            {
                tracing::error!(port = binding.port, %error, "the SIP port cannot be had: is another program using it?");
            }
        }
    }

    /// Listens no more: no packet may wake a suspended process.
    pub(crate) fn rest(&mut self) {
        self.ear = Ear::Closed;
        self.close_idle_udp();
    }

    fn close_idle_udp(&mut self) {
        if self.ear == Ear::Closed && self.flows.values().all(|flow| matches!(flow, Flow::Stream { .. })) {
            self.udp.clear();
        }
    }

    /// Sends on a flow; what is sent to a flow that is gone is dropped, because its end has been told already.
    pub(crate) async fn send(&mut self, transmit: Transmit) -> Option<Input> {
        match self.flows.get(&transmit.flow) {
            Some(Flow::Udp { local, remote }) => {
                let (local, remote) = (*local, *remote);
                if let Some(edge) = self.udp.iter().find(|edge| edge.is_at(local))
                    && let Err(error) = edge.send(&transmit.bytes, remote).await
                {
                    tracing::debug!(%remote, %error, "datagram not sent");
                }
                None
            }
            Some(Flow::Stream { queue, .. }) => {
                if queue.try_send(transmit.bytes).is_ok() {
                    return None;
                }
                self.flows.remove(&transmit.flow);
                Some(Input::Closed { flow: transmit.flow, failure: FlowFailure::TimedOut })
            }
            None => None,
        }
    }

    /// Closes a flow in good order: what is queued is still sent.
    pub(crate) fn close(&mut self, flow: FlowId) {
        match self.flows.remove(&flow) {
            Some(Flow::Udp { local, remote }) => {
                if let Some(edge) = self.udp.iter().find(|edge| edge.is_at(local)) {
                    edge.forget(remote);
                }
                // Nothing listens while suspended: no packet may wake the process.
                self.close_idle_udp();
            }
            // Dropping the queue lets the task send what waits, say close_notify and end.
            Some(Flow::Stream { .. }) | None => {}
        }
    }

    /// A flow that a datagram from an unknown address opened is known from now on.
    pub(crate) fn adopt(&mut self, info: &FlowInfo) {
        if info.transport == Transport::Udp {
            self.flows.entry(info.id).or_insert(Flow::Udp { local: info.local, remote: info.remote });
        }
    }

    /// Forgets a flow whose end was told by its own task.
    pub(crate) fn forget(&mut self, flow: FlowId) {
        self.flows.remove(&flow);
    }

    /// Open and opening flows.
    pub(crate) fn count(&self) -> usize {
        self.flows.len()
    }

    /// Waits until every closing flow has sent its last bytes, or the patience is over.
    pub(crate) async fn drain(&mut self, patience: std::time::Duration) {
        let tasks: Vec<_> = self
            .flows
            .drain()
            .filter_map(|(_, flow)| match flow {
                Flow::Stream { queue, task } => {
                    drop(queue);
                    Some(task)
                }
                Flow::Udp { .. } => None,
            })
            .collect();
        let all = async {
            for task in tasks {
                // A task that panicked has closed its socket too.
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(patience, all).await;
    }

    fn udp_edge(&mut self, binding: Binding, ipv6: bool) -> std::io::Result<&UdpEdge> {
        if let Some(place) = self.udp.iter().position(|edge| edge.serves(binding, ipv6)) {
            return Ok(&self.udp[place]);
        }
        let edge = UdpEdge::bind(binding, ipv6, self.facts.clone())?;
        self.udp.push(edge);
        Ok(&self.udp[self.udp.len() - 1])
    }

    fn tls_configuration(&mut self, trust: &Trust) -> Result<Arc<rustls::ClientConfig>, rustls::Error> {
        if let Some((_, known)) = self.tls.iter().find(|(whose, _)| whose == trust) {
            return Ok(Arc::clone(known));
        }
        let made = tls::configuration(trust)?;
        self.tls.push((trust.clone(), Arc::clone(&made)));
        Ok(made)
    }
}
