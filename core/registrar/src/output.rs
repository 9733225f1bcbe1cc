//! What the machine says to its surroundings, and what it is told back.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use wakeline_clock::WallTime;
use wakeline_flow::{FlowId, Transmit};
use wakeline_push::{PushParameters, WakeId, WakeState};
use wakeline_sip_auth::NonceUse;

use crate::account::Account;
use crate::config::NextHop;
use crate::number::{BindingId, HopId, PushKey};
use crate::trace::Trace;

/// One thing to do. Outputs are done in the order in which they are polled: a 200 to a REGISTER and the INVITE right
/// behind it leave in one flight.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes.
    Transmit(Transmit),
    /// Close a flow: it misbehaves, or it was replaced.
    CloseFlow(FlowId),
    /// Open a connection to an upstream's next hop, and keep it open. The result comes back by `handle_hop_opened` or
    /// `handle_hop_failed` under the same number.
    OpenFlow(HopId, NextHop),
    /// Ask a push service. The result comes back by `handle_push_result` under the same key.
    Push(Box<PushRequest>),
    /// The push is no longer wanted; whatever comes back for it is ignored.
    CancelPush(PushKey),
    /// Write this behind; order matters, speed does not.
    Persist(Box<Persist>),
    /// For logs and metrics.
    Trace(Trace),
}

/// One push to one device.
#[derive(Clone, Debug)]
pub struct PushRequest {
    /// Under this name the result is reported.
    pub key: PushKey,
    /// Where to: service, parameter and token.
    pub target: PushParameters,
    /// Why.
    pub purpose: PushPurpose,
    /// The address of record that the device registered, `user@domain`; a log must not show it in clear.
    pub account: String,
    /// The user part of the device's registered Contact, by which a phone with several accounts knows which it is.
    pub contact_user: String,
    /// How long the push is worth delivering. Zero: now or never.
    pub ttl: Duration,
    /// How long the request will be held from now: what the payload says as its `ttl`.
    pub hold: Duration,
    /// 1 for the first, 2 and 3 for the repetitions with the same wake id.
    pub attempt: u8,
    /// The wall clock when it was asked for: the payload's `ts`.
    pub asked_at: WallTime,
}

/// Why a device is to be woken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PushPurpose {
    /// A call is held for it.
    Call {
        /// The identity of the call through all layers.
        wake: WakeId,
        /// The Call-ID on the phone's leg, for clients that show the call under it.
        sip_call_id: String,
        /// Who calls. Encrypt it or leave it out; never into a log.
        caller: Caller,
    },
    /// Another request is held for it.
    Request {
        /// The identity of the request through all layers.
        wake: WakeId,
        /// Its method.
        method: String,
    },
    /// A MESSAGE waits for it: it is fetched by the next REGISTER, whenever that comes. Nothing rings.
    Message {
        /// The identity of the request through all layers.
        wake: WakeId,
    },
    /// Its registration is about to lapse (normal priority, never for a VoIP token).
    Refresh,
}

impl PushPurpose {
    /// The wake that this push belongs to.
    pub fn wake(&self) -> Option<&WakeId> {
        match self {
            PushPurpose::Call { wake, .. }
            | PushPurpose::Request { wake, .. }
            | PushPurpose::Message { wake } => Some(wake),
            PushPurpose::Refresh => None,
        }
    }
}

/// Who calls, as the INVITE says.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// The URI of the From header field, without parameters.
    pub uri: String,
    /// The display name; empty if there is none.
    pub display_name: String,
}

impl core::fmt::Debug for Caller {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Caller(..)")
    }
}

/// What became of a push request. Retries within about three seconds are the sender's; this is its last word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushResult {
    /// Queued by the service. Only a REGISTER proves delivery.
    Accepted,
    /// The token is dead (FCM 404 UNREGISTERED, APNs 410, web push 404/410): drop it. With the instant since when, if
    /// the service tells: a token that was registered later stays.
    Gone {
        /// Since when the token is dead.
        since: Option<WallTime>,
    },
    /// This request was wrong (payload, credentials, topic): no repetition, the token stays, an alarm is due.
    Refused,
    /// The service cannot be reached or has no room now, and the sender's retries are over.
    Unavailable,
}

/// One change for the write-behind store.
#[derive(Clone, Debug)]
pub enum Persist {
    /// Insert or replace a binding, by id. A refresh that only moves the expiry a little is not written every time: the
    /// store may be behind by an eighth of a lifetime.
    BindingPut(StoredBinding),
    /// Delete a binding.
    BindingRemoved(BindingId),
    /// A wake began or ended; replaces the earlier state of that wake.
    WakePut(StoredWake),
    /// A wake was taken from two allowances; said only where there are other nodes, which then have it less too.
    WakeSpent {
        /// The digest of the address that was called.
        aor: u64,
        /// The digest of the caller's name, when it was its call.
        caller: Option<u64>,
        /// When.
        at: WallTime,
    },
    /// A use of a nonce, spent at the other nodes too; said only where there are any (class S17).
    NonceUsed {
        /// Which.
        used: NonceUse,
        /// When it may be forgotten.
        until: WallTime,
    },
    /// A wake's memory is over.
    WakeForgotten(WakeId),
    /// Insert or replace a piece of mail, by its name.
    MailPut(StoredMail),
    /// Delete the piece of this name.
    MailRemoved(String),
}

