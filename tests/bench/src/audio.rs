//! Rows 8 and 9: quality and delay over a path with jitter and loss.
//!
//! The exchange calls a phone that says again what it hears, and plays speech to it over the [`Path`]; the way back is
//! clean. Both phones of a pair are called at the same moment and get the same packets at the same moments. The echo is
//! encoded twice, so the top of the scale is what two passes of the codec leave; it is measured in the same run.

use std::time::{Duration, Instant};

use wakeline_interop::place::Folder;

use crate::exchange::Exchange;
use crate::hearing;
use crate::path::{CLEAN, JITTER, LOSS, Path};
use crate::phones::{self, Make, Sound};
use crate::row::{Goal, Row};
use crate::speech::{self, Codec};

/// Seconds of silence at the beginning: a phone's buffers may settle before somebody speaks.
const LEAD: u32 = 3;

/// The rate of most real sound devices; the other calls' devices run at the codec's rate, as baresip's does.
const DEVICE: u32 = 48_000;

/// The quality and the delay of one call.
#[derive(Clone, Copy)]
struct Figures {
    quality: f64,
    delay: f64,
}

fn call(make: Make, codec: Codec, device: u32, path: Path, seed: u64, seconds: u32) -> Figures {
    let folder = Folder::new("bench-audio");
    let said = speech::samples(&folder, codec.rate(), LEAD, seconds);
    let mut exchange = Exchange::start();
    let phone = phones::start(make, &folder, &exchange, codec, Sound::Echo(device));
    std::thread::sleep(Duration::from_millis(500));
    let call = exchange.call(&phone.callee, codec);
    let percent = u8::try_from(path.loss_percent).unwrap_or_default();
    let payloads = codec.encode(&said, percent);
    let start = Instant::now() + Duration::from_millis(100);
    call.send(codec, &payloads, &path.moments(seed, payloads.len()), start);
    std::thread::sleep(Duration::from_millis(800));
    let heard = call.heard();
    exchange.hang_up(&call);
    drop(phone);
    // A packet leaves when its last sample was spoken.
    let said_at = start.checked_sub(Duration::from_millis(20)).unwrap_or(start);
    let echo = hearing::decode(codec, &heard);
    let delay = hearing::delay(codec, &said, said_at, &echo);
    let quality = hearing::score(&folder, codec, &said, said_at, &echo, delay);
    eprintln!(
        "  {make:?} {codec:?} +-{} ms, {} % lost, seed {seed}: PESQ {quality:.2}, {delay:.0} ms",
        (path.delay.1 - path.delay.0).as_millis() / 2,
        path.loss_percent
    );
    Figures { quality, delay }
}

/// What two passes of the codec leave when nothing is lost or late; between them the sound is at the device's rate. That
/// costs a second pass of PCMU much: what a conversion leaves is no longer on the steps of its scale.
fn limit(codec: Codec, device: u32, seconds: u32) -> f64 {
    let folder = Folder::new("bench-limit");
    let said = speech::samples(&folder, codec.rate(), LEAD, seconds);
    let pass =
        |samples: &[i16]| codec.decode(&codec.encode(samples, 0).into_iter().map(Some).collect::<Vec<_>>());
    let between = speech::through(&folder, codec.rate(), device, &pass(&said));
    let heard = pass(&between);
    hearing::pesq(&folder, codec, &said, &heard)
}

/// Every seed is one pair of calls; calls of one seed run at once.
fn pairs(codec: Codec, path: Path, seeds: usize, seconds: u32) -> Vec<(Figures, Figures)> {
    (1..=seeds as u64)
        .map(|seed| {
            std::thread::scope(|scope| {
                let ours = scope.spawn(move || call(Make::Ours, codec, codec.rate(), path, seed, seconds));
                let peer = call(Make::Baresip, codec, codec.rate(), path, seed, seconds);
                (ours.join().expect("our phone's call"), peer)
            })
        })
        .collect()
}

/// Measures with this many seeds.
pub fn rows(seeds: usize, seconds: u32) -> Vec<Row> {
    let mut rows = Vec::new();
    for codec in [Codec::Pcmu, Codec::Opus] {
        let name = if codec == Codec::Pcmu { "PCMU" } else { "Opus" };
        let (limit, through_device) = (limit(codec, codec.rate(), seconds), limit(codec, DEVICE, seconds));
        let quality = |pairs: &[(Figures, Figures)]| -> Vec<(f64, f64)> {
            pairs.iter().map(|(ours, peer)| (ours.quality, peer.quality)).collect()
        };
        let delay = |pairs: &[(Figures, Figures)]| -> Vec<(f64, f64)> {
            pairs.iter().map(|(ours, peer)| (ours.delay, peer.delay)).collect()
        };
        let clean = pairs(codec, CLEAN, 1, seconds);
        let jitter = pairs(codec, JITTER, seeds, seconds);
        let of_pairs = |number, metric: String, unit, goal, pairs: &[(f64, f64)]| {
            Row::of_pairs(number, metric, unit, "baresip", goal, pairs)
        };
        rows.push(of_pairs("8", format!("{name}, clean path: PESQ"), "", Goal::Told, &quality(&clean)));
        let resampled = call(Make::Ours, codec, DEVICE, CLEAN, 1, seconds).quality;
        let metric =
            format!("{name}, clean path, sound device at 48 kHz: PESQ (two passes: {through_device:.2})");
        let goal = Goal::AtLeast(through_device - 0.05);
        rows.push(Row::alone("8", metric, "", goal, vec![resampled]).remark("*"));
        rows.push(of_pairs(
            "8",
            format!("{name}, clean path: mouth to ear"),
            "ms",
            Goal::Told,
            &delay(&clean),
        ));
        rows.push(of_pairs(
            "8",
            format!("{name}, 40 ms +-20, no loss: PESQ (two passes: {limit:.2})"),
            "",
            Goal::AtLeast(limit - 0.05),
            &quality(&jitter),
        ));
        // Opus looks ahead in encoder and echo: 13 ms more than PCMU.
        let most = if codec == Codec::Pcmu { 105.0 } else { 118.0 };
        rows.push(of_pairs(
            "8",
            format!("{name}, 40 ms +-20, no loss: mouth to ear"),
            "ms",
            Goal::AtMost(most),
            &delay(&jitter),
        ));
        let loss = pairs(codec, LOSS, seeds, seconds);
        let above = if codec == Codec::Pcmu { 0.2 } else { 0.75 };
        rows.push(of_pairs(
            "9",
            format!("{name}, the same and 10 % lost: PESQ"),
            "",
            Goal::AbovePeer(above),
            &quality(&loss),
        ));
        rows.push(of_pairs(
            "9",
            format!("{name}, the same and 10 % lost: mouth to ear"),
            "ms",
            Goal::OfPeer(0.5),
            &delay(&loss),
        ));
    }
    rows
}
