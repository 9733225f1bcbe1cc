//! Calls of ours: dialling, what their machines want, and what they tell.

use std::time::Duration;

use wakeline_call::{
    Call, Describe, Described, Dial, EndReason, Event as Told, HopFailure, Opening, Output as Wish, RequestId,
};
use wakeline_call_route::{Dialled, Dialling};
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_push::{ExternalId, WakeId};
use wakeline_sip_auth::Asker;
use wakeline_sip_dialog::SipCallId;
use wakeline_sip_message::{Message, Method, Name, Uri};
use wakeline_sip_resolve::Target;

use crate::agent::{Farewell, Life, UserAgent};
use crate::delivery::{Errand, Job, Owner};
use crate::event::Event;
use crate::output::{MediaAnswer, MediaEvent, MediaRequest, Way};
use crate::phone_call::{Machine, MediaView, PhoneCall};
use crate::snapshot::{AccountId, CallId, CallPhase, Direction, WakeLeg};

/// For how long an ended call may still be kept: twice 64 × T1 (RFC 3261 §13.3.1.4).
const LONGEST_FAREWELL: Duration = Duration::from_secs(64);

/// Calls at once, ended ones that still wait for a last message included (class S14).
pub(crate) const MOST_CALLS: usize = 32;

impl UserAgent {
    // ---- dialling --------------------------------------------------------------------------------------------

    /// What was typed, as a URI and the URI of the first hop.
    pub(crate) fn address_of(&self, account: AccountId, typed: &str) -> Result<(String, String), String> {
        self.dialled(account, typed).map(|(target, next_hop, _)| (target, next_hop))
    }

    fn dialled(&self, account: AccountId, typed: &str) -> Result<(String, String, Option<String>), String> {
        let line = self.line(account).ok_or_else(|| format!("there is no account {}", account.0))?;
        let identity = line.identity();
        let Dialled { uri, digits } =
            Dialling::of(&identity.settings).dial(typed).map_err(|error| error.to_string())?;
        let next_hop = match identity.edge() {
            Some(_) => identity.edge_uri(),
            None => uri.clone(),
        };
        Ok((uri, next_hop, digits))
    }

    pub(crate) fn dial(&mut self, account: AccountId, typed: &str) {
        if self.calls.len() >= MOST_CALLS {
            return self.complain(Some(account), None, "there are too many calls", "end one first");
        }
        match self.life {
            Life::Offline => {
                return self.complain(Some(account), None, "there is no network", "try again when there is");
            }
            Life::Stopping => return self.complain(Some(account), None, "the phone is stopping", ""),
            Life::Off | Life::Awake => {}
            Life::Suspended => self.resume(),
        }
        let (target, next_hop, digits) = match self.dialled(account, typed) {
            Ok(dialled) => dialled,
            Err(why) => return self.complain(Some(account), None, why, "give a number or a SIP address"),
        };
        let Some(line) = self.line(account) else { return self.no_such_account(account) };
        let settings = line.identity().settings.account();
        if settings.must_connect && !line.is_registered() {
            let cure = "wait for the registration, or set mustconnect to false";
            return self.complain(
                Some(account),
                None,
                "calls need a registration, and there is none yet",
                cure,
            );
        }
        let peer = bare(&target);
        if line.identity().settings.call().refuse_same_number
            && self.calls.values().any(|call| call.peer == peer)
        {
            let cure = "end the other call, or set disablesamecall to 0";
            return self.complain(Some(account), None, format!("there is a call with {peer} already"), cure);
        }
        let id = CallId(self.next_call);
        self.next_call += 1;
        let (external_id, began) = (self.external_id(), self.now);
        let call = PhoneCall {
            id,
            account,
            external_id,
            wake_id: None,
            direction: Direction::Outgoing,
            machine: Machine::Preparing { target },
            flow: None,
            phase: CallPhase::Dialling,
            peer,
            peer_name: None,
            on_hold: false,
            began,
            answered: None,
            ignored: false,
            forward_at: None,
            post_dial: digits,
            media: MediaView::default(),
        };
        self.calls.insert(id, call);
        self.changed(id);
        self.dispatch(Job::new(Errand::Dial(id), account), &next_hop);
    }

    /// A name for a call that no push announced.
    pub(crate) fn external_id(&mut self) -> ExternalId {
        let (call_id, tag) = (self.entropy.token(24), self.entropy.token(12));
        ExternalId::of(&WakeId::of(&call_id, &tag))
    }

