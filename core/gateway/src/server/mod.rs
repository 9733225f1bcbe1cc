//! The event loop: one task owns the machine, the UDP sockets and the list of streams.
//!
//! Whatever comes in is handed to the machine, then everything the machine says is done in its order. What is said to
//! one stream in one turn leaves as one flight: the 200 to a REGISTER and the INVITE that waited for it.

mod command;
mod hear;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{broadcast, mpsc};
use wakeline_clock::{Time, WallTime, system};
use wakeline_flow::{FlowId, FlowInfo, Received};
use wakeline_registrar::{Leg, Output, PushKey, PushResult, Registrar, Trace, TrustedPeer};
use wakeline_sip_message::{Message, Method};

pub(crate) use self::command::Command;
use self::command::Draining;
use crate::addresses::Addresses;
use crate::cluster::{BEAT, Beat, Condition};
use crate::edge::certificate::Certificates;
use crate::edge::next_hop::{Dial, PING};
use crate::edge::udp::{BATCH, UdpPort};
use crate::edge::{Inbound, Outgoing, stun};
use crate::knocks::Knocks;
use crate::push::canary::Reports;
use crate::push::dispatch::Dispatcher;
use crate::stats::{Counters, Durations};
use crate::store::{Change, Keeper, Table, record};
use crate::strangers::Strangers;
use crate::wakes::{Stretch, Wakes};

/// How often small duties are looked after.
const DUTIES: Duration = Duration::from_secs(1);
/// UDP addresses that are known at one time: as many as bindings, and as many again that come and go.
const ADDRESSES: usize = 2_000_000;
/// How often the certificate's files are looked at.
const CERTIFICATE: Duration = Duration::from_secs(10);
/// Messages of streams or results of pushes per turn, and batches of one UDP socket.
const TURN: usize = 256;
const UDP_TURN: usize = 4;

/// One open stream.
struct Stream {
    sender: mpsc::Sender<Outgoing>,
    flow: FlowInfo,
    /// What is to leave with the end of this turn.
    flight: Vec<Bytes>,
}

/// Everything the loop owns.
pub(crate) struct Server {
    pub(crate) registrar: Registrar,
    pub(crate) udp: Vec<UdpPort>,
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    pub(crate) commands: mpsc::UnboundedReceiver<Command>,
    pub(crate) results: mpsc::UnboundedReceiver<(PushKey, PushResult)>,
    pub(crate) pushes: Dispatcher,
    pub(crate) canaries: Reports,
    pub(crate) keeper: Option<Keeper>,
    pub(crate) traces: broadcast::Sender<Trace>,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) trusted: Vec<TrustedPeer>,
    /// Where other nodes connect from: counted as strangers no more than trusted peers are, and trusted no further.
    pub(crate) peers: Vec<std::net::IpAddr>,
    /// What this node says of itself, and under which name.
    pub(crate) beat: Option<(String, Beat)>,
    pub(crate) strangers: Strangers,
    pub(crate) knocks: Knocks,
    pub(crate) dial: Dial,
    pub(crate) state: State,
}

/// What the loop keeps for itself.
pub(crate) struct State {
    streams: HashMap<u64, Stream>,
    /// Streams with something in their flight.
    dirty: Vec<FlowId>,
    closing: Vec<FlowId>,
    /// Streams that we opened to next hops, and when they are pinged again.
    hops: Vec<FlowId>,
    ping: Time,
    counters: Counters,
    draining: Option<Draining>,
    /// What the other nodes that live have said last, and when.
    others: BTreeMap<String, (Beat, Time)>,
    started: Time,
    duties: Time,
    beat: Time,
    certificate: Time,
    addresses: Addresses,
    wakes: Wakes,
    wake: Durations,
    ring: Durations,
}

