//! The client side of the table: sending, matching responses, CANCEL (RFC 3261 §17.1, §9.1).

use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo, Transmit};
use wakeline_sip_message::{MAGIC_COOKIE, Message, Method, Name};

use super::{BRANCH, Owner, Transactions, lifted};
use crate::compose;
use crate::config::{SentBy, TransactionError};
use crate::event::Event;
use crate::input::ClientInput;
use crate::key::{ClientKey, Key};
use crate::matching::MatchKey;
use crate::step::{Action, Class};
use crate::timer::{Running, Timer};
use crate::{invite_client, non_invite_client};

#[derive(Clone, Copy)]
pub(super) enum ClientMachine {
    Invite(invite_client::State),
    Other(non_invite_client::State),
}

impl ClientMachine {
    /// Whether a final response has come.
    pub(super) fn is_answered(self) -> bool {
        use invite_client::State as Invite;
        use non_invite_client::State as Other;
        match self {
            ClientMachine::Invite(Invite::Calling { .. } | Invite::Proceeding)
            | ClientMachine::Other(Other::Trying { .. } | Other::Proceeding) => false,
            ClientMachine::Invite(Invite::Accepted | Invite::Completed)
            | ClientMachine::Other(Other::Completed) => true,
        }
    }
}

/// What is to become of an INVITE that its caller wants no longer (§9.1).
pub(super) enum Wish {
    Go,
    /// The CANCEL goes out with the first provisional response.
    Cancel(Message),
    Cancelled,
}

pub(super) struct Client {
    pub(super) name: MatchKey,
    pub(super) flow: FlowInfo,
    pub(super) machine: ClientMachine,
    pub(super) owner: Owner,
    pub(super) wish: Wish,
    pub(super) request: Message,
    pub(super) running: Running,
}

impl Transactions {
    /// Sends a request in a new client transaction. Our Via is put on top; one that stands there is a proxy's
    /// predecessor. An ACK is not for here: see [`Transactions::transmit_request`].
    pub fn send(
        &mut self,
        now: Time,
        request: Message,
        flow: &FlowInfo,
        sent_by: &SentBy,
    ) -> Result<ClientKey, TransactionError> {
        self.send_within(now, request, flow, sent_by, self.config.datagram)
    }

    /// As [`Transactions::send`], but a datagram may be as large as it likes: for when no reliable flow could be opened
    /// (RFC 3261 §18.1.1).
    pub fn send_of_any_size(
        &mut self,
        now: Time,
        request: Message,
        flow: &FlowInfo,
        sent_by: &SentBy,
    ) -> Result<ClientKey, TransactionError> {
        self.send_within(now, request, flow, sent_by, usize::MAX)
    }

    pub(super) fn send_within(
        &mut self,
        now: Time,
        request: Message,
        flow: &FlowInfo,
        sent_by: &SentBy,
        limit: usize,
    ) -> Result<ClientKey, TransactionError> {
        let method = request.method();
        if !request.is_request() || matches!(method, Method::Ack | Method::Cancel) {
            return Err(TransactionError::WrongKind);
        }
        if self.clients.len() >= self.config.max_clients {
            return Err(TransactionError::Full);
        }
        let branch = self.branch();
        let written = compose::with_via(&request, flow.transport, sent_by, &branch)?;
        if !flow.transport.is_reliable() && written.len() > limit {
            return Err(TransactionError::TooLargeForDatagram { bytes: written.len(), request });
        }
        let name = self.matcher.client(&branch, &method);
        Ok(self.start_client(now, name, written, *flow, &method, Owner::User))
    }

    pub(super) fn start_client(
        &mut self,
        now: Time,
        name: MatchKey,
        request: Message,
        flow: FlowInfo,
        method: &Method,
        owner: Owner,
    ) -> ClientKey {
        let terms = self.terms(&flow);
        let (machine, actions) = if *method == Method::Invite {
            let step = invite_client::State::start(&terms);
            (step.next.map(ClientMachine::Invite), step.actions)
        } else {
            let step = non_invite_client::State::start(&terms);
            (step.next.map(ClientMachine::Other), step.actions)
        };
        // Neither machine ends at its start.
        let machine = machine.unwrap_or(ClientMachine::Other(non_invite_client::State::Completed));
        let client = Client { name, flow, machine, owner, wish: Wish::Go, request, running: Running::new() };
        let key = ClientKey(self.clients.insert(client));
        self.by_response.insert(name, key);
        self.by_flow.insert((flow.id, Key::Client(key)));
        self.act_for_client(now, key, &actions, None);
        key
    }

