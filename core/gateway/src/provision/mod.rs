//! Provisioning: from an operator's wish to a phone that has its settings, by a link, a QR code or a typed code.
//!
//! | path | who | answer |
//! |---|---|---|
//! | `POST /provision` | operator | `{parameters, label?, aor?, hours?}` → 201 with link, code, QR page and picture |
//! | `GET /provision`, `GET /provision/{id}` | operator | the grants, without their parameters |
//! | `PUT /provision/{id}` | operator | other parameters; the phone is told at its next REGISTER (`X-Settings`) |
//! | `POST /provision/{id}/link` | operator | a further link, for another phone in place of the one that has it |
//! | `DELETE /provision/{id}` | operator | withdraws it |
//! | `POST /provision/keys` | operator | a new signing key |
//! | `GET /p/{code}`, `/p/{code}/qr` | a browser | the way to the app, the store or the web phone; the QR code |
//! | `POST /provision/preview` | a phone | `{code}` → whose settings they are and what they set, without secrets; the code stays good |
//! | `POST /provision/exchange` | a phone | `{code, device_key, consent: true}` → signed settings, once |
//! | `POST /provision/settings` | a phone | `{id, device_key, serial}` → newer ones, 204, or 410 when withdrawn |
//! | `GET /.well-known/…` | the systems | `assetlinks.json`, `apple-app-site-association`, `jwks.json` |
//! | `GET /settings.schema.json` | anybody | the JSON Schema of what is signed |
//! | `GET /setparameters`, `/opcode/{code}` | a phone | open parameters: a list with commas (B-044), a file (B-046) |
//!
//! In: JSON from the operator, codes and keys from phones. Out: pages, signed settings, changes for the store, news for
//! the registrar. Never: a code or a password in a log, a code or a phone's key in the store (only their digests), an
//! answer that tells a wrong code from one that lapsed, was used or withdrawn.

mod association;
mod attempts;
mod code;
mod grants;
mod ledger;
mod office;
mod page;
mod signer;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use wakeline_secret::Secret;

pub(crate) use self::attempts::Attempts;
use self::code::Code;
use self::grants::NoLink;
pub(crate) use self::ledger::{KEY, Ledger};
pub(crate) use self::office::Office;
use self::office::{Answer, Denied, Link, Wish};
use self::page::Visitor;
pub(crate) use self::signer::Signer;
use crate::admin::Access;
use crate::web::Peer;

/// The JSON Schema of signed settings.
const SCHEMA: &str = include_str!("settings.schema.json");
/// The longest body: a grant with every parameter.
const MAX_BODY: usize = 64 * 1024;
/// How often what is over is forgotten.
const TIDY: Duration = Duration::from_secs(60);
/// What the pages may do: show themselves.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Every path.
pub(crate) fn router(office: Arc<Office>) -> Router {
    let operator = Router::new()
        .route("/provision", post(grant).get(list))
        .route("/provision/keys", post(new_key))
        .route("/provision/{id}", get(one).put(rotate).delete(revoke))
        .route("/provision/{id}/link", post(link))
        .layer(from_fn_with_state(Arc::clone(&office), guard));
    let open = Router::new()
        .route("/p/{code}", get(landing))
        .route("/p/{code}/qr", get(qr))
        .route("/provision.css", get(|| async { ([(header::CONTENT_TYPE, "text/css")], page::STYLE) }))
        .route("/provision/preview", post(preview))
        .route("/provision/exchange", post(exchange))
        .route("/provision/settings", post(fetch))
        .route("/setparameters", get(set_parameters))
        .route("/opcode/{code}", get(operator_code));
    let files = Router::new()
        .route("/.well-known/assetlinks.json", get(asset_links))
        .route("/.well-known/apple-app-site-association", get(app_site))
        .route("/.well-known/jwks.json", get(key_set))
        .route(
            "/settings.schema.json",
            get(|| async { ([(header::CONTENT_TYPE, "application/schema+json")], SCHEMA) }),
        )
        .layer(from_fn(|request: Request, next: Next| dress("public, max-age=300", request, next)));
    operator
        .merge(open)
        .layer(from_fn(|request: Request, next: Next| dress("no-store", request, next)))
        .merge(files)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(Arc::clone(&office), who))
        .with_state(office)
}

/// Has the office looked after for as long as the gateway runs.
pub(crate) async fn tidy(office: Arc<Office>) {
    loop {
        tokio::time::sleep(TIDY).await;
        let office = Arc::clone(&office);
        let _ = tokio::task::spawn_blocking(move || office.tidy()).await;
    }
}

