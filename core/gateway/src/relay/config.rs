//! The relay's file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::config::{Apns, ConfigError, Fcm, Push, Store, read};

/// The example file: every key with its default and its meaning.
pub const EXAMPLE: &str = include_str!("../../relay.toml");

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// How it is reached.
    pub public_url: String,
    /// Whether a proxy in front of it speaks TLS.
    pub behind_proxy: bool,
    /// The certificate.
    pub tls: Tls,
    /// Which address leads to which token.
    pub store: Store,
    /// Caps.
    pub limits: Limits,
    /// The vendors' services.
    pub push: Services,
}

/// The certificate's files.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM chain; empty: self-signed.
    pub certificate: PathBuf,
    /// PEM key.
    pub key: PathBuf,
}

/// Caps.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Push addresses.
    pub subscriptions: usize,
    /// Of one token.
    pub per_token: usize,
    /// Posts to one address.
    pub posts_per_minute: u32,
    /// The same over an hour.
    pub posts_per_hour: u32,
    /// Subscriptions and wrong attempts of one address.
    pub asks_per_minute: u32,
    /// Bytes of a body.
    pub body: usize,
}

/// The vendors' services.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Services {
    /// Google's.
    pub fcm: Fcm,
    /// Apple's.
    pub apns: Apns,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 5090))],
            public_url: String::new(),
            behind_proxy: false,
            tls: Tls::default(),
            store: Store::default(),
            limits: Limits::default(),
            push: Services::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            subscriptions: 1_000_000,
            per_token: 8,
            posts_per_minute: 12,
            posts_per_hour: 120,
            asks_per_minute: 20,
            body: 2900,
        }
    }
}

impl Config {
    /// Reads a file's text.
    ///
    /// # Errors
    /// When it is not TOML, a key is unknown, or a value is of the wrong kind.
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Text(Box::new(error)))
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`Config::from_toml`], and when the file cannot be read.
    pub fn from_file(path: &Path) -> Result<Config, ConfigError> {
        Config::from_toml(&read(path)?)
    }

    /// The address in front of every path.
    pub(super) fn base(&self) -> &str {
        self.public_url.trim_end_matches('/')
    }

    /// What the senders are built from.
    pub(super) fn senders(&self) -> Push {
        Push { fcm: self.push.fcm.clone(), apns: self.push.apns.clone(), ..Push::default() }
    }

    /// Looks for what cannot work.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key, why: &str| Err(ConfigError::value(key, why));
        if !self.base().strip_prefix("https://").is_some_and(|host| !host.is_empty() && !host.contains('/')) {
            return wrong(
                "public_url",
                "push addresses begin with it: https://push.example.org, without a path",
            );
        }
        if !self.store.is_on() {
            return wrong("store.path", "push addresses must outlive a restart: name a file");
        }
        if self.behind_proxy && self.listen.iter().any(|address| !address.ip().is_loopback()) {
            return wrong("behind_proxy", "without TLS of our own only a proxy on this machine may connect");
        }
        if !self.push.fcm.is_on() && !self.push.apns.is_on() {
            return wrong(
                "push",
                "fill in [push.fcm] or [push.apns]: the relay wakes the app through its vendor's keys",
            );
        }
        if self.limits.body > 4096 {
            return wrong("limits.body", "at most 4096 (RFC 8030 §7.2)");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_shows_the_defaults_and_mistakes_their_cure() {
        assert_eq!(Config::from_toml(EXAMPLE).unwrap(), Config::default());
        let good = "public_url = \"https://p.example\"\n[store]\npath = \"a.db\"\n[push.fcm]\nservice_accounts = [\"a\"]\n";
        for (text, told) in [
            (good.to_owned(), "fine"),
            (good.replace("https", "http"), "https://push.example.org"),
            (good.replace("a.db", ""), "name a file"),
            (good.replace("[\"a\"]", "[]"), "[push.apns]"),
            (format!("behind_proxy = true\nlisten = [\"0.0.0.0:1\"]\n{good}"), "proxy on this machine"),
            (format!("{good}[limits]\nbody = 9999"), "4096"),
        ] {
            let found = Config::from_toml(&text).unwrap().check();
            let found = found.map_or_else(|error| error.to_string(), |()| "fine".to_owned());
            assert!(found.contains(told), "{text}: {found}");
        }
    }
}
