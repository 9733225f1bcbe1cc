//! What a person, a shell or a test asks of the phone.

use serde::{Deserialize, Serialize};
use wakeline_secret::Secret;

use crate::snapshot::{AccountId, CallId};

/// One wish. As JSON: `{"command": "dial", "to": "sip:bob@example.org"}`.
///
/// A command never fails by itself: what comes of it is told by [`Event`](crate::Event)s, among them
/// [`Event::Problem`](crate::Event::Problem) for a wish that cannot be granted.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// Registers the accounts that are to be registered (webphone `register` 1 or 2).
    Start,
    /// Ends calls, unregisters unless `needunregister` is false, and closes every flow.
    Stop,
    /// Sets one webphone parameter of an account.
    ///
    /// What the registrar is to know is told to it at once, in a REGISTER on the same flow (`registerinterval`,
    /// `displayname`, `contact_parameters`, `contact_uri_parameters`, `customsipheader`, `useragent`, `pushmode`,
    /// `enablepush`, `use_rport`, and the credentials where the registration has failed) or on a fresh one
    /// (`serveraddress`, `proxyaddress`, `transport`); another address of record (`username`, `realm`) removes the old
    /// binding first. `register` registers or unregisters; `keepaliveival` and `forcereregister` count from now on.
    /// Parameters of calls and media hold for the next call. What the I/O opens when it starts (`localip`,
    /// `signalingport`, `rtpport`, `tlspin`, `tlsroots`, `webrtcserveraddress`) holds from the next start on.
    SetParameter {
        /// Which account; the first one when absent.
        #[serde(default)]
        account: AccountId,
        /// The parameter's name or one of its aliases.
        name: String,
        /// The value as text, as the parameter files write it.
        value: Secret,
    },
    /// Follows a provider's link (`https://host/p/CODE`); asks for the person's consent first
    /// ([`ProvisioningStep`](crate::ProvisioningStep)).
    Provision {
        /// Whose settings it is to bring.
        #[serde(default)]
        account: AccountId,
        /// The link as it was opened, scanned or pasted. It holds a one-time code.
        link: Secret,
    },
    /// What the person says to what a provider wants to set.
    Consent {
        /// Which account was asked for.
        #[serde(default)]
        account: AccountId,
        /// Yes or no.
        agreed: bool,
    },
    /// Registers now, also when `register` is 0.
    Register {
        /// Which account.
        #[serde(default)]
        account: AccountId,
    },
    /// Removes the binding (`Expires: 0`, RFC 3261 §10.2.2).
    Unregister {
        /// Which account.
        #[serde(default)]
        account: AccountId,
    },
    /// The platform's push token, at start and whenever it changes (RFC 8599 §4.1).
    SetPushToken {
        /// `fcm`, `apns` or `webpush`.
        provider: String,
        /// `pn-param`: the Firebase project, or team and topic; empty for Web Push.
        #[serde(default)]
        param: String,
        /// `pn-prid`: the token.
        prid: Secret,
    },
    /// There is no token any more: push is removed from every binding (RFC 8599 §4.1.2).
    ClearPushToken,
    /// A push came in. The shell has reported the call already; the phone registers on a fresh flow at once.
    PushReceived {
        /// The push's data as JSON, as it came: a hint that is never trusted.
        payload: String,
    },
    /// The app goes to the background without a call: flows are closed, bindings stay, nothing ticks (RFC 8599 §4.1.3).
    Suspend,
    /// The app is in front again: old flows are taken for dead, bindings are refreshed.
    Resume,
    /// The network changed or came back: every flow is opened anew, live calls are moved by re-INVITE.
    NetworkChanged,
    /// There is no network: nothing is sent until [`Command::NetworkChanged`].
    NetworkLost,
    /// Starts a call.
    Dial {
        /// From which account.
        #[serde(default)]
        account: AccountId,
        /// A number, user name or URI; rewritten by the account's dialling rules.
        to: String,
    },
    /// Answers: a ringing call at once, an announced one as soon as its INVITE is there.
    Answer {
        /// Which call.
        call: CallId,
    },
    /// Declines on all of the person's devices (603), also before the INVITE is there.
    Decline {
        /// Which call.
        call: CallId,
    },
    /// Refuses with a code of one's own, for this device only (486 means busy here).
    Reject {
        /// Which call.
        call: CallId,
        /// 400 to 699; to send the caller elsewhere there is [`Command::Forward`].
        code: u16,
    },
    /// Stops alerting here; the caller goes on hearing it ring.
    Ignore {
        /// Which call.
        call: CallId,
    },
    /// Sends the caller elsewhere (302).
    Forward {
        /// Which call.
        call: CallId,
        /// Where to: a number or URI.
        to: String,
    },
    /// Ends a call in whatever state it is: CANCEL, BYE or a refusal, as fits.
    Hangup {
        /// Which call.
        call: CallId,
    },
    /// Puts a call on hold or takes it back (`holdtype` says with which direction).
    Hold {
        /// Which call.
        call: CallId,
        /// On or off.
        on: bool,
    },
    /// Mutes or unmutes.
    Mute {
        /// Which call.
        call: CallId,
        /// What is silenced.
        #[serde(default)]
        direction: MuteDirection,
        /// On or off.
        on: bool,
    },
    /// Takes a call into the conference, or out of it: those in it hear each other, and us.
    Conference {
        /// Which call.
        call: CallId,
        /// In or out.
        on: bool,
    },
    /// Sends digits by the account's `dtmfmode`. A space or comma is a pause.
    Dtmf {
        /// Which call.
        call: CallId,
        /// `0-9*#A-D`, spaces, commas.
        digits: String,
    },
    /// The shell has (or no longer has) the right to use audio: CallKit's activation, a microphone permission.
    SetAudioGranted {
        /// Whether audio may run.
        granted: bool,
    },
    /// Asks a peer for its abilities (OPTIONS, RFC 3261 §11), as a sign of life.
    Options {
        /// From which account.
        #[serde(default)]
        account: AccountId,
        /// Whom.
        to: String,
    },
}

/// What a mute silences; the numbers are those of `webphone_api.mute`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MuteDirection {
    /// 0: loudspeaker and microphone.
    Both,
    /// 1: the loudspeaker.
    Speaker,
    /// 2: the microphone.
    #[default]
    Microphone,
}
