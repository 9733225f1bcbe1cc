//! What the phone tells a person, a shell or a test.

use serde::{Deserialize, Serialize};
use wakeline_push::WakeId;
use wakeline_settings::provisioning::Consent;

use crate::snapshot::{AccountId, CallId, CallSnapshot, EndedCall, RegistrationSnapshot, WakeLeg};

/// One thing that happened. As JSON: `{"event": "call-changed", …}`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// An account's registration changed.
    RegistrationChanged(RegistrationSnapshot),
    /// A call began to alert here; exactly once per call, and never for one that is already over.
    Rings(CallSnapshot),
    /// A call is new or changed in any way, ringing and answering included.
    CallChanged(CallSnapshot),
    /// A call is over; exactly once per call. A push that comes for it afterwards is told as
    /// [`WakeLeg::Over`]; a process that learns of the call only by such a push announces it and tells its end once.
    CallEnded(EndedCall),
    /// The far end pressed a key, by RFC 4733 or INFO.
    DtmfReceived {
        /// In which call.
        call: CallId,
        /// `0-9*#A-D` or `R` (flash).
        digit: char,
    },
    /// A wake made a step; for the timeline.
    Woken {
        /// Which wake.
        wake_id: WakeId,
        /// Which step.
        leg: WakeLeg,
    },
    /// A peer answered OPTIONS, or did not.
    OptionsAnswered {
        /// From which account it was asked.
        account: AccountId,
        /// Whom.
        to: String,
        /// The final response's code; `None` after a time-out.
        code: Option<u16>,
    },
    /// A provider's settings made a step.
    Provisioning {
        /// Of which account.
        account: AccountId,
        /// Which.
        #[serde(flatten)]
        step: ProvisioningStep,
    },
    /// A wish could not be granted, or something needs a person.
    Problem(Problem),
}

/// What went wrong, why, and what helps.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// The account concerned.
    pub account: Option<AccountId>,
    /// The call concerned.
    pub call: Option<CallId>,
    /// The cause, in a sentence.
    pub cause: String,
    /// The cure, in a sentence; empty when there is none.
    pub cure: String,
}

/// A step of provisioning, for the person. As JSON: `{"step": "consent-wanted", …}`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum ProvisioningStep {
    /// A provider wants to set these; answered by [`Command::Consent`](crate::Command::Consent).
    ConsentWanted(Consent),
    /// Its settings are in use.
    Done {
        /// Who.
        provider: String,
        /// Counts the changes.
        serial: u32,
    },
    /// It failed; what is in use stays.
    Failed {
        /// Why.
        cause: String,
        /// What helps.
        cure: String,
    },
    /// The provider has withdrawn its settings, and they are used no longer.
    Withdrawn {
        /// Who.
        provider: String,
    },
}
