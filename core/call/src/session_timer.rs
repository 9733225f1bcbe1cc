//! Session timers (RFC 4028): how long a session lives without a sign of life, and who gives it.

use core::time::Duration;

use wakeline_clock::Time;
use wakeline_sip_message::{Builder, Message, Name, Params};

use crate::config::SessionTimers;

/// Who refreshes the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refresher {
    /// We do, at half of the interval (RFC 4028 §10).
    Us,
    /// The far end does.
    Them,
}

/// Session-Expires (RFC 4028 §4), with the refresher in the view of its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SessionExpires {
    pub(crate) seconds: u32,
    /// Whether the request's sender refreshes; nothing if it is left open.
    pub(crate) by_caller: Option<bool>,
}

pub(crate) fn session_expires(message: &Message) -> Option<SessionExpires> {
    let value = message.header(Name::SessionExpires)?;
    let (seconds, params) = value.split_at(value.find(';').unwrap_or(value.len()));
    let seconds = seconds.trim().parse().ok()?;
    let refresher = Params::parse(params).ok().and_then(|params| params.get("refresher"));
    let by_caller = match refresher {
        Some(role) if role.eq_ignore_ascii_case("uac") => Some(true),
        Some(role) if role.eq_ignore_ascii_case("uas") => Some(false),
        Some(_) | None => None,
    };
    Some(SessionExpires { seconds, by_caller })
}

/// Min-SE (RFC 4028 §5).
pub(crate) fn min_se(message: &Message) -> Option<u32> {
    let value = message.header(Name::MinSe)?;
    value.split(';').next().unwrap_or("").trim().parse().ok()
}

/// The session timer of one call.
#[derive(Clone, Debug)]
pub(crate) struct SessionTimer {
    policy: Option<SessionTimers>,
    /// The shortest interval that anybody on the path accepts.
    floor: u32,
    running: Option<Running>,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    seconds: u32,
    refresher: Refresher,
    since: Time,
    refreshed_at_half: bool,
}

/// What the timer wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// Nothing.
    Nothing,
    /// A refresh by us.
    Refresh,
    /// The end: nobody refreshed.
    Expired,
}

impl SessionTimer {
    pub(crate) fn new(policy: Option<SessionTimers>) -> SessionTimer {
        let floor = policy.map_or(90, |policy| policy.min_se.as_secs().max(90) as u32);
        SessionTimer { policy, floor, running: None }
    }

    fn wanted(&self, policy: SessionTimers) -> u32 {
        (policy.interval.as_secs() as u32).max(self.floor)
    }

    /// The fields of a request that sets up or refreshes the session (§7.1, §7.4).
    pub(crate) fn request_fields(&self) -> Vec<(Name, String)> {
        let Some(policy) = self.policy else { return Vec::new() };
        let value = match self.running {
            // From our own view the refresher of this transaction is its sender, which is us.
            Some(Running { seconds, refresher: Refresher::Us, .. }) => {
                format!("{};refresher=uac", seconds.max(self.floor))
            }
            Some(Running { seconds, refresher: Refresher::Them, .. }) => {
                format!("{};refresher=uas", seconds.max(self.floor))
            }
            None => self.wanted(policy).to_string(),
        };
        let mut fields = vec![(Name::SessionExpires, value)];
        if self.floor > 90 {
            fields.push((Name::MinSe, self.floor.to_string()));
        }
        fields
    }

    /// 422 named a higher floor (§7.3): whether trying again makes sense.
    pub(crate) fn raise(&mut self, response: &Message) -> bool {
        match min_se(response) {
            Some(floor) if floor > self.floor => {
                self.floor = floor;
                if let Some(running) = &mut self.running {
                    running.seconds = running.seconds.max(floor);
                }
                true
            }
            Some(_) | None => false,
        }
    }

    /// The Min-SE to refuse this request with, if its interval is too short (§9). Only a peer that knows the
    /// extension may be refused.
    pub(crate) fn refuses(&self, request: &Message) -> Option<u32> {
        self.policy?;
        let asked = session_expires(request)?;
        (asked.seconds < self.floor && request.supports("timer")).then_some(self.floor)
    }

