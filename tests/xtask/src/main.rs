//! The project's own tasks: setup, check, layers, verify, demo, bench, fuzz.

fn main() {}
