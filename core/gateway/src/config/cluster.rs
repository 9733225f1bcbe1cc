//! `[cluster]`: this node among others of the same gateway.

use serde::Deserialize;
use wakeline_registrar::NextHop;

use super::{ConfigError, Store};
use wakeline_flow::Transport;

/// This node. Without a name there are no others.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cluster {
    /// Its name, no other node's, the same after every start.
    pub node: String,
    /// `host` or `host:port` by which the other nodes reach one of `listen.tcp`; without a port the first of those.
    pub address: String,
}

impl Cluster {
    /// Whether there may be other nodes.
    pub(crate) fn is_on(&self) -> bool {
        !self.node.is_empty()
    }

    /// The fault, if there is one.
    pub(crate) fn check(&self, store: &Store, listens: bool) -> Result<(), ConfigError> {
        match (self.node.is_empty(), self.address.is_empty()) {
            (true, true) => return Ok(()),
            (true, false) => {
                return Err(ConfigError::value("cluster.node", "the node needs a name of its own"));
            }
            (false, true) => {
                let why = "the address by which the other nodes reach this one, such as 10.0.0.1:5060";
                return Err(ConfigError::value("cluster.address", why));
            }
            (false, false) => {}
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if !self.node.bytes().all(plain) {
            return Err(ConfigError::value("cluster.node", "letters, digits and - . _ only"));
        }
        if store.url.is_empty() {
            let why = "nodes share a Redis server: write store = \"redis://...\", the same at every node";
            return Err(ConfigError::value("cluster.node", why));
        }
        if !listens {
            let why = "the other nodes come over TCP: name an address in listen.tcp";
            return Err(ConfigError::value("cluster.address", why));
        }
        self.reached(0).map(|_| ())
    }

    /// Where the other nodes reach this one; `bound`: the port that is listened on.
    pub(crate) fn reached(&self, bound: u16) -> Result<NextHop, ConfigError> {
        let wrong = || {
            let why = format!("{:?} is not `host` or `host:port`", self.address);
            ConfigError::value("cluster.address", why)
        };
        let (host, port) = match self.address.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            Some(_) | None => (self.address.as_str(), 0),
        };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
        if host.is_empty() || !host.bytes().all(allowed) {
            return Err(wrong());
        }
        let port = if port == 0 { bound } else { port };
        Ok(NextHop { transport: Transport::Tcp, host: host.to_owned(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    #[test]
    fn a_cluster_needs_a_name_an_address_and_a_server_and_says_which_is_missing() {
        let redis = "store = \"redis://127.0.0.1\"\n";
        for (text, told) in [
            ("[cluster]\naddress = \"10.0.0.1\"", "cluster.node: the node needs a name"),
            ("[cluster]\nnode = \"a\"", "cluster.address: the address by which"),
            ("[cluster]\nnode = \"a\"\naddress = \"10.0.0.1\"", "share a Redis server"),
            (&format!("{redis}[cluster]\nnode = \"a b\"\naddress = \"10.0.0.1\""), "letters, digits"),
            (&format!("{redis}[cluster]\nnode = \"a\"\naddress = \"10.0.0.1:x\""), "`host` or `host:port`"),
            (&format!("{redis}listen.tcp = []\n[cluster]\nnode = \"a\"\naddress = \"b\""), "listen.tcp"),
        ] {
            let error = Config::from_toml(text).unwrap().faults().unwrap_err().placed(text).to_string();
            assert!(error.contains(told) && error.contains("line "), "{text}: {error}");
        }
        for address in ["10.0.0.1", "10.0.0.1:5070", "[2001:db8::1]:5060", "one.example.org"] {
            let text = format!("{redis}[cluster]\nnode = \"a\"\naddress = \"{address}\"");
            Config::from_toml(&text).unwrap().faults().unwrap();
        }
    }
}
