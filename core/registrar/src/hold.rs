//! Requests that wait for a device to wake up, and the moment at which they leave (RFC 8599 §5.6.2).

use core::time::Duration;

use wakeline_clock::Time;
use wakeline_flow::FlowId;
use wakeline_push::{WakeId, WakeState};
use wakeline_sip_message::Name;

use crate::binding::{Client, Wakeable};
use crate::config::LateForeignDevice;
use crate::contact::Granted;
use crate::context::{Branch, Context, Course, Heard, Kind, Lost, Phase, Step, Waking};
use crate::machine::{PushFor, Registrar};
use crate::number::{AorId, BindingId, ContextId, Device};
use crate::output::{Output, Persist, StoredWake};
use crate::trace::Leg;

impl Registrar {
    /// Holds a branch for a device without connection, and wakes it. One that cannot be woken ends at once; within a
    /// dialog it is waited for all the same, because its party is likely to come back.
    pub(crate) fn hold(&mut self, now: Time, id: ContextId, context: &mut Context, place: usize) {
        let Some(branch) = context.branches.get(place) else { return };
        if self.is_mail(context) {
            context.branches[place].step = self.keep(now, context, place);
            return;
        }
        let pushable = self.can_push(context.kind, branch);
        let waits = match context.kind {
            Kind::Call | Kind::Other | Kind::Late => pushable,
            Kind::Reinvite | Kind::Bye | Kind::InDialog | Kind::Outgoing => branch.binding.is_some(),
        };
        if !waits {
            context.branches[place].step = Step::Ended(context.kind.absent());
            return;
        }
        let webpush = self.binding_of(branch).is_some_and(|binding| binding.wakeable == Wakeable::Webpush);
        let until = now + context.kind.wake(&self.config.timers, webpush);
        if let Some(binding) = branch.binding {
            self.trace(now, Some(context.wake), Leg::Held(binding));
        }
        context.branches[place].step = Step::Held { until };
        if pushable {
            self.ask_push(now, id, context, place);
        }
    }

    pub(crate) fn binding_of(&self, branch: &Branch) -> Option<&crate::binding::Binding> {
        branch.binding.and_then(|id| self.bindings.get(id))
    }

    /// A device has registered and got its 200: what is held for it leaves, once, on its new flow.
    pub(crate) fn release(&mut self, now: Time, aor: AorId, device: Device, binding: BindingId) {
        let Some(flow) = self.bindings.get(binding).and_then(|binding| binding.flow) else { return };
        self.release_on(now, aor, device, binding, flow);
        self.deliver_anew(now, aor, device, binding);
        self.notify_watcher(now, aor);
    }

    /// What is held for a device leaves on this flow: its own, or the link to the node that it is connected to.
    pub(crate) fn release_on(
        &mut self,
        now: Time,
        aor: AorId,
        device: Device,
        binding: BindingId,
        flow: FlowId,
    ) {
        if let Some(running) = self.by_aor.get(&aor).cloned() {
            for id in running {
                let Some(mut context) = self.contexts.remove(&id) else { continue };
                let place = context
                    .branches
                    .iter()
                    .position(|branch| branch.device == device || branch.binding == Some(binding));
                if let Some(place) = place {
                    self.arrived(now, id, &mut context, place, binding, flow);
                }
                self.put_back(now, id, context);
            }
        }
        if self.outcomes.has(aor) {
            let foreign = self.bindings.get(binding).is_some_and(|found| found.client == Client::Foreign);
            for (wake, invite) in self.outcomes.take_late(aor, device) {
                self.trace(now, Some(wake), Leg::LateWake(binding));
                if foreign && self.config.late_foreign_device == LateForeignDevice::InviteThenCancel {
                    self.show_late(now, aor, wake, invite, binding);
                }
            }
        }
    }

