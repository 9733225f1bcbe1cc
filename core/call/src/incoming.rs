//! A call that comes in, from its first sign to our 2xx (RFC 3261 §13.3, RFC 3262 §3).

use core::time::Duration;

use bytes::Bytes;
use wakeline_clock::{Time, earliest};
use wakeline_flow::FlowInfo;
use wakeline_sip_dialog::Dialog;
use wakeline_sip_message::{Builder, Message, Name};

use crate::arrival::{self, Check};
use crate::config::Reliable;
use crate::context::{Context, Origin, Purpose, SDP, sdp_of};
use crate::end::EndReason;
use crate::ending::{Leaving, end};
use crate::established::{Established, SetUp, answer_fields};
use crate::intent::{Intent, Refusal};
use crate::mid_dialog::{self, Asks};
use crate::output::{Describe, Described, Event};
use crate::reliable::{Pracked, Provisionals};
use crate::repeat::{Repeat, Wait};
use crate::session_timer::{SessionTimer, with_fields};
use wakeline_sip_transaction::ServerKey;

/// A 180 is repeated every minute, so that proxies do not give the call up (RFC 3261 §13.3.1.1, timer C).
const REMIND: Duration = Duration::from_secs(60);

/// An incoming call that is not answered yet.
pub(crate) struct Incoming {
    pub(crate) intent: Intent,
    pub(crate) stage: Stage,
    /// The last INVITE was refused in a way that makes the caller ask again.
    refused: Option<EndReason>,
}

#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// Told by a push; the INVITE is to come.
    Announced { deadline: Time },
    /// The INVITE is here. Whether it rings or is being answered, the intent says.
    Arrived(Box<Arrived>),
}

/// Our session description for the INVITE.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Ours {
    /// The media is asked.
    Asked,
    /// It is ready to be sent.
    Ready(Bytes),
    /// It left in a reliable provisional response.
    Sent,
}

/// Who makes the offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Offerer {
    Them,
    Us,
}

#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    key: ServerKey,
    invite: Message,
    tag: String,
    dialog: Dialog,
    offerer: Offerer,
    ours: Ours,
    /// Their answer to our offer is settled: it came in PRACK.
    answer_read: bool,
    /// Whether provisional responses go reliably.
    reliable: bool,
    provisionals: Provisionals,
    last_provisional: Option<Message>,
    session: SessionTimer,
    /// When the person's time to answer is over.
    rings_until: Option<Time>,
    remind_at: Time,
    answer_at: Option<Time>,
    /// UPDATEs that wait for our answer.
    updates: Vec<ServerKey>,
}

impl Incoming {
    pub(crate) fn announced(deadline: Time) -> Incoming {
        Incoming { intent: Intent::Undecided, stage: Stage::Announced { deadline }, refused: None }
    }

    /// The INVITE of a call that is new, or was announced.
    pub(crate) fn arrive(
        &mut self,
        now: Time,
        cx: &mut Context,
        key: ServerKey,
        flow: FlowInfo,
        invite: &Message,
    ) -> Option<SetUp> {
        arrival::note_caller(cx, invite);
        cx.origin = Some(Origin { invite: invite.clone(), flow: flow.id, is_dead: false });
        let session = SessionTimer::new(cx.config.session_timer);
        if let Check::Refuse { code, field } = arrival::check(cx, &session, invite) {
            let tag = cx.entropy.token(12);
            cx.respond(key, invite, code, |builder| {
                let builder = builder.to_tag(&tag);
                match field {
                    Some((name, value)) => builder.header(name, value),
                    None => builder,
                }
            });
            let reason =
                EndReason::Rejected { code, reason: wakeline_sip_message::reason::usual(code).into() };
            if code == 422 {
                // RFC 4028 §7.3: the caller asks again for the same call, with a longer interval.
                let patience = now + cx.config.patience();
                let deadline = self.deadline().unwrap_or(patience).min(patience);
                self.stage = Stage::Announced { deadline };
                self.refused = Some(reason);
                return None;
            }
            return Some(end(now, cx, reason, Some(code), false).into());
        }
        let tag = cx.entropy.token(12);
        let early = Builder::response(invite, 180, "").to_tag(&tag).build().ok();
        let Some(dialog) = early.and_then(|early| Dialog::from_uas(invite, &early).ok()) else {
            // No Contact to answer to (RFC 3261 §8.1.1.8).
            cx.respond(key, invite, 400, |builder| builder.to_tag(&tag));
            let why = "the INVITE cannot make a dialog".to_owned();
            return Some(end(now, cx, EndReason::Failed { code: Some(400), why }, Some(400), false).into());
        };
        let offer = sdp_of(invite);
        let expires =
            invite.expires().ok().flatten().map(|seconds| now + Duration::from_secs(u64::from(seconds)));
        let mut arrived = Arrived {
            key,
            invite: invite.clone(),
            tag,
            dialog,
            offerer: if offer.is_some() { Offerer::Them } else { Offerer::Us },
            ours: Ours::Asked,
            answer_read: false,
            reliable: is_reliable(cx.config.reliable, invite),
            provisionals: Provisionals::default(),
            last_provisional: None,
            session,
            rings_until: earliest(cx.config.ring_timeout.map(|time| now + time), expires),
            remind_at: now + REMIND,
            // Nobody is let into another call (RFC 3911) without a person's consent.
            answer_at: cx
                .config
                .auto_answer
                .filter(|_| invite.header(Name::Join).is_none())
                .map(|time| now + time),
            updates: Vec::new(),
        };
        if let Intent::Decline(refusal) = &self.intent {
            let refusal = refusal.clone();
            return Some(arrived.refuse(now, cx, &refusal).into());
        }
        cx.describe(
            match offer {
                Some(offer) => Describe::Answer { offer, hold: false },
                None => Describe::Offer { hold: false, fresh: false },
            },
            Purpose::Invitation,
        );
        cx.emit(arrival::event(invite));
        // Also when it is answered at once: a gateway that sees no sign while our media takes its time would take
        // this branch for dead.
        arrived.ring(now, cx);
        if self.intent == Intent::Accept {
            arrived.rings_until = Some(now + cx.config.patience());
        }
        self.stage = Stage::Arrived(Box::new(arrived));
        None
    }

