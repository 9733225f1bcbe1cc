//! Bodies of several parts (RFC 2046 §5.1, RFC 5621).

use bytes::Bytes;
use memchr::memmem;

use crate::error::{Flaw, ParseError, Place};
use crate::grammar::trim;
use crate::limits;
use crate::media_type::{Item, MediaType};
use crate::message::Message;
use crate::name::Name;

/// One part of a body. The header lines of a part are few, so they are looked up in its text.
#[derive(Clone, Debug)]
pub struct Part {
    head: String,
    body: Bytes,
    depth: usize,
}

fn bad(kind: Flaw) -> ParseError {
    ParseError::new(Place::Body, kind)
}

impl Part {
    /// The value of the part's first header line of this name.
    pub fn header(&self, name: &Name) -> Option<&str> {
        self.head.split('\n').find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (Name::parse(trim(found)).as_ref() == Some(name)).then(|| trim(value))
        })
    }

    /// The part's type; `text/plain` if none is written (RFC 2046 §5.1).
    pub fn content_type(&self) -> Result<MediaType<'_>, ParseError> {
        MediaType::parse(self.header(&Name::ContentType).unwrap_or("text/plain"))
            .map_err(|error| error.at(Name::ContentType))
    }

    /// The part's disposition (RFC 3261 §20.11).
    pub fn disposition(&self) -> Option<Item<'_>> {
        Item::parse(self.header(&Name::ContentDisposition)?).ok()
    }

    /// The part's Content-ID without its angle brackets (RFC 2392, RFC 5621 §9).
    pub fn content_id(&self) -> Option<&str> {
        let text = self.header(&Name::ContentId)?;
        Some(text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text))
    }

    /// The part's content.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The parts of a part that is itself multipart; nothing for any other.
    pub fn parts(&self) -> Result<Vec<Part>, ParseError> {
        match self.content_type()? {
            media if is_multipart(&media) => split(&self.body, &media, self.depth + 1),
            _ => Ok(Vec::new()),
        }
    }
}

fn is_multipart(media: &MediaType<'_>) -> bool {
    media.kind().eq_ignore_ascii_case("multipart")
}

/// Cuts a multipart body at its delimiter lines. Text before the first and behind the last is passed over.
fn split(body: &Bytes, media: &MediaType<'_>, depth: usize) -> Result<Vec<Part>, ParseError> {
    if depth > limits::MULTIPART_DEPTH {
        return Err(bad(Flaw::TooDeep));
    }
    let boundary = media.params().get_unquoted("boundary").unwrap_or_default();
    // RFC 2046 §5.1.1: 1 to 70 characters, the last of them no space.
    if boundary.is_empty() || boundary.len() > 70 || boundary.ends_with(' ') {
        return Err(bad(Flaw::Syntax));
    }
    let delimiter = format!("--{boundary}");
    let finder = memmem::Finder::new(delimiter.as_bytes());
    crate::grammar::work::done(body.len());
    let mut parts = Vec::new();
    let mut open: Option<usize> = None;
    for at in finder.find_iter(body) {
        if at > 0 && body[at - 1] != b'\n' {
            continue;
        }
        let behind = &body[at + delimiter.len()..];
        let last = behind.starts_with(b"--");
        let behind = if last { &behind[2..] } else { behind };
        let padding = behind.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        // A longer boundary that only starts like ours belongs to a part inside (RFC 2046 §5.1.2).
        let line_end = match &behind[padding..] {
            [b'\r', b'\n', ..] => padding + 2,
            [b'\n', ..] => padding + 1,
            [] if last => padding,
            _ if last => padding,
            _ => continue,
        };
        if let Some(start) = open {
            if parts.len() == limits::MULTIPART_PARTS {
                return Err(bad(Flaw::TooDeep));
            }
            let mut end = at.saturating_sub(1).max(start);
            if end > start && body[end - 1] == b'\r' {
                end -= 1;
            }
            parts.push(part(body, start, end, depth)?);
        }
        if last {
            return Ok(parts);
        }
        open = Some(at + delimiter.len() + line_end);
    }
    // RFC 2046 §5.1.1 ends the last part with a closing delimiter: a body without one was cut off.
    Err(bad(Flaw::NoEnd))
}

