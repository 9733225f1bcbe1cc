//! What must hold in every run, whatever the schedule:
//!
//! - one ring per wake and process ([`Watch::told`]);
//! - no ring for a dead call once the phone is on the network and a round trip has passed ([`Watch::must_be_silent`]);
//! - exactly one final response to every INVITE (`finals`), one live branch per device and call;
//! - no push parameter outside of REGISTER ([`Watch::left`]);
//! - a REGISTER within 5 s of a push (`summons`);
//! - an answered call connects: its 2xx is acknowledged where the network delivers (`answers`);
//! - every call of a phone ends, once, and is not spoken of afterwards.
//!
//! What is left in the tables at the end is looked at by the world itself. `tests/alarms.rs` breaks each rule on purpose.

mod answers;
mod finals;
mod summons;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wakeline_clock::Time;
use wakeline_push::WakeId;
use wakeline_registrar::{BindingId, Leg, Trace};
use wakeline_user_agent::{CallId, EndedCall, Event};

use crate::network::End;
use crate::sniff;

use answers::Answers;
use finals::Finals;
use summons::Summonses;

/// Push parameters of all dialects, and the tokens of all phones here. `pn-purr` may stand in dialogs (RFC 8599 §6).
const SECRETS: [&str; 9] =
    ["pn-prid", "pn-param", "pn-provider", "pn-tok", "pn-type", "pn-uri", "pn-silent", "app-id=", "token-of"];
/// For how long the gateway remembers ended calls, a little less.
const MEMORY: Duration = Duration::from_secs(85);

/// A call of a phone's present life.
#[derive(Default)]
struct CallSeen {
    began: Option<Time>,
    ended: Option<Box<EndedCall>>,
}

/// How a CANCEL gets to a phone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Path {
    /// On a stream that stands: in order, and not lost.
    Sound,
    /// In datagrams or on a flow that is gone.
    Doubtful,
}

