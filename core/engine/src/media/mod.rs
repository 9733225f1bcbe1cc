//! The media of all calls: what the user agent asks of it, and the turns of the sound device.
//!
//! Each call has a session (sockets, path, stream); all sessions share one sound device and one clock, the turn. Sockets
//! are read at each turn and not when a packet comes: nothing is played between two turns, and a wake-up for every packet
//! would double the processor time of a call. Without a running session there are no turns.

mod agreement;
mod conference;
mod desk;
mod digits;
mod policy;
mod ports;
mod quality;
mod session;
mod stamp;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_sdp::SessionDescription;
use wakeline_settings::{Settings, Source};
use wakeline_user_agent::{AccountId, CallId, Input, MediaAnswer, MediaEvent, MediaRequest, Way};

use crate::audio::AudioChoice;
use conference::Conference;
use desk::Desk;
use ports::Arrivals;
pub use quality::Quality;
use session::{Failure, Session};

/// A turn that comes later than this follows a stalled loop or a suspended process: what came meanwhile is old (F16, S26).
const STALLED: Duration = Duration::from_millis(500);

/// The media of all calls.
pub(crate) struct Sessions {
    accounts: Vec<Arc<Settings>>,
    choice: AudioChoice,
    entropy: Entropy,
    sessions: BTreeMap<CallId, Session>,
    desk: Option<Desk>,
    conference: Conference,
    arrivals: Arrivals,
    /// When the last turn was, and when the next one is due; meaningful while there is a desk.
    last_turn: Time,
    next_turn: Time,
}

impl Sessions {
    /// No calls yet.
    pub(crate) fn new(accounts: Vec<Settings>, choice: AudioChoice, entropy: Entropy) -> Sessions {
        Sessions {
            accounts: accounts.into_iter().map(Arc::new).collect(),
            choice,
            entropy,
            sessions: BTreeMap::new(),
            desk: None,
            conference: Conference::default(),
            arrivals: Arrivals::AsStamped,
            last_turn: Time::ZERO,
            next_turn: Time::NEVER,
        }
    }

    /// Other settings of an account, for calls to come.
    pub(crate) fn configure(&mut self, account: AccountId, settings: Settings) {
        if let Some(known) = self.accounts.get_mut(account.0 as usize) {
            *known = Arc::new(settings);
        }
    }

    /// One parameter of an account, for calls to come.
    pub(crate) fn set_parameter(&mut self, account: AccountId, name: &str, value: &str) {
        if let Some(settings) = self.accounts.get_mut(account.0 as usize) {
            Arc::make_mut(settings).set(name, value, Source::Assigned);
        }
    }

    /// Does what is asked for a call; returns answers and news.
    pub(crate) fn handle(&mut self, now: Time, call: CallId, request: MediaRequest) -> Vec<Input> {
        let mut told = Vec::new();
        match request {
            MediaRequest::Offer { hold, fresh, way } => {
                let (session, entropy) = self.described(now, call, &way);
                let answer = description(session.offer(now, hold, fresh, &way, entropy));
                told.push(Input::Described { call, answer });
            }
            MediaRequest::Answer { offer, hold, way } => {
                let (session, entropy) = self.described(now, call, &way);
                let answer = description(session.answer(now, &offer, hold, &way, entropy));
                told.push(Input::Described { call, answer });
                self.fit(now, call, &mut told);
            }
            MediaRequest::Conclude { answer } => {
                let (session, entropy) = self.session(now, call);
                let answer = match session.conclude(now, &answer, entropy) {
                    Ok(()) => MediaAnswer::Accepted,
                    Err(failure) => refused(&failure),
                };
                told.push(Input::Described { call, answer });
                self.fit(now, call, &mut told);
            }
            MediaRequest::Rollback => {
                let (session, entropy) = self.session(now, call);
                session.roll_back(now, entropy);
                self.fit(now, call, &mut told);
            }
            MediaRequest::Start => {
                self.session(now, call).0.start(now);
                self.tend_desk(now, &mut told);
                self.fit(now, call, &mut told);
                // The first packet must not wait for the next turn.
                self.turn(now, &mut told);
                self.session(now, call).0.hurry(now);
            }
            MediaRequest::Pause => {
                self.session(now, call).0.pause();
                self.tend_desk(now, &mut told);
            }
            MediaRequest::Ringback { on } => {
                let rate = self.desk.as_ref().map_or(0, Desk::rate);
                self.session(now, call).0.set_ringback(on, rate);
                self.tend_desk(now, &mut told);
                if on {
                    self.fit(now, call, &mut told);
                }
            }
            MediaRequest::Mute { direction, on } => self.session(now, call).0.mute(direction, on),
            MediaRequest::Conference { on } => self.session(now, call).0.seat(on),
            MediaRequest::Dtmf { digits } => self.session(now, call).0.press(&digits),
            MediaRequest::Stop => {
                if let Some(mut session) = self.sessions.remove(&call) {
                    session.retire(now);
                }
                self.tend_desk(now, &mut told);
            }
        }
        told
    }

