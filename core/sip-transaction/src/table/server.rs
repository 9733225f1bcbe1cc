//! The server side of the table: what a transaction is, answering, its steps and its end (RFC 3261 §17.2).

use bytes::Bytes;
use wakeline_clock::Time;
use wakeline_flow::{FlowInfo, Transmit};
use wakeline_sip_message::Message;

use super::reply::Reply;
use super::{Owner, Transactions, lifted};
use crate::compose;
use crate::config::TransactionError;
use crate::event::Event;
use crate::input::ServerInput;
use crate::key::{Key, ServerKey};
use crate::matching::MatchKey;
use crate::step::{Action, Class};
use crate::timer::Running;
use crate::{invite_server, non_invite_server};

#[derive(Clone, Copy)]
pub(super) enum ServerMachine {
    Invite(invite_server::State),
    Other(non_invite_server::State),
}

/// What was said last, for copies of the request.
pub(super) enum Said {
    Nothing,
    /// 100: a gateway holds a call behind one for long, so it is written again when a copy asks for it.
    Trying,
    Response(Bytes),
}

pub(super) struct Server {
    pub(super) name: MatchKey,
    pub(super) merge: Option<MatchKey>,
    pub(super) reply: Reply,
    pub(super) machine: ServerMachine,
    pub(super) owner: Owner,
    /// Kept until the final response.
    pub(super) request: Option<Message>,
    pub(super) said: Said,
    pub(super) to_tag: Option<Box<str>>,
    pub(super) running: Running,
}

/// A request on its way to the user.
pub(super) enum Came {
    /// With the transaction that carries the same one already.
    New(Message, FlowInfo, Option<ServerKey>),
    Ack(Message, FlowInfo),
}

impl Server {
    /// What was said last.
    pub(super) fn last(&self) -> Option<Bytes> {
        match &self.said {
            Said::Nothing => None,
            Said::Trying => self.trying(),
            Said::Response(bytes) => Some(bytes.clone()),
        }
    }

    fn trying(&self) -> Option<Bytes> {
        let invite = self.request.as_ref()?;
        Some(compose::response(invite, 100, None, &[]).ok()?.to_bytes())
    }

    /// Whether the user has something to say yet, or to repeat.
    pub(super) fn awaits_user(&self) -> bool {
        match self.machine {
            ServerMachine::Invite(state) => match state {
                invite_server::State::Proceeding | invite_server::State::Accepted => true,
                invite_server::State::Completed { .. } | invite_server::State::Confirmed => false,
            },
            ServerMachine::Other(state) => state.takes(),
        }
    }
}

impl Transactions {
    /// Answers a request. A 2xx to an INVITE may be given again as often as it is to be repeated (§13.3.1.4).
    pub fn respond(&mut self, now: Time, key: ServerKey, response: Message) -> Result<(), TransactionError> {
        let status = response.status().ok_or(TransactionError::WrongKind)?;
        let class = Class::of(status);
        let server = self.servers.get_mut(key.0).ok_or(TransactionError::Gone)?;
        let takes = match server.machine {
            ServerMachine::Invite(state) => state.takes(class),
            ServerMachine::Other(state) => state.takes(),
        };
        if !takes {
            return Err(TransactionError::Complete);
        }
        if let Some(tag) = response.to_tag() {
            server.to_tag = Some(tag.into());
        }
        server.said = Said::Response(response.to_bytes());
        if class != Class::Provisional {
            server.request = None;
        }
        self.step_server(now, key, ServerInput::Respond(class), None);
        if let (100, Some(server)) = (status, self.servers.get_mut(key.0)) {
            server.said = Said::Trying;
        }
        Ok(())
    }

    pub(super) fn step_server(&mut self, now: Time, key: ServerKey, input: ServerInput, came: Option<Came>) {
        let Some(server) = self.servers.get(key.0) else { return };
        let terms = self.terms(&server.reply.place());
        let step = match server.machine {
            ServerMachine::Invite(state) => lifted(state.on(input, &terms), ServerMachine::Invite),
            ServerMachine::Other(state) => lifted(state.on(input, &terms), ServerMachine::Other),
        };
        if let (Some(next), Some(server)) = (step.next, self.servers.get_mut(key.0)) {
            server.machine = next;
        }
        self.act_for_server(now, key, &step.actions, came);
        if step.next.is_none()
            && let Some(server) = self.remove_server(key)
            && server.owner == Owner::User
        {
            self.events.push_back(Event::Terminated { key: Key::Server(key) });
        }
    }

    pub(super) fn act_for_server(
        &mut self,
        now: Time,
        key: ServerKey,
        actions: &[Action],
        mut came: Option<Came>,
    ) {
        for action in actions {
            let Some(server) = self.servers.get_mut(key.0) else { return };
            let event = match action {
                Action::Transmit => {
                    if let (Some(bytes), Some(flow)) = (server.last(), server.reply.way()) {
                        self.transmits.push_back(Transmit { flow: flow.id, bytes });
                    }
                    None
                }
                Action::Trying => {
                    server.said = Said::Trying;
                    if let (Some(bytes), Some(flow)) = (server.trying(), server.reply.way()) {
                        self.transmits.push_back(Transmit { flow: flow.id, bytes });
                    }
                    None
                }
                Action::Pass => came.take().map(|came| match came {
                    Came::New(request, flow, merges) => Event::Request { key, request, flow, merges },
                    Came::Ack(request, flow) => Event::Ack { request, flow },
                }),
                Action::Start(timer, wait) => {
                    self.timers.start(Key::Server(key), &mut server.running, *timer, now + *wait);
                    None
                }
                Action::Stop(timer) => {
                    self.timers.stop(Key::Server(key), &mut server.running, *timer);
                    None
                }
                Action::AckTimedOut => Some(Event::AckTimedOut { key }),
                // A client's.
                Action::Acknowledge | Action::TimedOut | Action::TransportFailed => None,
            };
            if server.owner == Owner::User {
                self.events.extend(event);
            }
        }
    }

    pub(super) fn remove_server(&mut self, key: ServerKey) -> Option<Server> {
        let mut server = self.servers.remove(key.0)?;
        self.timers.stop_all(Key::Server(key), &mut server.running);
        self.by_request.remove(&server.name);
        if let Some(merge) = server.merge
            && self.by_merge.get(&merge) == Some(&key)
        {
            self.by_merge.remove(&merge);
        }
        if let Some(flow) = server.reply.way() {
            self.by_flow.remove(&(flow.id, Key::Server(key)));
        }
        if self.servers.len() == 0 {
            self.by_request.shrink_to(1024);
            self.by_merge.shrink_to(1024);
        }
        Some(server)
    }

    /// The request of a server transaction that still waits for its final response.
    pub fn received_request(&self, key: ServerKey) -> Option<&Message> {
        self.servers.get(key.0)?.request.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::super::client::Client;
    use super::*;

    /// A gateway holds 100,000 of them: what one costs beside its messages is to stay small.
    #[test]
    fn a_transaction_is_compact() {
        let sizes = (size_of::<Server>(), size_of::<Client>());
        assert!(sizes.0 <= 320 && sizes.1 <= 320, "{sizes:?}");
    }
}
