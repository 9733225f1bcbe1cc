//! Requests that one node hands to another: the sealed Route value, and what the node with the connection does.

use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_sip_message::Message;
use wakeline_sip_transaction::ServerKey;

use crate::admit::Admitted;
use crate::binding::Binding;
use crate::context::{Branch, Course, Kind, Waking};
use crate::flow::Liveness;
use crate::machine::Registrar;
use crate::number::BindingId;
use crate::refused::Refused;
use crate::route::Way;
use crate::seal::Purpose;

impl Registrar {
    /// How alive a binding's connection is, here or at another node. What another node has is taken for alive when it says
    /// so; whether it has proof is its own matter, so a call is pushed for as well.
    pub(crate) fn liveness(&self, now: Time, binding: &Binding) -> Liveness {
        match self.flows.liveness(now, binding.flow) {
            Liveness::Asleep => self.link_towards(binding.id).map_or(Liveness::Asleep, Liveness::Unproven),
            here @ (Liveness::Proven(_) | Liveness::Unproven(_)) => here,
        }
    }

    /// The link to the node that a device is connected to.
    pub(crate) fn link_towards(&self, binding: BindingId) -> Option<FlowId> {
        let node = self.cluster.home(binding)?;
        self.cluster.link(node).map(|info| info.id)
    }

    /// The Route value that goes before a request for a binding on a link; none on any other flow.
    pub(crate) fn handing(&mut self, binding: Option<BindingId>, info: &FlowInfo) -> Option<String> {
        self.cluster.at_end_of(info.id)?;
        let token = self.seal.seal(Purpose::Handed, binding?.0, &mut self.entropy);
        Some(format!("<sip:{token}@{};transport=tcp;lr>", info.remote))
    }

    /// A request that another node has handed over: it goes down the device's connection here, or back with 430 (RFC 5626
    /// §5.3.1). Waking, holding and remembering are the other node's.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request, each once")]
    pub(crate) fn take_handed(
        &mut self,
        now: Time,
        key: ServerKey,
        request: &Message,
        flow: FlowInfo,
        way: &Way,
        kind: Kind,
        admitted: &Admitted,
        id: BindingId,
    ) -> Result<(), Refused> {
        let binding = self.bindings.get(id).ok_or(Refused::code(430))?;
        let (aor, device) = (binding.aor, binding.device());
        let here = binding.flow.filter(|flow| self.flows.get(*flow).is_some()).ok_or(Refused::code(430))?;
        let mut context = self.context(now, key, request, flow, way, kind, admitted, Some(aor));
        context.course = Course::Handed;
        context.until = now + kind.total(&self.config.timers);
        let mut branch = Branch::new(device, Some(id));
        branch.waking = Waking::Over;
        context.branches.push(branch);
        self.start(now, context, admitted, &[Liveness::Proven(here)])
    }
}
