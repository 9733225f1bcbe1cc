//! The machine: its state, its attempts, and what each answer to one leads to.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;

use wakeline_clock::{Time, WallTime, earliest};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_push::{PushMode, PushParameters, WakeId};
use wakeline_secret::Secret;
use wakeline_sip_auth::Session;
use wakeline_sip_message::{BuildError, Message, Method, NameAddr};

use crate::answer::{Gruus, Offer};
use crate::compose::{Draft, register};
use crate::config::{AccountConfig, OutboundUse};
use crate::contact::BindingContact;
use crate::event::{Cause, Event, HopChoice, OtherHops, Output, Phase, PushStatus};
use crate::instance::Instance;
use crate::memory::{History, OutboundSupport, Remembered};
use crate::recovery::Recovery;
use crate::successor::Successor;

/// Wakes that one REGISTER names.
pub(crate) const WAKES: usize = 8;
/// A timer that fires later than this slept through: its flow is taken for dead (class S26).
pub(crate) const SLEPT: Duration = Duration::from_secs(5);
/// A push that finds a REGISTER unanswered for this long takes its flow for dead: whoever pushes cannot reach us there.
pub(crate) const UNANSWERED: Duration = Duration::from_secs(3);
/// While a push waits for its REGISTER, another flow is asked for whenever none has opened for this long, [`FLOWS`] in all:
/// the handshake of the first may have met a path that just died, and whoever pushed waits 5 s.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(2);
/// See [`HANDSHAKE`].
pub(crate) const FLOWS: u8 = 3;
/// While a push waits, a REGISTER without an answer for this long is given up with its flow, the next one after twice that:
/// Timer F (32 s) is longer than any gateway holds a call.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);
/// A flow that has carried an answer within this time is alive.
pub(crate) const PROVEN: Duration = Duration::from_secs(15);

/// What an attempt is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Goal {
    /// A binding, new or refreshed.
    Bind,
    /// To remove the Contact of an old token, and then to bind (RFC 8599 §4.1.2, a registrar without RFC 5626).
    Replace,
    /// No binding.
    Remove,
    /// No binding of anyone: `Contact: *` (RFC 3261 §10.2.2).
    RemoveAll,
}

/// What follows the attempt that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Then {
    Stay,
    Refresh,
    Suspend,
    Remove(Goal),
}

pub(crate) enum State {
    /// Nothing is wanted.
    Idle,
    /// A flow was asked for.
    Opening(Goal),
    /// A REGISTER is out.
    Asking(Box<Asking>),
    /// Bound on a live flow.
    Bound(FlowInfo),
    /// Flows are closed on purpose; nothing ticks.
    Suspended,
    /// To be tried again.
    Waiting { at: Time, after: After },
    /// Not to be tried again by itself.
    Stopped(Stop),
}

/// Why nothing is tried any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// It needs other settings or another registrar.
    Refused,
    /// Another network, or another time, may help.
    Unanswered,
}

/// Whether flows are being opened for us; also after nobody wants them any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opener {
    Rests,
    /// So many, and nothing has changed with them since then.
    Asked {
        flows: u8,
        since: Time,
    },
}

/// Whether a push still waits for the REGISTER that answers it, and for that one's 200 (RFC 8599 §4.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Summons {
    Answered,
    /// A REGISTER that stayed unanswered was given up so many times.
    Owed {
        given_up: u8,
    },
}

/// What a wait follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum After {
    Failure,
    LostFlow,
}

pub(crate) struct Asking {
    pub(crate) goal: Goal,
    pub(crate) flow: FlowInfo,
    pub(crate) request: Message,
    pub(crate) contact: BindingContact,
    pub(crate) expires: u32,
    pub(crate) push: Option<PushParameters>,
    pub(crate) wakes: Vec<WakeId>,
    pub(crate) rounds: u32,
    /// When it left.
    pub(crate) since: Time,
}

