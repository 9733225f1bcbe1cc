//! What is known of the upstreams: their next hops and how each stands, REGISTERs on their way, and registrations of our
//! own. What is done with them stands in `upstream`.

mod line;
mod waiting;

use core::net::IpAddr;
use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest, Sha256};
use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_sip_message::Uri;
use wakeline_sip_transaction::ClientKey;

use crate::config::{NextHop, Upstream};
use crate::number::{AorId, HopName, UpstreamId};

pub(crate) use line::{Line, LineStanding, Outage, Wish};
pub(crate) use waiting::{Heard, Registering};

/// How a next hop stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Its connection was asked for.
    Opening,
    /// It can be sent to.
    Open(FlowInfo),
    /// It could not be reached, or did not answer. It is asked for again then.
    Down { until: Time },
}

/// One next hop.
pub(crate) struct Hop {
    pub(crate) upstream: UpstreamId,
    pub(crate) next: NextHop,
    pub(crate) name: HopName,
    pub(crate) standing: Standing,
    /// Where it was last found: streams from there are its own.
    pub(crate) address: Option<IpAddr>,
    /// Times in a row that it failed.
    pub(crate) failures: u8,
    pub(crate) armed: Time,
}

/// All upstreams and what is on its way to them.
pub(crate) struct Upstreams {
    all: Vec<Upstream>,
    pub(crate) hops: Vec<Hop>,
    /// REGISTERs that wait for the upstream's answer.
    pub(crate) registering: BTreeMap<ClientKey, Box<Registering>>,
    /// In the order in which they were sent: each waits equally long for a first word.
    pub(crate) patience: VecDeque<(Time, ClientKey)>,
    pub(crate) patience_armed: Time,
    /// Registrations of our own.
    pub(crate) lines: BTreeMap<AorId, Box<Line>>,
    /// Whose they are, by the name in their Contact.
    pub(crate) by_line: BTreeMap<u64, AorId>,
    /// Their REGISTERs on the way.
    pub(crate) asking: BTreeMap<ClientKey, AorId>,
}

