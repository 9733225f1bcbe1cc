//! The calls of this phone, over or not.

use std::collections::VecDeque;

use wakeline_call::Call;
use wakeline_flow::{FlowId, FlowInfo, Hop};
use wakeline_sip_message::Uri;

use crate::agent::UserAgent;
use crate::delivery::Owner;
use crate::snapshot::{AccountId, CallId};

/// Calls at once, ended ones that still wait for a last message included (class S14).
pub(crate) const MOST_CALLS: usize = 32;

impl UserAgent {
    /// The INVITE session of a call, over or not.
    pub(crate) fn session(&mut self, id: CallId) -> Option<&mut Call> {
        match self.calls.get_mut(&id) {
            Some(call) => call.session(),
            None => self.farewells.get_mut(&id).map(|farewell| &mut *farewell.session),
        }
    }

    /// The account and the flow of a call, over or not.
    pub(crate) fn whereabouts(&self, id: CallId) -> Option<(AccountId, Option<FlowId>)> {
        let alive = self.calls.get(&id).map(|call| (call.account, call.flow));
        alive.or_else(|| self.farewells.get(&id).map(|farewell| (farewell.account, farewell.flow)))
    }

    /// Forgets the calls whose duties are done; true when there was more to do for one. What has not even left by then
    /// (a flow that neither opens nor fails) is given up, and nothing else may be left.
    pub(crate) fn forget_farewells(&mut self) -> bool {
        self.farewells.retain(|_, farewell| !farewell.session.is_finished());
        let now = self.now;
        let overdue: Vec<CallId> =
            self.farewells.iter().filter(|(_, left)| left.is_overdue(now)).map(|(id, _)| *id).collect();
        let mut moved = false;
        for id in overdue {
            let unsent = self.delivery.take_unsent_of(id);
            if unsent.is_empty() {
                let left = self.farewells.remove(&id);
                debug_assert!(left.is_none(), "{id:?} is over and still waits for something");
            }
            moved |= !unsent.is_empty();
            for job in unsent {
                self.undeliverable(job);
            }
        }
        moved
    }

    /// A request of a call left on this flow.
    pub(crate) fn note_sent(&mut self, owner: Owner, flow: FlowId) {
        match owner {
            Owner::Call(call, _) => {
                let Some(call) = self.calls.get_mut(&call) else { return };
                call.flow = Some(flow);
            }
            Owner::Registration(account) => self.register_left(account),
            Owner::Options(_) => {}
        }
    }

    /// The INVITE that begins a call left on this flow: to the account's edge, or to where it was dialled.
    /// `left` are the hops that its way here has not used up.
    pub(crate) fn note_invite_sent(&mut self, call: CallId, flow: FlowInfo, left: &VecDeque<Hop>) {
        let Some(call) = self.calls.get_mut(&call) else { return };
        if let Some(hops) = call.hops.as_mut() {
            // The same place by another transport is no other server.
            hops.left = left.iter().filter(|hop| hop.remote != flow.remote).cloned().collect();
        }
        let edge = call.hops.as_ref().map(|hops| (call.account, hops.of.clone()));
        if let Some((account, next_hop)) = edge {
            self.note_edge_flow(account, &next_hop, flow.id);
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
