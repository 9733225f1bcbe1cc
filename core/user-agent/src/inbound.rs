//! Requests that others send us.

use wakeline_call::{Call, DialogContact, DialogId, Refusal, Replaces, ServerKey};
use wakeline_flow::FlowInfo;
use wakeline_push::{ExternalId, WakeId};
use wakeline_sip_message::{Message, Method};

use crate::account::Screening;
use crate::agent::UserAgent;
use crate::calling::MOST_CALLS;
use crate::event::Event;
use crate::phone_call::{Machine, MediaView, PhoneCall};
use crate::snapshot::{AccountId, CallId, CallPhase, Direction, WakeLeg};
use crate::wakes::Met;

impl UserAgent {
    /// A new request (RFC 3261 §8.2).
    pub(crate) fn request(
        &mut self,
        key: ServerKey,
        request: Message,
        flow: FlowInfo,
        merges: Option<ServerKey>,
    ) {
        let id = self.call_of(&request).or_else(|| merges.and_then(|first| self.served.get(&first).copied()));
        if let Some(id) = id {
            if request.method() == Method::Invite
                && request.to_tag().is_none()
                && !self.calls.contains_key(&id)
            {
                // The first INVITE of a call that is over, once more: its answer was lost with a flow (row 14).
                return self.answer_over(key, &request);
            }
            return self.serve(id, key, flow, &request);
        }
        if request.to_tag().is_some() {
            // RFC 3261 §12.2.2: a dialog that we do not know (any more).
            return self.answer_plainly(key, &request, 481);
        }
        match request.method() {
            Method::Invite => self.invited(key, &request, flow),
            // RFC 3261 §11.2: as an INVITE would be answered.
            Method::Options => {
                let code = if self.calls.len() < MOST_CALLS { 200 } else { 486 };
                self.answer_plainly(key, &request, code);
            }
            Method::Bye | Method::Prack | Method::Update | Method::Info => {
                self.answer_plainly(key, &request, 481)
            }
            Method::Register
            | Method::Subscribe
            | Method::Notify
            | Method::Refer
            | Method::Message
            | Method::Publish => {
                self.answer_plainly(key, &request, 405);
            }
            Method::Other(_) => self.answer_plainly(key, &request, 501),
            // The table of transactions serves these two.
            Method::Ack | Method::Cancel => {}
        }
    }

    /// An INVITE for a call that is over here gets the answer that ended it.
    fn answer_over(&mut self, key: ServerKey, invite: &Message) {
        let wake = invite.from_tag().map(|tag| WakeId::of(invite.call_id(), tag));
        let code = match wake.map(|wake| self.wakes.meet(wake)) {
            Some(Met::Over(record)) => record.code.filter(|code| *code >= 400),
            Some(Met::New | Met::Alive(_)) | None => None,
        };
        self.answer_plainly(key, invite, code.unwrap_or(487));
    }

    fn call_of(&mut self, request: &Message) -> Option<CallId> {
        self.call_ids()
            .into_iter()
            .find(|id| self.session(*id).is_some_and(|call| call.owns_request(request)))
    }

    /// Hands a request to the call that it is for.
    fn serve(&mut self, id: CallId, key: ServerKey, flow: FlowInfo, request: &Message) {
        self.served.insert(key, id);
        let now = self.now;
        if let Some(call) = self.calls.get_mut(&id) {
            // Whoever speaks to us in a call can be answered where it spoke from.
            call.flow = Some(flow.id);
        }
        if let Some(session) = self.session(id) {
            session.handle_request(now, key, flow, request);
        }
    }

    fn invited(&mut self, key: ServerKey, invite: &Message, flow: FlowInfo) {
        let Some(account) = self.callee(invite) else { return self.answer_plainly(key, invite, 404) };
        let Some(tag) = invite.from_tag() else { return self.answer_plainly(key, invite, 400) };
        let wake = WakeId::of(invite.call_id(), tag);
        match self.wakes.meet(wake) {
            // The push came first: this is the INVITE that it announced.
            Met::Alive(id) => {
                self.wake_step(id, WakeLeg::Invite);
                self.belongs_to(id, account, &flow);
                self.serve(id, key, flow, invite);
            }
            // Ended before its INVITE came (declined, given up): no second ring for the same call.
            Met::Over(_) => self.answer_over(key, invite),
            Met::New if self.calls.len() >= MOST_CALLS => self.answer_plainly(key, invite, 486),
            Met::New => {
                let Some(contact) = self.contact_for(account, &flow) else {
                    return self.answer_plainly(key, invite, 500);
                };
                let Some(config) = self.line(account).map(|line| line.identity().call_config(true)) else {
                    return;
                };
                let id = CallId(self.next_call);
                self.next_call += 1;
                let entropy = self.entropy.fork();
                let session = Call::incoming(self.now, config, contact, key, flow, invite, entropy);
                self.served.insert(key, id);
                self.admit(id, account, wake, session, CallPhase::Ringing);
                if let Some(call) = self.calls.get_mut(&id) {
                    call.flow = Some(flow.id);
                }
                self.wakes.begin(wake, id, self.now);
                self.wake_step(id, WakeLeg::Invite);
            }
        }
    }

