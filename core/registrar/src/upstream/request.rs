//! Requests between phones and their upstream (RFC 3261 §16): whose they are, where they go, what happens when nobody
//! answers there.

use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_sip_message::{BuildError, Message, Method, Name, Uri};
use wakeline_sip_transaction::ServerKey;

use crate::admit::Admitted;
use crate::context::{Branch, Context, Kind, Lost, Phase, Step, Waking};
use crate::flow::Liveness;
use crate::forward::ahead_by;
use crate::machine::Registrar;
use crate::number::{BindingId, ContextId, Device, UpstreamId};
use crate::refused::Refused;
use crate::route::{Destination, Towards, Way};
use crate::seal::Purpose;
use crate::trace::Leg;

impl Registrar {
    /// Where a request outside of a dialog goes that comes from an upstream or is for one.
    pub(crate) fn way_by_upstream(&self, flow: &FlowInfo, uri: &Uri<'_>) -> Option<Destination> {
        let Some(from) = self.upstreams.sender(flow) else {
            return self.upstream_named(uri).map(Destination::Upstream);
        };
        let user = uri.user()?;
        if let Some(id) = self.seal.open(Purpose::UpstreamContact, user).map(BindingId) {
            // One that is gone here may come back: the phone still registers, the upstream still has our Contact.
            let known = self.bindings.get(id).and_then(|binding| self.accounts.get(binding.aor));
            return Some(match known.and_then(|entry| self.upstreams.of_domain(entry.domain())) {
                Some(owner) if owner == from => Destination::Device(id),
                Some(_) => Destination::Nowhere(404),
                None => Destination::Nowhere(480),
            });
        }
        if let Some(aor) = self.aor_by_line(user) {
            let known = self.line_of(aor) == Some(from);
            return Some(if known { Destination::Aor(aor) } else { Destination::Nowhere(404) });
        }
        // By name: all devices. Never back to where it came from (class S28).
        let domain = uri.host_text();
        let owner = self.upstream_named(uri)?;
        let found = self.accounts.find(&uri.user_unescaped()?, domain).filter(|_| owner == from);
        Some(found.map_or(Destination::Nowhere(404), Destination::Aor))
    }

    /// Whose domain a URI's host is, or whose address if it is none of our own names.
    fn upstream_named(&self, uri: &Uri<'_>) -> Option<UpstreamId> {
        let of_address = || self.upstreams.of_address(uri).filter(|_| !self.is_us(uri.host_text()));
        self.upstreams.of_domain(uri.host_text()).or_else(of_address)
    }

    /// Whether an upstream asks with OPTIONS if a phone is there: we answer for it, and let it sleep.
    pub(crate) fn is_qualify(&self, flow: &FlowInfo, request: &Message, to: Destination) -> bool {
        request.method() == Method::Options
            && matches!(to, Destination::Device(_) | Destination::Aor(_))
            && self.upstreams.sender(flow).is_some()
    }

    /// Who may send to an upstream through us: a phone that is registered there, on the connection of its REGISTER. Its
    /// password is the upstream's matter; without this check we would lend our address to anybody (class S28).
    pub(crate) fn admit_to_upstream(
        &mut self,
        now: Time,
        flow: &FlowInfo,
        request: &Message,
        upstream: UpstreamId,
    ) -> Result<Admitted, Refused> {
        let binding = self.sender_binding(flow, request).and_then(|id| self.bindings.get(id));
        let aor = binding.map(|binding| binding.aor).ok_or(Refused::code(403))?;
        let entry = self.accounts.get(aor).ok_or(Refused::code(403))?;
        if self.upstreams.of_domain(entry.domain()) != Some(upstream) {
            return Err(Refused::code(403));
        }
        // It goes out under a credential of ours, so its sender proves itself to us.
        if self.line_of(aor).is_some() {
            return self.admit(now, flow, request);
        }
        Ok(Admitted { trusted: false, quota: self.quota_name(aor) })
    }

    /// Sends a request of a phone to its upstream: to the next hop that its dialog goes through, else to the first that is
    /// up.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request, each once")]
    pub(crate) fn send_upstream(
        &mut self,
        now: Time,
        key: ServerKey,
        request: &Message,
        flow: FlowInfo,
        way: &Way,
        kind: Kind,
        admitted: &Admitted,
        towards: Towards,
    ) -> Result<(), Refused> {
        let ((upstream, hop), ahead) = match towards {
            Towards::Any(upstream) => ((Some(upstream), self.upstreams.open(upstream, &[])), 0),
            Towards::Hop(name, ahead) => (self.upstreams.open_by_name(name), ahead),
        };
        let (Some(upstream), Some(hop)) = (upstream, hop) else { return Err(self.upstream_down(now)) };
        let kind = match kind {
            Kind::Call => Kind::Outgoing,
            Kind::Outgoing | Kind::Reinvite | Kind::Bye | Kind::InDialog | Kind::Other | Kind::Late => kind,
        };
        let mut context = self.context(now, key, request, flow, way, kind, admitted, None);
        context.upstream = Some(upstream);
        context.ahead = ahead;
        let caller = context.caller_binding.and_then(|id| self.bindings.get(id)).map(|binding| binding.aor);
        context.line = caller.filter(|aor| self.line_of(*aor) == Some(upstream));
        context.branches.push(Branch::new(Device(hop.id.0), None));
        self.start(now, context, admitted, &[Liveness::Proven(hop.id)])
    }

