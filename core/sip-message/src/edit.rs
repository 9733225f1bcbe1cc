//! A proxy's edit of a received message (RFC 3261 §16.6): what is not touched stays as it was.

use core::fmt::Display;

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{BuildError, Place};
use crate::grammar::{Commas, trim};
use crate::message::{HeaderLine, Message};
use crate::name::{Name, Shape, shape_of};
use crate::uri::Uri;
use crate::write::{self, Checked};

/// An edit in progress. Whatever is wrong with a value is told by [`Edit::finish`].
#[derive(Debug)]
pub struct Edit<'a> {
    message: &'a Message,
    start: Option<String>,
    lines: Vec<Row<'a>>,
    body: Option<Bytes>,
    failed: Option<BuildError>,
}

enum Row<'a> {
    Kept(HeaderLine<'a>),
    Written(Name, Checked),
}

impl core::fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Row::Kept(line) => write!(f, "kept {}", line.name_text()),
            Row::Written(name, _) => write!(f, "written {name}"),
        }
    }
}

impl<'a> Row<'a> {
    fn is(&self, name: &Name) -> bool {
        match self {
            Row::Kept(line) => {
                line.code() == name.code()
                    && (name.code() != 0 || line.name_text().eq_ignore_ascii_case(name.as_str()))
            }
            Row::Written(found, _) => found == name,
        }
    }

    fn value(&self) -> &str {
        match self {
            Row::Kept(line) => line.value(),
            Row::Written(_, value) => value.as_str(),
        }
    }
}

impl Message {
    /// Starts an edit.
    pub fn edit(&self) -> Edit<'_> {
        Edit {
            message: self,
            start: None,
            lines: self.lines().map(Row::Kept).collect(),
            body: None,
            failed: None,
        }
    }
}

