//! The one pass over a message's bytes: start line, header lines, body.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memchr;
use smallvec::SmallVec;

use crate::error::{Flaw, ParseError, Place};
use crate::grammar::{is_token, is_token_byte, number, trim};
use crate::limits;
use crate::message::{Inner, Message};
use crate::name::{Name, code_of};

/// Offsets into the message; limits keep them in 16 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) from: u16,
    pub(crate) to: u16,
}

/// One header line: 8 bytes, so that twenty of them share a few cache lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    /// Which name, see `name::code_of`.
    pub(crate) code: u8,
    /// Where the name starts.
    pub(crate) start: u16,
    /// Where the value starts.
    pub(crate) value: u16,
    /// Where the value ends; white space at its end is left out.
    pub(crate) end: u16,
}

pub(crate) type Lines = SmallVec<[Line; 32]>;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    Request { line: Span, method: Span, uri: Span },
    Response { line: Span, status: u16, reason: Span },
}

impl Start {
    pub(crate) fn line(&self) -> Span {
        match self {
            Start::Request { line, .. } | Start::Response { line, .. } => *line,
        }
    }
}

/// Reads as much as can be read; the first flaw is kept in the message. Only what could not be answered in any way
/// is an error here.
pub(crate) fn read(bytes: Bytes) -> Result<Message, ParseError> {
    // RFC 3261 §7.5: line ends before the start line are passed over.
    let lead = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = if lead > 0 { bytes.slice(lead..) } else { bytes };
    if bytes.is_empty() {
        return Err(ParseError::new(Place::Whole, Flaw::Empty));
    }
    if bytes.len() > limits::MESSAGE {
        return Err(ParseError::new(Place::Whole, Flaw::TooLarge));
    }
    let mut reader = Reader { bytes, flaw: None };
    reader.read()
}

struct Reader {
    bytes: Bytes,
    flaw: Option<(Place, Flaw)>,
}

impl Reader {
    fn flaw(&mut self, place: Place, kind: Flaw) {
        if self.flaw.is_none() {
            self.flaw = Some((place, kind));
        }
    }

    fn read(&mut self) -> Result<Message, ParseError> {
        let head = self.tidy()?;
        let bytes = self.bytes.clone();
        let (start, mut at) = self.start_line(&bytes)?;
        let mut lines = Lines::new();
        let mut length: Option<usize> = None;
        let mut number_of_line = 0u16;
        while at < head {
            let end = memchr(b'\n', &bytes[at..head]).map_or(head, |found| at + found);
            let line_end = if end > at && bytes[end - 1] == b'\r' { end - 1 } else { end };
            if line_end == at {
                break;
            }
            number_of_line += 1;
            if lines.len() == limits::HEADER_LINES {
                self.flaw(Place::Whole, Flaw::TooManyHeaders);
                break;
            }
            match header_line(&bytes, at, line_end) {
                Some(line) => {
                    if line.code == Name::ContentLength.code() {
                        self.content_length(&bytes, line, &mut length);
                    }
                    lines.push(line);
                }
                None => self.flaw(Place::HeaderLine(number_of_line), Flaw::Syntax),
            }
            at = end + 1;
        }
        let available = bytes.len() - head;
        let body_len = length.unwrap_or(available);
        if body_len > available {
            self.flaw(Place::Body, Flaw::BodyShort);
        }
        let end = head + body_len.min(available);
        let body = if end > head { bytes.slice(head..end) } else { Bytes::new() };
        let bytes = if end < bytes.len() { bytes.slice(..end) } else { bytes };
        let flaw = self.flaw.take();
        Ok(Message { inner: Arc::new(Inner { bytes, body, start, lines, flaw }) })
    }

    /// Finds the end of the header, and makes its text valid UTF-8 without folds. Returns where the body starts.
    fn tidy(&mut self) -> Result<usize, ParseError> {
        let bytes = &self.bytes;
        let mut at = 0;
        let mut folded = false;
        let mut head = None;
        while let Some(found) = memchr(b'\n', &bytes[at..]) {
            let next = at + found + 1;
            match bytes.get(next) {
                Some(b'\n') => head = Some(next + 1),
                Some(b'\r') if bytes.get(next + 1) == Some(&b'\n') => head = Some(next + 2),
                Some(b' ' | b'\t') => folded = true,
                _ => {}
            }
            if head.is_some() {
                break;
            }
            at = next;
        }
        let (head, ended) = match head {
            Some(head) => (head, true),
            None => (bytes.len(), false),
        };
        let text = &bytes[..head];
        // A return without line feed reads as a line end to some and as a space to others: class S10.
        let stray = memchr::memchr_iter(b'\r', text).any(|at| text.get(at + 1) != Some(&b'\n'));
        let foreign = !text.is_ascii() && core::str::from_utf8(text).is_err();
        if !ended {
            self.flaw(Place::Whole, Flaw::NoEnd);
        }
        if stray {
            self.flaw(Place::Whole, Flaw::StrayReturn);
        }
        if folded || foreign || stray {
            self.bytes = tidied(&self.bytes, head);
        }
        Ok(head)
    }

