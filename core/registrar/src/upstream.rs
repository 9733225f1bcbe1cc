//! The servers behind this gateway: a PBX that knows the passwords, while bindings, flows and tokens are kept here.
//!
//! A phone's REGISTER passes through with its digest untouched; only its Contact is replaced by our own address under a
//! sealed name, so that the PBX sends calls to us (see [`register`]). The way there is one connection to each next hop
//! that we open ourselves and keep open: a request never waits for a connection, it takes the next hop that is up or
//! ends with 503. Who may speak as the upstream: that very connection, and the networks that the operator named.

mod line;
mod register;
mod request;

use core::time::Duration;

use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo};

use crate::cluster::Cluster;
use crate::deadline::Due;
use crate::machine::Registrar;
use crate::number::HopId;
use crate::output::Output;
use crate::trace::Leg;
use crate::uplink::{Hop, Outage, Standing};

/// How long an upstream may say nothing at all before the next one is tried: by then a request was sent four times.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);
/// The first wait for a next hop that failed; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

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
        if let Some(node) = Cluster::of_hop(id) {
            return self.link_opened(now, node, flow);
        }
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
        if let Some(node) = Cluster::of_hop(id) {
            return self.link_down(now, node);
        }
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