async fn dress(cache: &'static str, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CACHE_CONTROL, cache),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Who asks: behind a proxy, the last address that it has added.
async fn who(State(office): State<Arc<Office>>, mut request: Request, next: Next) -> Response {
    if office.settings.behind_proxy {
        crate::web::forwarded(&mut request);
    }
    next.run(request).await
}

async fn guard(
    State(office): State<Arc<Office>>,
    Extension(Peer(address)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    if office.may_try(address).is_err() {
        return too_often();
    }
    match Access::Token(office.settings.token.clone()).check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(_) => {
            office.wrong(address);
            let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, ask, "a token is needed: Authorization: Bearer TOKEN\n")
                .into_response()
        }
    }
}

fn too_often() -> Response {
    let later = [(header::RETRY_AFTER, attempts::SPAN.as_secs().to_string())];
    (StatusCode::TOO_MANY_REQUESTS, later, "too many wrong attempts\n").into_response()
}

/// What everybody is told who has no right code or key, whatever is wrong with it.
fn unknown() -> Response {
    (StatusCode::NOT_FOUND, "no such code, or it was used or has lapsed; ask for a new link\n")
        .into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Granted {
    #[serde(default)]
    label: String,
    #[serde(default)]
    aor: Option<String>,
    #[serde(default)]
    hours: Option<u32>,
    parameters: serde_json::Map<String, Value>,
}

impl From<Granted> for Wish {
    fn from(body: Granted) -> Wish {
        let label = body.label.chars().filter(|c| !c.is_control()).take(100).collect();
        Wish { label, aor: body.aor, hours: body.hours, parameters: body.parameters.into() }
    }
}

/// Does something at the office that may wait for a store, beside everything else that this thread serves.
async fn at<T: Send + 'static>(
    office: &Arc<Office>,
    work: impl FnOnce(&Office) -> Result<T, Denied> + Send + 'static,
) -> Result<T, Denied> {
    let office = Arc::clone(office);
    tokio::task::spawn_blocking(move || work(&office)).await.unwrap_or(Err(Denied::Away))
}

/// What somebody is told whose code or key is not right, and that it counts; when the store is away, neither.
fn refused(office: &Office, address: IpAddr, why: &Denied) -> Response {
    match why {
        Denied::Away => denied(why),
        Denied::Parameters(_) | Denied::Full | Denied::Unknown | Denied::NoLink(_) | Denied::NoEntropy => {
            office.wrong(address);
            unknown()
        }
    }
}

fn denied(denied: &Denied) -> Response {
    let (status, why) = match denied {
        Denied::Parameters(errors) => {
            return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "errors": errors }))).into_response();
        }
        Denied::Full => {
            (StatusCode::INSUFFICIENT_STORAGE, "there are as many grants as provision.grants allows\n")
        }
        Denied::Unknown | Denied::NoLink(NoLink::Unknown) => (StatusCode::NOT_FOUND, "no such grant\n"),
        Denied::NoLink(NoLink::Revoked) => (StatusCode::CONFLICT, "the grant is withdrawn; make another\n"),
        Denied::NoLink(NoLink::Emptied) => {
            (StatusCode::CONFLICT, "a phone has these settings and they are not kept; PUT them first\n")
        }
        Denied::NoEntropy => (StatusCode::SERVICE_UNAVAILABLE, "the system gives no randomness\n"),
        Denied::Away => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer; try again later\n"),
    };
    (status, why).into_response()
}

fn created(made: Result<Link, Denied>) -> Response {
    match made {
        Ok(link) => (StatusCode::CREATED, Json(link)).into_response(),
        Err(why) => denied(&why),
    }
}

async fn grant(State(office): State<Arc<Office>>, Json(body): Json<Granted>) -> Response {
    created(at(&office, move |office| office.grant(&body.into())).await)
}

async fn link(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    created(at(&office, move |office| office.link(&id, None)).await)
}

fn shown(view: Result<Value, Denied>) -> Response {
    match view {
        Ok(view) => Json(view).into_response(),
        Err(why) => denied(&why),
    }
}

async fn list(State(office): State<Arc<Office>>) -> Response {
    shown(at(&office, |office| Ok(office.list())).await)
}

async fn one(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    shown(at(&office, move |office| office.one(&id).ok_or(Denied::Unknown)).await)
}

async fn rotate(
    State(office): State<Arc<Office>>,
    Path(id): Path<String>,
    Json(body): Json<Granted>,
) -> Response {
    shown(at(&office, move |office| office.rotate(&id, &body.into())).await)
}

async fn revoke(State(office): State<Arc<Office>>, Path(id): Path<String>) -> Response {
    match at(&office, move |office| office.revoke(&id)).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(why) => denied(&why),
    }
}

