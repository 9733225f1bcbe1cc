//! Who is told of what: subscriptions and what phones publish (RFC 6665, RFC 3903), in the domains that we are registrar
//! for. An upstream's addresses have theirs there, and their SUBSCRIBE and PUBLISH pass through.
//!
//! Four packages: `reg` (RFC 3680) and `message-summary` (RFC 3842) for one's own address only, `presence` (RFC 3856) and
//! `dialog` (RFC 4235) for every account of this gateway. Nobody else is told anything. A subscription lives here only: a
//! restart ends it, and its phone subscribes anew when its refresh gets 481.

mod call_news;
mod calls;
mod content;
mod notify;
mod publish;
mod subscribe;
mod summary;

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use wakeline_clock::Time;
use wakeline_flow::FlowId;
use wakeline_sip_dialog::{Dialog, DialogId};
use wakeline_sip_transaction::ClientKey;

pub(crate) use calls::CallState;

use crate::number::{AorId, BindingId};

/// What can be subscribed to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Package {
    /// Which devices are registered.
    Reg,
    /// Whether somebody is there.
    Presence,
    /// Whether somebody is on the telephone.
    Dialog,
    /// What waits at voicemail.
    MessageSummary,
}

impl Package {
    pub(crate) const ALL: [Package; 4] =
        [Package::Reg, Package::Presence, Package::Dialog, Package::MessageSummary];

    pub(crate) fn named(text: &str) -> Option<Package> {
        Package::ALL.into_iter().find(|one| one.name().eq_ignore_ascii_case(text))
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Package::Reg => "reg",
            Package::Presence => "presence",
            Package::Dialog => "dialog",
            Package::MessageSummary => "message-summary",
        }
    }

    /// Type and subtype of its bodies.
    pub(crate) const fn body(self) -> (&'static str, &'static str) {
        match self {
            Package::Reg => ("application", "reginfo+xml"),
            Package::Presence => ("application", "pidf+xml"),
            Package::Dialog => ("application", "dialog-info+xml"),
            Package::MessageSummary => ("application", "simple-message-summary"),
        }
    }

    /// NOTIFYs come no faster than this (RFC 3680 §4.10, RFC 3856 §6.10, RFC 4235 §3.10, RFC 3842 §3.10).
    pub(crate) const fn pace(self) -> Duration {
        match self {
            Package::Reg | Package::Presence => Duration::from_secs(5),
            Package::Dialog | Package::MessageSummary => Duration::from_secs(1),
        }
    }

    /// Whether nobody but the address itself is told.
    pub(crate) const fn is_private(self) -> bool {
        match self {
            Package::Reg | Package::MessageSummary => true,
            Package::Presence | Package::Dialog => false,
        }
    }
}

/// What is still to be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wish {
    /// Nothing.
    Nothing,
    /// The state, if it is another than what was told.
    Change,
    /// The state, whatever it is: the watcher has just asked.
    State,
    /// That it is over, and why (RFC 6665 §4.1.3).
    End(&'static str),
}

/// One subscription.
pub(crate) struct Subscription {
    pub(crate) package: Package,
    /// Of whom.
    pub(crate) aor: AorId,
    /// Who is told.
    pub(crate) watcher: AorId,
    pub(crate) dialog: Dialog,
    /// `id` of the Event header field: goes back as it came.
    pub(crate) event: String,
    /// Where the last SUBSCRIBE came from.
    pub(crate) flow: FlowId,
    /// The device that asked: its connection may be another one by now, or none.
    pub(crate) binding: Option<BindingId>,
    pub(crate) expires: Time,
    /// Counts bodies.
    pub(crate) version: u32,
    /// Stands for the state that was told last.
    pub(crate) told: u64,
    pub(crate) last: Time,
    pub(crate) wish: Wish,
    /// The NOTIFY that has no answer yet.
    pub(crate) sending: Option<ClientKey>,
    pub(crate) armed: Time,
}

/// What a phone says of itself.
pub(crate) struct Publication {
    pub(crate) number: u64,
    pub(crate) tag: String,
    pub(crate) body: Bytes,
    pub(crate) expires: Time,
    pub(crate) armed: Time,
}

/// All of it.
#[derive(Default)]
pub(crate) struct Events {
    pub(crate) subscriptions: BTreeMap<u64, Subscription>,
    pub(crate) by_dialog: BTreeMap<DialogId, u64>,
    pub(crate) by_state: BTreeMap<(AorId, Package), Vec<u64>>,
    pub(crate) by_watcher: BTreeMap<AorId, Vec<u64>>,
    pub(crate) by_client: BTreeMap<ClientKey, u64>,
    pub(crate) publications: BTreeMap<(AorId, Package), Vec<Publication>>,
    pub(crate) published: usize,
    /// The last body that a voicemail box has sent, by its address.
    pub(crate) summaries: BTreeMap<AorId, Bytes>,
    pub(crate) calls: calls::Calls,
    pub(crate) last: u64,
}

impl Events {
    pub(crate) fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether anybody is told of this state.
    pub(crate) fn is_watched(&self, aor: AorId, package: Package) -> bool {
        self.by_state.contains_key(&(aor, package))
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<Subscription> {
        let gone = self.subscriptions.remove(&number)?;
        self.by_dialog.remove(gone.dialog.id());
        if let Some(client) = gone.sending {
            self.by_client.remove(&client);
        }
        forget(&mut self.by_state, (gone.aor, gone.package), number);
        forget(&mut self.by_watcher, gone.watcher, number);
        Some(gone)
    }
}

fn forget<K: Ord>(table: &mut BTreeMap<K, Vec<u64>>, key: K, number: u64) {
    if let Some(numbers) = table.get_mut(&key) {
        numbers.retain(|other| *other != number);
        if numbers.is_empty() {
            table.remove(&key);
        }
    }
}
