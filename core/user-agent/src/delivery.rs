//! Getting requests to their next hop: resolve, open a flow, send; and the next hop when one is of no use (RFC 3263 §4.3).

use std::collections::{BTreeMap, VecDeque};

use wakeline_clock::Time;
use wakeline_flow::{FlowId, Hop, Transport};
use wakeline_sip_message::{Message, Method};
use wakeline_sip_resolve::ResolutionId;
use wakeline_sip_transaction::ClientKey;

use wakeline_call::RequestId;

use crate::snapshot::{AccountId, CallId};

/// Whose request it is, and so who is told what becomes of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Owner {
    /// An account's REGISTER.
    Registration(AccountId),
    /// A request of a call.
    Call(CallId, RequestId),
    /// An OPTIONS that a person asked for.
    Options(u64),
}

/// What waits for a flow.
#[derive(Clone, Debug)]
pub(crate) enum Errand {
    /// An account wants a flow to its edge, to register on.
    Edge(AccountId),
    /// A call is to be made once its flow is known.
    Dial(CallId),
    /// A request is to be sent in a transaction.
    Request {
        /// Whose it is.
        owner: Owner,
        /// The request, without Via.
        request: Message,
    },
    /// An ACK to a 2xx is to be sent.
    Ack(Message),
    /// An INVITE, as it left on a flow that is gone, is to be cancelled.
    Withdraw(Message),
}

/// An errand and the hops that are left for it.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// What to do.
    pub(crate) errand: Errand,
    /// Of which account: its transports are used.
    pub(crate) account: AccountId,
    /// Hops not tried yet, best first.
    pub(crate) hops: VecDeque<Hop>,
    /// A request that is too large for a datagram goes over TCP first (RFC 3261 §18.1.1), and in a datagram when there is
    /// no TCP.
    pub(crate) any_size: bool,
}

/// Everything that is on its way to a hop, or waits for an answer from one.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    resolving: BTreeMap<ResolutionId, Job>,
    waiting: BTreeMap<FlowId, Vec<Job>>,
    in_flight: BTreeMap<ClientKey, Departed>,
    departures: u64,
}

/// A request in its transaction.
#[derive(Debug)]
struct Departed {
    /// The number of its departure: keys of transactions tell nothing of their order.
    number: u64,
    /// When, or when another hop was last tried beside it.
    at: Time,
    job: Job,
}

impl Delivery {
    /// Waits for a name.
    pub(crate) fn resolve(&mut self, id: ResolutionId, job: Job) {
        self.resolving.insert(id, job);
    }

    /// The name is known, or never will be.
    pub(crate) fn resolved(&mut self, id: ResolutionId) -> Option<Job> {
        self.resolving.remove(&id)
    }

    /// Waits for a flow to open.
    pub(crate) fn wait_for(&mut self, flow: FlowId, job: Job) {
        self.waiting.entry(flow).or_default().push(job);
    }

    /// The jobs that waited for a flow which is open now, or never will be.
    pub(crate) fn flow_settled(&mut self, flow: FlowId) -> Vec<Job> {
        self.waiting.remove(&flow).unwrap_or_default()
    }

    /// A request left in this transaction.
    pub(crate) fn left(&mut self, key: ClientKey, job: Job, at: Time) {
        self.departures += 1;
        self.in_flight.insert(key, Departed { number: self.departures, at, job });
    }

    /// Of several attempts this one counts from now on.
    pub(crate) fn prefer(&mut self, key: ClientKey) {
        self.departures += 1;
        if let Some(departed) = self.in_flight.get_mut(&key) {
            departed.number = self.departures;
        }
    }

    /// Its patience begins anew.
    pub(crate) fn waits_anew(&mut self, key: ClientKey, now: Time) {
        if let Some(departed) = self.in_flight.get_mut(&key) {
            departed.at = now;
        }
    }

    /// Every INVITE that begins a call, and since when it waits.
    pub(crate) fn first_invites(&self) -> impl Iterator<Item = (ClientKey, Owner, Time)> {
        let begins = |job: &Job| match &job.errand {
            Errand::Request { owner, request }
                if request.method() == Method::Invite && request.to_tag().is_none() =>
            {
                Some(*owner)
            }
            Errand::Request { .. }
            | Errand::Edge(_)
            | Errand::Dial(_)
            | Errand::Ack(_)
            | Errand::Withdraw(_) => None,
        };
        self.in_flight.iter().filter_map(move |(key, left)| Some((*key, begins(&left.job)?, left.at)))
    }

    /// The job of a request that has left.
    pub(crate) fn job(&self, key: ClientKey) -> Option<&Job> {
        self.in_flight.get(&key).map(|departed| &departed.job)
    }

