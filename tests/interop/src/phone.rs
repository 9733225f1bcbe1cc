//! Our phone, as a child process in its headless mode.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kamailio::Kamailio;
use crate::place::{Folder, PATIENCE, Process};

/// The `wakeline` program: the one that `WAKELINE_PROGRAM` names (a bench names the build that it measures), else the one
/// built beside this test, or beside a program that uses these peers.
pub fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("WAKELINE_PROGRAM").map(PathBuf::from) {
        assert!(named.is_file(), "WAKELINE_PROGRAM: {} is not there", named.display());
        return named;
    }
    let test = std::env::current_exe().expect("this test's path");
    let folders = || test.ancestors().skip(1).take(2);
    let found = folders().map(|folder| folder.join("wakeline")).find(|program| program.is_file());
    let program = found.unwrap_or_else(|| folders().last().unwrap_or(&test).join("wakeline"));
    assert!(program.is_file(), "{} is not built: cargo build --release -p wakeline", program.display());
    program
}

/// A running phone.
pub struct Phone {
    process: Process,
    input: ChildStdin,
    lines: Receiver<Value>,
    seen: Vec<Value>,
}

impl Phone {
    /// Starts a phone as this user of this registrar, with further flags, and parameters that go before the account's.
    pub fn at(
        folder: &Folder,
        kamailio: &Kamailio,
        user: &str,
        transport: &str,
        flags: &[&str],
        parameters: &[(&'static str, &str)],
    ) -> Phone {
        let mut account = kamailio.account(user, transport);
        account.retain(|(name, _)| !parameters.iter().any(|(other, _)| other == name));
        account.extend(parameters.iter().map(|&(name, value)| (name, value.to_owned())));
        Phone::start(folder, &format!("phone-{user}.log"), &account, flags)
    }

    /// Starts a phone with these webphone parameters and further flags.
    pub fn start(folder: &Folder, log: &str, parameters: &[(&str, String)], flags: &[&str]) -> Phone {
        let mut command = Command::new(program());
        command.args(["phone", "--headless"]).args(flags);
        for (name, value) in parameters {
            command.arg(format!("--{name}")).arg(value);
        }
        // Who measures a phone sets the level that its users have.
        if std::env::var_os("WAKELINE_LOG").is_none() {
            command.env("WAKELINE_LOG", "debug");
        }
        let (process, input, output) = Process::start_with_both(&command, folder, log);
        let output = BufReader::new(output);
        let (sender, lines) = channel();
        std::thread::Builder::new()
            .spawn(move || {
                for line in output.lines().map_while(Result::ok) {
                    let value = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "garbage": line }));
                    if sender.send(value).is_err() {
                        return;
                    }
                }
            })
            .expect("a thread");
        Phone { process, input, lines, seen: Vec::new() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends one command.
    pub fn command(&mut self, command: &Value) {
        writeln!(self.input, "{command}").expect("the phone takes commands");
    }

    /// Waits for an event that fits, looking at those that came before as well.
    pub fn wait(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(event) = self.seen.iter().find(|event| fits(event)) {
            return event.clone();
        }
        let deadline = Instant::now() + PATIENCE;
        while let Ok(event) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push(event.clone());
            if fits(&event) {
                return event;
            }
        }
        panic!("waited in vain for {what}; seen: {:#?}", self.seen);
    }

    /// Waits until the account stands in this phase.
    pub fn wait_registration(&mut self, phase: &str) -> Value {
        self.wait(&format!("registration {phase}"), |event| {
            event["event"] == "registration-changed" && event["phase"] == phase
        })
    }

    /// Waits until a call stands in this phase, and returns its number.
    pub fn wait_call(&mut self, phase: &str) -> u64 {
        let event = self.wait(&format!("call {phase}"), |event| {
            event["event"] == "call-changed" && event["phase"] == phase
        });
        event["call"].as_u64().expect("a call's number")
    }

    /// Waits for the end of a call and returns its record.
    pub fn wait_end(&mut self) -> Value {
        self.wait("the end of the call", |event| event["event"] == "call-ended")
    }

    /// What was last said of a call.
    pub fn latest_call(&mut self, call: u64) -> Value {
        self.take_in();
        let said =
            self.seen.iter().rev().find(|event| event["event"] == "call-changed" && event["call"] == call);
        said.expect("the call was told of").clone()
    }

    fn take_in(&mut self) {
        while let Ok(event) = self.lines.try_recv() {
            self.seen.push(event);
        }
    }

    /// How many events so far fit.
    pub fn count(&mut self, fits: impl Fn(&Value) -> bool) -> usize {
        self.take_in();
        self.seen.iter().filter(|event| fits(event)).count()
    }

    /// Forgets what was seen, so that the next wait looks at new events only.
    pub fn forget(&mut self) {
        self.take_in();
        self.seen.clear();
    }

    /// The phone's inside now.
    pub fn stats(&mut self) -> Value {
        self.seen.retain(|event| event["reply"] != "stats");
        self.command(&json!({ "command": "stats" }));
        self.wait("stats", |event| event["reply"] == "stats")
    }

    /// Ends the phone in good order.
    pub fn quit(mut self) {
        self.command(&json!({ "command": "quit" }));
        let _ = self.process.ends_within(Duration::from_secs(10));
    }
}
