//! `cargo demo`: installs what is missing, builds the program, runs it.

use std::process::Command;

use crate::setup::{self, Purpose};
use crate::shell;

/// Builds the `wakeline` program and runs its demo with the given arguments.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    shell::run(wakeline(arguments)?)
}

/// One round of the demo, held against what it has to show.
pub(crate) fn once() -> Result<(), String> {
    let printed = shell::output(wakeline(&["--once".into(), "--json".into()])?)?;
    let last = printed.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    println!("{last}");
    judge(last)
}

fn wakeline(arguments: &[String]) -> Result<Command, String> {
    setup::ensure(Purpose::Demo)?;
    let mut command = shell::cargo(&["run", "--quiet", "--release", "-p", "wakeline", "--", "demo"]);
    command.args(arguments.iter().filter(|argument| *argument != "--"));
    Ok(command)
}

/// What the demo promises, read from the JSON object on its last line.
fn judge(line: &str) -> Result<(), String> {
    let shown: serde_json::Value =
        serde_json::from_str(line).map_err(|error| format!("the last line is no JSON: {error}"))?;
    let expect = |what: &str, holds: bool| {
        if holds { Ok(()) } else { Err(format!("the demo shows no {what}: {line}")) }
    };
    expect("push-woken call", shown["woken_by_push"] == true)?;
    expect("single ring", shown["rings"] == 1)?;
    expect("single REGISTER round trip", shown["register_round_trips"] == 1)?;
    expect("wake timeline", shown["legs_ms"].as_object().is_some_and(|legs| legs.len() >= 8))?;
    expect(
        "audio delay",
        shown["audio"]["delay_ms"].as_f64().is_some_and(|delay| (0.0..1000.0).contains(&delay)),
    )?;
    expect(
        "audio similarity",
        shown["audio"]["similarity"].as_f64().is_some_and(|similarity| similarity >= 0.8),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_demo_that_shows_less_is_refused() {
        let legs = r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1}"#;
        let line = |rings: u8, similarity: f64| {
            format!(
                r#"{{"woken_by_push":true,"rings":{rings},"register_round_trips":1,"legs_ms":{legs},"audio":{{"delay_ms":80.5,"similarity":{similarity}}}}}"#
            )
        };
        assert_eq!(judge(&line(1, 0.95)), Ok(()));
        assert!(judge(&line(2, 0.95)).is_err());
        assert!(judge(&line(1, 0.2)).is_err());
        assert!(judge("{}").is_err());
        assert!(judge("no JSON").is_err());
    }
}
