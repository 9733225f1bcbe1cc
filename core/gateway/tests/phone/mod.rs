//! A scripted SIP client on a real socket: just enough to register, call and answer.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::Message as WsMessage;
use wakeline_entropy::Entropy;
use wakeline_flow::Transport;
use wakeline_gateway::Handle;
use wakeline_sip_auth::{Asker, Credentials, Session};
use wakeline_sip_message::{Frame, Framer, Message, Method};

/// Far longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not happen"),
    }
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

enum Wire {
    Stream(Box<dyn Duplex>, Framer),
    Web(Box<WebSocketStream<Box<dyn Duplex>>>),
    Datagrams(UdpSocket),
}

/// TLS that believes the gateway's self-signed certificate. Sessions are kept in the value.
pub fn tls(handle: &Handle) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(handle.certificate_pem().unwrap().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.enable_early_data = true;
    Arc::new(config)
}

/// One connection of one account.
pub struct Phone {
    wire: Wire,
    transport: Transport,
    local: SocketAddr,
    pub user: String,
    password: String,
    session: Session,
    entropy: Entropy,
    cseq: u32,
    tag: String,
    call_id: String,
    /// Contact URI parameters, each with its semicolon.
    pub contact_parameters: String,
    /// How many messages the last read of the stream brought.
    pub last_flight: usize,
    pending: std::collections::VecDeque<Message>,
}

/// What a phone keeps while it sleeps.
pub struct Sleeping {
    user: String,
    password: String,
    session: Session,
    cseq: u32,
    call_id: String,
    contact_parameters: String,
}

impl Phone {
    pub async fn connect(handle: &Handle, transport: Transport, user: &str, password: &str) -> Phone {
        let tls = transport.is_secure().then(|| tls(handle));
        Phone::connect_with(handle, transport, tls, user, password).await
    }

    pub async fn connect_with(
        handle: &Handle,
        transport: Transport,
        tls: Option<Arc<ClientConfig>>,
        user: &str,
        password: &str,
    ) -> Phone {
        Phone::connect_to(handle.address(transport).unwrap(), transport, tls, user, password).await
    }

    pub async fn connect_to(
        server: SocketAddr,
        transport: Transport,
        tls: Option<Arc<ClientConfig>>,
        user: &str,
        password: &str,
    ) -> Phone {
        let (wire, local) = open(server, transport, tls).await;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let mut entropy = Entropy::from_seed(seed);
        Phone {
            wire,
            transport,
            local,
            user: user.to_owned(),
            password: password.to_owned(),
            session: Session::new(),
            cseq: 0,
            tag: entropy.token(10),
            call_id: entropy.token(16),
            entropy,
            contact_parameters: String::new(),
            last_flight: 0,
            pending: std::collections::VecDeque::new(),
        }
    }

    /// Closes the connection and keeps what a sleeping phone keeps.
    pub fn sleep(self) -> Sleeping {
        Sleeping {
            user: self.user,
            password: self.password,
            session: self.session,
            cseq: self.cseq,
            call_id: self.call_id,
            contact_parameters: self.contact_parameters,
        }
    }

    pub async fn wake(handle: &Handle, transport: Transport, sleeping: Sleeping) -> Phone {
        let mut phone = Phone::connect(handle, transport, &sleeping.user, &sleeping.password).await;
        phone.session = sleeping.session;
        phone.cseq = sleeping.cseq;
        phone.call_id = sleeping.call_id;
        phone.contact_parameters = sleeping.contact_parameters;
        phone
    }

    fn credentials(&self) -> Credentials {
        Credentials::password(self.user.clone(), self.password.as_str())
    }

    pub fn via(&mut self) -> String {
        let branch = self.entropy.token(12);
        format!("Via: SIP/2.0/{} {};branch=z9hG4bK{branch};rport\r\n", self.transport.via_token(), self.local)
    }

    pub fn contact(&self) -> String {
        let transport = self.transport.uri_parameter();
        format!("<sip:{}@{};transport={transport}{}>", self.user, self.local, self.contact_parameters)
    }

