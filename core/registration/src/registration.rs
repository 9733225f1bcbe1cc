//! The machine: its state, its attempts, and what each answer to one leads to.

use core::time::Duration;
use std::collections::VecDeque;

use wakeline_clock::{Time, WallTime};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_push::{PushMode, PushParameters, WakeId};
use wakeline_secret::Secret;
use wakeline_sip_auth::Session;
use wakeline_sip_message::{BuildError, Message, Method, Name, NameAddr};

use crate::answer::{Answer, Asked, Gruus, Offer};
use crate::compose::{Draft, register};
use crate::config::{AccountConfig, OutboundUse};
use crate::contact::BindingContact;
use crate::event::{Cause, Event, Output, Phase, PushStatus, Registered};
use crate::memory::{OutboundSupport, Remembered};
use crate::recovery::{Recovery, Urgency};

/// Requests of one attempt: a stale nonce, an interval too brief, a push refused, … and then it must stand.
const ROUNDS: u32 = 6;
/// Wakes that one REGISTER names.
pub(crate) const WAKES: usize = 8;
/// A timer that fires later than this slept through: its flow is taken for dead (class S26).
pub(crate) const SLEPT: Duration = Duration::from_secs(5);
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
    Stopped,
}

/// Whether a flow is being opened for us; also after nobody wants it any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opener {
    Rests,
    Asked,
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
    call_id: String,
    from_tag: String,
    cseq: u32,
    instance: String,
    min_expires: u32,
    pub(crate) state: State,
    pub(crate) opener: Opener,
    pub(crate) then: Then,
    pub(crate) binding: Option<Binding>,
    /// The old flow of a binding that is being moved; it ends when the new one is bound.
    pub(crate) leaving: Option<FlowId>,
    /// The token that we want to be woken by.
    pub(crate) push: Option<PushParameters>,
    /// The token that the registrar has.
    pub(crate) registered_push: Option<PushParameters>,
    pub(crate) old_contact: Option<Secret>,
    pub(crate) push_status: PushStatus,
    offer: Offer,
    gruus: Gruus,
    service_route: Vec<String>,
    pub(crate) outbound: OutboundSupport,
    expires_at: Option<WallTime>,
    /// Wakes that no REGISTER has named yet.
    pub(crate) wakes: Vec<WakeId>,
    pub(crate) recovery: Recovery,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) events: VecDeque<Event>,
}

impl Registration {
    /// A registration that does nothing yet. `memory` is what a former process was told to remember.
    pub fn new(config: AccountConfig, memory: Option<Remembered>, mut entropy: Entropy) -> Registration {
        let drawn = |entropy: &mut Entropy| {
            let bits = (u128::from(entropy.u64()) << 64 | u128::from(entropy.u64()))
                & !(0xf000 << 64 | 0xc << 60)
                | 0x4000 << 64
                | 0x8 << 60;
            let digits = format!("{bits:032x}");
            let part = |from: usize, to: usize| digits.get(from..to).unwrap_or("").to_owned();
            format!(
                "urn:uuid:{}-{}-{}-{}-{}",
                part(0, 8),
                part(8, 12),
                part(12, 16),
                part(16, 20),
                part(20, 32)
            )
        };
        let memory = memory.unwrap_or_else(|| Remembered {
            call_id: entropy.token(24),
            cseq: entropy.below(1000),
            instance: drawn(&mut entropy),
            session: Session::new().export(),
            push: None,
            old_contact: None,
            service_route: Vec::new(),
            expires_at: None,
            outbound: OutboundSupport::Unknown,
            min_expires: 0,
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
            then: Then::Stay,
            binding: None,
            leaving: None,
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
            State::Waiting { after: After::Failure, .. } | State::Stopped => Phase::Failed,
        }
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
            | State::Stopped => None,
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

    /// Our instance, `urn:uuid:…`.
    pub fn instance(&self) -> &str {
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
            State::Idle | State::Opening(_) | State::Asking(_) | State::Suspended | State::Stopped => None,
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
        }
    }

    fn remember(&mut self) {
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
            State::Idle | State::Opening(_) | State::Suspended | State::Waiting { .. } | State::Stopped => {
                None
            }
        };
        let leaving = self.leaving.take();
        for flow in flow.into_iter().chain(leaving.filter(|leaving| Some(*leaving) != flow)) {
            self.close(flow);
        }
    }

