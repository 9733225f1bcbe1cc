//! The buffer on virtual time, with seeded loss and jitter.

use wakeline_entropy::Entropy;

use super::*;
use crate::codec::Encoder;

/// A path and a device; times in microseconds.
struct Path {
    codec: Codec,
    rate: u32,
    /// Lowest delay and width of the uniform jitter.
    delay: (u64, u32),
    loss_percent: u32,
    /// How much faster the sender's clock runs than ours, in millionths.
    drift: i64,
    pull_millis: u64,
    /// When the device's pulls lie between packets.
    phase: u64,
    first_sequence: u64,
    first_timestamp: u32,
    duplicates: bool,
}

impl Default for Path {
    fn default() -> Path {
        Path {
            codec: Codec::Pcmu,
            rate: 8000,
            delay: (30_000, 0),
            loss_percent: 0,
            drift: 0,
            pull_millis: 10,
            phase: 3_000,
            first_sequence: 65_536 + 10,
            first_timestamp: 77,
            duplicates: false,
        }
    }
}

struct Outcome {
    said: Vec<i16>,
    heard: Vec<i16>,
    stats: PlayoutStats,
    /// Largest and mean buffer delay over the last half, in milliseconds.
    delay: (i64, i64),
}

fn voice(rate: u32, seconds: u32) -> Vec<i16> {
    let w = std::f32::consts::TAU / rate as f32;
    let mut phase = 0.0f32;
    (0..rate * seconds)
        .map(|n| {
            let t = n as f32 / rate as f32;
            phase += w * (150.0 + 40.0 * (t * 5.0).sin());
            let swell = 0.55 + 0.45 * (t * 9.0).sin();
            (5000.0 * swell * (phase.sin() + 0.5 * (2.0 * phase).sin() + 0.3 * (5.0 * phase).sin())) as i16
        })
        .collect()
}

impl Path {
    fn play(&self, seconds: u32, seed: u64) -> Outcome {
        let mut entropy = Entropy::from_number(seed);
        let said = voice(self.rate, seconds);
        let frame = self.rate as usize / 50;
        let mut encoder = Encoder::new(
            self.codec,
            self.rate,
            opus::Tuning { expected_loss: self.loss_percent as u8, ..opus::Tuning::default() },
        )
        .unwrap();
        let mut arrivals = Vec::new();
        for (n, sound) in said.chunks_exact(frame).enumerate() {
            let mut payload = Vec::new();
            encoder.encode(sound, &mut payload).unwrap();
            let sent = 1_000_000 + ((n as i64 + 1) * 20_000 * (1_000_000 - self.drift) / 1_000_000) as u64;
            let arrival = sent + self.delay.0 + u64::from(entropy.below(self.delay.1.max(1)));
            let lost = entropy.below(100) < self.loss_percent;
            let ticks = self.codec.rtp_clock() / 50;
            let packet = (
                arrival,
                self.first_sequence + n as u64,
                self.first_timestamp.wrapping_add(ticks * n as u32),
                payload,
            );
            if self.duplicates {
                arrivals.push(packet.clone());
            }
            if !lost {
                arrivals.push(packet);
            }
        }
        arrivals.sort_by_key(|packet| packet.0);
        let mut playout = Playout::new(self.codec, self.rate, 1).unwrap();
        let mut heard = Vec::new();
        let (mut worst, mut sum, mut count) = (0, 0, 0);
        let mut waiting = arrivals.into_iter().peekable();
        let pulls = u64::from(seconds) * 1000 / self.pull_millis;
        for n in 0..pulls {
            let now = 1_000_000 + n * self.pull_millis * 1_000 + self.phase;
            while let Some((arrival, sequence, timestamp, payload)) =
                waiting.next_if(|packet| packet.0 <= now)
            {
                playout.insert(
                    Time::from_nanos(arrival * 1_000),
                    sequence,
                    timestamp,
                    Content::Audio(payload),
                );
            }
            let mut out = vec![0; (u64::from(self.rate) * self.pull_millis / 1000) as usize];
            playout.pull(Time::from_nanos(now * 1_000), &mut out);
            heard.extend_from_slice(&out);
            if n > pulls / 2 {
                let delay = playout.stats().delay_micros / 1000;
                worst = worst.max(delay);
                sum += delay;
                count += 1;
            }
        }
        Outcome { said, heard, stats: playout.stats(), delay: (worst, sum / count.max(1)) }
    }
}

