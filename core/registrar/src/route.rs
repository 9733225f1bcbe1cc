//! Where a request is to go (RFC 3261 §16.4 and §16.5): to a party of a dialog, to a device, to an address of record, to
//! us, or nowhere. We relay to our own bindings and to the parties of dialogs that went through us, to no one else (S28).

use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo, Transport};
use wakeline_sip_message::{Host, Message, Name, NameAddr, Uri};
use wakeline_sip_transaction::SentBy;

use crate::machine::Registrar;
use crate::number::{AorId, BindingId, HopName, NodeId, UpstreamId};
use crate::seal::Purpose;

/// One end of a dialog that was recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Party {
    /// A registered device; it may sleep now.
    Binding(BindingId),
    /// A flow of this process: a trunk, or a caller without binding.
    Flow(FlowId),
    /// A flow of another node.
    Elsewhere(NodeId, FlowId),
    /// A next hop of an upstream, and how far the CSeq there is ahead of the other end's.
    Upstream(HopName, u8),
}

impl Party {
    /// A next hop's name has 56 bits; above it stands how far ahead its CSeq is.
    fn of_upstream(number: u64) -> Party {
        let ahead = u8::try_from(number >> 56).unwrap_or(0);
        Party::Upstream(HopName(number & ((1 << 56) - 1)), ahead)
    }

    /// The same party, its CSeq ahead by so much.
    pub(crate) fn ahead_by(self, ahead: u8) -> Party {
        match self {
            Party::Upstream(name, _) => Party::Upstream(name, ahead),
            Party::Binding(_) | Party::Flow(_) | Party::Elsewhere(..) => self,
        }
    }
}

/// Where a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Destination {
    /// Along a dialog.
    Party(Party),
    /// To one device that is connected here, for another node.
    Handed(BindingId),
    /// To one device (GRUU).
    Device(BindingId),
    /// To every device of an address of record.
    Aor(AorId),
    /// To an upstream.
    Upstream(UpstreamId),
    /// It is for us.
    Us,
    /// Nowhere, with this code.
    Nowhere(u16),
}

/// Which of an upstream's next hops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Towards {
    /// The first that is up.
    Any(UpstreamId),
    /// The one that a dialog goes through, and how far its CSeq is ahead.
    Hop(HopName, u8),
}

/// The way of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Way {
    pub(crate) to: Destination,
    /// How many Route values on top are ours.
    pub(crate) own_routes: u8,
    /// Whether a name that only we can give showed the way: the sender takes part in a dialog that we know.
    pub(crate) vouched: bool,
}

impl Registrar {
    /// Whether a host is ours: a domain, or an address that we write into Via and Record-Route.
    pub(crate) fn is_us(&self, host: &str) -> bool {
        self.accounts.is_ours(host)
            || self.config.addresses.iter().any(|address| address.host.eq_ignore_ascii_case(host))
    }

    fn is_us_on(&self, flow: &FlowInfo, host: Host<'_>, text: &str) -> bool {
        self.is_us(text) || host.address() == Some(flow.local.ip().to_canonical())
    }

    /// The end of a dialog that a Route value of ours names.
    fn party(&self, route: &NameAddr<'_>) -> Option<Party> {
        let uri = route.uri();
        let name = uri.user()?;
        self.seal
            .open(Purpose::BindingRoute, name)
            .map(|id| Party::Binding(BindingId(id)))
            .or_else(|| self.seal.open(Purpose::FlowRoute, name).map(|id| Party::Flow(FlowId(id))))
            .or_else(|| self.seal.open(Purpose::UpstreamRoute, name).map(Party::of_upstream))
            .or_else(|| {
                let (node, flow) = self.seal.open_elsewhere(name)?;
                Some(Party::Elsewhere(self.cluster.find(node)?, FlowId(flow)))
            })
    }

    /// Whether a party is the one at the end of this flow.
    fn is_party_on(&self, party: Party, flow: &FlowInfo) -> bool {
        match party {
            Party::Flow(id) => id == flow.id,
            Party::Elsewhere(..) => false,
            Party::Upstream(name, _) => self.upstreams.hop_of(flow) == Some(name),
            Party::Binding(id) => {
                self.bindings.get(id).is_some_and(|binding| binding.flow == Some(flow.id))
                    || self.flows.get(flow.id).is_some_and(|flow| flow.bindings.contains(&id))
            }
        }
    }

