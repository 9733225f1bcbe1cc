//! What must hold in every run, whatever the schedule.

use std::collections::BTreeMap;
use std::time::Duration;

use wakeline_clock::Time;
use wakeline_push::WakeId;
use wakeline_registrar::{BindingId, Leg, Trace};
use wakeline_user_agent::{CallId, EndedCall, Event};

use crate::network::End;
use crate::sniff;

/// A push must lead to a REGISTER within this span (section 6 of the wake design: 5 s).
const REGISTER_WITHIN: Duration = Duration::from_secs(5);
/// Push parameters of all dialects, and the tokens of all phones here. `pn-purr` may stand in dialogs (RFC 8599 §6).
const SECRETS: [&str; 9] =
    ["pn-prid", "pn-param", "pn-provider", "pn-tok", "pn-type", "pn-uri", "pn-silent", "app-id=", "token-of"];

/// An INVITE that reached the gateway, re-INVITEs included.
struct Invite {
    call_id: String,
    link: usize,
    gateway_life: u32,
    finals: Vec<(u16, String)>,
}

/// A call of a phone's present life.
#[derive(Default)]
struct CallSeen {
    ended: Option<Box<EndedCall>>,
}

/// What a wish or fault lets us expect of a phone that a push woke.
struct Due {
    until: Time,
}

/// The invariants of one run.
#[derive(Default)]
pub(crate) struct Watch {
    /// What did not hold.
    pub(crate) violations: Vec<String>,
    invites: BTreeMap<String, Invite>,
    calls: BTreeMap<(usize, CallId), CallSeen>,
    rings: BTreeMap<(usize, u32, WakeId), u32>,
    over: BTreeMap<WakeId, Time>,
    branches: BTreeMap<(WakeId, BindingId), Time>,
    registers_due: BTreeMap<usize, Due>,
    registered_at: BTreeMap<usize, Time>,
    thawed: BTreeMap<usize, Time>,
    /// When a phone last told that an ended call is over once more: only a push may make it.
    retold: BTreeMap<usize, Time>,
}

impl Watch {
    pub(crate) fn violated(&mut self, now: Time, what: impl AsRef<str>) {
        // One bad state tends to break everything after it.
        if self.violations.len() < 20 {
            self.violations.push(format!("{:>9} {}", now.as_millis() - 1_000_000, what.as_ref()));
        }
    }

    // ---- the wire --------------------------------------------------------------------------------------------

    /// Bytes left, whether they arrive or not.
    pub(crate) fn left(&mut self, now: Time, end: End, to_gateway: bool, bytes: &[u8]) {
        let is_register = bytes.starts_with(b"REGISTER ");
        if is_register
            && to_gateway
            && let End::Phone(phone, _) = end
        {
            self.registers_due.remove(&phone);
            self.registered_at.insert(phone, now);
        }
        let of_register = is_register
            || sniff::status(bytes).is_some()
                && sniff::header(bytes, "CSeq").is_some_and(|cseq| cseq.ends_with("REGISTER"));
        if !of_register && sniff::carries(bytes, &SECRETS) {
            let line = sniff::lines(bytes).next().unwrap_or_default().to_owned();
            self.violated(now, format!("a push parameter outside of REGISTER: {line}"));
        }
    }

    /// An INVITE reached the gateway.
    pub(crate) fn reached_gateway(&mut self, link: usize, gateway_life: u32, bytes: &[u8]) {
        if !bytes.starts_with(b"INVITE ") {
            return;
        }
        let (Some(branch), Some(call_id)) = (branch(bytes), sniff::header(bytes, "Call-ID")) else { return };
        let invite = Invite { call_id: call_id.to_owned(), link, gateway_life, finals: Vec::new() };
        self.invites.entry(branch).or_insert(invite);
    }

    /// A response left the gateway.
    pub(crate) fn answered_by_gateway(&mut self, now: Time, bytes: &[u8]) {
        let Some(code) = sniff::status(bytes).filter(|code| *code >= 200) else { return };
        if !sniff::header(bytes, "CSeq").is_some_and(|cseq| cseq.ends_with("INVITE")) {
            return;
        }
        let Some(invite) = branch(bytes).and_then(|branch| self.invites.get_mut(&branch)) else { return };
        let tag = sniff::header(bytes, "To")
            .and_then(|to| sniff::parameter(to, "tag"))
            .unwrap_or_default()
            .to_owned();
        if invite.finals.iter().any(|(known, other)| *known == code && *other == tag) {
            return;
        }
        invite.finals.push((code, tag));
        // RFC 3261 §16.7 step 5: further 2xx of other branches pass, nothing else does.
        if invite.finals.len() > 1 && invite.finals.iter().any(|(code, _)| *code >= 300) {
            let what = format!("two final responses to one INVITE: {:?} ({})", invite.finals, invite.call_id);
            self.violated(now, what);
        }
    }

    // ---- phones ----------------------------------------------------------------------------------------------

    /// A phone took a push: it must register soon.
    pub(crate) fn push_taken(&mut self, now: Time, phone: usize) {
        self.retold.insert(phone, now);
        // Of several pushes at once the later ones join the REGISTER that the first one sent (RFC 8599 §4.1.3 asks for
        // one): it counts while it may still be on its way.
        if self.registered_at.get(&phone).is_some_and(|at| now.since(*at) < REGISTER_WITHIN) {
            return;
        }
        self.registers_due.entry(phone).or_insert(Due { until: now + REGISTER_WITHIN });
    }

    /// Nothing can be expected of a phone any more: it was killed, frozen, or lost its network.
    pub(crate) fn excused(&mut self, phone: usize) {
        self.registers_due.remove(&phone);
    }

