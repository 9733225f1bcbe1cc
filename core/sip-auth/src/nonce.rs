//! Nonces that prove their own origin, and the memory of their uses.
//!
//! A nonce is its time of making, a serial number and a keyed hash of both (RFC 7616 §5.4 leaves the form to the
//! server). So a nonce that nobody used costs no memory; one that was used is remembered with its highest count.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wakeline_clock::WallTime;

use crate::digest::same;

const MAC: usize = 12;
/// How far in the future a nonce may have been made: the wall clock was put back meanwhile (fault F10).
const AHEAD: u64 = 24 * 3600 * 1000;

/// When a nonce was made, and which of those it was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) at: u64,
    pub(crate) serial: u32,
}

/// What becomes of one use of a nonce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    /// The first with this count.
    New(Made),
    /// Not one of ours, too old, or forgotten.
    Stale,
    /// This count, or a higher one, was used before.
    Again,
}

/// The highest count of every nonce in use, with a cap (class S14). It can outlive the process: without it, a restart
/// would let captured requests pass once more (class S17), so nonces of before are stale then.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReplayMemory {
    used: Vec<(Made, u32)>,
    floor: u64,
}

/// One use of a nonce, to be told to whoever accepts the same nonces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NonceUse {
    made: Made,
    count: u32,
}

impl NonceUse {
    /// The nonce's own 12 bytes: no other nonce under the same key has them.
    pub fn name(&self) -> [u8; 12] {
        named(self.made)
    }

    /// Whether the nonce was used before: whoever does so keeps its nonces.
    pub const fn is_repeated(&self) -> bool {
        self.count > 1
    }

    pub(crate) const fn of(made: Made, count: u32) -> NonceUse {
        NonceUse { made, count }
    }
}

fn named(made: Made) -> [u8; 12] {
    let mut name = [0; 12];
    name[..8].copy_from_slice(&made.at.to_be_bytes());
    name[8..].copy_from_slice(&made.serial.to_be_bytes());
    name
}

pub(crate) struct Nonces {
    mac: Mac,
    lifetime: u64,
    cap: usize,
    serial: u32,
    used: BTreeMap<Made, u32>,
    /// Uses of nonces made at or before this moment may have been forgotten.
    floor: u64,
}

impl Nonces {
    pub(crate) fn new(key: [u8; 32], lifetime: u64, cap: usize, started: WallTime) -> Nonces {
        Nonces {
            mac: Mac::new(&key),
            lifetime,
            cap: cap.max(1),
            serial: 0,
            used: BTreeMap::new(),
            floor: started.0.saturating_sub(1),
        }
    }

    pub(crate) fn export(&self) -> ReplayMemory {
        let used = self.used.iter().map(|(made, count)| (*made, *count)).collect();
        ReplayMemory { used, floor: self.floor }
    }

    pub(crate) fn import(&mut self, memory: ReplayMemory) {
        self.used = memory.used.into_iter().collect();
        self.floor = memory.floor;
    }

    /// The serial number that the next nonce follows. Whoever shares a key with others begins at a place of its own.
    pub(crate) fn begin_at(&mut self, serial: u32) {
        self.serial = serial;
    }

    /// A use somewhere else: this count and those below are spent here too.
    pub(crate) fn note(&mut self, now: WallTime, seen: NonceUse) {
        let highest = self.used.entry(seen.made).or_default();
        *highest = seen.count.max(*highest);
        self.forget(now);
    }

