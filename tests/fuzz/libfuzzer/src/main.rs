//! libFuzzer around the targets of `wakeline-fuzz`.
//!
//! In: the environment's `WAKELINE_FUZZ_TARGET`, read once, and libFuzzer's own arguments. Out: what libFuzzer prints,
//! and a file for an input that broke a law.

#![no_main]

use std::sync::OnceLock;

use wakeline_fuzz::Target;

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

/// The target that the environment names.
fn chosen() -> &'static Target {
    CHOSEN.get_or_init(|| {
        let name = std::env::var("WAKELINE_FUZZ_TARGET").unwrap_or_default();
        wakeline_fuzz::target(&name).unwrap_or_else(|| {
            let names: Vec<&str> = wakeline_fuzz::TARGETS.iter().map(|target| target.name).collect();
            panic!("WAKELINE_FUZZ_TARGET is '{name}'; it is to be one of: {}", names.join(", "))
        })
    })
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (chosen().run)(bytes));
