//! Links: `wp_name=value` in the query of an address (B-041 to B-043).

use crate::source::Source;
use crate::store::Settings;

/// Longest link that is read.
const MAX_LINK: usize = 64 * 1024;

impl Settings {
    /// Reads the parameters of a link, of a page's query, or of cookies: names that start with `wp_`, percent-encoded
    /// singly or as a whole (B-041). `text` may be a whole address or its query.
    pub fn read_link(&mut self, text: &str) {
        if text.len() > MAX_LINK {
            return;
        }
        let query = text.split_once('?').map_or(text, |(_, query)| query);
        let query = query.split('#').next().unwrap_or("");
        // A query that was encoded as a whole has no separator left.
        let whole;
        let query = if query.contains('=') {
            query
        } else {
            whole = decoded(query);
            whole.trim_start_matches('?')
        };
        // Cookies are separated by semicolons, which within a query belong to a value.
        let is_query = text.contains(['?', '&', '%']) && !text.contains("; ");
        for pair in query.split(|c| c == '&' || (c == ';' && !is_query)) {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let name = decoded(name.trim());
            if let Some(start) = name.get(..3)
                && start.eq_ignore_ascii_case("wp_")
            {
                self.set(&name[3..], &decoded(value), Source::Link);
            }
        }
    }
}

/// Percent-decoding. A plus stays one, as in telephone numbers; a broken escape, or bytes that are no text, stay as
/// they are written.
fn decoded(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                rest = &behind[2..];
            }
            _ => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b041_single_values_are_decoded() {
        let mut settings = Settings::new();
        settings.read_link(
            "https://phone.example/softphone.html?x=1&wp_serveraddress=sip.example%3A5070&WP_username=mia\
             &wp_callto=+3612345&wp_displayname=Mia%20M%C3%BCller&password=no#wp_realm=no",
        );
        assert_eq!(settings.text("serveraddress"), Some("sip.example:5070"));
        assert_eq!(settings.text("username"), Some("mia"));
        assert_eq!(settings.text("callto"), Some("+3612345"));
        assert_eq!(settings.text("displayname"), Some("Mia Müller"));
        assert_eq!(settings.text("password"), None);
        assert_eq!(settings.text("realm"), None);
    }

    #[test]
    fn b041_a_query_encoded_as_a_whole_is_decoded() {
        let mut settings = Settings::new();
        settings.read_link("?wp_serveraddress%3Dsip.example%26wp_transport%3D2");
        assert_eq!(settings.text("serveraddress"), Some("sip.example"));
        assert_eq!(settings.number("transport"), Some(2));
    }

    #[test]
    fn b043_cookies_are_read_like_a_query() {
        let mut settings = Settings::new();
        settings.read_link("theme=dark; wp_realm=a.example; wp_loglevel=3");
        assert_eq!(settings.text("realm"), Some("a.example"));
        assert_eq!(settings.number("loglevel"), Some(3));
    }

    #[test]
    fn b061_a_link_beats_everything_but_an_assignment() {
        let mut settings = Settings::new();
        settings.read_link("wp_realm=link");
        settings.set("realm", "session", Source::Session);
        assert_eq!(settings.text("realm"), Some("link"));
        settings.set("realm", "assigned", Source::Assigned);
        assert_eq!(settings.text("realm"), Some("assigned"));
    }

    #[test]
    fn s8_a_link_cannot_carry_line_ends() {
        for payload in ["%0d%0aRoute:%20x", "%0a", "%00", "%0D", "\r\nX:y", "%E2%80%A8%0a", "%c2%85"] {
            for name in ["username", "displayname", "contact_parameters", "realm", "useragent"] {
                let mut settings = Settings::new();
                settings.read_link(&format!("wp_{name}=a{payload}b"));
                assert_eq!(settings.text(name), None, "{name} {payload}");
                assert_eq!(settings.diagnoses().len(), 1);
            }
        }
    }

    #[test]
    fn s13_hostile_links_are_bounded() {
        let mut settings = Settings::new();
        for text in ["%".repeat(60_000), "wp_=&".repeat(10_000), "?".repeat(60_000), "wp_a%".repeat(10_000)] {
            settings.read_link(&text);
        }
        settings.read_link(&format!("wp_realm={}", "a".repeat(MAX_LINK)));
        assert_eq!(settings.text("realm"), None);
    }
}
