//! The pages behind a link: for the phone that opened it, and for the screen that shows it as a QR code.
//!
//! Neither looks the code up: they are the same for a good code and a wrong one, so that a page tells a guesser nothing,
//! and a program that only previews links uses none up.

use std::fmt::Write as _;

use qrcode::render::svg;
use qrcode::{EcLevel, QrCode};

use super::code::Code;
use crate::config::Provision;

pub(super) const STYLE: &str = "\
:root{color-scheme:light dark}body{font:17px/1.5 system-ui,sans-serif;margin:0 auto;max-width:30rem;padding:1rem;text-align:center}
h1{font-size:1.3rem}a.go{display:block;margin:.8rem 0;padding:.9rem;border-radius:.6rem;border:1px solid #8888;text-decoration:none;color:inherit}
a.first{background:#1a5fb4;color:#fff;border-color:#1a5fb4;font-weight:600}
svg{width:min(80vw,20rem);height:auto;background:#fff;border-radius:.5rem}code{font-size:1.05rem;overflow-wrap:anywhere;user-select:all}
p.small{font-size:.9rem;opacity:.8}
";

/// What opened the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Visitor {
    Android,
    Apple,
    Other,
}

impl Visitor {
    /// By what the browser says of itself.
    pub(super) fn of(agent: &str) -> Visitor {
        if agent.contains("Android") {
            Visitor::Android
        } else if ["iPhone", "iPad", "iPod"].iter().any(|name| agent.contains(name)) {
            Visitor::Apple
        } else {
            Visitor::Other
        }
    }
}

/// The link for a code.
pub(super) fn link(provision: &Provision, code: &Code) -> String {
    format!("{}/p/{}", provision.base(), code.text())
}

/// The page for whoever opened the link in a browser: the app is not installed, or did not take it.
pub(super) fn landing(provision: &Provision, code: &Code, visitor: Visitor) -> String {
    let android = android(provision, code);
    let apple = Some(provision.ios.store.clone()).filter(|store| !store.is_empty());
    // The fragment stays in the browser: no server's log has the code.
    let web = Some(provision.web_phone.as_str()).filter(|web| !web.is_empty());
    let web = web.map(|web| format!("{web}#prov={}", code.text()));
    let android = android.map(|address| ("Open or install the app for Android", address));
    let apple = apple.map(|address| ("Install the app for iPhone and iPad", address));
    let web = web.map(|address| ("Use the phone in this browser", address));
    let buttons = match visitor {
        Visitor::Android => [android, web, None],
        Visitor::Apple => [apple, web, None],
        Visitor::Other => [web, android, apple],
    };
    let mut head = String::new();
    // Safari's banner opens the app with this link where it is installed.
    if let (Visitor::Apple, Some(number)) = (visitor, store_number(&provision.ios.store)) {
        let argument = escaped(&link(provision, code));
        let _ = write!(
            head,
            "<meta name=\"apple-itunes-app\" content=\"app-id={number}, app-argument={argument}\">"
        );
    }
    let mut body = String::new();
    for (at, (text, address)) in buttons.into_iter().flatten().enumerate() {
        let class = if at == 0 { "go first" } else { "go" };
        let _ =
            write!(body, "<a class=\"{class}\" rel=\"noreferrer\" href=\"{}\">{text}</a>", escaped(&address));
    }
    if visitor == Visitor::Other {
        let _ = write!(body, "<p>On a phone: scan this.</p>{}", picture(&link(provision, code)));
    }
    let _ = write!(
        body,
        "<p>If the app asks for a code after it was installed, open this page again or enter</p><p><code>{}</code></p>\
         <p class=\"small\">It works once, for one phone. Keep it to yourself.</p>",
        grouped(code)
    );
    page(provision, &head, &body)
}

/// The page that shows the link as a QR code.
pub(super) fn qr(provision: &Provision, code: &Code) -> String {
    let link = link(provision, code);
    let body = format!(
        "<p>Scan this with the phone's camera.</p>{}<p>Or open <code>{}</code></p>\
         <p class=\"small\">It works once, for one phone. Who sees it can use it.</p>",
        picture(&link),
        escaped(&link)
    );
    page(provision, "", &body)
}

/// The link as an SVG picture; nothing when it is too long for one.
pub(super) fn picture(link: &str) -> String {
    let Ok(code) = QrCode::with_error_correction_level(link, EcLevel::M) else { return String::new() };
    let svg = code.render::<svg::Color<'_>>().min_dimensions(240, 240).build();
    // Within a page the XML declaration has no place.
    svg.find("<svg").and_then(|at| svg.get(at..)).unwrap_or("").to_owned()
}

/// An address that opens the app where it is installed, and the store with the code as install referrer where not.
fn android(provision: &Provision, code: &Code) -> Option<String> {
    let android = &provision.android;
    if android.package.is_empty() {
        return None;
    }
    let store = match android.store.as_str() {
        "" => format!("https://play.google.com/store/apps/details?id={}", android.package),
        store => store.to_owned(),
    };
    let join = if store.contains('?') { '&' } else { '?' };
    // The referrer is a query of its own, so it is escaped within the store's.
    let store = format!("{store}{join}referrer=prov%3D{}", code.text());
    Some(format!(
        "intent://{}/p/{}#Intent;scheme=https;package={};S.browser_fallback_url={};end",
        provision.host(),
        code.text(),
        android.package,
        percent(&store)
    ))
}

fn store_number(store: &str) -> Option<&str> {
    let digits = store.rsplit_once("/id")?.1;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end).filter(|digits| !digits.is_empty())
}

fn page(provision: &Provision, head: &str, body: &str) -> String {
    let name = match provision.name.as_str() {
        "" => provision.host(),
        name => name,
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\"><meta name=\"robots\" content=\"noindex\"><title>{name}</title>{head}<link rel=\"icon\" href=\"data:,\">\
         <link rel=\"stylesheet\" href=\"/provision.css\"></head><body><h1>Your phone at {name}</h1>{body}</body></html>",
        name = escaped(name)
    )
}

/// In groups of at most five, for reading aloud.
fn grouped(code: &Code) -> String {
    let mut text = String::new();
    for (at, letter) in code.text().chars().enumerate() {
        if at > 0 && at % 5 == 0 {
            text.push('-');
        }
        text.push(letter);
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn percent(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provision() -> Provision {
        toml::from_str(
            "public_url = \"https://v.example/\"\nname = \"<Acme> & \\\"Co\\\"\"\nweb_phone = \"https://v.example/web?x=1\"\n\
             [android]\npackage = \"org.example.voice\"\n[ios]\nstore = \"https://apps.apple.com/app/id123456789?mt=8\"",
        )
        .unwrap()
    }

    #[test]
    fn each_visitor_is_led_where_it_can_go() {
        let code = Code::read(&"7".repeat(26)).unwrap();
        let text = |agent: &str| landing(&provision(), &code, Visitor::of(agent));
        let android = text("Mozilla/5.0 (Linux; Android 16; Pixel 9)");
        let sevens = "7".repeat(26);
        let store = format!("id%3Dorg.example.voice%26referrer%3Dprov%253D{sevens}");
        assert!(android.contains(&format!(
            "intent://v.example/p/{sevens}#Intent;scheme=https;package=org.example.voice"
        )));
        assert!(android.contains(&store) && !android.contains("apps.apple.com"), "{android}");
        let apple = text("Mozilla/5.0 (iPhone; CPU iPhone OS 26_0 like Mac OS X)");
        assert!(
            apple.contains(&format!("app-id=123456789, app-argument=https://v.example/p/{sevens}")),
            "{apple}"
        );
        assert!(
            apple.contains("href=\"https://apps.apple.com/app/id123456789?mt=8\"")
                && !apple.contains("intent:")
        );
        let desk = text("Mozilla/5.0 (X11; Linux x86_64)");
        let web = desk.find(&format!("https://v.example/web?x=1#prov={sevens}")).unwrap();
        assert!(web < desk.find("intent://").unwrap() && desk.contains("<svg"), "{desk}");
        for page in [android, apple, desk, qr(&provision(), &code)] {
            assert!(page.contains("&lt;Acme&gt; &amp; &quot;Co&quot;") && !page.contains("<Acme>"), "{page}");
        }
    }

    #[test]
    fn what_is_not_configured_is_not_offered() {
        let code = Code::read(&"7".repeat(26)).unwrap();
        let bare = Provision { public_url: "https://v.example".to_owned(), ..Provision::default() };
        for visitor in [Visitor::Android, Visitor::Apple, Visitor::Other] {
            let page = landing(&bare, &code, visitor);
            assert!(!page.contains("<a ") && page.contains("77777-77777-"), "{page}");
        }
    }
}
