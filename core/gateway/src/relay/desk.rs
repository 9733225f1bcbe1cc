//! What the relay does with a subscription and with a post.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use wakeline_clock::system;
use wakeline_push::{Payload, PayloadKind, PushParameters};
use wakeline_secret::Secret;

use super::config::Config;
use super::subscriptions::{Mark, Proof, Refused, Subscriptions, capability};
use crate::provision::Attempts;
use crate::push::dispatch::{Senders, target_for};
use crate::push::{Outcome, Purpose, Push};
use crate::store::{Change, Keeper, Table};

/// The longest that a vendor is asked to keep a wake that is no call.
const LONGEST: Duration = Duration::from_secs(28 * 86_400);
/// How long a vendor's answer is waited for.
const WITHIN: Duration = Duration::from_secs(10);

/// The relay's counter.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) config: Config,
    senders: Senders,
    state: Mutex<State>,
    keeper: Keeper,
}

#[derive(Debug)]
struct State {
    subscriptions: Subscriptions,
    attempts: Attempts,
}

/// What a subscriber has now.
#[derive(Debug)]
pub(super) enum Subscribed {
    /// A code is on its way to the token; the management address is here.
    Asked { manage: String },
    /// The push address is here too.
    Live { manage: String, address: String },
}

/// Why there is no subscription.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotSubscribed {
    /// The token is of no app that this relay wakes.
    NotOurs,
    /// The service does not take a push to this token.
    Dead,
    /// The service is not to be had.
    Unavailable,
    /// Too many.
    TooOften,
}

impl Desk {
    pub(super) fn new(
        config: Config,
        senders: Senders,
        subscriptions: Subscriptions,
        keeper: Keeper,
    ) -> Desk {
        let attempts = Attempts::new(config.limits.asks_per_minute);
        Desk { config, senders, state: Mutex::new(State { subscriptions, attempts }), keeper }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, change: Change) {
        self.keeper.put(Table::Subscriptions, change);
    }

    /// Whether this address may ask; asking counts.
    pub(super) fn may_ask(&self, address: IpAddr) -> bool {
        let mut state = self.locked();
        let now = system::now();
        let may = state.attempts.may_try(now, address);
        state.attempts.wrong(now, address);
        may
    }

    /// Whether this address was wrong too often.
    pub(super) fn may_try(&self, address: IpAddr) -> bool {
        self.locked().attempts.may_try(system::now(), address)
    }

    /// It was wrong.
    pub(super) fn wrong(&self, address: IpAddr) {
        self.locked().attempts.wrong(system::now(), address);
    }

    /// An app asks for a push address. Where a silent push can reach it, it must first show what was pushed to it: a
    /// token alone, which others may have seen, is not enough to make its phone ring.
    pub(super) async fn subscribe(&self, target: PushParameters) -> Result<Subscribed, NotSubscribed> {
        let sender = self.senders.of(&target.provider).ok_or(NotSubscribed::NotOurs)?;
        let targets = target.targets().map_err(|_| NotSubscribed::NotOurs)?;
        let random = || capability().map_err(|_| NotSubscribed::Unavailable);
        let (manage, secret) = (random()?, random()?);
        let (key, mark) = (Mark::of(&manage), Mark::of(&secret));
        let silent = target_for(targets, Purpose::Refresh);
        let proof = if silent.is_some() { Proof::Code(mark) } else { Proof::None { address: mark } };
        {
            let mut state = self.locked();
            let now = system::wall();
            for change in state.subscriptions.sweep(now, system::now()) {
                self.keep(change);
            }
            let added = state.subscriptions.add(now, &self.config.limits, key, target, proof);
            self.keep(added.map_err(|_| NotSubscribed::TooOften)?);
        }
        let Some(silent) = silent else {
            return Ok(Subscribed::Live { manage, address: secret });
        };
        let push = Push {
            target: silent,
            purpose: Purpose::Refresh,
            payload: Payload {
                kind: PayloadKind::Proof { code: secret.into() },
                ..Payload::refresh(system::wall().0)
            },
            call_id: None,
            until: system::now() + WITHIN,
        };
        let failed = match sender.send(&push).await {
            Outcome::Accepted => return Ok(Subscribed::Asked { manage }),
            Outcome::TokenDead { .. } => NotSubscribed::Dead,
            Outcome::NotAllowed { .. } | Outcome::WrongProject => NotSubscribed::NotOurs,
            Outcome::OurBug { .. }
            | Outcome::NotAuthorised { .. }
            | Outcome::QuotaExceeded { .. }
            | Outcome::Unavailable
            | Outcome::TooLate => NotSubscribed::Unavailable,
        };
        self.revoke(&manage);
        Err(failed)
    }

