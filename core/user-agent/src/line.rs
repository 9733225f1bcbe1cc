//! An account at work: its identity, its binding, its nonces and the flow to its edge.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use wakeline_clock::{Time, WallTime};
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, Hop, Transport};
use wakeline_push::PushParameters;
use wakeline_registration::{
    AccountConfig, Cause, Edge, Instance, Phase, Registration, Remembered, Reregister, SeenAddress,
};
use wakeline_secret::Secret;
use wakeline_settings::Rport;
use wakeline_sip_auth::{Asker, AuthError, Credentials, Session};
use wakeline_sip_message::{Message, Name, OwnedUri, Scheme};
use wakeline_sip_resolve::Target;

use crate::account::{AccountError, Identity};
use crate::snapshot::{AccountId, PushStatus, RegistrationPhase, RegistrationSnapshot};

/// RFC 5626 §4.4.1 recommends 95 to 120 s on streams to keep the NAT open. A phone that is awake also wants to know: a
/// half-open connection is found within 30 s (fault F12), a ping at 80 to 100 % of this and 10 s for its answer.
const STREAM_KEEP_ALIVE: Duration = Duration::from_secs(20);
/// The default of `keepaliveival`: a person who sets another one means every transport.
const DEFAULT_KEEP_ALIVE: Duration = Duration::from_secs(28);

/// One account at work.
pub(crate) struct Line {
    identity: Identity,
    pub(crate) registration: Registration,
    /// Nonces of the requests of calls; the registration keeps its own.
    auth: Session,
    /// Why the last try failed, and when the next one comes.
    failure: Option<(Cause, Option<Time>)>,
    /// The flow to the edge: the bound one, or without registration the one that a call opened.
    edge_flow: Option<FlowId>,
    /// Hops of the edge that the attempt to register has not tried (RFC 3263 §4.3).
    other_hops: VecDeque<Hop>,
}

impl Line {
    /// The key under which an account's binding is remembered.
    pub(crate) fn memory_key(account: AccountId) -> String {
        format!("account-{}", account.0)
    }

    /// Under this key the installation's name is remembered.
    pub(crate) const INSTANCE_KEY: &str = "instance";

    /// The name that this installation has had so far. RFC 5626 §4.1: one, whatever the number of accounts.
    pub(crate) fn remembered_instance(memory: &BTreeMap<String, Secret>) -> Option<Instance> {
        memory.get(Line::INSTANCE_KEY).and_then(|record| Instance::parse(record.expose()))
    }

    /// A line that does nothing yet.
    pub(crate) fn new(
        identity: Identity,
        remembered: Option<&Secret>,
        instance: Instance,
        entropy: &mut Entropy,
    ) -> Result<Line, AccountError> {
        // A record that cannot be read was written by another version, or damaged: starting anew costs one round trip.
        let memory = remembered.and_then(|record| serde_json::from_str::<Remembered>(record.expose()).ok());
        let registration = Registration::new(binding_config(&identity, instance)?, memory, entropy.fork());
        let (auth, other_hops) = (Session::new(), VecDeque::new());
        Ok(Line { identity, registration, auth, failure: None, edge_flow: None, other_hops })
    }

    /// Who we are.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The settings changed: what concerns the binding is in force at once.
    /// `push` is the token that it may use; `give_up` ends the opening of flows to the former edge.
    pub(crate) fn set_identity(
        &mut self,
        identity: Identity,
        push: Option<PushParameters>,
        now: Time,
        give_up: impl FnOnce(AccountId),
    ) -> Result<(), AccountError> {
        let config = binding_config(&identity, self.registration.instance().clone())?;
        let way = |identity: &Identity| (identity.edge(), identity.transports());
        let edge = if way(&identity) == way(&self.identity) { Edge::Same } else { Edge::Changed };
        if identity.credentials() != self.identity.credentials() {
            self.auth.clear();
        }
        if edge == Edge::Changed || !self.registration.is_same_account(&config) {
            give_up(identity.id);
        }
        self.identity = identity;
        self.registration.reconfigure_with_push(now, config, push, edge);
        Ok(())
    }

    /// Keeps what is left to try when the flow that has just opened is of no use.
    pub(crate) fn keep_other_hops(&mut self, hops: VecDeque<Hop>) {
        self.other_hops = hops;
    }

