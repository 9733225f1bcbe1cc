//! The sockets of one call: RTP on an even port, RTCP on the next (RFC 3550 §11).

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::SockRef;
use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_media_path::Component;

use super::stamp;

/// How many pairs are tried before giving up.
const TRIES: u16 = 200;
/// Where pairs are drawn from when no port is set: below the range that systems give to clients.
const LOWEST: u32 = 10_000;
const HIGHEST: u32 = 32_000;
/// Expedited forwarding (RFC 4594 §4.1), as the traffic class octet.
const EXPEDITED: u32 = 46 << 2;
/// No RTP packet is larger than what Ethernet carries.
const LARGEST: usize = 2048;
/// What is read in one turn at most, so that a flood costs its own call only.
const MOST: usize = 256;

/// When a datagram has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrivals {
    /// When the system took it in: sockets are read at turns, and reports, jitter and delay are finer than these.
    AsStamped,
    /// When it is read: for a clock that is not the system's.
    AsRead,
}

/// A pair of sockets.
#[derive(Debug)]
pub(super) struct Ports {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// The address that the peer is told.
    address: IpAddr,
    port: u16,
}

impl Ports {
    /// Binds a pair at `address`, from the port `first` upwards, or anywhere.
    pub(super) fn open(address: IpAddr, first: Option<u16>, entropy: &mut Entropy) -> io::Result<Ports> {
        // An address that is not the machine's own (a NAT's outside) can be told but not bound.
        let is_own = UdpSocket::bind(SocketAddr::new(address, 0)).is_ok();
        let any = if address.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let bound = if is_own { address } else { any };
        let mut failure = io::Error::from(ErrorKind::AddrInUse);
        for step in 0..TRIES {
            let port = match first {
                Some(first) => first.saturating_add(first % 2).saturating_add(2 * step),
                None => even(LOWEST + entropy.below(HIGHEST - LOWEST)),
            };
            match pair(bound, port) {
                Ok((rtp, rtcp)) => return Ok(Ports { rtp, rtcp, address, port }),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// The address and port of RTP, for descriptions.
    pub(super) fn address(&self) -> (IpAddr, u16) {
        (self.address, self.port)
    }

    /// Sends a datagram; one that cannot be sent is lost, as others are.
    pub(super) fn send(&self, component: Component, destination: SocketAddr, datagram: &[u8]) {
        let socket = match component {
            Component::Rtp => &self.rtp,
            Component::Rtcp => &self.rtcp,
        };
        if let Err(error) = socket.send_to(datagram, destination) {
            tracing::debug!(%destination, %error, "media not sent");
        }
    }

    /// Hands over what has come, with the moment at which it came. RTCP's socket is left alone when nobody was told of it.
    pub(super) fn receive(
        &self,
        now: Time,
        arrivals: Arrivals,
        is_muxed: bool,
        mut take: impl FnMut(Component, SocketAddr, Time, &[u8]),
    ) {
        let mut buffer = [0; LARGEST];
        let sockets: &[(Component, &UdpSocket)] =
            &[(Component::Rtp, &self.rtp), (Component::Rtcp, &self.rtcp)];
        for &(component, socket) in &sockets[..if is_muxed { 1 } else { 2 }] {
            for _ in 0..MOST {
                match stamp::receive(socket, &mut buffer) {
                    Ok((length, source, age)) => {
                        let came = match arrivals {
                            Arrivals::AsStamped => now - age,
                            Arrivals::AsRead => now,
                        };
                        take(component, source, came, &buffer[..length]);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // An ICMP error of an earlier datagram is told here; the socket itself is fine.
                    Err(error) => tracing::debug!(%error, "media receive"),
                }
            }
        }
    }
}

fn even(port: u32) -> u16 {
    u16::try_from(port & !1).unwrap_or(0)
}

fn pair(address: IpAddr, port: u16) -> io::Result<(UdpSocket, UdpSocket)> {
    let above = port.checked_add(1).ok_or(ErrorKind::AddrNotAvailable)?;
    Ok((bind(SocketAddr::new(address, port))?, bind(SocketAddr::new(address, above))?))
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    stamp::ask(&socket);
    // Where the system or the network knows no classes, media is ordinary traffic.
    let _ = expedite(&SockRef::from(&socket), address);
    Ok(socket)
}

fn expedite(socket: &SockRef<'_>, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() {
        return socket.set_tos_v4(EXPEDITED);
    }
    // On Apple's systems the socket library has no traffic class for IPv6.
    #[cfg(not(target_vendor = "apple"))]
    socket.set_tclass_v6(EXPEDITED)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_even_and_the_next_pair_is_taken_when_one_is_in_use() {
        let mut entropy = Entropy::from_number(5);
        let local = Ipv4Addr::LOCALHOST.into();
        let free = Ports::open(local, None, &mut entropy).unwrap().address().1;
        let first = Ports::open(local, Some(free - 1), &mut entropy).unwrap();
        let second = Ports::open(local, Some(free - 1), &mut entropy).unwrap();
        assert!(first.address().1 >= free && first.address().1.is_multiple_of(2));
        assert!(second.address().1 > first.address().1 && second.address().1.is_multiple_of(2));
    }

    #[test]
    fn an_address_of_another_machine_is_told_and_not_bound() {
        let outside = "192.0.2.7".parse().unwrap();
        let ports = Ports::open(outside, None, &mut Entropy::from_number(6)).unwrap();
        assert_eq!(ports.address().0, outside);
    }
}