    /// The callee's side (§9): decides from the request, starts, and gives the fields of the 2xx.
    pub(crate) fn accept(&mut self, now: Time, request: &Message) -> Vec<(Name, String)> {
        let Some(policy) = self.policy else {
            // Without the extension there is no timer of ours; a peer that refreshes may do so.
            self.running = None;
            return Vec::new();
        };
        let knows = request.supports("timer");
        let asked = session_expires(request);
        let floor = self.floor.max(min_se(request).unwrap_or(0));
        let seconds = match asked {
            Some(asked) => asked.seconds.min(self.wanted(policy)).max(floor),
            None => self.wanted(policy).max(floor),
        };
        // §9, table 2: the caller's choice stands; a caller that does not know timers cannot refresh.
        let by_caller = knows && asked.and_then(|asked| asked.by_caller).unwrap_or(true);
        let refresher = if by_caller { Refresher::Them } else { Refresher::Us };
        self.running = Some(Running { seconds, refresher, since: now, refreshed_at_half: false });
        let role = if by_caller { "uac" } else { "uas" };
        let mut fields = vec![(Name::SessionExpires, format!("{seconds};refresher={role}"))];
        // §9: Require only where the caller is the refresher, and so knows the extension.
        if by_caller {
            fields.push((Name::Require, "timer".into()));
        }
        fields
    }

    /// The caller's side (§7.2): what the 2xx says, counts; without Session-Expires there is no timer.
    pub(crate) fn conclude(&mut self, now: Time, response: &Message) {
        self.running = session_expires(response).filter(|_| self.policy.is_some()).map(|granted| Running {
            seconds: granted.seconds.max(self.floor.min(90)),
            refresher: if granted.by_caller.unwrap_or(true) { Refresher::Us } else { Refresher::Them },
            since: now,
            refreshed_at_half: false,
        });
    }

    /// A refresh did not work for now: the session lives on until it expires, and is not refreshed again by itself.
    pub(crate) fn asked(&mut self) {
        if let Some(running) = &mut self.running {
            running.refreshed_at_half = true;
        }
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let running = self.running?;
        Some(match running.refresher {
            Refresher::Us if !running.refreshed_at_half => running.since + half(running.seconds),
            Refresher::Us | Refresher::Them => running.since + end(running.seconds),
        })
    }

    pub(crate) fn due(&self, now: Time) -> Due {
        match self.running {
            None => Due::Nothing,
            Some(running) if now >= running.since + end(running.seconds) => Due::Expired,
            Some(running)
                if running.refresher == Refresher::Us
                    && !running.refreshed_at_half
                    && now >= running.since + half(running.seconds) =>
            {
                Due::Refresh
            }
            Some(_) => Due::Nothing,
        }
    }

    #[cfg(test)]
    pub(crate) fn running(&self) -> Option<(u32, Refresher)> {
        self.running.map(|running| (running.seconds, running.refresher))
    }
}

fn half(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds / 2))
}

/// §10: BYE is sent a little before the end: 32 s, or a third of the interval if that is less.
fn end(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds - (seconds / 3).min(32)))
}

pub(crate) fn with_fields(mut builder: Builder, fields: &[(Name, String)]) -> Builder {
    for (name, value) in fields {
        builder = builder.header(name.clone(), value);
    }
    builder
}

#[cfg(test)]
mod tests {
    use super::*;
    use Refresher::{Them, Us};