/// Segmental signal-to-noise ratio in decibels over the last half, at the delay (in samples) that fits best.
fn segmental(outcome: &Outcome, most: usize) -> f32 {
    let Outcome { said, heard, .. } = outcome;
    let from = heard.len() / 2;
    (0..most)
        .map(|delay| {
            let ratios: Vec<f32> = heard[from..]
                .chunks_exact(160)
                .enumerate()
                .map(|(n, block)| {
                    let start = from + n * 160 - delay;
                    let (mut power, mut noise) = (1.0f32, 1.0f32);
                    for (&got, &sent) in block.iter().zip(&said[start..]) {
                        power += f32::from(sent).powi(2);
                        noise += (f32::from(sent) - f32::from(got)).powi(2);
                    }
                    (10.0 * (power / noise).log10()).clamp(-10.0, 35.0)
                })
                .collect();
            ratios.iter().sum::<f32>() / ratios.len() as f32
        })
        .fold(f32::MIN, f32::max)
}

#[test]
fn an_even_path_is_played_without_a_touch_and_without_waiting() {
    for pull_millis in [5, 10, 20] {
        for phase in [0, 1, 1_700, 4_999] {
            let outcome = Path { pull_millis, phase, ..Path::default() }.play(20, 1);
            let stats = outcome.stats;
            assert_eq!(
                (stats.concealed, stats.accelerated, stats.expanded, stats.late, stats.missing),
                (0, 0, 0, 0, 0),
                "pulls of {pull_millis} ms at {phase}"
            );
            assert!(outcome.delay.0 <= pull_millis as i64, "{:?} at {pull_millis}", outcome.delay);
            assert!(segmental(&outcome, 800) > 25.0);
        }
    }
}

#[test]
fn small_jitter_costs_no_more_than_its_size() {
    let outcome = Path { delay: (30_000, 4_000), ..Path::default() }.play(30, 2);
    assert_eq!(outcome.stats.late, 0);
    assert!(outcome.stats.concealed <= 160, "{:?}", outcome.stats);
    assert!(outcome.delay.0 <= 24, "{:?}", outcome.delay);
}

#[test]
fn uniform_jitter_of_forty_milliseconds_loses_nothing_and_stays_quick() {
    for seed in 1..=10 {
        for codec in [Codec::Pcmu, Codec::G722] {
            let rate = codec.sample_rate(8000);
            let outcome = Path { codec, rate, delay: (20_000, 40_000), ..Path::default() }.play(20, seed);
            let stats = outcome.stats;
            assert!(stats.late <= 1, "seed {seed}: {stats:?}");
            assert!(stats.concealed <= u64::from(rate) / 12, "seed {seed}: {stats:?}");
            assert!(outcome.delay.0 <= 62 && outcome.delay.1 <= 56, "seed {seed}: {:?}", outcome.delay);
        }
    }
}

#[test]
fn lost_packets_are_concealed_better_than_by_silence() {
    let path = Path { loss_percent: 10, ..Path::default() };
    let outcome = path.play(20, 3);
    let stats = outcome.stats;
    assert!(stats.missing > 60 && stats.missing < 140, "{stats:?}");
    assert_eq!(stats.late, 0);
    let clean = segmental(&Path::default().play(20, 3), 1_200);
    let got = segmental(&outcome, 1_200);
    assert!(got > clean * 0.8, "{got} dB of {clean}");
}

#[test]
fn opus_rebuilds_lost_packets_from_their_successors() {
    let path = Path { codec: Codec::Opus, rate: 16_000, loss_percent: 10, ..Path::default() };
    let stats = path.play(30, 4).stats;
    assert!(stats.recovered * 10 > stats.missing * 6, "{stats:?}");
}

