//! A call that we make, from the wish to the 2xx (RFC 3261 §13.2, RFC 3262 §4, RFC 3960).

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use wakeline_clock::Time;
use wakeline_sip_dialog::{DialogContact, Forks, Heard, Leg, RouteSet, SipCallId};
use wakeline_sip_message::{Builder, Message, Method, Name};

use crate::answer::Answer;
use crate::config::Reliable;
use crate::context::{Context, Purpose, Recipe, SDP, Task, sdp_of};
use crate::end::EndReason;
use crate::ending::end;
use crate::established::{Established, SetUp, allows_update};
use crate::key::RequestId;
use crate::mid_dialog::{self, Asks};
use crate::output::{Describe, Described, Event, HopFailure, Output};
use crate::reliable::rseq_of;
use crate::session_timer::{SessionTimer, with_fields};
use wakeline_sip_transaction::ServerKey;

/// Whom to call, and as whom.
#[derive(Clone, Debug)]
pub struct Dial {
    /// The Request-URI.
    pub target: String,
    /// The To value: an address in brackets, without tag.
    pub to: String,
    /// The From value: an address in brackets, without tag.
    pub from: String,
    /// The Call-ID; unguessable, and never used before.
    pub call_id: SipCallId,
    /// Our Contact.
    pub contact: DialogContact,
    /// Routes known beforehand (outbound proxy, Service-Route), topmost first.
    pub routes: Vec<String>,
    /// Header lines for the INVITE only, such as Replaces, Privacy or Referred-By.
    pub headers: Vec<(Name, String)>,
    /// Who makes the offer.
    pub opening: Opening,
}

/// Who makes the offer of a call (RFC 3261 §13.2.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Opening {
    /// We, in the INVITE.
    Offer,
    /// The far end, in its 2xx or a reliable provisional response.
    Offerless,
}

/// How far the current INVITE has come.
#[derive(Clone, Debug)]
pub(crate) enum Attempt {
    /// The media is asked for our offer.
    Describing,
    /// The INVITE is out, and nothing came back.
    Calling,
    /// A provisional response came.
    Proceeding,
    /// A proxy or the far end wants credentials.
    AwaitingCredentials { challenge: Message },
    /// The hop was of no use; another is looked for.
    AwaitingNextHop { cause: HopFailure },
    /// We gave up; the final response is waited for (RFC 3261 §9.1).
    Cancelling { until: Time },
}

/// What is known of one fork's media.
#[derive(Clone, Debug, Default)]
pub(crate) struct ForkMedia {
    /// The answer to our offer, if it sent one.
    answer: Option<Bytes>,
    /// Offer and answer came reliably: what the 2xx says does not count (RFC 3261 §13.2.1).
    settled: bool,
    /// The fork takes UPDATE.
    takes_update: bool,
}

pub(crate) struct Outgoing {
    pub(crate) dial: Dial,
    pub(crate) from: String,
    pub(crate) cseq: u32,
    pub(crate) offer: Option<Bytes>,
    pub(crate) attempt: Attempt,
    pub(crate) forks: Forks<ForkMedia>,
    /// The fork whose answer the media follows.
    pub(crate) heard: Option<String>,
    pub(crate) session: SessionTimer,
    pub(crate) require_reliable: bool,
    pub(crate) credentials: u8,
    pub(crate) authorization: Vec<(Name, String)>,
    pub(crate) waiting_targets: VecDeque<String>,
    pub(crate) visited: BTreeSet<String>,
    pub(crate) redirects: u8,
    pub(crate) rings_until: Option<Time>,
    /// UPDATEs in early dialogs that wait for our answer.
    pub(crate) updates: Vec<ServerKey>,
}

impl Outgoing {
    pub(crate) fn start(now: Time, cx: &mut Context, dial: Dial) -> Outgoing {
        let from = format!("{};tag={}", dial.from, cx.entropy.token(12));
        let attempt = Attempt::Describing;
        if dial.opening == Opening::Offer {
            cx.describe(Describe::Offer { hold: false, fresh: false }, Purpose::FirstOffer);
        }
        Outgoing {
            from,
            cseq: cx.entropy.below(0x7fff),
            offer: None,
            attempt,
            forks: Forks::default(),
            heard: None,
            session: SessionTimer::new(cx.config.session_timer),
            require_reliable: cx.config.reliable == Reliable::Required,
            credentials: 0,
            authorization: Vec::new(),
            waiting_targets: VecDeque::new(),
            visited: BTreeSet::from([dial.target.clone()]),
            redirects: cx.config.redirects,
            rings_until: cx.config.ring_timeout.map(|time| now + time),
            updates: Vec::new(),
            dial,
        }
    }

