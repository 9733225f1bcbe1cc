//! The world: a queue of happenings on one virtual clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use wakeline_clock::{Time, WallTime, earliest};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Received, Transport};
use wakeline_push::{Payload, WakeId};
use wakeline_registrar::{Output as GatewayOutput, PushKey, PushPurpose, PushRequest, PushResult};
use wakeline_user_agent::{CallPhase, Command, Event, FlowFailure, Input, Output, Snapshot};

use crate::gateway::Gateway;
use crate::network::{Link, LinkState, Weather};
use crate::phone::{Life, SimPhone, media};
use crate::push::Delivery;

/// Where the gateway listens.
const GATEWAY: ([u8; 4], u16) = ([192, 0, 2, 1], 5060);
/// The wall clock at the start.
const WALL: u64 = 1_800_000_000_000;
/// Calls of one machine that follow one another without time passing: more is a loop.
const MOST_STEPS: usize = 100_000;

/// Something that happens at a moment.
#[derive(Clone, Debug)]
pub enum Happening {
    /// Bytes reach the gateway on this link.
    ToGateway(usize, Bytes),
    /// Bytes reach the phone on this link.
    ToPhone(usize, Bytes),
    /// A phone's connection stands.
    Opened(usize),
    /// A phone's connection could not be made.
    Refused(usize),
    /// The gateway learns that a link is gone.
    LostByGateway(usize),
    /// The phone learns that a link is gone.
    LostByPhone(usize),
    /// The push service has done with a request.
    PushDone(PushKey, PushResult),
    /// A push reaches a phone's system, which starts the app when it is not running.
    PushDelivered(String, String),
    /// The app that a push started takes it.
    PushTaken(usize, String),
    /// A person or shell wants something.
    Wish(usize, Command),
    /// A process is killed; the network is told by a reset, or not at all.
    Kill(usize, bool),
    /// A process is started and its app opened.
    Start(usize),
    /// The gateway is killed and comes back.
    RestartGateway,
}

/// The whole simulated world.
pub struct World {
    /// The moment.
    pub now: Time,
    /// The phones.
    pub phones: Vec<SimPhone>,
    /// Between phones and gateway.
    pub weather: Weather,
    /// The push service.
    pub delivery: Delivery,
    /// Whether new connections are refused (the network is there, the gateway is not).
    pub unreachable: bool,
    gateway: Gateway,
    links: Vec<Link>,
    /// When the last bytes of a stream arrive, per link and direction: streams keep their order.
    horizon: BTreeMap<(usize, bool), Time>,
    queue: BTreeMap<(Time, u64), Happening>,
    next: u64,
    entropy: Entropy,
    /// Everything that travelled, with the time: for checks of the wire.
    pub wire: Vec<(Time, Bytes)>,
    /// Pushes asked for.
    pub pushes: Vec<(Time, PushRequest)>,
}

impl World {
    /// A world of these phones, none of them running.
    pub fn new(seed: u64, phones: Vec<SimPhone>) -> World {
        let mut entropy = Entropy::from_number(seed);
        // No machine may take zero for "never".
        let now = Time::from_millis(1_000_000);
        let users: Vec<String> = phones.iter().map(|phone| phone.user.clone()).collect();
        let gateway = Gateway::new(&users, seed_of(&mut entropy), now, WallTime(WALL));
        World {
            now,
            phones,
            weather: Weather::default(),
            delivery: Delivery::default(),
            unreachable: false,
            gateway,
            links: Vec::new(),
            horizon: BTreeMap::new(),
            queue: BTreeMap::new(),
            next: 0,
            entropy,
            wire: Vec::new(),
            pushes: Vec::new(),
        }
    }

    /// The wall clock.
    pub fn wall(&self) -> WallTime {
        WallTime(WALL + self.now.as_millis() - 1_000_000)
    }

    /// Lets something happen after a while.
    pub fn after(&mut self, span: Duration, happening: Happening) {
        self.at(self.now + span, happening);
    }

    fn at(&mut self, when: Time, happening: Happening) {
        self.next += 1;
        self.queue.insert((when, self.next), happening);
    }

