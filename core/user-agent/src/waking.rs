//! Sleeping and waking (RFC 8599 §4.1): pushes, what the gateway says of them, suspension, and changes of network.

use std::time::Duration;

use wakeline_call::{Announcement, Call, EndReason};
use wakeline_flow::{FlowId, FlowInfo, Transport};
use wakeline_push::{Payload, PayloadKind, PushParameters, WakeId, WakeState};

use crate::agent::{Life, UserAgent};
use crate::calling::MOST_CALLS;
use crate::event::Event;
use crate::phone_call::PhoneCall;
use crate::registering::WokenBy;
use crate::snapshot::{AccountId, CallId, CallPhase, Direction, WakeLeg};
use crate::wakes::Met;

/// How long an announced call waits for its INVITE when the push does not say: as long as a gateway holds it.
const WAIT: Duration = Duration::from_secs(20);
/// What a push may ask for at the most.
const LONGEST_WAIT: Duration = Duration::from_secs(55);

impl UserAgent {
    /// A push came in: the call is announced, and every binding refreshed on a fresh flow.
    pub(crate) fn push_received(&mut self, text: &str) {
        let payload = match Payload::from_json(text) {
            Ok(payload) => payload,
            Err(error) => {
                // Whatever it was meant to say: somebody wants us to be there.
                self.complain(
                    None,
                    None,
                    format!("a push could not be read: {error}"),
                    "it was taken as a wish to register",
                );
                return self.wake(None, None);
            }
        };
        let named = payload.account.map(AccountId);
        match payload.kind {
            PayloadKind::Call(wake) => {
                let wait =
                    payload.ttl.map_or(WAIT, |seconds| Duration::from_secs(seconds.into())).min(LONGEST_WAIT);
                // Whose call it is the INVITE tells, where the push does not.
                self.announced(wake, named.unwrap_or_default(), wait);
                self.wake(Some(wake), named);
            }
            // A foreign server's push: the INVITE will tell which call it is.
            // What a relay passed on sealed, the shell opens with its subscription's keys before it hands it down.
            PayloadKind::ForeignCall { .. }
            | PayloadKind::Refresh
            | PayloadKind::Sealed { .. }
            | PayloadKind::Proof { .. }
            | PayloadKind::Unknown => {
                self.wake(None, None);
            }
        }
    }

    fn announced(&mut self, wake: WakeId, account: AccountId, wait: Duration) {
        match self.wakes.meet(wake) {
            Met::Alive(id) => {
                // The second push of one call, or one that the INVITE overtook: the shell hears of the same call again.
                self.wake_step(id, WakeLeg::Push);
                return self.changed(id);
            }
            // A push for a call that has ended here: its end was told. A shell that had to report it all the same learns
            // that there is nothing to wait for (row 19).
            Met::Over(_) => return self.tell(Event::Woken { wake_id: wake, leg: WakeLeg::Over }),
            Met::New => {}
        }
        if self.calls.len() >= MOST_CALLS {
            return self.complain(Some(account), None, "there are too many calls", "");
        }
        // An account that this phone does not have (any more): registered all the same, nothing is shown (row 26).
        let Some(line) = self.line(account) else { return self.no_such_account(account) };
        let config = line.identity().call_config(true);
        let nowhere = FlowInfo {
            id: FlowId(u64::MAX),
            transport: Transport::Tls,
            local: ([0, 0, 0, 0], 0).into(),
            remote: ([0, 0, 0, 0], 0).into(),
        };
        // The dialog's real Contact is set when the flow is known; until then nothing is sent that carries one.
        let Some(contact) = self.contact_for(account, &nowhere) else { return };
        let id = CallId(self.next_call);
        self.next_call += 1;
        let entropy = self.entropy.fork();
        let deadline = self.now + wait;
        let session = Call::announced(self.now, config, contact, deadline, Announcement::default(), entropy);
        self.wakes.begin(wake, id, self.now);
        self.admit(id, account, wake, session, CallPhase::Announced);
        self.wake_step(id, WakeLeg::Push);
        self.changed(id);
    }

    /// Registers every account on a fresh flow, once (RFC 8599 §4.1.3): one token serves all of them (row 25). Only the
    /// account that the push names tells its registrar of the wake; without a name every account does.
    fn wake(&mut self, wake: Option<WakeId>, named: Option<AccountId>) {
        if self.life == Life::Stopping {
            return;
        }
        self.life = Life::Awake;
        for place in 0..self.lines.len() {
            let account = self.lines[place].identity().id;
            let told = wake.filter(|_| named.is_none_or(|named| named == account));
            self.wake_line(place, WokenBy::Push(told));
        }
    }

