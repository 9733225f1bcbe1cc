//! A restart of the gateway with many bindings: from the program's start until a phone's refresh is answered.

use std::time::Instant;

use wakeline_interop::place::Folder;

use crate::load::Load;
use crate::row::{Goal, OF_B, Row};
use crate::servers::{self, Push};

/// Measures with this many bindings, so often.
pub fn rows(bindings: usize, turns: usize) -> Vec<Row> {
    let folder = Folder::new("bench-restart");
    let push = Push::start();
    let mut server = servers::with_store(&folder, bindings, &push);
    eprintln!("  {bindings} bindings are made");
    let mut load = Load::new(&server, bindings);
    let _ = load.round(true, true);
    let mut users = load.into_users();
    users.truncate(1);
    let mut seconds = Vec::new();
    for turn in 1..=turns {
        eprintln!("  restart {turn} of {turns}");
        // What ends is awaited first: only the start counts.
        server.end();
        let start = Instant::now();
        server = servers::again(&folder, server);
        let mut load = Load::of(users, &server);
        let _ = load.round(false, true);
        seconds.push(start.elapsed().as_secs_f64());
        users = load.into_users();
    }
    let metric = format!("restart with {bindings} bindings: until a refresh is answered");
    vec![Row::alone("12", metric, "s", Goal::AtMost(2.0), seconds).remark(OF_B)]
}