    fn arrived(
        &mut self,
        now: Time,
        id: ContextId,
        context: &mut Context,
        place: usize,
        binding: BindingId,
        flow: FlowId,
    ) {
        let waits = match (context.phase, context.kind) {
            (Phase::Open, _) | (Phase::Ended, Kind::Bye) => context.kind != Kind::Late,
            (Phase::Closing { .. } | Phase::Answered | Phase::Ended, _) => false,
        };
        let Some(branch) = context.branches.get_mut(place) else { return };
        // What was handed over here goes no further: the node that handed it over has the same news.
        let handed_on = context.course == Course::Handed && self.cluster.at_end_of(flow).is_some();
        if !waits || handed_on {
            return;
        }
        match branch.step {
            // Held, or come too late for its own timer while others still ring: now it is here.
            Step::Held { .. } | Step::Expired => {
                branch.binding = Some(binding);
                self.stop_push(&mut context.branches[place]);
                self.forward(now, id, context, place, flow);
            }
            Step::Sent { flow: old, .. } if old == flow => {
                // It is awake and has the request on this very flow.
                self.stop_push(&mut context.branches[place]);
            }
            Step::Sent { client, flow: old, heard, .. } => {
                let moved = match (self.flows.get(old), self.flows.get(flow)) {
                    (Some(old), Some(new)) => old.info.remote.ip() != new.info.remote.ip(),
                    (None, _) | (_, None) => true,
                };
                // Phones of ours leave the old flow once the new one is bound, and take the call with them. And in datagrams
                // nobody would tell us that it is gone.
                let leaves = self.bindings.get(binding).is_some_and(|found| found.client == Client::Ours);
                // Rows 13 and 14: an unanswered branch moves to the new flow. One that rings on a flow that is as good
                // as before stays where it is.
                if heard < Heard::Ringing || moved || leaves {
                    branch.binding = Some(binding);
                    branch.earlier = Some((client, old));
                    context.superseded.push(client);
                    self.stop_push(&mut context.branches[place]);
                    self.forward(now, id, context, place, flow);
                }
            }
            Step::Ended(_) => {}
        }
    }

    /// A branch's connection failed. Another flow of the same device is tried, else the device is woken, else it ends.
    pub(crate) fn branch_lost(
        &mut self,
        now: Time,
        id: ContextId,
        context: &mut Context,
        place: usize,
        lost: Lost,
    ) {
        let Some(branch) = context.branches.get(place) else { return };
        let Step::Sent { flow, heard, .. } = branch.step else { return };
        if let Some(binding) = branch.binding {
            self.trace(now, Some(context.wake), Leg::FlowLost(binding));
        }
        let alive =
            context.phase == Phase::Open || context.kind == Kind::Bye && context.phase == Phase::Ended;
        if context.phase == Phase::Answered && self.is_mail(context) {
            context.branches[place].step = self.keep(now, context, place);
            return;
        }
        if !alive || context.kind == Kind::Late {
            context.branches[place].step = Step::Ended(context.kind.absent());
            return;
        }
        if context.course == Course::Handed {
            // RFC 5626 §5.3.1: the flow has failed; what is next is decided where the call is held.
            context.branches[place].step = Step::Ended(430);
            return;
        }
        if context.upstream.is_some() {
            return self.upstream_lost(now, id, context, place, flow, lost);
        }
        let (device, waking) = (branch.device, branch.waking);
        context.branches[place].failed.push(flow);
        if let Some((binding, other)) =
            context.aor.and_then(|aor| self.other_flow(now, aor, device, &context.branches[place].failed))
        {
            context.branches[place].binding = Some(binding);
            self.forward(now, id, context, place, other);
            return;
        }
        let fcm =
            self.binding_of(&context.branches[place]).map(|found| found.wakeable) == Some(Wakeable::Fcm);
        match waking {
            // The push that went out with it is still good, unless the phone rang and died since (row 9): then FCM is
            // asked once more. APNs is not: its push has been shown.
            Waking::Asked { until, .. } if heard < Heard::Ringing && until > now => {
                context.branches[place].step = Step::Held { until };
            }
            // Nothing has been shown yet by a push, so there is nothing to show twice.
            Waking::No | Waking::Spared => self.hold(now, id, context, place),
            Waking::Asked { .. } | Waking::Over if fcm && self.config.timers.wake > Duration::ZERO => {
                self.stop_push(&mut context.branches[place]);
                self.hold(now, id, context, place);
            }
            Waking::Asked { .. } | Waking::Over => {
                let waits =
                    self.binding_of(&context.branches[place]).is_some_and(|found| found.wakeable.by_push());
                let until = now + context.kind.wake(&self.config.timers, false);
                let ended = Step::Ended(context.kind.absent());
                context.branches[place].step =
                    if waits && lost == Lost::Flow { Step::Held { until } } else { ended };
            }
        }
    }

