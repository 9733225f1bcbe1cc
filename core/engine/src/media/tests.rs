//! Two phones' media against each other: real sockets on loopback, tones as microphones, recordings as ears, and a clock
//! that the tests move.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;

use wakeline_media::wav;
use wakeline_user_agent::{Encryption, MuteDirection};

use super::*;

const CALL: CallId = CallId(1);
const SECOND: CallId = CallId(2);
const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// One phone.
struct Side {
    sessions: Sessions,
    secure: bool,
    record: PathBuf,
    told: Vec<MediaEvent>,
}

impl Side {
    fn new(name: &str, hertz: f32, secure: bool, pairs: &[(&str, &str)]) -> Side {
        let mut settings = Settings::new();
        for (name, value) in pairs {
            assert!(settings.set(name, value, Source::File), "{name}");
        }
        let record = std::env::temp_dir().join(format!("wakeline-media-{name}-{}.wav", std::process::id()));
        let choice = AudioChoice::Tone { hertz, record: Some(record.clone()) };
        let entropy = Entropy::from_number(hertz as u64 + u64::from(name.len() as u32));
        let mut sessions = Sessions::new(vec![settings], choice, entropy);
        sessions.arrivals = Arrivals::AsRead;
        Side { sessions, secure, record, told: Vec::new() }
    }

    fn way(&self) -> Way {
        Way { local: LOCAL.into(), secure: self.secure, account: AccountId(0) }
    }

    fn ask(&mut self, now: Time, call: CallId, request: MediaRequest) -> Option<MediaAnswer> {
        let inputs = self.sessions.handle(now, call, request);
        self.take(inputs)
    }

    fn take(&mut self, inputs: Vec<Input>) -> Option<MediaAnswer> {
        let mut given = None;
        for input in inputs {
            match input {
                Input::Described { answer, .. } => given = Some(answer),
                Input::Media { event, .. } => self.told.push(event),
                other @ (Input::Opened(_)
                | Input::Closed { .. }
                | Input::Received(_)
                | Input::Resolved(_)
                | Input::Provision { .. }) => {
                    panic!("{other:?}")
                }
            }
        }
        given
    }

    fn describe(&mut self, now: Time, request: MediaRequest) -> Bytes {
        match self.ask(now, CALL, request) {
            Some(MediaAnswer::Description { description }) => description,
            other => panic!("{other:?}"),
        }
    }

    fn offer(&mut self, now: Time, hold: bool) -> Bytes {
        let way = self.way();
        self.describe(now, MediaRequest::Offer { hold, fresh: false, way })
    }

    fn agreed(&self) -> Vec<(&str, Encryption, bool)> {
        let agreed = |event: &MediaEvent| matches!(event, MediaEvent::Agreed { .. });
        self.told
            .iter()
            .filter(|event| agreed(event))
            .map(|event| match event {
                MediaEvent::Agreed { codec, encryption, held_by_peer, .. } => {
                    (codec.as_str(), *encryption, *held_by_peer)
                }
                MediaEvent::Flowing | MediaEvent::Digit(_) | MediaEvent::TimedOut | MediaEvent::Failed(_) => {
                    unreachable!()
                }
            })
            .collect()
    }

    fn count(&self, event: &MediaEvent) -> usize {
        self.told.iter().filter(|told| *told == event).count()
    }

    fn packets(&self) -> (u64, u64) {
        self.sessions.quality().first().map_or((0, 0), |quality| quality.packets)
    }

    /// What was recorded, once the device is closed.
    fn heard(&self) -> Vec<i16> {
        let bytes = std::fs::read(&self.record).unwrap();
        let (mut reader, mut samples) = (wav::Reader::default(), Vec::new());
        reader.push(&bytes, &mut samples).unwrap();
        samples
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // Not every test records.
        let _ = std::fs::remove_file(&self.record);
    }
}

/// Two phones and their clock.
struct World {
    now: Time,
    a: Side,
    b: Side,
}

