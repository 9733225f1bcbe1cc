//! What a person asks for.

use wakeline_call::Refusal;
use wakeline_push::{Provider, PushParameters};
use wakeline_settings::{PushChoice, Settings, Source};
use wakeline_sip_message::{Builder, Method, Name};

use crate::account::{AccountError, Identity};
use crate::agent::{Life, UserAgent};
use crate::command::Command;
use crate::delivery::{Errand, Job, Owner};
use crate::line::Line;
use crate::output::MediaRequest;
use crate::phone_call::{Machine, PhoneCall};
use crate::snapshot::{AccountId, CallId, CallPhase};
use wakeline_clock::Time;

/// OPTIONS that may be waited for at once.
const MOST_OPTIONS: usize = 16;

impl UserAgent {
    /// Grants a wish, or says why not.
    pub fn handle_command(&mut self, now: Time, command: Command) {
        self.now = now;
        match command {
            Command::Start => self.start(),
            Command::Stop => self.stop(),
            Command::SetParameter { account, name, value } => {
                self.set_parameter(account, &name, value.expose())
            }
            Command::Provision { account, link } => self.provision(account, link.expose()),
            Command::Consent { account, agreed } => self.consent(account, agreed),
            Command::Register { account } => self.register(account),
            Command::Unregister { account } => self.unregister(account),
            Command::SetPushToken { provider, param, prid } => {
                match PushParameters::new(Provider::parse(&provider), &param, prid) {
                    Ok(push) => self.set_push(Some(push)),
                    Err(error) => self.complain(
                        None,
                        None,
                        error.to_string(),
                        "hand the platform's token through as it is",
                    ),
                }
            }
            Command::ClearPushToken => self.set_push(None),
            Command::PushReceived { payload } => self.push_received(&payload),
            Command::Suspend => self.suspend(),
            Command::Resume => self.resume(),
            Command::NetworkChanged => self.network_changed(),
            Command::NetworkLost => self.network_lost(),
            Command::Dial { account, to } => self.dial(account, &to),
            Command::Answer { call } => self.with_session(call, |session, now| session.answer(now)),
            Command::Decline { call } => {
                self.with_session(call, |session, now| session.decline(now, Refusal::Everywhere))
            }
            Command::Reject { call, code } => self.reject(call, code),
            Command::Ignore { call } => self.ignore(call),
            Command::Forward { call, to } => self.forward(call, &to),
            Command::Hangup { call } => self.hang_up(call),
            Command::Hold { call, on } => self.hold(call, on),
            Command::Mute { call, direction, on } => {
                if let Some(phone_call) = self.calls.get_mut(&call) {
                    phone_call.media.mute(direction, on);
                    self.ask_media(call, MediaRequest::Mute { direction, on });
                    self.changed(call);
                } else {
                    self.no_such_call(call);
                }
            }
            Command::Conference { call, on } => self.conference(call, on),
            Command::Dtmf { call, digits } => self.send_digits(call, &digits),
            Command::SetAudioGranted { granted } => self.set_audio_granted(granted),
            Command::Options { account, to } => self.ask_options(account, &to),
        }
        self.pump();
    }

    fn start(&mut self) {
        self.life = Life::Awake;
        for place in 0..self.lines.len() {
            let id = AccountId(u32::try_from(place).unwrap_or(u32::MAX));
            if self.lines[place].identity().settings.account().is_to_register() {
                self.register(id);
            }
        }
    }

    fn stop(&mut self) {
        self.life = Life::Stopping;
        let ids: Vec<CallId> = self.calls.keys().copied().collect();
        for id in ids {
            self.hang_up(id);
        }
        for place in 0..self.lines.len() {
            let id = AccountId(u32::try_from(place).unwrap_or(u32::MAX));
            if self.lines[place].identity().settings.account().unregister_on_stop {
                self.unregister(id);
            }
        }
    }

