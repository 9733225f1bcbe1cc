//! Servers on loopback: a registrar that takes everybody, and a name server with a zone.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;

/// A UDP port that nobody has right now.
pub(super) fn free_port() -> u16 {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One request and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) from: SocketAddr,
    pub(super) request: String,
}

/// A registrar that answers 200 to every request. It serves until the test's runtime ends.
pub(super) struct Registrar {
    pub(super) address: SocketAddr,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Registrar {
    pub(super) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    pub(super) async fn udp() -> Registrar {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let registrar = Registrar { address: socket.local_addr().unwrap(), heard: Arc::default() };
        let heard = Arc::clone(&registrar.heard);
        tokio::spawn(async move {
            let mut buffer = vec![0; 65_535];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                if let Some(ok) = take(&heard, from, &buffer[..length]) {
                    socket.send_to(ok.as_bytes(), from).await.unwrap();
                }
            }
        });
        registrar
    }

    pub(super) async fn tcp() -> Registrar {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registrar = Registrar { address: listener.local_addr().unwrap(), heard: Arc::default() };
        let heard = Arc::clone(&registrar.heard);
        tokio::spawn(async move {
            while let Ok((mut stream, from)) = listener.accept().await {
                let heard = Arc::clone(&heard);
                tokio::spawn(async move {
                    let mut buffer = vec![0; 65_535];
                    // A REGISTER is one segment on loopback.
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        if let Some(ok) = take(&heard, from, &buffer[..length]) {
                            stream.write_all(ok.as_bytes()).await.unwrap();
                        }
                    }
                });
            }
        });
        registrar
    }

    /// SIP over WebSocket over TLS (RFC 7118), at the path `/phone` only.
    pub(super) async fn wss(name: &str) -> (Registrar, Authority) {
        let authority = Authority::new(name);
        let acceptor = TlsAcceptor::from(authority.server(name));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let registrar = Registrar { address: listener.local_addr().unwrap(), heard: Arc::default() };
        let heard = Arc::clone(&registrar.heard);
        tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, speak_sip).await else {
                    continue;
                };
                let heard = Arc::clone(&heard);
                tokio::spawn(async move {
                    while let Some(Ok(message)) = socket.next().await {
                        if let Message::Text(text) = message
                            && let Some(ok) = take(&heard, from, text.as_bytes())
                        {
                            socket.send(Message::text(ok)).await.unwrap();
                        }
                    }
                });
            }
        });
        (registrar, authority)
    }
}

#[expect(clippy::result_large_err, reason = "the library's signature")]
fn speak_sip(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let asks = request.headers().get(SEC_WEBSOCKET_PROTOCOL).is_some_and(|asked| asked == "sip");
    if !asks || request.uri().path() != "/phone" {
        return Err(ErrorResponse::new(None));
    }
    response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("sip"));
    Ok(response)
}

/// Notes a request and answers it; keep-alives are not answered.
fn take(heard: &Mutex<Vec<Heard>>, from: SocketAddr, bytes: &[u8]) -> Option<String> {
    let request = std::str::from_utf8(bytes).ok()?.to_owned();
    if !request.contains(" SIP/2.0\r\n") {
        return None;
    }
    let copied = |name: &str| {
        let line = request.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let tag = if name == "To:" && !line.contains("tag=") { ";tag=r1" } else { "" };
        format!("{line}{tag}\r\n")
    };
    let headers: String = ["Via:", "From:", "To:", "Call-ID:", "CSeq:", "Contact:"].map(copied).concat();
    heard.lock().unwrap().push(Heard { from, request });
    Some(format!("SIP/2.0 200 OK\r\n{headers}Expires: 3600\r\nContent-Length: 0\r\n\r\n"))
}

/// An authority for tests, and the file that names it.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(super) file: std::path::PathBuf,
}

impl Authority {
    pub(super) fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let file = std::env::temp_dir().join(format!("wakeline-phone-{name}-{}.pem", std::process::id()));
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), file }
    }

    fn server(&self, name: &str) -> Arc<rustls::ServerConfig> {
        let mut params = CertificateParams::new(vec![name.into()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().to_vec().into()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        Arc::new(server)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

// ---- DNS -------------------------------------------------------------------------------------------------------

/// Types of records, by their numbers (RFC 1035 §3.2.2, RFC 2782, RFC 3403).
pub(super) const A: u16 = 1;
pub(super) const SRV: u16 = 33;
pub(super) const NAPTR: u16 = 35;

/// How the name server answers for whole names, beside its records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Elsewhere {
    /// RCODE 3: no such name.
    NameError = 3,
    /// RCODE 2: the server is broken.
    ServerFailure = 2,
}

/// The records of a zone by name and type, written as they travel.
#[derive(Clone, Debug, Default)]
pub(super) struct Zone(BTreeMap<(String, u16), Vec<Vec<u8>>>);

impl Zone {
    pub(super) fn a(mut self, name: &str, address: Ipv4Addr) -> Zone {
        self.put(name, A, address.octets().to_vec());
        self
    }

    pub(super) fn srv(mut self, name: &str, priority: u16, port: u16, target: &str) -> Zone {
        let mut data = [priority.to_be_bytes(), [0, 1], port.to_be_bytes()].concat();
        data.extend(labels(target));
        self.put(name, SRV, data);
        self
    }

    pub(super) fn naptr(mut self, name: &str, order: u16, service: &str, replacement: &str) -> Zone {
        let mut data = [order.to_be_bytes(), [0, 10]].concat();
        for text in ["s", service, ""] {
            data.push(text.len() as u8);
            data.extend(text.as_bytes());
        }
        data.extend(labels(replacement));
        self.put(name, NAPTR, data);
        self
    }

    fn put(&mut self, name: &str, kind: u16, data: Vec<u8>) {
        self.0.entry((name.to_owned(), kind)).or_default().push(data);
    }
}

fn labels(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend(label.as_bytes());
    }
    out.push(0);
    out
}

/// Serves a zone over UDP; names without any record are answered by `elsewhere`. Returns its address.
pub(super) async fn name_server(zone: Zone, elsewhere: Elsewhere) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if let Some(answer) = resolve(&zone, elsewhere, &buffer[..length]) {
                socket.send_to(&answer, from).await.unwrap();
            }
        }
    });
    address
}

/// The answer to one query (RFC 1035 §4.1).
fn resolve(zone: &Zone, elsewhere: Elsewhere, query: &[u8]) -> Option<Vec<u8>> {
    let (mut place, mut name) = (12, Vec::new());
    loop {
        let length = usize::from(*query.get(place)?);
        place += 1;
        if length == 0 {
            break;
        }
        name.push(String::from_utf8_lossy(query.get(place..place + length)?).to_ascii_lowercase());
        place += length;
    }
    let name = name.join(".");
    let kind = u16::from_be_bytes(query.get(place..place + 2)?.try_into().ok()?);
    let question = query.get(12..place + 4)?;
    let records = zone.0.get(&(name.clone(), kind)).cloned().unwrap_or_default();
    let is_known = zone.0.keys().any(|(known, _)| *known == name);
    let code = if is_known { 0 } else { elsewhere as u8 };
    let mut answer = query[..2].to_vec();
    answer.extend([0x85, 0x80 | code, 0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    answer.extend(question);
    for data in records {
        // The name is the question's; class IN, a minute to live.
        answer.extend([0xC0, 12]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60]);
        answer.extend((data.len() as u16).to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}
