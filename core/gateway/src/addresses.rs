//! UDP addresses that nothing was heard from for a while and that no binding hangs on: they are let go, so that a flood
//! of forged sources fills no table for long (class S14).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use wakeline_clock::Time;
use wakeline_flow::FlowId;

/// Longer than any transaction without a word from the other side lives (RFC 3261 §16.6 step 11: timer C).
const IDLE: Duration = Duration::from_secs(240);
/// How often one with a binding is looked at again.
const AGAIN: Duration = Duration::from_secs(600);
/// Looked at in one go, so that the loop never pauses for long.
const MOST: usize = 10_000;

/// When each address was last heard.
pub(crate) struct Addresses {
    room: usize,
    heard: HashMap<u64, Time>,
    /// When to look at each again.
    due: BinaryHeap<Reverse<(Time, u64)>>,
}

impl Addresses {
    /// Room for so many.
    pub(crate) fn new(room: usize) -> Addresses {
        Addresses { room, heard: HashMap::new(), due: BinaryHeap::new() }
    }

    /// A datagram came; `false` when it is from one address too many.
    pub(crate) fn heard(&mut self, now: Time, flow: FlowId) -> bool {
        if let Some(heard) = self.heard.get_mut(&flow.0) {
            *heard = now;
            return true;
        }
        if self.heard.len() >= self.room {
            return false;
        }
        self.heard.insert(flow.0, now);
        self.due.push(Reverse((now + IDLE, flow.0)));
        true
    }

    /// Those that are let go now.
    pub(crate) fn idle(&mut self, now: Time, is_bound: impl Fn(FlowId) -> bool) -> Vec<FlowId> {
        let mut gone = Vec::new();
        for _ in 0..MOST {
            let Some(Reverse((_, name))) = self.due.peek().filter(|due| due.0.0 <= now).copied() else {
                break;
            };
            self.due.pop();
            let Some(heard) = self.heard.get(&name) else { continue };
            if is_bound(FlowId(name)) {
                self.due.push(Reverse((now + AGAIN, name)));
            } else if now.since(*heard) < IDLE {
                self.due.push(Reverse((*heard + IDLE, name)));
            } else {
                self.heard.remove(&name);
                gone.push(FlowId(name));
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s14_silent_addresses_go_and_bound_ones_stay() {
        let mut addresses = Addresses::new(3);
        let at = |seconds: u64| Time::ZERO + Duration::from_secs(seconds);
        for name in 1..=3 {
            assert!(addresses.heard(at(0), FlowId(name)));
        }
        assert!(addresses.heard(at(100), FlowId(3)));
        assert!(!addresses.heard(at(100), FlowId(4)), "a flood of sources finds no room");
        let bound = |flow: FlowId| flow == FlowId(2);
        assert!(addresses.idle(at(239), bound).is_empty());
        assert_eq!(addresses.idle(at(240), bound), [FlowId(1)]);
        assert_eq!(addresses.idle(at(340), bound), [FlowId(3)]);
        assert_eq!(addresses.idle(at(840), |_| false), [FlowId(2)]);
        assert!(addresses.heard.is_empty() && addresses.due.is_empty());
    }
}
