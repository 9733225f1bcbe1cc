//! The blind relay: the app of one vendor is woken by anybody's gateway.
//!
//! An app's push token is good only with its vendor's keys, which no other operator has. So the app asks this relay for
//! a push address (RFC 8030) and hands that, with keys of its own, to its gateway as a Web Push subscription. The gateway
//! posts what it sealed for the phone (RFC 8291); the relay passes it on through FCM or APNs as it is.
//!
//! | path | who | answer |
//! |---|---|---|
//! | `POST /subscribe` | the app | `{provider, param, token}` → 202 and `subscription`; a code is pushed to the token |
//! | `POST /s/{subscription}` | the app | `{code}` → 201 and `endpoint`, the push address |
//! | `DELETE /s/{subscription}` | the app | the push address is no longer good |
//! | `POST /w/{address}` | a gateway | `TTL`, `Urgency`, `Topic`, a body in `aes128gcm` → 201; 404, 413, 429, 503 |
//! | `GET /health` | a monitor | 200 |
//!
//! In: HTTPS, the operator's file. Out: pushes, and which address leads to which token.
//! Never: a body that it could read, a SIP name, a gateway's address or a push address in its store or its log.

pub mod config;
mod desk;
mod subscriptions;

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;
use wakeline_clock::system;
use wakeline_push::{Provider, PushParameters};
use wakeline_secret::Secret;

pub use self::config::{Config, EXAMPLE};
use self::desk::{Desk, NotPosted, NotSubscribed, Subscribed, Wake};
use self::subscriptions::Subscriptions;
use crate::config::tls::files;
use crate::edge::certificate::Certificates;
use crate::edge::{listen, tls};
use crate::gateway::StartError;
use crate::push::Purpose;
use crate::push::dispatch::Senders;
use crate::store::{Keeper, Row, Table};
use crate::web::{self, Peer};

/// How often the certificate's files are looked at.
const CERTIFICATE: Duration = Duration::from_secs(10);
/// How long the end of the store's thread is waited for.
const LAST_WRITE: Duration = Duration::from_secs(10);

/// The relay.
#[derive(Debug, Clone, Copy)]
pub struct Relay;

/// A running relay. It ends with this value.
#[derive(Debug)]
pub struct Handle {
    bound: Vec<SocketAddr>,
    certificate: Option<String>,
    keeper: Keeper,
    stop: Option<oneshot::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Reads the store, binds every address and serves on a thread of its own.
    ///
    /// # Errors
    /// With cause and cure; nothing is left running then.
    pub fn start(config: Config) -> Result<Handle, StartError> {
        config.check()?;
        let senders = Senders::new(&config.senders())?;
        let mut store = crate::store::open(&config.store.path, &config.store.url)?;
        let wall = system::wall();
        let own = store.load(Table::Own, wall)?;
        let rows = store.load(Table::Subscriptions, wall)?;
        let (certificates, made) = certificates(&config, &own)?;
        let certificates = Arc::new(certificates);
        let subscriptions = Subscriptions::load(&rows);
        tracing::info!(subscriptions = subscriptions.len(), "relay");
        let (keeper, writer) = Keeper::start(store).map_err(StartError::System)?;
        if let Some(row) = made {
            keeper.put(Table::Own, crate::store::Change::Put(row));
        }
        let certificate = certificates.self_signed.clone();
        let (stop, stopped) = oneshot::channel();
        let (ready, started) = std::sync::mpsc::channel();
        let mut handle = Handle {
            bound: Vec::new(),
            certificate,
            keeper: keeper.clone(),
            stop: Some(stop),
            threads: vec![writer],
        };
        let thread = std::thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(ready.send(Err(StartError::System(error)))),
                };
                runtime.block_on(async {
                    let desk = Arc::new(Desk::new(config, senders, subscriptions, keeper));
                    match open(&desk, &certificates) {
                        Ok(bound) => drop(ready.send(Ok(bound))),
                        Err(error) => return drop(ready.send(Err(error))),
                    }
                    let _ = stopped.await;
                });
                runtime.shutdown_timeout(Duration::from_secs(1));
            })
            .map_err(StartError::System)?;
        handle.threads.insert(0, thread);
        match started.recv() {
            Ok(bound) => handle.bound = bound?,
            Err(_) => return Err(StartError::System(std::io::Error::other("the relay's thread ended"))),
        }
        Ok(handle)
    }
}

