//! `cargo xtask mobile`: the engine type-checked for Android and iOS, with no SDK.
//!
//! Debian's compiler for browsers brings the source of its standard library, so `cargo check` works for both targets. C
//! parts (ring, Opus, Oboe) are not compiled: stand-ins answer in place of the C compiler, because a check needs no object
//! code. It proves types, not that anything runs there.

use std::path::Path;

use crate::check::step;
use crate::setup::{self, Purpose};
use crate::shell;

const TARGETS: [&str; 2] = ["aarch64-linux-android", "aarch64-apple-ios"];

/// Stand-ins: a compiler that writes an empty file where `-o` says (and names itself when it is only asked to
/// preprocess), an archiver that makes the archives empty, and a cmake that succeeds.
const STAND_INS: [(&str, &str); 3] = [
    ("cc", "for a; do [ \"$a\" = -E ] && echo clang; [ \"$p\" = -o ] && : > \"$a\"; p=$a; done; exit 0"),
    ("ar", "for a; do case $a in *.a) : > \"$a\";; esac; done; exit 0"),
    ("cmake", "exit 0"),
];

/// Checks both targets.
pub(crate) fn run() -> Result<(), String> {
    setup::ensure(Purpose::Check)?;
    let tools = shell::cache().join("stand-ins");
    let broken = |error: std::io::Error| format!("{}: {error}", tools.display());
    std::fs::create_dir_all(tools.join("sdk")).map_err(broken)?;
    for (name, body) in STAND_INS {
        write_script(&tools.join(name), body).map_err(broken)?;
    }
    for target in TARGETS {
        step(target, || check(target, &tools))?;
    }
    Ok(())
}

fn check(target: &str, tools: &Path) -> Result<(), String> {
    let target_dir = shell::target().join("cross");
    let mut cargo = shell::cargo(&[
        "check",
        "--quiet",
        "-Zbuild-std=std,panic_abort",
        "-p",
        "wakeline-engine",
        "--target",
        target,
    ]);
    let variable = target.replace('-', "_");
    cargo
        .arg("--target-dir")
        .arg(target_dir)
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTFLAGS")
        .env(format!("CC_{variable}"), tools.join("cc"))
        .env(format!("CXX_{variable}"), tools.join("cc"))
        .env(format!("AR_{variable}"), tools.join("ar"))
        .env("CMAKE", tools.join("cmake"))
        .env("SDKROOT", tools.join("sdk"));
    shell::run(cargo)
}

fn write_script(path: &Path, body: &str) -> std::io::Result<()> {
    std::fs::write(path, format!("#!/bin/sh\n{body}\n"))?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
}
