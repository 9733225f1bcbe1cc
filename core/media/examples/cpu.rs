//! Processor time of one minute of a call, media only: capture, encode, RTP, jitter buffer, decode, playout.
//!
//! `cpu [MINUTES]` prints seconds of processor time per minute of call for each codec and device rate, read from the
//! kernel's accounting (Linux). One stream sends and receives, as a phone does; the path is clean.

#![expect(clippy::print_stdout, reason = "a program that prints")]

use std::fs;

use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_media::{Codec, Outgoing, Seeds, Stream, StreamConfig, opus};

fn processor_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/schedstat").ok()?;
    text.split_whitespace().next()?.parse::<f64>().ok().map(|nanos| nanos / 1e9)
}

fn memory_kib() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let minutes: u64 = std::env::args().nth(1).map_or(Ok(2), |text| text.parse())?;
    let cheap = opus::Tuning { complexity: 5, ..opus::Tuning::default() };
    let full = opus::Tuning { complexity: 10, ..opus::Tuning::default() };
    for (codec, device_rate, tuning) in [
        (Codec::Pcmu, 8_000, cheap),
        (Codec::Pcmu, 48_000, cheap),
        (Codec::G722, 16_000, cheap),
        (Codec::Opus, 16_000, cheap),
        (Codec::Opus, 48_000, cheap),
        (Codec::Opus, 48_000, opus::Tuning::default()),
        (Codec::Opus, 48_000, full),
    ] {
        let before_memory = memory_kib();
        let payload_type = codec.static_payload_type().unwrap_or(111);
        let config = StreamConfig { opus: tuning, ..StreamConfig::new(codec, payload_type, device_rate) };
        let mut entropy = Entropy::from_number(1);
        let mut stream = Stream::new(Time::ZERO, config, Seeds::draw(&mut entropy))?;
        let block = device_rate as usize / 50;
        let sound: Vec<i16> = (0..device_rate as usize * 4)
            .map(|n| {
                let t = n as f32 / device_rate as f32;
                let pitch = std::f32::consts::TAU * (120.0 + 30.0 * (t * 2.0).sin()) * t;
                let word = (t * 1.7).fract() < 0.7;
                let swell = if word { 5_000.0 } else { 30.0 };
                (swell * (pitch.sin() + 0.5 * (2.0 * pitch).sin() + 0.25 * (7.0 * pitch).sin())) as i16
            })
            .collect();
        let mut out = vec![0; block];
        let before = processor_seconds();
        for n in 0..minutes * 3_000 {
            let now = Time::from_millis(n * 20);
            let at = (n as usize * block) % (sound.len() - block);
            stream.capture(now, &sound[at..at + block])?;
            stream.handle_timeout(now);
            while let Some(packet) = stream.poll_transmit() {
                if let Outgoing::Rtp(mut bytes) = packet {
                    // From another source, or it would be taken for our own.
                    bytes[8] ^= 0xff;
                    stream.handle_rtp(now, &bytes)?;
                }
            }
            stream.playout(now, &mut out);
        }
        if let (Some(before), Some(after)) = (before, processor_seconds()) {
            let grown = memory_kib().zip(before_memory).map(|(now, before)| now.saturating_sub(before));
            println!(
                "{:5} device {device_rate:5} Hz complexity {:2}: {:.3} s per minute; {} KiB more in memory; {:?}",
                codec.name(),
                tuning.complexity,
                (after - before) / minutes as f64,
                grown.unwrap_or(0),
                stream.stats().packets_received,
            );
        }
    }
    Ok(())
}
