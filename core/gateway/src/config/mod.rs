//! The operator's file: small, every key with a default, every mistake named with its line and its cure.
//!
//! One module per section: what the file says, its defaults, and the checked value that a start makes of it.

mod account;
mod admin;
mod cluster;
mod fault;
mod limits;
mod listen;
mod mail;
mod provision;
mod push;
mod store;
mod timers;
pub(crate) mod tls;
mod trust;
mod upstream;
mod voicemail;

use std::path::Path;

use serde::Deserialize;
use wakeline_registrar as registrar;
use wakeline_secret::Secret;
use wakeline_sip_auth::Algorithm;

pub use self::account::{Account, VaultFile};
pub use self::admin::Admin;
pub use self::cluster::Cluster;
pub use self::fault::ConfigError;
pub use self::limits::Limits;
pub use self::listen::{Listen, Public};
pub use self::mail::Mail;
pub use self::provision::{Android, Ios, Provision};
pub(crate) use self::push::{APNS, APNS_SANDBOX, FCM};
pub use self::push::{Apns, Canary, Fcm, Hook, Push, WebPush};
pub use self::store::Store;
pub use self::timers::{Expiry, Timers};
pub use self::tls::Tls;
pub use self::trust::Trust;
pub use self::upstream::Upstream;
pub use self::voicemail::{How, Voicemail};

/// The example file: every key with its default and its meaning.
pub const EXAMPLE: &str = include_str!("../../gateway.toml");

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The domains we are registrar for.
    pub domains: Vec<String>,
    /// The digest realm; empty: the first domain.
    pub realm: String,
    /// Digest algorithms, the one we like best first.
    pub digest: Vec<String>,
    /// The Server header field; empty: none.
    pub server: String,
    /// Where to listen.
    pub listen: Listen,
    /// How we are reached.
    pub public: Public,
    /// The certificate.
    pub tls: Tls,
    /// What outlives the process.
    pub store: Store,
    /// This node among others.
    pub cluster: Cluster,
    /// Who may call without a password.
    pub trust: Trust,
    /// Who may register.
    pub account: Vec<Account>,
    /// Servers that some domains are passed on to.
    pub upstream: Vec<Upstream>,
    /// What sealed passwords are opened with.
    pub vault: VaultFile,
    /// Push services.
    pub push: Push,
    /// Waiting times, in seconds.
    pub timers: Timers,
    /// Lifetimes of bindings, in seconds.
    pub expiry: Expiry,
    /// Caps.
    pub limits: Limits,
    /// Where calls go that nobody took.
    pub voicemail: Voicemail,
    /// What waits for phones that sleep.
    pub mail: Mail,
    /// The administrator's view.
    pub admin: Admin,
    /// Settings for phones.
    pub provision: Provision,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            domains: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            realm: String::new(),
            digest: vec!["SHA-256".to_owned(), "MD5".to_owned()],
            server: String::new(),
            listen: Listen::default(),
            public: Public::default(),
            tls: Tls::default(),
            store: Store::default(),
            cluster: Cluster::default(),
            trust: Trust::default(),
            account: Vec::new(),
            upstream: Vec::new(),
            vault: VaultFile::default(),
            push: Push::default(),
            timers: Timers::default(),
            expiry: Expiry::default(),
            limits: Limits::default(),
            voicemail: Voicemail::default(),
            mail: Mail::default(),
            admin: Admin::default(),
            provision: Provision::default(),
        }
    }
}

