//! Which binding makes room when an address of record has as many as it may have.
//!
//! RFC 3261 leaves the number of bindings to the registrar. A program that is installed anew, or a phone without an
//! instance behind a router that changes its port, leaves a binding behind each time; the living must not be refused
//! for the sake of the dead.

use smallvec::SmallVec;
use wakeline_clock::Time;

use crate::binding::Binding;
use crate::contact::Wanted;
use crate::flow::Flow;
use crate::machine::Registrar;
use crate::number::{AorId, BindingId};
use crate::refused::Refused;
use crate::trace::Leg;

/// What speaks for a binding, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// No call can reach it: neither flow nor living token.
    Unreachable,
    /// A token, but its device was not heard of for half the binding's lifetime.
    LongSilent,
    /// Reachable.
    Alive,
}

impl Registrar {
    /// Who would have to go for the new ones among `wanted`, the first first.
    ///
    /// # Errors
    /// 503 if the whole table is full: that passes. 403 if all the others of this address are alive: it would be no
    /// better to ask again soon (RFC 3261 §21.4.4), and another registrar (§21.5.4) would say the same.
    pub(crate) fn room(
        &self,
        now: Time,
        aor: AorId,
        wanted: &[Wanted<'_>],
    ) -> Result<SmallVec<[BindingId; 2]>, Refused> {
        let fresh = wanted.iter().filter(|one| one.existing.is_none() && one.lifetime > 0).count();
        let held: &[BindingId] = self.accounts.get(aor).map_or(&[], |entry| &entry.bindings);
        let excess = (held.len() + fresh).saturating_sub(self.config.limits.bindings_per_aor);
        if fresh == 0 {
            return Ok(SmallVec::new());
        }
        let mut going: Vec<_> = held
            .iter()
            .filter(|id| !wanted.iter().any(|one| one.existing == Some(**id)))
            .filter_map(|id| self.bindings.get(*id))
            .map(|binding| (self.claim(now, binding), binding.registered, binding.id))
            .filter(|(claim, _, _)| *claim != Claim::Alive)
            .collect();
        if going.len() < excess {
            return Err(Refused::code(403));
        }
        going.sort_unstable();
        going.truncate(excess);
        if (self.bindings.len() + fresh).saturating_sub(going.len()) > self.config.limits.bindings {
            return Err(Refused::busy());
        }
        Ok(going.into_iter().map(|(_, _, id)| id).collect())
    }

    /// Lets go whom `room` names, and says in the trace who went or that nobody could.
    pub(crate) fn make_room(&mut self, now: Time, aor: AorId, wanted: &[Wanted<'_>]) -> Result<(), Refused> {
        let going = match self.room(now, aor, wanted) {
            Ok(going) => going,
            Err(refused) => {
                if refused.code == 403 {
                    self.trace(now, None, Leg::TooManyBindings);
                }
                return Err(refused);
            }
        };
        for id in going {
            self.trace(now, None, Leg::MadeRoom(id));
            self.remove_binding(now, id);
        }
        Ok(())
    }

    fn claim(&self, now: Time, binding: &Binding) -> Claim {
        let half = u64::from(binding.lifetime / 2);
        // A stream that is gone is closed. Nobody closes a datagram flow: it counts while something is heard on it.
        let living =
            |flow: &Flow| flow.info.transport.is_reliable() || now.since(flow.heard).as_secs() < half;
        if binding.flow.and_then(|id| self.flows.get(id)).is_some_and(living) {
            Claim::Alive
        } else if !binding.wakeable.by_push() {
            Claim::Unreachable
        } else if u64::from(binding.seconds_left(now)) < half {
            Claim::LongSilent
        } else {
            Claim::Alive
        }
    }
}
