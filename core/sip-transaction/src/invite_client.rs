//! The INVITE client transaction (RFC 3261 §17.1.1, with the Accepted state of RFC 6026 §7.2).

use core::time::Duration;

use crate::step::{Action, Class, Step, Terms};
use crate::timer::Timer;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// The INVITE is out; `interval` is timer A's present value.
    Calling { interval: Duration },
    /// A provisional response came.
    Proceeding,
    /// A 2xx came; more may come, from other branches of a fork.
    Accepted,
    /// A 3xx-6xx came and is acknowledged.
    Completed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Input {
    Response(Class),
    Timer(Timer),
    TransportFailed,
}

impl State {
    pub(crate) fn start(terms: &Terms) -> Step<State> {
        let t1 = terms.intervals.t1;
        let mut step = Step::to(
            State::Calling { interval: t1 },
            [Action::Transmit, Action::Start(Timer::B, terms.intervals.timeout())],
        );
        if !terms.reliable {
            step.actions.push(Action::Start(Timer::A, t1));
        }
        step
    }

    pub(crate) fn on(self, input: Input, terms: &Terms) -> Step<State> {
        match self {
            State::Calling { interval } => match input {
                // §17.1.1.2: the first response ends the retransmissions.
                Input::Response(Class::Provisional) => Step::to(
                    State::Proceeding,
                    [Action::Stop(Timer::A), Action::Stop(Timer::B), Action::Pass],
                ),
                Input::Response(Class::Success) => accepted(terms),
                Input::Response(Class::Failure) => completed(terms),
                Input::Timer(Timer::A) => {
                    let interval = interval.saturating_mul(2);
                    Step::to(
                        State::Calling { interval },
                        [Action::Transmit, Action::Start(Timer::A, interval)],
                    )
                }
                Input::Timer(Timer::B | Timer::Cancel) => Step::end([Action::TimedOut]),
                Input::TransportFailed => Step::end([Action::TransportFailed]),
                Input::Timer(other) => self.unmoved(other),
            },
            State::Proceeding => match input {
                Input::Response(Class::Provisional) => Step::to(self, [Action::Pass]),
                Input::Response(Class::Success) => accepted(terms),
                Input::Response(Class::Failure) => completed(terms),
                // §9.1: a cancelled INVITE that never ends is taken for ended after 64·T1.
                Input::Timer(Timer::Cancel) => Step::end([Action::TimedOut]),
                // The final response would have come on the flow that broke: a phone behind NAT has no other.
                Input::TransportFailed => Step::end([Action::TransportFailed]),
                Input::Timer(other) => self.unmoved(other),
            },
            State::Accepted => match input {
                // RFC 6026 §7.2: every 2xx goes up, the transaction user acknowledges it.
                Input::Response(Class::Success) => Step::to(self, [Action::Pass]),
                Input::Response(Class::Provisional | Class::Failure) => Step::to(self, []),
                Input::Timer(Timer::M) => Step::end([]),
                Input::TransportFailed => Step::to(self, []),
                Input::Timer(other) => self.unmoved(other),
            },
            State::Completed => match input {
                Input::Response(Class::Failure) => Step::to(self, [Action::Acknowledge]),
                Input::Response(Class::Provisional | Class::Success) => Step::to(self, []),
                Input::Timer(Timer::D) => Step::end([]),
                // The user has its final response; that the ACK got lost changes nothing for it.
                Input::TransportFailed => Step::end([]),
                Input::Timer(other) => self.unmoved(other),
            },
        }
    }

    /// A timer of another state: it was stopped when that state was left.
    fn unmoved(self, _timer: Timer) -> Step<State> {
        Step::to(self, [])
    }
}

fn accepted(terms: &Terms) -> Step<State> {
    Step::to(
        State::Accepted,
        [
            Action::Stop(Timer::A),
            Action::Stop(Timer::B),
            Action::Stop(Timer::Cancel),
            Action::Pass,
            Action::Start(Timer::M, terms.intervals.timeout()),
        ],
    )
}

fn completed(terms: &Terms) -> Step<State> {
    let ended = [
        Action::Stop(Timer::A),
        Action::Stop(Timer::B),
        Action::Stop(Timer::Cancel),
        Action::Acknowledge,
        Action::Pass,
    ];
    Step::linger(State::Completed, Timer::D, terms.unless_reliable(terms.intervals.d()), ended)
}
