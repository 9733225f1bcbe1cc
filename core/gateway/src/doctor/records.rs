//! What the domain's records tell phones that know the domain only (RFC 3263 §4): NAPTR names transports, SRV names hosts
//! and ports. Records are not needed where the usual ports are listened on; wrong ones lead phones away.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::sync::OnceCell;
use wakeline_flow::Transport;
use wakeline_sip_resolve::{Kind, LookupFailure, Question, Record};

use super::names::{is_name, is_ours, without_port};
use super::report::{Hop, Report};
use crate::config::Config;
use crate::push::Lookup;

/// Whom to ask for records.
#[derive(Debug, Clone, Default)]
pub enum Records {
    /// The system's name servers.
    #[default]
    System,
    /// This table; what is not in it does not exist. For tests.
    Table(BTreeMap<Question, Vec<Record>>),
}

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The transports that have SRV names of their own (RFC 3263 §4.1, RFC 7118 §5.5).
const SERVICES: [(Transport, &str, &[&str]); 3] = [
    (Transport::Tls, "_sips._tcp", &["SIPS+D2T"]),
    (Transport::Tcp, "_sip._tcp", &["SIP+D2T"]),
    (Transport::Udp, "_sip._udp", &["SIP+D2U"]),
];

/// Asks, and keeps the resolver for the next question.
struct Asker<'a> {
    records: &'a Records,
    resolver: OnceCell<TokioResolver>,
}

impl Asker<'_> {
    async fn ask(&self, name: &str, kind: Kind) -> Result<Vec<Record>, LookupFailure> {
        match self.records {
            Records::Table(table) => {
                table.get(&Question { name: name.to_owned(), kind }).cloned().ok_or(LookupFailure::NotFound)
            }
            Records::System => self.look_up(name, kind).await,
        }
    }

    async fn look_up(&self, name: &str, kind: Kind) -> Result<Vec<Record>, LookupFailure> {
        let made = self.resolver.get_or_try_init(|| async { TokioResolver::builder_tokio()?.build() }).await;
        let resolver = made.map_err(|_: NetError| LookupFailure::Unavailable)?;
        let kind = match kind {
            Kind::Naptr => RecordType::NAPTR,
            Kind::Srv => RecordType::SRV,
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
        };
        let asked = resolver.lookup(format!("{name}."), kind);
        let Ok(answer) = tokio::time::timeout(PATIENCE, asked).await else {
            return Err(LookupFailure::Unavailable);
        };
        match answer {
            Ok(found) => Ok(found.answers().iter().filter_map(|record| read(&record.data)).collect()),
            Err(error) if error.is_nx_domain() || error.is_no_records_found() => Err(LookupFailure::NotFound),
            Err(_) => Err(LookupFailure::Unavailable),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "other records were not asked for")]
fn read(data: &RData) -> Option<Record> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = |name: &hickory_resolver::proto::rr::Name| name.to_ascii().trim_end_matches('.').to_owned();
    match data {
        RData::SRV(srv) => Some(Record::Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: name(&srv.target),
        }),
        RData::NAPTR(naptr) if naptr.regexp.is_empty() => Some(Record::Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: text(&naptr.flags),
            service: text(&naptr.services),
            replacement: name(&naptr.replacement),
        }),
        _ => None,
    }
}

/// Looks at every domain of ours.
pub(super) async fn examine(config: &Config, records: &Records, lookup: &Lookup, report: &mut Report) {
    let asker = Asker { records, resolver: OnceCell::new() };
    'all: for domain in config.domains.iter().filter(|domain| is_name(domain)) {
        let domain = domain.to_ascii_lowercase();
        let mut any = false;
        for (transport, service, _) in SERVICES {
            let name = format!("{service}.{domain}");
            match asker.ask(&name, Kind::Srv).await {
                Ok(found) => any |= look_at_srv(config, transport, &name, &found, lookup, report).await,
                Err(LookupFailure::NotFound) => {}
                Err(LookupFailure::Unavailable) => {
                    report.doubtful(
                        Hop::Dns,
                        &name,
                        "no name server answers",
                        "see what /etc/resolv.conf names, and whether UDP and TCP port 53 pass",
                    );
                    // Nor would it to the other questions.
                    break 'all;
                }
            }
        }
        if let Ok(found) = asker.ask(&domain, Kind::Naptr).await {
            look_at_naptr(config, &asker, &domain, &found, report).await;
        }
        if !any {
            without_srv(config, &domain, report);
        }
    }
}

/// Where we are reached over a transport: host, if one is named for the public, and port.
fn reached(config: &Config, transport: Transport) -> Option<(Option<String>, u16)> {
    let (listen, public) = match transport {
        Transport::Udp => (&config.listen.udp, &config.public.udp),
        Transport::Tcp => (&config.listen.tcp, &config.public.tcp),
        Transport::Tls => (&config.listen.tls, &config.public.tls),
        Transport::Ws => (&config.listen.ws, &config.public.ws),
        Transport::Wss => (&config.listen.wss, &config.public.wss),
    };
    let listening = listen.first().map(SocketAddr::port)?;
    let host = without_port(public);
    let named = public.get(host.len() + 1..).and_then(|port| port.parse().ok());
    let port = named.unwrap_or(if public.is_empty() { listening } else { transport.default_port() });
    Some((Some(host.to_owned()).filter(|host| !host.is_empty()), port))
}

