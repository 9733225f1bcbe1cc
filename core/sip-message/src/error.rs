//! What can be wrong with a message, and where.

use core::fmt;

use crate::{Message, Name};

/// The place in a message at which something is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The message as a whole: its size, or what a stream delivered.
    Whole,
    /// The request line or status line.
    StartLine,
    /// The URI of the request line.
    RequestUri,
    /// The nth header line, counted from 1, which could not even be given a name.
    HeaderLine(u16),
    /// A header field.
    Header(Name),
    /// The body.
    Body,
    /// A value that was handed in on its own.
    Value,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Whole => f.write_str("message"),
            Place::StartLine => f.write_str("start line"),
            Place::RequestUri => f.write_str("request URI"),
            Place::HeaderLine(number) => write!(f, "header line {number}"),
            Place::Header(name) => f.write_str(name.as_str()),
            Place::Body => f.write_str("body"),
            Place::Value => f.write_str("value"),
        }
    }
}

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Flaw {
    /// No bytes, or nothing but line ends.
    #[error("nothing there")]
    Empty,
    /// Larger than a limit of [`crate::limits`].
    #[error("too large")]
    TooLarge,
    /// More header lines than [`crate::limits::HEADER_LINES`].
    #[error("too many header lines")]
    TooManyHeaders,
    /// Not SIP at all.
    #[error("not SIP")]
    NotSip,
    /// A version other than SIP/2.0.
    #[error("not version 2.0")]
    Version,
    /// No empty line after the header.
    #[error("header without end")]
    NoEnd,
    /// A carriage return without line feed.
    #[error("stray carriage return")]
    StrayReturn,
    /// A required header field is absent.
    #[error("missing")]
    Missing,
    /// A header field that may stand once stands several times.
    #[error("repeated")]
    Repeated,
    /// A number that does not fit its range.
    #[error("number out of range")]
    Number,
    /// Does not follow the grammar.
    #[error("malformed")]
    Syntax,
    /// A body shorter than Content-Length says.
    #[error("shorter than its Content-Length")]
    BodyShort,
    /// Multipart bodies nested deeper than [`crate::limits::MULTIPART_DEPTH`], or too many parts.
    #[error("nested too deeply")]
    TooDeep,
    /// Two places that must agree do not (RFC 3261 §8.1.1.5: CSeq's method and the request's).
    #[error("contradicts another part")]
    Mismatch,
}

/// A message, or a part of it, that cannot be read.
#[derive(Clone, Debug)]
pub struct ParseError {
    /// Where.
    pub place: Place,
    /// What.
    pub kind: Flaw,
    /// As much of the message as could be read, enough perhaps to answer it.
    pub(crate) remains: Option<Message>,
}

impl ParseError {
    pub(crate) fn new(place: Place, kind: Flaw) -> Self {
        ParseError { place, kind, remains: None }
    }

    pub(crate) fn value(kind: Flaw) -> Self {
        ParseError::new(Place::Value, kind)
    }

    pub(crate) fn at(mut self, name: Name) -> Self {
        self.place = Place::Header(name);
        self
    }

    /// As much of the message as could be read. Its `check()` says which answer is due, if any.
    pub fn remains(&self) -> Option<&Message> {
        self.remains.as_ref()
    }
}

impl PartialEq for ParseError {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place && self.kind == other.kind
    }
}

impl Eq for ParseError {}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.kind)
    }
}

impl core::error::Error for ParseError {}

/// A value that must not be written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// A control character (CR, LF, NUL, …) in a value: it could forge further header lines.
    #[error("control character in {0}")]
    Control(Place),
    /// A value that does not follow the grammar.
    #[error("malformed {0}")]
    Syntax(Place),
    /// A header field without which no message is valid.
    #[error("{0} is missing")]
    Missing(Name),
    /// A header field that only the writer itself may write, or that stands twice.
    #[error("{0} may not be set here")]
    Reserved(Name),
    /// Larger than a message may be.
    #[error("message too large")]
    TooLarge,
    /// What was to be edited or answered cannot be read.
    #[error("not readable: {0}")]
    Source(#[from] ParseError),
}
