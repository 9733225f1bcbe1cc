//! Messages changed at random: nothing panics, and the laws in `targets` hold. The same seed does the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use wakeline_entropy::Entropy;
use wakeline_vectors::{all, mutate::mutate, targets};

const ROUNDS: u32 = 24_000;
const SEED: u64 = 3261;

fn mutants() -> impl Iterator<Item = Vec<u8>> {
    let vectors: Vec<_> = all().collect();
    let mut entropy = Entropy::from_number(SEED);
    let count = u32::try_from(vectors.len()).unwrap();
    (0..ROUNDS).map(move |_| {
        let one = vectors[entropy.below(count) as usize];
        let other = vectors[entropy.below(count) as usize];
        mutate(one.bytes, other.bytes, &mut entropy)
    })
}

#[test]
fn mutated_messages_never_panic() {
    for bytes in mutants() {
        let outcome = std::panic::catch_unwind(|| targets::message(&bytes));
        assert!(outcome.is_ok(), "{}", bytes.escape_ascii());
    }
}

#[test]
fn mutated_streams_frame_the_same_in_any_pieces() {
    for bytes in mutants().take(6_000) {
        targets::framer(&bytes);
    }
}

#[test]
fn mutated_values_never_panic() {
    for bytes in mutants().take(8_000) {
        let text = String::from_utf8_lossy(&bytes);
        for line in text.lines() {
            targets::uri(line.split_once(": ").map_or(line, |(_, value)| value).as_bytes());
            targets::uri(line.split(['<', '>']).nth(1).unwrap_or("").as_bytes());
        }
    }
}

#[test]
fn mutated_multiparts_never_panic() {
    let body = b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b\r\nContent-Type: multipart/mixed;boundary=bb\r\n\r\n--bb\r\n\r\n\
y\r\n--bb--\r\n--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--\r\n";
    let mut entropy = Entropy::from_number(SEED);
    for _ in 0..8_000 {
        targets::multipart(&mutate(body, body, &mut entropy));
    }
}
