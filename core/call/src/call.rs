//! One call: its state, and the door through which everything reaches it.

use wakeline_clock::{Time, earliest};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_sip_dialog::{DialogContact, DialogId};
use wakeline_sip_message::{Message, Method, Name, NameAddr};

use crate::answer::Answer;
use crate::config::Config;
use crate::context::{Context, Purpose, Sent, Task};
use crate::end::EndReason;
use crate::ending::{Ended, Ending, Leaving, acknowledge_late, end};
use crate::established::{Established, SetUp};
use crate::incoming::{Incoming, Stage};
use crate::intent::Refusal;
use crate::key::RequestId;
use crate::mid_dialog;
use crate::outgoing::{Dial, Opening, Outgoing};
use crate::output::{Described, Output, Replaces};
use crate::record::{Direction, Draft};
use wakeline_sip_transaction::ServerKey;

pub(crate) enum State {
    Outgoing(Box<Outgoing>),
    Incoming(Box<Incoming>),
    Established(Box<Established>),
    Ending(Box<Ending>),
    Ended(Box<Ended>),
}

impl From<Leaving> for State {
    fn from(leaving: Leaving) -> State {
        match leaving {
            Leaving::Ending(ending) => State::Ending(ending),
            Leaving::Ended(ended) => State::Ended(ended),
        }
    }
}

impl From<SetUp> for State {
    fn from(set_up: SetUp) -> State {
        match set_up {
            SetUp::Answered(call) => State::Established(call),
            SetUp::Left(leaving) => leaving.into(),
        }
    }
}

/// Where a call stands, as a person sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Outgoing: nothing heard from the far end.
    Dialling,
    /// Outgoing: the far end alerts.
    Alerting,
    /// Incoming: a push told of it.
    Announced,
    /// Incoming: the INVITE is here.
    Ringing,
    /// Incoming: it is being answered.
    Answering,
    /// It is answered.
    Established,
    /// Its end is asked for.
    Ending,
    /// It is over.
    Ended,
}

/// What a push tells of a call before its INVITE is there.
#[derive(Clone, Debug, Default)]
pub struct Announcement {
    /// The caller's URI, if the payload could be read.
    pub peer: Option<String>,
    /// The caller's name.
    pub peer_name: Option<String>,
}

/// One INVITE session, either side. It is fed by `handle_…` and commands, then drained by [`Call::poll_output`].
pub struct Call {
    pub(crate) cx: Context,
    pub(crate) state: State,
}

impl Call {
    // ---- birth -----------------------------------------------------------------------------------------------

    /// A call that we make.
    pub fn dial(now: Time, config: Config, dial: Dial, entropy: Entropy) -> Call {
        let mut draft = Draft::new(Direction::Outgoing, now);
        draft.call_id = Some(dial.call_id.clone());
        if let Ok(to) = NameAddr::parse(&dial.to) {
            draft.peer = to.uri().as_str().into();
            draft.peer_name = to.display_name().map(|name| name.into_owned());
        }
        let mut cx = Context::new(config, dial.contact.clone(), entropy, draft);
        let opening = dial.opening;
        let mut outgoing = Outgoing::start(now, &mut cx, dial);
        let next = match opening {
            Opening::Offer => None,
            Opening::Offerless => outgoing.invite(now, &mut cx),
        };
        Call { cx, state: next.map_or_else(|| State::Outgoing(Box::new(outgoing)), State::from) }
    }

    /// A call that a push told of; its INVITE is awaited until `deadline`, and handed to [`Call::handle_request`].
    pub fn announced(
        now: Time,
        config: Config,
        contact: DialogContact,
        deadline: Time,
        announcement: Announcement,
        entropy: Entropy,
    ) -> Call {
        let mut draft = Draft::new(Direction::Incoming, now);
        draft.peer = announcement.peer.unwrap_or_default();
        draft.peer_name = announcement.peer_name;
        let cx = Context::new(config, contact, entropy, draft);
        Call { cx, state: State::Incoming(Box::new(Incoming::announced(deadline))) }
    }

