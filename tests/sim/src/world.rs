//! The world: a queue of happenings on one virtual clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use wakeline_clock::{Time, WallTime, earliest};
use wakeline_entropy::Entropy;
use wakeline_flow::FlowId;
use wakeline_push::WakeId;
use wakeline_registrar::{Config, PushKey, PushRequest, PushResult};
use wakeline_sip_message::Name;
use wakeline_user_agent::{CallPhase, Command, RegistrationPhase, Snapshot};

use crate::broken::Broken;
use crate::gateway::{Gateway, Kept, Standing, gateway_config};
use crate::network::{Link, Seen, Weather};
use crate::nodes::{NodeEnd, NodeNews};
use crate::phone::{Life, Pace, SimPhone};
use crate::push::Delivery;
use crate::script::Script;
use crate::watch::Watch;

/// The wall clock at the start.
const WALL: u64 = 1_800_000_000_000;
/// The monotonic clock at the start: no machine may take zero for "never".
const START: u64 = 1_000_000;
/// Outputs of one machine that follow one another without time passing: more is a loop.
pub(crate) const MOST_STEPS: usize = 100_000;
/// Moments at which time does not pass: more is a loop.
const MOST_MOMENTS: u32 = 5_000;

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
    /// The push service has done with a request of this life of the gateway.
    PushDone(u32, PushKey, PushResult),
    /// A push reaches a phone's system, which starts the app when it is not running.
    PushDelivered(String, String),
    /// The app that a push started takes it.
    PushTaken(usize, String),
    /// A person or shell wants something.
    Wish(usize, Command),
    /// A person wants something of the latest call that it can be done to.
    Whim(usize, Whim),
    /// A process is killed; the network is told by a reset, or not at all.
    Kill(usize, bool),
    /// A process is started and its app opened.
    Start(usize),
    /// The system stops a process, or lets it run again.
    Freeze(usize),
    /// See [`Happening::Freeze`].
    Thaw(usize),
    /// A phone's paths fall silent without anybody being told.
    Silence(usize),
    /// The NAT of a phone gives it another port without notice; streams fall silent.
    Rebind(usize),
    /// A phone loses its network and knows it.
    Offline(usize),
    /// A phone is in another network and knows it.
    Moved(usize),
    /// A phone's token is another one.
    Token(usize, String),
    /// The gateway is killed and comes back.
    RestartGateway,
    /// A node is killed.
    KillNode(usize),
    /// It comes back, if it was.
    StartNode(usize),
    /// Something between nodes.
    Nodes(NodeNews),
    /// Some time has passed since a call ended or a phone came back: nobody who can know may still ring for a dead call.
    Check,
}

/// What a person does with whatever call there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whim {
    /// Answers what rings or is announced.
    Answer,
    /// Declines what rings or is announced.
    Decline,
    /// Is busy for what rings.
    Busy,
    /// Silences what rings.
    Ignore,
    /// Holds what is established.
    Hold(bool),
    /// Ends the latest call, whatever it does.
    Hangup,
}

/// What the registrar is made to answer to a REGISTER, in place of what it would.
#[derive(Clone, Debug)]
pub struct Scripted {
    /// The code; zero for silence.
    pub code: u16,
    /// Header lines.
    pub headers: Vec<(Name, String)>,
}

/// The whole simulated world.
pub struct World {
    /// The moment.
    pub now: Time,
    /// The phones.
    pub phones: Vec<SimPhone>,
    /// Scripted peers.
    pub scripts: Vec<Script>,
    /// Between phones and gateway.
    pub weather: Weather,
    /// The push service.
    pub delivery: Delivery,
    /// Whether new connections are refused (the network is there, the gateway is not).
    pub unreachable: bool,
    /// What the next REGISTERs are answered, in place of the registrar's word.
    pub registers: VecDeque<Scripted>,
    /// What does not work as it should: the rules must notice.
    pub broken: Option<Broken>,
    /// Whether [`World::wire`], [`World::pushes`] and what phones tell is kept.
    pub recording: bool,
    /// Everything that happened, as text, when it is wanted.
    pub timeline: Option<Vec<String>>,
    /// One, or the nodes of one.
    pub(crate) gateways: Vec<Gateway>,
    pub(crate) kept: Kept,
    /// How long what a node stores, or sends another one, is under way.
    pub(crate) news: Duration,
    /// The connections between nodes, by the names that their ends have for them.
    pub(crate) node_flows: BTreeMap<(usize, FlowId), NodeEnd>,
    /// At which node a call came in last.
    pub(crate) owners: BTreeMap<WakeId, usize>,
    pub(crate) links: Vec<Link>,
    pub(crate) by_phone_flow: BTreeMap<(usize, u32, FlowId), usize>,
    pub(crate) by_gateway_flow: BTreeMap<FlowId, usize>,
    pub(crate) next_gateway_flow: u64,
    /// When the last bytes of a stream arrive, per link and direction: streams keep their order.
    pub(crate) horizon: BTreeMap<(usize, bool), Time>,
    /// What waits for a frozen phone, in order.
    pub(crate) waiting: BTreeMap<usize, Vec<Happening>>,
    queue: BTreeMap<(Time, u64), Happening>,
    next: u64,
    moments: u32,
    pub(crate) entropy: Entropy,
    pub(crate) watch: Watch,
    /// Everything that travelled, with the time: for checks of the wire.
    pub wire: Vec<Seen>,
    /// Pushes asked for.
    pub pushes: Vec<(Time, PushRequest)>,
}

