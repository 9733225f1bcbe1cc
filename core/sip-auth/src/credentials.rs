//! What proves who we are.

use serde::{Deserialize, Serialize};
use wakeline_secret::Secret;

use crate::algorithm::Algorithm;

/// The stored half of a digest: hash of user name, realm and password (RFC 7616 §3.4.2).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ha1 {
    /// Without a session's binding.
    pub algorithm: Algorithm,
    /// Lower-case hexadecimal digits.
    pub digits: Secret,
}

impl Ha1 {
    /// From a password.
    pub fn of(algorithm: Algorithm, username: &str, realm: &str, password: &Secret) -> Ha1 {
        let algorithm = algorithm.plain();
        let parts = [username.as_bytes(), realm.as_bytes(), password.expose().as_bytes()];
        Ha1 { algorithm, digits: Secret::from(algorithm.hash(&parts).as_str()) }
    }
}

/// A password, or what is kept in its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// The password itself.
    Password(Secret),
    /// HA1 in hexadecimal digits, as the setting `md5` gives it: 32 digits are MD5, 64 are SHA-256. It fits one realm.
    Ha1(Secret),
}

/// An account's credentials.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// The user name of the digest, which may differ from that of the address.
    pub username: String,
    /// What proves it.
    pub proof: Proof,
    /// The only realm that is answered; any realm of a configured server when absent.
    pub realm: Option<String>,
}

impl Credentials {
    /// User name and password.
    pub fn password(username: impl Into<String>, password: impl Into<Secret>) -> Credentials {
        Credentials { username: username.into(), proof: Proof::Password(password.into()), realm: None }
    }

    /// Whether HA1 can be had for this algorithm.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        match &self.proof {
            Proof::Password(_) => true,
            Proof::Ha1(digits) => match digits.expose().len() {
                32 => algorithm.plain() == Algorithm::Md5,
                64 => algorithm.plain() == Algorithm::Sha256,
                _ => false,
            },
        }
    }

    pub(crate) fn ha1(&self, algorithm: Algorithm, realm: &str) -> Ha1 {
        match &self.proof {
            Proof::Password(password) => Ha1::of(algorithm, &self.username, realm, password),
            Proof::Ha1(digits) => Ha1 {
                algorithm: algorithm.plain(),
                digits: Secret::new(digits.expose().to_ascii_lowercase()),
            },
        }
    }
}
