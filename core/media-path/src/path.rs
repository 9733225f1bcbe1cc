//! The path of one audio stream: everything between the sockets and the media machine.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_sdp::{Negotiated, SrtpKeys};

use crate::demultiplex::{Kind, classify};
use crate::source_lock::{Learning, SourceLock};
use crate::srtp::{Order, Protector, SrtpError, Unprotector};

/// Between two opening packets.
const OPENING_INTERVAL: Duration = Duration::from_millis(20);
/// A NAT forgets a silent binding after 30 s at the earliest worth serving (RFC 6263 §4 gives 15 s as the pace).
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Which of the two sockets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Component {
    /// RTP, and RTCP when they share.
    Rtp,
    /// RTCP of its own.
    Rtcp,
}

/// A clear packet of the peer's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Incoming {
    /// RTP.
    Rtp(Vec<u8>),
    /// RTCP.
    Rtcp(Vec<u8>),
}

/// Why a datagram went nowhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Dropped {
    /// STUN, which no agent here waits for yet.
    Stun,
    /// DTLS, which was not negotiated.
    Dtls,
    /// ZRTP, a TURN channel, or nothing known.
    Foreign,
    /// RTP on RTCP's socket, or RTCP on RTP's without RFC 5761.
    WrongComponent,
    /// Not from the locked source.
    Stranger,
    /// SRTP did not open it.
    Srtp(SrtpError),
    /// Outgoing: no address to send to.
    NoDestination,
    /// Outgoing: the direction forbids it.
    NotSending,
}

/// What passed and what did not.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Packets taken from the peer.
    pub received: u64,
    /// Packets sent, without opening and keep-alive ones.
    pub sent: u64,
    /// Datagrams dropped, by cause.
    pub dropped: BTreeMap<Dropped, u64>,
}

/// How to behave toward NATs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PathOptions {
    /// Packets sent ahead of media to open our NAT's binding (`natopenpackets`).
    pub opening_packets: u8,
    /// From whom a source may be learned.
    pub learning: Learning,
}

impl Default for PathOptions {
    fn default() -> PathOptions {
        PathOptions { opening_packets: 2, learning: Learning::SignalledAddress }
    }
}

/// The protection of one stream.
#[derive(Debug)]
enum Protection {
    Clear,
    Srtp { keys: SrtpKeys, ours: Box<Protector>, theirs: Box<Unprotector> },
}

/// The machine.
#[derive(Debug)]
pub struct MediaPath {
    options: PathOptions,
    entropy: Entropy,
    rtp: SourceLock,
    rtcp: SourceLock,
    is_muxed: bool,
    sends: bool,
    protection: Protection,
    opening_left: u8,
    next_opening: Time,
    counters: Counters,
}

impl MediaPath {
    /// The path of a session just agreed. Fails when keys do not fit their suite; then no media may flow.
    pub fn new(
        now: Time,
        negotiated: &Negotiated,
        options: PathOptions,
        entropy: Entropy,
    ) -> Result<MediaPath, SrtpError> {
        Ok(MediaPath {
            options,
            entropy,
            rtp: SourceLock::new(negotiated.remote_rtp, options.learning),
            rtcp: SourceLock::new(negotiated.remote_rtcp, options.learning),
            is_muxed: negotiated.rtcp_mux,
            sends: negotiated.direction.sends(),
            protection: protection(negotiated)?,
            opening_left: options.opening_packets,
            next_opening: now,
            counters: Counters::default(),
        })
    }

    /// A new offer and answer. What is signalled as before keeps its lock, and keys that stay keep their counters: a
    /// hold opens the door to nobody (S2). On an error the path is as it was.
    pub fn renegotiate(&mut self, now: Time, negotiated: &Negotiated) -> Result<(), SrtpError> {
        self.protection.renew(negotiated)?;
        self.is_muxed = negotiated.rtcp_mux;
        self.sends = negotiated.direction.sends();
        let is_moved = self.rtp.signalled() != negotiated.remote_rtp;
        if is_moved {
            self.rtp = SourceLock::new(negotiated.remote_rtp, self.options.learning);
            self.opening_left = self.options.opening_packets;
            self.next_opening = now;
        }
        if self.rtcp.signalled() != negotiated.remote_rtcp {
            self.rtcp = SourceLock::new(negotiated.remote_rtcp, self.options.learning);
        }
        Ok(())
    }

