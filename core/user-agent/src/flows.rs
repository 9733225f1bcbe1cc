//! The phone's flows: which are open, where they lead, and whether they still live (RFC 5626 §4.4, fault F12).

use std::collections::BTreeMap;
use std::time::Duration;

use wakeline_clock::{Time, earliest};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Hop, Transport};

use crate::snapshot::AccountId;

/// A peer that has answered pings before must answer this one within ten seconds (RFC 5626 §4.4.1).
const PONG_WAIT: Duration = Duration::from_secs(10);

/// How long a hop may take to open when there is another one: the next server is reached within four seconds (fault F5).
const OPENS_WITHIN: Duration = Duration::from_millis(3000);

/// Strangers' flows (datagrams from addresses that we did not open) that are kept.
const MOST_STRANGERS: usize = 256;

/// Where a flow stands.
#[derive(Clone, PartialEq, Debug)]
enum State {
    /// Asked for; what is sent meanwhile waits in the I/O.
    Opening { since: Time },
    /// Open.
    Open(FlowInfo),
}

/// One flow.
#[derive(Clone, PartialEq, Debug)]
struct Flow {
    state: State,
    /// Where it was meant to lead, and for whom; `None` when the peer opened it.
    hop: Option<(Hop, AccountId)>,
    keep_alive: Option<KeepAlive>,
}

/// A flow's sign of life.
#[derive(Clone, PartialEq, Debug)]
struct KeepAlive {
    /// The longest silence, in milliseconds; each ping comes at 80 to 100 % of it.
    interval: Duration,
    next: Time,
    pong: Pong,
}

/// What is known of the peer's answers to pings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Pong {
    /// It never answered one: perhaps it cannot, so its silence proves nothing.
    NeverSeen,
    /// It has answered.
    Seen,
    /// It has answered before, and a ping is out since.
    Awaited { until: Time },
}

/// What is due on a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// Send a ping.
    Ping(FlowId),
    /// It is dead: the peer left a ping unanswered.
    Dead(FlowId),
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    table: BTreeMap<FlowId, Flow>,
    next: u64,
}

impl Flows {
    /// The open or opening flow to a hop, if there is one: same transport, address and, under TLS, the same name
    /// (a connection must not be used for another name, class S18) and for the same account: another one may trust others.
    pub(crate) fn to(&self, hop: &Hop, account: AccountId) -> Option<FlowId> {
        let leads_there = |flow: &Flow| match &flow.hop {
            Some((own, whose)) => {
                (own == hop && *whose == account)
                    || (!hop.transport.is_secure()
                        && own.transport == hop.transport
                        && own.remote == hop.remote)
            }
            None => match &flow.state {
                State::Open(info) => {
                    !hop.transport.is_secure() && info.transport == hop.transport && info.remote == hop.remote
                }
                State::Opening { .. } => false,
            },
        };
        self.table.iter().find(|(_, flow)| leads_there(flow)).map(|(id, _)| *id)
    }

    /// Names a new flow that is to be opened.
    pub(crate) fn open(&mut self, hop: Hop, account: AccountId, now: Time) -> FlowId {
        let id = FlowId(self.next);
        self.next += 1;
        self.table.insert(
            id,
            Flow { state: State::Opening { since: now }, hop: Some((hop, account)), keep_alive: None },
        );
        id
    }

    /// A flow is open, or a peer was first heard on it. Returns the strangers that had to make room.
    pub(crate) fn opened(&mut self, info: FlowInfo) -> Option<FlowId> {
        match self.table.get_mut(&info.id) {
            Some(flow) => {
                flow.state = State::Open(info);
                None
            }
            None => {
                self.table.insert(info.id, Flow { state: State::Open(info), hop: None, keep_alive: None });
                let strangers = || self.table.iter().filter(|(_, flow)| flow.hop.is_none());
                let oldest = strangers().next().map(|(id, _)| *id);
                let crowded = strangers().count() > MOST_STRANGERS;
                oldest.filter(|_| crowded).inspect(|id| {
                    self.table.remove(id);
                })
            }
        }
    }

    /// Forgets a flow; true when it was known.
    pub(crate) fn closed(&mut self, id: FlowId) -> bool {
        self.table.remove(&id).is_some()
    }

