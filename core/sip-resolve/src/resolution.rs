//! One target on its way to hops.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::{Hop, Transport};

use crate::question::{Answer, Kind, LookupFailure, Question, Record};
use crate::srv::{Service, interleaved, ordered};
use crate::target::Target;

/// How long a target may wait for the DNS: a slow server must not cost a call more than this (fault F5).
pub const PATIENCE: Duration = Duration::from_secs(4);

/// Hops that are kept of one target: more are no help, and a hostile zone could name thousands.
const MOST_HOPS: usize = 16;
/// SRV names and hosts that are followed per target.
const MOST_BRANCHES: usize = 8;

/// A host whose addresses are asked for, and how it is to be reached.
#[derive(Clone, Debug)]
struct Candidate {
    transport: Transport,
    port: u16,
    host: String,
}

/// What is being waited for.
#[derive(Clone, Debug)]
enum Stage {
    /// NAPTR of the domain (§4.1).
    Transports,
    /// SRV of one or more names, in order of preference (§4.1, §4.2).
    Services(Vec<(Transport, String)>),
    /// Addresses of one or more hosts (§4.2).
    Addresses(Vec<Candidate>),
}

/// What became of a step.
pub(crate) enum Step {
    /// Questions to be asked; the rest will come.
    Ask(Vec<Question>),
    /// Still waiting for earlier questions.
    Wait,
    /// The hops, best first.
    Done(Vec<Hop>),
    /// There is no such service; the DNS said so.
    Nothing,
    /// The DNS could not be asked.
    Unavailable,
}

/// One resolution.
#[derive(Debug)]
pub(crate) struct Resolution {
    target: Target,
    allowed: Vec<Transport>,
    stage: Stage,
    answers: BTreeMap<Question, Result<Vec<Record>, LookupFailure>>,
    open: Vec<Question>,
    deadline: Time,
}

impl Resolution {
    /// Starts; numeric hosts are done at once. `allowed` are the transports of the account, best first.
    pub(crate) fn start(target: Target, allowed: &[Transport], now: Time) -> (Resolution, Step) {
        let fits = |transport: &Transport| !target.secure || transport.is_secure();
        let allowed: Vec<Transport> = allowed.iter().copied().filter(fits).collect();
        let mut resolution = Resolution {
            target,
            allowed,
            stage: Stage::Transports,
            answers: BTreeMap::new(),
            open: Vec::new(),
            deadline: now + PATIENCE,
        };
        let step = resolution.first_step();
        (resolution, step)
    }

    /// When the waiting ends.
    pub(crate) fn deadline(&self) -> Time {
        self.deadline
    }

    fn first_step(&mut self) -> Step {
        let Target { host, port, transport, secure } = self.target.clone();
        // §4.1: a transport that is written is used; but never an open one for `sips:`.
        if let Some(transport) = transport {
            if secure && !transport.is_secure() {
                return Step::Nothing;
            }
            self.allowed = vec![transport];
        }
        let Some(&first) = self.allowed.first() else { return Step::Nothing };
        if let Some(address) = self.target.address() {
            // §4.1: a numeric host without a transport takes UDP, or TLS for `sips:`; here, the account's best.
            let port = port.unwrap_or(first.default_port());
            return Step::Done(vec![Hop {
                transport: first,
                remote: (address, port).into(),
                server_name: None,
            }]);
        }
        // §4.2: a written port means addresses at once. WebSocket has no SRV names (RFC 7118 §9).
        if let Some(port) = port {
            return self.ask_addresses(vec![Candidate { transport: first, port, host }]);
        }
        if matches!(first, Transport::Ws | Transport::Wss) {
            return self.ask_addresses(vec![Candidate {
                transport: first,
                port: first.default_port(),
                host,
            }]);
        }
        if self.allowed.len() == 1 {
            return self.ask_services(vec![(first, service_name(first, &host))]);
        }
        self.ask(Stage::Transports, vec![Question { name: host, kind: Kind::Naptr }])
    }

    /// Takes an answer; those that nobody waits for are ignored.
    pub(crate) fn answer(&mut self, answer: &Answer, entropy: &mut Entropy) -> Step {
        let Some(place) = self.open.iter().position(|question| *question == answer.question) else {
            return Step::Wait;
        };
        self.open.swap_remove(place);
        self.answers.insert(answer.question.clone(), answer.outcome.clone());
        if self.open.is_empty() { self.advance(entropy) } else { Step::Wait }
    }

    /// Goes on with what has been answered.
    pub(crate) fn give_up_waiting(&mut self, entropy: &mut Entropy) -> Step {
        for question in self.open.drain(..) {
            self.answers.insert(question, Err(LookupFailure::Unavailable));
        }
        // Whatever is asked next must be in time as well: nothing more is asked.
        match self.advance(entropy) {
            Step::Ask(_) | Step::Wait => Step::Unavailable,
            done @ (Step::Done(_) | Step::Nothing | Step::Unavailable) => done,
        }
    }

    fn advance(&mut self, entropy: &mut Entropy) -> Step {
        match self.stage.clone() {
            Stage::Transports => self.after_transports(),
            Stage::Services(names) => self.after_services(&names, entropy),
            Stage::Addresses(candidates) => self.after_addresses(&candidates),
        }
    }

