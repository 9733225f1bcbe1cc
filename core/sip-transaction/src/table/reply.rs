//! Where the responses of a server transaction go, and what becomes of that way (RFC 3261 §18.2.2).

use wakeline_flow::{FlowId, FlowInfo, Transmit};

use super::{Owner, Transactions};
use crate::config::TransactionError;
use crate::event::Event;
use crate::key::{ClientKey, Key, ServerKey};

/// The flow that a request came on.
#[derive(Clone, Copy)]
pub(super) enum Reply {
    /// It is in use.
    On(FlowInfo),
    /// We leave it for another one. It is open, so responses go there; but a copy of the request that comes elsewhere
    /// was sent because this one is given up.
    Left(FlowInfo),
    /// It is gone.
    Lost(FlowInfo),
}

impl Reply {
    /// Where a response can go.
    pub(super) fn way(self) -> Option<FlowInfo> {
        match self {
            Reply::On(flow) | Reply::Left(flow) => Some(flow),
            Reply::Lost(_) => None,
        }
    }

    /// Where the request came from.
    pub(super) fn place(self) -> FlowInfo {
        match self {
            Reply::On(flow) | Reply::Left(flow) | Reply::Lost(flow) => flow,
        }
    }

    /// Whether a copy of the request by another way is a merged one (§8.2.2.2).
    pub(super) fn is_current(self) -> bool {
        match self {
            Reply::On(_) => true,
            Reply::Left(_) | Reply::Lost(_) => false,
        }
    }
}

impl Transactions {
    /// We leave a flow for another one, and keep it open for what is under way there: requests of ours may still be
    /// answered on it, and theirs are, with every repetition that is due (RFC 3261 §17.2, §18.2.2; RFC 6026 §7.1). A
    /// request that came on it and is repeated elsewhere is no merged one but the same once more (see
    /// [`Merged::Refuse`](crate::Merged::Refuse)).
    pub fn leave_flow(&mut self, flow: FlowId) {
        for key in self.on_flow(flow) {
            let Key::Server(key) = key else { continue };
            let Some(server) = self.servers.get_mut(key.0) else { continue };
            server.reply = match server.reply {
                Reply::On(flow) => Reply::Left(flow),
                reply @ (Reply::Left(_) | Reply::Lost(_)) => reply,
            };
        }
    }

    /// We closed a flow: no answer goes there any more, and what came on it may be asked once more elsewhere. Requests
    /// of ours that are out on it go on to their timers: whoever closed it knows.
    pub fn handle_flow_closed(&mut self, flow: FlowId) {
        for key in self.on_flow(flow) {
            if let Key::Server(key) = key {
                self.lose_reply(flow, key);
            }
        }
    }

    /// The transactions whose messages go over this flow.
    pub(super) fn on_flow(&self, flow: FlowId) -> Vec<Key> {
        let first = (flow, Key::Client(ClientKey(0)));
        let last = (flow, Key::Server(ServerKey(u64::MAX)));
        self.by_flow.range(first..=last).map(|(_, key)| *key).collect()
    }

    /// Whether a request that came on this flow is still to be answered there, or its answer repeated.
    pub fn owes_answers_on(&self, flow: FlowId) -> bool {
        let first = (flow, Key::Server(ServerKey(0)));
        let last = (flow, Key::Server(ServerKey(u64::MAX)));
        self.by_flow.range(first..=last).next().is_some()
    }

    /// From now on the responses of this transaction leave on another flow (RFC 3261 §18.2.2); the last one is repeated
    /// there. For a flow that was lost, and for a phone that answers from a new address.
    pub fn move_to(&mut self, key: ServerKey, flow: &FlowInfo) -> Result<(), TransactionError> {
        let server = self.servers.get_mut(key.0).ok_or(TransactionError::Gone)?;
        if let Some(old) = server.reply.way() {
            self.by_flow.remove(&(old.id, Key::Server(key)));
        }
        server.reply = Reply::On(*flow);
        self.by_flow.insert((flow.id, Key::Server(key)));
        if let Some(bytes) = server.last() {
            self.transmits.push_back(Transmit { flow: flow.id, bytes });
        }
        Ok(())
    }

    pub(super) fn lose_reply(&mut self, flow: FlowId, key: ServerKey) {
        self.by_flow.remove(&(flow, Key::Server(key)));
        let Some(server) = self.servers.get_mut(key.0) else { return };
        server.reply = Reply::Lost(server.reply.place());
        if server.awaits_user() && server.owner == Owner::User {
            self.events.push_back(Event::FlowLost { key });
        }
    }

    /// Where the responses of a server transaction go; nothing if that flow is lost.
    pub fn reply_flow(&self, key: ServerKey) -> Option<FlowInfo> {
        self.servers.get(key.0)?.reply.way()
    }
}