fn part(body: &Bytes, start: usize, end: usize, depth: usize) -> Result<Part, ParseError> {
    let bytes = &body[start..end];
    crate::grammar::work::done(bytes.len());
    let (head, content) = if bytes.starts_with(b"\r\n") {
        (0, 2)
    } else if bytes.starts_with(b"\n") {
        (0, 1)
    } else {
        let crlf = memmem::find(bytes, b"\r\n\r\n").map(|at| (at, at + 4));
        let lf = memmem::find(bytes, b"\n\n").map(|at| (at, at + 2));
        match (crlf, lf) {
            (Some(crlf), Some(lf)) => crlf.min(lf),
            (Some(found), None) | (None, Some(found)) => found,
            (None, None) => (bytes.len(), bytes.len()),
        }
    };
    let head = core::str::from_utf8(&bytes[..head]).map_err(|_| bad(Flaw::Syntax))?;
    let head = head.replace("\r\n", "\n").replace("\n ", "  ").replace("\n\t", "  ");
    Ok(Part { head, body: body.slice(start + content..end), depth })
}

impl Message {
    /// Content-Type (RFC 3261 §20.15).
    pub fn content_type(&self) -> Result<Option<MediaType<'_>>, ParseError> {
        self.optional(Name::ContentType, MediaType::parse)
    }

    /// The parts of the body: those of a multipart body, or the whole body as one part, or none if there is no body.
    /// At most [`limits::MULTIPART_PARTS`] of them; their own parts are read by [`Part::parts`].
    pub fn parts(&self) -> Result<Vec<Part>, ParseError> {
        if self.body().is_empty() {
            return Ok(Vec::new());
        }
        match self.content_type()? {
            Some(media) if is_multipart(&media) => split(&self.body_bytes(), &media, 1),
            Some(_) | None => {
                let mut head = String::new();
                for name in [Name::ContentType, Name::ContentDisposition, Name::ContentId] {
                    if let Some(value) = self.header_ref(&name) {
                        head.push_str(&format!("{name}: {value}\n"));
                    }
                }
                Ok(vec![Part { head, body: self.body_bytes(), depth: 0 }])
            }
        }
    }

    /// The first body or part of this type, however deep it stands (RFC 5621 §3.1: every UA reads multipart).
    pub fn part(&self, kind: &str, subtype: &str) -> Result<Option<Part>, ParseError> {
        // A stack of our own instead of recursion: parts stay in their order, and depth is bounded in `split`.
        let mut waiting = self.parts()?;
        waiting.reverse();
        let mut seen = 0;
        while let Some(part) = waiting.pop() {
            seen += 1;
            if seen > limits::MULTIPART_PARTS {
                return Err(bad(Flaw::TooDeep));
            }
            if part.content_type().is_ok_and(|media| media.is(kind, subtype)) {
                return Ok(Some(part));
            }
            let mut inner = part.parts()?;
            inner.reverse();
            waiting.extend(inner);
        }
        Ok(None)
    }

    /// The session description: the body, or the first part that is one.
    pub fn sdp(&self) -> Option<Bytes> {
        match self.content_type().ok()?? {
            media if media.is("application", "sdp") => (!self.body().is_empty()).then(|| self.body_bytes()),
            media if is_multipart(&media) => self.part("application", "sdp").ok()?.map(|part| part.body),
            _ => None,
        }
    }
}

/// Walks the whole body within its limits, for the grading of a request.
pub(crate) fn survey(message: &Message) -> Result<(), ParseError> {
    match message.content_type() {
        Ok(Some(media)) if is_multipart(&media) && !message.body().is_empty() => {}
        Ok(_) => return Ok(()),
        Err(error) => return if message.body().is_empty() { Ok(()) } else { Err(error) },
    }
    message.part("", "").map(|_| ())
}
