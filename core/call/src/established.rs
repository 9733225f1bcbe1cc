//! An answered call, until somebody ends it (RFC 3261 §13.3, §14, §15; RFC 4028).

use std::collections::VecDeque;

use bytes::Bytes;
use wakeline_clock::{Time, earliest};
use wakeline_sip_dialog::{Dialog, Effect, effect_of};
use wakeline_sip_message::{Message, Method, Name};

use crate::answer::Answer;
use crate::context::{Context, Purpose, Sent, Task, sdp_of};
use crate::digits;
use crate::end::{EndReason, sip_cause};
use crate::ending::{Leaving, acknowledge_late, bye, bye_after_ack, over};
use crate::exchange::{Exchange, Wishes};
use crate::key::RequestId;
use crate::mid_dialog::{self, Asks};
use crate::output::{Describe, Described, Event, Output};
use crate::repeat::{Repeat, Wait};
use crate::session_timer::{Due, SessionTimer};
use wakeline_sip_transaction::ServerKey;

/// The most digits that wait for their turn.
const MOST_DIGITS: usize = 256;

/// A call with a confirmed dialog.
pub(crate) struct Established {
    pub(crate) dialog: Dialog,
    /// The INVITE of ours or theirs that made the last agreement is acknowledged, or not yet.
    pub(crate) unacked: Option<Repeat>,
    pub(crate) exchange: Exchange,
    pub(crate) wishes: Wishes,
    /// Whether the far end is on hold by the last agreement.
    pub(crate) held: bool,
    pub(crate) session: SessionTimer,
    /// Whether the far end takes UPDATE (RFC 3311 §4).
    pub(crate) takes_update: bool,
    digits: VecDeque<char>,
    digit_out: Option<RequestId>,
    /// The longest time that this call may last.
    ends_at: Option<Time>,
    /// Whether the set-up has been reported as settled.
    settled: bool,
}

/// What a call becomes when its set-up is over.
pub(crate) enum SetUp {
    Answered(Box<Established>),
    Left(Leaving),
}

impl From<Leaving> for SetUp {
    fn from(leaving: Leaving) -> SetUp {
        SetUp::Left(leaving)
    }
}

/// Whether a peer listed UPDATE in Allow.
pub(crate) fn allows_update(message: &Message) -> bool {
    message.allow().any(|method| method == Method::Update.as_str())
}

impl Established {
    fn new(
        now: Time,
        cx: &Context,
        dialog: Dialog,
        session: SessionTimer,
        takes_update: bool,
    ) -> Established {
        Established {
            dialog,
            unacked: None,
            exchange: Exchange::Stable,
            wishes: Wishes::default(),
            held: false,
            session,
            takes_update,
            digits: VecDeque::new(),
            digit_out: None,
            ends_at: cx.config.call_timeout.map(|time| now + time),
            settled: false,
        }
    }

    /// The far end answered our INVITE.
    pub(crate) fn caller(
        now: Time,
        cx: &Context,
        dialog: Dialog,
        session: SessionTimer,
        response: &Message,
    ) -> Established {
        let mut call = Established::new(now, cx, dialog, session, allows_update(response));
        call.wishes.moved = cx.moved_early;
        call
    }

    /// The INVITE came again on a living flow, and nobody has our 2xx yet: it goes out there.
    pub(crate) fn adopt(&mut self, now: Time, cx: &mut Context, key: ServerKey, invite: &Message) {
        match &self.unacked {
            Some(repeat) => {
                let last = repeat.response.clone();
                let response = cx.repeat_on(key, invite, &last);
                self.unacked = response.map(|response| Repeat::new(now, &cx.config, key, response));
            }
            None => cx.respond_plain(key, invite, 482),
        }
    }

    /// We answered theirs; `offered` says that our 2xx carries our offer, whose answer comes in the ACK.
    pub(crate) fn callee(
        now: Time,
        cx: &Context,
        dialog: Dialog,
        session: SessionTimer,
        invite: &Message,
        repeat: Repeat,
        offered: bool,
    ) -> Established {
        let mut call = Established::new(now, cx, dialog, session, allows_update(invite));
        call.unacked = Some(repeat);
        if offered {
            call.exchange = Exchange::AwaitingAnswer;
        }
        call
    }

    // ---- the set-up's last steps -----------------------------------------------------------------------------

    pub(crate) fn acknowledged(&mut self, now: Time, cx: &mut Context, invite: &Message) {
        cx.acknowledge(now, &self.dialog, invite, None);
        self.settle(cx);
    }