    pub(crate) fn accept(&mut self, now: Time, cx: &mut Context) -> Option<SetUp> {
        match (&self.intent, &mut self.stage) {
            // The first wish stands once it has left on the wire; before that the last one counts.
            (_, Stage::Announced { .. }) => {
                self.intent = Intent::Accept;
                None
            }
            (_, Stage::Arrived(arrived)) => {
                self.intent = Intent::Accept;
                // From here on it is our media or a PRACK that is waited for, and not for ever.
                arrived.rings_until = Some(now + cx.config.patience());
                arrived.answer_if_ready(now, cx)
            }
        }
    }

    pub(crate) fn decline(&mut self, now: Time, cx: &mut Context, refusal: Refusal) -> Option<SetUp> {
        match &mut self.stage {
            Stage::Announced { .. } => {
                cx.record.decide(refusal.reason(), None, false, now);
                self.intent = Intent::Decline(refusal);
                None
            }
            Stage::Arrived(arrived) => {
                let state = arrived.refuse(now, cx, &refusal);
                self.intent = Intent::Decline(refusal);
                Some(state.into())
            }
        }
    }

    pub(crate) fn described(
        &mut self,
        now: Time,
        cx: &mut Context,
        purpose: Purpose,
        answer: Described,
    ) -> Option<SetUp> {
        let Stage::Arrived(arrived) = &mut self.stage else { return None };
        match (purpose, answer) {
            (Purpose::Invitation, Described::Description(ours)) => {
                // Later questions (an UPDATE of before the answer) do not come here: this one is for the 2xx.
                if arrived.ours != Ours::Sent {
                    arrived.ours = Ours::Ready(ours);
                }
                arrived.described(now, cx);
            }
            (Purpose::Invitation, Described::Refused { code, why }) => {
                let tag = arrived.tag.clone();
                let text: String =
                    why.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).collect();
                cx.respond(arrived.key, &arrived.invite, code, |builder| {
                    builder.to_tag(&tag).header(Name::Warning, format!("399 wakeline \"{text}\""))
                });
                return Some(end(now, cx, EndReason::MediaRefused { code, why }, Some(code), false).into());
            }
            (Purpose::LateAnswer, Described::Accepted) => {
                arrived.answer_read = true;
                cx.emit(Event::MediaAgreed);
            }
            (Purpose::LateAnswer, Described::Refused { code, why }) => {
                let state = arrived.refuse(now, cx, &Refusal::Code(488));
                cx.record.reconsider(EndReason::MediaRefused { code, why }, Some(488), false);
                return Some(state.into());
            }
            (Purpose::EarlyAnswer { key, request }, answer) => {
                arrived.updates.retain(|update| *update != key);
                mid_dialog::answer_update(cx, key, &request, answer);
            }
            _ => {}
        }
        if self.intent == Intent::Accept { arrived.answer_if_ready(now, cx) } else { None }
    }

    /// A request in our early dialog.
    pub(crate) fn request(
        &mut self,
        now: Time,
        cx: &mut Context,
        key: ServerKey,
        request: &Message,
    ) -> Option<SetUp> {
        let Stage::Arrived(arrived) = &mut self.stage else {
            cx.respond_plain(key, request, 481);
            return None;
        };
        if arrived.dialog.accept(request).is_err() {
            cx.respond_plain(key, request, 500);
            return None;
        }
        if mid_dialog::refused_as_unknown(cx, key, request) {
            return None;
        }
        match mid_dialog::asks(request) {
            Asks::Prack => arrived.pracked(now, cx, key, request),
            Asks::Update => arrived.update(cx, key, request),
            // RFC 3261 §15: a caller may leave an early dialog by BYE; its INVITE is then answered with 487.
            Asks::Bye => {
                cx.respond_plain(key, request, 200);
                return Some(arrived.abandoned(now, cx, EndReason::of_cancel(request)).into());
            }
            // RFC 3261 §14.2: the first INVITE is not answered yet.
            Asks::Invite => cx.respond_later(key, request),
            Asks::Nothing => mid_dialog::serve(now, cx, &mut arrived.dialog, key, request),
        }
        if self.intent == Intent::Accept { arrived.answer_if_ready(now, cx) } else { None }
    }

    /// The caller gave up (RFC 3261 §9.2); the transaction has answered the CANCEL itself.
    pub(crate) fn cancelled(
        &mut self,
        now: Time,
        cx: &mut Context,
        key: ServerKey,
        cancel: &Message,
    ) -> Option<SetUp> {
        match &mut self.stage {
            Stage::Arrived(arrived) if arrived.key == key => {
                Some(arrived.abandoned(now, cx, EndReason::of_cancel(cancel)).into())
            }
            Stage::Arrived(_) | Stage::Announced { .. } => None,
        }
    }

    /// The call is over, says whoever held its INVITE.
    pub(crate) fn told_over(&mut self, now: Time, cx: &mut Context, reason: EndReason) -> Leaving {
        match &mut self.stage {
            Stage::Announced { .. } => end(now, cx, reason, None, true),
            Stage::Arrived(arrived) => arrived.abandoned(now, cx, reason),
        }
    }

    /// The same INVITE on another branch, on a flow that lives while the first one is dead (races 13 and 14 of push
    /// wake-up): the call goes on with this transaction, and the far end hears the last 18x on it.
    pub(crate) fn adopt(&mut self, cx: &mut Context, key: ServerKey, invite: &Message) {
        let Stage::Arrived(arrived) = &mut self.stage else { return };
        let old = core::mem::replace(&mut arrived.key, key);
        let first = core::mem::replace(&mut arrived.invite, invite.clone());
        cx.respond_plain(old, &first, 482);
        let last = arrived.provisionals.waiting_response().or(arrived.last_provisional.as_ref()).cloned();
        if let Some(last) = last {
            let repeated = cx.repeat_on(key, invite, &last);
            arrived.provisionals.moved_to(repeated);
        }
    }

    /// The network moved while it rings: the media describes itself anew.
    pub(crate) fn moved(&mut self, cx: &mut Context) {
        let Stage::Arrived(arrived) = &mut self.stage else { return };
        if let (Ours::Ready(_), Some(offer)) = (&arrived.ours, sdp_of(&arrived.invite)) {
            arrived.ours = Ours::Asked;
            cx.describe(Describe::Answer { offer, hold: false }, Purpose::Invitation);
        }
    }

    pub(crate) fn arrived(&self) -> Option<&Arrived> {
        match &self.stage {
            Stage::Arrived(arrived) => Some(arrived),
            Stage::Announced { .. } => None,
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        match &self.stage {
            Stage::Announced { deadline } => Some(*deadline),
            Stage::Arrived(arrived) => {
                let timed = earliest(arrived.rings_until, arrived.provisionals.deadline());
                earliest(earliest(timed, arrived.answer_at), Some(arrived.remind_at))
            }
        }
    }

    pub(crate) fn expire(&mut self, now: Time, cx: &mut Context) -> Option<SetUp> {
        match &mut self.stage {
            Stage::Announced { deadline } if now >= *deadline => {
                let (reason, by_peer) = match self.refused.take() {
                    Some(reason) => (reason, false),
                    None => (EndReason::NeverArrived, true),
                };
                Some(end(now, cx, reason, None, by_peer).into())
            }
            Stage::Announced { .. } => None,
            Stage::Arrived(arrived) => {
                if arrived.rings_until.is_some_and(|until| now >= until) {
                    if self.intent == Intent::Accept {
                        let why = "our media or a PRACK was awaited in vain".to_owned();
                        cx.record.decide(EndReason::Failed { code: Some(500), why }, Some(500), false, now);
                        return Some(arrived.refuse(now, cx, &Refusal::Code(500)).into());
                    }
                    return Some(arrived.refuse(now, cx, &Refusal::Code(480)).into());
                }
                if arrived.provisionals.expire(now, cx, arrived.key) == Wait::Over {
                    // RFC 3262 §3: nobody acknowledges, so the INVITE is refused.
                    let state = arrived.refuse(now, cx, &Refusal::Code(504));
                    return Some(state.into());
                }
                if now >= arrived.remind_at {
                    arrived.remind_at = now + REMIND;
                    if !arrived.provisionals.is_waiting() {
                        arrived.provisional(now, cx, 180, None);
                    }
                }
                if arrived.answer_at.is_some_and(|at| now >= at) {
                    arrived.answer_at = None;
                    return self.accept(now, cx);
                }
                None
            }
        }
    }
}