impl Config {
    /// Reads a file's text.
    ///
    /// # Errors
    /// When it is not TOML, a key is unknown, or a value is of the wrong kind.
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::Text(Box::new(error)))
    }

    /// Reads a file. Relative paths in it are left as they are.
    ///
    /// # Errors
    /// As [`Config::from_toml`], and when the file cannot be read.
    pub fn from_file(path: &Path) -> Result<Config, ConfigError> {
        Config::from_toml(&read(path)?)
    }

    /// Reads a file and looks for what means nothing, as a start would.
    ///
    /// # Errors
    /// As [`Config::from_file`] and [`Config::faults`], with the line.
    pub fn sound_from_file(path: &Path) -> Result<Config, ConfigError> {
        let text = read(path)?;
        let config = Config::from_toml(&text)?;
        config.faults().map_err(|error| error.placed(&text))?;
        Ok(config)
    }

    /// The same gateway on ports that the system chooses: for tests, and for several on one machine.
    #[must_use]
    pub fn on_any_port(mut self) -> Config {
        let listen = &mut self.listen;
        let (admin, provision) = (&mut self.admin.listen, &mut self.provision.listen);
        let sip = [&mut listen.udp, &mut listen.tcp, &mut listen.tls, &mut listen.ws, &mut listen.wss];
        let all = sip.into_iter().chain([admin, provision]);
        for address in all.flatten() {
            address.set_port(0);
        }
        self
    }
    /// What the machine is told.
    pub(crate) fn for_registrar(&self, secret: Secret) -> Result<registrar::Config, ConfigError> {
        let first = self.domains.first().filter(|domain| !domain.is_empty());
        let first = first.ok_or_else(|| ConfigError::value("domains", "at least one domain is needed"))?;
        let mut config = registrar::Config::new(first, secret);
        config.domains = self.domains.iter().map(|domain| domain.to_ascii_lowercase()).collect();
        if !self.realm.is_empty() {
            config.realm.clone_from(&self.realm);
        }
        config.algorithms = self.algorithms()?;
        config.server.clone_from(&self.server);
        config.addresses = self.public.checked()?;
        config.trusted = self.trust.checked()?;
        config.trust_registered_connections = self.trust.registered_connections;
        self.push.announce(&mut config.push);
        self.timers.tell(&mut config.timers);
        (config.plain_expiry, config.push_expiry) = self.expiry.checked()?;
        let checked =
            |(block, one): (usize, &Upstream)| one.checked(self).map_err(|error| error.in_block(block));
        config.upstreams = self.upstream.iter().enumerate().map(checked).collect::<Result<_, _>>()?;
        self.limits.tell(&mut config.limits);
        self.mail.tell(&mut config);
        config.voicemail = Some(self.voicemail.checked(self)?);
        Ok(config)
    }

    /// The digest algorithms, read.
    fn algorithms(&self) -> Result<Vec<Algorithm>, ConfigError> {
        let known = |name: &String| Algorithm::parse(name).filter(|algorithm| !algorithm.is_session());
        let all: Option<Vec<Algorithm>> = self.digest.iter().map(known).collect();
        all.filter(|all| !all.is_empty()).ok_or_else(|| {
            ConfigError::value("digest", "SHA-256, MD5 and SHA-512-256 are known; at least one is needed")
        })
    }

    /// Looks for what means nothing, as a start would.
    ///
    /// # Errors
    /// The first fault, by the name of its key.
    pub fn faults(&self) -> Result<(), ConfigError> {
        self.for_registrar(Secret::from("none"))?;
        self.accounts()?;
        self.admin.checked()?;
        self.tls.checked()?;
        self.store.check()?;
        self.cluster.check(&self.store, !self.listen.tcp.is_empty())?;
        self.provision.check(self.store.is_on())
    }
}

