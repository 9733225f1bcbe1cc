//! Row 17: how large the programs are, stripped and built as they ship, on this machine's processor.

use std::path::{Path, PathBuf};
use std::process::Command;

use wakeline_interop::phone::program;

use crate::row::{Goal, Row};

const LINPHONE: [&str; 9] = [
    "liblinphone.so.10",
    "libmediastreamer.so.12",
    "libbelle-sip.so.1",
    "libbellesip.so.1",
    "libbctoolbox.so.1",
    "libortp.so.16",
    "liblime.so.0",
    "libbzrtp.so.0",
    "libxerces-c-3.2.so",
];

/// libwebrtc with audio and video, arm64, as published for Android in 2021; it cannot be measured here.
const LIBWEBRTC: f64 = 7.234;

fn megabytes(path: &Path) -> f64 {
    std::fs::metadata(path).map_or(0.0, |metadata| metadata.len() as f64 / 1e6)
}

/// The linker's own list says where libraries are.
fn libraries(wanted: &[&str]) -> Vec<PathBuf> {
    let output = Command::new("ldconfig")
        .arg("-p")
        .output()
        .or_else(|_| Command::new("/sbin/ldconfig").arg("-p").output());
    let list =
        output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned());
    let found = list.lines().filter_map(|line| {
        let (name, path) = line.trim().split_once(' ')?;
        wanted.contains(&name).then(|| PathBuf::from(path.rsplit(' ').next().unwrap_or_default()))
    });
    let mut found: Vec<PathBuf> = found.filter_map(|path| path.canonicalize().ok()).collect();
    found.sort();
    found.dedup();
    found
}

/// Adds up files.
pub fn rows() -> Vec<Row> {
    let whole = megabytes(&program());
    let linphone: f64 = libraries(&LINPHONE).iter().map(|path| megabytes(path)).sum();
    assert!(linphone > 5.0, "linphone's libraries are not installed: apt-get install linphone-cli");
    let baresip = megabytes(Path::new("/usr/bin/baresip"))
        + libraries(&["libre.so.0", "librem.so.0"]).iter().map(|path| megabytes(path)).sum::<f64>();
    let mut rows = Vec::new();
    if let Some(engine) = std::env::var_os("WAKELINE_BENCH_ENGINE").map(PathBuf::from) {
        let engine = megabytes(&engine);
        let by = |against, size, goal| {
            let metric = format!("engine alone (no gateway, no screen), x86-64, by {against}");
            Row::of_pairs("17", metric, "MB", against, goal, &[(engine, size)])
        };
        rows.push(by("liblinphone", linphone, Goal::OfPeer(0.2)));
        rows.push(by("libwebrtc", LIBWEBRTC, Goal::OfPeer(0.35)).remark("(a fixed figure)"));
        rows.push(by("baresip+libre", baresip, Goal::Told).remark("(no TLS, Opus)"));
        rows.push(Row::alone(
            "17",
            "engine alone, x86-64 (goal is arm64's)",
            "MB",
            Goal::AtMost(2.5),
            vec![engine],
        ));
    }
    rows.push(Row::of_pairs(
        "17",
        "wakeline, all of it: phone, gateway, screen, x86-64",
        "MB",
        "liblinphone",
        Goal::Told,
        &[(whole, linphone)],
    ));
    rows
}
