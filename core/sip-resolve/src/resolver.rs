//! The table of resolutions, and the memory of what was good.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use thiserror::Error;
use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::{Hop, Transport};

use crate::question::{Answer, LookupFailure, Question, Record};
use crate::record_of_good;
use crate::resolution::{Resolution, Step};
use crate::target::Target;

/// Targets whose good hops are remembered.
const MOST_REMEMBERED: usize = 64;

/// Answers that are kept although they came too late.
const MOST_LATE: usize = 64;
/// For how long such an answer stands in for a new one.
const LATE_KEPT: Duration = Duration::from_secs(30);
/// After which time a question that was never answered is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(15);
/// For how long a name that is said not to exist any more is still believed to be where it was.
const VANISHED_KEPT: Duration = Duration::from_secs(48 * 3600);

/// Names one resolution.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ResolutionId(u64);

/// Why a target has no hop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ResolveError {
    /// The domain has no such service, or none that this account may use.
    #[error("the server's name leads to no address that may be used")]
    NoService,
    /// The DNS did not answer, and nothing is remembered.
    #[error("the server's name cannot be looked up: the DNS does not answer")]
    DnsUnavailable,
}

/// What was good for a target: for the same transports only, or an account that insists on TLS would be led to another
/// account's open hop (class S18).
type Key = (Target, Vec<Transport>);

/// An answer nobody waited for any longer.
type Late = (Time, Result<Vec<Record>, LookupFailure>);

/// Resolves targets, any number at a time.
#[derive(Debug, Default)]
pub struct Resolver {
    running: BTreeMap<ResolutionId, (Key, Resolution)>,
    next: u64,
    /// Questions that are out, and since when.
    asked: BTreeMap<Question, Time>,
    questions: VecDeque<Question>,
    resolved: VecDeque<(ResolutionId, Result<Vec<Hop>, ResolveError>)>,
    /// Questions whose resolutions have ended without the answer.
    abandoned: BTreeSet<Question>,
    late: BTreeMap<Question, Late>,
    good: BTreeMap<Key, (Time, Vec<Hop>)>,
}

impl Resolver {
    /// Starts resolving a target; the outcome comes from [`Resolver::poll_resolved`]. `allowed` are the transports that
    /// may be used, best first.
    pub fn resolve(&mut self, target: Target, allowed: &[Transport], now: Time) -> ResolutionId {
        let id = ResolutionId(self.next);
        self.next += 1;
        let (resolution, step) = Resolution::start(target.clone(), allowed, now);
        self.running.insert(id, ((target, allowed.to_vec()), resolution));
        self.take(id, step, now);
        id
    }

    /// Hands in an answer.
    pub fn handle_answer(&mut self, answer: &Answer, entropy: &mut Entropy, now: Time) {
        self.asked.remove(&answer.question);
        if self.abandoned.remove(&answer.question) && self.late.len() < MOST_LATE {
            self.late.insert(answer.question.clone(), (now, answer.outcome.clone()));
        }
        self.distribute(answer, entropy, now);
        self.use_late(entropy, now);
    }

    /// Stops waiting for answers that are overdue.
    pub fn handle_timeout(&mut self, entropy: &mut Entropy, now: Time) {
        let overdue: Vec<ResolutionId> = self
            .running
            .iter()
            .filter(|(_, (_, resolution))| resolution.deadline() <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in overdue {
            if let Some((_, resolution)) = self.running.get_mut(&id) {
                let step = resolution.timeout(entropy, now);
                self.take(id, step, now);
            }
        }
        self.use_late(entropy, now);
    }

    /// When [`Resolver::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        let deadlines = self.running.values().map(|(_, resolution)| resolution.deadline());
        // A question that has a late answer is settled at once.
        let settled =
            self.questions.iter().filter_map(|question| self.late.get(question)).map(|(since, _)| *since);
        deadlines.chain(settled).min()
    }

    /// The next question to ask. One that is out already is not asked again.
    pub fn poll_question(&mut self) -> Option<Question> {
        let place = self.questions.iter().position(|question| !self.late.contains_key(question))?;
        self.questions.remove(place)
    }

