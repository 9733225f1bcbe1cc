//! Connections that have not shown yet whom they belong to (class S15).
//!
//! They have little time, and little room: from one sender, and altogether, the oldest makes room for the newest.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo};

use crate::household;

/// The connections of people we do not know yet.
pub(crate) struct Strangers {
    since: HashMap<u64, (Time, IpAddr)>,
    /// In the order of arrival; those that have left are passed over. Flow names only grow.
    order: BTreeMap<u64, Time>,
    by_source: HashMap<IpAddr, VecDeque<u64>>,
    most_per_source: usize,
    most: usize,
    patience: Duration,
}

impl Strangers {
    pub(crate) fn new(most_per_source: usize, most: usize, patience: Duration) -> Strangers {
        Strangers {
            since: HashMap::new(),
            order: BTreeMap::new(),
            by_source: HashMap::new(),
            most_per_source: most_per_source.max(1),
            most: most.max(1),
            patience,
        }
    }

    /// A connection came; gives those that must go for it.
    pub(crate) fn enter(&mut self, now: Time, flow: FlowInfo) -> Vec<FlowId> {
        let source = household::of(flow.remote.ip());
        self.since.insert(flow.id.0, (now, source));
        self.order.insert(flow.id.0, now);
        let from_here = self.by_source.entry(source).or_default();
        from_here.push_back(flow.id.0);
        let mut evicted = Vec::new();
        if from_here.len() > self.most_per_source {
            evicted.extend(from_here.front().copied());
        } else if self.since.len() > self.most {
            evicted.extend(self.order.first_key_value().map(|(name, _)| *name));
        }
        let evicted: Vec<FlowId> = evicted.into_iter().map(FlowId).collect();
        for flow in &evicted {
            self.leave(*flow);
        }
        evicted
    }

    /// It has shown whom it belongs to, or is gone.
    pub(crate) fn leave(&mut self, flow: FlowId) {
        let Some((_, source)) = self.since.remove(&flow.0) else { return };
        self.order.remove(&flow.0);
        if let Some(from_here) = self.by_source.get_mut(&source) {
            // Nearly always the first or the last: they leave in order, or at once.
            if let Some(at) = from_here.iter().position(|name| *name == flow.0) {
                from_here.remove(at);
            }
            if from_here.is_empty() {
                self.by_source.remove(&source);
            }
        }
    }

    /// Whether this connection is still a stranger's.
    pub(crate) fn knows(&self, flow: FlowId) -> bool {
        self.since.contains_key(&flow.0)
    }

    /// Those whose time is over.
    pub(crate) fn overdue(&mut self, now: Time) -> Vec<FlowId> {
        let due: Vec<FlowId> = self
            .order
            .iter()
            .take_while(|(_, since)| now.since(**since) >= self.patience)
            .map(|(name, _)| FlowId(*name))
            .collect();
        for flow in &due {
            self.leave(*flow);
        }
        due
    }

    pub(crate) fn len(&self) -> usize {
        self.since.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeline_flow::Transport;

    fn flow(id: u64, source: &str) -> FlowInfo {
        let remote = source.parse().unwrap();
        FlowInfo { id: FlowId(id), transport: Transport::Tcp, local: remote, remote }
    }

    #[test]
    fn s15_the_oldest_stranger_makes_room_and_the_late_are_closed() {
        let mut strangers = Strangers::new(2, 3, Duration::from_secs(30));
        let at = Time::from_millis;
        assert!(strangers.enter(at(0), flow(1, "192.0.2.1:1")).is_empty());
        assert!(strangers.enter(at(1), flow(2, "192.0.2.1:2")).is_empty());
        assert_eq!(strangers.enter(at(2), flow(3, "192.0.2.1:3")), [FlowId(1)]);
        assert!(strangers.enter(at(3), flow(4, "192.0.2.2:1")).is_empty());
        assert_eq!(strangers.enter(at(4), flow(5, "192.0.2.3:1")), [FlowId(2)], "the oldest of all");
        strangers.leave(FlowId(4));
        assert!(!strangers.knows(FlowId(4)) && strangers.knows(FlowId(3)));
        assert_eq!(strangers.overdue(at(30_001)), []);
        assert_eq!(strangers.overdue(at(30_002)), [FlowId(3)]);
        strangers.leave(FlowId(5));
        assert_eq!(strangers.len(), 0);
        assert!(strangers.by_source.is_empty() && strangers.order.is_empty());
    }
}