    /// What is left to try.
    pub(crate) fn take_other_hops(&mut self) -> VecDeque<Hop> {
        core::mem::take(&mut self.other_hops)
    }

    /// Notes how the last try went.
    pub(crate) fn note_failure(&mut self, failure: Option<(Cause, Option<Time>)>) {
        self.failure = failure;
    }

    /// What a person sees.
    pub(crate) fn snapshot(&self, now: Time) -> RegistrationSnapshot {
        let phase = match self.registration.phase() {
            Phase::Idle => RegistrationPhase::Unregistered,
            Phase::Registering => RegistrationPhase::Registering,
            Phase::Registered => RegistrationPhase::Registered,
            Phase::Suspended => RegistrationPhase::Suspended,
            Phase::Failed => RegistrationPhase::Failed,
        };
        let push = match self.registration.push_status() {
            wakeline_registration::PushStatus::NotAsked => PushStatus::NotAsked,
            wakeline_registration::PushStatus::Confirmed => PushStatus::Confirmed,
            wakeline_registration::PushStatus::NotOffered => PushStatus::NotOffered,
            wakeline_registration::PushStatus::Refused => PushStatus::Refused,
        };
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let (cause, retry_at) =
            self.failure.clone().map_or((None, None), |(cause, retry_at)| (Some(cause), retry_at));
        RegistrationSnapshot {
            account: self.identity.id,
            address: self.identity.address.clone(),
            phase,
            push,
            expires_s: self.registration.expires_in(now).and_then(|span| u32::try_from(span.as_secs()).ok()),
            code: cause.as_ref().and_then(Cause::code),
            text: cause.map(|cause| cause.to_string()),
            retry_in_ms: retry_at.map(|at| millis(at.since(now))),
            round_trips: self.registration.round_trips(),
        }
    }

    /// The flow to the edge, when this target is the edge.
    pub(crate) fn flow_to(&self, target: &Target) -> Option<FlowId> {
        let edge = self.identity.edge()?;
        let transport_fits =
            target.transport.is_none_or(|wanted| edge.transport.is_none_or(|own| own == wanted));
        let same = edge.host == target.host && edge.port == target.port && transport_fits;
        self.current_flow().filter(|_| same && !target.secure)
    }

    /// The bound flow, or the one that a call opened to the edge.
    pub(crate) fn current_flow(&self) -> Option<FlowId> {
        self.registration.flow().map(|flow| flow.id).or(self.edge_flow)
    }

    /// Whether a REGISTER is out on this flow: its answer is worth waiting for.
    pub(crate) fn awaits_answer_on(&self, flow: FlowId) -> bool {
        self.registration.asking_on() == Some(flow)
    }

    /// Whether its binding waits for a flow.
    pub(crate) fn awaits_flow(&self) -> bool {
        self.registration.awaits_flow()
    }

    /// A flow was opened to the edge, or the one that was is gone.
    pub(crate) fn set_edge_flow(&mut self, flow: Option<FlowId>) {
        self.edge_flow = flow;
    }

    /// Whether calls may be made under a binding.
    pub(crate) fn is_registered(&self) -> bool {
        match self.registration.phase() {
            Phase::Registered => true,
            Phase::Idle | Phase::Registering | Phase::Suspended | Phase::Failed => false,
        }
    }

    /// Whether the registrar may tell something: it has answered, or a REGISTER is on its way.
    pub(crate) fn reaches_its_registrar(&self) -> bool {
        match self.registration.phase() {
            Phase::Registered | Phase::Registering => true,
            Phase::Idle | Phase::Suspended | Phase::Failed => false,
        }
    }

    /// The public GRUU of this instance (RFC 5627), for the Contact of dialogs.
    pub(crate) fn gruu(&self) -> Option<&str> {
        self.registration.gruus().public.as_deref()
    }

    /// Whether a Request-URI is one of our GRUUs.
    pub(crate) fn is_gruu(&self, uri: &str) -> bool {
        let gruus = self.registration.gruus();
        [&gruus.public, &gruus.temporary].into_iter().flatten().any(|gruu| gruu == uri)
    }