async fn new_key(State(office): State<Arc<Office>>) -> Response {
    shown(at(&office, Office::new_key).await)
}

async fn landing(
    State(office): State<Arc<Office>>,
    Path(code): Path<String>,
    headers: HeaderMap,
) -> Response {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
    match Code::read(&code) {
        Some(code) => Html(page::landing(&office.settings, &code, Visitor::of(agent))).into_response(),
        None => unknown(),
    }
}

async fn qr(State(office): State<Arc<Office>>, Path(code): Path<String>) -> Response {
    match Code::read(&code) {
        Some(code) => Html(page::qr(&office.settings, &code)).into_response(),
        None => unknown(),
    }
}

#[derive(Deserialize)]
struct Preview {
    code: String,
}

async fn preview(
    State(office): State<Arc<Office>>,
    Extension(Peer(address)): Extension<Peer>,
    Json(body): Json<Preview>,
) -> Response {
    if office.may_try(address).is_err() {
        return too_often();
    }
    match at(&office, move |office| office.preview(Code::read(&body.code).as_ref())).await {
        Ok(shown) => Json(shown).into_response(),
        Err(why) => refused(&office, address, &why),
    }
}

#[derive(Deserialize)]
struct Exchange {
    code: String,
    device_key: Secret,
    #[serde(default)]
    consent: bool,
}

fn signed(object: String) -> Response {
    ([(header::CONTENT_TYPE, "application/jose")], object).into_response()
}

async fn exchange(
    State(office): State<Arc<Office>>,
    Extension(Peer(address)): Extension<Peer>,
    Json(body): Json<Exchange>,
) -> Response {
    if office.may_try(address).is_err() {
        return too_often();
    }
    if !body.consent {
        return (StatusCode::BAD_REQUEST, "the person must agree first: \"consent\": true\n").into_response();
    }
    let done = at(&office, move |office| office.exchange(Code::read(&body.code).as_ref(), &body.device_key));
    match done.await {
        Ok(object) => signed(object),
        Err(why) => refused(&office, address, &why),
    }
}

#[derive(Deserialize)]
struct Fetch {
    id: String,
    device_key: Secret,
    #[serde(default)]
    serial: u32,
}

async fn fetch(
    State(office): State<Arc<Office>>,
    Extension(Peer(address)): Extension<Peer>,
    Json(body): Json<Fetch>,
) -> Response {
    if office.may_try(address).is_err() {
        return too_often();
    }
    match at(&office, move |office| office.fetch(&body.id, &body.device_key, body.serial)).await {
        Ok(Answer::Settings(object)) => signed(object),
        Ok(Answer::Same) => StatusCode::NO_CONTENT.into_response(),
        Ok(Answer::Revoked) => (StatusCode::GONE, "these settings were withdrawn\n").into_response(),
        Err(why) => refused(&office, address, &why),
    }
}

fn plain(address: &IpAddr, office: &Office, text: Option<String>) -> Response {
    match text {
        Some(text) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response(),
        None => {
            office.wrong(*address);
            unknown()
        }
    }
}

/// `name=value` with commas between (B-044).
async fn set_parameters(State(office): State<Arc<Office>>) -> Response {
    let pairs = office.settings.parameters.iter().map(|(name, value)| format!("{name}={value}"));
    let list = pairs.collect::<Vec<_>>().join(",");
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], list).into_response()
}

/// The settings file of an operator (B-046).
async fn operator_code(
    State(office): State<Arc<Office>>,
    Extension(Peer(address)): Extension<Peer>,
    Path(code): Path<String>,
) -> Response {
    if office.may_try(address).is_err() {
        return too_often();
    }
    let file = office.settings.operator.iter().find(|(known, _)| known.eq_ignore_ascii_case(&code));
    let file = file.map(|(_, parameters)| {
        parameters.iter().map(|(name, value)| format!("{name}={value}\n")).collect::<String>()
    });
    plain(&address, &office, file)
}

fn file(value: Option<Value>) -> Response {
    // Apple's file has no ending, so its type is said.
    match value {
        Some(value) => ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response(),
        None => (StatusCode::NOT_FOUND, "not configured\n").into_response(),
    }
}

async fn asset_links(State(office): State<Arc<Office>>) -> Response {
    file(association::asset_links(&office.settings.android))
}

async fn app_site(State(office): State<Arc<Office>>) -> Response {
    file(association::app_site(&office.settings.ios))
}

async fn key_set(State(office): State<Arc<Office>>) -> Response {
    file(at(&office, |office| Ok(office.key_set())).await.ok())
}
