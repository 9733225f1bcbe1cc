//! The part of the operator's file that is about push services.

use std::path::PathBuf;

use serde::Deserialize;
use wakeline_push::Provider;
use wakeline_registrar::PushServices;
use wakeline_secret::Secret;

/// Google's service.
pub(crate) const FCM: &str = "https://fcm.googleapis.com";
/// Apple's.
pub(crate) const APNS: &str = "https://api.push.apple.com";
/// Apple's for development.
pub(crate) const APNS_SANDBOX: &str = "https://api.sandbox.push.apple.com";

/// Push services.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Push {
    /// Firebase Cloud Messaging.
    pub fcm: Fcm,
    /// Apple Push Notification service.
    pub apns: Apns,
    /// Web Push and UnifiedPush.
    pub webpush: WebPush,
    /// A program for services of other names.
    pub hook: Hook,
    /// Pushes to tokens of the operator's own, as a check.
    pub canary: Vec<Canary>,
}

/// Firebase Cloud Messaging.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fcm {
    /// JSON key files.
    pub service_accounts: Vec<PathBuf>,
    /// Scheme, host and port.
    pub endpoint: String,
    /// Further certificates to trust.
    pub ca_file: PathBuf,
    /// Android package.
    pub package: String,
    /// Requests at once.
    pub concurrency: usize,
}

/// Apple Push Notification service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Apns {
    /// The team's id.
    pub team_id: String,
    /// The key's id.
    pub key_id: String,
    /// The .p8 file.
    pub key_file: PathBuf,
    /// The app's bundle identifier; empty: any.
    pub topic: String,
    /// Whether tokens are of the development environment.
    pub sandbox: bool,
    /// Scheme, host and port.
    pub endpoint: String,
    /// The same for development.
    pub sandbox_endpoint: String,
    /// Further certificates to trust.
    pub ca_file: PathBuf,
    /// Requests at once.
    pub concurrency: usize,
}

/// Web Push and UnifiedPush.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebPush {
    /// The VAPID key, PEM.
    pub key_file: PathBuf,
    /// Who runs this gateway.
    pub subject: String,
    /// Hosts that may be within our own network, or on another port.
    pub allowed_hosts: Vec<String>,
    /// Whether no other host may be pushed to.
    pub only_allowed_hosts: bool,
    /// Further certificates to trust.
    pub ca_file: PathBuf,
    /// Requests at once.
    pub concurrency: usize,
}

/// A program for services of other names.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hook {
    /// Where to post.
    pub url: String,
    /// The shared secret of the signature.
    pub secret: Secret,
    /// The `pn-provider` values that it serves.
    pub providers: Vec<String>,
    /// Further certificates to trust.
    pub ca_file: PathBuf,
    /// Requests at once.
    pub concurrency: usize,
}

/// A push to a token of the operator's own, as a check.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Canary {
    /// `pn-provider`.
    pub provider: String,
    /// `pn-param`.
    pub param: String,
    /// `pn-prid`.
    pub token: Secret,
    /// Seconds between two pushes.
    pub every: u64,
}

impl Default for Fcm {
    fn default() -> Fcm {
        Fcm {
            service_accounts: Vec::new(),
            endpoint: FCM.to_owned(),
            ca_file: PathBuf::new(),
            package: String::new(),
            concurrency: 512,
        }
    }
}

impl Default for Apns {
    fn default() -> Apns {
        Apns {
            team_id: String::new(),
            key_id: String::new(),
            key_file: PathBuf::new(),
            topic: String::new(),
            sandbox: false,
            endpoint: APNS.to_owned(),
            sandbox_endpoint: APNS_SANDBOX.to_owned(),
            ca_file: PathBuf::new(),
            concurrency: 512,
        }
    }
}

impl Default for WebPush {
    fn default() -> WebPush {
        WebPush {
            key_file: PathBuf::new(),
            subject: String::new(),
            allowed_hosts: Vec::new(),
            only_allowed_hosts: false,
            ca_file: PathBuf::new(),
            concurrency: 512,
        }
    }
}

impl Default for Hook {
    fn default() -> Hook {
        Hook {
            url: String::new(),
            secret: Secret::default(),
            providers: Vec::new(),
            ca_file: PathBuf::new(),
            concurrency: 64,
        }
    }
}

impl Default for Canary {
    fn default() -> Canary {
        Canary { provider: String::new(), param: String::new(), token: Secret::default(), every: 300 }
    }
}

impl Push {
    /// Tells the machine which services are offered to phones.
    pub(crate) fn announce(&self, services: &mut PushServices) {
        services.fcm = self.fcm.is_on();
        services.apns = self.apns.is_on();
        services.webpush = self.webpush.is_on();
        if !self.hook.is_on() {
            return;
        }
        for provider in &self.hook.providers {
            match Provider::parse(provider) {
                Provider::Fcm => services.fcm = true,
                Provider::Apns | Provider::ApnsSandbox => services.apns = true,
                Provider::WebPush => services.webpush = true,
                Provider::Other(name) => services.others.push(name),
            }
        }
    }
}

impl Fcm {
    pub(crate) fn is_on(&self) -> bool {
        !self.service_accounts.is_empty()
    }
}

impl Apns {
    pub(crate) fn is_on(&self) -> bool {
        !self.key_file.as_os_str().is_empty()
    }
}

impl WebPush {
    pub(crate) fn is_on(&self) -> bool {
        !self.key_file.as_os_str().is_empty()
    }
}

impl Hook {
    pub(crate) fn is_on(&self) -> bool {
        !self.url.is_empty()
    }
}
