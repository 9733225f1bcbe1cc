//! Name servers that are slow, silent, half right or wrong (fault F5), on virtual time.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use core::time::Duration;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::{Hop, Transport};
use wakeline_sip_message::Uri;
use wakeline_sip_resolve::{
    Answer, FAMILY_DELAY, Kind, LookupFailure, PATIENCE, Question, RECORD_DELAY, Record, ResolveError,
    Resolver, Target,
};

const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];
const HOUR: Duration = Duration::from_secs(3600);

type Outcome = Result<Vec<Record>, LookupFailure>;

/// A resolver under a scripted name server and a clock that is moved by hand.
struct Bench {
    resolver: Resolver,
    entropy: Entropy,
    now: Time,
}

impl Bench {
    fn new() -> Bench {
        Bench { resolver: Resolver::default(), entropy: Entropy::from_number(1), now: Time::ZERO }
    }

    fn start(&mut self, uri: &str, allowed: &[Transport]) {
        let target = Target::of(&Uri::parse(uri).unwrap()).unwrap();
        self.resolver.resolve(target, allowed, self.now);
    }

    fn questions(&mut self) -> Vec<Question> {
        core::iter::from_fn(|| self.resolver.poll_question()).collect()
    }

    fn answer(&mut self, question: &Question, outcome: Outcome) {
        let answer = Answer { question: question.clone(), outcome };
        self.resolver.handle_answer(&answer, &mut self.entropy, self.now);
    }

    /// Moves the clock to the resolver's next deadline; how far that was.
    fn wait(&mut self) -> Duration {
        let due = self.resolver.poll_timeout().expect("nothing is waited for").max(self.now);
        let waited = due.since(self.now);
        self.now = due;
        self.resolver.handle_timeout(&mut self.entropy, self.now);
        waited
    }

    fn outcome(&mut self) -> Option<Result<Vec<String>, ResolveError>> {
        let shown =
            |hops: Vec<Hop>| hops.iter().map(|hop| format!("{} {}", hop.transport, hop.remote)).collect();
        self.resolver.poll_resolved().map(|(_, outcome)| outcome.map(shown))
    }

    /// Answers every question by the script until there is an outcome; what it leaves open (`None`) times out.
    fn run(
        &mut self,
        uri: &str,
        allowed: &[Transport],
        script: impl Fn(&Question) -> Option<Outcome>,
    ) -> Result<Vec<String>, ResolveError> {
        self.start(uri, allowed);
        loop {
            let questions = self.questions();
            for question in &questions {
                if let Some(outcome) = script(question) {
                    self.answer(question, outcome);
                }
            }
            if let Some(outcome) = self.outcome() {
                return outcome;
            }
            if questions.is_empty() {
                self.wait();
            }
        }
    }
}

fn address(text: &str) -> Outcome {
    Ok(vec![Record::Address(text.parse().unwrap())])
}

fn srv(port: u16, target: &str) -> Outcome {
    Ok(vec![Record::Srv { priority: 1, weight: 0, port, target: target.into() }])
}

const NOTHING: Outcome = Err(LookupFailure::NotFound);
const FAILED: Outcome = Err(LookupFailure::Unavailable);

/// `example.org` by SRV over UDP, at `a.example.org`.
fn healthy(question: &Question) -> Option<Outcome> {
    Some(match (question.name.as_str(), question.kind) {
        ("_sip._udp.example.org", Kind::Srv) => srv(5070, "a.example.org"),
        ("a.example.org", Kind::A) => address("192.0.2.1"),
        _ => NOTHING,
    })
}

#[test]
fn f5_last_good_address_is_used_for_more_than_a_day_of_servfail() {
    let mut bench = Bench::new();
    let good = bench.run("sip:example.org", &ALL, healthy);
    assert_eq!(good, Ok(vec!["UDP 192.0.2.1:5070".to_owned()]));
    for hours in [1, 23, 24, 72] {
        bench.now += HOUR * hours;
        assert_eq!(bench.run("sip:example.org", &ALL, |_| Some(FAILED)), good);
        assert_eq!(bench.run("sip:example.org", &ALL, |_| None), good, "time-out");
    }
}

#[test]
fn f5_last_good_address_survives_nxdomain_for_two_days() {
    let mut bench = Bench::new();
    let good = bench.run("sip:example.org", &ALL, healthy);
    bench.now += HOUR * 25;
    assert_eq!(bench.run("sip:example.org", &ALL, |_| Some(NOTHING)), good);
    bench.now += HOUR * 24;
    assert_eq!(bench.run("sip:example.org", &ALL, |_| Some(NOTHING)), Err(ResolveError::NoService));
}

