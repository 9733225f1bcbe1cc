//! What the machines of calls tell, as events for a person.

use wakeline_call::Event as Told;

use crate::agent::UserAgent;
use crate::calling::bare;
use crate::event::Event;
use crate::farewell::Farewell;
use crate::output::MediaRequest;
use crate::phone_call::{Machine, PhoneCall};
use crate::snapshot::{CallId, CallPhase};

impl UserAgent {
    pub(crate) fn call_told(&mut self, id: CallId, event: Told) {
        match event {
            Told::Arrived { replaces, join, answer_after } => self.arrived(id, replaces, join, answer_after),
            Told::Progress { ringback, .. } => {
                self.enter(id, CallPhase::Alerting);
                self.ring_back(id, ringback);
            }
            Told::MediaAgreed => {
                self.ring_back(id, false);
                if let Some(call) = self.calls.get_mut(&id) {
                    call.media.agreed = true;
                }
                self.run_media(id);
            }
            Told::Answered => {
                self.ring_back(id, false);
                let now = self.now;
                if let Some(call) = self.calls.get_mut(&id) {
                    call.answered = Some(now);
                }
                self.enter(id, CallPhase::Established);
                self.follow_join(id);
                if let Some(digits) = self.calls.get_mut(&id).and_then(|call| call.post_dial.take()) {
                    self.send_digits(id, &digits);
                }
            }
            Told::Settled => self.follow_binding(id),
            Told::Changed { hold } => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.on_hold = hold;
                }
                self.changed(id);
            }
            Told::ChangeRefused { code } => {
                self.complain(
                    None,
                    Some(id),
                    format!("the far end refused the change ({code})"),
                    "the call goes on as it was",
                );
                self.changed(id);
            }
            Told::Digit(digit) => self.tell(Event::DtmfReceived { call: id, digit }),
            Told::DigitRefused(digit) => {
                let cure = "set dtmfmode to 2 (telephone events)";
                self.complain(None, Some(id), format!("the far end did not take the digit {digit}"), cure);
            }
            Told::TransferAsked { refer_to, accepted, .. } => {
                if !accepted {
                    self.complain(
                        None,
                        Some(id),
                        format!("the far end asked us to call {}", bare(&refer_to)),
                        "transfers are declined",
                    );
                }
            }
            Told::Redirected { target } => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.peer = bare(&target);
                }
                self.changed(id);
            }
            Told::Ending => {
                self.ask_media(id, MediaRequest::Stop);
                self.enter(id, CallPhase::Ending);
            }
            Told::Ended(record) => {
                let Some(call) = self.calls.remove(&id) else { return };
                if call.phase != CallPhase::Ending {
                    self.ask_media(id, MediaRequest::Stop);
                }
                let ended = call.ended(&record);
                if let Some(wake) = call.wake_id {
                    self.wakes.end(wake, ended.clone(), self.now);
                }
                if let Machine::Session(session) = call.machine {
                    self.farewells.insert(id, Farewell::new(call.account, call.flow, session, self.now));
                }
                self.tell(Event::CallEnded(ended));
                self.thin_conference();
                self.after_call();
            }
        }
    }

    /// A call stands elsewhere now.
    pub(crate) fn enter(&mut self, id: CallId, phase: CallPhase) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.phase != phase {
            call.phase = phase;
            self.changed(id);
        }
    }

    /// Tells how a call stands.
    pub(crate) fn changed(&mut self, id: CallId) {
        if let Some(snapshot) = self.calls.get(&id).map(PhoneCall::snapshot) {
            self.tell(Event::CallChanged(snapshot));
        }
    }
}