impl World {
    /// A world of these phones, none of them running.
    pub fn new(seed: u64, phones: Vec<SimPhone>) -> World {
        World::with(seed, phones, gateway_config())
    }

    /// A world whose gateway is configured so.
    pub fn with(seed: u64, phones: Vec<SimPhone>, config: Config) -> World {
        World::of(seed, phones, config, &[None])
    }

    /// A world whose gateway is two nodes that tell each other everything after `news`.
    pub fn pair(seed: u64, phones: Vec<SimPhone>, config: Config, news: Duration) -> World {
        let mut world = World::of(seed, phones, config, &[Some(0), Some(1)]);
        world.news = news;
        for node in [0, 1] {
            world.happen(Happening::Nodes(NodeNews::Judge(node)));
        }
        world
    }

    fn of(seed: u64, phones: Vec<SimPhone>, config: Config, nodes: &[Option<usize>]) -> World {
        let mut entropy = Entropy::from_number(seed);
        let now = Time::from_millis(START);
        let mut users: Vec<String> = phones.iter().flat_map(SimPhone::users).collect();
        users.sort();
        users.dedup();
        let gateways = nodes.iter().map(|node| {
            Gateway::new(config.clone(), &users, seed_of(&mut entropy), now, WallTime(WALL), *node)
        });
        let gateways = gateways.collect();
        World {
            now,
            phones,
            scripts: Vec::new(),
            weather: Weather::default(),
            delivery: Delivery::default(),
            unreachable: false,
            registers: VecDeque::new(),
            broken: None,
            recording: true,
            timeline: None,
            gateways,
            kept: Kept::default(),
            news: Duration::ZERO,
            node_flows: BTreeMap::new(),
            owners: BTreeMap::new(),
            links: Vec::new(),
            by_phone_flow: BTreeMap::new(),
            by_gateway_flow: BTreeMap::new(),
            next_gateway_flow: 1_000_000,
            horizon: BTreeMap::new(),
            waiting: BTreeMap::new(),
            queue: BTreeMap::new(),
            next: 0,
            moments: 0,
            entropy,
            watch: Watch::default(),
            wire: Vec::new(),
            pushes: Vec::new(),
        }
    }

    /// The wall clock of the gateway.
    pub fn wall(&self) -> WallTime {
        WallTime(WALL + self.now.as_millis() - START)
    }

    /// Lets something happen after a while.
    pub fn after(&mut self, span: Duration, happening: Happening) {
        self.at(self.now + span, happening);
    }

    pub(crate) fn at(&mut self, when: Time, happening: Happening) {
        self.next += 1;
        self.queue.insert((when, self.next), happening);
    }

    /// Anything, now.
    pub fn happens(&mut self, happening: Happening) {
        self.happen(happening);
    }

    /// A wish, now.
    pub fn wish(&mut self, phone: usize, command: Command) {
        self.happen(Happening::Wish(phone, command));
    }