#[test]
fn f5_half_an_answer_does_not_displace_what_was_good() {
    let mut bench = Bench::new();
    bench.run("sip:example.org", &ALL, healthy).unwrap();
    // The SRV records cannot be had, and the domain's own address is a web server's.
    let half = |question: &Question| {
        Some(match (question.name.as_str(), question.kind) {
            ("example.org", Kind::A) => address("192.0.2.80"),
            (_, Kind::Srv) => FAILED,
            _ => NOTHING,
        })
    };
    let both = vec!["UDP 192.0.2.1:5070".to_owned(), "UDP 192.0.2.80:5060".to_owned()];
    assert_eq!(bench.run("sip:example.org", &ALL, half), Ok(both.clone()));
    assert_eq!(bench.run("sip:example.org", &ALL, half), Ok(both), "a guess is not remembered");
}

#[test]
fn s18_the_last_good_hop_of_an_open_account_is_not_given_to_a_tls_account() {
    let mut bench = Bench::new();
    bench.run("sip:example.org", &ALL, healthy).unwrap();
    for script in [FAILED, NOTHING] {
        let outcome = bench.run("sip:example.org", &[Transport::Tls], |_| Some(script.clone()));
        assert!(outcome.is_err(), "{outcome:?}");
        let outcome = bench.run("sips:example.org", &ALL, |_| Some(script.clone()));
        assert!(outcome.is_err(), "{outcome:?}");
    }
}

#[test]
fn a_domain_costs_one_flight_of_questions_and_its_hosts_another() {
    let mut bench = Bench::new();
    bench.start("sip:example.org", &ALL);
    let first = bench.questions();
    assert_eq!(first.len(), 6, "{first:?}");
    for question in &first {
        bench.answer(question, healthy(question).unwrap());
    }
    let second = bench.questions();
    assert!(
        second.len() == 2 && second.iter().all(|question| question.name == "a.example.org"),
        "{second:?}"
    );
    for question in &second {
        bench.answer(question, healthy(question).unwrap());
    }
    assert_eq!(bench.outcome(), Some(Ok(vec!["UDP 192.0.2.1:5070".to_owned()])));
}

#[test]
fn f5_a_server_that_never_answers_naptr_costs_a_moment_only() {
    let mut bench = Bench::new();
    let outcome = bench.run("sip:example.org", &ALL, |question| {
        if question.kind == Kind::Naptr { None } else { healthy(question) }
    });
    assert_eq!(outcome, Ok(vec!["UDP 192.0.2.1:5070".to_owned()]));
    assert_eq!(bench.now, Time::ZERO + RECORD_DELAY);
}

#[test]
fn f5_a_server_that_never_answers_aaaa_costs_a_moment_only() {
    let mut bench = Bench::new();
    let outcome = bench.run("sip:a.example.org:5060", &ALL, |question| {
        if question.kind == Kind::Aaaa { None } else { healthy(question) }
    });
    assert_eq!(outcome, Ok(vec!["UDP 192.0.2.1:5060".to_owned()]));
    assert_eq!(bench.now, Time::ZERO + FAMILY_DELAY);
}

#[test]
fn f5_a_slow_second_host_does_not_hold_up_the_first() {
    let mut bench = Bench::new();
    let outcome = bench.run("sip:example.org;transport=tcp", &ALL, |question| {
        match (question.name.as_str(), question.kind) {
            (_, Kind::Srv) => Some(Ok(vec![
                Record::Srv { priority: 1, weight: 0, port: 1, target: "a.example.org".into() },
                Record::Srv { priority: 2, weight: 0, port: 2, target: "slow.example.org".into() },
            ])),
            ("slow.example.org", _) => None,
            _ => healthy(question),
        }
    });
    assert_eq!(outcome, Ok(vec!["TCP 192.0.2.1:1".to_owned()]));
    assert_eq!(bench.now, Time::ZERO + RECORD_DELAY);
}

