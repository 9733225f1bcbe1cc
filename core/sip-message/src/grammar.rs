//! Characters and small pieces of the grammar (RFC 3261 §25.1) that every reader here needs.

use std::borrow::Cow;

const TOKEN: u8 = 1;
const SPACE: u8 = 2;
/// Never in a URI: controls, white space, angle brackets, quotes.
const NO_URI: u8 = 4;
/// May stand in an unquoted parameter value: tokens, hosts, and the characters that real peers leave unquoted.
const VALUE: u8 = 8;
/// May stand in a host name. Underscores are no part of the grammar, but of many office networks' names.
const NAMED: u8 = 16;

static CLASS: [u8; 256] = {
    let mut class = [0u8; 256];
    let mut byte = 0usize;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric()
            || matches!(b, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
        {
            class[byte] |= TOKEN;
        }
        if b == b' ' || b == b'\t' || b == b'\r' || b == b'\n' {
            class[byte] |= SPACE;
        }
        if b <= b' ' || matches!(b, b'<' | b'>' | b'"' | 0x7f) {
            class[byte] |= NO_URI;
        }
        if b > b' ' && b != 0x7f && !matches!(b, b';' | b',' | b'"') {
            class[byte] |= VALUE;
        }
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_') {
            class[byte] |= NAMED;
        }
        byte += 1;
    }
    class
};

pub(crate) fn is_token_byte(byte: u8) -> bool {
    CLASS[usize::from(byte)] & TOKEN != 0
}

/// How many bytes at the start of `text` may stand in a token.
#[inline]
pub(crate) fn token_len(text: &[u8]) -> usize {
    text.iter().position(|byte| CLASS[usize::from(*byte)] & TOKEN == 0).unwrap_or(text.len())
}

/// How many bytes at the start of `text` may stand in an unquoted parameter value.
#[inline]
pub(crate) fn value_len(text: &[u8]) -> usize {
    text.iter().position(|byte| CLASS[usize::from(*byte)] & VALUE == 0).unwrap_or(text.len())
}

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The first place at which `wanted` stands. The values of a header are short: eight bytes at a time without a call
/// beat the vectorised search, whose way in costs more than such a text.
#[inline]
pub(crate) fn find(text: &[u8], wanted: u8) -> Option<usize> {
    let pattern = LOW * u64::from(wanted);
    let (mut at, mut rest) = (0, text);
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        let differs = u64::from_le_bytes(*chunk) ^ pattern;
        // The lowest of these bits is exact: borrows only travel upwards.
        let same = differs.wrapping_sub(LOW) & !differs & HIGH;
        if same != 0 {
            return Some(at + same.trailing_zeros() as usize / 8);
        }
        (at, rest) = (at + 8, behind);
    }
    rest.iter().position(|byte| *byte == wanted).map(|found| at + found)
}

/// The first place at which one of two bytes stands; see [`find`].
#[inline]
pub(crate) fn find2(text: &[u8], one: u8, two: u8) -> Option<usize> {
    let (first, second) = (LOW * u64::from(one), LOW * u64::from(two));
    let (mut at, mut rest) = (0, text);
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let (a, b) = (word ^ first, word ^ second);
        let same = (a.wrapping_sub(LOW) & !a | b.wrapping_sub(LOW) & !b) & HIGH;
        if same != 0 {
            return Some(at + same.trailing_zeros() as usize / 8);
        }
        (at, rest) = (at + 8, behind);
    }
    rest.iter().position(|byte| *byte == one || *byte == two).map(|found| at + found)
}

/// `token`, not empty.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// Any control character but the tab, or a character that some readers take for a line end.
pub(crate) fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && c != '\t' || matches!(c, '\u{2028}' | '\u{2029}'))
}

/// Whether no byte is one that never stands in a URI.
pub(crate) fn may_be_uri(text: &[u8]) -> bool {
    text.iter().fold(0, |seen, byte| seen | CLASS[usize::from(*byte)]) & NO_URI == 0
}

/// Whether every byte may stand in a host name.
pub(crate) fn may_be_name(text: &[u8]) -> bool {
    text.iter().fold(NAMED, |seen, byte| seen & CLASS[usize::from(*byte)]) & NAMED != 0
}

pub(crate) fn is_space(byte: u8) -> bool {
    CLASS[usize::from(byte)] & SPACE != 0
}

/// Without the white space at both ends; folds have become spaces long before.
pub(crate) fn trim(text: &str) -> &str {
    let bytes = text.as_bytes();
    let (mut from, mut to) = (0, bytes.len());
    while from < to && is_space(bytes[from]) {
        from += 1;
    }
    while to > from && is_space(bytes[to - 1]) {
        to -= 1;
    }
    // Both ends stand next to ASCII, so they are boundaries of characters.
    text.get(from..to).unwrap_or("")
}

/// Counts the bytes a reader looks at, so that a test can hold its work against the input's size (class S13).
#[cfg(test)]
pub(crate) mod work {
    use core::cell::Cell;

    thread_local!(static DONE: Cell<u64> = const { Cell::new(0) });

    pub(crate) fn done(bytes: usize) {
        DONE.set(DONE.get() + bytes as u64);
    }

    pub(crate) fn take() -> u64 {
        DONE.replace(0)
    }
}

#[cfg(not(test))]
pub(crate) mod work {
    #[inline(always)]
    pub(crate) fn done(_bytes: usize) {}
}

