//! What a failed request inside a dialog ends (RFC 5057 §5).

/// How far the failure of one request reaches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Effect {
    /// Only the request failed.
    Transaction,
    /// The usage that sent it is over: the call, or the subscription.
    Usage,
    /// The whole dialog is gone, with every usage in it.
    Dialog,
}

/// What the final response `status` to a request inside a dialog ends; `None` stands for no answer at all.
///
/// RFC 5057 §5.1, with one deviation: 480 ends only the transaction here, because proxies that lost a phone's flow for
/// a moment answer so, and the call can be saved by the next request.
pub fn effect_of(status: Option<u16>) -> Effect {
    match status {
        // RFC 5057 §5.1: the resource is gone, or the request can never get through.
        Some(404 | 410 | 416 | 482 | 483 | 484 | 485 | 502 | 604) => Effect::Dialog,
        // RFC 3261 §12.2.1.2; a timeout counts as 408.
        Some(405 | 408 | 481 | 489 | 501) | None => Effect::Usage,
        Some(_) => Effect::Transaction,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_reach() {
        for status in [404, 410, 416, 482, 483, 484, 485, 502, 604] {
            assert_eq!(effect_of(Some(status)), Effect::Dialog, "{status}");
        }
        for status in [405, 408, 481, 489, 501] {
            assert_eq!(effect_of(Some(status)), Effect::Usage, "{status}");
        }
        for status in [400, 401, 403, 407, 415, 420, 422, 480, 486, 488, 491, 500, 503, 504, 600, 603, 606] {
            assert_eq!(effect_of(Some(status)), Effect::Transaction, "{status}");
        }
        assert_eq!(effect_of(None), Effect::Usage);
    }
}
