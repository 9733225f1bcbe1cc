//! Who may ask for something: digest, trusted networks, and nobody else (class S24: no push before the caller is known).

use core::net::IpAddr;
use core::time::Duration;

use wakeline_clock::{Time, WallTime};
use wakeline_flow::FlowInfo;
use wakeline_sip_auth::{Algorithm, NonceUse, Side, Verdict};
use wakeline_sip_message::{Message, Name};

use crate::account::name_of;
use crate::guard::line;
use crate::machine::Registrar;
use crate::number::AorId;
use crate::output::{Output, Persist};
use crate::refused::Refused;

/// How long the only use of a nonce is stored.
const ONCE: Duration = Duration::from_secs(3600);

/// In which role a proof is asked for (RFC 3261 §22.2, §22.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asked {
    /// 401, Authorization.
    Registrar,
    /// 407, Proxy-Authorization.
    Proxy,
}

/// What came of it.
pub(crate) enum Proof {
    /// The password is known to the sender.
    Given {
        /// Whose.
        account: AorId,
        /// The value of Authentication-Info, with the next nonce.
        info: Option<String>,
    },
    /// None was given, or one that is stale: the challenge.
    Missing(Vec<(Name, String)>),
    /// A wrong one.
    Wrong,
}

/// A caller who may call.
pub(crate) struct Admitted {
    /// Whether it may assert identities (RFC 3325).
    pub(crate) trusted: bool,
    /// Its name in the quota table.
    pub(crate) quota: u64,
}

impl Registrar {
    /// Lets the sender of a request that opens something in, or says how it is refused. Unknown callers learn nothing
    /// about who exists here.
    pub(crate) fn admit(
        &mut self,
        now: Time,
        flow: &FlowInfo,
        request: &Message,
    ) -> Result<Admitted, Refused> {
        let from = request.from().map_err(|_| Refused::code(400))?.uri();
        if self.config.trusted.iter().any(|peer| peer.contains(flow.remote))
            || self.upstreams.sender(flow).is_some()
        {
            let name = format!("{}|{}", flow.remote.ip(), from.as_str());
            return Ok(Admitted { trusted: true, quota: self.keyed.digest(name.as_bytes()) });
        }
        let user = from.user_unescaped().unwrap_or_default();
        // In one spelling, or every other one would be a name of its own to guess at.
        let named = name_of(&user, from.host_text());
        let claimed = self.accounts.find(&user, from.host_text());
        // In an upstream's domain we know those only whose credential we keep.
        let known = self.accounts.is_ours(from.host_text())
            || claimed.is_some_and(|claimed| self.line_of(claimed).is_some());
        if !from.is_sip() || !known {
            return Err(Refused::code(403));
        }
        if self.config.trust_registered_connections
            && flow.transport.is_secure()
            && let Some(claimed) = claimed
            && self.registered_on(flow, claimed)
        {
            return Ok(self.local(claimed));
        }
        if let Some(wait) = self.must_wait(now, flow.remote.ip(), &named) {
            return Err(Refused::later(wait));
        }
        match self.prove(request, Asked::Proxy) {
            Proof::Given { account, .. } if Some(account) == claimed => {
                self.guard.succeeded(flow.remote.ip(), &named);
                Ok(self.local(account))
            }
            // A right password, but somebody else's name.
            Proof::Given { .. } => Err(Refused::code(403)),
            Proof::Missing(headers) => Err(Refused { code: 407, headers }),
            Proof::Wrong => {
                self.guard.failed(now, flow.remote.ip(), &named);
                Err(Refused::code(403))
            }
        }
    }

    /// How long a try for `named` from `source` is not looked at, after wrong passwords.
    pub(crate) fn must_wait(&self, now: Time, source: IpAddr, named: &str) -> Option<Duration> {
        // Without any failure nobody's bindings are looked for.
        self.guard.wait(now, source, named, false)?;
        self.guard.wait(now, source, named, self.is_at_home(source, named))
    }