impl World {
    fn new(name: &str, secure: bool, a: &[(&str, &str)], b: &[(&str, &str)]) -> World {
        let a = Side::new(&format!("{name}-a"), 440.0, secure, a);
        let b = Side::new(&format!("{name}-b"), 1000.0, secure, b);
        World { now: Time::from_millis(1_000_000), a, b }
    }

    /// A call that stands.
    fn talking(name: &str, secure: bool, a: &[(&str, &str)], b: &[(&str, &str)]) -> World {
        let mut world = World::new(name, secure, a, b);
        world.agree(false);
        world.start();
        world
    }

    fn agree(&mut self, hold: bool) {
        let offer = self.a.offer(self.now, hold);
        let way = self.b.way();
        let answer = self.b.describe(self.now, MediaRequest::Answer { offer, hold: false, way });
        let accepted = self.a.ask(self.now, CALL, MediaRequest::Conclude { answer });
        assert_eq!(accepted, Some(MediaAnswer::Accepted));
    }

    fn start(&mut self) {
        self.a.ask(self.now, CALL, MediaRequest::Start);
        self.b.ask(self.now, CALL, MediaRequest::Start);
    }

    fn stop(&mut self) {
        self.a.ask(self.now, CALL, MediaRequest::Stop);
        self.b.ask(self.now, CALL, MediaRequest::Stop);
    }

    /// Lets time pass, with everybody's turns.
    fn run(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while self.now < end {
            let next =
                wakeline_clock::earliest(self.a.sessions.poll_timeout(), self.b.sessions.poll_timeout());
            self.now = next.unwrap_or(end).min(end);
            for side in [&mut self.a, &mut self.b] {
                let inputs = side.sessions.handle_timeout(self.now);
                assert_eq!(side.take(inputs), None);
            }
        }
    }
}

/// The share of a frequency in the power of sound at 16 kHz.
fn share(sound: &[i16], hertz: f32) -> f32 {
    let step = std::f32::consts::TAU * hertz / 16_000.0;
    let (mut sine, mut cosine, mut power) = (0.0, 0.0, 0.0);
    for (n, &sample) in sound.iter().enumerate() {
        let (value, phase) = (f32::from(sample), (step * n as f32) % std::f32::consts::TAU);
        sine += phase.sin() * value;
        cosine += phase.cos() * value;
        power += value * value;
    }
    2.0 * (sine * sine + cosine * cosine) / (power.max(1.0) * sound.len() as f32)
}

/// The loudest window of a fifth of a second.
fn clearest(sound: &[i16], hertz: f32) -> f32 {
    sound.chunks_exact(3200).map(|window| share(window, hertz)).fold(0.0, f32::max)
}

#[test]
fn both_hear_each_other_in_every_codec_and_the_first_packet_leaves_at_once() {
    for codec in ["opus", "G722", "PCMU", "PCMA"] {
        let pairs = [("codec", codec), ("alwaysallowlowcodec", "0")];
        let mut world = World::talking(&format!("codec-{codec}"), false, &pairs, &pairs);
        assert_eq!(world.a.packets().0, 1, "{codec}: sent in the same instant");
        world.run(2000);
        for side in [&world.a, &world.b] {
            assert_eq!(side.agreed(), [(codec, Encryption::None, false)]);
            assert_eq!(side.count(&MediaEvent::Flowing), 1, "{codec}");
            let quality = &side.sessions.quality()[0];
            assert!(quality.packets.0 >= 100 && quality.packets.1 >= 95, "{codec}: {quality:?}");
            assert!(quality.mos > 3.9 && quality.loss_percent < 0.1, "{codec}: {quality:?}");
        }
        world.stop();
        assert!(clearest(&world.a.heard(), 1000.0) > 0.95, "{codec}");
        assert!(clearest(&world.b.heard(), 440.0) > 0.95, "{codec}");
        assert_eq!((world.a.sessions.sockets(), world.a.sessions.poll_timeout()), (0, None));
    }
}