    /// An open flow of the same device, other than those that failed.
    fn other_flow(
        &self,
        now: Time,
        aor: AorId,
        device: Device,
        not: &[FlowId],
    ) -> Option<(BindingId, FlowId)> {
        let entry = self.accounts.get(aor)?;
        entry
            .bindings
            .iter()
            .filter_map(|id| self.bindings.get(*id))
            .filter(|binding| binding.device() == device && binding.expires > now)
            .filter_map(|binding| Some((binding.id, binding.flow?)))
            .find(|(_, flow)| !not.contains(flow) && self.flows.get(*flow).is_some())
    }

    /// A binding is gone: what is held for its device ends, if no other binding of the device is left (row 26).
    pub(crate) fn binding_gone(&mut self, now: Time, aor: AorId, device: Device, binding: BindingId) {
        let left = self.accounts.get(aor).is_some_and(|entry| {
            let bindings = entry.bindings.iter().filter_map(|id| self.bindings.get(*id));
            bindings.into_iter().any(|other| other.device() == device)
        });
        if !left {
            self.device_rejected(now, aor, device);
        }
        let _ = binding;
    }

    /// A device will not come: its registration was refused or ended. Only what is held for it is touched.
    pub(crate) fn device_rejected(&mut self, now: Time, aor: AorId, device: Device) {
        for id in self.by_aor.get(&aor).cloned().unwrap_or_default() {
            let Some(mut context) = self.contexts.remove(&id) else { continue };
            let absent = context.kind.absent();
            for place in 0..context.branches.len() {
                let branch = &mut context.branches[place];
                if branch.device == device && matches!(branch.step, Step::Held { .. }) {
                    branch.step = Step::Ended(absent);
                    self.stop_push(&mut context.branches[place]);
                }
            }
            self.put_back(now, id, context);
        }
    }

    /// What the 200 to a REGISTER tells of calls: those in progress and those that ended a moment ago.
    pub(crate) fn wake_states(
        &self,
        aor: AorId,
        granted: &[Granted],
        asked: &[WakeId],
    ) -> Vec<(WakeId, WakeState)> {
        let mut states: Vec<(WakeId, WakeState)> = Vec::new();
        let mut add = |wake: WakeId, state: WakeState| {
            if !states.iter().any(|(known, _)| *known == wake) {
                states.push((wake, state));
            }
        };
        let running = self.by_aor.get(&aor).into_iter().flatten().filter_map(|id| self.contexts.get(id));
        for context in running.filter(|context| context.kind == Kind::Call) {
            let concerned = context.branches.iter().any(|branch| {
                granted.iter().any(|one| one.device == branch.device)
                    && !matches!(branch.step, Step::Ended(_))
            });
            match context.phase {
                Phase::Open if concerned => add(context.wake, WakeState::Pending),
                Phase::Open | Phase::Closing { .. } | Phase::Answered | Phase::Ended => {}
            }
        }
        if self.outcomes.has(aor) {
            for one in granted {
                for (wake, state) in self.outcomes.states(aor, one.device) {
                    add(*wake, state);
                }
            }
        }
        for wake in asked {
            let held_elsewhere = self.cluster.wakes.get(wake).is_some_and(|(whose, _)| *whose == aor);
            let otherwise = if held_elsewhere { WakeState::Pending } else { WakeState::Unknown };
            add(*wake, self.outcomes.state(aor, wake).unwrap_or(otherwise));
        }
        states
    }