    /// Our own address changed (fault F1): the bindings of the old path are gone, so new ones are opened.
    pub fn network_changed(&mut self, now: Time) {
        self.opening_left = self.options.opening_packets.max(1);
        self.next_opening = now;
    }

    /// Whether media is encrypted.
    pub fn is_encrypted(&self) -> bool {
        match self.protection {
            Protection::Clear => false,
            Protection::Srtp { .. } => true,
        }
    }

    /// What passed and what did not.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where a component's packets go at present.
    pub fn destination(&self, component: Component) -> Option<SocketAddr> {
        match component {
            Component::Rtcp if !self.is_muxed => self.rtcp.destination(),
            Component::Rtp | Component::Rtcp => self.rtp.destination(),
        }
    }

    /// A datagram came.
    pub fn receive(
        &mut self,
        now: Time,
        component: Component,
        source: SocketAddr,
        datagram: &[u8],
    ) -> Result<Incoming, Dropped> {
        let taken = self.take(now, component, source, datagram);
        match &taken {
            Ok(_) => self.counters.received += 1,
            Err(cause) => *self.counters.dropped.entry(*cause).or_default() += 1,
        }
        taken
    }

    fn take(
        &mut self,
        now: Time,
        component: Component,
        source: SocketAddr,
        datagram: &[u8],
    ) -> Result<Incoming, Dropped> {
        let is_rtcp = match classify(datagram) {
            Kind::Stun => return Err(Dropped::Stun),
            Kind::Dtls => return Err(Dropped::Dtls),
            Kind::Zrtp | Kind::TurnChannel | Kind::Unknown => return Err(Dropped::Foreign),
            Kind::Rtp => false,
            Kind::Rtcp => true,
        };
        let lock = match (component, is_rtcp, self.is_muxed) {
            (Component::Rtp, false, _) | (Component::Rtp, true, true) => &mut self.rtp,
            (Component::Rtcp, true, false) => &mut self.rtcp,
            (Component::Rtp, true, false) | (Component::Rtcp, false, _) | (Component::Rtcp, true, true) => {
                return Err(Dropped::WrongComponent);
            }
        };
        let clear = match &mut self.protection {
            Protection::Clear if !is_packet(datagram, is_rtcp) => return Err(Dropped::Foreign),
            Protection::Clear if lock.admits(now, source) => datagram.to_vec(),
            Protection::Clear => return Err(Dropped::Stranger),
            Protection::Srtp { theirs, .. } => {
                let opened = if is_rtcp { theirs.rtcp(datagram) } else { theirs.rtp(datagram) };
                let (clear, order) = opened.map_err(Dropped::Srtp)?;
                match order {
                    // Only the peer can have made it, and nothing newer is known: it is where the peer is now (F2).
                    Order::Newest => lock.authenticated(source),
                    Order::Late => {}
                }
                clear
            }
        };
        Ok(if is_rtcp { Incoming::Rtcp(clear) } else { Incoming::Rtp(clear) })
    }

    /// A clear RTP packet is to be sent.
    pub fn send_rtp(&mut self, now: Time, packet: &[u8]) -> Result<(SocketAddr, Vec<u8>), Dropped> {
        let sent = if self.sends { self.protect(Component::Rtp, packet) } else { Err(Dropped::NotSending) };
        if sent.is_ok() {
            // Media keeps the binding open by itself.
            self.opening_left = 0;
            self.next_opening = now + KEEP_ALIVE;
        }
        self.count(sent)
    }

    /// A clear RTCP compound is to be sent; also while the direction forbids media (RFC 3264 §5.1).
    pub fn send_rtcp(&mut self, packet: &[u8]) -> Result<(SocketAddr, Vec<u8>), Dropped> {
        let sent = self.protect(Component::Rtcp, packet);
        self.count(sent)
    }