    /// Sends the INVITE (again), under its one name and with a new CSeq.
    pub(crate) fn invite(&mut self, now: Time, cx: &mut Context) -> Option<SetUp> {
        self.cseq += 1;
        let routes = RouteSet::preloaded(&self.dial.routes);
        let (uri, values) = routes.apply(&self.dial.target);
        let mut builder = Builder::request(Method::Invite, &uri);
        for route in &values {
            builder = builder.header(Name::Route, route);
        }
        builder = builder
            .header(Name::From, &self.from)
            .header(Name::To, &self.dial.to)
            .header(Name::CallId, &self.dial.call_id)
            .header(Name::CSeq, format!("{} INVITE", self.cseq))
            .header(Name::MaxForwards, 70)
            .header(Name::Contact, cx.contact.value())
            .header(Name::Allow, cx.config.allow())
            .header(Name::Supported, cx.config.supported());
        if self.require_reliable {
            builder = builder.header(Name::Require, "100rel");
        }
        if let Some(name) = &cx.config.user_agent {
            builder = builder.header(Name::UserAgent, name);
        }
        builder = with_fields(builder, &self.session.request_fields());
        builder = with_fields(builder, &cx.config.headers);
        builder = with_fields(builder, &self.dial.headers);
        // Good for one request only: a digest covers its URI, and its count must not come twice (RFC 7616 §3.4). Whoever
        // sends a later one adds what is known by then.
        builder = with_fields(builder, &std::mem::take(&mut self.authorization));
        if let Some(offer) = &self.offer {
            builder = builder.body(SDP, offer.clone());
        }
        let request = match builder.build() {
            Ok(request) => request,
            Err(error) => {
                let why = format!("the INVITE cannot be written: {error}");
                return Some(end(now, cx, EndReason::Failed { code: None, why }, None, false).into());
            }
        };
        let id = cx.sent_invite(request.clone());
        self.attempt = Attempt::Calling;
        self.forks = Forks::default();
        self.heard = None;
        cx.push(Output::Send { id, request, next_hop: routes.next_hop(&self.dial.target) });
        None
    }

    pub(crate) fn described(
        &mut self,
        now: Time,
        cx: &mut Context,
        purpose: Purpose,
        answer: Described,
    ) -> Option<SetUp> {
        match (purpose, answer) {
            (Purpose::FirstOffer, Described::Description(offer))
                if matches!(self.attempt, Attempt::Describing) =>
            {
                self.offer = Some(offer);
                self.invite(now, cx)
            }
            (Purpose::FirstOffer, Described::Refused { code, why }) => {
                Some(end(now, cx, EndReason::MediaRefused { code, why }, Some(code), false).into())
            }
            (Purpose::ForkAnswer { tag }, Described::Accepted) if self.heard.as_ref() == Some(&tag) => {
                cx.emit(Event::MediaAgreed);
                None
            }
            // Early media that does not fit is no reason to end the call: the answer of the 2xx decides.
            (Purpose::ForkAnswer { tag }, Described::Refused { .. }) => {
                if let Some(leg) = self.forks.get_mut(&tag) {
                    leg.note.answer = None;
                    leg.note.settled = false;
                }
                None
            }
            (Purpose::PrackAnswer { tag, response }, Described::Description(answer)) => {
                let leg = self.forks.get_mut(&tag)?;
                leg.note.settled = true;
                self.heard = Some(tag);
                prack(cx, leg, &response, Some(answer));
                cx.emit(Event::MediaAgreed);
                None
            }
            // RFC 3262 §5 leaves no way to refuse in PRACK: the call ends.
            (Purpose::PrackAnswer { .. }, Described::Refused { code, why }) => {
                self.cancel(now, cx, EndReason::MediaRefused { code, why }, Some(code))
            }
            (Purpose::EarlyAnswer { key, request }, answer) => {
                self.updates.retain(|update| *update != key);
                mid_dialog::answer_update(cx, key, &request, answer);
                None
            }
            _ => None,
        }
    }

