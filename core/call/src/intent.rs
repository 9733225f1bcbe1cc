//! What the person wants of an incoming call, beside what the protocol has come to.

use crate::end::EndReason;

/// The person's wish. It may stand before the INVITE is there: "answered before the INVITE arrived" is an ordinary
/// state.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Intent {
    /// None yet: alert.
    #[default]
    Undecided,
    /// Answer, as soon as it can be done.
    Accept,
    /// Refuse, as soon as it can be done.
    Decline(Refusal),
}

/// How an incoming call is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// 603: on every device of this person.
    Everywhere,
    /// 486: this phone is busy.
    Busy,
    /// Another code, 400 to 699.
    Code(u16),
    /// 302: call there instead.
    Forward {
        /// The URI.
        to: String,
    },
}

impl Refusal {
    /// The status code.
    pub fn code(&self) -> u16 {
        match self {
            Refusal::Everywhere => 603,
            Refusal::Busy => 486,
            Refusal::Code(code @ 400..=699) => *code,
            // Nothing below 400 refuses, and 3xx needs a target.
            Refusal::Code(_) => 480,
            Refusal::Forward { .. } => 302,
        }
    }

    pub(crate) fn reason(&self) -> EndReason {
        match self {
            Refusal::Everywhere | Refusal::Code(603) => EndReason::Declined,
            Refusal::Busy | Refusal::Code(486 | 600) => EndReason::Busy,
            Refusal::Code(408 | 480) => EndReason::NoAnswer,
            Refusal::Code(_) => {
                let code = self.code();
                EndReason::Rejected { code, reason: wakeline_sip_message::reason::usual(code).into() }
            }
            Refusal::Forward { to } => EndReason::Redirected { targets: vec![to.clone()] },
        }
    }
}

/// Where an incoming call stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IncomingState {
    /// A push has told of it; the INVITE is awaited until the deadline.
    Announced {
        /// When the wait is over.
        deadline: wakeline_clock::Time,
    },
    /// The INVITE is here.
    Ringing,
    /// It is to be answered: our media, a PRACK or the ACK is awaited.
    Answering,
    /// The far end has acknowledged our answer.
    Established,
    /// It is being ended.
    Ending,
    /// It is over.
    Ended,
}
