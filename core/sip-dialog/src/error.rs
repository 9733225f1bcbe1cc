//! What can be wrong with a message that is to make, or to be part of, a dialog.

use thiserror::Error;
use wakeline_sip_message::{BuildError, ParseError};

/// Why a message and a dialog do not fit together.
#[derive(Debug, Error)]
pub enum DialogError {
    /// The peer's message lacks what a dialog is made of, or it cannot be read.
    #[error("the message cannot make a dialog: {0}")]
    Unreadable(#[from] ParseError),
    /// The peer's message has no Contact (RFC 3261 §12.1.1: one URI is needed).
    #[error("no Contact to send requests to")]
    NoContact,
    /// The request has no From tag of ours, or the response no To tag of ours: a mistake of this program.
    #[error("our own tag is missing")]
    NoLocalTag,
    /// The CSeq number is not higher than the last one (RFC 3261 §12.2.2): answer 500.
    #[error("CSeq {got} after {last}")]
    OutOfOrder {
        /// The last number that was accepted.
        last: u32,
        /// The number that came.
        got: u32,
    },
    /// The message is of another dialog.
    #[error("of another dialog")]
    Foreign,
    /// A Contact of ours carries push parameters (RFC 8599 §4.1 allows them in REGISTER only).
    #[error("a dialog's Contact must not carry push parameters")]
    CarriesPush,
    /// One of our own values cannot be written.
    #[error("cannot be written: {0}")]
    Unwritable(#[from] BuildError),
}