    /// A frozen phone runs again.
    pub(crate) fn thawed(&mut self, now: Time, phone: usize) {
        self.thawed.insert(phone, now);
    }

    /// A phone's process is gone with all its calls.
    pub(crate) fn killed(&mut self, phone: usize) {
        self.excused(phone);
        self.calls.retain(|(whose, _), _| *whose != phone);
    }

    /// A phone told something. `slack`: the longest that a CANCEL can be behind.
    pub(crate) fn told(&mut self, now: Time, phone: usize, life: u32, event: &Event, slack: Duration) {
        match event {
            Event::CallChanged(snapshot) | Event::Rings(snapshot) => {
                let seen = self.calls.entry((phone, snapshot.call)).or_default();
                if seen.ended.is_some() {
                    let what = format!("phone {phone} tells of {:?} after its end: {event:?}", snapshot.call);
                    self.violated(now, what);
                }
                if let (Event::Rings(_), Some(wake)) = (event, snapshot.wake_id) {
                    let rings = self.rings.entry((phone, life, wake)).or_default();
                    *rings += 1;
                    let rings = *rings;
                    if rings > 1 {
                        self.violated(now, format!("phone {phone} rings {rings} times for one wake"));
                    }
                    // A process that was frozen reads INVITE and CANCEL in one go, in order.
                    let thawed = self.thawed.get(&phone) == Some(&now);
                    if !thawed && self.over.get(&wake).is_some_and(|over| now > *over + slack) {
                        self.violated(now, format!("phone {phone} rings for a call that is over"));
                    }
                }
            }
            Event::CallEnded(ended) => {
                let seen = self.calls.entry((phone, ended.last.call)).or_default();
                match &seen.ended {
                    None => seen.ended = Some(Box::new(ended.clone())),
                    // A late push: the shell had to report the call again and is told its end again, the same one.
                    Some(first) if **first == *ended && self.retold.get(&phone) == Some(&now) => {}
                    Some(_) => {
                        let what = format!("phone {phone} ends {:?} twice", ended.last.call);
                        self.violated(now, what);
                    }
                }
            }
            Event::RegistrationChanged(_)
            | Event::DtmfReceived { .. }
            | Event::Woken { .. }
            | Event::OptionsAnswered { .. }
            | Event::Problem(_) => {}
        }
    }

    // ---- the gateway -----------------------------------------------------------------------------------------

    /// The gateway made a step; true when a wake's call is over with it.
    pub(crate) fn traced(&mut self, now: Time, trace: &Trace) -> bool {
        let Some(wake) = trace.wake else { return false };
        match &trace.leg {
            // Requests within the dialog carry the same wake: the rule is for the call's set-up.
            Leg::InviteOut { .. } if self.over.contains_key(&wake) => {}
            Leg::InviteOut { binding, .. } => {
                if let Some(since) = self.branches.insert((wake, *binding), now) {
                    let since = since.as_millis() - 1_000_000;
                    self.violated(now, format!("two live branches to one device, the first since {since}"));
                }
            }
            Leg::FlowLost(binding)
            | Leg::RegisterOk(binding)
            | Leg::Answered(binding)
            | Leg::Refused(binding, _)
            | Leg::WakeExpired(binding)
            | Leg::LateWake(binding) => drop(self.branches.remove(&(wake, *binding))),
            Leg::CallerGone | Leg::FinalOut(_) => {
                self.branches.retain(|(other, _), _| *other != wake);
                return self.over.insert(wake, now).is_none();
            }
            Leg::InviteIn { .. }
            | Leg::Held(_)
            | Leg::PushAsked { .. }
            | Leg::PushAccepted(_)
            | Leg::PushFailed(_)
            | Leg::RegisterIn(_)
            | Leg::Ringing(_)
            | Leg::Registered { .. }
            | Leg::RegisterRefused(_)
            | Leg::RequestRefused(_)
            | Leg::OverQuota
            | Leg::Garbage => {}
        }
        false
    }

    /// A former life of the gateway knows nothing any more.
    pub(crate) fn gateway_restarted(&mut self) {
        self.branches.clear();
    }

    // ---- time ------------------------------------------------------------------------------------------------

    /// What is overdue.
    pub(crate) fn tick(&mut self, now: Time) {
        let late = self.registers_due.iter().find(|(_, due)| due.until < now).map(|(phone, _)| *phone);
        if let Some(phone) = late {
            self.registers_due.remove(&phone);
            self.violated(now, format!("phone {phone} took a push and did not register within 5 s"));
        }
    }

    /// The run is over. `excused`: whether nobody can be told on this link any more.
    pub(crate) fn finish(&mut self, now: Time, gateway_life: u32, excused: impl Fn(usize) -> bool) {
        let unanswered: Vec<String> = self
            .invites
            .values()
            .filter(|invite| {
                invite.finals.is_empty() && invite.gateway_life == gateway_life && !excused(invite.link)
            })
            .map(|invite| format!("an INVITE never got a final response ({})", invite.call_id))
            .collect();
        let unended: Vec<String> = self
            .calls
            .iter()
            .filter(|(_, call)| call.ended.is_none())
            .map(|((phone, call), _)| format!("{call:?} of phone {phone} never ended"))
            .collect();
        for what in unanswered.into_iter().chain(unended) {
            self.violated(now, what);
        }
    }
}

fn branch(bytes: &[u8]) -> Option<String> {
    Some(sniff::parameter(sniff::header(bytes, "Via")?, "branch")?.to_owned())
}
