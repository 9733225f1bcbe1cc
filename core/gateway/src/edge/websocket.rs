//! One WebSocket connection (RFC 7118): a message per frame, subprotocol `sip`.

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header::SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::{Message as WsMessage, WebSocketConfig};
use wakeline_flow::FlowInfo;

use super::{HANDSHAKE, Inbound, Outgoing, PATIENCE};

/// The largest message; the limit of the SIP parser.
const MESSAGE: usize = 64 * 1024;
/// What a connection keeps to read into, while it is idle too; a message of a phone mostly fits.
const BUFFER: usize = 2048;

/// Lets an accepted connection (after TLS, if any) become a WebSocket; `None` when it does not in time.
pub(crate) async fn upgrade<S>(io: S) -> Option<Box<WebSocketStream<S>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        .max_message_size(Some(MESSAGE))
        .max_frame_size(Some(MESSAGE));
    let upgrade = tokio_tungstenite::accept_hdr_async_with_config(io, choose_sip, Some(config));
    tokio::time::timeout(HANDSHAKE, upgrade).await.ok()?.ok().map(Box::new)
}

/// Serves a connection until it ends.
pub(crate) async fn serve<S>(
    socket: &mut WebSocketStream<S>,
    flow: FlowInfo,
    inbound: &mpsc::Sender<Inbound>,
    outgoing: &mut mpsc::Receiver<Outgoing>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    exchange(socket, flow, inbound, outgoing).await;
    let _ = tokio::time::timeout(PATIENCE, socket.close(None)).await;
}

async fn exchange<S>(
    socket: &mut WebSocketStream<S>,
    flow: FlowInfo,
    inbound: &mpsc::Sender<Inbound>,
    outgoing: &mut mpsc::Receiver<Outgoing>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        tokio::select! {
            frame = socket.next() => {
                let bytes = match frame {
                    Some(Ok(WsMessage::Text(text))) => text.into(),
                    Some(Ok(WsMessage::Binary(bytes))) => bytes,
                    Some(Ok(WsMessage::Ping(_) | WsMessage::Pong(_))) => Bytes::new(),
                    Some(Ok(WsMessage::Frame(_))) => continue,
                    Some(Ok(WsMessage::Close(_)) | Err(_)) | None => return,
                };
                // RFC 7118 §6 with RFC 5626 §3.5.1: a frame of line ends is a keep-alive too.
                let up = if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                    if bytes.len() == 4 && socket.send(WsMessage::text("\r\n")).await.is_err() {
                        return;
                    }
                    Inbound::KeepAlive(flow.id)
                } else {
                    Inbound::Message(flow, bytes)
                };
                if inbound.send(up).await.is_err() {
                    return;
                }
            }
            flight = outgoing.recv() => match flight {
                Some(Outgoing::Flight(messages)) => {
                    // Fed one by one, flushed once: they leave in one flight.
                    let sending = async {
                        for bytes in messages {
                            let frame = match String::from_utf8(bytes.to_vec()) {
                                Ok(text) => WsMessage::text(text),
                                Err(_) => WsMessage::Binary(bytes),
                            };
                            socket.feed(frame).await?;
                        }
                        socket.flush().await
                    };
                    if !matches!(tokio::time::timeout(PATIENCE, sending).await, Ok(Ok(()))) {
                        return;
                    }
                }
                Some(Outgoing::Close) | None => return,
            },
        }
    }
}

/// RFC 7118 §4.1: the client must offer `sip`, and the server must choose it.
#[expect(clippy::result_large_err, reason = "the callback's type is the library's")]
fn choose_sip(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request
        .headers()
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case("sip"));
    if offered {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("sip"));
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(Some("the subprotocol sip is needed".to_owned()));
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    Err(refusal)
}
