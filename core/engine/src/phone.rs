//! The phone's one loop, on a thread of its own.
//!
//! Everything that happens (commands, network facts, DNS answers, timers, the media clock) comes together here, is handed
//! to the user agent, and what it wants done is done. Nothing else holds state of a call.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, oneshot};
use wakeline_clock::{Time, earliest, system};
use wakeline_entropy::Entropy;
use wakeline_settings::Settings;
use wakeline_user_agent::{AccountId, Command, Configuration, Event, Input, Output, Snapshot, UserAgent};

use crate::alarm::Alarm;
use crate::audio::AudioChoice;
use crate::dns::Resolver;
use crate::media::{Quality, Sessions};
use crate::net::{Binding, Network, Place, Trust};
use crate::provider::Provider;
use crate::rest;
use crate::store::Store;
use crate::wire_log::{self, Direction};

/// Facts that may wait for the loop; the network's tasks wait when it is full.
const FACTS: usize = 1024;
/// Events that may wait for whoever reads them. A reader that sleeps longer loses events, never state: it can ask for the
/// snapshot.
const EVENTS: usize = 4096;
/// How long the last messages may take when the phone stops.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long nothing must be under way before the memory that a start or a call needed is given back.
const QUIET: Duration = Duration::from_secs(1);

/// What a phone is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The accounts, each described by webphone parameters.
    pub accounts: Vec<Settings>,
    /// Where to remember nonces, bindings and identities between starts; nothing is remembered when absent.
    pub state: Option<PathBuf>,
    /// Microphone and loudspeaker.
    pub audio: AudioChoice,
    /// Whom to trust over TLS. With [`Trust::System`] each account's `tlspin` or `tlsroots` decides, where it has one.
    pub trust: Trust,
    /// Name servers to ask; the system's when empty.
    pub name_servers: Vec<SocketAddr>,
}

/// Why a phone did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state folder cannot be used.
    #[error("the state folder {path} cannot be used: {cause}", path = .0.display(), cause = .1)]
    State(PathBuf, std::io::Error),
    /// The operating system gave no thread, event loop or randomness.
    #[error("the operating system refuses: {0}")]
    System(String),
    /// The settings cannot work.
    #[error("{0}")]
    Settings(String),
}

/// An event and when it happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TimedEvent {
    /// Microseconds on the clock that counts suspension: comparable between processes of one machine.
    pub at_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// The phone's inside at one moment.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// The user agent's state.
    pub snapshot: Snapshot,
    /// How each call with media sounds.
    pub quality: Vec<Quality>,
    /// Open sockets, media's included.
    pub sockets: usize,
    /// Tasks of the event loop.
    pub tasks: usize,
    /// Resident memory in KiB, where the system tells.
    pub rss_kib: Option<u64>,
    /// How often the loop woke up since it started.
    pub wake_ups: u64,
    /// How often memory was given back to the system, at rest.
    pub given_back: u64,
}

enum Request {
    Command(Command),
    Stats(oneshot::Sender<Stats>),
}

/// A running phone.
pub struct Phone {
    requests: mpsc::UnboundedSender<Request>,
    events: mpsc::Receiver<TimedEvent>,
    thread: JoinHandle<()>,
}

impl Phone {
    /// Starts the loop. Nothing is sent before [`Command::Start`].
    pub fn start(options: Options) -> Result<Phone, StartError> {
        let places = |accounts: &[Settings]| {
            let places = accounts.iter().map(|account| place(account, &options.trust));
            places.collect::<Result<Vec<Place>, String>>().map_err(StartError::Settings)
        };
        // Whom a provider is asked under is not its own to say.
        let trusts = places(&options.accounts)?.into_iter().map(|place| place.trust).collect();
        let (store, memory) = Store::open(options.state.clone())
            .map_err(|error| StartError::State(options.state.clone().unwrap_or_default(), error))?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| StartError::System(error.to_string()))?;
        let mut entropy = Entropy::from_seed(seed);
        entropy.fill(&mut seed);
        let configuration = Configuration { accounts: options.accounts.clone(), memory };
        let agent = UserAgent::new(configuration, seed, system::now(), system::wall())
            .map_err(|error| StartError::Settings(error.to_string()))?;
        let places = places(&accounts_of(&agent, options.accounts.len()))?;
        let (requests, inbox) = mpsc::unbounded_channel();
        let (outbox, events) = mpsc::channel(EVENTS);
        let (told, outcome) = std::sync::mpsc::sync_channel(1);
        let work = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build_local(LocalOptions::default())
            {
                Ok(runtime) => runtime,
                Err(error) => {
                    // Whoever starts us waits for this.
                    let _ = told.send(Err(error));
                    return;
                }
            };
            let _ = told.send(Ok(()));
            runtime.block_on(async {
                let work = Loop::new(options, (places, trusts), agent, store, entropy, inbox, outbox).run();
                // As a task of its own: the runtime wakes the future of `block_on` through a file descriptor, even on
                // its own thread, and that is one system call and one more turn of the poll for every 20 ms of a call.
                // A panic has been printed already.
                let _ = tokio::task::spawn_local(work).await;
            });
        };
        let refused = |error: std::io::Error| StartError::System(error.to_string());
        let thread =
            std::thread::Builder::new().name("wakeline-phone".into()).spawn(work).map_err(refused)?;
        match outcome.recv() {
            Ok(Ok(())) => Ok(Phone { requests, events, thread }),
            Ok(Err(error)) => Err(refused(error)),
            Err(_) => Err(StartError::System("the phone's thread ended at once".into())),
        }
    }

    /// Asks for something; what comes of it is told by events.
    pub fn command(&self, command: Command) {
        // A loop that has ended has told so by closing the events.
        let _ = self.requests.send(Request::Command(command));
    }

    /// The next event; `None` when the phone has stopped.
    pub async fn event(&mut self) -> Option<TimedEvent> {
        self.events.recv().await
    }

    /// The phone's inside now; `None` when it has stopped.
    pub async fn stats(&self) -> Option<Stats> {
        let (ask, answer) = oneshot::channel();
        self.requests.send(Request::Stats(ask)).ok()?;
        answer.await.ok()
    }

    /// Asks for the stats in a way that needs no borrow of the phone while waiting.
    pub fn ask_stats(&self) -> impl Future<Output = Option<Stats>> + use<> {
        let (ask, answer) = oneshot::channel();
        let sent = self.requests.send(Request::Stats(ask)).is_ok();
        async move { if sent { answer.await.ok() } else { None } }
    }

    /// Stops in good order (calls ended, unregistered by the account's wish) and waits for it.
    pub fn stop(self) {
        self.command(Command::Stop);
        drop(self.requests);
        // A panic of the loop has been printed by its thread.
        let _ = self.thread.join();
    }
}

