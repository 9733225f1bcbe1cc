//! What the person, the shell, the network and time do to a registration.

use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_push::{PushParameters, WakeId};

use crate::event::{Cause, OtherHops, PushStatus};
use crate::memory::OutboundSupport;
use crate::recovery::Urgency;
use crate::registration::Registration;
use crate::state::{After, Goal, Opener, PROVEN, SLEPT, State, Stop, Summons, Then, UNANSWERED};

impl Registration {
    /// The account is to be registered. Also cuts a wait short.
    pub fn start(&mut self, now: Time) {
        self.successor.is_to_start();
        match &self.state {
            State::Idle | State::Suspended | State::Waiting { .. } | State::Stopped(_) => {
                self.open(now, self.bind_goal());
            }
            State::Opening(_) => self.keep_opening(now),
            State::Asking(asking) => match (asking.goal, self.then) {
                (Goal::Remove | Goal::RemoveAll, _) => self.then = Then::Refresh,
                (Goal::Bind | Goal::Replace, Then::Suspend | Then::Remove(_)) => self.then = Then::Stay,
                // It is on its way.
                (Goal::Bind | Goal::Replace, Then::Stay | Then::Refresh) => {}
            },
            State::Bound(flow) => {
                let flow = *flow;
                self.ask(now, self.bind_goal(), flow);
            }
        }
    }

    /// The binding is to be removed (RFC 3261 §10.2.2, RFC 8599 §4.1.2).
    pub fn unregister(&mut self, now: Time) {
        self.successor.is_to_rest();
        self.remove(now, Goal::Remove);
    }

    /// Every binding of the address of record is to be removed: `Contact: *`.
    pub fn unregister_all(&mut self, now: Time) {
        self.successor.is_to_rest();
        self.remove(now, Goal::RemoveAll);
    }

    pub(crate) fn remove(&mut self, now: Time, goal: Goal) {
        self.wakes.clear();
        self.summons = Summons::Answered;
        match &self.state {
            State::Bound(flow) => {
                let flow = *flow;
                self.ask(now, goal, flow);
            }
            State::Asking(_) => self.then = Then::Remove(goal),
            // Nothing was bound, here or by a process before this one.
            State::Idle | State::Stopped(_)
                if goal == Goal::Remove && self.binding.is_none() && !self.may_be_bound() =>
            {
                self.end_unregistered(now);
            }
            State::Idle
            | State::Stopped(_)
            | State::Opening(_)
            | State::Suspended
            | State::Waiting { .. } => self.open(now, goal),
        }
    }

    /// A binding is wanted on the flow that is being opened, and no rest after it.
    fn keep_opening(&mut self, now: Time) {
        self.then = Then::Stay;
        self.open(now, self.bind_goal());
    }

    fn may_be_bound(&self) -> bool {
        self.remembered().expires_at.is_some()
    }

    /// The app goes to the background: the flow is closed, the binding stays, nothing ticks (RFC 8599 §4.1.3). A REGISTER
    /// that is out is waited for, and so is the flow for one that a push is owed.
    pub fn suspend(&mut self, _now: Time) {
        match &self.state {
            State::Idle | State::Stopped(_) | State::Suspended => {}
            State::Asking(_) => match self.then {
                Then::Stay | Then::Refresh | Then::Suspend => self.then = Then::Suspend,
                Then::Remove(_) => {}
            },
            State::Opening(Goal::Remove | Goal::RemoveAll) => {}
            State::Opening(Goal::Bind | Goal::Replace) if self.summons != Summons::Answered => {
                self.then = Then::Suspend;
            }
            State::Opening(Goal::Bind | Goal::Replace) | State::Waiting { .. } | State::Bound(_) => {
                self.drop_flows();
                self.state = State::Suspended;
            }
        }
    }

    /// The app is in front again: the old socket is taken for dead, one REGISTER leaves on a fresh flow.
    pub fn resume(&mut self, now: Time) {
        match &self.state {
            // A push was quicker: its REGISTER is on a fresh flow, or has just been answered there.
            State::Asking(_) if self.is_fresh(now) => match self.then {
                Then::Suspend => self.then = Then::Stay,
                Then::Stay | Then::Refresh | Then::Remove(_) => {}
            },
            State::Bound(_) if self.is_fresh(now) => {}
            State::Asking(_)
            | State::Bound(_)
            | State::Idle
            | State::Opening(_)
            | State::Suspended
            | State::Waiting { .. }
            | State::Stopped(_) => self.renew(now),
        }
    }