    /// The flow for a call that was dialled is open: the INVITE session begins.
    pub(crate) fn dial_on(&mut self, id: CallId, flow: FlowInfo) {
        let Some(PhoneCall { account, machine: Machine::Preparing { target }, .. }) = self.calls.get(&id)
        else {
            return;
        };
        let (account, target) = (*account, target.clone());
        let call_id = SipCallId(self.entropy.token(24));
        let entropy = self.entropy.fork();
        let Some(line) = self.line(account) else { return };
        let identity = line.identity();
        let Ok(contact) = identity.contact(&flow, line.gruu()) else {
            return self.dial_failed(id, "misconfigured");
        };
        let dial = Dial {
            to: format!("<{target}>"),
            target,
            from: identity.from.clone(),
            call_id,
            contact,
            routes: line.routes(),
            headers: Vec::new(),
            opening: Opening::Offer,
        };
        let session = Call::dial(self.now, identity.call_config(false), dial, entropy);
        if let Some(call) = self.calls.get_mut(&id) {
            call.machine = Machine::Session(Box::new(session));
            call.flow = Some(flow.id);
        }
    }

    /// A call ended before there was an INVITE.
    pub(crate) fn dial_failed(&mut self, id: CallId, reason: &str) {
        let Some(call) = self.calls.remove(&id) else { return };
        let ended = call.ended_unsent(reason, None, self.now);
        self.tell(Event::CallEnded(ended));
    }

    /// The INVITE session of a call, over or not.
    pub(crate) fn session(&mut self, id: CallId) -> Option<&mut Call> {
        match self.calls.get_mut(&id) {
            Some(call) => call.session(),
            None => self.farewells.get_mut(&id).map(|farewell| &mut *farewell.session),
        }
    }

    /// The account and the flow of a call, over or not.
    fn whereabouts(&self, id: CallId) -> Option<(AccountId, Option<FlowId>)> {
        let alive = self.calls.get(&id).map(|call| (call.account, call.flow));
        alive.or_else(|| self.farewells.get(&id).map(|farewell| (farewell.account, farewell.flow)))
    }

    // ---- what a call's machine wants -------------------------------------------------------------------------

    /// Carries out what one call wants; true when it wanted anything.
    pub(crate) fn pump_call(&mut self, id: CallId) -> bool {
        let mut moved = false;
        while let Some(wish) = self.session(id).and_then(Call::poll_output) {
            moved = true;
            self.grant(id, wish);
        }
        moved
    }

    fn grant(&mut self, id: CallId, wish: Wish) {
        match wish {
            Wish::Send { id: request_id, request, next_hop } => {
                let request = self.with_known_credentials(id, request);
                let next_hop = self.first_hop(id, &request).unwrap_or(next_hop);
                self.send_in_call(
                    id,
                    Errand::Request { owner: Owner::Call(id, request_id), request },
                    &next_hop,
                );
            }
            Wish::Ack { request, next_hop } => self.send_in_call(id, Errand::Ack(request), &next_hop),
            Wish::Cancel { id: request_id, headers } => self.cancel(id, request_id, &headers),
            Wish::Respond { key, response } => {
                self.note_response(id, &response);
                // A transaction that has gone needs no answer any more.
                let _ = self.transactions.respond(self.now, key, response);
            }
            Wish::Authorize { id: request_id, request, challenge } => {
                let headers = self.authorize(id, &request, &challenge);
                let now = self.now;
                if let Some(session) = self.session(id) {
                    session.authorize(now, request_id, headers);
                }
            }
            Wish::TryNextHop { id: request_id, cause } => {
                let found = self.has_next_hop(id, request_id, &cause);
                let now = self.now;
                if let Some(session) = self.session(id) {
                    session.next_hop(now, request_id, found);
                }
            }
            Wish::Describe(question) => self.describe(id, question),
            Wish::Rollback => self.ask_media(id, MediaRequest::Rollback),
            Wish::Event(event) => self.call_told(id, event),
        }
    }

    /// Sends within a call: on its own flow as long as that leads to the next hop's place, else by resolution.
    fn send_in_call(&mut self, id: CallId, errand: Errand, next_hop: &str) {
        let Some((account, flow)) = self.whereabouts(id) else { return };
        let job = Job::new(errand, account);
        let leads_there = |info: FlowInfo| {
            let target = Uri::parse(next_hop).ok().and_then(|uri| Target::of(&uri))?;
            let port = target.port.unwrap_or(info.transport.default_port());
            (target.address() == Some(info.remote.ip()) && port == info.remote.port()).then_some(info.id)
        };
        match flow.and_then(|flow| self.flows.info(flow)).and_then(leads_there) {
            Some(flow) => self.over_flow(flow, job),
            None => self.dispatch(job, next_hop),
        }
    }

