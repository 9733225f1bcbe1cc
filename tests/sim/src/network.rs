//! The network between phones and gateway: links with delay, loss, silence and resets.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, Transport};

/// Where the gateway listens, whatever the transport.
pub(crate) const GATEWAY: ([u8; 4], u16) = ([192, 0, 2, 1], 5060);

/// Who sits at the far end of a link from the gateway.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum End {
    /// A phone, by its place in the world, in one of its lives: a killed process does not get its former self's bytes.
    Phone(usize, u32),
    /// A scripted peer, by its place.
    Script(usize),
}

/// One flow, by the names that its two ends have for it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Whose.
    pub end: End,
    /// The phone's name of it.
    pub phone_flow: FlowId,
    /// The gateway's name of it.
    pub gateway_flow: FlowId,
    /// How it travels.
    pub transport: Transport,
    /// The phone's address.
    pub local: SocketAddr,
    /// Where the phone means to be connected.
    pub remote: SocketAddr,
    /// The address that the gateway sees (behind a NAT another one).
    pub seen_as: SocketAddr,
    /// Whether bytes still pass.
    pub state: LinkState,
    /// The gateway's node at its end.
    pub node: usize,
}

/// Whether bytes pass a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// They do.
    Up,
    /// The phone has closed it: what it sent before still arrives, nothing comes back.
    ClosedByPhone,
    /// The gateway has closed it: what it sent before still arrives.
    ClosedByGateway,
    /// They vanish, and nobody is told (a NAT that forgot, a phone out of reach).
    Silent,
    /// It was reset, and both ends know or will know.
    Closed,
}

impl LinkState {
    /// Whether bytes that left earlier arrive at the gateway.
    pub(crate) fn reaches_gateway(self) -> bool {
        match self {
            LinkState::Up | LinkState::ClosedByPhone => true,
            LinkState::ClosedByGateway | LinkState::Silent | LinkState::Closed => false,
        }
    }

    /// Whether bytes that left earlier arrive at the phone.
    pub(crate) fn reaches_phone(self) -> bool {
        match self {
            LinkState::Up | LinkState::ClosedByGateway => true,
            LinkState::ClosedByPhone | LinkState::Silent | LinkState::Closed => false,
        }
    }
}

/// Something that travelled, for checks of the wire.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it left.
    pub at: Time,
    /// The far end from the gateway.
    pub end: End,
    /// Which way.
    pub to_gateway: bool,
    /// On which link, by its place.
    pub link: usize,
    /// What.
    pub bytes: Bytes,
}

impl Seen {
    /// The first line.
    pub fn start_line(&self) -> &str {
        let line = self.bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
        std::str::from_utf8(line).unwrap_or("?")
    }

    /// Whether it is a request of this method.
    pub fn is(&self, method: &str) -> bool {
        self.bytes.strip_prefix(method.as_bytes()).is_some_and(|rest| rest.starts_with(b" "))
    }

    /// The code, and the method of CSeq, of a response.
    pub fn response(&self) -> Option<(u16, &str)> {
        let code = self.start_line().strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()?;
        Some((code, crate::sniff::header(&self.bytes, "CSeq")?.split(' ').nth(1)?))
    }

    /// Whether a phone has to do with it.
    pub fn of_phone(&self, wanted: usize) -> bool {
        matches!(self.end, End::Phone(phone, _) if phone == wanted)
    }
}

/// How the network treats bytes.
#[derive(Clone, Debug)]
pub struct Weather {
    /// The shortest one-way delay.
    pub delay: Duration,
    /// What may come on top of it; datagrams overtake each other, streams keep their order.
    pub jitter: Duration,
    /// Datagrams lost, in percent.
    pub loss: u32,
    /// Datagrams doubled, in percent.
    pub double: u32,
}

impl Default for Weather {
    fn default() -> Weather {
        Weather { delay: Duration::from_millis(20), jitter: Duration::ZERO, loss: 0, double: 0 }
    }
}

impl Weather {
    /// When the copies of what leaves now arrive: none when it is lost.
    pub(crate) fn arrivals(&self, transport: Transport, entropy: &mut Entropy) -> [Option<Duration>; 2] {
        let once = |entropy: &mut Entropy| Some(self.delay + entropy.between(Duration::ZERO, self.jitter));
        if transport.is_reliable() {
            return [once(entropy), None];
        }
        if entropy.below(100) < self.loss {
            return [None, None];
        }
        let first = once(entropy);
        [first, if entropy.below(100) < self.double { once(entropy) } else { None }]
    }

    /// The longest that anything is under way.
    pub(crate) fn longest(&self) -> Duration {
        self.delay + self.jitter
    }
}
