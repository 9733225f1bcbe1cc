//! What travels between phones and gateway, and what the gateway does.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use wakeline_flow::{FlowId, FlowInfo, Received, Transport};
use wakeline_registrar::{Output as GatewayOutput, PushRequest, PushResult};
use wakeline_sip_message::{Builder, Message};

use crate::gateway::Standing;
use crate::network::{End, GATEWAY, Link, LinkState, Seen};
use crate::push::{Fate, payload_of};
use crate::script::Script;
use crate::sniff;
use crate::world::{Happening, MOST_STEPS, World};

impl World {
    /// A scripted peer on the trunk, over TCP.
    pub fn script(&mut self) -> usize {
        let number = self.scripts.len();
        let local: SocketAddr = ([203, 0, 113, u8::try_from(number + 1).unwrap_or(255)], 5060).into();
        let link = self.links.len();
        self.links.push(Link {
            end: End::Script(number),
            phone_flow: FlowId(0),
            gateway_flow: FlowId(0),
            transport: Transport::Tcp,
            local,
            remote: GATEWAY.into(),
            seen_as: local,
            state: LinkState::Up,
            node: 0,
        });
        self.links[link].gateway_flow = self.new_gateway_flow(link);
        self.scripts.push(Script::new(link, local));
        number
    }

    /// A scripted peer sends something.
    pub fn say(&mut self, script: usize, message: &Message) {
        let link = self.scripts[script].link;
        self.carry(link, true, message.to_bytes());
    }

    pub(crate) fn new_gateway_flow(&mut self, link: usize) -> FlowId {
        let flow = FlowId(self.next_gateway_flow);
        self.next_gateway_flow += 1;
        self.by_gateway_flow.insert(flow, link);
        flow
    }

    pub(crate) fn carry(&mut self, link: usize, to_gateway: bool, bytes: Bytes) {
        let end = self.links[link].end;
        if !sniff::is_keep_alive(&bytes) {
            self.watch.left(self.now, end, to_gateway, &bytes);
            if !to_gateway {
                let on_stream = self.links[link].transport.is_reliable();
                self.watch.answered_by_gateway(self.now, on_stream, &bytes);
            }
            if self.timeline.is_some() {
                self.note_message(link, to_gateway, &bytes);
            }
        }
        if self.recording {
            self.wire.push(Seen { at: self.now, end, to_gateway, link, bytes: bytes.clone() });
        }
        if self.links[link].state != LinkState::Up {
            return;
        }
        let transport = self.links[link].transport;
        for delay in self.weather.arrivals(transport, &mut self.entropy).into_iter().flatten() {
            let mut when = self.now + delay;
            if transport.is_reliable() {
                let horizon = self.horizon.entry((link, to_gateway)).or_insert(when);
                when = when.max(*horizon);
                *horizon = when;
            }
            let bytes = bytes.clone();
            self.at(
                when,
                if to_gateway { Happening::ToGateway(link, bytes) } else { Happening::ToPhone(link, bytes) },
            );
        }
    }

    /// A link ends; one side is told behind everything that is under way to it.
    pub(crate) fn lose(&mut self, link: usize, state: LinkState, tell_gateway: bool) {
        if self.links[link].state != LinkState::Up {
            return;
        }
        self.links[link].state = state;
        if self.links[link].transport.is_reliable() {
            let soon = self.now + self.weather.delay;
            let last = self.horizon.get(&(link, tell_gateway)).copied().unwrap_or(soon).max(soon);
            let happening =
                if tell_gateway { Happening::LostByGateway(link) } else { Happening::LostByPhone(link) };
            self.at(last, happening);
        }
    }

    fn note_message(&mut self, link: usize, to_gateway: bool, bytes: &[u8]) {
        let Link { end, transport, state, gateway_flow, .. } = self.links[link];
        let line = sniff::lines(bytes).next().unwrap_or_default().to_owned();
        let cseq = sniff::header(bytes, "CSeq").unwrap_or_default().to_owned();
        let call: String = sniff::header(bytes, "Call-ID").unwrap_or_default().chars().take(8).collect();
        let states = sniff::header(bytes, "X-Wake-State").map(|s| format!(" [{s}]")).unwrap_or_default();
        let arrow = if to_gateway { "->" } else { "<-" };
        self.note(|| {
            format!(
                "{end:?} {arrow} gw {transport:?}/{} {state:?}: {line} ({cseq}) {call}{states}",
                gateway_flow.0
            )
        });
    }

    fn gateway_info(&self, link: usize) -> FlowInfo {
        // Each transport has its port, as phones find it: what the gateway says of itself leads back to the same one.
        let Link { gateway_flow, transport, seen_as, remote, .. } = self.links[link];
        FlowInfo { id: gateway_flow, transport, local: remote, remote: seen_as }
    }

    // ---- what reaches the gateway ----------------------------------------------------------------------------

