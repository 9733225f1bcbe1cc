//! Several attempts at one INVITE: the next hop while one is silent (RFC 3263 §4.3), the first hop that speaks, and what
//! becomes of an INVITE whose flow is gone (RFC 3261 §9.1).

use std::collections::VecDeque;
use std::time::Duration;

use wakeline_clock::Time;
use wakeline_flow::FlowId;
use wakeline_sip_message::{Message, Method};
use wakeline_sip_transaction::ClientKey;

use crate::agent::UserAgent;
use crate::delivery::{Errand, Job, Owner};
use crate::snapshot::{AccountId, CallId};
use crate::withdrawal::Withdrawal;

/// A server that is there says 100 within 200 ms (RFC 3261 §17.2.1). One that has said nothing for this long is not the
/// only one tried any more, as with a REGISTER; timer B would take 32 s.
const SILENCE: Duration = Duration::from_secs(4);

impl UserAgent {
    // ---- hops that say nothing -------------------------------------------------------------------------------

    /// Sends the INVITEs of calls to their next hops that have heard nothing for too long. What is out stays out: a slow
    /// server may still be the first to speak.
    pub(crate) fn pass_silent_hops(&mut self) {
        let now = self.now;
        let due: Vec<(ClientKey, CallId)> =
            self.silent_invites().filter(|(.., at)| *at <= now).map(|(key, call, _)| (key, call)).collect();
        for (key, call) in due {
            let Some(mut job) = self.delivery.job(key).cloned() else { continue };
            let Some(hops) = self.calls.get_mut(&call).and_then(|call| call.hops.as_mut()) else { continue };
            job.hops = core::mem::take(&mut hops.left);
            hops.left = job.hops.iter().skip(1).cloned().collect();
            job.any_size = false;
            // The one after that has its turn when this one has had its time, also when its flow is slow to open.
            self.delivery.waits_anew(key, now);
            self.try_next_hop(job);
        }
    }

    /// When [`UserAgent::pass_silent_hops`] is due.
    pub(crate) fn silent_hops_due(&self) -> Option<Time> {
        self.silent_invites().map(|(.., at)| at).min()
    }

    /// The latest attempts that nobody has answered in any way, and that have somewhere else to go, with the moment when
    /// they go there.
    fn silent_invites(&self) -> impl Iterator<Item = (ClientKey, CallId, Time)> {
        self.delivery.first_invites().filter_map(|(key, owner, left)| {
            let Owner::Call(call, _) = owner else { return None };
            let others = self.calls.get(&call)?.hops.as_ref().is_some_and(|hops| !hops.left.is_empty());
            let latest = self.delivery.key_of(owner) == Some(key);
            (others && latest && self.transactions.is_silent(key)).then_some((key, call, left + SILENCE))
        })
    }

    /// A response to one of several attempts: whether its call is to hear of it. The first hop that speaks has the call, and
    /// the INVITEs at the others are cancelled.
    pub(crate) fn counts(&mut self, key: ClientKey, owner: Owner, response: &Message) -> bool {
        let Owner::Call(call, _) = owner else { return true };
        if response.method() != Method::Invite {
            return true;
        }
        let others: Vec<ClientKey> =
            self.delivery.keys_of(owner).into_iter().filter(|other| *other != key).collect();
        let status = response.status().unwrap_or(0);
        if let Some(latest) = self.delivery.key_of(owner).filter(|latest| *latest != key) {
            // A 2xx is acknowledged wherever it comes from (RFC 3261 §13.2.2.4).
            let speaks_first = status < 200 && self.transactions.is_silent(latest);
            if !speaks_first && !(200..300).contains(&status) {
                // Cancelled, or refused while another hop is asked.
                return false;
            }
            self.delivery.prefer(key);
            if let (Some(call), Some(flow)) = (self.calls.get_mut(&call), self.transactions.request_flow(key))
            {
                call.flow = Some(flow.id);
            }
        }
        for other in others {
            // One that has its final response is over.
            let _ = self.transactions.cancel(self.now, other, &[]);
        }
        true
    }

    // ---- flows that are gone ---------------------------------------------------------------------------------

    /// A flow is about to be gone: its INVITEs that begin calls will be cancelled from elsewhere, or they would ring on
    /// where nobody can be told.
    pub(crate) fn note_withdrawals(&mut self, flow: FlowId) {
        let Some(hop) = self.flows.hop(flow) else { return };
        for (key, invite) in self.transactions.unanswered_invites(flow) {
            if let Some(job) = self.delivery.job(key)
                && invite.to_tag().is_none()
            {
                let account = job.account;
                self.withdrawals.push(Withdrawal::new(account, invite, hop.clone(), self.now));
            }
        }
    }

    /// An account is bound again, or needs no binding: what it has to withdraw is withdrawn.
    pub(crate) fn withdraw(&mut self, account: AccountId) {
        let now = self.now;
        let due: Vec<Withdrawal> =
            self.withdrawals.extract_if(.., |one| one.account == account || one.is_over(now)).collect();
        for one in due {
            if !one.is_over(now) {
                let Withdrawal { account, invite, hop, .. } = one;
                let job = Job { hops: VecDeque::from([hop]), ..Job::new(Errand::Withdraw(invite), account) };
                self.try_next_hop(job);
            }
        }
    }

    /// Withdraws for the accounts that do not register.
    pub(crate) fn withdraw_unbound(&mut self) {
        let unbound = |line: &&crate::line::Line| !line.identity().settings.account().is_to_register();
        let accounts: Vec<AccountId> =
            self.lines.iter().filter(unbound).map(|line| line.identity().id).collect();
        for account in accounts {
            self.withdraw(account);
        }
    }
}