    /// Outside of a dialog everything goes through the account's edge (RFC 3261 §8.1.2), unless a Route says otherwise.
    fn first_hop(&self, id: CallId, request: &Message) -> Option<String> {
        if request.to_tag().is_some() || request.count(Name::Route) > 0 {
            return None;
        }
        let (account, _) = self.whereabouts(id)?;
        let identity = self.line(account)?.identity();
        identity.edge().map(|_| identity.edge_uri())
    }

    fn cancel(&mut self, id: CallId, request_id: RequestId, headers: &[(Name, String)]) {
        let owner = Owner::Call(id, request_id);
        match self.delivery.key_of(owner) {
            Some(key) => {
                // A final response may have crossed: then there is nothing to cancel, and the machine knows soon.
                let _ = self.transactions.cancel(self.now, key, headers);
            }
            None => {
                let mine = |errand: &Errand| matches!(errand, Errand::Request { owner: whose, .. } if *whose == owner);
                self.delivery.drop_unsent(mine);
                let now = self.now;
                if let Some(session) = self.session(id) {
                    session.handle_transport_failed(now, request_id);
                }
            }
        }
    }

    /// Adds the answer to a challenge that is known from before, so that a call costs no extra round trip.
    fn with_known_credentials(&mut self, id: CallId, request: Message) -> Message {
        let Some((account, flow)) = self.whereabouts(id) else { return request };
        if !flow.is_some_and(|flow| self.is_trusted(account, flow)) {
            return request;
        }
        if request.header(Name::Authorization).is_some() || request.header(Name::ProxyAuthorization).is_some()
        {
            return request;
        }
        let (entropy, lines) = (&mut self.entropy, &mut self.lines);
        let Some(line) = lines.get_mut(account.0 as usize) else { return request };
        let headers = line.known_credentials(&request, entropy);
        let edit =
            headers.iter().fold(request.edit(), |edit, (name, value)| edit.append(name.clone(), value));
        edit.finish().unwrap_or(request)
    }

    fn authorize(
        &mut self,
        id: CallId,
        request: &Message,
        challenge: &Message,
    ) -> Option<Vec<(Name, String)>> {
        let (account, flow) = self.whereabouts(id)?;
        // Class S1: a challenge is answered only where it came over the account's own flow.
        let asker = if flow.is_some_and(|flow| self.is_trusted(account, flow)) {
            Asker::Configured
        } else {
            Asker::Other
        };
        let (entropy, lines) = (&mut self.entropy, &mut self.lines);
        let answered =
            lines.get_mut(account.0 as usize)?.answer_challenge(request, challenge, asker, entropy);
        match answered {
            Ok(headers) => Some(headers),
            Err(error) => {
                self.complain(
                    Some(account),
                    Some(id),
                    error.to_string(),
                    "check username, sipusername, password and realm",
                );
                None
            }
        }
    }

    /// Whether a flow leads to the account's own registrar or proxy.
    fn is_trusted(&self, account: AccountId, flow: FlowId) -> bool {
        self.line(account).is_some_and(|line| line.trusts(flow))
    }

    fn has_next_hop(&mut self, id: CallId, request_id: RequestId, cause: &HopFailure) -> bool {
        match cause {
            HopFailure::Unavailable { .. } | HopFailure::Silent | HopFailure::Unreachable => {}
        }
        let mut hops = self.delivery.hops_left(Owner::Call(id, request_id));
        // The machine sends its INVITE anew by `Send`; it must go to the next hop, not to the one that failed.
        match hops.pop_front() {
            Some(hop) => {
                let flow = self.flows.to(&hop).unwrap_or_else(|| {
                    let flow = self.flows.open(hop.clone());
                    self.put(crate::output::Output::Open { flow, hop });
                    flow
                });
                if let Some(call) = self.calls.get_mut(&id) {
                    call.flow = Some(flow);
                }
                true
            }
            None => false,
        }
    }

    // ---- media -----------------------------------------------------------------------------------------------

    fn describe(&mut self, id: CallId, question: Describe) {
        let Some((account, flow)) = self.whereabouts(id) else { return };
        let info = flow.and_then(|flow| self.flows.info(flow));
        let way = match info {
            Some(info) => Way { local: info.local.ip(), secure: info.transport.is_secure(), account },
            // The flow went meanwhile: whatever is described will be refreshed when the call has a new one.
            None => Way { local: core::net::Ipv4Addr::LOCALHOST.into(), secure: false, account },
        };
        let request = match question {
            Describe::Offer { hold, fresh } => MediaRequest::Offer { hold, fresh, way },
            Describe::Answer { offer, hold } => MediaRequest::Answer { offer, hold, way },
            Describe::Conclude { answer } => MediaRequest::Conclude { answer },
        };
        self.ask_media(id, request);
    }

