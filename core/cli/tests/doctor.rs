//! `wakeline doctor` as a person and as a script sees it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn doctor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wakeline")).arg("doctor").args(arguments).output().unwrap()
}

#[test]
fn the_self_test_ends_well_and_prints_the_wake() {
    let output = doctor(&["--self-test"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    for wanted in [
        "ok      tls",
        "ok      credentials",
        "ok      call",
        "held for a sleeping device",
        "push taken by the service",
        "device answered",
        "nothing is broken",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    assert!(!text.contains("BROKEN"), "{text}");
}

#[test]
fn a_script_reads_json() {
    let output = doctor(&["--self-test", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["trace"]["outcome"]["state"], "answered");
    assert!(
        report["findings"].as_array().unwrap().iter().all(|finding| finding["state"] != "broken"),
        "{report}"
    );
}

#[test]
fn a_gateway_that_does_not_run_is_told_with_its_cure() {
    let name = std::env::temp_dir().join(format!("wakeline-doctor-cli-{}.toml", std::process::id()));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("[listen]\nudp = []\ntcp = [\"{free}\"]\ntls = []\nws = []\nwss = []\n");
    std::fs::write(&name, listen).unwrap();
    let output = doctor(&["--config", name.to_str().unwrap()]);
    std::fs::remove_file(&name).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("BROKEN  port") && text.contains("cure: start the gateway"), "{text}");
    assert_eq!(doctor(&[]).status.code(), Some(2));
}
