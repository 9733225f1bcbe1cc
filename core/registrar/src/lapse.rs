//! Bindings over time: refresh pushes, expiry, and what the store held (RFC 3261 §10.3, RFC 8599 §5.5).

use core::time::Duration;

use smallvec::SmallVec;
use wakeline_clock::Time;
use wakeline_push::WakeState;
use wakeline_sip_message::{NameAddr, Params, Uri};

use crate::account::{Account, Credential};
use crate::binding::{Binding, BindingText, Client, Wakeable};
use crate::cluster::Home;
use crate::contact::{push_parameters, serves, wakeable_by};
use crate::deadline::Due;
use crate::machine::{PushFor, Registrar};
use crate::number::{AorId, BindingId, PushKey};
use crate::outcome::{By, Ended};
use crate::output::{Loaded, PushPurpose, StoredBinding, StoredWake};

/// Before the end, for a phone that has not refreshed by then (RFC 8599 §5.5 asks for at least this much).
const LAST_CHANCE: Duration = Duration::from_secs(120);

impl Registrar {
    /// When a binding's timer is due: the next refresh push, or its end. Refresh pushes go where they stay quiet, with
    /// normal priority: a VoIP push would ring, a web push would need a person. A device that can refresh by itself
    /// (`+sip.pnsreg`) is only helped when it has not.
    fn binding_due(&self, binding: &Binding) -> Time {
        match binding.wakeable {
            Wakeable::Fcm | Wakeable::ApnsRemote | Wakeable::Hook => {}
            Wakeable::Never
            | Wakeable::Apns
            | Wakeable::Webpush
            | Wakeable::Elsewhere
            | Wakeable::TokenDead => {
                return binding.expires;
            }
        }
        let lifetime = Duration::from_secs(u64::from(binding.lifetime));
        let start = binding.expires - lifetime;
        let by_itself = Params::parse(binding.params()).is_ok_and(|params| params.has("+sip.pnsreg"));
        let schedule: [Time; 3] = if by_itself {
            let margin = Duration::from_secs(u64::from(self.config.push.pnsreg / 2)).min(lifetime / 4);
            [binding.expires - margin, binding.expires - LAST_CHANCE, binding.expires]
        } else {
            [start + lifetime / 2, start + lifetime * 4 / 5, binding.expires - LAST_CHANCE]
        };
        schedule
            .get(usize::from(binding.refresh_pushes))
            .copied()
            .unwrap_or(binding.expires)
            .min(binding.expires)
    }

    /// Arms a binding's timer. A later instant than the armed one is left to the timer itself: a refresh then costs
    /// nothing here.
    pub(crate) fn arm_binding(&mut self, _now: Time, id: BindingId, anew: bool) {
        let Some(due) = self.bindings.get(id).map(|binding| self.binding_due(binding)) else { return };
        let Some(binding) = self.bindings.get_mut(id) else { return };
        if anew || due < binding.armed {
            let mut armed = binding.armed;
            self.deadlines.rearm(&mut armed, due, Due::Binding(id));
            binding.armed = armed;
        }
    }

    pub(crate) fn on_binding_due(&mut self, now: Time, id: BindingId) {
        let Some(binding) = self.bindings.get_mut(id) else { return };
        binding.armed = Time::NEVER;
        if binding.expires <= now {
            match self.cluster.homes.get(&id) {
                // That node says so too, by its own clock.
                Some(Home::Connected(_) | Home::Asleep(_)) => self.drop_binding(now, id),
                Some(Home::Orphan) | None => self.remove_binding(now, id),
            }
            return;
        }
        let due = self.bindings.get(id).map_or(Time::NEVER, |binding| self.binding_due(binding));
        if due <= now {
            self.refresh_by_push(now, id);
        }
        self.arm_binding(now, id, true);
    }

    fn refresh_by_push(&mut self, now: Time, id: BindingId) {
        let Some(binding) = self.bindings.get_mut(id) else { return };
        binding.refresh_pushes += 1;
        match self.cluster.homes.get(&id) {
            Some(Home::Connected(_) | Home::Asleep(_)) => return,
            // Of those that are left one does it.
            Some(Home::Orphan) if !self.cluster.leads() => return,
            Some(Home::Orphan) | None => {}
        }
        let left = binding.expires.since(now);
        // A phone with a living connection refreshes by itself.
        let asleep = binding.flow.is_none_or(|flow| self.flows.get(flow).is_none());
        if asleep || left <= LAST_CHANCE {
            self.last_push += 1;
            let key = PushKey(self.last_push);
            self.pushes.insert(key, PushFor::Refresh(id));
            if !self.push_out(id, key, PushPurpose::Refresh, 1, left) {
                self.pushes.remove(&key);
            }
        }
    }

