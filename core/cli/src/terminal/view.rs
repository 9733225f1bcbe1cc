//! What the screen shows: the phone's state as its events tell it, and what the person is typing.

use std::collections::VecDeque;

use wakeline_engine::Quality;
use wakeline_user_agent::{
    CallId, CallPhase, CallSnapshot, EndedCall, Event, ProvisioningStep, RegistrationSnapshot, WakeLeg,
};

use crate::call::{one_line, problem_line};
use crate::provision;

/// Lines of log that are kept.
const LOG: usize = 500;
/// Ended calls that are kept.
const ENDED: usize = 50;

/// What the keys mean at this moment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Mode {
    /// Keys are commands.
    #[default]
    Keys,
    /// Keys are the text of an address to dial.
    Dial(String),
    /// The log fills the screen; so many lines up from its end.
    Log(usize),
}

/// Everything on the screen.
#[derive(Default, Debug)]
pub(crate) struct View {
    /// Every account's registration.
    pub(crate) registrations: Vec<RegistrationSnapshot>,
    /// Every call that has not ended, oldest first.
    pub(crate) calls: Vec<CallSnapshot>,
    /// Ended calls, newest first.
    pub(crate) ended: VecDeque<EndedCall>,
    /// How calls sound.
    pub(crate) quality: Vec<Quality>,
    /// What happened, newest last.
    pub(crate) log: VecDeque<String>,
    /// What the keys mean.
    pub(crate) mode: Mode,
    /// Whether a provider's settings wait for the person's yes or no.
    pub(crate) asks_consent: bool,
    /// Which call the keys are for; none: the one that needs an answer, or the newest.
    chosen: Option<CallId>,
}

impl View {
    /// Takes an event in.
    pub(crate) fn take(&mut self, event: &Event) {
        match event {
            Event::RegistrationChanged(now) => {
                match self.registrations.iter_mut().find(|known| known.account == now.account) {
                    Some(known) => *known = now.clone(),
                    None => self.registrations.push(now.clone()),
                }
                self.registrations.sort_by_key(|registration| registration.account);
            }
            Event::Rings(call) => {
                self.changed(call);
                self.say(format!("{} calls", name(call)));
            }
            Event::CallChanged(call) => self.changed(call),
            Event::CallEnded(ended) => {
                self.calls.retain(|call| call.call != ended.last.call);
                self.quality.retain(|quality| quality.call != Some(ended.last.call));
                if self.chosen == Some(ended.last.call) {
                    self.chosen = None;
                }
                let code = ended.code.map(|code| format!(" ({code})")).unwrap_or_default();
                self.say(format!("call with {} ended: {}{code}", name(&ended.last), one_line(&ended.reason)));
                self.ended.push_front(ended.clone());
                self.ended.truncate(ENDED);
            }
            Event::DtmfReceived { digit, .. } => self.say(format!("the far end pressed {digit}")),
            Event::Woken { leg, .. } => self.say(format!("wake: {}", leg_name(*leg))),
            Event::OptionsAnswered { to, code, .. } => {
                let answer = code.map_or("no answer".to_owned(), |code| code.to_string());
                self.say(format!("OPTIONS to {}: {answer}", one_line(to)));
            }
            Event::Provisioning { step, .. } => self.provisioning(step),
            Event::Problem(problem) => {
                self.say(format!("problem: {}", problem_line(&problem.cause, &problem.cure)));
            }
        }
    }

    fn provisioning(&mut self, step: &ProvisioningStep) {
        self.asks_consent = matches!(step, ProvisioningStep::ConsentWanted(_));
        match step {
            ProvisioningStep::ConsentWanted(consent) => {
                for line in provision::lines(consent) {
                    self.say(line);
                }
                self.say("y uses these settings, n declines them");
            }
            ProvisioningStep::Done { provider, serial } => {
                self.say(format!("settings {serial} of {} are in use", one_line(provider)));
            }
            ProvisioningStep::Failed { cause, cure } => {
                self.say(format!("no settings of the provider: {}", problem_line(cause, cure)));
            }
            ProvisioningStep::Withdrawn { provider } => {
                self.say(format!(
                    "{} has withdrawn its settings; they are used no longer",
                    one_line(provider)
                ));
            }
        }
    }

    fn changed(&mut self, now: &CallSnapshot) {
        match self.calls.iter_mut().find(|known| known.call == now.call) {
            Some(known) => *known = now.clone(),
            None => self.calls.push(now.clone()),
        }
    }

    /// Adds a line to the log.
    pub(crate) fn say(&mut self, line: impl Into<String>) {
        self.log.push_back(line.into());
        while self.log.len() > LOG {
            self.log.pop_front();
        }
    }

    /// The call that the keys are for.
    pub(crate) fn current(&self) -> Option<&CallSnapshot> {
        let chosen = self.chosen.and_then(|chosen| self.calls.iter().find(|call| call.call == chosen));
        chosen.or_else(|| self.calls.iter().find(|call| waits_for_answer(call))).or_else(|| self.calls.last())
    }

    /// Chooses the call above (-1) or below (1).
    pub(crate) fn choose(&mut self, step: isize) {
        let now = self.current().map(|call| call.call);
        let Some(at) = self.calls.iter().position(|call| Some(call.call) == now) else { return };
        let last = self.calls.len().saturating_sub(1);
        self.chosen = self.calls.get(at.saturating_add_signed(step).min(last)).map(|call| call.call);
    }

    /// How the current call sounds.
    pub(crate) fn sound(&self) -> Option<&Quality> {
        let current = self.current()?.call;
        self.quality.iter().find(|quality| quality.call == Some(current))
    }
}

/// A wake's step in words.
fn leg_name(leg: WakeLeg) -> &'static str {
    match leg {
        WakeLeg::Push => "the push came",
        WakeLeg::FlowOpen => "connected",
        WakeLeg::Register => "REGISTER sent",
        WakeLeg::Registered => "registered",
        WakeLeg::Invite => "the INVITE came",
        WakeLeg::Ringing => "180 sent",
        WakeLeg::Answered => "200 sent",
        WakeLeg::FirstAudio => "first audio heard",
        WakeLeg::Over => "the push came too late",
    }
}

/// Whether a person is asked to answer.
pub(crate) fn waits_for_answer(call: &CallSnapshot) -> bool {
    match call.phase {
        CallPhase::Announced | CallPhase::Ringing => true,
        CallPhase::Answering
        | CallPhase::Dialling
        | CallPhase::Alerting
        | CallPhase::Established
        | CallPhase::Ending => false,
    }
}

/// The far end, as a person would name it.
pub(crate) fn name(call: &CallSnapshot) -> String {
    match &call.peer_name {
        Some(name) if !name.is_empty() => format!("{} <{}>", one_line(name), one_line(&call.peer)),
        _ => one_line(&call.peer),
    }
}
