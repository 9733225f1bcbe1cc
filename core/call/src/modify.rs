//! Changing an answered call: re-INVITE and UPDATE both ways, glare, hold, a moved flow, session refresh
//! (RFC 3261 §14, RFC 3311 §5, RFC 4028 §7.4, RFC 6141).

use core::time::Duration;

use bytes::Bytes;
use wakeline_clock::Time;
use wakeline_sip_dialog::Role;
use wakeline_sip_message::{Message, Method, Name};

use crate::answer::{Answer, retry_after};
use crate::context::{Context, Purpose, Recipe, SDP, Sent, Task, sdp_of};
use crate::ending::Leaving;
use crate::established::{Established, allows_update, answer_fields};
use crate::exchange::{Exchange, Wishes};
use crate::key::RequestId;
use crate::mid_dialog;
use crate::output::{Describe, Described, Event, Output};
use crate::repeat::Repeat;
use crate::session_timer::with_fields;
use wakeline_sip_transaction::ServerKey;

impl Established {
    /// Starts the next change, if one is wanted and nothing is under way in either direction (RFC 3261 §14.1).
    pub(crate) fn advance(&mut self, now: Time, cx: &mut Context) {
        if !matches!(self.exchange, Exchange::Stable) || self.unacked.is_some() {
            return;
        }
        let change = self.wishes;
        if change.hold != self.held || change.moved {
            self.exchange = Exchange::AskingOffer { change };
            cx.describe(Describe::Offer { hold: change.hold, fresh: change.moved }, Purpose::ModifyOffer);
        } else if change.refresh && self.takes_update {
            // RFC 4028 §7.4: UPDATE without an offer is the cheapest refresh.
            self.ask(now, cx, Method::Update, change, None);
        } else if change.refresh {
            self.exchange = Exchange::AskingOffer { change };
            cx.describe(Describe::Offer { hold: change.hold, fresh: false }, Purpose::ModifyOffer);
        }
    }

    fn ask(&mut self, now: Time, cx: &mut Context, method: Method, change: Wishes, offer: Option<Bytes>) {
        // Nobody rings for a re-INVITE: an answer takes a round trip, or a person's consent to video at most.
        let until = (method == Method::Invite).then(|| now + cx.config.patience() * 2);
        let mut recipe = Recipe::bare(method);
        recipe.headers = self.session.request_fields();
        recipe.body = offer.map(|offer| (SDP, offer));
        match cx.request(&mut self.dialog, Task::Modify, recipe) {
            Some(id) => self.exchange = Exchange::Asked { id, change, until },
            None => self.refused(cx, 0),
        }
    }

    /// The pause after glare is over, or a re-INVITE got no answer: then it is taken back, and what the transaction
    /// makes of that decides (RFC 3261 §9.1).
    pub(crate) fn expire_change(&mut self, now: Time, cx: &mut Context) {
        match &mut self.exchange {
            Exchange::BackingOff { until } if now >= *until => self.exchange = Exchange::Stable,
            Exchange::Asked { id, until, .. } if until.is_some_and(|until| now >= until) => {
                *until = None;
                let id = *id;
                cx.push(Output::Cancel { id, headers: Vec::new() });
            }
            Exchange::BackingOff { .. }
            | Exchange::Asked { .. }
            | Exchange::Stable
            | Exchange::OwingAck { .. }
            | Exchange::Reading
            | Exchange::AwaitingAnswer
            | Exchange::AskingOffer { .. }
            | Exchange::Concluding { .. }
            | Exchange::Answering { .. } => {}
        }
    }