    /// Whether the flow in use was opened for the attempt under way, or has carried an answer just now.
    fn is_fresh(&self, now: Time) -> bool {
        let proven = |flow: FlowId| {
            self.binding.as_ref().is_some_and(|old| old.flow == flow && now.since(old.proven_at) <= PROVEN)
        };
        match &self.state {
            State::Asking(asking) => {
                let old = self.binding.as_ref().is_some_and(|old| old.flow == asking.flow.id);
                !old || proven(asking.flow.id)
            }
            State::Bound(flow) => proven(flow.id),
            State::Idle
            | State::Opening(_)
            | State::Suspended
            | State::Waiting { .. }
            | State::Stopped(_) => false,
        }
    }

    /// The network changed: as [`Registration::resume`].
    pub fn network_changed(&mut self, now: Time) {
        if !matches!(self.state, State::Suspended) {
            self.renew(now);
        }
    }

    /// A push came: REGISTER at once on a fresh flow, naming the call that woke us (RFC 8599 §4.1.3). Further pushes join
    /// the attempt that is under way.
    pub fn wake(&mut self, now: Time, wake: Option<WakeId>) {
        if let Some(wake) = wake {
            self.note_wake(wake);
        }
        // Whoever pushes again waits from now on: patience that had grown for the push before begins anew.
        self.summons = Summons::Owed { given_up: 0 };
        match &self.state {
            // It will carry the id, or the one after it will.
            State::Opening(_) => self.keep_opening(now),
            State::Asking(asking)
                if asking.goal == Goal::Bind
                    && (!self.is_fresh(now) || now.since(asking.since) > UNANSWERED) =>
            {
                self.renew(now);
            }
            State::Asking(_) => match self.then {
                Then::Suspend | Then::Stay => self.then = Then::Stay,
                Then::Refresh | Then::Remove(_) => {}
            },
            State::Bound(flow) => {
                let flow = *flow;
                if self.is_fresh(now) {
                    self.ask(now, self.bind_goal(), flow);
                } else {
                    self.renew(now);
                }
            }
            State::Idle | State::Suspended | State::Waiting { .. } | State::Stopped(_) => {
                self.open(now, self.bind_goal());
            }
        }
    }

    /// Starts over on a fresh flow, whatever was under way. A removal stays one.
    pub(crate) fn renew(&mut self, now: Time) {
        match &self.state {
            State::Idle | State::Stopped(Stop::Refused) => {}
            State::Opening(Goal::Remove | Goal::RemoveAll) => {}
            State::Opening(Goal::Bind | Goal::Replace) => self.keep_opening(now),
            State::Bound(flow) => {
                // It serves until the new one is bound: an INVITE may still come on it.
                self.leaving = Some(flow.id);
                self.open(now, self.bind_goal());
            }
            State::Asking(asking) => {
                let goal = match (asking.goal, self.then) {
                    (_, Then::Remove(goal)) => goal,
                    (goal @ (Goal::Remove | Goal::RemoveAll), _) => goal,
                    (Goal::Bind | Goal::Replace, Then::Stay | Then::Refresh | Then::Suspend) => {
                        self.bind_goal()
                    }
                };
                let wakes = asking.wakes.clone();
                self.drop_flows();
                for wake in wakes {
                    self.note_wake(wake);
                }
                self.then = Then::Stay;
                self.open(now, goal);
            }
            State::Suspended | State::Waiting { .. } | State::Stopped(Stop::Unanswered) => {
                self.open(now, self.bind_goal());
            }
        }
    }

    /// The platform's token, or that there is none any more. A new one replaces the old one's binding; where the
    /// registrar cannot do that, the old Contact is removed first (RFC 8599 §4.1.2, RFC 5626 §6).
    pub fn set_push(&mut self, now: Time, push: Option<PushParameters>) {
        if self.takes_push(push) {
            self.tell_push(now);
        }
    }

    /// Takes note of a token; true when the registrar has another one, or none.
    pub(crate) fn takes_push(&mut self, push: Option<PushParameters>) -> bool {
        if self.push == push {
            return false;
        }
        let refused = self.push_status == PushStatus::Refused;
        self.push = push;
        if refused {
            // Another service may be served.
            self.push_status = PushStatus::NotAsked;
        }
        self.registered_push.as_ref() != self.wanted_push()
    }

    /// The registrar is to hear of the token.
    pub(crate) fn tell_push(&mut self, now: Time) {
        match &self.state {
            // Carried by the attempt that starts next.
            State::Idle | State::Stopped(_) | State::Opening(_) => {}
            State::Waiting { after: After::Failure | After::LostFlow, .. } => {}
            State::Asking(asking) => {
                let late = asking.goal == Goal::Bind && asking.push.as_ref() != self.wanted_push();
                match self.then {
                    Then::Stay if late => self.then = Then::Refresh,
                    Then::Stay | Then::Refresh | Then::Suspend | Then::Remove(_) => {}
                }
            }
            State::Bound(flow) => {
                let flow = *flow;
                self.ask(now, self.bind_goal(), flow);
            }
            // A rotated token must reach the registrar, or no push will find us.
            State::Suspended => self.open(now, self.bind_goal()),
        }
    }