    /// A call whose INVITE came without a push, or before it.
    pub fn incoming(
        now: Time,
        config: Config,
        contact: DialogContact,
        key: ServerKey,
        flow: FlowInfo,
        invite: &Message,
        entropy: Entropy,
    ) -> Call {
        let cx = Context::new(config, contact, entropy, Draft::new(Direction::Incoming, now));
        let mut call = Call { cx, state: State::Incoming(Box::new(Incoming::announced(Time::NEVER))) };
        call.handle_request(now, key, flow, invite);
        // A request within some dialog begins no call: it has got its 481, and nothing else would ever come.
        if let State::Incoming(incoming) = &call.state
            && incoming.deadline() == Some(Time::NEVER)
        {
            let reason =
                EndReason::Rejected { code: 481, reason: wakeline_sip_message::reason::usual(481).into() };
            let next = end(now, &mut call.cx, reason, Some(481), false);
            call.go(Some(next));
        }
        call
    }

    fn go(&mut self, next: Option<impl Into<State>>) {
        if let Some(next) = next {
            self.state = next.into();
        }
    }

    // ---- the wire --------------------------------------------------------------------------------------------

    /// A request for this call: see [`Call::owns_request`], and the first INVITE of an announced call. ACK and CANCEL
    /// have doors of their own.
    pub fn handle_request(&mut self, now: Time, key: ServerKey, flow: FlowInfo, request: &Message) {
        let cx = &mut self.cx;
        if cx.is_same_invite(request) {
            return self.invited_again(now, key, flow, request);
        }
        if cx.lingering.owns_request(request) {
            // A fork that lost and hangs up by itself, while our BYE is on its way.
            let code = if request.method() == Method::Bye { 200 } else { 481 };
            return cx.respond_plain(key, request, code);
        }
        let next = match &mut self.state {
            State::Incoming(incoming) if request.to_tag().is_none() && request.method() == Method::Invite => {
                match incoming.stage {
                    Stage::Announced { .. } => incoming.arrive(now, cx, key, flow, request).map(State::from),
                    // Another INVITE (a retry of the caller with a new CSeq) is another call.
                    Stage::Arrived(_) => {
                        cx.respond_plain(key, request, 482);
                        None
                    }
                }
            }
            State::Outgoing(outgoing) => outgoing.request(now, cx, key, request).map(State::from),
            State::Incoming(incoming) => incoming.request(now, cx, key, request).map(State::from),
            State::Established(call) => call.request(now, cx, key, request).map(State::from),
            State::Ending(ending) => ending.request(now, cx, key, request).map(State::from),
            State::Ended(_) => {
                // RFC 3261 §15.1.2: a BYE for a call that is over is right all the same.
                let code = if request.method() == Method::Bye { 200 } else { 481 };
                cx.respond_plain(key, request, code);
                None
            }
        };
        self.go(next);
    }

    /// The INVITE that started this call came once more, on another branch (RFC 3261 §8.2.2.2).
    fn invited_again(&mut self, now: Time, key: ServerKey, flow: FlowInfo, invite: &Message) {
        let cx = &mut self.cx;
        let Some(origin) = cx.origin.as_mut() else { return };
        if !origin.is_dead {
            return cx.respond_plain(key, invite, 482);
        }
        origin.flow = flow.id;
        origin.is_dead = false;
        origin.invite = invite.clone();
        match &mut self.state {
            State::Incoming(incoming) => incoming.adopt(cx, key, invite),
            State::Established(call) => call.adopt(now, cx, key, invite),
            State::Outgoing(_) | State::Ending(_) => cx.respond_plain(key, invite, 482),
            // The far end never saw our refusal: it hears it now.
            State::Ended(_) => {
                let code = cx.record.code().filter(|code| *code >= 400).unwrap_or(487);
                let tag = cx.entropy.token(12);
                cx.respond(key, invite, code, |builder| builder.to_tag(&tag));
            }
        }
    }

