//! The INVITE server transaction (RFC 3261 §17.2.1, with the Accepted state of RFC 6026 §7.1).

use core::time::Duration;

use crate::input::ServerInput as Input;
use crate::step::{Action, Class, Step, Terms};
use crate::timer::Timer;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// The INVITE is with the transaction user.
    Proceeding,
    /// A 2xx was sent; the user repeats it until its ACK comes.
    Accepted,
    /// A 3xx-6xx was sent; `interval` is timer G's present value.
    Completed { interval: Duration },
    /// The ACK to it came.
    Confirmed,
}

impl State {
    /// `trying`: when a 100 goes out by itself, if ever.
    pub(crate) fn start(trying: Option<Duration>) -> Step<State> {
        match trying {
            None => Step::to(State::Proceeding, [Action::Pass]),
            Some(Duration::ZERO) => Step::to(State::Proceeding, [Action::Trying, Action::Pass]),
            Some(wait) => Step::to(State::Proceeding, [Action::Pass, Action::Start(Timer::Trying, wait)]),
        }
    }

    /// Whether the user may send such a response now.
    pub(crate) fn takes(self, class: Class) -> bool {
        match self {
            State::Proceeding => true,
            State::Accepted => class == Class::Success,
            State::Completed { .. } | State::Confirmed => false,
        }
    }

    pub(crate) fn on(self, input: Input, terms: &Terms) -> Step<State> {
        match self {
            State::Proceeding => match input {
                Input::Again => Step::to(self, [Action::Transmit]),
                Input::Respond(Class::Provisional) => {
                    Step::to(self, [Action::Stop(Timer::Trying), Action::Transmit])
                }
                Input::Respond(Class::Success) => Step::to(
                    State::Accepted,
                    [
                        Action::Stop(Timer::Trying),
                        Action::Transmit,
                        Action::Start(Timer::L, terms.intervals.timeout()),
                    ],
                ),
                Input::Respond(Class::Failure) => completed(terms),
                Input::Timer(Timer::Trying) => Step::to(self, [Action::Trying]),
                // An ACK before any final response acknowledges nothing.
                Input::Ack => Step::stay(self),
                Input::Timer(_) => Step::stay(self),
            },
            State::Accepted => match input {
                // RFC 6026 §7.1: absorbed; the 2xx is repeated by the user (§13.3.1.4).
                Input::Again => Step::stay(self),
                Input::Ack => Step::to(self, [Action::Pass]),
                Input::Respond(Class::Success) => Step::to(self, [Action::Transmit]),
                Input::Respond(Class::Provisional | Class::Failure) => Step::stay(self),
                Input::Timer(Timer::L) => Step::end([]),
                Input::Timer(_) => Step::stay(self),
            },
            State::Completed { interval } => match input {
                Input::Again => Step::to(self, [Action::Transmit]),
                Input::Ack => Step::linger(
                    State::Confirmed,
                    Timer::I,
                    terms.unless_reliable(terms.intervals.t4),
                    [Action::Stop(Timer::G), Action::Stop(Timer::H)],
                ),
                Input::Respond(Class::Provisional | Class::Success | Class::Failure) => Step::stay(self),
                Input::Timer(Timer::G) => {
                    let interval = terms.intervals.doubled(interval);
                    Step::to(
                        State::Completed { interval },
                        [Action::Transmit, Action::Start(Timer::G, interval)],
                    )
                }
                Input::Timer(Timer::H) => Step::end([Action::AckTimedOut]),
                Input::Timer(_) => Step::stay(self),
            },
            State::Confirmed => match input {
                Input::Again | Input::Ack => Step::stay(self),
                Input::Respond(Class::Provisional | Class::Success | Class::Failure) => Step::stay(self),
                Input::Timer(Timer::I) => Step::end([]),
                Input::Timer(_) => Step::stay(self),
            },
        }
    }
}

