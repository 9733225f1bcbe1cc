//! `[[account]]` and `[vault]`: who may register, and what sealed passwords are opened with.

use std::path::PathBuf;

use serde::Deserialize;
use wakeline_registrar as registrar;
use wakeline_secret::Secret;

use super::{Config, ConfigError};
use crate::vault::Vault;

/// Where the key of sealed passwords is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaultFile {
    /// The key file; empty: none.
    pub key_file: PathBuf,
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Account {
    /// The user part.
    pub user: String,
    /// The domain; empty: the first.
    pub domain: String,
    /// The password, or the digest secrets below.
    pub password: Secret,
    /// H(user:realm:password) with MD5, hex.
    pub md5: Secret,
    /// With SHA-256.
    pub sha256: Secret,
    /// With SHA-512-256.
    pub sha512_256: Secret,
    /// Where calls go that nobody took: a SIP URI, `none`, or empty for the gateway's.
    pub voicemail: String,
    /// In the domain of an upstream: the password there, sealed.
    pub sealed: String,
    /// The digest user name there; empty: the user part.
    pub upstream_user: String,
}

impl Config {
    /// The accounts, checked.
    pub(crate) fn accounts(&self) -> Result<Vec<registrar::Account>, ConfigError> {
        let checked = |(block, account)| self.account(account).map_err(|error| error.in_block(block));
        self.account.iter().enumerate().map(checked).collect()
    }

    /// An account that the gateway registers at its upstream itself.
    fn kept_account(
        &self,
        account: &Account,
        domain: String,
        clear: bool,
    ) -> Result<registrar::Account, ConfigError> {
        let wrong = |why: String| ConfigError::value("account", why);
        let name = format!("{}@{domain}", account.user);
        if clear || account.sealed.is_empty() {
            return Err(wrong(format!(
                "{name}: an upstream's password is kept sealed; `wakeline gateway --config FILE --seal {name}` prints the line. \
                 Without an account here the phone's own digest passes through"
            )));
        }
        let vault = Vault::open(&self.vault.key_file).map_err(|error| wrong(error.to_string()))?;
        let password = vault.unseal(&name, &account.sealed).map_err(|error| wrong(error.to_string()))?;
        let username = match account.upstream_user.as_str() {
            "" => account.user.clone(),
            named => named.to_owned(),
        };
        Ok(registrar::Account {
            user: account.user.clone(),
            domain,
            credential: registrar::Credential::Password(password.clone()),
            upstream: Some(registrar::UpstreamCredential { username, password }),
            voicemail: self.own_voicemail(account)?,
        })
    }

    fn own_voicemail(&self, account: &Account) -> Result<Option<String>, ConfigError> {
        match account.voicemail.as_str() {
            "" => Ok(None),
            "none" => Ok(Some(String::new())),
            target => {
                self.voicemail.check(self, "account", target)?;
                Ok(Some(target.to_owned()))
            }
        }
    }

    fn account(&self, account: &Account) -> Result<registrar::Account, ConfigError> {
        let wrong = |why: String| ConfigError::value("account", why);
        if account.user.is_empty() {
            return Err(wrong("every account needs a user".to_owned()));
        }
        let domain = match account.domain.as_str() {
            "" => self.domains.first().cloned().unwrap_or_default(),
            domain => domain.to_ascii_lowercase(),
        };
        let clear = [&account.password, &account.md5, &account.sha256, &account.sha512_256];
        let clear = clear.into_iter().any(|secret| !secret.is_empty());
        if self
            .upstream
            .iter()
            .any(|one| one.domains.iter().any(|theirs| theirs.eq_ignore_ascii_case(&domain)))
        {
            return self.kept_account(account, domain, clear);
        }
        if !account.sealed.is_empty() || !account.upstream_user.is_empty() {
            let why = "`sealed` and `upstream_user` are for accounts in the domain of an [[upstream]]";
            return Err(wrong(format!("{}: {why}", account.user)));
        }
        if !self.domains.iter().any(|ours| ours.eq_ignore_ascii_case(&domain)) {
            return Err(wrong(format!("{}: {domain} is not among the domains", account.user)));
        }
        let digest = |name: &str, secret: &Secret, length: usize| match secret.expose() {
            "" => Ok(None),
            text if text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Ok(Some(Secret::from(text.to_ascii_lowercase())))
            }
            _ => Err(wrong(format!("{}: {name} must be {length} hex digits", account.user))),
        };
        let ha1 = (
            digest("md5", &account.md5, 32)?,
            digest("sha256", &account.sha256, 64)?,
            digest("sha512_256", &account.sha512_256, 64)?,
        );
        let credential = match (account.password.is_empty(), ha1) {
            (false, (None, None, None)) => registrar::Credential::Password(account.password.clone()),
            (true, (None, None, None)) => {
                return Err(wrong(format!("{}: a password or a digest secret is needed", account.user)));
            }
            (true, (md5, sha256, sha512_256)) => registrar::Credential::Ha1 { md5, sha256, sha512_256 },
            (false, _) => {
                return Err(wrong(format!(
                    "{}: either a password or digest secrets, not both",
                    account.user
                )));
            }
        };
        Ok(registrar::Account {
            user: account.user.clone(),
            domain,
            credential,
            upstream: None,
            voicemail: self.own_voicemail(account)?,
        })
    }
}
