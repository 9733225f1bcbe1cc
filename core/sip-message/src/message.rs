//! A message as it came in or as it will go out: its bytes and an index of its header lines.

use core::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Flaw, ParseError, Place};
use crate::grammar::{Commas, trim};
use crate::index::{Inner, Line, Span, Start};
use crate::method::Method;
use crate::name::{Name, Shape, code_of, shape_of};
use crate::uri::Uri;

/// Request or response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It has a method and a request URI.
    Request,
    /// It has a status code.
    Response,
}

/// A SIP message. A clone is one counted reference.
#[derive(Clone)]
pub struct Message {
    pub(crate) inner: Arc<Inner>,
}

/// One header line.
#[derive(Clone, Copy)]
pub struct HeaderLine<'a> {
    message: &'a Message,
    line: Line,
}

impl Message {
    /// Reads one datagram, one WebSocket frame or one message that a [`crate::Framer`] cut out of a stream.
    ///
    /// Bytes behind the Content-Length are ignored; a body shorter than it is an error (RFC 3261 §18.3). The error
    /// carries what could be read, so that a request can still be answered.
    pub fn parse(bytes: Bytes) -> Result<Message, ParseError> {
        let message = Message::salvage(bytes)?;
        match message.inner.flaw.as_deref().cloned() {
            None => Ok(message),
            Some((place, kind)) => Err(ParseError { place, kind, remains: Some(message) }),
        }
    }

    /// Reads as much as can be read, whatever is wrong with it.
    pub(crate) fn salvage(bytes: Bytes) -> Result<Message, ParseError> {
        Ok(Message { inner: Arc::new(crate::index::read(bytes)?) })
    }

    pub(crate) fn text(&self, span: Span) -> &str {
        self.inner.head.get(usize::from(span.from)..usize::from(span.to)).unwrap_or("")
    }

    /// Request or response.
    pub fn kind(&self) -> Kind {
        match self.inner.start {
            Start::Request { .. } => Kind::Request,
            Start::Response { .. } => Kind::Response,
        }
    }

    /// Whether it is a request.
    pub fn is_request(&self) -> bool {
        self.kind() == Kind::Request
    }

    /// The method of the request line, or that of a response's CSeq. A response without one is taken for an answer to
    /// a method without name, which nothing matches.
    pub fn method(&self) -> Method {
        match &self.inner.start {
            Start::Request { method, .. } => Method::parse(self.text(*method)),
            Start::Response { .. } => self.cseq().ok().map(|cseq| cseq.method),
        }
        .unwrap_or_else(Method::unreadable)
    }

    /// A response's status code.
    pub fn status(&self) -> Option<u16> {
        match self.inner.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }

    /// A response's reason phrase; empty for a request.
    pub fn reason(&self) -> &str {
        match self.inner.start {
            Start::Request { .. } => "",
            Start::Response { reason, .. } => self.text(reason),
        }
    }