impl State {
    pub(crate) fn new(now: Time) -> State {
        State {
            streams: HashMap::new(),
            dirty: Vec::new(),
            closing: Vec::new(),
            hops: Vec::new(),
            ping: now + PING,
            counters: Counters::default(),
            draining: None,
            others: BTreeMap::new(),
            started: now,
            duties: now + DUTIES,
            beat: now,
            certificate: now + CERTIFICATE,
            addresses: Addresses::new(ADDRESSES),
            wakes: Wakes::default(),
            wake: Durations::default(),
            ring: Durations::default(),
        }
    }
}

/// Why the loop woke.
enum Woken {
    Command(Option<Command>),
    Inbound,
    Pushed,
    Readable(usize),
    Unblocked,
    Time,
}

impl Server {
    /// Runs until it is told to end.
    pub(crate) async fn run(mut self) {
        let mut messages = Vec::with_capacity(TURN);
        let mut datagrams = Vec::with_capacity(BATCH);
        let mut pushed = Vec::with_capacity(TURN);
        // Before anything else is told.
        self.say_alive(system::now(), system::wall());
        loop {
            self.speak();
            let deadline =
                self.registrar.poll_timeout().map_or(self.state.duties, |due| due.min(self.state.duties));
            let woken = {
                let sleep = tokio::time::sleep(deadline.since(system::now()));
                let (udp, inbound, results) = (&self.udp, &mut self.inbound, &mut self.results);
                tokio::select! {
                    command = self.commands.recv() => Woken::Command(command),
                    _ = inbound.recv_many(&mut messages, TURN) => Woken::Inbound,
                    _ = results.recv_many(&mut pushed, TURN) => Woken::Pushed,
                    index = readable(udp) => Woken::Readable(index),
                    () = unblocked(udp) => Woken::Unblocked,
                    () = sleep => Woken::Time,
                }
            };
            let (now, wall) = (system::now(), system::wall());
            match woken {
                Woken::Command(None | Some(Command::Shutdown)) => break,
                Woken::Command(Some(command)) => self.obey(now, wall, command),
                Woken::Inbound => {
                    for message in messages.drain(..) {
                        self.hear(now, wall, message);
                    }
                }
                Woken::Pushed => {
                    for (key, result) in pushed.drain(..) {
                        self.pushes.done(key);
                        self.registrar.handle_push_result(now, wall, key, result);
                    }
                }
                Woken::Readable(index) => self.read_udp(index, &mut datagrams),
                Woken::Unblocked | Woken::Time => {}
            }
            if self.registrar.poll_timeout().is_some_and(|due| due <= now) {
                self.registrar.handle_timeout(now, wall);
            }
            if now >= self.state.duties {
                self.look_after(now, wall);
            }
        }
        self.end().await;
    }

    /// Reads a few batches, speaking after each so that answers do not wait for the last.
    fn read_udp(&mut self, index: usize, datagrams: &mut Vec<(FlowInfo, Bytes)>) {
        for _ in 0..UDP_TURN {
            let Some(port) = self.udp.get_mut(index) else { return };
            port.receive(datagrams);
            let full = datagrams.len() == BATCH;
            let (now, wall) = (system::now(), system::wall());
            for (flow, bytes) in datagrams.drain(..) {
                if !self.state.addresses.heard(now, flow.id) {
                    self.state.counters.turned_away += 1;
                    continue;
                }
                match bytes.first() {
                    // Empty, or a keep-alive of line ends or zeros, which some phones send over UDP too.
                    None | Some(b'\r' | b'\n' | 0) if bytes.len() <= 4 => {
                        self.registrar.handle_flow_alive(now, flow.id);
                    }
                    _ if stun::is_stun(&bytes) => {
                        self.registrar.handle_flow_alive(now, flow.id);
                        if let (Some(answer), Some(port)) =
                            (stun::answer(&bytes, flow.remote), self.udp.get_mut(index))
                        {
                            port.queue(flow.id, answer);
                        }
                    }
                    None | Some(_) if self.must_wait(now, &flow, &bytes).is_some() => {
                        self.state.counters.turned_away += 1;
                    }
                    None | Some(_) => self.registrar.handle_received(now, wall, Received { flow, bytes }),
                }
            }
            self.speak();
            if !full {
                return;
            }
        }
    }

