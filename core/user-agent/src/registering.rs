//! Bindings: what their machines want, and what they tell.

use std::collections::VecDeque;

use wakeline_flow::{FlowId, FlowInfo, Hop};
use wakeline_push::WakeId;
use wakeline_registration::{Event as Told, HopChoice, OtherHops, Output as Wish};
use wakeline_settings::PushChoice;
use wakeline_sip_message::Message;

use crate::agent::{Life, UserAgent};
use crate::delivery::{Errand, Job, Owner};
use crate::event::Event;
use crate::line::{Line, wall_at};
use crate::output::Output;
use crate::snapshot::{AccountId, WakeLeg};

/// Why bindings are refreshed now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WokenBy {
    /// A push, of a call or not: it is always answered by a REGISTER (RFC 8599 §4.1.3).
    Push(Option<WakeId>),
    /// The app is in front again.
    Return,
    /// The network is another one: even a flow that was proven a moment ago is dead.
    Network,
}

impl UserAgent {
    /// Carries out what one binding wants; true when it wanted anything.
    pub(crate) fn pump_line(&mut self, place: usize) -> bool {
        let mut moved = false;
        while let Some(line) = self.lines.get_mut(place) {
            let account = line.identity().id;
            if let Some(wish) = line.registration.poll_output() {
                self.grant_binding(account, wish);
            } else if let Some(event) = line.registration.poll_event() {
                self.binding_told(account, event);
            } else {
                break;
            }
            moved = true;
        }
        moved
    }

    fn grant_binding(&mut self, account: AccountId, wish: Wish) {
        match wish {
            Wish::OpenFlow { hop: HopChoice::Next } => {
                let mut job = Job::new(Errand::Edge(account), account);
                job.hops = self.line_mut(account).map(Line::take_other_hops).unwrap_or_default();
                self.try_next_hop(job);
            }
            Wish::OpenFlow { hop: HopChoice::Best } => {
                let job = Job::new(Errand::Edge(account), account);
                let Some((edge, transports)) = self
                    .line(account)
                    .and_then(|line| Some((line.identity().edge()?, line.identity().transports())))
                else {
                    return self.undeliverable(job);
                };
                let id = self.resolver.resolve(edge, &transports, self.now);
                self.delivery.resolve(id, job);
            }
            Wish::CloseFlow { flow } => self.leave_flow(account, flow),
            Wish::Send { request, flow } => {
                let errand = Errand::Request { owner: Owner::Registration(account), request };
                self.over_flow(flow.id, Job::new(errand, account));
            }
            Wish::Remember(remembered) => {
                self.put(Output::Remember {
                    key: Line::memory_key(account),
                    record: Line::record(&remembered),
                });
            }
        }
    }

    fn binding_told(&mut self, account: AccountId, event: Told) {
        match event {
            Told::Registered(registered) => {
                if let Some(line) = self.line_mut(account) {
                    line.note_failure(None);
                    line.set_edge_flow(None);
                }
                self.keep_edge_alive(account, &registered.flow);
                self.pushed_wakes_step(WakeLeg::Registered);
                self.move_calls(account, &registered.flow);
                self.withdraw(account);
            }
            Told::Failed { cause, retry_at } => {
                if matches!(cause.code(), Some(401 | 403 | 407)) {
                    self.credentials_refused(account);
                }
                if let Some(line) = self.line_mut(account) {
                    line.note_failure(Some((cause, retry_at)));
                }
            }
            Told::Unregistered => {
                if let Some(line) = self.line_mut(account) {
                    line.note_failure(None);
                }
            }
            // Not a change of the binding.
            Told::WakeStates(states) => return self.wake_states(account, &states),
        }
        self.registration_changed(account);
    }

    /// Pings on the edge's flow, unless the phone only works on a wake: then the shell soon suspends it.
    pub(crate) fn keep_edge_alive(&mut self, account: AccountId, flow: &FlowInfo) {
        let Some(interval) = self.line(account).map(|line| line.keep_alive(flow.transport)) else { return };
        self.flows.keep_alive(flow.id, interval, self.now, &mut self.entropy);
    }

    /// Tells how a binding stands.
    pub(crate) fn registration_changed(&mut self, account: AccountId) {
        let now = self.now;
        if let Some(snapshot) = self.line(account).map(|line| line.snapshot(now)) {
            self.tell(Event::RegistrationChanged(snapshot));
        }
    }

