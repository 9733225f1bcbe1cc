//! The order of reliable provisional responses in one early dialog (RFC 3262 §4).

/// What to do with a reliable provisional response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// The next in order: handle it and send PRACK.
    New,
    /// One that was handled before: the PRACK is on its way, or the transaction repeats it.
    Repeated,
    /// One before it is missing: it must not be acknowledged (§4).
    Early,
}

/// The caller's memory of RSeq numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Provisionals(Option<u32>);

impl Provisionals {
    /// Takes note of a reliable provisional response. The first number is the peer's free choice (§3).
    pub fn hear(&mut self, rseq: u32) -> Heard {
        match self.0 {
            None => {
                self.0 = Some(rseq);
                Heard::New
            }
            Some(last) if rseq <= last => Heard::Repeated,
            Some(last) if last.checked_add(1) == Some(rseq) => {
                self.0 = Some(rseq);
                Heard::New
            }
            Some(_) => Heard::Early,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_next_in_order_is_acknowledged() {
        let mut order = Provisionals::default();
        assert_eq!(order.hear(776), Heard::New);
        assert_eq!(order.hear(776), Heard::Repeated);
        assert_eq!(order.hear(778), Heard::Early);
        assert_eq!(order.hear(777), Heard::New);
        assert_eq!(order.hear(778), Heard::New);
        assert_eq!(order.hear(1), Heard::Repeated);
        let mut last = Provisionals(Some(u32::MAX));
        assert_eq!(last.hear(u32::MAX), Heard::Repeated);
    }
}
