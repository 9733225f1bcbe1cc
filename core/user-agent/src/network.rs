//! Flows, hops and transactions: getting messages out, and telling whoever waits for their answers.

use bytes::Bytes;
use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo, Hop, Received, Transport};
use wakeline_sip_message::{Builder, Message, Method, Name};
use wakeline_sip_resolve::{ResolutionId, ResolveError};
use wakeline_sip_transaction::{Event as Happened, Key, ReturnPort, SentBy, TransactionError};

use crate::agent::UserAgent;
use crate::delivery::{Errand, Job, Owner};
use crate::event::Event;
use crate::flows::Due;
use crate::output::{FlowFailure, Output};
use crate::snapshot::AccountId;

/// RFC 5626 §4.4.1: a ping is two line ends, and so is the answer one.
const PING: &[u8] = b"\r\n\r\n";
const PONG: &[u8] = b"\r\n";

impl UserAgent {
    // ---- names and flows -------------------------------------------------------------------------------------

    /// A name led to hops, or nowhere.
    pub(crate) fn resolved(&mut self, id: ResolutionId, outcome: Result<Vec<Hop>, ResolveError>) {
        let Some(mut job) = self.delivery.resolved(id) else { return };
        match outcome {
            Ok(hops) => {
                job.hops = hops.into();
                self.try_next_hop(job);
            }
            Err(error) => {
                let cure = match error {
                    ResolveError::NoService => "check serveraddress, proxyaddress and transport",
                    ResolveError::DnsUnavailable => "check the network; it is tried again",
                };
                self.complain(Some(job.account), None, error.to_string(), cure);
                self.undeliverable(job);
            }
        }
    }

    /// Takes the best hop that is left, over a live flow or a new one.
    pub(crate) fn try_next_hop(&mut self, mut job: Job) {
        let Some(hop) = job.hops.pop_front() else { return self.undeliverable(job) };
        // A registration wants a flow of its own making: an old one may be dead without knowing it (RFC 8599 §4.1.3).
        let fresh = matches!(job.errand, Errand::Edge(_));
        match self.flows.to(&hop, job.account).filter(|_| !fresh) {
            Some(flow) => self.over_flow(flow, job),
            None => {
                let flow = self.flows.open(hop.clone(), job.account, self.now);
                self.put(Output::Open { flow, hop, account: job.account });
                self.delivery.wait_for(flow, job);
            }
        }
    }

    /// Sends on a flow, now or when it is open.
    pub(crate) fn over_flow(&mut self, flow: FlowId, job: Job) {
        match self.flows.info(flow) {
            Some(info) => self.launch(info, job),
            None => self.delivery.wait_for(flow, job),
        }
    }

    fn launch(&mut self, flow: FlowInfo, mut job: Job) {
        match job.errand.clone() {
            Errand::Edge(account) => self.edge_open(account, flow, job.hops),
            Errand::Dial(call) => self.dial_on(call, flow, job.hops),
            Errand::Ack(request) => {
                let sent_by = self.sent_by(job.account, &flow);
                // An ACK that cannot be written has lost its dialog: the far end's retransmissions end that.
                let _ = self.transactions.transmit_request(&request, &flow, &sent_by);
            }
            Errand::Withdraw(invite) => {
                // No room for one more transaction: the far end's own timer ends it.
                let _ = self.transactions.cancel_elsewhere(self.now, &invite, &flow, &[]);
            }
            Errand::Request { owner, request } => {
                let sent_by = self.sent_by(job.account, &flow);
                let begins = request.method() == Method::Invite && request.to_tag().is_none();
                let sent = if job.any_size && flow.transport == Transport::Udp {
                    self.transactions.send_of_any_size(self.now, request, &flow, &sent_by)
                } else {
                    self.transactions.send(self.now, request, &flow, &sent_by)
                };
                match sent {
                    Ok(key) => {
                        self.note_sent(owner, flow.id);
                        match owner {
                            // Only this request: what follows in the dialog may go to strangers (class S1).
                            Owner::Call(call, _) if begins => self.note_invite_sent(call, flow, &job.hops),
                            Owner::Call(..) | Owner::Registration(_) | Owner::Options(_) => {}
                        }
                        self.delivery.left(key, job, self.now);
                    }
                    Err(TransactionError::TooLargeForDatagram { .. }) => {
                        job.leave_datagrams(Hop {
                            transport: flow.transport,
                            remote: flow.remote,
                            server_name: None,
                        });
                        self.try_next_hop(job);
                    }
                    Err(
                        TransactionError::Message(_)
                        | TransactionError::Full
                        | TransactionError::Gone
                        | TransactionError::Complete
                        | TransactionError::WrongKind,
                    ) => self.undeliverable(job),
                }
            }
        }
    }

