//! What a registration shows of itself.

use core::time::Duration;

use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo};

use crate::answer::{Gruus, Offer};
use crate::contact::BindingContact;
use crate::event::{Phase, PushStatus};
use crate::instance::Instance;
use crate::registration::Registration;
use crate::state::{After, State};

impl Registration {
    /// Where it stands.
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Idle => Phase::Idle,
            State::Opening(_) | State::Asking(_) => Phase::Registering,
            State::Bound(_) => Phase::Registered,
            State::Suspended => Phase::Suspended,
            State::Waiting { after: After::LostFlow, .. } => Phase::Registering,
            State::Waiting { after: After::Failure, .. } | State::Stopped(_) => Phase::Failed,
        }
    }

    /// A flow with the address that the far end of it knows us by, where that is not our own (RFC 3581 §4): for the
    /// Contact of dialogs.
    pub fn as_seen(&self, flow: &FlowInfo) -> FlowInfo {
        let seen = self.seen.filter(|(id, _)| *id == flow.id).map(|(_, address)| address);
        FlowInfo { local: seen.unwrap_or(flow.local), ..*flow }
    }

    /// Whether we shall be woken.
    pub fn push_status(&self) -> PushStatus {
        self.push_status
    }

    /// The flow that requests of this account use.
    pub fn flow(&self) -> Option<FlowInfo> {
        match &self.state {
            State::Bound(flow) => Some(*flow),
            // A refresh under way takes nothing away.
            State::Asking(asking) if self.binding.is_some() && self.leaving.is_none() => Some(asking.flow),
            State::Asking(_)
            | State::Idle
            | State::Opening(_)
            | State::Suspended
            | State::Waiting { .. }
            | State::Stopped(_) => None,
        }
    }

    /// Whether a flow is awaited. After a suspension it is only for a REGISTER that cannot be left out: the answer to a
    /// push, or the last one.
    pub fn awaits_flow(&self) -> bool {
        matches!(self.state, State::Opening(_))
    }

    /// Whether a flow is this registration's: bound, in use by a REGISTER, or on its way out.
    pub fn holds(&self, flow: FlowId) -> bool {
        let own = match &self.state {
            State::Bound(bound) => Some(bound.id),
            State::Asking(asking) => Some(asking.flow.id),
            State::Idle
            | State::Opening(_)
            | State::Suspended
            | State::Waiting { .. }
            | State::Stopped(_) => None,
        };
        own == Some(flow) || self.leaving == Some(flow)
    }

    /// The flow on which a REGISTER waits for its answer.
    pub fn asking_on(&self) -> Option<FlowId> {
        match &self.state {
            State::Asking(asking) => Some(asking.flow.id),
            State::Bound(_)
            | State::Idle
            | State::Opening(_)
            | State::Suspended
            | State::Waiting { .. }
            | State::Stopped(_) => None,
        }
    }

    /// How long the binding lasts yet.
    pub fn expires_in(&self, now: Time) -> Option<Duration> {
        self.binding.as_ref().map(|binding| binding.until - now)
    }

    /// Route of our requests outside of dialogs (RFC 3608 §5), topmost first.
    pub fn service_route(&self) -> &[String] {
        &self.service_route
    }

    /// Addresses of this very instance.
    pub fn gruus(&self) -> &Gruus {
        &self.gruus
    }

    /// What the network offers with its pushes.
    pub fn offer(&self) -> &Offer {
        &self.offer
    }

    /// The Contact that is bound, without push parameters.
    pub fn contact(&self) -> Option<&BindingContact> {
        self.binding.as_ref().map(|binding| &binding.contact)
    }

    /// Requests that the last success took.
    pub fn round_trips(&self) -> Option<u32> {
        self.binding.as_ref().map(|binding| binding.rounds)
    }

    /// Seconds between keep-alives at most, as the registrar asked (RFC 5626 §4.4).
    pub fn flow_timer(&self) -> Option<u32> {
        self.binding.as_ref()?.flow_timer
    }

    /// Our instance.
    pub fn instance(&self) -> &Instance {
        &self.instance
    }
}