impl Edit<'_> {
    fn fail(&mut self, error: BuildError) {
        self.failed.get_or_insert(error);
    }

    fn checked(&mut self, name: &Name, value: impl Display) -> Option<Checked> {
        if *name == Name::ContentLength {
            self.fail(BuildError::Reserved(Name::ContentLength));
            return None;
        }
        match write::value(name, &value.to_string()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.fail(error);
                None
            }
        }
    }

    fn first(&self, name: &Name) -> Option<usize> {
        self.lines.iter().position(|row| row.is(name))
    }

    /// Puts a line above the first of its name; at the very top if there is none.
    #[must_use]
    pub fn prepend(mut self, name: Name, value: impl Display) -> Self {
        if let Some(value) = self.checked(&name, value) {
            let at = self.first(&name).unwrap_or(0);
            self.lines.insert(at, Row::Written(name, value));
        }
        self
    }

    /// Puts a line below the last of its name; at the very end if there is none.
    #[must_use]
    pub fn append(mut self, name: Name, value: impl Display) -> Self {
        if let Some(value) = self.checked(&name, value) {
            let last = self.lines.iter().rposition(|row| row.is(&name));
            let at = last.map_or(self.lines.len(), |last| last + 1);
            self.lines.insert(at, Row::Written(name, value));
        }
        self
    }

    /// Takes the topmost value away: of a list line with several values only the first.
    #[must_use]
    pub fn remove_first(mut self, name: Name) -> Self {
        if let Some(at) = self.first(&name) {
            match behind_first(&name, self.lines[at].value()) {
                Some(rest) => self.lines[at] = Row::Written(name, rest),
                None => {
                    self.lines.remove(at);
                }
            }
        }
        self
    }

    /// Takes the last value away.
    #[must_use]
    pub fn remove_last(mut self, name: Name) -> Self {
        if let Some(at) = self.lines.iter().rposition(|row| row.is(&name)) {
            match before_last(&name, self.lines[at].value()) {
                Some(rest) => self.lines[at] = Row::Written(name, rest),
                None => {
                    self.lines.remove(at);
                }
            }
        }
        self
    }

    /// Takes every line of this header field away.
    #[must_use]
    pub fn remove_all(mut self, name: Name) -> Self {
        self.lines.retain(|row| !row.is(&name));
        self
    }

    /// Puts one line in place of every line of this header field; at the end if there is none.
    #[must_use]
    pub fn replace(mut self, name: Name, value: impl Display) -> Self {
        if let Some(value) = self.checked(&name, value) {
            let at = self.first(&name).unwrap_or(self.lines.len());
            self.lines.retain(|row| !row.is(&name));
            self.lines.insert(at, Row::Written(name, value));
        }
        self
    }

    /// Puts a value in place of the topmost one; the others stay. This is how a Via gets `received` (§18.2.1).
    #[must_use]
    pub fn replace_first(mut self, name: Name, value: impl Display) -> Self {
        let Some(value) = self.checked(&name, value) else { return self };
        match self.first(&name) {
            Some(at) => {
                let rest = behind_first(&name, self.lines[at].value());
                self.lines[at] = Row::Written(name.clone(), value);
                if let Some(rest) = rest {
                    self.lines.insert(at + 1, Row::Written(name, rest));
                }
            }
            None => self.lines.insert(0, Row::Written(name, value)),
        }
        self
    }

    /// Sets the request URI (RFC 3261 §16.6 step 2). An error for a response.
    #[must_use]
    pub fn set_request_uri(mut self, uri: impl Display) -> Self {
        let uri = uri.to_string();
        if !write::is_clean(&uri) {
            self.fail(BuildError::Control(Place::RequestUri));
        } else if Uri::parse(&uri).is_err() || !self.message.is_request() {
            self.fail(BuildError::Syntax(Place::RequestUri));
        } else {
            self.start = Some(format!("{} {uri} SIP/2.0", self.message.method()));
        }
        self
    }

    /// Sets the body and its Content-Type.
    #[must_use]
    pub fn set_body(mut self, content_type: impl Display, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self.replace(Name::ContentType, content_type)
    }

    /// Takes the body and its Content-Type away.
    #[must_use]
    pub fn remove_body(mut self) -> Self {
        self.body = Some(Bytes::new());
        self.remove_all(Name::ContentType)
    }

    /// Writes the edited message. Content-Length is written anew and stands last.
    pub fn finish(self) -> Result<Message, BuildError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let body = self.body.unwrap_or_else(|| self.message.body_bytes());
        let start = self.start.as_deref().unwrap_or(self.message.start_line());
        let lines = self.lines.iter().map(|row| match row {
            Row::Kept(line) if line.code() == Name::ContentLength.code() => 0,
            Row::Kept(line) => write::line_len(line.name_text(), line.value()),
            Row::Written(name, value) => write::line_len(name.as_str(), value.as_str()),
        });
        // To the byte: what was edited may be kept for as long as a call is held.
        let head = start.len() + 2 + lines.sum::<usize>();
        let mut out = BytesMut::with_capacity(head + crate::builder::tail_len(&body));
        out.put_slice(start.as_bytes());
        out.put_slice(b"\r\n");
        for row in &self.lines {
            match row {
                Row::Kept(line) if line.code() == Name::ContentLength.code() => {}
                Row::Kept(line) => write::line(&mut out, line.name_text(), line.value()),
                Row::Written(name, value) => write::line(&mut out, name.as_str(), value.as_str()),
            }
        }
        crate::builder::finish(out, body)
    }
}

fn behind_first(name: &Name, text: &str) -> Option<Checked> {
    match shape_of(name.code()) {
        Shape::One => None,
        Shape::List => {
            let first = Commas::of(text).next()?;
            let from = first.as_ptr() as usize - text.as_ptr() as usize + first.len();
            let rest = trim(text.get(from..)?.trim_start_matches([' ', '\t', ',']));
            (!rest.is_empty()).then(|| Checked::copied(rest))
        }
    }
}

fn before_last(name: &Name, text: &str) -> Option<Checked> {
    match shape_of(name.code()) {
        Shape::One => None,
        Shape::List => {
            let last = Commas::of(text).last()?;
            let at = last.as_ptr() as usize - text.as_ptr() as usize;
            let rest = text.get(..at)?.trim_end_matches([' ', '\t', ',']);
            (!rest.is_empty()).then(|| Checked::copied(rest))
        }
    }
}