    /// Whether a phone of this address of record is registered from this source now.
    fn is_at_home(&self, source: IpAddr, named: &str) -> bool {
        let found = named.rsplit_once('@').and_then(|(user, domain)| self.accounts.find(user, domain));
        let Some(entry) = found.and_then(|aor| self.accounts.get(aor)) else { return false };
        let flows = entry.bindings.iter().filter_map(|id| self.bindings.get(*id)?.flow);
        flows.filter_map(|flow| self.flows.get(flow)).any(|flow| line(flow.info.remote.ip()) == line(source))
    }

    /// Looks at the digest of a request.
    pub(crate) fn prove(&mut self, request: &Message, asked: Asked) -> Proof {
        let side = match asked {
            Asked::Registrar => Side::Origin,
            Asked::Proxy => Side::Proxy,
        };
        let wall = self.wall;
        let (accounts, realm) = (&self.accounts, self.config.realm.as_str());
        // A digest user name without a domain belongs to the sender's own, if that is an upstream's.
        let home = Some(request).filter(|_| !self.upstreams.is_empty());
        let home = home.and_then(|request| Some(request.from().ok()?.uri().host_text()));
        let home = home.filter(|host| self.upstreams.of_domain(host).is_some());
        let home = home.unwrap_or(accounts.first_domain());
        let mut found = None;
        let lookup = |username: &str, algorithm: Algorithm| {
            let (user, domain) = username.split_once('@').unwrap_or((username, home));
            found = accounts.find(user, domain);
            accounts.ha1(found, algorithm, username, realm)
        };
        let verdict = self.authenticator.verify(wall, request, side, lookup);
        match (verdict, found) {
            (Verdict::Accepted { info, used, .. }, Some(account)) => {
                if self.cluster.is_on() {
                    let until = WallTime(wall.0.saturating_add(kept(used, self.config.nonce_lifetime)));
                    self.outputs.push_back(Output::Persist(Box::new(Persist::NonceUsed { used, until })));
                }
                Proof::Given { account, info: Some(info).filter(|text| !text.is_empty()) }
            }
            (Verdict::Challenge { stale }, _) => {
                Proof::Missing(self.authenticator.challenge(wall, side, stale))
            }
            // Used before: the password was right, the nonce is spent (S17).
            (Verdict::Replay, _) => Proof::Missing(self.authenticator.challenge(wall, side, true)),
            (Verdict::Accepted { .. }, None) | (Verdict::Refused | Verdict::Malformed, _) => Proof::Wrong,
        }
    }

    /// An address of record's name in the quota tables: among several nodes the same at each of them.
    pub(crate) fn quota_name(&self, aor: AorId) -> u64 {
        match self.accounts.get(aor) {
            Some(entry) if self.cluster.is_on() => self.keyed.digest(entry.name().as_bytes()),
            Some(_) | None => u64::from(aor.0),
        }
    }

    /// Tells the other nodes, if there are any, what was taken of the allowances.
    pub(crate) fn tell_spent(&mut self, aor: AorId, caller: Option<u64>) {
        if self.cluster.is_on() {
            let spent = Persist::WakeSpent { aor: self.quota_name(aor), caller, at: self.wall };
            self.outputs.push_back(Output::Persist(Box::new(spent)));
        }
    }

    fn local(&self, account: AorId) -> Admitted {
        Admitted { trusted: false, quota: self.quota_name(account) }
    }

    fn registered_on(&self, flow: &FlowInfo, account: AorId) -> bool {
        self.flows.get(flow.id).is_some_and(|flow| {
            flow.bindings.iter().filter_map(|id| self.bindings.get(*id)).any(|binding| binding.aor == account)
        })
    }
}

/// For how many milliseconds a use is stored. Who is challenged each time leaves one nonce behind with every request: such a
/// row outlives a pause of the store and no more. A node that starts later takes what it does not find for stale.
fn kept(used: NonceUse, lifetime: Duration) -> u64 {
    let span = if used.is_repeated() { lifetime } else { lifetime.min(ONCE) };
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
