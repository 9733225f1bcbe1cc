//! What another node has stored: it is true here too, and is not stored again.

use wakeline_clock::{Time, WallTime};
use wakeline_push::WakeState;

use super::Home;
use crate::binding::Wakeable;
use crate::deadline::Due;
use crate::events::Package;
use crate::machine::Registrar;
use crate::number::{AorId, BindingId, Device};
use crate::outcome::{By, Ended};
use crate::output::{Loaded, Persist, StoredBinding, StoredWake};
use crate::trace::Leg;

impl Registrar {
    /// Another node has made this change, in the order in which it made them.
    pub fn handle_elsewhere(&mut self, now: Time, wall: WallTime, change: Persist) {
        self.wall = wall;
        match change {
            Persist::BindingPut(stored) => self.binding_elsewhere(now, stored),
            Persist::BindingRemoved(id) => self.drop_binding(now, id),
            Persist::WakePut(stored) => self.wake_elsewhere(now, stored),
            // Each node forgets by its own clock.
            Persist::WakeForgotten(_) => {}
            Persist::WakeSpent { aor, caller, .. } => {
                self.wakes_per_aor.note(now, aor);
                if let Some(caller) = caller {
                    self.wakes_per_caller.note(now, caller);
                }
            }
            Persist::NonceUsed { used, .. } => self.authenticator.note(wall, used),
            Persist::MailPut(mail) => self.handle_mail_elsewhere(now, wall, mail),
            Persist::MailRemoved(name) => self.handle_mail_gone_elsewhere(wall, &name),
        }
        self.pump(now);
    }

    /// Everything that the store holds, read again because changes may have been missed. What other nodes have and it does
    /// not name is gone.
    pub fn handle_all_elsewhere(&mut self, now: Time, wall: WallTime, all: Loaded) {
        self.wall = wall;
        let named: std::collections::BTreeSet<BindingId> = all.bindings.iter().map(|one| one.id).collect();
        let gone: Vec<BindingId> =
            self.cluster.homes.keys().copied().filter(|id| !named.contains(id)).collect();
        for id in gone {
            self.drop_binding(now, id);
        }
        for used in all.nonces {
            self.authenticator.note(wall, used);
        }
        for stored in all.bindings {
            self.binding_elsewhere(now, stored);
        }
        for stored in all.wakes {
            self.wake_elsewhere(now, stored);
        }
        for mail in all.mail {
            self.handle_mail_elsewhere(now, wall, mail);
        }
        self.pump(now);
    }

    /// Whose a binding is, by the row: noted when it is another node's.
    pub(crate) fn note_home(&mut self, stored: &StoredBinding) {
        if self.cluster.is_other(&stored.node) {
            let node = self.cluster.number(&stored.node);
            let home = if stored.connected { Home::Connected(node) } else { Home::Asleep(node) };
            self.cluster.homes.insert(stored.id, home);
        }
    }

    fn binding_elsewhere(&mut self, now: Time, stored: StoredBinding) {
        let id = stored.id;
        if !self.cluster.is_other(&stored.node) {
            // Ours, and another node has heard that its token is dead.
            if let Some(known) = self.bindings.get_mut(id)
                && stored.token_dead
                && known.registered == stored.registered
            {
                known.wakeable = Wakeable::TokenDead;
            }
            return;
        }
        if self.bindings.get(id).is_some_and(|known| known.registered > stored.registered) {
            // It has registered here since.
            return;
        }
        let Some(mut fresh) = self.read_binding(now, &stored) else { return };
        let aor = fresh.aor;
        let old = self.bindings.remove(id);
        let mut news = true;
        match old {
            Some(mut old) => {
                if let Some(flow) = old.flow {
                    self.flows.detach(flow, id);
                }
                self.deadlines.rearm(&mut old.armed, Time::NEVER, Due::Binding(id));
                news = old.text() != fresh.text();
                fresh.refresh_pushes = 0;
            }
            None => {
                if let Some(entry) = self.accounts.get_mut(aor) {
                    entry.bindings.push(id);
                }
            }
        }
        let (instance, reg_id) = (fresh.instance, fresh.reg_id);
        let registered = fresh.registered;
        self.bindings.insert(fresh);
        self.note_home(&stored);
        self.arm_binding(now, id, true);
        if instance != 0 {
            // One device that registered at two nodes before they had told each other: the newer stays (RFC 5626 §6).
            let twins = self.accounts.get(aor).map(|entry| entry.bindings.clone()).unwrap_or_default();
            for twin in twins.into_iter().filter(|twin| *twin != id) {
                let older = self.bindings.get(twin).is_some_and(|other| {
                    other.instance == instance
                        && other.reg_id == reg_id
                        && (other.registered, other.id) < (registered, id)
                });
                if older {
                    self.remove_binding(now, twin);
                }
            }
        }
        if news {
            self.changed(now, aor, Package::Reg);
            self.changed(now, aor, Package::Presence);
        }
        if stored.connected {
            self.release_elsewhere(now, aor, id);
        }
    }

    /// A device has connected to another node: what is held for it goes there, once.
    pub(crate) fn release_elsewhere(&mut self, now: Time, aor: AorId, id: BindingId) {
        let Some(device) = self.bindings.get(id).map(crate::binding::Binding::device) else { return };
        if let Some(link) = self.link_towards(id) {
            self.trace_pending(now, aor, device, Leg::RegisterOk(id));
            self.release_on(now, aor, device, id, link);
        }
    }

    fn wake_elsewhere(&mut self, now: Time, stored: StoredWake) {
        if !self.cluster.is_other(&stored.node) {
            return;
        }
        let Some(aor) = self.accounts.by_text(&stored.aor) else { return };
        let node = self.cluster.number(&stored.node);
        if stored.state == WakeState::Pending {
            if self.outcomes.state(aor, &stored.wake).is_none() {
                self.cluster.wakes.insert(stored.wake, (aor, node));
            }
            return;
        }
        self.cluster.wakes.remove(&stored.wake);
        let memory = u64::try_from(self.config.timers.memory.as_millis()).unwrap_or(u64::MAX);
        if self.wall.0.saturating_sub(stored.at.0) > memory {
            return;
        }
        let mut ended = Ended::bare(stored.wake, stored.state, By::Itself);
        ended.knowing.extend(stored.knowing.iter().map(|device| Device(*device)));
        self.end_elsewhere(now, aor, ended);
    }

    /// Remembers how a call ended that another node held.
    pub(crate) fn end_elsewhere(&mut self, now: Time, aor: AorId, ended: Ended) {
        // What has to make room is forgotten here only.
        let _ = self.outcomes.remember(now, aor, ended);
        self.arm_outcomes();
    }

    /// What the store held for another node's calls when we start.
    pub(crate) fn load_wake_elsewhere(&mut self, now: Time, stored: StoredWake) {
        self.wake_elsewhere(now, stored);
    }

    /// Whether this wall time is to be written for a registration: later than what any node wrote of the binding before,
    /// whoever's clock is ahead.
    pub(crate) fn after(&self, before: WallTime) -> WallTime {
        if self.cluster.is_on() { WallTime(self.wall.0.max(before.0.saturating_add(1))) } else { self.wall }
    }
}