/// What the last 2xx granted.
pub(crate) struct Binding {
    pub(crate) contact: BindingContact,
    pub(crate) flow: FlowId,
    pub(crate) until: Time,
    pub(crate) refresh_at: Time,
    pub(crate) proven_at: Time,
    pub(crate) rounds: u32,
    pub(crate) flow_timer: Option<u32>,
}

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

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Idle => Phase::Idle,
            State::Opening(_) | State::Asking(_) => Phase::Registering,
            State::Bound(_) => Phase::Registered,
            State::Suspended => Phase::Suspended,
            State::Waiting { after: After::LostFlow, .. } => Phase::Registering,
            State::Waiting { after: After::Failure, .. } | State::Stopped(_) => Phase::Failed,
        }
    }

    /// A flow with the address that the far end of it knows us by, where that is not our own (RFC 3581 §4): for the
    /// Contact of dialogs.
    pub fn as_seen(&self, flow: &FlowInfo) -> FlowInfo {
        let seen = self.seen.filter(|(id, _)| *id == flow.id).map(|(_, address)| address);
        FlowInfo { local: seen.unwrap_or(flow.local), ..*flow }
    }

    /// Whether we shall be woken.
    pub fn push_status(&self) -> PushStatus {
        self.push_status
    }

    /// The flow that requests of this account use.
    pub fn flow(&self) -> Option<FlowInfo> {
        match &self.state {
            State::Bound(flow) => Some(*flow),
            // A refresh under way takes nothing away.
            State::Asking(asking) if self.binding.is_some() && self.leaving.is_none() => Some(asking.flow),
            State::Asking(_)
            | State::Idle
            | State::Opening(_)
            | State::Suspended
            | State::Waiting { .. }
            | State::Stopped(_) => None,
        }
    }

    /// Whether a flow is awaited. After a suspension it is only for a REGISTER that cannot be left out: the answer to a
    /// push, or the last one.
    pub fn awaits_flow(&self) -> bool {
        matches!(self.state, State::Opening(_))
    }

    /// Whether a flow is this registration's: bound, in use by a REGISTER, or on its way out.
    pub fn holds(&self, flow: FlowId) -> bool {
        let own = match &self.state {
            State::Bound(bound) => Some(bound.id),
            State::Asking(asking) => Some(asking.flow.id),
            State::Idle
            | State::Opening(_)
            | State::Suspended
            | State::Waiting { .. }
            | State::Stopped(_) => None,
        };
        own == Some(flow) || self.leaving == Some(flow)
    }

    /// The flow on which a REGISTER waits for its answer.
    pub fn asking_on(&self) -> Option<FlowId> {
        match &self.state {
            State::Asking(asking) => Some(asking.flow.id),
            State::Bound(_)
            | State::Idle
            | State::Opening(_)
            | State::Suspended
            | State::Waiting { .. }
            | State::Stopped(_) => None,
        }
    }

    /// How long the binding lasts yet.
    pub fn expires_in(&self, now: Time) -> Option<Duration> {
        self.binding.as_ref().map(|binding| binding.until - now)
    }

    /// Route of our requests outside of dialogs (RFC 3608 §5), topmost first.
    pub fn service_route(&self) -> &[String] {
        &self.service_route
    }

    /// Addresses of this very instance.
    pub fn gruus(&self) -> &Gruus {
        &self.gruus
    }

    /// What the network offers with its pushes.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The Contact that is bound, without push parameters.
    pub fn contact(&self) -> Option<&BindingContact> {
        self.binding.as_ref().map(|binding| &binding.contact)
    }

    /// Requests that the last success took.
    pub fn round_trips(&self) -> Option<u32> {
        self.binding.as_ref().map(|binding| binding.rounds)
    }

    /// Seconds between keep-alives at most, as the registrar asked (RFC 5626 §4.4).
    pub fn flow_timer(&self) -> Option<u32> {
        self.binding.as_ref()?.flow_timer
    }

    /// Our instance.
    pub fn instance(&self) -> &Instance {
        &self.instance
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
        // What is being opened serves the newest goal.
        if self.opener == Opener::Rests {
            self.opener = Opener::Asked { flows: 1, since: now };
            self.outputs.push_back(Output::OpenFlow { hop });
        }
        self.state = State::Opening(goal);
    }

    /// Whether removing the old token's Contact comes first.
    pub(crate) fn bind_goal(&self) -> Goal {
        let changed = self.registered_push.is_some() && self.registered_push != self.wanted_push().cloned();
        match (changed, self.outbound, &self.old_contact) {
            (true, OutboundSupport::Lacking | OutboundSupport::Refused, Some(_)) => Goal::Replace,
            (true | false, _, _) => Goal::Bind,
        }
    }

    pub(crate) fn wanted_push(&self) -> Option<&PushParameters> {
        match (self.push_status, self.config.push_mode) {
            (PushStatus::Refused, _) | (_, PushMode::None) => None,
            (PushStatus::NotAsked | PushStatus::Confirmed | PushStatus::NotOffered, _) => self.push.as_ref(),
        }
    }

    pub(crate) fn outbound_use(&self) -> OutboundUse {
        match (self.config.outbound, self.outbound) {
            (OutboundUse::Off, _) | (OutboundUse::Offered, OutboundSupport::Refused) => OutboundUse::Off,
            // A registrar that ignored it yesterday may know it today.
            (
                OutboundUse::Offered,
                OutboundSupport::Unknown | OutboundSupport::Confirmed | OutboundSupport::Lacking,
            ) => OutboundUse::Offered,
        }
    }

    pub(crate) fn ask(&mut self, now: Time, goal: Goal, flow: FlowInfo) {
        let outbound = self.outbound_use();
        self.ask_with(now, goal, flow, outbound, 1);
    }

    /// Sends the next REGISTER of an attempt.
    pub(crate) fn ask_with(
        &mut self,
        now: Time,
        goal: Goal,
        flow: FlowInfo,
        outbound: OutboundUse,
        rounds: u32,
    ) {
        match self.write(now, goal, flow, outbound, rounds) {
            Ok(asking) => {
                self.recovery.note_sent(now);
                self.remember();
                self.outputs.push_back(Output::Send { request: asking.request.clone(), flow });
                self.state = State::Asking(Box::new(asking));
            }
            Err(error) => {
                self.close(flow.id);
                self.stop(Cause::Settings(error.to_string()));
            }
        }
    }

    fn write(
        &mut self,
        now: Time,
        goal: Goal,
        flow: FlowInfo,
        outbound: OutboundUse,
        rounds: u32,
    ) -> Result<Asking, BuildError> {
        let push = match goal {
            Goal::Bind => self.wanted_push().cloned(),
            Goal::Replace | Goal::Remove | Goal::RemoveAll => None,
        };
        let at = self.as_seen(&flow);
        let contact = BindingContact::new(&self.config, &at, &self.instance, outbound, push.as_ref())?;
        let asked = self.config.expires.max(self.min_expires);
        let (text, expires) = match goal {
            Goal::Bind => {
                let moved = self.binding.as_ref().filter(|old| {
                    old.flow == flow.id && outbound_lacks(self.outbound) && old.contact.uri() != contact.uri()
                });
                // The address that nobody could reach goes in the same request (RFC 3261 §10.2.2).
                let old = moved
                    .map(|old| format!(", {}", old.contact.without_push().written(Some(0))))
                    .unwrap_or_default();
                (format!("{}{old}", contact.written(None)), Some(asked))
            }
            Goal::Replace => match &self.old_contact {
                Some(old) => (format!("{};expires=0", old.expose()), None),
                None => (contact.written(Some(0)), None),
            },
            Goal::Remove => match &self.binding {
                // What was bound is removed, wherever we are now; never with its token (RFC 8599 §4.1.2).
                Some(binding) => (binding.contact.without_push().written(Some(0)), None),
                None => match self.old_contact.as_ref().and_then(|old| bare(old.expose())) {
                    Some(old) => (format!("{old};expires=0"), None),
                    None => (contact.written(Some(0)), None),
                },
            },
            Goal::RemoveAll => ("*".to_owned(), Some(0)),
        };
        let wakes = match goal {
            Goal::Bind => self.wakes.clone(),
            Goal::Replace | Goal::Remove | Goal::RemoveAll => Vec::new(),
        };
        self.cseq = if self.cseq >= (1 << 31) - 2 { 1 } else { self.cseq + 1 };
        let authorization = self.session.authorize(
            &Method::Register,
            self.config.registrar.as_str(),
            b"",
            &self.config.credentials,
            &mut self.entropy,
        );
        let request = register(Draft {
            config: &self.config,
            call_id: &self.call_id,
            from_tag: &self.from_tag,
            cseq: self.cseq,
            contact: &text,
            expires,
            outbound,
            push: push.as_ref(),
            wakes: &wakes,
            authorization,
        })?;
        Ok(Asking { goal, flow, request, contact, expires: asked, push, wakes, rounds, since: now })
    }

    pub(crate) fn note_wake(&mut self, wake: WakeId) {
        if !self.wakes.contains(&wake) {
            if self.wakes.len() >= WAKES {
                self.wakes.remove(0);
            }
            self.wakes.push(wake);
        }
    }
}

/// Whether the registrar tells bindings apart by their address only.
pub(crate) fn outbound_lacks(support: OutboundSupport) -> bool {
    match support {
        OutboundSupport::Lacking | OutboundSupport::Refused => true,
        OutboundSupport::Unknown | OutboundSupport::Confirmed => false,
    }
}

/// A Contact as it was registered, without the token (RFC 8599 §4.1.2).
fn bare(contact: &str) -> Option<String> {
    let read = NameAddr::parse(contact).ok()?;
    let mut uri = read.uri().to_owned();
    for (name, _) in read.uri().params() {
        if wakeline_push::is_token_parameter(name) {
            uri = uri.without_param(name);
        }
    }
    Some(format!("<{uri}>{}", read.params().as_str()))
}