    pub(crate) fn make(&mut self, now: WallTime) -> String {
        self.serial = self.serial.wrapping_add(1);
        let mut bytes = [0; 12 + MAC];
        bytes[..12].copy_from_slice(&named(Made { at: now.0, serial: self.serial }));
        let mac = self.mac.of(&bytes[..12]);
        bytes[12..].copy_from_slice(&mac[..MAC]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(&self, nonce: &str) -> Option<Made> {
        // Longer than any of ours is not even decoded.
        let bytes = if nonce.len() <= 64 { URL_SAFE_NO_PAD.decode(nonce).ok()? } else { return None };
        let (head, mac) = bytes.split_at_checked(12)?;
        if !same(&self.mac.of(head)[..MAC], mac) {
            return None;
        }
        let at = u64::from_be_bytes(head.get(..8)?.try_into().ok()?);
        let serial = u32::from_be_bytes(head.get(8..)?.try_into().ok()?);
        Some(Made { at, serial })
    }

    /// One use with a count; without qop there is none, and every use is the first and only one.
    pub(crate) fn use_once(&mut self, now: WallTime, nonce: &str, count: u32) -> Use {
        let Some(made) = self.read(nonce) else { return Use::Stale };
        if made.at.saturating_add(self.lifetime) < now.0 || made.at > now.0.saturating_add(AHEAD) {
            return Use::Stale;
        }
        match self.used.get_mut(&made) {
            Some(highest) if count <= *highest => return Use::Again,
            Some(highest) => *highest = count,
            None if made.at <= self.floor => return Use::Stale,
            None => {
                self.used.insert(made, count);
            }
        }
        self.forget(now);
        Use::New(made)
    }

    /// Old uses go; when there are too many, the oldest, and with them the trust in all nonces of their time.
    fn forget(&mut self, now: WallTime) {
        while let Some((made, _)) = self.used.first_key_value() {
            let expired = made.at.saturating_add(self.lifetime) < now.0;
            if !expired && self.used.len() <= self.cap {
                break;
            }
            if !expired {
                self.floor = self.floor.max(made.at);
            }
            self.used.pop_first();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.used.len()
    }
}

/// HMAC-SHA-256 (RFC 2104) under one key, whose two padded blocks are hashed once.
pub(crate) struct Mac {
    inner: Sha256,
    outer: Sha256,
}

impl Mac {
    pub(crate) fn new(key: &[u8; 32]) -> Mac {
        let begun = |with: u8| {
            let mut block = [with; 64];
            block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
            Sha256::new().chain_update(block)
        };
        Mac { inner: begun(0x36), outer: begun(0x5c) }
    }

    pub(crate) fn of(&self, message: &[u8]) -> [u8; 32] {
        let inner = self.inner.clone().chain_update(message).finalize();
        self.outer.clone().chain_update(inner).finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 24 * 3600 * 1000;

    #[test]
    fn the_keyed_hash_is_hmac() {
        // RFC 4231 §4.2 with its key padded by zeros, which HMAC does itself.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        assert_eq!(
            crate::algorithm::Digits::of(&Mac::new(&key).of(b"Hi There")).as_str(),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
    }

    #[test]
    fn s17_a_count_works_once_and_only_upwards() {
        let mut nonces = Nonces::new([7; 32], 8 * DAY, 10, WallTime(DAY));
        let nonce = nonces.make(WallTime(DAY));
        let mut uses = |count| nonces.use_once(WallTime(2 * DAY), &nonce, count);
        assert!(matches!(uses(1), Use::New(_)));
        assert_eq!(uses(1), Use::Again);
        assert!(matches!(uses(5), Use::New(_)));
        assert_eq!((uses(5), uses(4), uses(0)), (Use::Again, Use::Again, Use::Again));
    }

    #[test]
    fn s17_a_use_elsewhere_is_a_use() {
        let mut here = Nonces::new([7; 32], 8 * DAY, 10, WallTime(DAY));
        let mut there = Nonces::new([7; 32], 8 * DAY, 10, WallTime(DAY));
        there.begin_at(1 << 30);
        let now = WallTime(2 * DAY);
        let nonce = here.make(now);
        assert_ne!(nonce, there.make(now), "two that share a key make no nonce twice");
        let Use::New(made) = here.use_once(now, &nonce, 2) else { panic!("it is new") };
        there.note(now, NonceUse::of(made, 2));
        assert_eq!(
            (there.use_once(now, &nonce, 1), there.use_once(now, &nonce, 2)),
            (Use::Again, Use::Again)
        );
        let Use::New(made) = there.use_once(now, &nonce, 3) else { panic!("a higher count is new") };
        here.note(now, NonceUse::of(made, 3));
        here.note(now, NonceUse::of(made, 1));
        assert_eq!(here.use_once(now, &nonce, 3), Use::Again, "older news take nothing back");
    }

    #[test]
    fn foreign_old_and_future_nonces_are_stale() {
        let mut nonces = Nonces::new([7; 32], DAY, 10, WallTime(DAY));
        let nonce = nonces.make(WallTime(DAY));
        assert_eq!(nonces.use_once(WallTime(2 * DAY + 1), &nonce, 1), Use::Stale);
        let mut other = Nonces::new([8; 32], DAY, 10, WallTime(DAY));
        assert_eq!(other.use_once(WallTime(DAY), &nonce, 1), Use::Stale);
        for bad in ["", "x", "////", &nonce[1..], &"A".repeat(70_000)] {
            assert_eq!(nonces.use_once(WallTime(DAY), bad, 1), Use::Stale);
        }
        let ahead = nonces.make(WallTime(9 * DAY));
        assert_eq!(nonces.use_once(WallTime(DAY), &ahead, 1), Use::Stale);
    }

    #[test]
    fn s17_what_was_forgotten_is_never_new_again() {
        let mut nonces = Nonces::new([7; 32], 8 * DAY, 3, WallTime(0));
        let made: Vec<String> = (1..10).map(|at| nonces.make(WallTime(at))).collect();
        for nonce in &made {
            assert!(matches!(nonces.use_once(WallTime(100), nonce, 1), Use::New(_)));
        }
        assert_eq!(nonces.len(), 3);
        for nonce in &made {
            assert!(!matches!(nonces.use_once(WallTime(100), nonce, 1), Use::New(_)), "used twice");
        }
    }

    #[test]
    fn s17_a_restart_without_memory_makes_old_nonces_stale_and_with_it_keeps_them() {
        let mut first = Nonces::new([7; 32], 8 * DAY, 9, WallTime(0));
        let (used, unused) = (first.make(WallTime(5)), first.make(WallTime(6)));
        first.use_once(WallTime(7), &used, 1);
        let mut blank = Nonces::new([7; 32], 8 * DAY, 9, WallTime(8));
        assert_eq!(blank.use_once(WallTime(9), &used, 1), Use::Stale);
        assert_eq!(blank.use_once(WallTime(9), &unused, 1), Use::Stale);
        let mut told = Nonces::new([7; 32], 8 * DAY, 9, WallTime(8));
        told.import(first.export());
        assert_eq!(told.use_once(WallTime(9), &used, 1), Use::Again);
        assert!(matches!(told.use_once(WallTime(9), &unused, 1), Use::New(_)));
    }
}
