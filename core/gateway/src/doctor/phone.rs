//! A fake phone: enough SIP to register, to sleep, to call and to be called, and to say what went wrong.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::Message as WsMessage;
use wakeline_entropy::Entropy;
use wakeline_flow::Transport;
use wakeline_push::{PushParameters, escape_value};
use wakeline_secret::Secret;
use wakeline_sip_auth::{Asker, Credentials, Session};
use wakeline_sip_message::{Builder, Frame, Framer, Message, Method, Name};

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long a challenge may take behind a 100.
const CHALLENGE: Duration = Duration::from_millis(300);

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

enum Wire {
    Stream(Box<dyn Duplex>, Framer),
    Web(Box<WebSocketStream<Box<dyn Duplex>>>),
    Datagrams(UdpSocket),
}

/// Where it connects to.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) transport: Transport,
    pub(super) address: SocketAddr,
    /// The name that TLS asks for.
    pub(super) domain: String,
    pub(super) tls: Arc<ClientConfig>,
}

/// Who it is.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) user: String,
    /// The domain of its address of record.
    pub(super) domain: String,
    pub(super) password: Secret,
    pub(super) push: Option<PushParameters>,
}

/// One connection of one account.
pub(super) struct Phone {
    wire: Wire,
    way: Way,
    who: Identity,
    local: SocketAddr,
    session: Session,
    entropy: Entropy,
    cseq: u32,
    tag: String,
    call_id: String,
    instance: String,
    pending: VecDeque<Message>,
}

/// Opens the connection.
async fn open(way: &Way) -> Result<(Wire, SocketAddr), String> {
    let failed = |error: std::io::Error| error.to_string();
    if way.transport == Transport::Udp {
        let any: SocketAddr =
            if way.address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await.map_err(failed)?;
        socket.connect(way.address).await.map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        return Ok((Wire::Datagrams(socket), local));
    }
    let stream = TcpStream::connect(way.address).await.map_err(failed)?;
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().map_err(failed)?;
    let stream: Box<dyn Duplex> = if way.transport.is_secure() {
        let name = ServerName::try_from(way.domain.clone()).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(Arc::clone(&way.tls));
        Box::new(connector.connect(name, stream).await.map_err(failed)?)
    } else {
        Box::new(stream)
    };
    let wire = match way.transport {
        Transport::Udp | Transport::Tcp | Transport::Tls => Wire::Stream(stream, Framer::default()),
        Transport::Ws | Transport::Wss => {
            let mut request =
                format!("ws://{}/", way.address).into_client_request().map_err(|error| error.to_string())?;
            request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("sip"));
            let upgraded = tokio_tungstenite::client_async(request, stream).await;
            Wire::Web(Box::new(upgraded.map_err(|error| error.to_string())?.0))
        }
    };
    Ok((wire, local))
}

