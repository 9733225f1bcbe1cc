//! Calls that hear each other: by our wish, or because a caller asked to join (RFC 3911).

use wakeline_call::DialogId;

use crate::agent::UserAgent;
use crate::output::MediaRequest;
use crate::snapshot::{CallId, CallPhase};

impl UserAgent {
    /// Takes a call in or out. One that is not answered yet may wait for the others.
    pub(crate) fn conference(&mut self, id: CallId, on: bool) {
        let Some(call) = self.calls.get_mut(&id) else { return self.no_such_call(id) };
        if call.in_conference == on {
            return;
        }
        call.in_conference = on;
        self.ask_media(id, MediaRequest::Conference { on });
        self.changed(id);
    }

    /// The call that a Join names, or the code to refuse it with (RFC 3911 §4). An end that is acknowledged is forgotten.
    pub(crate) fn joined(&self, dialog: &DialogId) -> Result<CallId, u16> {
        let mut code = 481;
        for (id, session) in self.calls.values().filter_map(|call| Some((call.id, call.session_ref()?))) {
            match session.may_be_joined(dialog) {
                Ok(()) => return Ok(id),
                Err(481) => {}
                Err(other) => code = other,
            }
        }
        Err(code)
    }

    /// The caller is heard by the other call only once the person has answered: that is the consent that RFC 3911 §4
    /// wants of whoever is joined.
    pub(crate) fn note_join(&mut self, id: CallId, other: CallId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.joins = Some(other);
        }
    }

    /// A call that asked to join another is answered.
    pub(crate) fn follow_join(&mut self, id: CallId) {
        let Some(other) = self.calls.get(&id).and_then(|call| call.joins) else { return };
        let lasts = |call: &crate::phone_call::PhoneCall| call.phase != CallPhase::Ending;
        if self.calls.get(&other).is_some_and(lasts) {
            self.conference(other, true);
            self.conference(id, true);
        }
    }

    /// Who is left alone is in no conference any more.
    pub(crate) fn thin_conference(&mut self) {
        let mut members = self.calls.values().filter(|call| call.in_conference).map(|call| call.id);
        if let (Some(last), None) = (members.next(), members.next()) {
            self.conference(last, false);
        }
    }
}
