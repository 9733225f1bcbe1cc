//! Every INVITE that reached the gateway gets exactly one final response (RFC 3261 §16.7 step 5: further 2xx of other
//! branches pass, nothing else does).

use std::collections::BTreeMap;

use super::branch;
use crate::sniff;

/// An INVITE that reached the gateway, re-INVITEs included.
struct Invite {
    call_id: String,
    link: usize,
    gateway_life: u32,
    finals: Vec<(u16, String)>,
}

/// All of them, by their branch.
#[derive(Default)]
pub(crate) struct Finals {
    invites: BTreeMap<String, Invite>,
}

impl Finals {
    /// A request reached the gateway.
    pub(crate) fn reached(&mut self, link: usize, gateway_life: u32, bytes: &[u8]) {
        if !bytes.starts_with(b"INVITE ") {
            return;
        }
        let (Some(branch), Some(call_id)) = (branch(bytes), sniff::header(bytes, "Call-ID")) else { return };
        let known = self.invites.get(&branch);
        // What is repeated to a gateway that has restarted is new to it.
        if known.is_none_or(|invite| invite.gateway_life < gateway_life) {
            let invite = Invite { call_id: call_id.to_owned(), link, gateway_life, finals: Vec::new() };
            self.invites.insert(branch, invite);
        }
    }

    /// A response left the gateway, on a stream or not; gives what is wrong with it.
    pub(crate) fn answered(&mut self, on_stream: bool, bytes: &[u8]) -> Option<String> {
        let code = sniff::status(bytes).filter(|code| *code >= 200)?;
        sniff::header(bytes, "CSeq").filter(|cseq| cseq.ends_with("INVITE"))?;
        let invite = self.invites.get_mut(&branch(bytes)?)?;
        let tag = sniff::header(bytes, "To").and_then(|to| sniff::parameter(to, "tag")).unwrap_or_default();
        let repeated = invite.finals.iter().any(|(known, other)| *known == code && *other == tag);
        // A datagram's answer is repeated until its ACK comes, and a device repeats its 2xx whatever the way.
        if repeated && (!on_stream || code < 300) {
            return None;
        }
        invite.finals.push((code, tag.to_owned()));
        let wrong = invite.finals.len() > 1 && invite.finals.iter().any(|(code, _)| *code >= 300);
        wrong.then(|| format!("two final responses to one INVITE: {:?} ({})", invite.finals, invite.call_id))
    }

    /// INVITEs that never got one, of the gateway's present life and on links that are not excused.
    pub(crate) fn unanswered(
        &self,
        gateway_life: impl Fn(usize) -> u32,
        excused: impl Fn(usize) -> bool,
    ) -> Vec<String> {
        let open = |invite: &&Invite| {
            invite.finals.is_empty()
                && invite.gateway_life == gateway_life(invite.link)
                && !excused(invite.link)
        };
        let told = |invite: &Invite| format!("an INVITE never got a final response ({})", invite.call_id);
        self.invites.values().filter(open).map(told).collect()
    }
}
