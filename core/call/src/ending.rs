//! The end of a call: the wait for the last ACK, the BYE and its answer, and what remains (RFC 3261 §15).

use wakeline_clock::Time;
use wakeline_sip_dialog::Dialog;
use wakeline_sip_message::{Message, Method};

use crate::answer::Answer;
use crate::context::{Context, Sent, Task};
use crate::end::EndReason;
use crate::key::RequestId;
use crate::mid_dialog::{self, Asks};
use crate::output::Event;
use crate::repeat::{Repeat, Wait};
use wakeline_sip_transaction::ServerKey;

/// A dialog that is being left.
#[derive(Debug)]
pub(crate) struct Ending {
    dialog: Dialog,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// RFC 3261 §15: a callee must not send BYE before its 2xx is acknowledged.
    AwaitingAck(Repeat),
    /// The BYE is out; a transaction that never reports is given up in the end.
    AwaitingBye { id: RequestId, until: Time },
}

/// A call that is over; its dialog stays for late messages.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) dialog: Option<Dialog>,
    /// Until when one more fork's 2xx is expected (RFC 3261 §13.2.2.4): 64 × T1 after the last request of ours could be
    /// answered. A far end that goes on for ever keeps nothing alive here (class S14).
    pub(crate) forks_until: Time,
}

/// A call that is being left, or is over: nothing leads back from here.
pub(crate) enum Leaving {
    Ending(Box<Ending>),
    Ended(Box<Ended>),
}

/// Ends a call without anything to wait for.
pub(crate) fn end(
    now: Time,
    cx: &mut Context,
    reason: EndReason,
    code: Option<u16>,
    by_peer: bool,
) -> Leaving {
    cx.record.decide(reason, code, by_peer, now);
    over(now, cx, None)
}

/// The call is over, by the verdict that stands.
pub(crate) fn over(now: Time, cx: &mut Context, dialog: Option<Dialog>) -> Leaving {
    cx.forget_questions();
    if let Some(record) = cx.record.close(now) {
        cx.emit(Event::Ended(record));
    }
    let forks_until = now + cx.config.patience() * 2;
    Leaving::Ended(Box::new(Ended { dialog, forks_until }))
}

/// Sends BYE and waits for its answer. The verdict has been recorded.
pub(crate) fn bye(now: Time, cx: &mut Context, dialog: &mut Dialog, reason: Option<&EndReason>) -> Leaving {
    cx.forget_questions();
    match cx.bye(dialog, Task::Bye, reason) {
        Some(id) => {
            cx.emit(Event::Ending);
            // The transaction gives up after 64 × T1, and credentials may take a second one.
            let until = now + cx.config.patience() * 2;
            let step = Step::AwaitingBye { id, until };
            Leaving::Ending(Box::new(Ending { dialog: dialog.clone(), step }))
        }
        None => over(now, cx, Some(dialog.clone())),
    }
}

/// Waits for the ACK of our 2xx first.
pub(crate) fn bye_after_ack(cx: &mut Context, dialog: &Dialog, repeat: Repeat) -> Leaving {
    cx.forget_questions();
    cx.emit(Event::Ending);
    Leaving::Ending(Box::new(Ending { dialog: dialog.clone(), step: Step::AwaitingAck(repeat) }))
}

impl Ending {
    pub(crate) fn dialog(&self) -> &Dialog {
        &self.dialog
    }

    pub(crate) fn dialog_mut(&mut self) -> &mut Dialog {
        &mut self.dialog
    }

    fn leave(&mut self, now: Time, cx: &mut Context) -> Leaving {
        let reason = cx.record.reason().cloned();
        match cx.bye(&mut self.dialog, Task::Bye, reason.as_ref()) {
            Some(id) => {
                let step = Step::AwaitingBye { id, until: now + cx.config.patience() * 2 };
                Leaving::Ending(Box::new(Ending { dialog: self.dialog.clone(), step }))
            }
            None => over(now, cx, Some(self.dialog.clone())),
        }
    }

    pub(crate) fn acked(&mut self, now: Time, cx: &mut Context, ack: &Message) -> Option<Leaving> {
        match &self.step {
            Step::AwaitingAck(repeat) if ack.cseq().is_ok_and(|cseq| cseq.number == repeat.cseq) => {
                Some(self.leave(now, cx))
            }
            Step::AwaitingAck(_) | Step::AwaitingBye { .. } => None,
        }
    }

    pub(crate) fn request(
        &mut self,
        now: Time,
        cx: &mut Context,
        key: ServerKey,
        request: &Message,
    ) -> Option<Leaving> {
        match mid_dialog::asks(request) {
            // Both hung up at once: one of the two is enough (RFC 3261 §15.1.2).
            Asks::Bye => {
                cx.respond_plain(key, request, 200);
                Some(over(now, cx, Some(self.dialog.clone())))
            }
            Asks::Invite | Asks::Update | Asks::Prack | Asks::Nothing => {
                cx.respond_plain(key, request, 481);
                None
            }
        }
    }

    pub(crate) fn answered(
        &mut self,
        now: Time,
        cx: &mut Context,
        sent: &Sent,
        answer: Answer<'_>,
    ) -> Option<Leaving> {
        acknowledge_late(now, cx, &self.dialog, sent, answer);
        // Whatever the answer to BYE is, the session is over (RFC 3261 §15.1.1).
        (sent.task == Task::Bye).then(|| over(now, cx, Some(self.dialog.clone())))
    }

    pub(crate) fn not_authorized(&mut self, now: Time, cx: &mut Context, id: RequestId) -> Option<Leaving> {
        match self.step {
            Step::AwaitingBye { id: bye, .. } if bye == id => Some(over(now, cx, Some(self.dialog.clone()))),
            Step::AwaitingBye { .. } | Step::AwaitingAck(_) => None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match &self.step {
            Step::AwaitingAck(repeat) => Some(repeat.deadline()),
            Step::AwaitingBye { until, .. } => Some(*until),
        }
    }

    pub(crate) fn expire(&mut self, now: Time, cx: &mut Context) -> Option<Leaving> {
        match &mut self.step {
            Step::AwaitingAck(repeat) => match repeat.expire(now, cx) {
                Wait::Goes => None,
                // RFC 3261 §13.3.1.4: no ACK came; the BYE goes out all the same.
                Wait::Over => Some(self.leave(now, cx)),
            },
            Step::AwaitingBye { until, .. } if now >= *until => {
                Some(over(now, cx, Some(self.dialog.clone())))
            }
            Step::AwaitingBye { .. } => None,
        }
    }
}

/// A 2xx to a re-INVITE of ours is acknowledged even when the call is being left (RFC 3261 §13.2.2.4).
pub(crate) fn acknowledge_late(
    now: Time,
    cx: &mut Context,
    dialog: &Dialog,
    sent: &Sent,
    answer: Answer<'_>,
) {
    if let Answer::Response(response) = answer
        && matches!(response.status(), Some(200..=299))
        && sent.recipe.method == Method::Invite
    {
        cx.acknowledge(now, dialog, &sent.message, None);
    }
}
