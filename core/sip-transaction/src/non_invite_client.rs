//! The non-INVITE client transaction (RFC 3261 §17.1.2).

use core::time::Duration;

use crate::input::ClientInput as Input;
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

impl State {
    pub(crate) fn start(terms: &Terms) -> Step<State> {
        let interval = terms.intervals.t1;
        Step::opening(State::Trying { interval }, [Timer::E, Timer::F], terms)
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
                Input::Timer(_) => Step::stay(self),
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
                Input::Timer(_) => Step::stay(self),
            },
            State::Completed => match input {
                Input::Response(Class::Provisional | Class::Success | Class::Failure) => Step::stay(self),
                Input::Timer(Timer::K) => Step::end([]),
                Input::TransportFailed => Step::end([]),
                Input::Timer(_) => Step::stay(self),
            },
        }
    }
}

fn completed(terms: &Terms) -> Step<State> {
    let ended = [Action::Stop(Timer::E), Action::Stop(Timer::F), Action::Pass];
    Step::linger(State::Completed, Timer::K, terms.unless_reliable(terms.intervals.t4), ended)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Action::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const T1: Duration = Duration::from_millis(500);

    /// Every state × input. `None` is terminated.
    #[test]
    fn every_state_and_input() {
        let trying = State::Trying { interval: T1 };
        let slow = State::Trying { interval: S(4) };
        let ended = vec![Stop(Timer::E), Stop(Timer::F), Pass];
        let done = (Some(State::Completed), [ended.clone(), vec![Start(Timer::K, S(5))]].concat());
        let stay = |state: State| (Some(state), vec![]);
        use Class::*;
        use Input::{Response, Timer as T, TransportFailed as Failed};
        type Row = (State, Input, (Option<State>, Vec<Action>));
        let rows: Vec<Row> = vec![
            (trying, Response(Provisional), (Some(State::Proceeding), vec![Pass])),
            (trying, Response(Success), done.clone()),
            (trying, Response(Failure), done.clone()),
            (
                trying,
                T(Timer::E),
                (Some(State::Trying { interval: T1 * 2 }), vec![Transmit, Start(Timer::E, T1 * 2)]),
            ),
            (slow, T(Timer::E), (Some(slow), vec![Transmit, Start(Timer::E, S(4))])),
            (trying, T(Timer::F), (None, vec![TimedOut])),
            (trying, T(Timer::K), stay(trying)),
            (trying, Failed, (None, vec![Action::TransportFailed])),
            (State::Proceeding, Response(Provisional), (Some(State::Proceeding), vec![Pass])),
            (State::Proceeding, Response(Success), done.clone()),
            (State::Proceeding, Response(Failure), done),
            (
                State::Proceeding,
                T(Timer::E),
                (Some(State::Proceeding), vec![Transmit, Start(Timer::E, S(4))]),
            ),
            (State::Proceeding, T(Timer::F), (None, vec![TimedOut])),
            (State::Proceeding, T(Timer::K), stay(State::Proceeding)),
            (State::Proceeding, Failed, (None, vec![Action::TransportFailed])),
            (State::Completed, Response(Provisional), stay(State::Completed)),
            (State::Completed, Response(Success), stay(State::Completed)),
            (State::Completed, Response(Failure), stay(State::Completed)),
            (State::Completed, T(Timer::K), (None, vec![])),
            (State::Completed, T(Timer::E), stay(State::Completed)),
            (State::Completed, Failed, (None, vec![])),
        ];
        let terms = |reliable| Terms { intervals: Default::default(), reliable };
        for (state, input, (next, actions)) in rows {
            let step = state.on(input, &terms(false));
            assert_eq!((step.next, step.actions.to_vec()), (next, actions), "{state:?} × {input:?}");
        }
        // §17.1.2.2: timer K is zero on a reliable transport.
        let step = trying.on(Response(Success), &terms(true));
        assert_eq!((step.next, step.actions.to_vec()), (None, ended));
        assert_eq!(State::start(&terms(true)).actions.to_vec(), [Transmit, Start(Timer::F, S(32))]);
    }
}