    pub(crate) fn trace_pending(&mut self, now: Time, aor: AorId, device: Device, leg: Leg) {
        let Some(running) = self.by_aor.get(&aor) else { return };
        let wakes: Vec<WakeId> = running
            .iter()
            .filter_map(|id| self.contexts.get(id))
            .filter(|context| {
                context.phase == Phase::Open && context.branches.iter().any(|branch| branch.device == device)
            })
            .map(|context| context.wake)
            .collect();
        for wake in wakes {
            self.trace(now, Some(wake), leg.clone());
        }
    }

    pub(crate) fn persist_wake(&mut self, aor: Option<AorId>, wake: WakeId, state: WakeState) {
        self.persist_ended(aor, wake, state, &[]);
    }

    /// The same with the devices that know it.
    pub(crate) fn persist_ended(
        &mut self,
        aor: Option<AorId>,
        wake: WakeId,
        state: WakeState,
        knowing: &[Device],
    ) {
        let Some(entry) = aor.and_then(|aor| self.accounts.get(aor)) else { return };
        let known = if self.cluster.is_on() { knowing } else { &[] };
        let stored = StoredWake {
            wake,
            aor: entry.name().to_owned(),
            at: self.wall,
            state,
            node: self.cluster.name.clone(),
            knowing: known.iter().map(|device| device.0).collect(),
        };
        self.outputs.push_back(Output::Persist(Box::new(Persist::WakePut(stored))));
    }

    /// A timer within a context.
    pub(crate) fn on_context_due(&mut self, now: Time, id: ContextId) {
        let Some(mut context) = self.contexts.remove(&id) else { return };
        context.armed = Time::NEVER;
        let timers = self.config.timers.clone();
        match context.phase {
            Phase::Closing { until, .. } if until <= now => self.give_up_branches(&mut context),
            Phase::Open if context.until <= now => {
                if context.kind == Kind::Late {
                    // Row 3: no answer to the INVITE in time; the branch is dropped.
                    self.give_up_branches(&mut context);
                } else {
                    let absent = context.kind.absent();
                    self.close(now, &mut context, absent, &[]);
                }
            }
            Phase::Open | Phase::Closing { .. } | Phase::Answered | Phase::Ended => {}
        }
        if context.kind == Kind::Bye
            && context.phase == Phase::Open
            && context.started + timers.bye_answer <= now
        {
            // Its sender must not wait: the dialog is over for it. The BYE itself goes on being held.
            self.answer_bye(now, &mut context);
        }
        for place in 0..context.branches.len() {
            self.branch_due(now, id, &mut context, place);
        }
        self.put_back(now, id, context);
    }

    fn branch_due(&mut self, now: Time, id: ContextId, context: &mut Context, place: usize) {
        let timers = self.config.timers.clone();
        let Some(branch) = context.branches.get(place) else { return };
        if branch.is_over() {
            return;
        }
        if let Step::Held { until } = branch.step
            && until <= now
        {
            if let Some(binding) = branch.binding {
                self.trace(now, Some(context.wake), Leg::WakeExpired(binding));
            }
            context.branches[place].step = Step::Expired;
            let branch = &mut context.branches[place];
            if let Waking::Asked { key, .. } = branch.waking {
                self.pushes.remove(&key);
            }
            branch.waking = Waking::Over;
            return;
        }
        if let Step::Sent { since, heard: Heard::Nothing, .. } = branch.step
            && branch.waking == Waking::No
            && since + timers.proof <= now
        {
            if context.upstream.is_some() {
                return self.upstream_slow(now, id, context, place);
            }
            if self.is_mail(context) {
                // Better twice than never: from here on it is mail.
                return self.give_to_mail(now, context, place);
            }
            // The flow looked alive and is not: wake the device as well, if the allowance has one more.
            let allowed = match context.aor {
                Some(aor) if self.can_push(context.kind, branch) => {
                    let allowed = self.wakes_per_aor.take(now, self.quota_name(aor));
                    if allowed {
                        self.tell_spent(aor, None);
                    }
                    allowed
                }
                Some(_) | None => false,
            };
            if allowed {
                self.ask_push(now, id, context, place);
            } else {
                context.branches[place].waking = Waking::Over;
            }
            return;
        }
        let Waking::Asked { key, since, attempt, until } = branch.waking else { return };
        if until <= now {
            let step = branch.step;
            self.stop_push(&mut context.branches[place]);
            if let Step::Sent { client, heard: Heard::Nothing, .. } = step {
                // Neither an answer on the old flow nor a REGISTER: nobody is there.
                let _ = self.transactions.cancel(now, client, &[]);
                context.branches[place].step = Step::Expired;
            }
            return;
        }
        let due = timers
            .resend
            .get(usize::from(attempt).saturating_sub(1))
            .is_some_and(|after| since + *after <= now);
        if due {
            context.branches[place].waking = Waking::Asked { key, since, attempt: attempt + 1, until };
            self.pushes.insert(key, PushFor::Branch(id, u8::try_from(place).unwrap_or(u8::MAX)));
            self.emit_push(now, context, place, key, attempt + 1, until);
        }
    }