    /// §4.1: the domain's NAPTR records in their order, those that we and the account can use; without any, every
    /// transport's SRV name.
    fn after_transports(&mut self) -> Step {
        let host = self.target.host.clone();
        let question = Question { name: host.clone(), kind: Kind::Naptr };
        let mut offers: Vec<(u16, u16, Transport, String)> = Vec::new();
        for record in self.records(&question) {
            if let Record::Naptr { order, preference, flags, service, replacement } = record
                && flags.eq_ignore_ascii_case("s")
                && let Some(transport) = transport_of(service)
                && self.allowed.contains(&transport)
            {
                offers.push((*order, *preference, transport, replacement.clone()));
            }
        }
        offers.sort_by_key(|(order, preference, ..)| (*order, *preference));
        let mut names: Vec<(Transport, String)> =
            offers.into_iter().map(|(_, _, transport, name)| (transport, name)).collect();
        if names.is_empty() {
            let with_names =
                self.allowed.iter().filter(|transport| !matches!(transport, Transport::Ws | Transport::Wss));
            names = with_names.map(|&transport| (transport, service_name(transport, &host))).collect();
        }
        self.ask_services(names)
    }

    /// §4.2: the hosts of the SRV records; without any, the domain itself as a host.
    fn after_services(&mut self, names: &[(Transport, String)], entropy: &mut Entropy) -> Step {
        let mut candidates = Vec::new();
        let mut refused = false;
        for (transport, name) in names {
            let question = Question { name: name.clone(), kind: Kind::Srv };
            let services = self.records(&question).iter().filter_map(|record| match record {
                Record::Srv { priority, weight, port, target } => Some(Service {
                    priority: *priority,
                    weight: *weight,
                    port: *port,
                    target: target.clone(),
                }),
                Record::Naptr { .. } | Record::Address(_) => None,
            });
            let services: Vec<Service> = services.collect();
            // RFC 2782: a single target of "." says that the service is decidedly not there.
            refused |= services.iter().any(|service| service.target.is_empty());
            for Service { port, target, .. } in ordered(services, entropy) {
                if !target.is_empty() {
                    candidates.push(Candidate {
                        transport: *transport,
                        port,
                        host: target.to_ascii_lowercase(),
                    });
                }
            }
        }
        if candidates.is_empty() {
            let Some(&transport) = self.allowed.first().filter(|_| !refused) else { return Step::Nothing };
            let host = self.target.host.clone();
            candidates.push(Candidate { transport, port: transport.default_port(), host });
        }
        self.ask_addresses(candidates)
    }

    fn after_addresses(&mut self, candidates: &[Candidate]) -> Step {
        let mut hops: Vec<Hop> = Vec::new();
        let mut unavailable = false;
        for Candidate { transport, port, host } in candidates {
            let mut addresses = |kind| {
                let question = Question { name: host.clone(), kind };
                unavailable |= self.answers.get(&question) == Some(&Err(LookupFailure::Unavailable));
                let address = |record: &Record| match record {
                    Record::Address(address) => Some(*address),
                    Record::Naptr { .. } | Record::Srv { .. } => None,
                };
                self.records(&question).iter().filter_map(address).collect::<Vec<IpAddr>>()
            };
            let (v6, v4) = (addresses(Kind::Aaaa), addresses(Kind::A));
            for address in interleaved(&v6, &v4) {
                // RFC 5922 §4: the certificate must carry the name that was asked for, not the one that SRV led to.
                let server_name = Some(self.target.host.clone());
                let hop = Hop { transport: *transport, remote: (address, *port).into(), server_name };
                if hops.len() < MOST_HOPS && !hops.contains(&hop) {
                    hops.push(hop);
                }
            }
        }
        match (hops.is_empty(), unavailable) {
            (false, _) => Step::Done(hops),
            (true, true) => Step::Unavailable,
            (true, false) => Step::Nothing,
        }
    }

    fn records(&self, question: &Question) -> &[Record] {
        self.answers.get(question).and_then(|outcome| outcome.as_deref().ok()).unwrap_or_default()
    }

    fn ask_services(&mut self, mut names: Vec<(Transport, String)>) -> Step {
        names.truncate(MOST_BRANCHES);
        let questions = names
            .iter()
            .map(|(_, name)| Question { name: name.to_ascii_lowercase(), kind: Kind::Srv })
            .collect();
        for (_, name) in &mut names {
            name.make_ascii_lowercase();
        }
        self.ask(Stage::Services(names), questions)
    }

    fn ask_addresses(&mut self, mut candidates: Vec<Candidate>) -> Step {
        candidates.truncate(MOST_BRANCHES);
        let both = |candidate: &Candidate| {
            [Kind::Aaaa, Kind::A].map(|kind| Question { name: candidate.host.clone(), kind })
        };
        let mut questions: Vec<Question> = candidates.iter().flat_map(both).collect();
        questions.sort();
        questions.dedup();
        self.ask(Stage::Addresses(candidates), questions)
    }

    fn ask(&mut self, stage: Stage, questions: Vec<Question>) -> Step {
        self.stage = stage;
        self.open.clone_from(&questions);
        if questions.is_empty() { Step::Nothing } else { Step::Ask(questions) }
    }
}

/// The SRV name of a transport (RFC 3263 §4.1).
fn service_name(transport: Transport, host: &str) -> String {
    let prefix = match transport {
        Transport::Udp => "_sip._udp",
        Transport::Tls | Transport::Wss => "_sips._tcp",
        Transport::Tcp | Transport::Ws => "_sip._tcp",
    };
    format!("{prefix}.{host}")
}

/// The transport of a NAPTR service field (RFC 3263 §4.1, RFC 7118 §8.2 has none for WebSocket).
fn transport_of(service: &str) -> Option<Transport> {
    let services = [("SIP+D2U", Transport::Udp), ("SIP+D2T", Transport::Tcp), ("SIPS+D2T", Transport::Tls)];
    services.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(service)).map(|(_, transport)| transport)
}
