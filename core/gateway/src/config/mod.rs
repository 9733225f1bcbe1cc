//! The operator's file: small, every key with a default, every mistake named with its cure.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use wakeline_flow::Transport;
use wakeline_registrar as registrar;
use wakeline_secret::Secret;
use wakeline_sip_auth::Algorithm;

use crate::admin::Access;
pub use crate::provision::settings::{Android, Ios, Provision};
pub use crate::push::settings::{Apns, Canary, Fcm, Hook, Push, WebPush};
pub use crate::upstream::Upstream;
use crate::vault::Vault;

/// The example file: every key with its default and its meaning.
pub const EXAMPLE: &str = include_str!("../gateway.toml");

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration: cannot read {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, has an unknown key, or a value of the wrong kind; the text names the line.
    #[error("configuration: {0}")]
    Text(Box<toml::de::Error>),
    /// A value means nothing.
    #[error("configuration: {key}: {why}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong and what would be right.
        why: String,
    },
}

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
    /// The administrator's view.
    pub admin: Admin,
    /// Settings for phones.
    pub provision: Provision,
}

/// The administrator's view.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// What must be shown; empty: nothing, on loopback only.
    pub token: Secret,
}

/// Addresses per transport.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// UDP.
    pub udp: Vec<SocketAddr>,
    /// TCP.
    pub tcp: Vec<SocketAddr>,
    /// TLS.
    pub tls: Vec<SocketAddr>,
    /// WebSocket.
    pub ws: Vec<SocketAddr>,
    /// WebSocket under TLS.
    pub wss: Vec<SocketAddr>,
}

/// Names per transport, `host` or `host:port`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Public {
    /// UDP.
    pub udp: String,
    /// TCP.
    pub tcp: String,
    /// TLS.
    pub tls: String,
    /// WebSocket.
    pub ws: String,
    /// WebSocket under TLS.
    pub wss: String,
}

/// The certificate's files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM chain; empty: self-signed.
    pub certificate: PathBuf,
    /// PEM key.
    pub key: PathBuf,
    /// Sessions that may be resumed.
    pub sessions: usize,
}

/// The store's place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// SQLite file; empty: none.
    pub path: PathBuf,
}

/// Trusted peers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Trust {
    /// Networks or single addresses.
    pub networks: Vec<String>,
    /// Whether an authenticated REGISTER vouches for its TLS connection.
    pub registered_connections: bool,
}

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
    /// In the domain of an upstream: the password there, sealed.
    pub sealed: String,
    /// The digest user name there; empty: the user part.
    pub upstream_user: String,
}

/// Waiting times, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timers {
    /// A connection counts as proven.
    pub proven: u64,
    /// From push to REGISTER.
    pub wake: u64,
    /// The same with web push.
    pub wake_webpush: u64,
    /// From INVITE to the end of ringing.
    pub ring_total: u64,
    /// Memory of ended calls.
    pub memory: u64,
    /// Keep-alive interval of phones.
    pub flow_timer: u64,
}

/// Lifetimes of bindings, in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expiry {
    /// Without push: at least.
    pub plain_min: u32,
    /// When none is asked for.
    pub plain_default: u32,
    /// At most.
    pub plain_max: u32,
    /// With push: at least.
    pub push_min: u32,
    /// When none is asked for.
    pub push_default: u32,
    /// At most.
    pub push_max: u32,
}

/// Caps.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Unregistered connections from one address.
    pub unregistered_per_source: usize,
    /// Altogether.
    pub unregistered: usize,
    /// Seconds after which one is closed.
    pub unregistered_seconds: u64,
    /// Bindings.
    pub bindings: usize,
    /// Of one address of record.
    pub bindings_per_aor: usize,
    /// Requests in progress.
    pub requests: usize,
    /// Towards one address of record.
    pub requests_per_aor: usize,
    /// Wakes a minute.
    pub wakes_per_minute: u16,
    /// Wakes an hour.
    pub wakes_per_hour: u16,
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
            trust: Trust::default(),
            account: Vec::new(),
            upstream: Vec::new(),
            vault: VaultFile::default(),
            push: Push::default(),
            timers: Timers::default(),
            expiry: Expiry::default(),
            limits: Limits::default(),
            admin: Admin::default(),
            provision: Provision::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Listen {
        let on = |port: u16| vec![SocketAddr::from(([127, 0, 0, 1], port))];
        Listen { udp: on(5060), tcp: on(5060), tls: on(5061), ws: on(5066), wss: on(5067) }
    }
}