    /// Route of requests outside of dialogs: what the registrar gave (RFC 3608 §5).
    pub(crate) fn routes(&self) -> Vec<String> {
        self.registration.service_route().to_vec()
    }

    /// Whether a flow leads to the account's own registrar or proxy: only there credentials are given (class S1).
    pub(crate) fn trusts(&self, flow: FlowId) -> bool {
        self.current_flow() == Some(flow)
    }

    /// How often a flow of this account is to be pinged; `None` for never (B-093).
    pub(crate) fn keep_alive(&self, transport: Transport) -> Option<Duration> {
        let own = self.identity.settings.network().keep_alive?;
        let asked = self.registration.flow_timer().map(|seconds| Duration::from_secs(seconds.into()));
        let usual =
            if transport.is_reliable() && own == DEFAULT_KEEP_ALIVE { STREAM_KEEP_ALIVE } else { own };
        Some(asked.map_or(usual, |asked| asked.min(usual)))
    }

    /// Credentials that a request can carry at once.
    pub(crate) fn known_credentials(
        &mut self,
        request: &Message,
        entropy: &mut Entropy,
    ) -> Vec<(Name, String)> {
        let Some(credentials) = self.identity.credentials() else { return Vec::new() };
        self.auth.authorize(
            &request.method(),
            request.request_uri_text(),
            request.body(),
            &credentials,
            entropy,
        )
    }

    /// The answer to a challenge.
    pub(crate) fn answer_challenge(
        &mut self,
        request: &Message,
        challenge: &Message,
        asker: Asker,
        entropy: &mut Entropy,
    ) -> Result<Vec<(Name, String)>, AuthError> {
        let credentials = self.identity.credentials().ok_or(AuthError::Missing)?;
        self.auth.on_challenge(request, challenge, &credentials, asker)?;
        Ok(self.known_credentials(request, entropy))
    }

    /// What is to be remembered of this account, as a record.
    pub(crate) fn record(remembered: &Remembered) -> Secret {
        // Plain data: it cannot fail to become text.
        Secret::new(serde_json::to_string(remembered).unwrap_or_default())
    }
}

/// What the registration is told of an account.
fn binding_config(identity: &Identity, instance: Instance) -> Result<AccountConfig, AccountError> {
    let settings = &identity.settings;
    let (account, network) = (settings.account(), settings.network());
    let broken = || AccountError::Address(identity.id.0, identity.address.clone());
    let domain = if account.domain.is_empty() { "anonymous.invalid" } else { &account.domain };
    let registrar = OwnedUri::sip(Scheme::Sip, None, domain, None).map_err(|_| broken())?;
    let address = OwnedUri::parse(&identity.address).map_err(|_| broken())?;
    let credentials =
        identity.credentials().unwrap_or_else(|| Credentials::password(account.auth_username.clone(), ""));
    let mut headers = vec![(Name::UserAgent, identity.user_agent())];
    headers.extend(identity.header_fields());
    Ok(AccountConfig {
        instance: Some(instance),
        display_name: account.display_name.clone(),
        contact_user: identity.contact_user.clone(),
        contact_uri_parameters: network.contact_uri_parameters,
        contact_parameters: network.contact_parameters,
        expires: account
            .expires(identity.wants_push(), identity.transports().first() == Some(&Transport::Udp)),
        push_mode: identity.push_mode(),
        headers,
        reregister: match account.reregister {
            wakeline_settings::Reregister::Never => Reregister::Never,
            wakeline_settings::Reregister::AfterSuccess => Reregister::AfterSuccess,
            wakeline_settings::Reregister::Always => Reregister::Always,
        },
        seen_address: match network.rport {
            Rport::Off | Rport::AskOnly => SeenAddress::Kept,
            Rport::WhenCertain => SeenAddress::WhenCertain,
            Rport::Use => SeenAddress::Used,
            Rport::Always => SeenAddress::Always,
        },
        ..AccountConfig::new(registrar, address, credentials)
    })
}

/// The wall clock's time at an instant, by one reading of both clocks.
pub(crate) fn wall_at((wall, origin): (WallTime, Time), now: Time) -> WallTime {
    WallTime(wall.0 + u64::try_from(now.since(origin).as_millis()).unwrap_or(0))
}