#[test]
fn f5_ten_second_answers_fail_once_and_serve_the_second_attempt() {
    let mut bench = Bench::new();
    bench.start("sip:a.example.org:5060", &ALL);
    let out = bench.questions();
    assert_eq!(bench.wait(), PATIENCE);
    assert_eq!(bench.outcome(), Some(Err(ResolveError::DnsUnavailable)));
    // Another name is not held up.
    bench.start("sip:192.0.2.9", &ALL);
    assert_eq!(bench.outcome(), Some(Ok(vec!["UDP 192.0.2.9:5060".to_owned()])));
    bench.now = Time::ZERO + Duration::from_secs(10);
    for question in &out {
        bench.answer(question, healthy(question).unwrap());
    }
    bench.start("sip:a.example.org:5060", &ALL);
    assert_eq!(bench.questions(), [], "they are answered already");
    assert_eq!(bench.wait(), Duration::ZERO);
    assert_eq!(bench.outcome(), Some(Ok(vec!["UDP 192.0.2.1:5060".to_owned()])));
    // Time to live 0: what came in time is never used twice.
    bench.start("sip:a.example.org:5060", &ALL);
    assert_eq!(bench.questions().len(), 2);
}

#[test]
fn f5_a_question_that_was_lost_is_asked_again() {
    let mut bench = Bench::new();
    bench.start("sip:a.example.org:5060", &ALL);
    assert_eq!(bench.questions().len(), 2);
    bench.wait();
    bench.start("sip:a.example.org:5060", &ALL);
    assert_eq!(bench.questions(), [], "they are still out");
    bench.wait();
    bench.now += Duration::from_secs(10);
    bench.start("sip:a.example.org:5060", &ALL);
    assert_eq!(bench.questions().len(), 2);
}

#[test]
fn rfc7118_websocket_hosts_have_no_service_records() {
    let mut bench = Bench::new();
    let script = |question: &Question| {
        assert!(matches!(question.kind, Kind::A | Kind::Aaaa), "{question:?}");
        healthy(question)
    };
    let ws = bench.run("sip:a.example.org;transport=ws", &[Transport::Ws], script);
    assert_eq!(ws, Ok(vec!["WS 192.0.2.1:80".to_owned()]));
    let wss = bench.run("sips:a.example.org;transport=ws", &[Transport::Wss], script);
    assert_eq!(wss, Ok(vec!["WSS 192.0.2.1:443".to_owned()]));
}

#[test]
fn forged_answers_to_questions_never_asked_are_ignored() {
    let mut bench = Bench::new();
    bench.start("sip:a.example.org:5060", &ALL);
    let foreign = Question { name: "b.example.org".into(), kind: Kind::A };
    bench.answer(&foreign, address("203.0.113.66"));
    let own = Question { name: "a.example.org".into(), kind: Kind::A };
    bench.answer(&own, Ok(vec![Record::Srv { priority: 0, weight: 0, port: 1, target: "x".into() }]));
    bench.answer(&own, address("203.0.113.66"));
    bench.answer(&Question { kind: Kind::Aaaa, ..own }, NOTHING);
    assert_eq!(bench.outcome(), Some(Err(ResolveError::NoService)));
}

#[test]
fn f5_a_process_started_without_dns_finds_its_server_again() {
    let mut before = Bench::new();
    let good = before.run("sip:example.org", &ALL, healthy);
    before.run("sip:a.example.org:5080;transport=tls", &ALL, healthy).unwrap();
    let kept = before.resolver.export();
    let mut after = Bench::new();
    after.resolver.import(&kept, after.now);
    assert_eq!(after.resolver.export(), kept);
    assert_eq!(after.run("sip:example.org", &ALL, |_| Some(FAILED)), good);
    let tls = after.run("sip:a.example.org:5080;transport=tls", &ALL, |_| Some(FAILED));
    assert_eq!(tls, Ok(vec!["TLS 192.0.2.1:5080".to_owned()]));
}

#[test]
fn s18_a_damaged_record_leads_nowhere_and_never_out_of_tls() {
    for damaged in [
        "",
        "\n\n",
        "example.org",
        "example.org - - 1 TLS UDP/192.0.2.1:5060",
        "example.org - - 0 TLS TCP/192.0.2.1:5060",
        "example.org - - 2 TLS TLS/192.0.2.1:5061",
        "example.org - - 0 TLS TLS/nowhere",
        "example.org 70000 - 0 TLS TLS/192.0.2.1:5061",
        "example.org - - 0  TLS/192.0.2.1:5061",
    ] {
        let mut bench = Bench::new();
        bench.resolver.import(damaged, bench.now);
        assert_eq!(bench.resolver.export(), "", "{damaged}");
    }
}
