//! Messages changed at random, the same for the same seed.

use wakeline_entropy::Entropy;

/// Pieces that parsers trip over.
const PIECES: [&[u8]; 32] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\r\n ",
    b"\0",
    b"\"",
    b"\\",
    b"\\\"",
    b"<",
    b">",
    b"<sip:",
    b",",
    b";",
    b";;",
    b"=",
    b"?",
    b"&",
    b"@",
    b":",
    b"[",
    b"]",
    b"[::",
    b"%",
    b"%00",
    b"%0d%0a",
    b"\xff\xfe",
    b"\xc3\xa9",
    b"--",
    b"*",
    b"4294967296",
    b"Content-Length: 5\r\n",
];

/// Changes a message in one to eight places: bytes flipped, pieces put in, ranges cut out, doubled, moved, or taken from
/// `other`.
pub fn mutate(message: &[u8], other: &[u8], entropy: &mut Entropy) -> Vec<u8> {
    let mut bytes = message.to_vec();
    let mut below = |limit: usize| entropy.below(u32::try_from(limit.max(1)).unwrap_or(u32::MAX)) as usize;
    for _ in 0..=below(8) {
        let at = below(bytes.len() + 1);
        let to = (at + below(40)).min(bytes.len());
        match below(7) {
            0 => {
                let bit = below(8);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            1 => drop(bytes.splice(at..at, PIECES[below(PIECES.len())].iter().copied())),
            2 => drop(bytes.splice(at..to, [])),
            3 => {
                let range = bytes[at..to].to_vec();
                drop(bytes.splice(at..at, range));
            }
            4 => {
                let range: Vec<u8> = bytes.splice(at..to, []).collect();
                let there = below(bytes.len() + 1);
                drop(bytes.splice(there..there, range));
            }
            5 => {
                let from = below(other.len() + 1);
                let until = (from + below(80)).min(other.len());
                drop(bytes.splice(at..at, other[from..until].iter().copied()));
            }
            _ => bytes.truncate(bytes.len() - below(bytes.len() / 8 + 1)),
        }
    }
    bytes
}