    fn settle(&mut self, cx: &mut Context) {
        if !core::mem::replace(&mut self.settled, true) {
            cx.emit(Event::Settled);
        }
    }

    /// The 2xx brought an answer that the media has not heard.
    pub(crate) fn conclude(&mut self, cx: &mut Context, answer: Bytes, tag: String) {
        self.exchange = Exchange::Reading;
        cx.describe(Describe::Conclude { answer }, Purpose::ForkAnswer { tag });
    }

    /// The 2xx brought the offer: the ACK waits for our answer (RFC 3261 §13.2.2.4).
    pub(crate) fn owe_ack(&mut self, cx: &mut Context, invite: Message, offer: Bytes) {
        self.exchange = Exchange::OwingAck { invite };
        cx.describe(Describe::Answer { offer, hold: false }, Purpose::AckAnswer);
    }

    /// Whether the far end's ACK, or ours, is still to come for the INVITE that started the call.
    pub(crate) fn is_setting_up(&self) -> bool {
        !self.settled
    }

    /// Whether the ACK of this 2xx is still to come.
    pub(crate) fn owes_ack_to(&self, response: &Message) -> bool {
        matches!(self.exchange, Exchange::OwingAck { .. }) && self.dialog.owns_response(response)
    }

    pub(crate) fn described(
        &mut self,
        now: Time,
        cx: &mut Context,
        purpose: Purpose,
        answer: Described,
    ) -> Option<Leaving> {
        match (&self.exchange, purpose, answer) {
            (Exchange::OwingAck { invite }, Purpose::AckAnswer, Described::Description(answer)) => {
                let invite = invite.clone();
                cx.acknowledge(now, &self.dialog, &invite, Some(answer));
                self.exchange = Exchange::Stable;
                cx.emit(Event::MediaAgreed);
                self.settle(cx);
            }
            // RFC 3261 §13.2.2.4: an offer that cannot be met is acknowledged, and the call ended.
            (Exchange::OwingAck { .. }, Purpose::AckAnswer, Described::Refused { code, why }) => {
                return Some(self.hang_up(now, cx, EndReason::MediaRefused { code, why }, Some(code)));
            }
            (Exchange::Reading, Purpose::LateAnswer, Described::Accepted) => {
                self.exchange = Exchange::Stable;
                cx.emit(Event::MediaAgreed);
            }
            // An answer of before the 200 may still be read while the 200's own waits; and other forks' answers are of
            // no interest any more.
            (exchange, Purpose::ForkAnswer { tag }, answer) => {
                if tag == self.dialog.id().remote_tag {
                    if let Described::Refused { code, why } = answer {
                        return Some(self.hang_up(
                            now,
                            cx,
                            EndReason::MediaRefused { code, why },
                            Some(code),
                        ));
                    }
                    if matches!(exchange, Exchange::Reading) {
                        self.exchange = Exchange::Stable;
                    }
                    cx.emit(Event::MediaAgreed);
                }
            }
            (_, Purpose::LateAnswer, Described::Refused { code, why }) => {
                return Some(self.hang_up(now, cx, EndReason::MediaRefused { code, why }, Some(code)));
            }
            // The answer came in PRACK and was read after our 2xx had left.
            (_, Purpose::LateAnswer, Described::Accepted) => cx.emit(Event::MediaAgreed),
            // An UPDATE of before the answer.
            (_, Purpose::EarlyAnswer { key, request }, answer) => {
                mid_dialog::answer_update(cx, key, &request, answer);
            }
            (_, purpose, answer) => {
                if let Some(state) = self.modify_described(now, cx, &purpose, answer) {
                    return Some(state);
                }
            }
        }
        self.advance(now, cx);
        None
    }

    pub(crate) fn acked(&mut self, now: Time, cx: &mut Context, ack: &Message) -> Option<Leaving> {
        let cseq = ack.cseq().ok()?.number;
        self.unacked.take_if(|repeat| repeat.cseq == cseq)?;
        if matches!(self.exchange, Exchange::AwaitingAnswer) {
            match sdp_of(ack) {
                Some(answer) => {
                    self.exchange = Exchange::Reading;
                    cx.describe(Describe::Conclude { answer }, Purpose::LateAnswer);
                }
                None => {
                    self.exchange = Exchange::Stable;
                    cx.push(Output::Rollback);
                    if !self.settled {
                        let why = "no session description in the ACK".to_owned();
                        return Some(self.hang_up(now, cx, EndReason::MediaRefused { code: 488, why }, None));
                    }
                }
            }
        }
        self.settle(cx);
        self.advance(now, cx);
        None
    }

