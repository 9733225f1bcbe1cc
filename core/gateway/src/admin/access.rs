//! Who may ask: a browser or program on this machine, or who holds the token.
//!
//! On loopback without a token, what can go wrong is another website in the operator's browser (class S21): the `Host`
//! must be this machine's own name (DNS rebinding), and a foreign `Origin` or `Sec-Fetch-Site` is refused. Nothing is
//! changed by a GET, and no cookie is ever set, so there is nothing to ride on when a token is used.

use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use ring::digest::{SHA256, digest};
use wakeline_secret::Secret;

/// Who may ask.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// Whoever is on this machine.
    ThisMachine,
    /// Who shows this token.
    Token(Secret),
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// 401: without the token, or with a wrong one.
    NoToken,
    /// 403: from a page that is not ours.
    Foreign,
}

impl Access {
    /// For who shows this token; without one, for whoever is on this machine.
    pub(crate) fn by(token: Option<Secret>) -> Access {
        token.map_or(Access::ThisMachine, Access::Token)
    }

    /// Looks at a request's header.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Refused> {
        match self {
            Access::Token(token) => {
                let shown =
                    text(headers, AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
                // Digests are compared, so that the time tells nothing about the token.
                let of = |text: &str| digest(&SHA256, text.as_bytes());
                match shown {
                    Some(shown) if of(shown).as_ref() == of(token.expose()).as_ref() => Ok(()),
                    Some(_) | None => Err(Refused::NoToken),
                }
            }
            Access::ThisMachine => {
                let host = text(headers, HOST.as_str()).unwrap_or("");
                let origin = text(headers, ORIGIN.as_str());
                let own = origin.is_none_or(|origin| origin == format!("http://{host}"));
                let site = text(headers, "sec-fetch-site");
                let near = site.is_none_or(|site| matches!(site, "same-origin" | "none"));
                if is_this_machine(host) && own && near { Ok(()) } else { Err(Refused::Foreign) }
            }
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("\u{fffd}"))
}

/// Whether a `Host` is a name that only this machine has.
fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn s21_another_website_in_the_operators_browser_gets_nothing() {
        let access = Access::ThisMachine;
        for (lines, outcome) in [
            (&[("host", "localhost:5080")][..], Ok(())),
            (&[("host", "127.0.0.1")], Ok(())),
            (&[("host", "[::1]:5080"), ("origin", "http://[::1]:5080")], Ok(())),
            (&[("host", "localhost"), ("sec-fetch-site", "same-origin")], Ok(())),
            (&[], Err(Refused::Foreign)),
            (&[("host", "gateway.example:5080")], Err(Refused::Foreign)),
            (&[("host", "127.0.0.1.example:5080")], Err(Refused::Foreign)),
            (&[("host", "localhost:5080"), ("origin", "http://localhost:9999")], Err(Refused::Foreign)),
            (&[("host", "localhost:5080"), ("origin", "null")], Err(Refused::Foreign)),
            (&[("host", "localhost:5080"), ("sec-fetch-site", "cross-site")], Err(Refused::Foreign)),
        ] {
            assert_eq!(access.check(&headers(lines)), outcome, "{lines:?}");
        }
    }

    #[test]
    fn s16_only_the_whole_token_opens() {
        let access = Access::Token("correct horse battery".into());
        for (lines, outcome) in [
            (&[("authorization", "Bearer correct horse battery")][..], Ok(())),
            (&[("authorization", "Bearer correct horse batter")], Err(Refused::NoToken)),
            (&[("authorization", "Bearer ")], Err(Refused::NoToken)),
            (&[("authorization", "correct horse battery")], Err(Refused::NoToken)),
            (&[("host", "localhost")], Err(Refused::NoToken)),
        ] {
            assert_eq!(access.check(&headers(lines)), outcome, "{lines:?}");
        }
    }
}
