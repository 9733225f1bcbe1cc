//! Whether the PBX behind an edge is there, and how long it lets a sleeping phone be registered.

use std::net::SocketAddr;

use wakeline_secret::Secret;
use wakeline_sip_message::{Message, Name};

use super::chain;
use super::phone::{Identity, Phone, Way};
use super::report::{Hop, Report};
use crate::config::Config;
use crate::push::Lookup;

/// Below this a phone must be reminded by pushes that come too late, or cannot be reminded at all.
const SHORT: u32 = 3600;

/// Asks every next hop of every upstream.
pub(super) async fn examine(config: &Config, lookup: &Lookup, report: &mut Report) {
    for upstream in &config.upstream {
        let domain = upstream.domains.first().cloned().unwrap_or_default();
        for hop in upstream.hops().unwrap_or_default() {
            let subject = format!("{domain} at {hop}");
            let host = hop.host.trim_matches(['[', ']']);
            let found = match host.parse() {
                Ok(address) => vec![address],
                Err(_) => lookup.addresses(host).await.unwrap_or_default(),
            };
            let Some(address) = found.first() else {
                report.broken(
                    Hop::Upstream,
                    &subject,
                    "no name server knows an address of it",
                    "correct upstream.next_hops, or the name's record",
                );
                continue;
            };
            let Ok((tls, _)) = chain::client() else { return };
            let address = SocketAddr::new(*address, hop.port);
            let way = Way { transport: hop.transport, address, domain: domain.clone(), tls };
            let nobody = Identity {
                user: "doctor".to_owned(),
                domain: domain.clone(),
                password: Secret::default(),
                push: None,
            };
            match async { Phone::connect(&way, &nobody).await?.options().await }.await {
                Ok(status) => report.good(Hop::Upstream, &subject, format!("the PBX answers ({status})")),
                Err(why) => report.broken(
                    Hop::Upstream,
                    &subject,
                    why,
                    "start the PBX, let its firewall pass this machine, and exempt this machine from its bans (fail2ban, pike)",
                ),
            }
        }
    }
}

/// Looks at how long a phone that can be woken was registered for.
pub(super) fn look_at_expiry(answer: &Message, who: &Identity, name: &str, report: &mut Report) {
    if who.push.is_none() {
        return;
    }
    let seconds = |contact: &str| {
        let behind = contact.split(";expires=").nth(1)?;
        let digits = behind.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<u32>().ok()
    };
    let granted = answer.headers(Name::Contact).flat_map(|line| line.split(',')).filter_map(seconds).max();
    if let Some(granted) = granted.filter(|granted| *granted < SHORT) {
        report.doubtful(
            Hop::Upstream,
            name,
            format!("a phone that can be woken is registered for {granted} s only"),
            "let the PBX grant 604800 s to the gateway's Contacts (Asterisk: maximum_expiration, Kamailio: max_expires); \
             an iPhone with its VoIP token alone is out of reach after that time",
        );
    }
}
