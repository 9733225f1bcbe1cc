//! The non-INVITE client transaction (RFC 3261 §17.1.2).

use core::time::Duration;

use crate::step::{Action, Class, Step, Terms};
use crate::timer::Timer;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// The request is out; `interval` is timer E's present value.
    Trying { interval: Duration },
    /// A provisional response came.
    Proceeding,
    /// A final response came.
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
            State::Trying { interval: t1 },
            [Action::Transmit, Action::Start(Timer::F, terms.intervals.timeout())],
        );
        if !terms.reliable {
            step.actions.push(Action::Start(Timer::E, t1));
        }
        step
    }

    pub(crate) fn on(self, input: Input, terms: &Terms) -> Step<State> {
        match self {
            State::Trying { interval } => match input {
                Input::Response(Class::Provisional) => Step::to(State::Proceeding, [Action::Pass]),
                Input::Response(Class::Success | Class::Failure) => completed(terms),
                Input::Timer(Timer::E) => {
                    let interval = terms.intervals.doubled(interval);
                    Step::to(
                        State::Trying { interval },
                        [Action::Transmit, Action::Start(Timer::E, interval)],
                    )
                }
                Input::Timer(Timer::F) => Step::end([Action::TimedOut]),
                Input::TransportFailed => Step::end([Action::TransportFailed]),
                Input::Timer(other) => self.unmoved(other),
            },
            State::Proceeding => match input {
                Input::Response(Class::Provisional) => Step::to(self, [Action::Pass]),
                Input::Response(Class::Success | Class::Failure) => completed(terms),
                // §17.1.2.2: from here on every T2.
                Input::Timer(Timer::E) => {
                    Step::to(self, [Action::Transmit, Action::Start(Timer::E, terms.intervals.t2)])
                }
                Input::Timer(Timer::F) => Step::end([Action::TimedOut]),
                Input::TransportFailed => Step::end([Action::TransportFailed]),
                Input::Timer(other) => self.unmoved(other),
            },
            State::Completed => match input {
                Input::Response(Class::Provisional | Class::Success | Class::Failure) => Step::to(self, []),
                Input::Timer(Timer::K) => Step::end([]),
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

fn completed(terms: &Terms) -> Step<State> {
    let ended = [Action::Stop(Timer::E), Action::Stop(Timer::F), Action::Pass];
    Step::linger(State::Completed, Timer::K, terms.unless_reliable(terms.intervals.t4), ended)
}
