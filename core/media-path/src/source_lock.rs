//! Whose packets are taken, and where ours go: symmetric RTP that cannot be bled (RFC 4961; bug class S2).
//!
//! The signalled address is the law. A NAT may have changed its port, so for one second after the first packet another
//! port of the signalled host is taken, and given up at once when the signalled port itself speaks. After that nothing
//! moves the lock but a new negotiation, or, under SRTP, the newest authenticated packet (faults F1, F2).

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use wakeline_clock::Time;

/// How long the first source may still be corrected.
pub const LEARNING_TIME: Duration = Duration::from_secs(1);

/// From whom a source may be learned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Learning {
    /// Only from the signalled host.
    #[default]
    SignalledAddress,
    /// From any host, when the signalled one cannot be reached from outside (private, or none): for peers behind a NAT
    /// that no server between repairs.
    AnyWhenPrivate,
}

/// The lock of one component.
#[derive(Clone, Debug)]
pub struct SourceLock {
    signalled: SocketAddr,
    learning: Learning,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Nothing came yet.
    Waiting,
    /// A source other than the signalled one speaks; it may be corrected until then.
    Learning { source: SocketAddr, until: Time },
    /// This source and no other.
    Locked { source: SocketAddr },
}

impl SourceLock {
    /// A lock for a signalled address.
    pub fn new(signalled: SocketAddr, learning: Learning) -> SourceLock {
        SourceLock { signalled, learning, state: State::Waiting }
    }

    /// What was signalled.
    pub fn signalled(&self) -> SocketAddr {
        self.signalled
    }

    /// Judges the source of a clear packet.
    pub fn admits(&mut self, now: Time, source: SocketAddr) -> bool {
        let source = canonical(source);
        if let State::Learning { source: learned, until } = self.state
            && now >= until
        {
            self.state = State::Locked { source: learned };
        }
        match self.state {
            State::Locked { source: locked } => locked == source,
            State::Waiting | State::Learning { .. } if source == canonical(self.signalled) => {
                self.state = State::Locked { source };
                true
            }
            State::Learning { source: learned, .. } => learned == source,
            State::Waiting if self.may_teach(source) => {
                self.state = State::Learning { source, until: now + LEARNING_TIME };
                true
            }
            State::Waiting => false,
        }
    }

    fn may_teach(&self, source: SocketAddr) -> bool {
        let signalled = canonical(self.signalled).ip();
        source.ip() == signalled
            || match self.learning {
                Learning::SignalledAddress => false,
                Learning::AnyWhenPrivate => is_private(signalled),
            }
    }

    /// Takes the source of an authenticated packet that is newer than all before it.
    pub fn authenticated(&mut self, source: SocketAddr) {
        self.state = State::Locked { source: canonical(source) };
    }

    /// Where to send; `None` when nothing sensible was signalled or learned.
    pub fn destination(&self) -> Option<SocketAddr> {
        let destination = match self.state {
            State::Waiting => self.signalled,
            State::Learning { source, .. } | State::Locked { source } => source,
        };
        (!destination.ip().is_unspecified() && destination.port() != 0).then_some(destination)
    }
}

/// A v4 address in v6 clothes is the same host.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
                // Carrier-grade NAT, RFC 6598.
                || (a == 100 && b & 0xC0 == 64)
        }
        IpAddr::V6(address) => {
            address.is_unique_local() || address.is_unicast_link_local() || address.is_unspecified()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_millis(millis)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn lock() -> SourceLock {
        SourceLock::new(address("192.0.2.2:5000"), Learning::SignalledAddress)
    }

    #[test]
    fn s2_the_signalled_source_locks_at_once() {
        let mut lock = lock();
        assert!(lock.admits(at(0), address("192.0.2.2:5000")));
        assert!(!lock.admits(at(1), address("192.0.2.2:5002")), "not even another port in the first second");
        assert_eq!(lock.destination(), Some(address("192.0.2.2:5000")));
    }

    #[test]
    fn s2_another_host_never_teaches() {
        let mut lock = lock();
        for millis in 0..3000 {
            assert!(!lock.admits(at(millis), address("192.0.2.66:5000")));
        }
        assert_eq!(lock.destination(), Some(address("192.0.2.2:5000")));
        assert!(lock.admits(at(3000), address("192.0.2.2:5000")));
    }

    #[test]
    fn s2_a_port_changed_by_nat_is_learned_and_corrected_for_one_second_only() {
        let mut first = lock();
        assert!(first.admits(at(5000), address("192.0.2.2:61000")));
        assert_eq!(first.destination(), Some(address("192.0.2.2:61000")));
        assert!(!first.admits(at(5100), address("192.0.2.2:61001")), "the first to speak stays");
        let mut second = first.clone();
        assert!(first.admits(at(5999), address("192.0.2.2:5000")), "the signalled port corrects");
        assert!(!first.admits(at(5999), address("192.0.2.2:61000")));
        assert!(!second.admits(at(6000), address("192.0.2.2:5000")), "after a second nothing does");
        assert!(second.admits(at(90_000), address("192.0.2.2:61000")));
    }

    #[test]
    fn only_an_unreachable_signalled_address_opens_to_any_host() {
        let any = Learning::AnyWhenPrivate;
        let stranger = address("198.51.100.7:61000");
        let mut public = SourceLock::new(address("192.0.2.2:5000"), any);
        assert!(!public.admits(at(0), stranger));
        for signalled in
            ["192.168.1.5:5000", "10.0.0.1:5000", "100.64.0.1:5000", "[fd00::1]:5000", "0.0.0.0:5000"]
        {
            let mut lock = SourceLock::new(address(signalled), any);
            assert!(lock.admits(at(0), stranger), "{signalled}");
            assert!(!lock.admits(at(10), address("198.51.100.8:61000")));
            let mut strict = SourceLock::new(address(signalled), Learning::SignalledAddress);
            assert!(!strict.admits(at(0), stranger));
        }
    }

    #[test]
    fn nothing_goes_to_zeros() {
        for signalled in ["0.0.0.0:5000", "192.0.2.2:0", "[::]:5000"] {
            assert_eq!(SourceLock::new(address(signalled), Learning::default()).destination(), None);
        }
    }

    #[test]
    fn mapped_addresses_are_the_same_host() {
        assert!(lock().admits(at(0), address("[::ffff:192.0.2.2]:5000")));
    }
}
