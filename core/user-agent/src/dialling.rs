//! Outgoing calls up to their INVITE: what was typed, the first hop, the flow.

use std::collections::VecDeque;

use wakeline_call::{Call, Dial, Opening};
use wakeline_call_route::{Dialled, Dialling};
use wakeline_flow::{FlowId, FlowInfo, Hop};
use wakeline_push::{ExternalId, WakeId};
use wakeline_sip_dialog::SipCallId;

use crate::agent::{Life, UserAgent};
use crate::calling::{MOST_CALLS, bare};
use crate::delivery::{Errand, Job};
use crate::event::Event;
use crate::phone_call::{Machine, MediaView, OtherHops, PhoneCall};
use crate::snapshot::{AccountId, CallId, CallPhase, Direction};

impl UserAgent {
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
            machine: Machine::Preparing { target, next_hop: next_hop.clone() },
            flow: None,
            hops: None,
            phase: CallPhase::Dialling,
            peer,
            peer_name: None,
            on_hold: false,
            began,
            answered: None,
            ignored: false,
            in_conference: false,
            joins: None,
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
    pub(crate) fn dial_on(&mut self, id: CallId, flow: FlowInfo, left: VecDeque<Hop>) {
        let Some(PhoneCall { account, machine: Machine::Preparing { target, next_hop }, .. }) =
            self.calls.get(&id)
        else {
            return;
        };
        let (account, target, next_hop) = (*account, target.clone(), next_hop.clone());
        let call_id = SipCallId(self.entropy.token(24));
        let entropy = self.entropy.fork();
        self.note_edge_flow(account, &next_hop, flow.id);
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
            call.hops = Some(OtherHops { of: next_hop, left });
        }
    }

    /// A call leaves on this flow. Where it leads to the account's own edge its challenges may be answered, without a
    /// registration too (B-067).
    pub(crate) fn note_edge_flow(&mut self, account: AccountId, next_hop: &str, flow: FlowId) {
        if let Some(line) = self.line_mut(account)
            && line.identity().edge().is_some()
            && line.identity().edge_uri() == next_hop
        {
            line.set_edge_flow(Some(flow));
        }
    }

    /// A call ended before there was an INVITE.
    pub(crate) fn dial_failed(&mut self, id: CallId, reason: &str) {
        let Some(call) = self.calls.remove(&id) else { return };
        let ended = call.ended_unsent(reason, None, self.now);
        self.tell(Event::CallEnded(ended));
    }
}