/// A file's text.
pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        let config = match Config::from_toml(text) {
            Ok(config) => config,
            Err(error) => return error.to_string(),
        };
        let machine = config.for_registrar(Secret::from("s")).map(|_| ());
        machine
            .and(config.accounts().map(|_| ()))
            .and(config.admin.checked().map(|_| ()))
            .map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    #[test]
    fn the_example_shows_the_defaults() {
        assert_eq!(Config::from_toml(EXAMPLE).unwrap(), Config::default());
        assert_eq!(Config::from_toml("").unwrap(), Config::default());
        assert_eq!(error(EXAMPLE), "fine");
        // The commented account block is a valid one too, but for its missing password.
        let account: String = EXAMPLE
            .lines()
            .skip_while(|line| *line != "# [[account]]")
            .take_while(|line| !line.is_empty())
            .map(|line| format!("{}\n", line.trim_start_matches("# ")))
            .collect();
        assert_eq!(Config::from_toml(&account).unwrap().account[0].user, "mia");
    }

    #[test]
    fn mistakes_are_named_with_their_cure() {
        for (text, told) in [
            ("domain = []", "unknown field `domain`"),
            ("domains = []", "at least one domain"),
            ("digest = []", "SHA-256, MD5 and"),
            ("digest = [\"MD5\", \"SHA-1\"]", "SHA-256, MD5 and"),
            ("digest = [\"md5\"]", "fine"),
            ("[listen]\nudp = [\"nowhere\"]", "line 2"),
            ("[trust]\nnetworks = [\"10.0.0.0/99\"]", "10.0.0.0/99"),
            ("[trust]\nnetworks = [\"10.0.0.0/8\", \"::1\"]", "fine"),
            ("[public]\ntls = \"a b\"", "`host` or `host:port`"),
            ("[public]\ntls = \"sip.example.org:5061\"\nws = \"[::1]:80\"\nudp = \"2001:db8::1\"", "fine"),
            ("[expiry]\nplain_min = 9999", "must not fall"),
            ("[expiry]\npush_min = 60", "RFC 8599"),
            ("[[upstream]]\ndomains = [\"pbx.example.org\"]", "upstream.next_hops: at least one"),
            ("[[upstream]]\nnext_hops = [\"sip:a\"]", "upstream.domains: at least one"),
            ("[[upstream]]\ndomains = [\"x\"]\nnext_hops = [\"a:5060\"]", "is not a next hop"),
            ("[[upstream]]\ndomains = [\"x\"]\nnext_hops = [\"sip:a;transport=ws\"]", "is not a next hop"),
            ("[[upstream]]\ndomains = [\"localhost\"]\nnext_hops = [\"sip:a\"]", "among the gateway's own"),
            (
                "[[upstream]]\ndomains = [\"x\"]\nnext_hops = [\"sip:a\"]\nnetworks = [\"b\"]",
                "upstream.networks",
            ),
            ("[[upstream]]\ndomains = [\"x\"]\nnext_hops = [\"sips:a\"]\npin = \"12\"", "64 hex digits"),
            ("listen.udp = []\n[[upstream]]\ndomains = [\"x\"]\nnext_hops = [\"sip:a\"]", "listen.udp"),
            (
                "[[upstream]]\ndomains = [\"x\", \"y\"]\nnext_hops = [\"sip:a\", \"sip:[::1]:5080;transport=tcp\"]",
                "fine",
            ),
            ("[push.apns]\nkey = \"k\"", "unknown field `key`"),
            ("[push.hook]\nproviders = \"hms\"", "line 2"),
            ("[voicemail]\ntarget = \"box\"", "is not a SIP URI"),
            ("[voicemail]\ntarget = \"sip:box@elsewhere.example\"", "how = \"redirect\""),
            ("[voicemail]\ntarget = \"sip:box@elsewhere.example\"\nhow = \"redirect\"", "fine"),
            ("[voicemail]\ntarget = \"sip:box@localhost\"", "fine"),
            ("[[account]]\nuser = \"a\"\npassword = \"p\"\nvoicemail = \"sip:b@c\"", "neither among"),
            ("[[account]]\nuser = \"a\"\npassword = \"p\"\nvoicemail = \"none\"", "fine"),
            ("[[account]]\nuser = \"a\"", "a: a password"),
            ("[[account]]\nuser = \"a\"\nsealed = \"v1.x\"", "domain of an [[upstream]]"),
            (
                "[[upstream]]\ndomains = [\"x\"]\nnext_hops = [\"sip:a\"]\n[[account]]\nuser = \"a\"\ndomain = \"X\"\npassword = \"p\"",
                "--seal a@x",
            ),
            (
                "[[upstream]]\ndomains = [\"x\"]\nnext_hops = [\"sip:a\"]\n[[account]]\nuser = \"a\"\ndomain = \"x\"\nsealed = \"v1.x\"",
                "vault.key_file",
            ),
            ("[[account]]\nuser = \"a\"\npassword = \"p\"\ndomain = \"b\"", "b is not among the domains"),
            ("[[account]]\nuser = \"a\"\nmd5 = \"12\"", "32 hex digits"),
            (
                "[[account]]\nuser = \"a\"\npassword = \"p\"\nmd5 = \"00112233445566778899aabbccddeeff\"",
                "not both",
            ),
            ("[[account]]\nuser = \"a\"\nmd5 = \"00112233445566778899AABBCCDDEEFF\"", "fine"),
            ("[admin]\nlisten = [\"127.0.0.1:5080\", \"[::1]:5080\"]", "fine"),
            ("[admin]\nlisten = [\"0.0.0.0:5080\"]", "a token is needed"),
            ("[admin]\nlisten = [\"0.0.0.0:5080\"]\ntoken = \"0123456789abcdef\"", "fine"),
            ("[admin]\ntoken = \"short\"", "at least 16"),
        ] {
            let message = error(text);
            assert!(message.contains(told), "{text}: {message}");
        }
    }

    #[test]
    fn s23_no_password_in_debug() {
        let config = Config::from_toml("[[account]]\nuser = \"a\"\npassword = \"hunter2\"").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        let push = "[push.hook]\nsecret = \"hunter2\"\n[[push.canary]]\ntoken = \"hunter2\"";
        assert!(!format!("{:?}", Config::from_toml(push).unwrap()).contains("hunter2"));
    }
}