#[test]
fn a_sender_whose_clock_is_off_is_followed_both_ways() {
    for drift in [-200, 200] {
        let outcome = Path { drift, ..Path::default() }.play(60, 5);
        let stats = outcome.stats;
        // 12 ms in a minute, in whole periods, without a loss.
        assert_eq!((stats.late, stats.missing), (0, 0), "drift {drift}: {stats:?}");
        assert!(stats.concealed <= 320, "drift {drift}: {stats:?}");
        assert!(outcome.delay.0 <= 34 && outcome.delay.1 <= 25, "drift {drift}: {:?}", outcome.delay);
    }
}

#[test]
fn duplicates_and_wrapping_numbers_change_nothing() {
    let plain = Path::default().play(5, 6);
    let wrapping = Path {
        first_sequence: 2 * 65_536 - 20,
        first_timestamp: u32::MAX - 10_000,
        duplicates: true,
        ..Path::default()
    };
    let outcome = wrapping.play(5, 6);
    assert_eq!(outcome.heard, plain.heard);
    assert!(outcome.stats.duplicates > 200);
    assert_eq!((outcome.stats.late, outcome.stats.missing, outcome.stats.concealed), (0, 0, 0));
}

/// Feeds packets by hand: `(arrival in ms, number)`, 20 ms of PCMU each, and pulls every 10 ms until `until`.
fn by_hand(arrivals: &[(u64, u64)], until: u64) -> (PlayoutStats, Vec<i16>) {
    let mut playout = Playout::new(Codec::Pcmu, 8000, 1).unwrap();
    let mut heard = Vec::new();
    for now in (0..until).step_by(10) {
        for &(_, number) in arrivals.iter().filter(|(arrival, _)| (now..now + 10).contains(&(arrival + 9))) {
            let payload = vec![0x20 + (number % 16) as u8; 160];
            let stamp = number as u32 * 160;
            playout.insert(Time::from_millis(now), number, stamp, Content::Audio(payload));
        }
        let mut out = [0; 80];
        playout.pull(Time::from_millis(now), &mut out);
        heard.extend_from_slice(&out);
    }
    (playout.stats(), heard)
}

#[test]
fn a_packet_that_is_merely_late_is_waited_for_and_played() {
    let arrivals: Vec<(u64, u64)> = (0..50).map(|n| (20 * n + if n >= 20 { 30 } else { 0 }, n)).collect();
    let (stats, _) = by_hand(&arrivals, 1_000);
    assert_eq!((stats.late, stats.missing, stats.received), (0, 0, 49));
    assert!((160..=400).contains(&stats.stalled), "{stats:?}");
}

#[test]
fn reordered_packets_play_in_order_once_the_path_is_known() {
    // Every third packet comes after its successor.
    let arrivals: Vec<(u64, u64)> =
        (0..300).map(|n| (20 * n + 30 + if n % 3 == 1 { 25 } else { 0 }, n)).collect();
    let (stats, _) = by_hand(&arrivals, 6_100);
    assert!(stats.late <= 3 && stats.missing <= 3, "{stats:?}");
}

#[test]
fn a_stream_that_stops_fades_and_begins_again_later() {
    let arrivals: Vec<(u64, u64)> =
        (0..20).map(|n| (20 * n, n)).chain((0..20).map(|n| (5_000 + 20 * n, 20 + n))).collect();
    let (stats, heard) = by_hand(&arrivals, 5_500);
    assert!(heard[8 * 700..8 * 4_900].iter().all(|&sample| sample == 0));
    assert!(heard[8 * 5_100..8 * 5_300].iter().all(|&sample| sample != 0));
    assert_eq!(stats.late, 0);
}

#[test]
fn a_device_that_slept_catches_up_at_once() {
    let mut playout = Playout::new(Codec::Pcmu, 8000, 1).unwrap();
    let insert = |playout: &mut Playout, n: u64| {
        playout.insert(Time::from_millis(n * 20), n, n as u32 * 160, Content::Audio(vec![0x30; 160]));
    };
    let mut out = [0; 160];
    for n in 0..100 {
        insert(&mut playout, n);
        playout.pull(Time::from_millis(n * 20), &mut out);
    }
    (100..160).for_each(|n| insert(&mut playout, n));
    for n in 160..220 {
        insert(&mut playout, n);
        playout.pull(Time::from_millis(n * 20), &mut out);
    }
    let stats = playout.stats();
    assert!(stats.delay_micros < 100_000, "{stats:?}");
}

