//! The non-INVITE server transaction (RFC 3261 §17.2.2).

use crate::input::ServerInput as Input;
use crate::step::{Action, Class, Step, Terms};
use crate::timer::Timer;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// The request is with the transaction user, which has said nothing yet.
    Trying,
    /// The user sent a provisional response.
    Proceeding,
    /// The user sent its final response.
    Completed,
}

impl State {
    pub(crate) fn start() -> Step<State> {
        Step::to(State::Trying, [Action::Pass])
    }

    /// Whether the user may send a response now.
    pub(crate) fn takes(self) -> bool {
        match self {
            State::Trying | State::Proceeding => true,
            State::Completed => false,
        }
    }

    pub(crate) fn on(self, input: Input, terms: &Terms) -> Step<State> {
        match self {
            State::Trying => match input {
                // §17.2.2: discarded.
                Input::Again => Step::stay(self),
                Input::Respond(Class::Provisional) => Step::to(State::Proceeding, [Action::Transmit]),
                Input::Respond(Class::Success | Class::Failure) => completed(terms),
                Input::Ack | Input::Timer(_) => Step::stay(self),
            },
            State::Proceeding => match input {
                Input::Again => Step::to(self, [Action::Transmit]),
                Input::Respond(Class::Provisional) => Step::to(self, [Action::Transmit]),
                Input::Respond(Class::Success | Class::Failure) => completed(terms),
                Input::Ack | Input::Timer(_) => Step::stay(self),
            },
            State::Completed => match input {
                Input::Again => Step::to(self, [Action::Transmit]),
                Input::Respond(Class::Provisional | Class::Success | Class::Failure) => Step::stay(self),
                Input::Timer(Timer::J) => Step::end([]),
                Input::Ack | Input::Timer(_) => Step::stay(self),
            },
        }
    }
}

fn completed(terms: &Terms) -> Step<State> {
    Step::linger(
        State::Completed,
        Timer::J,
        terms.unless_reliable(terms.intervals.timeout()),
        [Action::Transmit],
    )
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::step::Action::*;

    /// Every state × input. `None` is terminated.
    #[test]
    fn every_state_and_input() {
        let (trying, proceeding, completed) = (State::Trying, State::Proceeding, State::Completed);
        let done = (Some(completed), vec![Transmit, Start(Timer::J, Duration::from_secs(32))]);
        let stay = |state: State| (Some(state), vec![]);
        use Class::*;
        use Input::{Again, Respond, Timer as T};
        type Row = (State, Input, (Option<State>, Vec<Action>));
        let rows: Vec<Row> = vec![
            (trying, Again, stay(trying)),
            (trying, Respond(Provisional), (Some(proceeding), vec![Transmit])),
            (trying, Respond(Success), done.clone()),
            (trying, Respond(Failure), done.clone()),
            (trying, T(Timer::J), stay(trying)),
            (proceeding, Again, (Some(proceeding), vec![Transmit])),
            (proceeding, Respond(Provisional), (Some(proceeding), vec![Transmit])),
            (proceeding, Respond(Success), done.clone()),
            (proceeding, Respond(Failure), done),
            (proceeding, T(Timer::J), stay(proceeding)),
            (completed, Again, (Some(completed), vec![Transmit])),
            (completed, Respond(Provisional), stay(completed)),
            (completed, Respond(Success), stay(completed)),
            (completed, Respond(Failure), stay(completed)),
            (completed, T(Timer::J), (None, vec![])),
            (completed, T(Timer::K), stay(completed)),
        ];
        let terms = |reliable| Terms { intervals: Default::default(), reliable };
        for (state, input, (next, actions)) in rows {
            let step = state.on(input, &terms(false));
            assert_eq!((step.next, step.actions.to_vec()), (next, actions), "{state:?} × {input:?}");
        }
        let step = trying.on(Respond(Success), &terms(true));
        assert_eq!((step.next, step.actions.to_vec()), (None, vec![Transmit]));
        assert_eq!([trying.takes(), proceeding.takes(), completed.takes()], [true, true, false]);
    }
}
