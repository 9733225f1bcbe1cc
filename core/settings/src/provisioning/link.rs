//! Links of a provider, in the forms that reach a phone.

use wakeline_secret::Secret;

use super::address::HttpsAddress;
use super::code::read_code;
use super::error::ProvisionError;

/// Longest text that is looked at.
const LONGEST: usize = 4096;

/// A provider's server and a code that it exchanges once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The server.
    pub(super) provider: HttpsAddress,
    /// The code.
    pub(super) code: Secret,
}

impl Link {
    /// Reads what a person opened, scanned, pasted or typed:
    ///
    /// - `https://host/p/CODE`, and the page with its picture, `…/qr`;
    /// - `wakeline://host/p/CODE`, which only the app opens;
    /// - `intent://host/p/CODE#Intent;scheme=https;…;end`, as Android hands it on;
    /// - `https://…#prov=CODE`, the web phone's;
    /// - `prov=CODE`, an install referrer, and a code alone: these name no server, so it is `provider`'s.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str, provider: Option<&HttpsAddress>) -> Result<Link, ProvisionError> {
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(ProvisionError::NoLink);
        }
        let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        let behind = text.split_once("://").map_or("", |(_, behind)| behind);
        match scheme.as_deref() {
            Some("https") => Link::of_address(text, provider),
            Some("wakeline") => Link::of_address(&format!("https://{behind}"), provider),
            Some("intent") => {
                let (address, intent) = behind.split_once('#').ok_or(ProvisionError::NoLink)?;
                if !intent.split(';').any(|part| part == "scheme=https") {
                    return Err(ProvisionError::NotHttps);
                }
                Link::of_address(&format!("https://{address}"), provider)
            }
            Some("http") => Err(ProvisionError::NotHttps),
            Some(_) => Err(ProvisionError::NoLink),
            None => {
                let code = match code_named(text) {
                    Some(code) => Some(code),
                    None => read_code(text),
                };
                let code = Secret::new(code.ok_or(ProvisionError::NoLink)?);
                let provider = provider.cloned().ok_or(ProvisionError::NoProvider)?;
                Ok(Link { provider, code })
            }
        }
    }

    fn of_address(text: &str, provider: Option<&HttpsAddress>) -> Result<Link, ProvisionError> {
        let address = HttpsAddress::parse(text).ok_or(ProvisionError::BadAddress)?;
        if let Some(code) = text.split_once('#').and_then(|(_, fragment)| code_named(fragment)) {
            let provider = provider.cloned().unwrap_or_else(|| address.at("/"));
            return Ok(Link { provider, code: Secret::new(code) });
        }
        let path = address.target().split('?').next().unwrap_or("");
        let path = path.trim_end_matches('/');
        let code = path.strip_suffix("/qr").unwrap_or(path).strip_prefix("/p/").and_then(read_code);
        Ok(Link { provider: address.at("/"), code: Secret::new(code.ok_or(ProvisionError::NoCode)?) })
    }

    /// The provider's server, for a person.
    pub fn host(&self) -> String {
        self.provider.authority()
    }
}

/// The value of `prov` in a query; the whole query may be escaped once more, as stores pass a referrer on.
fn code_named(query: &str) -> Option<String> {
    let query = query.replace("%3D", "=").replace("%3d", "=").replace("%26", "&");
    query.split('&').find_map(|pair| pair.strip_prefix("prov=")).and_then(read_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "7777777777AAAAAAAAAA0Z1111";

    #[test]
    fn every_form_that_a_gateway_makes_is_read() {
        let home = HttpsAddress::parse("https://voice.example.org").unwrap();
        let fallback = "S.browser_fallback_url=https%3A%2F%2Fplay.google.com%2F";
        let typed = "77777-77777-aaaaa-aaaaa-oziil-l";
        for text in [
            format!("https://voice.example.org/p/{CODE}"),
            format!(" HTTPS://Voice.Example.Org:443/p/{CODE}/qr?utm=1\n"),
            format!("wakeline://voice.example.org/p/{CODE}"),
            format!(
                "intent://voice.example.org/p/{CODE}#Intent;scheme=https;package=org.example.voice;{fallback};end"
            ),
            format!("https://voice.example.org/web?x=1#prov={CODE}"),
            format!("prov={CODE}"),
            format!("utm_source=x&prov%3D{CODE}"),
            typed.to_owned(),
        ] {
            let link = Link::parse(&text, Some(&home)).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((link.host().as_str(), link.code.expose()), ("voice.example.org", CODE), "{text}");
            assert!(!format!("{link:?}").contains(CODE), "S23");
        }
        let odd = Link::parse(&format!("https://[2001:db8::1]:8443/p/{CODE}"), None).unwrap();
        assert_eq!(odd.host(), "[2001:db8::1]:8443");
        assert_eq!(Link::parse(typed, None), Err(ProvisionError::NoProvider));
    }

    #[test]
    fn s13_hostile_links_are_refused_with_their_cause() {
        let long = "A".repeat(100_000);
        for (text, error) in [
            (String::new(), ProvisionError::NoLink),
            (long.clone(), ProvisionError::NoLink),
            (format!("https://a.example/p/{long}"), ProvisionError::NoLink),
            (format!("http://a.example/p/{CODE}"), ProvisionError::NotHttps),
            (format!("intent://a.example/p/{CODE}#Intent;scheme=http;end"), ProvisionError::NotHttps),
            (format!("intent://a.example/p/{CODE}"), ProvisionError::NoLink),
            (format!("javascript://a.example/p/{CODE}"), ProvisionError::NoLink),
            (format!("file:///p/{CODE}"), ProvisionError::NoLink),
            (format!("https://bank.example@evil.example/p/{CODE}"), ProvisionError::BadAddress),
            (format!("wakeline://u:p@evil.example/p/{CODE}"), ProvisionError::BadAddress),
            (format!("https://a.example/p/{CODE}\u{202e}"), ProvisionError::BadAddress),
            (format!("https://a.example/x/p/{CODE}"), ProvisionError::NoCode),
            (format!("https://a.example/p/../{CODE}"), ProvisionError::NoCode),
            (format!("https://a.example/p/{CODE}X"), ProvisionError::NoCode),
            ("https://a.example/p/<script>".to_owned(), ProvisionError::NoCode),
            ("https://a.example/#prov=short".to_owned(), ProvisionError::NoCode),
        ] {
            assert_eq!(Link::parse(&text, None).unwrap_err(), error, "{text:.80}");
        }
    }
}