    fn set_parameter(&mut self, account: AccountId, name: &str, value: &str) {
        let Some(line) = self.line(account) else { return self.no_such_account(account) };
        let mut settings = line.identity().settings.clone();
        settings.set(name, value, Source::Assigned);
        for diagnosis in settings.take_diagnoses() {
            self.complain(Some(account), None, diagnosis.to_string(), "");
        }
        if let Err(error) = self.configure(account, settings) {
            self.complain(Some(account), None, error.to_string(), "the former value is kept");
        }
    }

    /// Puts other settings of an account in force; an error leaves it as it was.
    pub(crate) fn configure(&mut self, account: AccountId, settings: Settings) -> Result<(), AccountError> {
        let wanted = |line: &Line| line.identity().settings.account().is_to_register();
        let Some(line) = self.line(account) else { return Ok(()) };
        let (before, shown) = (wanted(line), line.snapshot(self.now));
        let (now, push) = (self.now, self.push.clone());
        let off = settings.push().choice == PushChoice::Off;
        let Some(line) = self.lines.get_mut(account.0 as usize) else { return Ok(()) };
        let (delivery, mut idle) = (&mut self.delivery, Vec::new());
        let changed = Identity::new(account, settings).and_then(|identity| {
            line.set_identity(identity, push.filter(|_| !off), now, |account| {
                idle = delivery.give_up_edge(account)
            })
        });
        let after = wanted(line);
        for flow in idle {
            self.close_flow(flow);
        }
        changed?;
        if self.life == Life::Awake {
            match (before, after) {
                (false, true) => self.register(account),
                (true, false) => self.unregister(account),
                (true, true) | (false, false) => {}
            }
        }
        let flow = self.line(account).and_then(|line| line.registration.flow());
        if let Some(flow) = flow {
            self.keep_edge_alive(account, &flow);
        }
        if self.line(account).is_some_and(|line| line.snapshot(now) != shown) {
            self.registration_changed(account);
        }
        Ok(())
    }

    // ---- calls -----------------------------------------------------------------------------------------------

    /// Does something with a call that has an INVITE session, or says that there is none.
    fn with_session(&mut self, call: CallId, act: impl FnOnce(&mut wakeline_call::Call, Time)) {
        let now = self.now;
        match self.calls.get_mut(&call).and_then(PhoneCall::session) {
            Some(session) => act(session, now),
            None => self.no_such_call(call),
        }
    }

    fn reject(&mut self, call: CallId, code: u16) {
        let refusal = match code {
            486 => Refusal::Busy,
            603 => Refusal::Everywhere,
            400..=699 => Refusal::Code(code),
            _ => {
                let cause = format!("{code} is no code to reject a call with");
                return self.complain(None, Some(call), cause, "use 400 to 699, e.g. 486 for busy");
            }
        };
        self.with_session(call, |session, now| session.decline(now, refusal));
    }

    fn ignore(&mut self, call: CallId) {
        match self.calls.get_mut(&call) {
            Some(phone_call) => phone_call.ignored = true,
            None => self.no_such_call(call),
        }
    }

    fn forward(&mut self, call: CallId, to: &str) {
        let Some(account) = self.calls.get(&call).map(|call| call.account) else {
            return self.no_such_call(call);
        };
        match self.address_of(account, to) {
            Ok((target, _)) => {
                self.with_session(call, |session, now| session.decline(now, Refusal::Forward { to: target }))
            }
            Err(why) => self.complain(Some(account), Some(call), why, "give a number or a SIP address"),
        }
    }

    fn hang_up(&mut self, call: CallId) {
        match self.calls.get_mut(&call) {
            Some(PhoneCall { machine: Machine::Session(session), .. }) => session.hang_up(self.now),
            Some(PhoneCall { machine: Machine::Preparing { .. }, .. }) => {
                self.delivery
                    .drop_unsent(|errand| matches!(errand, Errand::Dial(dialled) if *dialled == call));
                self.dial_failed(call, "cancelled");
            }
            None => self.no_such_call(call),
        }
    }

