//! HTTP/1.1 for the administrator: plain on loopback, TLS with the gateway's certificate elsewhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Connections at once: a browser or two and a collector.
const CONNECTIONS: usize = 64;
/// How long a handshake or a request's header may take (class S15).
const PATIENCE: Duration = Duration::from_secs(10);

/// Accepts until the task is ended.
pub(crate) async fn serve(listener: TcpListener, tls: Option<Arc<ServerConfig>>, router: Router) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((io, remote)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (tls, router) = (tls.clone(), router.clone());
        tokio::spawn(async move {
            speak(io, remote, tls, router).await;
            drop(permit);
        });
    }
}

async fn speak(io: TcpStream, remote: SocketAddr, tls: Option<Arc<ServerConfig>>, router: Router) {
    let Some(tls) = tls else { return http(TokioIo::new(io), router).await };
    match tokio::time::timeout(PATIENCE, TlsAcceptor::from(tls).accept(io)).await {
        Ok(Ok(io)) => http(TokioIo::new(io), router).await,
        Ok(Err(error)) => tracing::debug!(%remote, %error, "admin: TLS handshake failed"),
        Err(_) => tracing::debug!(%remote, "admin: TLS handshake took too long"),
    }
}

async fn http<T>(io: TokioIo<T>, router: Router)
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(64 * 1024)
        .serve_connection(io, TowerToHyperService::new(router));
    if let Err(error) = connection.await {
        tracing::debug!(%error, "admin: connection ended");
    }
}
