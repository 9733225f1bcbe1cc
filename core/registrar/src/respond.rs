//! Responses: which go on to the caller, and the one that ends the request (RFC 3261 §16.7).

use smallvec::SmallVec;
use wakeline_clock::Time;
use wakeline_push::WakeState;
use wakeline_sip_message::{Message, Name};
use wakeline_sip_transaction::{ClientKey, Key, ServerKey};

use crate::binding::Client;
use crate::context::{Branch, Context, Course, Heard, Kind, Lost, Phase, Step, Waking};
use crate::deadline::Due;
use crate::events::CallState;
use crate::forward::towards_caller;
use crate::machine::Registrar;
use crate::number::{ContextId, Device};
use crate::outcome::{By, Ended};
use crate::output::{Output, Persist};
use crate::trace::Leg;

impl Registrar {
    pub(crate) fn on_response(&mut self, now: Time, key: ClientKey, response: &Message) {
        let Some((id, place)) = self.by_client.get(&key).copied() else {
            if !self.on_mail_response(now, key, response)
                && !self.on_notify_response(now, key, response)
                && !self.on_line_response(now, key, response)
            {
                self.on_register_response(now, key, response);
            }
            return;
        };
        let Some(mut context) = self.contexts.remove(&id) else { return };
        let status = response.status().unwrap_or(0);
        let place = usize::from(place);
        match status {
            100..=199 => self.on_provisional(now, &mut context, place, key, status, response),
            200..=299 => self.on_success(now, &mut context, place, key, response),
            _ => self.on_failure(now, id, &mut context, place, key, status, response),
        }
        self.put_back(now, id, context);
    }

    fn on_provisional(
        &mut self,
        now: Time,
        context: &mut Context,
        place: usize,
        key: ClientKey,
        status: u16,
        response: &Message,
    ) {
        let Some(branch) = context.branches.get_mut(place) else { return };
        let mut rings = false;
        let heard_now = match branch.step {
            // The 100 of another node says nothing of the device.
            Step::Sent { flow, .. } if status == 100 && self.cluster.at_end_of(flow).is_some() => {
                Heard::Nothing
            }
            Step::Sent { .. } | Step::Held { .. } | Step::Expired | Step::Ended(_) if status == 100 => {
                Heard::Trying
            }
            Step::Sent { .. } | Step::Held { .. } | Step::Expired | Step::Ended(_) => Heard::Ringing,
        };
        if let Step::Sent { client, heard, .. } = &mut branch.step
            && *client == key
        {
            rings = *heard < Heard::Ringing && heard_now == Heard::Ringing;
            *heard = (*heard).max(heard_now);
        }
        let binding = branch.binding;
        if rings {
            // Row 19: it is awake and knows.
            self.stop_push(branch);
            if let Some(binding) = binding {
                self.trace(now, Some(context.wake), Leg::Ringing(binding));
            }
            self.call_is(now, context, CallState::Early);
        }
        // §16.7 step 5: a 100 goes no further.
        if status > 100 && context.phase == Phase::Open {
            self.pass_up(now, context.server, context.ahead, response);
        }
    }

