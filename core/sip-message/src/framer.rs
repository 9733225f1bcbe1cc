//! Messages out of a stream (RFC 3261 §18.3, RFC 5626 §3.5.1).

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use crate::check::Refusal;
use crate::error::{Flaw, ParseError, Place};
use crate::grammar::{is_token_byte, number};
use crate::limits;
use crate::message::Message;
use crate::method::Method;
use crate::name::Name;

/// How much a stream may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The largest message in bytes; at most [`limits::MESSAGE`].
    pub message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { message: limits::MESSAGE }
    }
}

/// One thing a stream carried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// One whole message, for [`Message::parse`].
    Message(Bytes),
    /// Two line ends: a keep-alive that wants a [`Frame::Pong`] back.
    Ping,
    /// One line end: the answer to a keep-alive. A ping whose second half comes later is seen as a pong and, then, a
    /// ping.
    Pong,
}

/// Why a stream cannot be read any further: answer if there is something to answer, then close it (class S10).
#[derive(Clone, Debug, thiserror::Error)]
#[error("stream cannot be framed: {error}")]
pub struct FrameError {
    /// What is wrong.
    #[source]
    pub error: ParseError,
}

impl FrameError {
    /// The header of the message that could not be framed, if it could be read.
    pub fn message(&self) -> Option<&Message> {
        self.error.remains()
    }

    /// The answer that is due before the stream is closed, if any: 400 for a length that cannot be used.
    pub fn refusal(&self) -> Option<Refusal> {
        let message = self.message()?;
        match message.check() {
            Err(refusal) => Some(refusal),
            // The header is good but for what framing needs.
            Ok(()) if !message.is_request() || message.method() == Method::Ack => {
                Some(Refusal::Drop { place: self.error.place.clone(), flaw: self.error.kind })
            }
            Ok(()) => Some(Refusal::of(400, self.error.place.clone())),
        }
    }
}

/// Cuts a byte stream into messages and keep-alives. After an error it stays at that error.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    buffer: BytesMut,
    /// How far the search for the end of the header has come.
    scanned: usize,
    /// Header and body length of the message at the start of the buffer, once its header is whole.
    expected: Option<usize>,
    /// A pong was just given out; a line end right behind it makes it a ping.
    half_ping: bool,
    failed: Option<FrameError>,
}

impl Default for Framer {
    fn default() -> Self {
        Framer::new(Limits::default())
    }
}

impl Framer {
    /// A framer for a fresh stream.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits { message: limits.message.min(limits::MESSAGE) };
        Framer { limits, buffer: BytesMut::new(), scanned: 0, expected: None, half_ping: false, failed: None }
    }

    /// Takes bytes in, in the order of the stream. Call [`Framer::next`] until it gives nothing before the next push:
    /// then no more than one message's limit is ever held back.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The stream has ended. What is left of an unfinished message is given out, so that it is graded as a datagram
    /// of the same bytes would be.
    pub fn end(&mut self) -> Option<Bytes> {
        self.expected = None;
        self.scanned = 0;
        let rest = self.buffer.split().freeze();
        (!rest.is_empty()).then_some(rest)
    }

    /// How many bytes are held back.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The next frame, if it is complete.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let outcome = self.advance();
        if let Err(error) = &outcome {
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
        }
        outcome
    }

    fn advance(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.expected.is_none() {
            if let Some(frame) = self.keep_alive()? {
                return Ok(Some(frame));
            }
            match self.buffer.first() {
                None | Some(b'\r') => return Ok(None),
                // A TLS hello, a binary protocol: no message starts so.
                Some(byte) if !is_token_byte(*byte) => {
                    return Err(failure(Place::StartLine, Flaw::NotSip, None));
                }
                Some(_) => {}
            }
            let Some(head) = self.head_end() else {
                return match self.buffer.len() >= self.limits.message {
                    true => Err(failure(Place::Whole, Flaw::TooLarge, None)),
                    false => Ok(None),
                };
            };
            self.expected = Some(self.measure(head)?);
        }
        match self.expected {
            Some(length) if self.buffer.len() >= length => {
                self.expected = None;
                self.scanned = 0;
                self.half_ping = false;
                Ok(Some(Frame::Message(self.buffer.split_to(length).freeze())))
            }
            Some(_) | None => Ok(None),
        }
    }

    fn keep_alive(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            let end = match self.buffer[..] {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                [b'\r', _, ..] => return Err(failure(Place::Whole, Flaw::StrayReturn, None)),
                _ => return Ok(None),
            };
            self.scanned = 0;
            self.buffer.advance(end);
            if end == 1 {
                continue;
            }
            if self.half_ping {
                self.half_ping = false;
                return Ok(Some(Frame::Ping));
            }
            if self.buffer.starts_with(b"\r\n") {
                self.buffer.advance(2);
                return Ok(Some(Frame::Ping));
            }
            self.half_ping = true;
            return Ok(Some(Frame::Pong));
        }
    }

    /// The place behind the empty line. Goes on where the last search ended, so that a message that comes byte by byte
    /// is still searched once (class S13).
    fn head_end(&mut self) -> Option<usize> {
        while let Some(found) = memchr(b'\n', &self.buffer[self.scanned..]) {
            crate::grammar::work::done(found + 1);
            let next = self.scanned + found + 1;
            match self.buffer[next..] {
                [b'\n', ..] => return Some(next + 1),
                [b'\r', b'\n', ..] => return Some(next + 2),
                [] | [b'\r'] => {
                    self.scanned = next - 1;
                    return None;
                }
                _ => self.scanned = next,
            }
        }
        crate::grammar::work::done(self.buffer.len() - self.scanned);
        self.scanned = self.buffer.len();
        None
    }

    /// How long the message with this header is. A stream without Content-Length cannot be framed (RFC 3261 §20.14).
    fn measure(&self, head: usize) -> Result<usize, FrameError> {
        if head > self.limits.message {
            return Err(failure(Place::Whole, Flaw::TooLarge, None));
        }
        let header = Bytes::copy_from_slice(&self.buffer[..head]);
        let message = Message::salvage(header).map_err(|error| FrameError { error })?;
        let fail = |place, kind| failure(place, kind, Some(message.clone()));
        if let Some((place, kind @ (Flaw::StrayReturn | Flaw::TooManyHeaders))) = message.flaw() {
            return Err(fail(place.clone(), *kind));
        }
        if message.lines().count() >= limits::HEADER_LINES {
            return Err(fail(Place::Whole, Flaw::TooManyHeaders));
        }
        let place = || Place::Header(Name::ContentLength);
        let mut length = None;
        for line in message.lines_of(&Name::ContentLength) {
            let value = number::<u64>(line.value()).ok_or_else(|| fail(place(), Flaw::Number))?;
            if length.is_some_and(|length| length != value) {
                return Err(fail(place(), Flaw::Repeated));
            }
            length = Some(value);
        }
        let length = length.ok_or_else(|| fail(place(), Flaw::Missing))?;
        let whole = usize::try_from(length).ok().and_then(|length| length.checked_add(head));
        whole.filter(|whole| *whole <= self.limits.message).ok_or_else(|| fail(Place::Body, Flaw::TooLarge))
    }
}

fn failure(place: Place, kind: Flaw, remains: Option<Message>) -> FrameError {
    FrameError { error: ParseError { place, kind, remains } }
}
