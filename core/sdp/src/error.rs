//! What is wrong with a description, and why an offer or answer is refused.

use thiserror::Error;

/// Why text is no session description; `line` counts from 1. The sender's fault: 400, or 488 in an answer's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum SdpError {
    /// Longer than [`crate::MAX_LENGTH`].
    #[error("longer than 64 kB")]
    TooLong,
    /// More lines than [`crate::MAX_LINES`].
    #[error("too many lines")]
    TooManyLines,
    /// More media than [`crate::MAX_MEDIA`].
    #[error("line {line}: too many media")]
    TooManyMedia {
        /// Where.
        line: usize,
    },
    /// A line longer than [`crate::MAX_LINE_LENGTH`], or with more formats than [`crate::MAX_FORMATS`].
    #[error("line {line}: too long")]
    LineTooLong {
        /// Where.
        line: usize,
    },
    /// Not of the form `x=value`.
    #[error("line {line}: not a line of a session description")]
    NotALine {
        /// Where.
        line: usize,
    },
    /// A NUL or a stray CR (RFC 8866 §9, byte-string).
    #[error("line {line}: forbidden character")]
    ForbiddenCharacter {
        /// Where.
        line: usize,
    },
    /// The first line is not `v=0`.
    #[error("not version 0")]
    Version,
    /// No `o=` line, or one of the wrong form.
    #[error("line {line}: bad origin")]
    Origin {
        /// Where; 0 when there is none.
        line: usize,
    },
    /// A `c=` line of the wrong form.
    #[error("line {line}: bad connection")]
    Connection {
        /// Where.
        line: usize,
    },
    /// An `m=` line of the wrong form.
    #[error("line {line}: bad media")]
    Media {
        /// Where.
        line: usize,
    },
    /// A port outside 0 to 65535, or a range that runs beyond.
    #[error("line {line}: bad port")]
    Port {
        /// Where.
        line: usize,
    },
    /// An RTP payload type outside 0 to 127 (RFC 3551 §3).
    #[error("line {line}: bad payload type")]
    PayloadType {
        /// Where.
        line: usize,
    },
    /// Two media with one identification tag (RFC 5888 §4).
    #[error("line {line}: duplicate mid")]
    DuplicateMid {
        /// Where.
        line: usize,
    },
}

/// Why an offer or an answer does not become a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum Refusal {
    /// No audio that is not disabled.
    #[error("no audio offered")]
    NoAudio,
    /// None of its codecs is ours.
    #[error("no common codec")]
    NoCommonCodec,
    /// A transport profile that is not ours, DTLS for one.
    #[error("transport profile not supported")]
    Profile,
    /// The policy demands encryption, and it would be clear.
    #[error("encryption required")]
    EncryptionRequired,
    /// The profile is a secure one, and the policy has encryption off.
    #[error("encryption is switched off")]
    EncryptionOff,
    /// The profile is a secure one, and no key line is usable.
    #[error("no usable key")]
    NoUsableKey,
    /// Keys would have to travel over signalling that is not secure (RFC 4568 §8.1).
    #[error("keys may not travel over this signalling")]
    KeysOverClearSignalling,
    /// The session was encrypted and would be clear from now on.
    #[error("an encrypted session would become clear")]
    Downgrade,
    /// No numeric address to send to.
    #[error("no usable address")]
    NoAddress,
    /// The answer does not answer our offer: other media, another profile, a key that was not offered (RFC 3264 §6).
    #[error("answer does not fit the offer")]
    Mismatch,
}

impl Refusal {
    /// The status code of a response that refuses an offer (RFC 3261 §21.4.26).
    pub const fn code(self) -> u16 {
        488
    }
}