    /// An ACK that matched no transaction: that of a 2xx.
    pub fn handle_ack(&mut self, now: Time, ack: &Message) {
        let cx = &mut self.cx;
        let next = match &mut self.state {
            State::Established(call) => call.acked(now, cx, ack),
            State::Ending(ending) => ending.acked(now, cx, ack),
            State::Outgoing(_) | State::Incoming(_) | State::Ended(_) => None,
        };
        self.go(next);
    }

    /// The INVITE of this transaction was cancelled.
    pub fn handle_cancelled(&mut self, now: Time, key: ServerKey, cancel: &Message) {
        let next = match &mut self.state {
            State::Incoming(incoming) => incoming.cancelled(now, &mut self.cx, key, cancel),
            State::Established(call) => {
                call.their_change_cancelled(now, &mut self.cx, key);
                None
            }
            State::Outgoing(_) | State::Ending(_) | State::Ended(_) => None,
        };
        self.go(next);
    }

    /// A response to the request that was sent under this name.
    pub fn handle_response(&mut self, now: Time, id: RequestId, response: &Message) {
        if self.repeat_ack(response) {
            return;
        }
        let status = response.status().unwrap_or(0);
        if self.cx.invite_sent().is_some_and(|(invite, _)| invite == id) {
            return self.invite_answered(now, Answer::Response(response));
        }
        if status < 200 {
            return;
        }
        let stale = |sent: &Sent| sent.message.cseq().ok() != response.cseq().ok();
        let Some(sent) = self.cx.requests.get(&id).filter(|sent| !stale(sent)) else { return };
        // The end of a lost fork is not worth credentials: its far end learns of it by its session timer at last. And
        // nothing is worth them when the call is over.
        let is_worth_it = sent.task != Task::ByeFork && !matches!(self.state, State::Ended(_));
        if is_worth_it && self.cx.challenged(id, response) {
            return;
        }
        self.request_answered(now, id, Answer::Response(response));
    }

    /// A 2xx whose transaction is gone: repeated because our ACK was lost, or of one more fork. For calls that
    /// [`Call::owns_response`].
    pub fn handle_stray_response(&mut self, now: Time, response: &Message) {
        if !self.repeat_ack(response) && self.is_invite_2xx(response) {
            self.invite_answered(now, Answer::Response(response));
        }
    }

    /// The client transaction of this request got no final response in time.
    pub fn handle_timed_out(&mut self, now: Time, id: RequestId) {
        self.failed(now, id, Answer::Silent);
    }

    /// The client transaction of this request could not be sent.
    pub fn handle_transport_failed(&mut self, now: Time, id: RequestId) {
        self.failed(now, id, Answer::NoTransport);
    }

    fn failed(&mut self, now: Time, id: RequestId, answer: Answer<'_>) {
        if self.cx.invite_sent().is_some_and(|(invite, _)| invite == id) {
            self.invite_answered(now, answer);
        } else {
            self.request_answered(now, id, answer);
        }
    }

    /// A flow died. An INVITE that came on it may come again on another one.
    pub fn handle_flow_lost(&mut self, flow: FlowId) {
        if let Some(origin) = self.cx.origin.as_mut().filter(|origin| origin.flow == flow) {
            origin.is_dead = true;
        }
    }

    /// RFC 3261 §13.2.2.4: every repeated 2xx gets its ACK again, in every state.
    fn repeat_ack(&mut self, response: &Message) -> bool {
        let Some((request, next_hop)) = self.cx.lingering.ack_for(response) else { return false };
        if matches!(response.status(), Some(200..=299)) {
            self.cx.push(Output::Ack { request, next_hop });
        }
        true
    }

    pub(crate) fn is_invite_2xx(&self, response: &Message) -> bool {
        let invite = self.cx.invite_message();
        let ours = |invite: &Message| {
            response.call_id() == invite.call_id()
                && response.from_tag() == invite.from_tag()
                && response.cseq().ok() == invite.cseq().ok()
        };
        matches!(response.status(), Some(200..=299)) && invite.as_ref().is_some_and(ours)
    }

