//! How a request is turned away: a code, and what else its answer says.

use core::time::Duration;

use wakeline_sip_message::Name;

/// A REGISTER, or another request, that is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    pub(crate) code: u16,
    pub(crate) headers: Vec<(Name, String)>,
}

impl Refused {
    pub(crate) fn code(code: u16) -> Refused {
        Refused { code, headers: Vec::new() }
    }

    /// 423 (RFC 3261 §21.4.17).
    pub(crate) fn brief(min: u32) -> Refused {
        Refused { code: 423, headers: vec![(Name::MinExpires, min.to_string())] }
    }

    /// A table is full.
    pub(crate) fn busy() -> Refused {
        Refused::later(Duration::from_secs(10))
    }

    /// 503 with Retry-After.
    pub(crate) fn later(wait: Duration) -> Refused {
        let seconds = wait.as_millis().div_ceil(1000).max(1);
        Refused { code: 503, headers: vec![(Name::RetryAfter, seconds.to_string())] }
    }
}