    /// The final or provisional response to our INVITE, or what came instead.
    pub(crate) fn answered(&mut self, now: Time, cx: &mut Context, answer: Answer<'_>) -> Option<SetUp> {
        let response = match answer {
            Answer::Response(response) => response,
            Answer::Silent => return self.hop_failed(now, cx, HopFailure::Silent),
            Answer::NoTransport => return self.hop_failed(now, cx, HopFailure::Unreachable),
        };
        match response.status().unwrap_or(0) {
            0..=100 => {
                self.proceed();
                None
            }
            101..=199 => {
                self.provisional(now, cx, response);
                None
            }
            200..=299 => self.accepted(now, cx, response),
            code => self.refused(now, cx, response, code),
        }
    }

    fn proceed(&mut self) {
        if matches!(self.attempt, Attempt::Calling) {
            self.attempt = Attempt::Proceeding;
        }
    }

    fn provisional(&mut self, now: Time, cx: &mut Context, response: &Message) {
        self.proceed();
        let Some(invite) = cx.invite_message() else { return };
        let rseq = rseq_of(response);
        let cancelling = matches!(self.attempt, Attempt::Cancelling { .. });
        let Ok(leg) = self.forks.hear(&invite, response) else { return };
        let mut early_media = false;
        if let Some(leg) = leg {
            if let Some(rseq) = rseq {
                match leg.provisionals.hear(rseq) {
                    Heard::New => {}
                    Heard::Repeated | Heard::Early => return,
                }
            }
            let tag = leg.dialog.id().remote_tag.clone();
            leg.note.takes_update |= allows_update(response);
            match (sdp_of(response), &self.offer) {
                (Some(answer), Some(_)) => {
                    early_media = true;
                    let news = leg.note.answer.as_ref() != Some(&answer) || self.heard.as_ref() != Some(&tag);
                    leg.note.settled |= rseq.is_some();
                    if news && !cancelling {
                        leg.note.answer = Some(answer.clone());
                        self.heard = Some(tag.clone());
                        cx.describe(Describe::Conclude { answer }, Purpose::ForkAnswer { tag });
                    }
                    if rseq.is_some() {
                        prack(cx, leg, response, None);
                    }
                }
                // RFC 3262 §5: the offer of a reliable response is answered in its PRACK.
                (Some(offer), None) if rseq.is_some() && !leg.note.settled && !cancelling => {
                    early_media = true;
                    let purpose = Purpose::PrackAnswer { tag, response: response.clone() };
                    cx.describe(Describe::Answer { offer, hold: false }, purpose);
                }
                (Some(_) | None, _) => {
                    early_media = self.heard.as_ref() == Some(&tag);
                    if rseq.is_some() {
                        prack(cx, leg, response, None);
                    }
                }
            }
        }
        if cancelling {
            return;
        }
        // RFC 3261 §8.1.3.2: a provisional code that we do not know is a 183.
        let code = match response.status() {
            Some(code @ (180..=183 | 199)) => code,
            Some(_) | None => 183,
        };
        if code == 199 {
            // RFC 6228: one fork is gone, the call goes on.
            if let Some(tag) = response.to_tag() {
                self.forks.take(tag);
            }
            return;
        }
        if code == 180 {
            cx.record.rang.get_or_insert(now);
        }
        cx.emit(Event::Progress { code, ringback: code == 180 && !early_media });
    }

