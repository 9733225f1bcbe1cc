//! The strict writer of new messages.

use core::fmt::Display;

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{BuildError, Place};
use crate::grammar::trim;
use crate::message::Message;
use crate::method::Method;
use crate::name::Name;
use crate::uri::Uri;
use crate::write::{self, Checked};

/// Writes a request or response. Whatever is wrong with a value is told by [`Builder::build`].
#[derive(Clone, Debug)]
pub struct Builder {
    start: Result<StartLine, BuildError>,
    vias: Vec<Checked>,
    lines: Vec<(Name, Checked)>,
    body: Option<Bytes>,
    failed: Option<BuildError>,
}

#[derive(Clone, Debug)]
enum StartLine {
    Request { method: Method, uri: String },
    Response { code: u16, reason: String },
}

impl Builder {
    /// Starts a request. The URI is a [`Uri`], an [`crate::OwnedUri`] or text.
    pub fn request(method: Method, uri: impl Display) -> Builder {
        let uri = uri.to_string();
        let start = match Uri::parse(&uri) {
            Ok(_) if write::is_clean(&uri) => Ok(StartLine::Request { method, uri }),
            Ok(_) => Err(BuildError::Control(Place::RequestUri)),
            Err(_) if !write::is_clean(&uri) => Err(BuildError::Control(Place::RequestUri)),
            Err(_) => Err(BuildError::Syntax(Place::RequestUri)),
        };
        Builder { start, vias: Vec::new(), lines: Vec::new(), body: None, failed: None }
    }

    /// Starts a response to `request`: Via, From, To, Call-ID and CSeq are copied (RFC 3261 §8.2.6.2), in a 100 also
    /// Timestamp (§8.2.6.1). An empty reason is replaced by the usual one.
    pub fn response(request: &Message, code: u16, reason: &str) -> Builder {
        let reason = if reason.is_empty() { crate::reason::usual(code) } else { reason };
        let start = if !(100..700).contains(&code) {
            Err(BuildError::Syntax(Place::StartLine))
        } else if !write::is_clean(reason) {
            Err(BuildError::Control(Place::StartLine))
        } else {
            Ok(StartLine::Response { code, reason: reason.into() })
        };
        let mut builder = Builder { start, vias: Vec::new(), lines: Vec::new(), body: None, failed: None };
        builder.vias = request.lines_of(&Name::Via).map(|line| Checked::copied(line.value())).collect();
        for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
            // RFC 3261 §8.2.6.2 knows one of each; a request with two got here only to be refused.
            let first = request.lines_of(&name).next().map(|line| Checked::copied(line.value()));
            builder.lines.extend(first.map(|value| (name, value)));
        }
        if code == 100 {
            builder = builder.copy(request, Name::Timestamp);
        }
        builder
    }

    /// Adds a header line. A list may be given as several lines or with commas. Content-Length is the writer's own.
    #[must_use]
    pub fn header(mut self, name: Name, value: impl Display) -> Builder {
        match write::value(&name, &value.to_string()) {
            Ok(_) if name == Name::ContentLength => self.fail(BuildError::Reserved(name)),
            Ok(value) if name == Name::Via => self.vias.push(value),
            Ok(value) => self.lines.push((name, value)),
            Err(error) => self.fail(error),
        }
        self
    }

    /// Adds a header line by the text of its name, known or not.
    #[must_use]
    pub fn header_text(mut self, name: &str, value: impl Display) -> Builder {
        match Name::parse(name) {
            Some(name) => self.header(name, value),
            None => {
                self.fail(match write::is_clean(name) {
                    true => BuildError::Syntax(Place::Value),
                    false => BuildError::Control(Place::Value),
                });
                self
            }
        }
    }

    /// Adds several header lines.
    #[must_use]
    pub fn headers<V: Display>(mut self, headers: impl IntoIterator<Item = (Name, V)>) -> Builder {
        for (name, value) in headers {
            self = self.header(name, value);
        }
        self
    }

    /// Copies every line of a header field from another message, as it stands there: Record-Route into a response
    /// that opens a dialog (RFC 3261 §12.1.1), for example.
    #[must_use]
    pub fn copy(mut self, from: &Message, name: Name) -> Builder {
        for line in from.lines_of(&name) {
            let value = Checked::copied(line.value());
            if name == Name::Via {
                self.vias.push(value);
            } else if name != Name::ContentLength {
                self.lines.push((name.clone(), value));
            }
        }
        self
    }

    /// Adds a tag to the To of a response, unless it has one (RFC 3261 §8.2.6.2).
    #[must_use]
    pub fn to_tag(mut self, tag: &str) -> Builder {
        if !crate::grammar::is_token(tag) {
            self.fail(BuildError::Syntax(Place::Header(Name::To)));
            return self;
        }
        for (_, value) in self.lines.iter_mut().filter(|(name, _)| *name == Name::To) {
            let has_tag = crate::NameAddr::parse(value.as_str()).is_ok_and(|to| to.tag().is_some());
            if !has_tag {
                *value = Checked::copied(&format!("{};tag={tag}", value.as_str()));
            }
        }
        self
    }

    /// Sets the body and its Content-Type.
    #[must_use]
    pub fn body(mut self, content_type: impl Display, body: impl Into<Bytes>) -> Builder {
        self.lines.retain(|(name, _)| *name != Name::ContentType);
        self.body = Some(body.into());
        self.header(Name::ContentType, content_type)
    }

    fn fail(&mut self, error: BuildError) {
        self.failed.get_or_insert(error);
    }

    /// Writes the message. Via stands first; a request without Max-Forwards gets 70 (RFC 3261 §8.1.1.6);
    /// Content-Length is always written.
    pub fn build(self) -> Result<Message, BuildError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let start = self.start?;
        let has = |wanted: &Name| self.lines.iter().any(|(name, _)| name == wanted);
        for (index, (name, _)) in self.lines.iter().enumerate() {
            let single =
                matches!(name, Name::From | Name::To | Name::CallId | Name::CSeq | Name::MaxForwards);
            if single && self.lines[..index].iter().any(|(other, _)| other == name) {
                return Err(BuildError::Reserved(name.clone()));
            }
        }
        let mut hops = false;
        let first = match &start {
            StartLine::Request { method, uri } => {
                for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
                    if !has(&name) {
                        return Err(BuildError::Missing(name));
                    }
                }
                let cseq = self.lines.iter().find(|(name, _)| *name == Name::CSeq);
                let cseq = cseq.and_then(|(_, value)| crate::CSeq::parse(value.as_str()).ok());
                if cseq.is_none_or(|cseq| cseq.method != *method) {
                    return Err(BuildError::Syntax(Place::Header(Name::CSeq)));
                }
                hops = !has(&Name::MaxForwards);
                format!("{method} {uri} SIP/2.0\r\n")
            }
            StartLine::Response { code, reason } => format!("SIP/2.0 {code} {reason}\r\n"),
        };
        let body = self.body.unwrap_or_default();
        let vias = self.vias.iter().map(|via| write::line_len("Via", via.as_str()));
        let lines = self.lines.iter().map(|(name, value)| write::line_len(name.as_str(), value.as_str()));
        let hops_len = if hops { write::line_len("Max-Forwards", "70") } else { 0 };
        // To the byte: a response is kept for its copies.
        let head = first.len() + vias.sum::<usize>() + hops_len + lines.sum::<usize>();
        let mut out = BytesMut::with_capacity(head + tail_len(&body));
        out.put_slice(first.as_bytes());
        for via in &self.vias {
            write::line(&mut out, "Via", via.as_str());
        }
        if hops {
            write::line(&mut out, "Max-Forwards", "70");
        }
        for (name, value) in &self.lines {
            write::line(&mut out, name.as_str(), value.as_str());
        }
        finish(out, body)
    }
}

