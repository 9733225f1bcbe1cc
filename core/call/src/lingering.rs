//! What outlives its moment: ACKs for repeated 2xx, forks that lost, the last BYE's dialog.

use std::collections::BTreeMap;

use wakeline_clock::Time;
use wakeline_sip_dialog::{Dialog, DialogId};
use wakeline_sip_message::{Message, Method};

/// The most forks that are ended one by one; later ones are left to the session timers of their peers (S14).
const MOST_FORKS: usize = 32;

#[derive(Debug)]
struct KeptAck {
    request: Message,
    next_hop: String,
    until: Time,
}

/// Everything that is kept for late messages of the peers.
#[derive(Debug, Default)]
pub(crate) struct Lingering {
    acks: BTreeMap<(DialogId, u32), KeptAck>,
    forks: Vec<Dialog>,
}

impl Lingering {
    pub(crate) fn keep_ack(
        &mut self,
        id: &DialogId,
        cseq: u32,
        request: Message,
        next_hop: String,
        until: Time,
    ) {
        self.acks.insert((id.clone(), cseq), KeptAck { request, next_hop, until });
    }

    /// The ACK that this 2xx had already, to be sent again (RFC 3261 §13.2.2.4).
    pub(crate) fn ack_for(&self, response: &Message) -> Option<(Message, String)> {
        let cseq = response.cseq().ok().filter(|cseq| cseq.method == Method::Invite)?.number;
        let kept = self.acks.get(&(DialogId::of_response(response)?, cseq))?;
        Some((kept.request.clone(), kept.next_hop.clone()))
    }

    /// Keeps a fork that was answered too late, for its own requests; nothing if there are too many.
    pub(crate) fn keep_fork(&mut self, dialog: Dialog) -> Option<&mut Dialog> {
        if self.forks.len() >= MOST_FORKS {
            return None;
        }
        self.forks.push(dialog);
        self.forks.last_mut()
    }

    pub(crate) fn owns_request(&self, request: &Message) -> bool {
        self.forks.iter().any(|dialog| dialog.owns_request(request))
    }

    pub(crate) fn dialogs(&self) -> usize {
        self.forks.len()
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        self.acks.values().map(|ack| ack.until).min()
    }

    /// Forgets what nobody can ask for any more.
    pub(crate) fn expire(&mut self, now: Time) {
        self.acks.retain(|_, ack| ack.until > now);
        if self.acks.is_empty() {
            self.forks.clear();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.acks.is_empty()
    }
}