    /// Takes the turns that are due: one, however late it is.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> Vec<Input> {
        let mut told = Vec::new();
        if let Some(desk) = self.desk.as_ref().filter(|_| now >= self.next_turn) {
            // Turns keep their beat, so that lateness does not add up; after a stall a new beat begins.
            let beat = self.next_turn + desk.turn();
            self.next_turn = if beat > now { beat } else { now + desk.turn() };
            self.turn(now, &mut told);
        }
        told
    }

    /// When the next turn is due.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.desk.as_ref().map(|_| self.next_turn)
    }

    /// How the calls sound.
    pub(crate) fn quality(&self) -> Vec<Quality> {
        let of = |(call, session): (&CallId, &Session)| {
            session.quality(self.last_turn).map(|quality| Quality { call: Some(*call), ..quality })
        };
        self.sessions.iter().filter_map(of).collect()
    }

    /// Open sockets.
    pub(crate) fn sockets(&self) -> usize {
        self.sessions.values().map(Session::sockets).sum()
    }

    fn session(&mut self, now: Time, call: CallId) -> (&mut Session, &mut Entropy) {
        let first = self.accounts.first().cloned().unwrap_or_default();
        let entropy = &mut self.entropy;
        let session = self.sessions.entry(call).or_insert_with(|| Session::new(now, first, entropy));
        (session, entropy)
    }

    fn described(&mut self, now: Time, call: CallId, way: &Way) -> (&mut Session, &mut Entropy) {
        let settings = self.accounts.get(way.account.0 as usize).cloned();
        let (session, entropy) = self.session(now, call);
        if let Some(settings) = settings.filter(|_| session.is_blank()) {
            session.set_settings(settings);
        }
        (session, entropy)
    }

    /// Opens the desk when a call needs sound, and closes it when none does.
    fn tend_desk(&mut self, now: Time, told: &mut Vec<Input>) {
        match (&self.desk, self.sessions.values().any(Session::needs_sound)) {
            (None, true) => {
                let (desk, failure) = Desk::open(&self.choice, now);
                (self.last_turn, self.next_turn) = (now, now + desk.turn());
                self.desk = Some(desk);
                if let Some(failure) = failure {
                    self.complain(&failure, told);
                }
            }
            (Some(_), false) => self.desk = None,
            (None, false) | (Some(_), true) => {}
        }
    }

    /// Brings a call's stream in line with what was agreed, and tells what is new.
    fn fit(&mut self, now: Time, call: CallId, told: &mut Vec<Input>) {
        let Some(session) = self.sessions.get_mut(&call) else { return };
        if let Some(desk) = &self.desk
            && let Err(error) = session.fit(now, desk.rate(), &mut self.entropy)
        {
            told.push(Input::Media { call, event: MediaEvent::Failed(error.to_string()) });
        }
        if let Some(event) = session.news() {
            told.push(Input::Media { call, event });
        }
    }

    fn turn(&mut self, now: Time, told: &mut Vec<Input>) {
        let Some(desk) = &mut self.desk else { return };
        let rate = desk.rate();
        let failure = desk.tend(now);
        if desk.rate() != rate {
            let rate = desk.rate();
            for session in self.sessions.values_mut() {
                if let Err(error) = session.fit(now, rate, &mut self.entropy) {
                    tracing::error!(%error, "no stream for the new device");
                }
            }
        }
        let has_stalled = now.since(self.last_turn) > STALLED;
        self.last_turn = now;
        let mut news: Vec<Vec<MediaEvent>> = self.sessions.values().map(|_| Vec::new()).collect();
        for session in self.sessions.values_mut() {
            if has_stalled {
                session.discard();
                session.renew_patience(now);
            }
            session.receive(now, self.arrivals);
        }
        desk.serve(now, self.sessions.values_mut().zip(news.iter_mut()));
        self.conference.pass_on(self.sessions.values_mut().filter_map(Session::seated));
        for ((&call, session), mut news) in self.sessions.iter_mut().zip(news) {
            session.observe(now, &mut news);
            told.extend(news.into_iter().map(|event| Input::Media { call, event }));
        }
        if let Some(failure) = failure {
            self.complain(&failure, told);
        }
    }

    /// A call without sound must not look like one with it (F17).
    fn complain(&self, failure: &str, told: &mut Vec<Input>) {
        for (&call, session) in &self.sessions {
            if session.needs_sound() {
                told.push(Input::Media { call, event: MediaEvent::Failed(failure.to_owned()) });
            }
        }
    }
}

fn description(made: Result<SessionDescription, Failure>) -> MediaAnswer {
    match made {
        Ok(described) => MediaAnswer::Description { description: Bytes::from(described.to_string()) },
        Err(failure) => refused(&failure),
    }
}

fn refused(failure: &Failure) -> MediaAnswer {
    MediaAnswer::Refused { code: failure.code(), why: failure.to_string() }
}