    /// Takes over what the store held. Flows are gone; bindings keep their names.
    pub(crate) fn load(&mut self, now: Time, loaded: Loaded) {
        for account in loaded.accounts {
            self.put_account(now, account);
        }
        for used in loaded.nonces {
            self.authenticator.note(self.wall, used);
        }
        for stored in loaded.bindings {
            self.load_binding(now, stored);
        }
        for wake in loaded.wakes {
            self.load_wake(now, wake);
        }
        let mut mail = loaded.mail;
        mail.sort_by(|one, other| one.name.cmp(&other.name));
        for piece in mail {
            self.load_mail(now, piece);
        }
        self.arm_outcomes();
    }

    fn load_binding(&mut self, now: Time, stored: StoredBinding) {
        if self.aor_of_stored(&stored.aor).is_none() {
            return;
        }
        let Some(mut binding) = self.read_binding(now, &stored) else {
            self.outputs.push_back(crate::output::Output::Persist(Box::new(
                crate::output::Persist::BindingRemoved(stored.id),
            )));
            return;
        };
        let elapsed = u64::from(stored.lifetime).saturating_sub(binding.expires.since(now).as_secs());
        // What of the refresh schedule lies behind us is not caught up with in one burst after a restart.
        binding.refresh_pushes = u8::from(elapsed * 2 > u64::from(stored.lifetime));
        let (id, aor) = (binding.id, binding.aor);
        self.note_home(&stored);
        self.bindings.insert(binding);
        if let Some(entry) = self.accounts.get_mut(aor) {
            entry.bindings.push(id);
        }
        self.arm_binding(now, id, true);
    }

    /// A binding as it was stored; `None` when its account is unknown, it has lapsed, or it cannot be read.
    pub(crate) fn read_binding(&mut self, now: Time, stored: &StoredBinding) -> Option<Binding> {
        let left = stored.expires.0.saturating_sub(self.wall.0);
        let aor = self.aor_of_stored(&stored.aor)?;
        let size = stored.contact.len() + stored.params.len() + stored.call_id.len() + stored.path.len();
        if left == 0 || size > usize::from(u16::MAX) || Uri::parse(&stored.contact).is_err() {
            return None;
        }
        let text = BindingText {
            uri: &stored.contact,
            params: &stored.params,
            call_id: &stored.call_id,
            path: &stored.path,
        };
        let mut binding = Binding::new(stored.id, aor, text);
        let address = format!("<{}>{}", stored.contact, stored.params);
        if let Ok(address) = NameAddr::parse(&address) {
            let instance = address.instance().filter(|text| !text.is_empty());
            binding.instance = instance.map_or(0, |text| self.keyed.digest(text.as_bytes()) | 1);
            binding.q = address.q().unwrap_or(1000);
        }
        if let Some(parameters) = push_parameters(&binding)
            && serves(&self.config.push, &parameters.provider)
        {
            binding.token = self.keyed.digest(parameters.prid.expose().as_bytes()) | 1;
            binding.wakeable = match (stored.token_dead, stored.woken_elsewhere) {
                (true, _) => Wakeable::TokenDead,
                (false, true) => Wakeable::Elsewhere,
                (false, false) => wakeable_by(&parameters),
            };
        }
        binding.reg_id = stored.reg_id;
        binding.cseq = stored.cseq;
        binding.lifetime = stored.lifetime;
        binding.expires = now + Duration::from_millis(left);
        binding.stored = binding.expires;
        binding.registered = stored.registered;
        binding.client = if stored.reads_wake_state { Client::Ours } else { Client::Foreign };
        Some(binding)
    }

    /// The address of a stored binding. One of an upstream has no account here but by its bindings.
    fn aor_of_stored(&mut self, name: &str) -> Option<AorId> {
        self.accounts.by_text(name).or_else(|| {
            self.upstreams.of_aor(name)?;
            let (user, domain) = name.rsplit_once('@')?;
            let (user, domain) = (user.to_owned(), domain.to_owned());
            Some(self.accounts.put(Account {
                user,
                domain,
                credential: Credential::AtUpstream,
                upstream: None,
                voicemail: None,
            }))
        })
    }

    /// Row 15: what was held when we went down has failed; how other wakes ended is still true for a while.
    fn load_wake(&mut self, now: Time, stored: StoredWake) {
        if self.cluster.is_other(&stored.node) {
            return self.load_wake_elsewhere(now, stored);
        }
        let keep = u64::try_from(self.config.timers.memory.as_millis()).unwrap_or(u64::MAX);
        let aor = self.accounts.by_text(&stored.aor);
        let lost = stored.state == WakeState::Pending;
        let recent = self.wall.0.saturating_sub(stored.at.0) <= keep || lost;
        let Some(aor) = aor.filter(|_| recent) else {
            self.forget_stored(stored.wake);
            return;
        };
        let ended = Ended {
            wake: stored.wake,
            state: if lost { WakeState::Failed } else { stored.state },
            by: if lost { By::Restart } else { By::Itself },
            knowing: SmallVec::new(),
            expected: SmallVec::new(),
            invite: None,
        };
        if let Some(forgotten) = self.outcomes.remember(now, aor, ended) {
            self.forget_stored(forgotten);
        }
        if lost {
            self.persist_wake(Some(aor), stored.wake, WakeState::Failed);
        }
    }
}
