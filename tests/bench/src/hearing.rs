//! How an echo compares with what was said: its delay, and its quality by PESQ.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use wakeline_interop::place::Folder;

use crate::exchange::Heard;
use crate::row::median;
use crate::speech::{self, Codec};

/// No delay beyond this is looked for.
const LONGEST: usize = 600;

/// What came back: samples, and when the first of them was played.
pub struct Echo {
    samples: Vec<i16>,
    began: Instant,
}

/// Puts a stream's packets in order and decodes them.
///
/// A sample that stands at the beginning of a packet was played one frame before that packet was sent: that moment is
/// taken as the one at which the phone's loudspeaker played it.
pub fn decode(codec: Codec, heard: &[Heard]) -> Echo {
    let number = |packet: &[u8]| u16::from_be_bytes([packet[2], packet[3]]);
    let clock = |packet: &[u8]| u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
    let payload_type = heard.first().expect("an echo").1[1] & 0x7f;
    let all: Vec<&Heard> = heard.iter().filter(|(_, packet)| packet[1] & 0x7f == payload_type).collect();
    let (first, zero) = (number(&all[0].1), clock(&all[0].1));
    let frame = codec.frame_clock();
    let place = |packet: &[u8]| (clock(packet).wrapping_sub(zero) / frame) as usize;
    let last = all.iter().map(|(_, packet)| place(packet)).filter(|&at| at < 100_000).max().unwrap_or(0);
    let mut payloads = vec![None; last + 1];
    let mut starts = Vec::new();
    for (at, packet) in &all {
        if number(packet).wrapping_sub(first) > 30_000 || place(packet) > last {
            continue;
        }
        let extension = usize::from(packet[0] & 0x0f) * 4;
        payloads[place(packet)] = Some(packet[12 + extension..].to_vec());
        starts.push(at.duration_since(all[0].0).as_secs_f64() - place(packet) as f64 * 0.02);
    }
    // Packets are sent by a clock; what comes late came late because this machine was busy.
    let early = median(starts);
    let began = if early >= 0.0 {
        all[0].0 + Duration::from_secs_f64(early)
    } else {
        all[0].0.checked_sub(Duration::from_secs_f64(-early)).unwrap_or(all[0].0)
    };
    let began = began.checked_sub(Duration::from_millis(20)).unwrap_or(began);
    Echo { samples: codec.decode(&payloads), began }
}

/// Milliseconds from mouth to ear: the median over the seconds in which somebody speaks. `said_at` is when the first
/// sample of `said` was spoken.
pub fn delay(codec: Codec, said: &[i16], said_at: Instant, echo: &Echo) -> f64 {
    // A sample a millisecond apart is enough for the delay; energies are compared on 8 samples of that.
    let step = codec.rate() as usize / 8000;
    let thin =
        |samples: &[i16]| -> Vec<f32> { samples.chunks_exact(step).map(|c| f32::from(c[0])).collect() };
    let (said, heard) = (thin(said), thin(&echo.samples));
    // Where the first said sample would stand in the echo, without any delay.
    let lead = match echo.began.checked_duration_since(said_at) {
        Some(late) => -late.as_secs_f64(),
        None => said_at.duration_since(echo.began).as_secs_f64(),
    };
    let lead = (lead * 8000.0).round() as i64;
    let mut found = Vec::new();
    for (index, piece) in said.chunks_exact(8000).enumerate() {
        let energy: f32 = piece.iter().map(|sample| sample * sample).sum();
        if energy < 8000.0 * 300.0 * 300.0 {
            continue;
        }
        let start = lead + index as i64 * 8000;
        let mut best = (0.0_f32, 0);
        for lag in 0..LONGEST as i64 * 8 {
            let at = start + lag;
            let Some(window) = usize::try_from(at).ok().and_then(|at| heard.get(at..at + piece.len())) else {
                continue;
            };
            let product: f32 = piece.iter().zip(window).map(|(a, b)| a * b).sum();
            if product > best.0 {
                best = (product, lag);
            }
        }
        if best.0 > 0.0 {
            found.push(best.1 as f64 / 8.0);
        }
    }
    assert!(!found.is_empty(), "nothing of what was said came back");
    median(found)
}

const SCRIPT: &str = "import sys, wave, numpy\nfrom pesq import pesq\n\
    def read(p):\n    w = wave.open(p)\n    return numpy.frombuffer(w.readframes(w.getnframes()), dtype=numpy.int16)\n\
    mode = sys.argv[1]\nprint(pesq(8000 if mode == 'nb' else 16000, read(sys.argv[2]), read(sys.argv[3]), mode))";

/// The PESQ score (ITU-T P.862 narrow band for PCMU, P.862.2 wide band for Opus) of what came back `delay` milliseconds
/// late.
pub fn score(folder: &Folder, codec: Codec, said: &[i16], said_at: Instant, echo: &Echo, delay: f64) -> f64 {
    let late = echo.began.saturating_duration_since(said_at).as_secs_f64();
    let early = said_at.saturating_duration_since(echo.began).as_secs_f64();
    let shift = ((early - late + delay / 1000.0) * f64::from(codec.rate())).round() as i64;
    let shifted: Vec<i16> = (0..said.len() as i64)
        .map(|at| usize::try_from(at + shift).ok().and_then(|at| echo.samples.get(at).copied()).unwrap_or(0))
        .collect();
    pesq(folder, codec, said, &shifted)
}

/// The score of one signal against another.
pub fn pesq(folder: &Folder, codec: Codec, said: &[i16], heard: &[i16]) -> f64 {
    let (one, two) = (folder.path("said.wav"), folder.path("came-back.wav"));
    speech::write_samples(&one, codec.rate(), said);
    speech::write_samples(&two, codec.rate(), heard);
    run(if codec == Codec::Pcmu { "nb" } else { "wb" }, &one, &two)
}

fn run(mode: &str, said: &Path, heard: &Path) -> f64 {
    let python = std::env::var("WAKELINE_BENCH_PYTHON").unwrap_or_else(|_| "python3".into());
    let output = Command::new(&python).args(["-c", SCRIPT, mode]).args([said, heard]).output();
    let output = output.unwrap_or_else(|error| panic!("{python}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().unwrap_or_else(|_| {
        let errors = String::from_utf8_lossy(&output.stderr);
        panic!("PESQ: {}; is the Python package pesq installed?", errors.lines().last().unwrap_or("no score"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_found_to_the_millisecond() {
        let mut noise = 1_u32;
        let said: Vec<i16> = (0..24_000)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((noise >> 16) as i16) / 4
            })
            .collect();
        let now = Instant::now();
        // Sent from `now` on, a frame at a time when it is complete; the echo's first packet comes 95 ms after that.
        let payloads = Codec::Pcmu.encode(&said, 0);
        let heard: Vec<Heard> = payloads
            .iter()
            .zip(0_u32..)
            .map(|(payload, n)| {
                let mut packet = vec![0x80, 0];
                packet.extend((n as u16).to_be_bytes());
                packet.extend((n * 160).to_be_bytes());
                packet.extend([0; 4]);
                packet.extend(payload);
                (now + Duration::from_millis(95 + 20 * u64::from(n)), packet)
            })
            .collect();
        let echo = decode(Codec::Pcmu, &heard);
        let said_at = now - Duration::from_millis(20);
        let found = delay(Codec::Pcmu, &said, said_at, &echo);
        assert!((found - 95.0).abs() < 0.5, "{found}");
    }
}