    /// Registers, by a person's wish or at the start.
    pub(crate) fn register(&mut self, account: AccountId) {
        match self.life {
            Life::Off | Life::Awake => self.life = Life::Awake,
            Life::Suspended => return self.resume(),
            Life::Offline | Life::Stopping => return,
        }
        let now = self.now;
        let push = self.push.clone();
        let Some(line) = self.line_mut(account) else { return self.no_such_account(account) };
        let identity = line.identity();
        if identity.edge().is_none() {
            let cure = "set serveraddress";
            return self.complain(Some(account), None, "there is no server to register with", cure);
        }
        let wants_push = identity.settings.push().choice;
        line.registration.set_push(now, push.clone().filter(|_| wants_push != PushChoice::Off));
        line.registration.start(now);
        if wants_push == PushChoice::On && push.is_none() {
            let cure = "the app must hand over its push token, or enablepush be set to 0";
            self.complain(Some(account), None, "push is wanted, and there is no token", cure);
        }
        self.registration_changed(account);
    }

    /// Removes the binding.
    pub(crate) fn unregister(&mut self, account: AccountId) {
        let now = self.now;
        let Some(line) = self.line_mut(account) else { return self.no_such_account(account) };
        if line.identity().settings.account().unregister_all {
            line.registration.unregister_all(now);
        } else {
            line.registration.unregister(now);
        }
        self.registration_changed(account);
    }

    /// The flow that a binding asked for is open.
    pub(crate) fn edge_open(&mut self, account: AccountId, flow: FlowInfo, left: VecDeque<Hop>) {
        let now = self.now;
        self.pushed_wakes_step(WakeLeg::FlowOpen);
        if let Some(line) = self.line_mut(account) {
            let others = if left.is_empty() { OtherHops::None } else { OtherHops::Left };
            if line.registration.awaits_flow() {
                line.keep_other_hops(left);
            }
            line.registration.flow_opened(now, flow, others);
        }
    }

    /// No flow to the edge could be opened.
    pub(crate) fn edge_unreachable(&mut self, account: AccountId) {
        let now = self.now;
        if let Some(line) = self.line_mut(account) {
            line.registration.flow_not_opened(now);
        }
    }

    pub(crate) fn registration_answered(&mut self, account: AccountId, response: &Message) {
        let (now, wall) = (self.now, wall_at(self.wall_origin, self.now));
        if let Some(line) = self.line_mut(account) {
            line.registration.responded(now, wall, response);
        }
        if response.status().is_some_and(|code| (200..300).contains(&code)) {
            self.settings_news(account, response);
        }
    }

    pub(crate) fn registration_silent(&mut self, account: AccountId) {
        let now = self.now;
        if let Some(line) = self.line_mut(account) {
            line.registration.timed_out(now);
        }
    }

    pub(crate) fn registration_not_sent(&mut self, account: AccountId) {
        let now = self.now;
        if let Some(line) = self.line_mut(account) {
            line.registration.transport_failed(now);
        }
    }

    pub(crate) fn line_lost_flow(&mut self, flow: FlowId) {
        let now = self.now;
        for line in &mut self.lines {
            if line.current_flow() == Some(flow) {
                line.set_edge_flow(None);
            }
            line.registration.flow_lost(now, flow);
        }
    }

    /// A REGISTER left.
    pub(crate) fn register_left(&mut self, account: AccountId) {
        self.pushed_wakes_step(WakeLeg::Register);
        self.registration_changed(account);
    }

    /// Registers an account on a fresh flow, for a push or because the phone is back.
    pub(crate) fn wake_line(&mut self, place: usize, by: WokenBy) {
        let (now, push) = (self.now, self.push.clone());
        let Some(line) = self.lines.get_mut(place) else { return };
        let settings = &line.identity().settings;
        if !settings.account().is_to_register() {
            return;
        }
        if settings.push().choice != PushChoice::Off && push.is_some() {
            line.registration.set_push(now, push);
        }
        match by {
            WokenBy::Push(wake) => {
                line.registration.wake(now, wake);
                let account = line.identity().id;
                if let Some(wake) = wake {
                    self.wakes.asked(wake, account);
                }
            }
            WokenBy::Return => line.registration.resume(now),
            WokenBy::Network => {
                line.registration.network_changed(now);
                // A binding that rested while there was no network rests no longer.
                line.registration.resume(now);
            }
        }
    }

    /// The platform's token is there, is another one, or is gone.
    pub(crate) fn token_changed(&mut self, place: usize) {
        let (now, push) = (self.now, self.push.clone());
        if self.life == Life::Off {
            return;
        }
        if let Some(line) = self.lines.get_mut(place) {
            let off = line.identity().settings.push().choice == PushChoice::Off;
            line.registration.set_push(now, push.filter(|_| !off));
        }
    }
}
