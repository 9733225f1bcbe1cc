//! What can be seen of a call from outside, and which messages are for it.

use wakeline_sip_dialog::{DialogId, SipCallId};
use wakeline_sip_message::Message;

use crate::call::{Call, Phase, State};
use crate::incoming::Stage;
use crate::intent::{IncomingState, Intent};
use crate::record::Direction;

impl Call {
    /// Whether a request from the wire is for this call: of one of its dialogs, or its INVITE once more.
    pub fn owns_request(&self, request: &Message) -> bool {
        let in_state = match &self.state {
            State::Outgoing(outgoing) => outgoing.owns_request(request),
            State::Incoming(incoming) => match incoming.arrived() {
                Some(arrived) => arrived.dialog().owns_request(request),
                // After 422 the caller asks again.
                None => self.cx.is_next_try(request),
            },
            State::Established(call) => call.dialog.owns_request(request),
            State::Ending(ending) => ending.dialog().owns_request(request),
            State::Ended(ended) => ended.dialog.as_ref().is_some_and(|dialog| dialog.owns_request(request)),
        };
        in_state || self.cx.is_same_invite(request) || self.cx.lingering.owns_request(request)
    }

    /// Whether a response that matched no transaction is for this call.
    pub fn owns_response(&self, response: &Message) -> bool {
        self.cx.lingering.ack_for(response).is_some() || self.is_invite_2xx(response)
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match &self.state {
            State::Outgoing(outgoing) if outgoing.is_cancelling() => Phase::Ending,
            State::Outgoing(outgoing) if outgoing.is_alerting() => Phase::Alerting,
            State::Outgoing(_) => Phase::Dialling,
            State::Incoming(_) => match self.incoming_state() {
                Some(IncomingState::Announced { .. }) => Phase::Announced,
                Some(IncomingState::Answering) => Phase::Answering,
                Some(
                    IncomingState::Ringing
                    | IncomingState::Established
                    | IncomingState::Ending
                    | IncomingState::Ended,
                )
                | None => Phase::Ringing,
            },
            State::Established(call) if call.is_setting_up() => match self.cx.record.direction {
                Direction::Incoming => Phase::Answering,
                Direction::Outgoing => Phase::Established,
            },
            State::Established(_) => Phase::Established,
            State::Ending(_) => Phase::Ending,
            State::Ended(_) => Phase::Ended,
        }
    }

    /// Where an incoming call stands; nothing for an outgoing one.
    pub fn incoming_state(&self) -> Option<IncomingState> {
        if self.cx.record.direction == Direction::Outgoing {
            return None;
        }
        Some(match &self.state {
            State::Incoming(incoming) => match (&incoming.stage, &incoming.intent) {
                (Stage::Announced { deadline }, _) => IncomingState::Announced { deadline: *deadline },
                (Stage::Arrived(_), Intent::Accept) => IncomingState::Answering,
                (Stage::Arrived(_), Intent::Undecided | Intent::Decline(_)) => IncomingState::Ringing,
            },
            State::Established(call) if call.is_setting_up() => IncomingState::Answering,
            State::Outgoing(_) | State::Established(_) => IncomingState::Established,
            State::Ending(_) => IncomingState::Ending,
            State::Ended(_) => IncomingState::Ended,
        })
    }

    /// What the person wants of an incoming call.
    pub fn intent(&self) -> Option<&Intent> {
        match &self.state {
            State::Incoming(incoming) => Some(&incoming.intent),
            State::Outgoing(_) | State::Established(_) | State::Ending(_) | State::Ended(_) => None,
        }
    }

    /// Who started it.
    pub fn direction(&self) -> Direction {
        self.cx.record.direction
    }

    /// The Call-ID on the wire.
    pub fn sip_call_id(&self) -> Option<&SipCallId> {
        self.cx.record.call_id.as_ref()
    }

    /// The far end's URI; empty if it is not known yet.
    pub fn peer(&self) -> &str {
        &self.cx.record.peer
    }

    /// The far end's display name.
    pub fn peer_name(&self) -> Option<&str> {
        self.cx.record.peer_name.as_deref()
    }

    /// Whether the far end is on hold by the last agreement.
    pub fn is_held(&self) -> bool {
        match &self.state {
            State::Established(call) => call.held,
            State::Outgoing(_) | State::Incoming(_) | State::Ending(_) | State::Ended(_) => false,
        }
    }

    /// The INVITE of an incoming call.
    pub fn invite(&self) -> Option<&Message> {
        self.cx.origin.as_ref().map(|origin| &origin.invite)
    }

    /// The INVITE of an outgoing call, as it was last sent.
    pub fn own_invite(&self) -> Option<Message> {
        self.cx.invite_message()
    }

    /// The settled dialog's name, for Replaces and Join.
    pub fn dialog_id(&self) -> Option<&DialogId> {
        match &self.state {
            State::Established(call) => Some(call.dialog.id()),
            State::Ending(ending) => Some(ending.dialog().id()),
            State::Incoming(incoming) => incoming.arrived().map(|arrived| arrived.dialog().id()),
            State::Outgoing(_) | State::Ended(_) => None,
        }
    }

    /// How many dialogs are open; for the gauges.
    pub fn dialogs(&self) -> usize {
        let own = match &self.state {
            State::Outgoing(outgoing) => outgoing.dialogs(),
            State::Incoming(incoming) => usize::from(incoming.arrived().is_some()),
            State::Established(_) | State::Ending(_) => 1,
            State::Ended(_) => 0,
        };
        own + self.cx.lingering.dialogs()
    }

    /// Whether it is over and nothing of it can come back: it may be forgotten.
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Ended(_)) && self.cx.lingering.is_empty() && self.cx.requests.is_empty()
    }
}