    /// The owner of a transaction.
    pub(crate) fn owner(&self, key: ClientKey) -> Option<Owner> {
        self.job(key).and_then(Job::owner)
    }

    /// The transaction is over; its job, for another hop.
    pub(crate) fn over(&mut self, key: ClientKey) -> Option<Job> {
        self.in_flight.remove(&key).map(|departed| departed.job)
    }

    /// The transaction in which a request of this owner is out, if it has left.
    pub(crate) fn key_of(&self, owner: Owner) -> Option<ClientKey> {
        // The latest attempt counts: a retry with credentials leaves while the former transaction still absorbs copies.
        self.in_flight
            .iter()
            .filter(|(_, departed)| departed.job.owner() == Some(owner))
            .max_by_key(|(_, departed)| departed.number)
            .map(|(key, _)| *key)
    }

    /// The transactions of all attempts at a request of this owner.
    pub(crate) fn keys_of(&self, owner: Owner) -> Vec<ClientKey> {
        let its = |(_, departed): &(&ClientKey, &Departed)| departed.job.owner() == Some(owner);
        self.in_flight.iter().filter(its).map(|(key, _)| *key).collect()
    }

    /// Gives up opening flows to an account's edge; the flows that nothing else waits for.
    pub(crate) fn give_up_edge(&mut self, account: AccountId) -> Vec<FlowId> {
        let before: Vec<FlowId> = self.waiting.keys().copied().collect();
        self.drop_unsent(|errand| matches!(errand, Errand::Edge(whose) if *whose == account));
        before.into_iter().filter(|flow| !self.waiting.contains_key(flow)).collect()
    }

    /// Flows with a job that could go elsewhere.
    pub(crate) fn with_other_hops(&self) -> impl Iterator<Item = FlowId> {
        let could = |(_, jobs): &(&FlowId, &Vec<Job>)| jobs.iter().any(|job| !job.hops.is_empty());
        self.waiting.iter().filter(could).map(|(flow, _)| *flow)
    }

    /// Drops what has not left yet for which `unwanted` says so; true when there was anything.
    pub(crate) fn drop_unsent(&mut self, mut unwanted: impl FnMut(&Errand) -> bool) -> bool {
        let before = self.unsent();
        self.resolving.retain(|_, job| !unwanted(&job.errand));
        for jobs in self.waiting.values_mut() {
            jobs.retain(|job| !unwanted(&job.errand));
        }
        self.waiting.retain(|_, jobs| !jobs.is_empty());
        before != self.unsent()
    }

    /// Takes out the requests of a call that have not left yet.
    pub(crate) fn take_unsent_of(&mut self, call: CallId) -> Vec<Job> {
        let its = |job: &Job| matches!(job.owner(), Some(Owner::Call(whose, _)) if whose == call);
        let names: Vec<ResolutionId> =
            self.resolving.iter().filter(|(_, job)| its(job)).map(|(id, _)| *id).collect();
        let mut taken: Vec<Job> = names.iter().filter_map(|id| self.resolving.remove(id)).collect();
        for jobs in self.waiting.values_mut() {
            taken.extend(jobs.extract_if(.., |job| its(job)));
        }
        self.waiting.retain(|_, jobs| !jobs.is_empty());
        taken
    }

    /// Takes out everything that has not left yet, but for the flows that these accounts wait for.
    pub(crate) fn take_unsent(&mut self, but_edges_of: &[AccountId]) -> Vec<Job> {
        let stays =
            |job: &Job| matches!(&job.errand, Errand::Edge(account) if but_edges_of.contains(account));
        let mut taken = Vec::new();
        for (id, job) in std::mem::take(&mut self.resolving) {
            if stays(&job) {
                self.resolving.insert(id, job);
            } else {
                taken.push(job);
            }
        }
        for (flow, jobs) in std::mem::take(&mut self.waiting) {
            let (kept, given_up): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(&stays);
            taken.extend(given_up);
            if !kept.is_empty() {
                self.waiting.insert(flow, kept);
            }
        }
        taken
    }

    /// Whether something waits for this flow to open.
    pub(crate) fn waits_for(&self, flow: FlowId) -> bool {
        self.waiting.contains_key(&flow)
    }

    /// Whether something has not left yet.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.resolving.is_empty() || !self.waiting.is_empty()
    }

    fn unsent(&self) -> usize {
        self.resolving.len() + self.waiting.values().map(Vec::len).sum::<usize>()
    }
}

impl Job {
    /// A new job without hops.
    pub(crate) fn new(errand: Errand, account: AccountId) -> Job {
        Job { errand, account, hops: VecDeque::new(), any_size: false }
    }

