//! A phone in the simulation: the user agent, what it remembers, and everything that it told.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use wakeline_clock::{Time, WallTime};
use wakeline_secret::Secret;
use wakeline_settings::{Settings, Source};
use wakeline_user_agent::{
    CallId, CallPhase, Configuration, Encryption, Event, Input, MediaAnswer, MediaEvent, MediaRequest,
    UserAgent,
};

/// Whether the process runs.
pub enum Life {
    /// There is no process.
    Killed,
    /// It runs.
    Running(Box<UserAgent>),
}

/// Whether there is a network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// There is.
    Online,
    /// There is none: nothing can be opened, and what is sent vanishes.
    Offline,
}

/// Whether the system lets the process run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// It does.
    Runs,
    /// It is frozen: no timer fires, streams wait, datagrams are lost.
    Frozen,
}

/// One phone.
pub struct SimPhone {
    /// Its user name.
    pub user: String,
    /// Its push token; a caller that is a plain phone has none.
    pub token: Option<String>,
    /// Its process.
    pub life: Life,
    /// How often it was started.
    pub lives: u32,
    /// What survives a kill.
    pub memory: BTreeMap<String, Secret>,
    /// Everything that it told, with the time.
    pub told: Vec<(Time, Event)>,
    /// After how long it answers by itself when it rings.
    pub answers_after: Option<Duration>,
    /// Whether it has a network.
    pub reach: Reach,
    /// Whether it is frozen.
    pub pace: Pace,
    /// Which network it is in: part of its addresses.
    pub network: u8,
    /// Whether it sits behind a NAT: the gateway sees another address than the phone.
    pub behind_nat: bool,
    /// By how much its clock is ahead of the gateway's, in milliseconds.
    pub clock_ahead: i64,
    accounts: Vec<Settings>,
    due: Due,
}

/// When a phone's next timer fires: asked for after every step of any of them, and a world may hold thousands.
#[derive(Clone, Copy)]
enum Due {
    /// It may have changed.
    Stale,
    Known(Option<Time>),
}

impl SimPhone {
    /// A phone that does not run yet. The transport is that of the webphone parameter: 0 UDP, 1 TCP, 2 TLS.
    pub fn new(user: &str, transport: u8, token: Option<&str>) -> SimPhone {
        SimPhone {
            user: user.to_owned(),
            token: token.map(str::to_owned),
            life: Life::Killed,
            lives: 0,
            memory: BTreeMap::new(),
            told: Vec::new(),
            answers_after: None,
            reach: Reach::Online,
            pace: Pace::Runs,
            network: 0,
            behind_nat: false,
            clock_ahead: 0,
            accounts: vec![account(user, transport)],
            due: Due::Stale,
        }
    }

    /// The same phone with one more account.
    pub fn with_account(mut self, user: &str, transport: u8) -> SimPhone {
        self.accounts.push(account(user, transport));
        self
    }

    /// The same phone that answers by itself 300 ms after it began to ring.
    pub fn answering(mut self) -> SimPhone {
        self.answers_after = Some(Duration::from_millis(300));
        self
    }

    /// The same phone behind a NAT.
    pub fn behind_nat(mut self) -> SimPhone {
        self.behind_nat = true;
        self
    }

    /// Sets one more webphone parameter of every account for the next life.
    pub fn set(&mut self, name: &str, value: &str) {
        for settings in &mut self.accounts {
            settings.set(name, value, Source::File);
        }
    }

    /// The same phone with one more parameter.
    pub fn with(mut self, name: &str, value: &str) -> SimPhone {
        self.set(name, value);
        self
    }

    /// Every user name of this phone.
    pub(crate) fn users(&self) -> Vec<String> {
        self.accounts.iter().map(|settings| settings.account().username).collect()
    }