    pub(crate) fn reach_gateway(&mut self, link: usize, bytes: Bytes) {
        if !self.links[link].state.reaches_gateway() {
            return;
        }
        let (now, wall) = (self.now, self.wall());
        let flow = self.gateway_info(link);
        let node = self.links[link].node;
        if self.gateways[node].standing == Standing::Down {
            return;
        }
        if sniff::is_keep_alive(&bytes) {
            self.gateways[node].registrar.handle_flow_alive(now, flow.id);
            // The edge answers pings (RFC 5626 §4.4.1).
            if bytes.len() == 4 && flow.transport.is_reliable() {
                self.carry(link, false, Bytes::from_static(b"\r\n"));
            }
        } else if bytes.starts_with(b"REGISTER ")
            && let Some(scripted) = self.registers.pop_front()
        {
            if scripted.code > 0
                && let Ok(request) = Message::parse(bytes)
            {
                let builder = Builder::response(&request, scripted.code, "").to_tag("scripted");
                let builder = scripted
                    .headers
                    .into_iter()
                    .fold(builder, |builder, (name, value)| builder.header(name, value));
                if let Ok(response) = builder.build() {
                    self.carry(link, false, response.to_bytes());
                }
            }
        } else {
            self.watch.reached_gateway(link, self.gateways[node].lives, &bytes);
            if let Some(wake) = crate::watch::wake_of(&bytes) {
                self.owners.insert(wake, node);
            }
            self.gateways[node].registrar.handle_received(now, wall, Received { flow, bytes });
        }
        self.settle_gateway(node);
    }

    pub(crate) fn lost_by_gateway(&mut self, link: usize) {
        let (now, wall, flow) = (self.now, self.wall(), self.links[link].gateway_flow);
        self.links[link].state = LinkState::Closed;
        let node = self.links[link].node;
        if self.gateways[node].standing == Standing::Up {
            self.gateways[node].registrar.handle_flow_closed(now, wall, flow);
            self.settle_gateway(node);
        }
    }

    // ---- what the gateway does -------------------------------------------------------------------------------

    pub(crate) fn settle_gateway(&mut self, node: usize) {
        for _ in 0..MOST_STEPS {
            let Some(output) = self.gateways[node].registrar.poll_output() else { return };
            match output {
                GatewayOutput::Transmit(transmit)
                    if self.carry_between(node, transmit.flow, &transmit.bytes) => {}
                GatewayOutput::Transmit(mut transmit) => {
                    for bytes in self.break_sent(&transmit.bytes) {
                        transmit.bytes = bytes;
                        if let Some(link) = self.by_gateway_flow.get(&transmit.flow).copied() {
                            if self.links[link].gateway_flow == transmit.flow {
                                self.carry(link, false, transmit.bytes);
                            } else {
                                // Behind a NAT that forgot, the old name leads nowhere; it was said all the same.
                                self.watch.answered_by_gateway(self.now, false, &transmit.bytes);
                            }
                        }
                    }
                }
                GatewayOutput::CloseFlow(flow) if self.close_between(node, flow) => {}
                GatewayOutput::CloseFlow(flow) => {
                    if let Some(link) = self.by_gateway_flow.get(&flow).copied() {
                        self.lose(link, LinkState::ClosedByGateway, false);
                        let (now, wall) = (self.now, self.wall());
                        self.gateways[node].registrar.handle_flow_closed(now, wall, flow);
                    }
                }
                // No upstream takes part here, other nodes do.
                GatewayOutput::OpenFlow(hop, next) => self.open_between(node, hop, &next),
                GatewayOutput::Push(request) => self.push(node, *request),
                GatewayOutput::CancelPush(_) => {}
                GatewayOutput::Persist(change) => {
                    self.tell_nodes(node, &change);
                    self.kept.persist(*change);
                }
                GatewayOutput::Trace(trace) => {
                    if self.timeline.is_some() {
                        let text = format!("gateway {node} {:?}", trace.leg);
                        self.note(|| text);
                    }
                    self.break_trace(&trace);
                    // A request that was handed over is the other node's.
                    let owner = trace.wake.and_then(|wake| self.owners.get(&wake));
                    let owned = owner.is_none_or(|owner| *owner == node);
                    if owned && self.watch.traced(self.now, &trace) {
                        self.check_soon();
                    }
                    if self.recording {
                        self.gateways[node].traces.push(trace);
                    }
                }
            }
        }
        self.watch.violated(self.now, "the gateway never comes to rest");
    }

    fn push(&mut self, node: usize, request: PushRequest) {
        let (key, life) = (request.key, self.gateways[node].lives);
        let fate = self.delivery.script.pop_front().unwrap_or_else(|| self.fate_of_push());
        let (verdict, deliveries) = match fate {
            Fate::Delivered(after) => (PushResult::Accepted, after),
            Fate::Refused(verdict) => (verdict, Vec::new()),
        };
        self.after(Duration::from_millis(40), Happening::PushDone(life, key, verdict));
        for delay in deliveries {
            let token = request.target.prid.expose().to_owned();
            self.after(delay, Happening::PushDelivered(token, payload_of(&request)));
        }
        if self.recording {
            self.pushes.push((self.now, request));
        }
    }

    fn fate_of_push(&mut self) -> Fate {
        if self.delivery.verdict != PushResult::Accepted {
            return Fate::Refused(self.delivery.verdict);
        }
        let copies = if self.entropy.below(100) < self.delivery.loss {
            0
        } else if self.entropy.below(100) < self.delivery.double {
            2
        } else {
            1
        };
        let once = |_| self.delivery.delay + self.entropy.between(Duration::ZERO, self.delivery.jitter);
        Fate::Delivered((0..copies).map(once).collect())
    }
}
