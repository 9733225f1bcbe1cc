//! The push senders: one HTTP/2 client, one module per service.
//!
//! A sender is told *what* to push and *until when* it is of use; it answers with a typed [`Outcome`], never with a
//! status code. FCM is [`fcm`]; APNs and Web Push get a module each beside it.

pub(crate) mod dispatch;
pub mod fcm;
mod http;
mod oauth;
mod outcome;
mod service_account;

pub use fcm::{FcmSender, FcmSetup};
pub use http::Trust;
pub use outcome::{Outcome, Verdict};
pub use service_account::ServiceAccount;

use std::collections::BTreeMap;

use wakeline_clock::Time;
use wakeline_secret::Secret;

/// One push that is wanted.
#[derive(Debug, Clone)]
pub struct Push {
    /// pn-prid: the device's token.
    pub prid: Secret,
    /// pn-param: of which project the token is, when the phone said so.
    pub project: Option<String>,
    /// The data map; every value is a string, and personal data is in the encrypted envelope only.
    pub data: BTreeMap<String, String>,
    /// Whether it must wake the device now; otherwise it may wait for the device's next window.
    pub urgent: bool,
    /// After this moment the push is of no use: nobody holds a request for it any more.
    pub until: Time,
}

/// Why a push sender cannot work at all.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The service account's file cannot be read.
    #[error(
        "push: cannot read the service account file {path}: {source}; check the path and its permissions"
    )]
    AccountFile {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The service account's file is not what the vendor's console hands out.
    #[error(
        "push: the service account is not usable: {0}; download a new JSON key from the Firebase console"
    )]
    Account(&'static str),
    /// The CA file cannot be used.
    #[error("push: cannot use the CA file {path}: {why}; it must hold PEM certificates")]
    CaFile {
        /// Which file.
        path: String,
        /// Why.
        why: String,
    },
    /// The system's trust store cannot be used.
    #[error("push: cannot set up TLS: {0}; install the system's CA certificates or name a ca_file")]
    Tls(#[from] rustls::Error),
    /// The HTTP client cannot be built.
    #[error("push: cannot build the HTTP client: {0}")]
    Client(#[from] reqwest::Error),
    /// The endpoint is not an address.
    #[error("push: the endpoint {0:?} is not an http(s) address")]
    Endpoint(String),
}