impl Phone {
    /// Connects.
    pub(super) async fn connect(way: &Way, who: &Identity) -> Result<Phone, String> {
        let (wire, local) = tokio::time::timeout(PATIENCE, open(way))
            .await
            .map_err(|_| "it does not answer".to_owned())??;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| error.to_string())?;
        let mut entropy = Entropy::from_seed(seed);
        Ok(Phone {
            wire,
            way: way.clone(),
            who: who.clone(),
            local,
            session: Session::new(),
            cseq: 0,
            tag: entropy.token(10),
            call_id: entropy.token(16),
            instance: instance(&mut entropy),
            entropy,
            pending: VecDeque::new(),
        })
    }

    /// Remembers what a phone remembers while it sleeps: its nonces, its instance, the Call-ID of its REGISTERs.
    pub(super) fn adopt(&mut self, sleeping: &Phone) {
        self.session = sleeping.session.clone();
        self.cseq = sleeping.cseq;
        self.tag.clone_from(&sleeping.tag);
        self.call_id.clone_from(&sleeping.call_id);
        self.instance.clone_from(&sleeping.instance);
    }

    /// Closes the connection without a word, as a phone does that falls asleep.
    pub(super) async fn sleep(&mut self) {
        if let Wire::Stream(stream, _) = &mut self.wire {
            let _ = stream.shutdown().await;
        }
        // The old connection is gone with the next one; a datagram socket in its place says nothing.
        if let Ok(socket) = UdpSocket::bind((self.local.ip(), 0)).await {
            self.wire = Wire::Datagrams(socket);
        }
    }

    fn via(&mut self) -> String {
        let branch = self.entropy.token(12);
        format!(
            "Via: SIP/2.0/{} {};branch=z9hG4bK{branch};rport\r\n",
            self.way.transport.via_token(),
            self.local
        )
    }

    fn contact(&self, with_push: bool) -> String {
        let push = self.who.push.as_ref().filter(|_| with_push).map_or(String::new(), |push| {
            let param = match push.param.as_str() {
                "" => String::new(),
                param => format!(";pn-param={}", escape_value(param)),
            };
            format!(
                ";ob;pn-provider={}{param};pn-prid={}",
                push.provider.as_str(),
                escape_value(push.prid.expose())
            )
        });
        format!(
            "<sip:{}@{};transport={}{push}>",
            self.who.user,
            self.local,
            self.way.transport.uri_parameter()
        )
    }

    fn from(&self) -> String {
        format!("<sip:{}@{}>", self.who.user, self.who.domain)
    }

    /// Asks whether a SIP server is there; any answer says so.
    pub(super) async fn options(&mut self) -> Result<u16, String> {
        self.cseq += 1;
        let (domain, from) = (self.way.domain.clone(), self.from());
        let text = format!(
            "OPTIONS sip:{domain} SIP/2.0\r\n{}Max-Forwards: 70\r\nFrom: {from};tag={}\r\nTo: <sip:{domain}>\r\n\
             Call-ID: {}\r\nCSeq: {} OPTIONS\r\nContent-Length: 0\r\n\r\n",
            self.via(),
            self.tag,
            self.call_id,
            self.cseq
        );
        self.send(text.as_bytes()).await?;
        let answer = self.receive().await?;
        answer.status().ok_or_else(|| "it sends requests instead of an answer".to_owned())
    }

    /// Registers; answers one challenge. The last answer.
    pub(super) async fn register(&mut self, expires: u32) -> Result<Message, String> {
        let credentials = Credentials::password(self.who.user.clone(), self.who.password.expose());
        let mut last = None;
        for _ in 0..2 {
            self.cseq += 1;
            let uri = format!("sip:{}", self.who.domain);
            let lines = self.session.authorize(&Method::Register, &uri, b"", &credentials, &mut self.entropy);
            let lines: String =
                lines.into_iter().map(|(name, value)| format!("{}: {value}\r\n", name.as_str())).collect();
            let (from, contact) = (self.from(), self.contact(expires > 0));
            let text = format!(
                "REGISTER {uri} SIP/2.0\r\n{}Max-Forwards: 70\r\nFrom: {from};tag={}\r\nTo: {from}\r\nCall-ID: {}\r\n\
                 CSeq: {} REGISTER\r\nSupported: path, outbound\r\nUser-Agent: wakeline-doctor\r\n\
                 Contact: {contact};reg-id=1;+sip.instance=\"<urn:uuid:{}>\"\r\nExpires: {expires}\r\n{lines}Content-Length: 0\r\n\r\n",
                self.via(),
                self.tag,
                self.call_id,
                self.cseq,
                self.instance,
            );
            let request = Message::parse(Bytes::from(text)).map_err(|error| error.to_string())?;
            self.send(&request.to_bytes()).await?;
            let answer = self.receive().await?;
            let again = match answer.status() {
                Some(401 | 407) => {
                    self.session.on_challenge(&request, &answer, &credentials, Asker::Configured).is_ok()
                }
                Some(200) => {
                    let _ = self.session.on_success(&request, &answer, &credentials);
                    false
                }
                Some(_) | None => false,
            };
            last = Some(answer);
            if !again {
                break;
            }
        }
        last.ok_or_else(|| "no answer".to_owned())
    }

    /// Calls; answers one challenge. The INVITE that was let in and the first answer to it.
    pub(super) async fn invite(&mut self, target: &str) -> Result<(Message, Message), String> {
        let credentials = Credentials::password(self.who.user.clone(), self.who.password.expose());
        let (call_id, tag) = (self.entropy.token(16), self.entropy.token(10));
        let uri = format!("sip:{target}");
        let mut challenged = false;
        loop {
            let cseq = 1 + u32::from(challenged);
            let lines = self.session.authorize(&Method::Invite, &uri, b"", &credentials, &mut self.entropy);
            let lines: String =
                lines.into_iter().map(|(name, value)| format!("{}: {value}\r\n", name.as_str())).collect();
            let (from, contact, body) = (self.from(), self.contact(false), self.description());
            let text = format!(
                "INVITE {uri} SIP/2.0\r\n{}Max-Forwards: 70\r\nFrom: \"wakeline doctor\" {from};tag={tag}\r\nTo: <{uri}>\r\n\
                 Call-ID: {call_id}\r\nCSeq: {cseq} INVITE\r\nContact: {contact}\r\n{lines}Content-Type: application/sdp\r\n\
                 Content-Length: {}\r\n\r\n{body}",
                self.via(),
                body.len(),
            );
            let request = Message::parse(Bytes::from(text)).map_err(|error| error.to_string())?;
            self.send(&request.to_bytes()).await?;
            let mut answer = self.receive().await?;
            if answer.status() == Some(100) && !challenged {
                // A challenge may come behind a 100, and a request that is held has nothing but that.
                answer = self.receive_within(CHALLENGE).await.unwrap_or(answer);
            }
            match answer.status() {
                Some(401 | 407) if !challenged => {
                    self.acknowledge(&request, &answer).await?;
                    self.session
                        .on_challenge(&request, &answer, &credentials, Asker::Configured)
                        .map_err(|error| error.to_string())?;
                    challenged = true;
                }
                Some(_) | None => return Ok((request, answer)),
            }
        }
    }

    /// The ACK to a final response other than 2xx (RFC 3261 §17.1.1.3).
    async fn acknowledge(&mut self, request: &Message, answer: &Message) -> Result<(), String> {
        let line = |message: &Message, name| message.header(name).unwrap_or("").to_owned();
        let text = format!(
            "ACK {} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} ACK\r\n\
             Content-Length: 0\r\n\r\n",
            request.request_uri_text(),
            line(request, Name::Via),
            line(request, Name::From),
            line(answer, Name::To),
            line(request, Name::CallId),
            line(request, Name::CSeq).split(' ').next().unwrap_or("1"),
        );
        self.send(text.as_bytes()).await
    }

    /// A request within the call, by the recorded route (RFC 3261 §12.2.1.1).
    pub(super) async fn within(
        &mut self,
        invite: &Message,
        ok: &Message,
        method: &str,
    ) -> Result<(), String> {
        let routes: Vec<&str> = ok.headers(Name::RecordRoute).collect();
        let route: String = routes.iter().rev().map(|route| format!("Route: {route}\r\n")).collect();
        let contact = ok.header(Name::Contact).unwrap_or("");
        let target = contact.split('<').nth(1).and_then(|text| text.split('>').next()).unwrap_or(contact);
        let line = |message: &Message, name| message.header(name).unwrap_or("").to_owned();
        let number: u32 =
            line(invite, Name::CSeq).split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(1);
        let number = if method == "ACK" { number } else { number + 1 };
        let text = format!(
            "{method} {target} SIP/2.0\r\n{}Max-Forwards: 70\r\n{route}From: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: {number} {method}\r\nContent-Length: 0\r\n\r\n",
            self.via(),
            line(invite, Name::From),
            line(ok, Name::To),
            line(invite, Name::CallId),
        );
        self.send(text.as_bytes()).await
    }

    /// Answers a request; a 200 to an INVITE has a description.
    pub(super) async fn answer(&mut self, request: &Message, code: u16) -> Result<(), String> {
        let mut builder = Builder::response(request, code, "")
            .to_tag("doctor")
            .copy(request, Name::RecordRoute)
            .header(Name::Contact, self.contact(false));
        if code == 200 && request.method() == Method::Invite {
            builder = builder.body("application/sdp", self.description());
        }
        let bytes = builder.build().map_err(|error| error.to_string())?.to_bytes();
        self.send(&bytes).await
    }

    /// G.711 that is sent nowhere: the media of a call does not pass the gateway.
    fn description(&self) -> String {
        let ip = self.local.ip();
        let kind = if ip.is_ipv4() { "IP4" } else { "IP6" };
        format!(
            "v=0\r\no=- 1 1 IN {kind} {ip}\r\ns=-\r\nc=IN {kind} {ip}\r\nt=0 0\r\nm=audio 9 RTP/AVP 0\r\na=inactive\r\n"
        )
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        match &mut self.wire {
            Wire::Stream(stream, _) => {
                stream.write_all(bytes).await.map_err(|error| error.to_string())?;
                stream.flush().await.map_err(|error| error.to_string())
            }
            Wire::Web(socket) => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                socket.send(WsMessage::text(text)).await.map_err(|error| error.to_string())
            }
            Wire::Datagrams(socket) => {
                socket.send(bytes).await.map(|_| ()).map_err(|error| error.to_string())
            }
        }
    }

    /// The next message.
    pub(super) async fn receive(&mut self) -> Result<Message, String> {
        self.receive_within(PATIENCE).await
    }

    /// The next message, if it comes in time.
    pub(super) async fn receive_within(&mut self, patience: Duration) -> Result<Message, String> {
        if let Some(message) = self.pending.pop_front() {
            return Ok(message);
        }
        match tokio::time::timeout(patience, self.read()).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
        }
    }

    async fn read(&mut self) -> Result<Message, String> {
        let mut buffer = vec![0; 65_536];
        loop {
            let mut take = |bytes: Bytes| match Message::parse(bytes) {
                Ok(message) => {
                    self.pending.push_back(message);
                    Ok(())
                }
                Err(error) => Err(format!("what came is no SIP: {error}")),
            };
            match &mut self.wire {
                Wire::Stream(stream, framer) => {
                    let count = stream.read(&mut buffer).await.map_err(|error| error.to_string())?;
                    if count == 0 {
                        return Err("it closed the connection".to_owned());
                    }
                    framer.push(buffer.get(..count).unwrap_or(&[]));
                    while let Some(frame) =
                        framer.next().map_err(|error| format!("what came is no SIP: {error}"))?
                    {
                        match frame {
                            Frame::Message(bytes) => take(bytes)?,
                            Frame::Ping | Frame::Pong => {}
                        }
                    }
                }
                Wire::Web(socket) => match socket.next().await {
                    Some(Ok(WsMessage::Text(text))) => take(Bytes::from(text))?,
                    Some(Ok(WsMessage::Binary(bytes))) => take(bytes)?,
                    Some(Ok(WsMessage::Ping(_) | WsMessage::Pong(_) | WsMessage::Frame(_))) => {}
                    Some(Ok(WsMessage::Close(_)) | Err(_)) | None => {
                        return Err("it closed the connection".to_owned());
                    }
                },
                Wire::Datagrams(socket) => {
                    let count = socket.recv(&mut buffer).await.map_err(|error| error.to_string())?;
                    take(Bytes::copy_from_slice(buffer.get(..count).unwrap_or(&[])))?;
                }
            }
            if let Some(message) = self.pending.pop_front() {
                return Ok(message);
            }
        }
    }
}

fn instance(entropy: &mut Entropy) -> String {
    let hex: String = entropy
        .token(32)
        .bytes()
        .map(|byte| char::from(b"0123456789abcdef"[usize::from(byte % 16)]))
        .collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or("0000");
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}
