//! The address that the registrar saw us at (RFC 3581 §4), where it cannot reach us by our flow (RFC 5626).

use core::net::{IpAddr, SocketAddr};

use wakeline_flow::{FlowInfo, Transport};
use wakeline_sip_message::Message;

/// When the address that the registrar saw stands in our Contact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeenAddress {
    /// Never: the own address stays.
    Kept,
    /// When it is sure to hold: address and port were both told, ours is private and the one seen is public.
    WhenCertain,
    /// Unless our own is public.
    Used,
    /// Also when our own is public.
    Always,
}

impl SeenAddress {
    /// The address to put into the Contact, if it is another one than ours. Connections need none: a registrar answers on
    /// them.
    pub(crate) fn learn(self, flow: &FlowInfo, response: &Message) -> Option<SocketAddr> {
        match flow.transport {
            Transport::Udp => {}
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => return None,
        }
        let via = response.via().ok()?;
        let (received, rport) = (via.received(), via.rport().filter(|port| *port != 0));
        let own = flow.local;
        let seen = SocketAddr::new(received.unwrap_or(own.ip()), rport.unwrap_or(own.port()));
        let believed = match self {
            SeenAddress::Kept => false,
            SeenAddress::WhenCertain => {
                received.is_some() && rport.is_some() && !is_public(own.ip()) && is_public(seen.ip())
            }
            SeenAddress::Used => !is_public(own.ip()),
            SeenAddress::Always => true,
        };
        (believed && seen != own).then_some(seen)
    }
}

/// Whether an address can be reached from everywhere (RFC 1918, RFC 6598, RFC 4193, RFC 3927).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => {
            let shared = four.octets()[0] == 100 && four.octets()[1] & 0xc0 == 64;
            !(four.is_private()
                || four.is_loopback()
                || four.is_link_local()
                || four.is_unspecified()
                || shared)
        }
        IpAddr::V6(six) => {
            let (unique_local, link_local) =
                (six.segments()[0] & 0xfe00 == 0xfc00, six.segments()[0] & 0xffc0 == 0xfe80);
            !(unique_local || link_local || six.is_loopback() || six.is_unspecified())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_reached_from_everywhere() {
        for (address, public) in [
            ("192.0.2.1", true),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("169.254.0.1", false),
            ("127.0.0.1", false),
            ("2001:db8::1", true),
            ("fd00::1", false),
            ("fe80::1", false),
            ("::1", false),
            ("::ffff:10.0.0.1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }
}
