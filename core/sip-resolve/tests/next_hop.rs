//! Next hops of RFC 3263, by scripted answers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::{Hop, Transport};
use wakeline_sip_message::Uri;
use wakeline_sip_resolve::{
    Answer, Kind, LookupFailure, PATIENCE, Question, Record, ResolveError, Resolver, Target,
};

/// A zone: what is not in it does not exist.
type Zone = BTreeMap<(String, Kind), Result<Vec<Record>, LookupFailure>>;

const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

fn zone(rows: &[(&str, Kind, &[Record])]) -> Zone {
    rows.iter().map(|(name, kind, records)| (((*name).to_owned(), *kind), Ok(records.to_vec()))).collect()
}

fn target(uri: &str) -> Target {
    Target::of(&Uri::parse(uri).unwrap()).unwrap()
}

fn srv(priority: u16, port: u16, target: &str) -> Record {
    Record::Srv { priority, weight: 0, port, target: target.into() }
}

fn naptr(order: u16, service: &str, replacement: &str) -> Record {
    let (service, replacement) = (service.into(), replacement.into());
    Record::Naptr { order, preference: 0, flags: "s".into(), service, replacement }
}

fn address(text: &str) -> Record {
    Record::Address(text.parse().unwrap())
}

/// Asks the zone until there is an outcome, and tells which questions were asked.
fn run(
    resolver: &mut Resolver,
    uri: &str,
    allowed: &[Transport],
    zone: &Zone,
) -> (Result<Vec<Hop>, ResolveError>, Vec<Question>) {
    let mut entropy = Entropy::from_number(1);
    let id = resolver.resolve(target(uri), allowed, Time::ZERO);
    let mut asked = Vec::new();
    loop {
        if let Some((resolved, outcome)) = resolver.poll_resolved() {
            assert_eq!(resolved, id);
            return (outcome, asked);
        }
        let question = resolver.poll_question().expect("neither a question nor an outcome");
        asked.push(question.clone());
        let key = (question.name.clone(), question.kind);
        let outcome = zone.get(&key).cloned().unwrap_or(Err(LookupFailure::NotFound));
        resolver.handle_answer(&Answer { question, outcome }, &mut entropy, Time::ZERO);
    }
}

fn hops(uri: &str, zone: &Zone) -> Vec<String> {
    let (outcome, _) = run(&mut Resolver::default(), uri, &ALL, zone);
    outcome.unwrap().iter().map(|hop| format!("{} {}", hop.transport, hop.remote)).collect()
}

#[test]
fn numeric_hosts_ask_nothing() {
    let (outcome, asked) = run(&mut Resolver::default(), "sip:192.0.2.1", &ALL, &Zone::new());
    assert_eq!((outcome.unwrap()[0].remote.to_string().as_str(), asked.len()), ("192.0.2.1:5060", 0));
    assert_eq!(hops("sips:[2001:db8::1]", &Zone::new()), ["TLS [2001:db8::1]:5061"]);
    assert_eq!(hops("sip:192.0.2.1:5070;transport=tcp", &Zone::new()), ["TCP 192.0.2.1:5070"]);
}

#[test]
fn naptr_then_srv_then_addresses_in_the_zones_order() {
    let zone = zone(&[
        (
            "example.org",
            Kind::Naptr,
            &[naptr(20, "SIP+D2U", "_sip._udp.example.org"), naptr(10, "SIPS+D2T", "_sips._tcp.example.org")],
        ),
        (
            "_sips._tcp.example.org",
            Kind::Srv,
            &[srv(2, 5061, "b.example.org"), srv(1, 5071, "a.example.org")],
        ),
        ("_sip._udp.example.org", Kind::Srv, &[srv(1, 5060, "a.example.org")]),
        ("a.example.org", Kind::A, &[address("192.0.2.1")]),
        ("a.example.org", Kind::Aaaa, &[address("2001:db8::1")]),
        ("b.example.org", Kind::A, &[address("192.0.2.2")]),
    ]);
    assert_eq!(
        hops("sip:bob@example.org", &zone),
        [
            "TLS [2001:db8::1]:5071",
            "TLS 192.0.2.1:5071",
            "TLS 192.0.2.2:5061",
            "UDP [2001:db8::1]:5060",
            "UDP 192.0.2.1:5060"
        ]
    );
}