    /// A request as it leaves for its upstream: without the phone's claims, and authorised by us where we keep the
    /// credential.
    pub(crate) fn for_upstream(
        &mut self,
        context: &Context,
        request: &Message,
    ) -> Result<Message, BuildError> {
        let mut written = without_claims(request)?;
        if context.ahead > 0 {
            written = ahead_by(&written, context.ahead)?;
        }
        let Some(aor) = context.line else { return Ok(written) };
        let lines = self.authorised_by_line(aor, &written);
        let mut edit = written.edit();
        for (name, value) in lines {
            edit = edit.append(name, value);
        }
        edit.finish()
    }

    /// The upstream challenges a request that goes out under a credential of ours: it is answered here, once. Within a
    /// dialog the CSeq stays; outside it moves on (RFC 3261 §22.2), and the Record-Route remembers by how much.
    pub(crate) fn challenged_by_upstream(
        &mut self,
        now: Time,
        id: ContextId,
        context: &mut Context,
        place: usize,
        response: &Message,
    ) {
        let (Some(aor), Some(branch)) = (context.line, context.branches.get(place)) else { return };
        let flow = match branch.step {
            Step::Sent { flow, .. } => flow,
            Step::Held { .. } | Step::Expired | Step::Ended(_) => return,
        };
        let again = branch.sent <= 2 && context.phase == Phase::Open;
        let method = context.request.as_ref().map(Message::method);
        if again && method.is_some_and(|method| self.learn(aor, &method, response)) {
            match context.kind {
                Kind::Outgoing | Kind::Other => context.ahead = context.ahead.saturating_add(1),
                Kind::Call | Kind::Reinvite | Kind::Bye | Kind::InDialog | Kind::Late => {}
            }
            return self.forward(now, id, context, place, flow);
        }
        // The phone has nothing to do with that challenge.
        self.trace(now, None, Leg::LineRefused(response.status().unwrap_or(401)));
        context.branches[place].step = Step::Ended(403);
    }

    /// A next hop did not answer, or its connection broke: the request goes to the next one if it opens something, else it
    /// ends.
    pub(crate) fn upstream_lost(
        &mut self,
        now: Time,
        id: ContextId,
        context: &mut Context,
        place: usize,
        flow: FlowId,
        lost: Lost,
    ) {
        match lost {
            Lost::Silence => self.hop_silent(now, flow),
            Lost::Flow => {}
        }
        context.branches[place].failed.push(flow);
        match self.upstream_instead(context, place) {
            Some(next) => self.forward(now, id, context, place, next.id),
            None => {
                self.trace(now, Some(context.wake), Leg::UpstreamDown);
                context.branches[place].step = Step::Ended(503);
            }
        }
    }

    /// Another next hop for a request that opens something, while its caller still waits.
    pub(crate) fn upstream_instead(&self, context: &Context, place: usize) -> Option<FlowInfo> {
        let opens = match context.kind {
            Kind::Outgoing | Kind::Other => context.phase == Phase::Open,
            Kind::Call | Kind::Reinvite | Kind::Bye | Kind::InDialog | Kind::Late => false,
        };
        let failed = &context.branches.get(place)?.failed;
        context.upstream.filter(|_| opens).and_then(|upstream| self.upstreams.open(upstream, failed))
    }

    /// Not a word for a while. Where there is another next hop it is tried; the answer of the first still counts.
    pub(crate) fn upstream_slow(&mut self, now: Time, id: ContextId, context: &mut Context, place: usize) {
        let Some(branch) = context.branches.get_mut(place) else { return };
        branch.waking = Waking::Over;
        let Step::Sent { client, flow, .. } = branch.step else { return };
        branch.failed.push(flow);
        if let Some(next) = self.upstream_instead(context, place) {
            self.hop_silent(now, flow);
            context.superseded.push(client);
            self.forward(now, id, context, place, next.id);
        } else if let Some(branch) = context.branches.get_mut(place) {
            branch.failed.pop();
        }
    }
}

/// A request as it leaves for an upstream: what a phone says of its own identity is not passed on (RFC 3325 §5), and
/// what wakes it is nobody's business there.
fn without_claims(request: &Message) -> Result<Message, BuildError> {
    let mut edit = request.edit().remove_all(Name::PAssertedIdentity);
    let names = ["Remote-Party-ID", wakeline_push::X_MPUSH_HEADER, wakeline_push::WAKE_ID_HEADER];
    for name in names.into_iter().filter_map(Name::parse) {
        edit = edit.remove_all(name);
    }
    edit.finish()
}
