//! Prints the scoreboard; `cargo xtask bench` builds what it measures and runs it.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "it prints a board"
)]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use wakeline_bench::row::{self, Row};
use wakeline_bench::{
    audio, calls, held, idle, load, parse, proxy, pushes, registering, restart, size, wake,
};

const USAGE: &str = "usage: cargo xtask bench [ROOM…] [--pairs N] [--quick] [--markdown]";

/// How much is measured.
struct Scale {
    pairs: usize,
    quick: bool,
}

impl Scale {
    /// One of two, by whether it shall be quick.
    fn of<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// Rows that are measured together.
struct Room {
    name: &'static str,
    rows: &'static str,
    metric: &'static str,
    /// Programs that must be there, and Debian's packages of them.
    peers: &'static [(&'static str, &'static str)],
    measure: fn(&Scale) -> Vec<Row>,
}

const BARESIP: (&str, &str) = ("/usr/bin/baresip", "baresip");
const KAMAILIO: (&str, &str) = ("/usr/sbin/kamailio", "kamailio");
const KAMAILIO_TLS: (&str, &str) = ("/usr/share/doc/kamailio-tls-modules", "kamailio-tls-modules");
const ESPEAK: (&str, &str) = ("/usr/bin/espeak-ng", "espeak-ng");
const SOX: (&str, &str) = ("/usr/bin/sox", "sox");
const VALGRIND: (&str, &str) = ("/usr/bin/valgrind", "valgrind");

/// The rooms of the gateway, in one word.
const GATEWAY: [&str; 8] = ["load", "proxy", "held", "pushes", "connections", "crowd", "wake", "restart"];

const ROOMS: &[Room] = &[
    Room {
        name: "trips",
        rows: "1",
        metric: "TLS round trips to registered",
        peers: &[BARESIP, KAMAILIO, KAMAILIO_TLS],
        measure: |scale| registering::round_trips(scale.pairs),
    },
    Room {
        name: "start",
        rows: "2",
        metric: "start and memory",
        peers: &[BARESIP],
        measure: |scale| registering::start_and_rest(scale.pairs),
    },
    Room {
        name: "g711",
        rows: "4",
        metric: "a G.711 call",
        peers: &[BARESIP, ESPEAK, SOX],
        measure: |scale| calls::g711(scale.of(10, 4), scale.pairs),
    },
    Room {
        name: "opus",
        rows: "5",
        metric: "an Opus call",
        peers: &[BARESIP, ESPEAK, SOX],
        measure: |scale| calls::opus(scale.of(10, 4), scale.pairs),
    },
    Room {
        name: "idle",
        rows: "7",
        metric: "an hour at rest",
        peers: &[BARESIP],
        measure: |scale| idle::rows(Duration::from_secs(scale.of(260, 30))),
    },
    Room {
        name: "audio",
        rows: "8",
        metric: "quality and delay under jitter and loss",
        peers: &[BARESIP, ESPEAK, SOX],
        measure: |scale| audio::rows(scale.of(3, 1), 25),
    },
    Room {
        name: "load",
        rows: "10",
        metric: "REGISTER, and memory of a binding",
        peers: &[KAMAILIO],
        measure: |scale| load::rows(scale.of(20_000, 2000), scale.pairs),
    },
    Room {
        name: "proxy",
        rows: "11",
        metric: "calls through the server",
        peers: &[KAMAILIO],
        measure: |scale| proxy::rows(scale.of(2000, 500), scale.pairs),
    },
    Room {
        name: "held",
        rows: "12",
        metric: "held INVITEs and their pushes",
        peers: &[KAMAILIO],
        measure: |scale| held::rows(scale.of(20_000, 3000)),
    },
    Room {
        name: "pushes",
        rows: "15",
        metric: "what a push costs its sender",
        peers: &[],
        measure: |scale| pushes::rows(scale.of(20_000, 3000), scale.of(5, 2)),
    },
    Room {
        name: "connections",
        rows: "13",
        metric: "memory of an idle TLS connection",
        peers: &[KAMAILIO, KAMAILIO_TLS],
        measure: |scale| wake::idle(scale.of(2000, 300)),
    },
    Room {
        name: "crowd",
        rows: "13",
        metric: "many TLS connections held",
        peers: &[],
        measure: |scale| wake::crowd(scale.of(20_000, 2000)),
    },
    Room {
        name: "wake",
        rows: "14",
        metric: "CPU of a TLS wake",
        peers: &[KAMAILIO, KAMAILIO_TLS],
        measure: |scale| wake::wakes(scale.of(300, 100), scale.pairs),
    },
    Room {
        name: "restart",
        rows: "12",
        metric: "restart with many bindings",
        peers: &[],
        measure: |scale| restart::rows(scale.of(100_000, 10_000), scale.of(3, 1)),
    },
    Room {
        name: "parse",
        rows: "16",
        metric: "parse of a 1 kB INVITE",
        peers: &[VALGRIND],
        measure: |scale| parse::rows(scale.pairs.max(scale.of(9, 3))),
    },
    Room {
        name: "size",
        rows: "17",
        metric: "size",
        peers: &[("/usr/bin/linphonec", "linphone-cli")],
        measure: |_| size::rows(),
    },
];

/// What the command line asks for.
struct Wish {
    rooms: Vec<&'static Room>,
    scale: Scale,
    markdown: bool,
}

fn read(arguments: impl IntoIterator<Item = String>) -> Result<Wish, String> {
    let mut arguments = arguments.into_iter();
    let (mut rooms, mut pairs, mut quick, mut markdown) = (Vec::new(), None, false, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--markdown" => markdown = true,
            "--pairs" => {
                let number = arguments.next().and_then(|text| text.parse().ok()).filter(|&pairs| pairs > 0);
                pairs = Some(number.ok_or("--pairs wants a number above 0")?);
            }
            "gateway" => rooms.extend(ROOMS.iter().filter(|room| GATEWAY.contains(&room.name))),
            name => {
                let names: Vec<&str> = ROOMS.iter().map(|room| room.name).collect();
                let room = ROOMS.iter().find(|room| room.name == name);
                rooms.push(room.ok_or_else(|| {
                    let all = names.join(" ");
                    format!(
                        "there is no room '{name}'; rooms: {all}; `gateway` is {}\n{USAGE}",
                        GATEWAY.join(" ")
                    )
                })?);
            }
        }
    }
    if rooms.is_empty() {
        rooms = ROOMS.iter().collect();
    }
    Ok(Wish { rooms, scale: Scale { pairs: pairs.unwrap_or(if quick { 2 } else { 5 }), quick }, markdown })
}

