//! Bytes read as a script: each byte decides what happens next, and a script that is over says zero.

use core::time::Duration;

pub(crate) struct Script<'a>(&'a [u8]);

/// Steps of one script; more bytes are not read.
const STEPS: usize = 160;

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Script<'a> {
        Script(bytes)
    }

    /// Whether the script itself says one of these words, so that to find it somewhere proves nothing: a fuzzer learns
    /// words from what they are compared with.
    pub(crate) fn says(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.0.windows(word.len()).any(|part| part == word.as_bytes()))
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound.max(1)
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        if from.is_empty() { None } else { Some(from[self.below(from.len())].clone()) }
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Up to `most` bytes, as many as the next byte says.
    pub(crate) fn bytes(&mut self, most: usize) -> &'a [u8] {
        let length = self.below(most + 1).min(self.0.len());
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    pub(crate) fn text(&mut self, most: usize) -> String {
        String::from_utf8_lossy(self.bytes(most)).into_owned()
    }

    /// From nothing to 18 hours, each step of the byte about a tenth more.
    pub(crate) fn span(&mut self) -> Duration {
        Duration::from_millis((1.074_f64.powi(i32::from(self.byte())) - 1.0) as u64)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs `step` until the script is over, but not for ever.
    pub(crate) fn play(&mut self, mut step: impl FnMut(&mut Script<'a>)) {
        for _ in 0..STEPS {
            if self.is_over() {
                return;
            }
            step(self);
        }
    }
}

/// Counts to a bound; past it the machine under test does not come to rest.
pub(crate) struct Bound(u32, &'static str);

impl Bound {
    pub(crate) fn new(steps: u32, what: &'static str) -> Bound {
        Bound(steps, what)
    }

    pub(crate) fn count(&mut self) {
        assert!(self.0 > 0, "no rest: {}", self.1);
        self.0 -= 1;
    }
}
