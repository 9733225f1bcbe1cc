//! Our 2xx to an INVITE, repeated until its ACK (RFC 3261 §13.3.1.4), over every transport.

use core::time::Duration;

use wakeline_clock::Time;
use wakeline_sip_message::Message;
use wakeline_sip_transaction::ServerKey;

use crate::config::Config;
use crate::context::Context;
use crate::output::Output;

/// A 2xx that waits for its ACK.
#[derive(Clone, Debug)]
pub(crate) struct Repeat {
    pub(crate) key: ServerKey,
    pub(crate) response: Message,
    pub(crate) cseq: u32,
    next: Time,
    pause: Duration,
    until: Time,
}

/// What became of the wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// It goes on.
    Goes,
    /// No ACK came in 64 × T1.
    Over,
}

impl Repeat {
    pub(crate) fn new(now: Time, config: &Config, key: ServerKey, response: Message) -> Repeat {
        let cseq = response.cseq().map_or(0, |cseq| cseq.number);
        Repeat {
            key,
            response,
            cseq,
            next: now + config.t1,
            pause: config.t1,
            until: now + config.patience(),
        }
    }

    pub(crate) fn deadline(&self) -> Time {
        self.next.min(self.until)
    }

    pub(crate) fn expire(&mut self, now: Time, cx: &mut Context) -> Wait {
        if now >= self.until {
            return Wait::Over;
        }
        if now >= self.next {
            self.pause = (self.pause * 2).min(cx.config.t2);
            self.next = now + self.pause;
            cx.push(Output::Respond { key: self.key, response: self.response.clone() });
        }
        Wait::Goes
    }
}
