//! `[admin]`: the administrator's view.

use std::net::SocketAddr;

use serde::Deserialize;
use wakeline_secret::Secret;

use super::ConfigError;

/// The shortest token that is taken.
const SHORTEST: usize = 16;

/// The administrator's view.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// What must be shown; empty: nothing, on loopback only.
    pub token: Secret,
}

impl Admin {
    /// The token that must be shown; `None`: whoever is on this machine may look, and nobody else can connect.
    pub(crate) fn checked(&self) -> Result<Option<Secret>, ConfigError> {
        let wrong = |why: String| ConfigError::value("admin.token", why);
        if self.token.is_empty() {
            return match self.listen.iter().find(|address| !address.ip().is_loopback()) {
                None => Ok(None),
                Some(address) => Err(wrong(format!(
                    "{address} can be reached from other machines, so a token is needed; or listen on 127.0.0.1"
                ))),
            };
        }
        if self.token.expose().len() < SHORTEST {
            return Err(wrong(format!("at least {SHORTEST} characters; `openssl rand -hex 16` makes one")));
        }
        Ok(Some(self.token.clone()))
    }
}
