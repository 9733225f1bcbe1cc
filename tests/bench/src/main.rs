//! Prints the scoreboard: `cargo xtask bench [parse|trips|start|load] [--quick]`.

#![allow(clippy::print_stdout, reason = "it prints a board")]

use wakeline_bench::row::Row;
use wakeline_bench::{load, parse, registering};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let named: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|argument| *argument == name);
    let pairs = if quick { 2 } else { 5 };
    let show = |rows: Vec<Row>| rows.iter().for_each(|row| println!("{}", row.line()));
    println!("{} pairs in turns, medians of the pairs' ratios; a ratio is ours by the peer's", pairs);
    if wanted("trips") {
        show(Row::measured("1", "TLS round trips to registered", || registering::round_trips(pairs)));
    }
    if wanted("start") {
        show(Row::measured("2", "start, memory, rest", || registering::start_and_rest(pairs)));
    }
    if wanted("load") {
        let users = if quick { 1000 } else { 5000 };
        show(Row::measured("10", "REGISTER against Kamailio", || load::registers(users, pairs)));
    }
    if wanted("parse") {
        show(Row::measured("16", "parse of a 1 kB INVITE", || parse::rows(if quick { 5 } else { 21 })));
    }
    if named.is_empty() {
        let not_built = "the bench has no room for it yet";
        for (number, metric) in [
            ("4", "CPU of a G.711 call"),
            ("5", "CPU of an Opus call"),
            ("6", "INVITE to 200, ACK to first RTP"),
            ("7", "packets and wake-ups while suspended"),
            ("8", "PESQ and delay, jitter without loss"),
            ("9", "PESQ at 10 % loss"),
            ("12", "memory per held INVITE"),
            ("16", "parse against sofia-sip, osip2, libre"),
        ] {
            show(vec![Row::absent(number, metric, not_built)]);
        }
        for (number, metric) in [
            ("11", "calls per core"),
            ("14", "CPU of a TLS wake-up"),
            ("15", "INVITE in to push out at 1k/s"),
            ("17", "size for arm64"),
        ] {
            show(vec![Row::absent(number, metric, "not part of this stage")]);
        }
    }
}