fn measured(room: &Room, scale: &Scale) -> Vec<Row> {
    let missing: Vec<&str> = room
        .peers
        .iter()
        .filter(|(file, _)| !Path::new(file).exists())
        .map(|(_, package)| *package)
        .collect();
    if !missing.is_empty() {
        let cure = format!("{} missing: apt-get install {}", missing.join(", "), missing.join(" "));
        return vec![Row::absent(room.rows, room.metric, cure)];
    }
    Row::measured(room.rows, room.metric, || (room.measure)(scale))
}

fn main() -> ExitCode {
    let wish = match read(std::env::args().skip(1)) {
        Ok(wish) => wish,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let Some(program) = std::env::var_os("WAKELINE_PROGRAM") else {
        eprintln!(
            "which program is measured? Run `cargo xtask bench`: it builds wakeline as it ships and names it"
        );
        return ExitCode::from(2);
    };
    // What people run logs warnings; the tests' own default would be measured too.
    if std::env::var_os("WAKELINE_LOG").is_none() {
        eprintln!("WAKELINE_LOG is not set: run `cargo xtask bench`");
        return ExitCode::from(2);
    }
    let Scale { pairs, quick } = wish.scale;
    println!(
        "measured: {} (shipping profile), {pairs} pairs in turns{}",
        program.display(),
        if quick { ", quick: few and short" } else { "" }
    );
    println!(
        "a ratio is ours by the peer's, the median of the pairs'; * marks a goal that the scoreboard of the project's plan does not have\n"
    );
    println!("{}", row::head());
    let began = Instant::now();
    let mut all = Vec::new();
    for room in &wish.rooms {
        eprintln!("[{:>4} s] {}: {}", began.elapsed().as_secs(), room.name, room.metric);
        let rows = measured(room, &wish.scale);
        rows.iter().for_each(|row| println!("{}", row.line()));
        all.extend(rows);
    }
    if wish.markdown {
        println!("\n| # | metric | ours | peer | ratio | goal | verdict |\n|---|---|---|---|---|---|---|");
        all.iter().for_each(|row| println!("{}", row.markdown()));
    }
    let ending = |word: &str| all.iter().filter(|row| row.line().contains(word)).count();
    println!(
        "\n{} rows: {} met, {} missed, {} not measured",
        all.len(),
        ending(" met"),
        ending(" missed by"),
        ending("not measured")
    );
    ExitCode::SUCCESS
}