/// What [`finish`] adds.
pub(crate) fn tail_len(body: &Bytes) -> usize {
    let digits = body.len().checked_ilog10().unwrap_or(0) as usize + 1;
    "Content-Length: \r\n\r\n".len() + digits + body.len()
}

/// Writes Content-Length, the empty line and the body, and reads the whole back.
pub(crate) fn finish(mut out: BytesMut, body: Bytes) -> Result<Message, BuildError> {
    write::line(&mut out, "Content-Length", &body.len().to_string());
    out.put_slice(b"\r\n");
    out.put_slice(&body);
    if out.len() > crate::limits::MESSAGE {
        return Err(BuildError::TooLarge);
    }
    Ok(Message::parse(out.freeze())?)
}

impl Message {
    /// A copy of this message under the same header lines with another body.
    pub fn with_body(&self, content_type: &str, body: impl Into<Bytes>) -> Result<Message, BuildError> {
        self.edit().set_body(content_type, body).finish()
    }
}

impl TryFrom<Builder> for Message {
    type Error = BuildError;

    fn try_from(builder: Builder) -> Result<Message, BuildError> {
        builder.build()
    }
}

/// Whether text could be written as this header field's value.
pub fn check_value(name: &Name, value: &str) -> Result<(), BuildError> {
    write::value(name, trim(value)).map(|_| ())
}

/// Reads text that is to become a header line's name.
pub fn check_name(name: &str) -> Result<Name, BuildError> {
    Name::parse(name).ok_or(BuildError::Syntax(Place::Value))
}
