//! How SIP travels, and what is added to it.

use core::net::IpAddr;
use core::time::Duration;

use crate::check::is_websocket;
use crate::params_list::{header_fields, parameters};
use crate::store::Settings;

/// The network group, as the phone obeys it.
#[derive(Clone, PartialEq, Eq)]
pub struct NetworkSettings {
    /// `transport`.
    pub transport: TransportChoice,
    /// `webrtcserveraddress`: `ws:` and `wss:` addresses, in order.
    pub websockets: Vec<String>,
    /// `localip`.
    pub local_ip: Option<IpAddr>,
    /// `signalingport`; 0 for any.
    pub signaling_port: u16,
    /// `rtpport`; 0 for two above the SIP port.
    pub rtp_port: u16,
    /// `keepaliveival`; `None` for no keep-alives (B-093).
    pub keep_alive: Option<Duration>,
    /// `use_rport`.
    pub rport: Rport,
    /// `useragent`.
    pub user_agent: Option<String>,
    /// `customsipheader`: added to every message (B-087).
    pub header_fields: Vec<(String, String)>,
    /// `contact_uri_parameters`: inside the Contact URI of REGISTER and INVITE, as they are written (B-086). They may
    /// carry a push token, which belongs into REGISTER only.
    pub contact_uri_parameters: Vec<(String, Option<String>)>,
    /// `contact_parameters`: behind the Contact URI (B-086).
    pub contact_parameters: Vec<(String, Option<String>)>,
    /// `tlspin`: SHA-256 of the public key that the server must have.
    pub tls_pin: Option<String>,
    /// `tlsroots`: path of the certificates that are trusted in place of the system's.
    pub tls_roots: Option<String>,
}

impl core::fmt::Debug for NetworkSettings {
    /// Without what may hold a token (B-059).
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("NetworkSettings")
            .field("transport", &self.transport)
            .field("local_ip", &self.local_ip)
            .field("signaling_port", &self.signaling_port)
            .field("rtp_port", &self.rtp_port)
            .field("keep_alive", &self.keep_alive)
            .field("rport", &self.rport)
            .finish_non_exhaustive()
    }
}

/// `transport`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransportChoice {
    /// -1, and the tunnels 3 to 5, which this phone has not (B-095): by what the server's name says.
    Automatic,
    /// 0.
    Udp,
    /// 1.
    Tcp,
    /// 2.
    Tls,
}

/// `use_rport` (B-088, RFC 3581).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rport {
    /// 0: do not ask.
    Off,
    /// 1: believe the answer when it is sure to hold.
    WhenCertain,
    /// 2: believe it unless the own address is public.
    Use,
    /// 3: believe it always.
    Always,
    /// 9: ask, and keep the own address.
    AskOnly,
}

impl Rport {
    /// Whether a Via carries `rport`.
    pub const fn asks(self) -> bool {
        !matches!(self, Rport::Off)
    }
}

impl Settings {
    /// The network group.
    pub fn network(&self) -> NetworkSettings {
        let list = |name| self.text(name).and_then(parameters).unwrap_or_default();
        let websockets = self.text("webrtcserveraddress").unwrap_or("").split(',').map(str::trim);
        NetworkSettings {
            transport: match self.number("transport") {
                Some(0) => TransportChoice::Udp,
                Some(1) => TransportChoice::Tcp,
                Some(2) => TransportChoice::Tls,
                Some(_) | None => TransportChoice::Automatic,
            },
            websockets: websockets.filter(|address| is_websocket(address)).map(str::to_owned).collect(),
            local_ip: self.text("localip").and_then(|text| text.trim().parse().ok()),
            signaling_port: self.port("signalingport"),
            rtp_port: self.port("rtpport"),
            keep_alive: self.span("keepaliveival"),
            rport: match self.number("use_rport") {
                Some(0) => Rport::Off,
                Some(2) => Rport::Use,
                Some(3) => Rport::Always,
                Some(9) => Rport::AskOnly,
                Some(_) | None => Rport::WhenCertain,
            },
            user_agent: self.text("useragent").map(str::to_owned),
            header_fields: self.text("customsipheader").and_then(header_fields).unwrap_or_default(),
            contact_uri_parameters: list("contact_uri_parameters"),
            contact_parameters: list("contact_parameters"),
            tls_pin: self.text("tlspin").map(str::to_owned),
            tls_roots: self.text("tlsroots").map(str::to_owned),
        }
    }

