//! Media types, dispositions and other values with parameters (RFC 3261 §20.1, §20.11, §20.15; RFC 2045).

use crate::error::{Flaw, ParseError};
use crate::grammar::{find_outside_quotes, is_token, trim};
use crate::name_addr::thousandths;
use crate::params::Params;

/// `value;params`: the form of Accept-Language, Content-Disposition, Event, Security-Client, … .
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Item<'a> {
    value: &'a str,
    params: Params<'a>,
}

impl<'a> Item<'a> {
    /// Reads one value; it may be empty only where parameters follow.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let text = trim(text);
        let end = find_outside_quotes(text.as_bytes(), b';').unwrap_or(text.len());
        let value = trim(&text[..end]);
        if text.is_empty() || value.contains('"') {
            return Err(ParseError::value(Flaw::Syntax));
        }
        Ok(Item { value, params: Params::parse(&text[end..])? })
    }

    /// As [`Item::parse`], where the value must be one token.
    pub fn parse_token(text: &'a str) -> Result<Self, ParseError> {
        Item::parse(text).and_then(|item| match is_token(item.value) {
            true => Ok(item),
            false => Err(ParseError::value(Flaw::Syntax)),
        })
    }

    /// The value.
    pub fn value(&self) -> &'a str {
        self.value
    }

    /// Whether the value is this, in any case.
    pub fn is(&self, value: &str) -> bool {
        self.value.eq_ignore_ascii_case(value)
    }

    /// The parameters.
    pub fn params(&self) -> Params<'a> {
        self.params
    }

    /// The value of one parameter, empty for a flag.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.get(name)
    }

    /// The preference in thousandths, 1000 if none is written.
    pub fn q(&self) -> Option<u16> {
        self.param("q").map_or(Some(1000), thousandths)
    }
}

/// `type/subtype;params`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MediaType<'a> {
    kind: &'a str,
    subtype: &'a str,
    params: Params<'a>,
}

impl<'a> MediaType<'a> {
    /// Reads one media type or range.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let item = Item::parse(text)?;
        let (kind, subtype) = item.value.split_once('/').ok_or_else(|| ParseError::value(Flaw::Syntax))?;
        let (kind, subtype) = (trim(kind), trim(subtype));
        match is_token(kind) && is_token(subtype) {
            true => Ok(MediaType { kind, subtype, params: item.params }),
            false => Err(ParseError::value(Flaw::Syntax)),
        }
    }

    /// The part before the slash.
    pub fn kind(&self) -> &'a str {
        self.kind
    }

    /// The part behind the slash.
    pub fn subtype(&self) -> &'a str {
        self.subtype
    }

    /// Whether it is `kind/subtype`, in any case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// Whether this range (`*/*`, `text/*` or a type) takes in `kind/subtype`.
    pub fn takes(&self, kind: &str, subtype: &str) -> bool {
        (self.kind == "*" || self.kind.eq_ignore_ascii_case(kind))
            && (self.subtype == "*" || self.subtype.eq_ignore_ascii_case(subtype))
    }

    /// The parameters.
    pub fn params(&self) -> Params<'a> {
        self.params
    }

    /// The value of one parameter, empty for a flag; quotes stay.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_ranges() {
        let media = MediaType::parse("multipart/mixed; boundary=\"a;b\"").unwrap();
        assert!(media.is("Multipart", "MIXED") && !media.is("text", "plain"));
        assert_eq!(media.params().get_unquoted("boundary").as_deref(), Some("a;b"));
        assert!(MediaType::parse("text/*;q=0.3").unwrap().takes("text", "plain"));
        for bad in ["", "text", "text/", "/plain", "te xt/plain", "text/plain;q=\""] {
            assert!(MediaType::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn items() {
        let item = Item::parse("presence ; id=4").unwrap();
        assert_eq!((item.value(), item.param("ID"), item.q()), ("presence", Some("4"), Some(1000)));
        assert!(Item::parse("").is_err() && Item::parse_token("a b").is_err());
    }
}