    /// What the media said in an exchange of modification.
    pub(crate) fn modify_described(
        &mut self,
        now: Time,
        cx: &mut Context,
        purpose: &Purpose,
        answer: Described,
    ) -> Option<Leaving> {
        match (&self.exchange, purpose, answer) {
            (Exchange::AskingOffer { change }, Purpose::ModifyOffer, Described::Description(offer)) => {
                let change = *change;
                self.ask(now, cx, Method::Invite, change, Some(offer));
            }
            (
                Exchange::AskingOffer { .. },
                Purpose::ModifyOffer,
                Described::Refused { .. } | Described::Accepted,
            ) => {
                self.refused(cx, 0);
            }
            (Exchange::Concluding { change }, Purpose::ModifyAnswer, Described::Accepted) => {
                let change = *change;
                self.agreed(cx, change);
                cx.emit(Event::MediaAgreed);
                cx.emit(Event::Changed { hold: self.held });
            }
            // RFC 3261 §14.1 has no way back from a 2xx: an answer that does not fit leaves no session.
            (Exchange::Concluding { .. }, Purpose::ModifyAnswer, Described::Refused { code, why }) => {
                return Some(self.hang_up(
                    now,
                    cx,
                    crate::end::EndReason::MediaRefused { code, why },
                    Some(code),
                ));
            }
            (Exchange::Answering { key, request }, Purpose::TheirModify, answer) => {
                let (key, request) = (*key, request.clone());
                self.answer_theirs(now, cx, key, &request, answer);
            }
            // The question was overtaken: their request came first, or the call is past it.
            _ => {}
        }
        None
    }

    fn agreed(&mut self, _cx: &mut Context, change: Wishes) {
        self.held = change.hold;
        self.wishes.moved &= !change.moved;
        self.wishes.refresh &= !change.refresh;
        self.exchange = Exchange::Stable;
    }

    /// The change is off; the former agreement stands.
    fn refused(&mut self, cx: &mut Context, code: u16) {
        let change = match &self.exchange {
            Exchange::AskingOffer { change }
            | Exchange::Asked { change, .. }
            | Exchange::Concluding { change } => Some(*change),
            Exchange::Stable
            | Exchange::OwingAck { .. }
            | Exchange::Reading
            | Exchange::AwaitingAnswer
            | Exchange::Answering { .. }
            | Exchange::BackingOff { .. } => None,
        };
        self.exchange = Exchange::Stable;
        let only_refresh = change.is_some_and(|change| change.hold == self.held && !change.moved);
        self.wishes = Wishes { hold: self.held, moved: false, refresh: false };
        if !only_refresh {
            cx.push(Output::Rollback);
            cx.emit(Event::ChangeRefused { code });
        }
    }

    /// Our request was refused because nobody can sign it.
    pub(crate) fn modify_refused(&mut self, cx: &mut Context, id: RequestId, code: u16) {
        if matches!(&self.exchange, Exchange::Asked { id: asked, .. } if *asked == id) {
            self.refused(cx, code);
        }
    }

    /// The answer to our re-INVITE or UPDATE.
    pub(crate) fn modified(
        &mut self,
        now: Time,
        cx: &mut Context,
        sent: &Sent,
        answer: Answer<'_>,
    ) -> Option<Leaving> {
        let Exchange::Asked { change, .. } = &self.exchange else { return None };
        let change = *change;
        let status = answer.status();
        let Answer::Response(response) = answer else {
            if self.is_lost(status, answer) {
                return Some(self.lost(now, cx, None));
            }
            self.refused(cx, 0);
            return None;
        };
        match status.unwrap_or(0) {
            200..=299 => {
                self.dialog.refresh_target(response);
                self.takes_update |= allows_update(response);
                self.session.conclude(now, response);
                if sent.recipe.method == Method::Invite {
                    cx.acknowledge(now, &self.dialog, &sent.message, None);
                }
                match (sdp_of(response), sent.recipe.body.is_some()) {
                    (Some(answer), true) => {
                        self.exchange = Exchange::Concluding { change };
                        cx.describe(Describe::Conclude { answer }, Purpose::ModifyAnswer);
                    }
                    (None, true) => self.refused(cx, 0),
                    (Some(_) | None, false) => self.agreed(cx, change),
                }
            }
            491 => {
                let pause = glare_pause(cx, self.dialog.role());
                self.back_off(cx, now + pause);
            }
            // RFC 3261 §14.2: two INVITEs met; Retry-After says when the other one is done.
            500 if let Some(seconds) = retry_after(response) => {
                self.back_off(cx, now + Duration::from_secs(u64::from(seconds.min(10))));
            }
            422 if self.session.raise(response) => self.back_off(cx, now),
            code => {
                if self.is_lost(Some(code), answer) {
                    return Some(self.lost(now, cx, Some(code)));
                }
                self.refused(cx, code);
            }
        }
        None
    }

