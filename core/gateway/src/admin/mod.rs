//! The administrator's view: wakes, devices, quotas, numbers and what happens now, as JSON and as a page.
//!
//! | path | answer |
//! |---|---|
//! | `GET /`, `/page.js`, `/page.css` | the page; it holds no data and asks for the token where one is needed |
//! | `GET /metrics` | Prometheus text |
//! | `GET /api/stats` | [`crate::Stats`] |
//! | `GET /api/wakes?most=50` | the newest wakes, at most 500: `[{wake, began_ms, outcome, ring_ms, legs}]` |
//! | `GET /api/wakes/{wake}` | one wake; 404 when it is not remembered |
//! | `GET /api/aors?from=0&most=100` | addresses of record: `{aors: [{name, devices, wakes_left, mail}], next}` |
//! | `GET /api/aors/{user@domain}` | one; 404 when it is not ours |
//! | `GET /api/nodes` | every node that lives, the asked one first: `[{name, address, own, linked, heard_ms, up_ms, draining, bindings, contexts, held}]` |
//! | `POST /api/drain` | this node takes in no call that would have to wait (503, Retry-After); the node as above. It may end when `contexts` is 0 |
//! | `DELETE /api/drain` | it does again |
//! | `GET /api/log` | every leg from now on, as server-sent events |
//!
//! In: a listener, who may ask, the way to the event loop. Out: HTTP.
//! Never: a change by a GET, a token or password in an answer, anything to a page of another origin.

mod access;
mod metrics;

use core::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, oneshot};
use wakeline_push::WakeId;
use wakeline_registrar::{AorView, Trace};

pub(crate) use access::Access;
use access::Refused;

use crate::server::Command;
use crate::wakes;

const PAGE: &str = include_str!("page/page.html");
const SCRIPT: &str = include_str!("page/page.js");
const STYLE: &str = include_str!("page/page.css");

/// What the page may do: its own script and style, and its own API.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How the answers are had.
#[derive(Debug, Clone)]
struct Desk {
    commands: mpsc::UnboundedSender<Command>,
    traces: broadcast::Sender<Trace>,
}

impl Desk {
    /// Asks the event loop; `Err` once it has ended.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, StatusCode> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        answer.await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// The whole API.
pub(crate) fn router(
    access: Access,
    commands: mpsc::UnboundedSender<Command>,
    traces: broadcast::Sender<Trace>,
) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(numbers))
        .route("/api/stats", get(stats))
        .route("/api/wakes", get(recent))
        .route("/api/wakes/{wake}", get(one_wake))
        .route("/api/aors", get(aors))
        .route("/api/aors/{name}", get(one_aor))
        .route("/api/nodes", get(nodes))
        .route("/api/drain", post(drain).delete(resume))
        .route("/api/log", get(log))
        .layer(from_fn_with_state(Arc::new(access), guard))
        .with_state(Desk { commands, traces });
    let file = |kind: &'static str, text: &'static str| {
        get(move || async move { ([(header::CONTENT_TYPE, kind)], text) })
    };
    Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/page.js", file("text/javascript; charset=utf-8", SCRIPT))
        .route("/page.css", file("text/css; charset=utf-8", STYLE))
        .merge(guarded)
        .layer(axum::middleware::from_fn(dress))
}

async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match access.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(Refused::NoToken) => {
            let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, ask, "a token is needed: Authorization: Bearer TOKEN\n")
                .into_response()
        }
        Err(Refused::Foreign) => {
            (StatusCode::FORBIDDEN, "only pages of this gateway, on this machine, may ask\n").into_response()
        }
    }
}

/// What every answer carries: nothing is kept, framed or guessed.
async fn dress(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn numbers(State(desk): State<Desk>) -> Result<Response, StatusCode> {
    let stats = desk.ask(Command::Stats).await?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::text(&stats)).into_response())
}

async fn stats(State(desk): State<Desk>) -> Result<Response, StatusCode> {
    Ok(Json(desk.ask(Command::Stats).await?).into_response())
}

async fn nodes(State(desk): State<Desk>) -> Result<Response, StatusCode> {
    Ok(Json(desk.ask(Command::Nodes).await?).into_response())
}

