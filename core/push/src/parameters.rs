//! The push parameters of a Contact (RFC 8599 §4.1, §14.1).

use serde::{Deserialize, Serialize};
use wakeline_secret::Secret;

use crate::dialect::Dialect;
use crate::error::PushError;
use crate::provider::Provider;

/// Longest token, or web push address, that is read.
pub(crate) const MAX_PRID: usize = 4096;
/// Longest `pn-param` or provider name that is read.
pub(crate) const MAX_PARAM: usize = 512;

/// How one phone can be woken: the values of `pn-provider`, `pn-param` and `pn-prid`, unescaped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct PushParameters {
    /// Through which service.
    pub provider: Provider,
    /// For whom: Firebase project, or Apple team, bundle and service; empty for Web Push.
    pub param: String,
    /// The token, or the subscription's address.
    pub prid: Secret,
    /// In which spelling they came, and are to be read.
    #[serde(default)]
    pub dialect: Dialect,
}

/// What a Contact says of push.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ContactPush {
    /// Nothing.
    Absent,
    /// It asks what the network can do (RFC 8599 §4.1.1): through this service, or, without one, through any.
    Query(Option<Provider>),
    /// It asks to be woken.
    Bound(PushParameters),
}

impl PushParameters {
    /// Parameters of the RFC's own spelling, from what a platform handed out.
    pub fn new(provider: Provider, param: &str, prid: Secret) -> Result<PushParameters, PushError> {
        let parameters =
            PushParameters { provider, param: param.to_owned(), prid, dialect: Dialect::Rfc8599 };
        parameters.check()?;
        Ok(parameters)
    }

    pub(crate) fn check(&self) -> Result<(), PushError> {
        let clean = |text: &str, name| {
            // A token is nearly always ASCII, and long.
            let control = match text.is_ascii() {
                true => text.bytes().any(|byte| byte.is_ascii_control()),
                false => text.chars().any(char::is_control),
            };
            if control { Err(PushError::Control(name)) } else { Ok(()) }
        };
        if self.provider.as_str().is_empty() {
            return Err(PushError::Missing("pn-provider"));
        }
        if self.prid.is_empty() {
            return Err(PushError::Missing("pn-prid"));
        }
        if self.prid.expose().len() > MAX_PRID {
            return Err(PushError::TooLong("pn-prid"));
        }
        if self.param.len() > MAX_PARAM || self.provider.as_str().len() > MAX_PARAM {
            return Err(PushError::TooLong("pn-param"));
        }
        clean(self.provider.as_str(), "pn-provider")?;
        clean(&self.param, "pn-param")?;
        clean(self.prid.expose(), "pn-prid")?;
        match self.provider {
            // RFC 8599 §14.2: without it the service does not know the app.
            Provider::Apns | Provider::ApnsSandbox | Provider::Fcm if self.param.is_empty() => {
                Err(PushError::Missing("pn-param"))
            }
            Provider::Apns
            | Provider::ApnsSandbox
            | Provider::Fcm
            | Provider::WebPush
            | Provider::Other(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s23_debug_does_not_show_the_token() {
        let shown = format!("{:?}", PushParameters::new(Provider::Fcm, "p", "canary-token".into()));
        assert!(!shown.contains("canary"));
    }
}
