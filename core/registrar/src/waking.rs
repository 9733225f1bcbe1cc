//! The push that asks a device to come (RFC 8599 §5.6.2): who can be woken for what, one request to a service, its last
//! word.

use core::time::Duration;

use wakeline_clock::{Time, WallTime};
use wakeline_push::WakeState;

use crate::binding::Wakeable;
use crate::contact::push_parameters;
use crate::context::{Branch, Context, Kind, Step, Waking};
use crate::machine::{PushFor, Registrar};
use crate::number::{BindingId, ContextId, PushKey};
use crate::output::{Caller, Output, PushPurpose, PushRequest, PushResult};
use crate::trace::Leg;

/// More attempts than any schedule has: no repetition.
const NO_REPETITION: u8 = 100;

impl Registrar {
    /// Whether a branch's device can be woken for this kind of request. A VoIP push rings, so it is for calls only; a
    /// token for notifications beside it takes the rest.
    pub(crate) fn can_push(&self, kind: Kind, branch: &Branch) -> bool {
        let binding = branch.binding.and_then(|id| self.bindings.get(id));
        match binding.map(|binding| binding.wakeable) {
            Some(Wakeable::Fcm | Wakeable::ApnsRemote | Wakeable::Hook | Wakeable::Webpush) => {
                kind != Kind::Late
            }
            Some(Wakeable::Apns) => kind == Kind::Call,
            Some(Wakeable::Never | Wakeable::Elsewhere | Wakeable::TokenDead) | None => false,
        }
    }

    /// Asks for the first push of a series for one branch.
    pub(crate) fn ask_push(&mut self, now: Time, id: ContextId, context: &mut Context, place: usize) {
        let Some(branch) = context.branches.get(place) else { return };
        if !self.can_push(context.kind, branch) {
            context.branches[place].waking = Waking::Over;
            return;
        }
        let wakeable = self.binding_of(branch).map_or(Wakeable::Never, |binding| binding.wakeable);
        self.last_push += 1;
        let key = PushKey(self.last_push);
        let until = now + context.kind.wake(&self.config.timers, wakeable == Wakeable::Webpush);
        let place_number = u8::try_from(place).unwrap_or(u8::MAX);
        self.pushes.insert(key, PushFor::Branch(id, place_number));
        let attempt = if wakeable == Wakeable::Fcm { 1 } else { NO_REPETITION };
        context.branches[place].waking = Waking::Asked { key, since: now, attempt, until };
        self.emit_push(now, context, place, key, 1, until);
        if context.kind == Kind::Call {
            self.persist_wake(context.aor, context.wake, WakeState::Pending);
        }
    }

    pub(crate) fn emit_push(
        &mut self,
        now: Time,
        context: &Context,
        place: usize,
        key: PushKey,
        attempt: u8,
        until: Time,
    ) {
        let Some(request) = context.request.as_ref() else { return };
        let purpose = if context.kind == Kind::Call {
            let from = request.from().ok();
            PushPurpose::Call {
                wake: context.wake,
                sip_call_id: request.call_id().to_owned(),
                caller: Caller {
                    uri: from.map_or(String::new(), |from| from.uri().as_str().to_owned()),
                    display_name: from.and_then(|from| from.display_name()).unwrap_or_default().into_owned(),
                },
            }
        } else {
            PushPurpose::Request { wake: context.wake, method: request.method().as_str().to_owned() }
        };
        let Some(binding) = context.branches.get(place).and_then(|branch| branch.binding) else { return };
        let sent = self.push_out(binding, key, purpose, attempt, until.since(now));
        if sent {
            self.trace(now, Some(context.wake), Leg::PushAsked { key, binding, attempt });
        }
    }

    /// Writes one push request; `false` if the binding says nothing of push any more.
    pub(crate) fn push_out(
        &mut self,
        binding: BindingId,
        key: PushKey,
        purpose: PushPurpose,
        attempt: u8,
        hold: Duration,
    ) -> bool {
        let Some(found) = self.bindings.get(binding) else { return false };
        let Some(target) = push_parameters(found) else { return false };
        let account = self.accounts.get(found.aor).map_or(String::new(), |entry| entry.name().to_owned());
        let contact_user = wakeline_sip_message::Uri::parse(found.uri())
            .ok()
            .and_then(|uri| uri.user_unescaped().map(|user| user.into_owned()))
            .unwrap_or_default();
        // A call is now or never; a refresh may come when the phone is next awake.
        let ttl = match purpose {
            PushPurpose::Call { .. } | PushPurpose::Request { .. } if found.wakeable == Wakeable::Webpush => {
                hold
            }
            PushPurpose::Call { .. } | PushPurpose::Request { .. } => Duration::ZERO,
            PushPurpose::Message { .. } | PushPurpose::Refresh => hold,
        };
        self.outputs.push_back(Output::Push(Box::new(PushRequest {
            key,
            target,
            purpose,
            account,
            contact_user,
            ttl,
            hold,
            attempt,
            asked_at: self.wall,
        })));
        true
    }

    /// No more pushes for a branch.
    pub(crate) fn stop_push(&mut self, branch: &mut Branch) {
        branch.waking = match branch.waking {
            Waking::No | Waking::Spared => Waking::Spared,
            Waking::Asked { key, .. } => {
                if self.pushes.remove(&key).is_some() {
                    self.outputs.push_back(Output::CancelPush(key));
                }
                Waking::Over
            }
            Waking::Over => Waking::Over,
        };
    }

    /// The push service's last word.
    pub(crate) fn on_push_result(&mut self, now: Time, key: PushKey, result: PushResult) {
        let Some(target) = self.pushes.get(&key).copied() else { return };
        let (binding, wake) = match target {
            PushFor::Branch(id, place) => {
                let Some(context) = self.contexts.get(&id) else { return };
                let branch = context.branches.get(usize::from(place));
                (branch.and_then(|branch| branch.binding), Some(context.wake))
            }
            PushFor::Refresh(binding) | PushFor::Mail(binding) => (Some(binding), None),
        };
        if result == PushResult::Accepted {
            self.trace(now, wake, Leg::PushAccepted(key));
            match target {
                PushFor::Refresh(_) | PushFor::Mail(_) => drop(self.pushes.remove(&key)),
                PushFor::Branch(..) => {}
            }
            return;
        }
        self.trace(now, wake, Leg::PushFailed(key));
        self.pushes.remove(&key);
        if let (PushResult::Gone { since }, Some(binding)) = (result, binding) {
            self.token_gone(now, binding, since);
        }
        if let PushFor::Branch(id, place) = target
            && let Some(mut context) = self.contexts.remove(&id)
        {
            let absent = context.kind.absent();
            if let Some(branch) = context.branches.get_mut(usize::from(place)) {
                branch.waking = Waking::Over;
                // Row 6: at once, not when the timer ends.
                if matches!(branch.step, Step::Held { .. }) {
                    branch.step = Step::Ended(absent);
                }
            }
            self.put_back(now, id, context);
        }
    }

    /// Row 6: the token is dead, unless it was registered after the service saw it die.
    fn token_gone(&mut self, now: Time, id: BindingId, since: Option<WallTime>) {
        let Some(binding) = self.bindings.get_mut(id) else { return };
        if since.is_some_and(|since| binding.registered > since) {
            return;
        }
        binding.wakeable = Wakeable::TokenDead;
        self.persist_binding(now, id);
    }
}
