//! What has to be on the machine, and how it gets there.

use std::path::Path;

use crate::shell;

/// What the packages are wanted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// Building the programs and running the demo.
    Demo,
    /// The static checks: the wasm build, licences.
    Check,
    /// The tests with real peers and a real browser.
    Interop,
    /// What only the scoreboard measures against or with.
    Bench,
}

/// A Debian package, and the file that shows that it is there.
struct Package {
    name: &'static str,
    proof: &'static str,
    purpose: Purpose,
}

const fn package(name: &'static str, proof: &'static str, purpose: Purpose) -> Package {
    Package { name, proof, purpose }
}

const PACKAGES: &[Package] = &[
    package("gcc", "/usr/bin/gcc", Purpose::Demo),
    package("cmake", "/usr/bin/cmake", Purpose::Demo),
    package("pkg-config", "/usr/bin/pkg-config", Purpose::Demo),
    package("libasound2-dev", "/usr/include/alsa/asoundlib.h", Purpose::Demo),
    package("espeak-ng", "/usr/bin/espeak-ng", Purpose::Demo),
    package("ca-certificates", "/etc/ssl/certs/ca-certificates.crt", Purpose::Demo),
    package("rustc-web", "/usr/bin/rustc", Purpose::Check),
    package("rust-web-src", "/usr/share/doc/rust-web-src", Purpose::Check),
    package("lld-19", "/usr/bin/wasm-ld-19", Purpose::Check),
    package("kamailio", "/usr/sbin/kamailio", Purpose::Interop),
    package("kamailio-tls-modules", "/usr/share/doc/kamailio-tls-modules", Purpose::Interop),
    package("sip-tester", "/usr/bin/sipp", Purpose::Interop),
    package("baresip", "/usr/bin/baresip", Purpose::Interop),
    package("linphone-cli", "/usr/bin/linphonec", Purpose::Interop),
    package("sipvicious", "/usr/bin/svwar", Purpose::Interop),
    package("redis-server", "/usr/bin/redis-server", Purpose::Interop),
    package("sox", "/usr/bin/sox", Purpose::Interop),
    package("iproute2", "/usr/sbin/ip", Purpose::Interop),
    package("openssl", "/usr/bin/openssl", Purpose::Interop),
    package("chromium", "/usr/bin/chromium", Purpose::Interop),
    package("libsofia-sip-ua-dev", "/usr/include/sofia-sip-1.12/sofia-sip/sip.h", Purpose::Bench),
    package("libosip2-dev", "/usr/include/osipparser2/osip_parser.h", Purpose::Bench),
    package("libre-dev", "/usr/include/re/re.h", Purpose::Bench),
    package("valgrind", "/usr/bin/valgrind", Purpose::Bench),
    package("python3-venv", "/usr/share/doc/python3-venv", Purpose::Bench),
    package("python3-dev", "/usr/share/doc/python3-dev", Purpose::Bench),
];

/// Installs what is missing for the purposes named on the command line.
pub(crate) fn run(arguments: &[String]) -> Result<(), String> {
    let purposes: &[Purpose] = match arguments {
        [] => &[Purpose::Demo, Purpose::Check, Purpose::Interop, Purpose::Bench],
        [flag, purpose] if flag == "--for" => match purpose.as_str() {
            "demo" => &[Purpose::Demo],
            "check" => &[Purpose::Demo, Purpose::Check],
            "verify" => &[Purpose::Demo, Purpose::Check, Purpose::Interop],
            "bench" => &[Purpose::Demo, Purpose::Interop, Purpose::Bench],
            other => return Err(format!("'{other}' is none of demo, check, verify, bench")),
        },
        _ => return Err("usage: cargo xtask setup [--for demo|check|verify|bench]".into()),
    };
    for &purpose in purposes {
        ensure(purpose)?;
    }
    println!("everything needed is installed");
    Ok(())
}

/// Sees to it that the packages for `purpose` are there.
pub(crate) fn ensure(purpose: Purpose) -> Result<(), String> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|package| package.purpose == purpose && !Path::new(package.proof).exists())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if !shell::has("apt-get") {
        return Err(format!(
            "missing: {}; this machine has no apt-get: install their equivalents",
            missing.join(", ")
        ));
    }
    if !is_root() {
        return Err(format!("missing: {}; as root, run\n  {by_hand}", missing.join(", ")));
    }
    println!("installing {}", missing.join(" "));
    shell::run(shell::command("apt-get", &["update", "-qq"]))?;
    let mut install = shell::command("apt-get", &["install", "-y", "-qq", "--no-install-recommends"]);
    install.args(&missing).env("DEBIAN_FRONTEND", "noninteractive").stdout(std::process::Stdio::null());
    shell::run(install).map_err(|why| format!("{why}\nby hand: {by_hand}"))
}

/// Installs a program from the Rust registry into the cache folder, once, and returns its path.
pub(crate) fn tool(name: &str, version: &str) -> Result<std::path::PathBuf, String> {
    let folder = shell::cache().join("tools").join(format!("{name}-{version}"));
    let program = folder.join("bin").join(name);
    if !program.is_file() {
        println!("building {name} {version} (once per machine, some minutes)");
        let mut install =
            shell::cargo(&["install", "--quiet", "--locked", name, "--version", version, "--root"]);
        // The tool's build is kept apart from ours, and thrown away after it.
        install.arg(&folder).env_remove("CARGO_TARGET_DIR").env("CARGO_PROFILE_RELEASE_LTO", "off");
        shell::run(install)?;
    }
    Ok(program)
}

fn is_root() -> bool {
    shell::output(shell::command("id", &["-u"])).is_ok_and(|id| id.trim() == "0")
}
