//! A phone in the simulation: the user agent, what it remembers, and everything that it told.

use std::collections::BTreeMap;

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
    /// Whether it answers by itself as soon as it rings.
    pub answers: bool,
    settings: Settings,
}

impl SimPhone {
    /// A phone that does not run yet.
    pub fn new(user: &str, transport: u8, token: Option<&str>) -> SimPhone {
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
        SimPhone {
            user: user.to_owned(),
            token: token.map(str::to_owned),
            life: Life::Killed,
            lives: 0,
            memory: BTreeMap::new(),
            told: Vec::new(),
            answers: false,
            settings,
        }
    }

    /// Sets one more webphone parameter for the next life.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.set(name, value, Source::File);
    }

    /// Starts the process.
    ///
    /// # Panics
    /// When the settings of the scenario cannot work.
    pub fn start(&mut self, seed: [u8; 32], now: Time, wall: WallTime) {
        let configuration =
            Configuration { accounts: vec![self.settings.clone()], memory: self.memory.clone() };
        #[expect(clippy::expect_used, reason = "a scenario with bad settings is a bug of the scenario")]
        let agent = UserAgent::new(configuration, seed, now, wall).expect("settings that work");
        self.life = Life::Running(Box::new(agent));
        self.lives += 1;
    }

    /// The user agent, if the process runs.
    pub fn agent(&mut self) -> Option<&mut UserAgent> {
        match &mut self.life {
            Life::Killed => None,
            Life::Running(agent) => Some(agent),
        }
    }

    /// The latest call that stands in this phase.
    pub fn call_in(&self, phase: CallPhase) -> Option<CallId> {
        match &self.life {
            Life::Killed => None,
            Life::Running(agent) => {
                agent.snapshot().calls.iter().rev().find(|call| call.phase == phase).map(|call| call.call)
            }
        }
    }

    /// How often it rang.
    pub fn rings(&self) -> usize {
        self.told.iter().filter(|(_, event)| matches!(event, Event::Rings(_))).count()
    }

    /// Why its calls ended, in order.
    pub fn ends(&self) -> Vec<&str> {
        let end = |(_, event): &'_ (Time, Event)| match event {
            Event::CallEnded(ended) => Some(ended.reason.clone()),
            _ => None,
        };
        let _ = end;
        self.told
            .iter()
            .filter_map(|(_, event)| match event {
                Event::CallEnded(ended) => Some(ended.reason.as_str()),
                _ => None,
            })
            .collect()
    }
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
            };
            vec![Input::Media { call, event: agreed }, Input::Media { call, event: MediaEvent::Flowing }]
        }
        MediaRequest::Rollback
        | MediaRequest::Pause
        | MediaRequest::Ringback { .. }
        | MediaRequest::Mute { .. }
        | MediaRequest::Dtmf { .. }
        | MediaRequest::Stop => Vec::new(),
    }
}
