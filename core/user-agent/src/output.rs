//! What passes between the user agent and the I/O around it: requests out, facts in.

use core::net::IpAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wakeline_flow::{FlowId, FlowInfo, Hop, Received, Transmit};
use wakeline_settings::provisioning::{Answer as ProviderAnswer, FetchFailure, Verdict, Wish};
use wakeline_sip_resolve::{Answer, Question};

use crate::command::MuteDirection;
use crate::snapshot::{AccountId, CallId, Encryption};

/// Something the I/O is to do. Outputs are to be carried out in order.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Open a flow under this name; answered by [`Input::Opened`] or [`Input::Closed`].
    Open {
        /// The flow's name, chosen by the user agent.
        flow: FlowId,
        /// Where it leads.
        hop: Hop,
        /// Whose it is: the account's own address and its trust hold.
        account: AccountId,
    },
    /// Send bytes. What is sent on a flow that is still opening waits for it (and may go as TLS early data).
    Send(Transmit),
    /// Close a flow in good order (TLS close_notify); not answered.
    Close(FlowId),
    /// Look a name up; answered by [`Input::Resolved`].
    Resolve(Question),
    /// Do something with a call's media.
    Media {
        /// Which call.
        call: CallId,
        /// What.
        request: MediaRequest,
    },
    /// Ask a provider over HTTPS, or check an Ed25519 signature (RFC 8032); answered by [`Input::Provision`].
    Provision {
        /// Of which account: its own trust holds.
        account: AccountId,
        /// For which run.
        run: u64,
        /// What.
        wish: Wish,
    },
    /// An account's settings are others now ([`UserAgent::settings`](crate::UserAgent::settings)): by a provider.
    Configure(AccountId),
    /// Keep this for the next start of the process, in place of what was kept under the same key. It holds secrets:
    /// the store must be private to the app.
    Remember {
        /// Which record: `account-0`, `provision-0` and so on, `addresses`, `instance`.
        key: String,
        /// The record, text; empty removes it.
        record: wakeline_secret::Secret,
    },
}

/// What a call wants of its media. The user agent knows no codec: session descriptions are opaque to it.
#[derive(Clone, PartialEq, Debug)]
pub enum MediaRequest {
    /// Describe what we offer; answered by [`Input::Described`]. `hold` asks for the account's hold direction.
    Offer {
        /// Whether we put the far end on hold.
        hold: bool,
        /// Whether addresses must be gathered anew (the network changed).
        fresh: bool,
        /// How the description will travel.
        way: Way,
    },
    /// Answer this offer; answered by [`Input::Described`].
    Answer {
        /// The far end's session description.
        offer: Bytes,
        /// Whether we keep the far end on hold.
        hold: bool,
        /// How the description will travel.
        way: Way,
    },
    /// The far end answered our offer; a bad answer comes back as [`MediaAnswer::Refused`], a good one as
    /// [`MediaAnswer::Accepted`].
    Conclude {
        /// The far end's session description.
        answer: Bytes,
    },
    /// Our offer was refused or is void: the former agreement stands.
    Rollback,
    /// Media may run: it is negotiated, and the shell has granted audio. Sent once per change of either.
    Start,
    /// Audio is not granted any more: hold devices, keep the session.
    Pause,
    /// Play the ring-back tone locally, or stop it.
    Ringback {
        /// On or off.
        on: bool,
    },
    /// Mute or unmute.
    Mute {
        /// What.
        direction: MuteDirection,
        /// On or off.
        on: bool,
    },
    /// Mix this call with the others of which the same was said: each hears all the others, and us.
    Conference {
        /// In or out.
        on: bool,
    },
    /// Send digits as RFC 4733 events.
    Dtmf {
        /// Digits; a space or comma is a pause.
        digits: String,
    },
    /// The call is over: free everything.
    Stop,
}

/// The flow on which a session description travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Way {
    /// Our address on it: where media is to come in, unless the media side knows better.
    pub local: IpAddr,
    /// Whether it is under TLS: keys must not travel in the clear (class S3).
    pub secure: bool,
    /// Whose call it is: the account's media settings hold.
    pub account: AccountId,
}

/// Why a flow could not be opened or did not last.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlowFailure {
    /// Nobody listens there, or no route.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The certificate is not the one that was asked for (expired, other name, unknown issuer, pin).
    CertificateRefused,
    /// The TLS or WebSocket handshake failed for another reason.
    HandshakeFailed,
    /// The far end closed it.
    ClosedByPeer,
    /// The far end sent what cannot be framed.
    Garbled,
}

/// A fact from the I/O.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// A flow asked for by [`Output::Open`] is open, or a peer opened one to us.
    Opened(FlowInfo),
    /// A flow is gone, or could not be opened.
    Closed {
        /// Which.
        flow: FlowId,
        /// Why.
        failure: FlowFailure,
    },
    /// A message, or keep-alive, came in. For UDP the flow may be new: a datagram from an address never seen.
    Received(Received),
    /// The answer to [`Output::Resolve`].
    Resolved(Answer),
    /// The answer to [`MediaRequest::Offer`], [`MediaRequest::Answer`] or [`MediaRequest::Conclude`].
    Described {
        /// Which call.
        call: CallId,
        /// How it went.
        answer: MediaAnswer,
    },
    /// The answer to [`Output::Provision`].
    Provision {
        /// For which run.
        run: u64,
        /// What came of it.
        fact: ProvisionFact,
    },
    /// Something happened in a call's media.
    Media {
        /// Which call.
        call: CallId,
        /// What.
        event: MediaEvent,
    },
}

/// How the media side answered.
#[derive(Clone, PartialEq, Debug)]
pub enum MediaAnswer {
    /// Our offer or answer.
    Description {
        /// The session description to send.
        description: Bytes,
    },
    /// The far end's answer fits.
    Accepted,
    /// It cannot be: no common codec, or a protection that the account demands is missing.
    Refused {
        /// 488 or another SIP code that says why.
        code: u16,
        /// In words, for the Warning header and the person.
        why: String,
    },
}

/// What the media side tells by itself.
#[derive(Clone, PartialEq, Debug)]
pub enum MediaEvent {
    /// What was agreed, whenever it changes.
    Agreed {
        /// The codec's SDP name.
        codec: String,
        /// How it is protected.
        encryption: Encryption,
        /// Whether the far end holds us.
        held_by_peer: bool,
        /// Whether both sides know telephone events (RFC 4733).
        telephone_events: bool,
    },
    /// The first audio of the far end came in.
    Flowing,
    /// A digit came in by RFC 4733.
    Digit(char),
    /// No media for as long as `mediatimeout` allows.
    TimedOut,
    /// Devices or sockets failed for good.
    Failed(String),
}

/// An answer to [`Output::Provision`].
#[derive(Clone, PartialEq, Debug)]
pub enum ProvisionFact {
    /// To [`Wish::Fetch`].
    Answered(Result<ProviderAnswer, FetchFailure>),
    /// To [`Wish::Check`].
    Checked(Verdict),
}