    /// Sends a request outside of any transaction, with our Via on top: the ACK to a 2xx (RFC 3261 §13.2.2.4). The
    /// message is given back as it left, for [`Transactions::transmit_again`].
    pub fn transmit_request(
        &mut self,
        request: &Message,
        flow: &FlowInfo,
        sent_by: &SentBy,
    ) -> Result<Message, TransactionError> {
        if !request.is_request() {
            return Err(TransactionError::WrongKind);
        }
        let branch = self.branch();
        let written = compose::with_via(request, flow.transport, sent_by, &branch)?;
        self.transmit_again(&written, flow.id);
        Ok(written)
    }

    /// Sends a message as it is: an ACK for one more copy of its 2xx.
    pub fn transmit_again(&mut self, message: &Message, flow: FlowId) {
        self.transmits.push_back(Transmit { flow, bytes: message.to_bytes() });
    }

    /// Gives up an INVITE (RFC 3261 §9.1): its CANCEL leaves at once, or with the first provisional response. After a
    /// final response there is nothing to cancel and [`TransactionError::Complete`] says so. `extra` is for Reason.
    pub fn cancel(
        &mut self,
        now: Time,
        key: ClientKey,
        extra: &[(Name, String)],
    ) -> Result<(), TransactionError> {
        let wait = self.config.intervals.timeout();
        let client = self.clients.get_mut(key.0).ok_or(TransactionError::Gone)?;
        let ClientMachine::Invite(state) = client.machine else { return Err(TransactionError::WrongKind) };
        match client.wish {
            Wish::Cancel(_) | Wish::Cancelled => return Ok(()),
            Wish::Go => {}
        }
        match state {
            invite_client::State::Calling { .. } => {
                client.wish = Wish::Cancel(compose::cancel(&client.request, extra)?);
            }
            invite_client::State::Proceeding => {
                let cancel = compose::cancel(&client.request, extra)?;
                client.wish = Wish::Cancelled;
                self.timers.start(Key::Client(key), &mut client.running, Timer::Cancel, now + wait);
                let flow = client.flow;
                self.send_cancel(now, cancel, flow);
            }
            invite_client::State::Accepted | invite_client::State::Completed => {
                return Err(TransactionError::Complete);
            }
        }
        Ok(())
    }

    /// Gives up an INVITE whose flow is gone (RFC 3261 §9.1): its CANCEL, with the INVITE's own Via, leaves on another flow
    /// to the same place. Only the CANCEL can be answered there; the far end's 487 goes where the INVITE came from.
    pub fn cancel_elsewhere(
        &mut self,
        now: Time,
        invite: &Message,
        flow: &FlowInfo,
        extra: &[(Name, String)],
    ) -> Result<(), TransactionError> {
        let cancel = compose::cancel(invite, extra)?;
        if self.clients.len() >= self.config.max_clients {
            return Err(TransactionError::Full);
        }
        self.send_cancel(now, cancel, *flow);
        Ok(())
    }

    /// The INVITEs that were sent on a flow and have no final response, as they left.
    pub fn unanswered_invites(&self, flow: FlowId) -> Vec<(ClientKey, Message)> {
        let open = |key: Key| match key {
            Key::Client(key) => {
                let client = self.clients.get(key.0)?;
                let waits =
                    matches!(client.machine, ClientMachine::Invite(_)) && !client.machine.is_answered();
                waits.then(|| (key, client.request.clone()))
            }
            Key::Server(_) => None,
        };
        self.on_flow(flow).into_iter().filter_map(open).collect()
    }

    /// Whether nothing at all has come back for a request that is out.
    pub fn is_silent(&self, key: ClientKey) -> bool {
        use invite_client::State as Invite;
        use non_invite_client::State as Other;
        self.clients.get(key.0).is_some_and(|client| match client.machine {
            ClientMachine::Invite(Invite::Calling { .. }) | ClientMachine::Other(Other::Trying { .. }) => {
                true
            }
            ClientMachine::Invite(Invite::Proceeding | Invite::Accepted | Invite::Completed)
            | ClientMachine::Other(Other::Proceeding | Other::Completed) => false,
        })
    }

    /// The flow on which a request left.
    pub fn request_flow(&self, key: ClientKey) -> Option<FlowInfo> {
        self.clients.get(key.0).map(|client| client.flow)
    }

    /// The CANCEL has its INVITE's branch and a transaction of its own.
    pub(super) fn send_cancel(&mut self, now: Time, cancel: Message, flow: FlowInfo) {
        let Some(name) = cancel
            .via()
            .ok()
            .and_then(|via| via.branch().map(|branch| self.matcher.client(branch, &Method::Cancel)))
        else {
            return;
        };
        self.start_client(now, name, cancel, flow, &Method::Cancel, Owner::Table);
    }

