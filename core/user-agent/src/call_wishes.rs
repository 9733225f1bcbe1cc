//! What the machines of calls want done: requests sent, challenges answered, other hops tried.

use std::collections::VecDeque;

use wakeline_call::{Call, HopFailure, Output as Wish, RequestId};
use wakeline_flow::{FlowId, FlowInfo, Hop};
use wakeline_sip_auth::Asker;
use wakeline_sip_message::{Message, Method, Name, Uri};
use wakeline_sip_resolve::Target;

use crate::agent::UserAgent;
use crate::delivery::{Errand, Job, Owner};
use crate::output::MediaRequest;
use crate::phone_call::OtherHops;
use crate::snapshot::{AccountId, CallId, WakeLeg};

/// Where an INVITE goes.
enum Way {
    /// Over this flow; if it cannot be sent there, to these.
    Flow(FlowId, VecDeque<Hop>),
    /// To the first of these that can be reached.
    Hops(VecDeque<Hop>),
}

impl UserAgent {
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
                let way = self.hop_of_invite(id, &request, &next_hop);
                let errand = Errand::Request { owner: Owner::Call(id, request_id), request };
                match way {
                    None => self.send_in_call(id, errand, &next_hop),
                    Some(way) => self.send_invite(id, errand, way),
                }
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
                let found = self.has_next_hop(id, &cause);
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
        if let Some(hops) = self.calls.get_mut(&id).and_then(|call| call.hops.as_mut()) {
            hops.left.clear();
        }
        let keys = self.delivery.keys_of(owner);
        for key in &keys {
            // A final response may have crossed: then there is nothing to cancel, and the machine knows soon.
            let _ = self.transactions.cancel(self.now, *key, headers);
        }
        match keys.as_slice() {
            [_, ..] => {}
            [] => {
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

    /// The machine's INVITE got nowhere; whether there is another hop for it (RFC 3263 §4.3). The machine then sends it
    /// anew, and [`UserAgent::hop_of_invite`] leads it there.
    fn has_next_hop(&mut self, id: CallId, cause: &HopFailure) -> bool {
        match cause {
            HopFailure::Unavailable { .. } | HopFailure::Silent | HopFailure::Unreachable => {}
        }
        let Some(call) = self.calls.get_mut(&id) else { return false };
        call.flow = None;
        call.hops.as_ref().is_some_and(|others| !others.left.is_empty())
    }

    fn send_invite(&mut self, id: CallId, errand: Errand, way: Way) {
        let Some((account, _)) = self.whereabouts(id) else { return };
        let mut job = Job::new(errand, account);
        match way {
            Way::Flow(flow, left) => {
                job.hops = left;
                self.over_flow(flow, job);
            }
            Way::Hops(mut left) => {
                job.hops.clone_from(&left);
                left.pop_front();
                if let Some(hops) = self.calls.get_mut(&id).and_then(|call| call.hops.as_mut()) {
                    hops.left = left;
                }
                self.try_next_hop(job);
            }
        }
    }

    /// The way of an INVITE that begins a call: the flow that was opened for it, and after that one failed the hops that
    /// are left.
    fn hop_of_invite(&mut self, id: CallId, request: &Message, next_hop: &str) -> Option<Way> {
        if request.method() != Method::Invite || request.to_tag().is_some() {
            return None;
        }
        let call = self.calls.get_mut(&id)?;
        let OtherHops { of, left } = call.hops.as_ref()?;
        // A redirection leads elsewhere.
        if of != next_hop {
            call.hops = None;
            return None;
        }
        match call.flow {
            Some(flow) if self.flows.knows(flow) => Some(Way::Flow(flow, left.clone())),
            Some(_) | None => Some(Way::Hops(left.clone())),
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
}