    /// Asks for a new flow, on which the attempt then starts.
    pub(crate) fn open(&mut self, goal: Goal) {
        // One flow at a time: what is being opened serves the newest goal.
        if self.opener == Opener::Rests {
            self.opener = Opener::Asked;
            self.outputs.push_back(Output::OpenFlow);
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

    fn outbound_use(&self) -> OutboundUse {
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
    fn ask_with(&mut self, now: Time, goal: Goal, flow: FlowInfo, outbound: OutboundUse, rounds: u32) {
        match self.write(goal, flow, outbound, rounds) {
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
        goal: Goal,
        flow: FlowInfo,
        outbound: OutboundUse,
        rounds: u32,
    ) -> Result<Asking, BuildError> {
        let push = match goal {
            Goal::Bind => self.wanted_push().cloned(),
            Goal::Replace | Goal::Remove | Goal::RemoveAll => None,
        };
        let contact = BindingContact::new(&self.config, &flow, &self.instance, outbound, push.as_ref())?;
        let asked = self.config.expires.max(self.min_expires);
        let (text, expires) = match goal {
            Goal::Bind => (contact.written(None), Some(asked)),
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
        Ok(Asking { goal, flow, request, contact, expires: asked, push, wakes, rounds })
    }

    /// Whether a response belongs to the request that is out; an earlier one's comes too late.
    fn takes(&self, response: &Message) -> bool {
        let State::Asking(asking) = &self.state else { return false };
        match (response.cseq(), asking.request.cseq()) {
            (Ok(theirs), Ok(ours)) => theirs == ours && response.call_id() == self.call_id,
            (Err(_), _) | (_, Err(_)) => false,
        }
    }

    /// The registrar answered.
    pub fn responded(&mut self, now: Time, wall: WallTime, response: &Message) {
        let Some(status) = response.status().filter(|status| *status >= 200) else { return };
        if !self.takes(response) {
            return;
        }
        let State::Asking(asking) = core::mem::replace(&mut self.state, State::Idle) else { return };
        match status {
            200..=299 => self.accepted(now, wall, *asking, response),
            401 | 407 => self.challenged(now, *asking, response),
            423 => self.too_brief(now, *asking, response),
            439 => {
                // RFC 5626 §11.6: the first hop cannot; without it then.
                self.outbound = OutboundSupport::Refused;
                self.again_or_fail(now, *asking, OutboundUse::Off, response, Urgency::Hopeless);
            }
            555 if asking.push.is_some() => {
                self.push_status = PushStatus::Refused;
                let outbound = self.outbound_use();
                self.again_or_fail(now, *asking, outbound, response, Urgency::Hopeless);
            }
            // RFC 5626 §4.3: the flow is of no use to the registrar. And what may pass by itself.
            408 | 430 | 480 | 500..=599 => self.refused(now, *asking, response, Urgency::Ordinary),
            _ => self.refused(now, *asking, response, Urgency::Hopeless),
        }
    }

    /// One more REGISTER of the same attempt, on the same flow.
    fn again_or_fail(
        &mut self,
        now: Time,
        asking: Asking,
        outbound: OutboundUse,
        response: &Message,
        urgency: Urgency,
    ) {
        // The attempt's own limit, and that of the minute.
        if asking.rounds >= ROUNDS || self.recovery.paced(now) > now {
            return self.refused(now, asking, response, urgency);
        }
        self.ask_with(now, asking.goal, asking.flow, outbound, asking.rounds + 1);
    }

    fn challenged(&mut self, now: Time, asking: Asking, response: &Message) {
        let taken = self.session.on_challenge(
            &asking.request,
            response,
            &self.config.credentials,
            wakeline_sip_auth::Asker::Configured,
        );
        match taken {
            Ok(()) => {
                let outbound = outbound_of(&asking);
                self.again_or_fail(now, asking, outbound, response, Urgency::Ordinary);
            }
            Err(error) => {
                // A wrong password does not become right by trying: no hammering (fault F14).
                self.close(asking.flow.id);
                match asking.goal {
                    Goal::Bind | Goal::Replace => self.stop(Cause::Auth(error)),
                    Goal::Remove | Goal::RemoveAll => self.end_unregistered(),
                }
            }
        }
    }

    /// RFC 3261 §10.2.8.
    fn too_brief(&mut self, now: Time, asking: Asking, response: &Message) {
        let least = response.min_expires().ok().flatten().filter(|least| *least > asking.expires);
        match least {
            Some(least) => {
                self.min_expires = least;
                let outbound = outbound_of(&asking);
                self.again_or_fail(now, asking, outbound, response, Urgency::Hopeless);
            }
            None => self.refused(now, asking, response, Urgency::Hopeless),
        }
    }

    fn refused(&mut self, now: Time, asking: Asking, response: &Message, urgency: Urgency) {
        let code = response.status().unwrap_or(0);
        if matches!(code, 400 | 500) {
            // The registrar may hold a CSeq of ours that we have forgotten: a new Call-ID has none (§10.3 step 7).
            self.call_id = self.entropy.token(24);
        }
        let told = response.retry_after().ok().flatten().map(|told| told.seconds);
        let cause = Cause::Refused { code, reason: response.reason().to_owned() };
        self.fail(now, Some(asking), cause, urgency, told);
    }

    /// The attempt is over without success.
    pub(crate) fn fail(
        &mut self,
        now: Time,
        asking: Option<Asking>,
        cause: Cause,
        urgency: Urgency,
        retry_after: Option<u32>,
    ) {
        let goal = asking.as_ref().map(|asking| asking.goal);
        if let Some(asking) = asking {
            self.close(asking.flow.id);
            // What was not delivered is still to be asked for.
            for wake in asking.wakes {
                self.note_wake(wake);
            }
        }
        if let Some(leaving) = self.leaving.take() {
            self.close(leaving);
        }
        let then = core::mem::replace(&mut self.then, Then::Stay);
        match (goal, then) {
            // Whoever wants no binding does not wait for one: it ends by itself.
            (Some(Goal::Remove | Goal::RemoveAll), _) => self.end_unregistered(),
            (_, Then::Suspend) => self.state = State::Suspended,
            (_, Then::Remove(_)) => self.end_unregistered(),
            (_, Then::Stay | Then::Refresh) => {
                let urgency = match urgency {
                    Urgency::Ordinary if !self.wakes.is_empty() => Urgency::Woken,
                    other @ (Urgency::Woken | Urgency::Ordinary | Urgency::Hopeless) => other,
                };
                let at = self.recovery.next_try(
                    now,
                    &self.config.recovery,
                    urgency,
                    retry_after,
                    &mut self.entropy,
                );
                self.state = State::Waiting { at, after: After::Failure };
                self.events.push_back(Event::Failed { cause, retry_at: Some(at) });
            }
        }
    }

    /// The attempt is over and no other follows by itself.
    fn stop(&mut self, cause: Cause) {
        if let Some(leaving) = self.leaving.take() {
            self.close(leaving);
        }
        self.then = Then::Stay;
        self.binding = None;
        self.state = State::Stopped;
        self.remember();
        self.events.push_back(Event::Failed { cause, retry_at: None });
    }

    pub(crate) fn end_unregistered(&mut self) {
        if let Some(leaving) = self.leaving.take() {
            self.close(leaving);
        }
        self.state = State::Idle;
        self.then = Then::Stay;
        self.binding = None;
        self.wakes.clear();
        self.registered_push = None;
        self.old_contact = None;
        self.expires_at = None;
        self.push_status = PushStatus::NotAsked;
        self.remember();
        self.events.push_back(Event::Unregistered);
    }

    pub(crate) fn note_wake(&mut self, wake: WakeId) {
        if !self.wakes.contains(&wake) {
            if self.wakes.len() >= WAKES {
                self.wakes.remove(0);
            }
            self.wakes.push(wake);
        }
    }

    fn accepted(&mut self, now: Time, wall: WallTime, asking: Asking, response: &Message) {
        let proven = self.session.on_success(&asking.request, response, &self.config.credentials);
        if let Err(error) = proven {
            self.close(asking.flow.id);
            return self.stop(Cause::Auth(error));
        }
        match asking.goal {
            Goal::Bind => self.bound(now, wall, asking, response),
            Goal::Replace => {
                self.old_contact = None;
                self.registered_push = None;
                self.ask_with(now, Goal::Bind, asking.flow, outbound_of(&asking), asking.rounds + 1);
            }
            Goal::Remove | Goal::RemoveAll => {
                let then = self.then;
                self.end_unregistered();
                match then {
                    // Wanted again meanwhile.
                    Then::Refresh => self.ask(now, Goal::Bind, asking.flow),
                    Then::Stay | Then::Suspend | Then::Remove(_) => self.close(asking.flow.id),
                }
            }
        }
    }

    fn bound(&mut self, now: Time, wall: WallTime, asking: Asking, response: &Message) {
        let asked = Asked {
            expires: asking.expires,
            instance: &self.instance,
            reg_id: self.config.reg_id,
            contact: &asking.contact,
            push: asking.push.as_ref(),
            mode: self.config.push_mode,
        };
        let Answer { expires, push, offer, gruus, service_route, flow_timer, outbound, wakes } =
            crate::answer::read(response, &asked);
        if expires == 0 {
            // Accepted and not bound: as good as refused.
            let cause = Cause::Refused { code: 200, reason: "no binding".to_owned() };
            return self.fail(now, Some(asking), cause, Urgency::Hopeless, None);
        }
        self.recovery.succeeded();
        if self.push_status != PushStatus::Refused {
            self.push_status = push;
        }
        self.outbound = match (outbound, self.outbound) {
            (true, _) => OutboundSupport::Confirmed,
            (false, OutboundSupport::Refused) => OutboundSupport::Refused,
            (false, OutboundSupport::Unknown | OutboundSupport::Confirmed | OutboundSupport::Lacking) => {
                OutboundSupport::Lacking
            }
        };
        let lasts = Duration::from_secs(u64::from(expires));
        self.binding = Some(Binding {
            flow: asking.flow.id,
            until: now + lasts,
            refresh_at: self.recovery.paced(now + refresh_after(expires, offer.refresh_before)),
            proven_at: now,
            rounds: asking.rounds,
            flow_timer,
            contact: asking.contact.clone(),
        });
        self.old_contact = match self.outbound {
            OutboundSupport::Confirmed => None,
            OutboundSupport::Unknown | OutboundSupport::Lacking | OutboundSupport::Refused => {
                Some(Secret::new(asking.contact.written(None)))
            }
        };
        self.registered_push = asking.push;
        (self.offer, self.gruus, self.service_route) = (offer, gruus, service_route);
        self.expires_at = Some(WallTime(wall.0.saturating_add(u64::from(expires) * 1000)));
        self.wakes.retain(|wake| !asking.wakes.contains(wake));
        self.state = State::Bound(asking.flow);
        if let Some(leaving) = self.leaving.take().filter(|leaving| *leaving != asking.flow.id) {
            self.close(leaving);
        }
        self.remember();
        self.events.push_back(Event::Registered(Registered {
            expires,
            push: self.push_status,
            round_trips: asking.rounds,
            flow: asking.flow,
            flow_timer,
        }));
        if !wakes.is_empty() {
            self.events.push_back(Event::WakeStates(wakes));
        }
        self.follow_up(now, asking.flow);
    }

    /// What was asked for while the attempt was under way.
    fn follow_up(&mut self, now: Time, flow: FlowInfo) {
        match core::mem::replace(&mut self.then, Then::Stay) {
            Then::Suspend => {
                self.drop_flows();
                self.state = State::Suspended;
            }
            Then::Remove(goal) => self.ask(now, goal, flow),
            // A second push during the first one's REGISTER: its state is asked for on the flow that now stands.
            Then::Refresh => self.ask(now, self.bind_goal(), flow),
            Then::Stay if !self.wakes.is_empty() => self.ask(now, Goal::Bind, flow),
            Then::Stay => {}
        }
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

fn outbound_of(asking: &Asking) -> OutboundUse {
    let offered = asking.request.tokens(Name::Supported).any(|tag| tag.eq_ignore_ascii_case("outbound"));
    if offered { OutboundUse::Offered } else { OutboundUse::Off }
}

/// When to refresh: early enough for one failed try, or as the network asks (RFC 8599 §4.1.4).
pub(crate) fn refresh_after(granted: u32, before: Option<u32>) -> Duration {
    let usual = if granted > 1200 { granted - 600 } else { granted / 2 };
    let asked = before.map_or(usual, |before| granted.saturating_sub(before).max(granted / 2));
    Duration::from_secs(u64::from(usual.min(asked).max(1)))
}