fn completed(terms: &Terms) -> Step<State> {
    let t1 = terms.intervals.t1;
    let mut step = Step::to(
        State::Completed { interval: t1 },
        [Action::Stop(Timer::Trying), Action::Transmit, Action::Start(Timer::H, terms.intervals.timeout())],
    );
    if !terms.reliable {
        step.actions.push(Action::Start(Timer::G, t1));
    }
    step
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
        let (proceeding, accepted, confirmed) = (State::Proceeding, State::Accepted, State::Confirmed);
        let completed = State::Completed { interval: T1 };
        let slow = State::Completed { interval: S(4) };
        let refused = vec![Stop(Timer::Trying), Transmit, Start(Timer::H, S(32)), Start(Timer::G, T1)];
        let stay = |state: State| (Some(state), vec![]);
        use Class::*;
        use Input::{Ack, Again, Respond, Timer as T};
        type Row = (State, Input, (Option<State>, Vec<Action>));
        let rows: Vec<Row> = vec![
            (proceeding, Again, (Some(proceeding), vec![Transmit])),
            (proceeding, Ack, stay(proceeding)),
            (proceeding, Respond(Provisional), (Some(proceeding), vec![Stop(Timer::Trying), Transmit])),
            (
                proceeding,
                Respond(Success),
                (Some(accepted), vec![Stop(Timer::Trying), Transmit, Start(Timer::L, S(32))]),
            ),
            (proceeding, Respond(Failure), (Some(completed), refused.clone())),
            (proceeding, T(Timer::Trying), (Some(proceeding), vec![Trying])),
            (proceeding, T(Timer::G), stay(proceeding)),
            (accepted, Again, stay(accepted)),
            (accepted, Ack, (Some(accepted), vec![Pass])),
            (accepted, Respond(Success), (Some(accepted), vec![Transmit])),
            (accepted, Respond(Provisional), stay(accepted)),
            (accepted, Respond(Failure), stay(accepted)),
            (accepted, T(Timer::L), (None, vec![])),
            (accepted, T(Timer::H), stay(accepted)),
            (completed, Again, (Some(completed), vec![Transmit])),
            (completed, Ack, (Some(confirmed), vec![Stop(Timer::G), Stop(Timer::H), Start(Timer::I, S(5))])),
            (completed, Respond(Success), stay(completed)),
            (completed, Respond(Failure), stay(completed)),
            (completed, Respond(Provisional), stay(completed)),
            (
                completed,
                T(Timer::G),
                (Some(State::Completed { interval: S(1) }), vec![Transmit, Start(Timer::G, S(1))]),
            ),
            (slow, T(Timer::G), (Some(slow), vec![Transmit, Start(Timer::G, S(4))])),
            (completed, T(Timer::H), (None, vec![AckTimedOut])),
            (completed, T(Timer::I), stay(completed)),
            (confirmed, Again, stay(confirmed)),
            (confirmed, Ack, stay(confirmed)),
            (confirmed, Respond(Success), stay(confirmed)),
            (confirmed, T(Timer::I), (None, vec![])),
            (confirmed, T(Timer::G), stay(confirmed)),
        ];
        let terms = |reliable| Terms { intervals: Default::default(), reliable };
        for (state, input, (next, actions)) in rows {
            let step = state.on(input, &terms(false));
            assert_eq!((step.next, step.actions.to_vec()), (next, actions), "{state:?} × {input:?}");
        }
        // A reliable transport: no timer G, and timer I is zero.
        let step = proceeding.on(Respond(Failure), &terms(true));
        assert_eq!(step.actions.to_vec(), refused[..3]);
        let step = completed.on(Ack, &terms(true));
        assert_eq!((step.next, step.actions.to_vec()), (None, vec![Stop(Timer::G), Stop(Timer::H)]));
        let takes = |state: State| [Provisional, Success, Failure].map(|class| state.takes(class));
        assert_eq!(takes(proceeding), [true; 3]);
        assert_eq!(takes(accepted), [false, true, false]);
        assert_eq!((takes(completed), takes(confirmed)), ([false; 3], [false; 3]));
    }
}
