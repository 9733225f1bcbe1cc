//! The part of the operator's file that is about provisioning.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Deserialize;
use wakeline_secret::Secret;
use wakeline_settings::{Settings, Source, parameter};

use super::ConfigError;

/// Provisioning.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provision {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// How phones reach it.
    pub public_url: String,
    /// What the operator must show.
    pub token: Secret,
    /// Whether a proxy in front of it speaks TLS.
    pub behind_proxy: bool,
    /// Whose phone it is, for people.
    pub name: String,
    /// How long a link is good.
    pub link_hours: u32,
    /// Grants altogether.
    pub grants: usize,
    /// Wrong attempts a minute from one address.
    pub attempts_per_minute: u32,
    /// The web phone's address; empty: none.
    pub web_phone: String,
    /// The Android app.
    pub android: Android,
    /// The iOS app.
    pub ios: Ios,
    /// What every phone is told that asks without a name (`scurl_setparameters`).
    pub parameters: BTreeMap<String, String>,
    /// The same for each operator code.
    pub operator: BTreeMap<String, BTreeMap<String, String>>,
}

/// The Android app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Android {
    /// Its package; empty: there is none.
    pub package: String,
    /// SHA-256 of the certificates it is signed with.
    pub fingerprints: Vec<String>,
    /// Where it is installed from; empty: Google Play.
    pub store: String,
}

/// The iOS app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ios {
    /// Team and bundle: `AB12CD34EF.org.example.voice`.
    pub app_ids: Vec<String>,
    /// Where it is installed from: `https://apps.apple.com/app/id123456789`.
    pub store: String,
}

impl Default for Provision {
    fn default() -> Provision {
        Provision {
            listen: Vec::new(),
            public_url: String::new(),
            token: Secret::default(),
            behind_proxy: false,
            name: String::new(),
            link_hours: 24,
            grants: 100_000,
            attempts_per_minute: 10,
            web_phone: String::new(),
            android: Android::default(),
            ios: Ios::default(),
            parameters: BTreeMap::new(),
            operator: BTreeMap::new(),
        }
    }
}

impl Provision {
    /// Whether it is served at all.
    pub(crate) fn is_on(&self) -> bool {
        !self.listen.is_empty()
    }

    /// The address in front of every path, without a slash at its end.
    pub(crate) fn base(&self) -> &str {
        self.public_url.trim_end_matches('/')
    }

    /// Scheme and host are those of [`Provision::base`]; this is the host with its port.
    pub(crate) fn host(&self) -> &str {
        self.base().strip_prefix("https://").unwrap_or("")
    }

    /// Looks for what cannot work.
    pub(crate) fn check(&self, stored: bool) -> Result<(), ConfigError> {
        let wrong = |key, why: &str| Err(ConfigError::value(key, why));
        if !self.is_on() {
            return Ok(());
        }
        let host = self.host();
        if host.is_empty()
            || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
        {
            return wrong(
                "provision.public_url",
                "links need the https address that phones reach this listener by, such as https://voice.example.org",
            );
        }
        if self.token.expose().len() < 16 {
            return wrong(
                "provision.token",
                "who makes links must show a token of at least 16 characters; `openssl rand -hex 16` makes one",
            );
        }
        if !stored {
            return wrong("provision", "links and the signing key must outlive a restart: name a store.path");
        }
        if self.behind_proxy && self.listen.iter().any(|address| !address.ip().is_loopback()) {
            return wrong(
                "provision.behind_proxy",
                "without TLS of our own only a proxy on this machine may connect: listen on 127.0.0.1",
            );
        }
        if self.link_hours == 0 || self.attempts_per_minute == 0 {
            return wrong("provision", "link_hours and attempts_per_minute must be at least 1");
        }
        for (key, address) in [
            ("provision.web_phone", &self.web_phone),
            ("provision.android.store", &self.android.store),
            ("provision.ios.store", &self.ios.store),
        ] {
            if !address.is_empty() && !address.starts_with("https://") {
                return wrong(key, "an https address, or nothing");
            }
        }
        let package = &self.android.package;
        if !package.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte)) {
            return wrong("provision.android.package", "a package name such as org.example.voice");
        }
        let fingerprint = |text: &String| {
            text.len() == 95
                && text.split(':').all(|byte| u8::from_str_radix(byte, 16).is_ok() && byte.len() == 2)
        };
        if !self.android.fingerprints.iter().all(fingerprint) {
            return wrong(
                "provision.android.fingerprints",
                "SHA-256 of the signing certificate as `keytool -list -v` shows it: 32 pairs of hex digits with colons",
            );
        }
        if !package.is_empty() && self.android.fingerprints.is_empty() {
            return wrong(
                "provision.android.fingerprints",
                "Android opens the app by a link only when the certificates it is signed with are named",
            );
        }
        let app_id = |text: &String| {
            text.split_once('.').is_some_and(|(team, bundle)| team.len() == 10 && !bundle.is_empty())
        };
        if !self.ios.app_ids.iter().all(app_id) {
            return wrong("provision.ios.app_ids", "team and bundle, such as AB12CD34EF.org.example.voice");
        }
        check_open("provision.parameters", &self.parameters)?;
        for (code, parameters) in &self.operator {
            if code.is_empty() || code.len() > 32 || !code.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return wrong("provision.operator", "an operator code has 1 to 32 letters and digits");
            }
            check_open("provision.operator", parameters)?;
        }
        Ok(())
    }
}

