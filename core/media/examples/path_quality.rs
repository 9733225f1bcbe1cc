//! Plays a WAV file through a stream over a path with seeded loss and jitter and writes what is heard.
//!
//! `path_quality IN.wav OUT-DIRECTORY` writes one file per codec and condition and prints a line of figures for each;
//! an external tool scores the files (PESQ). The path: 40 ms ± 20 ms uniform with reordering as it falls, independent
//! loss; "clean" is a path of no delay. The sound passes the codec once; a file marked `echo` is what comes back over a
//! clean path when the far end sends it back, and has passed it twice.

#![expect(clippy::print_stdout, reason = "a program that prints")]

use std::fs;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_media::{Codec, MediaError, Outgoing, Resampler, Seeds, Stream, StreamConfig, opus, wav};

const PULL_MILLIS: u64 = 10;

struct Condition {
    name: &'static str,
    /// Lowest delay and the width of the uniform jitter, in microseconds.
    delay: (u64, u32),
    loss_percent: u32,
}

const CONDITIONS: [Condition; 6] = [
    Condition { name: "clean", delay: (0, 0), loss_percent: 0 },
    Condition { name: "jitter", delay: (20_000, 40_000), loss_percent: 0 },
    Condition { name: "loss05", delay: (20_000, 40_000), loss_percent: 5 },
    Condition { name: "loss10", delay: (20_000, 40_000), loss_percent: 10 },
    Condition { name: "loss20", delay: (20_000, 40_000), loss_percent: 20 },
    Condition { name: "clean10", delay: (0, 0), loss_percent: 10 },
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(input), Some(directory)) = (arguments.next(), arguments.next()) else {
        println!("path_quality IN.wav OUT-DIRECTORY [SEEDS [CODEC]]");
        return Ok(());
    };
    let seeds: u64 = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let only = arguments.next();
    let (mut reader, mut speech) = (wav::Reader::default(), Vec::new());
    reader.push(&fs::read(input)?, &mut speech)?;
    let rate = reader.format().map_or(16_000, |format| format.rate);
    for (codec, device_rate) in [(Codec::Pcmu, 8_000), (Codec::Opus, 16_000), (Codec::G722, 16_000)] {
        if only.as_ref().is_some_and(|only| !only.eq_ignore_ascii_case(codec.name())) {
            continue;
        }
        let mut sound = Vec::new();
        Resampler::new(rate, device_rate).process(&speech, &mut sound);
        write(&format!("{directory}/{}-original.wav", codec.name()), device_rate, &sound)?;
        for condition in &CONDITIONS {
            for seed in 1..=seeds {
                let (heard, figures) = run(codec, device_rate, &sound, condition, seed)?;
                let name = format!("{directory}/{}-{}", codec.name(), condition.name);
                write(&format!("{name}-{seed}.wav"), device_rate, &heard)?;
                let (echo, _) = run(codec, device_rate, &heard, &CONDITIONS[0], seed + 100)?;
                write(&format!("{name}echo-{seed}.wav"), device_rate, &echo)?;
                println!("{} {} {seed} {figures}", codec.name(), condition.name);
            }
        }
    }
    Ok(())
}

fn write(path: &str, rate: u32, samples: &[i16]) -> Result<(), std::io::Error> {
    let mut bytes = wav::header(rate, samples.len() as u32).to_vec();
    wav::write(samples, &mut bytes);
    fs::write(path, bytes)
}

fn run(
    codec: Codec,
    device_rate: u32,
    sound: &[i16],
    condition: &Condition,
    seed: u64,
) -> Result<(Vec<i16>, String), MediaError> {
    let mut entropy = Entropy::from_number(seed);
    let payload_type = codec.static_payload_type().unwrap_or(111);
    let tuning = opus::Tuning { expected_loss: condition.loss_percent as u8, ..opus::Tuning::default() };
    let config = StreamConfig { opus: tuning, ..StreamConfig::new(codec, payload_type, device_rate) };
    let mut sender = Stream::new(Time::ZERO, config.clone(), Seeds::draw(&mut entropy))?;
    let mut receiver = Stream::new(Time::ZERO, config, Seeds::draw(&mut entropy))?;
    // The receiver's device runs on a phase of its own.
    let phase = u64::from(entropy.below(PULL_MILLIS as u32 * 1_000));
    let block = (u64::from(device_rate) * PULL_MILLIS / 1000) as usize;
    let mut way: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut heard = Vec::new();
    let mut buffer = 0.0;
    for (n, captured) in sound.chunks_exact(block).enumerate() {
        // The block has been captured when its last sample has been heard.
        let captured_at = (n as u64 + 1) * PULL_MILLIS * 1_000;
        sender.capture(Time::from_nanos(captured_at * 1_000), captured)?;
        while let Some(packet) = sender.poll_transmit() {
            let Outgoing::Rtp(bytes) = packet else { continue };
            let late = condition.delay.0 + u64::from(entropy.below(condition.delay.1.max(1)));
            if entropy.below(100) >= condition.loss_percent {
                way.push((captured_at + late, bytes));
            }
        }
        let pull_at = captured_at + phase;
        way.sort_by_key(|(due, _)| *due);
        let due = way.partition_point(|(due, _)| *due <= pull_at);
        for (arrival, bytes) in way.drain(..due) {
            receiver.handle_rtp(Time::from_nanos(arrival * 1_000), &bytes)?;
        }
        let mut out = vec![0; block];
        receiver.playout(Time::from_nanos(pull_at * 1_000), &mut out);
        heard.extend_from_slice(&out);
        buffer += receiver.stats().playout_delay_millis;
    }
    let stats = receiver.stats();
    let blocks = (sound.len() / block).max(1) as f32;
    Ok((
        heard,
        format!(
            "phase {:.1} buffer {:.1} late {} lost {} recovered {} concealed {} accelerated {} expanded {}",
            phase as f32 / 1_000.0,
            buffer / blocks,
            stats.packets_late,
            stats.packets_lost,
            stats.packets_recovered,
            stats.concealed_millis,
            stats.accelerated_millis,
            stats.expanded_millis,
        ),
    ))
}