impl Arrived {
    pub(crate) fn dialog(&self) -> &Dialog {
        &self.dialog
    }

    fn ring(&mut self, now: Time, cx: &mut Context) {
        // RFC 3262 §5: the first reliable response to an INVITE without offer carries ours, so it waits for the media.
        if !(self.reliable && self.offerer == Offerer::Us) {
            self.provisional(now, cx, 180, None);
        }
        cx.record.rang.get_or_insert(now);
    }

    fn provisional(&mut self, now: Time, cx: &mut Context, code: u16, sdp: Option<Bytes>) {
        let sent = if self.reliable {
            let invite = (self.key, &self.invite, self.tag.as_str());
            self.provisionals.send(now, cx, invite, code, sdp)
        } else {
            let contact = cx.contact.value();
            let (allow, supported) = (cx.config.allow(), cx.config.supported());
            cx.respond(self.key, &self.invite, code, |builder| {
                let builder = builder
                    .to_tag(&self.tag)
                    .copy(&self.invite, Name::RecordRoute)
                    .header(Name::Contact, contact)
                    .header(Name::Allow, allow)
                    .header(Name::Supported, supported);
                match sdp {
                    Some(sdp) => builder.body(SDP, sdp),
                    None => builder,
                }
            })
        };
        self.last_provisional = sent.or(self.last_provisional.take());
    }

