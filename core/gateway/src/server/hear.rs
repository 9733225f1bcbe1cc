//! What comes up from streams.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use wakeline_clock::{Time, WallTime, system};
use wakeline_flow::{FlowId, FlowInfo, Received};
use wakeline_sip_message::{Builder, Message, Method, Name};

use super::{Server, Stream};
use crate::edge::Inbound;
use crate::edge::next_hop::Dial;
use crate::edge::udp::UdpPort;

impl Server {
    /// Something came up from a stream.
    pub(super) fn hear(&mut self, now: Time, wall: WallTime, what: Inbound) {
        match what {
            Inbound::Opened(flow, sender) => {
                self.state.streams.insert(flow.id.0, Stream { sender, flow, flight: Vec::new() });
                if !self.is_trusted_source(flow.remote) {
                    let evicted = self.strangers.enter(now, flow);
                    self.state.counters.evicted += evicted.len() as u64;
                    self.state.closing.extend(evicted);
                }
            }
            Inbound::Message(flow, bytes) => {
                // One that was told to close meanwhile is not listened to any more.
                if !self.state.streams.contains_key(&flow.id.0) {
                    return;
                }
                if let Some(wait) = self.must_wait(now, &flow, &bytes) {
                    self.turn_away(&flow, bytes, wait);
                } else {
                    self.registrar.handle_received(now, wall, Received { flow, bytes });
                }
            }
            Inbound::KeepAlive(flow) => self.registrar.handle_flow_alive(now, flow),
            Inbound::Broken(flow, message) => {
                if let Some(answer) = message.and_then(|message| refusal(&message)) {
                    self.transmit(flow.id, answer);
                }
                self.state.closing.push(flow.id);
            }
            Inbound::HopFound(hop, remote) => {
                let same = |port: &&mut UdpPort| port.local().is_ipv4() == remote.is_ipv4();
                match self.udp.iter_mut().find(same) {
                    Some(port) => {
                        let flow = Dial::reachable(port.flow(remote));
                        self.registrar.handle_hop_opened(now, hop, flow);
                    }
                    None => {
                        tracing::error!(%remote, "no UDP socket listens in the address family of a next hop");
                        self.registrar.handle_hop_failed(now, hop);
                    }
                }
            }
            Inbound::HopOpened(hop, flow, sender) => {
                self.state.streams.insert(flow.id.0, Stream { sender, flow, flight: Vec::new() });
                self.state.hops.push(flow.id);
                self.registrar.handle_hop_opened(now, hop, flow);
            }
            Inbound::HopFailed(hop) => self.registrar.handle_hop_failed(now, hop),
            Inbound::Closed(flow) => {
                self.state.hops.retain(|open| *open != flow);
                self.strangers.leave(flow);
                self.state.streams.remove(&flow.0);
                self.registrar.handle_flow_closed(now, wall, flow);
            }
        }
    }
}

impl Server {
    /// How long the sender of a request is not looked at, because it was refused too often; responses and ACKs cost nothing.
    pub(super) fn must_wait(&self, now: Time, flow: &FlowInfo, bytes: &[u8]) -> Option<Duration> {
        let wait = self.knocks.wait(now, flow.remote.ip())?;
        let asks = !bytes.starts_with(b"SIP/2.0 ") && !bytes.starts_with(b"ACK ");
        let known = self.registrar.is_registered_flow(flow.id) || self.is_trusted(flow);
        Some(wait).filter(|_| asks && !known)
    }

    /// Counts a refusal, unless it goes to somebody we know.
    pub(super) fn count_refusal(&mut self, flow: FlowId) {
        let remote = match UdpPort::socket_of(flow) {
            Some(index) => self.udp.get(index).and_then(|port| port.remote(flow)),
            None => self.state.streams.get(&flow.0).map(|stream| stream.flow.remote),
        };
        let Some(remote) = remote else { return };
        let trusted = self.is_trusted_source(remote);
        if !trusted && !self.state.hops.contains(&flow) && !self.registrar.is_registered_flow(flow) {
            self.knocks.refused(system::now(), remote.ip());
        }
    }

    /// Whether a trusted peer or another node may be at this address.
    fn is_trusted_source(&self, remote: SocketAddr) -> bool {
        self.trusted.iter().any(|peer| peer.contains(remote))
            || self.peers.contains(&remote.ip().to_canonical())
    }

    fn is_trusted(&self, flow: &FlowInfo) -> bool {
        self.is_trusted_source(flow.remote) || self.state.hops.contains(&flow.id)
    }

    /// Over a stream the sender is told, so that a phone behind the same address knows when to come again.
    fn turn_away(&mut self, flow: &FlowInfo, bytes: Bytes, wait: Duration) {
        self.state.counters.turned_away += 1;
        let answer = Message::parse(bytes).ok().and_then(|request| later(&request, wait));
        if let Some(stream) = self.state.streams.get_mut(&flow.id.0)
            && let Some(answer) = answer
        {
            if stream.flight.is_empty() {
                self.state.dirty.push(flow.id);
            }
            stream.flight.push(answer);
        }
        self.state.closing.push(flow.id);
    }
}

/// 503 with the time to wait (RFC 3261 §21.5.4).
fn later(request: &Message, wait: Duration) -> Option<Bytes> {
    let seconds = wait.as_secs() + 1;
    let answer = Builder::response(request, 503, "Service Unavailable").header(Name::RetryAfter, seconds);
    Some(answer.build().ok()?.to_bytes())
}

/// 400 to a request that cannot be framed (RFC 3261 §18.3); nothing to a response or an ACK.
fn refusal(message: &Message) -> Option<Bytes> {
    if !message.is_request() || message.method() == Method::Ack {
        return None;
    }
    Some(Builder::response(message, 400, "Bad Request").build().ok()?.to_bytes())
}