    fn owner(&self) -> Option<Owner> {
        match &self.errand {
            Errand::Request { owner, .. } => Some(*owner),
            Errand::Edge(_) | Errand::Dial(_) | Errand::Ack(_) | Errand::Withdraw(_) => None,
        }
    }

    /// The request grew too large for the datagram hop that was tried: TCP to the same place first, then a datagram of any
    /// size.
    pub(crate) fn leave_datagrams(&mut self, hop: Hop) {
        let stream = Hop { transport: Transport::Tcp, ..hop.clone() };
        self.hops.push_front(hop);
        self.hops.push_front(stream);
        self.any_size = true;
    }
}

#[cfg(test)]
mod tests {
    use wakeline_entropy::Entropy;
    use wakeline_flow::FlowInfo;
    use wakeline_sip_message::{Builder, Name};

    use super::*;

    fn dial(call: u64) -> Job {
        Job::new(Errand::Dial(CallId(call)), AccountId(0))
    }

    #[test]
    fn what_has_not_left_can_be_dropped() {
        let mut delivery = Delivery::default();
        delivery.wait_for(FlowId(1), dial(1));
        delivery.wait_for(FlowId(1), dial(2));
        assert!(delivery.drop_unsent(|errand| matches!(errand, Errand::Dial(CallId(1)))));
        assert!(!delivery.drop_unsent(|errand| matches!(errand, Errand::Dial(CallId(1)))));
        assert_eq!(delivery.flow_settled(FlowId(1)).len(), 1);
        assert!(!delivery.has_unsent());
    }

    #[test]
    fn what_an_account_cannot_leave_out_stays() {
        let mut delivery = Delivery::default();
        delivery.wait_for(FlowId(1), dial(1));
        for (flow, account) in [(1, AccountId(0)), (2, AccountId(1))] {
            delivery.wait_for(FlowId(flow), Job::new(Errand::Edge(account), account));
        }
        let taken = delivery.take_unsent(&[AccountId(0)]);
        assert!(matches!(taken[0].errand, Errand::Dial(CallId(1))));
        assert!(matches!(taken[1].errand, Errand::Edge(AccountId(1))));
        assert_eq!(
            (taken.len(), delivery.waits_for(FlowId(1)), delivery.waits_for(FlowId(2))),
            (2, true, false)
        );
    }

    #[test]
    fn a_former_attempt_is_not_taken_for_the_latest_whatever_the_slots_of_the_keys() {
        // A retry with credentials may get the slot of an older transaction: CANCEL must go to the one that left last.
        let mut transactions =
            wakeline_sip_transaction::Transactions::new(Default::default(), Entropy::from_number(1));
        let owner = Owner::Options(1);
        let flow = FlowInfo {
            id: FlowId(1),
            transport: Transport::Tcp,
            local: ([127, 0, 0, 1], 5060).into(),
            remote: ([192, 0, 2, 1], 5060).into(),
        };
        let sent_by = wakeline_sip_transaction::SentBy::address(flow.local);
        let request = Builder::request(Method::Options, "sip:mia@example.org")
            .header(Name::From, "<sip:bob@example.org>;tag=a")
            .header(Name::To, "<sip:mia@example.org>")
            .header(Name::CallId, "c1")
            .header(Name::CSeq, "1 OPTIONS")
            .header(Name::MaxForwards, 70)
            .build()
            .unwrap();
        let mut keys: Vec<ClientKey> = (0..3)
            .map(|_| transactions.send(Time::ZERO, request.clone(), &flow, &sent_by).unwrap())
            .collect();
        // In every order of departure the last one is found.
        for _ in 0..keys.len() {
            keys.rotate_left(1);
            let mut delivery = Delivery::default();
            for key in &keys {
                let errand = Errand::Request { owner, request: request.clone() };
                delivery.left(*key, Job::new(errand, AccountId(0)), Time::ZERO);
            }
            assert_eq!(delivery.key_of(owner), keys.last().copied());
            let last = keys[keys.len() - 1];
            assert!(delivery.over(last).is_some());
            assert_eq!(delivery.key_of(owner), Some(keys[keys.len() - 2]));
        }
    }

    #[test]
    fn a_large_request_tries_tcp_and_then_any_datagram() {
        let hop = Hop { transport: Transport::Udp, remote: ([192, 0, 2, 1], 5060).into(), server_name: None };
        let mut job = dial(1);
        job.leave_datagrams(hop.clone());
        assert_eq!(job.hops.pop_front().map(|hop| hop.transport), Some(Transport::Tcp));
        assert_eq!((job.hops.pop_front(), job.any_size), (Some(hop), true));
    }
}