    fn invite_answered(&mut self, now: Time, answer: Answer<'_>) {
        let cx = &mut self.cx;
        if let Answer::Response(response) = answer
            && cx.invite_message().is_none_or(|invite| invite.cseq().ok() != response.cseq().ok())
        {
            return;
        }
        let next = match (&mut self.state, answer) {
            (State::Outgoing(outgoing), _) => outgoing.answered(now, cx, answer),
            // Repeated while our media still works on the ACK.
            (State::Established(call), Answer::Response(response)) if call.owes_ack_to(response) => None,
            (State::Ended(ended), Answer::Response(_)) if now >= ended.forks_until => None,
            (_, Answer::Response(response)) => {
                self.fork_lost(now, response);
                None
            }
            (_, Answer::Silent | Answer::NoTransport) => None,
        };
        self.go(next);
    }

    /// A second fork answered, or the answer came after we had given up: ACK and BYE (RFC 3261 §13.2.2.4).
    fn fork_lost(&mut self, now: Time, response: &Message) {
        let cx = &mut self.cx;
        let Some(invite) = cx.invite_message().filter(|_| matches!(response.status(), Some(200..=299)))
        else {
            return;
        };
        let Ok(dialog) = wakeline_sip_dialog::Dialog::from_uac(&invite, response) else { return };
        cx.acknowledge(now, &dialog, &invite, None);
        let mut copy = dialog.clone();
        if cx.lingering.keep_fork(dialog).is_some() {
            cx.bye(&mut copy, Task::ByeFork, None);
        }
    }

    fn request_answered(&mut self, now: Time, id: RequestId, answer: Answer<'_>) {
        let cx = &mut self.cx;
        let Some(sent) = cx.requests.remove(&id) else { return };
        if sent.task == Task::ByeFork {
            return;
        }
        let next = match &mut self.state {
            // PRACK and UPDATE of early dialogs: their failure shows in the INVITE's own answer.
            State::Outgoing(_) | State::Incoming(_) => None,
            State::Established(call) => call.answered(now, cx, &sent, answer),
            State::Ending(ending) => ending.answered(now, cx, &sent, answer),
            State::Ended(ended) => {
                if let Some(dialog) = &ended.dialog {
                    acknowledge_late(now, cx, dialog, &sent, answer);
                }
                None
            }
        };
        self.go(next);
    }

    // ---- media -----------------------------------------------------------------------------------------------

    /// The media's answer to the last [`Output::Describe`].
    pub fn handle_described(&mut self, now: Time, answer: Described) {
        let cx = &mut self.cx;
        let Some(purpose) = cx.described() else { return };
        if purpose == Purpose::Void {
            return;
        }
        let next = match &mut self.state {
            State::Outgoing(outgoing) => outgoing.described(now, cx, purpose, answer).map(State::from),
            State::Incoming(incoming) => incoming.described(now, cx, purpose, answer).map(State::from),
            State::Established(call) => call.described(now, cx, purpose, answer).map(State::from),
            State::Ending(_) | State::Ended(_) => None,
        };
        self.go(next);
    }

    // ---- wishes ----------------------------------------------------------------------------------------------

    /// Answers an incoming call: at once, or as soon as its INVITE is there.
    pub fn answer(&mut self, now: Time) {
        if let State::Incoming(incoming) = &mut self.state {
            let next = incoming.accept(now, &mut self.cx);
            self.go(next);
        }
    }

    /// Refuses an incoming call: at once, or as soon as its INVITE is there.
    pub fn decline(&mut self, now: Time, refusal: Refusal) {
        if let State::Incoming(incoming) = &mut self.state {
            let next = incoming.decline(now, &mut self.cx, refusal);
            self.go(next);
        }
    }

    /// Ends the call in whatever state it is: CANCEL, BYE or a refusal, as fits.
    pub fn hang_up(&mut self, now: Time) {
        self.hang_up_for(now, EndReason::LocalHangup);
    }