    /// Our description is there: it goes out early where that is wanted.
    fn described(&mut self, now: Time, cx: &mut Context) {
        let Ours::Ready(sdp) = &self.ours else { return };
        if self.reliable && self.offerer == Offerer::Us {
            let sdp = sdp.clone();
            self.ours = Ours::Sent;
            self.provisional(now, cx, 180, Some(sdp));
        } else if cx.config.early_media && self.offerer == Offerer::Them {
            let sdp = sdp.clone();
            if self.reliable {
                self.ours = Ours::Sent;
            }
            self.provisional(now, cx, 183, Some(sdp));
            cx.emit(Event::MediaAgreed);
        }
    }

    fn pracked(&mut self, now: Time, cx: &mut Context, key: ServerKey, prack: &Message) {
        let with_sdp = match self.provisionals.meet(prack, &self.invite) {
            Pracked::No => {
                cx.respond_plain(key, prack, 481);
                return;
            }
            Pracked::Yes { with_sdp } => with_sdp,
        };
        match sdp_of(prack) {
            // The answer to the offer of our provisional response.
            Some(answer) if self.offerer == Offerer::Us && with_sdp => {
                cx.respond_plain(key, prack, 200);
                cx.describe(Describe::Conclude { answer }, Purpose::LateAnswer);
            }
            // A second offer (RFC 3262 §5): answered in the 200 to PRACK.
            Some(offer) if self.ours == Ours::Sent => {
                self.updates.push(key);
                let purpose = Purpose::EarlyAnswer { key, request: prack.clone() };
                cx.describe(Describe::Answer { offer, hold: false }, purpose);
            }
            Some(_) => mid_dialog::refuse_media(cx, key, prack, 488, "an offer is open").map_or((), drop),
            None => cx.respond_plain(key, prack, 200),
        }
        if let Some((code, sdp)) = self.provisionals.next() {
            self.provisional(now, cx, code, sdp);
        }
    }

