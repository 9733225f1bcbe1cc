//! What of a message may stand in a log.

/// Replaces the value of every `pn-prid` (RFC 8599) by `…`.
pub(crate) fn line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = find(rest) {
        let value = at + rest[at..].find('=').map_or(0, |equals| equals + 1);
        out.push_str(&rest[..value]);
        out.push('…');
        let behind = &rest[value..];
        let end = behind.find([';', '>', '?', ' ', ',', '"', '\r', '\n', '&']).unwrap_or(behind.len());
        rest = &behind[end..];
    }
    out.push_str(rest);
    out
}

/// The place of the next secret parameter's name.
fn find(text: &str) -> Option<usize> {
    const NAME: &[u8] = b"pn-prid";
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'=', bytes)
        .filter_map(|equals| equals.checked_sub(NAME.len()))
        .find(|start| bytes[*start..*start + NAME.len()].eq_ignore_ascii_case(NAME))
}

#[cfg(test)]
mod tests {
    #[test]
    fn push_tokens_do_not_show() {
        let shown = super::line("<sip:a@b;pn-provider=fcm;PN-PRID=secret:token;ob>;x, <sip:c;pn-prid=other>");
        assert_eq!(shown, "<sip:a@b;pn-provider=fcm;PN-PRID=…;ob>;x, <sip:c;pn-prid=…>");
    }
}
