//! The book of recent wakes: what became of each call, leg by leg, so that "it did not ring" has an answer.
//!
//! It holds numbers, codes and wake ids; no token, no name, no number of a person (class S23).

use std::collections::{HashMap, VecDeque};

use serde::Serialize;
use wakeline_clock::{Time, WallTime};
use wakeline_push::WakeId;
use wakeline_registrar::{BindingId, Leg, Trace};

/// Wakes that are remembered; the oldest makes room.
const WAKES: usize = 2000;
/// Legs of one wake that are kept; a call with more is an attack or a fault, and its beginning tells enough.
const LEGS: usize = 200;

/// One wake from its INVITE to its end.
#[derive(Debug, Clone, Serialize)]
pub struct Wake {
    /// Its name, the same in the push, in the phone's log and here.
    pub wake: WakeId,
    /// When its first leg was seen, in milliseconds since 1970.
    pub began_ms: u64,
    /// How it stands.
    pub outcome: Outcome,
    /// From the first leg to the first ringing, in milliseconds.
    pub ring_ms: Option<f64>,
    /// Every leg, in order.
    pub legs: Vec<Step>,
    #[serde(skip)]
    start: Time,
}

/// How a wake stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "code")]
pub enum Outcome {
    /// Nothing final yet.
    InProgress,
    /// A device rings.
    Ringing,
    /// A device answered.
    Answered,
    /// The caller gave up.
    CallerGone,
    /// It ended with this code towards the caller.
    Failed(u16),
}

/// One leg as the outside sees it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Milliseconds since the wake's first leg.
    pub at_ms: f64,
    /// What happened, in words.
    pub what: &'static str,
    /// Which device, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<u64>,
    /// A status code, a count of devices or the number of an attempt, as `what` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// The recent wakes, newest last.
#[derive(Debug, Default)]
pub(crate) struct Wakes {
    order: VecDeque<WakeId>,
    book: HashMap<WakeId, Wake>,
}

/// A stretch of time that became known with a leg.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Stretch {
    /// From the INVITE to the first ringing, in seconds.
    Ring(f64),
    /// From the first push to the REGISTER of a device that was waited for, in seconds.
    Wake(f64),
}

impl Wakes {
    /// Writes a leg down; says what it makes known.
    pub(crate) fn add(&mut self, trace: &Trace, wall: WallTime) -> Option<Stretch> {
        let id = trace.wake?;
        if !self.book.contains_key(&id) {
            if self.order.len() >= WAKES
                && let Some(oldest) = self.order.pop_front()
            {
                self.book.remove(&oldest);
            }
            self.order.push_back(id);
        }
        let wake = self.book.entry(id).or_insert_with(|| Wake {
            wake: id,
            began_ms: wall.0,
            outcome: Outcome::InProgress,
            ring_ms: None,
            legs: Vec::new(),
            start: trace.at,
        });
        wake.add(trace)
    }

    /// Up to `most` wakes, newest first.
    pub(crate) fn recent(&self, most: usize) -> Vec<Wake> {
        self.order.iter().rev().take(most).filter_map(|id| self.book.get(id)).cloned().collect()
    }

    /// One wake.
    pub(crate) fn get(&self, id: &WakeId) -> Option<Wake> {
        self.book.get(id).cloned()
    }
}