    fn update(&mut self, cx: &mut Context, key: ServerKey, request: &Message) {
        if let Some(floor) = self.session.refuses(request) {
            cx.respond(key, request, 422, |builder| builder.header(Name::MinSe, floor));
            return;
        }
        let answered = self.ours == Ours::Sent && !self.provisionals.holds_answer();
        match sdp_of(request) {
            None => {
                self.dialog.refresh_target(request);
                mid_dialog::accept_update(cx, key, request, None);
            }
            Some(_) if !self.updates.is_empty() => cx.respond_later(key, request),
            // RFC 3311 §5.2: our answer to the INVITE is owed first; or our own offer waits for its answer.
            Some(_) if !answered && self.offerer == Offerer::Them => cx.respond_later(key, request),
            Some(_) if self.offerer == Offerer::Us && !self.answer_read => {
                cx.respond_plain(key, request, 491)
            }
            Some(offer) => {
                self.dialog.refresh_target(request);
                self.updates.push(key);
                let purpose = Purpose::EarlyAnswer { key, request: request.clone() };
                cx.describe(Describe::Answer { offer, hold: false }, purpose);
            }
        }
    }

    /// Sends the 2xx, unless something is still awaited: our media, or the PRACK of a response with our description
    /// (RFC 3262 §3), or an answer that is being read.
    fn answer_if_ready(&mut self, now: Time, cx: &mut Context) -> Option<SetUp> {
        if self.provisionals.holds_answer() || !self.updates.is_empty() {
            return None;
        }
        let body = match &self.ours {
            Ours::Asked => return None,
            Ours::Sent if self.offerer == Offerer::Us && !self.answer_read => return None,
            Ours::Sent => None,
            Ours::Ready(sdp) => Some(sdp.clone()),
        };
        self.provisionals.stop();
        let session = self.session.accept(now, &self.invite);
        let fields = answer_fields(cx, session);
        let offered = self.offerer == Offerer::Us && body.is_some();
        let settled = self.ours == Ours::Sent;
        let response = cx.respond(self.key, &self.invite, 200, |builder| {
            let builder = builder.to_tag(&self.tag).copy(&self.invite, Name::RecordRoute);
            let builder = with_fields(builder, &fields);
            match body {
                Some(body) => builder.body(SDP, body),
                None => builder,
            }
        })?;
        if response.status() != Some(200) {
            let why = "the answer cannot be written".to_owned();
            return Some(end(now, cx, EndReason::Failed { code: Some(500), why }, Some(500), false).into());
        }
        self.dialog.confirm_as_callee();
        cx.record.answered = Some(now);
        cx.emit(Event::Answered);
        if !offered && !settled {
            cx.emit(Event::MediaAgreed);
        }
        let repeat = Repeat::new(now, &cx.config, self.key, response);
        let (dialog, session) = (self.dialog.clone(), self.session.clone());
        let call = Established::callee(now, cx, dialog, session, &self.invite, repeat, offered);
        Some(SetUp::Answered(Box::new(call)))
    }

    pub(crate) fn refuse(&mut self, now: Time, cx: &mut Context, refusal: &Refusal) -> Leaving {
        self.provisionals.stop();
        let (code, tag) = (refusal.code(), self.tag.clone());
        cx.respond(self.key, &self.invite, code, |builder| {
            let builder = builder.to_tag(&tag);
            match refusal {
                Refusal::Forward { to } => builder.header(Name::Contact, format!("<{to}>")),
                Refusal::Everywhere | Refusal::Busy | Refusal::Code(_) => builder,
            }
        });
        cx.record.decide(refusal.reason(), Some(code), false, now);
        let reason = refusal.reason();
        end(now, cx, reason, Some(code), false)
    }

    /// 487 to the INVITE (RFC 3261 §9.2, §15.1.2).
    fn abandoned(&mut self, now: Time, cx: &mut Context, reason: EndReason) -> Leaving {
        self.provisionals.stop();
        let tag = self.tag.clone();
        cx.respond(self.key, &self.invite, 487, |builder| builder.to_tag(&tag));
        end(now, cx, reason, Some(487), true)
    }
}

/// Whether provisional responses are sent reliably to this caller (RFC 3262 §3).
pub(crate) fn is_reliable(policy: Reliable, invite: &Message) -> bool {
    let required = invite.require().any(|tag| tag.eq_ignore_ascii_case("100rel"));
    match policy {
        Reliable::Off => false,
        Reliable::Supported => required,
        Reliable::Preferred | Reliable::Required => required || invite.supports("100rel"),
    }
}