    fn count(
        &mut self,
        sent: Result<(SocketAddr, Vec<u8>), Dropped>,
    ) -> Result<(SocketAddr, Vec<u8>), Dropped> {
        match &sent {
            Ok(_) => self.counters.sent += 1,
            Err(cause) => *self.counters.dropped.entry(*cause).or_default() += 1,
        }
        sent
    }

    fn protect(&mut self, component: Component, packet: &[u8]) -> Result<(SocketAddr, Vec<u8>), Dropped> {
        let destination = self.destination(component).ok_or(Dropped::NoDestination)?;
        let datagram = match (&mut self.protection, component) {
            (Protection::Clear, _) => packet.to_vec(),
            (Protection::Srtp { ours, .. }, Component::Rtp) => ours.rtp(packet).map_err(Dropped::Srtp)?,
            (Protection::Srtp { ours, .. }, Component::Rtcp) => ours.rtcp(packet).map_err(Dropped::Srtp)?,
        };
        Ok((destination, datagram))
    }

    /// When [`MediaPath::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Time {
        self.next_opening
    }

    /// Opening packets, and keep-alives while nothing else is sent: STUN binding indications, which no receiver takes
    /// for media and none answers (RFC 6263 §4.2, RFC 8489 §6.3.2).
    pub fn handle_timeout(&mut self, now: Time) -> Vec<(Component, SocketAddr, Vec<u8>)> {
        if now < self.next_opening {
            return Vec::new();
        }
        self.opening_left = self.opening_left.saturating_sub(1);
        let pause = if self.opening_left > 0 { OPENING_INTERVAL } else { KEEP_ALIVE };
        self.next_opening = now + pause;
        let components: &[Component] =
            if self.is_muxed { &[Component::Rtp] } else { &[Component::Rtp, Component::Rtcp] };
        let mut packets = Vec::new();
        for &component in components {
            if let Some(destination) = self.destination(component) {
                // Type 0x0011, length 0, magic cookie, transaction.
                let mut indication = vec![0, 0x11, 0, 0, 0x21, 0x12, 0xA4, 0x42];
                indication.resize(20, 0);
                self.entropy.fill(&mut indication[8..]);
                packets.push((component, destination, indication));
            }
        }
        packets
    }
}

/// Whether a clear datagram is whole; a broken one must not teach the lock its source.
fn is_packet(datagram: &[u8], is_rtcp: bool) -> bool {
    if is_rtcp {
        wakeline_rtp::rtcp::parse(datagram).is_ok()
    } else {
        wakeline_rtp::RtpPacket::parse(datagram).is_ok()
    }
}

fn protection(negotiated: &Negotiated) -> Result<Protection, SrtpError> {
    Ok(match &negotiated.srtp {
        None => Protection::Clear,
        Some(keys) => Protection::Srtp {
            keys: keys.clone(),
            ours: Box::new(Protector::new(keys.suite, &keys.local)?),
            theirs: Box::new(Unprotector::new(keys.suite, &keys.remote, keys.remote_lifetime)?),
        },
    })
}

impl Protection {
    /// Takes new keys; an unchanged key goes on where it is, for its counters must never begin again.
    fn renew(&mut self, negotiated: &Negotiated) -> Result<(), SrtpError> {
        match (&mut *self, &negotiated.srtp) {
            (Protection::Srtp { keys, ours, theirs }, Some(new)) => {
                let is_local_new = keys.suite != new.suite || keys.local != new.local;
                let is_remote_new = keys.suite != new.suite || keys.remote != new.remote;
                let protector = is_local_new.then(|| Protector::new(new.suite, &new.local)).transpose()?;
                let unprotector = is_remote_new
                    .then(|| Unprotector::new(new.suite, &new.remote, new.remote_lifetime))
                    .transpose()?;
                if let Some(protector) = protector {
                    **ours = protector;
                }
                if let Some(unprotector) = unprotector {
                    **theirs = unprotector;
                }
                *keys = new.clone();
            }
            (Protection::Clear, None) => {}
            // Offer/answer lets an encrypted session become clear nowhere; here stands the second lock (S3).
            (Protection::Srtp { .. }, None) => return Err(SrtpError::NotEncrypted),
            (Protection::Clear, Some(_)) => *self = protection(negotiated)?,
        }
        Ok(())
    }
}
