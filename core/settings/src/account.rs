//! Who the phone is, and how it registers.

use wakeline_secret::Secret;

use crate::check::is_ha1;
use crate::host::HostPort;
use crate::store::Settings;

/// The account group, as the phone obeys it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccountSettings {
    /// `serveraddress`; `None` when there is no server and only whole URIs are dialled (B-173).
    pub server: Option<HostPort>,
    /// `proxyaddress`: the outbound proxy.
    pub proxy: Option<HostPort>,
    /// `username`: user part of the address of record. Empty when nothing is known.
    pub username: String,
    /// The name for authentication: `sipusername`, or `username` (B-068).
    pub auth_username: String,
    /// `password` or `md5`.
    pub credential: Credential,
    /// `displayname`.
    pub display_name: Option<String>,
    /// `realm`, or the server's host: the domain of the address of record.
    pub domain: String,
    /// `realm` as far as it was set: the only realm to authenticate for. `None`: the server names it.
    pub realm: Option<String>,
    /// `register`.
    pub register: RegisterMode,
    /// `registerinterval` in seconds, as far as it was set; see [`AccountSettings::expires`].
    pub register_interval: Option<u32>,
    /// Whether a call waits for the registration: `mustconnect`, or `register` 2 (B-065).
    pub must_connect: bool,
    /// `forcereregister`.
    pub reregister: Reregister,
    /// `needunregister`: remove the binding on stop.
    pub unregister_on_stop: bool,
    /// `unregall`: by `Contact: *`.
    pub unregister_all: bool,
}

/// The secret for digest authentication.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Credential {
    /// None: `password` is empty or `nopassword` (B-083).
    None,
    /// The password itself.
    Password(Secret),
    /// `md5`: MD5 of `username:realm:password` in hex (RFC 7616 §3.4.2).
    Ha1(Secret),
}

/// When to register (B-064, B-065, B-067).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegisterMode {
    /// 0: no REGISTER is ever sent.
    Never,
    /// 1: when server and user are known.
    WhenKnown,
    /// 2: always, and before any call.
    Required,
}

/// Whether to come back after an unexpected loss (B-071).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reregister {
    /// 0: no.
    Never,
    /// 1: if an earlier registration had succeeded.
    AfterSuccess,
    /// 2: whatever the error was.
    Always,
}

impl AccountSettings {
    /// Whether `start` is to register (B-064).
    pub fn is_to_register(&self) -> bool {
        match self.register {
            RegisterMode::Never => false,
            RegisterMode::WhenKnown | RegisterMode::Required => {
                self.server.is_some() && !self.username.is_empty()
            }
        }
    }

    /// The seconds that a REGISTER asks for: what was set; a week for a binding that a push wakes; else five minutes,
    /// or two over UDP, where the path through address translators closes sooner.
    pub fn expires(&self, push: bool, over_udp: bool) -> u32 {
        self.register_interval.unwrap_or(match (push, over_udp) {
            (true, _) => 7 * 24 * 3600,
            (false, true) => 120,
            (false, false) => 300,
        })
    }
}

impl Settings {
    /// The account group.
    pub fn account(&self) -> AccountSettings {
        let server = self.text("serveraddress").and_then(HostPort::parse);
        let own = self.text("username").unwrap_or("").trim();
        let auth = self.text("sipusername").unwrap_or("").trim();
        let credential = match (self.text("password"), self.text("md5")) {
            (Some(password), _) if password != "nopassword" => Credential::Password(password.into()),
            (_, Some(ha1)) if is_ha1(ha1) => Credential::Ha1(ha1.to_ascii_lowercase().into()),
            (Some(_) | None, Some(_) | None) => Credential::None,
        };
        let realm = self.text("realm").map(str::trim).filter(|realm| !realm.is_empty()).map(str::to_owned);
        let domain = realm.clone().or_else(|| server.as_ref().map(|server| server.host.clone()));
        let register = match self.number("register") {
            Some(0) => RegisterMode::Never,
            Some(2) => RegisterMode::Required,
            Some(_) | None => RegisterMode::WhenKnown,
        };
        AccountSettings {
            proxy: self.text("proxyaddress").and_then(HostPort::parse),
            // One name alone serves for both.
            username: if own.is_empty() { user_part(auth) } else { own }.to_owned(),
            auth_username: if auth.is_empty() { own } else { auth }.to_owned(),
            credential,
            display_name: self.text("displayname").map(str::to_owned),
            domain: domain.unwrap_or_default(),
            realm,
            register,
            register_interval: self
                .number("registerinterval")
                .and_then(|seconds| u32::try_from(seconds).ok())
                .filter(|seconds| *seconds > 0),
            must_connect: register == RegisterMode::Required || self.switch("mustconnect", false),
            reregister: match self.number("forcereregister") {
                Some(0) => Reregister::Never,
                Some(2) => Reregister::Always,
                Some(_) | None => Reregister::AfterSuccess,
            },
            unregister_on_stop: self.switch("needunregister", true),
            unregister_all: self.switch("unregall", false),
            server,
        }
    }
}