/// A binding as it is stored.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredBinding {
    /// Unique for ever; names handed out to phones stand for it.
    pub id: BindingId,
    /// The address of record, `user@domain`.
    pub aor: String,
    /// The Contact's URI with all its parameters. Holds the push token: a secret.
    pub contact: String,
    /// The Contact's header parameters, without `expires`.
    pub params: String,
    /// Call-ID of the REGISTER.
    pub call_id: String,
    /// CSeq of the REGISTER.
    pub cseq: u32,
    /// Path header values, first hop first, comma separated.
    pub path: String,
    /// When it lapses.
    #[serde(with = "millis")]
    pub expires: WallTime,
    /// When it was last registered.
    #[serde(with = "millis")]
    pub registered: WallTime,
    /// Lifetime in seconds, as granted.
    pub lifetime: u32,
    /// `reg-id`, zero if outbound is not in use (RFC 5626 §4.2).
    pub reg_id: u32,
    /// Whether the push service has told that the token is dead.
    pub token_dead: bool,
    /// Whether a proxy nearer to the device pushes.
    #[serde(default)]
    pub woken_elsewhere: bool,
    /// Whether the device reads `X-Wake-State`.
    pub reads_wake_state: bool,
    /// The node that it was last registered at; empty where there is but one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Whether its device is connected to that node.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub connected: bool,
}

impl core::fmt::Debug for StoredBinding {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("StoredBinding")
            .field("id", &self.id)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// A wake as it is stored, so that a restart does not forget it (row 15 of the race table).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredWake {
    /// Its id.
    pub wake: WakeId,
    /// The address of record that was called.
    pub aor: String,
    /// When it began or ended.
    #[serde(with = "millis")]
    pub at: WallTime,
    /// How it stands. One that is stored as pending when the machine starts has failed, unless another node holds it.
    pub state: WakeState,
    /// The node that holds or held it; empty where there is but one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
    /// Digests, under the nodes' common key, of the devices that know how it ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub knowing: Vec<u64>,
}

/// A device as mail names it: the same in every process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StoredDevice {
    /// Its `+sip.instance`, with the brackets.
    Instance(String),
    /// It has none: its binding.
    Binding(BindingId),
}

/// What a piece of mail is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum StoredWhat {
    /// A MESSAGE.
    Message,
    /// The last NOTIFY of a package outside of a dialog.
    Notice,
    /// The last NOTIFY of a subscription.
    NoticeInDialog,
    /// A call that nobody heard.
    Missed {
        /// Which.
        wake: WakeId,
    },
}

/// A piece of mail as it is stored: a request that waits for devices that sleep.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMail {
    /// Its key. In the order of names they came.
    pub name: String,
    /// The address of record, `user@domain`.
    pub aor: String,
    /// What it is.
    pub what: StoredWhat,
    /// When it came.
    #[serde(with = "millis")]
    pub at: WallTime,
    /// When it is of no use any more.
    #[serde(with = "millis")]
    pub until: WallTime,
    /// The request as it leaves, without Via.
    #[serde(with = "octets")]
    pub request: Vec<u8>,
    /// Who has not got it.
    pub devices: Vec<StoredDevice>,
}

impl core::fmt::Debug for StoredMail {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // What people write to each other is nobody's business.
        f.debug_struct("StoredMail")
            .field("name", &self.name)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

/// Bytes as base64.
mod octets {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Wall time as a number of milliseconds.
mod millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use wakeline_clock::WallTime;

    pub(super) fn serialize<S: Serializer>(time: &WallTime, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(time.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WallTime, D::Error> {
        u64::deserialize(deserializer).map(WallTime)
    }
}

/// What the store held when the machine starts.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The accounts.
    pub accounts: Vec<Account>,
    /// The bindings.
    pub bindings: Vec<StoredBinding>,
    /// The wakes.
    pub wakes: Vec<StoredWake>,
    /// The mail, in any order.
    pub mail: Vec<StoredMail>,
    /// The uses of nonces, where there are other nodes.
    pub nonces: Vec<NonceUse>,
}

/// How many of everything there are: all zero (but for bindings and flows) when nothing is going on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Gauges {
    /// Accounts.
    pub accounts: usize,
    /// Bindings.
    pub bindings: usize,
    /// Open flows.
    pub flows: usize,
    /// Requests in progress.
    pub contexts: usize,
    /// Those of them to which it matters what becomes of their devices; the others only finish.
    pub waiting: usize,
    /// Branches that hold a request for a sleeping device.
    pub held: usize,
    /// Calls that other nodes hold.
    pub held_elsewhere: usize,
    /// Pushes without a result yet, or not cancelled.
    pub pushes: usize,
    /// Ended calls remembered.
    pub outcomes: usize,
    /// Client transactions.
    pub client_transactions: usize,
    /// Server transactions.
    pub server_transactions: usize,
    /// Armed timers of this machine.
    pub timers: usize,
    /// Responses to REGISTER kept for retransmissions.
    pub answers: usize,
    /// Subscriptions to states of our own addresses.
    pub subscriptions: usize,
    /// What phones have published.
    pub publications: usize,
    /// Requests that wait for devices that sleep: messages, last states, missed calls.
    pub mail: usize,
    /// Their bytes.
    pub mail_bytes: usize,
    /// Names in the quota and back-off tables.
    pub quota_names: usize,
    /// REGISTERs that wait for an upstream's answer.
    pub registering: usize,
    /// Registrations of our own at upstreams.
    pub lines: usize,
    /// Next hops of upstreams.
    pub hops: usize,
    /// Those of them that can be sent to.
    pub hops_up: usize,
}
