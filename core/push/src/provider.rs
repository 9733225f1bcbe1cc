//! The push notification services (RFC 8599 §14.2 and the names that other stacks use).

use core::fmt;

use serde::{Deserialize, Serialize};

/// A push notification service, as `pn-provider` and `+sip.pns` name it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Provider {
    /// Apple's service: `apns`.
    Apns,
    /// Apple's service for development builds: `apns.dev`, a spelling of Linphone's.
    ApnsSandbox,
    /// Google's service: `fcm`.
    Fcm,
    /// RFC 8030: `webpush`.
    WebPush,
    /// Any other name, in lower case.
    Other(String),
}

impl Provider {
    /// Reads a name, in any case. Older names of Google's and Apple's services are known too.
    pub fn parse(name: &str) -> Provider {
        let name = name.to_ascii_lowercase();
        match name.as_str() {
            "apns" | "apple" => Provider::Apns,
            "apns.dev" => Provider::ApnsSandbox,
            "fcm" | "firebase" | "android" | "google" => Provider::Fcm,
            "webpush" => Provider::WebPush,
            _ => Provider::Other(name),
        }
    }

    /// The name on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Provider::Apns => "apns",
            Provider::ApnsSandbox => "apns.dev",
            Provider::Fcm => "fcm",
            Provider::WebPush => "webpush",
            Provider::Other(name) => name,
        }
    }

    /// Whether a network that pushes through `offered` reaches this one: the sandbox is a host, not another service.
    pub fn is_served_by(&self, offered: &Provider) -> bool {
        let plain = |provider: &Provider| match provider {
            Provider::ApnsSandbox => Provider::Apns,
            same @ (Provider::Apns | Provider::Fcm | Provider::WebPush | Provider::Other(_)) => same.clone(),
        };
        plain(self) == plain(offered)
    }
}

impl From<String> for Provider {
    fn from(name: String) -> Provider {
        Provider::parse(&name)
    }
}

impl From<Provider> for String {
    fn from(provider: Provider) -> String {
        provider.as_str().to_owned()
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for name in ["apns", "apns.dev", "fcm", "webpush", "hms"] {
            assert_eq!(Provider::parse(name).as_str(), name);
        }
        assert_eq!(Provider::parse("FireBase"), Provider::Fcm);
        assert_eq!(serde_json::to_string(&Provider::Fcm).unwrap(), "\"fcm\"");
        assert_eq!(serde_json::from_str::<Provider>("\"apns\"").unwrap(), Provider::Apns);
    }

    #[test]
    fn the_sandbox_is_served_by_apns() {
        assert!(Provider::ApnsSandbox.is_served_by(&Provider::Apns));
        assert!(!Provider::Fcm.is_served_by(&Provider::Apns));
    }
}
