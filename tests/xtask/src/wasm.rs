//! `cargo xtask wasm`: the phone's machines built for wasm32, and what that build imports.
//!
//! A machine that reads a clock, draws randomness or opens a socket needs the host for it, and in a
//! wasm32-unknown-unknown module a need of the host is an import. So: no imports, no I/O (law 1 of ARCHITECTURE.md).
//! The module is then run under Node.js, where it is installed, to see that the phone it holds really works.

use crate::setup::{self, Purpose};
use crate::shell;

const TARGET: &str = "wasm32-unknown-unknown";

/// Builds `wakeline-purity` and fails when the module imports anything.
pub(crate) fn run() -> Result<(), String> {
    setup::ensure(Purpose::Check)?;
    let folder = shell::target().join("cross");
    let mut build =
        shell::cargo(&["build", "--quiet", "--release", "-p", "wakeline-purity", "--target", TARGET]);
    // Debian's compiler for browsers brings the source of its own standard library; the host's has no wasm32 part.
    build
        .args(["-Zbuild-std=std,panic_abort", "--target-dir"])
        .arg(&folder)
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld-19")
        .env_remove("RUSTFLAGS");
    shell::run(build)?;
    let path = folder.join(TARGET).join("release/wakeline_purity.wasm");
    let module = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let imports = imports(&module).ok_or("the module's import section cannot be read")?;
    if !imports.is_empty() {
        return Err(format!("the machines reach for the host: {}", imports.join(", ")));
    }
    println!("{} bytes, no imports", module.len());
    if !shell::has("node") {
        println!("not run: no node on this machine");
        return Ok(());
    }
    let script = "const m = new WebAssembly.Module(require('fs').readFileSync(process.argv[1]));\
                  const { exports } = new WebAssembly.Instance(m, {});\
                  const sent = exports.register_once(); if (sent < 1) throw new Error('no REGISTER left the phone');\
                  console.log('run under node: a REGISTER of ' + sent + ' bytes');";
    let mut node = shell::command("node", &["-e", script]);
    node.arg(&path);
    shell::run(node)
}

/// The names (`module.field`) that a WebAssembly module imports; `None` when it is no module.
fn imports(module: &[u8]) -> Option<Vec<String>> {
    let mut rest = module.strip_prefix(b"\0asm\x01\0\0\0")?;
    let mut names = Vec::new();
    while let Some((&id, after)) = rest.split_first() {
        rest = after;
        let size = number(&mut rest)?;
        let (mut section, after) = rest.split_at_checked(size)?;
        rest = after;
        const IMPORTS: u8 = 2;
        if id != IMPORTS {
            continue;
        }
        for _ in 0..number(&mut section)? {
            let (module, field) = (name(&mut section)?, name(&mut section)?);
            names.push(format!("{module}.{field}"));
            let (&kind, after) = section.split_first()?;
            section = after;
            // A table and a global have one more byte before their description's numbers.
            match kind {
                0 => drop(number(&mut section)?),
                1 => {
                    section = section.get(1..)?;
                    limits(&mut section)?;
                }
                2 => limits(&mut section)?,
                3 => section = section.get(2..)?,
                _ => return None,
            }
        }
    }
    Some(names)
}

fn limits(bytes: &mut &[u8]) -> Option<()> {
    let has_maximum = number(bytes)? & 1 == 1;
    number(bytes)?;
    if has_maximum {
        number(bytes)?;
    }
    Some(())
}

fn name(bytes: &mut &[u8]) -> Option<String> {
    let length = number(bytes)?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

/// An unsigned LEB128 number of at most 32 bits.
fn number(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0_usize;
    for shift in (0..35).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_imported_clock_is_found() {
        // One type section (empty), one import section: function `env.now` of type 0.
        let module = b"\0asm\x01\0\0\0\x01\x01\x00\x02\x0b\x01\x03env\x03now\x00\x00";
        assert_eq!(imports(module), Some(vec!["env.now".to_owned()]));
    }

    #[test]
    fn a_module_without_imports_has_none_and_garbage_is_no_module() {
        assert_eq!(imports(b"\0asm\x01\0\0\0\x01\x01\x00"), Some(vec![]));
        assert_eq!(imports(b"\0asm\x01\0\0\0\x02\x7f"), None);
        assert_eq!(imports(b"ELF"), None);
    }
}
