//! Which push address leads to which token. An address is a capability: who holds it may post; what is kept of it is its
//! digest, so that a copy of the store wakes nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use wakeline_clock::{Time, WallTime};
use wakeline_push::PushParameters;

use super::config::Limits;
use crate::store::{Change, Row};

/// How long the app may take to show what was pushed to it.
pub(super) const PROOF: Duration = Duration::from_secs(600);

/// The SHA-256 of a capability or code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(super) struct Mark([u8; 32]);

impl Mark {
    pub(super) fn of(text: &str) -> Mark {
        let mut mark = [0; 32];
        mark.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Mark(mark)
    }
}

/// 192 random bits, base64url.
pub(super) fn capability() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 24];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// One subscription of an app.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Subscription {
    pub(super) target: PushParameters,
    stage: Stage,
}

/// How far it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Stage {
    /// A code was pushed to the token; who shows it has the token's app.
    Asked { code: Mark, until: WallTime },
    /// It has a push address.
    Live { address: Mark },
}

/// Posts of late.
#[derive(Debug, Clone, Copy)]
struct Posts {
    minute: (Time, u32),
    hour: (Time, u32),
}

/// Why nothing is pushed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no such address (any more).
    Unknown,
    /// Too often; after so many seconds again.
    TooOften(u64),
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// By the mark of their management address.
    all: BTreeMap<Mark, Subscription>,
    /// From the mark of a push address.
    by_address: BTreeMap<Mark, Mark>,
    per_token: BTreeMap<Mark, usize>,
    posts: BTreeMap<Mark, Posts>,
}

fn token_mark(target: &PushParameters) -> Mark {
    Mark::of(target.prid.expose())
}

fn row(key: Mark, subscription: &Subscription) -> Row {
    let until = match subscription.stage {
        Stage::Asked { until, .. } => Some(until),
        Stage::Live { .. } => None,
    };
    Row { key: key.0.to_vec(), value: serde_json::to_vec(subscription).unwrap_or_default(), until }
}

