//! Row 15: what a push costs the sender, into a service on loopback that is another process.

use std::path::PathBuf;
use std::process::Command;

use wakeline_interop::place::Folder;

use crate::row::{Goal, OF_B, Row};
use crate::servers::Push;

/// What is said about the goal: ten thousand a second on one core.
const PER_CORE: f64 = 100.0;

/// Sends so many in each of so many turns, over HTTP/2 and TLS.
pub fn rows(count: usize, turns: usize) -> Vec<Row> {
    let program =
        std::env::var_os("WAKELINE_BENCH_PUSH").map(PathBuf::from).expect("run `cargo xtask bench`");
    let folder = Folder::new("bench-push");
    let push = Push::start();
    let account = folder.write("push-account.json", &push.service.service_account_json());
    let authority = folder.write("push-authority.pem", push.service.ca_pem());
    let mut spent = Vec::new();
    for turn in 1..=turns {
        eprintln!("  {count} pushes, turn {turn} of {turns}");
        let output = Command::new(&program)
            .args([&account, &authority])
            .args([&push.service.endpoint(), &count.to_string()])
            .output()
            .expect("the sender starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let figure = text.split(' ').next().and_then(|figure| figure.parse().ok());
        spent.push(figure.unwrap_or_else(|| {
            panic!("the sender failed: {text}{}", String::from_utf8_lossy(&output.stderr))
        }));
    }
    let rates = spent.iter().map(|spent: &f64| 1000.0 / spent).collect();
    vec![
        Row::alone("15", "a push over HTTP/2 and TLS: sender's CPU", "us", Goal::AtMost(PER_CORE), spent)
            .remark(OF_B),
        Row::alone("15", "the same: thousands of pushes a second per core", "k", Goal::AtLeast(10.0), rates)
            .remark(OF_B),
    ]
}
