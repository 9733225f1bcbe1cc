//! Quick looks into messages on the wire, without parsing them: the machines under test must not be their own judges.

/// The value of the first line of this header field.
pub(crate) fn header<'a>(bytes: &'a [u8], name: &str) -> Option<&'a str> {
    lines(bytes).skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// The lines of the head.
pub(crate) fn lines(bytes: &[u8]) -> impl Iterator<Item = &str> {
    bytes
        .split(|byte| *byte == b'\n')
        .map(|line| std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)).unwrap_or(""))
        .take_while(|line| !line.is_empty())
}

/// A parameter of a header value.
pub(crate) fn parameter<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(';').skip(1).find_map(|part| {
        let (found, value) = part.split_once('=')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.split([',', '>']).next().unwrap_or("").trim())
    })
}

/// The code of a response.
pub(crate) fn status(bytes: &[u8]) -> Option<u16> {
    std::str::from_utf8(bytes.strip_prefix(b"SIP/2.0 ")?.get(..3)?).ok()?.parse().ok()
}

/// Whether it is keep-alive and no message.
pub(crate) fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// Whether it carries any of these texts, written as our machines write them: in lower case.
pub(crate) fn carries(bytes: &[u8], texts: &[&str]) -> bool {
    texts.iter().any(|text| memchr::memmem::find(bytes, text.as_bytes()).is_some())
}