#[test]
fn srtp_is_agreed_under_tls_and_told_as_it_is() {
    let wish = [("mediaencryption", "1")];
    let mut world = World::talking("srtp", true, &wish, &wish);
    world.run(1000);
    world.stop();
    assert_eq!(world.a.agreed(), [("opus", Encryption::Srtp, false)]);
    assert_eq!(world.b.agreed(), [("opus", Encryption::Srtp, false)]);
    assert!(clearest(&world.a.heard(), 1000.0) > 0.95);
}

#[test]
fn s3_keys_do_not_travel_in_the_clear_unless_srtp_is_demanded() {
    let wish = [("mediaencryption", "1")];
    let mut clear = World::talking("s3-clear", false, &wish, &wish);
    let offer = clear.a.offer(clear.now, false);
    assert!(!String::from_utf8_lossy(&offer).contains("crypto"));
    assert_eq!(clear.a.agreed(), [("opus", Encryption::None, false)], "and it is told so");
    let demand = [("mediaencryption", "2")];
    let world = World::talking("s3-demanded", false, &demand, &demand);
    assert_eq!(world.b.agreed(), [("opus", Encryption::Srtp, false)]);
}

#[test]
fn s3_a_demand_for_srtp_that_is_not_met_refuses_the_call() {
    let mut world = World::new("s3-refused", true, &[("mediaencryption", "0")], &[("mediaencryption", "2")]);
    let offer = world.a.offer(world.now, false);
    let way = world.b.way();
    let answer =
        world.b.ask(world.now, CALL, MediaRequest::Answer { offer: offer.clone(), hold: false, way });
    assert!(matches!(answer, Some(MediaAnswer::Refused { code: 488, .. })), "{answer:?}");
    world.b.ask(world.now, CALL, MediaRequest::Start);
    world.run(500);
    assert_eq!((world.b.agreed().len(), world.b.packets()), (0, (0, 0)), "nothing leaves in the clear");
    // The other way round: our demand, answered by a peer without keys.
    let mut demanding = Side::new("s3-demanding", 300.0, true, &[("mediaencryption", "2")]);
    demanding.offer(world.now, false);
    let answer = demanding.ask(world.now, CALL, MediaRequest::Conclude { answer: offer });
    assert!(matches!(answer, Some(MediaAnswer::Refused { code: 488, .. })), "{answer:?}");
}

#[test]
fn hold_by_direction_and_back_and_rollback_leaves_what_stood() {
    let mut world = World::talking("hold", true, &[("mediaencryption", "1")], &[("mediaencryption", "1")]);
    world.run(500);
    world.agree(true);
    world.run(200);
    let (held, holding) = (world.b.packets(), world.a.packets());
    world.run(1000);
    assert!(world.b.agreed().last().unwrap().2, "b knows that it is held");
    assert_eq!(world.b.packets().0, held.0, "and sends nothing");
    // Silence, of which Opus sends little (DTX).
    assert!(world.a.packets().0 > holding.0, "sendonly: a goes on sending");
    world.agree(false);
    world.run(1000);
    assert!(world.b.packets().0 >= held.0 + 45);
    assert_eq!(world.b.agreed().last(), Some(&("opus", Encryption::Srtp, false)));
    // An offer that comes to nothing changes nothing.
    world.a.offer(world.now, true);
    world.a.ask(world.now, CALL, MediaRequest::Rollback);
    let before = (world.a.packets(), world.b.packets());
    world.run(1000);
    assert!(world.a.packets().0 >= before.0.0 + 45 && world.a.packets().1 >= before.0.1 + 45);
    assert!(world.b.packets().0 >= before.1.0 + 45 && world.b.packets().1 >= before.1.1 + 45);
}

#[test]
fn who_is_held_does_not_overhear_us_and_hears_us_again() {
    let mut world = World::talking("overheard", false, &[], &[]);
    world.run(600);
    // From the wish on, before the far end has answered.
    world.a.offer(world.now, true);
    world.run(2000);
    world.a.ask(world.now, CALL, MediaRequest::Rollback);
    world.agree(true);
    world.run(2000);
    world.agree(false);
    world.run(600);
    world.stop();
    let heard = world.b.heard();
    let windows: Vec<bool> = heard.chunks_exact(3200).map(|window| share(window, 440.0) > 0.5).collect();
    let ours = windows.iter().filter(|ours| **ours).count();
    assert!((3..=9).contains(&ours), "we are heard for 1.2 s before and after 4 s of hold: {windows:?}");
    assert!(windows.iter().take(4).any(|ours| *ours) && windows.iter().rev().take(4).any(|ours| *ours));
}

