//! What the registrar's answers lead to (RFC 3261 §10.2.4 - §10.2.8, RFC 8599 §4.1, RFC 5626 §4).

use core::time::Duration;

use wakeline_clock::{Time, WallTime};
use wakeline_flow::FlowInfo;
use wakeline_secret::Secret;
use wakeline_sip_message::{Message, Name};

use crate::answer::{Answer, Asked};
use crate::attempt::outbound_lacks;
use crate::config::{OutboundUse, Reregister};
use crate::event::{Cause, Event, OtherHops, PushStatus, Registered, may_pass};
use crate::memory::{History, OutboundSupport};
use crate::recovery::Urgency;
use crate::registration::Registration;
use crate::state::{After, Asking, Binding, Goal, State, Stop, Summons, Then};

/// Requests of one attempt: a stale nonce, an interval too brief, a push refused, … and then it must stand.
const ROUNDS: u32 = 6;

impl Registration {
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
            // RFC 3263 §4.3: this server is out of service, the domain's next one may not be.
            503 => match self.go_to_next_hop(now, asking) {
                Ok(()) => {}
                Err(asking) => self.refused(now, *asking, response, Urgency::Ordinary),
            },
            code if may_pass(code) => self.refused(now, *asking, response, Urgency::Ordinary),
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
                let cause = Cause::Auth { error, code: response.status() };
                // A wrong password does not become right by trying: no hammering (fault F14).
                match asking.goal {
                    Goal::Bind | Goal::Replace if self.config.reregister == Reregister::Always => {
                        self.fail(now, Some(asking), cause, Urgency::Hopeless, None);
                    }
                    Goal::Bind | Goal::Replace => {
                        self.close(asking.flow.id);
                        self.stop(cause);
                    }
                    Goal::Remove | Goal::RemoveAll => {
                        self.close(asking.flow.id);
                        self.end_unregistered(now);
                    }
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
            (Some(Goal::Remove | Goal::RemoveAll), _) => self.end_unregistered(now),
            (_, Then::Suspend) => self.state = State::Suspended,
            (_, Then::Remove(_)) => self.end_unregistered(now),
            (_, Then::Stay | Then::Refresh) => {
                let woken = !self.wakes.is_empty() || self.summons != Summons::Answered;
                let urgency = match urgency {
                    Urgency::Ordinary if woken => Urgency::Woken,
                    other @ (Urgency::Woken | Urgency::Ordinary | Urgency::Hopeless) => other,
                };
                if !self.comes_back(urgency) {
                    return self.stop(cause);
                }
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

    /// Whether another try follows a failure by itself (B-071).
    pub(crate) fn comes_back(&self, urgency: Urgency) -> bool {
        match (self.config.reregister, urgency) {
            // A call waits for us.
            (_, Urgency::Woken) => true,
            (Reregister::Never, Urgency::Ordinary | Urgency::Hopeless) => false,
            (Reregister::AfterSuccess, Urgency::Ordinary | Urgency::Hopeless) => match self.history {
                History::NeverBound => false,
                History::BoundBefore => true,
            },
            (Reregister::Always, Urgency::Ordinary | Urgency::Hopeless) => true,
        }
    }

    /// The attempt is over and no other follows by itself.
    pub(crate) fn stop(&mut self, cause: Cause) {
        if let Some(leaving) = self.leaving.take() {
            self.close(leaving);
        }
        self.then = Then::Stay;
        self.summons = Summons::Answered;
        self.binding = None;
        self.state = State::Stopped(if cause.may_pass() { Stop::Unanswered } else { Stop::Refused });
        self.remember();
        self.events.push_back(Event::Failed { cause, retry_at: None });
    }

    pub(crate) fn end_unregistered(&mut self, now: Time) {
        if let Some(leaving) = self.leaving.take() {
            self.close(leaving);
        }
        self.state = State::Idle;
        self.then = Then::Stay;
        self.summons = Summons::Answered;
        self.binding = None;
        self.wakes.clear();
        self.registered_push = None;
        self.old_contact = None;
        self.expires_at = None;
        self.push_status = PushStatus::NotAsked;
        self.events.push_back(Event::Unregistered);
        self.begin_successor(now);
        self.remember();
    }

    fn accepted(&mut self, now: Time, wall: WallTime, asking: Asking, response: &Message) {
        let proven = self.session.on_success(&asking.request, response, &self.config.credentials);
        if let Err(error) = proven {
            self.close(asking.flow.id);
            return self.stop(Cause::Auth { error, code: None });
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
                self.end_unregistered(now);
                match (&self.state, then) {
                    // Wanted again meanwhile.
                    (State::Idle, Then::Refresh) => self.ask(now, Goal::Bind, asking.flow),
                    // Another account follows on a flow of its own, or none does.
                    (_, Then::Stay | Then::Refresh | Then::Suspend | Then::Remove(_)) => {
                        self.close(asking.flow.id);
                    }
                }
            }
        }
    }

    fn bound(&mut self, now: Time, wall: WallTime, asking: Asking, response: &Message) {
        let asked = Asked {
            expires: asking.expires,
            instance: self.instance.as_str(),
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
        self.history = History::BoundBefore;
        self.others = OtherHops::None;
        let seen = self.config.seen_address.learn(&asking.flow, response).map(|at| (asking.flow.id, at));
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
        // Without RFC 5626 the registrar looks for us where our Contact says: where it saw us, and not where we think
        // that we are. Said once per flow; a NAT that moves us at every request would keep us busy.
        let news = outbound_lacks(self.outbound)
            && seen.is_some()
            && self.seen.is_none_or(|(flow, _)| flow != asking.flow.id);
        if news {
            self.seen = seen;
        }
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
        // A call whose state was not asked for yet is asked for next.
        self.summons = if self.wakes.is_empty() { Summons::Answered } else { Summons::Owed { given_up: 0 } };
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
        if news && self.then == Then::Stay {
            self.then = Then::Refresh;
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
