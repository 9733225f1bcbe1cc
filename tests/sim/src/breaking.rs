//! How the faults of [`Broken`] are played.

use std::time::Duration;

use bytes::Bytes;
use wakeline_registrar::{Leg, Trace};
use wakeline_user_agent::{Command, Event};

use crate::broken::Broken;
use crate::network::LinkState;
use crate::sniff;
use crate::world::{Happening, World};

/// Whether it is a final response to an INVITE.
fn is_final(bytes: &[u8]) -> bool {
    sniff::status(bytes).is_some_and(|code| code >= 200)
        && sniff::header(bytes, "CSeq").is_some_and(|cseq| cseq.ends_with("INVITE"))
}

/// Whether it is a 2xx to an INVITE.
fn is_answer(bytes: &[u8]) -> bool {
    is_final(bytes) && sniff::status(bytes).is_some_and(|code| code < 300)
}

impl World {
    /// What the gateway sends in place of these bytes.
    pub(crate) fn break_sent(&self, bytes: &Bytes) -> Vec<Bytes> {
        match self.broken {
            Some(Broken::NoFinal) if is_final(bytes) => Vec::new(),
            Some(Broken::FinalTwice) if is_final(bytes) => vec![bytes.clone(), bytes.clone()],
            Some(Broken::TwoFinals)
                if is_final(bytes) && sniff::status(bytes).is_some_and(|code| code >= 300) =>
            {
                let mut other = bytes.to_vec();
                other.splice(8..11, *b"499");
                vec![bytes.clone(), other.into()]
            }
            _ => vec![bytes.clone()],
        }
    }

    /// The gateway made a step.
    pub(crate) fn break_trace(&mut self, trace: &Trace) {
        if self.broken == Some(Broken::ForksTwice) && matches!(trace.leg, Leg::InviteOut { .. }) {
            self.watch.traced(self.now, trace);
        }
    }

    pub(crate) fn sleeps_through_timers(&self) -> bool {
        self.broken == Some(Broken::NoTimers)
    }

    /// What a phone sends in place of these bytes, if anything.
    pub(crate) fn break_said(&mut self, phone: usize, link: usize, bytes: Bytes) -> Option<Bytes> {
        let is_register = bytes.starts_with(b"REGISTER ");
        match self.broken {
            Some(Broken::NoRegister(other)) if other == phone && is_register => None,
            Some(Broken::LateRegister(other)) if other == phone && is_register => {
                if self.links[link].state == LinkState::Up {
                    self.after(Duration::from_secs(20), Happening::ToGateway(link, bytes));
                }
                None
            }
            Some(Broken::LosesAnswer(other)) if other == phone && is_answer(&bytes) => None,
            Some(Broken::LeaksToken(other)) if other == phone && bytes.starts_with(b"SIP/2.0 180") => {
                let text = String::from_utf8_lossy(&bytes);
                Some(text.replacen("\r\n", "\r\nX-Device: token-of-mia-0\r\n", 1).into())
            }
            _ => Some(bytes),
        }
    }

    /// Whether a phone does not hear this, or hears it later.
    pub(crate) fn is_deaf(&mut self, phone: usize, link: usize, bytes: &Bytes) -> bool {
        match self.broken {
            Some(Broken::DeafToCancel(other)) => other == phone && bytes.starts_with(b"CANCEL "),
            Some(Broken::KeepsCalls(other)) => other == phone && bytes.starts_with(b"BYE "),
            Some(Broken::LateInvite(other)) if other == phone && bytes.starts_with(b"INVITE ") => {
                self.broken = None;
                self.after(Duration::from_secs(10), Happening::ToPhone(link, bytes.clone()));
                true
            }
            _ => false,
        }
    }

    /// What a phone tells in place of this.
    pub(crate) fn break_told(&self, phone: usize, event: &Event) -> Vec<Event> {
        let times = match (self.broken, event) {
            (Some(Broken::RingsTwice(other)), Event::Rings(_)) if other == phone => 2,
            (Some(Broken::EndsTwice(other)), Event::CallEnded(_)) if other == phone => 2,
            _ => 1,
        };
        vec![event.clone(); times]
    }

    /// Whether a phone does not do what it is told.
    pub(crate) fn is_stubborn(&self, phone: usize, command: &Command) -> bool {
        self.broken == Some(Broken::KeepsCalls(phone)) && matches!(command, Command::Hangup { .. })
    }
}
