//! The INVITE client transaction (RFC 3261 §17.1.1, with the Accepted state of RFC 6026 §7.2).

use core::time::Duration;

use crate::input::ClientInput as Input;
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

impl State {
    pub(crate) fn start(terms: &Terms) -> Step<State> {
        let interval = terms.intervals.t1;
        Step::opening(State::Calling { interval }, [Timer::A, Timer::B], terms)
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
                Input::Timer(_) => Step::stay(self),
            },
            State::Proceeding => match input {
                Input::Response(Class::Provisional) => Step::to(self, [Action::Pass]),
                Input::Response(Class::Success) => accepted(terms),
                Input::Response(Class::Failure) => completed(terms),
                // §9.1: a cancelled INVITE that never ends is taken for ended after 64·T1.
                Input::Timer(Timer::Cancel) => Step::end([Action::TimedOut]),
                // The final response would have come on the flow that broke: a phone behind NAT has no other.
                Input::TransportFailed => Step::end([Action::TransportFailed]),
                Input::Timer(_) => Step::stay(self),
            },
            State::Accepted => match input {
                // RFC 6026 §7.2: every 2xx goes up, the transaction user acknowledges it.
                Input::Response(Class::Success) => Step::to(self, [Action::Pass]),
                Input::Response(Class::Provisional | Class::Failure) => Step::stay(self),
                Input::Timer(Timer::M) => Step::end([]),
                Input::TransportFailed => Step::stay(self),
                Input::Timer(_) => Step::stay(self),
            },
            State::Completed => match input {
                Input::Response(Class::Failure) => Step::to(self, [Action::Acknowledge]),
                Input::Response(Class::Provisional | Class::Success) => Step::stay(self),
                Input::Timer(Timer::D) => Step::end([]),
                // The user has its final response; that the ACK got lost changes nothing for it.
                Input::TransportFailed => Step::end([]),
                Input::Timer(_) => Step::stay(self),
            },
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Action::*;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const T1: Duration = Duration::from_millis(500);

    /// Every state × input, on UDP and on TCP where they differ. `None` is terminated.
    #[test]
    fn every_state_and_input() {
        let calling = State::Calling { interval: T1 };
        let up = [Stop(Timer::A), Stop(Timer::B), Stop(Timer::Cancel)];
        let with = |more: &[Action]| [&up, more].concat();
        let (accepted, failed) = (with(&[Pass, Start(Timer::M, S(32))]), with(&[Acknowledge, Pass]));
        let lingering = [failed.clone(), vec![Start(Timer::D, S(32))]].concat();
        let stay = |state: State| (Some(state), vec![]);
        use Class::*;
        use Input::{Response, Timer as T, TransportFailed as Failed};
        type Row = (State, Input, (Option<State>, Vec<Action>));
        let rows: Vec<Row> = vec![
            (calling, Response(Provisional), (Some(State::Proceeding), vec![up[0], up[1], Pass])),
            (calling, Response(Success), (Some(State::Accepted), accepted.clone())),
            (calling, Response(Failure), (Some(State::Completed), lingering.clone())),
            (
                calling,
                T(Timer::A),
                (Some(State::Calling { interval: T1 * 2 }), vec![Transmit, Start(Timer::A, T1 * 2)]),
            ),
            (calling, T(Timer::B), (None, vec![TimedOut])),
            (calling, T(Timer::Cancel), (None, vec![TimedOut])),
            (calling, T(Timer::D), stay(calling)),
            (calling, Failed, (None, vec![Action::TransportFailed])),
            (State::Proceeding, Response(Provisional), (Some(State::Proceeding), vec![Pass])),
            (State::Proceeding, Response(Success), (Some(State::Accepted), accepted)),
            (State::Proceeding, Response(Failure), (Some(State::Completed), lingering)),
            (State::Proceeding, T(Timer::A), stay(State::Proceeding)),
            (State::Proceeding, T(Timer::B), stay(State::Proceeding)),
            (State::Proceeding, T(Timer::Cancel), (None, vec![TimedOut])),
            (State::Proceeding, Failed, (None, vec![Action::TransportFailed])),
            (State::Accepted, Response(Provisional), stay(State::Accepted)),
            (State::Accepted, Response(Success), (Some(State::Accepted), vec![Pass])),
            (State::Accepted, Response(Failure), stay(State::Accepted)),
            (State::Accepted, T(Timer::M), (None, vec![])),
            (State::Accepted, T(Timer::B), stay(State::Accepted)),
            (State::Accepted, Failed, stay(State::Accepted)),
            (State::Completed, Response(Provisional), stay(State::Completed)),
            (State::Completed, Response(Success), stay(State::Completed)),
            (State::Completed, Response(Failure), (Some(State::Completed), vec![Acknowledge])),
            (State::Completed, T(Timer::D), (None, vec![])),
            (State::Completed, T(Timer::A), stay(State::Completed)),
            (State::Completed, Failed, (None, vec![])),
        ];
        let terms = |reliable| Terms { intervals: Default::default(), reliable };
        for (state, input, (next, actions)) in rows {
            let step = state.on(input, &terms(false));
            assert_eq!((step.next, step.actions.to_vec()), (next, actions), "{state:?} × {input:?}");
        }
        // A reliable transport repeats nothing and lingers nowhere (§17.1.1.2: timer D is zero).
        for state in [calling, State::Proceeding] {
            let step = state.on(Response(Failure), &terms(true));
            assert_eq!((step.next, step.actions.to_vec()), (None, failed.clone()));
        }
        assert_eq!(State::start(&terms(true)).actions.to_vec(), [Transmit, Start(Timer::B, S(32))]);
        assert_eq!(
            State::start(&terms(false)).actions.to_vec(),
            [Transmit, Start(Timer::B, S(32)), Start(Timer::A, T1)]
        );
    }
}
