//! The table of resolutions, and the memory of what was good.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use thiserror::Error;
use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::{Hop, Transport};

use crate::question::{Answer, Question};
use crate::resolution::{Resolution, Step};
use crate::target::Target;

/// Targets whose good hops are remembered.
const MOST_REMEMBERED: usize = 64;

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

/// Resolves targets, any number at a time.
#[derive(Debug, Default)]
pub struct Resolver {
    running: BTreeMap<ResolutionId, (Target, Resolution)>,
    next: u64,
    asked: BTreeSet<Question>,
    questions: VecDeque<Question>,
    resolved: VecDeque<(ResolutionId, Result<Vec<Hop>, ResolveError>)>,
    good: BTreeMap<Target, (Time, Vec<Hop>)>,
}

impl Resolver {
    /// Starts resolving a target; the outcome comes from [`Resolver::poll_resolved`]. `allowed` are the transports that
    /// may be used, best first.
    pub fn resolve(&mut self, target: Target, allowed: &[Transport], now: Time) -> ResolutionId {
        let id = ResolutionId(self.next);
        self.next += 1;
        let (resolution, step) = Resolution::start(target.clone(), allowed, now);
        self.running.insert(id, (target, resolution));
        self.take(id, step, now);
        id
    }

    /// Hands in an answer.
    pub fn handle_answer(&mut self, answer: &Answer, entropy: &mut Entropy, now: Time) {
        self.asked.remove(&answer.question);
        let ids: Vec<ResolutionId> = self.running.keys().copied().collect();
        for id in ids {
            if let Some((_, resolution)) = self.running.get_mut(&id) {
                let step = resolution.answer(answer, entropy);
                self.take(id, step, now);
            }
        }
    }

    /// Stops waiting for answers that are overdue.
    pub fn handle_timeout(&mut self, entropy: &mut Entropy, now: Time) {
        let late: Vec<ResolutionId> = self
            .running
            .iter()
            .filter(|(_, (_, resolution))| resolution.deadline() <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some((_, resolution)) = self.running.get_mut(&id) {
                let step = resolution.give_up_waiting(entropy);
                self.take(id, step, now);
            }
        }
    }

    /// When [`Resolver::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.running.values().map(|(_, resolution)| resolution.deadline()).min()
    }

    /// The next question to ask. One that is out already is not asked again.
    pub fn poll_question(&mut self) -> Option<Question> {
        self.questions.pop_front()
    }

    /// The next outcome.
    pub fn poll_resolved(&mut self) -> Option<(ResolutionId, Result<Vec<Hop>, ResolveError>)> {
        self.resolved.pop_front()
    }

    /// Resolutions that run.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    fn take(&mut self, id: ResolutionId, step: Step, now: Time) {
        let outcome = match step {
            Step::Wait => return,
            Step::Ask(questions) => {
                for question in questions {
                    if self.asked.insert(question.clone()) {
                        self.questions.push_back(question);
                    }
                }
                return;
            }
            Step::Done(hops) => Ok(hops),
            Step::Nothing => Err(ResolveError::NoService),
            Step::Unavailable => Err(ResolveError::DnsUnavailable),
        };
        let Some((target, _)) = self.running.remove(&id) else { return };
        let outcome = match outcome {
            Ok(hops) => {
                self.remember(target, &hops, now);
                Ok(hops)
            }
            // Yesterday's address is better than no call: there is no age at which it would be worse than nothing.
            Err(ResolveError::DnsUnavailable) => {
                self.good.get(&target).map(|(_, hops)| hops.clone()).ok_or(ResolveError::DnsUnavailable)
            }
            Err(ResolveError::NoService) => Err(ResolveError::NoService),
        };
        self.resolved.push_back((id, outcome));
    }

    fn remember(&mut self, target: Target, hops: &[Hop], now: Time) {
        if target.address().is_some() {
            return;
        }
        self.good.insert(target, (now, hops.to_vec()));
        if self.good.len() > MOST_REMEMBERED
            && let Some(oldest) =
                self.good.iter().min_by_key(|(_, (when, _))| *when).map(|(target, _)| target.clone())
        {
            self.good.remove(&oldest);
        }
    }
}