    /// Finds the way of a request that came in on `flow`.
    pub(crate) fn way(&self, flow: &FlowInfo, request: &Message) -> Way {
        let mut own_routes = 0u8;
        let mut parties: [Option<Party>; 2] = [None, None];
        let mut foreign = false;
        let mut handed = None;
        let mut last = 0u8;
        for route in request.routes() {
            let Ok(route) = route else { return Way::nowhere(400) };
            let uri = route.uri();
            // What one node has sealed for another is worth nothing in anybody else's hand.
            let named = uri.user().filter(|_| self.cluster.is_from_node(flow));
            let named = named.and_then(|name| self.seal.open(Purpose::Handed, name));
            let party = if named.is_some() { None } else { self.party(&route) };
            // An upstream may live on our own machine: then its port tells it from us. What it has left of its own name in
            // a request that it sends us is as good as gone.
            let ours = match self.upstreams.of_address(&uri) {
                Some(upstream) => self.upstreams.sender(flow) == Some(upstream),
                None => self.is_us_on(flow, uri.host(), uri.host_text()),
            };
            if named.is_none() && party.is_none() && !ours || own_routes == u8::MAX {
                foreign = true;
                break;
            }
            own_routes += 1;
            handed = handed.or(named.map(BindingId));
            if let Some(party) = party {
                last = own_routes - 1;
                match parties {
                    [None, _] => parties[0] = Some(party),
                    [Some(_), _] => parties[1] = Some(party),
                }
            }
        }
        let way = |to, vouched| Way { to, own_routes, vouched };
        if let Some(id) = handed {
            return way(Destination::Handed(id), true);
        }
        match parties {
            // The value that names the other node's flow is that node's to take off.
            [Some(_), Some(Party::Elsewhere(node, id))] | [Some(Party::Elsewhere(node, id)), None] => {
                let to = Destination::Party(Party::Elsewhere(node, id));
                return Way { to, own_routes: last, vouched: true };
            }
            // Both ends were recorded: the sender's stands on top (RFC 5658).
            [Some(_), Some(target)] => return way(Destination::Party(target), true),
            [Some(only), None] if !self.is_party_on(only, flow) => {
                return way(Destination::Party(only), true);
            }
            [Some(_), None] | [None, _] => {}
        }
        if foreign {
            return Way::nowhere(403);
        }
        let Ok(uri) = request.request_uri() else { return Way::nowhere(400) };
        if !uri.is_sip() {
            return Way::nowhere(416);
        }
        if let Some(id) = uri.param("pn-purr").and_then(|purr| self.seal.open(Purpose::Purr, purr)) {
            // RFC 8599 §6.2: the PURR alone decides, no URI is compared.
            return way(Destination::Party(Party::Binding(BindingId(id))), request.to_tag().is_some());
        }
        if let Some(to) = self.way_by_upstream(flow, &uri) {
            return way(to, false);
        }
        way(self.by_uri(flow, &uri), false)
    }

    /// Who is at the end of a flow that no binding hangs on.
    pub(crate) fn party_on(&self, flow: &FlowInfo) -> Party {
        self.upstreams.hop_of(flow).map_or(Party::Flow(flow.id), |name| Party::Upstream(name, 0))
    }

    fn by_uri(&self, flow: &FlowInfo, uri: &Uri<'_>) -> Destination {
        if !self.is_us_on(flow, uri.host(), uri.host_text()) {
            return Destination::Nowhere(403);
        }
        let Some(user) = uri.user_unescaped() else { return Destination::Us };
        let gruu = uri.param("gr");
        if gruu == Some("") {
            // A temporary GRUU (RFC 5627 §3.1.2).
            return match self.seal.open(Purpose::TemporaryGruu, &user).map(BindingId) {
                Some(id) if self.bindings.get(id).is_some() => Destination::Device(id),
                Some(_) | None => Destination::Nowhere(404),
            };
        }
        let host = if self.accounts.is_ours(uri.host_text()) {
            uri.host_text()
        } else {
            self.config.domains.first().map_or("", String::as_str)
        };
        let Some(aor) = self.accounts.find(&user, host) else { return Destination::Nowhere(404) };
        let Some(urn) = gruu else { return Destination::Aor(aor) };
        // A public GRUU names one instance. One without a binding is a 480 (RFC 5627 §5.2): it may come back.
        let instance = self.keyed.digest(format!("<{urn}>").as_bytes()) | 1;
        let found = self.accounts.get(aor).and_then(|entry| {
            entry
                .bindings
                .iter()
                .copied()
                .find(|id| self.bindings.get(*id).is_some_and(|binding| binding.instance == instance))
        });
        found.map_or(Destination::Nowhere(480), Destination::Device)
    }

