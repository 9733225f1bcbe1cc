//! What the operator decides: domains, trust, push services, timers and limits.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use wakeline_flow::Transport;
use wakeline_secret::Secret;
use wakeline_sip_auth::Algorithm;

use crate::quota::Allowance;

/// The machine's configuration. `Config::new` gives the values of the wake design; every field may be changed.
#[derive(Clone, Debug)]
pub struct Config {
    /// The domains that we are registrar for, lower case; the first is named in challenges as the realm unless
    /// `realm` says otherwise. An IP address that clients write into the request URI may stand here too.
    pub domains: Vec<String>,
    /// The digest realm.
    pub realm: String,
    /// Host (and port) that clients and peers reach us under, per transport: what goes into Via and Record-Route. A
    /// transport that is not listed is written with the local address of the flow.
    pub addresses: Vec<PublicAddress>,
    /// Keys the names that we hand out (PURR, GRUU, Record-Route) and the nonces. It must survive restarts: calls and
    /// cached nonces that are older than the process depend on it.
    pub secret: Secret,
    /// Who may call without a password of ours.
    pub trusted: Vec<TrustedPeer>,
    /// Whether a request on a connection whose REGISTER was authenticated needs no digest of its own. Only for
    /// connection-oriented transports under TLS (Tls, Wss); elsewhere the flow proves nothing.
    pub trust_registered_connections: bool,
    /// How long a nonce may be used: longer than a phone sleeps, so that its wake costs one REGISTER.
    pub nonce_lifetime: Duration,
    /// What digests are challenged with, in this order (RFC 8760 §2.3: the one we like best first).
    pub algorithms: Vec<Algorithm>,
    /// The push services that we can really send to.
    pub push: PushServices,
    /// All waiting times.
    pub timers: Timers,
    /// All caps (class S14).
    pub limits: Limits,
    /// Expiry rules of bindings without push.
    pub plain_expiry: Expiry,
    /// Expiry rules of bindings with push.
    pub push_expiry: Expiry,
    /// What a device that registers after its call has ended is told, if it does not read `X-Wake-State`.
    pub late_foreign_device: LateForeignDevice,
    /// Where calls go that nobody took; without a target of its own none does.
    pub voicemail: Option<Voicemail>,
    /// What waits for phones that sleep.
    pub mail: MailRules,
    /// Whether our address is handed out as Service-Route (RFC 3608). Off: clients reach us as their registrar anyway.
    pub service_route: bool,
    /// The value of the Server header field; empty for none.
    pub server: String,
    /// The servers that some domains are passed on to.
    pub upstreams: Vec<Upstream>,
    /// Who we are among the nodes of one gateway; `None`: there are no others.
    pub node: Option<NodeName>,
}

/// A node's name, and the mark of this life of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeName {
    /// Its name, the same after every start, and no other node's.
    pub name: String,
    /// Drawn anew at each start.
    pub mark: String,
}

/// Our name on one transport.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PublicAddress {
    /// The transport.
    pub transport: Transport,
    /// Host name or address (IPv6 in brackets).
    pub host: String,
    /// Port; `None` for the transport's default.
    pub port: Option<u16>,
}

/// A network whose requests need no digest: a trunk, a PBX.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrustedPeer {
    /// Network address.
    pub network: IpAddr,
    /// How many leading bits must agree.
    pub prefix: u8,
}

impl TrustedPeer {
    /// Whether `remote` lies in this network.
    pub fn contains(&self, remote: SocketAddr) -> bool {
        let agree = |ours: &[u8], theirs: &[u8]| {
            let whole = usize::from(self.prefix / 8).min(ours.len());
            let bits = self.prefix % 8;
            ours[..whole] == theirs[..whole]
                && (bits == 0 || whole == ours.len() || (ours[whole] ^ theirs[whole]) >> (8 - bits) == 0)
        };
        match (self.network, remote.ip().to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => agree(&ours.octets(), &theirs.octets()),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => agree(&ours.octets(), &theirs.octets()),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// A server, or several that stand in for each other, which registers and routes for some domains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upstream {
    /// Its domains, lower case; none of them is one of ours.
    pub domains: Vec<String>,
    /// Where it is, the one we like best first.
    pub next_hops: Vec<NextHop>,
    /// From where else it may send to us: a PBX over TCP or TLS opens connections of its own.
    pub networks: Vec<TrustedPeer>,
    /// Seconds that are asked for at least for a phone that can be woken. What the upstream grants is what counts.
    pub expires: u32,
    /// Seconds that the gateway asks for when it registers an account itself.
    pub line_expires: u32,
}

/// One address of an upstream. Names are resolved by whoever opens the connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NextHop {
    /// UDP, TCP or TLS.
    pub transport: Transport,
    /// A name or an address; under TLS the certificate must carry it.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl core::fmt::Display for NextHop {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "sip:{}:{};transport={}", self.host, self.port, self.transport.uri_parameter())
    }
}