    fn give_to_mail(&mut self, now: Time, context: &mut Context, place: usize) {
        let Some(branch) = context.branches.get(place) else { return };
        if let Step::Sent { client, .. } = branch.step {
            self.transactions.abandon(wakeline_sip_transaction::Key::Client(client));
            if self.by_client.remove(&client).is_some() {
                context.clients = context.clients.saturating_sub(1);
            }
        }
        context.branches[place].waking = Waking::Over;
        context.branches[place].step = self.keep(now, context, place);
    }

    /// Nobody waits for these branches any more. Their transactions live on: a device that reads its INVITE only now still
    /// gets the CANCEL behind its first response (RFC 3261 §9.1).
    fn give_up_branches(&mut self, context: &mut Context) {
        for place in 0..context.branches.len() {
            let branch = &mut context.branches[place];
            if !branch.is_over() {
                branch.step = Step::Expired;
            }
            self.stop_push(&mut context.branches[place]);
        }
    }

    fn answer_bye(&mut self, now: Time, context: &mut Context) {
        context.phase = Phase::Ended;
        if let (Some(key), Some(request)) = (context.server, context.request.clone()) {
            self.answer(now, key, &request, 200, &[]);
            self.trace(now, Some(context.wake), Leg::FinalOut(200));
        }
    }

    /// Ends a request: nothing is held any more, whoever rings is cancelled, and `with` goes to the caller when all have
    /// ended (RFC 3261 §16.10), or when the time for that is up.
    pub(crate) fn close(&mut self, now: Time, context: &mut Context, with: u16, extra: &[(Name, String)]) {
        let invite = context.kind.is_invite();
        let mail = self.is_mail(context);
        for place in 0..context.branches.len() {
            match context.branches[place].step {
                Step::Held { .. } => context.branches[place].step = Step::Expired,
                Step::Sent { client, .. } if invite => {
                    // One that is complete already is about to tell.
                    let _ = self.transactions.cancel(now, client, extra);
                }
                // Each device takes its own copy: that another one has taken it is nothing to this one, and that nobody
                // has answered in time leaves it as mail.
                Step::Sent { .. } if mail && with < 300 => {}
                Step::Sent { .. } if mail => self.give_to_mail(now, context, place),
                Step::Sent { .. } => context.branches[place].step = Step::Ended(with),
                Step::Expired | Step::Ended(_) => {}
            }
            self.stop_push(&mut context.branches[place]);
        }
        if invite && self.cluster.is_on() {
            // A copy that was handed to another node may ring there, whatever the device does with its newer one.
            for client in context.superseded.clone() {
                let _ = self.transactions.cancel(now, client, extra);
            }
        }
        context.phase = Phase::Closing { with, until: now + self.config.timers.cancel };
    }
}