#[test]
fn a_jump_of_the_timestamps_is_another_timeline() {
    for jump in [5_000u32 * 8, 60_000 * 8, 0x8000_0000] {
        let mut playout = Playout::new(Codec::Pcmu, 8000, 1).unwrap();
        let mut out = [0; 160];
        for n in 0..300u64 {
            let stamp = (n as u32 * 160).wrapping_add(if n >= 150 { jump } else { 0 });
            playout.insert(Time::from_millis(n * 20), n, stamp, Content::Audio(vec![0x30; 160]));
            playout.pull(Time::from_millis(n * 20), &mut out);
        }
        let stats = playout.stats();
        assert!(stats.concealed + stats.noise <= 4 * 160, "{jump}: {stats:?}");
        assert!(stats.delay_micros <= 40_000 && out.iter().all(|&sample| sample != 0), "{jump}: {stats:?}");
    }
}

#[test]
fn sound_rises_from_silence_and_sinks_into_it() {
    let mut playout = Playout::new(Codec::Pcmu, 8000, 1).unwrap();
    let mut out = [0; 160];
    playout.insert(Time::from_millis(0), 1, 0, Content::Audio(vec![0x80; 160]));
    playout.pull(Time::from_millis(0), &mut out);
    assert!(out[0] < 4_000 && out[159] == 32_124);
    playout.restart();
    playout.pull(Time::from_millis(20), &mut out);
    assert!(out[0] > 25_000 && out[0] < 32_124 && out[60] == 0);
}

#[test]
fn s13_wild_numbers_and_times_end_in_sound_again() {
    for seed in 0..8 {
        let mut entropy = Entropy::from_number(seed);
        let codec = Codec::ALL[(seed % 4) as usize];
        let rate = codec.sample_rate(16_000);
        let mut playout = Playout::new(codec, rate, 1).unwrap();
        let mut payload = Vec::new();
        Encoder::new(codec, rate, opus::Tuning::default())
            .unwrap()
            .encode(&voice(rate, 1)[..rate as usize / 50], &mut payload)
            .unwrap();
        let mut micros = 0u64;
        let mut sequence = 1_000u64;
        for _ in 0..800 {
            micros += u64::from(entropy.below(40_000));
            sequence = sequence.saturating_add_signed(i64::from(entropy.below(9)) - 3);
            let content = match entropy.below(8) {
                0 => Content::Event,
                1 => Content::Noise(crate::comfort_noise::ComfortNoise::white(50)),
                2 => Content::Audio(vec![entropy.u32() as u8; entropy.below(100) as usize]),
                _ => Content::Audio(payload.clone()),
            };
            let now = Time::from_nanos(micros * 1_000);
            playout.insert(now, sequence, entropy.u32() >> entropy.below(32), content);
            let mut out = vec![0; entropy.below(1_500) as usize];
            playout.pull(now, &mut out);
        }
        sequence += 1_000;
        let mut last = vec![0; rate as usize / 50];
        for n in 0..1_500u64 {
            let now = Time::from_nanos((micros + n * 20_000) * 1_000);
            let stamp = codec.rtp_clock() / 50 * n as u32;
            playout.insert(now, sequence + n, stamp, Content::Audio(payload.clone()));
            playout.pull(now, &mut last);
        }
        let stats = playout.stats();
        assert!(last.iter().any(|&sample| sample.unsigned_abs() > 100), "seed {seed}, {codec:?}: {stats:?}");
        assert!(stats.delay_micros < 200_000, "seed {seed}, {codec:?}: {stats:?}");
    }
}

#[test]
fn s14_a_flood_does_not_grow_the_queue() {
    let mut playout = Playout::new(Codec::Pcmu, 8000, 1).unwrap();
    for n in 0..10_000u64 {
        playout.insert(Time::from_millis(n), n, n as u32 * 160, Content::Audio(vec![1; 160]));
        assert!(playout.queue.len() <= 257);
    }
    let mut out = [0; 160];
    playout.pull(Time::from_millis(10_001), &mut out);
    assert!(out.iter().any(|&sample| sample != 0));
}