    /// Ends the call for a reason of one's own: media timeout, a lost network.
    pub fn hang_up_for(&mut self, now: Time, reason: EndReason) {
        let cx = &mut self.cx;
        let next = match &mut self.state {
            State::Outgoing(outgoing) => {
                let reason = if reason == EndReason::LocalHangup { EndReason::Cancelled } else { reason };
                outgoing.cancel(now, cx, reason, None).map(State::from)
            }
            State::Incoming(incoming) => incoming.decline(now, cx, Refusal::Everywhere).map(State::from),
            State::Established(call) => Some(call.hang_up(now, cx, reason, None).into()),
            State::Ending(_) | State::Ended(_) => None,
        };
        self.go(next);
    }

    /// Whoever held the INVITE of an incoming call says that the call is over: nobody waits for our answer, and the CANCEL
    /// may have gone to a flow that is dead. An answer that has left stands.
    pub fn told_over(&mut self, now: Time, reason: EndReason) {
        if let State::Incoming(incoming) = &mut self.state {
            let next = incoming.told_over(now, &mut self.cx, reason);
            self.go(Some(next));
        }
    }

    /// Nobody knows an announced call: it ends, unless its INVITE is here, which knows better.
    pub fn announced_over(&mut self, now: Time, reason: EndReason) {
        if let State::Incoming(incoming) = &self.state
            && matches!(incoming.stage, Stage::Announced { .. })
        {
            let next = end(now, &mut self.cx, reason, None, true);
            self.go(Some(next));
        }
    }

    /// Puts the far end on hold, or takes it back; only an answered call can be held.
    pub fn hold(&mut self, now: Time, on: bool) {
        if let State::Established(call) = &mut self.state {
            call.wishes.hold = on;
            call.advance(now, &mut self.cx);
        }
    }

    /// Sends digits by INFO; what is no digit is left out.
    pub fn send_digits(&mut self, digits: &str) {
        if let State::Established(call) = &mut self.state {
            call.send_digits(&mut self.cx, digits);
        }
    }

    /// The network moved: the far end learns our new Contact, and where media is to go.
    pub fn moved(&mut self, now: Time, contact: DialogContact) {
        let cx = &mut self.cx;
        cx.contact = contact;
        match &mut self.state {
            State::Established(call) => {
                call.wishes.moved = true;
                call.advance(now, cx);
            }
            State::Outgoing(outgoing) => outgoing.moved(cx),
            State::Incoming(incoming) => incoming.moved(cx),
            State::Ending(_) | State::Ended(_) => {}
        }
    }

    /// The announced call turned out to be another account's; said before its INVITE is handed in.
    pub fn belongs_to(&mut self, config: Config, contact: DialogContact) {
        self.cx.config = config;
        self.cx.contact = contact;
    }

    /// The answer to [`Output::Authorize`]: header lines to add, or nothing if the challenge is not to be answered.
    pub fn authorize(&mut self, now: Time, id: RequestId, headers: Option<Vec<(Name, String)>>) {
        let cx = &mut self.cx;
        let is_invite = cx.invite_sent().is_some_and(|(invite, _)| invite == id);
        let next = match (&mut self.state, headers) {
            (State::Outgoing(outgoing), headers) if is_invite => {
                outgoing.authorize(now, cx, headers).map(State::from)
            }
            (State::Outgoing(outgoing), Some(headers)) => {
                outgoing.authorize_request(cx, id, &headers);
                None
            }
            (State::Established(call), Some(headers)) => {
                let sent = cx.retry(&mut call.dialog, id, &headers);
                if sent.is_none() {
                    call.not_authorized(now, cx, id);
                }
                None
            }
            (State::Established(call), None) => {
                cx.requests.remove(&id);
                call.not_authorized(now, cx, id);
                None
            }
            (State::Ending(ending), Some(headers)) => match cx.retry(ending.dialog_mut(), id, &headers) {
                Some(_) => None,
                None => ending.not_authorized(now, cx, id).map(State::from),
            },
            (State::Ending(ending), None) => {
                cx.requests.remove(&id);
                ending.not_authorized(now, cx, id).map(State::from)
            }
            (State::Outgoing(_) | State::Incoming(_) | State::Ended(_), _) => {
                cx.requests.remove(&id);
                None
            }
        };
        self.go(next);
    }