    pub(super) fn handle_response(&mut self, now: Time, flow: &FlowInfo, response: Message) {
        let name = match (response.via(), response.cseq()) {
            (Ok(via), Ok(cseq)) => via.branch().map(|branch| self.matcher.client(branch, &cseq.method)),
            // Without either it answers nothing (§17.1.3, §18.1.2).
            (Err(_), _) | (_, Err(_)) => return,
        };
        let key = name.and_then(|name| self.by_response.get(&name).copied());
        let (Some(key), Some(status)) = (key, response.status()) else {
            self.events.push_back(Event::StrayResponse { response, flow: *flow });
            return;
        };
        let class = Class::of(status);
        self.step_client(now, key, ClientInput::Response(class), Some((response, *flow)));
        self.send_waiting_cancel(now, key, class);
    }

    /// §9.1: the CANCEL waited for a provisional response. After a final one it is not sent any more.
    pub(super) fn send_waiting_cancel(&mut self, now: Time, key: ClientKey, class: Class) {
        let wait = self.config.intervals.timeout();
        let Some(client) = self.clients.get_mut(key.0) else { return };
        let wish = core::mem::replace(&mut client.wish, Wish::Go);
        match (wish, class) {
            (Wish::Cancel(cancel), Class::Provisional) => {
                client.wish = Wish::Cancelled;
                self.timers.start(Key::Client(key), &mut client.running, Timer::Cancel, now + wait);
                let flow = client.flow;
                self.send_cancel(now, cancel, flow);
            }
            (Wish::Cancel(_), Class::Success | Class::Failure) => client.wish = Wish::Cancelled,
            (wish @ (Wish::Go | Wish::Cancelled), _) => client.wish = wish,
        }
    }

    pub(super) fn step_client(
        &mut self,
        now: Time,
        key: ClientKey,
        input: ClientInput,
        came: Option<(Message, FlowInfo)>,
    ) {
        let Some(client) = self.clients.get(key.0) else { return };
        let terms = self.terms(&client.flow);
        let step = match client.machine {
            ClientMachine::Invite(state) => lifted(state.on(input, &terms), ClientMachine::Invite),
            ClientMachine::Other(state) => lifted(state.on(input, &terms), ClientMachine::Other),
        };
        if let (Some(next), Some(client)) = (step.next, self.clients.get_mut(key.0)) {
            client.machine = next;
        }
        self.act_for_client(now, key, &step.actions, came);
        if step.next.is_none()
            && let Some(client) = self.remove_client(key)
            && client.owner == Owner::User
        {
            self.events.push_back(Event::Terminated { key: Key::Client(key) });
        }
    }

    pub(super) fn act_for_client(
        &mut self,
        now: Time,
        key: ClientKey,
        actions: &[Action],
        mut came: Option<(Message, FlowInfo)>,
    ) {
        for action in actions {
            let Some(client) = self.clients.get_mut(key.0) else { return };
            let event = match action {
                Action::Transmit => {
                    let bytes = client.request.to_bytes();
                    self.transmits.push_back(Transmit { flow: client.flow.id, bytes });
                    None
                }
                Action::Acknowledge => {
                    let ack = came.as_ref().map(|(response, _)| compose::ack(&client.request, response));
                    // A response without To cannot be acknowledged.
                    if let Some(Ok(ack)) = ack {
                        self.transmits.push_back(Transmit { flow: client.flow.id, bytes: ack.to_bytes() });
                    }
                    None
                }
                Action::Pass => came.take().map(|(response, flow)| Event::Response { key, response, flow }),
                Action::Start(timer, wait) => {
                    self.timers.start(Key::Client(key), &mut client.running, *timer, now + *wait);
                    None
                }
                Action::Stop(timer) => {
                    self.timers.stop(Key::Client(key), &mut client.running, *timer);
                    None
                }
                Action::TimedOut => Some(Event::TimedOut { key }),
                Action::TransportFailed => Some(Event::TransportFailed { key }),
                // A server's.
                Action::Trying | Action::AckTimedOut => None,
            };
            if client.owner == Owner::User {
                self.events.extend(event);
            }
        }
    }

    pub(super) fn remove_client(&mut self, key: ClientKey) -> Option<Client> {
        let mut client = self.clients.remove(key.0)?;
        self.timers.stop_all(Key::Client(key), &mut client.running);
        self.by_response.remove(&client.name);
        self.by_flow.remove(&(client.flow.id, Key::Client(key)));
        if self.clients.len() == 0 {
            self.by_response.shrink_to(1024);
        }
        Some(client)
    }

    pub(super) fn branch(&mut self) -> String {
        format!("{MAGIC_COOKIE}{}", self.entropy.token(BRANCH))
    }

    /// The request of a client transaction, as it left.
    pub fn request(&self, key: ClientKey) -> Option<&Message> {
        self.clients.get(key.0).map(|client| &client.request)
    }
}