impl Subscriptions {
    /// What the store held.
    pub(super) fn load(rows: &[Row]) -> Subscriptions {
        let mut subscriptions = Subscriptions::default();
        for row in rows {
            let key = <[u8; 32]>::try_from(row.key.as_slice()).map(Mark);
            match (key, serde_json::from_slice::<Subscription>(&row.value)) {
                (Ok(key), Ok(subscription)) => subscriptions.insert(key, subscription),
                (Err(_), _) | (_, Err(_)) => {
                    tracing::error!("a stored subscription cannot be read; it is left alone");
                }
            }
        }
        subscriptions
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    fn insert(&mut self, key: Mark, subscription: Subscription) {
        *self.per_token.entry(token_mark(&subscription.target)).or_default() += 1;
        if let Stage::Live { address } = subscription.stage {
            self.by_address.insert(address, key);
        }
        self.all.insert(key, subscription);
    }

    /// Takes one away; the change for the store.
    pub(super) fn remove(&mut self, key: Mark) -> Option<Change> {
        let subscription = self.all.remove(&key)?;
        let token = token_mark(&subscription.target);
        if let Some(count) = self.per_token.get_mut(&token) {
            *count -= 1;
            if *count == 0 {
                self.per_token.remove(&token);
            }
        }
        if let Stage::Live { address } = subscription.stage {
            self.by_address.remove(&address);
            self.posts.remove(&address);
        }
        Some(Change::Remove(key.0.to_vec()))
    }

    /// A new one. `code` was pushed to the token; without one the address is live at once.
    ///
    /// # Errors
    /// There are as many as allowed, altogether or of this token.
    pub(super) fn add(
        &mut self,
        now: WallTime,
        limits: &Limits,
        key: Mark,
        target: PushParameters,
        proof: Proof,
    ) -> Result<Change, Refused> {
        let of_token = self.per_token.get(&token_mark(&target)).copied().unwrap_or(0);
        if self.all.len() >= limits.subscriptions || of_token >= limits.per_token {
            return Err(Refused::TooOften(3600));
        }
        let stage = match proof {
            Proof::Code(code) => Stage::Asked { code, until: after(now, PROOF) },
            Proof::None { address } => Stage::Live { address },
        };
        let subscription = Subscription { target, stage };
        let change = Change::Put(row(key, &subscription));
        self.insert(key, subscription);
        Ok(change)
    }

    /// The app shows the code that was pushed to it, and has an address from now on.
    pub(super) fn prove(
        &mut self,
        now: WallTime,
        key: Mark,
        code: Mark,
        address: Mark,
    ) -> Result<Change, Refused> {
        let subscription = self.all.get_mut(&key).ok_or(Refused::Unknown)?;
        match subscription.stage {
            Stage::Asked { code: pushed, until } if pushed == code && now < until => {}
            Stage::Asked { .. } | Stage::Live { .. } => return Err(Refused::Unknown),
        }
        subscription.stage = Stage::Live { address };
        self.by_address.insert(address, key);
        Ok(Change::Put(row(key, subscription)))
    }

    /// Somebody posts to an address: the subscription, unless it was posted to too often.
    pub(super) fn post(
        &mut self,
        now: Time,
        limits: &Limits,
        address: Mark,
    ) -> Result<(Mark, PushParameters), Refused> {
        let key = *self.by_address.get(&address).ok_or(Refused::Unknown)?;
        let target = self.all.get(&key).ok_or(Refused::Unknown)?.target.clone();
        let posts = self.posts.entry(address).or_insert(Posts { minute: (now, 0), hour: (now, 0) });
        for (window, span, most) in [
            (&mut posts.minute, Duration::from_secs(60), limits.posts_per_minute),
            (&mut posts.hour, Duration::from_secs(3600), limits.posts_per_hour),
        ] {
            let gone = now.since(window.0);
            if gone >= span {
                *window = (now, 0);
            } else if window.1 >= most {
                return Err(Refused::TooOften((span - gone).as_secs().max(1)));
            }
        }
        posts.minute.1 += 1;
        posts.hour.1 += 1;
        Ok((key, target))
    }

    /// Forgets what nobody has proven; gives the changes for the store.
    pub(super) fn sweep(&mut self, now: WallTime, monotonic: Time) -> Vec<Change> {
        self.posts.retain(|_, posts| monotonic.since(posts.hour.0) < Duration::from_secs(3600));
        let late = |subscription: &Subscription| match subscription.stage {
            Stage::Asked { until, .. } => until <= now,
            Stage::Live { .. } => false,
        };
        let late: Vec<Mark> = self.all.iter().filter(|(_, one)| late(one)).map(|(key, _)| *key).collect();
        late.into_iter().filter_map(|key| self.remove(key)).collect()
    }
}

/// How a subscriber shows that the token is its own.
#[derive(Debug)]
pub(super) enum Proof {
    /// By this code, which was pushed to it.
    Code(Mark),
    /// Not at all: a push to this token would ring.
    None {
        /// The push address.
        address: Mark,
    },
}

fn after(time: WallTime, span: Duration) -> WallTime {
    WallTime(time.0.saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeline_push::Provider;

    const NOW: WallTime = WallTime(1_800_000_000_000);

    fn target(token: &str) -> PushParameters {
        PushParameters::new(Provider::Fcm, "project", token.into()).unwrap()
    }

    fn live(limits: &Limits) -> Subscriptions {
        let mut all = Subscriptions::default();
        let code = Proof::Code(Mark::of("code"));
        all.add(NOW, limits, Mark::of("manage"), target("t"), code).unwrap();
        assert_eq!(all.post(Time::ZERO, limits, Mark::of("address")).unwrap_err(), Refused::Unknown);
        let wrong = all.prove(NOW, Mark::of("manage"), Mark::of("guess"), Mark::of("address"));
        assert_eq!(wrong.unwrap_err(), Refused::Unknown);
        all.prove(NOW, Mark::of("manage"), Mark::of("code"), Mark::of("address")).unwrap();
        all
    }

    #[test]
    fn s24_an_address_can_be_posted_to_so_often_and_no_oftener() {
        let limits = Limits { posts_per_minute: 2, posts_per_hour: 3, ..Limits::default() };
        let mut all = live(&limits);
        let mut post = |at: u64| {
            all.post(Time::ZERO + Duration::from_secs(at), &limits, Mark::of("address")).map(|_| ())
        };
        assert_eq!((post(0), post(1)), (Ok(()), Ok(())));
        assert_eq!(post(10), Err(Refused::TooOften(50)));
        assert_eq!(post(60), Ok(()));
        assert_eq!(post(130), Err(Refused::TooOften(3470)));
        assert_eq!(post(3600), Ok(()));
    }

    #[test]
    fn an_address_lives_until_it_is_revoked_and_an_unproven_one_lapses() {
        let limits = Limits { per_token: 2, ..Limits::default() };
        let mut all = live(&limits);
        let again = Subscriptions::load(&[row(Mark::of("manage"), all.all.values().next().unwrap())]);
        assert!(again.by_address.contains_key(&Mark::of("address")));
        all.add(NOW, &limits, Mark::of("second"), target("t"), Proof::Code(Mark::of("x"))).unwrap();
        let third = all.add(NOW, &limits, Mark::of("third"), target("t"), Proof::Code(Mark::of("x")));
        assert!(third.is_err());
        assert_eq!(all.sweep(after(NOW, PROOF), Time::ZERO).len(), 1);
        assert!(all.remove(Mark::of("manage")).is_some());
        assert_eq!(all.post(Time::ZERO, &limits, Mark::of("address")).unwrap_err(), Refused::Unknown);
        assert!(all.per_token.is_empty() && all.by_address.is_empty() && all.posts.is_empty());
    }
}
