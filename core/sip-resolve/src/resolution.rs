//! One target on its way to hops.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::{Hop, Transport};

use crate::question::{Answer, Kind, LookupFailure, Question, Record};
use crate::srv::{Service, interleaved, ordered};
use crate::target::Target;

/// How long a target may wait for the DNS: a slow server must not cost a call more than this (fault F5).
pub const PATIENCE: Duration = Duration::from_secs(4);
/// How long the second address family may take longer than the first (RFC 8305 §3, Resolution Delay).
pub const FAMILY_DELAY: Duration = Duration::from_millis(50);
/// How long other records may take longer when there is enough to go on with: some name servers never answer the record
/// types that they do not know.
pub const RECORD_DELAY: Duration = Duration::from_millis(300);

/// Hops that are kept of one target: more are no help, and a hostile zone could name thousands.
const MOST_HOPS: usize = 16;
/// SRV names and hosts that are followed per target.
const MOST_BRANCHES: usize = 8;
/// Records that are looked at in one answer.
const MOST_RECORDS: usize = 64;

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
    Done {
        /// Where to try.
        hops: Vec<Hop>,
        /// Whether records that might say otherwise could not be had.
        doubtful: bool,
    },
    /// There is no such service; the DNS, or the account, decidedly says so.
    Refused,
    /// There are no records.
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
    asked: BTreeSet<Question>,
    answers: BTreeMap<Question, Result<Vec<Record>, LookupFailure>>,
    /// What the stage cannot do without.
    open: Vec<Question>,
    /// What was not waited for any longer.
    given_up: Vec<Question>,
    deadline: Time,
    /// When the stage goes on with what there is.
    grace: Option<Time>,
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
            asked: BTreeSet::new(),
            answers: BTreeMap::new(),
            open: Vec::new(),
            given_up: Vec::new(),
            deadline: now + PATIENCE,
            grace: None,
        };
        let step = resolution.first_step();
        (resolution, step)
    }

    /// When the waiting ends, of this stage or of all.
    pub(crate) fn deadline(&self) -> Time {
        self.grace.map_or(self.deadline, |grace| grace.min(self.deadline))
    }

    /// Questions whose answers were not waited for.
    pub(crate) fn given_up(&self) -> &[Question] {
        &self.given_up
    }

    fn first_step(&mut self) -> Step {
        let Target { host, port, transport, secure } = self.target.clone();
        // §4.1: a transport that is written is used; but never an open one for `sips:`.
        if let Some(transport) = transport {
            if secure && !transport.is_secure() {
                return Step::Refused;
            }
            self.allowed = vec![transport];
        }
        let Some(&first) = self.allowed.first() else { return Step::Refused };
        if let Some(address) = self.target.address() {
            // §4.1: a numeric host without a transport takes UDP, or TLS for `sips:`; here, the account's best.
            let port = port.unwrap_or(first.default_port());
            let hop = Hop { transport: first, remote: (address, port).into(), server_name: None };
            return Step::Done { hops: vec![hop], doubtful: false };
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
        // What will be needed if there are no NAPTR or no SRV records is asked along with them: each round trip that is
        // saved is one that a caller does not wait for a phone to wake.
        let mut ahead = self.standard_services();
        ahead.truncate(MOST_BRANCHES);
        let mut questions: Vec<Question> = ahead.iter().map(|(_, name)| srv_of(name)).collect();
        questions.extend(addresses_of(&host));
        let step = if self.allowed.len() == 1 {
            self.ask_services(ahead)
        } else {
            self.ask(Stage::Transports, vec![Question { name: host, kind: Kind::Naptr }])
        };
        match step {
            Step::Ask(mut first) => {
                first.extend(questions.into_iter().filter(|question| self.asked.insert(question.clone())));
                Step::Ask(first)
            }
            done @ (Step::Wait | Step::Done { .. } | Step::Refused | Step::Nothing | Step::Unavailable) => {
                done
            }
        }
    }

    /// Takes an answer; those that nobody waits for are ignored.
    pub(crate) fn answer(&mut self, answer: &Answer, entropy: &mut Entropy, now: Time) -> Step {
        let question = &answer.question;
        if !self.asked.contains(question) || self.answers.contains_key(question) {
            return Step::Wait;
        }
        let mut outcome = answer.outcome.clone();
        if let Ok(records) = &mut outcome {
            records.truncate(MOST_RECORDS);
        }
        self.answers.insert(question.clone(), outcome);
        self.open.retain(|open| open != question);
        self.proceed(entropy, now)
    }

    /// Goes on without the answers that are overdue.
    pub(crate) fn timeout(&mut self, entropy: &mut Entropy, now: Time) -> Step {
        loop {
            for question in core::mem::take(&mut self.open) {
                self.given_up.push(question.clone());
                self.answers.insert(question, Err(LookupFailure::Unavailable));
            }
            match self.proceed(entropy, now) {
                // There is no time for another question.
                Step::Ask(_) if now >= self.deadline => return Step::Unavailable,
                // What is still out was asked long ago, and is as overdue.
                Step::Wait if now >= self.deadline => {}
                step @ (Step::Ask(_)
                | Step::Wait
                | Step::Done { .. }
                | Step::Refused
                | Step::Nothing
                | Step::Unavailable) => return step,
            }
        }
    }

    /// Goes through the stages as far as the answers reach.
    fn proceed(&mut self, entropy: &mut Entropy, now: Time) -> Step {
        let mut fresh = Vec::new();
        while self.open.is_empty() {
            match self.advance(entropy) {
                Step::Ask(questions) => fresh.extend(questions),
                done @ (Step::Wait
                | Step::Done { .. }
                | Step::Refused
                | Step::Nothing
                | Step::Unavailable) => return done,
            }
        }
        if self.grace.is_none() {
            self.grace = self.patience_left().map(|delay| now + delay);
        }
        if fresh.is_empty() { Step::Wait } else { Step::Ask(fresh) }
    }

    /// How much longer this stage is worth waiting for; `None` while there is nothing to go on with.
    fn patience_left(&self) -> Option<Duration> {
        let has_records = |question: &Question| !self.records(question).is_empty();
        match &self.stage {
            Stage::Transports => {
                let services: Vec<Question> =
                    self.standard_services().iter().map(|(_, name)| srv_of(name)).collect();
                let enough = services.iter().any(has_records)
                    || services.iter().all(|question| self.answers.contains_key(question));
                enough.then_some(RECORD_DELAY)
            }
            Stage::Services(names) => {
                names.iter().any(|(_, name)| has_records(&srv_of(name))).then_some(RECORD_DELAY)
            }
            Stage::Addresses(candidates) => {
                let first = candidates.first()?;
                let questions = addresses_of(&first.host);
                let only_first = self.open.iter().all(|open| open.name == first.host);
                let delay = if only_first { FAMILY_DELAY } else { RECORD_DELAY };
                questions.iter().any(has_records).then_some(delay)
            }
        }
    }

    /// The SRV names of the account's transports (§4.1); WebSocket has none (RFC 7118 §9).
    fn standard_services(&self) -> Vec<(Transport, String)> {
        let with_names =
            self.allowed.iter().filter(|transport| !matches!(transport, Transport::Ws | Transport::Wss));
        with_names.map(|&transport| (transport, service_name(transport, &self.target.host))).collect()
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
        let question = Question { name: self.target.host.clone(), kind: Kind::Naptr };
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
            names = self.standard_services();
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
            let Some(&transport) = self.allowed.first().filter(|_| !refused) else { return Step::Refused };
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
        let doubtful = self.answers.iter().any(|(question, outcome)| {
            matches!(question.kind, Kind::Naptr | Kind::Srv) && *outcome == Err(LookupFailure::Unavailable)
        });
        match (hops.is_empty(), unavailable || doubtful) {
            (false, _) => Step::Done { hops, doubtful },
            (true, true) => Step::Unavailable,
            (true, false) => Step::Nothing,
        }
    }

    fn records(&self, question: &Question) -> &[Record] {
        self.answers.get(question).and_then(|outcome| outcome.as_deref().ok()).unwrap_or_default()
    }

    fn ask_services(&mut self, mut names: Vec<(Transport, String)>) -> Step {
        names.truncate(MOST_BRANCHES);
        for (_, name) in &mut names {
            name.make_ascii_lowercase();
        }
        let questions = names.iter().map(|(_, name)| srv_of(name)).collect();
        self.ask(Stage::Services(names), questions)
    }

    fn ask_addresses(&mut self, mut candidates: Vec<Candidate>) -> Step {
        candidates.truncate(MOST_BRANCHES);
        let mut questions: Vec<Question> =
            candidates.iter().flat_map(|candidate| addresses_of(&candidate.host)).collect();
        questions.sort();
        questions.dedup();
        self.ask(Stage::Addresses(candidates), questions)
    }

    /// Waits for these; those that have not been asked yet are to be asked now.
    fn ask(&mut self, stage: Stage, questions: Vec<Question>) -> Step {
        self.stage = stage;
        self.grace = None;
        if questions.is_empty() {
            return Step::Nothing;
        }
        let open = |question: &&Question| !self.answers.contains_key(*question);
        self.open = questions.iter().filter(open).cloned().collect();
        Step::Ask(questions.into_iter().filter(|question| self.asked.insert(question.clone())).collect())
    }
}

fn srv_of(name: &str) -> Question {
    Question { name: name.to_ascii_lowercase(), kind: Kind::Srv }
}

fn addresses_of(host: &str) -> [Question; 2] {
    [Kind::A, Kind::Aaaa].map(|kind| Question { name: host.to_owned(), kind })
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