    fn start_line(&mut self, bytes: &Bytes) -> Result<(Start, usize), ParseError> {
        let not_sip = || ParseError::new(Place::StartLine, Flaw::NotSip);
        let end = memchr(b'\n', bytes).unwrap_or(bytes.len());
        let line_end = if end > 0 && bytes[end - 1] == b'\r' { end - 1 } else { end };
        let line = bytes.get(..line_end).unwrap_or(&[]);
        let span = |from: usize, to: usize| Span { from: from as u16, to: to as u16 };
        let whole = span(0, line_end);
        let space = memchr(b' ', line).ok_or_else(not_sip)?;
        if line.len() > 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
            if &line[4..space.max(4)] != b"2.0" {
                self.flaw(Place::StartLine, Flaw::Version);
            }
            let rest = &line[space + 1..];
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let status = core::str::from_utf8(&rest[..digits]).ok().and_then(number::<u16>);
            let status = match status {
                Some(status) if (100..700).contains(&status) && digits == 3 => status,
                _ => {
                    self.flaw(Place::StartLine, Flaw::Number);
                    0
                }
            };
            if rest.get(digits).is_some_and(|byte| *byte != b' ') {
                self.flaw(Place::StartLine, Flaw::Syntax);
            }
            let reason = (space + 1 + digits + 1).min(line_end);
            return Ok((Start::Response { line: whole, status, reason: span(reason, line_end) }, end + 1));
        }
        // The version is what follows the last space; what stands between is the URI, with any space it has.
        let last = memchr::memrchr(b' ', line).unwrap_or(space);
        let version = &line[last + 1..];
        if !version.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/")) {
            if !trim(core::str::from_utf8(line).unwrap_or("")).contains(" SIP/") {
                return Err(not_sip());
            }
            self.flaw(Place::StartLine, Flaw::Syntax);
        } else if &version[4..] != b"2.0" {
            self.flaw(Place::StartLine, Flaw::Version);
        }
        if last == space {
            self.flaw(Place::StartLine, Flaw::Syntax);
        }
        if !line[..space].iter().all(|byte| is_token_byte(*byte)) || space == 0 {
            self.flaw(Place::StartLine, Flaw::Syntax);
        }
        let uri = span((space + 1).min(last.max(space)), last.max(space));
        Ok((Start::Request { line: whole, method: span(0, space), uri }, end + 1))
    }

    /// Every Content-Length must say the same (class S9); RFC 3261 §20.14.
    fn content_length(&mut self, bytes: &Bytes, line: Line, length: &mut Option<usize>) {
        let value = bytes.get(usize::from(line.value)..usize::from(line.end)).unwrap_or(&[]);
        let value = core::str::from_utf8(value).ok().and_then(number::<u64>);
        match value.and_then(|value| usize::try_from(value).ok()) {
            None => self.flaw(Place::Header(Name::ContentLength), Flaw::Number),
            Some(value) => match *length {
                Some(other) if other != value => {
                    self.flaw(Place::Header(Name::ContentLength), Flaw::Repeated)
                }
                _ => *length = Some(value),
            },
        }
    }
}

/// Splits `Name : value`; nothing if there is no colon or the name is no token.
fn header_line(bytes: &[u8], at: usize, end: usize) -> Option<Line> {
    let line = bytes.get(at..end)?;
    let colon = memchr(b':', line)?;
    let mut name = &line[..colon];
    while let Some((b' ' | b'\t', before)) = name.split_last() {
        name = before;
    }
    let code = code_of(name);
    if code == 0 && !core::str::from_utf8(name).is_ok_and(is_token) {
        return None;
    }
    let mut value = at + colon + 1;
    let mut stop = end;
    while value < stop && matches!(bytes[value], b' ' | b'\t') {
        value += 1;
    }
    while stop > value && matches!(bytes[stop - 1], b' ' | b'\t') {
        stop -= 1;
    }
    Some(Line { code, start: at as u16, value: value as u16, end: stop as u16 })
}

/// A copy of the same length whose header has spaces for folds and stray returns, and `?` for bytes that are not
/// UTF-8 (peers with other encodings in display names are common, and their calls must not be lost).
fn tidied(bytes: &Bytes, head: usize) -> Bytes {
    let mut copy = bytes.to_vec();
    for at in 0..head {
        match copy[at] {
            b'\n' if at + 1 < head && matches!(copy[at + 1], b' ' | b'\t') => {
                copy[at] = b' ';
                if at > 0 && copy[at - 1] == b'\r' {
                    copy[at - 1] = b' ';
                }
            }
            b'\r' if copy.get(at + 1) != Some(&b'\n') => copy[at] = b' ',
            _ => {}
        }
    }
    let mut at = 0;
    while let Err(error) = core::str::from_utf8(&copy[at..head]) {
        at += error.valid_up_to();
        let len = error.error_len().unwrap_or(head - at);
        copy[at..at + len].fill(b'?');
        at += len;
    }
    copy.into()
}