async fn drain(State(desk): State<Desk>) -> Result<Response, StatusCode> {
    Ok(Json(desk.ask(|reply| Command::SetDraining { on: true, reply }).await?).into_response())
}

async fn resume(State(desk): State<Desk>) -> Result<Response, StatusCode> {
    Ok(Json(desk.ask(|reply| Command::SetDraining { on: false, reply }).await?).into_response())
}

#[derive(Deserialize)]
struct Most {
    most: Option<usize>,
}

async fn recent(State(desk): State<Desk>, Query(query): Query<Most>) -> Result<Response, StatusCode> {
    let most = query.most.unwrap_or(50).min(500);
    Ok(Json(desk.ask(|reply| Command::Wakes { most, reply }).await?).into_response())
}

async fn one_wake(State(desk): State<Desk>, Path(wake): Path<String>) -> Result<Response, StatusCode> {
    let wake: WakeId = wake.parse().map_err(|_| StatusCode::NOT_FOUND)?;
    let found = desk.ask(|reply| Command::Wake { wake, reply }).await?;
    Ok(Json(found.ok_or(StatusCode::NOT_FOUND)?).into_response())
}

#[derive(Deserialize)]
struct Span {
    from: Option<u32>,
    most: Option<usize>,
}

/// One address of record as JSON.
#[derive(Serialize)]
struct Aor {
    name: String,
    devices: Vec<Device>,
    wakes_left: WakesLeft,
    mail: usize,
}

#[derive(Serialize)]
struct Device {
    device: u64,
    expires_in_s: u32,
    connected: bool,
    wakeable: bool,
}

#[derive(Serialize)]
struct WakesLeft {
    minute: u16,
    hour: u16,
}

impl From<AorView> for Aor {
    fn from(view: AorView) -> Aor {
        let devices = view.bindings.iter().map(|binding| Device {
            device: binding.id.0,
            expires_in_s: binding.expires_in,
            connected: binding.flow.is_some(),
            wakeable: binding.wakeable,
        });
        let left = view.wakes_left;
        Aor {
            devices: devices.collect(),
            wakes_left: WakesLeft { minute: left.minute, hour: left.hour },
            mail: view.mail,
            name: view.name,
        }
    }
}

#[derive(Serialize)]
struct Aors {
    aors: Vec<Aor>,
    /// `from` of the next page; absent after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u32>,
}

async fn aors(State(desk): State<Desk>, Query(query): Query<Span>) -> Result<Response, StatusCode> {
    let (from, most) = (query.from.unwrap_or(0), query.most.unwrap_or(100).clamp(1, 500));
    let views = desk.ask(|reply| Command::Aors { from, most, reply }).await?;
    let next =
        if views.len() == most { views.last().map(|view| view.number.saturating_add(1)) } else { None };
    Ok(Json(Aors { aors: views.into_iter().map(Aor::from).collect(), next }).into_response())
}

async fn one_aor(State(desk): State<Desk>, Path(name): Path<String>) -> Result<Response, StatusCode> {
    let (user, domain) = name.rsplit_once('@').ok_or(StatusCode::NOT_FOUND)?;
    let (user, domain) = (user.to_owned(), domain.to_owned());
    let view = desk.ask(|reply| Command::Aor { user, domain, reply }).await?;
    Ok(Json(Aor::from(view.ok_or(StatusCode::NOT_FOUND)?)).into_response())
}

/// One line of the live log.
#[derive(Serialize)]
struct Line {
    wake: Option<WakeId>,
    #[serde(flatten)]
    step: wakes::Step,
}

async fn log(State(desk): State<Desk>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let lines = stream::unfold(desk.traces.subscribe(), |mut traces| async move {
        let event = match traces.recv().await {
            Ok(trace) => {
                let at_ms = wakeline_clock::system::wall().0 as f64;
                let line = Line { wake: trace.wake, step: wakes::step(at_ms, &trace.leg) };
                Event::default().json_data(line).unwrap_or_default()
            }
            // A reader that cannot keep up is told what it lost instead of slowing the calls down.
            Err(broadcast::error::RecvError::Lagged(lost)) => {
                Event::default().event("lost").data(lost.to_string())
            }
            Err(broadcast::error::RecvError::Closed) => return None,
        };
        Some((Ok(event), traces))
    });
    Sse::new(lines).keep_alive(KeepAlive::default())
}