    /// A flow that was asked for is open; `others` says whether the edge has hops beyond.
    pub fn flow_opened(&mut self, now: Time, flow: FlowInfo, others: OtherHops) {
        self.flow_settled(now);
        if matches!(self.state, State::Opening(_)) {
            self.others = others;
        }
        match &self.state {
            State::Opening(goal) => {
                let goal = *goal;
                self.ask(now, goal, flow);
            }
            // Nobody wants it any more.
            State::Idle
            | State::Asking(_)
            | State::Bound(_)
            | State::Suspended
            | State::Waiting { .. }
            | State::Stopped(_) => self.close(flow.id),
        }
    }

    /// One of the flows that were asked for is there, or never will be.
    fn flow_settled(&mut self, now: Time) {
        self.opener = match self.opener {
            Opener::Asked { flows, .. } if flows > 1 => Opener::Asked { flows: flows - 1, since: now },
            Opener::Asked { .. } | Opener::Rests => Opener::Rests,
        };
    }

    /// A flow to the edge could not be opened, on any hop; or the attempt was given up, as it should be at a suspension
    /// and a change of network.
    pub fn flow_not_opened(&mut self, now: Time) {
        self.flow_settled(now);
        match &self.state {
            // Another one may still come.
            State::Opening(_) if self.opener != Opener::Rests => {}
            State::Opening(Goal::Remove | Goal::RemoveAll) => self.end_unregistered(now),
            State::Opening(Goal::Bind | Goal::Replace) => {
                self.fail(now, None, Cause::NoFlow, Urgency::Ordinary, None);
            }
            State::Idle
            | State::Asking(_)
            | State::Bound(_)
            | State::Suspended
            | State::Waiting { .. }
            | State::Stopped(_) => {}
        }
    }

    /// A flow broke.
    pub fn flow_lost(&mut self, now: Time, flow: FlowId) {
        if self.leaving == Some(flow) {
            self.leaving = None;
            return;
        }
        match &self.state {
            State::Bound(bound) if bound.id == flow => {
                let urgency = if self.wakes.is_empty() { Urgency::Ordinary } else { Urgency::Woken };
                if !self.comes_back(urgency) {
                    return self.stop(Cause::NoFlow);
                }
                let at = self.recovery.after_loss(now, &self.config.recovery, &mut self.entropy);
                self.state = State::Waiting { at, after: After::LostFlow };
            }
            State::Asking(asking) if asking.flow.id == flow => self.transport_failed(now),
            State::Bound(_)
            | State::Asking(_)
            | State::Idle
            | State::Opening(_)
            | State::Suspended
            | State::Waiting { .. }
            | State::Stopped(_) => {}
        }
    }

    /// The REGISTER's transaction ended without a final response.
    pub fn timed_out(&mut self, now: Time) {
        self.unanswered(now, Cause::TimedOut);
    }

    /// The REGISTER could not be sent, or its flow broke.
    pub fn transport_failed(&mut self, now: Time) {
        self.unanswered(now, Cause::NoFlow);
    }

    /// The deadline of [`Registration::poll_timeout`] has come, perhaps long ago.
    pub fn handle_timeout(&mut self, now: Time) {
        match &self.state {
            State::Bound(flow) => {
                let flow = *flow;
                let Some(due) = self.binding.as_ref().map(|binding| binding.refresh_at) else { return };
                if due > now {
                    return;
                }
                if now.since(due) > SLEPT {
                    self.renew(now);
                } else {
                    self.ask(now, self.bind_goal(), flow);
                }
            }
            State::Waiting { at, .. } if *at <= now => self.open(now, self.bind_goal()),
            State::Opening(_) => self.ask_another_flow(now),
            State::Asking(asking) if self.hop_deadline(asking).is_some_and(|due| due <= now) => {
                self.unanswered(now, Cause::TimedOut);
            }
            State::Asking(asking) => {
                if self.given_up_at(asking).is_some_and(|at| at <= now) {
                    if let Summons::Owed { given_up } = &mut self.summons {
                        *given_up += 1;
                    }
                    self.renew(now);
                }
            }
            State::Waiting { .. } | State::Idle | State::Suspended | State::Stopped(_) => {}
        }
    }

    /// Whether the registrar can replace a binding by its instance (RFC 5626 §6).
    pub fn outbound_support(&self) -> OutboundSupport {
        self.outbound
    }
}