    /// A REGISTER with the nonce that is known, if one is.
    pub fn register_request(&mut self, expires: u32) -> Message {
        self.cseq += 1;
        let uri = "sip:localhost";
        let credentials = self.credentials();
        let lines = self.session.authorize(&Method::Register, uri, b"", &credentials, &mut self.entropy);
        let lines: String =
            lines.into_iter().map(|(name, value)| format!("{}: {value}\r\n", name.as_str())).collect();
        let text = format!(
            "REGISTER {uri} SIP/2.0\r\n{}Max-Forwards: 70\r\nFrom: <sip:{user}@localhost>;tag={tag}\r\n\
             To: <sip:{user}@localhost>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n\
             Supported: path, outbound\r\nContact: {contact};+sip.instance=\"<urn:uuid:0f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a77>\"\r\n\
             Expires: {expires}\r\n{lines}Content-Length: 0\r\n\r\n",
            self.via(),
            user = self.user,
            tag = self.tag,
            call_id = self.call_id,
            cseq = self.cseq,
            contact = self.contact(),
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    /// Registers; answers one challenge. Gives the 200 and the number of round trips.
    pub async fn register(&mut self, expires: u32) -> (Message, u32) {
        for round in 1..=2 {
            let request = self.register_request(expires);
            self.send(&request.to_bytes()).await;
            let response = self.receive().await;
            let credentials = self.credentials();
            match response.status() {
                Some(200) => {
                    self.session.on_success(&request, &response, &credentials).unwrap();
                    return (response, round);
                }
                Some(401) => {
                    self.session.on_challenge(&request, &response, &credentials, Asker::Configured).unwrap();
                }
                _ => panic!("{}", response.start_line()),
            }
        }
        panic!("challenged twice")
    }

    /// Calls; answers one challenge. Gives the INVITE that was let in and the first response to it.
    pub async fn invite(&mut self, target: &str) -> (Message, Message) {
        let call_id = self.entropy.token(16);
        let tag = self.entropy.token(10);
        let uri = format!("sip:{target}");
        for cseq in 1..=2 {
            let credentials = self.credentials();
            let lines = self.session.authorize(&Method::Invite, &uri, b"", &credentials, &mut self.entropy);
            let lines: String =
                lines.into_iter().map(|(name, value)| format!("{}: {value}\r\n", name.as_str())).collect();
            let text = format!(
                "INVITE {uri} SIP/2.0\r\n{}Max-Forwards: 70\r\nFrom: \"Mia\" <sip:{user}@localhost>;tag={tag}\r\n\
                 To: <{uri}>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} INVITE\r\nContact: {}\r\n{lines}Content-Length: 0\r\n\r\n",
                self.via(),
                self.contact(),
                user = self.user,
            );
            let request = Message::parse(Bytes::from(text)).unwrap();
            self.send(&request.to_bytes()).await;
            let mut response = self.receive().await;
            if response.status() == Some(100) && cseq == 1 && !self.session.is_ready() {
                // A challenge may come behind a 100.
                let next = tokio::time::timeout(Duration::from_millis(200), self.receive()).await;
                response = next.unwrap_or(response);
            }
            match response.status() {
                Some(401 | 407) => {
                    let ack = self.ack(&request, &response);
                    self.send(&ack).await;
                    self.session.on_challenge(&request, &response, &credentials, Asker::Configured).unwrap();
                }
                _ => return (request, response),
            }
        }
        panic!("challenged twice")
    }

    /// The ACK to a final response other than 2xx (RFC 3261 §17.1.1.3).
    pub fn ack(&self, request: &Message, response: &Message) -> Bytes {
        let cseq = request.cseq().unwrap().number;
        Bytes::from(format!(
            "ACK {} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} ACK\r\nContent-Length: 0\r\n\r\n",
            request.request_uri_text(),
            request.header(wakeline_sip_message::Name::Via).unwrap(),
            request.header(wakeline_sip_message::Name::From).unwrap(),
            response.header(wakeline_sip_message::Name::To).unwrap(),
            request.header(wakeline_sip_message::Name::CallId).unwrap(),
        ))
    }

    /// A response to a request that came in: all of Via and Record-Route, a tag, our Contact.
    pub fn answer(&self, request: &Message, code: u16) -> Bytes {
        let mut builder = wakeline_sip_message::Builder::response(request, code, "").to_tag("callee1");
        builder = builder.copy(request, wakeline_sip_message::Name::RecordRoute);
        builder
            .header(wakeline_sip_message::Name::Contact, self.contact_without_push())
            .build()
            .unwrap()
            .to_bytes()
    }

    fn contact_without_push(&self) -> String {
        format!("<sip:{}@{};transport={}>", self.user, self.local, self.transport.uri_parameter())
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Stream(stream, _) => {
                stream.write_all(bytes).await.unwrap();
                stream.flush().await.unwrap();
            }
            Wire::Web(socket) => {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                socket.send(WsMessage::text(text)).await.unwrap();
            }
            Wire::Datagrams(socket) => drop(socket.send(bytes).await.unwrap()),
        }
    }

    /// The next message.
    pub async fn receive(&mut self) -> Message {
        soon("a message", self.next()).await.unwrap()
    }

    /// The next message; `None` when the connection is closed.
    pub async fn next(&mut self) -> Option<Message> {
        if let Some(message) = self.pending.pop_front() {
            return Some(message);
        }
        let mut buffer = vec![0; 65_536];
        loop {
            match &mut self.wire {
                Wire::Stream(stream, framer) => {
                    let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
                    framer.push(&buffer[..count]);
                    while let Some(frame) = framer.next().unwrap() {
                        match frame {
                            Frame::Message(bytes) => self.pending.push_back(Message::parse(bytes).unwrap()),
                            Frame::Ping | Frame::Pong => {}
                        }
                    }
                }
                Wire::Web(socket) => match socket.next().await? {
                    Ok(WsMessage::Text(text)) => {
                        self.pending.push_back(Message::parse(Bytes::from(text)).unwrap());
                    }
                    Ok(WsMessage::Close(_)) | Err(_) => return None,
                    Ok(_) => {}
                },
                Wire::Datagrams(socket) => {
                    let count = socket.recv(&mut buffer).await.unwrap();
                    self.pending.push_back(Message::parse(Bytes::copy_from_slice(&buffer[..count])).unwrap());
                }
            }
            if !self.pending.is_empty() {
                self.last_flight = self.pending.len();
                return self.pending.pop_front();
            }
        }
    }

    /// The next message with this status.
    pub async fn receive_status(&mut self, status: u16) -> Message {
        loop {
            let message = self.receive().await;
            if message.status() == Some(status) {
                return message;
            }
            assert!(message.status().is_some_and(|other| other < 200), "{}", message.start_line());
        }
    }
}

async fn open(
    server: SocketAddr,
    transport: Transport,
    tls: Option<Arc<ClientConfig>>,
) -> (Wire, SocketAddr) {
    if transport == Transport::Udp {
        let socket = UdpSocket::bind((server.ip(), 0)).await.unwrap();
        socket.connect(server).await.unwrap();
        let local = socket.local_addr().unwrap();
        return (Wire::Datagrams(socket), local);
    }
    let stream = soon("a connection", TcpStream::connect(server)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let local = stream.local_addr().unwrap();
    let stream: Box<dyn Duplex> = match tls {
        None => Box::new(stream),
        Some(config) => {
            let name = ServerName::try_from("localhost").unwrap();
            let connector = TlsConnector::from(config).early_data(true);
            Box::new(soon("a handshake", connector.connect(name, stream)).await.unwrap())
        }
    };
    let wire = match transport {
        Transport::Udp | Transport::Tcp | Transport::Tls => Wire::Stream(stream, Framer::default()),
        Transport::Ws | Transport::Wss => {
            let mut request = format!("ws://{server}/").into_client_request().unwrap();
            request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("sip"));
            let upgrade = tokio_tungstenite::client_async(request, stream);
            let (socket, response) = soon("an upgrade", upgrade).await.unwrap();
            assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "sip");
            Wire::Web(Box::new(socket))
        }
    };
    (wire, local)
}
