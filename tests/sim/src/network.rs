//! The network between phones and gateway: links with delay, loss, silence and resets.

use std::net::SocketAddr;
use std::time::Duration;

use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, Transport};

/// One flow, by the names that its two ends have for it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Which phone.
    pub phone: usize,
    /// Which life of that phone: a killed process does not get its former self's bytes.
    pub life: u32,
    /// The phone's name of it.
    pub phone_flow: FlowId,
    /// The gateway's name of it.
    pub gateway_flow: FlowId,
    /// How it travels.
    pub transport: Transport,
    /// The phone's address.
    pub local: SocketAddr,
    /// The address that the gateway sees (behind a NAT another one).
    pub seen_as: SocketAddr,
    /// Whether bytes still pass.
    pub state: LinkState,
}

/// Whether bytes pass a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkState {
    /// They do.
    Up,
    /// They vanish, and nobody is told (a NAT that forgot, a phone out of reach).
    Silent,
    /// It was closed, and both ends know or will know.
    Closed,
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
    pub(crate) fn arrivals(&self, transport: Transport, entropy: &mut Entropy) -> Vec<Duration> {
        let once = |entropy: &mut Entropy| self.delay + entropy.between(Duration::ZERO, self.jitter);
        if transport.is_reliable() {
            return vec![once(entropy)];
        }
        if entropy.below(100) < self.loss {
            return Vec::new();
        }
        let mut arrivals = vec![once(entropy)];
        if entropy.below(100) < self.double {
            arrivals.push(once(entropy));
        }
        arrivals
    }
}
