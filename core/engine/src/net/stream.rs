//! One stream flow: connect, shake hands, then carry messages until either side ends it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use wakeline_flow::{FlowId, FlowInfo, Hop, Received, Transport};
use wakeline_sip_message::{Frame, Framer, Limits};
use wakeline_user_agent::{FlowFailure, Input};

use super::websocket;

/// How long connecting, and then shaking hands, may take: RFC 3261's Timer B would wait 32 s, a person does not.
const PATIENCE: Duration = Duration::from_secs(8);

/// Messages are read in pieces of this size; an idle flow keeps one such buffer.
const PIECE: usize = 4096;

/// How a flow gets to its hop.
pub(crate) struct Way {
    /// Our address, when the account has one.
    pub(crate) from: Option<IpAddr>,
    /// TLS, for the hops that want it.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// What a WebSocket handshake asks for.
    pub(crate) target: String,
}

/// The flow's whole life.
pub(crate) async fn run(
    flow: FlowId,
    hop: Hop,
    way: Way,
    waiting: mpsc::Receiver<Bytes>,
    facts: mpsc::Sender<Input>,
) {
    let failure = match open(&hop, way.from).await {
        Ok(stream) => carry(flow, &hop, stream, way, waiting, &facts).await,
        Err(failure) => failure,
    };
    tracing::debug!(flow = flow.0, remote = %hop.remote, ?failure, "flow ended");
    // The loop may be gone already, when the whole phone stops.
    let _ = facts.send(Input::Closed { flow, failure }).await;
}

async fn open(hop: &Hop, from: Option<IpAddr>) -> Result<TcpStream, FlowFailure> {
    let connect = async {
        let socket = if hop.remote.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
        if let Some(address) = from.filter(|address| address.is_ipv6() == hop.remote.is_ipv6()) {
            socket.bind(SocketAddr::new(address, 0))?;
        }
        let stream = socket.connect(hop.remote).await?;
        // A REGISTER is one small write and someone waits for its answer.
        stream.set_nodelay(true)?;
        io::Result::Ok(stream)
    };
    match tokio::time::timeout(PATIENCE, connect).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(_)) => Err(FlowFailure::Unreachable),
        Err(_) => Err(FlowFailure::TimedOut),
    }
}

async fn carry(
    flow: FlowId,
    hop: &Hop,
    stream: TcpStream,
    Way { tls, target, .. }: Way,
    mut waiting: mpsc::Receiver<Bytes>,
    facts: &mpsc::Sender<Input>,
) -> FlowFailure {
    let (Ok(local), Ok(remote)) = (stream.local_addr(), stream.peer_addr()) else {
        return FlowFailure::Unreachable;
    };
    let info = FlowInfo { id: flow, transport: hop.transport, local, remote };
    match hop.transport {
        Transport::Tcp => exchange(info, stream, &mut waiting, facts).await,
        Transport::Tls => match shake_hands(hop, stream, tls).await {
            Ok(stream) => exchange(info, stream, &mut waiting, facts).await,
            Err(failure) => failure,
        },
        Transport::Ws => websocket::exchange(info, &target, stream, &mut waiting, facts).await,
        Transport::Wss => match shake_hands(hop, stream, tls).await {
            Ok(stream) => websocket::exchange(info, &target, stream, &mut waiting, facts).await,
            Err(failure) => failure,
        },
        // UDP flows have no task of their own.
        Transport::Udp => FlowFailure::Unreachable,
    }
}

/// TLS with the name of the hop, or its address when it has none (RFC 5922 §4). With a session at hand that allows early
/// data, this returns before the handshake is over, and the first messages travel in the client's first flight.
async fn shake_hands(
    hop: &Hop,
    stream: TcpStream,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, FlowFailure> {
    let configuration = tls.ok_or(FlowFailure::HandshakeFailed)?;
    let name = match &hop.server_name {
        Some(name) => ServerName::try_from(name.clone()).map_err(|_| FlowFailure::CertificateRefused)?,
        None => ServerName::IpAddress(hop.remote.ip().into()),
    };
    let connector = TlsConnector::from(configuration).early_data(true);
    match tokio::time::timeout(PATIENCE, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(refusal(&error)),
        Err(_) => Err(FlowFailure::TimedOut),
    }
}

/// A certificate that was refused needs another cure than a broken handshake.
fn refusal(error: &io::Error) -> FlowFailure {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(why)) => {
            tracing::warn!(?why, "certificate refused");
            FlowFailure::CertificateRefused
        }
        _ => {
            tracing::warn!(%error, "TLS handshake failed");
            FlowFailure::HandshakeFailed
        }
    }
}

/// Carries messages both ways until an end.
async fn exchange(
    info: FlowInfo,
    stream: impl AsyncRead + AsyncWrite,
    waiting: &mut mpsc::Receiver<Bytes>,
    facts: &mpsc::Sender<Input>,
) -> FlowFailure {
    if facts.send(Input::Opened(info)).await.is_err() {
        return FlowFailure::ClosedByPeer;
    }
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut framer = Framer::new(Limits::default());
    let mut buffer = vec![0; PIECE];
    let mut flight = Vec::new();
    loop {
        tokio::select! {
            message = waiting.recv() => {
                let Some(message) = message else {
                    // Our side closes: tell the peer in good order.
                    let _ = tokio::time::timeout(PATIENCE, writer.shutdown()).await;
                    return FlowFailure::ClosedByPeer;
                };
                flight.clear();
                flight.extend_from_slice(&message);
                // Whatever else waits goes in the same write.
                while let Ok(message) = waiting.try_recv() {
                    flight.extend_from_slice(&message);
                }
                let write = async {
                    writer.write_all(&flight).await?;
                    writer.flush().await
                };
                match tokio::time::timeout(PATIENCE, write).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return FlowFailure::ClosedByPeer,
                    // A peer that does not read is gone (fault F12).
                    Err(_) => return FlowFailure::TimedOut,
                }
            }
            read = reader.read(&mut buffer) => {
                let length = match read {
                    Ok(0) => return FlowFailure::ClosedByPeer,
                    Ok(length) => length,
                    Err(error) => return refusal_in_flight(&error),
                };
                framer.push(&buffer[..length]);
                if let Err(failure) = hand_over(&mut framer, info, facts).await {
                    return failure;
                }
            }
        }
    }
}

/// With early data the handshake goes on while messages are read, so a refused certificate can show itself here.
fn refusal_in_flight(error: &io::Error) -> FlowFailure {
    if error.kind() == io::ErrorKind::InvalidData { refusal(error) } else { FlowFailure::ClosedByPeer }
}

async fn hand_over(
    framer: &mut Framer,
    info: FlowInfo,
    facts: &mpsc::Sender<Input>,
) -> Result<(), FlowFailure> {
    loop {
        let bytes = match framer.next() {
            Ok(Some(Frame::Message(bytes))) => bytes,
            Ok(Some(Frame::Ping)) => Bytes::from_static(b"\r\n\r\n"),
            Ok(Some(Frame::Pong)) => Bytes::from_static(b"\r\n"),
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::warn!(remote = %info.remote, %error, "the stream cannot be framed");
                return Err(FlowFailure::Garbled);
            }
        };
        if facts.send(Input::Received(Received { flow: info, bytes })).await.is_err() {
            return Err(FlowFailure::ClosedByPeer);
        }
    }
}
