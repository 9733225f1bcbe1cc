//! Rows 4, 5 and 6: what a call costs, and how soon it is there.

use std::thread;
use std::time::{Duration, Instant};

use wakeline_interop::place::Folder;

use crate::exchange::Exchange;
use crate::phones::{self, Make, Sound};
use crate::processes;
use crate::row::{Goal, Row, median};
use crate::speech::{self, Codec};

/// What one call showed.
struct Figures {
    /// Processor seconds a minute.
    processor: f64,
    invite_to_200: f64,
    ack_to_packet: f64,
    /// Resident memory, in MiB.
    memory: f64,
    packets: f64,
}

/// One phone, one call of this many seconds, speech both ways.
fn call(make: Make, codec: Codec, seconds: u32) -> Figures {
    let folder = Folder::new("bench-call");
    // baresip takes a file only at its codec's rate, with as many channels.
    let (rate, channels) = match (make, codec) {
        (_, Codec::Pcmu) => (8000, 1),
        (Make::Ours, Codec::Opus) => (16_000, 1),
        (Make::Baresip, Codec::Opus) => (48_000, 2),
    };
    let says = speech::write(&folder, "says.wav", rate, channels, 0, seconds + 10);
    let payloads = codec.encode(&speech::samples(&folder, codec.rate(), 0, seconds + 3), 0);
    let moments: Vec<_> = (0..payloads.len()).map(|n| Some(Duration::from_millis(20 * n as u64))).collect();
    let mut exchange = Exchange::start();
    let phone = phones::start(make, &folder, &exchange, codec, Sound::File(&says));
    thread::sleep(Duration::from_millis(500));
    let call = exchange.call(&phone.callee, codec);
    let first = call.first_packet();
    let start = Instant::now();
    let ids = phone.ids();
    let (processor, packets, memory) = thread::scope(|scope| {
        let sender = scope.spawn(|| call.send(codec, &payloads, &moments, start));
        // The second in which buffers fill and speech begins is not counted.
        thread::sleep(Duration::from_secs(1));
        let before = call.heard().len();
        let span = Duration::from_secs(seconds.into());
        let (processor, _, ()) = processes::over(&ids, || thread::sleep(span));
        let packets = call.heard().len() - before;
        let memory = processes::memory(&ids, "Rss");
        sender.join().expect("the sender");
        (processor, packets, memory)
    });
    exchange.hang_up(&call);
    let milliseconds = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1000.0;
    Figures {
        processor: processor * 60.0 / f64::from(seconds),
        invite_to_200: milliseconds(call.invited, call.answered),
        ack_to_packet: milliseconds(call.answered, first),
        memory: memory / 1024.0,
        packets: packets as f64 / f64::from(seconds),
    }
}

fn pairs(codec: Codec, seconds: u32, count: usize) -> Vec<(Figures, Figures)> {
    (0..count)
        .map(|turn| {
            eprintln!("  {codec:?} call, pair {} of {count}", turn + 1);
            let ours = call(Make::Ours, codec, seconds);
            let peer = call(Make::Baresip, codec, seconds);
            for (make, figures) in [("our phone", &ours), ("baresip", &peer)] {
                // Cheap because nothing was sent is no merit.
                assert!(
                    figures.packets > 45.0,
                    "{make} sent {} packets a second in the call",
                    figures.packets
                );
            }
            (ours, peer)
        })
        .collect()
}

fn of(pairs: &[(Figures, Figures)], pick: fn(&Figures) -> f64) -> Vec<(f64, f64)> {
    pairs.iter().map(|(ours, peer)| (pick(ours), pick(peer))).collect()
}

/// Measures calls of this many seconds.
pub fn g711(seconds: u32, count: usize) -> Vec<Row> {
    let found = pairs(Codec::Pcmu, seconds, count);
    let ours = |pick: fn(&Figures) -> f64| found.iter().map(|(ours, _)| pick(ours)).collect::<Vec<_>>();
    vec![
        Row::of_pairs(
            "3",
            "RSS in a G.711 call",
            "MiB",
            "baresip",
            Goal::OfPeer(0.8),
            &of(&found, |f| f.memory),
        ),
        Row::of_pairs(
            "4",
            "G.711 call: CPU a minute, whole process",
            "s",
            "baresip",
            Goal::OfPeer(0.5),
            &of(&found, |f| f.processor),
        ),
        Row::alone("4", "the same, on its own", "s", Goal::AtMost(0.3), ours(|f| f.processor)),
        Row::of_pairs(
            "6",
            "INVITE to 200, auto-answer",
            "ms",
            "baresip",
            Goal::OfPeer(1.0),
            &of(&found, |f| f.invite_to_200),
        ),
        Row::of_pairs(
            "6",
            "ACK to first RTP",
            "ms",
            "baresip",
            Goal::AtMost(20.0),
            &of(&found, |f| f.ack_to_packet),
        ),
    ]
}

/// The same for Opus at 24 kbit/s, and what is left of it without libopus' own share.
pub fn opus(seconds: u32, count: usize) -> Vec<Row> {
    let found = pairs(Codec::Opus, seconds, count);
    let own: Vec<f64> = (0..3).map(|_| libopus()).collect();
    let own = median(own);
    let rest = found.iter().map(|(ours, _)| ours.processor - own).collect();
    vec![
        Row::of_pairs(
            "5",
            "Opus call, 24 kbit/s: CPU a minute, whole process",
            "s",
            "baresip",
            Goal::OfPeer(0.85),
            &of(&found, |f| f.processor),
        ),
        Row::alone("5", "libopus' own part: 16 kHz mono, both directions", "s", Goal::Told, vec![own]),
        Row::alone("5", "Opus call without it (half of pjsua's lower rest)", "s", Goal::AtMost(0.165), rest),
        Row::of_pairs(
            "6",
            "Opus: INVITE to 200, auto-answer",
            "ms",
            "baresip",
            Goal::OfPeer(1.0),
            &of(&found, |f| f.invite_to_200),
        ),
    ]
}

/// Processor seconds of our own libopus for a minute of speech, encoded and decoded.
fn libopus() -> f64 {
    let folder = Folder::new("bench-opus");
    let samples = speech::samples(&folder, Codec::Opus.rate(), 0, 20);
    let ids = [std::process::id()];
    let (spent, _, _) = processes::over(&ids, || {
        let payloads: Vec<_> = Codec::Opus.encode(&samples, 0).into_iter().map(Some).collect();
        std::hint::black_box(Codec::Opus.decode(&payloads))
    });
    spent * 3.0
}