impl Wake {
    fn add(&mut self, trace: &Trace) -> Option<Stretch> {
        let at_ms = trace.at.since(self.start).as_secs_f64() * 1000.0;
        let mut stretch = None;
        match &trace.leg {
            Leg::Ringing(_) if self.ring_ms.is_none() => {
                self.ring_ms = Some(at_ms);
                stretch = Some(Stretch::Ring(at_ms / 1000.0));
                self.outcome = Outcome::Ringing;
            }
            Leg::RegisterOk(device) => {
                let name = Some(device.0);
                let pushed = self.legs.iter().find(|step| step.what == PUSH && step.device == name);
                let came = self.legs.iter().any(|step| step.what == REGISTERED && step.device == name);
                if let (Some(pushed), false) = (pushed, came) {
                    stretch = Some(Stretch::Wake((at_ms - pushed.at_ms) / 1000.0));
                }
            }
            Leg::Answered(_) => self.outcome = Outcome::Answered,
            Leg::CallerGone => self.outcome = Outcome::CallerGone,
            // The 200 to the caller follows the answer, and the 487 the caller's CANCEL.
            Leg::FinalOut(code) if !matches!(self.outcome, Outcome::Answered | Outcome::CallerGone) => {
                self.outcome =
                    if (200..300).contains(code) { Outcome::Answered } else { Outcome::Failed(*code) };
            }
            Leg::InviteIn { .. }
            | Leg::Held(_)
            | Leg::PushAsked { .. }
            | Leg::PushAccepted(_)
            | Leg::PushFailed(_)
            | Leg::RegisterIn(_)
            | Leg::InviteOut { .. }
            | Leg::Ringing(_)
            | Leg::Refused(..)
            | Leg::FlowLost(_)
            | Leg::WakeExpired(_)
            | Leg::LateWake(_)
            | Leg::FinalOut(_)
            | Leg::Registered { .. }
            | Leg::RegisterRefused(_)
            | Leg::RequestRefused(_)
            | Leg::OverQuota
            | Leg::MadeRoom(_)
            | Leg::TooManyBindings
            | Leg::HopOpen(_)
            | Leg::LineBound
            | Leg::LineRefused(_)
            | Leg::HopDown(_)
            | Leg::UpstreamDown
            | Leg::Diverted
            | Leg::Subscribed
            | Leg::Published
            | Leg::Notified
            | Leg::MailKept(_)
            | Leg::MailDelivered
            | Leg::MailRefused(_)
            | Leg::MailExpired
            | Leg::MailFull
            | Leg::Garbage => {}
        }
        if self.legs.len() < LEGS {
            self.legs.push(step(at_ms, &trace.leg));
        }
        stretch
    }
}

const PUSH: &str = "push asked for";
const REGISTERED: &str = "REGISTER answered 200";

