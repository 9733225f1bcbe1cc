//! The server side of the table: matching requests, answering, merged requests, CANCEL (RFC 3261 §17.2, §8.2.2.2, §9.2).

use bytes::Bytes;
use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo, Transmit};
use wakeline_sip_message::{CSeq, Message, Method, Name};

use super::{Owner, Transactions, lifted};
use crate::compose;
use crate::config::{Merged, Overload, TransactionError};
use crate::event::Event;
use crate::key::{Key, ServerKey};
use crate::matching::MatchKey;
use crate::step::{Action, Class};
use crate::timer::{Running, Timer};
use crate::{invite_server, non_invite_server};

#[derive(Clone, Copy)]
pub(super) enum ServerMachine {
    Invite(invite_server::State),
    Other(non_invite_server::State),
}

/// Where responses go.
#[derive(Clone, Copy)]
pub(super) enum Reply {
    On(FlowInfo),
    Lost(FlowInfo),
}

pub(super) struct Server {
    pub(super) name: MatchKey,
    pub(super) merge: Option<MatchKey>,
    pub(super) reply: Reply,
    pub(super) machine: ServerMachine,
    pub(super) owner: Owner,
    /// Kept until the final response.
    pub(super) request: Option<Message>,
    pub(super) last: Option<Bytes>,
    pub(super) to_tag: Option<Box<str>>,
    pub(super) running: Running,
}

#[derive(Clone, Copy)]
pub(super) enum ServerInput {
    Again,
    Ack,
    Respond(Class),
    Timer(Timer),
}

impl ServerInput {
    pub(super) fn to_invite(self) -> invite_server::Input {
        match self {
            ServerInput::Again => invite_server::Input::Again,
            ServerInput::Ack => invite_server::Input::Ack,
            ServerInput::Respond(class) => invite_server::Input::Respond(class),
            ServerInput::Timer(timer) => invite_server::Input::Timer(timer),
        }
    }

    pub(super) fn to_other(self) -> Option<non_invite_server::Input> {
        match self {
            ServerInput::Again => Some(non_invite_server::Input::Again),
            // Only INVITE has ACKs.
            ServerInput::Ack => None,
            ServerInput::Respond(class) => Some(non_invite_server::Input::Respond(class)),
            ServerInput::Timer(timer) => Some(non_invite_server::Input::Timer(timer)),
        }
    }
}