    /// A request's URI.
    pub fn request_uri(&self) -> Result<Uri<'_>, ParseError> {
        Uri::parse(self.request_uri_text()).map_err(|error| ParseError::new(Place::RequestUri, error.kind))
    }

    /// A request's URI as it was written; empty for a response.
    pub fn request_uri_text(&self) -> &str {
        match self.inner.start {
            Start::Request { uri, .. } => self.text(uri),
            Start::Response { .. } => "",
        }
    }

    /// The first line.
    pub fn start_line(&self) -> &str {
        self.text(self.inner.start.line())
    }

    /// The value of the first line of this header field, as it was written but for folds, which are spaces.
    pub fn header(&self, name: Name) -> Option<&str> {
        self.header_ref(&name)
    }

    pub(crate) fn header_ref(&self, name: &Name) -> Option<&str> {
        let code = name.code();
        if code == 0 {
            return self.lines_of(name).next().map(|line| line.value());
        }
        let line = self.inner.lines.iter().find(|line| line.code == code)?;
        Some(self.text(Span { from: line.value, to: line.end }))
    }

    /// The value of the first line of a header field by its name's text, known or not, long or compact.
    pub fn header_by_name(&self, name: &str) -> Option<&str> {
        let code = code_of(name.as_bytes());
        self.lines()
            .find(|line| line.code() == code && (code != 0 || line.name_text().eq_ignore_ascii_case(name)))
            .map(|line| line.value())
    }

    /// Every value of this header field over all of its lines; lists are split at their commas.
    pub fn headers(&self, name: Name) -> impl Iterator<Item = &str> + Clone {
        let split = shape_of(name.code()) == Shape::List;
        self.lines_matching(name).flat_map(move |line| {
            let value = line.value();
            let (list, one) = if split { (Commas::of(value), None) } else { (Commas::empty(), Some(value)) };
            list.chain(one)
        })
    }

    /// How many lines this header field has.
    pub fn count(&self, name: Name) -> usize {
        self.lines_of(&name).count()
    }

    /// Every header line, in order.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = HeaderLine<'_>> + Clone {
        self.inner.lines.iter().map(move |line| HeaderLine { message: self, line: *line })
    }

    pub(crate) fn lines_of<'a>(&'a self, name: &Name) -> impl Iterator<Item = HeaderLine<'a>> + use<'a> {
        let code = name.code();
        let other = if let Name::Other(other) = name { Some(other.clone()) } else { None };
        self.lines().filter(move |line| {
            line.line.code == code
                && other.as_ref().is_none_or(|other| line.name_text().eq_ignore_ascii_case(other.as_str()))
        })
    }

    fn lines_matching(&self, name: Name) -> impl Iterator<Item = HeaderLine<'_>> + Clone {
        let code = name.code();
        self.lines().filter(move |line| {
            line.line.code == code && (code != 0 || line.name_text().eq_ignore_ascii_case(name.as_str()))
        })
    }

    /// The body; empty if there is none.
    pub fn body(&self) -> &[u8] {
        self.inner.bytes.get(self.inner.head.len()..).unwrap_or(&[])
    }

    /// The body, to be kept: the message's memory stays with it.
    pub fn body_bytes(&self) -> Bytes {
        self.inner.bytes.slice_ref(self.body())
    }

    /// The message as it goes over the wire, without anything that came behind its body.
    pub fn to_bytes(&self) -> Bytes {
        self.inner.bytes.clone()
    }

    /// Length on the wire in bytes.
    pub fn len(&self) -> usize {
        self.inner.bytes.len()
    }

    /// Never: a message has at least a start line.
    pub fn is_empty(&self) -> bool {
        self.inner.bytes.is_empty()
    }

    /// The first thing that is wrong with the message as a whole, if it was salvaged from a [`ParseError`].
    pub fn flaw(&self) -> Option<&(Place, Flaw)> {
        self.inner.flaw.as_deref()
    }
}

impl<'a> HeaderLine<'a> {
    /// The header field's name.
    pub fn name(&self) -> Option<Name> {
        Name::parse(self.name_text())
    }

    /// Its name as it was written.
    pub fn name_text(&self) -> &'a str {
        let line = self.message.text(Span { from: self.line.start, to: self.line.value });
        line.split_once(':').map_or("", |(name, _)| trim(name))
    }

    /// Its value as it was written; folds are spaces.
    pub fn value(&self) -> &'a str {
        self.message.text(Span { from: self.line.value, to: self.line.end })
    }

    pub(crate) fn code(&self) -> u8 {
        self.line.code
    }
}

/// One line a header line, control characters escaped, credentials and push tokens left out.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::redact::line(&self.start_line().escape_debug().to_string()))?;
        for line in self.lines() {
            let secret =
                [Name::Authorization, Name::ProxyAuthorization].iter().any(|name| name.code() == line.code());
            let value = if secret { "…".into() } else { crate::redact::line(line.value()) };
            write!(f, "\n  {}: {}", line.name_text().escape_debug(), value.escape_debug())?;
        }
        write!(f, "\n  [{} bytes of body]", self.body().len())
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.inner.bytes == other.inner.bytes
    }
}

impl Eq for Message {}