/// The push services that are configured (RFC 8599 §5.6: each is announced with one Feature-Caps header field).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PushServices {
    /// Firebase Cloud Messaging.
    pub fcm: bool,
    /// Apple Push Notification service.
    pub apns: bool,
    /// RFC 8030 web push.
    pub webpush: bool,
    /// Services of other names, in lower case, that a program of the operator's pushes through.
    pub others: Vec<String>,
    /// The VAPID public key announced with web push (RFC 8292), base64url.
    pub vapid: Option<String>,
    /// Seconds before expiry at which a device that can must refresh by itself (`+sip.pnsreg`), above 120.
    pub pnsreg: u32,
}

/// Waiting times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timers {
    /// A flow counts as proven for this long after the last byte from it.
    pub proven: Duration,
    /// A request sent on a proven flow without any response for this long makes the flow unproven: push as well.
    pub proof: Duration,
    /// Push to REGISTER with a service that wakes the program itself.
    pub wake: Duration,
    /// Push to REGISTER with web push: a person must tap.
    pub wake_webpush: Duration,
    /// From INVITE to the end of ringing, holding included.
    pub ring_total: Duration,
    /// How long ended calls are remembered for late wakers.
    pub memory: Duration,
    /// When an FCM push is repeated while the request is held, counted from the first.
    pub resend: [Duration; 2],
    /// How long a request other than INVITE is held.
    pub hold_other: Duration,
    /// When a held BYE is answered by us.
    pub bye_answer: Duration,
    /// How long a cancelled branch may take to end before we end the transaction ourselves.
    pub cancel: Duration,
    /// Keep-alive interval that clients are asked for (`Flow-Timer`, RFC 5626 §4.4).
    pub flow_timer: Duration,
    /// Retry-After in 503 responses.
    pub retry_after: Duration,
}

impl Default for Timers {
    fn default() -> Timers {
        let seconds = Duration::from_secs;
        Timers {
            proven: seconds(15),
            proof: seconds(2),
            wake: seconds(20),
            wake_webpush: seconds(35),
            ring_total: seconds(55),
            memory: seconds(90),
            resend: [seconds(4), seconds(9)],
            hold_other: seconds(8),
            bye_answer: seconds(5),
            cancel: seconds(5),
            flow_timer: seconds(120),
            retry_after: seconds(10),
        }
    }
}

/// Caps of every table that a stranger or a client can fill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bindings altogether.
    pub bindings: usize,
    /// Bindings of one address of record.
    pub bindings_per_aor: usize,
    /// Open flows altogether.
    pub flows: usize,
    /// Requests in progress altogether.
    pub contexts: usize,
    /// Requests in progress towards one address of record.
    pub contexts_per_aor: usize,
    /// Ended calls remembered.
    pub outcomes: usize,
    /// Names in each quota table.
    pub quota_names: usize,
    /// Bytes of one Contact header value.
    pub contact_bytes: usize,
    /// Transactions of each side.
    pub transactions: usize,
    /// Nonces whose uses are remembered.
    pub nonces: usize,
    /// Responses to REGISTER kept for retransmissions.
    pub answers: usize,
    /// REGISTERs that wait for an upstream's answer.
    pub registering: usize,
    /// Wrong passwords of one source within ten minutes, whoever is tried.
    pub wrong_passwords: u16,
    /// Subscriptions altogether; zero: SUBSCRIBE and PUBLISH go to the devices.
    pub subscriptions: usize,
    /// Subscriptions to one state, and of one watcher.
    pub subscriptions_per_aor: usize,
    /// Publications altogether.
    pub publications: usize,
    /// Pieces of mail altogether; zero: none is kept.
    pub mail: usize,
    /// Pieces of one address of record.
    pub mail_per_aor: usize,
    /// Missed calls among them; the oldest make room.
    pub missed_per_aor: usize,
    /// Bytes of all mail.
    pub mail_bytes: usize,
    /// Bytes of one piece.
    pub mail_each: usize,
    /// Wakes of one address of record. Mail has an allowance of its own of the same size.
    pub wakes_per_aor: Allowance,
    /// Wakes by one caller.
    pub wakes_per_caller: Allowance,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bindings: 1_000_000,
            bindings_per_aor: 10,
            flows: 1_000_000,
            contexts: 200_000,
            contexts_per_aor: 20,
            outcomes: 200_000,
            quota_names: 200_000,
            contact_bytes: 2048,
            transactions: 400_000,
            nonces: 1_000_000,
            answers: 8192,
            registering: 50_000,
            wrong_passwords: 100,
            subscriptions: 100_000,
            subscriptions_per_aor: 50,
            publications: 100_000,
            mail: 200_000,
            mail_per_aor: 100,
            missed_per_aor: 20,
            mail_bytes: 256 << 20,
            mail_each: 16_384,
            wakes_per_aor: Allowance { per_minute: 6, per_hour: 30 },
            wakes_per_caller: Allowance { per_minute: 6, per_hour: 30 },
        }
    }
}