impl Default for Tls {
    fn default() -> Tls {
        Tls { certificate: PathBuf::new(), key: PathBuf::new(), sessions: 100_000 }
    }
}

impl Default for Trust {
    fn default() -> Trust {
        Trust { networks: Vec::new(), registered_connections: true }
    }
}

impl Default for Timers {
    fn default() -> Timers {
        Timers { proven: 15, wake: 20, wake_webpush: 35, ring_total: 55, memory: 90, flow_timer: 120 }
    }
}

impl Default for Expiry {
    fn default() -> Expiry {
        Expiry {
            plain_min: 60,
            plain_default: 3600,
            plain_max: 7200,
            push_min: 3600,
            push_default: 7 * 86_400,
            push_max: 30 * 86_400,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            unregistered_per_source: 512,
            unregistered: 20_000,
            unregistered_seconds: 30,
            bindings: 1_000_000,
            bindings_per_aor: 10,
            requests: 200_000,
            requests_per_aor: 20,
            wakes_per_minute: 6,
            wakes_per_hour: 30,
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
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.display().to_string(), source })?;
        Config::from_toml(&text)
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
        let value = |key, why: &str| ConfigError::Value { key, why: why.to_owned() };
        let first = self.domains.first().filter(|domain| !domain.is_empty());
        let first = first.ok_or_else(|| value("domains", "at least one domain is needed"))?;
        let mut config = registrar::Config::new(first, secret);
        config.domains = self.domains.iter().map(|domain| domain.to_ascii_lowercase()).collect();
        if !self.realm.is_empty() {
            config.realm.clone_from(&self.realm);
        }
        let unknown = "SHA-256, MD5 and SHA-512-256 are known; at least one is needed";
        let named = |name: &String| Algorithm::parse(name).filter(|algorithm| !algorithm.is_session());
        let algorithms: Option<Vec<Algorithm>> = self.digest.iter().map(named).collect();
        let algorithms = algorithms.filter(|algorithms| !algorithms.is_empty());
        config.algorithms = algorithms.ok_or_else(|| value("digest", unknown))?;
        config.server.clone_from(&self.server);
        config.addresses = self.public.addresses()?;
        config.trusted = self
            .trust
            .networks
            .iter()
            .map(|text| network("trust.networks", text))
            .collect::<Result<_, _>>()?;
        config.trust_registered_connections = self.trust.registered_connections;
        self.push.announce(&mut config.push);
        let seconds = Duration::from_secs;
        config.timers.proven = seconds(self.timers.proven);
        config.timers.wake = seconds(self.timers.wake);
        config.timers.wake_webpush = seconds(self.timers.wake_webpush);
        config.timers.ring_total = seconds(self.timers.ring_total);
        config.timers.memory = seconds(self.timers.memory);
        config.timers.flow_timer = seconds(self.timers.flow_timer);
        let expiry = |key, min: u32, default: u32, max: u32| {
            if min <= default && default <= max {
                Ok(registrar::Expiry { min, default, max })
            } else {
                Err(value(key, "min, default and max must not fall"))
            }
        };
        let (plain, push) = ("expiry.plain_min", "expiry.push_min");
        let times = &self.expiry;
        config.plain_expiry = expiry(plain, times.plain_min, times.plain_default, times.plain_max)?;
        config.push_expiry = expiry(push, times.push_min, times.push_default, times.push_max)?;
        if self.expiry.push_min <= 120 {
            return Err(value(
                push,
                "a push binding must leave 120 seconds to wake its phone (RFC 8599 §5.5)",
            ));
        }
        config.upstreams = self.upstream.iter().map(|one| one.checked(self)).collect::<Result<_, _>>()?;
        config.limits.bindings = self.limits.bindings;
        config.limits.bindings_per_aor = self.limits.bindings_per_aor;
        config.limits.contexts = self.limits.requests;
        config.limits.contexts_per_aor = self.limits.requests_per_aor;
        let wakes = registrar::Allowance {
            per_minute: self.limits.wakes_per_minute,
            per_hour: self.limits.wakes_per_hour,
        };
        config.limits.wakes_per_aor = wakes;
        config.limits.wakes_per_caller = wakes;
        Ok(config)
    }

    /// Looks for what means nothing, as a start would.
    ///
    /// # Errors
    /// The first fault, by the name of its key.
    pub fn faults(&self) -> Result<(), ConfigError> {
        self.for_registrar(Secret::from("none"))?;
        self.accounts()?;
        self.admin_access()?;
        self.provision.check(!self.store.path.as_os_str().is_empty())
    }

    /// Who may see the administrator's view, checked: without a token it stays on this machine.
    pub(crate) fn admin_access(&self) -> Result<Access, ConfigError> {
        const SHORTEST: usize = 16;
        let wrong = |why: String| ConfigError::Value { key: "admin.token", why };
        let token = &self.admin.token;
        if token.is_empty() {
            return match self.admin.listen.iter().find(|address| !address.ip().is_loopback()) {
                None => Ok(Access::ThisMachine),
                Some(address) => Err(wrong(format!(
                    "{address} can be reached from other machines, so a token is needed; or listen on 127.0.0.1"
                ))),
            };
        }
        if token.expose().len() < SHORTEST {
            return Err(wrong(format!("at least {SHORTEST} characters; `openssl rand -hex 16` makes one")));
        }
        Ok(Access::Token(token.clone()))
    }

    /// The accounts, checked.
    pub(crate) fn accounts(&self) -> Result<Vec<registrar::Account>, ConfigError> {
        self.account.iter().map(|account| self.account(account)).collect()
    }

    /// An account that the gateway registers at its upstream itself.
    fn kept_account(
        &self,
        account: &Account,
        domain: String,
        clear: bool,
    ) -> Result<registrar::Account, ConfigError> {
        let wrong = |why: String| ConfigError::Value { key: "account", why };
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
        })
    }

    fn account(&self, account: &Account) -> Result<registrar::Account, ConfigError> {
        let wrong = |why: String| ConfigError::Value { key: "account", why };
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
        Ok(registrar::Account { user: account.user.clone(), domain, credential, upstream: None })
    }
}