/// The place just behind the quoted string that opens at the start of `text`.
pub(crate) fn quoted_end(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'"') {
        return None;
    }
    let mut at = 1;
    loop {
        let rest = text.get(at..)?;
        let found = find2(rest, b'"', b'\\');
        work::done(found.unwrap_or(rest.len()) + 1);
        at += found?;
        match text.get(at) {
            Some(b'"') => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// The first place outside quoted strings at which `wanted` stands. An open quote ends the search without a find.
pub(crate) fn find_outside_quotes(text: &[u8], wanted: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        let found = find2(rest, wanted, b'"');
        work::done(found.unwrap_or(rest.len()) + 1);
        at += found?;
        if text[at] == wanted {
            return Some(at);
        }
        at += quoted_end(&text[at..])?;
    }
}

/// Takes a quoted string's quotes and backslashes away; other text stays as it is.
pub(crate) fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    work::done(inner.len());
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Writes text as a quoted string.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Resolves `%xx`; nothing if an escape is broken or the outcome is not UTF-8.
pub(crate) fn unescape(text: &str) -> Option<Cow<'_, str>> {
    work::done(text.len());
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == b'%' {
            let digits = behind.get(..2)?;
            out.push(hex(digits[0])? << 4 | hex(digits[1])?);
            rest = &behind[2..];
        } else {
            out.push(byte);
            rest = behind;
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Writes text with every byte outside `keep` and outside letters and digits as `%xx`.
pub(crate) fn escape(text: &str, keep: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    out
}

/// The text before and behind the first space or tab.
pub(crate) fn split_at_space(text: &str) -> Option<(&str, &str)> {
    let at = find2(text.as_bytes(), b' ', b'\t')?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Digits only, no sign, in range.
pub(crate) fn number<T: TryFrom<u64>>(text: &str) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    let mut sum = 0u64;
    for byte in text.bytes() {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    T::try_from(sum).ok()
}

/// Splits at commas that stand outside quoted strings and angle brackets (RFC 3261 §7.3.1).
#[derive(Clone, Debug)]
pub(crate) struct Commas<'a> {
    rest: Option<&'a str>,
}

impl<'a> Commas<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Commas { rest: Some(text) }
    }

    pub(crate) fn empty() -> Self {
        Commas { rest: None }
    }

    /// What is not split yet.
    pub(crate) fn rest(&self) -> Option<&'a str> {
        self.rest
    }
}

impl<'a> Iterator for Commas<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest?;
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(rest) = bytes.get(at..) {
            let found = memchr::memchr3(b',', b'"', b'<', rest);
            work::done(found.unwrap_or(rest.len()) + 1);
            let Some(found) = found else { break };
            at += found;
            match bytes[at] {
                b',' => {
                    self.rest = text.get(at + 1..);
                    return text.get(..at).map(trim);
                }
                // An open quote or bracket takes the rest: what follows is malformed, and says so where it is read.
                b'"' => at += quoted_end(&bytes[at..]).unwrap_or(bytes.len()),
                _ => {
                    let close = memchr::memchr(b'>', &bytes[at..]).unwrap_or(bytes.len());
                    work::done(close);
                    at += close;
                }
            }
        }
        self.rest = None;
        Some(trim(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        let values: Vec<_> = Commas::of(r#""a, \", b" <sip:x,y@z>;q=1 , <sip:w>"#).collect();
        assert_eq!(values, [r#""a, \", b" <sip:x,y@z>;q=1"#, "<sip:w>"]);
    }

    #[test]
    fn quotes_come_off_and_go_on() {
        assert_eq!(unquote(r#""a\"b\\c""#), r#"a"b\c"#);
        assert_eq!(quote(r#"a"b\c"#), r#""a\"b\\c""#);
        assert_eq!(unquote("plain"), "plain");
        assert_eq!(quoted_end(br#""a\"b"c"#), Some(6));
        assert_eq!(quoted_end(br#""a\"#), None);
    }

    #[test]
    fn a_byte_is_found_at_every_place_and_its_neighbours_are_not_taken_for_it() {
        for len in 0..40 {
            for place in 0..len {
                // One more and one less, and the high bit, are what a search by subtraction could confuse.
                for other in [b':' + 1, b':' - 1, b':' | 0x80, 0, 0xff] {
                    let mut text = vec![other; len];
                    assert_eq!(
                        (find(&text, b':'), find2(&text, b':', b';')),
                        (None, (other == b';').then_some(0))
                    );
                    text[place] = b':';
                    assert_eq!(find(&text, b':'), Some(place));
                    assert_eq!(find2(&text, b'@', b':'), Some(place));
                    assert_eq!(find2(&text, b':', b'@'), Some(place));
                }
            }
        }
    }

    #[test]
    fn escapes_resolve_or_fail() {
        assert_eq!(unescape("a%20b").as_deref(), Some("a b"));
        assert_eq!(unescape("a%2"), None);
        assert_eq!(unescape("a%zz"), None);
        assert_eq!(unescape("%ff"), None);
        assert_eq!(escape("a b\u{e9}", b"-_"), "a%20b%C3%A9");
    }

    #[test]
    fn numbers_have_no_sign() {
        assert_eq!(number::<u32>("42"), Some(42));
        for bad in ["", "+5", "-1", "0x10", " 1", "4294967296"] {
            assert_eq!(number::<u32>(bad), None, "{bad}");
        }
    }
}
