//! What a round has shown, for a person and for a program.

use serde::Serialize;
use serde::ser::SerializeMap;
use wakeline_clock::Time;
use wakeline_gateway::Leg as GatewayLeg;
use wakeline_user_agent::{Encryption, WakeLeg};

use super::audio_check::AudioCheck;
use super::chart::Leg;
use super::round::Seen;

/// Speech that is less like the original than this was not carried.
const SIMILAR: f64 = 0.8;
/// A louder or quieter copy than this, in decibels, is not the same sound.
const LEVEL: f64 = 6.0;

/// The wake's timeline.
#[derive(Debug)]
pub(crate) struct Legs(pub(crate) Vec<Leg>);

impl Serialize for Legs {
    /// As an object, in the order of the legs.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for leg in &self.0 {
            map.serialize_entry(leg.key, &rounded(leg.at_ms))?;
        }
        map.end()
    }
}

/// Both directions together: the worse of each.
#[derive(Debug, Serialize)]
pub(crate) struct Audio {
    /// From mouth to ear, the mean of both ways, in milliseconds. The two phones open their sound devices at different
    /// instants; what that adds on one way it takes away on the other.
    delay_ms: f64,
    /// The level that is further from the original, in decibels.
    level_db: f64,
    /// The lower one.
    similarity: f64,
    to_callee: AudioCheck,
    to_caller: AudioCheck,
}

/// Everything that a round has shown; the last line of `--json`.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    woken_by_push: bool,
    rings: usize,
    register_round_trips: Option<u32>,
    pushes: usize,
    codec: Option<String>,
    encryption: Encryption,
    legs_ms: Legs,
    audio: Option<Audio>,
    ended: Option<String>,
    talk_ms: Option<u64>,
}

impl Report {
    /// From what was seen, and what was heard at both ends.
    pub(crate) fn of(seen: &Seen, to_callee: Option<AudioCheck>, to_caller: Option<AudioCheck>) -> Report {
        let delivered_before_up = match (seen.delivered, seen.process_up) {
            (Some(delivered), Some(up)) => delivered <= up,
            _ => false,
        };
        let invite_after_up = match (seen.process_up, seen.legs.get(&WakeLeg::Invite)) {
            (Some(up), Some(invite)) => up < *invite,
            _ => false,
        };
        let audio = match (to_callee, to_caller) {
            (Some(to_callee), Some(to_caller)) => Some(Audio {
                delay_ms: rounded((to_callee.delay_ms + to_caller.delay_ms) / 2.0),
                level_db: rounded(if to_callee.level_db.abs() > to_caller.level_db.abs() {
                    to_callee.level_db
                } else {
                    to_caller.level_db
                }),
                similarity: to_callee.similarity.min(to_caller.similarity),
                to_callee,
                to_caller,
            }),
            _ => None,
        };
        let ended = seen.caller_ended.as_ref();
        Report {
            woken_by_push: delivered_before_up && invite_after_up,
            rings: seen.rings,
            register_round_trips: seen.round_trips,
            pushes: seen.pushes,
            codec: seen.talking.as_ref().and_then(|call| call.codec.clone()),
            encryption: seen.talking.as_ref().map(|call| call.encryption).unwrap_or_default(),
            legs_ms: Legs(legs(seen)),
            audio,
            ended: ended.map(|ended| ended.reason.clone()),
            talk_ms: ended.map(|ended| ended.talk_ms),
        }
    }

    /// The timeline.
    pub(crate) fn legs(&self) -> &[Leg] {
        &self.legs_ms.0
    }

    /// What does not hold, each in a sentence; nothing when all is well.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut expect = |holds: bool, fault: String| {
            if !holds {
                faults.push(fault);
            }
        };
        expect(
            self.woken_by_push,
            "the phone's process was not started by the push, before the INVITE".into(),
        );
        expect(self.pushes == 1, format!("{} pushes were delivered instead of one", self.pushes));
        expect(self.rings == 1, format!("the phone rang {} times instead of once", self.rings));
        let trips = self.register_round_trips;
        expect(trips == Some(1), format!("the registration took {trips:?} round trips instead of one"));
        for leg in KEYS {
            expect(self.legs().iter().any(|seen| seen.key == leg.0), format!("{} was never seen", leg.1));
        }
        for (before, after) in self.legs().iter().zip(self.legs().iter().skip(1)) {
            expect(before.at_ms <= after.at_ms, format!("{} came before {}", after.name, before.name));
        }
        let codec = self.codec.as_deref().unwrap_or("none");
        expect(codec.eq_ignore_ascii_case("opus"), format!("the codec was {codec} instead of Opus"));
        expect(self.encryption == Encryption::Srtp, "the audio was not protected by SRTP".into());
        match &self.audio {
            None => expect(false, "one of the phones has recorded nothing".into()),
            Some(audio) => {
                expect(
                    audio.similarity >= SIMILAR,
                    format!("what was heard is not what was said: {audio:?}"),
                );
                expect(
                    audio.level_db.abs() <= LEVEL,
                    format!("what was heard has another loudness: {audio:?}"),
                );
                expect(
                    (0.0..1000.0).contains(&audio.delay_ms),
                    format!("the delay is {} ms", audio.delay_ms),
                );
            }
        }
        let ended = self.ended.as_deref().unwrap_or("never");
        expect(ended == "hangup", format!("the call did not end by our BYE: {ended}"));
        faults
    }

    /// The audio check in words.
    pub(crate) fn audio_line(&self) -> String {
        match &self.audio {
            None => "nothing was heard".to_owned(),
            Some(audio) => format!(
                "delay {:.0} ms from mouth to ear, level {:+.1} dB, similarity {:.2} to the callee and {:.2} to the caller",
                audio.delay_ms, audio.level_db, audio.to_callee.similarity, audio.to_caller.similarity
            ),
        }
    }

    /// How the call was made.
    pub(crate) fn call_line(&self) -> String {
        let codec = self.codec.as_deref().unwrap_or("no codec");
        let srtp = if self.encryption == Encryption::Srtp { "SRTP" } else { "no encryption" };
        let trips =
            self.register_round_trips.map_or("an unknown number of".to_owned(), |trips| trips.to_string());
        format!(
            "{} push, {} ring, registered in {trips} round trip{}, {codec} over {srtp}, {:.1} s of talk",
            self.pushes,
            self.rings,
            if self.register_round_trips == Some(1) { "" } else { "s" },
            self.talk_ms.unwrap_or(0) as f64 / 1000.0
        )
    }
}

