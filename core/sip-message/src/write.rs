//! What may be written (class S8: no value forges a header line).

use bytes::{BufMut, BytesMut};

use crate::error::{BuildError, Place};
use crate::grammar::{Commas, number, trim};
use crate::name::{Name, Shape, shape_of};
use crate::name_addr::{NameAddr, seconds};
use crate::typed::CSeq;
use crate::via::Via;

/// A value that has been checked.
#[derive(Clone, Debug)]
pub(crate) struct Checked(String);

impl Checked {
    /// A value that a message already carries: it holds no line end, or it would not be one value.
    pub(crate) fn copied(value: &str) -> Checked {
        Checked(value.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// No control characters but the tab, nor the characters that some readers take for line ends.
pub(crate) fn is_clean(text: &str) -> bool {
    !crate::grammar::has_control(text)
}

/// Header fields whose values are addresses.
const ADDRESSES: &[Name] = &[
    Name::From,
    Name::To,
    Name::Route,
    Name::RecordRoute,
    Name::Path,
    Name::ServiceRoute,
    Name::ReferTo,
    Name::ReferredBy,
    Name::ReplyTo,
    Name::PAssertedIdentity,
    Name::PPreferredIdentity,
];

/// Header fields whose values are tokens.
const TOKENS: &[Name] = &[Name::Require, Name::ProxyRequire, Name::Supported, Name::Unsupported, Name::Allow];

/// Checks a value and, for header fields whose form matters to a receiver, its grammar.
pub(crate) fn value(name: &Name, text: &str) -> Result<Checked, BuildError> {
    let place = || Place::Header(name.clone());
    if !is_clean(text) {
        return Err(BuildError::Control(place()));
    }
    let text = trim(text);
    let holds = |check: &dyn Fn(&str) -> bool| match shape_of(name.code()) {
        Shape::List => Commas::of(text).all(check),
        Shape::One => check(text),
    };
    let address = |text: &str| NameAddr::parse(text).is_ok();
    let good = if ADDRESSES.contains(name) {
        holds(&address)
    } else if TOKENS.contains(name) {
        text.is_empty() || holds(&crate::grammar::is_token)
    } else if *name == Name::Via {
        holds(&|text| Via::parse(text).is_ok())
    } else if *name == Name::Contact {
        text == "*" || holds(&address)
    } else if *name == Name::CallId {
        !text.is_empty() && !text.contains([' ', '\t', ',', ';'])
    } else if *name == Name::CSeq {
        CSeq::parse(text).is_ok()
    } else if *name == Name::MaxForwards {
        number::<u8>(text).is_some()
    } else if [Name::Expires, Name::MinExpires].contains(name) {
        seconds(text).is_some()
    } else {
        true
    };
    if good { Ok(Checked(text.into())) } else { Err(BuildError::Syntax(place())) }
}

/// How many bytes [`line`] writes.
pub(crate) fn line_len(name: &str, value: &str) -> usize {
    name.len() + value.len() + ": \r\n".len()
}

pub(crate) fn line(out: &mut BytesMut, name: &str, value: &str) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value.as_bytes());
    out.put_slice(b"\r\n");
}
