//! What a call asks of whoever drives it, and what it tells.

use bytes::Bytes;
use wakeline_sip_dialog::DialogId;
use wakeline_sip_message::{Message, Name};
use wakeline_sip_transaction::ServerKey;

use crate::key::RequestId;
use crate::record::CallRecord;

/// One thing to do or to know. Outputs are to be carried out in order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send this request by a new client transaction; whatever comes of it is told by [`Call::handle_response`],
    /// [`Call::handle_timed_out`] or [`Call::handle_transport_failed`]. Credentials known beforehand may be added.
    ///
    /// [`Call::handle_response`]: crate::Call::handle_response
    /// [`Call::handle_timed_out`]: crate::Call::handle_timed_out
    /// [`Call::handle_transport_failed`]: crate::Call::handle_transport_failed
    Send {
        /// Its name; a retry has the same one, and then takes the place of the former attempt.
        id: RequestId,
        /// The request, without Via.
        request: Message,
        /// The URI of the first hop (RFC 3261 §8.1.2), to be resolved by RFC 3263, or served by a live flow there.
        next_hop: String,
    },
    /// Cancel this INVITE (RFC 3261 §9.1); the transaction waits for a provisional response by itself.
    Cancel {
        /// Which INVITE.
        id: RequestId,
        /// Header lines for the CANCEL, such as Reason.
        headers: Vec<(Name, String)>,
    },
    /// Send an ACK to a 2xx, outside of any transaction (RFC 3261 §13.2.2.4).
    Ack {
        /// The ACK, without Via.
        request: Message,
        /// The URI of the first hop.
        next_hop: String,
    },
    /// Send a response by this server transaction. A 2xx to INVITE may be sent several times (§13.3.1.4).
    Respond {
        /// Which transaction.
        key: ServerKey,
        /// The response.
        response: Message,
    },
    /// A request was challenged (401 or 407): answer with [`Call::authorize`](crate::Call::authorize).
    Authorize {
        /// Which request.
        id: RequestId,
        /// The request as it was sent, without Via: method, URI and body are what a digest covers.
        request: Message,
        /// The challenge.
        challenge: Message,
    },
    /// This hop is of no use for the INVITE: answer with [`Call::next_hop`](crate::Call::next_hop) (RFC 3263 §4.3).
    TryNextHop {
        /// Which INVITE.
        id: RequestId,
        /// What happened.
        cause: HopFailure,
    },
    /// Ask the media; one at a time, answered with [`Call::handle_described`](crate::Call::handle_described).
    Describe(Describe),
    /// The last offer, ours or theirs, is void: the former agreement stands (RFC 3261 §14.1).
    Rollback,
    /// Something happened.
    Event(Event),
}

/// Why a hop is given up for an INVITE that nobody has answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HopFailure {
    /// 503 came (RFC 3263 §4.3); with the seconds of Retry-After.
    Unavailable {
        /// For how long the hop is to be left alone.
        retry_after: Option<u32>,
    },
    /// No response came in time (timer B).
    Silent,
    /// The transport failed.
    Unreachable,
}

/// A question to the media. Session descriptions are opaque here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Describe {
    /// What do we offer?
    Offer {
        /// Whether the far end is to be on hold.
        hold: bool,
        /// Whether addresses must be gathered anew.
        fresh: bool,
    },
    /// What do we answer to this offer?
    Answer {
        /// The far end's session description.
        offer: Bytes,
        /// Whether the far end is to stay on hold.
        hold: bool,
    },
    /// The far end answered our offer: does it fit? With forks there may be several answers to one offer, each taking
    /// the place of the one before.
    Conclude {
        /// The far end's session description.
        answer: Bytes,
    },
}

/// What the media answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Described {
    /// To [`Describe::Offer`] and [`Describe::Answer`].
    Description(Bytes),
    /// To [`Describe::Conclude`]: it fits.
    Accepted,
    /// It cannot be.
    Refused {
        /// 488 or another SIP code.
        code: u16,
        /// In words, for Warning.
        why: String,
    },
}

/// What a call tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Incoming: the INVITE is here and stands all checks. If [`Call::intent`](crate::Call::intent) is undecided, alert.
    Arrived {
        /// The dialog that the caller wants to take over (RFC 3891), already checked against nothing: look for the call
        /// and ask its [`Call::may_be_replaced`](crate::Call::may_be_replaced).
        replaces: Option<Replaces>,
        /// The dialog that the caller wants to join (RFC 3911).
        join: Option<DialogId>,
        /// Seconds after which the caller asks us to answer by ourselves (Answer-Mode, RFC 5373; `answer-after`).
        answer_after: Option<u32>,
    },
    /// Outgoing: the far end alerts, or makes progress.
    Progress {
        /// 180 to 199; any other provisional code counts as 183 (RFC 3261 §8.1.3.2).
        code: u16,
        /// Whether to play a ring-back tone here: it alerts and sends no media of its own.
        ringback: bool,
    },
    /// Offer and answer are settled (again): media may run. Before the answer too (early media).
    MediaAgreed,
    /// The call is answered: 2xx sent or received.
    Answered,
    /// The far end has our answer or we have its ACK; nothing of the set-up is open any more.
    Settled,
    /// Our wish to hold or resume, or a moved flow, is agreed.
    Changed {
        /// Whether we hold the far end.
        hold: bool,
    },
    /// Our wish to hold, resume or move was refused; the former agreement stands.
    ChangeRefused {
        /// The code of the refusal; 0 if our own media could not describe it.
        code: u16,
    },
    /// A digit came by INFO.
    Digit(char),
    /// A digit that we sent by INFO was not taken.
    DigitRefused(char),
    /// The far end asks us to call elsewhere (REFER, RFC 3515); it was answered by policy.
    TransferAsked {
        /// Refer-To's URI.
        refer_to: String,
        /// Referred-By, if given.
        referred_by: Option<String>,
        /// Whether we took it on; then [`Call::transfer_progress`](crate::Call::transfer_progress) reports.
        accepted: bool,
    },
    /// A forwarding answer was met (3xx): the new target is called.
    Redirected {
        /// Where the INVITE goes now.
        target: String,
    },
    /// We asked for the end and wait for the far end; media is to stop.
    Ending,
    /// The call is over; exactly once.
    Ended(CallRecord),
}

/// The header field of RFC 3891.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replaces {
    /// The dialog, as this phone sees it.
    pub dialog: DialogId,
    /// Whether only an early dialog may be replaced.
    pub early_only: bool,
}