    fn port(&self, name: &str) -> u16 {
        self.number(name).and_then(|number| u16::try_from(number).ok()).unwrap_or(0)
    }

    /// A span in milliseconds; `None` for 0.
    pub(crate) fn span(&self, name: &str) -> Option<Duration> {
        let millis = self.number(name).and_then(|millis| u64::try_from(millis).ok())?;
        (millis > 0).then(|| Duration::from_millis(millis))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    fn network(pairs: &[(&str, &str)]) -> NetworkSettings {
        let mut settings = Settings::new();
        for (name, value) in pairs {
            settings.set(name, value, Source::File);
        }
        settings.network()
    }

    #[test]
    fn b095_transport_and_its_fallback() {
        for (value, expected) in [
            ("-1", TransportChoice::Automatic),
            ("0", TransportChoice::Udp),
            ("1", TransportChoice::Tcp),
            ("2", TransportChoice::Tls),
            ("4", TransportChoice::Automatic),
        ] {
            assert_eq!(network(&[("transport", value)]).transport, expected);
        }
        let mut settings = Settings::new();
        settings.set("transport", "4", Source::File);
        assert_eq!(settings.diagnoses().len(), 1, "a tunnel is said not to be there");
    }

    #[test]
    fn b096_ports() {
        let set = network(&[("signalingport", "5080"), ("rtpport", "4000"), ("localip", "::1")]);
        assert_eq!((set.signaling_port, set.rtp_port), (5080, 4000));
        assert_eq!(set.local_ip, Some("::1".parse().unwrap()));
        let unset = network(&[]);
        assert_eq!((unset.signaling_port, unset.rtp_port, unset.local_ip), (0, 0, None));
        assert_eq!(network(&[("rtpport", "70000")]).rtp_port, 0);
    }

    #[test]
    fn b093_keep_alives_and_none() {
        assert_eq!(network(&[]).keep_alive, Some(Duration::from_secs(28)));
        assert_eq!(network(&[("keepaliveival", "0")]).keep_alive, None);
    }

    #[test]
    fn b088_use_rport_follows_its_table() {
        for (value, expected) in [
            ("0", Rport::Off),
            ("1", Rport::WhenCertain),
            ("2", Rport::Use),
            ("3", Rport::Always),
            ("9", Rport::AskOnly),
        ] {
            assert_eq!(network(&[("use_rport", value)]).rport, expected);
        }
        assert!(!Rport::Off.asks() && Rport::AskOnly.asks());
    }

    #[test]
    fn b086_b087_additions_to_messages() {
        let network = network(&[
            ("contact_uri_parameters", ";x=1;pn-prid=canary"),
            ("contact_parameters", "+sip.foo"),
            ("customsipheader", "X-A: 1;X-B: 2"),
            ("useragent", "Phone/1"),
        ]);
        assert_eq!(network.contact_uri_parameters.len(), 2);
        assert_eq!(network.contact_parameters, [("+sip.foo".to_owned(), None)]);
        assert_eq!(network.header_fields[1], ("X-B".to_owned(), "2".to_owned()));
        assert_eq!(network.user_agent.as_deref(), Some("Phone/1"));
        assert!(!format!("{network:?}").contains("canary"));
    }

    #[test]
    fn b022_websocket_addresses_are_listed() {
        let network = network(&[("webrtcserveraddress", "wss://a.example/ws, ws://b.example:8080 ")]);
        assert_eq!(network.websockets, ["wss://a.example/ws", "ws://b.example:8080"]);
    }

    #[test]
    fn own_tls_parameters() {
        let network = network(&[("tlspin", "ab"), ("tlsroots", "ca.pem")]);
        assert_eq!((network.tls_pin.as_deref(), network.tls_roots.as_deref()), (Some("ab"), Some("ca.pem")));
    }
}