/// Where calls go that nobody took, and which.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Voicemail {
    /// A SIP URI. To be forwarded to it must be one of our accounts, or in the domain of an upstream. Empty: only accounts that
    /// name one of their own have voicemail.
    pub target: String,
    /// How the call gets there.
    pub how: Divert,
    /// How long it rings before that, holding included; not longer than [`Timers::ring_total`].
    pub after: Duration,
    /// Whether also when all are busy.
    pub busy: bool,
    /// Whether also when somebody declines.
    pub declined: bool,
    /// Whether also, and at once, when no device can be reached.
    pub absent: bool,
}

impl Default for Voicemail {
    fn default() -> Voicemail {
        Voicemail {
            target: String::new(),
            how: Divert::Forward,
            after: Duration::from_secs(30),
            busy: true,
            declined: false,
            absent: true,
        }
    }
}

/// How a call gets to voicemail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Divert {
    /// We send it there.
    Forward,
    /// The caller does: 302.
    Redirect,
}

/// What waits for phones that sleep, and how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MailRules {
    /// The longest; a MESSAGE may ask for less (`Expires`, RFC 3428 §4).
    pub keep: Duration,
    /// What becomes of calls that a device slept through.
    pub missed_calls: MissedCalls,
}

impl Default for MailRules {
    fn default() -> MailRules {
        MailRules { keep: Duration::from_secs(7 * 86_400), missed_calls: MissedCalls::Message }
    }
}

/// What a device is told, when it is back, of a call that it heard nothing of and that is no longer remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MissedCalls {
    /// A MESSAGE of ours, one for each.
    Message,
    /// Nothing.
    Silence,
}

/// Bounds of a binding's lifetime, in seconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expiry {
    /// Below this: 423 (RFC 3261 §10.3 step 7).
    pub min: u32,
    /// When none is asked for.
    pub default: u32,
    /// More is cut to this.
    pub max: u32,
}

/// What becomes of a foreign device (one that does not read `X-Wake-State`) that registers after its call has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LateForeignDevice {
    /// It gets the INVITE and then its CANCEL, so that it stops ringing and shows a missed call.
    InviteThenCancel,
    /// Nothing.
    Silence,
}

impl Config {
    /// A registrar for one domain, with the design's values everywhere else and no push service yet.
    pub fn new(domain: &str, secret: Secret) -> Config {
        Config {
            domains: vec![domain.to_ascii_lowercase()],
            realm: domain.to_ascii_lowercase(),
            addresses: Vec::new(),
            secret,
            trusted: Vec::new(),
            trust_registered_connections: false,
            nonce_lifetime: Duration::from_secs(8 * 86_400),
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            push: PushServices { pnsreg: 3600, ..PushServices::default() },
            timers: Timers::default(),
            limits: Limits::default(),
            plain_expiry: Expiry { min: 60, default: 3600, max: 7200 },
            push_expiry: Expiry { min: 3600, default: 7 * 86_400, max: 30 * 86_400 },
            late_foreign_device: LateForeignDevice::InviteThenCancel,
            voicemail: None,
            mail: MailRules::default(),
            service_route: false,
            server: String::new(),
            upstreams: Vec::new(),
            node: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusted_networks_compare_by_prefix_and_family() {
        let peer = |network: &str, prefix| TrustedPeer { network: network.parse().unwrap(), prefix };
        let from = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(peer("192.0.2.0", 24).contains(from("192.0.2.255:5060")));
        assert!(!peer("192.0.2.0", 24).contains(from("192.0.3.0:5060")));
        assert!(peer("192.0.2.128", 25).contains(from("192.0.2.129:1")));
        assert!(!peer("192.0.2.128", 25).contains(from("192.0.2.127:1")));
        assert!(peer("192.0.2.7", 32).contains(from("192.0.2.7:1")));
        assert!(!peer("192.0.2.7", 32).contains(from("192.0.2.6:1")));
        assert!(peer("192.0.2.0", 24).contains(from("[::ffff:192.0.2.9]:1")));
        assert!(peer("2001:db8::", 32).contains(from("[2001:db8:1::1]:1")));
        assert!(!peer("2001:db8::", 32).contains(from("192.0.2.1:1")));
        assert!(peer("0.0.0.0", 0).contains(from("198.51.100.1:1")));
    }
}
