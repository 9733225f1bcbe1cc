//! What a call's requests and responses tell those who watch its parties.

use wakeline_clock::Time;

use super::Package;
use super::calls::{CallState, Direction};
use crate::context::{Context, Kind};
use crate::machine::Registrar;

impl Registrar {
    /// A call has come so far, for its caller's and its callee's watchers.
    pub(crate) fn call_is(&mut self, now: Time, context: &Context, state: CallState) {
        if self.events.by_state.is_empty() || !matches!(context.kind, Kind::Call | Kind::Outgoing) {
            return;
        }
        let Some(mark) =
            context.request.as_ref().map(|request| self.keyed.digest(request.call_id().as_bytes()))
        else {
            return;
        };
        let caller = context.caller_binding.and_then(|id| self.bindings.get(id)).map(|binding| binding.aor);
        let both = [(caller, Direction::Initiator), (context.aor, Direction::Recipient)];
        for (aor, direction) in both.into_iter().filter_map(|(aor, direction)| Some((aor?, direction))) {
            if self.events.is_watched(aor, Package::Dialog) {
                self.events.calls.put(now, aor, mark, context.wake, direction, state);
                self.changed(now, aor, Package::Dialog);
            }
        }
    }

    /// A BYE passes.
    pub(crate) fn call_ends(&mut self, now: Time, call_id: &str) {
        if self.events.calls.is_empty() {
            return;
        }
        let mark = self.keyed.digest(call_id.as_bytes());
        for aor in self.events.calls.end(mark) {
            self.changed(now, aor, Package::Dialog);
        }
    }
}