    /// A whim, now.
    pub fn whim(&mut self, phone: usize, whim: Whim) {
        self.happen(Happening::Whim(phone, whim));
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
        let mut next = self.queue.first_key_value().map(|((when, _), _)| *when);
        for node in self.gateways.iter_mut().filter(|node| node.standing == Standing::Up) {
            next = earliest(next, node.registrar.poll_timeout());
        }
        for phone in &mut self.phones {
            next = earliest(next, phone.due());
        }
        let Some(next) = next.filter(|next| *next <= end) else { return false };
        if next > self.now {
            self.now = next;
            self.moments = 0;
        }
        self.moments += 1;
        if self.moments > MOST_MOMENTS {
            self.watch.violated(self.now, "time stands still: a timer is due that nobody serves");
            return false;
        }
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let happening = entry.remove();
            self.happen(happening);
        }
        let (now, wall) = (self.now, self.wall());
        self.watch.tick(now);
        for node in 0..self.gateways.len() {
            if self.gateways[node].standing == Standing::Up
                && self.gateways[node].registrar.poll_timeout().is_some_and(|due| due <= now)
                && !self.sleeps_through_timers()
            {
                self.gateways[node].registrar.handle_timeout(now, wall);
                self.settle_gateway(node);
            }
        }
        for phone in 0..self.phones.len() {
            if self.phones[phone].due().is_some_and(|due| due <= now) {
                if let Some(agent) = self.phones[phone].agent() {
                    agent.handle_timeout(now);
                }
                self.settle_phone(phone);
            }
        }
        true
    }

    pub(crate) fn happen(&mut self, happening: Happening) {
        if self.timeline.is_some() {
            self.note_happening(&happening);
        }
        let (now, wall) = (self.now, self.wall());
        match happening {
            Happening::ToGateway(link, bytes) => self.reach_gateway(link, bytes),
            Happening::ToPhone(_, _) | Happening::Opened(_) | Happening::Refused(_) => {
                self.reach_phone(happening)
            }
            Happening::LostByPhone(_) => self.reach_phone(happening),
            Happening::LostByGateway(link) => self.lost_by_gateway(link),
            Happening::PushDone(life, key, result) => {
                let alive = |node: &Gateway| node.lives == life && node.standing == Standing::Up;
                if let Some(node) = self.gateways.iter().position(alive) {
                    self.gateways[node].registrar.handle_push_result(now, wall, key, result);
                    self.settle_gateway(node);
                }
            }
            Happening::PushDelivered(token, payload) => self.push_delivered(&token, payload),
            Happening::PushTaken(phone, payload) => self.push_taken(phone, payload),
            Happening::Wish(phone, command) => self.command(phone, command),
            Happening::Whim(phone, whim) => self.have_whim(phone, whim),
            Happening::Kill(phone, told) => self.kill(phone, told),
            Happening::Start(phone) => {
                if !self.phones[phone].is_running() {
                    self.start(phone);
                    self.command(phone, Command::Start);
                }
            }
            Happening::Freeze(phone) => {
                self.phones[phone].pace = Pace::Frozen;
                self.watch.answers.disturbed(self.now, Some(phone));
                self.watch.summonses.excused(phone);
            }
            Happening::Thaw(phone) => self.thaw(phone),
            Happening::Silence(phone) => self.silence(phone),
            Happening::Rebind(phone) => self.rebind(phone),
            Happening::Offline(phone) => self.go_offline(phone),
            Happening::Moved(phone) => self.move_network(phone),
            Happening::Token(phone, token) => {
                self.phones[phone].token = Some(token);
                self.hand_token(phone);
            }
            Happening::RestartGateway => {
                self.kill_node(0);
                self.start_node(0);
            }
            Happening::KillNode(node) => self.kill_node(node),
            Happening::StartNode(node) => self.start_node(node),
            Happening::Nodes(news) => self.node_news(news),
            Happening::Check => self.check_ghosts(),
        }
    }

    // ---- views -----------------------------------------------------------------------------------------------

    /// What did not hold so far.
    pub fn violations(&self) -> &[String] {
        &self.watch.violations
    }

    /// How many of everything the gateway holds.
    pub fn gateway_gauges(&self) -> wakeline_registrar::Gauges {
        self.gateways[0].registrar.gauges()
    }

    /// How often the gateway's trace has this leg.
    pub fn legs(&self, wanted: impl Fn(&wakeline_registrar::Leg) -> bool) -> usize {
        self.gateways.iter().map(|node| node.count(&wanted)).sum()
    }

    /// What a running phone holds.
    pub fn snapshot(&self, phone: usize) -> Option<Snapshot> {
        match &self.phones[phone].life {
            Life::Killed => None,
            Life::Running(agent) => Some(agent.snapshot()),
        }
    }

    /// Whether a phone is registered with every account.
    pub fn is_registered(&self, phone: usize) -> bool {
        self.snapshot(phone).is_some_and(|snapshot| {
            snapshot.registrations.iter().all(|account| account.phase == RegistrationPhase::Registered)
        })
    }

    /// Whether a phone has a call in this phase.
    pub fn has_call(&self, phone: usize, phase: CallPhase) -> bool {
        self.phones[phone].call_in(phase).is_some()
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now.as_millis() - START;
        if let Some(timeline) = &mut self.timeline {
            timeline.push(format!("{now:>9} {}", what()));
        }
    }

    fn note_happening(&mut self, happening: &Happening) {
        match happening {
            // Messages are noted when they leave.
            Happening::ToGateway(..) | Happening::ToPhone(..) => {}
            Happening::PushDelivered(..)
            | Happening::PushTaken(..)
            | Happening::Opened(_)
            | Happening::Refused(_)
            | Happening::LostByGateway(_)
            | Happening::LostByPhone(_)
            | Happening::PushDone(..)
            | Happening::Wish(..)
            | Happening::Whim(..)
            | Happening::Kill(..)
            | Happening::Start(_)
            | Happening::Freeze(_)
            | Happening::Thaw(_)
            | Happening::Silence(_)
            | Happening::Rebind(_)
            | Happening::Offline(_)
            | Happening::Moved(_)
            | Happening::Token(..)
            | Happening::RestartGateway
            | Happening::KillNode(_)
            | Happening::StartNode(_)
            | Happening::Nodes(_)
            | Happening::Check => {
                let text = format!("* {happening:?}");
                self.note(|| text);
            }
        }
    }
}

pub(crate) fn seed_of(entropy: &mut Entropy) -> [u8; 32] {
    let mut seed = [0; 32];
    entropy.fill(&mut seed);
    seed
}
