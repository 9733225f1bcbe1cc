//! The HTTP/2 listener that all stand-ins share: TLS or clear text, counted connections, GOAWAY on command.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// The longest body a stand-in reads; the services refuse far earlier.
const BODY_LIMIT: usize = 64 * 1024;

/// An answer of a stand-in, or `None` to reset the stream.
pub type Reply = Option<Response<Full<Bytes>>>;

/// A request whose body has been read, with the number of the connection it came on.
pub type Whole = (u64, Request<Bytes>);

/// Counts and commands for all connections of one listener.
#[derive(Debug, Clone)]
pub struct Connections {
    accepted: Arc<AtomicU64>,
    order: watch::Sender<Order>,
}

/// What every open connection is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Nothing yet.
    Serve,
    /// Send GOAWAY to the connections with numbers up to this, finish their streams, close.
    GoAway(u64),
    /// Break the connections with numbers up to this.
    Break(u64),
    /// Say nothing more on the connections with numbers up to this, and leave them open.
    Freeze(u64),
}

impl Default for Connections {
    fn default() -> Connections {
        Connections { accepted: Arc::default(), order: watch::Sender::new(Order::Serve) }
    }
}

impl Connections {
    /// How many TCP connections have been accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// GOAWAY on every open connection (RFC 9113 §6.8).
    pub fn go_away(&self) {
        self.order.send_replace(Order::GoAway(self.accepted()));
    }

    /// Breaks every open connection without a word.
    pub fn break_all(&self) {
        self.order.send_replace(Order::Break(self.accepted()));
    }

    /// Every open connection stays open and says nothing more, as when a peer has lost its power.
    pub fn freeze_all(&self) {
        self.order.send_replace(Order::Freeze(self.accepted()));
    }
}

/// Accepts and serves until the task is aborted, with at most `streams` open on one connection.
pub async fn serve<H, F>(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    streams: Option<u32>,
    connections: Connections,
    handler: H,
) where
    H: Fn(Whole) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let acceptor = tls.map(TlsAcceptor::from);
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of descriptors: wait for one to come back instead of spinning.
                Err(_) => {
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    continue;
                }
            },
            Some(_) = tasks.join_next() => continue,
        };
        let number = connections.accepted.fetch_add(1, Ordering::SeqCst) + 1;
        let (acceptor, handler) = (acceptor.clone(), handler.clone());
        let orders = connections.order.subscribe();
        tasks.spawn(async move {
            match acceptor {
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        connection(stream, number, streams, orders, handler).await;
                    }
                }
                None => connection(stream, number, streams, orders, handler).await,
            }
        });
    }
}

async fn connection<S, H, F>(
    stream: S,
    number: u64,
    streams: Option<u32>,
    mut orders: watch::Receiver<Order>,
    handler: H,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Whole) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let handler = handler.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = Limited::new(body, BODY_LIMIT).collect().await.map_err(|_| Reset)?.to_bytes();
            handler((number, Request::from_parts(head, body))).await.ok_or(Reset)
        }
    });
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(streams.unwrap_or(1000))
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(serving);
    loop {
        tokio::select! {
            _ = &mut serving => return,
            order = next(&mut orders) => match order {
                Ok(Order::GoAway(upto)) if number <= upto => serving.as_mut().graceful_shutdown(),
                Ok(Order::Break(upto)) if number <= upto => return,
                Ok(Order::Freeze(upto)) if number <= upto => std::future::pending::<()>().await,
                Ok(Order::Serve | Order::GoAway(_) | Order::Break(_) | Order::Freeze(_)) => {}
                Err(never) => match never {},
            },
        }
    }
}

/// The next order; waits for ever once the listener is gone, for then the task ends by itself.
async fn next(orders: &mut watch::Receiver<Order>) -> Result<Order, Infallible> {
    match orders.changed().await {
        Ok(()) => Ok(*orders.borrow_and_update()),
        Err(_) => std::future::pending().await,
    }
}

/// Makes the HTTP library reset the stream.
#[derive(Debug, thiserror::Error)]
#[error("the script resets this stream")]
struct Reset;
