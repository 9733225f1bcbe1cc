//! What a machine answers to an input: the next state and what is to be done.

use core::time::Duration;

use smallvec::SmallVec;

use crate::timer::Timer;

/// One thing that the table does for a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Action {
    /// Send the client's request, or the server's last response.
    Transmit,
    /// Send the ACK to a non-2xx response (§17.1.1.3).
    Acknowledge,
    /// Hand the message that came in to the transaction user.
    Pass,
    /// Answer 100 for the transaction user (§17.2.1).
    Trying,
    /// Let a timer run from now on.
    Start(Timer, Duration),
    /// Stop a timer.
    Stop(Timer),
    /// No final response came.
    TimedOut,
    /// The flow broke.
    TransportFailed,
    /// No ACK came.
    AckTimedOut,
}

/// A transition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Step<S> {
    /// Nothing: terminated.
    pub(crate) next: Option<S>,
    /// In this order.
    pub(crate) actions: SmallVec<[Action; 4]>,
}

impl<S> Step<S> {
    pub(crate) fn to(next: S, actions: impl IntoIterator<Item = Action>) -> Step<S> {
        Step { next: Some(next), actions: actions.into_iter().collect() }
    }

    /// Nothing changes: what came means nothing here, as a timer of a state that was left.
    pub(crate) fn stay(state: S) -> Step<S> {
        Step::to(state, [])
    }

    /// A client's first state (§17.1.1.2, §17.1.2.2): the request leaves, is repeated by the first timer where the
    /// transport may lose it, and given up by the second.
    pub(crate) fn opening(first: S, [repeats, gives_up]: [Timer; 2], terms: &Terms) -> Step<S> {
        let ends = Action::Start(gives_up, terms.intervals.timeout());
        let mut step = Step::to(first, [Action::Transmit, ends]);
        if !terms.reliable {
            step.actions.push(Action::Start(repeats, terms.intervals.t1));
        }
        step
    }

    pub(crate) fn end(actions: impl IntoIterator<Item = Action>) -> Step<S> {
        Step { next: None, actions: actions.into_iter().collect() }
    }

    /// To a state that lasts as long as its timer: not at all where that is zero.
    pub(crate) fn linger(
        next: S,
        timer: Timer,
        wait: Duration,
        actions: impl IntoIterator<Item = Action>,
    ) -> Step<S> {
        if wait.is_zero() {
            return Step::end(actions);
        }
        let mut step = Step::to(next, actions);
        step.actions.push(Action::Start(timer, wait));
        step
    }
}

/// What kind of response it is, as far as the machines care.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Class {
    /// 1xx.
    Provisional,
    /// 2xx.
    Success,
    /// 3xx to 6xx.
    Failure,
}

impl Class {
    pub(crate) fn of(status: u16) -> Class {
        match status {
            ..200 => Class::Provisional,
            200..300 => Class::Success,
            300.. => Class::Failure,
        }
    }
}

/// What the machines must know of their transport and timers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Terms {
    pub(crate) intervals: crate::timer::Intervals,
    pub(crate) reliable: bool,
}

impl Terms {
    /// Zero on transports that deliver by themselves.
    pub(crate) fn unless_reliable(&self, wait: Duration) -> Duration {
        if self.reliable { Duration::ZERO } else { wait }
    }
}