/// What anybody may read: known parameters with good values, and none of them a secret.
fn check_open(key: &'static str, parameters: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let wrong = |why: String| ConfigError::value(key, why);
    let mut settings = Settings::new();
    for (name, value) in parameters {
        if parameter(name).is_some_and(|known| known.is_secret()) {
            return Err(wrong(format!(
                "{name} is a secret, and anybody may read these; grant it by POST /provision"
            )));
        }
        // `,name=` within a value would begin the next pair (B-044).
        if value.split(',').skip(1).any(|part| part.contains('=')) {
            return Err(wrong(format!(
                "{name}: a value with a comma and an equals sign cannot stand in a list"
            )));
        }
        settings.set(name, value, Source::Server);
    }
    match settings.diagnoses().iter().find(|diagnosis| diagnosis.is_error()) {
        Some(diagnosis) => Err(wrong(diagnosis.to_string())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_with_their_cure() {
        let base =
            "listen = [\"127.0.0.1:0\"]\npublic_url = \"https://v.example\"\ntoken = \"0123456789abcdef\"\n";
        let print = ["AA"; 32].join(":");
        for (text, told) in [
            (base.to_owned(), "fine"),
            (String::new(), "fine"),
            ("listen = [\"127.0.0.1:0\"]".to_owned(), "https address"),
            (base.replace("0123456789abcdef", "x"), "openssl rand"),
            (base.replace("https", "http"), "https address"),
            (format!("{base}behind_proxy = true"), "fine"),
            (format!("{base}behind_proxy = true").replace("127.0.0.1", "0.0.0.0"), "listen on 127.0.0.1"),
            (format!("{base}[android]\npackage = \"org.example\""), "certificates"),
            (format!("{base}[android]\npackage = \"org.example\"\nfingerprints = [\"{print}\"]"), "fine"),
            (format!("{base}[android]\nfingerprints = [\"AA:BB\"]"), "keytool"),
            (format!("{base}[ios]\napp_ids = [\"AB12CD34EF.org.example\"]"), "fine"),
            (format!("{base}[ios]\napp_ids = [\"org.example\"]"), "team and bundle"),
            (format!("{base}[parameters]\ncodec = \"opus,pcmu\""), "fine"),
            (format!("{base}[parameters]\npassword = \"x\""), "is a secret"),
            (format!("{base}[parameters]\nserveradress = \"x\""), "did you mean serveraddress"),
            (format!("{base}[operator.77]\ntransport = \"99\""), "transport"),
            (format!("{base}[operator.\"7 7\"]\ntransport = \"1\""), "letters and digits"),
        ] {
            let provision: Provision = toml::from_str(&text).unwrap();
            let found = provision.check(true).map_or_else(|error| error.to_string(), |()| "fine".to_owned());
            assert!(found.contains(told), "{text}: {found}");
        }
        let provision: Provision = toml::from_str(base).unwrap();
        assert!(provision.check(false).unwrap_err().to_string().contains("store.path"));
    }
}