impl Public {
    fn addresses(&self) -> Result<Vec<registrar::PublicAddress>, ConfigError> {
        let named = [
            (Transport::Udp, "public.udp", &self.udp),
            (Transport::Tcp, "public.tcp", &self.tcp),
            (Transport::Tls, "public.tls", &self.tls),
            (Transport::Ws, "public.ws", &self.ws),
            (Transport::Wss, "public.wss", &self.wss),
        ];
        let mut addresses = Vec::new();
        for (transport, key, text) in named {
            if text.is_empty() {
                continue;
            }
            let wrong = || ConfigError::Value { key, why: format!("{text:?} is not `host` or `host:port`") };
            // A colon within brackets, or more than one of them, belongs to an IPv6 address.
            let (host, port) = match text.rsplit_once(':') {
                Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                    (host, Some(port.parse().map_err(|_| wrong())?))
                }
                Some(_) | None => (text.as_str(), None),
            };
            let host = match host.parse::<std::net::Ipv6Addr>() {
                Ok(address) => format!("[{address}]"),
                Err(_) => host.to_owned(),
            };
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
            if host.is_empty() || !host.bytes().all(allowed) {
                return Err(wrong());
            }
            addresses.push(registrar::PublicAddress { transport, host, port });
        }
        Ok(addresses)
    }
}

/// A network, or a single address.
pub(crate) fn network(key: &'static str, text: &str) -> Result<registrar::TrustedPeer, ConfigError> {
    let wrong = || ConfigError::Value {
        key,
        why: format!("{text:?} is not an address or a network such as 192.0.2.0/24"),
    };
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let network: IpAddr = address.trim().parse().map_err(|_| wrong())?;
    let bits = if network.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Ok(bits), |prefix| prefix.trim().parse().map_err(|_| wrong()))?;
    if prefix > bits {
        return Err(wrong());
    }
    Ok(registrar::TrustedPeer { network, prefix })
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
            .and(config.admin_access().map(|_| ()))
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