    pub(crate) fn described(&mut self, id: CallId, answer: MediaAnswer) {
        let answer = match answer {
            MediaAnswer::Description { description } => Described::Description(description),
            MediaAnswer::Accepted => Described::Accepted,
            MediaAnswer::Refused { code, why } => Described::Refused { code, why },
        };
        let now = self.now;
        if let Some(session) = self.session(id) {
            session.handle_described(now, answer);
        }
    }

    pub(crate) fn media_event(&mut self, id: CallId, event: MediaEvent) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id) else { return };
        match event {
            MediaEvent::Agreed { codec, encryption, held_by_peer } => {
                call.media.codec = Some(codec);
                call.media.encryption = encryption;
                call.media.held_by_peer = held_by_peer;
                self.changed(id);
            }
            MediaEvent::Flowing => {
                if !call.media.flows {
                    call.media.flows = true;
                    self.changed(id);
                    self.wake_step(id, WakeLeg::FirstAudio);
                }
            }
            MediaEvent::Digit(digit) => self.tell(Event::DtmfReceived { call: id, digit }),
            MediaEvent::TimedOut => {
                if let Some(session) = call.session() {
                    session.hang_up_for(now, EndReason::MediaTimeout);
                }
            }
            MediaEvent::Failed(why) => {
                let account = call.account;
                self.complain(Some(account), Some(id), why, "check microphone, loudspeaker and network");
            }
        }
    }

    /// Starts or pauses the media, as agreement and grant say.
    pub(crate) fn run_media(&mut self, id: CallId) {
        let granted = self.audio_granted;
        let Some(call) = self.calls.get_mut(&id) else { return };
        let may_run = call.media.agreed && granted;
        if may_run != call.media.runs {
            call.media.runs = may_run;
            self.ask_media(id, if may_run { MediaRequest::Start } else { MediaRequest::Pause });
        }
    }

    fn ring_back(&mut self, id: CallId, on: bool) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.media.ringback != on {
            call.media.ringback = on;
            self.ask_media(id, MediaRequest::Ringback { on });
        }
    }

    // ---- what a call tells -----------------------------------------------------------------------------------

    fn call_told(&mut self, id: CallId, event: Told) {
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
                if let Some(digits) = self.calls.get_mut(&id).and_then(|call| call.post_dial.take()) {
                    self.send_digits(id, &digits);
                }
            }
            Told::Settled => {}
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
                    let until = self.now + LONGEST_FAREWELL;
                    self.farewells
                        .insert(id, Farewell { account: call.account, flow: call.flow, session, until });
                }
                self.tell(Event::CallEnded(ended));
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

    /// A request of a call left on this flow.
    pub(crate) fn note_sent(&mut self, owner: Owner, flow: FlowId) {
        match owner {
            Owner::Call(call, _) => {
                if let Some(call) = self.calls.get_mut(&call) {
                    call.flow = Some(flow);
                }
            }
            Owner::Registration(account) => self.register_left(account),
            Owner::Options(_) => {}
        }
    }

    fn note_response(&mut self, id: CallId, response: &Message) {
        if response.method() != Method::Invite {
            return;
        }
        match response.status() {
            Some(180) => self.wake_step(id, WakeLeg::Ringing),
            Some(200..300) => self.wake_step(id, WakeLeg::Answered),
            Some(_) | None => {}
        }
    }

    /// A flow went: calls on it move to another, established ones by a re-INVITE.
    pub(crate) fn calls_lost_flow(&mut self, flow: FlowId) {
        for call in self.calls.values_mut() {
            if let Some(session) = call.session() {
                session.handle_flow_lost(flow);
            }
            if call.flow == Some(flow) {
                call.flow = None;
            }
        }
    }
}

/// A URI without its parameters and headers: what a person reads.
pub(crate) fn bare(uri: &str) -> String {
    match Uri::parse(uri) {
        Ok(parsed) if parsed.is_sip() => match parsed.user_unescaped() {
            Some(user) => format!("sip:{user}@{}", parsed.host_text()),
            None => format!("sip:{}", parsed.host_text()),
        },
        Ok(_) | Err(_) => uri.split([';', '?']).next().unwrap_or(uri).to_owned(),
    }
}
