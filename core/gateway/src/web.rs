//! HTTP as the gateway and the relay serve it: plain on loopback, TLS with a certificate of theirs elsewhere; HTTP/2 with
//! whoever agrees on it in the handshake.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// How long a handshake or a request's header may take (class S15).
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 64;

/// Who asks, as the connection tells.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Who is served, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// What it is, for the log.
    pub(crate) name: &'static str,
    /// Connections at once.
    pub(crate) connections: usize,
    /// Of these, from one address.
    pub(crate) per_address: usize,
    /// How long a connection may last, whatever it does.
    pub(crate) lifetime: Duration,
}

/// For the administrator: a browser or two and a collector, who may listen for days.
pub(crate) const ADMINISTRATOR: Manners =
    Manners { name: "admin", connections: 64, per_address: 64, lifetime: Duration::from_secs(30 * 86_400) };

/// For everybody: one address that holds its connections open is in nobody's way (class S15).
pub(crate) const PUBLIC: Manners =
    Manners { name: "web", connections: 4096, per_address: 64, lifetime: Duration::from_secs(120) };

/// Behind a proxy: the last address that it has added is who asks.
pub(crate) fn forwarded(request: &mut axum::extract::Request) {
    let forwarded = request.headers().get_all("x-forwarded-for").iter().next_back();
    let last = forwarded.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
    if let Some(address) = last {
        request.extensions_mut().insert(Peer(address));
    }
}

/// Connections of each address.
type Crowd = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// One connection's place; it is free again with this value.
struct Place(Crowd, IpAddr);

impl Place {
    fn take(crowd: &Crowd, address: IpAddr, most: usize) -> Option<Place> {
        let mut counts = crowd.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place(Arc::clone(crowd), address))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.1);
            }
        }
    }
}

/// Accepts until the task is ended.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    manners: Manners,
) {
    let room = Arc::new(Semaphore::new(manners.connections));
    let crowd = Crowd::default();
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((io, remote)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(place) = Place::take(&crowd, remote.ip(), manners.per_address) else { continue };
        let (tls, router) = (tls.clone(), router.clone().layer(Extension(Peer(remote.ip()))));
        tokio::spawn(async move {
            speak(io, remote, tls, router, manners).await;
            drop((permit, place));
        });
    }
}

async fn speak(
    io: TcpStream,
    remote: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    manners: Manners,
) {
    let name = manners.name;
    let _ = io.set_nodelay(true);
    let Some(tls) = tls else { return http(TokioIo::new(io), router, manners).await };
    match tokio::time::timeout(PATIENCE, TlsAcceptor::from(tls).accept(io)).await {
        Ok(Ok(io)) => match io.get_ref().1.alpn_protocol() {
            Some(b"h2") => http2(TokioIo::new(io), router, manners).await,
            Some(_) | None => http(TokioIo::new(io), router, manners).await,
        },
        Ok(Err(error)) => tracing::debug!(name, %remote, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(name, %remote, "TLS handshake took too long"),
    }
}

async fn http<T>(io: TokioIo<T>, router: Router, manners: Manners)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(64 * 1024)
        .serve_connection(io, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = tokio::time::sleep(manners.lifetime) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(PATIENCE, connection).await.unwrap_or(Ok(()))
        }
    };
    tell(manners.name, ended);
}

async fn http2<T>(io: TokioIo<T>, router: Router, manners: Manners)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(16 * 1024)
        .max_pending_accept_reset_streams(Some(20))
        .keep_alive_interval(Some(PATIENCE * 3))
        .keep_alive_timeout(PATIENCE)
        .serve_connection(io, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = tokio::time::sleep(manners.lifetime) => {
            // GOAWAY: what is on its way is answered, and the client opens another one (RFC 9113 §6.8).
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(PATIENCE, connection).await.unwrap_or(Ok(()))
        }
    };
    tell(manners.name, ended);
}

fn tell(name: &'static str, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(name, %error, "connection ended");
    }
}