/// What the process holds beyond what rest needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Memory {
    /// A call's media uses it.
    InUse,
    /// What starting or a call touched, in use until then.
    Used { until: Time },
    /// Given back to the system.
    GivenBack,
}

struct Loop {
    agent: UserAgent,
    network: Network,
    resolver: Resolver,
    provider: Provider,
    trust: Trust,
    sessions: Sessions,
    store: Store,
    inbox: mpsc::UnboundedReceiver<Request>,
    facts: mpsc::Receiver<Input>,
    outbox: mpsc::Sender<TimedEvent>,
    memory: Memory,
    wake_ups: u64,
    given_back: u64,
}

impl Loop {
    fn new(
        options: Options,
        (places, trusts): (Vec<Place>, Vec<Trust>),
        agent: UserAgent,
        store: Store,
        entropy: Entropy,
        inbox: mpsc::UnboundedReceiver<Request>,
        outbox: mpsc::Sender<TimedEvent>,
    ) -> Loop {
        let (facts_in, facts) = mpsc::channel(FACTS);
        let accounts = accounts_of(&agent, options.accounts.len());
        let doors = doors(&accounts);
        let network = Network::new(places, doors, facts_in.clone());
        let resolver = Resolver::new(&options.name_servers, facts_in.clone());
        let provider = Provider::new(trusts, resolver.clone(), facts_in);
        let sessions = Sessions::new(accounts, options.audio, entropy);
        let memory = Memory::Used { until: system::now() };
        Loop {
            agent,
            network,
            resolver,
            provider,
            trust: options.trust,
            sessions,
            store,
            inbox,
            facts,
            outbox,
            memory,
            wake_ups: 0,
            given_back: 0,
        }
    }

    async fn run(mut self) {
        let (mut leaving, mut alarm) = (None, Alarm::new());
        let (mut of_the_agent, mut of_the_loop) = (None, None);
        // A turn of the media that told nothing leaves the user agent, and all that depends on it, as they were.
        let mut is_settled = false;
        loop {
            if !is_settled {
                self.settle().await;
                let now = system::now();
                let is_over = leaving.is_some_and(|deadline| now >= deadline);
                if is_over || (leaving.is_some() && self.agent.is_idle()) {
                    break;
                }
                of_the_agent = self.agent.poll_timeout();
                of_the_loop = earliest(self.rest(now), leaving);
            }
            is_settled = false;
            let deadline = earliest(earliest(of_the_agent, self.sessions.poll_timeout()), of_the_loop);
            tokio::select! {
                request = self.inbox.recv(), if leaving.is_none() => match request {
                    Some(Request::Command(Command::Stop)) | None => {
                        self.agent.handle_command(system::now(), Command::Stop);
                        leaving = Some(system::now() + FAREWELL);
                    }
                    Some(Request::Command(command)) => {
                        if let Command::SetParameter { account, name, value } = &command {
                            self.sessions.set_parameter(*account, name, value.expose());
                        }
                        if matches!(command, Command::Start | Command::Resume) {
                            self.network.listen();
                        } else if command == Command::Suspend {
                            self.network.rest();
                            self.memory = Memory::Used { until: Time::ZERO };
                        }
                        self.agent.handle_command(system::now(), command);
                    }
                    Some(Request::Stats(answer)) => {
                        // Whoever asked may have gone.
                        let _ = answer.send(self.stats());
                    }
                },
                Some(input) = self.facts.recv() => self.take(input),
                () = alarm.until(deadline) => {
                    let now = system::now();
                    let is_due = |due: Option<Time>| due.is_some_and(|due| now >= due);
                    if is_due(of_the_agent) {
                        self.agent.handle_timeout(now);
                    }
                    let told = self.sessions.handle_timeout(now);
                    is_settled = told.is_empty() && !is_due(of_the_agent) && !is_due(of_the_loop);
                    for input in told {
                        self.agent.handle_input(now, input);
                    }
                }
            }
            self.wake_ups += 1;
        }
        self.network.drain(FAREWELL).await;
    }

