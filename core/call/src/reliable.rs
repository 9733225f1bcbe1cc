//! Reliable provisional responses of the callee (RFC 3262 §3), and the PRACK that answers them.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use wakeline_clock::Time;
use wakeline_sip_message::{Message, Method, Name};
use wakeline_sip_transaction::ServerKey;

use crate::context::{Context, SDP};
use crate::output::Output;
use crate::repeat::Wait;

/// RAck: which provisional response a PRACK answers (RFC 3262 §7.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RAck {
    pub(crate) rseq: u32,
    pub(crate) cseq: u32,
    pub(crate) method: Method,
}

pub(crate) fn rack_of(request: &Message) -> Option<RAck> {
    let mut words = request.header(Name::RAck)?.split_ascii_whitespace();
    Some(RAck {
        rseq: words.next()?.parse().ok()?,
        cseq: words.next()?.parse().ok()?,
        method: Method::parse(words.next()?)?,
    })
}

/// RSeq of a provisional response that must be acknowledged (RFC 3262 §4): it requires 100rel and is no 100.
pub(crate) fn rseq_of(response: &Message) -> Option<u32> {
    let reliable = response.require().any(|tag| tag.eq_ignore_ascii_case("100rel"));
    let counts = reliable && response.status().is_some_and(|status| (101..200).contains(&status));
    counts.then(|| response.header(Name::RSeq)?.trim().parse().ok()).flatten()
}

#[derive(Clone, Debug)]
struct Unanswered {
    rseq: u32,
    response: Message,
    with_sdp: bool,
    next: Time,
    pause: Duration,
    until: Time,
}

/// What a PRACK meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pracked {
    /// It answers the response that waits; which carried a session description of ours, or not.
    Yes {
        /// Whether it did.
        with_sdp: bool,
    },
    /// It answers nothing that waits: 481 (RFC 3262 §3).
    No,
}

/// The callee's reliable provisional responses: one at a time, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Provisionals {
    last: Option<u32>,
    unanswered: Option<Unanswered>,
    waiting: VecDeque<(u16, Option<Bytes>)>,
}

impl Provisionals {
    /// Whether a response with a session description waits for its PRACK: no 2xx may be sent then (RFC 3262 §3).
    pub(crate) fn holds_answer(&self) -> bool {
        self.unanswered.as_ref().is_some_and(|unanswered| unanswered.with_sdp)
            || self.waiting.iter().any(|(_, sdp)| sdp.is_some())
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.unanswered.is_some()
    }

    /// Sends a provisional response reliably, or queues it behind the one that waits.
    pub(crate) fn send(
        &mut self,
        now: Time,
        cx: &mut Context,
        invite: (ServerKey, &Message, &str),
        code: u16,
        sdp: Option<Bytes>,
    ) -> Option<Message> {
        if self.unanswered.is_some() {
            self.waiting.push_back((code, sdp));
            return None;
        }
        // RFC 3262 §3: the first number is random in 1..2^31, the others follow by one.
        let rseq = self.last.map_or_else(|| 1 + cx.entropy.below(0x7fff_fffe), |last| last.wrapping_add(1));
        self.last = Some(rseq);
        let (key, request, tag) = invite;
        let contact = cx.contact.value();
        let with_sdp = sdp.is_some();
        let (allow, supported) = (cx.config.allow(), cx.config.supported());
        let response = cx.respond(key, request, code, |builder| {
            let builder = builder
                .to_tag(tag)
                .copy(request, Name::RecordRoute)
                .header(Name::Contact, contact)
                .header(Name::Allow, allow)
                .header(Name::Supported, supported)
                .header(Name::Require, "100rel")
                .header(Name::RSeq, rseq);
            match sdp {
                Some(sdp) => builder.body(SDP, sdp),
                None => builder,
            }
        })?;
        let until = now + cx.config.patience();
        let (next, pause) = (now + cx.config.t1, cx.config.t1);
        self.unanswered = Some(Unanswered { rseq, response: response.clone(), with_sdp, next, pause, until });
        Some(response)
    }

    /// Meets a PRACK.
    pub(crate) fn meet(&mut self, prack: &Message, invite: &Message) -> Pracked {
        let cseq = invite.cseq().map_or(0, |cseq| cseq.number);
        let wanted = |unanswered: &Unanswered| RAck { rseq: unanswered.rseq, cseq, method: Method::Invite };
        match self.unanswered.take_if(|unanswered| rack_of(prack) == Some(wanted(unanswered))) {
            Some(unanswered) => Pracked::Yes { with_sdp: unanswered.with_sdp },
            None => Pracked::No,
        }
    }

    /// The next response that waited for its turn.
    pub(crate) fn next(&mut self) -> Option<(u16, Option<Bytes>)> {
        if self.unanswered.is_some() { None } else { self.waiting.pop_front() }
    }

    /// Repeats the response that waits on another transaction, for an INVITE that came again.
    pub(crate) fn waiting_response(&self) -> Option<&Message> {
        self.unanswered.as_ref().map(|unanswered| &unanswered.response)
    }

    /// The response that waits goes out on another transaction from now on.
    pub(crate) fn moved_to(&mut self, response: Option<Message>) {
        if let (Some(unanswered), Some(response)) = (&mut self.unanswered, response) {
            unanswered.response = response;
        }
    }

    /// No response of this kind is repeated any more: a final one goes out.
    pub(crate) fn stop(&mut self) {
        self.unanswered = None;
        self.waiting.clear();
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.unanswered.as_ref().map(|unanswered| unanswered.next.min(unanswered.until))
    }

    /// Repeats with doubling pauses; after 64 × T1 the INVITE is to be refused (RFC 3262 §3).
    pub(crate) fn expire(&mut self, now: Time, cx: &mut Context, key: ServerKey) -> Wait {
        let Some(unanswered) = &mut self.unanswered else { return Wait::Goes };
        if now >= unanswered.until {
            return Wait::Over;
        }
        if now >= unanswered.next {
            unanswered.pause *= 2;
            unanswered.next = now + unanswered.pause;
            cx.push(Output::Respond { key, response: unanswered.response.clone() });
        }
        Wait::Goes
    }
}
