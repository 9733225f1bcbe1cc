//! What is under way in an answered call, and what is wanted of it (RFC 3264 §4, RFC 3261 §14).

use wakeline_clock::Time;
use wakeline_sip_message::Message;
use wakeline_sip_transaction::ServerKey;

use crate::key::RequestId;

/// The offer/answer exchange of an answered call. There is one at a time (RFC 3264 §4).
#[derive(Clone, Debug)]
pub(crate) enum Exchange {
    /// None is under way.
    Stable,
    /// The 2xx to our INVITE brought an offer; our media is asked for the answer that goes into the ACK.
    OwingAck {
        /// The INVITE.
        invite: Message,
    },
    /// Our media reads the answer that settles the call, or the one of an ACK.
    Reading,
    /// Our 2xx brought our offer; the answer comes in the ACK.
    AwaitingAnswer,
    /// Our media is asked for the offer of a re-INVITE.
    AskingOffer {
        /// What it is for.
        change: Wishes,
    },
    /// Our re-INVITE or UPDATE is out.
    Asked {
        /// Its name.
        id: RequestId,
        /// What it is for.
        change: Wishes,
        /// When an INVITE is given up that has got a provisional response and nothing more.
        until: Option<Time>,
    },
    /// Our media reads the answer to it.
    Concluding {
        /// What it was for.
        change: Wishes,
    },
    /// Our media is asked what to answer to theirs.
    Answering {
        /// Its transaction.
        key: ServerKey,
        /// The request.
        request: Message,
    },
    /// Glare: a pause before the next try (RFC 3261 §14.1).
    BackingOff {
        /// When it is over.
        until: Time,
    },
}

/// What is wanted of the call. Wishes stand until they are met, so that glare loses none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Wishes {
    /// The far end is to be on hold.
    pub(crate) hold: bool,
    /// Our addresses changed: new Contact, new media addresses.
    pub(crate) moved: bool,
    /// The session is to be refreshed.
    pub(crate) refresh: bool,
}
