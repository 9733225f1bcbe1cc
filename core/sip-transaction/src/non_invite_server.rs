//! The non-INVITE server transaction (RFC 3261 §17.2.2).

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

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Input {
    /// The request again.
    Again,
    /// The user's response.
    Respond(Class),
    Timer(Timer),
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
                Input::Again => Step::to(self, []),
                Input::Respond(Class::Provisional) => Step::to(State::Proceeding, [Action::Transmit]),
                Input::Respond(Class::Success | Class::Failure) => completed(terms),
                Input::Timer(_) => Step::to(self, []),
            },
            State::Proceeding => match input {
                Input::Again => Step::to(self, [Action::Transmit]),
                Input::Respond(Class::Provisional) => Step::to(self, [Action::Transmit]),
                Input::Respond(Class::Success | Class::Failure) => completed(terms),
                Input::Timer(_) => Step::to(self, []),
            },
            State::Completed => match input {
                Input::Again => Step::to(self, [Action::Transmit]),
                Input::Respond(Class::Provisional | Class::Success | Class::Failure) => Step::to(self, []),
                Input::Timer(Timer::J) => Step::end([]),
                Input::Timer(_) => Step::to(self, []),
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
