//! Lists of parameters and header fields that a person adds to what is sent; strict, because they go out as they are
//! (bug class S8).

/// RFC 3261 §25.1, `token`.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte))
}

/// `;a=1;b` as names and values. `None` when one of them cannot stand in a SIP header field.
pub(crate) fn parameters(text: &str) -> Option<Vec<(String, Option<String>)>> {
    text.split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (part, None),
            };
            let fits = |value: &str| {
                value
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>' | b',' | b'"'))
                    || (value.len() >= 2
                        && value.starts_with('"')
                        && value.ends_with('"')
                        && !value[1..value.len() - 1].contains(['"', '\\'])
                        && !value.chars().any(char::is_control))
            };
            (is_token(name) && value.is_none_or(fits)).then(|| (name.to_owned(), value.map(str::to_owned)))
        })
        .collect()
}

/// `name:value` lines, separated by line ends, or else by semicolons. `None` when one is no header field, or one that
/// the machines themselves write.
pub(crate) fn header_fields(text: &str) -> Option<Vec<(String, String)>> {
    const OURS: [&str; 22] = [
        "via",
        "v",
        "from",
        "f",
        "to",
        "t",
        "call-id",
        "i",
        "cseq",
        "contact",
        "m",
        "max-forwards",
        "route",
        "record-route",
        "content-length",
        "l",
        "content-type",
        "c",
        "authorization",
        "proxy-authorization",
        "require",
        "rack",
    ];
    let lines = text.contains(['\r', '\n']);
    text.split(|c| if lines { matches!(c, '\r' | '\n') } else { c == ';' })
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (name, value) = line.split_once(':')?;
            let (name, value) = (name.trim(), value.trim());
            let fits = is_token(name)
                && !OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name))
                && !value.chars().any(|c| c.is_control() && c != '\t');
            fits.then(|| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b086_parameters_are_read_as_written() {
        assert_eq!(
            parameters(";a=1; b ;c=\"x y\";pn-prid=d:A%3D"),
            Some(vec![
                ("a".to_owned(), Some("1".to_owned())),
                ("b".to_owned(), None),
                ("c".to_owned(), Some("\"x y\"".to_owned())),
                ("pn-prid".to_owned(), Some("d:A%3D".to_owned())),
            ])
        );
        assert_eq!(parameters(""), Some(Vec::new()));
    }

    #[test]
    fn b087_header_fields_are_separated_by_semicolons_or_lines() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            header_fields("X-A: 1;X-B:two words"),
            Some(vec![pair("X-A", "1"), pair("X-B", "two words")])
        );
        assert_eq!(header_fields("X-A: 1;2\r\nX-B: 3\r\n"), Some(vec![pair("X-A", "1;2"), pair("X-B", "3")]));
    }

    #[test]
    fn s8_nothing_breaks_out_of_its_place() {
        for bad in ["a=b>", "a=<b", "a=\"b", "a b=1", "=1", "a=b c", "a=\"x\"\"", "a=b,c", "a=\u{1}"] {
            assert_eq!(parameters(bad), None, "{bad}");
        }
        for bad in
            ["X-A", ": x", "X A: 1", "Route: <sip:evil>", "via: x", "L: 0", "X-A: \u{0}", "Content-Length:0"]
        {
            assert_eq!(header_fields(bad), None, "{bad}");
        }
        // A line end begins a field of its own, and that one is looked at too.
        assert_eq!(header_fields("X-A: 1\r\nRoute: <sip:evil>"), None);
    }
}
