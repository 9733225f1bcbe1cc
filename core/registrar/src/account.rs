//! Who may register and be called: accounts and their addresses of record.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use wakeline_secret::Secret;
use wakeline_sip_auth::{Algorithm, Ha1};

use crate::keyed::{Keyed, Table};
use crate::number::{AorId, BindingId};

/// One account. Its address of record is `user@domain`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// The user part, without escapes; also the digest user name.
    pub user: String,
    /// The domain, lower case; one of the configuration's.
    pub domain: String,
    /// What its digests are checked against.
    pub credential: Credential,
    /// What the gateway itself registers with, in a domain of an upstream; its phones then prove themselves to us. Never
    /// written with the rest: a password at rest is sealed.
    #[serde(skip)]
    pub upstream: Option<UpstreamCredential>,
    /// A SIP URI for calls that nobody took, in place of the gateway's; empty: none.
    #[serde(default)]
    pub voicemail: Option<String>,
}

/// A password that the gateway keeps for an account at an upstream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpstreamCredential {
    /// The user name of the digest.
    pub username: String,
    /// The password.
    pub password: Secret,
}

/// What is stored of a password.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Credential {
    /// The password itself.
    Password(Secret),
    /// `H(user:realm:password)` per algorithm (RFC 7616 §3.4.2), lower-case hex; an algorithm that is missing is not
    /// accepted for this account.
    Ha1 {
        /// With MD5.
        md5: Option<Secret>,
        /// With SHA-256.
        sha256: Option<Secret>,
        /// With SHA-512-256.
        sha512_256: Option<Secret>,
    },
    /// Nothing: an upstream knows it, and checks it itself.
    AtUpstream,
}

/// An account at work.
pub(crate) struct Entry {
    /// `user@domain`.
    name: Box<str>,
    user_length: u16,
    pub(crate) credential: Credential,
    pub(crate) voicemail: Option<Box<str>>,
    pub(crate) bindings: SmallVec<[BindingId; 2]>,
}

impl Entry {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn user(&self) -> &str {
        self.name.get(..usize::from(self.user_length)).unwrap_or("")
    }

    pub(crate) fn domain(&self) -> &str {
        self.name.get(usize::from(self.user_length) + 1..).unwrap_or("")
    }
}

/// `user@domain` in the one spelling that names are compared in: users as they are, domains in lower case (RFC 3261
/// §19.1.4).
pub(crate) fn name_of(user: &str, host: &str) -> String {
    let mut name = String::with_capacity(user.len() + 1 + host.len());
    name.push_str(user);
    name.push('@');
    name.push_str(host);
    name[user.len()..].make_ascii_lowercase();
    name
}

/// All accounts. A removed account's number is not used again.
pub(crate) struct Accounts {
    entries: Vec<Option<Entry>>,
    by_name: Table<u64, AorId>,
    keyed: Keyed,
    domains: Vec<String>,
    /// What is hashed for whoever has no password here; as long as one.
    nobodys: Secret,
    living: usize,
}

impl Accounts {
    pub(crate) fn new(domains: &[String], keyed: Keyed) -> Accounts {
        let domains = domains.iter().map(|domain| domain.to_ascii_lowercase()).collect();
        Accounts {
            entries: Vec::new(),
            by_name: keyed.table(),
            keyed,
            domains,
            nobodys: Secret::from("nobody's"),
            living: 0,
        }
    }