    /// The next outcome.
    pub fn poll_resolved(&mut self) -> Option<(ResolutionId, Result<Vec<Hop>, ResolveError>)> {
        self.resolved.pop_front()
    }

    /// What was good, as a text for the store; [`Resolver::import`] reads it in a later process.
    pub fn export(&self) -> String {
        self.good
            .iter()
            .map(|((target, allowed), (_, hops))| record_of_good::write(target, allowed, hops))
            .collect()
    }

    /// Takes in what an earlier process found good. It counts as found now; what is known already stays.
    pub fn import(&mut self, text: &str, now: Time) {
        for (target, allowed, hops) in record_of_good::read(text) {
            if !self.good.contains_key(&(target.clone(), allowed.clone())) {
                self.remember((target, allowed), &hops, now);
            }
        }
    }

    /// Resolutions that run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    fn distribute(&mut self, answer: &Answer, entropy: &mut Entropy, now: Time) {
        let ids: Vec<ResolutionId> = self.running.keys().copied().collect();
        for id in ids {
            if let Some((_, resolution)) = self.running.get_mut(&id) {
                let step = resolution.answer(answer, entropy, now);
                self.take(id, step, now);
            }
        }
    }

    /// Questions that were answered too late for an earlier resolution are not asked again for a while: with a name
    /// server that is always slow the second attempt succeeds (fault F5).
    fn use_late(&mut self, entropy: &mut Entropy, now: Time) {
        self.late.retain(|_, (since, _)| now.since(*since) < LATE_KEPT);
        while let Some(place) = self.questions.iter().position(|question| self.late.contains_key(question)) {
            let Some(question) = self.questions.remove(place) else { return };
            let Some((_, outcome)) = self.late.remove(&question) else { return };
            self.asked.remove(&question);
            self.distribute(&Answer { question, outcome }, entropy, now);
        }
    }

    fn take(&mut self, id: ResolutionId, step: Step, now: Time) {
        let step = match step {
            Step::Wait => return,
            Step::Ask(questions) => {
                for question in questions {
                    // A question that is out for very long was lost on its way.
                    let out = self.asked.get(&question).is_some_and(|since| now.since(*since) < ASK_AGAIN);
                    if !out {
                        self.asked.insert(question.clone(), now);
                        self.questions.push_back(question);
                    }
                }
                return;
            }
            done @ (Step::Done { .. } | Step::Refused | Step::Nothing | Step::Unavailable) => done,
        };
        let Some((key, resolution)) = self.running.remove(&id) else { return };
        self.abandoned.extend(resolution.given_up().iter().cloned());
        while self.abandoned.len() > MOST_LATE {
            self.abandoned.pop_first();
        }
        let known = self.good.get(&key);
        let outcome = match step {
            Step::Done { hops, doubtful } => Ok(match known {
                // Half an answer: what was good before is better than a guess, and goes first.
                Some((_, good)) if doubtful => {
                    let new = hops.into_iter().filter(|hop| !good.contains(hop));
                    good.iter().cloned().chain(new).collect()
                }
                Some(_) | None => {
                    self.remember(key, &hops, now);
                    hops
                }
            }),
            // Yesterday's address is better than no call: there is no age at which it would be worse than nothing.
            Step::Unavailable => known.map(|(_, hops)| hops.clone()).ok_or(ResolveError::DnsUnavailable),
            // A name does not vanish overnight, but a network with a portal says so of every name (fault F5).
            Step::Nothing => known
                .filter(|(since, _)| now.since(*since) < VANISHED_KEPT)
                .map(|(_, hops)| hops.clone())
                .ok_or(ResolveError::NoService),
            Step::Refused | Step::Ask(_) | Step::Wait => Err(ResolveError::NoService),
        };
        self.resolved.push_back((id, outcome));
    }

    fn remember(&mut self, key: Key, hops: &[Hop], now: Time) {
        if key.0.address().is_some() {
            return;
        }
        self.good.insert(key, (now, hops.to_vec()));
        if self.good.len() > MOST_REMEMBERED
            && let Some(oldest) =
                self.good.iter().min_by_key(|(_, (when, _))| *when).map(|(key, _)| key.clone())
        {
            self.good.remove(&oldest);
        }
    }
}