/// The legs in their order: the key for programs, the name for people.
const KEYS: [(&str, &str); 9] = [
    ("invite", "INVITE at the gateway"),
    ("push_sent", "push sent"),
    ("process_up", "process up"),
    ("register", "REGISTER sent"),
    ("registered", "200 to REGISTER"),
    ("invite_at_phone", "INVITE at the phone"),
    ("ringing", "180 sent"),
    ("answered", "200 sent"),
    ("first_audio", "first audio"),
];

/// Every leg that was seen, in milliseconds since the INVITE came to the gateway.
fn legs(seen: &Seen) -> Vec<Leg> {
    let trace = |wanted: fn(&GatewayLeg) -> bool| {
        seen.traces.iter().find(|trace| wanted(&trace.leg)).map(|trace| trace.at)
    };
    let Some(start) = trace(|leg| matches!(leg, GatewayLeg::InviteIn { .. })) else { return Vec::new() };
    let phone = |leg: WakeLeg| seen.legs.get(&leg).map(|at_us| Time::from_nanos(at_us * 1000));
    let at = [
        Some(start),
        trace(|leg| matches!(leg, GatewayLeg::PushAsked { .. })),
        seen.process_up.map(|at_us| Time::from_nanos(at_us * 1000)),
        phone(WakeLeg::Register),
        phone(WakeLeg::Registered),
        phone(WakeLeg::Invite),
        phone(WakeLeg::Ringing),
        phone(WakeLeg::Answered),
        phone(WakeLeg::FirstAudio),
    ];
    let leg = |((key, name), at): ((&'static str, &'static str), Option<Time>)| {
        // Signed: an order that is wrong must be seen.
        let at_ms = (at?.as_nanos() as f64 - start.as_nanos() as f64) / 1e6;
        Some(Leg { key, name, at_ms })
    };
    KEYS.into_iter().zip(at).filter_map(leg).collect()
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(similarity: f64, delay_ms: f64) -> Option<AudioCheck> {
        Some(AudioCheck { delay_ms, level_db: -0.5, similarity })
    }

    #[test]
    fn nothing_seen_is_nothing_shown() {
        let report = Report::of(&Seen::default(), None, None);
        assert!(!report.woken_by_push);
        assert!(report.faults().len() >= 15, "{:?}", report.faults());
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["woken_by_push"], &json["rings"]), (&false.into(), &0.into()));
        assert!(json["register_round_trips"].is_null() && json["legs_ms"].as_object().unwrap().is_empty());
    }

    #[test]
    fn a_process_that_was_up_before_the_push_was_not_woken_by_it() {
        let mut seen = Seen { process_up: Some(10), delivered: Some(11), ..Seen::default() };
        seen.legs.insert(WakeLeg::Invite, 20);
        assert!(!Report::of(&seen, None, None).woken_by_push);
        seen.delivered = Some(9);
        assert!(Report::of(&seen, None, None).woken_by_push);
        seen.legs.insert(WakeLeg::Invite, 10);
        assert!(!Report::of(&seen, None, None).woken_by_push);
    }

    #[test]
    fn the_worse_direction_counts_and_start_offsets_cancel_out() {
        let report = Report::of(&Seen::default(), heard(0.95, 160.0), heard(0.7, -40.0));
        let audio = report.audio.as_ref().unwrap();
        assert_eq!((audio.delay_ms, audio.similarity), (60.0, 0.7));
        assert!(report.faults().iter().any(|fault| fault.contains("not what was said")));
        assert!(!report.faults().iter().any(|fault| fault.contains("the delay")));
    }

    #[test]
    fn legs_stand_in_their_order_in_the_json() {
        let legs = Legs(KEYS.iter().map(|&(key, name)| Leg { key, name, at_ms: 1.0 }).collect());
        let text = serde_json::to_string(&legs).unwrap();
        let places: Vec<_> = KEYS.iter().map(|(key, _)| text.find(&format!("\"{key}\"")).unwrap()).collect();
        assert!(places.is_sorted());
    }
}