    /// A wish, now.
    pub fn wish(&mut self, phone: usize, command: Command) {
        self.happen(Happening::Wish(phone, command));
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    /// Lets time pass until it is so; false when the span is over first.
    pub fn run_until(&mut self, span: Duration, mut so: impl FnMut(&World) -> bool) -> bool {
        let end = self.now + span;
        loop {
            if so(self) {
                return true;
            }
            if !self.step(end) {
                self.now = end;
                return so(self);
            }
        }
    }

    /// Goes to the next moment at which anything happens; false when that is later than `end`.
    fn step(&mut self, end: Time) -> bool {
        let mut next = self.queue.keys().next().map(|(when, _)| *when);
        next = earliest(next, self.gateway.registrar.poll_timeout());
        for phone in &mut self.phones {
            if let Life::Running(agent) = &phone.life {
                next = earliest(next, agent.poll_timeout());
            }
        }
        let Some(next) = next.filter(|next| *next <= end) else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let happening = entry.remove();
            self.happen(happening);
        }
        let (now, wall) = (self.now, self.wall());
        if self.gateway.registrar.poll_timeout().is_some_and(|due| due <= now) {
            self.gateway.registrar.handle_timeout(now, wall);
            self.settle_gateway();
        }
        for phone in 0..self.phones.len() {
            let due = match &self.phones[phone].life {
                Life::Running(agent) => agent.poll_timeout().is_some_and(|due| due <= now),
                Life::Killed => false,
            };
            if due {
                if let Some(agent) = self.phones[phone].agent() {
                    agent.handle_timeout(now);
                }
                self.settle_phone(phone);
            }
        }
        true
    }

