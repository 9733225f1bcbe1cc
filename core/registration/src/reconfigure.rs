//! The account's settings change while it is registered.

use wakeline_clock::Time;
use wakeline_push::PushParameters;
use wakeline_sip_auth::Session;

use crate::answer::{Gruus, Offer};
use crate::config::AccountConfig;
use crate::event::PushStatus;
use crate::memory::{History, OutboundSupport};
use crate::registration::Registration;
use crate::state::{Goal, Opener, State, Then};
use crate::successor::Successor;

/// What else changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Edge {
    /// Nothing: the flow leads where it is to lead.
    Same,
    /// The way to the registrar: another server, proxy or transport.
    Changed,
}

impl Registration {
    /// Other settings, in force at once: what the registrar is to know goes out in a REGISTER, on a fresh flow where the
    /// way has changed. Another address of record removes the old binding first, where that can still be said on its flow.
    /// A registration that rests (not started, or suspended) uses them when it goes on. Flows that are being opened are
    /// not waited for any more when the way or the address of record changed: whoever opens them gives them up first.
    pub fn reconfigure(&mut self, now: Time, config: AccountConfig, edge: Edge) {
        let push = self.push.clone();
        self.reconfigure_with_push(now, config, push, edge);
    }

    /// The same when the token goes or comes with it: another interval follows from that, and the registrar is to hear of
    /// both at once.
    pub fn reconfigure_with_push(
        &mut self,
        now: Time,
        config: AccountConfig,
        push: Option<PushParameters>,
        edge: Edge,
    ) {
        let token = self.takes_push(push);
        if token {
            // What was too brief for a pushed binding need not be for another.
            self.min_expires = 0;
        }
        let config = AccountConfig { instance: Some(self.instance.clone()), ..config };
        if edge == Edge::Changed || !self.is_same_account(&config) {
            // What is being opened leads to the old place, and was given up there.
            self.opener = Opener::Rests;
        }
        if let Successor::Starts(next) | Successor::Rests(next) = &mut self.successor {
            // The old binding is on its way out; only its heir changes.
            **next = config;
            return;
        }
        if !self.is_same_account(&config) {
            return self.hand_over(now, config);
        }
        let told = AccountConfig {
            // Only our own behaviour.
            recovery: config.recovery,
            reregister: config.reregister,
            credentials: config.credentials.clone(),
            seen_address: config.seen_address,
            instance: config.instance.clone(),
            ..self.config.clone()
        };
        let news = told != config;
        let credentials = self.config.credentials != config.credentials;
        let seen = self.config.seen_address != config.seen_address;
        if self.config.push_mode != config.push_mode && self.push_status == PushStatus::Refused {
            // It was refused in another dialect.
            self.push_status = PushStatus::NotAsked;
        }
        self.config = config;
        if credentials {
            self.session.clear();
        }
        match edge {
            Edge::Changed => self.way_changed(now),
            // Carries the token, unless it sleeps: then only a token wakes it.
            Edge::Same if (news || seen) && !matches!(self.state, State::Suspended) => {
                self.tell(now, Again::Always)
            }
            Edge::Same if token => self.tell_push(now),
            Edge::Same if credentials => self.tell(now, Again::WhereItFailed),
            Edge::Same => {}
        }
    }

    /// Whether settings are of the account that this is.
    pub fn is_same_account(&self, config: &AccountConfig) -> bool {
        self.config.registrar == config.registrar
            && self.config.address == config.address
            && self.config.contact_user == config.contact_user
    }

    /// Removes the binding of the old account, and then begins the new one's.
    fn hand_over(&mut self, now: Time, config: AccountConfig) {
        match &self.state {
            State::Bound(_) | State::Asking(_) => {
                self.successor = Successor::Starts(Box::new(config));
                self.remove(now, Goal::Remove);
            }
            State::Opening(_) | State::Waiting { .. } | State::Stopped(_) => {
                self.adopt(config);
                self.open(now, Goal::Bind);
            }
            State::Idle => self.adopt(config),
            // It sleeps on: the next wake or return registers the new account.
            State::Suspended => self.adopt(config),
        }
    }

    /// The removal is over, however it went.
    pub(crate) fn begin_successor(&mut self, now: Time) {
        match core::mem::replace(&mut self.successor, Successor::None) {
            Successor::None => {}
            Successor::Rests(config) => self.adopt(*config),
            Successor::Starts(config) => {
                self.adopt(*config);
                self.open(now, Goal::Bind);
            }
        }
    }

    /// Nothing that was learned of the old account holds for the new one.
    fn adopt(&mut self, config: AccountConfig) {
        self.config = config;
        self.session = Session::new();
        self.call_id = self.entropy.token(24);
        self.binding = None;
        self.registered_push = None;
        self.old_contact = None;
        (self.gruus, self.offer) = (Gruus::default(), Offer::default());
        self.service_route = Vec::new();
        self.outbound = OutboundSupport::Unknown;
        self.expires_at = None;
        self.min_expires = 0;
        self.history = History::NeverBound;
        self.remember();
    }

    /// The flow leads to the wrong place.
    fn way_changed(&mut self, now: Time) {
        match &self.state {
            State::Stopped(_) => self.open(now, self.bind_goal()),
            State::Opening(goal) => {
                let goal = *goal;
                self.open(now, goal);
            }
            State::Bound(_) | State::Asking(_) | State::Waiting { .. } | State::Idle | State::Suspended => {
                self.network_changed(now)
            }
        }
    }

    /// The registrar is to hear of it.
    fn tell(&mut self, now: Time, again: Again) {
        match (&self.state, again) {
            (State::Idle | State::Suspended | State::Opening(_), _) => {}
            (State::Waiting { .. } | State::Stopped(_), _) => self.start(now),
            (State::Bound(_), Again::Always) => self.start(now),
            (State::Asking(_), Again::Always) => match self.then {
                Then::Stay => self.then = Then::Refresh,
                Then::Refresh | Then::Suspend | Then::Remove(_) => {}
            },
            (State::Bound(_) | State::Asking(_), Again::WhereItFailed) => {}
        }
    }
}

/// Whether a registration that stands is to be told, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Again {
    Always,
    WhereItFailed,
}
