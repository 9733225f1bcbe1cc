//! What can go wrong with sound.

/// Errors of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// The caller asks for a rate, frame length or payload type that cannot be.
    #[error("setting out of range: {0}")]
    Setting(&'static str),
    /// The codec library refused.
    #[error("codec: {0}")]
    Codec(String),
    /// The peer's payload is not what its payload type promises.
    #[error("payload: {0}")]
    Payload(&'static str),
    /// Not a WAV file that can be read.
    #[error("WAV file: {0}")]
    Wav(&'static str),
    /// A character that is not on a telephone's keypad.
    #[error("not a DTMF digit: {0:?}")]
    Digit(char),
}
