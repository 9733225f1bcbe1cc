//! SIP over WebSocket (RFC 7118): one message per frame, subprotocol `sip`.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use wakeline_flow::{FlowInfo, Hop, Received, Transport};
use wakeline_user_agent::{FlowFailure, Input};

/// The largest frame taken: a SIP message may be 64 kB.
const LARGEST: usize = 65_536;

/// The HTTP upgrade must be answered in this time.
const PATIENCE: Duration = Duration::from_secs(8);

/// What the handshake at a hop asks for: the account's address of that host, with its path, or else the root.
pub(crate) fn target(hop: &Hop, doors: &[String]) -> String {
    let scheme = if hop.transport == Transport::Wss { "wss" } else { "ws" };
    let host = hop.server_name.clone().unwrap_or_else(|| match hop.remote.ip() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    });
    let path = doors.iter().find_map(|door| {
        let (of, rest) = door.split_once("://")?;
        let (place, path) = rest.split_once('/')?;
        let named = place.strip_suffix(&format!(":{}", hop.remote.port())).unwrap_or(place);
        (of.eq_ignore_ascii_case(scheme) && named.eq_ignore_ascii_case(&host)).then_some(path)
    });
    format!("{scheme}://{host}:{}/{}", hop.remote.port(), path.unwrap_or(""))
}

/// Upgrades the connection and carries messages until an end.
pub(crate) async fn exchange(
    info: FlowInfo,
    target: &str,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    waiting: &mut mpsc::Receiver<Bytes>,
    facts: &mpsc::Sender<Input>,
) -> FlowFailure {
    let Ok(mut request) = target.into_client_request() else { return FlowFailure::HandshakeFailed };
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("sip"));
    let limits = WebSocketConfig::default().max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST));
    let upgrade = tokio_tungstenite::client_async_with_config(request, stream, Some(limits));
    let mut socket = match tokio::time::timeout(PATIENCE, upgrade).await {
        Ok(Ok((socket, response)))
            if response.headers().get(SEC_WEBSOCKET_PROTOCOL).is_some_and(|p| p == "sip") =>
        {
            socket
        }
        Ok(Ok(_)) => {
            tracing::warn!(remote = %info.remote, "the WebSocket server does not speak the subprotocol sip");
            return FlowFailure::HandshakeFailed;
        }
        Ok(Err(error)) => {
            tracing::warn!(remote = %info.remote, %error, "WebSocket handshake failed");
            return FlowFailure::HandshakeFailed;
        }
        Err(_) => return FlowFailure::TimedOut,
    };
    if facts.send(Input::Opened(info)).await.is_err() {
        return FlowFailure::ClosedByPeer;
    }
    loop {
        tokio::select! {
            message = waiting.recv() => {
                let Some(message) = message else {
                    let _ = socket.close(None).await;
                    return FlowFailure::ClosedByPeer;
                };
                // RFC 7118 §8.1: text frames for UTF-8 content, binary for the rest.
                let frame = match std::str::from_utf8(&message) {
                    Ok(text) => Message::text(text),
                    Err(_) => Message::binary(message),
                };
                if socket.send(frame).await.is_err() {
                    return FlowFailure::ClosedByPeer;
                }
            }
            frame = socket.next() => {
                let bytes = match frame {
                    Some(Ok(Message::Text(text))) => Bytes::from(text),
                    Some(Ok(Message::Binary(bytes))) => bytes,
                    // The library answers pings; pongs prove only TCP, which read errors show as well.
                    Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                    Some(
                        Ok(Message::Close(_))
                        | Err(Error::ConnectionClosed | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)),
                    )
                    | None => return FlowFailure::ClosedByPeer,
                    Some(Err(Error::Capacity(_) | Error::Protocol(_) | Error::Utf8(_))) => return FlowFailure::Garbled,
                    Some(Err(_)) => return FlowFailure::ClosedByPeer,
                };
                if facts.send(Input::Received(Received { flow: info, bytes })).await.is_err() {
                    return FlowFailure::ClosedByPeer;
                }
            }
        }
    }
}