impl Upstreams {
    pub(crate) fn new(all: Vec<Upstream>) -> Upstreams {
        let numbered = (0u16..).map(UpstreamId).zip(&all);
        let hops = numbered.flat_map(|(upstream, one)| {
            one.next_hops.iter().map(move |next| Hop {
                upstream,
                next: next.clone(),
                name: name_of(next),
                standing: Standing::Opening,
                address: None,
                failures: 0,
                armed: Time::NEVER,
            })
        });
        let hops = hops.collect();
        Upstreams {
            all,
            hops,
            registering: BTreeMap::new(),
            patience: VecDeque::new(),
            patience_armed: Time::NEVER,
            lines: BTreeMap::new(),
            by_line: BTreeMap::new(),
            asking: BTreeMap::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(crate) fn get(&self, id: UpstreamId) -> Option<&Upstream> {
        self.all.get(usize::from(id.0))
    }

    /// Whose domain this host is.
    pub(crate) fn of_domain(&self, host: &str) -> Option<UpstreamId> {
        let found =
            self.all.iter().position(|one| one.domains.iter().any(|d| d.eq_ignore_ascii_case(host)))?;
        u16::try_from(found).ok().map(UpstreamId)
    }

    /// Whose domain `user@domain` stands in.
    pub(crate) fn of_aor(&self, name: &str) -> Option<UpstreamId> {
        self.of_domain(name.rsplit_once('@')?.1)
    }

    /// Whose address a URI names: peers hand out the PBX's own address in Contact and Refer-To.
    pub(crate) fn of_address(&self, uri: &Uri<'_>) -> Option<UpstreamId> {
        let address = uri.host().address();
        let here = |hop: &&Hop| {
            uri.port().unwrap_or(hop.next.transport.default_port()) == hop.next.port
                && (hop.next.host.eq_ignore_ascii_case(uri.host_text())
                    || address.is_some() && hop.address == address)
        };
        self.hops.iter().find(here).map(|hop| hop.upstream)
    }

    /// The upstream that speaks on this flow: on a connection that we opened to it, or from a network of its own.
    pub(crate) fn sender(&self, flow: &FlowInfo) -> Option<UpstreamId> {
        if self.all.is_empty() {
            return None;
        }
        if let Some(hop) = self.hop_on(flow.id) {
            return Some(hop.upstream);
        }
        let inside = |one: &Upstream| one.networks.iter().any(|network| network.contains(flow.remote));
        self.all.iter().position(inside).and_then(|found| u16::try_from(found).ok()).map(UpstreamId)
    }

    fn hop_on(&self, flow: FlowId) -> Option<&Hop> {
        self.hops.iter().find(|hop| matches!(hop.standing, Standing::Open(info) if info.id == flow))
    }

    /// Whether we opened this flow.
    pub(crate) fn has_flow(&self, flow: FlowId) -> bool {
        self.hop_on(flow).is_some()
    }

    /// The next hop behind a flow, for names within dialogs: its own connection, or one that the same server opened.
    pub(crate) fn hop_of(&self, flow: &FlowInfo) -> Option<HopName> {
        if let Some(hop) = self.hop_on(flow.id) {
            return Some(hop.name);
        }
        let sender = self.sender(flow)?;
        let source = Some(flow.remote.ip().to_canonical());
        self.hops.iter().find(|hop| hop.upstream == sender && hop.address == source).map(|hop| hop.name)
    }

    /// The connection of a next hop that a dialog goes through, and whose it is.
    pub(crate) fn open_by_name(&self, name: HopName) -> (Option<UpstreamId>, Option<FlowInfo>) {
        let Some(hop) = self.hops.iter().find(|hop| hop.name == name) else { return (None, None) };
        let Standing::Open(info) = hop.standing else { return (Some(hop.upstream), None) };
        (Some(hop.upstream), Some(info))
    }

    /// The first next hop that is up and not among those that failed.
    pub(crate) fn open(&self, upstream: UpstreamId, not: &[FlowId]) -> Option<FlowInfo> {
        let of_this = self.hops.iter().filter(|hop| hop.upstream == upstream);
        of_this
            .filter_map(|hop| match hop.standing {
                Standing::Open(info) => Some(info),
                Standing::Opening | Standing::Down { .. } => None,
            })
            .find(|info| !not.contains(&info.id))
    }

    /// How many next hops there are, and how many are up.
    pub(crate) fn count(&self) -> (usize, usize) {
        let open = self.hops.iter().filter(|hop| matches!(hop.standing, Standing::Open(_))).count();
        (self.hops.len(), open)
    }
}

/// 56 bits of a digest: room is left for what else a sealed name has to say.
fn name_of(next: &NextHop) -> HopName {
    let digest = Sha256::digest(next.to_string().to_ascii_lowercase().as_bytes());
    let mut word = [0; 8];
    word[1..].copy_from_slice(&digest[..7]);
    HopName(u64::from_be_bytes(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrustedPeer;
    use wakeline_flow::Transport;

    fn upstream(domain: &str, hosts: &[&str]) -> Upstream {
        let hop = |host: &&str| NextHop { transport: Transport::Udp, host: (*host).into(), port: 5060 };
        Upstream {
            domains: vec![domain.into()],
            next_hops: hosts.iter().map(hop).collect(),
            networks: vec![TrustedPeer { network: "198.51.100.0".parse().unwrap(), prefix: 24 }],
            expires: 3600,
            line_expires: 600,
        }
    }

    fn flow(id: u64, remote: &str) -> FlowInfo {
        let local = "203.0.113.1:5060".parse().unwrap();
        FlowInfo { id: FlowId(id), transport: Transport::Udp, local, remote: remote.parse().unwrap() }
    }

    #[test]
    fn the_first_next_hop_that_is_up_is_taken() {
        let mut table = Upstreams::new(vec![upstream("pbx.example.org", &["a", "b"])]);
        let id = UpstreamId(0);
        assert_eq!(table.open(id, &[]), None);
        table.hops[1].standing = Standing::Open(flow(2, "192.0.2.2:5060"));
        assert_eq!(table.open(id, &[]).map(|info| info.id), Some(FlowId(2)));
        table.hops[0].standing = Standing::Open(flow(1, "192.0.2.1:5060"));
        assert_eq!(table.open(id, &[]).map(|info| info.id), Some(FlowId(1)));
        assert_eq!(table.open(id, &[FlowId(1)]).map(|info| info.id), Some(FlowId(2)));
        assert_eq!(table.open(id, &[FlowId(1), FlowId(2)]), None);
    }

    #[test]
    fn the_upstream_speaks_on_its_connection_and_from_its_networks_only() {
        let mut table = Upstreams::new(vec![upstream("pbx.example.org", &["a"])]);
        table.hops[0].standing = Standing::Open(flow(1, "192.0.2.1:5060"));
        assert_eq!(table.sender(&flow(1, "192.0.2.1:5060")), Some(UpstreamId(0)));
        assert_eq!(table.sender(&flow(7, "192.0.2.1:5061")), None);
        assert_eq!(table.sender(&flow(8, "198.51.100.9:40000")), Some(UpstreamId(0)));
    }

    #[test]
    fn a_next_hops_name_does_not_depend_on_its_place() {
        let first = Upstreams::new(vec![upstream("x", &["a", "b"])]);
        let second = Upstreams::new(vec![upstream("x", &["B", "a"])]);
        assert_eq!(first.hops[1].name, second.hops[0].name);
        assert_ne!(first.hops[0].name, first.hops[1].name);
        assert!(first.hops[0].name.0 < 1 << 56);
    }
}