    /// What an account's gateway says of our wakes.
    pub(crate) fn wake_states(&mut self, account: AccountId, states: &[(WakeId, WakeState)]) {
        let now = self.now;
        let reached = self.lines.iter().filter(|line| line.reaches_its_registrar());
        let reached: Vec<AccountId> = reached.map(|line| line.identity().id).collect();
        let can_answer = |account: AccountId| reached.contains(&account);
        for (wake, state) in states {
            let reason = match state {
                WakeState::Pending => continue,
                WakeState::Cancelled => EndReason::Cancelled,
                WakeState::Elsewhere => EndReason::AnsweredElsewhere,
                WakeState::Declined => EndReason::DeclinedElsewhere,
                WakeState::Failed => {
                    EndReason::Failed { code: None, why: "the gateway could not deliver the call".into() }
                }
                // A gateway that has just started knows nothing yet: asked once more (row 15).
                WakeState::Unknown if !self.wakes.unknown_to(*wake, account, can_answer) => continue,
                WakeState::Unknown => EndReason::NeverArrived,
            };
            let Met::Alive(id) = self.wakes.meet(*wake) else { continue };
            if let Some(session) = self.session(id) {
                match state {
                    WakeState::Unknown => session.announced_over(now, reason),
                    // Even when it rings already: its CANCEL may have gone to a flow that is dead.
                    WakeState::Pending
                    | WakeState::Cancelled
                    | WakeState::Elsewhere
                    | WakeState::Declined
                    | WakeState::Failed => session.told_over(now, reason),
                }
            }
        }
    }

    /// A wake made a step; the first time is told.
    pub(crate) fn wake_step(&mut self, id: CallId, leg: WakeLeg) {
        let Some(wake_id) = self.calls.get(&id).and_then(|call| call.wake_id) else { return };
        if self.wakes.step(wake_id, leg) {
            self.tell(Event::Woken { wake_id, leg });
        }
    }

    /// A step of every wake whose INVITE is still awaited.
    pub(crate) fn pushed_wakes_step(&mut self, leg: WakeLeg) {
        for wake_id in self.wakes.pushed() {
            if self.wakes.step(wake_id, leg) {
                self.tell(Event::Woken { wake_id, leg });
            }
        }
    }

    /// To the background: every flow is closed, every binding stays, nothing ticks. A live call keeps the phone awake.
    pub(crate) fn suspend(&mut self) {
        if self.has_live_call() {
            return self.complain(
                None,
                None,
                "there is a call: the phone stays awake",
                "suspend when it has ended",
            );
        }
        self.life = Life::Suspended;
        self.rest();
    }

    /// Every binding rests, what has not left is given up, and every flow is closed that no REGISTER waits on. What a
    /// binding cannot leave out (the answer to a push) still leaves, unless there is no network.
    fn rest(&mut self) {
        let now = self.now;
        for line in &mut self.lines {
            line.registration.suspend(now);
        }
        let online = self.life != Life::Offline;
        let last: Vec<AccountId> = self
            .lines
            .iter()
            .filter(|line| online && line.awaits_flow())
            .map(|line| line.identity().id)
            .collect();
        for job in self.delivery.take_unsent(&last) {
            self.undeliverable(job);
        }
        for place in 0..self.lines.len() {
            // The machine closes its flow by itself, and says so.
            self.pump_line(place);
            self.registration_changed(self.lines[place].identity().id);
        }
        for flow in self.flows.ids() {
            if !self.lines.iter().any(|line| line.awaits_answer_on(flow)) && !self.delivery.waits_for(flow) {
                self.close_flow(flow);
            }
        }
    }

    /// In front again: old flows are taken for dead.
    pub(crate) fn resume(&mut self) {
        if matches!(self.life, Life::Suspended | Life::Off) {
            self.life = Life::Awake;
            for place in 0..self.lines.len() {
                self.wake_line(place, WokenBy::Return);
            }
        }
    }

    /// Another network: every flow is made anew, and live calls are moved (fault F1).
    pub(crate) fn network_changed(&mut self) {
        if matches!(self.life, Life::Suspended | Life::Stopping) {
            return;
        }
        self.drop_flows();
        for job in self.delivery.take_unsent(&[]) {
            self.undeliverable(job);
        }
        self.life = Life::Awake;
        for place in 0..self.lines.len() {
            self.wake_line(place, WokenBy::Network);
        }
        self.withdraw_unbound();
    }

    /// No network: nothing is tried.
    pub(crate) fn network_lost(&mut self) {
        self.drop_flows();
        self.life = Life::Offline;
        self.rest();
    }

