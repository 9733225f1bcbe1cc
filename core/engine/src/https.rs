//! One HTTPS request, for a provider's settings: TLS only, no redirects, an answer of bounded size in bounded time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wakeline_secret::Secret;
use wakeline_settings::provisioning::{Answer, Body, FetchFailure, Request};
use wakeline_sip_resolve::LookupFailure;

use crate::dns::Resolver;

/// From the question for the name to the answer's last byte.
const PATIENCE: Duration = Duration::from_secs(10);
/// One of several addresses may take so long to connect.
const ONE_ADDRESS: Duration = Duration::from_secs(3);
/// The longest body that is read.
const LONGEST: usize = 64 * 1024;

/// Asks a server. A redirect is an answer like any other: whoever asked sees its status and goes nowhere.
pub(crate) async fn fetch(
    request: &Request,
    tls: Arc<ClientConfig>,
    resolver: &Resolver,
) -> Result<Answer, FetchFailure> {
    tokio::time::timeout(PATIENCE, exchange(request, tls, resolver))
        .await
        .unwrap_or(Err(FetchFailure::TimedOut))
}

async fn exchange(
    request: &Request,
    tls: Arc<ClientConfig>,
    resolver: &Resolver,
) -> Result<Answer, FetchFailure> {
    let address = &request.address;
    let found = resolver.addresses(address.host()).await.map_err(|failure| match failure {
        LookupFailure::NotFound => FetchFailure::NoSuchServer,
        LookupFailure::Unavailable => FetchFailure::Unreachable,
    })?;
    let stream = connect(found.into_iter().map(|ip| SocketAddr::new(ip, address.port()))).await?;
    let name = ServerName::try_from(address.host().to_owned()).map_err(|_| FetchFailure::NoSuchServer)?;
    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|error| {
        tracing::warn!(host = address.host(), %error, "no TLS with the provider");
        let certificate = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
        if certificate { FetchFailure::CertificateRefused } else { FetchFailure::Broken }
    })?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|_| FetchFailure::Broken)?;
    let work = async {
        let answer = sender.send_request(message(request)?).await.map_err(|_| FetchFailure::Broken)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), LONGEST).collect().await.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                FetchFailure::TooLong
            } else {
                FetchFailure::Broken
            }
        })?;
        let body = String::from_utf8(body.to_bytes().to_vec()).map_err(|_| FetchFailure::Broken)?;
        Ok(Answer { status, body: Secret::new(body) })
    };
    tokio::pin!(connection, work);
    tokio::select! {
        answer = &mut work => answer,
        // It may have ended with the answer's last byte, which is then read without it.
        _ = &mut connection => work.await,
    }
}

fn message(request: &Request) -> Result<hyper::Request<Full<Bytes>>, FetchFailure> {
    let built = hyper::Request::builder()
        .uri(request.address.target())
        .header(header::HOST, request.address.authority())
        .header(header::USER_AGENT, concat!("Wakeline/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close");
    match &request.body {
        Body::None => built.body(Full::default()),
        Body::Json(text) => built
            .method(hyper::Method::POST)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(text.expose().to_owned())),
    }
    .map_err(|_| FetchFailure::Broken)
}

async fn connect(addresses: impl Iterator<Item = SocketAddr>) -> Result<TcpStream, FetchFailure> {
    let mut failure = FetchFailure::Unreachable;
    for address in addresses {
        match tokio::time::timeout(ONE_ADDRESS, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(_)) => failure = FetchFailure::Unreachable,
            Err(_) => failure = FetchFailure::TimedOut,
        }
    }
    Err(failure)
}