/// The certificate, and its row when it is self-signed.
fn certificates(config: &Config, own: &[Row]) -> Result<(Certificates, Option<Row>), StartError> {
    match files(&config.tls.certificate, &config.tls.key)? {
        Some((certificate, key)) => Ok((Certificates::from_files(certificate, key)?, None)),
        None => {
            let host = config.base().trim_start_matches("https://");
            let host = host.rsplit_once(':').map_or(host, |(host, _)| host).trim_matches(['[', ']']);
            let mut names = vec![host.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
            names.sort();
            names.dedup();
            let earlier = own.iter().find(|row| row.key == b"certificate");
            let earlier = earlier.and_then(|row| String::from_utf8(row.value.clone()).ok());
            let (certificates, pem) = Certificates::self_signed(names, earlier.as_deref())?;
            Ok((
                certificates,
                Some(Row { key: b"certificate".to_vec(), value: pem.into_bytes(), until: None }),
            ))
        }
    }
}

/// Binds every address and serves.
fn open(desk: &Arc<Desk>, certificates: &Arc<Certificates>) -> Result<Vec<SocketAddr>, StartError> {
    let mut bound = Vec::new();
    let mut listeners = Vec::new();
    for address in &desk.config.listen {
        let failed = |source| StartError::BindWeb { key: "listen", address: *address, source };
        let listener = listen::bind(*address).map_err(failed)?;
        bound.push(listener.local_addr().map_err(failed)?);
        listeners.push(listener);
    }
    let proxied = desk.config.behind_proxy;
    let crowd = if proxied { web::PUBLIC.connections } else { web::PUBLIC.per_address };
    let manners = web::Manners { name: "relay", per_address: crowd, ..web::PUBLIC };
    for listener in listeners {
        let tls = if proxied { None } else { Some(tls::for_http2(Arc::clone(certificates) as _)?) };
        tokio::spawn(web::serve(listener, tls, router(Arc::clone(desk)), manners));
    }
    let certificates = Arc::clone(certificates);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(CERTIFICATE).await;
            certificates.reload();
        }
    });
    Ok(bound)
}

impl Handle {
    /// Every address that is listened on.
    pub fn bound(&self) -> &[SocketAddr] {
        &self.bound
    }

    /// The self-signed certificate, PEM; `None` when the operator named one.
    pub fn certificate_pem(&self) -> Option<&str> {
        self.certificate.as_deref()
    }

    /// Waits until everything that changed so far is in the store; `false` when it was not within `limit`.
    pub fn flush(&self, limit: Duration) -> bool {
        self.keeper.flush(limit)
    }

    /// Ends the relay; blocks until the store is written.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(stop) = self.stop.take() else { return };
        let _ = stop.send(());
        if !self.threads.is_empty() {
            let _ = self.threads.remove(0).join();
        }
        self.keeper.flush(LAST_WRITE);
        self.keeper.end();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}

fn router(desk: Arc<Desk>) -> Router {
    let body = desk.config.limits.body.max(1024);
    Router::new()
        .route("/subscribe", post(subscribe))
        .route("/s/{subscription}", post(prove).delete(revoke))
        .route("/w/{address}", post(wake))
        .route("/health", get(|| async { "well\n" }))
        .layer(DefaultBodyLimit::max(body))
        .layer(from_fn_with_state(Arc::clone(&desk), who))
        .with_state(desk)
}

/// Who asks: behind a proxy, the last address that it has added.
async fn who(State(desk): State<Arc<Desk>>, mut request: Request, next: Next) -> Response {
    if desk.config.behind_proxy {
        web::forwarded(&mut request);
    }
    next.run(request).await
}

fn later(seconds: u64, why: &'static str) -> Response {
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds.to_string())], why).into_response()
}

fn unknown() -> Response {
    (StatusCode::NOT_FOUND, "no such address\n").into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    provider: String,
    #[serde(default)]
    param: String,
    token: Secret,
}

