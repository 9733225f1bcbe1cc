//! The values in force, each with its source.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use wakeline_secret::Secret;

use crate::check;
use crate::diagnosis::{Diagnosis, Finding, one_line};
use crate::parameter::{Kind, Parameter, nearest, parameter};
use crate::sealed;
use crate::source::Source;

/// Longest value that is taken.
const MAX_VALUE: usize = 16 * 1024;
/// Remarks that are kept.
const MAX_DIAGNOSES: usize = 128;

/// What a source says of a parameter.
#[derive(Clone, PartialEq, Eq)]
enum Value {
    /// This.
    Text(Secret),
    /// Nothing: `NULL`, or an empty value (B-049, B-050).
    Cleared,
    /// The default: `DEF` (B-049).
    Default,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    value: Value,
    source: Source,
    rank: u8,
    by_alias: bool,
}

/// The parameters of one phone, or of one account of it.
#[derive(Clone, Default)]
pub struct Settings {
    entries: BTreeMap<&'static str, Entry>,
    diagnoses: Vec<Diagnosis>,
    /// Names that have been said not to be honoured.
    remarked: BTreeSet<&'static str>,
    key: Option<Secret>,
}

impl Settings {
    /// No parameters: every one has its default.
    pub fn new() -> Settings {
        Settings::default()
    }

    /// Sets the key under which values starting with `encrypted__3__` are scrambled (B-056). It must be set before
    /// they are read.
    pub fn set_deployment_key(&mut self, key: Secret) {
        self.key = Some(key);
    }

    /// Sets one parameter by its name or another name of it. A stronger source's value stays (B-061); among values of
    /// one source the last one counts, and the newer name beats the older (B-312). What cannot be used is told by
    /// [`Settings::diagnoses`]. Returns whether the value is in force now.
    pub fn set(&mut self, name: &str, value: &str, source: Source) -> bool {
        let (plain, gives_way) = match name.get(..5) {
            Some(prefix) if prefix.eq_ignore_ascii_case("ucfg_") => (&name[5..], source == Source::File),
            Some(_) | None => (name, false),
        };
        let Some(known) = parameter(plain) else {
            // The search for a near name is for people; a flood of names (S14) is not searched for.
            if self.diagnoses.len() < MAX_DIAGNOSES {
                self.remark(name, source, Finding::Unknown { nearest: nearest(plain) });
            }
            return false;
        };
        let by_alias = !known.name.eq_ignore_ascii_case(plain);
        let rank = source.rank(gives_way);
        if let Some(held) = self.entries.get(known.name)
            && (held.rank > rank || (held.rank == rank && by_alias && !held.by_alias))
        {
            return false;
        }
        let value = match self.accept(&known, plain, value, source) {
            Ok((value, advice)) => {
                if let Some(advice) = advice {
                    self.remark(name, source, advice);
                }
                value
            }
            Err(finding) => {
                self.remark(name, source, finding);
                return false;
            }
        };
        if !known.is_honoured() && !known.is_legacy() && self.remarked.insert(known.name) {
            self.remark(name, source, Finding::NotHonoured);
        }
        if known.name == "extraoption"
            && let Value::Text(list) = &value
        {
            // B-047: a list of further parameters, as strong as itself. It cannot hold a list of its own.
            let list = list.clone();
            for (name, value) in crate::pairs::pairs(list.expose(), ';') {
                if parameter(name).is_none_or(|inner| inner.name != "extraoption") {
                    self.set(name, value, source);
                }
            }
        }
        self.entries.insert(known.name, Entry { value, source, rank, by_alias });
        true
    }

    /// Forgets every value of one source.
    pub fn forget(&mut self, source: Source) {
        self.entries.retain(|_, entry| entry.source != source);
    }

    /// What was wrong with what has been set so far.
    pub fn diagnoses(&self) -> &[Diagnosis] {
        &self.diagnoses
    }

