//! Connections that we open ourselves: to the next hops of upstreams.
//!
//! A name is resolved anew for every attempt. When to try again is the machine's matter; here one attempt is made and
//! its outcome told.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, Connection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use wakeline_flow::{FlowId, FlowInfo, Transport};
use wakeline_registrar::{HopId, NextHop};

use super::{BACKLOG, HANDSHAKE, Inbound, listen, stream};
use crate::config::{ConfigError, Upstream};

/// How long one address may take to accept.
const CONNECT: Duration = Duration::from_secs(4);
/// How often a connection to a next hop is pinged (RFC 5626 §4.4.1): servers close what is silent for two minutes.
pub(crate) const PING: Duration = Duration::from_secs(45);

/// Opens connections.
pub(crate) struct Dial {
    trusts: Vec<Option<Arc<ClientConfig>>>,
    names: Arc<AtomicU64>,
    inbound: mpsc::Sender<Inbound>,
    listening: Vec<(Transport, u16)>,
}

impl Dial {
    /// `trusts` by the number of the next hop; `bound`: where we listen ourselves.
    pub(crate) fn new(
        trusts: Vec<Option<Arc<ClientConfig>>>,
        names: Arc<AtomicU64>,
        inbound: mpsc::Sender<Inbound>,
        bound: &[(Transport, SocketAddr)],
    ) -> Dial {
        let listening = bound.iter().map(|(transport, address)| (*transport, address.port())).collect();
        Dial { trusts, names, inbound, listening }
    }

    /// Begins one attempt; its outcome comes in by the queue of the streams.
    pub(crate) fn open(&self, hop: HopId, next: NextHop) {
        let trust = self.trusts.get(usize::from(hop.0)).cloned().flatten();
        let listens = self.listening.iter().find(|(transport, _)| *transport == next.transport);
        let (names, inbound) = (Arc::clone(&self.names), self.inbound.clone());
        let port = listens.map(|(_, port)| *port);
        tokio::spawn(async move {
            let outcome = match next.transport {
                Transport::Udp => find(hop, &next, &inbound).await,
                Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                    connect(hop, &next, trust, port, &names, &inbound).await
                }
            };
            if let Err(error) = outcome {
                tracing::warn!(%next, %error, "cannot reach the upstream");
                let _ = inbound.send(Inbound::HopFailed(hop)).await;
            }
        });
    }

    /// The flow under the address at which its far end reaches us: a socket that listens on all addresses has none of
    /// its own, but the system knows which one it would send from.
    pub(crate) fn reachable(mut flow: FlowInfo) -> FlowInfo {
        if flow.local.ip().is_unspecified() {
            let any = SocketAddr::new(flow.local.ip(), 0);
            let source = UdpSocket::bind(any).and_then(|socket| {
                // Nothing is sent: it only asks for the way.
                socket.connect(flow.remote)?;
                socket.local_addr()
            });
            if let Ok(source) = source {
                flow.local.set_ip(source.ip());
            }
        }
        flow
    }
}

async fn addresses(next: &NextHop) -> io::Result<Vec<SocketAddr>> {
    let host = next.host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = lookup_host((host, next.port)).await?.collect();
    if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
}

async fn find(hop: HopId, next: &NextHop, inbound: &mpsc::Sender<Inbound>) -> io::Result<()> {
    let found = addresses(next).await?;
    // The first family that the name has; who listens on one family only names an address of it.
    if let Some(remote) = found.first() {
        let _ = inbound.send(Inbound::HopFound(hop, *remote)).await;
    }
    Ok(())
}

async fn connect(
    hop: HopId,
    next: &NextHop,
    trust: Option<Arc<ClientConfig>>,
    port: Option<u16>,
    names: &AtomicU64,
    inbound: &mpsc::Sender<Inbound>,
) -> io::Result<()> {
    let mut last = io::Error::other("the name has no address");
    let mut opened = None;
    for remote in addresses(next).await? {
        match tokio::time::timeout(CONNECT, TcpStream::connect(remote)).await {
            Ok(Ok(io)) => {
                opened = Some((io, remote));
                break;
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    let Some((io, remote)) = opened else { return Err(last) };
    listen::tune(&io);
    let mut local = io.local_addr()?;
    // What stands in Via and Contact: where the upstream may connect to us.
    if let Some(port) = port {
        local.set_port(port);
    }
    let (io, tls) = match (next.transport, trust) {
        (Transport::Tls, Some(trust)) => {
            let host = next.host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(host).map_err(io::Error::other)?;
            let handshake = TlsConnector::from(trust).connect(name, io);
            let connected =
                tokio::time::timeout(HANDSHAKE, handshake).await.map_err(|_| io::ErrorKind::TimedOut)??;
            let (io, tls) = connected.into_inner();
            (io, Some(Box::new(Connection::Client(tls))))
        }
        (Transport::Tls, None) => return Err(io::Error::other("TLS is not set up")),
        (Transport::Udp | Transport::Tcp | Transport::Ws | Transport::Wss, _) => (io, None),
    };
    let id = FlowId(names.fetch_add(1, Ordering::Relaxed));
    let flow = FlowInfo { id, transport: next.transport, local, remote };
    let (sender, receiver) = mpsc::channel(BACKLOG);
    if inbound.send(Inbound::HopOpened(hop, flow, sender)).await.is_ok() {
        stream::carry(io, tls, flow, inbound.clone(), receiver).await;
    }
    Ok(())
}

/// How every next hop's certificate is judged, by its number: a pinned key before a file before the system's store.
pub(crate) fn trusts(upstreams: &[Upstream]) -> Result<Vec<Option<Arc<ClientConfig>>>, ConfigError> {
    let mut trusts = Vec::new();
    for upstream in upstreams {
        let hops = upstream.hops()?;
        let needed = hops.iter().any(|hop| hop.transport == Transport::Tls);
        let trust = if needed { Some(trust(upstream)?) } else { None };
        trusts.extend(hops.iter().map(|hop| trust.clone().filter(|_| hop.transport == Transport::Tls)));
    }
    Ok(trusts)
}

fn trust(upstream: &Upstream) -> Result<Arc<ClientConfig>, ConfigError> {
    let unusable = |error: Error| ConfigError::value("upstream.ca_file", error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let config = match (upstream.pinned()?, upstream.ca_file.as_os_str().is_empty()) {
        (Some(pin), _) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { pin, provider }))
            .with_no_client_auth(),
        (None, true) => builder.with_platform_verifier().map_err(unusable)?.with_no_client_auth(),
        (None, false) => {
            let why = |error: String| Error::General(format!("{}: {error}", upstream.ca_file.display()));
            let mut roots = RootCertStore::empty();
            let file = CertificateDer::pem_file_iter(&upstream.ca_file);
            for certificate in file.map_err(|error| unusable(why(error.to_string())))? {
                let certificate = certificate.map_err(|error| unusable(why(error.to_string())))?;
                roots.add(certificate).map_err(unusable)?;
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    Ok(Arc::new(config))
}

/// Accepts the one public key that the operator pinned.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = webpki::EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if digest(&SHA256, certificate.subject_public_key_info().as_ref()).as_ref() == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
