//! The gateway before a PBX: phones whose passwords it does not know, a PBX that answers as it likes and calls the names that
//! it has learned, connections that come and go.

use bytes::Bytes;
use wakeline_flow::{FlowId, FlowInfo, Transport};
use wakeline_registrar::{
    Account, Config, Credential, HopId, Loaded, NextHop, PushResult, TrustedPeer, Upstream,
    UpstreamCredential,
};
use wakeline_secret::Secret;
use wakeline_sip_message::{Builder, Method, Name};

use crate::bend::{METHODS, Request, bend, request, response};
use crate::registrar::{Bench, PASSWORD, TOKEN, over};
use crate::script::Script;

const PBX: &str = "pbx.example.net";
/// What the gateway keeps for one account, and may show to nobody.
const KEPT: &str = PASSWORD;

struct Edge {
    bench: Bench,
    /// The connections to the PBX.
    hops: Vec<(HopId, FlowInfo)>,
    /// Names that the PBX was told in Contacts.
    names: Vec<String>,
    /// Flows of next hops are numbered from here.
    next_hop_flow: u64,
}

impl Edge {
    fn new() -> Edge {
        let mut config = Config::new("voice.example.org", Secret::from("a secret of the gateway"));
        config.push.fcm = true;
        let hop = |transport, host: &str| NextHop { transport, host: host.into(), port: 5060 };
        config.upstreams.push(Upstream {
            domains: vec![PBX.into()],
            next_hops: vec![hop(Transport::Tcp, "10.0.0.5"), hop(Transport::Udp, "10.0.0.6")],
            networks: vec![TrustedPeer { network: "10.0.0.0".parse().unwrap(), prefix: 24 }],
            expires: 604_800,
            line_expires: 600,
        });
        let ben = Account {
            user: "ben".into(),
            domain: PBX.into(),
            credential: Credential::Password(Secret::from(PASSWORD)),
            upstream: Some(UpstreamCredential { username: "ben".into(), password: Secret::from(KEPT) }),
            voicemail: None,
        };
        let loaded = Loaded { accounts: vec![ben], ..Loaded::default() };
        let bench = Bench::new(config, loaded, PBX);
        Edge { bench, hops: Vec::new(), names: Vec::new(), next_hop_flow: 1 << 40 }
    }

    /// What was asked for is there, or cannot be had.
    fn connect(&mut self, script: &mut Script<'_>) {
        let Some(hop) = self.bench.wanted.pop() else { return };
        if script.below(4) == 3 {
            self.bench.gateway.handle_hop_failed(self.bench.now, hop);
            return;
        }
        self.next_hop_flow += 1;
        let first = hop.0 == 0;
        let flow = FlowInfo {
            id: FlowId(self.next_hop_flow),
            transport: if first { Transport::Tcp } else { Transport::Udp },
            local: "203.0.113.1:5060".parse().unwrap(),
            remote: if first { "10.0.0.5:5060" } else { "10.0.0.6:5060" }.parse().unwrap(),
        };
        self.hops.retain(|(known, _)| *known != hop);
        self.hops.push((hop, flow));
        self.bench.gateway.handle_hop_opened(self.bench.now, hop, flow);
    }

    /// A phone of the PBX registers, with any digest or none: what it is worth is the PBX's matter.
    fn register(&mut self, script: &mut Script<'_>, flow: FlowInfo) {
        let (instance, number) = (script.below(3), self.bench.fresh());
        let expires = [3600, 604_800, 60, 0, u32::MAX][script.below(5)];
        let mut builder = Builder::request(Method::Register, format!("sip:{PBX}"))
            .header(
                Name::Via,
                format!("SIP/2.0/{} {};branch=z9hG4bKt{number};rport", flow.transport, flow.remote),
            )
            .header(Name::MaxForwards, 70)
            .header(Name::From, format!("<sip:mia@{PBX}>;tag=reg"))
            .header(Name::To, format!("<sip:mia@{PBX}>"))
            .header(Name::CallId, format!("through-{instance}"))
            .header(Name::CSeq, format!("{number} REGISTER"))
            .header(Name::Supported, "path, outbound, gruu")
            .header(
                Name::Contact,
                format!(
                    "<sip:mia@{};ob;pn-provider=fcm;pn-param=acme;pn-prid={TOKEN}{instance}>;reg-id=1;\
                     +sip.instance=\"<urn:uuid:0f3b7c52-6a1e-4d0a-9c55-2b1f5d0e8a7{instance}>\"",
                    flow.remote
                ),
            )
            .header(Name::Expires, expires);
        if script.flag() {
            let digest = format!(
                "Digest username=\"mia\", realm=\"{PBX}\", nonce=\"n1\", uri=\"sip:{PBX}\", response=\"0\", qop=auth, \
                 nc=00000001, cnonce=\"c\""
            );
            builder = builder.header(Name::Authorization, digest);
        }
        let Ok(message) = builder.build() else { return };
        let bytes = bend(script, &message);
        self.bench.receive(flow, bytes);
    }

    /// The PBX, or a phone, answers something that it was sent.
    fn answer(&mut self, script: &mut Script<'_>) {
        let Some((id, message)) = script.pick(&self.bench.sent) else { return };
        let far =
            self.bench.flows.iter().chain(self.hops.iter().map(|(_, flow)| flow)).find(|one| one.id == id);
        let Some(info) = far.copied() else { return };
        if message.is_request()
            && let Some(answer) = response(script, &message)
        {
            self.bench.receive(info, answer.to_bytes());
        }
    }