    /// An open flow's particulars.
    pub(crate) fn info(&self, id: FlowId) -> Option<FlowInfo> {
        match &self.table.get(&id)?.state {
            State::Open(info) => Some(*info),
            State::Opening { .. } => None,
        }
    }

    /// Where a flow of ours leads.
    pub(crate) fn hop(&self, id: FlowId) -> Option<Hop> {
        self.table.get(&id)?.hop.as_ref().map(|(hop, _)| hop.clone())
    }

    /// When a flow that is being opened has taken too long for whoever has another way.
    pub(crate) fn slow_at(&self, id: FlowId) -> Option<Time> {
        match &self.table.get(&id)?.state {
            State::Opening { since } => Some(*since + OPENS_WITHIN),
            State::Open(_) => None,
        }
    }

    /// Whether the flow is known, open or opening.
    pub(crate) fn knows(&self, id: FlowId) -> bool {
        self.table.contains_key(&id)
    }

    /// Every flow.
    pub(crate) fn ids(&self) -> Vec<FlowId> {
        self.table.keys().copied().collect()
    }

    /// Keeps a flow alive from now on, or lets it be when there is no interval.
    pub(crate) fn keep_alive(
        &mut self,
        id: FlowId,
        interval: Option<Duration>,
        now: Time,
        entropy: &mut Entropy,
    ) {
        let Some(flow) = self.table.get_mut(&id) else { return };
        let pong = flow.keep_alive.as_ref().map_or(Pong::NeverSeen, |old| old.pong);
        flow.keep_alive =
            interval.map(|interval| KeepAlive { interval, next: now + jittered(interval, entropy), pong });
    }

    /// The peer answered a ping, or said anything else.
    pub(crate) fn heard(&mut self, id: FlowId, is_pong: bool) {
        let Some(keep_alive) = self.table.get_mut(&id).and_then(|flow| flow.keep_alive.as_mut()) else {
            return;
        };
        match keep_alive.pong {
            Pong::NeverSeen if !is_pong => {}
            Pong::NeverSeen | Pong::Seen | Pong::Awaited { .. } => keep_alive.pong = Pong::Seen,
        }
    }

    /// Something left on the flow: the next ping is counted from here.
    pub(crate) fn sent(&mut self, id: FlowId, now: Time, entropy: &mut Entropy) {
        if let Some(keep_alive) = self.table.get_mut(&id).and_then(|flow| flow.keep_alive.as_mut()) {
            keep_alive.next = now + jittered(keep_alive.interval, entropy);
        }
    }

    /// What is due now; to be asked until it says nothing.
    pub(crate) fn due(&mut self, now: Time, entropy: &mut Entropy) -> Option<Due> {
        for (&id, flow) in &mut self.table {
            let reliable = matches!(&flow.state, State::Open(info) if info.transport != Transport::Udp);
            let (State::Open(_), Some(keep_alive)) = (&flow.state, &mut flow.keep_alive) else { continue };
            match keep_alive.pong {
                Pong::Awaited { until } if until <= now => return Some(Due::Dead(id)),
                Pong::NeverSeen | Pong::Seen | Pong::Awaited { .. } => {}
            }
            if keep_alive.next <= now {
                keep_alive.next = now + jittered(keep_alive.interval, entropy);
                if reliable && keep_alive.pong == Pong::Seen {
                    keep_alive.pong = Pong::Awaited { until: now + PONG_WAIT };
                }
                return Some(Due::Ping(id));
            }
        }
        None
    }

    /// When something will be due.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let mut next = None;
        for flow in self.table.values() {
            if let (State::Open(_), Some(keep_alive)) = (&flow.state, &flow.keep_alive) {
                next = earliest(next, Some(keep_alive.next));
                if let Pong::Awaited { until } = keep_alive.pong {
                    next = earliest(next, Some(until));
                }
            }
        }
        next
    }

    /// Flows in the table.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }
}

