//! Digits that wait to be sent, with their pauses.

use std::collections::VecDeque;
use std::time::Duration;

use wakeline_clock::Time;

/// What a space, and what a comma, waits.
const SPACE: Duration = Duration::from_secs(1);
const COMMA: Duration = Duration::from_secs(2);
/// More than any menu wants.
const MOST: usize = 128;

/// A queue of digits.
#[derive(Debug, Default)]
pub(super) struct Digits {
    waiting: VecDeque<char>,
    until: Option<Time>,
}

impl Digits {
    /// Adds digits; a space or comma is a pause.
    pub(super) fn push(&mut self, digits: &str) {
        let room = MOST.saturating_sub(self.waiting.len());
        self.waiting.extend(digits.chars().take(room));
    }

    /// The digit to press now, given that none is being pressed.
    pub(super) fn next(&mut self, now: Time) -> Option<char> {
        if self.until.is_some_and(|until| now < until) {
            return None;
        }
        self.until = None;
        let digit = self.waiting.pop_front()?;
        let pause = match digit {
            ' ' => SPACE,
            ',' => COMMA,
            digit => return Some(digit.to_ascii_uppercase()),
        };
        self.until = Some(now + pause);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_hold_the_digits_behind_them() {
        let mut digits = Digits::default();
        digits.push("1, a");
        let at = Time::from_millis;
        assert_eq!(digits.next(at(0)), Some('1'));
        assert_eq!(digits.next(at(100)), None, "the comma begins");
        assert_eq!(digits.next(at(2099)), None);
        assert_eq!(digits.next(at(2100)), None, "the space begins");
        assert_eq!(digits.next(at(3100)), Some('A'));
        assert_eq!(digits.next(at(9000)), None);
    }
}
