//! Settings in all their forms, and what is dialled with them.

use wakeline_call_route::{Dialling, RewriteRule, is_listed, is_number, normalized, same_peer};
use wakeline_settings::{Settings, Source};

/// Every reader on one text, then every group of what was read.
pub(crate) fn settings(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let readers: [fn(&mut Settings, &str); 6] = [
        |settings, text| drop(settings.read_file(text, Source::File)),
        |settings, text| drop(settings.read_json(text, Source::Stored)),
        |settings, text| drop(settings.read_script(text, Source::File)),
        |settings, text| settings.read_link(text),
        |settings, text| settings.read_list(text, ';', Source::Session),
        |settings, text| {
            let pairs = || text.lines().filter_map(|line| line.split_once('='));
            settings.read_environment(pairs());
            settings.read_flags(pairs());
        },
    ];
    for read in readers {
        let mut settings = Settings::new();
        read(&mut settings, &text);
        let _ = (settings.account(), settings.network(), settings.media(), settings.call());
        let _ = (settings.push(), settings.log(), settings.codecs());
        let shown = format!("{:?}", settings.diagnoses());
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "S7: {shown:?}");
        assert!(settings.diagnoses().len() <= text.len() + 1);
        if let Some(password) = settings.secret("password").filter(|password| password.expose().len() > 12) {
            let shown = format!("{settings:?}{:?}", settings.account());
            assert!(!shown.contains(password.expose()), "S23");
        }
        // What was read is read the same again, one by one.
        let mut again = Settings::new();
        for (name, source, value) in settings.iter() {
            again.set(name, value.expose(), source);
        }
        assert_eq!(again.iter().count(), settings.iter().count(), "a value does not survive");
        assert_eq!(format!("{:?}", again.call()), format!("{:?}", settings.call()));
    }
}

/// The first line is dialled, the others are rules, a prefix, a list and a switch.
pub(crate) fn call_route(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    let mut line = || lines.next().unwrap_or("");
    let (typed, rules, prefix, switch, list) = (line(), line(), line(), line(), line());
    let _ = (is_number(typed), normalized(typed), same_peer(typed, rules));
    let _ = is_listed(&list.split(',').collect::<Vec<_>>(), typed, "example.org");
    for rule in RewriteRule::read_all(rules) {
        let _ = rule.apply(typed);
    }
    let mut settings = Settings::new();
    let values = [
        ("serveraddress", "sip.example.org"),
        ("username", "100"),
        ("numpxrewrite", rules),
        ("techprefix", prefix),
        ("normalizenumber", switch),
    ];
    for (name, value) in values {
        settings.set(name, value, Source::File);
    }
    if let Ok(dialled) = Dialling::of(&settings).dial(typed) {
        let uri = wakeline_sip_message::Uri::parse(&dialled.uri).expect("a URI comes out");
        assert!(!dialled.uri.contains(|c: char| c.is_control() || c == ' '), "S8: {:?}", dialled.uri);
        assert!(uri.is_sip() || dialled.uri.starts_with("tel:"), "{}", dialled.uri);
    }
}