    // ---- requests of the far end -----------------------------------------------------------------------------

    pub(crate) fn request(
        &mut self,
        now: Time,
        cx: &mut Context,
        key: ServerKey,
        request: &Message,
    ) -> Option<Leaving> {
        if self.dialog.accept(request).is_err() {
            // RFC 3261 §12.2.2: out of order.
            cx.respond_plain(key, request, 500);
            return None;
        }
        if mid_dialog::refused_as_unknown(cx, key, request) {
            return None;
        }
        match mid_dialog::asks(request) {
            Asks::Bye => {
                cx.respond_plain(key, request, 200);
                self.refuse_their_change(cx);
                self.take_back_our_change(cx);
                cx.record.decide(EndReason::RemoteHangup, sip_cause(request), true, now);
                Some(over(now, cx, Some(self.dialog.clone())))
            }
            Asks::Invite | Asks::Update => {
                self.their_change(now, cx, key, request);
                None
            }
            Asks::Prack | Asks::Nothing => {
                mid_dialog::serve(now, cx, &mut self.dialog, key, request);
                None
            }
        }
    }

    /// The far end took its re-INVITE back (RFC 3261 §9.2).
    pub(crate) fn their_change_cancelled(&mut self, now: Time, cx: &mut Context, key: ServerKey) {
        if matches!(&self.exchange, Exchange::Answering { key: open, .. } if *open == key) {
            self.refuse_their_change(cx);
            cx.push(Output::Rollback);
            self.advance(now, cx);
        }
    }

    /// An INVITE that rings nobody has no time limit once a 100 came (RFC 3261 §17.1.1.2): CANCEL gives it one.
    fn take_back_our_change(&mut self, cx: &mut Context) {
        if let Exchange::Asked { id, until: Some(_), .. } = &self.exchange {
            let id = *id;
            self.exchange = Exchange::Stable;
            cx.push(Output::Cancel { id, headers: Vec::new() });
        }
    }

    /// RFC 3261 §15.1.2: requests that are still open when the BYE comes are answered with 487.
    fn refuse_their_change(&mut self, cx: &mut Context) {
        if let Exchange::Answering { key, request } = &self.exchange {
            cx.respond_plain(*key, request, 487);
            self.exchange = Exchange::Stable;
        }
    }

    // ---- answers to our requests -----------------------------------------------------------------------------

    pub(crate) fn answered(
        &mut self,
        now: Time,
        cx: &mut Context,
        sent: &Sent,
        answer: Answer<'_>,
    ) -> Option<Leaving> {
        let status = answer.status();
        match &sent.task {
            Task::Modify => {
                if let Some(state) = self.modified(now, cx, sent, answer) {
                    return Some(state);
                }
            }
            Task::Digit(digit) => {
                self.digit_out = None;
                if !matches!(status, Some(200..=299)) {
                    cx.emit(Event::DigitRefused(*digit));
                }
                if self.is_lost(status, answer) && status != Some(405) && status != Some(501) {
                    return Some(self.lost(now, cx, status));
                }
                self.next_digit(cx);
            }
            Task::Notify | Task::Prack { .. } => {
                if status == Some(481) && sent.task == Task::Notify {
                    // The transfer's subscription is gone, not the call (RFC 5057 §5.2).
                    return None;
                }
            }
            // The re-INVITE that follows the answer makes up for a failure.
            Task::Bye | Task::ByeFork | Task::EarlyUpdate => {}
        }
        acknowledge_late_if_foreign(now, cx, &self.dialog, sent, answer);
        self.advance(now, cx);
        None
    }

    /// Whether an answer means that the far end does not know the call any more (RFC 5057 §5.1).
    pub(crate) fn is_lost(&self, status: Option<u16>, answer: Answer<'_>) -> bool {
        match answer {
            // Losing a connection ends a transaction, not the call: the flow may come back elsewhere.
            Answer::NoTransport => false,
            Answer::Silent | Answer::Response(_) => {
                !matches!(status, Some(200..=299)) && effect_of(status) != Effect::Transaction
            }
        }
    }

    /// The far end is gone: after 481 there is nobody to send BYE to.
    pub(crate) fn lost(&mut self, now: Time, cx: &mut Context, status: Option<u16>) -> Leaving {
        self.refuse_their_change(cx);
        self.take_back_our_change(cx);
        cx.record.decide(EndReason::PeerLost, status, true, now);
        match status {
            Some(481) => over(now, cx, Some(self.dialog.clone())),
            Some(_) | None => self.hang_up(now, cx, EndReason::PeerLost, status),
        }
    }