    /// Takes the remarks out, so that each is told once.
    pub fn take_diagnoses(&mut self) -> Vec<Diagnosis> {
        core::mem::take(&mut self.diagnoses)
    }

    /// The value in force: what was set, or the default; `None` when there is neither, or it was cleared.
    pub fn text(&self, name: &str) -> Option<&str> {
        let (name, default) = match self.entries.get_key_value(name) {
            Some((_, Entry { value: Value::Text(text), .. })) => return Some(text.expose()),
            Some((_, Entry { value: Value::Cleared, .. })) => return None,
            Some((name, Entry { value: Value::Default, .. })) => (*name, parameter(name)?.default),
            None => {
                let known = parameter(name)?;
                if known.name != name {
                    return self.text(known.name);
                }
                (known.name, known.default)
            }
        };
        debug_assert!(!name.is_empty());
        (!default.is_empty()).then_some(default)
    }

    /// As [`Settings::text`], for a secret.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::from)
    }

    /// The value in force of a number or a switch; a cleared one has its default.
    pub fn number(&self, name: &str) -> Option<i64> {
        let own = self.text(name).and_then(number);
        own.or_else(|| number(parameter(name)?.default))
    }

    /// The value in force of a switch; `otherwise` when there is none and no default.
    pub fn switch(&self, name: &str, otherwise: bool) -> bool {
        self.number(name).map_or(otherwise, |number| number != 0)
    }

    /// Where the value in force came from; `None` for a default.
    pub fn source(&self, name: &str) -> Option<Source> {
        self.entries.get(parameter(name)?.name).map(|entry| entry.source)
    }

    /// Whether a value was given, or cleared.
    pub fn is_set(&self, name: &str) -> bool {
        self.source(name).is_some()
    }

    /// Every value that was given, by name; secrets too.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Source, Secret)> {
        self.entries.iter().map(|(name, entry)| {
            let value = match &entry.value {
                Value::Text(text) => text.clone(),
                Value::Cleared => "NULL".into(),
                Value::Default => "DEF".into(),
            };
            (*name, entry.source, value)
        })
    }

    pub(crate) fn remark(&mut self, name: &str, source: Source, finding: Finding) {
        if self.diagnoses.len() < MAX_DIAGNOSES {
            self.diagnoses.push(Diagnosis::new(name, source, finding));
        }
    }

    /// The value as it is kept, or why it cannot be.
    fn accept(
        &self,
        known: &Parameter,
        given_name: &str,
        given: &str,
        source: Source,
    ) -> Result<(Value, Option<Finding>), Finding> {
        let mut advice = None;
        let bad = |cause: &str, cure: &str| {
            Err(Finding::BadValue { cause: cause.to_owned(), cure: cure.to_owned() })
        };
        if source == Source::Server && known.is_local() {
            return bad("it is the device's own, and no server sets it", "set it on the device");
        }
        if given.len() > MAX_VALUE {
            return bad("the value is too long", "it may have 16,384 bytes");
        }
        let unsealed;
        let given = match given.trim_start().strip_prefix(sealed::PREFIX) {
            Some(rest) => match sealed::unseal(rest, self.key.as_ref()) {
                Some(plain) => {
                    unsealed = plain;
                    unsealed.expose()
                }
                None => return bad("the scrambled value cannot be read", "check the deployment key"),
            },
            None => given,
        };
        if given == "NULL" || given.is_empty() {
            return Ok((Value::Cleared, None));
        }
        if given == "DEF" {
            return Ok((Value::Default, None));
        }
        // S8: no value carries a line end into a header field. Where lines are allowed the reader of the value
        // takes them apart.
        let lines = known.may_have_lines();
        if given.chars().any(|c| c.is_control() && c != '\t' && !(lines && matches!(c, '\r' | '\n'))) {
            return bad("the value has a control character", "remove it");
        }
        let shown = |text: &str| if known.is_secret() { "(secret)".to_owned() } else { one_line(text) };
        let text = match known.kind {
            Kind::Text => given.to_owned(),
            Kind::Boolean | Kind::Number => {
                let Some(number) = number(given) else {
                    let cure =
                        if known.kind == Kind::Number { "use a whole number" } else { "use true or false" };
                    return bad(&format!("{} is not a value for it", shown(given)), cure);
                };
                old_scale(given_name, number).unwrap_or(number).to_string()
            }
        };
        if known.is_honoured()
            && let Err(limits) = known.allows(&text)
        {
            if !limits.advised {
                let cure = format!("use one of {}", limits.allowed);
                return bad(&format!("{} is not a value for it", shown(given)), &cure);
            }
            advice = Some(Finding::Advice { cause: format!("{} is advised", limits.allowed) });
        }
        if known.is_honoured() {
            match check::check(known.name, &text) {
                Some(bad @ (Finding::BadValue { .. } | Finding::Unknown { .. } | Finding::NotHonoured)) => {
                    return Err(bad);
                }
                Some(found @ Finding::Advice { .. }) => advice = Some(found),
                None => {}
            }
        }
        if source == Source::Link
            && matches!(known.name, "username" | "password")
            && !survives_encoding(&text)
        {
            // B-060: such characters get lost on the way through links.
            return bad(
                "the value has a character that does not survive in a link",
                "set it in a file, or use letters, digits and -_.!~*'()",
            );
        }
        Ok((Value::Text(Secret::new(text)), advice))
    }
}

