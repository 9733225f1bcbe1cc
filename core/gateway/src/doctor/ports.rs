//! Whether each listener is there and speaks SIP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use wakeline_flow::Transport;
use wakeline_secret::Secret;

use super::chain;
use super::phone::{Identity, Phone, Way};
use super::report::{Hop, Report};
use crate::config::Config;

/// The listeners of the file, with an address that can be connected to.
fn listeners(config: &Config) -> Vec<(Transport, SocketAddr)> {
    let listen = &config.listen;
    let all = [
        (Transport::Udp, &listen.udp),
        (Transport::Tcp, &listen.tcp),
        (Transport::Tls, &listen.tls),
        (Transport::Ws, &listen.ws),
        (Transport::Wss, &listen.wss),
    ];
    all.into_iter()
        .flat_map(|(transport, addresses)| {
            addresses.iter().map(move |address| (transport, reachable(*address)))
        })
        .collect()
}

/// All addresses of the machine: the nearest of them.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// Tries every listener, and looks at the certificate that it shows. Gives the way that a phone takes: the most secure
/// that works.
pub(super) async fn examine(config: &Config, ca_file: Option<&Path>, report: &mut Report) -> Option<Way> {
    let (tls, witness) = match chain::client() {
        Ok(pair) => pair,
        Err(error) => {
            report.broken(Hop::Tls, "here", error.to_string(), "this program cannot speak TLS; report it");
            return None;
        }
    };
    let domain = config.domains.first().cloned().unwrap_or_default();
    let nobody = Identity {
        user: "doctor".to_owned(),
        domain: domain.clone(),
        password: Secret::default(),
        push: None,
    };
    let mut judged = false;
    let mut ways: Vec<Way> = Vec::new();
    for (transport, address) in listeners(config) {
        let subject = format!("{} {address}", transport.via_token().to_ascii_lowercase());
        let way = Way { transport, address, domain: domain.clone(), tls: tls.clone() };
        let tried = async { Phone::connect(&way, &nobody).await?.options().await };
        match tried.await {
            Ok(status) => {
                report.good(Hop::Port, &subject, format!("a SIP server answers ({status})"));
                ways.push(way);
            }
            Err(why) => report.broken(
                Hop::Port,
                &subject,
                why,
                "start the gateway with this file (wakeline gateway --config FILE); when it runs, let the firewall pass \
                 this port, and see that no other program has it",
            ),
        }
        if transport.is_secure() && !judged && !witness.chain().is_empty() {
            judged = true;
            let own = config.tls.certificate.as_os_str().is_empty();
            chain::examine(&witness.chain(), &config.domains, own, ca_file, report);
        }
    }
    let rank = |transport| match transport {
        Transport::Tls => 0,
        Transport::Tcp => 1,
        Transport::Wss => 2,
        Transport::Ws => 3,
        Transport::Udp => 4,
    };
    ways.into_iter().min_by_key(|way| rank(way.transport))
}