    fn on_success(
        &mut self,
        now: Time,
        context: &mut Context,
        place: usize,
        key: ClientKey,
        response: &Message,
    ) {
        // Every 2xx goes to the caller (§16.7 step 5), first, repeated, or from a second device (row 29).
        self.pass_up(now, context.server, context.ahead, response);
        let Some(branch) = context.branches.get_mut(place) else { return };
        let (device, binding) = (branch.device, branch.binding);
        if let Step::Sent { client, .. } = branch.step
            && client != key
        {
            // The answer came on the flow from before: the newer copy is not needed.
            context.superseded.push(client);
        }
        branch.step = Step::Ended(200);
        self.stop_push(&mut context.branches[place]);
        match context.phase {
            Phase::Open | Phase::Closing { .. } => {}
            Phase::Answered | Phase::Ended => return,
        }
        if let Some(binding) = binding {
            self.trace(now, Some(context.wake), Leg::Answered(binding));
        }
        self.trace(now, Some(context.wake), Leg::FinalOut(response.status().unwrap_or(200)));
        self.call_is(now, context, CallState::Confirmed);
        let reason = [(Name::Reason, "SIP;cause=200;text=\"Call completed elsewhere\"".to_owned())];
        let expected = self.expected(context);
        self.close(now, context, 200, &reason);
        context.phase = Phase::Answered;
        self.remember(now, context, WakeState::Elsewhere, &[device], expected);
        // Of mail another device may not have its copy yet.
        if context.all_over() || !self.is_mail(context) {
            context.request = None;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a response and where it belongs")]
    fn on_failure(
        &mut self,
        now: Time,
        id: ContextId,
        context: &mut Context,
        place: usize,
        key: ClientKey,
        status: u16,
        response: &Message,
    ) {
        let Some(branch) = context.branches.get_mut(place) else { return };
        match branch.step {
            Step::Sent { client, .. } if client == key => {}
            // Row 13: 482 or 486 of a branch that was sent anew, or a late answer of one that is over.
            Step::Sent { .. } | Step::Held { .. } | Step::Expired | Step::Ended(_) => return,
        }
        // RFC 3261 §8.2.2.2: the device has it already, and answers where it came first.
        if let (482, Some((client, flow))) = (status, branch.earlier.take())
            && context.superseded.contains(&client)
        {
            context.superseded.retain(|known| *known != client);
            branch.step = Step::Sent { client, flow, since: now, heard: Heard::Ringing };
            match context.phase {
                Phase::Open => {}
                Phase::Closing { .. } | Phase::Answered | Phase::Ended => {
                    let _ = self.transactions.cancel(now, client, &[]);
                }
            }
            return;
        }
        if let Some(binding) = branch.binding {
            self.trace(now, Some(context.wake), Leg::Refused(binding, status));
        }
        // RFC 5626 §5.3: the edge says that the flow is dead. A 408 from there says the same.
        if matches!(status, 430 | 408) && context.phase == Phase::Open && context.upstream.is_none() {
            self.branch_lost(now, id, context, place, Lost::Silence);
            return;
        }
        if matches!(status, 401 | 407) && context.line.is_some() {
            return self.challenged_by_upstream(now, id, context, place, response);
        }
        if status == 503
            && let Step::Sent { flow, .. } = context.branches[place].step
        {
            // RFC 3263 §4.3: another next hop may have room.
            context.branches[place].failed.push(flow);
            if let Some(next) = self.upstream_instead(context, place) {
                return self.forward(now, id, context, place, next.id);
            }
        }
        let branch = &mut context.branches[place];
        branch.step = Step::Ended(status);
        let device = branch.device;
        self.stop_push(branch);
        if context.best.as_ref().is_none_or(|best| rank(status) < rank(best.status().unwrap_or(0))) {
            context.best = Some(response.clone());
        }
        if status >= 600 && context.phase == Phase::Open {
            // §16.7 step 5: everybody is refused.
            let reason = [(Name::Reason, format!("SIP;cause={status};text=\"Declined elsewhere\""))];
            let expected = self.expected(context);
            self.close(now, context, status, &reason);
            self.remember(now, context, WakeState::Declined, &[device], expected);
        }
    }

    /// The caller gave up (RFC 3261 §16.10). Its CANCEL has been answered.
    pub(crate) fn on_cancelled(&mut self, now: Time, key: ServerKey, cancel: &Message) {
        let Some(id) = self.by_server.get(&key).copied() else { return };
        let Some(mut context) = self.contexts.remove(&id) else { return };
        if context.phase == Phase::Open {
            self.trace(now, Some(context.wake), Leg::CallerGone);
            let extra: Vec<_> =
                cancel.headers(Name::Reason).map(|text| (Name::Reason, text.to_owned())).collect();
            let expected = self.expected(&context);
            // An upstream that forks says so when another of its devices has answered (RFC 3326).
            let elsewhere = extra.iter().any(|(_, text)| text.replace(' ', "").contains("cause=200"));
            let state = if elsewhere { WakeState::Elsewhere } else { WakeState::Cancelled };
            self.close(now, &mut context, 487, &extra);
            self.remember(now, &context, state, &[], expected);
        }
        self.put_back(now, id, context);
    }

    /// No final response came, or the flow broke.
    pub(crate) fn on_lost(&mut self, now: Time, key: ClientKey, lost: Lost) {
        let Some((id, place)) = self.by_client.get(&key).copied() else {
            if !self.mail_lost(key) && !self.notify_lost(key, lost) && !self.line_lost(now, key, lost) {
                self.register_lost(now, key, lost);
            }
            return;
        };
        let Some(mut context) = self.contexts.remove(&id) else { return };
        let place = usize::from(place);
        let current = context
            .branches
            .get(place)
            .is_some_and(|branch| matches!(branch.step, Step::Sent { client, .. } if client == key));
        if current {
            self.branch_lost(now, id, &mut context, place, lost);
        }
        self.put_back(now, id, context);
    }

    pub(crate) fn on_terminated(&mut self, now: Time, key: Key) {
        match key {
            Key::Client(client) => {
                let Some((id, place)) = self.by_client.remove(&client) else { return };
                let Some(mut context) = self.contexts.remove(&id) else { return };
                context.clients = context.clients.saturating_sub(1);
                context.superseded.retain(|known| *known != client);
                // A branch whose transaction ended without any word (a CANCEL that nobody answered).
                if let Some(branch) = context.branches.get_mut(usize::from(place))
                    && let Step::Sent { client: current, .. } = branch.step
                    && current == client
                {
                    branch.step = Step::Ended(context.kind.absent());
                }
                self.put_back(now, id, context);
            }
            Key::Server(server) => {
                self.by_server.remove(&server);
            }
        }
    }

    fn pass_up(&mut self, now: Time, server: Option<ServerKey>, ahead: u8, response: &Message) {
        if let (Some(key), Ok(passed)) = (server, towards_caller(response, ahead)) {
            // One more 2xx after the transaction's end has nowhere to go (RFC 6026 §7.1).
            let _ = self.transactions.respond(now, key, passed);
        }
    }

    /// Foreign devices that were pushed and have not come.
    fn expected(&self, context: &Context) -> SmallVec<[Device; 1]> {
        context
            .branches
            .iter()
            .filter(|branch| matches!(branch.step, Step::Held { .. } | Step::Expired))
            .filter(|branch| {
                branch
                    .binding
                    .and_then(|id| self.bindings.get(id))
                    .is_some_and(|binding| binding.client == Client::Foreign)
            })
            .map(|branch| branch.device)
            .collect()
    }

    /// Keeps for a while how a call ended (rule 5).
    fn remember(
        &mut self,
        now: Time,
        context: &Context,
        state: WakeState,
        knowing: &[Device],
        expected: SmallVec<[Device; 1]>,
    ) {
        let (Kind::Call, Some(aor)) = (context.kind, context.aor) else { return };
        match context.course {
            Course::Devices => {}
            // It was missed when it went there.
            Course::Voicemail => return,
            // That is the other node's.
            Course::Handed => return,
        }
        self.note_missed(now, context, state);
        let mut known: SmallVec<[Device; 2]> = SmallVec::from_slice(knowing);
        for branch in &context.branches {
            // What a device that is not there is worth, it has not said itself.
            if let Step::Ended(code) = branch.step
                && branch.sent > 0
                && (200..700).contains(&code)
                && code != context.kind.absent()
                && !known.contains(&branch.device)
            {
                known.push(branch.device);
            }
        }
        // Only a call that somebody does not know of, or was woken for, needs memory: a push may come late, to a process
        // that knows nothing of what the one before it did.
        let needs_none = |branch: &Branch| {
            known.contains(&branch.device) && matches!(branch.waking, Waking::No | Waking::Spared)
        };
        if context.branches.iter().all(needs_none) {
            return;
        }
        let invite = if expected.is_empty() { None } else { context.request.clone() };
        let knowing = known.clone();
        let ended = Ended { wake: context.wake, state, by: By::Itself, knowing: known, expected, invite };
        if let Some(forgotten) = self.outcomes.remember(now, aor, ended) {
            self.forget_stored(forgotten);
        }
        self.persist_ended(Some(aor), context.wake, state, &knowing);
        self.arm_outcomes();
    }

    pub(crate) fn forget_stored(&mut self, wake: wakeline_push::WakeId) {
        self.outputs.push_back(Output::Persist(Box::new(Persist::WakeForgotten(wake))));
    }

    pub(crate) fn arm_outcomes(&mut self) {
        let next = self.outcomes.next();
        self.deadlines.rearm(&mut self.outcomes_armed, next, Due::Outcomes);
    }

    /// Sends the caller its final response once all branches are over.
    fn finish(&mut self, now: Time, id: ContextId, context: &mut Context) {
        let decided = match context.phase {
            Phase::Open => None,
            Phase::Closing { with, .. } => Some(with),
            Phase::Answered | Phase::Ended => return,
        };
        let best = context.best.take().filter(|best| {
            // A caller that gave up is told 487, whatever the devices said last (§16.10); a 6xx is told as it came.
            decided.is_none_or(|with| with >= 600 && best.status().is_some_and(|status| status >= 600))
        });
        let none_came = context.branches.iter().any(|branch| matches!(branch.step, Step::Expired));
        let local = decided.unwrap_or_else(|| {
            // A device that was not there is worth more than one that could not be written to.
            let codes = context.branches.iter().filter_map(|branch| match branch.step {
                Step::Ended(code) if code >= 300 => Some(code),
                Step::Ended(_) | Step::Held { .. } | Step::Sent { .. } | Step::Expired => None,
            });
            let absent = context.kind.absent();
            if none_came { absent } else { codes.min_by_key(|code| rank(*code)).unwrap_or(absent) }
        });
        // What is kept for a device is a success, whatever those say who were there (RFC 3428 §7).
        let kept = context.branches.iter().find_map(|branch| match branch.step {
            Step::Ended(code @ (200 | 202)) => Some(code),
            Step::Ended(_) | Step::Held { .. } | Step::Sent { .. } | Step::Expired => None,
        });
        let kept = kept.filter(|_| !context.kind.is_invite());
        let best = best.filter(|_| kept.is_none());
        let local = kept.unwrap_or(local);
        let code = best.as_ref().and_then(Message::status).unwrap_or(local);
        if context.kind == Kind::Call && decided.is_none() {
            let state = if code >= 600 { WakeState::Declined } else { WakeState::Failed };
            let expected = self.expected(context);
            self.remember(now, context, state, &[], expected);
        } else if context.kind == Kind::Call && decided == Some(context.kind.absent()) {
            let expected = self.expected(context);
            self.remember(now, context, WakeState::Cancelled, &[], expected);
        }
        if self.divert(now, id, context, code, decided) {
            return;
        }
        self.call_is(now, context, CallState::Terminated);
        match (best, context.request.take(), context.server) {
            // §16.7 step 6: a 503 says that the next element has no room, not that the caller's proxy has none.
            (Some(best), request, Some(key)) => match (code, request) {
                (503, Some(request))
                    if (context.kind == Kind::Call || context.kind == Kind::Other)
                        && context.upstream.is_none() =>
                {
                    self.answer(now, key, &request, 500, &[]);
                }
                _ => self.pass_up(now, Some(key), context.ahead, &best),
            },
            (None, Some(request), Some(key)) => {
                let retry_after = self.config.timers.retry_after.as_secs().to_string();
                let headers = match (code, context.kind) {
                    (503, _) => vec![(Name::RetryAfter, retry_after)],
                    // What a PBX behind us decides by (RFC 6432): whether somebody was there who did not answer.
                    (480, Kind::Call) if decided.is_some() => {
                        vec![(Name::Reason, "Q.850;cause=19;text=\"No answer\"".to_owned())]
                    }
                    (480, Kind::Call) => {
                        vec![(Name::Reason, "Q.850;cause=20;text=\"Subscriber absent\"".to_owned())]
                    }
                    (_, _) => Vec::new(),
                };
                self.answer(now, key, &request, code, &headers);
            }
            (_, _, None) | (None, None, Some(_)) => {}
        }
        if context.kind != Kind::Late {
            self.trace(now, Some(context.wake), Leg::FinalOut(code));
        }
        context.phase = Phase::Ended;
    }

    /// Ends what has ended, arms what goes on.
    pub(crate) fn put_back(&mut self, now: Time, id: ContextId, mut context: Box<Context>) {
        if context.all_over() {
            self.finish(now, id, &mut context);
            match context.phase {
                Phase::Answered | Phase::Ended => self.drop_superseded(&mut context),
                Phase::Open | Phase::Closing { .. } => {}
            }
        }
        let finished = context.is_finished();
        if let Some(aor) = context.aor.filter(|_| finished || !context.is_waiting())
            && let Some(waiting) = self.by_aor.get_mut(&aor)
        {
            waiting.retain(|other| *other != id);
            if waiting.is_empty() {
                self.by_aor.remove(&aor);
            }
        }
        if finished {
            self.deadlines.rearm(&mut context.armed, Time::NEVER, Due::Context(id));
            for place in 0..context.branches.len() {
                self.stop_push(&mut context.branches[place]);
            }
            if let Some(key) = context.server {
                self.by_server.remove(&key);
            }
            return;
        }
        let next = context.next(&self.config.timers);
        self.deadlines.rearm(&mut context.armed, next, Due::Context(id));
        self.contexts.insert(id, context);
    }

    /// Transactions of abandoned branches: nothing that they may still say matters now.
    fn drop_superseded(&mut self, context: &mut Context) {
        for client in core::mem::take(&mut context.superseded) {
            self.transactions.abandon(Key::Client(client));
            if self.by_client.remove(&client).is_some() {
                context.clients = context.clients.saturating_sub(1);
            }
        }
    }
}

/// The order in which final responses are preferred (§16.7 step 6): 6xx, then the lowest class, and within 4xx what tells
/// the caller how to try again, then what a person decided, then what only says that a device was not there.
fn rank(status: u16) -> u16 {
    match status {
        600..=699 => 0,
        300..=399 => 10,
        401 | 407 => 20,
        415 | 420 | 484 | 488 => 21,
        486 => 22,
        480 | 404 | 408 | 410 | 430 => 40,
        487 => 41,
        400..=499 => 30,
        503 => 60,
        _ => 50,
    }
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn the_best_response_is_what_helps_the_caller_most() {
        let best = |codes: &[u16]| codes.iter().copied().min_by_key(|code| rank(*code));
        assert_eq!(best(&[480, 486]), Some(486));
        assert_eq!(best(&[486, 603]), Some(603));
        assert_eq!(best(&[500, 480]), Some(480));
        assert_eq!(best(&[486, 407]), Some(407));
        assert_eq!(best(&[487, 480, 503]), Some(480));
        assert_eq!(best(&[302, 404]), Some(302));
    }
}