    // ---- wishes ----------------------------------------------------------------------------------------------

    /// Ends the call from here, whatever is under way.
    pub(crate) fn hang_up(
        &mut self,
        now: Time,
        cx: &mut Context,
        reason: EndReason,
        code: Option<u16>,
    ) -> Leaving {
        cx.record.decide(reason.clone(), code, false, now);
        self.refuse_their_change(cx);
        self.take_back_our_change(cx);
        if let Exchange::OwingAck { invite } = &self.exchange {
            let invite = invite.clone();
            cx.acknowledge(now, &self.dialog, &invite, None);
        }
        match self.unacked.take() {
            Some(repeat) => bye_after_ack(cx, &self.dialog, repeat),
            None => bye(now, cx, &mut self.dialog, Some(&reason)),
        }
    }

    pub(crate) fn send_digits(&mut self, cx: &mut Context, text: &str) {
        let room = MOST_DIGITS.saturating_sub(self.digits.len());
        let letters = text.chars().map(|letter| letter.to_ascii_uppercase());
        self.digits.extend(letters.filter(|letter| digits::is_digit(*letter)).take(room));
        self.next_digit(cx);
    }

    /// One INFO at a time: the far end must see the digits in order.
    fn next_digit(&mut self, cx: &mut Context) {
        if self.digit_out.is_none()
            && let Some(digit) = self.digits.pop_front()
        {
            let recipe = digits::write(cx.config.info_digits, digit);
            self.digit_out = cx.request(&mut self.dialog, Task::Digit(digit), recipe);
        }
    }

    pub(crate) fn not_authorized(&mut self, now: Time, cx: &mut Context, id: RequestId) {
        if self.digit_out == Some(id) {
            self.digit_out = None;
        }
        self.modify_refused(cx, id, 401);
        self.next_digit(cx);
        self.advance(now, cx);
    }

    // ---- time ------------------------------------------------------------------------------------------------

    pub(crate) fn deadline(&self) -> Option<Time> {
        let repeat = self.unacked.as_ref().map(Repeat::deadline);
        let change = match &self.exchange {
            Exchange::BackingOff { until } => Some(*until),
            Exchange::Asked { until, .. } => *until,
            Exchange::Stable
            | Exchange::OwingAck { .. }
            | Exchange::Reading
            | Exchange::AwaitingAnswer
            | Exchange::AskingOffer { .. }
            | Exchange::Concluding { .. }
            | Exchange::Answering { .. } => None,
        };
        earliest(earliest(repeat, change), earliest(self.session.deadline(), self.ends_at))
    }

    pub(crate) fn expire(&mut self, now: Time, cx: &mut Context) -> Option<Leaving> {
        if self.ends_at.is_some_and(|until| now >= until) {
            return Some(self.hang_up(now, cx, EndReason::CallTimeout, None));
        }
        match self.session.due(now) {
            // RFC 4028 §10.
            Due::Expired => return Some(self.hang_up(now, cx, EndReason::SessionExpired, None)),
            Due::Refresh => {
                self.session.asked();
                self.wishes.refresh = true;
            }
            Due::Nothing => {}
        }
        if let Some(repeat) = &mut self.unacked
            && repeat.expire(now, cx) == Wait::Over
        {
            self.unacked = None;
            let why = "no ACK".to_owned();
            // RFC 3261 §13.3.1.4: the dialog is confirmed, so it is ended with BYE.
            return Some(self.hang_up(now, cx, EndReason::Failed { code: Some(408), why }, Some(408)));
        }
        self.expire_change(now, cx);
        self.advance(now, cx);
        None
    }
}

/// A 2xx to a re-INVITE that the exchange has forgotten still gets its ACK.
fn acknowledge_late_if_foreign(
    now: Time,
    cx: &mut Context,
    dialog: &Dialog,
    sent: &Sent,
    answer: Answer<'_>,
) {
    if let Answer::Response(response) = answer
        && cx.lingering.ack_for(response).is_none()
    {
        acknowledge_late(now, cx, dialog, sent, answer);
    }
}

/// The header fields of a 2xx that sets up or changes a session.
pub(crate) fn answer_fields(cx: &Context, session: Vec<(Name, String)>) -> Vec<(Name, String)> {
    let mut fields = vec![
        (Name::Contact, cx.contact.value()),
        (Name::Allow, cx.config.allow().to_owned()),
        (Name::Supported, cx.config.supported()),
    ];
    fields.extend(session);
    fields
}