    fn accepted(&mut self, now: Time, cx: &mut Context, response: &Message) -> Option<SetUp> {
        let invite = cx.invite_message()?;
        let tag = response.to_tag().unwrap_or("").to_owned();
        if let Err(error) = self.forks.hear(&invite, response) {
            // No Contact, or an unreadable one: there is nothing to send an ACK to.
            let why = format!("the 200 cannot be used: {error}");
            return Some(
                end(now, cx, EndReason::Failed { code: response.status(), why }, response.status(), true)
                    .into(),
            );
        }
        let Leg { mut dialog, note, .. } = self.forks.take(&tag)?;
        if matches!(self.attempt, Attempt::Cancelling { .. }) {
            // The 200 crossed our CANCEL (RFC 3261 §9.1): it is acknowledged and ended.
            cx.acknowledge(now, &dialog, &invite, None);
            let reason = cx.record.reason().cloned();
            return Some(crate::ending::bye(now, cx, &mut dialog, reason.as_ref()).into());
        }
        self.session.conclude(now, response);
        cx.record.answered = Some(now);
        cx.emit(Event::Answered);
        let mut call = Established::caller(now, cx, dialog, self.session.clone(), response);
        let answer = sdp_of(response);
        let heard = self.heard.as_ref() == Some(&tag);
        match (&self.offer, answer, note) {
            (Some(_), _, ForkMedia { settled: true, .. }) if heard => call.acknowledged(now, cx, &invite),
            (Some(_), None, ForkMedia { answer: Some(_), .. }) if heard => {
                call.acknowledged(now, cx, &invite)
            }
            (Some(_), Some(answer), ForkMedia { answer: Some(known), .. }) if heard && answer == known => {
                call.acknowledged(now, cx, &invite);
            }
            // The answer is new, or the media follows another fork by now.
            (Some(_), Some(answer), _) | (Some(_), None, ForkMedia { answer: Some(answer), .. }) => {
                call.acknowledged(now, cx, &invite);
                call.conclude(cx, answer, tag);
            }
            (None, _, ForkMedia { settled: true, .. }) => call.acknowledged(now, cx, &invite),
            (None, Some(offer), _) => call.owe_ack(cx, invite, offer),
            (Some(_) | None, None, _) => {
                call.acknowledged(now, cx, &invite);
                let why = "no session description in the answer".to_owned();
                return Some(call.hang_up(now, cx, EndReason::MediaRefused { code: 488, why }, None).into());
            }
        }
        call.advance(now, cx);
        Some(SetUp::Answered(Box::new(call)))
    }

    /// Gives up before the answer (RFC 3261 §9.1); the transaction holds the CANCEL back until a provisional response.
    pub(crate) fn cancel(
        &mut self,
        now: Time,
        cx: &mut Context,
        reason: EndReason,
        code: Option<u16>,
    ) -> Option<SetUp> {
        cx.record.decide(reason.clone(), code, false, now);
        match &self.attempt {
            Attempt::Describing | Attempt::AwaitingCredentials { .. } | Attempt::AwaitingNextHop { .. } => {
                Some(end(now, cx, reason, code, false).into())
            }
            Attempt::Calling | Attempt::Proceeding => {
                let id = cx.invite_sent()?.0;
                cx.forget_questions();
                cx.push(Output::Cancel { id, headers: reason.header().into_iter().collect() });
                self.attempt = Attempt::Cancelling { until: now + cx.config.patience() };
                cx.emit(Event::Ending);
                None
            }
            Attempt::Cancelling { .. } => None,
        }
    }

    /// The network moved: early dialogs learn our new Contact by UPDATE (RFC 3311 §5.1), so that a far end that answers
    /// finds us. Media follows by re-INVITE after the answer.
    pub(crate) fn moved(&mut self, cx: &mut Context) {
        cx.moved_early = true;
        for leg in self.forks.iter_mut().filter(|leg| leg.note.takes_update) {
            cx.request(&mut leg.dialog, Task::EarlyUpdate, Recipe::bare(Method::Update));
        }
    }