    /// Gives memory back when it is time, and says when that is. Once after a start, a suspension or a call, and not
    /// after every refresh: that would be a wake-up more for each.
    fn rest(&mut self, now: Time) -> Option<Time> {
        match (self.sessions.poll_timeout(), self.memory) {
            (Some(_), _) => self.memory = Memory::InUse,
            (None, Memory::InUse) => self.memory = Memory::Used { until: now },
            (None, Memory::Used { .. } | Memory::GivenBack) => {}
        }
        match self.memory {
            Memory::Used { until } if self.agent.is_idle() => {
                if now < until + QUIET {
                    return Some(until + QUIET);
                }
                rest::give_back();
                self.given_back += 1;
                self.memory = Memory::GivenBack;
                None
            }
            Memory::InUse | Memory::Used { .. } | Memory::GivenBack => None,
        }
    }

    fn take(&mut self, input: Input) {
        match &input {
            Input::Received(received) => {
                wire_log::message(Direction::Heard, received.flow.id, &received.bytes);
                self.network.adopt(&received.flow);
            }
            Input::Closed { flow, .. } => self.network.forget(*flow),
            Input::Opened(_)
            | Input::Resolved(_)
            | Input::Described { .. }
            | Input::Media { .. }
            | Input::Provision { .. } => {}
        }
        self.agent.handle_input(system::now(), input);
    }

    /// Does everything that the user agent wants done, and passes its events on.
    async fn settle(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            let now = system::now();
            let at_once: Vec<Input> = match output {
                Output::Open { flow, hop, account } => {
                    self.network.open(flow, hop, account).into_iter().collect()
                }
                Output::Send(transmit) => {
                    wire_log::message(Direction::Said, transmit.flow, &transmit.bytes);
                    self.network.send(transmit).await.into_iter().collect()
                }
                Output::Close(flow) => {
                    self.network.close(flow);
                    Vec::new()
                }
                Output::Resolve(question) => {
                    self.resolver.ask(question);
                    Vec::new()
                }
                Output::Provision { account, run, wish } => {
                    self.provider.grant(account, run, wish).into_iter().collect()
                }
                Output::Configure(account) => {
                    self.configure(account);
                    Vec::new()
                }
                Output::Media { call, request } => self.sessions.handle(now, call, request),
                Output::Remember { key, record } => {
                    self.store.keep(&key, &record);
                    Vec::new()
                }
            };
            for input in at_once {
                self.agent.handle_input(now, input);
            }
        }
        while let Some(event) = self.agent.poll_event() {
            let at_us = system::now().as_nanos() / 1000;
            if self.outbox.try_send(TimedEvent { at_us, event }).is_err() {
                tracing::warn!("an event was lost: nobody reads them");
            }
        }
    }

    /// A provider has changed an account's settings.
    fn configure(&mut self, account: AccountId) {
        let Some(settings) = self.agent.settings(account).cloned() else { return };
        let accounts = accounts_of(&self.agent, self.agent.snapshot().registrations.len());
        match place(&settings, &self.trust) {
            Ok(place) => self.network.move_account(account, place, doors(&accounts)),
            Err(cause) => tracing::error!(%cause, "the former place in the network is kept"),
        }
        self.sessions.configure(account, settings);
    }

    fn stats(&self) -> Stats {
        Stats {
            snapshot: self.agent.snapshot(),
            quality: self.sessions.quality(),
            sockets: self.network.count() + self.sessions.sockets(),
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            rss_kib: rss_kib(),
            wake_ups: self.wake_ups,
            given_back: self.given_back,
        }
    }
}

/// The accounts' settings, those of providers included.
fn accounts_of(agent: &UserAgent, count: usize) -> Vec<Settings> {
    let numbers = (0_u32..).take(count);
    numbers.map(|number| agent.settings(AccountId(number)).cloned().unwrap_or_default()).collect()
}

/// The addresses of WebSocket servers.
fn doors(accounts: &[Settings]) -> Vec<String> {
    accounts.iter().flat_map(|account| account.network().websockets).collect()
}

/// An account's place in the network: what the program says of trust counts before what the account says.
fn place(account: &Settings, trust: &Trust) -> Result<Place, String> {
    let network = account.network();
    let trust = match trust {
        Trust::System => Trust::of(account)?,
        Trust::Authorities(_) | Trust::Pin(_) => trust.clone(),
    };
    Ok(Place { binding: Binding { address: network.local_ip, port: network.signaling_port }, trust })
}

/// Resident memory by the kernel's account.
fn rss_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}