/// A leg in words.
pub(crate) fn step(at_ms: f64, leg: &Leg) -> Step {
    let plain = |what| Step { at_ms, what, device: None, number: None };
    let of = |what, device: &BindingId| Step { device: Some(device.0), ..plain(what) };
    let with = |what, number: u64| Step { number: Some(number), ..plain(what) };
    match leg {
        Leg::InviteIn { devices } => with("request let in, for this many devices", *devices as u64),
        Leg::Held(device) => of("held for a sleeping device", device),
        Leg::PushAsked { binding, attempt, .. } => {
            Step { number: Some(u64::from(*attempt)), ..of(PUSH, binding) }
        }
        Leg::PushAccepted(_) => plain("push taken by the service"),
        Leg::PushFailed(_) => plain("push not taken by the service"),
        Leg::RegisterIn(device) => of("REGISTER came in", device),
        Leg::RegisterOk(device) => of(REGISTERED, device),
        Leg::InviteOut { binding, .. } => of("request sent to the device", binding),
        Leg::Ringing(device) => of("device rings", device),
        Leg::Answered(device) => of("device answered", device),
        Leg::Refused(device, code) => {
            Step { number: Some(u64::from(*code)), ..of("device ended it with this code", device) }
        }
        Leg::FlowLost(device) => of("connection to the device lost", device),
        Leg::WakeExpired(device) => of("device did not come in time", device),
        Leg::LateWake(device) => of("device came when it was over", device),
        Leg::CallerGone => plain("caller gave up"),
        Leg::FinalOut(code) => with("final response to the caller", u64::from(*code)),
        Leg::Registered { bindings } => with("REGISTER accepted, devices now", *bindings as u64),
        Leg::RegisterRefused(code) => with("REGISTER refused with this code", u64::from(*code)),
        Leg::RequestRefused(code) => with("request refused with this code", u64::from(*code)),
        Leg::OverQuota => plain("no push: woken too often"),
        Leg::MadeRoom(device) => of("long silent device made room for a new one", device),
        Leg::TooManyBindings => plain("no room: the address has as many devices as it may have, all alive"),
        Leg::Subscribed => plain("somebody watches a state"),
        Leg::Published => plain("a phone has published something"),
        Leg::Notified => plain("a watcher is told"),
        Leg::Diverted => plain("nobody took it: on to voicemail"),
        Leg::MailKept(device) => of("kept for a sleeping device", device),
        Leg::MailDelivered => plain("a kept request was taken"),
        Leg::MailRefused(code) => with("a kept request was not taken, with this code", u64::from(*code)),
        Leg::MailExpired => plain("a kept request waited in vain"),
        Leg::MailFull => plain("no room to keep a request"),
        Leg::Garbage => plain("bytes that are no SIP message"),
        Leg::HopOpen(hop) => with("connected to the upstream's next hop", u64::from(hop.0)),
        Leg::HopDown(hop) => with("no way to the upstream's next hop", u64::from(hop.0)),
        Leg::LineBound => plain("registered at the upstream by the gateway"),
        Leg::LineRefused(code) => {
            with("the upstream refuses the password kept here with this code", u64::from(*code))
        }
        Leg::UpstreamDown => plain("no next hop of the upstream is up"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeline_registrar::PushKey;

    fn id(number: usize) -> WakeId {
        WakeId::of(&format!("call-{number}"), "tag")
    }

    fn trace(at: u64, wake: WakeId, leg: Leg) -> Trace {
        Trace { at: Time::from_millis(at), wake: Some(wake), leg }
    }

    fn told(wakes: &mut Wakes, legs: Vec<(u64, Leg)>) -> Vec<Stretch> {
        let add = |(at, leg)| wakes.add(&trace(at, id(1), leg), WallTime(1_000_000 + at));
        legs.into_iter().filter_map(add).collect()
    }

    #[test]
    fn a_wake_is_timed_from_its_invite_and_its_end_is_told() {
        let mut wakes = Wakes::default();
        let device = BindingId(7);
        let stretches = told(
            &mut wakes,
            vec![
                (100, Leg::InviteIn { devices: 1 }),
                (100, Leg::Held(device)),
                (101, Leg::PushAsked { key: PushKey(1), binding: device, attempt: 1 }),
                (1601, Leg::RegisterIn(device)),
                (1601, Leg::RegisterOk(device)),
                (1602, Leg::RegisterOk(device)),
                (1700, Leg::Ringing(device)),
                (1800, Leg::Ringing(device)),
                (2000, Leg::Answered(device)),
                (2000, Leg::FinalOut(200)),
            ],
        );
        assert_eq!(stretches, [Stretch::Wake(1.5), Stretch::Ring(1.6)]);
        let wake = wakes.get(&id(1)).unwrap();
        assert_eq!((wake.began_ms, wake.outcome, wake.ring_ms), (1_000_100, Outcome::Answered, Some(1600.0)));
        assert_eq!(wake.legs.len(), 10);
        let json = serde_json::to_value(&wake).unwrap();
        assert_eq!(json["outcome"]["state"], "answered");
        assert_eq!(json["legs"][2]["device"], 7);
    }

    #[test]
    fn a_call_that_did_not_ring_says_why() {
        let device = BindingId(7);
        let asked = Leg::PushAsked { key: PushKey(1), binding: device, attempt: 1 };
        for (legs, outcome) in [
            (vec![asked.clone(), Leg::WakeExpired(device), Leg::FinalOut(480)], Outcome::Failed(480)),
            (vec![asked.clone(), Leg::CallerGone, Leg::FinalOut(487)], Outcome::CallerGone),
            (vec![Leg::Ringing(device), Leg::Refused(device, 486), Leg::FinalOut(486)], Outcome::Failed(486)),
            (vec![asked], Outcome::InProgress),
        ] {
            let mut wakes = Wakes::default();
            told(&mut wakes, legs.into_iter().map(|leg| (0, leg)).collect());
            assert_eq!(wakes.get(&id(1)).unwrap().outcome, outcome);
        }
    }

    #[test]
    fn s14_the_book_forgets_the_oldest_and_a_wake_without_end_does_not_grow() {
        let mut wakes = Wakes::default();
        for number in 0..WAKES + 10 {
            wakes.add(&trace(0, id(number), Leg::OverQuota), WallTime(0));
        }
        assert_eq!((wakes.order.len(), wakes.book.len()), (WAKES, WAKES));
        assert!(wakes.get(&id(9)).is_none() && wakes.get(&id(10)).is_some());
        for _ in 0..LEGS * 2 {
            wakes.add(&trace(0, id(10), Leg::OverQuota), WallTime(0));
        }
        assert_eq!(wakes.get(&id(10)).unwrap().legs.len(), LEGS);
        assert_eq!(wakes.recent(3).first().map(|wake| wake.wake), Some(id(WAKES + 9)));
    }
}