    /// The answer to [`Output::TryNextHop`]: whether there is another hop for the INVITE.
    pub fn next_hop(&mut self, now: Time, id: RequestId, found: bool) {
        if let State::Outgoing(outgoing) = &mut self.state
            && self.cx.invite_sent().is_some_and(|(invite, _)| invite == id)
        {
            let next = outgoing.next_hop(now, &mut self.cx, found);
            self.go(next);
        }
    }

    /// Reports how far a transfer has come that the far end asked for (RFC 3515 §2.4.4).
    pub fn transfer_progress(&mut self, code: u16, reason: &str) {
        if let State::Established(call) = &mut self.state {
            mid_dialog::notify(&mut self.cx, &mut call.dialog, code, reason);
        }
    }

    /// Whether an INVITE with this Replaces may take this call's place, or the code to refuse it with (RFC 3891 §3).
    pub fn may_be_replaced(&self, replaces: &Replaces) -> Result<(), u16> {
        match &self.state {
            State::Established(call) if call.dialog.id() == &replaces.dialog => match replaces.early_only {
                true => Err(486),
                false => Ok(()),
            },
            // Only an early dialog that we started may be replaced.
            State::Outgoing(outgoing) if outgoing.has_dialog(&replaces.dialog) => Ok(()),
            State::Ending(ending) if ending.dialog().id() == &replaces.dialog => Err(603),
            State::Ended(ended)
                if ended.dialog.as_ref().is_some_and(|dialog| dialog.id() == &replaces.dialog) =>
            {
                Err(603)
            }
            State::Outgoing(_)
            | State::Incoming(_)
            | State::Established(_)
            | State::Ending(_)
            | State::Ended(_) => Err(481),
        }
    }

    /// Whether an INVITE with this Join may take part in this call, or the code to refuse it with (RFC 3911 §4).
    pub fn may_be_joined(&self, dialog: &DialogId) -> Result<(), u16> {
        match &self.state {
            State::Established(call) if call.dialog.id() == dialog => Ok(()),
            // Only an early dialog that we started may be joined.
            State::Outgoing(outgoing) if outgoing.has_dialog(dialog) => Ok(()),
            State::Ending(ending) if ending.dialog().id() == dialog => Err(603),
            State::Ended(ended) if ended.dialog.as_ref().is_some_and(|old| old.id() == dialog) => Err(603),
            State::Outgoing(_)
            | State::Incoming(_)
            | State::Established(_)
            | State::Ending(_)
            | State::Ended(_) => Err(481),
        }
    }

    /// Another call took this one's place and is answered (RFC 3891 §3).
    pub fn end_replaced(&mut self, now: Time) {
        self.hang_up_for(now, EndReason::Replaced);
    }

    // ---- time and outputs ------------------------------------------------------------------------------------

    /// Lets every timer that is due fire.
    pub fn handle_timeout(&mut self, now: Time) {
        let cx = &mut self.cx;
        cx.lingering.expire(now);
        let next = match &mut self.state {
            State::Outgoing(outgoing) => outgoing.expire(now, cx).map(State::from),
            State::Incoming(incoming) => incoming.expire(now, cx).map(State::from),
            State::Established(call) => call.expire(now, cx).map(State::from),
            State::Ending(ending) => ending.expire(now, cx).map(State::from),
            State::Ended(_) => None,
        };
        self.go(next);
    }

    /// When [`Call::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        let state = match &self.state {
            State::Outgoing(outgoing) => outgoing.deadline(),
            State::Incoming(incoming) => incoming.deadline(),
            State::Established(call) => call.deadline(),
            State::Ending(ending) => ending.deadline(),
            State::Ended(_) => None,
        };
        earliest(state, self.cx.lingering.deadline()).filter(|deadline| *deadline != Time::NEVER)
    }

    /// The next thing to do or to know; drain it after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.cx.pop()
    }
}
