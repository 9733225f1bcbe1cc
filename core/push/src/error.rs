//! What can be wrong with push parameters and payloads.

use thiserror::Error;

/// Why push parameters or a payload cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum PushError {
    /// A parameter stands twice (RFC 3261 §19.1.1 allows it once).
    #[error("parameter {0} is given twice")]
    Duplicate(&'static str),
    /// A parameter that its provider needs is missing or empty (RFC 8599 §14).
    #[error("parameter {0} is missing")]
    Missing(&'static str),
    /// A parameter has a form that its provider does not know.
    #[error("parameter {0} is malformed")]
    Malformed(&'static str),
    /// A value is longer than this crate reads.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// A control character stands in a value (bug class S8).
    #[error("{0} contains a control character")]
    Control(&'static str),
    /// The payload is not a JSON object, or its fields are not of the right kind.
    #[error("payload field {0} is missing or malformed")]
    Payload(&'static str),
    /// A wake id is not sixteen characters of base64url.
    #[error("not a wake id")]
    WakeId,
}