/// The invariants of one run.
#[derive(Default)]
pub(crate) struct Watch {
    /// What did not hold.
    pub(crate) violations: Vec<String>,
    pub(crate) finals: Finals,
    pub(crate) summonses: Summonses,
    pub(crate) answers: Answers,
    calls: BTreeMap<(usize, CallId), CallSeen>,
    rings: BTreeMap<(usize, u32, WakeId), u32>,
    /// On which link the latest INVITE of a wake reached a phone.
    invited: BTreeMap<(usize, WakeId), usize>,
    /// Wakes whose INVITE opened a dialog: requests within dialogs have wake ids, too.
    set_ups: BTreeSet<WakeId>,
    over: BTreeMap<WakeId, Time>,
    branches: BTreeMap<(WakeId, BindingId), Time>,
    registered: BTreeMap<usize, Time>,
    thawed: BTreeMap<usize, Time>,
    /// Rings that began when the call was over, because the INVITE was a datagram: no CANCEL may leave before the first
    /// response to it (RFC 3261 §9.1).
    late_rings: BTreeMap<(usize, WakeId), Time>,
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
        if to_gateway {
            let caller = match end {
                End::Phone(phone, _) => Some(phone),
                End::Script(_) => None,
            };
            self.answers.sent(now, caller, bytes);
            if let Some(phone) = caller {
                self.summonses.sent(phone, bytes);
            }
        }
        let of_register = bytes.starts_with(b"REGISTER ")
            || sniff::status(bytes).is_some()
                && sniff::header(bytes, "CSeq").is_some_and(|cseq| cseq.ends_with("REGISTER"));
        if !of_register && sniff::carries(bytes, &SECRETS) {
            let line = sniff::lines(bytes).next().unwrap_or_default().to_owned();
            self.violated(now, format!("a push parameter outside of REGISTER: {line}"));
        }
    }

    /// A request reached the gateway.
    pub(crate) fn reached_gateway(&mut self, link: usize, gateway_life: u32, bytes: &[u8]) {
        self.finals.reached(link, gateway_life, bytes);
        if let Some(wake) = wake_of(bytes)
            && sniff::header(bytes, "To").is_some_and(|to| sniff::parameter(to, "tag").is_none())
        {
            self.set_ups.insert(wake);
        }
    }

    /// A response left the gateway.
    pub(crate) fn answered_by_gateway(&mut self, now: Time, on_stream: bool, bytes: &[u8]) {
        if let Some(wrong) = self.finals.answered(on_stream, bytes) {
            self.violated(now, wrong);
        }
    }

    /// A phone got something; true when it knows from now on which calls are over.
    pub(crate) fn reached_phone(&mut self, now: Time, phone: usize, link: usize, bytes: &[u8]) -> bool {
        self.summonses.got(phone, bytes);
        self.answers.reached(phone, bytes);
        if let Some(wake) = wake_of(bytes) {
            self.invited.insert((phone, wake), link);
        }
        let registered = sniff::status(bytes).is_some_and(|code| (200..300).contains(&code))
            && sniff::header(bytes, "CSeq").is_some_and(|cseq| cseq.ends_with("REGISTER"));
        if registered {
            self.registered.insert(phone, now);
        }
        registered
    }

    // ---- phones ----------------------------------------------------------------------------------------------

    /// A frozen phone runs again.
    pub(crate) fn thawed(&mut self, now: Time, phone: usize) {
        self.thawed.insert(phone, now);
    }

    /// A phone's process is gone with all its calls.
    pub(crate) fn killed(&mut self, phone: usize) {
        self.summonses.killed(phone);
        self.answers.killed(phone);
        self.calls.retain(|(whose, _), _| *whose != phone);
        self.registered.remove(&phone);
    }

    /// On which link a phone got its INVITE.
    pub(crate) fn invited_on(&self, phone: usize, wake: WakeId) -> Option<usize> {
        self.invited.get(&(phone, wake)).copied()
    }

    /// A phone told something. `slack`: the longest that a CANCEL can be behind on this path. True when a ring began that
    /// must end within a round trip.
    pub(crate) fn told(
        &mut self,
        now: Time,
        phone: usize,
        life: u32,
        event: &Event,
        (path, slack): (Path, Duration),
    ) -> bool {
        match event {
            Event::CallChanged(snapshot) | Event::Rings(snapshot) => {
                let seen = self.calls.entry((phone, snapshot.call)).or_default();
                seen.began.get_or_insert(now);
                if seen.ended.is_some() {
                    let what = format!("phone {phone} tells of {:?} after its end: {event:?}", snapshot.call);
                    self.violated(now, what);
                }
                let (Event::Rings(_), Some(wake)) = (event, snapshot.wake_id) else { return false };
                let rings = self.rings.entry((phone, life, wake)).or_default();
                *rings += 1;
                let rings = *rings;
                if rings > 1 {
                    self.violated(now, format!("phone {phone} rings {rings} times for one wake"));
                }
                // A process that was frozen reads INVITE and CANCEL in one go, in order.
                let thawed = self.thawed.get(&phone) == Some(&now);
                if thawed || self.over.get(&wake).is_none_or(|over| now <= *over + slack) {
                    return false;
                }
                match path {
                    Path::Sound => {
                        self.violated(now, format!("phone {phone} rings for a call that is over"));
                        false
                    }
                    Path::Doubtful => {
                        self.late_rings.insert((phone, wake), now);
                        true
                    }
                }
            }
            Event::CallEnded(ended) => {
                let seen = self.calls.entry((phone, ended.last.call)).or_default();
                if seen.ended.replace(Box::new(ended.clone())).is_some() {
                    self.violated(now, format!("phone {phone} ends {:?} twice", ended.last.call));
                }
                if let Some(wake) = ended.last.wake_id {
                    self.answers.ended(phone, wake);
                }
                false
            }
            Event::RegistrationChanged(_)
            | Event::DtmfReceived { .. }
            | Event::Woken { .. }
            | Event::OptionsAnswered { .. }
            | Event::Provisioning { .. }
            | Event::Problem(_) => false,
        }
    }

    /// A phone alerts for this wake: whether it should know by now that the call is over, being on the network and a round
    /// trip (`trip`) later. `way` is the longest that anything is under way.
    pub(crate) fn must_be_silent(
        &self,
        now: Time,
        phone: usize,
        (call, wake): (CallId, WakeId),
        path: Path,
        (way, trip): (Duration, Duration),
    ) -> bool {
        let Some(over) = self.over.get(&wake).copied() else { return false };
        let by_cancel = match path {
            Path::Sound => Some(over + trip),
            Path::Doubtful => None,
        };
        // The 2xx to a REGISTER says which calls are over, if it left after the end; and its REGISTER after the push.
        let began = self.calls.get(&(phone, call)).and_then(|call| call.began).unwrap_or(now);
        let says_so = |at: &Time| *at >= over + way && *at >= began + way * 2 && at.since(over) < MEMORY;
        let by_register = self.registered.get(&phone).copied().filter(says_so);
        let by_answer = self.late_rings.get(&(phone, wake)).map(|began| *began + trip);
        let thawed = self.thawed.get(&phone).map_or(Time::ZERO, |at| *at + trip);
        [by_cancel, by_register, by_answer].into_iter().flatten().any(|at| at.max(thawed) < now)
    }

    // ---- the gateway -----------------------------------------------------------------------------------------

    /// The gateway made a step; true when a wake's call is over with it.
    pub(crate) fn traced(&mut self, now: Time, trace: &Trace) -> bool {
        let Some(wake) = trace.wake else { return false };
        match &trace.leg {
            // Of requests within a dialog there may be several, from both sides; the rule is for the call's set-up.
            Leg::InviteOut { .. } if self.over.contains_key(&wake) || !self.set_ups.contains(&wake) => {}
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
                return match self.over.entry(wake) {
                    std::collections::btree_map::Entry::Occupied(_) => false,
                    std::collections::btree_map::Entry::Vacant(place) => {
                        place.insert(now);
                        true
                    }
                };
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
            | Leg::MadeRoom(_)
            | Leg::TooManyBindings
            | Leg::Garbage
            | Leg::HopOpen(_)
            | Leg::HopDown(_)
            | Leg::LineBound
            | Leg::LineRefused(_)
            | Leg::UpstreamDown
            | Leg::Diverted
            | Leg::Subscribed
            | Leg::Published
            | Leg::Notified
            | Leg::MailKept(_)
            | Leg::MailDelivered
            | Leg::MailRefused(_)
            | Leg::MailExpired
            | Leg::MailFull => {}
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
        for phone in self.summonses.late(now) {
            self.violated(now, format!("phone {phone} took a push and did not register within 5 s"));
        }
        for phone in self.answers.late(now) {
            self.violated(now, format!("phone {phone} answered a call that did not connect"));
        }
    }

    /// The run is over. `excused`: whether nobody can be told on this link any more.
    pub(crate) fn finish(
        &mut self,
        now: Time,
        gateway_life: impl Fn(usize) -> u32,
        excused: impl Fn(usize) -> bool,
    ) {
        let unanswered = self.finals.unanswered(gateway_life, excused);
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

/// The wake id of an INVITE.
pub(crate) fn wake_of(bytes: &[u8]) -> Option<WakeId> {
    if !bytes.starts_with(b"INVITE ") {
        return None;
    }
    let tag = sniff::parameter(sniff::header(bytes, "From")?, "tag")?;
    Some(WakeId::of(sniff::header(bytes, "Call-ID")?, tag))
}
