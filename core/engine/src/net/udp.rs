//! UDP: one socket per binding and address family, flows by remote address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use wakeline_flow::{FlowId, FlowInfo, Received, Transport};
use wakeline_user_agent::{FlowFailure, Input};

use super::{Binding, unreachable};

/// Remote addresses remembered per socket; more come in only from strangers, and the oldest stranger is forgotten.
const MOST_FLOWS: usize = 1024;

/// Names of flows that strangers open; the user agent's own count from zero.
static NEXT_STRANGER: AtomicU64 = AtomicU64::new(1 << 63);

/// Whether anything ever came from an address. Of one that has spoken, ICMP is not believed: a server that restarts is back in a
/// moment, and who forges ICMP shall not end what works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Voice {
    Heard,
    Silent,
}

/// The flows of one socket.
type Names = Arc<Mutex<HashMap<SocketAddr, (FlowInfo, Voice)>>>;

/// One socket and the task that reads it.
pub(crate) struct UdpEdge {
    socket: Arc<UdpSocket>,
    names: Names,
    binding: Binding,
    /// Where the socket is bound; its address may be any.
    bound: SocketAddr,
    reader: tokio::task::JoinHandle<()>,
}

impl UdpEdge {
    /// Binds the socket of one address family and starts reading it.
    pub(crate) fn bind(binding: Binding, ipv6: bool, facts: mpsc::Sender<Input>) -> std::io::Result<UdpEdge> {
        let any = if ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        let address = binding.address.filter(|address| address.is_ipv6() == ipv6).unwrap_or(any);
        let domain = if ipv6 { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 };
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        if ipv6 {
            socket.set_only_v6(true)?;
        }
        unreachable::listen(&socket, ipv6);
        socket.bind(&SocketAddr::new(address, binding.port).into())?;
        let socket = Arc::new(UdpSocket::from_std(socket.into())?);
        let bound = socket.local_addr()?;
        let names = Names::default();
        let reader = tokio::spawn(read(Arc::clone(&socket), Arc::clone(&names), facts));
        Ok(UdpEdge { socket, names, binding, bound, reader })
    }

    /// Whether this is the socket of a binding and address family.
    pub(crate) fn serves(&self, binding: Binding, ipv6: bool) -> bool {
        self.binding == binding && self.bound.is_ipv6() == ipv6
    }

    /// Whether flows with this local address are this socket's.
    pub(crate) fn is_at(&self, local: SocketAddr) -> bool {
        self.bound.is_ipv6() == local.is_ipv6()
            && self.bound.port() == local.port()
            && (self.bound.ip() == local.ip() || self.bound.ip().is_unspecified())
    }

    /// Gives the flow to `remote` its name; returns our address as that remote sees it before any NAT.
    pub(crate) fn name(&self, flow: FlowId, remote: SocketAddr) -> std::io::Result<SocketAddr> {
        let local = local_towards(&self.socket, remote)?;
        let info = FlowInfo { id: flow, transport: Transport::Udp, local, remote };
        self.names.lock().unwrap_or_else(PoisonError::into_inner).insert(remote, (info, Voice::Silent));
        Ok(local)
    }

    /// Forgets the flow to `remote`.
    pub(crate) fn forget(&self, remote: SocketAddr) {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).remove(&remote);
    }

    /// Sends one datagram.
    pub(crate) async fn send(&self, bytes: &Bytes, remote: SocketAddr) -> std::io::Result<()> {
        let sent = self.socket.send_to(bytes, remote).await;
        // An error of an earlier datagram, perhaps to another address, is reported here too: this one has not left then.
        let sent = if sent.is_err() { self.socket.send_to(bytes, remote).await } else { sent };
        sent.map(drop)
    }
}

impl Drop for UdpEdge {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(socket: Arc<UdpSocket>, names: Names, facts: mpsc::Sender<Input>) {
    let mut buffer = vec![0; 65_535];
    loop {
        // The error queue makes the socket ready like a datagram does.
        let got = tokio::select! {
            biased;
            _ = socket.ready(Interest::ERROR) => {
                let mut told = Vec::new();
                // Within the try: what comes while the queue is read counts for the next time.
                let _ = socket.try_io(Interest::ERROR, || {
                    told = unreachable::told(&socket);
                    Err::<(), _>(std::io::ErrorKind::WouldBlock.into())
                });
                for flow in silent(&names, told) {
                    let failure = FlowFailure::Unreachable;
                    if facts.send(Input::Closed { flow, failure }).await.is_err() {
                        return;
                    }
                }
                continue;
            }
            got = socket.recv_from(&mut buffer) => got,
        };
        let (length, remote) = match got {
            Ok(got) => got,
            Err(error) => {
                // An ICMP error of an earlier datagram is reported here; the socket itself is fine.
                tracing::debug!(%error, "UDP receive");
                continue;
            }
        };
        let Some(flow) = flow_of(&socket, &names, remote) else { continue };
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        if facts.send(Input::Received(Received { flow, bytes })).await.is_err() {
            return;
        }
    }
}

/// The flows to these addresses from which nothing ever came; they are forgotten.
fn silent(names: &Names, addresses: Vec<SocketAddr>) -> Vec<FlowId> {
    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
    let mut flows = Vec::new();
    for remote in addresses {
        if let Some((info, Voice::Silent)) = names.get(&remote) {
            tracing::debug!(%remote, "nobody is there");
            flows.push(info.id);
            names.remove(&remote);
        }
    }
    flows
}

/// The flow that `remote` is, named anew when it is a stranger.
fn flow_of(socket: &UdpSocket, names: &Names, remote: SocketAddr) -> Option<FlowInfo> {
    let mut names = names.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((info, voice)) = names.get_mut(&remote) {
        *voice = Voice::Heard;
        return Some(*info);
    }
    if names.len() >= MOST_FLOWS {
        let strangers = names.values().map(|(info, _)| info).filter(|info| info.id.0 >> 63 == 1);
        let oldest = strangers.min_by_key(|info| info.id)?.remote;
        names.remove(&oldest);
    }
    let local = local_towards(socket, remote).ok()?;
    let id = FlowId(NEXT_STRANGER.fetch_add(1, Ordering::Relaxed));
    let info = FlowInfo { id, transport: Transport::Udp, local, remote };
    names.insert(remote, (info, Voice::Heard));
    Some(info)
}

/// Our address on the way to `remote`: the socket's own, or the one that the system would choose.
fn local_towards(socket: &UdpSocket, remote: SocketAddr) -> std::io::Result<SocketAddr> {
    let bound = socket.local_addr()?;
    if !bound.ip().is_unspecified() {
        return Ok(bound);
    }
    let probe = std::net::UdpSocket::bind(SocketAddr::new(bound.ip(), 0))?;
    probe.connect(remote)?;
    Ok(SocketAddr::new(probe.local_addr()?.ip(), bound.port()))
}
