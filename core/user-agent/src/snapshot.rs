//! The phone's state as plain data.

use serde::{Deserialize, Serialize};
use wakeline_push::{ExternalId, WakeId};

/// An account of this phone, numbered from 0 in the order of configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccountId(pub u32);

/// A call of this phone: ours, not the wire's; never used again within a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub u64);

/// Who started a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// We dialled.
    Outgoing,
    /// They did.
    Incoming,
}

/// Where a call stands, as a person sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CallPhase {
    /// Incoming: a push has told of it, the INVITE has not come yet.
    Announced,
    /// Incoming: the INVITE is here and this phone alerts.
    Ringing,
    /// Incoming: answered by the person; the INVITE, media or ACK is still to come.
    Answering,
    /// Outgoing: nothing heard but 100 at most.
    Dialling,
    /// Outgoing: the far end alerts (18x).
    Alerting,
    /// Both: talking, or on hold.
    Established,
    /// We asked for the end and wait for it.
    Ending,
}

/// How the media of a call is protected; the numbers are those of `webphone_api.isencrypted`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// -1: no media yet.
    #[default]
    Unknown,
    /// 0: RTP in the clear.
    None,
    /// 2: SRTP.
    Srtp,
}

/// One call. Shells keep the last of these per call and nothing else.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CallSnapshot {
    /// Which call.
    pub call: CallId,
    /// Of which account.
    pub account: AccountId,
    /// The UUID by which CallKit or Telecom knows it.
    pub external_id: ExternalId,
    /// The wake that announced it, or that its INVITE names.
    pub wake_id: Option<WakeId>,
    /// Who started it.
    pub direction: Direction,
    /// Where it stands.
    pub phase: CallPhase,
    /// The far end's address, without parameters.
    pub peer: String,
    /// The far end's display name, if it gave one.
    pub peer_name: Option<String>,
    /// Whether we hold the far end.
    pub on_hold: bool,
    /// Whether the far end holds us.
    pub held_by_peer: bool,
    /// Whether our microphone is muted.
    pub microphone_muted: bool,
    /// Whether our loudspeaker is muted.
    pub speaker_muted: bool,
    /// Whether it is in the conference.
    #[serde(default)]
    pub in_conference: bool,
    /// The call of ours that the caller wants to take part in (RFC 3911): an answer lets him.
    #[serde(default)]
    pub joins: Option<CallId>,
    /// How media is protected.
    pub encryption: Encryption,
    /// The audio codec in use, by its SDP name.
    pub codec: Option<String>,
    /// Whether media from the far end is playing already, before the answer too.
    pub media_flows: bool,
}

/// How a call ended: the call detail record, exactly one per call.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct EndedCall {
    /// The call's last snapshot.
    pub last: CallSnapshot,
    /// Why it ended, in the words of the status texts: `hangup`, `busy`, `answered-elsewhere`, …
    pub reason: String,
    /// The SIP code that ended it, if one did.
    pub code: Option<u16>,
    /// Who ended it.
    pub by_peer: bool,
    /// From the first sign of the call to its end, in milliseconds.
    pub total_ms: u64,
    /// From answer to end, in milliseconds; zero when it was never answered.
    pub talk_ms: u64,
}

/// Where a registration stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegistrationPhase {
    /// Not asked for, or removed.
    Unregistered,
    /// A REGISTER is on its way.
    Registering,
    /// Bound, with a live flow.
    Registered,
    /// Bound, flow closed on purpose: a push will wake us.
    Suspended,
    /// Refused or unanswered; tried again when `retry_in_ms` says so.
    Failed,
}

/// What became of our wish to be pushed (RFC 8599 §4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PushStatus {
    /// We have no token, or the account does not want push.
    #[default]
    NotAsked,
    /// `Feature-Caps: +sip.pns` named our provider, or the account's `push_mode` does not need it.
    Confirmed,
    /// The 200 said nothing of push: calls come in only while the app is open.
    NotOffered,
    /// 555: the network will not push; registered plainly.
    Refused,
}

/// One account's registration.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RegistrationSnapshot {
    /// Which account.
    pub account: AccountId,
    /// The address of record, without parameters.
    pub address: String,
    /// Where it stands.
    pub phase: RegistrationPhase,
    /// Whether pushes will come.
    pub push: PushStatus,
    /// Seconds until the binding lapses, as granted.
    pub expires_s: Option<u32>,
    /// The SIP code of the failure, if one was given.
    pub code: Option<u16>,
    /// What happened, in a sentence for the person.
    pub text: Option<String>,
    /// Milliseconds until the next try after a failure.
    pub retry_in_ms: Option<u64>,
    /// REGISTER requests that the last success took: 1 means that the stored nonce still held.
    pub round_trips: Option<u32>,
}

/// Everything at one moment.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Every account's registration, in the order of accounts.
    pub registrations: Vec<RegistrationSnapshot>,
    /// Every call that has not ended, oldest first.
    pub calls: Vec<CallSnapshot>,
    /// Open dialogs.
    pub dialogs: usize,
    /// SIP client and server transactions in the table.
    pub transactions: usize,
    /// Timers that are set.
    pub timers: usize,
    /// Open flows.
    pub flows: usize,
}

/// The legs of a wake as the phone sees them, for the wake's timeline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WakeLeg {
    /// The push was handed to us.
    Push,
    /// The flow to the edge is open.
    FlowOpen,
    /// REGISTER left.
    Register,
    /// Its 200 came.
    Registered,
    /// The INVITE came.
    Invite,
    /// 180 left.
    Ringing,
    /// 200 left.
    Answered,
    /// The first audio of the far end was received.
    FirstAudio,
    /// A push came for a call whose end was told before; for every such push. A shell that must report each push ends
    /// what it has reported.
    Over,
}
