//! Offer/answer (RFC 3264) for a phone with one audio stream, as functions over values.
//!
//! The rule that S3 asks for stands in two places only: [`answer`]'s choice of protection and [`conclude`]'s check of
//! it; what comes out says in [`Negotiated::srtp`] whether the media is encrypted, and nothing else decides that.

mod answer;
mod conclude;
mod negotiated;
mod offer;
#[cfg(test)]
mod tests;

use core::net::IpAddr;

use crate::codec::{Codec, Encoding};
use crate::crypto::CryptoSuite;
use crate::media::Direction;

pub use answer::{answer, answer_again};
pub use conclude::{conclude, conclude_again};
pub use negotiated::{Dtmf, Established, Negotiated, SrtpKeys};
pub use offer::{offer, offer_again};

/// What the account wants of encryption.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum SecurityPolicy {
    /// Never encrypted; a secure offer is refused.
    Off,
    /// Encrypted when the peer can: offered as RTP/AVP with keys beside it (RFC 8643), so that a peer that cannot
    /// stays reachable; a session that is encrypted stays so.
    #[default]
    Offered,
    /// Encrypted or not at all.
    Required,
}

/// Whether keys may be written into descriptions: they are as secret as the signalling is (RFC 4568 §8.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum KeyTransport {
    /// TLS to the next hop, or the account allows it all the same.
    Allowed,
    /// Clear signalling: keys are neither sent nor accepted.
    Forbidden,
}

/// Whose order of codecs decides in an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
pub enum Preference {
    /// The offerer's, as RFC 3264 §6.1 recommends.
    #[default]
    Theirs,
    /// Ours.
    Ours,
}

/// What we can and want, for one offer or answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// Codecs, best first.
    pub audio: Vec<Codec>,
    /// Whose order decides in an answer.
    pub preference: Preference,
    /// Whether telephone events are offered and accepted (RFC 4733).
    pub dtmf: bool,
    /// Whether comfort noise is (RFC 3389).
    pub comfort_noise: bool,
    /// What is wanted of encryption.
    pub security: SecurityPolicy,
    /// Whether keys may travel.
    pub key_transport: KeyTransport,
    /// Suites, best first; one that is not listed is not accepted.
    pub suites: Vec<CryptoSuite>,
    /// Milliseconds per packet that we like to receive.
    pub ptime: u16,
    /// The most that we can receive.
    pub maxptime: u16,
    /// Where we receive.
    pub address: IpAddr,
    /// The port of RTP; RTCP's is one above.
    pub port: u16,
    /// What we want to do; [`Direction::SendOnly`] or [`Direction::Inactive`] is hold.
    pub direction: Direction,
    /// Whether RTCP may share the port (RFC 5761).
    pub rtcp_mux: bool,
}

impl Capabilities {
    /// Everything this crate knows, at an address and port, encryption offered.
    pub fn all(address: IpAddr, port: u16) -> Capabilities {
        Capabilities {
            audio: Encoding::ALL.map(Codec::new).to_vec(),
            preference: Preference::Theirs,
            dtmf: true,
            comfort_noise: true,
            security: SecurityPolicy::Offered,
            key_transport: KeyTransport::Allowed,
            suites: CryptoSuite::USUAL.to_vec(),
            ptime: 20,
            maxptime: 120,
            address,
            port,
            direction: Direction::SendReceive,
            rtcp_mux: true,
        }
    }

    fn codec(&self, encoding: Encoding) -> Option<&Codec> {
        self.audio.iter().find(|codec| codec.encoding == encoding)
    }

    /// Whether keys are written and read at all.
    fn uses_keys(&self) -> bool {
        match (self.security, self.key_transport) {
            (SecurityPolicy::Off, _) | (_, KeyTransport::Forbidden) => false,
            (SecurityPolicy::Offered | SecurityPolicy::Required, KeyTransport::Allowed) => true,
        }
    }
}