#[test]
fn another_codec_is_taken_by_a_new_offer() {
    let mut world = World::talking("codec-change", false, &[], &[]);
    world.run(500);
    let offer = String::from_utf8(world.b.offer(world.now, false).to_vec()).unwrap();
    // As a peer would offer that has gone back to G.711.
    let mut only =
        Side::new("codec-change-c", 700.0, false, &[("codec", "PCMA"), ("alwaysallowlowcodec", "0")]);
    let narrow = String::from_utf8(only.offer(world.now, false).to_vec()).unwrap();
    world.b.ask(world.now, CALL, MediaRequest::Rollback);
    let port = |text: &str| text.split("m=audio ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let narrow = narrow.replace(&port(&narrow), &port(&offer));
    let way = world.a.way();
    world.a.describe(world.now, MediaRequest::Answer { offer: narrow.into(), hold: false, way });
    assert_eq!(world.a.agreed().last(), Some(&("PCMA", Encryption::None, false)));
    let sent = world.a.packets().0;
    world.run(500);
    assert!(world.a.packets().0 >= sent + 24, "the count goes on over the change");
}

#[test]
fn telephone_events_are_told_as_agreed_when_both_know_them_only() {
    for (theirs, wanted) in [("2", true), ("5", false)] {
        let world = World::talking("events", false, &[], &[("dtmfmode", theirs)]);
        let agreed = |event: &MediaEvent| matches!(event, MediaEvent::Agreed { telephone_events, .. } if *telephone_events == wanted);
        assert!(world.a.told.iter().any(agreed) && world.b.told.iter().any(agreed), "dtmfmode {theirs}");
    }
}

#[test]
fn digits_go_as_events_with_their_pauses() {
    let mut world = World::talking("dtmf", false, &[], &[]);
    world.run(300);
    world.a.ask(world.now, CALL, MediaRequest::Dtmf { digits: "1#,a".into() });
    world.run(1500);
    let digits = |side: &Side| -> String {
        side.told
            .iter()
            .filter_map(|event| match event {
                MediaEvent::Digit(digit) => Some(*digit),
                MediaEvent::Agreed { .. }
                | MediaEvent::Flowing
                | MediaEvent::TimedOut
                | MediaEvent::Failed(_) => None,
            })
            .collect()
    };
    assert_eq!(digits(&world.b), "1#", "the comma waits");
    world.run(2500);
    assert_eq!(digits(&world.b), "1#A");
}

#[test]
fn s2_foreign_packets_change_nothing() {
    let pairs = [("codec", "PCMU")];
    let mut world = World::talking("s2", false, &pairs, &pairs);
    world.run(400);
    let offer = world.a.offer(world.now, false);
    world.a.ask(world.now, CALL, MediaRequest::Rollback);
    let text = String::from_utf8_lossy(&offer).into_owned();
    let port: u16 = text.split("m=audio ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let strangers: Vec<UdpSocket> = (0..5).map(|_| UdpSocket::bind((LOCAL, 0)).unwrap()).collect();
    let before = world.a.packets();
    for n in 0..500_u16 {
        for (place, stranger) in strangers.iter().enumerate() {
            // Right payload type, loud noise, wild numbers.
            let mut packet = vec![0x80, 0, (n >> 8) as u8, n as u8, 0, 0, n as u8, 0, 9, 9, 9, place as u8];
            packet.extend((0..160).map(|i| if (i ^ n) & 1 == 0 { 0x80 } else { 0x00 }));
            stranger.send_to(&packet, (LOCAL, port)).unwrap();
        }
        world.run(20);
    }
    let after = world.a.packets();
    assert!((498..=502).contains(&(after.1 - before.1)), "only b's packets count: {before:?} {after:?}");
    assert!((498..=502).contains(&(after.0 - before.0)));
    for stranger in &strangers {
        stranger.set_nonblocking(true).unwrap();
        assert!(stranger.recv_from(&mut [0; 64]).is_err(), "and nobody else hears us");
    }
    world.stop();
    let heard = world.a.heard();
    // From 1 s to 9 s, window by window: the far end's tone and nothing else.
    for window in heard[16_000..144_000].chunks_exact(3200) {
        assert!(share(window, 1000.0) > 0.95);
    }
}

#[test]
fn silence_of_the_far_end_times_the_call_out_and_half_of_it_before_the_first_packet() {
    let limit = [("mediatimeout", "10")];
    let mut world = World::new("timeout", false, &limit, &limit);
    world.agree(false);
    world.a.ask(world.now, CALL, MediaRequest::Start);
    world.run(4900);
    assert_eq!(world.a.count(&MediaEvent::TimedOut), 0);
    world.run(200);
    assert_eq!(world.a.count(&MediaEvent::TimedOut), 1, "half of ten seconds");
    let mut world = World::talking("timeout-later", false, &limit, &limit);
    world.run(1000);
    world.b.ask(world.now, CALL, MediaRequest::Pause);
    world.run(9900);
    assert_eq!(world.a.count(&MediaEvent::TimedOut), 0);
    world.run(5000);
    assert_eq!(world.a.count(&MediaEvent::TimedOut), 1, "told once");
}

#[test]
fn a_pause_closes_the_device_and_keeps_the_session() {
    let mut world = World::talking("pause", false, &[], &[]);
    world.run(500);
    world.a.ask(world.now, CALL, MediaRequest::Pause);
    assert_eq!(world.a.sessions.poll_timeout(), None, "nothing ticks");
    world.run(3000);
    let before = world.a.packets();
    world.a.ask(world.now, CALL, MediaRequest::Start);
    assert!(world.a.packets().0 > before.0, "at once");
    world.run(1000);
    let after = world.a.packets();
    assert!(after.1 - before.1 <= 55, "what came meanwhile is gone: {before:?} {after:?}");
    assert!(after.1 - before.1 >= 45);
    assert_eq!(world.a.count(&MediaEvent::Flowing), 1);
}

#[test]
fn s26_hours_of_suspension_make_one_turn() {
    let mut world = World::talking("s26", false, &[], &[]);
    world.run(500);
    let sent = world.a.packets().0;
    world.now += Duration::from_secs(7200);
    let inputs = world.a.sessions.handle_timeout(world.now);
    assert!(inputs.is_empty(), "no time-out for a time when nobody could listen: {inputs:?}");
    assert!(world.a.packets().0 <= sent + 2, "no storm");
    assert!(world.a.sessions.poll_timeout().unwrap() > world.now, "and the next turn is ahead");
}

#[test]
fn f16_after_a_loop_blocked_for_two_seconds_sound_is_back_at_once() {
    let mut world = World::talking("f16", false, &[], &[]);
    world.run(1000);
    let stalled = world.now + Duration::from_secs(2);
    while world.now < stalled {
        world.now += Duration::from_millis(20);
        let inputs = world.b.sessions.handle_timeout(world.now);
        world.b.take(inputs);
    }
    world.run(3000);
    let quality = world.a.sessions.quality().remove(0);
    assert!(quality.delay_ms < 200.0, "{quality:?}");
    world.stop();
    let heard = world.a.heard();
    let end = &heard[heard.len() - 32_000..];
    assert!(
        end.chunks_exact(3200).all(|window| share(window, 1000.0) > 0.9),
        "the last two seconds are clean"
    );
}

#[test]
fn the_latest_fork_that_answers_counts() {
    let mut world = World::new("fork", false, &[], &[]);
    let mut other = Side::new("fork-c", 1700.0, false, &[]);
    let offer = world.a.offer(world.now, false);
    for side in [&mut other, &mut world.b] {
        let way = side.way();
        let answer =
            side.describe(world.now, MediaRequest::Answer { offer: offer.clone(), hold: false, way });
        side.ask(world.now, CALL, MediaRequest::Start);
        let accepted = world.a.ask(world.now, CALL, MediaRequest::Conclude { answer });
        assert_eq!(accepted, Some(MediaAnswer::Accepted));
    }
    world.a.ask(world.now, CALL, MediaRequest::Start);
    world.run(2000);
    let heard = other.sessions.handle_timeout(world.now);
    assert!(!heard.iter().any(|input| matches!(input, Input::Media { event: MediaEvent::Flowing, .. })));
    world.stop();
    assert!(clearest(&world.a.heard(), 1000.0) > 0.95);
}

#[test]
fn a_muted_microphone_sends_nothing_unless_the_account_wants_silence_sent() {
    for (value, sends) in [("false", false), ("true", true)] {
        let mut world = World::talking(&format!("mute-{value}"), false, &[("sendrtponmuted", value)], &[]);
        world.run(500);
        world.a.ask(world.now, CALL, MediaRequest::Mute { direction: MuteDirection::Both, on: true });
        world.run(200);
        let before = world.a.packets();
        world.run(1000);
        let sent = world.a.packets().0 - before.0;
        assert!(if sends { sent >= 45 } else { sent == 0 }, "{value}: {sent}");
        assert!(world.a.packets().1 >= before.1 + 45, "the far end is received all the same");
        world.stop();
        let (a, b) = (world.a.heard(), world.b.heard());
        assert!(a[a.len() - 8000..].iter().all(|&sample| sample == 0), "the loudspeaker is muted too");
        assert!(b[b.len() - 8000..].iter().all(|&sample| sample.abs() < 700), "and b hears no tone");
    }
}

/// A second call of `a`'s, with a third phone, as its second one; both run.
fn with_third(world: &mut World, name: &str) -> Side {
    let mut third = Side::new(name, 1700.0, false, &[]);
    let way = world.a.way();
    let Some(MediaAnswer::Description { description: offer }) =
        world.a.ask(world.now, SECOND, MediaRequest::Offer { hold: false, fresh: false, way })
    else {
        panic!("no offer")
    };
    let way = third.way();
    let answer = third.describe(world.now, MediaRequest::Answer { offer, hold: false, way });
    world.a.ask(world.now, SECOND, MediaRequest::Conclude { answer });
    world.a.ask(world.now, SECOND, MediaRequest::Start);
    third.ask(world.now, CALL, MediaRequest::Start);
    third
}

fn run_with(world: &mut World, third: &mut Side, millis: u64) {
    for _ in 0..millis / 20 {
        let inputs = third.sessions.handle_timeout(world.now);
        third.take(inputs);
        world.run(20);
    }
}

#[test]
fn two_calls_are_heard_together() {
    let mut world = World::talking("mix", false, &[], &[]);
    let mut third = with_third(&mut world, "mix-c");
    run_with(&mut world, &mut third, 2000);
    assert_eq!(world.a.sessions.quality().len(), 2);
    world.a.ask(world.now, SECOND, MediaRequest::Stop);
    world.stop();
    let heard = world.a.heard();
    let middle = &heard[24_000..27_200];
    assert!(share(middle, 1000.0) > 0.3 && share(middle, 1700.0) > 0.3);
    // Who is not in the conference hears us and nobody else.
    assert!(clearest(&world.b.heard(), 440.0) > 0.9);
}

#[test]
fn in_a_conference_everybody_hears_everybody_and_our_muting_is_ours_alone() {
    let mut world = World::talking("conference", false, &[], &[]);
    let mut third = with_third(&mut world, "conference-c");
    for call in [CALL, SECOND] {
        world.a.ask(world.now, call, MediaRequest::Conference { on: true });
    }
    run_with(&mut world, &mut third, 2000);
    for call in [CALL, SECOND] {
        world.a.ask(world.now, call, MediaRequest::Mute { direction: MuteDirection::Both, on: true });
    }
    run_with(&mut world, &mut third, 2000);
    world.a.ask(world.now, SECOND, MediaRequest::Stop);
    third.ask(world.now, CALL, MediaRequest::Stop);
    world.stop();
    let (a, b, c) = (world.a.heard(), world.b.heard(), third.heard());
    let early = 24_000..27_200;
    assert!(share(&a[early.clone()], 1000.0) > 0.3 && share(&a[early.clone()], 1700.0) > 0.3);
    for (name, heard, other, own) in [("b", &b, 1700.0, 1000.0), ("c", &c, 1000.0, 1700.0)] {
        let talk = &heard[early.clone()];
        let (us, them) = (share(talk, 440.0), share(talk, other));
        assert!(us > 0.3 && them > 0.3, "{name}: us {us}, the other {them}");
        assert!(share(talk, own) < 0.02, "{name} hears himself");
        let muted = &heard[heard.len() - 12_000..heard.len() - 8_800];
        let (us, them) = (share(muted, 440.0), share(muted, other));
        assert!(us < 0.02 && them > 0.9, "{name}, we are muted: us {us}, the other {them}");
    }
    assert!(a[a.len() - 8000..].iter().all(|&sample| sample == 0), "our loudspeaker is muted");
}

#[test]
fn ringback_sounds_before_anything_is_agreed() {
    let mut world = World::new("ringback", false, &[], &[]);
    world.a.offer(world.now, false);
    world.a.ask(world.now, CALL, MediaRequest::Ringback { on: true });
    world.run(900);
    world.a.ask(world.now, CALL, MediaRequest::Ringback { on: false });
    assert_eq!(world.a.sessions.poll_timeout(), None);
    assert!(clearest(&world.a.heard(), 425.0) > 0.95);
}

#[test]
fn f17_a_device_that_cannot_be_had_is_told_and_the_call_goes_on() {
    let mut world = World::new("f17", false, &[], &[]);
    world.a.sessions.choice = AudioChoice::File { play: Some("/nowhere/speech.wav".into()), record: None };
    world.agree(false);
    world.start();
    world.run(500);
    assert!(
        world
            .a
            .told
            .iter()
            .any(|event| matches!(event, MediaEvent::Failed(why) if why.contains("speech.wav")))
    );
    assert!(world.b.packets().1 > 0, "the far end gets packets");
}

#[test]
fn f1_a_fresh_offer_moves_the_sockets_to_the_new_address() {
    let mut world = World::talking("f1", false, &[], &[]);
    world.run(500);
    let way = Way { local: Ipv4Addr::new(127, 0, 2, 2).into(), ..world.a.way() };
    let offer = world.a.describe(world.now, MediaRequest::Offer { hold: false, fresh: true, way });
    assert!(String::from_utf8_lossy(&offer).contains("c=IN IP4 127.0.2.2"));
    let way = world.b.way();
    let answer = world.b.describe(world.now, MediaRequest::Answer { offer, hold: false, way });
    world.a.ask(world.now, CALL, MediaRequest::Conclude { answer });
    let before = (world.a.packets(), world.b.packets());
    world.run(1000);
    assert!(world.a.packets().1 >= before.0.1 + 45 && world.b.packets().1 >= before.1.1 + 45);
}

#[test]
fn the_accounts_ports_reach_the_sockets_and_the_description() {
    let free = || UdpSocket::bind((LOCAL, 0)).unwrap().local_addr().unwrap().port() & !1;
    let (rtp, sip) = (free(), free());
    for (pairs, first) in [
        ([("rtpport", rtp.to_string()), ("signalingport", sip.to_string())], rtp),
        ([("rtpport", "0".to_owned()), ("signalingport", sip.to_string())], sip + 2),
    ] {
        let pairs = pairs.each_ref().map(|(name, value)| (*name, value.as_str()));
        let mut side = Side::new("ports", 440.0, false, &pairs);
        let offer = side.offer(Time::from_millis(1), false);
        let port = media_port(&offer);
        // Another program may have the very first pair; the next ones follow.
        assert!(port >= first && port < first + 100 && port.is_multiple_of(2), "{port} for {pairs:?}");
        assert!(UdpSocket::bind((LOCAL, port)).is_err(), "RTP's socket is bound there");
        assert!(UdpSocket::bind((LOCAL, port + 1)).is_err(), "and RTCP's beside it");
    }
}

#[test]
fn holdtype_is_the_direction_of_an_offer_that_holds() {
    for (value, direction) in [("-1", "sendonly"), ("2", "sendonly"), ("3", "recvonly"), ("4", "inactive")] {
        let mut side = Side::new("holdtype", 440.0, false, &[("holdtype", value)]);
        let lines = |offer: &Bytes| String::from_utf8(offer.to_vec()).unwrap();
        let holding = lines(&side.offer(Time::from_millis(1), true));
        assert!(holding.lines().any(|line| line == format!("a={direction}")), "{value}: {holding}");
        side.ask(Time::from_millis(2), CALL, MediaRequest::Rollback);
        let open = lines(&side.offer(Time::from_millis(3), false));
        for other in ["sendonly", "recvonly", "inactive"] {
            assert!(!open.contains(&format!("a={other}")), "{value}: {open}");
        }
    }
}

#[test]
fn prefcodec_and_use_rank_the_codecs_of_an_offer() {
    for (pairs, wanted) in [
        (&[][..], &["opus", "G722", "PCMU", "PCMA"][..]),
        (&[("prefcodec", "pcma")], &["PCMA", "opus", "G722", "PCMU"]),
        (&[("use_pcma", "3"), ("use_pcmu", "1")], &["PCMA", "opus", "G722"]),
        (&[("use_pcma", "0"), ("use_opuswb", "0")], &["G722", "PCMU"]),
    ] {
        let mut side = Side::new("prefcodec", 440.0, false, pairs);
        let offer = side.offer(Time::from_millis(1), false);
        let offer = SessionDescription::parse(&offer).unwrap().to_string();
        // In the order of the numbers in the media line, which is what counts (RFC 3264 section 5.1).
        let line = offer.lines().find(|line| line.starts_with("m=audio")).unwrap();
        let named: Vec<&str> = line
            .split(' ')
            .skip(3)
            .filter_map(|number| {
                let mapped = format!("a=rtpmap:{} ", number.trim());
                let name = offer.lines().find_map(|line| line.strip_prefix(&mapped))?;
                name.split('/').next()
            })
            .filter(|name| !matches!(*name, "telephone-event" | "CN"))
            .collect();
        assert_eq!(named, wanted, "{pairs:?}: {offer}");
    }
}

#[test]
fn natopenpackets_are_sent_ahead_to_a_far_end_that_is_silent() {
    for (value, wanted) in [("1", 1), ("5", 5)] {
        let mut world = World::new("natopen", false, &[("natopenpackets", value)], &[]);
        let far_end = UdpSocket::bind((LOCAL, 0)).unwrap();
        far_end.set_nonblocking(true).unwrap();
        let offer = world.a.offer(world.now, false);
        let way = world.b.way();
        let answer = world.b.describe(world.now, MediaRequest::Answer { offer, hold: false, way });
        let text = String::from_utf8(answer.to_vec()).unwrap();
        let own = far_end.local_addr().unwrap().port();
        let answer = text.replace(&media_port(&answer).to_string(), &own.to_string());
        world.a.ask(world.now, CALL, MediaRequest::Conclude { answer: answer.into() });
        // Media would open the way by itself.
        world.a.ask(world.now, CALL, MediaRequest::Mute { direction: MuteDirection::Both, on: true });
        world.a.ask(world.now, CALL, MediaRequest::Start);
        world.run(2000);
        let mut opening = 0;
        let mut buffer = [0; 2048];
        while let Ok((length, _)) = far_end.recv_from(&mut buffer) {
            // A STUN indication without attributes, beside the RTP.
            opening += u32::from(length == 20 && buffer[..2] == [0, 0x11]);
        }
        assert_eq!(opening, wanted, "natopenpackets {value}");
    }
}

fn media_port(description: &Bytes) -> u16 {
    let text = String::from_utf8_lossy(description);
    text.split("m=audio ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}
