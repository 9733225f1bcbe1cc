//! How a request is turned away: a code, and what else its answer says.

use core::time::Duration;

use wakeline_flow::FlowInfo;
use wakeline_sip_message::{Message, Name};

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

    /// Over UDP, where the sender's address may be forged, an answer of more than one and a half requests would serve an
    /// attacker (class S28). Of several challenges the last, which most phones know, is then enough; no request that a
    /// phone really sends is as short as that.
    pub(crate) fn in_measure(mut self, flow: &FlowInfo, request: &Message) -> Refused {
        let challenge =
            |(name, _): &(Name, String)| matches!(name, Name::WwwAuthenticate | Name::ProxyAuthenticate);
        let repeated = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq];
        let repeated =
            repeated.into_iter().flat_map(|name| request.headers(name)).map(|value| LINE + value.len());
        let own: usize = ADDED + repeated.sum::<usize>();
        let too_large = |refused: &Refused| {
            let lines = refused.headers.iter().map(|(name, value)| name.as_str().len() + 4 + value.len());
            (own + lines.sum::<usize>()) * 2 > request.len() * 3
        };
        while !flow.transport.is_reliable()
            && self.headers.iter().filter(|one| challenge(one)).count() > 1
            && too_large(&self)
            && let Some(first) = self.headers.iter().position(challenge)
        {
            self.headers.remove(first);
        }
        self
    }
}

/// The longest name of the lines that an answer repeats, with what stands around a value.
const LINE: usize = "Call-ID: \r\n".len();
/// What an answer has more than its request: the status line, a tag, the source's address and port in Via.
const ADDED: usize = 150;
