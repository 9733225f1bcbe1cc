//! `[store]`: what outlives the process.

use std::fmt;
use std::path::PathBuf;

use serde::de::{Error, MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use wakeline_secret::Secret;

use super::ConfigError;

/// The store's place. `store = "redis://host:6379"` and `store = "/var/lib/gateway.db"` are short for the tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Store {
    /// SQLite file; empty: none.
    pub path: PathBuf,
    /// A Redis server's address, which may hold a password; empty: none.
    pub url: Secret,
}

/// The table's form.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Table {
    path: PathBuf,
    url: Secret,
}

impl Store {
    /// Whether anything outlives the process.
    pub(crate) fn is_on(&self) -> bool {
        !self.path.as_os_str().is_empty() || !self.url.is_empty()
    }

    /// The fault, if there is one.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let url = self.url.expose();
        if !url.is_empty() && !self.path.as_os_str().is_empty() {
            return Err(ConfigError::value("store", "path and url: name one of them"));
        }
        if !url.is_empty() && !is_redis(url) {
            return Err(ConfigError::value("store.url", "it begins with redis:// or redis+unix://"));
        }
        Ok(())
    }
}

fn is_redis(text: &str) -> bool {
    text.starts_with("redis://") || text.starts_with("redis+unix://")
}

impl<'de> Deserialize<'de> for Store {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Store, D::Error> {
        struct Form;

        impl<'de> Visitor<'de> for Form {
            type Value = Store;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table with path or url, or one of these as a text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Store, E> {
                Ok(if text.contains("://") {
                    Store { url: text.into(), ..Store::default() }
                } else {
                    Store { path: text.into(), ..Store::default() }
                })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Store, A::Error> {
                let Table { path, url } = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Store { path, url })
            }
        }

        deserializer.deserialize_any(Form)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn the_store_is_a_file_or_a_server_and_not_both() {
        for (text, path, url) in [
            ("store = \"redis://127.0.0.1:6379/2\"", "", "redis://127.0.0.1:6379/2"),
            ("[store]\nurl = \"redis+unix:///run/redis.sock\"", "", "redis+unix:///run/redis.sock"),
            ("store = \"gateway.db\"", "gateway.db", ""),
            ("[store]\npath = \"gateway.db\"", "gateway.db", ""),
        ] {
            let store = Config::from_toml(text).unwrap().store;
            assert_eq!((store.path.to_str().unwrap(), store.url.expose()), (path, url), "{text}");
            store.check().unwrap();
        }
        for (text, fault) in [
            ("[store]\npath = \"a\"\nurl = \"redis://b\"", "name one of them"),
            ("store = \"postgres://b\"", "redis://"),
        ] {
            let error = Config::from_toml(text).unwrap().faults().unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
        }
        assert!(Config::from_toml("[store]\nuri = \"redis://b\"").unwrap_err().to_string().contains("uri"));
    }

    #[test]
    fn s23_the_servers_password_is_not_shown() {
        let config = Config::from_toml("store = \"redis://:hunter2@127.0.0.1\"").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