    fn message(start: &str, fields: &str) -> Message {
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: c\r\n\
             CSeq: 1 INVITE\r\n{fields}Content-Length: 0\r\n\r\n"
        );
        Message::parse(text.into()).unwrap()
    }

    fn invite(fields: &str) -> Message {
        message("INVITE sip:b@b SIP/2.0", fields)
    }

    fn timer(interval: u64, min_se: u64) -> SessionTimer {
        let (interval, min_se) = (Duration::from_secs(interval), Duration::from_secs(min_se));
        SessionTimer::new(Some(SessionTimers { interval, min_se }))
    }

    #[test]
    fn the_callee_decides_by_table_2_of_rfc_4028() {
        for (fields, running, told) in [
            ("", (1800, Us), "1800;refresher=uas"),
            ("Supported: timer\r\n", (1800, Them), "1800;refresher=uac"),
            ("Supported: timer\r\nSession-Expires: 600\r\n", (600, Them), "600;refresher=uac"),
            ("Supported: timer\r\nx: 600;refresher=uas\r\n", (600, Us), "600;refresher=uas"),
            ("Supported: timer\r\nx: 600;refresher=uac\r\n", (600, Them), "600;refresher=uac"),
            // A proxy asked for it; the caller cannot refresh.
            ("Session-Expires: 600\r\n", (600, Us), "600;refresher=uas"),
            ("Supported: timer\r\nx: 7200\r\nMin-SE: 3600\r\n", (3600, Them), "3600;refresher=uac"),
            ("x: 50\r\n", (90, Us), "90;refresher=uas"),
        ] {
            let mut timer = timer(1800, 90);
            let answer = timer.accept(Time::ZERO, &invite(fields));
            assert_eq!(timer.running(), Some(running), "{fields}");
            assert_eq!(answer[0].1, told, "{fields}");
            assert_eq!(answer.len() == 2, running.1 == Them, "{fields}");
        }
    }

    #[test]
    fn only_a_caller_that_knows_timers_is_refused() {
        let timer = timer(1800, 300);
        assert_eq!(timer.refuses(&invite("Supported: timer\r\nx: 299\r\n")), Some(300));
        assert_eq!(timer.refuses(&invite("Supported: timer\r\nx: 300\r\n")), None);
        assert_eq!(timer.refuses(&invite("x: 100\r\n")), None);
        assert_eq!(SessionTimer::new(None).refuses(&invite("Supported: timer\r\nx: 1\r\n")), None);
    }

    #[test]
    fn the_caller_obeys_the_2xx() {
        for (fields, running) in [
            ("", None),
            ("Session-Expires: 600;refresher=uac\r\n", Some((600, Us))),
            ("Session-Expires: 600;refresher=uas\r\n", Some((600, Them))),
            ("Session-Expires: 600\r\n", Some((600, Us))),
            // A hostile interval must not become a storm of refreshes.
            ("Session-Expires: 1;refresher=uac\r\n", Some((90, Us))),
            ("Session-Expires: x\r\n", None),
        ] {
            let mut timer = timer(1800, 90);
            timer.conclude(Time::ZERO, &message("SIP/2.0 200 OK", fields));
            assert_eq!(timer.running(), running, "{fields}");
        }
    }

    #[test]
    fn s26_refresh_at_half_and_the_end_before_the_interval_is_over() {
        let at = |seconds: u64| Time::from_millis(seconds * 1000);
        let mut timer = timer(1800, 90);
        timer.conclude(Time::ZERO, &message("SIP/2.0 200 OK", "x: 600;refresher=uac\r\n"));
        assert_eq!(timer.deadline(), Some(at(300)));
        assert_eq!((timer.due(at(299)), timer.due(at(300))), (Due::Nothing, Due::Refresh));
        timer.asked();
        assert_eq!((timer.deadline(), timer.due(at(300))), (Some(at(568)), Due::Nothing));
        assert_eq!(timer.due(at(568)), Due::Expired);
        // Whoever slept over all of it ends the call, and refreshes nothing.
        timer.conclude(Time::ZERO, &message("SIP/2.0 200 OK", "x: 600;refresher=uac\r\n"));
        assert_eq!(timer.due(at(100_000)), Due::Expired);
        timer.conclude(Time::ZERO, &message("SIP/2.0 200 OK", "x: 90;refresher=uas\r\n"));
        assert_eq!(
            (timer.deadline(), timer.due(at(59)), timer.due(at(60))),
            (Some(at(60)), Due::Nothing, Due::Expired)
        );
    }
}
