//! Where the names lead that phones look up.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::net::TcpStream;

use super::report::{Hop, Report};
use crate::config::Config;
use crate::push::Lookup;

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The names that phones look up: domains and public hosts that are no addresses.
fn names(config: &Config) -> BTreeSet<String> {
    let public =
        [&config.public.udp, &config.public.tcp, &config.public.tls, &config.public.ws, &config.public.wss];
    let hosts = config.domains.iter().chain(public).map(String::as_str).chain([config.provision.host()]);
    hosts.map(without_port).filter(|host| is_name(host)).map(str::to_ascii_lowercase).collect()
}

pub(super) fn without_port(text: &str) -> &str {
    match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.contains(':') => host,
        Some(_) | None => text,
    }
}

/// Whether it is a name that a name server is asked for.
pub(super) fn is_name(host: &str) -> bool {
    !host.is_empty() && host != "localhost" && !host.starts_with('[') && host.parse::<IpAddr>().is_err()
}

/// Whether an address is one of this machine's: only then can a socket be bound to it.
pub(super) fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Looks every name up.
pub(super) async fn examine(config: &Config, lookup: &Lookup, report: &mut Report) {
    // A port that can be connected to, to see whether anybody answers behind a translator.
    let listen = &config.listen;
    let port = [&listen.tls, &listen.tcp, &listen.wss, &listen.ws]
        .into_iter()
        .find_map(|all| all.first())
        .map(SocketAddr::port);
    let names = names(config);
    if names.is_empty() {
        report.skipped(Hop::Dns, "domains", "no name that other machines could look up");
    }
    for name in names {
        let found = lookup.addresses(&name).await.unwrap_or_default();
        if found.is_empty() {
            report.broken(
                Hop::Dns,
                &name,
                "no name server knows an address of it",
                "add an A (and AAAA) record that leads to this machine's public address, and wait until it is seen",
            );
            continue;
        }
        for address in found {
            let subject = format!("{name} ({address})");
            if is_ours(address) {
                report.good(Hop::Dns, &subject, "leads to this machine");
                continue;
            }
            let Some(port) = port else {
                report.skipped(Hop::Dns, &subject, "no address of this machine, and nothing to connect to");
                continue;
            };
            match tokio::time::timeout(PATIENCE, TcpStream::connect((address, port))).await {
                Ok(Ok(_)) => report.doubtful(
                    Hop::Dns,
                    &subject,
                    format!("is no address of this machine; somebody answers at port {port}"),
                    "fine if a translator or balancer passes it on to this machine; else correct the record",
                ),
                Ok(Err(_)) | Err(_) => report.broken(
                    Hop::Dns,
                    &subject,
                    format!("is no address of this machine, and nobody answers at port {port}"),
                    "correct the A or AAAA record, or let the router pass the port on to this machine",
                ),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_looked_up() {
        let domains = ["localhost", "127.0.0.1", "::1", "Voice.Example"].map(str::to_owned).to_vec();
        let mut config = Config { domains, ..Config::default() };
        config.public.tls = "edge.example:5061".to_owned();
        config.public.ws = "[::1]:80".to_owned();
        config.provision.public_url = "https://voice.example/".to_owned();
        assert_eq!(names(&config).into_iter().collect::<Vec<_>>(), ["edge.example", "voice.example"]);
        assert!(is_ours([127, 0, 0, 1].into()) && !is_ours([192, 0, 2, 1].into()));
    }
}