fn token(transport: Transport) -> String {
    transport.via_token().to_ascii_lowercase()
}

/// The records of one service; whether there is one that names a host.
async fn look_at_srv(
    config: &Config,
    transport: Transport,
    name: &str,
    found: &[Record],
    lookup: &Lookup,
    report: &mut Report,
) -> bool {
    let mut any = false;
    for record in found {
        let Record::Srv { port, target, .. } = record else { continue };
        let subject = format!("{name} ({target}:{port})");
        // RFC 2782: a single dot says that there is no such service.
        if target.is_empty() {
            match reached(config, transport) {
                None => report.good(Hop::Dns, name, "says that there is no such service, and there is none"),
                Some(_) => report.doubtful(
                    Hop::Dns,
                    name,
                    "says that there is no such service, but it is listened for",
                    "fine if phones shall not use it; else name this machine in the record",
                ),
            }
            continue;
        }
        any = true;
        let Some((_, ours)) = reached(config, transport) else {
            report.broken(
                Hop::Dns,
                &subject,
                format!("leads phones here over {}, on which nothing listens", token(transport)),
                &format!("remove the record, or name an address in listen.{}", token(transport)),
            );
            continue;
        };
        let addresses = lookup.addresses(target).await.unwrap_or_default();
        if addresses.is_empty() {
            report.broken(
                Hop::Dns,
                &subject,
                "names a host that has no address",
                "name a host with an A (or AAAA) record; an alias (CNAME) is not allowed there (RFC 2782)",
            );
        } else if *port != ours {
            report.broken(
                Hop::Dns,
                &subject,
                format!("leads to port {port}, and over {} we are reached at {ours}", token(transport)),
                &format!("let the record name port {ours}"),
            );
        } else if addresses.iter().any(|address| is_ours(*address)) {
            report.good(Hop::Dns, &subject, "leads to this machine and to the right port");
        } else {
            report.doubtful(
                Hop::Dns,
                &subject,
                "leads to no address of this machine",
                "fine if a translator or balancer passes it on to this machine; else correct the record",
            );
        }
    }
    any
}

/// What the domain says of its transports.
async fn look_at_naptr(
    config: &Config,
    asker: &Asker<'_>,
    domain: &str,
    found: &[Record],
    report: &mut Report,
) {
    for record in found {
        let Record::Naptr { service, replacement, flags, .. } = record else { continue };
        let of = |known: &(Transport, &str, &[&str])| {
            known.2.iter().any(|name| name.eq_ignore_ascii_case(service))
        };
        // Other protocols of the domain, and regular expressions, are not for SIP (RFC 3263 §4.1).
        let Some((transport, _, _)) = SERVICES.iter().find(|known| of(known)) else { continue };
        let subject = format!("{domain} NAPTR {service}");
        if reached(config, *transport).is_none() {
            report.broken(
                Hop::Dns,
                &subject,
                format!("offers {}, on which nothing listens", token(*transport)),
                &format!("remove the record, or name an address in listen.{}", token(*transport)),
            );
            continue;
        }
        let leads = asker.ask(&replacement.to_ascii_lowercase(), Kind::Srv).await;
        if flags.eq_ignore_ascii_case("s") && leads.is_ok_and(|found| !found.is_empty()) {
            report.good(Hop::Dns, &subject, format!("leads to {replacement}"));
        } else {
            report.broken(
                Hop::Dns,
                &subject,
                format!("leads to {replacement}, which has no SRV record"),
                &format!("add an SRV record for {replacement}, with the flag \"s\" in the NAPTR record"),
            );
        }
    }
}

/// A domain without SRV records: phones use the usual ports of its own address.
fn without_srv(config: &Config, domain: &str, report: &mut Report) {
    let offered = SERVICES.iter().filter_map(|(transport, service, _)| {
        reached(config, *transport).map(|(host, port)| (*transport, *service, host, port))
    });
    for (transport, service, host, port) in offered {
        let elsewhere = host.as_ref().is_some_and(|host| is_name(host) && !host.eq_ignore_ascii_case(domain));
        if port == transport.default_port() && !elsewhere {
            continue;
        }
        let host = host.unwrap_or_else(|| domain.to_owned());
        report.doubtful(
            Hop::Dns,
            &format!("{service}.{domain}"),
            format!(
                "has no SRV record: phones that know only {domain} look for it at port {} of its address, and over {} \
                 we are reached at {host}:{port}",
                transport.default_port(),
                token(transport)
            ),
            &format!("add `{service}.{domain}. IN SRV 10 0 {port} {host}.`, or tell phones host and port"),
        );
    }
}