/// RFC 5626 §4.4: a random time between 80 and 100 percent of the interval.
fn jittered(interval: Duration, entropy: &mut Entropy) -> Duration {
    entropy.between(interval * 4 / 5, interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(transport: Transport, port: u16, name: Option<&str>) -> Hop {
        Hop { transport, remote: ([192, 0, 2, 1], port).into(), server_name: name.map(Into::into) }
    }

    fn info(id: FlowId, transport: Transport) -> FlowInfo {
        FlowInfo {
            id,
            transport,
            local: ([127, 0, 0, 1], 5060).into(),
            remote: ([192, 0, 2, 1], 5060).into(),
        }
    }

    #[test]
    fn a_flow_is_reused_for_its_hop_and_under_tls_only_for_its_name() {
        let mut flows = Flows::default();
        let udp = flows.open(hop(Transport::Udp, 5060, Some("a.example")), AccountId(0), Time::ZERO);
        let tls = flows.open(hop(Transport::Tls, 5061, Some("a.example")), AccountId(0), Time::ZERO);
        assert_eq!(flows.to(&hop(Transport::Udp, 5060, Some("b.example")), AccountId(0)), Some(udp));
        assert_eq!(flows.to(&hop(Transport::Tls, 5061, Some("a.example")), AccountId(0)), Some(tls));
        assert_eq!(flows.to(&hop(Transport::Tls, 5061, Some("b.example")), AccountId(0)), None);
        assert_eq!(flows.to(&hop(Transport::Tcp, 5060, None), AccountId(0)), None);
        assert_eq!(flows.to(&hop(Transport::Udp, 5060, Some("a.example")), AccountId(1)), Some(udp));
        assert_eq!(flows.to(&hop(Transport::Tls, 5061, Some("a.example")), AccountId(1)), None);
    }

    #[test]
    fn f12_an_unanswered_ping_kills_only_a_flow_that_has_answered_before() {
        let mut entropy = Entropy::from_number(1);
        let mut flows = Flows::default();
        let id = flows.open(hop(Transport::Tcp, 5060, None), AccountId(0), Time::ZERO);
        flows.opened(info(id, Transport::Tcp));
        let start = Time::from_millis(1000);
        let interval = Duration::from_secs(20);
        flows.keep_alive(id, Some(interval), start, &mut entropy);
        // Two pings without an answer: the peer may not know pings.
        let mut now = start + interval;
        assert_eq!(flows.due(now, &mut entropy), Some(Due::Ping(id)));
        now += interval;
        assert_eq!(flows.due(now, &mut entropy), Some(Due::Ping(id)));
        flows.heard(id, true);
        now += interval;
        assert_eq!(flows.due(now, &mut entropy), Some(Due::Ping(id)));
        assert_eq!(flows.due(now + PONG_WAIT, &mut entropy), Some(Due::Dead(id)));
    }

    #[test]
    fn a_pong_keeps_the_flow_and_nothing_ticks_without_an_interval() {
        let mut entropy = Entropy::from_number(1);
        let mut flows = Flows::default();
        let id = flows.open(hop(Transport::Tcp, 5060, None), AccountId(0), Time::ZERO);
        flows.opened(info(id, Transport::Tcp));
        let start = Time::ZERO;
        flows.keep_alive(id, Some(Duration::from_secs(100)), start, &mut entropy);
        flows.heard(id, true);
        let next = flows.poll_timeout().unwrap();
        assert!((Duration::from_secs(80)..=Duration::from_secs(100)).contains(&next.since(start)));
        assert_eq!(flows.due(next, &mut entropy), Some(Due::Ping(id)));
        flows.heard(id, true);
        assert_eq!(flows.due(next + PONG_WAIT, &mut entropy), None);
        flows.keep_alive(id, None, next, &mut entropy);
        assert_eq!(flows.poll_timeout(), None);
    }

    #[test]
    fn s14_strangers_make_room_for_strangers_and_never_for_our_own() {
        let mut flows = Flows::default();
        let own = flows.open(hop(Transport::Udp, 5060, None), AccountId(0), Time::ZERO);
        flows.opened(info(own, Transport::Udp));
        let mut gone = Vec::new();
        for number in 0..1000 {
            gone.extend(flows.opened(info(FlowId((1 << 63) + number), Transport::Udp)));
        }
        assert_eq!((flows.len(), gone.len()), (MOST_STRANGERS + 1, 1000 - MOST_STRANGERS));
        assert!(flows.knows(own));
    }
}