    /// The PBX asks something of a name that it has learned, or of one that it makes up.
    fn pbx_asks(&mut self, script: &mut Script<'_>) {
        let Some((_, flow)) = script.pick(&self.hops) else { return };
        let uri = match script.pick(&self.names) {
            Some(known) if script.below(5) > 0 => known,
            _ => ["sip:x@203.0.113.1:5060", "sip:mia@pbx.example.net", "sip:203.0.113.1"][script.below(3)]
                .to_owned(),
        };
        let number = self.bench.fresh();
        let method = match script.below(3) {
            0 => METHODS[script.below(METHODS.len())].clone(),
            _ => Method::Invite,
        };
        let branch = format!("z9hG4bKp{}", if script.flag() { number } else { number.max(1) - 1 });
        let to = [format!("<sip:mia@{PBX}>"), format!("<sip:mia@{PBX}>;tag=t1")][script.below(2)].clone();
        let via = format!("SIP/2.0/{} {};rport", flow.transport, flow.remote);
        let names = Request {
            method,
            uri: &uri,
            call_id: ["p1", "p2", "p3"][script.below(3)],
            from: "\"Uncle Bob\" <sip:+15550100@pbx.example.net>;tag=caller",
            to: &to,
            cseq: 1 + u32::from(script.byte() & 1),
            branch: &branch,
            via: &via,
        };
        if let Some(message) = request(script, &names) {
            self.bench.receive(flow, message.to_bytes());
        }
    }

    /// What the PBX learns from what it was sent.
    fn learn(&mut self) {
        for (id, message) in &self.bench.sent {
            let at_pbx = self.hops.iter().any(|(_, flow)| flow.id == *id);
            if at_pbx && message.is_request() && message.method() == Method::Register {
                let contacts = message.contacts().map(|list| {
                    list.list().iter().map(|one| one.uri().as_str().to_owned()).collect::<Vec<_>>()
                });
                for name in contacts.unwrap_or_default() {
                    if !self.names.contains(&name) {
                        self.names.push(name);
                    }
                }
            }
        }
        let spare = self.names.len().saturating_sub(8);
        self.names.drain(..spare);
    }

    fn lose(&mut self, script: &mut Script<'_>) {
        let Some((hop, flow)) = script.pick(&self.hops) else { return };
        self.hops.retain(|(known, _)| *known != hop);
        let wall = self.bench.wall();
        self.bench.gateway.handle_flow_closed(self.bench.now, wall, flow.id);
    }

    fn step(&mut self, script: &mut Script<'_>) {
        let flow = match script.pick(&self.bench.flows) {
            Some(flow) if script.below(5) > 0 => flow,
            _ => self.bench.open(script),
        };
        let wall = self.bench.wall();
        match script.below(16) {
            0 | 1 => self.register(script, flow),
            2 => self.bench.register(script, flow),
            3..=6 => self.answer(script),
            7 | 8 => self.pbx_asks(script),
            9 => self.bench.call(script, flow),
            10 | 11 => self.connect(script),
            12 => self.lose(script),
            13 => {
                if let Some(key) = self.bench.pushes.pop() {
                    let result =
                        [PushResult::Accepted, PushResult::Refused, PushResult::Unavailable][script.below(3)];
                    self.bench.gateway.handle_push_result(self.bench.now, wall, key, result);
                }
            }
            14 => {
                self.bench.flows.retain(|one| one.id != flow.id);
                self.bench.gateway.handle_flow_closed(self.bench.now, wall, flow.id);
            }
            _ => self.bench.now += script.span(),
        }
        if script.below(32) == 31
            && let Some((_, hop)) = script.pick(&self.hops)
        {
            let bytes = Bytes::copy_from_slice(script.bytes(60));
            self.bench.receive(hop, bytes);
        }
    }
}

pub(crate) fn edge(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    if script.says(&[PASSWORD, TOKEN]) {
        return;
    }
    let mut edge = Edge::new();
    script.play(|script| {
        edge.step(script);
        edge.bench.settle();
        edge.learn();
    });
    for (_, flow) in core::mem::take(&mut edge.hops) {
        let wall = edge.bench.wall();
        edge.bench.gateway.handle_flow_closed(edge.bench.now, wall, flow.id);
    }
    edge.bench.drain();
    // Nobody opens a next hop any more.
    over(&mut edge.bench);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that is meant to do something does it: what is asked of a target is worth no more than what it reaches.
    #[test]
    fn the_seeds_reach_the_pbx_and_a_phone_that_sleeps() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds/edge");
        let (mut names, mut held, mut lines) = (0, 0, 0);
        for entry in std::fs::read_dir(folder).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let (mut script, mut edge) = (Script::new(&bytes), Edge::new());
            script.play(|script| {
                edge.step(script);
                edge.bench.settle();
                edge.learn();
                let gauges = edge.bench.gateway.gauges();
                held = held.max(gauges.held);
                lines = lines.max(gauges.lines);
            });
            names = names.max(edge.names.len());
        }
        assert!(names > 0 && held > 0 && lines > 0, "names {names}, held {held}, lines {lines}");
    }
}
