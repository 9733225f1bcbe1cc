//! Accepts connections and gives each its name and its task.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ServerConfig;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use wakeline_flow::{FlowId, FlowInfo, Transport};

use super::{BACKLOG, HANDSHAKE, Inbound, stream, websocket};

/// Connections that the kernel may hold for us: all phones come back at once after a restart.
const PENDING: i32 = 4096;

/// Binds a stream listener.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(PENDING)?;
    TcpListener::from_std(socket.into())
}

/// Accepts until the task is ended.
pub(crate) async fn accept(
    listener: TcpListener,
    transport: Transport,
    tls: Option<Arc<ServerConfig>>,
    names: Arc<AtomicU64>,
    inbound: mpsc::Sender<Inbound>,
) {
    loop {
        let (io, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Mostly: out of file descriptors. Those that wait are taken when one comes back.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(local) = io.local_addr() else { continue };
        tune(&io);
        let flow = FlowInfo { id: FlowId(names.fetch_add(1, Ordering::Relaxed)), transport, local, remote };
        let (sender, receiver) = mpsc::channel(BACKLOG);
        if inbound.send(Inbound::Opened(flow, sender)).await.is_err() {
            return;
        }
        let (tls, inbound) = (tls.clone(), inbound.clone());
        match transport {
            Transport::Tcp | Transport::Tls | Transport::Udp => {
                tokio::spawn(stream::serve(io, tls, flow, inbound, receiver));
            }
            Transport::Ws | Transport::Wss => {
                tokio::spawn(web(io, tls, flow, inbound, receiver));
            }
        }
    }
}

async fn web(
    io: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    flow: FlowInfo,
    inbound: mpsc::Sender<Inbound>,
    mut receiver: mpsc::Receiver<super::Outgoing>,
) {
    // Boxed: the state of the handshakes is large, and the connection outlives it.
    match tls {
        None => {
            let socket = Box::pin(websocket::upgrade(io)).await;
            if let Some(mut socket) = socket {
                websocket::serve(&mut socket, flow, &inbound, &mut receiver).await;
            }
        }
        Some(tls) => {
            let socket = Box::pin(async {
                let handshake = TlsAcceptor::from(tls).accept(io);
                websocket::upgrade(tokio::time::timeout(HANDSHAKE, handshake).await.ok()?.ok()?).await
            })
            .await;
            if let Some(mut socket) = socket {
                websocket::serve(&mut socket, flow, &inbound, &mut receiver).await;
            }
        }
    }
    let _ = inbound.send(Inbound::Closed(flow.id)).await;
}

/// Small messages at once; a peer that vanished without a word is noticed (fault F12).
pub(crate) fn tune(io: &TcpStream) {
    let _ = io.set_nodelay(true);
    let socket = SockRef::from(io);
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(Duration::from_secs(300)));
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(Duration::from_secs(20)));
}
