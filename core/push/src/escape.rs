//! The characters of a URI parameter's value (RFC 3261 §25.1, `pvalue`).

use std::borrow::Cow;

/// `param-unreserved` and `unreserved`; everything else is written as `%HH`.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"[]/:&+$-_.!~*'()".contains(&byte)
}

/// Writes a text as the value of a URI parameter.
pub fn escape_value(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut escaped = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if is_plain(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push(char::from(HEX[usize::from(byte >> 4)]));
            escaped.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    Cow::Owned(escaped)
}

/// Reads the value of a URI parameter. `None`: a broken escape, or one that hides a control character (S8), or bytes
/// that are not UTF-8.
pub fn unescape_value(value: &str) -> Option<Cow<'_, str>> {
    let hidden = |byte: u8| byte < b' ' || byte == 0x7f;
    if !value.contains('%') {
        return (!value.bytes().any(hidden)).then_some(Cow::Borrowed(value));
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            u8::try_from(high * 16 + low).ok()?
        } else {
            byte
        };
        if hidden(byte) {
            return None;
        }
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_web_push_address_is_escaped_and_an_fcm_token_is_not() {
        assert_eq!(
            escape_value("https://push.example.net/w/v2/gAB?k=1"),
            "https://push.example.net/w/v2/gAB%3Fk%3D1"
        );
        assert!(matches!(escape_value("dK2_x:APA91b-Example&"), Cow::Borrowed(_)));
        assert_eq!(escape_value("a;b@c,d#e f%"), "a%3Bb%40c%2Cd%23e%20f%25");
    }

    #[test]
    fn what_is_written_reads_back() {
        for text in ["", "plain", "a?b=c;d%e", "æøå €", "[::1]"] {
            assert_eq!(unescape_value(&escape_value(text)).as_deref(), Some(text));
        }
    }

    #[test]
    fn s8_hidden_line_ends_are_refused() {
        for bad in ["a%0d%0aRoute:", "a%0A", "%00", "a\r\nb", "%7f", "%", "%4", "%zz", "%ff", "%+1"] {
            assert_eq!(unescape_value(bad), None, "{bad:?}");
        }
    }
}
