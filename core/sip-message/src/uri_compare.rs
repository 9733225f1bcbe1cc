//! When two URIs are the same (RFC 3261 §19.1.4, RFC 3966 §4).

use std::borrow::Cow;

use crate::grammar::hex;
use crate::uri::{Scheme, Uri};

/// More parameters than any URI needs.
const PARAMS: usize = 64;

impl Uri<'_> {
    /// Whether both name the same resource (RFC 3261 §19.1.4; RFC 3966 §4 for `tel:`).
    pub fn equivalent(&self, other: &Uri<'_>) -> bool {
        let (one, two) = (self, other);
        if one.as_str() == two.as_str() {
            return true;
        }
        // Every parameter is looked up in the other URI: beyond a sane number only the same text is the same (class S13).
        if one.scheme() != two.scheme()
            || one.params().iter().count().max(two.params().iter().count()) > PARAMS
        {
            return false;
        }
        match one.scheme() {
            Scheme::Sip | Scheme::Sips => sip(one, two),
            Scheme::Tel => tel(one, two),
            Scheme::Other => one.as_str() == two.as_str(),
        }
    }
}

/// Escapes of characters that need none are resolved, the digits of the others are made upper case.
fn normal(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let digits = rest.as_bytes().get(at + 1..at + 3).and_then(|d| Some(hex(d[0])? << 4 | hex(d[1])?));
        match digits {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) => {
                out.push(char::from(byte))
            }
            Some(byte) => out.push_str(&format!("%{byte:02X}")),
            None => {
                out.push_str(&rest[at..]);
                return Cow::Owned(out);
            }
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn sip(one: &Uri<'_>, two: &Uri<'_>) -> bool {
    one.user().map(normal) == two.user().map(normal)
        && one.password().map(normal) == two.password().map(normal)
        && one.host() == two.host()
        && one.port() == two.port()
        && params_match(one, two)
        && params_match(two, one)
        && headers_match(one, two)
}

/// These count even where only one URI has them; any other counts only where both have it.
const ALWAYS: [&str; 5] = ["user", "ttl", "method", "maddr", "transport"];

fn params_match(one: &Uri<'_>, two: &Uri<'_>) -> bool {
    one.params().iter().all(|(name, value)| match two.param(name) {
        Some(other) => normal(value.unwrap_or("")).eq_ignore_ascii_case(&normal(other)),
        None => !ALWAYS.iter().any(|always| always.eq_ignore_ascii_case(name)),
    })
}

fn headers_match(one: &Uri<'_>, two: &Uri<'_>) -> bool {
    let sorted = |uri: &Uri<'_>| {
        let mut headers: Vec<_> = uri
            .headers()
            .map(|(name, value)| (normal(name).to_ascii_lowercase(), normal(value).into_owned()))
            .collect();
        headers.sort();
        headers
    };
    sorted(one) == sorted(two)
}

/// RFC 3966 §4: visual separators do not count, case does not, and parameters are a set.
fn tel(one: &Uri<'_>, two: &Uri<'_>) -> bool {
    let digits = |uri: &Uri<'_>| -> String {
        let number = uri.user().unwrap_or("");
        number.chars().filter(|c| !"-.()".contains(*c)).map(|c| c.to_ascii_lowercase()).collect()
    };
    let params = |uri: &Uri<'_>| {
        let mut params: Vec<_> = uri
            .params()
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.unwrap_or("").to_ascii_lowercase()))
            .collect();
        params.sort();
        params
    };
    digits(one) == digits(two) && params(one) == params(two)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, two: &str) -> bool {
        let (one, two) = (Uri::parse(one).unwrap(), Uri::parse(two).unwrap());
        assert_eq!(one.equivalent(&two), two.equivalent(&one));
        one.equivalent(&two)
    }

    /// The examples of RFC 3261 §19.1.4.
    #[test]
    fn examples_of_the_rfc() {
        assert!(same("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"));
        assert!(same("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"));
        assert!(same("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"));
        assert!(same(
            "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"
        ));
        assert!(same(
            "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            "sip:alice@atlanta.com?priority=urgent&subject=project%20x"
        ));
        assert!(!same("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"));
        assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"));
        assert!(!same("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"));
        assert!(!same("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"));
        assert!(!same("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"));
    }

    #[test]
    fn telephone_numbers_ignore_separators() {
        assert!(same("tel:+1-201-555-0123", "tel:+12015550123"));
        assert!(same("tel:7042;phone-context=Example.com", "tel:7042;phone-context=example.com"));
        assert!(!same("tel:7042;phone-context=example.com", "tel:7042;phone-context=example.org"));
        assert!(!same("tel:+12015550123", "sip:+12015550123@example.com"));
    }

    #[test]
    fn addresses_compare_by_value() {
        assert!(same("sip:a@[2001:db8::1]", "sip:a@[2001:0DB8:0:0:0:0:0:1]"));
    }
}