    fn back_off(&mut self, cx: &mut Context, until: Time) {
        cx.push(Output::Rollback);
        self.exchange = Exchange::BackingOff { until };
    }

    // ---- theirs ----------------------------------------------------------------------------------------------

    /// A re-INVITE or UPDATE of the far end.
    pub(crate) fn their_change(&mut self, now: Time, cx: &mut Context, key: ServerKey, request: &Message) {
        if let Some(floor) = self.session.refuses(request) {
            cx.respond(key, request, 422, |builder| builder.header(Name::MinSe, floor));
            return;
        }
        let offer = sdp_of(request);
        let is_invite = request.method() == Method::Invite;
        if !is_invite && offer.is_none() {
            // RFC 3311 §5.2: without an offer it only refreshes, whatever else is under way.
            self.dialog.refresh_target(request);
            let session = self.session.accept(now, request);
            let fields = answer_fields(cx, session);
            cx.respond(key, request, 200, |builder| with_fields(builder, &fields));
            return;
        }
        match &self.exchange {
            Exchange::Stable | Exchange::BackingOff { .. } => {}
            // Our offer has not left yet: theirs goes first, and our wish stands.
            Exchange::AskingOffer { .. } => cx.push(Output::Rollback),
            // RFC 3261 §14.2, RFC 3311 §5.2: an offer of ours is out.
            Exchange::Asked { .. }
            | Exchange::Concluding { .. }
            | Exchange::OwingAck { .. }
            | Exchange::Reading
            | Exchange::AwaitingAnswer => {
                cx.respond_plain(key, request, 491);
                return;
            }
            // An offer of theirs is not answered yet.
            Exchange::Answering { .. } => {
                cx.respond_later(key, request);
                return;
            }
        }
        if is_invite {
            // Whoever sends a new INVITE has our 2xx to the last one: its ACK was lost or is late.
            self.unacked = None;
        }
        self.exchange = Exchange::Answering { key, request: request.clone() };
        let question = match offer {
            Some(offer) => Describe::Answer { offer, hold: self.wishes.hold },
            None => Describe::Offer { hold: self.wishes.hold, fresh: false },
        };
        cx.describe(question, Purpose::TheirModify);
    }

    fn answer_theirs(
        &mut self,
        now: Time,
        cx: &mut Context,
        key: ServerKey,
        request: &Message,
        answer: Described,
    ) {
        let description = match answer {
            Described::Description(description) => description,
            Described::Accepted => Bytes::new(),
            Described::Refused { code, why } => {
                // RFC 3261 §14.2: 488, and nothing has changed.
                mid_dialog::refuse_media(cx, key, request, code, &why);
                cx.push(Output::Rollback);
                self.exchange = Exchange::Stable;
                return;
            }
        };
        self.dialog.refresh_target(request);
        self.takes_update |= allows_update(request);
        // Our answer carries our wish to hold as well (RFC 3264 §8.4).
        let changed = core::mem::replace(&mut self.held, self.wishes.hold) != self.held;
        let session = self.session.accept(now, request);
        let fields = answer_fields(cx, session);
        let response = cx.respond(key, request, 200, |builder| {
            with_fields(builder, &fields).copy(request, Name::RecordRoute).body(SDP, description)
        });
        self.exchange = Exchange::Stable;
        let Some(response) = response else { return };
        let offered = sdp_of(request).is_none();
        if request.method() == Method::Invite {
            self.unacked = Some(Repeat::new(now, &cx.config, key, response));
            if offered {
                self.exchange = Exchange::AwaitingAnswer;
            }
        }
        if !offered {
            cx.emit(Event::MediaAgreed);
        }
        if changed {
            cx.emit(Event::Changed { hold: self.held });
        }
    }
}

/// How long to wait after 491 (RFC 3261 §14.1): who chose the Call-ID waits longer. Multiples of 10 ms.
fn glare_pause(cx: &mut Context, role: Role) -> Duration {
    let units = match role {
        Role::Caller => 210 + cx.entropy.below(191),
        Role::Callee => cx.entropy.below(201),
    };
    Duration::from_millis(u64::from(units) * 10)
}
