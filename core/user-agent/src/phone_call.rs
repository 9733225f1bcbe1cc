//! A call as the phone keeps it: the machine, what a person sees of it, and what its media said.

use std::collections::VecDeque;

use wakeline_call::{Call, CallRecord};
use wakeline_clock::Time;
use wakeline_flow::{FlowId, Hop};
use wakeline_push::{ExternalId, WakeId};

use crate::command::MuteDirection;
use crate::snapshot::{AccountId, CallId, CallPhase, CallSnapshot, Direction, Encryption, EndedCall};

/// What stands behind a call.
pub(crate) enum Machine {
    /// We dialled, and the flow for the INVITE is not open yet.
    Preparing {
        /// What was dialled, as a URI.
        target: String,
        /// The URI of the first hop.
        next_hop: String,
    },
    /// The INVITE session, announced ones included.
    Session(Box<Call>),
}

/// One call.
pub(crate) struct PhoneCall {
    /// Its name.
    pub(crate) id: CallId,
    /// Of which account.
    pub(crate) account: AccountId,
    /// What CallKit or Telecom calls it.
    pub(crate) external_id: ExternalId,
    /// The wake that it belongs to.
    pub(crate) wake_id: Option<WakeId>,
    /// Who started it.
    pub(crate) direction: Direction,
    /// What stands behind it.
    pub(crate) machine: Machine,
    /// The flow that its messages use.
    pub(crate) flow: Option<FlowId>,
    /// Where our INVITE may go besides.
    pub(crate) hops: Option<OtherHops>,
    /// Where it stands for a person.
    pub(crate) phase: CallPhase,
    /// The far end's address.
    pub(crate) peer: String,
    /// The far end's name.
    pub(crate) peer_name: Option<String>,
    /// We hold the far end.
    pub(crate) on_hold: bool,
    /// When it began.
    pub(crate) began: Time,
    /// When it was answered.
    pub(crate) answered: Option<Time>,
    /// The person stopped the alerting.
    pub(crate) ignored: bool,
    /// When it is sent elsewhere because nobody answers it (`callforwardonnoanswer`), and where to.
    pub(crate) forward_at: Option<(Time, String)>,
    /// Whether its media is mixed with that of the others in the conference.
    pub(crate) in_conference: bool,
    /// The call that its caller wants to take part in (RFC 3911).
    pub(crate) joins: Option<CallId>,
    /// Digits to send when it is answered (a number of the form `A,B`).
    pub(crate) post_dial: Option<String>,
    /// What the media said.
    pub(crate) media: MediaView,
}

/// The hops of an INVITE that have not been tried (RFC 3263 §4.3).
#[derive(Debug)]
pub(crate) struct OtherHops {
    /// The URI whose hops they are.
    pub(crate) of: String,
    /// Best first.
    pub(crate) left: VecDeque<Hop>,
}

/// The media of a call as its owner sees it.
#[derive(Debug, Default)]
pub(crate) struct MediaView {
    /// Offer and answer are settled.
    pub(crate) agreed: bool,
    /// `Start` was said, and no `Pause` since.
    pub(crate) runs: bool,
    /// The first audio came in.
    pub(crate) flows: bool,
    /// How it is protected.
    pub(crate) encryption: Encryption,
    /// The codec's SDP name.
    pub(crate) codec: Option<String>,
    /// The far end holds us.
    pub(crate) held_by_peer: bool,
    /// Whether both sides know telephone events, once that is settled.
    pub(crate) telephone_events: Option<bool>,
    /// Our microphone is silenced.
    pub(crate) microphone_muted: bool,
    /// Our loudspeaker is.
    pub(crate) speaker_muted: bool,
    /// The ring-back tone plays here.
    pub(crate) ringback: bool,
}

impl MediaView {
    /// Sets what a mute silences.
    pub(crate) fn mute(&mut self, direction: MuteDirection, on: bool) {
        match direction {
            MuteDirection::Both => (self.microphone_muted, self.speaker_muted) = (on, on),
            MuteDirection::Speaker => self.speaker_muted = on,
            MuteDirection::Microphone => self.microphone_muted = on,
        }
    }
}

impl PhoneCall {
    /// The INVITE session, if it has come so far.
    pub(crate) fn session(&mut self) -> Option<&mut Call> {
        match &mut self.machine {
            Machine::Preparing { .. } => None,
            Machine::Session(call) => Some(call),
        }
    }

    /// The INVITE session, to look at.
    pub(crate) fn session_ref(&self) -> Option<&Call> {
        match &self.machine {
            Machine::Preparing { .. } => None,
            Machine::Session(call) => Some(call),
        }
    }

    /// Whether a person is busy with it: a line is taken.
    pub(crate) fn takes_a_line(&self) -> bool {
        match self.phase {
            CallPhase::Announced | CallPhase::Ringing | CallPhase::Ending => false,
            CallPhase::Answering | CallPhase::Dialling | CallPhase::Alerting | CallPhase::Established => true,
        }
    }

    /// What a person sees.
    pub(crate) fn snapshot(&self) -> CallSnapshot {
        CallSnapshot {
            call: self.id,
            account: self.account,
            external_id: self.external_id,
            wake_id: self.wake_id,
            direction: self.direction,
            phase: self.phase,
            peer: self.peer.clone(),
            peer_name: self.peer_name.clone(),
            on_hold: self.on_hold,
            held_by_peer: self.media.held_by_peer,
            microphone_muted: self.media.microphone_muted,
            speaker_muted: self.media.speaker_muted,
            in_conference: self.in_conference,
            joins: self.joins,
            encryption: self.media.encryption,
            codec: self.media.codec.clone(),
            media_flows: self.media.flows,
        }
    }

    /// The record of its end, from the machine's.
    pub(crate) fn ended(&self, record: &CallRecord) -> EndedCall {
        let millis = |from: Time| u64::try_from(record.ended.since(from).as_millis()).unwrap_or(u64::MAX);
        EndedCall {
            last: self.snapshot(),
            reason: record.reason.as_str().to_owned(),
            code: record.code,
            by_peer: record.by_peer,
            total_ms: millis(record.started),
            talk_ms: record.answered.map_or(0, millis),
        }
    }

    /// The record of an end before there was an INVITE.
    pub(crate) fn ended_unsent(&self, reason: &str, code: Option<u16>, now: Time) -> EndedCall {
        EndedCall {
            last: self.snapshot(),
            reason: reason.to_owned(),
            code,
            by_peer: false,
            total_ms: u64::try_from(now.since(self.began).as_millis()).unwrap_or(u64::MAX),
            talk_ms: 0,
        }
    }
}
