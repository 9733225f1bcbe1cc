//! Session descriptions (RFC 8866), and offer/answer as pure functions over values (RFC 3264).
//!
//! In: text, [`Capabilities`], keys drawn from a seed. Out: [`SessionDescription`]s, what was [`Negotiated`], or a
//! [`Refusal`] with its status code. Never: sockets, time, a silent change from encrypted to clear (bug class S3).
//!
//! - [`SessionDescription::parse`] takes what peers really send; the writer (`Display`) writes only what RFC 8866 allows.
//! - [`offer`], [`answer`], [`conclude`] and their `_again` forms for a session that stands already.
//! - [`crypto`]: the key lines of SDES (RFC 4568, RFC 7714).

mod codec;
pub mod crypto;
mod error;
mod line;
mod media;
mod offer_answer;
mod parse;
mod session;
mod write;

pub use codec::{Codec, Encoding, OpusParameters, PayloadFormat};
pub use crypto::{CryptoLine, CryptoSuite, SdesKeys};
pub use error::{Refusal, SdpError};
pub use line::{Attribute, Connection, Line};
pub use media::{Direction, Media, Protocol, RtcpAddress};
pub use offer_answer::{
    Capabilities, Dtmf, Established, KeyTransport, Negotiated, Preference, SecurityPolicy, SrtpKeys, answer,
    answer_again, conclude, conclude_again, offer, offer_again,
};
pub use session::{Origin, SessionDescription};

/// The longest description read.
pub const MAX_LENGTH: usize = 64 * 1024;
/// The most lines read.
pub const MAX_LINES: usize = 512;
/// The longest line read; a key line or a codec's parameters are far shorter.
pub const MAX_LINE_LENGTH: usize = 8 * 1024;
/// The most media kept; an offer with more is refused as a whole, for an answer must name each (RFC 3264 §6).
pub const MAX_MEDIA: usize = 8;
/// The most formats of one medium: the payload types there are.
pub const MAX_FORMATS: usize = 128;
