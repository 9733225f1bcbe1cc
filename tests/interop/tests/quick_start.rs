//! The README's quick start of the gateway, followed word by word, and the command lines of its service files.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use wakeline_interop::phone::program;
use wakeline_interop::place::{Folder, Process, in_own_network, wait_until};

/// A file of the project.
fn text(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the project's folder");
    std::fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The commands of a section's blocks, without their comments.
fn commands(section: &str) -> Vec<String> {
    let readme = text("README.md");
    let section = readme.split(section).nth(1).expect("the section").split("\n## ").next().unwrap_or("");
    let blocks = section.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks.flat_map(str::lines);
    lines
        .map(|line| line.split('#').next().unwrap_or("").trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// A command line as a person's shell runs it, in this folder.
fn shell(folder: &Folder, line: &str) -> Command {
    let beside = program().parent().expect("a folder").display().to_string();
    let path = format!("{beside}:{}", std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(format!("exec {line}")).env("PATH", path).current_dir(folder.as_path());
    shell
}

#[test]
fn the_readme_is_followed_word_by_word() {
    if !in_own_network("the_readme_is_followed_word_by_word") {
        return;
    }
    let folder = Folder::new("quick-start");
    let mut gateway = None;
    let mut said = String::new();
    for line in commands("## The gateway in ten minutes\n") {
        if line.starts_with("wakeline gateway --config") {
            gateway = Some(Process::start(&shell(&folder, &line), &folder, "gateway.log"));
            let log = folder.path("gateway.log");
            wait_until("the gateway listens", || {
                std::fs::read_to_string(&log).is_ok_and(|text| text.contains("admin page at"))
            });
            continue;
        }
        let output = shell(&folder, &line).output().expect("sh");
        said.push_str(&String::from_utf8_lossy(&output.stdout));
        assert!(output.status.success(), "{line}: {said}{}", String::from_utf8_lossy(&output.stderr));
    }
    for wanted in [
        "gateway.toml is written; the account is mia",
        "ok      port         tls",
        "ok      register     doctor@localhost",
        "ok      call         doctor@localhost",
        "nothing is broken",
        "copy.db has",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}");
    }
    // What was copied can be put back once the gateway has ended, and not before.
    let restore = "wakeline gateway restore --config gateway.toml copy.db";
    let refused = shell(&folder, restore).output().expect("sh");
    assert!(!refused.status.success(), "a store in use was replaced");
    drop(gateway);
    let mut restored = shell(&folder, restore);
    wait_until("the copy is put back", || restored.output().is_ok_and(|output| output.status.success()));
    // A second init does not write over the first one's file.
    let again = shell(&folder, "wakeline gateway init --yes").output().expect("sh");
    assert_eq!(again.status.code(), Some(2));
}

#[test]
fn the_service_files_name_command_lines_that_the_program_knows() {
    let mut lines = Vec::new();
    for unit in ["wakeline-gateway.service", "wakeline-relay.service"] {
        let unit = text(&format!("core/gateway/deploy/{unit}"));
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/wakeline "))
            .expect("ExecStart");
        lines.push(line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    }
    let image = text("core/gateway/deploy/Dockerfile");
    let line = image.lines().find_map(|line| line.strip_prefix("CMD ")).expect("CMD");
    lines.push(serde_json::from_str(line).expect("a list"));
    for line in lines {
        // With `--help` behind it a line is read to its end and nothing is started.
        let output = Command::new(program()).args(&line).arg("--help").output().expect("the program");
        assert!(output.status.success(), "{line:?}");
        let known = String::from_utf8_lossy(&output.stdout).into_owned();
        for flag in line.iter().filter(|word| word.starts_with("--")) {
            assert!(known.contains(flag.as_str()), "{flag}: {known}");
        }
    }
}