    fn happen(&mut self, happening: Happening) {
        let (now, wall) = (self.now, self.wall());
        match happening {
            Happening::ToGateway(link, bytes) => {
                if self.links[link].state == LinkState::Up {
                    let flow = self.gateway_info(link);
                    if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
                        self.gateway.registrar.handle_flow_alive(now, flow.id);
                    } else {
                        self.gateway.registrar.handle_received(now, wall, Received { flow, bytes });
                    }
                    self.settle_gateway();
                }
            }
            Happening::ToPhone(link, bytes) => {
                self.to_phone(link, |flow| Input::Received(Received { flow, bytes }))
            }
            Happening::Opened(link) => self.to_phone(link, Input::Opened),
            Happening::Refused(link) => {
                self.links[link].state = LinkState::Closed;
                let flow = self.links[link].phone_flow;
                self.tell_phone(link, Input::Closed { flow, failure: FlowFailure::Unreachable });
            }
            Happening::LostByGateway(link) => {
                let flow = self.links[link].gateway_flow;
                self.gateway.registrar.handle_flow_closed(now, wall, flow);
                self.settle_gateway();
            }
            Happening::LostByPhone(link) => {
                let flow = self.links[link].phone_flow;
                self.tell_phone(link, Input::Closed { flow, failure: FlowFailure::ClosedByPeer });
            }
            Happening::PushDone(key, result) => {
                self.gateway.registrar.handle_push_result(now, wall, key, result);
                self.settle_gateway();
            }
            Happening::PushDelivered(token, payload) => {
                let Some(phone) = self.phones.iter().position(|phone| phone.token.as_ref() == Some(&token))
                else {
                    return;
                };
                match self.phones[phone].life {
                    Life::Running(_) => self.happen(Happening::PushTaken(phone, payload)),
                    Life::Killed => {
                        self.after(self.delivery.process_start, Happening::PushTaken(phone, payload))
                    }
                }
            }
            Happening::PushTaken(phone, payload) => {
                if matches!(self.phones[phone].life, Life::Killed) {
                    self.start(phone);
                }
                self.command(phone, Command::PushReceived { payload });
            }
            Happening::Wish(phone, command) => self.command(phone, command),
            Happening::Kill(phone, told) => self.kill(phone, told),
            Happening::Start(phone) => {
                if matches!(self.phones[phone].life, Life::Killed) {
                    self.start(phone);
                    self.command(phone, Command::Start);
                }
            }
            Happening::RestartGateway => self.restart_gateway(),
        }
    }

    // ---- phones ----------------------------------------------------------------------------------------------

    /// Starts a phone's process and hands it its token, as a shell does.
    pub fn start(&mut self, phone: usize) {
        let (now, wall, seed) = (self.now, self.wall(), seed_of(&mut self.entropy));
        self.phones[phone].start(seed, now, wall);
        if let Some(token) = self.phones[phone].token.clone() {
            let (provider, param) = ("fcm".into(), "sim-project".into());
            self.command(phone, Command::SetPushToken { provider, param, prid: token.into() });
        }
    }

    fn command(&mut self, phone: usize, command: Command) {
        let now = self.now;
        if let Some(agent) = self.phones[phone].agent() {
            agent.handle_command(now, command);
            self.settle_phone(phone);
        }
    }

    /// Kills a phone's process; its connections are reset, or just fall silent.
    pub fn kill(&mut self, phone: usize, told: bool) {
        self.phones[phone].life = Life::Killed;
        for link in 0..self.links.len() {
            if self.links[link].phone == phone && self.links[link].state == LinkState::Up {
                if told && self.links[link].transport.is_reliable() {
                    self.links[link].state = LinkState::Closed;
                    self.after(self.weather.delay, Happening::LostByGateway(link));
                } else {
                    self.links[link].state = LinkState::Silent;
                }
            }
        }
    }

    /// The flows of a phone fall silent: nobody is told.
    pub fn silence(&mut self, phone: usize) {
        for link in self.links.iter_mut().filter(|link| link.phone == phone && link.state == LinkState::Up) {
            link.state = LinkState::Silent;
        }
    }

    fn to_phone(&mut self, link: usize, input: impl FnOnce(FlowInfo) -> Input) {
        if self.links[link].state != LinkState::Up {
            return;
        }
        let Link { phone_flow, transport, local, .. } = self.links[link].clone();
        let info = FlowInfo { id: phone_flow, transport, local, remote: SocketAddr::from(GATEWAY) };
        self.tell_phone(link, input(info));
    }

    fn tell_phone(&mut self, link: usize, input: Input) {
        let Link { phone, life, .. } = self.links[link];
        let now = self.now;
        if self.phones[phone].lives == life
            && let Some(agent) = self.phones[phone].agent()
        {
            agent.handle_input(now, input);
            self.settle_phone(phone);
        }
    }

    fn settle_phone(&mut self, phone: usize) {
        for _ in 0..MOST_STEPS {
            let Some(agent) = self.phones[phone].agent() else { return };
            if let Some(output) = agent.poll_output() {
                self.phone_output(phone, output);
            } else if let Some(event) = agent.poll_event() {
                self.phone_event(phone, event);
            } else {
                return;
            }
        }
        unreachable!("a phone never comes to rest: {:?}", self.phones[phone].user);
    }

    fn phone_event(&mut self, phone: usize, event: Event) {
        let now = self.now;
        let answers = self.phones[phone].answers;
        if let Event::Rings(snapshot) = &event
            && answers
        {
            let command = Command::Answer { call: snapshot.call };
            self.after(Duration::from_millis(300), Happening::Wish(phone, command));
        }
        self.phones[phone].told.push((now, event));
    }

    fn phone_output(&mut self, phone: usize, output: Output) {
        let now = self.now;
        match output {
            Output::Open { flow, hop } => {
                let port = 10_000 + u16::try_from(self.links.len() % 50_000).unwrap_or(0);
                let local = SocketAddr::from(([10, 0, u8::try_from(phone).unwrap_or(255), 2], port));
                let gateway_flow = FlowId(1_000_000 + self.links.len() as u64);
                let life = self.phones[phone].lives;
                let state = LinkState::Up;
                self.links.push(Link {
                    phone,
                    life,
                    phone_flow: flow,
                    gateway_flow,
                    transport: hop.transport,
                    local,
                    seen_as: local,
                    state,
                });
                let link = self.links.len() - 1;
                // A datagram flow is open at once; a stream costs a round trip, TLS one more.
                let trips = match hop.transport {
                    Transport::Udp => 0,
                    Transport::Tcp | Transport::Ws => 2,
                    Transport::Tls | Transport::Wss => 4,
                };
                let happening =
                    if self.unreachable { Happening::Refused(link) } else { Happening::Opened(link) };
                self.after(self.weather.delay * trips, happening);
            }
            Output::Send(transmit) => {
                let life = self.phones[phone].lives;
                let mine = |link: &Link| {
                    link.phone == phone && link.life == life && link.phone_flow == transmit.flow
                };
                if let Some(link) = self.links.iter().position(mine) {
                    self.carry(link, true, transmit.bytes);
                }
            }
            Output::Close(flow) => {
                let life = self.phones[phone].lives;
                let mine = |link: &Link| link.phone == phone && link.life == life && link.phone_flow == flow;
                if let Some(link) = self.links.iter().position(mine)
                    && self.links[link].state == LinkState::Up
                {
                    let last =
                        self.horizon.get(&(link, true)).copied().unwrap_or(now).max(now + self.weather.delay);
                    if self.links[link].transport.is_reliable() {
                        self.at(last, Happening::LostByGateway(link));
                    }
                    // What is on its way still arrives; nothing comes back.
                    self.after(last.since(now), Happening::LostByPhone(link));
                }
            }
            Output::Resolve(question) => {
                let outcome = Err(wakeline_sip_resolve::LookupFailure::NotFound);
                let answer = wakeline_sip_resolve::Answer { question, outcome };
                if let Some(agent) = self.phones[phone].agent() {
                    agent.handle_input(now, Input::Resolved(answer));
                }
            }
            Output::Media { call, request } => {
                for input in media(call, &request) {
                    if let Some(agent) = self.phones[phone].agent() {
                        agent.handle_input(now, input);
                    }
                }
            }
            Output::Remember { key, record } => {
                if record.is_empty() {
                    self.phones[phone].memory.remove(&key);
                } else {
                    self.phones[phone].memory.insert(key, record);
                }
            }
        }
    }

    // ---- the wire --------------------------------------------------------------------------------------------

    fn carry(&mut self, link: usize, to_gateway: bool, bytes: Bytes) {
        self.wire.push((self.now, bytes.clone()));
        if self.links[link].state != LinkState::Up {
            return;
        }
        let transport = self.links[link].transport;
        for delay in self.weather.arrivals(transport, &mut self.entropy) {
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

    fn gateway_info(&self, link: usize) -> FlowInfo {
        let Link { gateway_flow, transport, seen_as, .. } = self.links[link].clone();
        FlowInfo { id: gateway_flow, transport, local: SocketAddr::from(GATEWAY), remote: seen_as }
    }

    // ---- the gateway -----------------------------------------------------------------------------------------

    fn settle_gateway(&mut self) {
        for _ in 0..MOST_STEPS {
            let Some(output) = self.gateway.registrar.poll_output() else { return };
            match output {
                GatewayOutput::Transmit(transmit) => {
                    if let Some(link) = self.links.iter().position(|link| link.gateway_flow == transmit.flow)
                    {
                        self.carry(link, false, transmit.bytes);
                    }
                }
                GatewayOutput::CloseFlow(flow) => {
                    if let Some(link) = self.links.iter().position(|link| link.gateway_flow == flow) {
                        self.after(self.weather.delay, Happening::LostByPhone(link));
                    }
                }
                GatewayOutput::Push(request) => self.push(*request),
                GatewayOutput::CancelPush(_) => {}
                GatewayOutput::Persist(change) => self.gateway.persist(*change),
                GatewayOutput::Trace(trace) => self.gateway.traces.push(trace),
            }
        }
        unreachable!("the gateway never comes to rest");
    }

    fn push(&mut self, request: PushRequest) {
        let key = request.key;
        self.after(Duration::from_millis(40), Happening::PushDone(key, self.delivery.verdict));
        if self.delivery.verdict == PushResult::Accepted && self.entropy.below(100) >= self.delivery.loss {
            let payload = payload_of(&request);
            let copies = if self.entropy.below(100) < self.delivery.double { 2 } else { 1 };
            for _ in 0..copies {
                let delay = self.delivery.delay + self.entropy.between(Duration::ZERO, self.delivery.jitter);
                let token = request.target.prid.expose().to_owned();
                self.after(delay, Happening::PushDelivered(token, payload.clone()));
            }
        }
        self.pushes.push((self.now, request));
    }

    fn restart_gateway(&mut self) {
        let (now, wall, seed) = (self.now, self.wall(), seed_of(&mut self.entropy));
        self.gateway.restart(seed, now, wall);
        for link in 0..self.links.len() {
            if self.links[link].state == LinkState::Up && self.links[link].transport.is_reliable() {
                self.after(self.weather.delay, Happening::LostByPhone(link));
            }
        }
        self.settle_gateway();
    }

    // ---- views -----------------------------------------------------------------------------------------------

    /// How many of everything the gateway holds.
    pub fn gateway_gauges(&self) -> wakeline_registrar::Gauges {
        self.gateway.registrar.gauges()
    }

    /// How often the gateway's trace has this leg.
    pub fn legs(&self, wanted: impl Fn(&wakeline_registrar::Leg) -> bool) -> usize {
        self.gateway.count(wanted)
    }

    /// What a running phone holds.
    pub fn snapshot(&self, phone: usize) -> Option<Snapshot> {
        match &self.phones[phone].life {
            Life::Killed => None,
            Life::Running(agent) => Some(agent.snapshot()),
        }
    }

    /// Whether a phone is registered.
    pub fn is_registered(&self, phone: usize) -> bool {
        self.snapshot(phone).is_some_and(|snapshot| {
            snapshot
                .registrations
                .iter()
                .all(|r| r.phase == wakeline_user_agent::RegistrationPhase::Registered)
        })
    }

    /// Whether a phone has a call in this phase.
    pub fn has_call(&self, phone: usize, phase: CallPhase) -> bool {
        self.phones[phone].call_in(phase).is_some()
    }
}

fn seed_of(entropy: &mut Entropy) -> [u8; 32] {
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    seed
}

/// The payload that the gateway's sender would make of a request.
fn payload_of(request: &PushRequest) -> String {
    let ttl = u32::try_from(request.hold.as_secs()).unwrap_or(0);
    let call = |wake: &WakeId| Payload::call(*wake, request.asked_at.0, ttl).to_json();
    match &request.purpose {
        PushPurpose::Call { wake, .. } => call(wake),
        PushPurpose::Request { .. } | PushPurpose::Refresh => Payload::refresh(request.asked_at.0).to_json(),
    }
}