    /// Starts the process.
    ///
    /// # Panics
    /// When the settings of the scenario cannot work.
    pub(crate) fn start(&mut self, seed: [u8; 32], now: Time, wall: WallTime) {
        let wall = WallTime(wall.0.saturating_add_signed(self.clock_ahead));
        let configuration = Configuration { accounts: self.accounts.clone(), memory: self.memory.clone() };
        #[expect(clippy::expect_used, reason = "a scenario with bad settings is a bug of the scenario")]
        let agent = UserAgent::new(configuration, seed, now, wall).expect("settings that work");
        self.life = Life::Running(Box::new(agent));
        self.due = Due::Stale;
        self.pace = Pace::Runs;
        self.lives += 1;
    }

    /// The user agent, if the process runs.
    pub fn agent(&mut self) -> Option<&mut UserAgent> {
        self.due = Due::Stale;
        match &mut self.life {
            Life::Killed => None,
            Life::Running(agent) => Some(agent),
        }
    }

    /// When its next timer fires; never while it is frozen.
    pub(crate) fn due(&mut self) -> Option<Time> {
        match (&self.life, self.pace) {
            (Life::Killed, _) | (Life::Running(_), Pace::Frozen) => None,
            (Life::Running(agent), Pace::Runs) => match self.due {
                Due::Known(due) => due,
                Due::Stale => {
                    let due = agent.poll_timeout();
                    self.due = Due::Known(due);
                    due
                }
            },
        }
    }

    /// Whether the process runs.
    pub fn is_running(&self) -> bool {
        matches!(self.life, Life::Running(_))
    }

    /// The latest call that stands in this phase.
    pub fn call_in(&self, phase: CallPhase) -> Option<CallId> {
        self.latest_call(|other| other == phase)
    }

    /// The latest call whose phase is wanted.
    pub fn latest_call(&self, wanted: impl Fn(CallPhase) -> bool) -> Option<CallId> {
        match &self.life {
            Life::Killed => None,
            Life::Running(agent) => {
                agent.snapshot().calls.iter().rev().find(|call| wanted(call.phase)).map(|call| call.call)
            }
        }
    }

    /// How often it rang.
    pub fn rings(&self) -> usize {
        self.told.iter().filter(|(_, event)| matches!(event, Event::Rings(_))).count()
    }

    /// Why its calls ended, in order.
    pub fn ends(&self) -> Vec<&str> {
        let mut ends = Vec::new();
        for (_, event) in &self.told {
            if let Event::CallEnded(ended) = event {
                ends.push(ended.reason.as_str());
            }
        }
        ends
    }
}

fn account(user: &str, transport: u8) -> Settings {
    let mut settings = Settings::default();
    let transport = transport.to_string();
    let parameters = [
        ("serveraddress", "192.0.2.1"),
        ("realm", "sim.example"),
        ("username", user),
        ("password", "secret"),
        ("transport", &transport),
    ];
    for (name, value) in parameters {
        settings.set(name, value, Source::File);
    }
    settings
}

/// The media of the simulation: every offer is fine, and audio flows as soon as it may.
pub(crate) fn media(call: CallId, request: &MediaRequest) -> Vec<Input> {
    let description = Bytes::from_static(
        b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
    );
    match request {
        MediaRequest::Offer { .. } | MediaRequest::Answer { .. } => {
            vec![Input::Described { call, answer: MediaAnswer::Description { description } }]
        }
        MediaRequest::Conclude { .. } => vec![Input::Described { call, answer: MediaAnswer::Accepted }],
        MediaRequest::Start => {
            let agreed = MediaEvent::Agreed {
                codec: "PCMU".into(),
                encryption: Encryption::None,
                held_by_peer: false,
                telephone_events: true,
            };
            vec![Input::Media { call, event: agreed }, Input::Media { call, event: MediaEvent::Flowing }]
        }
        MediaRequest::Rollback
        | MediaRequest::Pause
        | MediaRequest::Ringback { .. }
        | MediaRequest::Mute { .. }
        | MediaRequest::Conference { .. }
        | MediaRequest::Dtmf { .. }
        | MediaRequest::Stop => Vec::new(),
    }
}