    /// The app shows the code; its push address.
    pub(super) fn prove(&self, manage: &str, code: &Secret) -> Option<String> {
        let address = capability().ok()?;
        let mut state = self.locked();
        let (key, code, mark) = (Mark::of(manage), Mark::of(code.expose()), Mark::of(&address));
        let change = state.subscriptions.prove(system::wall(), key, code, mark).ok()?;
        self.keep(change);
        Some(address)
    }

    /// The app takes its push address back.
    pub(super) fn revoke(&self, manage: &str) -> bool {
        let change = self.locked().subscriptions.remove(Mark::of(manage));
        let known = change.is_some();
        change.into_iter().for_each(|change| self.keep(change));
        known
    }

    /// Passes a sealed body on.
    pub(super) async fn post(&self, address: &str, wake: Wake) -> Result<(), NotPosted> {
        let found = self.locked().subscriptions.post(system::now(), &self.config.limits, Mark::of(address));
        let (key, target) = found.map_err(|refused| match refused {
            Refused::Unknown => NotPosted::Gone,
            Refused::TooOften(seconds) => NotPosted::TooOften(seconds),
        })?;
        let purpose = wake.purpose;
        let chosen = target.targets().ok().and_then(|targets| target_for(targets, purpose));
        let (Some(sender), Some(chosen)) = (self.senders.of(&target.provider), chosen) else {
            // What is not urgent must not ring, and this token can do nothing else.
            return Err(NotPosted::Cannot);
        };
        let lifetime = wake.ttl.clamp(Duration::from_secs(1), LONGEST);
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        let kind = match wake.body.as_slice() {
            // A push that carries nothing, as RFC 8599 §12 has it.
            [] => PayloadKind::Unknown,
            body => PayloadKind::Sealed { body: URL_SAFE_NO_PAD.encode(body).into() },
        };
        let payload = Payload { kind, ttl: Some(seconds), ..Payload::refresh(system::wall().0) };
        // A call is of use for its seconds only; what may wait is handed over once, and the vendor keeps it.
        let until = system::now()
            + match purpose {
                Purpose::Call => lifetime.min(WITHIN),
                Purpose::Request | Purpose::Message | Purpose::Refresh => lifetime,
            };
        let push = Push { target: chosen, purpose, payload, call_id: None, until };
        let sent = tokio::time::timeout(WITHIN + Duration::from_secs(1), sender.send(&push)).await;
        match sent.unwrap_or(Outcome::Unavailable) {
            Outcome::Accepted => Ok(()),
            Outcome::TokenDead { .. } | Outcome::WrongProject | Outcome::NotAllowed { .. } => {
                let change = self.locked().subscriptions.remove(key);
                change.into_iter().for_each(|change| self.keep(change));
                Err(NotPosted::Gone)
            }
            Outcome::QuotaExceeded { retry_after } => Err(NotPosted::TooOften(retry_after.as_secs().max(1))),
            Outcome::OurBug { .. } | Outcome::NotAuthorised { .. } => Err(NotPosted::Cannot),
            Outcome::Unavailable | Outcome::TooLate => Err(NotPosted::Later),
        }
    }
}

/// What is posted to a push address.
#[derive(Debug)]
pub(super) struct Wake {
    /// `TTL` (RFC 8030 §5.2).
    pub(super) ttl: Duration,
    /// By `Urgency` (RFC 8030 §5.3): `high` is a call and rings, nothing else does.
    pub(super) purpose: Purpose,
    /// The body, sealed for the phone (RFC 8291).
    pub(super) body: Vec<u8>,
}

/// Why a post was not passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotPosted {
    /// The address is no longer good, or never was.
    Gone,
    /// After so many seconds again.
    TooOften(u64),
    /// The vendor does not answer.
    Later,
    /// The vendor does not take it.
    Cannot,
}