    /// A request of the far end in one of the early dialogs.
    pub(crate) fn request(
        &mut self,
        now: Time,
        cx: &mut Context,
        key: ServerKey,
        request: &Message,
    ) -> Option<SetUp> {
        let offered = self.offer.is_some();
        let busy = !self.updates.is_empty();
        let Some(leg) = self.forks.of_request(request) else {
            cx.respond_plain(key, request, 481);
            return None;
        };
        if leg.dialog.accept(request).is_err() {
            cx.respond_plain(key, request, 500);
            return None;
        }
        if mid_dialog::refused_as_unknown(cx, key, request) {
            return None;
        }
        match mid_dialog::asks(request) {
            Asks::Update => {
                // RFC 3311 §5.2: our own offer must be answered first, and one UPDATE follows the other.
                match sdp_of(request) {
                    Some(_) if busy => cx.respond_later(key, request),
                    Some(_) if offered && leg.note.answer.is_none() => cx.respond_plain(key, request, 491),
                    Some(_) if !offered && !leg.note.settled => cx.respond_later(key, request),
                    Some(offer) => {
                        leg.dialog.refresh_target(request);
                        self.updates.push(key);
                        let purpose = Purpose::EarlyAnswer { key, request: request.clone() };
                        cx.describe(Describe::Answer { offer, hold: false }, purpose);
                    }
                    None => {
                        leg.dialog.refresh_target(request);
                        mid_dialog::accept_update(cx, key, request, None);
                    }
                }
                None
            }
            // RFC 3261 §15: a callee refuses an INVITE with a response. Whoever sends BYE all the same means the fork.
            Asks::Bye => {
                let tag = leg.dialog.id().remote_tag.clone();
                cx.respond_plain(key, request, 200);
                self.forks.take(&tag);
                None
            }
            Asks::Invite | Asks::Prack | Asks::Nothing => {
                mid_dialog::serve(now, cx, &mut leg.dialog, key, request);
                None
            }
        }
    }

    pub(crate) fn owns_request(&self, request: &Message) -> bool {
        self.forks.owns_request(request)
    }

    /// Sends a request of an early dialog again with credentials.
    pub(crate) fn authorize_request(&mut self, cx: &mut Context, id: RequestId, headers: &[(Name, String)]) {
        let tag = cx.requests.get(&id).and_then(|sent| sent.message.to_tag().map(str::to_owned));
        match tag.and_then(|tag| self.forks.get_mut(&tag)) {
            Some(leg) => {
                cx.retry(&mut leg.dialog, id, headers);
            }
            // The fork is gone by now (199, BYE, another try), and with it whatever was asked in it.
            None => {
                cx.requests.remove(&id);
            }
        }
    }

    /// An early dialog that an INVITE with Replaces names (RFC 3891 §3): whether we may be replaced in it.
    pub(crate) fn has_dialog(&self, id: &wakeline_sip_dialog::DialogId) -> bool {
        self.forks.iter().any(|leg| leg.dialog.id() == id)
    }

    pub(crate) fn is_alerting(&self) -> bool {
        matches!(self.attempt, Attempt::Proceeding) && !self.forks.is_empty()
    }

    pub(crate) fn is_cancelling(&self) -> bool {
        matches!(self.attempt, Attempt::Cancelling { .. })
    }

    pub(crate) fn dialogs(&self) -> usize {
        self.forks.len()
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match self.attempt {
            Attempt::Cancelling { until } => Some(until),
            Attempt::Describing
            | Attempt::Calling
            | Attempt::Proceeding
            | Attempt::AwaitingCredentials { .. }
            | Attempt::AwaitingNextHop { .. } => self.rings_until,
        }
    }

    pub(crate) fn expire(&mut self, now: Time, cx: &mut Context) -> Option<SetUp> {
        match self.attempt {
            // RFC 3261 §9.1: no final response 64 × T1 after the CANCEL: the call is taken for cancelled.
            Attempt::Cancelling { until } if now >= until => {
                Some(end(now, cx, EndReason::Cancelled, None, false).into())
            }
            Attempt::Cancelling { .. } => None,
            Attempt::Describing
            | Attempt::Calling
            | Attempt::Proceeding
            | Attempt::AwaitingCredentials { .. }
            | Attempt::AwaitingNextHop { .. } => {
                let due = self.rings_until.is_some_and(|until| now >= until);
                if due { self.cancel(now, cx, EndReason::NoAnswer, None) } else { None }
            }
        }
    }
}

/// Acknowledges a reliable provisional response (RFC 3262 §4).
fn prack(cx: &mut Context, leg: &mut Leg<ForkMedia>, response: &Message, answer: Option<Bytes>) {
    let (Some(rseq), Ok(cseq)) = (rseq_of(response), response.cseq()) else { return };
    let mut recipe = Recipe::bare(Method::Prack);
    recipe.headers.push((Name::RAck, format!("{rseq} {} {}", cseq.number, cseq.method)));
    recipe.body = answer.map(|answer| (SDP, answer));
    let tag = leg.dialog.id().remote_tag.clone();
    cx.request(&mut leg.dialog, Task::Prack { tag }, recipe);
}
