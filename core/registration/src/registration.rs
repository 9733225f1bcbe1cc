//! The machine: what it keeps, what it wants, its flows and deadlines.

use core::net::SocketAddr;
use std::collections::VecDeque;

use wakeline_clock::{Time, WallTime, earliest};
use wakeline_entropy::Entropy;
use wakeline_flow::FlowId;
use wakeline_push::{PushParameters, WakeId};
use wakeline_secret::Secret;
use wakeline_sip_auth::Session;

use crate::answer::{Gruus, Offer};
use crate::config::AccountConfig;
use crate::event::{Event, HopChoice, OtherHops, Output, PushStatus};
use crate::instance::Instance;
use crate::memory::{History, OutboundSupport, Remembered};
use crate::recovery::Recovery;
use crate::state::{Asking, Binding, FLOWS, Goal, HANDSHAKE, Opener, PATIENCE, State, Summons, Then};
use crate::successor::Successor;

/// One binding's life. See the crate's head.
pub struct Registration {
    pub(crate) config: AccountConfig,
    pub(crate) entropy: Entropy,
    pub(crate) session: Session,
    pub(crate) call_id: String,
    pub(crate) from_tag: String,
    pub(crate) cseq: u32,
    pub(crate) instance: Instance,
    pub(crate) min_expires: u32,
    pub(crate) state: State,
    pub(crate) opener: Opener,
    pub(crate) summons: Summons,
    /// Whether the attempt under way has further hops to go to.
    pub(crate) others: OtherHops,
    /// What the account becomes once the old binding is removed.
    pub(crate) successor: Successor,
    pub(crate) then: Then,
    pub(crate) binding: Option<Binding>,
    /// The old flow of a binding that is being moved; it ends when the new one is bound.
    pub(crate) leaving: Option<FlowId>,
    /// Where the registrar saw us, on which flow (RFC 3581 §4).
    pub(crate) seen: Option<(FlowId, SocketAddr)>,
    /// The token that we want to be woken by.
    pub(crate) push: Option<PushParameters>,
    /// The token that the registrar has.
    pub(crate) registered_push: Option<PushParameters>,
    pub(crate) old_contact: Option<Secret>,
    pub(crate) push_status: PushStatus,
    pub(crate) offer: Offer,
    pub(crate) gruus: Gruus,
    pub(crate) service_route: Vec<String>,
    pub(crate) outbound: OutboundSupport,
    pub(crate) expires_at: Option<WallTime>,
    pub(crate) history: History,
    /// Wakes that no REGISTER has named yet.
    pub(crate) wakes: Vec<WakeId>,
    pub(crate) recovery: Recovery,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) events: VecDeque<Event>,
}

