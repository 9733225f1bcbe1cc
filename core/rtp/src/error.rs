//! Why bytes are not a packet, or a packet cannot become bytes.

use thiserror::Error;

/// The one error of this crate. All but [`RtpError::TooLarge`] are the sender's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum RtpError {
    /// The bytes end before the named part does.
    #[error("packet ends inside its {0}")]
    Truncated(&'static str),
    /// The version field is not 2 (RFC 3550 §5.1).
    #[error("version is not 2")]
    Version,
    /// The padding count is zero or longer than the packet (RFC 3550 §5.1).
    #[error("padding does not fit")]
    Padding,
    /// Not an RTCP packet type (RFC 5761 §4 names 192 to 223).
    #[error("not an RTCP packet")]
    NotRtcp,
    /// A part given for writing does not fit its field; the caller's fault.
    #[error("{0} does not fit its field")]
    TooLarge(&'static str),
}