#[test]
fn a_port_or_a_transport_shortens_the_way() {
    let zone = zone(&[
        ("example.org", Kind::A, &[address("192.0.2.9")]),
        ("_sip._tcp.example.org", Kind::Srv, &[srv(1, 5080, "example.org")]),
    ]);
    let kinds = |uri: &str| {
        let (_, asked) = run(&mut Resolver::default(), uri, &ALL, &zone);
        asked.iter().map(|question| question.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds("sip:example.org:5060"), [Kind::A, Kind::Aaaa]);
    assert_eq!(kinds("sip:example.org;transport=tcp"), [Kind::Srv, Kind::A, Kind::Aaaa]);
    assert_eq!(hops("sip:example.org;transport=tcp", &zone), ["TCP 192.0.2.9:5080"]);
    assert_eq!(hops("sip:example.org", &zone), ["TCP 192.0.2.9:5080"]);
}

#[test]
fn a_domain_without_records_of_its_own_is_a_host() {
    let zone = zone(&[("example.org", Kind::A, &[address("192.0.2.9")])]);
    assert_eq!(hops("sip:example.org", &zone), ["UDP 192.0.2.9:5060"]);
}

#[test]
fn s18_sips_never_leaves_tls_whatever_the_zone_offers() {
    let udp_only = zone(&[
        ("example.org", Kind::Naptr, &[naptr(1, "SIP+D2U", "_sip._udp.example.org")]),
        ("_sip._udp.example.org", Kind::Srv, &[srv(1, 5060, "example.org")]),
        ("example.org", Kind::A, &[address("192.0.2.9")]),
    ]);
    assert_eq!(hops("sips:bob@example.org", &udp_only), ["TLS 192.0.2.9:5061"]);
    let mut resolver = Resolver::default();
    let (outcome, _) = run(&mut resolver, "sips:bob@example.org;transport=udp", &ALL, &udp_only);
    assert_eq!(outcome, Err(ResolveError::NoService));
    let (outcome, _) = run(&mut resolver, "sips:bob@example.org", &[Transport::Udp], &udp_only);
    assert_eq!(outcome, Err(ResolveError::NoService));
    let tls_only = [Transport::Tls];
    let (outcome, _) = run(&mut resolver, "sip:bob@example.org", &tls_only, &udp_only);
    assert!(outcome.unwrap().iter().all(|hop| hop.transport == Transport::Tls));
}

#[test]
fn s18_the_certificate_must_carry_the_name_asked_for() {
    let zone = zone(&[
        ("_sips._tcp.example.org", Kind::Srv, &[srv(1, 5061, "host.elsewhere.example")]),
        ("host.elsewhere.example", Kind::A, &[address("192.0.2.9")]),
    ]);
    let (outcome, _) = run(&mut Resolver::default(), "sips:example.org", &ALL, &zone);
    assert_eq!(outcome.unwrap()[0].server_name.as_deref(), Some("example.org"));
}

#[test]
fn a_service_that_is_decidedly_absent_is_not_guessed() {
    let zone = zone(&[
        ("_sip._tcp.example.org", Kind::Srv, &[srv(0, 0, "")]),
        ("example.org", Kind::A, &[address("192.0.2.9")]),
    ]);
    let (outcome, _) = run(&mut Resolver::default(), "sip:example.org;transport=tcp", &ALL, &zone);
    assert_eq!(outcome, Err(ResolveError::NoService));
}

#[test]
fn f5_last_good_address_survives_servfail_and_an_unknown_name_does_not() {
    let good = zone(&[("example.org", Kind::A, &[address("192.0.2.9")])]);
    let mut failing = Zone::new();
    for (name, kind) in [
        ("example.org", Kind::Naptr),
        ("example.org", Kind::A),
        ("example.org", Kind::Aaaa),
        ("_sip._udp.example.org", Kind::Srv),
        ("_sip._tcp.example.org", Kind::Srv),
        ("_sips._tcp.example.org", Kind::Srv),
        ("new.example", Kind::A),
        ("new.example", Kind::Aaaa),
    ] {
        failing.insert((name.into(), kind), Err(LookupFailure::Unavailable));
    }
    let mut resolver = Resolver::default();
    let (first, _) = run(&mut resolver, "sip:example.org", &ALL, &good);
    let (second, _) = run(&mut resolver, "sip:example.org", &ALL, &failing);
    assert_eq!(second, first);
    let (unknown, _) = run(&mut resolver, "sip:new.example:5060", &ALL, &failing);
    assert_eq!(unknown, Err(ResolveError::DnsUnavailable));
}

#[test]
fn f5_a_silent_dns_ends_in_four_seconds_and_holds_up_nobody() {
    let mut entropy = Entropy::from_number(1);
    let mut resolver = Resolver::default();
    let slow = resolver.resolve(target("sip:slow.example:5060"), &ALL, Time::ZERO);
    let quick = resolver.resolve(target("sip:192.0.2.1"), &ALL, Time::ZERO);
    assert_eq!(resolver.poll_resolved().map(|(id, _)| id), Some(quick));
    assert_eq!(resolver.poll_timeout(), Some(Time::ZERO + PATIENCE));
    // One family answers, the other never does: what there is is used.
    let question = Question { name: "slow.example".into(), kind: Kind::A };
    resolver.handle_answer(
        &Answer { question, outcome: Ok(vec![address("192.0.2.7")]) },
        &mut entropy,
        Time::ZERO,
    );
    assert_eq!(resolver.poll_resolved(), None);
    resolver.handle_timeout(&mut entropy, Time::ZERO + PATIENCE);
    let (id, outcome) = resolver.poll_resolved().unwrap();
    assert_eq!((id, outcome.unwrap()[0].remote.to_string().as_str()), (slow, "192.0.2.7:5060"));
    assert_eq!((resolver.running(), resolver.poll_timeout()), (0, None));
}

#[test]
fn hostile_zones_are_bounded() {
    let many: Vec<Record> = (0..5000).map(|n| srv(n, 5060, &format!("h{n}.example"))).collect();
    let addresses: Vec<Record> = (0..=255).map(|n| address(&format!("192.0.2.{n}"))).collect();
    let mut rows: Vec<(String, Kind, &[Record])> = vec![("_sip._udp.example.org".into(), Kind::Srv, &many)];
    rows.extend((0..5000).map(|n| (format!("h{n}.example"), Kind::A, &addresses[..])));
    let zone: Zone =
        rows.into_iter().map(|(name, kind, records)| ((name, kind), Ok(records.to_vec()))).collect();
    let (outcome, asked) = run(&mut Resolver::default(), "sip:example.org;transport=udp", &ALL, &zone);
    assert!(outcome.unwrap().len() <= 16 && asked.len() <= 20, "{}", asked.len());
}
