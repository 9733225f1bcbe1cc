//! Two `wakeline` processes call each other directly over loopback, without a registrar; the exit codes tell the outcome.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Lines, Write};
use std::net::UdpSocket;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use serde_json::{Value, json};

fn wakeline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wakeline"));
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy().to_ascii_uppercase();
        if name.starts_with("WP_") || name.starts_with("WAKELINE_") {
            command.env_remove(&variable);
        }
    }
    command.stderr(Stdio::inherit());
    command
}

/// A headless phone without an account at any server.
struct Callee {
    child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    port: u16,
}

impl Callee {
    fn start() -> Callee {
        // The port is free now, and nobody else on this machine asks for it by number.
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut child = wakeline()
            .args(["phone", "--headless", "--tone", "440", "--localip", "127.0.0.1", "--username", "mia"])
            .args(["--register", "0", "--transport", "0", "--signalingport", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut callee = Callee { child, input, lines, port };
        callee.wait(|line| line["reply"] == "ready");
        callee
    }

    fn wait(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        for line in self.lines.by_ref() {
            let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if fits(&line) {
                return line;
            }
        }
        panic!("the phone ended");
    }

    fn say(&mut self, command: &Value) {
        writeln!(self.input, "{command}").unwrap();
    }

    /// `wakeline call` to this phone.
    fn caller(&self, further: &[&str]) -> Command {
        let mut caller = wakeline();
        caller
            .args(["call", &format!("sip:mia@127.0.0.1:{}", self.port), "--tone", "700"])
            .args(["--register", "0", "--username", "ben", "--localip", "127.0.0.1", "--transport", "0"])
            .args(further)
            .stdout(Stdio::piped());
        caller
    }

    /// Calls this phone with `wakeline call`; does `command` with the ringing call.
    fn called(&mut self, command: &str, further: &Value) -> Output {
        let caller = self.caller(&["--seconds", "0.5"]).spawn().unwrap();
        let ringing = self.wait(|line| line["event"] == "rings");
        let mut wish = json!({ "command": command, "call": ringing["call"] });
        if let (Some(wish), Some(further)) = (wish.as_object_mut(), further.as_object()) {
            wish.extend(further.clone());
        }
        self.say(&wish);
        caller.wait_with_output().unwrap()
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_call_is_answered_talked_and_hung_up_then_declined_then_busy() {
    let mut callee = Callee::start();
    let answered = callee.called("answer", &json!({}));
    let text = String::from_utf8(answered.stdout).unwrap();
    assert_eq!(answered.status.code(), Some(0), "{text}");
    for part in
        ["calling sip:mia@127.0.0.1", "ringing", "answered", "opus, ", "quality: MOS", "ended: hangup"]
    {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    let ended = callee.wait(|line| line["event"] == "call-ended");
    assert_eq!((&ended["by_peer"], &ended["reason"]), (&true.into(), &"hangup-by-peer".into()));

    assert_eq!(callee.called("decline", &json!({})).status.code(), Some(4));
    assert_eq!(callee.called("reject", &json!({ "code": 486 })).status.code(), Some(3));
    assert_eq!(callee.called("reject", &json!({ "code": 404 })).status.code(), Some(7));
}

#[test]
fn nobody_to_register_at_and_a_wrong_command_line_have_their_codes() {
    // A port that was just free: nothing listens there.
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = wakeline()
        .args(["call", "sip:mia@127.0.0.1", "--no-audio", "--username", "ben", "--transport", "1"])
        .args(["--serveraddress", &format!("127.0.0.1:{port}")])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(6), "{}", String::from_utf8_lossy(&refused.stderr));
    let wrong =
        wakeline().args(["call", "--usernme", "x", "sip:a@b"]).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean --username?"));
}

/// Over UDP it is ICMP that tells (RFC 3261 §18.4), on Linux and Android.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[test]
fn an_address_where_nobody_listens_is_told_at_once_and_with_a_cure() {
    for transport in ["0", "1"] {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let alone = wakeline()
            .args(["call", &format!("sip:mia@127.0.0.1:{port}"), "--no-audio", "--username", "ben"])
            .args(["--register", "0", "--localip", "127.0.0.1", "--transport", transport])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&alone.stdout);
        assert_eq!(alone.status.code(), Some(7), "{text}");
        assert!(text.contains("ended: unreachable") && text.contains("check the address"), "{text}");
    }
}

#[test]
fn nobody_answers_and_a_far_end_that_is_lost_have_their_codes() {
    let mut callee = Callee::start();
    // Rings, and the caller gives up.
    let mut caller = callee.caller(&["--ringtimeoutout", "2000"]).spawn().unwrap();
    callee.wait(|line| line["event"] == "rings");
    assert_eq!(caller.wait().unwrap().code(), Some(5));
    callee.wait(|line| line["event"] == "call-ended");

    // Answers, and its process is killed: nothing comes any more.
    let mut caller = callee.caller(&["--mediatimeout", "4"]).spawn().unwrap();
    let ringing = callee.wait(|line| line["event"] == "rings");
    callee.say(&json!({ "command": "answer", "call": ringing["call"] }));
    callee.wait(|line| line["event"] == "call-changed" && line["media_flows"] == true);
    drop(callee);
    assert_eq!(caller.wait().unwrap().code(), Some(8));
}

#[test]
fn what_is_played_is_there_or_nobody_is_called() {
    let missing = wakeline()
        .args(["call", "sip:mia@127.0.0.1:9", "--register", "0", "--play", "/nowhere/hello.wav"])
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nowhere/hello.wav"));
}
