//! Why a call ended.

use wakeline_sip_message::{Message, Name, Params};

/// The reason of a call's end, from the view of this phone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndReason {
    /// The person here hung up an answered call.
    LocalHangup,
    /// The far end hung up an answered call; with its Reason text, if it gave one.
    RemoteHangup,
    /// The caller gave up before it was answered: we, or the far end.
    Cancelled,
    /// Incoming: another device of this person answered (Reason `SIP;cause=200`).
    AnsweredElsewhere,
    /// Incoming: another device of this person declined (Reason `SIP;cause=600`, or 603).
    DeclinedElsewhere,
    /// Outgoing: 486 or 600. Incoming: we are busy.
    Busy,
    /// Outgoing: the far end declined (603). Incoming: the person here did.
    Declined,
    /// Another refusal, by the far end or by us.
    Rejected {
        /// The final response's code.
        code: u16,
        /// Its reason phrase.
        reason: String,
    },
    /// Sent elsewhere: by us (302), or by the far end and not followed.
    Redirected {
        /// Where to.
        targets: Vec<String>,
    },
    /// It rang, and nobody answered in time.
    NoAnswer,
    /// Nothing came back at all.
    TimedOut,
    /// Outgoing: no hop that the address leads to could be reached (RFC 3261 §18.4).
    Unreachable,
    /// Incoming: a push told of a call whose INVITE never came.
    NeverArrived,
    /// The network failed: 5xx, no ACK, a message that cannot be used.
    Failed {
        /// The code of the response, if one was given.
        code: Option<u16>,
        /// What happened.
        why: String,
    },
    /// The credentials were refused, or there are none.
    NotAuthorized,
    /// Our media and theirs do not fit, or a protection is missing.
    MediaRefused {
        /// 488 or another code.
        code: u16,
        /// What is missing.
        why: String,
    },
    /// No media for too long.
    MediaTimeout,
    /// Nobody refreshed the session (RFC 4028).
    SessionExpired,
    /// The longest time that a call may last is over.
    CallTimeout,
    /// Another call took over this dialog (RFC 3891).
    Replaced,
    /// The peer does not know this call any more (481), or does not answer in it.
    PeerLost,
}

impl EndReason {
    /// The reason of a final response to our INVITE.
    pub fn of_refusal(response: &Message) -> EndReason {
        let code = response.status().unwrap_or(0);
        match code {
            // RFC 3326: a gateway may tell a hidden cause behind a general code.
            486 | 600 => EndReason::Busy,
            603 => EndReason::Declined,
            408 | 480 => EndReason::NoAnswer,
            487 => EndReason::Cancelled,
            401 | 403 | 407 => match code {
                403 => EndReason::Rejected { code, reason: response.reason().into() },
                _ => EndReason::NotAuthorized,
            },
            488 | 606 => EndReason::MediaRefused { code, why: warning(response) },
            500..=599 => EndReason::Failed { code: Some(code), why: response.reason().into() },
            _ => EndReason::Rejected { code, reason: response.reason().into() },
        }
    }

    /// The reason that a CANCEL or BYE gives for an unanswered incoming call (RFC 3326).
    pub fn of_cancel(cancel: &Message) -> EndReason {
        match sip_cause(cancel) {
            Some(200) => EndReason::AnsweredElsewhere,
            Some(600 | 603) => EndReason::DeclinedElsewhere,
            _ => EndReason::Cancelled,
        }
    }

    /// A word for records and status lines.
    pub fn as_str(&self) -> &'static str {
        match self {
            EndReason::LocalHangup => "hangup",
            EndReason::RemoteHangup => "hangup-by-peer",
            EndReason::Cancelled => "cancelled",
            EndReason::AnsweredElsewhere => "answered-elsewhere",
            EndReason::DeclinedElsewhere => "declined-elsewhere",
            EndReason::Busy => "busy",
            EndReason::Declined => "declined",
            EndReason::Rejected { .. } => "rejected",
            EndReason::Redirected { .. } => "redirected",
            EndReason::NoAnswer => "no-answer",
            EndReason::TimedOut => "timed-out",
            EndReason::Unreachable => "unreachable",
            EndReason::NeverArrived => "never-arrived",
            EndReason::Failed { .. } => "failed",
            EndReason::NotAuthorized => "not-authorized",
            EndReason::MediaRefused { .. } => "media-refused",
            EndReason::MediaTimeout => "media-timeout",
            EndReason::SessionExpired => "session-expired",
            EndReason::CallTimeout => "call-timeout",
            EndReason::Replaced => "replaced",
            EndReason::PeerLost => "peer-lost",
        }
    }

    /// The Reason header field of a BYE for this end, where one helps the far end (RFC 3326).
    pub(crate) fn header(&self) -> Option<(Name, String)> {
        let value = |protocol: &str, cause: u16, text: &str| {
            Some((Name::Reason, format!("{protocol};cause={cause};text=\"{text}\"")))
        };
        match self {
            EndReason::MediaTimeout => value("SIP", 503, "no media"),
            EndReason::MediaRefused { code, .. } => value("SIP", *code, "media not acceptable"),
            EndReason::SessionExpired => value("SIP", 408, "session expired"),
            EndReason::CallTimeout => value("SIP", 408, "call time is over"),
            EndReason::Failed { .. } => value("SIP", 500, "failure"),
            EndReason::Replaced => value("SIP", 200, "replaced"),
            EndReason::LocalHangup
            | EndReason::RemoteHangup
            | EndReason::Cancelled
            | EndReason::AnsweredElsewhere
            | EndReason::DeclinedElsewhere
            | EndReason::Busy
            | EndReason::Declined
            | EndReason::Rejected { .. }
            | EndReason::Redirected { .. }
            | EndReason::NoAnswer
            | EndReason::TimedOut
            | EndReason::Unreachable
            | EndReason::NeverArrived
            | EndReason::NotAuthorized
            | EndReason::PeerLost => None,
        }
    }
}

/// The cause of the Reason value whose protocol is SIP (RFC 3326 §2).
pub(crate) fn sip_cause(message: &Message) -> Option<u16> {
    message.headers(Name::Reason).find_map(|value| {
        let (protocol, params) = value.split_at(value.find(';')?);
        let params = Params::parse(params).ok()?;
        protocol.trim().eq_ignore_ascii_case("SIP").then(|| params.get("cause")?.parse().ok())?
    })
}

fn warning(response: &Message) -> String {
    response.header(Name::Warning).unwrap_or(response.reason()).into()
}
