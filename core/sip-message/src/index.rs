//! The one pass over a message's bytes: start line, header lines, body.

use bytes::Bytes;
use bytestring::ByteString;
use memchr::memchr;
use smallvec::SmallVec;

use crate::error::{Flaw, ParseError, Place};
use crate::grammar::{find, is_token, is_token_byte, number, trim};
use crate::limits;
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

/// What a message is made of: its bytes and the index of its lines.
pub(crate) struct Inner {
    /// Start line, header and body.
    pub(crate) bytes: Bytes,
    /// Start line and header: the same memory, without folds. The body is what stands behind it.
    pub(crate) head: ByteString,
    pub(crate) start: Start,
    /// To the line: messages are held for long.
    pub(crate) lines: Box<[Line]>,
    /// The first thing that is wrong, if the message was only salvaged.
    pub(crate) flaw: Option<Box<(Place, Flaw)>>,
}

/// Reads as much as can be read; the first flaw is kept in the message. Only what could not be answered in any way
/// is an error here.
pub(crate) fn read(bytes: Bytes) -> Result<Inner, ParseError> {
    // RFC 3261 §7.5: line ends before the start line are passed over.
    let lead = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let bytes = if lead > 0 { bytes.slice(lead..) } else { bytes };
    if bytes.is_empty() {
        return Err(ParseError::new(Place::Whole, Flaw::Empty));
    }
    if bytes.len() > limits::MESSAGE {
        return Err(ParseError::new(Place::Whole, Flaw::TooLarge));
    }
    Reader { bytes, flaw: None }.read()
}

const CONTENT_LENGTH: u8 = Name::ContentLength.code();

/// What one pass over the bytes finds.
struct Scan {
    /// The first line, without its end.
    start: Span,
    /// With room for as many as most messages have.
    lines: SmallVec<[Line; 32]>,
    /// Where the body starts.
    head: usize,
    /// Whether an empty line ends the header.
    ended: bool,
    /// Whether a line goes on the one before.
    folded: bool,
    /// The first line that could not be given a name.
    nameless: Option<u16>,
    /// Whether there are more lines than the limit.
    flooded: bool,
    /// A return without line feed reads as a line end to some and as a space to others: class S10.
    stray: bool,
}

impl Scan {
    fn of(bytes: &[u8]) -> Scan {
        let mut scan = Scan {
            start: Span { from: 0, to: 0 },
            lines: SmallVec::new(),
            head: bytes.len(),
            ended: false,
            folded: false,
            nameless: None,
            flooded: false,
            stray: false,
        };
        let mut at = 0;
        let mut returns = 0;
        let mut number = 0u16;
        while at < bytes.len() {
            let end = memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |found| at + found);
            crate::grammar::work::done(end - at + 1);
            let crlf = end > at && end < bytes.len() && bytes[end - 1] == b'\r';
            returns += usize::from(crlf);
            let line_end = if crlf { end - 1 } else { end };
            if number == 0 {
                scan.start.to = line_end as u16;
            } else if line_end == at && end < bytes.len() {
                scan.head = end + 1;
                scan.ended = true;
                break;
            } else if matches!(bytes[at], b' ' | b'\t') {
                scan.folded = true;
            } else if scan.lines.len() == limits::HEADER_LINES {
                scan.flooded = true;
            } else {
                match header_line(bytes, at, line_end) {
                    Some(line) => scan.lines.push(line),
                    None => scan.nameless = scan.nameless.or(Some(number)),
                }
            }
            number = number.saturating_add(1);
            at = end + 1;
        }
        // One vectorised count over the text costs less than a search in every line.
        scan.stray = memchr::memchr_iter(b'\r', &bytes[..scan.head]).count() != returns;
        scan
    }
}

struct Reader {
    bytes: Bytes,
    flaw: Option<Box<(Place, Flaw)>>,
}

impl Reader {
    fn flaw(&mut self, place: Place, kind: Flaw) {
        if self.flaw.is_none() {
            self.flaw = Some(Box::new((place, kind)));
        }
    }

    fn read(mut self) -> Result<Inner, ParseError> {
        let mut bytes = core::mem::take(&mut self.bytes);
        let mut scan = Scan::of(&bytes);
        let stray = scan.stray;
        let head = match ByteString::try_from(bytes.slice(..scan.head)) {
            Ok(head) if !scan.folded && !stray => head,
            Ok(_) | Err(_) => {
                bytes = tidied(&bytes, scan.head);
                scan = Scan::of(&bytes);
                ByteString::try_from(bytes.slice(..scan.head)).unwrap_or_default()
            }
        };
        if !scan.ended {
            self.flaw(Place::Whole, Flaw::NoEnd);
        }
        if stray {
            self.flaw(Place::Whole, Flaw::StrayReturn);
        }
        let start = self.start_line(bytes.get(..usize::from(scan.start.to)).unwrap_or(&[]))?;
        if let Some(number) = scan.nameless {
            self.flaw(Place::HeaderLine(number), Flaw::Syntax);
        }
        if scan.flooded {
            self.flaw(Place::Whole, Flaw::TooManyHeaders);
        }
        let mut length: Option<usize> = None;
        for line in scan.lines.iter().filter(|line| line.code == CONTENT_LENGTH) {
            self.content_length(&bytes, *line, &mut length);
        }
        let available = bytes.len() - scan.head;
        let body_len = length.unwrap_or(available);
        if body_len > available {
            self.flaw(Place::Body, Flaw::BodyShort);
        }
        let end = scan.head + body_len.min(available);
        bytes.truncate(end);
        Ok(Inner { bytes, head, start, lines: Box::from(scan.lines.as_slice()), flaw: self.flaw })
    }

    /// Reads the first line, without its end.
    fn start_line(&mut self, line: &[u8]) -> Result<Start, ParseError> {
        let not_sip = || ParseError::new(Place::StartLine, Flaw::NotSip);
        let line_end = line.len();
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
            return Ok(Start::Response { line: whole, status, reason: span(reason, line_end) });
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
        Ok(Start::Request { line: whole, method: span(0, space), uri })
    }

    /// Every Content-Length must say the same (class S9); RFC 3261 §20.14.
    fn content_length(&mut self, bytes: &[u8], line: Line, length: &mut Option<usize>) {
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
    let colon = find(line, b':')?;
    let (name, behind) = (trimmed_end(&line[..colon]), &line[colon + 1..]);
    let code = code_of(name);
    if code == 0 && !core::str::from_utf8(name).is_ok_and(is_token) {
        return None;
    }
    // One space is what nearly every peer writes.
    let lead = match behind {
        [b' ', first, ..] if !is_blank(*first) => 1,
        _ => behind.iter().take_while(|byte| is_blank(**byte)).count(),
    };
    let value = at + colon + 1 + lead;
    let stop = value + trimmed_end(&behind[lead..]).len();
    Some(Line { code, start: at as u16, value: value as u16, end: stop as u16 })
}

#[inline]
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

#[inline]
fn trimmed_end(text: &[u8]) -> &[u8] {
    match text.last() {
        Some(last) if is_blank(*last) => {
            let len = text.iter().rposition(|byte| !is_blank(*byte)).map_or(0, |at| at + 1);
            &text[..len]
        }
        Some(_) | None => text,
    }
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
        crate::grammar::work::done(error.valid_up_to());
        at += error.valid_up_to();
        let len = error.error_len().unwrap_or(head - at);
        copy[at..at + len].fill(b'?');
        at += len;
    }
    copy.into()
}