    /// Our Via on a flow; the account says whether `rport` is asked for (RFC 3581 §3, B-088).
    fn sent_by(&self, account: AccountId, flow: &FlowInfo) -> SentBy {
        let asks = self.line(account).is_none_or(|line| line.identity().settings.network().rport.asks());
        sent_by(flow).with_return_port(if asks { ReturnPort::Asked } else { ReturnPort::NotAsked })
    }

    /// No hop is left for a job: whoever waits for it is told.
    pub(crate) fn undeliverable(&mut self, job: Job) {
        let now = self.now;
        match job.errand {
            Errand::Edge(account) => self.edge_unreachable(account),
            Errand::Dial(call) => self.dial_failed(call, "unreachable"),
            Errand::Ack(_) | Errand::Withdraw(_) => {}
            Errand::Request { owner: Owner::Registration(account), .. } => {
                self.registration_not_sent(account)
            }
            Errand::Request { owner: Owner::Call(call, id), .. } => {
                if let Some(session) = self.session(call) {
                    session.handle_transport_failed(now, id);
                }
            }
            Errand::Request { owner: Owner::Options(id), .. } => self.options_answered(id, None),
        }
    }

    /// A flow is open.
    pub(crate) fn flow_opened(&mut self, info: FlowInfo) {
        if let Some(stranger) = self.flows.opened(info) {
            self.put(Output::Close(stranger));
        }
        for job in self.delivery.flow_settled(info.id) {
            self.launch(info, job);
        }
    }

    /// A flow is gone, or never came to be.
    pub(crate) fn flow_closed(&mut self, flow: FlowId, failure: FlowFailure) {
        self.note_withdrawals(flow);
        if !self.flows.closed(flow) {
            return;
        }
        self.transactions.handle_flow_failed(self.now, flow);
        if failure == FlowFailure::CertificateRefused {
            let cure = "the server's certificate must carry its name and be signed by a trusted authority, or be pinned";
            self.complain(None, None, "the server's certificate was refused", cure);
        }
        for job in self.delivery.flow_settled(flow) {
            self.try_next_hop(job);
        }
        self.line_lost_flow(flow);
        self.calls_lost_flow(flow);
        self.withdraw_unbound();
    }

    /// Leaves a hop that does not open in time for the next one, where a job has one (RFC 3263 §4.3).
    pub(crate) fn leave_slow_hops(&mut self) {
        let slow = |flow: &FlowId| self.flows.slow_at(*flow).is_some_and(|at| at <= self.now);
        let flows: Vec<FlowId> = self.delivery.with_other_hops().filter(slow).collect();
        for flow in flows {
            let (elsewhere, stay): (Vec<_>, Vec<_>) =
                self.delivery.flow_settled(flow).into_iter().partition(|job| !job.hops.is_empty());
            if stay.is_empty() {
                self.close_flow(flow);
            }
            for job in stay {
                self.delivery.wait_for(flow, job);
            }
            for job in elsewhere {
                self.try_next_hop(job);
            }
        }
    }

    /// When [`UserAgent::leave_slow_hops`] is due.
    pub(crate) fn slow_hops_due(&self) -> Option<Time> {
        self.delivery.with_other_hops().filter_map(|flow| self.flows.slow_at(flow)).min()
    }

    /// Closes a flow on purpose.
    pub(crate) fn close_flow(&mut self, flow: FlowId) {
        if self.flows.closed(flow) {
            self.transactions.handle_flow_closed(flow);
            self.put(Output::Close(flow));
            for job in self.delivery.flow_settled(flow) {
                self.undeliverable(job);
            }
        }
    }

    /// Pings that are due, and flows that left one unanswered.
    pub(crate) fn keep_flows_alive(&mut self) {
        while let Some(due) = self.flows.due(self.now, &mut self.entropy) {
            match due {
                Due::Ping(flow) => {
                    self.put(Output::Send(wakeline_flow::Transmit { flow, bytes: Bytes::from_static(PING) }));
                }
                Due::Dead(flow) => {
                    self.put(Output::Close(flow));
                    self.flow_closed(flow, FlowFailure::TimedOut);
                }
            }
        }
    }

    // ---- what comes in ---------------------------------------------------------------------------------------

    /// Bytes came in on a flow.
    pub(crate) fn received(&mut self, received: Received) {
        let Received { flow, bytes } = received;
        if !self.flows.knows(flow.id)
            && let Some(stranger) = self.flows.opened(flow)
        {
            self.put(Output::Close(stranger));
        }
        let is_pong = bytes == PONG;
        self.flows.heard(flow.id, is_pong);
        if bytes == PING {
            self.put(Output::Send(wakeline_flow::Transmit {
                flow: flow.id,
                bytes: Bytes::from_static(PONG),
            }));
            return;
        }
        // Other kinds of keep-alive on UDP: empty, zeros, line ends.
        if is_pong || bytes.iter().all(|byte| matches!(byte, 0 | b'\r' | b'\n' | b' ')) {
            return;
        }
        match Message::parse(bytes) {
            Ok(message) => self.take_message(flow, message),
            Err(error) => {
                // What can still be answered is told what is wrong with it (RFC 3261 §21.4.1).
                if let Some(message) = error.remains().filter(|message| message.is_request()) {
                    let message = message.clone();
                    self.refuse_unread(&flow, &message, 400);
                }
            }
        }
    }

