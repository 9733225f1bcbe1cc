//! What a phone keeps of a provider: its settings, and the means to ask for newer ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wakeline_secret::Secret;

use super::address::HttpsAddress;
use super::consent::Consent;
use crate::source::Source;
use crate::store::Settings;

/// A provider's public key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrustedKey {
    /// Its name in the header of what it signs.
    pub kid: String,
    /// The Ed25519 key, base64url as a JWK has it (RFC 8037 §2).
    pub x: String,
}

/// Settings that a provider granted to this phone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Grant {
    /// The provider's server.
    pub(super) issuer: String,
    /// The grant's name, the same in `X-Settings`.
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) serial: u32,
    /// What this phone shows to be the one that has the grant.
    pub(super) device_key: Secret,
    /// The key that was trusted when the person agreed, or that has followed it.
    pub(super) key: TrustedKey,
    /// Where newer ones are.
    pub(super) fetch: String,
    pub(super) parameters: BTreeMap<String, Secret>,
}

impl Grant {
    /// From the record that was kept; `None` when it is none.
    pub fn read(record: &Secret) -> Option<Grant> {
        serde_json::from_str(record.expose()).ok()
    }

    /// What is to be kept. It holds the account's password.
    pub fn record(&self) -> Secret {
        // Plain data: it cannot fail to become text.
        Secret::new(serde_json::to_string(self).unwrap_or_default())
    }

    /// The grant's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Counts the changes.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Who provides, as a person knows it: the provider's own name, or its server's.
    pub fn provider(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.host())
    }

    /// The provider's server.
    pub(super) fn host(&self) -> String {
        HttpsAddress::parse(&self.issuer).map_or_else(String::new, |issuer| issuer.authority())
    }

    /// Puts the parameters into settings, as the server's (B-061): what the person or the program says goes before.
    pub fn apply(&self, settings: &mut Settings) {
        for (name, value) in &self.parameters {
            settings.set(name, value.expose(), Source::Server);
        }
    }

    /// What a person sees of it.
    pub(super) fn consent(&self) -> Consent {
        let parameters = self.parameters.iter().map(|(name, value)| (name.as_str(), Some(value.expose())));
        Consent::of(self.host(), self.name.as_deref(), parameters)
    }
}
