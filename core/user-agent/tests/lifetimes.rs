//! Random orders of everything that can happen to a phone: each call ends once, and nothing is left (class S27).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod scripted;

use std::collections::BTreeMap;
use std::time::Duration;

use scripted::{Phone, account, in_dialog, invite, invite_by};
use wakeline_entropy::Entropy;
use wakeline_push::WakeId;
use wakeline_sip_message::{Builder, Message, Method, Name};
use wakeline_user_agent::*;

const STEPS: u32 = 60;

struct World {
    phone: Phone,
    dice: Entropy,
    /// INVITEs of the far end, by Call-ID.
    theirs: Vec<Message>,
    /// How many of the messages that we sent the far end has looked at.
    heard: usize,
    branches: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let transport = if seed.is_multiple_of(2) { "0" } else { "1" };
        let accounts = ["mia", "mia-at-work"]
            .map(|user| account(user, &[("transport", transport), ("ringtimeout", "60")]));
        let mut phone = Phone::new(accounts.into());
        let token = "token-1".into();
        phone.command(Command::SetPushToken { provider: "fcm".into(), param: "acme".into(), prid: token });
        phone.command(Command::Start);
        phone.accept_registers();
        phone.events.clear();
        World { phone, dice: Entropy::from_number(seed), theirs: Vec::new(), heard: 0, branches: 0 }
    }

    fn any_call(&mut self) -> Option<CallId> {
        let calls = self.phone.calls();
        let place = self.dice.below(u32::try_from(calls.len()).unwrap().max(1));
        calls.get(place as usize).map(|call| call.call)
    }

    fn branch(&mut self) -> String {
        self.branches += 1;
        format!("z9hG4bK-far-{}", self.branches)
    }

    /// A message of the far end, on a flow that is open.
    fn say(&mut self, message: &Message) {
        if let Some(flow) = self.phone.flows.last().copied() {
            self.phone.receive(flow, message);
        }
    }

    fn their_invite(&mut self, number: usize) -> Message {
        let user = if number.is_multiple_of(2) { "mia" } else { "mia-at-work" };
        invite(user, &format!("c{number}"))
    }

    /// The far end answers the next of our requests that it has not looked at, somehow.
    fn answer_next(&mut self) {
        while let Some((_, sent)) = self.phone.sent.get(self.heard).cloned() {
            self.heard += 1;
            if self.phone.flows.is_empty() {
                return;
            }
            let method = sent.method();
            if !sent.is_request() {
                if let (Method::Invite, Some(200)) = (method, sent.status()) {
                    return self.take_up(&sent);
                }
                continue;
            }
            match method {
                Method::Ack => continue,
                Method::Register => {
                    return match self.dice.below(8) {
                        0 => self.phone.answer(&sent, 503, &[]),
                        1 => {
                            let challenge = "Digest realm=\"example.org\", nonce=\"n9\", stale=true";
                            self.phone.answer(&sent, 401, &[(Name::WwwAuthenticate, challenge)]);
                        }
                        _ => self.accept(&sent),
                    };
                }
                Method::Invite => {
                    return match self.dice.below(6) {
                        0 => self.phone.answer(&sent, 486, &[]),
                        1 | 2 => {
                            self.phone.answer(&sent, 180, &[]);
                            // And the answer after it.
                            self.heard -= usize::from(self.dice.below(2) == 0);
                        }
                        3 => self.phone.answer(&sent, 491, &[]),
                        _ => self.phone.answer_with_sdp(&sent, 200),
                    };
                }
                Method::Bye
                | Method::Cancel
                | Method::Options
                | Method::Info
                | Method::Prack
                | Method::Update
                | Method::Subscribe
                | Method::Notify
                | Method::Refer
                | Method::Message
                | Method::Publish
                | Method::Other(_) => {
                    let code = if self.dice.below(5) == 0 { 481 } else { 200 };
                    return self.phone.answer(&sent, code, &[]);
                }
            }
        }
    }

    fn accept(&mut self, register: &Message) {
        let contact = register.header(Name::Contact).unwrap().split(", ").next().unwrap().to_owned();
        let contact = if contact == "*" { contact } else { format!("{contact};expires=3600") };
        self.phone.answer(register, 200, &[(Name::Contact, &contact)]);
    }

    /// Our 200 is acknowledged, and perhaps the far end hangs up or changes something.
    fn take_up(&mut self, ok: &Message) {
        if ok.header(Name::Contact).is_none() || ok.cseq().is_err() || ok.header(Name::To).is_none() {
            return;
        }
        let branch = self.branch();
        let cseq = ok.cseq().unwrap().number;
        self.say(&in_dialog(Method::Ack, ok, cseq, &format!("ack{branch}")));
        match self.dice.below(4) {
            0 => self.say(&in_dialog(Method::Bye, ok, cseq + 5, &branch)),
            1 => self.say(&in_dialog(Method::Options, ok, cseq + 1, &branch)),
            _ => {}
        }
    }

    fn step(&mut self) {
        let account = AccountId(self.dice.below(2));
        match self.dice.below(24) {
            0 | 1 => self.phone.command(Command::Dial { account, to: format!("bob{}", self.dice.below(9)) }),
            2..=4 => {
                let fresh = self.their_invite(self.theirs.len());
                self.theirs.push(fresh.clone());
                self.say(&fresh);
            }
            5 => {
                // The push of a call that comes, came, or never will.
                let number = self.dice.below(u32::try_from(self.theirs.len()).unwrap() + 2);
                let wake = WakeId::of(&format!("c{number}"), "b");
                let payload = format!("{{\"v\":\"1\",\"t\":\"call\",\"wid\":\"{}\"}}", wake.as_str());
                self.phone.command(Command::PushReceived { payload });
            }
            6 => {
                // The same INVITE once more, on another branch.
                if let Some(number) = self.theirs.len().checked_sub(1) {
                    let user = if number.is_multiple_of(2) { "mia" } else { "mia-at-work" };
                    let branch = self.branch();
                    self.say(&invite_by(user, &format!("c{number}"), &branch));
                }
            }
            7 => {
                if let Some(theirs) = self.theirs.last().cloned() {
                    let cancel = Builder::request(Method::Cancel, theirs.request_uri_text())
                        .copy(&theirs, Name::Via)
                        .header(Name::MaxForwards, 70)
                        .copy(&theirs, Name::From)
                        .copy(&theirs, Name::To)
                        .copy(&theirs, Name::CallId)
                        .header(Name::CSeq, "1 CANCEL")
                        .build()
                        .unwrap();
                    self.say(&cancel);
                }
            }
            8..=16 => {
                let Some(call) = self.any_call() else { return self.answer_next() };
                self.phone.command(match self.dice.below(8) {
                    0..=2 => Command::Answer { call },
                    3 => Command::Decline { call },
                    4 => Command::Hold { call, on: self.dice.below(2) == 0 },
                    5 => Command::Reject { call, code: 486 },
                    6 => Command::Dtmf { call, digits: "1".into() },
                    _ => Command::Hangup { call },
                });
                self.answer_next();
            }
            17 => {
                self.phone.local[2] = self.phone.local[2].wrapping_add(1);
                self.phone.command(Command::NetworkChanged);
            }
            18 => {
                if let Some(flow) = self.phone.flows.first().copied() {
                    self.phone.lose(flow.id);
                }
            }
            19 => self.phone.command(Command::Suspend),
            20 => self.phone.command(Command::Resume),
            21 => self.phone.command(Command::NetworkLost),
            22 => self.phone.pass(Duration::from_millis(u64::from(self.dice.below(40_000)))),
            _ => self.phone.sleep(Duration::from_millis(u64::from(self.dice.below(100_000)))),
        }
        for _ in 0..self.dice.below(4) {
            self.answer_next();
        }
    }

    /// Everybody hangs up, everything is answered; what is left then is a leak.
    fn settle(mut self, seed: u64) {
        self.phone.command(Command::NetworkChanged);
        self.phone.command(Command::Stop);
        for _ in 0..40 {
            while self.heard < self.phone.sent.len() && !self.phone.flows.is_empty() {
                let (_, sent) = self.phone.sent[self.heard].clone();
                self.heard += 1;
                if sent.is_request() && sent.method() == Method::Invite {
                    self.phone.answer(&sent, 487, &[]);
                } else if sent.is_request() && sent.method() == Method::Register {
                    self.accept(&sent);
                } else if sent.is_request() && sent.method() != Method::Ack {
                    self.phone.answer(&sent, 200, &[]);
                }
            }
            self.phone.pass(Duration::from_secs(10));
        }
        let left = self.phone.agent.snapshot();
        let gauges = (left.calls.len(), left.dialogs, left.transactions, left.timers);
        assert_eq!(gauges, (0, 0, 0, 0), "seed {seed}: {left:?}");
        assert!(self.phone.agent.is_idle(), "seed {seed}");
        let mut told: BTreeMap<CallId, (u32, u32, u32)> = BTreeMap::new();
        for event in &self.phone.events {
            match event {
                Event::CallChanged(call) => told.entry(call.call).or_default().0 += 1,
                Event::Rings(call) => told.entry(call.call).or_default().1 += 1,
                Event::CallEnded(end) => {
                    assert!(!end.reason.is_empty(), "seed {seed}: {end:?}");
                    told.entry(end.last.call).or_default().2 += 1;
                }
                Event::RegistrationChanged(_)
                | Event::DtmfReceived { .. }
                | Event::Woken { .. }
                | Event::OptionsAnswered { .. }
                | Event::Provisioning { .. }
                | Event::Problem(_) => {}
            }
        }
        for (call, (_, rings, ends)) in told {
            assert!(rings <= 1, "seed {seed}: call {call:?} rang {rings} times");
            assert_eq!(ends, 1, "seed {seed}: call {call:?} ended {ends} times");
        }
    }
}

#[test]
fn s27_random_orders_of_everything_end_each_call_once_and_leave_nothing() {
    let mut calls = 0;
    for seed in 0..60 {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        calls += world.phone.events.iter().filter(|event| matches!(event, Event::CallEnded(_))).count();
        world.settle(seed);
    }
    assert!(calls > 300, "only {calls} calls");
}
