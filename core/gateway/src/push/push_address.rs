//! Where a Web Push may go. The address comes from whoever registered, and behind it may stand our own network
//! (server-side request forgery): https only, public addresses only, and the address that was checked is the one that is
//! connected to.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The longest address.
const MAX_ADDRESS: usize = 2048;

/// Where names lead.
#[derive(Debug, Clone, Default)]
pub enum Lookup {
    /// The system says.
    #[default]
    System,
    /// This table says; a name that is not in it does not exist. For tests.
    Table(BTreeMap<String, Vec<IpAddr>>),
}

impl Lookup {
    /// The addresses of a name; none when there is no such name.
    pub(crate) async fn addresses(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        match self {
            Lookup::System => {
                Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect())
            }
            Lookup::Table(table) => Ok(table.get(host).cloned().unwrap_or_default()),
        }
    }
}

/// Who may be pushed to.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts {
    /// Hosts, `host` or `host:port`, that may have an address of our own network and a port other than 443.
    pub hosts: Vec<String>,
    /// Whether no other host may be pushed to.
    pub only: bool,
}

impl AllowedHosts {
    fn names(&self, host: &str, port: Option<u16>) -> bool {
        let host = host.trim_end_matches('.');
        self.hosts.iter().any(|allowed| match split(allowed) {
            (name, Some(wanted)) => name.eq_ignore_ascii_case(host) && port.is_none_or(|port| port == wanted),
            (name, None) => name.eq_ignore_ascii_case(host),
        })
    }

    /// Reads and checks a subscription's address.
    pub(super) fn check(&self, address: &str) -> Result<Url, &'static str> {
        if address.len() > MAX_ADDRESS {
            return Err("the address is too long");
        }
        let url = Url::parse(address).map_err(|_| "it is no address")?;
        if url.scheme() != "https" {
            return Err("it is not https");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it holds a user name");
        }
        let host = url.host_str().ok_or("it has no host")?;
        let port = url.port_or_known_default().unwrap_or(443);
        let named = self.names(host.trim_matches(['[', ']']), Some(port));
        if self.only && !named {
            return Err("the host is not among push.webpush.allowed_hosts");
        }
        // A name with its port is allowed at that port only: its addresses are not looked at when it is connected to.
        if !named && (port != 443 || self.names(host.trim_matches(['[', ']']), None)) {
            return Err("the port is not 443, and not one of push.webpush.allowed_hosts");
        }
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        if !named && literal.is_some_and(|address| !is_public(address)) {
            return Err("the address is not public");
        }
        Ok(url)
    }
}

/// Host and port of `host`, `host:port`, `[::1]:port`.
fn split(text: &str) -> (&str, Option<u16>) {
    if text.parse::<Ipv6Addr>().is_ok() {
        return (text, None);
    }
    match text.rsplit_once(':').map(|(host, port)| (host, port.parse().ok())) {
        Some((host, Some(port))) => (host.trim_matches(['[', ']']), Some(port)),
        Some((_, None)) | None => (text.trim_matches(['[', ']']), None),
    }
}

/// Resolves names for the client, and gives it checked addresses only.
pub(super) struct Guard {
    pub(super) allowed: AllowedHosts,
    pub(super) lookup: Lookup,
}

/// A name leads to an address that we do not push to.
#[derive(Debug, thiserror::Error)]
#[error("the name leads to no public address")]
pub(super) struct NotPublic;

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let (named, lookup) = (self.allowed.names(&host, None), self.lookup.clone());
        Box::pin(async move {
            let found = lookup.addresses(&host).await?;
            let some = !found.is_empty();
            let mut good: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| named || is_public(*address))
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            good.truncate(8);
            if some && good.is_empty() {
                return Err(NotPublic.into());
            }
            Ok(Box::new(good.into_iter()) as Addrs)
        })
    }
}

/// Whether an error of the client comes from the guard.
pub(super) fn is_not_public(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = cause {
        if one.is::<NotPublic>() {
            return true;
        }
        cause = one.source();
    }
    false
}

/// Whether an address belongs to a host of the public network (the registries of RFC 6890).
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        // This network; private; loopback; carrier-grade translators; link-local.
        (0 | 10 | 127, _, _) | (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _) | (192, 168, _)
        // Protocol assignments, documentation, benchmarks, 6to4 relays; multicast and all above.
        | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113)
        | (224..=255, _, _)
    );
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let tail = |at: usize| {
        let [a, b] = segments[at].to_be_bytes();
        let [c, d] = segments[at + 1].to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        // What stands for an IPv4 address is as public as that.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => is_public_v4(tail(6)),
        [0x2002, ..] => is_public_v4(tail(1)),
        // Protocol assignments (Teredo among them) and documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast as far as it is given out.
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s22_addresses_of_our_own_network_are_not_public() {
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.0.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "8.8.8.8",
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "192.1.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn s22_only_https_to_public_hosts_on_the_usual_port() {
        let open = AllowedHosts::default();
        for (address, fine) in [
            ("https://push.example.net/w/gAB?k=1", true),
            ("https://8.8.8.8/x", true),
            ("https://push.example.net:443/x", true),
            ("http://push.example.net/x", false),
            ("ftp://push.example.net/x", false),
            ("file:///etc/passwd", false),
            ("https://push.example.net:8443/x", false),
            ("https://user@push.example.net/x", false),
            ("https://user:pw@push.example.net/x", false),
            ("https://127.0.0.1/x", false),
            ("https://2130706433/x", false),
            ("https://0x7f.1/x", false),
            ("https://127.1/x", false),
            ("https://[::1]/x", false),
            ("https://[::ffff:127.0.0.1]/x", false),
            ("https://169.254.169.254/latest/meta-data", false),
            ("https://10.0.0.1/", false),
            ("//push.example.net/x", false),
            ("", false),
        ] {
            assert_eq!(open.check(address).is_ok(), fine, "{address}");
        }
        assert!(open.check(&format!("https://a/{}", "x".repeat(MAX_ADDRESS))).is_err());
    }

    #[test]
    fn s22_what_the_operator_names_is_allowed_and_nothing_beside_it() {
        let hosts = ["ntfy.lan", "up.example.org:8443", "[::1]:9", "10.0.0.9"].map(str::to_owned).to_vec();
        let some = AllowedHosts { hosts: hosts.clone(), only: false };
        for (address, fine) in [
            ("https://ntfy.lan/x", true),
            ("https://NTFY.lan.:444/x", true),
            ("https://up.example.org:8443/x", true),
            ("https://up.example.org:8444/x", false),
            ("https://up.example.org/x", false),
            ("https://[::1]:9/x", true),
            ("https://[::1]:10/x", false),
            ("https://10.0.0.9:99/x", true),
            ("https://10.0.0.8/x", false),
            ("http://ntfy.lan/x", false),
            ("https://push.example.net/x", true),
        ] {
            assert_eq!(some.check(address).is_ok(), fine, "{address}");
        }
        let only = AllowedHosts { hosts, only: true };
        assert!(only.check("https://ntfy.lan/x").is_ok());
        assert!(only.check("https://push.example.net/x").is_err());
    }
}