/// A whole number; `true` and `false` count as 1 and 0 (B-037).
fn number(text: &str) -> Option<i64> {
    let text = text.trim();
    match text {
        _ if text.eq_ignore_ascii_case("true") => Some(1),
        _ if text.eq_ignore_ascii_case("false") => Some(0),
        _ => text.strip_prefix('+').unwrap_or(text).parse().ok(),
    }
}

/// The value in the new scale of one given under an old name that was a plain switch.
fn old_scale(name: &str, number: i64) -> Option<i64> {
    let is = |old: &str| name.eq_ignore_ascii_case(old);
    match number {
        1 if is("backgroundcalls") => Some(2),
        1 if is("haschat") => Some(-1),
        _ => None,
    }
}

/// Whether encoding a text for a link leaves it as it is (B-060).
fn survives_encoding(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte))
}

impl fmt::Debug for Settings {
    /// Names, sources and values; never a secret's value (B-059).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, source, value) in self.iter() {
            let secret = parameter(name).is_none_or(|known| known.is_secret());
            let shown = if secret { "(secret)".to_owned() } else { one_line(value.expose()) };
            map.entry(&name, &format_args!("{shown} [{source}]"));
        }
        map.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str, Source)]) -> Settings {
        let mut settings = Settings::new();
        for (name, value, source) in pairs {
            settings.set(name, value, *source);
        }
        settings
    }

    fn findings(settings: &Settings) -> Vec<String> {
        settings.diagnoses().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn b061_page_query_beats_config_file() {
        for order in [[0, 1], [1, 0]] {
            let both = [
                ("serveraddress", "file.example", Source::File),
                ("serveraddress", "link.example", Source::Link),
            ];
            let settings = with(&order.map(|at| both[at]));
            assert_eq!(settings.text("serveraddress"), Some("link.example"));
            assert_eq!(settings.source("serveraddress"), Some(Source::Link));
        }
    }

    #[test]
    fn b061_the_whole_order_whichever_comes_first() {
        let order = [
            Source::Stored,
            Source::File,
            Source::Environment,
            Source::Server,
            Source::Session,
            Source::Link,
            Source::Assigned,
        ];
        for (weak, weaker) in order.iter().enumerate() {
            for strong in &order[weak + 1..] {
                for pair in [[weaker, strong], [strong, weaker]] {
                    let mut settings = Settings::new();
                    for source in pair {
                        settings.set("realm", &format!("{source:?}"), *source);
                    }
                    assert_eq!(settings.text("realm"), Some(format!("{strong:?}").as_str()));
                }
            }
        }
    }

    #[test]
    fn b038_ucfg_lets_the_stored_value_win() {
        let settings = with(&[
            ("ucfg_displayname", "file", Source::File),
            ("displayname", "stored", Source::Stored),
            ("realm", "file", Source::File),
            ("realm", "stored", Source::Stored),
        ]);
        assert_eq!(settings.text("displayname"), Some("stored"));
        assert_eq!(settings.text("realm"), Some("file"));
        let alone = with(&[("ucfg_displayname", "file", Source::File)]);
        assert_eq!(alone.text("displayname"), Some("file"));
    }

    #[test]
    fn b039_an_assignment_is_not_overridden_by_setparameter() {
        let mut settings = with(&[("loglevel", "5", Source::Assigned)]);
        assert!(!settings.set("loglevel", "1", Source::Session));
        assert_eq!(settings.number("loglevel"), Some(5));
    }

    #[test]
    fn b037_values_are_converted_from_text() {
        let settings = with(&[
            ("register", "false", Source::File),
            ("autoaccept", "1", Source::File),
            ("rejectonbusy", "TRUE", Source::File),
            ("keepaliveival", " 30000 ", Source::File),
        ]);
        assert_eq!(settings.number("register"), Some(0));
        assert!(settings.switch("autoaccept", false) && settings.switch("rejectonbusy", false));
        assert_eq!(settings.number("keepaliveival"), Some(30000));
        assert!(settings.diagnoses().is_empty());
    }

    #[test]
    fn b049_null_clears_and_def_restores() {
        let mut settings =
            with(&[("techprefix", "99", Source::Stored), ("techprefix", "NULL", Source::File)]);
        assert_eq!(settings.text("techprefix"), None);
        settings.set("ringtimeout", "1000", Source::File);
        settings.set("ringtimeout", "DEF", Source::Session);
        assert_eq!(settings.number("ringtimeout"), Some(90000));
        settings.set("ringtimeout", "2000", Source::Session);
        settings.set("ringtimeout", "", Source::Session);
        assert_eq!(settings.number("ringtimeout"), Some(90000));
    }

    #[test]
    fn b050_null_means_no_proxy() {
        let settings =
            with(&[("proxyaddress", "p.example", Source::Stored), ("proxyaddress", "NULL", Source::File)]);
        assert_eq!(settings.text("proxyaddress"), None);
        assert!(settings.is_set("proxyaddress"));
    }

    #[test]
    fn b047_extraoption_holds_further_parameters() {
        let settings = with(&[(
            "extraoption",
            "realm=a.example; transport=2 ;extraoption=realm=b.example",
            Source::Server,
        )]);
        assert_eq!(settings.text("realm"), Some("a.example"));
        assert_eq!(settings.number("transport"), Some(2));
        assert_eq!(settings.source("transport"), Some(Source::Server));
    }

    #[test]
    fn b056_scrambled_values_are_decoded_or_reported_and_not_used() {
        let sealed = sealed::seal("s3cret pass", "deploy-key");
        let mut settings = Settings::new();
        settings.set("password", &sealed, Source::File);
        assert_eq!(settings.text("password"), None);
        settings.set_deployment_key("deploy-key".into());
        settings.set("password", &sealed, Source::File);
        assert_eq!(settings.text("password"), Some("s3cret pass"));
        settings.set("password", "encrypted__3__***", Source::File);
        assert_eq!(settings.text("password"), Some("s3cret pass"));
        assert_eq!(
            findings(&settings),
            vec!["password (the file): the scrambled value cannot be read; check the deployment key"; 2]
        );
    }

    #[test]
    fn b058_unknown_parameters_are_ignored_and_named_with_the_nearest() {
        let settings = with(&[("serveradress", "x", Source::File), ("qqqqqqqq", "x", Source::Link)]);
        assert_eq!(
            findings(&settings),
            [
                "serveradress (the file): no such parameter; did you mean serveraddress?",
                "qqqqqqqq (the link): no such parameter"
            ]
        );
    }

    #[test]
    fn b059_no_secret_is_shown() {
        let mut settings = Settings::new();
        for name in ["password", "md5", "turnpassword", "extraregisteraccounts", "contact_uri_parameters"] {
            settings.set(name, "canary-secret", Source::File);
            settings.set(name, "canary-secret\u{7}", Source::File);
        }
        settings.set("serveraddress", "sip.example", Source::File);
        let shown = format!("{settings:?} {:?} {:?}", settings.diagnoses(), findings(&settings));
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("sip.example"));
    }

    #[test]
    fn b060_names_that_do_not_survive_a_link_are_refused_there() {
        let mut settings = Settings::new();
        assert!(!settings.set("password", "p&ss", Source::Link));
        assert!(!settings.set("username", "mia@home", Source::Link));
        assert!(settings.set("username", "mia-1", Source::Link));
        assert!(settings.set("password", "p&ss", Source::File));
        assert_eq!(settings.diagnoses().len(), 2);
    }

    #[test]
    fn b312_the_new_name_beats_the_old_one_of_the_same_source() {
        for order in [[0, 1], [1, 0]] {
            let both = [("callreceiver", "1", Source::File), ("backgroundcalls", "1", Source::File)];
            let settings = with(&order.map(|at| both[at]));
            assert_eq!(settings.number("callreceiver"), Some(1));
        }
        let old = with(&[("backgroundcalls", "true", Source::File)]);
        assert_eq!(old.number("callreceiver"), Some(2));
    }

    #[test]
    fn b316_legacy_names_pass_without_a_word_and_others_are_named_once() {
        let mut settings = with(&[("enginepriority_java", "1", Source::File)]);
        assert!(settings.diagnoses().is_empty());
        settings.set("aec", "2", Source::File);
        settings.set("aec", "3", Source::File);
        assert_eq!(findings(&settings), ["aec (the file): known, but not honoured yet"]);
    }

    #[test]
    fn a_bad_value_is_named_with_cause_and_cure_and_changes_nothing() {
        let mut settings = with(&[("transport", "2", Source::File)]);
        assert!(!settings.set("transport", "9", Source::Session));
        assert!(!settings.set("transport", "tls", Source::Session));
        assert!(!settings.set("autoaccept", "maybe", Source::Session));
        assert_eq!(settings.number("transport"), Some(2));
        assert_eq!(
            findings(&settings),
            [
                "transport (this session): 9 is not a value for it; use one of -1/0/1/2/3/4/5",
                "transport (this session): tls is not a value for it; use a whole number",
                "autoaccept (this session): maybe is not a value for it; use true or false",
            ]
        );
    }

    #[test]
    fn s7_a_hostile_name_is_shown_in_one_line() {
        let settings =
            with(&[("a\r\nb\u{1b}[31m%n", "x", Source::Link), (&"n".repeat(9000), "x", Source::Link)]);
        for text in findings(&settings) {
            assert!(!text.chars().any(char::is_control) && text.len() < 200, "{text}");
        }
    }

    #[test]
    fn s8_no_value_carries_a_line_end() {
        for name in
            ["username", "displayname", "contact_parameters", "contact_uri_parameters", "useragent", "realm"]
        {
            for value in ["a\r\nRoute: x", "a\nb", "a\0", "a\u{85}b"] {
                let settings = with(&[(name, value, Source::Link)]);
                assert_eq!(settings.text(name), None, "{name}");
            }
        }
    }

    #[test]
    fn s14_remarks_and_values_are_bounded() {
        let mut settings = Settings::new();
        for at in 0..1000 {
            settings.set(&format!("zzz{at}"), "x", Source::Link);
        }
        assert_eq!(settings.diagnoses().len(), MAX_DIAGNOSES);
        assert!(!settings.set("displayname", &"x".repeat(MAX_VALUE + 1), Source::Link));
    }
}
