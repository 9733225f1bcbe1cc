//! The questions of `sip-resolve`, asked of the system's name servers or of those that the program names.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use tokio::sync::{OnceCell, mpsc};
use wakeline_sip_resolve::{Answer, Kind, LookupFailure, Question, Record};
use wakeline_user_agent::Input;

/// Asks; answers arrive as facts. The resolver is made when it is first needed: an account with a numeric server never
/// pays for it.
#[derive(Clone)]
pub(crate) struct Resolver {
    inner: Arc<OnceCell<TokioResolver>>,
    /// Whom to ask; the system's name servers when empty.
    servers: Arc<[SocketAddr]>,
    facts: mpsc::Sender<Input>,
}

impl Resolver {
    /// A resolver that has not been needed yet.
    pub(crate) fn new(servers: &[SocketAddr], facts: mpsc::Sender<Input>) -> Resolver {
        Resolver { inner: Arc::default(), servers: servers.into(), facts }
    }

    /// The addresses of a name, IPv6 first as they are told; what a browser would connect to.
    pub(crate) async fn addresses(&self, name: &str) -> Result<Vec<std::net::IpAddr>, LookupFailure> {
        if let Ok(address) = name.parse() {
            return Ok(vec![address]);
        }
        let question = |kind| Question { name: name.to_owned(), kind };
        let (six, four) = (question(Kind::Aaaa), question(Kind::A));
        let asked = (look_up(&self.inner, &self.servers, &six), look_up(&self.inner, &self.servers, &four));
        let (six, four) = futures_util::join!(asked.0, asked.1);
        let mut found = Vec::new();
        for record in six.iter().chain(&four).flatten() {
            if let Record::Address(address) = record {
                found.push(*address);
            }
        }
        if found.is_empty() { Err(four.err().unwrap_or(LookupFailure::NotFound)) } else { Ok(found) }
    }

    /// Asks one question.
    pub(crate) fn ask(&self, question: Question) {
        let (inner, servers, facts) =
            (Arc::clone(&self.inner), Arc::clone(&self.servers), self.facts.clone());
        tokio::spawn(async move {
            let outcome = look_up(&inner, &servers, &question).await;
            // The loop may be gone already.
            let _ = facts.send(Input::Resolved(Answer { question, outcome })).await;
        });
    }
}

/// What is known of `localhost` without asking anybody (RFC 6761 §6.3); a name server may not even be there.
fn localhost(question: &Question) -> Option<Result<Vec<Record>, LookupFailure>> {
    let name = question.name.as_str();
    if name != "localhost" && !name.ends_with(".localhost") {
        return None;
    }
    Some(match question.kind {
        Kind::Naptr | Kind::Srv => Err(LookupFailure::NotFound),
        Kind::A => Ok(vec![Record::Address(Ipv4Addr::LOCALHOST.into())]),
        Kind::Aaaa => Ok(vec![Record::Address(Ipv6Addr::LOCALHOST.into())]),
    })
}

/// A resolver that asks these servers, over UDP and, when an answer is too long for it, TCP.
fn asking(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    if servers.is_empty() {
        return TokioResolver::builder_tokio()?.build();
    }
    let server = |server: &SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        NameServerConfig::new(server.ip(), true, connections.into())
    };
    let configuration = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
    TokioResolver::builder_with_config(configuration, TokioRuntimeProvider::default()).build()
}

async fn look_up(
    inner: &OnceCell<TokioResolver>,
    servers: &[SocketAddr],
    question: &Question,
) -> Result<Vec<Record>, LookupFailure> {
    if let Some(known) = localhost(question) {
        return known;
    }
    let resolver = inner.get_or_try_init(|| async { asking(servers) }).await.map_err(|error| {
        tracing::warn!(%error, "no DNS: the system's configuration cannot be read");
        LookupFailure::Unavailable
    })?;
    // Addresses go through the hosts file as well; the trailing dot keeps search domains away.
    let name = format!("{}.", question.name);
    let kind = match question.kind {
        Kind::Naptr => RecordType::NAPTR,
        Kind::Srv => RecordType::SRV,
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
    };
    match resolver.lookup(name, kind).await {
        Ok(lookup) => Ok(lookup.answers().iter().filter_map(|record| read(&record.data)).collect()),
        Err(error) => Err(failure(&error)),
    }
}

fn failure(error: &NetError) -> LookupFailure {
    if error.is_nx_domain() || error.is_no_records_found() {
        LookupFailure::NotFound
    } else {
        tracing::debug!(%error, "DNS");
        LookupFailure::Unavailable
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "other records were not asked for")]
fn read(data: &RData) -> Option<Record> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = |name: &hickory_resolver::proto::rr::Name| name.to_ascii().trim_end_matches('.').to_owned();
    match data {
        RData::A(address) => Some(Record::Address(address.0.into())),
        RData::AAAA(address) => Some(Record::Address(address.0.into())),
        RData::SRV(srv) => {
            let target = name(&srv.target);
            Some(Record::Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target })
        }
        // RFC 3263 §4.1: records with a regular expression are not for us.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_needs_no_name_server() {
        let known = |name: &str, kind| localhost(&Question { name: name.to_owned(), kind });
        let address = |address: std::net::IpAddr| Some(Ok(vec![Record::Address(address)]));
        assert_eq!(known("localhost", Kind::A), address(Ipv4Addr::LOCALHOST.into()));
        assert_eq!(known("phone.localhost", Kind::Aaaa), address(Ipv6Addr::LOCALHOST.into()));
        assert_eq!(known("_sip._udp.localhost", Kind::Srv), Some(Err(LookupFailure::NotFound)));
        assert_eq!(known("localhost", Kind::Naptr), Some(Err(LookupFailure::NotFound)));
        assert_eq!(known("localhost.example", Kind::A), None);
        assert_eq!(known("notlocalhost", Kind::A), None);
    }
}