    /// Our name on a flow, as Via's sent-by.
    pub(crate) fn sent_by(&self, flow: &FlowInfo) -> SentBy {
        match self.config.addresses.iter().find(|address| address.transport == flow.transport) {
            Some(address) => SentBy::name(match address.port {
                Some(port) => format!("{}:{port}", address.host),
                None => address.host.clone(),
            }),
            None => SentBy::address(flow.local),
        }
    }

    /// A Record-Route value for one end of a dialog (RFC 3261 §16.6 step 4, RFC 5626 §5.2, RFC 5658).
    pub(crate) fn record_route(&mut self, party: Party, flow: &FlowInfo, sips: bool) -> String {
        let token = match party {
            Party::Binding(id) => self.seal.seal(Purpose::BindingRoute, id.0, &mut self.entropy),
            Party::Flow(id) | Party::Elsewhere(_, id) => {
                self.seal.seal(Purpose::FlowRoute, id.0, &mut self.entropy)
            }
            Party::Upstream(name, ahead) => {
                let number = name.0 | u64::from(ahead) << 56;
                self.seal.seal(Purpose::UpstreamRoute, number, &mut self.entropy)
            }
        };
        let scheme = if sips { "sips" } else { "sip" };
        let transport = match flow.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls if sips => "",
            Transport::Tls => ";transport=tls",
            Transport::Ws | Transport::Wss => ";transport=ws",
        };
        format!("<{scheme}:{token}@{}{transport};lr>", self.sent_by(flow))
    }

    /// The registered device at the end of a flow that sends this request, if there is one.
    pub(crate) fn sender_binding(&self, flow: &FlowInfo, request: &Message) -> Option<BindingId> {
        let from = request.from().ok()?.uri();
        let user = from.user_unescaped()?;
        let aor = self.accounts.find(&user, from.host_text())?;
        let flow = self.flows.get(flow.id)?;
        flow.bindings
            .iter()
            .copied()
            .find(|id| self.bindings.get(*id).is_some_and(|binding| binding.aor == aor))
    }

    /// An ACK to a 2xx: it follows the dialog's routes and is nobody's transaction (RFC 3261 §16.11).
    pub(crate) fn on_ack(&mut self, now: Time, flow: &FlowInfo, ack: &Message) {
        let (party, own_routes) = match self.way(flow, ack) {
            Way { to: Destination::Party(party), own_routes, vouched: true } => (party, own_routes),
            // For another node: down the connection that is here, nowhere else.
            Way { to: Destination::Handed(id), own_routes, vouched: true } => match self.bindings.get(id) {
                Some(binding) if binding.flow.is_some() => (Party::Binding(id), own_routes),
                Some(_) | None => return,
            },
            Way { .. } => return,
        };
        let id = match party {
            Party::Flow(id) => Some(id),
            Party::Elsewhere(node, _) => self.cluster.link(node).map(|info| info.id),
            Party::Upstream(name, _) => self.upstreams.open_by_name(name).1.map(|info| info.id),
            Party::Binding(id) => {
                let here = self.bindings.get(id).and_then(|binding| binding.flow);
                here.filter(|flow| self.flows.get(*flow).is_some()).or_else(|| self.link_towards(id))
            }
        };
        let Some(info) = id.and_then(|id| self.flows.get(id)).map(|flow| flow.info) else { return };
        if ack.max_forwards().ok().flatten() == Some(0) {
            return;
        }
        let forwarded = crate::forward::within_dialog(ack, own_routes);
        let forwarded = match party {
            Party::Upstream(_, ahead @ 1..) => {
                forwarded.and_then(|ack| crate::forward::ahead_by(&ack, ahead))
            }
            Party::Binding(id) => match self.handing(Some(id), &info) {
                Some(route) => forwarded.and_then(|ack| ack.edit().prepend(Name::Route, route).finish()),
                None => forwarded,
            },
            Party::Upstream(_, 0) | Party::Flow(_) | Party::Elsewhere(..) => forwarded,
        };
        let Ok(forwarded) = forwarded else { return };
        let sent_by = self.sent_by(&info);
        // An ACK that cannot be written is lost like any other datagram: the 2xx is repeated.
        let _ = self.transactions.transmit_request(&forwarded, &info, &sent_by);
        let _ = now;
    }
}

impl Way {
    fn nowhere(code: u16) -> Way {
        Way { to: Destination::Nowhere(code), own_routes: 0, vouched: false }
    }
}
