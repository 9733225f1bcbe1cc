//! The live connections, apart from the bindings.
//!
//! A binding says who may be woken, a flow says who can be reached right now (rule 6 of the wake design); a dead flow
//! is a reason to push and never unbinds anyone (RFC 5626 §6: the flow is removed, a push binding stays).

use core::time::Duration;

use smallvec::SmallVec;
use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo};

use crate::keyed::{Keyed, Table};
use crate::number::BindingId;

/// What is known of how alive a binding's connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Liveness {
    /// Something was heard on it a moment ago: forward only.
    Proven(FlowId),
    /// It is open as far as we know: forward and push.
    Unproven(FlowId),
    /// There is none: push and hold.
    Asleep,
}

/// One open flow.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) info: FlowInfo,
    /// When bytes last came in on it.
    pub(crate) heard: Time,
    /// The bindings whose REGISTER came in on it; one phone may hold two accounts on one flow.
    pub(crate) bindings: SmallVec<[BindingId; 2]>,
}

/// All open flows.
pub(crate) struct Flows {
    flows: Table<u64, Flow>,
    proven_for: Duration,
    most: usize,
}

impl Flows {
    pub(crate) fn new(proven_for: Duration, most: usize, keyed: Keyed) -> Flows {
        Flows { flows: keyed.table(), proven_for, most }
    }

    /// Bytes came in: the flow is known and proven. `false` when there is no room for a new one (class S14).
    pub(crate) fn heard(&mut self, now: Time, info: FlowInfo) -> bool {
        if let Some(flow) = self.flows.get_mut(&info.id.0) {
            flow.heard = now;
            return true;
        }
        if self.flows.len() >= self.most {
            return false;
        }
        self.flows.insert(info.id.0, Flow { info, heard: now, bindings: SmallVec::new() });
        true
    }

    /// A keep-alive came in on a flow that is already known.
    pub(crate) fn pinged(&mut self, now: Time, id: FlowId) {
        if let Some(flow) = self.flows.get_mut(&id.0) {
            flow.heard = now;
        }
    }

    /// The flow is gone; gives what hung on it.
    pub(crate) fn closed(&mut self, id: FlowId) -> Option<Flow> {
        self.flows.remove(&id.0)
    }

    pub(crate) fn get(&self, id: FlowId) -> Option<&Flow> {
        self.flows.get(&id.0)
    }

    pub(crate) fn attach(&mut self, id: FlowId, binding: BindingId) {
        if let Some(flow) = self.flows.get_mut(&id.0)
            && !flow.bindings.contains(&binding)
        {
            flow.bindings.push(binding);
        }
    }

    pub(crate) fn detach(&mut self, id: FlowId, binding: BindingId) {
        if let Some(flow) = self.flows.get_mut(&id.0) {
            flow.bindings.retain(|bound| *bound != binding);
        }
    }

    /// How alive a binding's flow is.
    pub(crate) fn liveness(&self, now: Time, flow: Option<FlowId>) -> Liveness {
        match flow.and_then(|id| self.get(id)) {
            Some(flow) if now.since(flow.heard) <= self.proven_for => Liveness::Proven(flow.info.id),
            Some(flow) => Liveness::Unproven(flow.info.id),
            None => Liveness::Asleep,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeline_entropy::Entropy;
    use wakeline_flow::Transport;

    fn info(id: u64) -> FlowInfo {
        let end = "192.0.2.1:5060".parse().unwrap();
        FlowInfo { id: FlowId(id), transport: Transport::Tcp, local: end, remote: end }
    }

    fn flows() -> Flows {
        Flows::new(Duration::from_secs(15), 2, Keyed::draw(&mut Entropy::from_number(1)))
    }

    #[test]
    fn proven_for_fifteen_seconds_then_unproven_then_asleep() {
        let mut flows = flows();
        assert!(flows.heard(Time::ZERO, info(1)));
        let id = Some(FlowId(1));
        assert_eq!(flows.liveness(Time::from_millis(15_000), id), Liveness::Proven(FlowId(1)));
        assert_eq!(flows.liveness(Time::from_millis(15_001), id), Liveness::Unproven(FlowId(1)));
        flows.pinged(Time::from_millis(20_000), FlowId(1));
        assert_eq!(flows.liveness(Time::from_millis(30_000), id), Liveness::Proven(FlowId(1)));
        flows.attach(FlowId(1), BindingId(4));
        flows.attach(FlowId(1), BindingId(4));
        assert_eq!(flows.closed(FlowId(1)).unwrap().bindings.as_slice(), [BindingId(4)]);
        assert_eq!(flows.liveness(Time::from_millis(30_000), id), Liveness::Asleep);
        assert_eq!(flows.liveness(Time::ZERO, None), Liveness::Asleep);
    }

    #[test]
    fn s14_no_more_flows_than_allowed() {
        let mut flows = flows();
        assert!(flows.heard(Time::ZERO, info(1)) && flows.heard(Time::ZERO, info(2)));
        assert!(!flows.heard(Time::ZERO, info(3)));
        assert!(flows.heard(Time::ZERO, info(2)));
        assert_eq!(flows.len(), 2);
    }
}