/// A request on its way to the user.
pub(super) enum Came {
    /// With the transaction that carries the same one already.
    New(Message, FlowInfo, Option<ServerKey>),
    Ack(Message, FlowInfo),
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
        server.last = Some(response.to_bytes());
        if class != Class::Provisional {
            server.request = None;
        }
        self.step_server(now, key, ServerInput::Respond(class), None);
        Ok(())
    }

    /// Answers a request without keeping anything: for messages that could not be read well enough for a transaction.
    pub fn answer_stateless(
        &mut self,
        request: &Message,
        flow: &FlowInfo,
        code: u16,
        extra: &[(Name, String)],
    ) -> Result<(), TransactionError> {
        if request.method() == Method::Ack || !request.is_request() {
            return Err(TransactionError::WrongKind);
        }
        let stamped = compose::stamped(request, flow);
        let request = stamped.as_ref().unwrap_or(request);
        let tag = self.matcher.stateless_tag(request);
        let response = compose::response(request, code, Some(&tag), extra)?;
        self.transmits.push_back(Transmit { flow: flow.id, bytes: response.to_bytes() });
        Ok(())
    }

    /// From now on the responses of this transaction leave on another flow (RFC 3261 §18.2.2); the last one is repeated
    /// there. For a flow that was lost, and for a phone that answers from a new address.
    pub fn move_to(&mut self, key: ServerKey, flow: &FlowInfo) -> Result<(), TransactionError> {
        let server = self.servers.get_mut(key.0).ok_or(TransactionError::Gone)?;
        if let Reply::On(old) = server.reply {
            self.by_flow.remove(&(old.id, Key::Server(key)));
        }
        server.reply = Reply::On(*flow);
        self.by_flow.insert((flow.id, Key::Server(key)));
        if let Some(bytes) = server.last.clone() {
            self.transmits.push_back(Transmit { flow: flow.id, bytes });
        }
        Ok(())
    }

    pub(super) fn handle_request(&mut self, now: Time, flow: &FlowInfo, request: Message) {
        let request = compose::stamped(&request, flow).unwrap_or(request);
        let method = request.method();
        let (name, cseq) = match (request.via(), request.cseq()) {
            (Ok(via), Ok(cseq)) => {
                let matched = if method == Method::Ack { &Method::Invite } else { &method };
                (self.matcher.server(&request, &via, &cseq, matched), cseq)
            }
            (Err(_), _) | (_, Err(_)) => return,
        };
        if let Some(key) = self.by_request.get(&name).copied() {
            return self.handle_known(now, flow, key, request, &method);
        }
        if method == Method::Ack {
            self.events.push_back(Event::Ack { request, flow: *flow });
        } else if method == Method::Cancel {
            self.handle_cancel(now, flow, name, request, &cseq);
        } else if self.servers.len() >= self.config.max_servers {
            self.refuse(flow, &request);
        } else {
            self.handle_new(now, flow, name, request, &cseq);
        }
    }

    pub(super) fn handle_known(
        &mut self,
        now: Time,
        flow: &FlowInfo,
        key: ServerKey,
        request: Message,
        method: &Method,
    ) {
        if *method == Method::Ack {
            let fits = self.servers.get(key.0).is_some_and(|server| {
                let cookie = request.via().is_ok_and(|via| via.has_cookie());
                // §17.2.3: without the cookie the tag of our response makes sure.
                cookie || server.to_tag.as_deref() == request.to_tag()
            });
            if fits {
                self.step_server(now, key, ServerInput::Ack, Some(Came::Ack(request, *flow)));
            } else {
                self.events.push_back(Event::Ack { request, flow: *flow });
            }
            return;
        }
        if let Some(server) = self.servers.get_mut(key.0)
            && let Reply::Lost(_) = server.reply
        {
            server.reply = Reply::On(*flow);
            self.by_flow.insert((flow.id, Key::Server(key)));
        }
        self.step_server(now, key, ServerInput::Again, None);
    }

    pub(super) fn handle_new(
        &mut self,
        now: Time,
        flow: &FlowInfo,
        name: MatchKey,
        request: Message,
        cseq: &CSeq,
    ) {
        let merge = self.matcher.merged(&request, cseq);
        let first = merge.and_then(|merge| self.by_merge.get(&merge).copied());
        let alive = first
            .and_then(|first| self.servers.get(first.0))
            .is_some_and(|server| matches!(server.reply, Reply::On(_)));
        if alive && self.config.merged == Merged::Refuse {
            return self.answer_here(now, flow, name, &request, 482, None);
        }
        let key = self.start_server(flow, name, merge, request.clone(), cseq, Owner::User);
        let actions = if cseq.method == Method::Invite {
            invite_server::State::start(self.config.trying).actions
        } else {
            non_invite_server::State::start().actions
        };
        self.act_for_server(now, key, &actions, Some(Came::New(request, *flow, first)));
    }

    pub(super) fn start_server(
        &mut self,
        flow: &FlowInfo,
        name: MatchKey,
        merge: Option<MatchKey>,
        request: Message,
        cseq: &CSeq,
        owner: Owner,
    ) -> ServerKey {
        let machine = if cseq.method == Method::Invite {
            ServerMachine::Invite(invite_server::State::Proceeding)
        } else {
            ServerMachine::Other(non_invite_server::State::Trying)
        };
        let key = ServerKey(self.servers.insert(Server {
            name,
            merge,
            reply: Reply::On(*flow),
            machine,
            owner,
            request: Some(request),
            last: None,
            to_tag: None,
            running: Running::new(),
        }));
        self.by_request.insert(name, key);
        if let Some(merge) = merge {
            // The newest copy stands for all: its flow is the one that lives.
            self.by_merge.insert(merge, key);
        }
        self.by_flow.insert((flow.id, Key::Server(key)));
        key
    }

    /// §9.2. The CANCEL is answered here; only its INVITE's owner hears of it.
    pub(super) fn handle_cancel(
        &mut self,
        now: Time,
        flow: &FlowInfo,
        name: MatchKey,
        cancel: Message,
        cseq: &CSeq,
    ) {
        let invite = match cancel.via() {
            Ok(via) => self.matcher.server(&cancel, &via, cseq, &Method::Invite),
            Err(_) => return,
        };
        let Some(key) = self.by_request.get(&invite).copied() else {
            if self.servers.len() >= self.config.max_servers {
                return self.refuse(flow, &cancel);
            }
            return self.answer_here(now, flow, name, &cancel, 481, None);
        };
        let Some(server) = self.servers.get(key.0) else { return };
        let tag = server.to_tag.clone();
        let (owner, machine) = (server.owner, server.machine);
        self.answer_here(now, flow, name, &cancel, 200, tag.as_deref());
        if let (Owner::User, ServerMachine::Invite(invite_server::State::Proceeding)) = (owner, machine) {
            self.events.push_back(Event::Cancelled { key, cancel });
        }
    }

    /// Answers in a transaction of the table's own.
    pub(super) fn answer_here(
        &mut self,
        now: Time,
        flow: &FlowInfo,
        name: MatchKey,
        request: &Message,
        code: u16,
        tag: Option<&str>,
    ) {
        let drawn = self.entropy.token(10);
        let Ok(cseq) = request.cseq() else { return };
        let Ok(response) = compose::response(request, code, Some(tag.unwrap_or(&drawn)), &[]) else { return };
        let key = self.start_server(flow, name, None, request.clone(), &cseq, Owner::Table);
        // It has just been made and takes its first response.
        drop(self.respond(now, key, response));
    }

    /// No room (class S14).
    pub(super) fn refuse(&mut self, flow: &FlowInfo, request: &Message) {
        match self.config.overload {
            Overload::Silence => {}
            Overload::Refuse { retry_after } => {
                let extra = [(Name::RetryAfter, retry_after.to_string())];
                // What cannot be answered is dropped.
                drop(self.answer_stateless(request, flow, 503, &extra));
            }
        }
    }

    pub(super) fn lose_reply(&mut self, flow: FlowId, key: ServerKey) {
        self.by_flow.remove(&(flow, Key::Server(key)));
        let Some(server) = self.servers.get_mut(key.0) else { return };
        if let Reply::On(old) = server.reply {
            server.reply = Reply::Lost(old);
        }
        let waits = match server.machine {
            ServerMachine::Invite(state) => match state {
                invite_server::State::Proceeding | invite_server::State::Accepted => true,
                invite_server::State::Completed { .. } | invite_server::State::Confirmed => false,
            },
            ServerMachine::Other(state) => state.takes(),
        };
        if waits && server.owner == Owner::User {
            self.events.push_back(Event::FlowLost { key });
        }
    }

    pub(super) fn step_server(&mut self, now: Time, key: ServerKey, input: ServerInput, came: Option<Came>) {
        let Some(server) = self.servers.get(key.0) else { return };
        let (Reply::On(flow) | Reply::Lost(flow)) = server.reply;
        let terms = self.terms(&flow);
        let step = match server.machine {
            ServerMachine::Invite(state) => {
                lifted(state.on(input.to_invite(), &terms), ServerMachine::Invite)
            }
            ServerMachine::Other(state) => match input.to_other() {
                Some(input) => lifted(state.on(input, &terms), ServerMachine::Other),
                None => return,
            },
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
                    if let (Some(bytes), Reply::On(flow)) = (server.last.clone(), server.reply) {
                        self.transmits.push_back(Transmit { flow: flow.id, bytes });
                    }
                    None
                }
                Action::Trying => {
                    let trying =
                        server.request.as_ref().map(|invite| compose::response(invite, 100, None, &[]));
                    if let Some(Ok(trying)) = trying {
                        let bytes = trying.to_bytes();
                        server.last = Some(bytes.clone());
                        if let Reply::On(flow) = server.reply {
                            self.transmits.push_back(Transmit { flow: flow.id, bytes });
                        }
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
        if let Reply::On(flow) = server.reply {
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

    /// Where the responses of a server transaction go; nothing if that flow is lost.
    pub fn reply_flow(&self, key: ServerKey) -> Option<FlowInfo> {
        match self.servers.get(key.0)?.reply {
            Reply::On(flow) => Some(flow),
            Reply::Lost(_) => None,
        }
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