/// The user in `user@domain`.
fn user_part(name: &str) -> &str {
    name.split_once('@').map_or(name, |(user, _)| user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    fn account(pairs: &[(&str, &str)]) -> AccountSettings {
        let mut settings = Settings::new();
        for (name, value) in pairs {
            assert!(settings.set(name, value, Source::File), "{name}");
        }
        settings.account()
    }

    #[test]
    fn serveraddress_with_and_without_a_port() {
        let account = account(&[("serveraddress", "sip.example:5070"), ("proxyaddress", "[::1]:5061")]);
        assert_eq!(account.server, HostPort::parse("sip.example:5070"));
        assert_eq!(account.domain, "sip.example");
        assert_eq!(account.proxy.map(|proxy| proxy.host).as_deref(), Some("::1"));
    }

    #[test]
    fn b068_one_name_serves_for_both_and_two_are_kept_apart() {
        let one = account(&[("username", "mia")]);
        assert_eq!((one.username.as_str(), one.auth_username.as_str()), ("mia", "mia"));
        let other = account(&[("sipusername", "mia@voice.example")]);
        assert_eq!((other.username.as_str(), other.auth_username.as_str()), ("mia", "mia@voice.example"));
        let both = account(&[("username", "100"), ("sipusername", "mia")]);
        assert_eq!((both.username.as_str(), both.auth_username.as_str()), ("100", "mia"));
    }

    #[test]
    fn b083_nopassword_is_none_and_md5_stands_in() {
        let ha1 = "939E7578ED9E3C518A452ACEE763BCE9";
        assert_eq!(account(&[("password", "nopassword")]).credential, Credential::None);
        assert_eq!(account(&[("password", "x")]).credential, Credential::Password("x".into()));
        assert_eq!(account(&[("md5", ha1)]).credential, Credential::Ha1(ha1.to_lowercase().into()));
        assert_eq!(
            account(&[("password", "nopassword"), ("md5", ha1)]).credential,
            Credential::Ha1(ha1.to_lowercase().into())
        );
    }

    #[test]
    fn b064_b067_register_says_when() {
        let known = [("serveraddress", "s.example"), ("username", "mia")];
        assert!(account(&known).is_to_register());
        assert!(!account(&known[..1]).is_to_register());
        assert!(!account(&[known[0], known[1], ("register", "false")]).is_to_register());
        let required = account(&[("register", "2")]);
        assert!(required.must_connect);
        assert!(account(&[("mustconnect", "true")]).must_connect);
    }

    #[test]
    fn b070_registerinterval_or_what_fits_the_path() {
        let set = account(&[("registerinterval", "60")]);
        assert_eq!(set.expires(true, true), 60);
        let unset = account(&[]);
        assert_eq!((unset.expires(false, true), unset.expires(false, false)), (120, 300));
        assert_eq!(unset.expires(true, false), 604_800);
    }

    #[test]
    fn b071_b072_loss_and_stop() {
        let by_default = account(&[]);
        assert_eq!(by_default.reregister, Reregister::AfterSuccess);
        assert!(by_default.unregister_on_stop && !by_default.unregister_all);
        let set = account(&[("forcereregister", "2"), ("needunregister", "false"), ("unregall", "1")]);
        assert_eq!(set.reregister, Reregister::Always);
        assert!(!set.unregister_on_stop && set.unregister_all);
        assert_eq!(account(&[("forcereregister", "0")]).reregister, Reregister::Never);
    }

    #[test]
    fn realm_is_the_domain_when_set() {
        let account = account(&[
            ("serveraddress", "10.0.0.1:5070"),
            ("realm", "voice.example"),
            ("displayname", "Mia"),
        ]);
        assert_eq!(
            (account.domain.as_str(), account.realm.as_deref()),
            ("voice.example", Some("voice.example"))
        );
        assert_eq!(account.display_name.as_deref(), Some("Mia"));
    }
}