    fn drop_flows(&mut self) {
        for flow in self.flows.ids() {
            self.note_withdrawals(flow);
            self.close_flow(flow);
            self.transactions.handle_flow_failed(self.now, flow);
            self.calls_lost_flow(flow);
        }
    }

    /// A binding has done with a flow. Calls go along to its new one: an INVITE that is repeated there is the one that
    /// rings (row 13). A call that is being dialled stays, because its answer comes where it was asked; and what is under
    /// way on the flow may still end there: its responses, with their repetitions, go where their requests came
    /// (RFC 3261 §18.2.2).
    pub(crate) fn leave_flow(&mut self, account: AccountId, flow: FlowId) {
        let owes = !self.calls.is_empty() || self.transactions.owes_answers_on(flow);
        let Some(old) = self.flows.info(flow).filter(|_| owes) else {
            return self.close_flow(flow);
        };
        let new = self.line(account).and_then(|line| line.registration.flow()).filter(|new| new.id != flow);
        // Where nothing changes for the far end, it need not be told.
        let next = new.filter(|new| {
            new.local.ip() == old.local.ip()
                && self.contact_for(account, new) == self.contact_for(account, &old)
        });
        for call in self.calls.values_mut().filter(|call| call.account == account) {
            if let Some(session) = call.session() {
                session.handle_flow_lost(flow);
            }
            let is_dialled = call.direction == Direction::Outgoing && call.answered.is_none();
            if call.flow == Some(flow) && !is_dialled {
                call.flow = next.map(|next| next.id);
            }
        }
        let set_up = |call: &&PhoneCall| call.account == account && call.answered.is_none();
        let waiting = self.calls.values().filter(set_up).map(|call| call.id).collect();
        self.transactions.leave_flow(flow);
        self.left_flows.insert(flow, waiting);
    }

    /// Closes flows that nobody uses any more; true when there was one.
    pub(crate) fn close_left_flows(&mut self) -> bool {
        // An incoming call that is answered has moved: only the repetitions of its 2xx stay, and they are transactions.
        let needs = |flow: FlowId, id: &CallId| {
            self.calls.get(id).is_some_and(|call| call.answered.is_none() || call.flow == Some(flow))
        };
        let used = |(flow, waiting): &(&FlowId, &Vec<CallId>)| {
            self.transactions.is_flow_used(**flow) || waiting.iter().any(|id| needs(**flow, id))
        };
        let unused: Vec<FlowId> =
            self.left_flows.iter().filter(|left| !used(left)).map(|(flow, _)| *flow).collect();
        for flow in &unused {
            self.left_flows.remove(flow);
            self.close_flow(*flow);
        }
        !unused.is_empty()
    }

    /// A binding has a new flow: the calls of its account move there.
    pub(crate) fn move_calls(&mut self, account: AccountId, flow: &FlowInfo) {
        let now = self.now;
        let Some(contact) = self.contact_for(account, flow) else { return };
        for call in self.calls.values_mut().filter(|call| call.account == account && call.flow.is_none()) {
            call.flow = Some(flow.id);
            if let Some(session) = call.session() {
                session.moved(now, contact.clone());
            }
        }
    }

    /// A call that was dialled on a flow which we have left since is answered: it moves to the one that is bound (RFC 3261
    /// §14.1).
    pub(crate) fn follow_binding(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let account = call.account;
        if !call.flow.is_some_and(|flow| self.left_flows.contains_key(&flow)) {
            return;
        }
        let Some(bound) = self.line(account).and_then(|line| line.registration.flow()) else { return };
        if let Some(call) = self.calls.get_mut(&id) {
            call.flow = None;
        }
        self.move_calls(account, &bound);
    }

    /// The last call ended: a phone that was woken for it may sleep again when its shell says so.
    pub(crate) fn after_call(&mut self) {
        if self.calls.is_empty() {
            self.flows_after_calls();
        }
    }

    /// Flows that no account needs and no transaction uses are closed: strangers' and those of direct calls.
    fn flows_after_calls(&mut self) {
        for flow in self.flows.ids() {
            let needed = self.lines.iter().any(|line| line.registration.holds(flow))
                || self.delivery.waits_for(flow)
                || self.transactions.is_flow_used(flow);
            if !needed && self.farewells.is_empty() {
                self.close_flow(flow);
            }
        }
    }

    /// The platform's token, or none.
    pub(crate) fn set_push(&mut self, push: Option<PushParameters>) {
        self.push = push;
        for place in 0..self.lines.len() {
            self.token_changed(place);
        }
    }
}
