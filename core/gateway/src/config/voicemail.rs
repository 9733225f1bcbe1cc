//! `[voicemail]`: where calls go that nobody took.

use std::time::Duration;

use serde::Deserialize;
use wakeline_registrar as registrar;
use wakeline_sip_message::OwnedUri;

use super::{Config, ConfigError};

/// Where, when and how.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Voicemail {
    /// A SIP URI; empty: only accounts that name one of their own have voicemail.
    pub target: String,
    /// `forward` or `redirect`.
    pub how: How,
    /// Seconds of ringing before.
    pub after: u64,
    /// Also when all are busy.
    pub busy: bool,
    /// Also when somebody declines.
    pub declined: bool,
    /// Also when no device can be reached.
    pub absent: bool,
}

/// How a call gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// The gateway sends it.
    Forward,
    /// The caller does, told so by 302.
    Redirect,
}

impl Default for Voicemail {
    fn default() -> Voicemail {
        Voicemail {
            target: String::new(),
            how: How::Forward,
            after: 30,
            busy: true,
            declined: false,
            absent: true,
        }
    }
}

impl Voicemail {
    /// The machine's rules.
    pub(super) fn checked(&self, config: &Config) -> Result<registrar::Voicemail, ConfigError> {
        if !self.target.is_empty() {
            self.check(config, "voicemail.target", &self.target)?;
        }
        Ok(registrar::Voicemail {
            target: self.target.clone(),
            how: match self.how {
                How::Forward => registrar::Divert::Forward,
                How::Redirect => registrar::Divert::Redirect,
            },
            after: Duration::from_secs(self.after),
            busy: self.busy,
            declined: self.declined,
            absent: self.absent,
        })
    }

    /// Whether a target is one that calls can be sent to.
    pub(super) fn check(&self, config: &Config, key: &'static str, target: &str) -> Result<(), ConfigError> {
        let uri = OwnedUri::parse(target).ok();
        let uri = uri.as_ref().map(OwnedUri::view).filter(|uri| uri.is_sip() && uri.user().is_some());
        let Some(uri) = uri else {
            return Err(ConfigError::value(
                key,
                format!("{target} is not a SIP URI such as sip:box@example.org"),
            ));
        };
        let of = |domains: &[String]| domains.iter().any(|one| one.eq_ignore_ascii_case(uri.host_text()));
        let reached = of(&config.domains) || config.upstream.iter().any(|one| of(&one.domains));
        match self.how {
            How::Forward if !reached => Err(ConfigError::value(
                key,
                format!(
                    "{} is neither among the domains nor an [[upstream]]'s: register the voicemail server as an account, or let callers go there by `how = \"redirect\"`",
                    uri.host_text()
                ),
            )),
            How::Forward | How::Redirect => Ok(()),
        }
    }
}