    /// The INVITE of an announced call says whose call it is: a push need not name the account, or names it wrongly
    /// (row 25). It is that account's from now on, with its settings and its Contact.
    fn belongs_to(&mut self, id: CallId, account: AccountId, flow: &FlowInfo) {
        let other = |call: &&mut PhoneCall| call.account != account && call.phase == CallPhase::Announced;
        let Some(contact) = self.contact_for(account, flow) else { return };
        let Some(config) = self.line(account).map(|line| line.identity().call_config(true)) else { return };
        if let Some(call) = self.calls.get_mut(&id).filter(other) {
            call.account = account;
            if let Some(session) = call.session() {
                session.belongs_to(config, contact);
            }
        }
    }

    /// Puts an incoming call into the table.
    pub(crate) fn admit(
        &mut self,
        id: CallId,
        account: AccountId,
        wake: WakeId,
        session: Call,
        phase: CallPhase,
    ) {
        let (peer, peer_name) =
            (crate::calling::bare(session.peer()), session.peer_name().map(str::to_owned));
        let call = PhoneCall {
            id,
            account,
            external_id: ExternalId::of(&wake),
            wake_id: Some(wake),
            direction: Direction::Incoming,
            machine: Machine::Session(Box::new(session)),
            flow: None,
            hops: None,
            phase,
            peer,
            peer_name,
            on_hold: false,
            began: self.now,
            answered: None,
            ignored: false,
            in_conference: false,
            joins: None,
            forward_at: None,
            post_dial: None,
            media: MediaView::default(),
        };
        self.calls.insert(id, call);
    }

    /// The account that a request is for: by its Request-URI, or by To when the Request-URI is a bare address.
    fn callee(&self, request: &Message) -> Option<AccountId> {
        let uri = request.request_uri().ok()?;
        let by_uri =
            self.lines.iter().find(|line| line.identity().answers_to(&uri) || line.is_gruu(uri.as_str()));
        let by_to = || {
            let to = request.to().ok()?;
            self.lines.iter().find(|line| uri.user().is_none() && line.identity().answers_to(&to.uri()))
        };
        by_uri.or_else(by_to).map(|line| line.identity().id)
    }

    /// Our Contact for a dialog that begins on this flow.
    pub(crate) fn contact_for(&self, account: AccountId, flow: &FlowInfo) -> Option<DialogContact> {
        let line = self.line(account)?;
        line.identity().contact(&line.registration.as_seen(flow), line.gruu()).ok()
    }