    /// Adds an account or replaces its credential.
    pub(crate) fn put(&mut self, account: Account) -> AorId {
        let name = name_of(&account.user, &account.domain);
        if let Some(id) = self.by_text(&name) {
            if let Some(entry) = self.get_mut(id) {
                entry.credential = account.credential;
                entry.voicemail = account.voicemail.map(String::into_boxed_str);
            }
            return id;
        }
        let id = AorId(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        self.by_name.insert(self.keyed.digest(name.as_bytes()), id);
        self.entries.push(Some(Entry {
            user_length: u16::try_from(account.user.len()).unwrap_or(u16::MAX),
            name: name.into_boxed_str(),
            credential: account.credential,
            voicemail: account.voicemail.map(String::into_boxed_str),
            bindings: SmallVec::new(),
        }));
        self.living += 1;
        id
    }

    /// Takes an account away; gives what hung on it.
    pub(crate) fn remove(&mut self, id: AorId) -> Option<Entry> {
        let entry = self.entries.get_mut(id.0 as usize)?.take()?;
        self.by_name.remove(&self.keyed.digest(entry.name.as_bytes()));
        self.living -= 1;
        Some(entry)
    }

    pub(crate) fn get(&self, id: AorId) -> Option<&Entry> {
        self.entries.get(id.0 as usize)?.as_ref()
    }

    /// The living entries from a number on.
    pub(crate) fn starting_at(&self, from: u32) -> impl Iterator<Item = (AorId, &Entry)> {
        let start = usize::try_from(from).unwrap_or(usize::MAX).min(self.entries.len());
        let numbers = from..;
        let entries = self.entries.get(start..).unwrap_or(&[]);
        numbers.zip(entries).filter_map(|(number, entry)| Some((AorId(number), entry.as_ref()?)))
    }

    pub(crate) fn get_mut(&mut self, id: AorId) -> Option<&mut Entry> {
        self.entries.get_mut(id.0 as usize)?.as_mut()
    }

    /// By `user@domain` as stored.
    pub(crate) fn by_text(&self, name: &str) -> Option<AorId> {
        let id = *self.by_name.get(&self.keyed.digest(name.as_bytes()))?;
        self.get(id).is_some_and(|entry| entry.name() == name).then_some(id)
    }

    /// Whether a host is one of our domains.
    pub(crate) fn is_ours(&self, host: &str) -> bool {
        self.domains.iter().any(|domain| domain.eq_ignore_ascii_case(host))
    }

    /// The domain of a digest user name without one.
    pub(crate) fn first_domain(&self) -> &str {
        self.domains.first().map_or("", String::as_str)
    }

    /// By user and host of a URI. A host that is ours but has no such account stands for the first domain: clients
    /// write our address for our name.
    pub(crate) fn find(&self, user: &str, host: &str) -> Option<AorId> {
        let mut name = name_of(user, host);
        self.by_text(&name).or_else(|| {
            let first = self.domains.first()?;
            if !self.is_ours(host) || first.eq_ignore_ascii_case(host) {
                return None;
            }
            name.truncate(user.len() + 1);
            name.push_str(first);
            self.by_text(&name)
        })
    }

    /// HA1 of an account for one algorithm, under the user name that the digest carries. Whoever it is, and whether it is
    /// there or not, one password is hashed: else the time of a refusal would tell who is there (class S16).
    pub(crate) fn ha1(
        &self,
        id: Option<AorId>,
        algorithm: Algorithm,
        username: &str,
        realm: &str,
    ) -> Option<Ha1> {
        let credential = id.and_then(|id| self.get(id)).map(|entry| &entry.credential);
        let password = match credential {
            Some(Credential::Password(password)) => password,
            Some(Credential::AtUpstream | Credential::Ha1 { .. }) | None => &self.nobodys,
        };
        let hashed = core::hint::black_box(Ha1::of(algorithm, username, realm, password));
        let stored = match credential? {
            Credential::Password(_) => return Some(hashed),
            Credential::AtUpstream => return None,
            Credential::Ha1 { md5, sha256, sha512_256 } => match algorithm.plain() {
                Algorithm::Md5 | Algorithm::Md5Session => md5,
                Algorithm::Sha256 | Algorithm::Sha256Session => sha256,
                Algorithm::Sha512Half | Algorithm::Sha512HalfSession => sha512_256,
            },
        };
        stored.clone().map(|digits| Ha1 { algorithm: algorithm.plain(), digits })
    }

    pub(crate) fn len(&self) -> usize {
        self.living
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeline_entropy::Entropy;

    fn account(user: &str, domain: &str) -> Account {
        Account {
            user: user.into(),
            domain: domain.into(),
            credential: Credential::Password("x".into()),
            upstream: None,
            voicemail: None,
        }
    }

    #[test]
    fn users_are_case_sensitive_and_domains_are_not() {
        let domains = ["voice.example.org".to_string(), "192.0.2.1".to_string()];
        let mut accounts = Accounts::new(&domains, Keyed::draw(&mut Entropy::from_number(1)));
        let mia = accounts.put(account("mia", "Voice.Example.org"));
        assert_eq!(accounts.find("mia", "VOICE.example.ORG"), Some(mia));
        assert_eq!(accounts.find("Mia", "voice.example.org"), None);
        assert_eq!(accounts.find("mia", "192.0.2.1"), Some(mia));
        assert_eq!(accounts.find("mia", "192.0.2.2"), None);
        assert_eq!(accounts.put(account("mia", "voice.example.org")), mia);
        let entry = accounts.remove(mia).unwrap();
        assert_eq!((entry.user(), entry.domain()), ("mia", "voice.example.org"));
        assert_eq!((accounts.find("mia", "voice.example.org"), accounts.len()), (None, 0));
        assert_ne!(accounts.put(account("mia", "voice.example.org")), mia);
    }
}
