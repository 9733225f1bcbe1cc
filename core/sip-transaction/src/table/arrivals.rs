//! Requests that come in: matching, merged requests, CANCEL, and what there is no room for (RFC 3261 §17.2.3, §8.2.2.2,
//! §9.2).

use wakeline_clock::Time;
use wakeline_flow::{FlowInfo, Transmit};
use wakeline_sip_message::{CSeq, Message, Method, Name};

use super::reply::Reply;
use super::server::{Came, Said, Server, ServerMachine};
use super::{Owner, Transactions};
use crate::compose;
use crate::config::{Merged, Overload, TransactionError};
use crate::event::Event;
use crate::input::ServerInput;
use crate::key::{Key, ServerKey};
use crate::matching::MatchKey;
use crate::timer::Running;
use crate::{invite_server, non_invite_server};

impl Transactions {
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

    /// The tag that [`Transactions::answer_stateless`] answers this request under.
    pub fn stateless_tag(&self, request: &Message, flow: &FlowInfo) -> String {
        let stamped = compose::stamped(request, flow);
        self.matcher.stateless_tag(stamped.as_ref().unwrap_or(request))
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
        let alive =
            first.and_then(|first| self.servers.get(first.0)).is_some_and(|server| server.reply.is_current());
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
            said: Said::Nothing,
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
}
