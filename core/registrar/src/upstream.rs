//! The servers behind this gateway: a PBX that knows the passwords, while bindings, flows and tokens are kept here.
//!
//! A phone's REGISTER passes through with its digest untouched; only its Contact is replaced by our own address under a
//! sealed name, so that the PBX sends calls to us (see [`register`]). The way there is one connection to each next hop
//! that we open ourselves and keep open: a request never waits for a connection, it takes the next hop that is up or
//! ends with 503. Who may speak as the upstream: that very connection, and the networks that the operator named.

mod line;
mod register;
mod request;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use sha2::{Digest, Sha256};
use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo, Transport};
use wakeline_sip_message::Uri;
use wakeline_sip_transaction::ClientKey;

use crate::account::AorId;
use crate::config::TrustedPeer;
use crate::deadline::Due;
use crate::machine::Registrar;
use crate::output::Output;
use crate::trace::Leg;

pub(crate) use line::{Line, Outage};
pub(crate) use register::Registering;
pub(crate) use request::Towards;

/// A server, or several that stand in for each other, which registers and routes for some domains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upstream {
    /// Its domains, lower case; none of them is one of ours.
    pub domains: Vec<String>,
    /// Where it is, the one we like best first.
    pub next_hops: Vec<NextHop>,
    /// From where else it may send to us: a PBX over TCP or TLS opens connections of its own.
    pub networks: Vec<TrustedPeer>,
    /// Seconds that are asked for at least for a phone that can be woken. What the upstream grants is what counts.
    pub expires: u32,
    /// Seconds that the gateway asks for when it registers an account itself.
    pub line_expires: u32,
}

/// One address of an upstream. Names are resolved by whoever opens the connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NextHop {
    /// UDP, TCP or TLS.
    pub transport: Transport,
    /// A name or an address; under TLS the certificate must carry it.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl core::fmt::Display for NextHop {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "sip:{}:{};transport={}", self.host, self.port, self.transport.uri_parameter())
    }
}

/// The number of a next hop: all upstreams' in the order of the configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HopId(pub u16);

/// The number of an upstream.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct UpstreamId(pub(crate) u16);

/// A next hop's name within dialogs: it outlives restarts and changes of order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HopName(pub(crate) u64);

/// How a next hop stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// Its connection was asked for.
    Opening,
    /// It can be sent to.
    Open(FlowInfo),
    /// It could not be reached, or did not answer. It is asked for again then.
    Down { until: Time },
}

struct Hop {
    upstream: UpstreamId,
    next: NextHop,
    name: HopName,
    standing: Standing,
    /// Where it was last found: streams from there are its own.
    address: Option<IpAddr>,
    /// Times in a row that it failed.
    failures: u8,
    armed: Time,
}

/// How long an upstream may say nothing at all before the next one is tried: by then a request was sent four times.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);
/// The first wait for a next hop that failed; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// All upstreams and what is on its way to them.
pub(crate) struct Upstreams {
    all: Vec<Upstream>,
    hops: Vec<Hop>,
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

impl Registrar {
    /// Asks for every next hop's connection.
    pub(crate) fn open_hops(&mut self) {
        for index in 0..self.upstreams.hops.len() {
            self.open_hop(index);
        }
    }

    fn open_hop(&mut self, index: usize) {
        let Some(hop) = self.upstreams.hops.get_mut(index) else { return };
        hop.standing = Standing::Opening;
        let (Ok(id), next) = (u16::try_from(index), hop.next.clone()) else { return };
        self.outputs.push_back(Output::OpenFlow(HopId(id), next));
    }

    /// The connection that [`Output::OpenFlow`] asked for is there. `flow.local` is the address under which the upstream
    /// reaches us: over streams our listening port, not the connection's own.
    pub fn handle_hop_opened(&mut self, now: Time, id: HopId, flow: FlowInfo) {
        if !self.flows.heard(now, flow) {
            return self.hop_down(now, usize::from(id.0));
        }
        let Some(hop) = self.upstreams.hops.get_mut(usize::from(id.0)) else { return };
        hop.standing = Standing::Open(flow);
        hop.address = Some(flow.remote.ip().to_canonical());
        self.deadlines.rearm(&mut hop.armed, Time::NEVER, Due::Hop(id));
        let (upstream, outage) = (hop.upstream, if hop.failures > 1 { Outage::Over } else { Outage::None });
        self.trace(now, None, Leg::HopOpen(id));
        self.lines_wake(now, upstream, outage);
    }

    /// It cannot be opened: no such name, no answer, a certificate that is not to be trusted. It is asked for again.
    pub fn handle_hop_failed(&mut self, now: Time, id: HopId) {
        self.hop_down(now, usize::from(id.0));
    }

    /// A connection of ours to an upstream was closed. One that worked is opened anew at once: servers close what is idle.
    pub(crate) fn hop_closed(&mut self, now: Time, flow: FlowId) {
        let found = |hop: &Hop| matches!(hop.standing, Standing::Open(info) if info.id == flow);
        let Some(index) = self.upstreams.hops.iter().position(found) else { return };
        match self.upstreams.hops[index].failures {
            0 => {
                self.upstreams.hops[index].failures = 1;
                self.open_hop(index);
            }
            _ => self.hop_down(now, index),
        }
    }

    /// A request got no answer at all on this flow: the next ones go elsewhere until it is asked for anew, names
    /// resolved again.
    pub(crate) fn hop_silent(&mut self, now: Time, flow: FlowId) {
        let found = |hop: &Hop| matches!(hop.standing, Standing::Open(info) if info.id == flow);
        let Some(index) = self.upstreams.hops.iter().position(found) else { return };
        let stream = self.upstreams.hops[index].next.transport.is_reliable();
        self.hop_down(now, index);
        if stream {
            self.outputs.push_back(Output::CloseFlow(flow));
        }
    }

    /// It has answered: whatever was before is forgotten.
    pub(crate) fn hop_answered(&mut self, flow: FlowId) {
        let on = |hop: &&mut Hop| matches!(hop.standing, Standing::Open(info) if info.id == flow);
        if let Some(hop) = self.upstreams.hops.iter_mut().find(on) {
            hop.failures = 0;
        }
    }

    fn hop_down(&mut self, now: Time, index: usize) {
        let Ok(id) = u16::try_from(index).map(HopId) else { return };
        let Some(hop) = self.upstreams.hops.get_mut(index) else { return };
        let wait = (FIRST_WAIT * (1 << u32::from(hop.failures.min(6)))).min(LONGEST_WAIT);
        hop.failures = hop.failures.saturating_add(1);
        let until = now + wait;
        hop.standing = Standing::Down { until };
        self.deadlines.rearm(&mut hop.armed, until, Due::Hop(id));
        self.trace(now, None, Leg::HopDown(id));
    }

    pub(crate) fn on_hop_due(&mut self, now: Time, id: HopId) {
        let index = usize::from(id.0);
        let Some(hop) = self.upstreams.hops.get_mut(index) else { return };
        hop.armed = Time::NEVER;
        match hop.standing {
            Standing::Down { until } if until <= now => self.open_hop(index),
            Standing::Down { .. } | Standing::Opening | Standing::Open(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