impl Registration {
    /// A registration that does nothing yet. `memory` is what a former process was told to remember.
    pub fn new(config: AccountConfig, memory: Option<Remembered>, mut entropy: Entropy) -> Registration {
        let memory = memory.unwrap_or_else(|| Remembered {
            call_id: entropy.token(24),
            cseq: entropy.below(1000),
            instance: Instance::draw(&mut entropy),
            session: Session::new().export(),
            push: None,
            old_contact: None,
            service_route: Vec::new(),
            expires_at: None,
            outbound: OutboundSupport::Unknown,
            min_expires: 0,
            history: History::NeverBound,
        });
        Registration {
            from_tag: entropy.token(10),
            instance: config.instance.clone().unwrap_or(memory.instance),
            session: Session::import(memory.session),
            call_id: memory.call_id,
            cseq: memory.cseq,
            min_expires: memory.min_expires,
            state: State::Idle,
            opener: Opener::Rests,
            summons: Summons::Answered,
            others: OtherHops::None,
            successor: Successor::None,
            then: Then::Stay,
            binding: None,
            leaving: None,
            seen: None,
            // Until the shell says otherwise, the token of before is the one.
            push: memory.push.clone(),
            registered_push: memory.push,
            old_contact: memory.old_contact,
            push_status: PushStatus::NotAsked,
            offer: Offer::default(),
            gruus: Gruus::default(),
            service_route: memory.service_route,
            outbound: memory.outbound,
            expires_at: memory.expires_at,
            history: memory.history,
            wakes: Vec::new(),
            recovery: Recovery::default(),
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            config,
            entropy,
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Registration::handle_timeout`]. Never while suspended.
    pub fn poll_timeout(&self) -> Option<Time> {
        match &self.state {
            State::Bound(_) => self.binding.as_ref().map(|binding| binding.refresh_at),
            State::Waiting { at, .. } => Some(*at),
            State::Opening(_) => self.another_flow_at(),
            State::Asking(asking) => earliest(self.hop_deadline(asking), self.given_up_at(asking)),
            State::Idle | State::Suspended | State::Stopped(_) => None,
        }
    }

    /// When the REGISTER that is out is given up because a push waits.
    pub(crate) fn given_up_at(&self, asking: &Asking) -> Option<Time> {
        match (self.summons, self.then) {
            (Summons::Owed { given_up }, Then::Stay | Then::Refresh) => {
                Some(self.recovery.paced(asking.since + PATIENCE * (1 << given_up.min(3))))
            }
            // Whoever goes to sleep or leaves waits for the answer only.
            (Summons::Owed { .. }, Then::Suspend | Then::Remove(_)) | (Summons::Answered, _) => None,
        }
    }

    /// When one more flow is asked for beside those that do not open, because a push waits.
    pub(crate) fn another_flow_at(&self) -> Option<Time> {
        match (self.summons, self.opener) {
            (Summons::Owed { .. }, Opener::Asked { flows, since }) if flows < FLOWS => {
                Some(since + HANDSHAKE)
            }
            (Summons::Owed { .. } | Summons::Answered, Opener::Asked { .. } | Opener::Rests) => None,
        }
    }

    /// What a new process must know.
    pub fn remembered(&self) -> Remembered {
        Remembered {
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            instance: self.instance.clone(),
            session: self.session.export(),
            push: self.registered_push.clone(),
            old_contact: self.old_contact.clone(),
            service_route: self.service_route.clone(),
            expires_at: self.expires_at,
            outbound: self.outbound,
            min_expires: self.min_expires,
            history: self.history,
        }
    }

    pub(crate) fn remember(&mut self) {
        self.outputs.push_back(Output::Remember(Box::new(self.remembered())));
    }

    pub(crate) fn close(&mut self, flow: FlowId) {
        self.outputs.push_back(Output::CloseFlow { flow });
    }

    /// Gives up whatever is under way, and its flow.
    pub(crate) fn drop_flows(&mut self) {
        let flow = match &self.state {
            State::Bound(flow) => Some(flow.id),
            State::Asking(asking) => Some(asking.flow.id),
            State::Idle
            | State::Opening(_)
            | State::Suspended
            | State::Waiting { .. }
            | State::Stopped(_) => None,
        };
        let leaving = self.leaving.take();
        for flow in flow.into_iter().chain(leaving.filter(|leaving| Some(*leaving) != flow)) {
            self.close(flow);
        }
    }

    /// Asks for a new flow, on which the attempt then starts.
    pub(crate) fn open(&mut self, now: Time, goal: Goal) {
        self.open_to(now, goal, HopChoice::Best);
    }

    pub(crate) fn open_to(&mut self, now: Time, goal: Goal, hop: HopChoice) {
        self.state = State::Opening(goal);
        match self.opener {
            Opener::Rests => {
                self.opener = Opener::Asked { flows: 1, since: now };
                self.outputs.push_back(Output::OpenFlow { hop });
            }
            // What is being opened serves the newest goal, unless it has been for too long.
            Opener::Asked { .. } => self.ask_another_flow(now),
        }
    }

    /// Asks for one more flow if it is time to.
    pub(crate) fn ask_another_flow(&mut self, now: Time) {
        if self.another_flow_at().is_some_and(|at| at <= now)
            && let Opener::Asked { flows, .. } = self.opener
        {
            self.opener = Opener::Asked { flows: flows + 1, since: now };
            self.outputs.push_back(Output::OpenFlow { hop: HopChoice::Best });
        }
    }
}
