//! What a refused INVITE of ours leads to: another try with credentials, a longer interval, another target or hop, or the
//! end (RFC 3261 §8.1.3, RFC 3263 §4.3, RFC 4028 §7.3).

use wakeline_clock::Time;
use wakeline_sip_message::{Message, Name};

use crate::answer::retry_after;
use crate::context::{Context, MOST_CREDENTIALS};
use crate::end::EndReason;
use crate::ending::{Leaving, end};
use crate::established::SetUp;
use crate::outgoing::{Attempt, Outgoing};
use crate::output::{Event, HopFailure, Output};
use crate::redirect::targets_of;

impl Outgoing {
    pub(crate) fn refused(
        &mut self,
        now: Time,
        cx: &mut Context,
        response: &Message,
        code: u16,
    ) -> Option<SetUp> {
        if matches!(self.attempt, Attempt::Cancelling { .. }) {
            return Some(self.over(now, cx, response, code).into());
        }
        match code {
            401 | 407 if self.credentials < MOST_CREDENTIALS => {
                self.attempt = Attempt::AwaitingCredentials { challenge: response.clone() };
                if let Some((id, request)) = cx.invite_sent() {
                    cx.push(Output::Authorize { id, request, challenge: response.clone() });
                }
                None
            }
            422 if self.session.raise(response) => self.invite(now, cx),
            420 if self.require_reliable && names_reliable(response) => {
                self.require_reliable = false;
                self.invite(now, cx)
            }
            503 => self.hop_failed(now, cx, HopFailure::Unavailable { retry_after: retry_after(response) }),
            300..=399 => self.redirected(now, cx, response, code),
            // RFC 3261 §21.6: 6xx speaks for every target.
            400..=599 if !self.waiting_targets.is_empty() => self.next_target(now, cx),
            _ => Some(self.over(now, cx, response, code).into()),
        }
    }

    pub(crate) fn over(&mut self, now: Time, cx: &mut Context, response: &Message, code: u16) -> Leaving {
        end(now, cx, EndReason::of_refusal(response), Some(code), true)
    }

    pub(crate) fn redirected(
        &mut self,
        now: Time,
        cx: &mut Context,
        response: &Message,
        code: u16,
    ) -> Option<SetUp> {
        let targets = targets_of(response, &self.dial.target);
        if cx.config.redirects == 0 {
            return Some(end(now, cx, EndReason::Redirected { targets }, Some(code), true).into());
        }
        for target in targets.into_iter().rev() {
            if self.visited.insert(target.clone()) {
                self.waiting_targets.push_front(target);
            }
        }
        self.waiting_targets.truncate(16);
        if self.waiting_targets.is_empty() {
            return Some(self.over(now, cx, response, code).into());
        }
        self.next_target(now, cx)
    }

    pub(crate) fn next_target(&mut self, now: Time, cx: &mut Context) -> Option<SetUp> {
        let Some(target) = self.waiting_targets.pop_front().filter(|_| self.redirects > 0) else {
            let why = "too many redirections".to_owned();
            return Some(end(now, cx, EndReason::Failed { code: None, why }, None, true).into());
        };
        self.redirects -= 1;
        self.dial.target = target.clone();
        cx.emit(Event::Redirected { target });
        self.invite(now, cx)
    }

    pub(crate) fn hop_failed(&mut self, now: Time, cx: &mut Context, cause: HopFailure) -> Option<SetUp> {
        if matches!(self.attempt, Attempt::Cancelling { .. }) {
            return Some(end(now, cx, EndReason::Cancelled, None, false).into());
        }
        let id = cx.invite_sent()?.0;
        // After a provisional response it was not the hop: the far end fell silent (RFC 3263 §4.3 speaks of
        // transactions that got none).
        self.attempt = Attempt::AwaitingNextHop { cause: cause.clone() };
        cx.push(Output::TryNextHop { id, cause });
        None
    }

    pub(crate) fn next_hop(&mut self, now: Time, cx: &mut Context, found: bool) -> Option<SetUp> {
        let Attempt::AwaitingNextHop { cause } = &self.attempt else { return None };
        if found {
            return self.invite(now, cx);
        }
        let (reason, code) = match cause {
            HopFailure::Unavailable { .. } => {
                (EndReason::Failed { code: Some(503), why: "Service Unavailable".into() }, Some(503))
            }
            HopFailure::Silent => (EndReason::TimedOut, Some(408)),
            HopFailure::Unreachable => (EndReason::Unreachable, None),
        };
        if !self.waiting_targets.is_empty() {
            return self.next_target(now, cx);
        }
        Some(end(now, cx, reason, code, false).into())
    }

    pub(crate) fn authorize(
        &mut self,
        now: Time,
        cx: &mut Context,
        headers: Option<Vec<(Name, String)>>,
    ) -> Option<SetUp> {
        let Attempt::AwaitingCredentials { challenge } = &self.attempt else { return None };
        match headers {
            Some(headers) => {
                self.credentials += 1;
                self.authorization = headers;
                self.invite(now, cx)
            }
            None => Some(end(now, cx, EndReason::NotAuthorized, challenge.status(), true).into()),
        }
    }
}

fn names_reliable(response: &Message) -> bool {
    response.unsupported().any(|tag| tag.eq_ignore_ascii_case("100rel"))
}