    fn hold(&mut self, call: CallId, on: bool) {
        let account = self.calls.get(&call).map(|call| call.account);
        let direction = account
            .and_then(|id| self.line(id))
            .and_then(|line| line.identity().settings.call().hold.direction());
        if on && direction.is_none() {
            return self.complain(
                account,
                Some(call),
                "this account does not hold calls",
                "set holdtype to 2, 3 or 4",
            );
        }
        self.with_session(call, |session, now| session.hold(now, on));
    }

    pub(crate) fn send_digits(&mut self, call: CallId, digits: &str) {
        let allowed =
            |digit: char| matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D' | 'a'..='d' | ' ' | ',');
        if let Some(wrong) = digits.chars().find(|&digit| !allowed(digit)) {
            let cure = "use 0-9, *, #, A-D, and space or comma for a pause";
            return self.complain(None, Some(call), format!("'{wrong}' is no key of a telephone"), cure);
        }
        let Some(phone_call) = self.calls.get(&call) else { return self.no_such_call(call) };
        let known = phone_call.media.telephone_events;
        let Some((events, info)) =
            self.line(phone_call.account).map(|line| line.identity().digit_ways(known))
        else {
            return;
        };
        if events {
            self.ask_media(call, MediaRequest::Dtmf { digits: digits.to_owned() });
        }
        if info {
            self.with_session(call, |session, _| session.send_digits(digits));
        }
    }

    fn set_audio_granted(&mut self, granted: bool) {
        self.audio_granted = granted;
        let ids: Vec<CallId> = self.calls.keys().copied().collect();
        for id in ids {
            self.run_media(id);
        }
    }

    fn ask_options(&mut self, account: AccountId, to: &str) {
        if self.options.len() >= MOST_OPTIONS {
            return self.complain(
                Some(account),
                None,
                "too many OPTIONS are waited for",
                "wait for an answer first",
            );
        }
        let (target, next_hop) = match self.address_of(account, to) {
            Ok(address) => address,
            Err(why) => return self.complain(Some(account), None, why, "give a number or a SIP address"),
        };
        let Some(line) = self.line(account) else { return self.no_such_account(account) };
        let from = format!("{};tag=", line.identity().from);
        let from = from + &self.entropy.token(12);
        let request = Builder::request(Method::Options, &target)
            .header(Name::MaxForwards, 70)
            .header(Name::From, from)
            .header(Name::To, format!("<{target}>"))
            .header(Name::CallId, self.entropy.token(24))
            .header(Name::CSeq, "1 OPTIONS")
            .header(Name::Accept, "application/sdp")
            .build();
        match request {
            Ok(request) => {
                let id = self.next_options;
                self.next_options += 1;
                self.options.insert(id, (account, to.to_owned()));
                let errand = Errand::Request { owner: Owner::Options(id), request };
                self.dispatch(Job::new(errand, account), &next_hop);
            }
            Err(error) => {
                self.complain(Some(account), None, error.to_string(), "give a number or a SIP address")
            }
        }
    }

    pub(crate) fn no_such_call(&mut self, call: CallId) {
        self.complain(None, Some(call), format!("there is no call {}", call.0), "it has ended, or never was");
    }

    pub(crate) fn no_such_account(&mut self, account: AccountId) {
        self.complain(
            Some(account),
            None,
            format!("there is no account {}", account.0),
            "accounts are numbered from 0",
        );
    }

    /// Calls that take a line.
    pub(crate) fn lines_taken(&self) -> usize {
        self.calls.values().filter(|call| call.takes_a_line()).count()
    }

    /// Whether any call keeps the phone from being suspended.
    pub(crate) fn has_live_call(&self) -> bool {
        self.calls.values().any(|call| call.phase != CallPhase::Announced)
    }
}