async fn subscribe(
    State(desk): State<Arc<Desk>>,
    Extension(Peer(address)): Extension<Peer>,
    Json(body): Json<Subscribe>,
) -> Response {
    if !desk.may_ask(address) {
        return later(60, "too many subscriptions from your address\n");
    }
    let Ok(target) = PushParameters::new(Provider::parse(&body.provider), &body.param, body.token) else {
        return (StatusCode::BAD_REQUEST, "provider, param and token do not fit together\n").into_response();
    };
    let base = desk.config.base();
    match desk.subscribe(target).await {
        Ok(Subscribed::Asked { manage }) => {
            let told = json!({ "subscription": format!("{base}/s/{manage}") });
            (StatusCode::ACCEPTED, Json(told)).into_response()
        }
        Ok(Subscribed::Live { manage, address }) => {
            let told = json!({
                "subscription": format!("{base}/s/{manage}"),
                "endpoint": format!("{base}/w/{address}"),
            });
            (StatusCode::CREATED, Json(told)).into_response()
        }
        Err(NotSubscribed::NotOurs) => {
            (StatusCode::FORBIDDEN, "this relay does not wake that app\n").into_response()
        }
        Err(NotSubscribed::Dead) => (StatusCode::GONE, "the token is dead\n").into_response(),
        Err(NotSubscribed::TooOften) => later(3600, "too many push addresses\n"),
        Err(NotSubscribed::Unavailable) => {
            let wait = [(header::RETRY_AFTER, "30")];
            (StatusCode::SERVICE_UNAVAILABLE, wait, "the push service does not answer\n").into_response()
        }
    }
}

#[derive(Deserialize)]
struct Shown {
    code: Secret,
}

async fn prove(
    State(desk): State<Arc<Desk>>,
    Extension(Peer(from)): Extension<Peer>,
    Path(subscription): Path<String>,
    Json(body): Json<Shown>,
) -> Response {
    if !desk.may_try(from) {
        return later(60, "too many wrong codes\n");
    }
    match desk.prove(&subscription, &body.code) {
        Some(address) => {
            let told = json!({ "endpoint": format!("{}/w/{address}", desk.config.base()) });
            (StatusCode::CREATED, Json(told)).into_response()
        }
        None => {
            desk.wrong(from);
            unknown()
        }
    }
}

async fn revoke(
    State(desk): State<Arc<Desk>>,
    Extension(Peer(from)): Extension<Peer>,
    Path(subscription): Path<String>,
) -> Response {
    if !desk.may_try(from) {
        return later(60, "too many wrong addresses\n");
    }
    if desk.revoke(&subscription) {
        return StatusCode::NO_CONTENT.into_response();
    }
    desk.wrong(from);
    unknown()
}

/// `TTL`, `Urgency` and `Topic` of a post (RFC 8030 §5.2 to §5.4).
fn wish(headers: &HeaderMap, body: Bytes) -> Result<Wake, &'static str> {
    let field = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"));
    let ttl: u64 = field("ttl").and_then(|text| text.parse().ok()).ok_or("TTL is needed: seconds\n")?;
    // No urgency counts as normal (RFC 8030 §5.3).
    let purpose = match field("urgency") {
        Some("high") => Purpose::Call,
        None | Some("normal") => Purpose::Request,
        Some("very-low" | "low") => Purpose::Refresh,
        Some(_) => return Err("Urgency is very-low, low, normal or high\n"),
    };
    let token = |text: &str| {
        text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if field("topic").is_some_and(|topic| !token(topic)) {
        return Err("Topic has at most 32 characters of base64url\n");
    }
    if !body.is_empty() && field("content-encoding") != Some("aes128gcm") {
        return Err("a body must be sealed for the phone: Content-Encoding: aes128gcm (RFC 8291)\n");
    }
    Ok(Wake { ttl: Duration::from_secs(ttl), purpose, body: body.to_vec() })
}

async fn wake(
    State(desk): State<Arc<Desk>>,
    Path(address): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if body.len() > desk.config.limits.body {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    let wish = match wish(&headers, body) {
        Ok(wish) => wish,
        Err(why) => return (StatusCode::BAD_REQUEST, why).into_response(),
    };
    let ttl = wish.ttl.as_secs().to_string();
    match desk.post(&address, wish).await {
        Ok(()) => (StatusCode::CREATED, [("ttl", ttl)]).into_response(),
        // Not counted: an address cannot be guessed, and a large gateway meets many that are gone.
        Err(NotPosted::Gone) => unknown(),
        Err(NotPosted::TooOften(seconds)) => later(seconds, "too many posts to this address\n"),
        Err(NotPosted::Later) => {
            (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")]).into_response()
        }
        Err(NotPosted::Cannot) => (StatusCode::BAD_GATEWAY, "the vendor does not take it\n").into_response(),
    }
}