    /// Does what the machine says, then lets everything leave.
    fn speak(&mut self) {
        while let Some(output) = self.registrar.poll_output() {
            match output {
                Output::Transmit(transmit) => self.transmit(transmit.flow, transmit.bytes),
                Output::CloseFlow(flow) => self.state.closing.push(flow),
                Output::OpenFlow(hop, next) => self.dial.open(hop, next),
                Output::Push(request) => self.pushes.send(&request),
                Output::CancelPush(key) => self.pushes.cancel(key),
                Output::Persist(persist) => {
                    if let Some(keeper) = &self.keeper {
                        record::changes(&persist, |table, change| keeper.put(table, change));
                    }
                }
                Output::Trace(trace) => self.trace(trace),
            }
        }
        for flow in std::mem::take(&mut self.state.dirty) {
            let Some(stream) = self.state.streams.get_mut(&flow.0) else { continue };
            let flight = std::mem::take(&mut stream.flight);
            if stream.sender.try_send(Outgoing::Flight(flight)).is_err() {
                // It does not read what it is sent; the task ends once its channel has no sender.
                self.state.counters.given_up += 1;
                self.state.closing.push(flow);
            }
        }
        for flow in std::mem::take(&mut self.state.closing) {
            if let Some(stream) = self.state.streams.remove(&flow.0) {
                let _ = stream.sender.try_send(Outgoing::Close);
            }
        }
        for port in &mut self.udp {
            port.flush();
        }
    }

    fn transmit(&mut self, flow: FlowId, bytes: Bytes) {
        self.state.counters.sent += 1;
        if is_refusal(&bytes) {
            self.count_refusal(flow);
        }
        if let Some(index) = UdpPort::socket_of(flow) {
            if let Some(port) = self.udp.get_mut(index) {
                port.queue(flow, bytes);
            }
            return;
        }
        let Some(stream) = self.state.streams.get_mut(&flow.0) else { return };
        if self.strangers.knows(flow) && (self.registrar.is_registered_flow(flow) || proves(&bytes)) {
            self.strangers.leave(stream.flow.id);
        }
        if stream.flight.is_empty() {
            self.state.dirty.push(flow);
        }
        stream.flight.push(bytes);
    }

    fn trace(&mut self, trace: Trace) {
        self.state.counters.count(&trace.leg);
        match self.state.wakes.add(&trace, system::wall()) {
            Some(Stretch::Wake(seconds)) => self.state.wake.add(seconds),
            Some(Stretch::Ring(seconds)) => self.state.ring.add(seconds),
            None => {}
        }
        match &trace.wake {
            Some(wake) => {
                tracing::info!(target: "wakeline_gateway::wake", %wake, at = ?trace.at, leg = ?trace.leg)
            }
            None if matches!(trace.leg, Leg::TooManyBindings | Leg::MadeRoom(_)) => {
                tracing::warn!(target: "wakeline_gateway::register", at = ?trace.at, leg = ?trace.leg);
            }
            None if matches!(trace.leg, Leg::HopDown(_) | Leg::UpstreamDown | Leg::LineRefused(_)) => {
                tracing::warn!(target: "wakeline_gateway::edge", at = ?trace.at, leg = ?trace.leg);
            }
            None => tracing::debug!(target: "wakeline_gateway::edge", at = ?trace.at, leg = ?trace.leg),
        }
        if self.traces.receiver_count() > 0 {
            let _ = self.traces.send(trace);
        }
    }

