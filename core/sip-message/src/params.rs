//! Parameters: `;name=value;flag` behind URIs, addresses and many other values.

use std::borrow::Cow;

use crate::error::{Flaw, ParseError};
use crate::grammar::{find, find_outside_quotes, quoted_end, token_len, trim, unquote, value_len};

/// A list of parameters, read as it is walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// No parameters.
    pub const NONE: Params<'static> = Params("");

    /// Parameters that are known to be well-formed; `text` is empty or starts with a semicolon.
    pub(crate) fn trusted(text: &'a str) -> Self {
        Params(text)
    }

    /// Reads `;name=value;flag` (RFC 3261 §25.1, generic-param), with white space around the separators.
    pub fn parse(text: &'a str) -> Result<Self, ParseError> {
        let text = trim(text);
        if text.is_empty() {
            return Ok(Params::NONE);
        }
        crate::grammar::work::done(text.len());
        let bytes = text.as_bytes();
        let bad = || ParseError::value(Flaw::Syntax);
        let skip = |mut at: usize| {
            while matches!(bytes.get(at), Some(b' ' | b'\t')) {
                at += 1;
            }
            at
        };
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] != b';' {
                return Err(bad());
            }
            at = skip(at + 1);
            let start = at;
            at += token_len(bytes.get(at..).unwrap_or(&[]));
            if at == start {
                // `;;` and a last `;` are written by some; they mean nothing.
                if at == bytes.len() || bytes[at] == b';' {
                    continue;
                }
                return Err(bad());
            }
            at = skip(at);
            if bytes.get(at) == Some(&b'=') {
                at = skip(at + 1);
                if bytes.get(at) == Some(&b'"') {
                    at += quoted_end(&bytes[at..]).ok_or_else(bad)?;
                } else {
                    let start = at;
                    at += value_len(bytes.get(at..).unwrap_or(&[]));
                    if at == start && !matches!(bytes.get(at), None | Some(b';')) {
                        return Err(bad());
                    }
                }
                at = skip(at);
            }
        }
        Ok(Params(text))
    }

    /// The text, from the first semicolon on.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Name and raw value of each, in order; a flag has no value.
    pub fn iter(&self) -> ParamIter<'a> {
        ParamIter(self.0)
    }

    /// The raw value of the first parameter of this name, empty for a flag. Names compare without regard to case.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.unwrap_or(""))
    }

    /// As [`Params::get`], without the quotes and backslashes of a quoted string.
    pub fn get_unquoted(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).map(unquote)
    }

    /// Whether there is a parameter of this name.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// Walks over [`Params`].
#[derive(Clone, Debug)]
pub struct ParamIter<'a>(&'a str);

impl<'a> Iterator for ParamIter<'a> {
    type Item = (&'a str, Option<&'a str>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let lead = self.0.bytes().take_while(|byte| matches!(byte, b' ' | b'\t' | b';')).count();
            let rest = self.0.get(lead..).unwrap_or("");
            if rest.is_empty() {
                self.0 = "";
                return None;
            }
            let end = find_outside_quotes(rest.as_bytes(), b';').unwrap_or(rest.len());
            let (one, behind) = rest.split_at(end);
            self.0 = behind;
            let (name, value) = match find(one.as_bytes(), b'=') {
                Some(at) => (trim(&one[..at]), Some(trim(&one[at + 1..]))),
                None => (trim(one), None),
            };
            if !name.is_empty() {
                return Some((name, value));
            }
        }
    }
}

impl<'a> IntoIterator for Params<'a> {
    type Item = (&'a str, Option<&'a str>);
    type IntoIter = ParamIter<'a>;

    fn into_iter(self) -> ParamIter<'a> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_flags_and_quotes() {
        let params = Params::parse(r#" ; tag = abc ;lr; q="a;\"b";+sip.instance="<urn:uuid:1>" "#).unwrap();
        assert_eq!(params.get("TAG"), Some("abc"));
        assert_eq!(params.get("lr"), Some(""));
        assert_eq!(params.get_unquoted("q").as_deref(), Some(r#"a;"b"#));
        assert_eq!(params.get("+sip.instance"), Some(r#""<urn:uuid:1>""#));
        assert_eq!(params.iter().count(), 4);
        assert!(!params.has("x"));
    }

    #[test]
    fn malformed_parameters_are_refused() {
        for bad in ["x", ";a=\"b", ";a b", ";a=b c", "; =x", ";a=,"] {
            assert!(Params::parse(bad).is_err(), "{bad}");
        }
        assert!(Params::parse("").unwrap().is_empty());
        assert!(Params::parse(";;").unwrap().is_empty());
    }
}