    fn take_message(&mut self, flow: FlowInfo, message: Message) {
        if message.is_request()
            && let Err(refusal) = message.check()
        {
            if let Some(code) = refusal.code() {
                self.refuse_unread(&flow, &message, code);
            }
            return;
        }
        self.transactions.handle_received(self.now, &flow, message);
    }

    fn refuse_unread(&mut self, flow: &FlowInfo, request: &Message, code: u16) {
        // An ACK is never answered.
        if request.method() != Method::Ack {
            let _ = self.transactions.answer_stateless(request, flow, code, &[]);
        }
    }

    /// The table of transactions tells something.
    pub(crate) fn transaction_event(&mut self, event: Happened) {
        match event {
            Happened::Request { key, request, flow, merges } => self.request(key, request, flow, merges),
            Happened::Ack { request, .. } => self.acknowledged(&request),
            Happened::Cancelled { key, cancel } => self.cancelled(key, &cancel),
            Happened::Response { key, response, .. } => {
                if let Some(owner) = self.delivery.owner(key)
                    && self.counts(key, owner, &response)
                {
                    self.answered(owner, &response);
                }
            }
            Happened::StrayResponse { response, .. } => self.stray_response(&response),
            Happened::TimedOut { key } => self.given_up(key, Owner::timed_out),
            Happened::TransportFailed { key } => self.given_up(key, Owner::transport_failed),
            Happened::FlowLost { .. } => {}
            Happened::AckTimedOut { key } => {
                self.served.remove(&key);
            }
            Happened::Terminated { key } => match key {
                Key::Client(key) => drop(self.delivery.over(key)),
                Key::Server(key) => drop(self.served.remove(&key)),
            },
        }
    }

    fn given_up(&mut self, key: wakeline_sip_transaction::ClientKey, tell: fn(Owner, &mut UserAgent)) {
        // Of several attempts only the latest is waited for: an older one ends when its flow is closed.
        if let Some(owner) =
            self.delivery.owner(key).filter(|owner| self.delivery.key_of(*owner) == Some(key))
        {
            tell(owner, self);
        }
    }

    fn answered(&mut self, owner: Owner, response: &Message) {
        let now = self.now;
        match owner {
            Owner::Registration(account) => self.registration_answered(account, response),
            Owner::Call(call, id) => {
                if let Some(session) = self.session(call) {
                    session.handle_response(now, id, response);
                }
            }
            Owner::Options(id) => {
                if let Some(code) = response.status().filter(|code| *code >= 200) {
                    self.options_answered(id, Some(code));
                }
            }
        }
    }

    pub(crate) fn options_answered(&mut self, id: u64, code: Option<u16>) {
        if let Some((account, to)) = self.options.remove(&id) {
            self.tell(Event::OptionsAnswered { account, to, code });
        }
    }

    /// A response to a request that nobody will ask for, e.g. 405 with Allow.
    pub(crate) fn answer_plainly(
        &mut self,
        key: wakeline_sip_transaction::ServerKey,
        request: &Message,
        code: u16,
    ) {
        let tag = self.entropy.token(12);
        let response = Builder::response(request, code, "")
            .to_tag(&tag)
            .header(Name::Allow, crate::ALLOW)
            .header(Name::Supported, crate::SUPPORTED)
            .build();
        if let Ok(response) = response {
            let _ = self.transactions.respond(self.now, key, response);
        }
    }
}

impl Owner {
    fn timed_out(self, agent: &mut UserAgent) {
        let now = agent.now;
        match self {
            Owner::Registration(account) => agent.registration_silent(account),
            Owner::Call(call, id) => {
                if let Some(session) = agent.session(call) {
                    session.handle_timed_out(now, id);
                }
            }
            Owner::Options(id) => agent.options_answered(id, None),
        }
    }

    fn transport_failed(self, agent: &mut UserAgent) {
        let now = agent.now;
        match self {
            Owner::Registration(account) => agent.registration_not_sent(account),
            Owner::Call(call, id) => {
                if let Some(session) = agent.session(call) {
                    session.handle_transport_failed(now, id);
                }
            }
            Owner::Options(id) => agent.options_answered(id, None),
        }
    }
}

/// Our address in Via (RFC 3261 §18.1.1); over WebSocket a name that cannot be dialled (RFC 7118 §5.1).
fn sent_by(flow: &FlowInfo) -> SentBy {
    match flow.transport {
        Transport::Ws | Transport::Wss => SentBy::name(format!("ws-{:x}.invalid", flow.id.0)),
        Transport::Udp | Transport::Tcp | Transport::Tls => SentBy::address(flow.local),
    }
}