    /// Small duties, about once a second.
    fn look_after(&mut self, now: Time, wall: WallTime) {
        self.state.duties = now + DUTIES;
        self.state.closing.extend(self.strangers.overdue(now));
        self.knocks.forget(now);
        if now >= self.state.beat {
            self.say_alive(now, wall);
        }
        if now >= self.state.ping {
            self.state.ping = now + PING;
            for flow in self.state.hops.clone() {
                self.transmit(flow, Bytes::from_static(b"\r\n\r\n"));
            }
        }
        let registrar = &mut self.registrar;
        for flow in self.state.addresses.idle(now, |flow| registrar.is_registered_flow(flow)) {
            registrar.handle_flow_closed(now, wall, flow);
        }
        if now >= self.state.certificate {
            self.state.certificate = now + CERTIFICATE;
            self.certificates.reload();
        }
        if let Some(draining) = self.state.draining.take() {
            let drained = self.registrar.is_drained();
            if drained || now >= draining.until {
                let _ = draining.done.send(drained);
            } else {
                self.state.duties = now + DUTIES / 10;
                self.state.draining = Some(draining);
            }
        }
    }

    /// Tells the other nodes that this one lives.
    fn say_alive(&mut self, now: Time, wall: WallTime) {
        self.state.beat = now + BEAT;
        if let (Some(keeper), Some((name, beat))) = (&self.keeper, &self.beat) {
            let (table, change) = beat.change(name, wall, self.condition(now));
            keeper.put(table, change);
        }
    }

    /// How this node is.
    fn condition(&self, now: Time) -> Condition {
        let gauges = self.registrar.gauges();
        Condition {
            up_ms: u64::try_from(now.since(self.state.started).as_millis()).unwrap_or(u64::MAX),
            draining: self.registrar.is_draining(),
            bindings: gauges.bindings,
            contexts: gauges.contexts,
            held: gauges.held,
        }
    }

    /// The last flights leave, streams are closed, the store is written.
    async fn end(mut self) {
        self.speak();
        if let Some(keeper) = &self.keeper {
            match &self.beat {
                None => {
                    let nonces = record::nonces_row(&self.registrar.export_nonces());
                    keeper.put(Table::Own, Change::Put(nonces));
                }
                // The others need not wait to find out.
                Some((name, _)) => keeper.put(Table::Nodes, Change::Remove(name.clone().into_bytes())),
            }
        }
        let streams = std::mem::take(&mut self.state.streams);
        let mut open = streams.len();
        for stream in streams.into_values() {
            let _ = stream.sender.try_send(Outgoing::Close);
        }
        let goodbye = async {
            while open > 0 {
                match self.inbound.recv().await {
                    Some(Inbound::Closed(_)) => open -= 1,
                    Some(
                        Inbound::Opened(..)
                        | Inbound::Message(..)
                        | Inbound::KeepAlive(_)
                        | Inbound::HopFound(..)
                        | Inbound::HopOpened(..)
                        | Inbound::HopFailed(_)
                        | Inbound::Broken(..),
                    ) => {}
                    None => return,
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), goodbye).await;
    }
}

/// The index of a UDP socket that can be read.
async fn readable(ports: &[UdpPort]) -> usize {
    std::future::poll_fn(|context| {
        for (index, port) in ports.iter().enumerate() {
            if port.poll_readable(context).is_ready() {
                return Poll::Ready(index);
            }
        }
        Poll::Pending
    })
    .await
}

/// Some UDP socket takes datagrams again.
async fn unblocked(ports: &[UdpPort]) {
    std::future::poll_fn(|context| {
        if ports.iter().any(|port| port.poll_unblocked(context).is_ready()) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Whether it is a response that refuses something.
fn is_refusal(bytes: &[u8]) -> bool {
    bytes.strip_prefix(b"SIP/2.0 ").and_then(<[u8]>::first).is_some_and(|class| (b'4'..=b'6').contains(class))
}

/// Whether a response shows that the connection belongs to somebody we know: a call that was let in.
fn proves(bytes: &Bytes) -> bool {
    if !(bytes.starts_with(b"SIP/2.0 2") || bytes.starts_with(b"SIP/2.0 18")) {
        return false;
    }
    Message::parse(bytes.clone()).is_ok_and(|message| message.method() == Method::Invite)
}
