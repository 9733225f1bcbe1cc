//! What all stand-ins have in common: a listener, a script, records, and devices that wait for their messages.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::StartError;
use crate::certificate;
use crate::http2::{self, Connections, Reply, Whole};
use crate::script::{Answer, Delivery, Script, Step};

/// A message as its device gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The token, installation id or subscription.
    pub device: String,
    /// The data map; of a JSON payload, its fields as texts.
    pub data: BTreeMap<String, String>,
}

/// The part of a stand-in that its listener shares with the test: `R` is what is kept of each request.
#[derive(Debug)]
pub struct Desk<R>(Arc<Mutex<State<R>>>);

struct State<R> {
    script: Script,
    records: Vec<R>,
    subscribers: Vec<mpsc::UnboundedSender<Delivered>>,
    behind: Vec<Delivered>,
}

impl<R> core::fmt::Debug for State<R> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("State").field("records", &self.records.len()).finish_non_exhaustive()
    }
}

impl<R> Clone for Desk<R> {
    fn clone(&self) -> Desk<R> {
        Desk(Arc::clone(&self.0))
    }
}

impl<R> Default for Desk<R> {
    fn default() -> Desk<R> {
        Desk(Arc::new(Mutex::new(State {
            script: Script::default(),
            records: Vec::new(),
            subscribers: Vec::new(),
            behind: Vec::new(),
        })))
    }
}

impl<R> Desk<R> {
    fn locked(&self) -> MutexGuard<'_, State<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the script says about a message of this device.
    pub(crate) fn take(&self, device: &str) -> Step {
        self.locked().script.take(device)
    }

    /// Keeps a request; its number, from 1.
    pub(crate) fn record(&self, record: R) -> usize {
        let mut state = self.locked();
        state.records.push(record);
        state.records.len()
    }

    /// Hands a message to its device, as the step says.
    pub(crate) fn deliver(&self, message: Delivered, delivery: Delivery)
    where
        R: Send + 'static,
    {
        match delivery {
            Delivery::Now => self.locked().hand_over(message),
            Delivery::Twice => {
                let mut state = self.locked();
                state.hand_over(message.clone());
                state.hand_over(message);
            }
            Delivery::After(span) => {
                let desk = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(span).await;
                    desk.locked().hand_over(message);
                });
            }
            Delivery::BehindNext => self.locked().behind.push(message),
            Delivery::Never => {}
        }
    }
}

impl<R> State<R> {
    fn hand_over(&mut self, message: Delivered) {
        let behind = std::mem::take(&mut self.behind);
        for message in std::iter::once(message).chain(behind) {
            self.subscribers.retain(|subscriber| subscriber.send(message.clone()).is_ok());
        }
    }
}

/// A stand-in's listener and desk; it ends with this value.
#[derive(Debug)]
pub struct Running<R> {
    address: SocketAddr,
    tls: bool,
    ca_pem: String,
    connections: Connections,
    desk: Desk<R>,
    task: JoinHandle<()>,
}

impl<R> Drop for Running<R> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A port that is bound, and what will be said there.
pub(crate) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    tls: bool,
}

impl Bound {
    pub(crate) async fn new(port: u16, tls: bool) -> Result<Bound, StartError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        Ok(Bound { listener, address, tls })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// Serves from now on.
    pub(crate) fn serve<R, H, F>(
        self,
        streams: Option<u32>,
        desk: Desk<R>,
        handler: H,
    ) -> Result<Running<R>, StartError>
    where
        H: Fn(Whole) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Reply> + Send + 'static,
    {
        let certificate = self.tls.then(certificate::loopback).transpose()?;
        let (ca_pem, server) = certificate.map_or((String::new(), None), |c| (c.ca_pem, Some(c.server)));
        let connections = Connections::default();
        let serving = http2::serve(self.listener, server, streams, connections.clone(), handler);
        let task = tokio::spawn(serving);
        Ok(Running { address: self.address, tls: self.tls, ca_pem, connections, desk, task })
    }
}

impl<R> Running<R> {
    /// Scheme, host and port.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.address)
    }

    /// The authority that a sender must trust, PEM; empty without TLS.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections: how many, and orders to them (GOAWAY, break, freeze).
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Every message delivered from now on, to any device.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Delivered> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.desk.locked().subscribers.push(sender);
        receiver
    }

    /// Treats the next message, whichever device it is for, like this.
    pub fn next(&self, step: Step) {
        self.desk.locked().script.next_any(step);
    }

    /// Treats the next message of this device like this.
    pub fn next_for(&self, device: &str, step: Step) {
        self.desk.locked().script.next_of(device, step);
    }

    /// Treats every message of this device like this when no other step is waiting.
    pub fn always_for(&self, device: &str, step: Step) {
        self.desk.locked().script.always_of(device, step);
    }

    /// Everything that was sent so far, in order of arrival.
    pub fn records(&self) -> Vec<R>
    where
        R: Clone,
    {
        self.desk.locked().records.clone()
    }
}

impl Answer {
    /// The status that the sender sees; 0 when it sees none.
    pub(crate) fn status(&self, accepted: u16) -> u16 {
        match self {
            Answer::Accept => accepted,
            Answer::Refuse { status, .. } | Answer::RefuseSince { status, .. } => *status,
            Answer::BadRequest { .. } => 400,
            Answer::Reset | Answer::Silence => 0,
        }
    }
}

/// A response with JSON, or nothing when the value is null.
pub(crate) fn response(status: u16, headers: &[(&str, &str)], body: &Value) -> Reply {
    let mut response = Response::builder().status(StatusCode::from_u16(status).ok()?);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    let text = if body.is_null() { String::new() } else { body.to_string() };
    response.body(Full::new(Bytes::from(text))).ok()
}

/// The fields of a JSON object as texts.
pub(crate) fn fields(payload: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let object = payload.as_object().into_iter().flatten();
    object.map(|(name, value)| (name.clone(), text(value))).collect()
}
