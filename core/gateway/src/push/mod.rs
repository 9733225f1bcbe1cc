//! The push senders: one HTTP/2 client, one module per service.
//!
//! A sender is told *what* to push and *until when* it is of use; it answers with a typed [`Outcome`], never with a
//! status code. Google's service is [`fcm`], Apple's [`apns`], browsers and UnifiedPush [`webpush`], an operator's own
//! program [`hook`].

pub mod apns;
mod apns_answer;
pub(crate) mod canary;
pub(crate) mod dispatch;
mod es256;
pub mod fcm;
pub mod hook;
mod http;
mod oauth;
mod outcome;
mod pace;
mod provider_token;
mod push_address;
mod service_account;
mod thread;
mod vapid;
pub mod webpush;
mod webpush_seal;

pub use apns::{ApnsSender, ApnsSetup};
pub use apns_answer::ApnsVerdict;
pub use canary::CanaryReport;
pub use es256::SigningKey;
pub use fcm::{FcmSender, FcmSetup};
pub use hook::{HookSender, HookSetup};
pub use http::Trust;
pub(crate) use http::client_for_one;
pub use outcome::{Outcome, Verdict};
pub use push_address::{AllowedHosts, Lookup};
pub use service_account::ServiceAccount;
pub(crate) use thread::PushThread;
pub use webpush::{WebPushSender, WebPushSetup};

use std::collections::BTreeMap;

use wakeline_clock::Time;
use wakeline_push::{Payload, PushTarget};

/// One push that is wanted.
#[derive(Debug, Clone)]
pub struct Push {
    /// The device: service, app and token.
    pub target: PushTarget,
    /// Why.
    pub purpose: Purpose,
    /// What the device is told; personal data is in the encrypted envelope only.
    pub payload: Payload,
    /// The Call-ID on the phone's leg, for clients that show the call under it.
    pub call_id: Option<String>,
    /// After this moment the push is of no use: nobody holds a request for it any more.
    pub until: Time,
}

/// Why a device is to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A call is held: it must ring now.
    Call,
    /// Another request is held: it must register now, and nothing rings.
    Request,
    /// A message waits for it: it must register when it can, and nothing rings.
    Message,
    /// Its registration is about to lapse: when it is next awake.
    Refresh,
}

impl Push {
    /// The data map: every value is a text.
    fn data(&self) -> BTreeMap<String, String> {
        let mut data: BTreeMap<String, String> =
            self.payload.to_data().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        data.extend(self.call_id.iter().map(|id| ("call-id".to_owned(), id.clone())));
        data
    }
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
    /// A key file cannot be read.
    #[error("push: cannot read the key file {path}: {source}; check the path and its permissions")]
    KeyFile {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A key file holds no usable key.
    #[error(
        "push: the key file {path} is not usable: {why}; for Apple it is the .p8 file of the developer account, for Web Push make one with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {path}`"
    )]
    Key {
        /// Which file.
        path: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Apple's ids are missing.
    #[error(
        "push.apns: team_id and key_id are ten letters and digits each; the developer account shows the team under Membership and the key's id beside the key"
    )]
    AppleIds,
    /// The VAPID subject is missing.
    #[error(
        "push.webpush.subject must be `mailto:you@example.org` or an https address (RFC 8292): who runs this gateway"
    )]
    Subject,
    /// The hook's address is none.
    #[error("push.hook.url must be an https address, or http on this machine")]
    HookUrl,
    /// The hook's secret is too short.
    #[error("push.hook.secret must have at least 16 characters; make one with `openssl rand -hex 32`")]
    HookSecret,
    /// The hook serves nobody.
    #[error(
        "push.hook.providers is empty: name the pn-provider values that the hook pushes for, such as [\"hms\"]"
    )]
    HookProviders,
    /// A canary cannot sing.
    #[error("push.canary for {provider:?}: {why}")]
    Canary {
        /// Its service.
        provider: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The endpoint is not an address.
    #[error("push: the endpoint {0:?} is not an http(s) address")]
    Endpoint(String),
}