    /// The INVITE of a call is here and stands all checks: it rings, or meets what the account wants of it.
    pub(crate) fn arrived(
        &mut self,
        id: CallId,
        replaces: Option<Replaces>,
        join: Option<DialogId>,
        answer_after: Option<u32>,
    ) {
        // Who asks to join a call knows that there is one.
        let busy = self.lines_taken() > 0 && join.is_none();
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id) else { return };
        let account = call.account;
        let Some(session) = call.session() else { return };
        let (peer, name) = (crate::calling::bare(session.peer()), session.peer_name().map(str::to_owned));
        let decided = session.intent().is_some_and(|intent| *intent != wakeline_call::Intent::Undecided);
        let invite = session.invite().cloned();
        call.peer = peer;
        call.peer_name = name.or(call.peer_name.take());
        call.phase = if decided { CallPhase::Answering } else { CallPhase::Ringing };
        if let Some(replaced) = replaces {
            return self.replace(id, &replaced);
        }
        if let Some(dialog) = &join {
            match self.joined(dialog) {
                Ok(other) => self.note_join(id, other),
                Err(code) => return self.decline(id, Refusal::Code(code)),
            }
        }
        if decided {
            return self.changed(id);
        }
        let Some(line) = self.line(account) else { return };
        let screening = invite
            .map_or(Screening::Ring, |invite| line.identity().screen(&invite, busy, answer_after.is_some()));
        match screening {
            Screening::Ring => self.ring(id),
            // Nobody is let into a call without a person's consent.
            Screening::Answer if join.is_some() => self.ring(id),
            Screening::Answer => {
                self.changed(id);
                if let Some(session) = self.session(id) {
                    session.answer(now);
                }
            }
            Screening::Silent => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.ignored = true;
                }
            }
            Screening::Refuse { code: 486 } => self.decline(id, Refusal::Busy),
            Screening::Refuse { code: 603 } => self.decline(id, Refusal::Everywhere),
            Screening::Refuse { code } => self.decline(id, Refusal::Code(code)),
            Screening::Forward { to } => match self.address_of(account, &to) {
                Ok((to, _)) => self.decline(id, Refusal::Forward { to }),
                Err(why) => {
                    self.complain(Some(account), Some(id), why, "check the callforward settings");
                    self.ring(id);
                }
            },
        }
    }

    fn ring(&mut self, id: CallId) {
        let account = self.calls.get(&id).map(|call| call.account);
        let elsewhere = account
            .and_then(|account| self.line(account))
            .and_then(|line| line.identity().settings.call().forward_on_no_answer);
        if let (Some(elsewhere), Some(call)) = (elsewhere, self.calls.get_mut(&id)) {
            call.forward_at = Some((self.now + elsewhere.after, elsewhere.to));
        }
        if let Some(snapshot) = self.calls.get(&id).map(PhoneCall::snapshot) {
            self.tell(Event::CallChanged(snapshot.clone()));
            self.tell(Event::Rings(snapshot));
        }
    }

    /// Sends calls elsewhere that have rung long enough.
    pub(crate) fn forward_unanswered(&mut self) {
        let due = |call: &PhoneCall| call.forward_at.as_ref().is_some_and(|(at, _)| *at <= self.now);
        let ids: Vec<CallId> = self.calls.values().filter(|call| due(call)).map(|call| call.id).collect();
        for id in ids {
            let Some(call) = self.calls.get_mut(&id) else { continue };
            let (account, ringing) = (call.account, call.phase == CallPhase::Ringing);
            let Some((_, to)) = call.forward_at.take().filter(|_| ringing) else { continue };
            match self.address_of(account, &to) {
                Ok((to, _)) => self.decline(id, Refusal::Forward { to }),
                Err(why) => self.complain(Some(account), Some(id), why, "check callforwardonnoanswer"),
            }
        }
    }

    fn decline(&mut self, id: CallId, refusal: Refusal) {
        let now = self.now;
        if let Some(session) = self.session(id) {
            session.decline(now, refusal);
        }
    }

    /// The caller takes over another call of ours (RFC 3891 §3): this one is answered, that one ends.
    fn replace(&mut self, id: CallId, replaces: &Replaces) {
        let now = self.now;
        let wanted =
            |call: &PhoneCall| call.session_ref().and_then(Call::dialog_id) == Some(&replaces.dialog);
        let Some(other) = self.calls.values().find(|call| wanted(call)).map(|call| call.id) else {
            return self.decline(id, Refusal::Code(481));
        };
        match self.session(other).map_or(Err(481), |session| session.may_be_replaced(replaces)) {
            Ok(()) => {
                if let Some(session) = self.session(id) {
                    session.answer(now);
                }
                if let Some(session) = self.session(other) {
                    session.end_replaced(now);
                }
                self.changed(id);
            }
            Err(code) => self.decline(id, Refusal::Code(code)),
        }
    }

    /// An ACK to a 2xx.
    pub(crate) fn acknowledged(&mut self, ack: &Message) {
        let now = self.now;
        if let Some(id) = self.call_of(ack)
            && let Some(session) = self.session(id)
        {
            session.handle_ack(now, ack);
        }
    }

    /// The INVITE of this transaction was cancelled.
    pub(crate) fn cancelled(&mut self, key: ServerKey, cancel: &Message) {
        let now = self.now;
        if let Some(id) = self.served.get(&key).copied()
            && let Some(session) = self.session(id)
        {
            session.handle_cancelled(now, key, cancel);
        }
    }

    /// A 2xx whose transaction is gone.
    pub(crate) fn stray_response(&mut self, response: &Message) {
        let now = self.now;
        let owner = self
            .call_ids()
            .into_iter()
            .find(|id| self.session(*id).is_some_and(|call| call.owns_response(response)));
        if let Some(session) = owner.and_then(|id| self.session(id)) {
            session.handle_stray_response(now, response);
        }
    }
}
