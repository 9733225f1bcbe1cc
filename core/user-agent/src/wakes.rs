//! The wakes of the last minutes: which call a push announced, and how it ended.
//!
//! A push may come twice, late, or after its call is over (rows 4, 5, 19 and 25 of the race table in
//! `tests/sim`): whatever it meets here, there is one call per wake and one ring at most.

use std::collections::BTreeMap;
use std::time::Duration;

use wakeline_clock::Time;
use wakeline_push::WakeId;

use crate::snapshot::{AccountId, CallId, EndedCall, WakeLeg};

/// For how long an ended wake is remembered: longer than any push can be late (gateway memory 90 s).
const MEMORY: Duration = Duration::from_secs(180);
/// Wakes that are kept at all.
const MOST: usize = 64;

/// What became of a wake.
#[derive(Clone, Debug)]
enum Fate {
    /// Its call lives.
    Alive(CallId),
    /// Its call ended.
    Ended { record: Box<EndedCall>, at: Time },
}

/// One wake.
#[derive(Clone, Debug)]
struct Wake {
    fate: Fate,
    legs: Vec<WakeLeg>,
    /// The accounts whose registrars were asked about it, and how often each said that it does not know this wake
    /// (row 15: twice means that the call is lost).
    asked: BTreeMap<AccountId, u8>,
}

/// What a push meets.
#[derive(Clone, Debug)]
pub(crate) enum Met {
    /// Nobody has told of this wake.
    New,
    /// Its call lives already.
    Alive(CallId),
    /// Its call is over; this was its end.
    Over(Box<EndedCall>),
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    table: BTreeMap<WakeId, Wake>,
}

impl Wakes {
    /// What a push or INVITE of this wake meets.
    pub(crate) fn meet(&self, wake: WakeId) -> Met {
        match self.table.get(&wake).map(|wake| &wake.fate) {
            None => Met::New,
            Some(Fate::Alive(call)) => Met::Alive(*call),
            Some(Fate::Ended { record, .. }) => Met::Over(record.clone()),
        }
    }

    /// A call belongs to this wake from now on.
    pub(crate) fn begin(&mut self, wake: WakeId, call: CallId, now: Time) {
        self.forget_old(now);
        self.table.insert(wake, Wake { fate: Fate::Alive(call), legs: Vec::new(), asked: BTreeMap::new() });
    }

    /// The wake's call is over.
    pub(crate) fn end(&mut self, wake: WakeId, record: EndedCall, now: Time) {
        if let Some(wake) = self.table.get_mut(&wake) {
            wake.fate = Fate::Ended { record: Box::new(record), at: now };
        }
        self.forget_old(now);
    }

    /// Notes a step of the wake; true when it is the first of its kind, and so worth telling.
    pub(crate) fn step(&mut self, wake: WakeId, leg: WakeLeg) -> bool {
        let Some(wake) = self.table.get_mut(&wake) else { return false };
        let first = !wake.legs.contains(&leg);
        if first {
            wake.legs.push(leg);
        }
        first
    }

    /// The wakes whose call was announced by a push and lives.
    pub(crate) fn pushed(&self) -> Vec<WakeId> {
        let pushed = |(_, wake): &(&WakeId, &Wake)| {
            wake.legs.contains(&WakeLeg::Push)
                && matches!(wake.fate, Fate::Alive(_))
                && !wake.legs.contains(&WakeLeg::Invite)
        };
        self.table.iter().filter(pushed).map(|(id, _)| *id).collect()
    }

    /// An account's next REGISTER names this wake.
    pub(crate) fn asked(&mut self, wake: WakeId, account: AccountId) {
        if let Some(wake) = self.table.get_mut(&wake) {
            wake.asked.entry(account).or_default();
        }
    }

    /// An account's registrar does not know this wake. True when nobody who was asked and can answer does: a push that
    /// does not say its account is asked about everywhere, and only one registrar can know of it (row 25).
    pub(crate) fn unknown_to(
        &mut self,
        wake: WakeId,
        account: AccountId,
        can_answer: impl Fn(AccountId) -> bool,
    ) -> bool {
        let Some(wake) = self.table.get_mut(&wake) else { return false };
        let told = wake.asked.entry(account).or_default();
        *told = told.saturating_add(1);
        wake.asked.iter().all(|(account, told)| *told >= 2 || !can_answer(*account))
    }

    fn forget_old(&mut self, now: Time) {
        self.table.retain(|_, wake| match &wake.fate {
            Fate::Alive(_) => true,
            Fate::Ended { at, .. } => now.since(*at) < MEMORY,
        });
        while self.table.len() > MOST {
            let age = |wake: &Wake| match &wake.fate {
                Fate::Alive(_) => None,
                Fate::Ended { at, .. } => Some(*at),
            };
            let oldest = self.table.iter().filter_map(|(id, wake)| Some((age(wake)?, *id))).min();
            match oldest {
                Some((_, id)) => drop(self.table.remove(&id)),
                // All of them live: the cap on calls holds instead.
                None => return,
            }
        }
    }
}
