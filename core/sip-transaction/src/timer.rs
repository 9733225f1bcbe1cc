//! Every timer of the four machines, in one enum and one ordered set.

use core::time::Duration;
use std::collections::BTreeSet;

use smallvec::SmallVec;
use wakeline_clock::Time;

use crate::key::Key;

/// The timers of RFC 3261 §17 (its Table 4), RFC 6026 §8 and two of their surroundings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Timer {
    /// INVITE retransmission at the client, unreliable transports only (§17.1.1.2).
    A,
    /// INVITE client transaction timeout, 64·T1 (§17.1.1.2).
    B,
    /// Wait for retransmitted non-2xx responses, at least 32 s (§17.1.1.2).
    D,
    /// Non-INVITE retransmission at the client, unreliable transports only (§17.1.2.2).
    E,
    /// Non-INVITE client transaction timeout, 64·T1 (§17.1.2.2).
    F,
    /// INVITE response retransmission, unreliable transports only (§17.2.1).
    G,
    /// Wait for the ACK to a non-2xx response, 64·T1 (§17.2.1).
    H,
    /// Wait for retransmitted ACKs, T4 (§17.2.1).
    I,
    /// Wait for retransmitted non-INVITE requests, 64·T1 (§17.2.2).
    J,
    /// Wait for retransmitted responses, T4 (§17.1.2.2).
    K,
    /// Wait in the server's Accepted state, 64·T1 (RFC 6026 §8.7).
    L,
    /// Wait in the client's Accepted state, 64·T1 (RFC 6026 §8.4).
    M,
    /// The 200 ms after which a silent transaction user is helped out with a 100 (§17.2.1).
    Trying,
    /// The 64·T1 after a CANCEL in which its INVITE must end (§9.1).
    Cancel,
}

impl Timer {
    /// Whether this timer only repeats something; the other timers end a state.
    pub(crate) const fn repeats(self) -> bool {
        match self {
            Timer::A | Timer::E | Timer::G => true,
            Timer::B
            | Timer::D
            | Timer::F
            | Timer::H
            | Timer::I
            | Timer::J
            | Timer::K
            | Timer::L
            | Timer::M
            | Timer::Trying
            | Timer::Cancel => false,
        }
    }
}

/// The three estimates that every timer is made of (RFC 3261 §17.1.1.1 and Table 4).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Intervals {
    /// Round-trip estimate, 500 ms.
    pub t1: Duration,
    /// Longest retransmission interval of non-INVITE requests and INVITE responses, 4 s.
    pub t2: Duration,
    /// Longest time a message stays in the network, 5 s.
    pub t4: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Intervals { t1: Duration::from_millis(500), t2: Duration::from_secs(4), t4: Duration::from_secs(5) }
    }
}

impl Intervals {
    /// 64·T1: how long a transaction tries.
    pub fn timeout(&self) -> Duration {
        self.t1.saturating_mul(64)
    }

    /// Timer D: at least 32 s, and not shorter than the server keeps repeating (§17.1.1.2).
    pub(crate) fn d(&self) -> Duration {
        self.timeout().max(Duration::from_secs(32))
    }

    /// The next interval of timers E and G.
    pub(crate) fn doubled(&self, interval: Duration) -> Duration {
        interval.saturating_mul(2).min(self.t2)
    }
}

/// The timers that run for one transaction; never more than three.
pub(crate) type Running = SmallVec<[(Timer, Time); 3]>;

/// All running timers, ordered by when they fire.
#[derive(Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Time, Key, Timer)>,
}

impl Timers {
    pub(crate) fn start(&mut self, owner: Key, running: &mut Running, timer: Timer, at: Time) {
        self.stop(owner, running, timer);
        running.push((timer, at));
        self.due.insert((at, owner, timer));
    }

    pub(crate) fn stop(&mut self, owner: Key, running: &mut Running, timer: Timer) {
        if let Some(place) = running.iter().position(|(found, _)| *found == timer) {
            let (timer, at) = running.swap_remove(place);
            self.due.remove(&(at, owner, timer));
        }
    }

    pub(crate) fn stop_all(&mut self, owner: Key, running: &mut Running) {
        for (timer, at) in running.drain(..) {
            self.due.remove(&(at, owner, timer));
        }
    }

    /// The first timer, if it is due.
    pub(crate) fn first_due(&self, now: Time) -> Option<(Key, Timer)> {
        self.due.first().filter(|(at, _, _)| *at <= now).map(|(_, owner, timer)| (*owner, *timer))
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _, _)| *at)
    }

    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }
}
