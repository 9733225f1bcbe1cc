//! Requests that come in: let in, sent to every device of their address, or along their dialog (RFC 3261 §16.3 - §16.6).

use smallvec::SmallVec;
use wakeline_clock::Time;
use wakeline_flow::{FlowId, FlowInfo};
use wakeline_push::{WakeId, WakeState};
use wakeline_sip_message::{Builder, Message, Method, Name, Refusal, Role, Understands};
use wakeline_sip_transaction::{Key, ServerKey, TransactionError};

use crate::admit::Admitted;
use crate::binding::Binding;
use crate::context::{Branch, Context, Course, Heard, Kind, Phase, Step, Waking};
use crate::events::CallState;
use crate::flow::Liveness;
use crate::forward::{Leg as Written, towards_device, within_dialog};
use crate::machine::{Mode, Registrar};
use crate::number::{AorId, BindingId, ContextId, Device};
use crate::refused::Refused;
use crate::route::{Destination, Party, Towards, Way};
use crate::trace::Leg;

/// How often one branch may be sent: a device that changes networks all the time ends somewhere.
const MOST_SENT: u8 = 6;

const UNDERSTANDS: Understands<'static> =
    Understands { role: Role::Proxy, methods: &[], options: &[], bodies: &[] };

/// A device of an address with the binding to use and how alive it is.
struct Candidate {
    device: Device,
    binding: BindingId,
    liveness: Liveness,
}

impl Registrar {
    pub(crate) fn on_request(&mut self, now: Time, key: ServerKey, request: &Message, flow: FlowInfo) {
        let outcome = match request.check_against(&UNDERSTANDS) {
            Ok(()) => self.take_in(now, key, request, flow),
            Err(Refusal::Answer { code, headers, .. }) => Err(Refused { code, headers }),
            Err(Refusal::Drop { .. }) => return,
        };
        if let Err(refused) = outcome {
            self.trace(now, None, Leg::RequestRefused(refused.code));
            let refused = refused.in_measure(&flow, request);
            if self.is_known(&flow) {
                // The tag of the stateless answer: a copy may have met that, before its sender was known.
                let tag = self.transactions.stateless_tag(request, &flow);
                return self.answer_under(&tag, now, key, request, refused.code, &refused.headers);
            }
            // A stranger is refused once and forgotten: a refusal that is repeated for half a minute would be an amplifier
            // for whoever forges addresses, and a table for whoever floods (S14, S28). A copy of the request that comes
            // later meets the same answer under the same tag (RFC 3261 §8.2.7).
            let _ = self.transactions.answer_stateless(request, &flow, refused.code, &refused.headers);
            self.transactions.abandon(Key::Server(key));
        }
    }

    /// Whether the one at the other end of a flow has shown who it is.
    fn is_known(&self, flow: &FlowInfo) -> bool {
        self.flows.get(flow.id).is_some_and(|flow| !flow.bindings.is_empty())
            || self.config.trusted.iter().any(|peer| peer.contains(flow.remote))
            || self.upstreams.sender(flow).is_some()
    }

    /// 100 to an INVITE, as soon as it is let in (RFC 3261 §16.2).
    fn trying(&mut self, now: Time, key: ServerKey, request: &Message) {
        if request.method() == Method::Invite
            && let Ok(trying) = Builder::response(request, 100, "Trying").build()
        {
            let _ = self.transactions.respond(now, key, trying);
        }
    }

    /// Answers a request that goes nowhere.
    pub(crate) fn answer(
        &mut self,
        now: Time,
        key: ServerKey,
        request: &Message,
        code: u16,
        headers: &[(Name, String)],
    ) {
        let tag = self.entropy.token(8);
        self.answer_under(&tag, now, key, request, code, headers);
    }

    /// The same under a tag that is given.
    fn answer_under(
        &mut self,
        tag: &str,
        now: Time,
        key: ServerKey,
        request: &Message,
        code: u16,
        headers: &[(Name, String)],
    ) {
        let response = Builder::response(request, code, "")
            .to_tag(tag)
            .headers(headers.iter().map(|(name, value)| (name.clone(), value)))
            .build();
        if let Ok(response) = response {
            // The transaction may be over by now; then nobody waits for the answer.
            let _ = self.transactions.respond(now, key, response);
        }
    }

    fn take_in(
        &mut self,
        now: Time,
        key: ServerKey,
        request: &Message,
        flow: FlowInfo,
    ) -> Result<(), Refused> {
        let way = self.way(&flow, request);
        let kind = Kind::of(request, request.to_tag().is_some());
        if request.method() == Method::Register {
            return self.register_upstream(now, key, request, flow);
        }
        if let Some(outcome) = self.serve_event(now, key, request, flow, &way) {
            return outcome;
        }
        if kind == Kind::Bye {
            self.call_ends(now, request.call_id());
        }
        let admitted = if way.vouched {
            // Whoever holds a name that we sealed takes part in the dialog.
            let quota = self.keyed.digest(request.call_id().as_bytes());
            Admitted { trusted: true, quota }
        } else if request.method() == Method::Options
            && (way.to == Destination::Us || self.is_qualify(&flow, request, way.to))
        {
            return self.options(now, key, request);
        } else if let Destination::Upstream(upstream) = way.to {
            self.admit_to_upstream(now, &flow, request, upstream)?
        } else {
            self.admit(now, &flow, request)?
        };
        if self.contexts.len() >= self.config.limits.contexts {
            return Err(Refused::later(self.config.timers.retry_after));
        }
        match way.to {
            Destination::Nowhere(_) | Destination::Us => {}
            Destination::Party(_)
            | Destination::Handed(_)
            | Destination::Device(_)
            | Destination::Aor(_)
            | Destination::Upstream(_) => {
                self.trying(now, key, request);
            }
        }
        match way.to {
            Destination::Nowhere(code) => Err(Refused::code(code)),
            // Within a dialog that we have no part in: there is none (RFC 3261 §12.2.2).
            Destination::Us => Err(Refused::code(if request.to_tag().is_some() { 481 } else { 404 })),
            Destination::Party(Party::Flow(target)) => {
                let device = Device(target.0);
                let mut context = self.context(now, key, request, flow, &way, kind, &admitted, None);
                context.branches.push(Branch::new(device, None));
                self.start(now, context, &admitted, &[Liveness::Unproven(target)])
            }
            Destination::Party(Party::Elsewhere(node, target)) => {
                let gone = Refused::code(if kind == Kind::Bye { 481 } else { 503 });
                let link = self.cluster.link(node).ok_or(gone)?;
                let mut context = self.context(now, key, request, flow, &way, kind, &admitted, None);
                context.branches.push(Branch::new(Device(target.0), None));
                self.start(now, context, &admitted, &[Liveness::Unproven(link.id)])
            }
            Destination::Handed(id) => self.take_handed(now, key, request, flow, &way, kind, &admitted, id),
            Destination::Party(Party::Binding(id)) => {
                // The party's registration is gone: the transaction fails, not the dialog (RFC 5057).
                let binding =
                    self.bindings.get(id).ok_or(Refused::code(if kind == Kind::Bye { 481 } else { 503 }))?;
                let (aor, device) = (binding.aor, binding.device());
                let liveness = self.liveness(now, binding);
                let mut context = self.context(now, key, request, flow, &way, kind, &admitted, Some(aor));
                context.branches.push(Branch::new(device, Some(id)));
                self.start(now, context, &admitted, &[liveness])
            }
            Destination::Party(Party::Upstream(name, ahead)) => {
                self.send_upstream(now, key, request, flow, &way, kind, &admitted, Towards::Hop(name, ahead))
            }
            Destination::Upstream(upstream) => {
                self.send_upstream(now, key, request, flow, &way, kind, &admitted, Towards::Any(upstream))
            }
            Destination::Device(id) => {
                let binding = self.bindings.get(id).ok_or(Refused::code(404))?;
                let (aor, device) = (binding.aor, binding.device());
                let candidates = self.candidates(now, aor, Some(device));
                self.fork(now, key, request, flow, &way, kind, &admitted, aor, candidates)
            }
            Destination::Aor(aor) => {
                let candidates = self.candidates(now, aor, None);
                self.fork(now, key, request, flow, &way, kind, &admitted, aor, candidates)
            }
        }
    }

    /// OPTIONS to us (RFC 3261 §11).
    fn options(&mut self, now: Time, key: ServerKey, request: &Message) -> Result<(), Refused> {
        let headers = [
            (Name::Allow, "REGISTER, INVITE, ACK, CANCEL, BYE, OPTIONS, MESSAGE, INFO, PRACK, UPDATE, SUBSCRIBE, NOTIFY, PUBLISH, REFER".to_owned()),
            (Name::Supported, "path, outbound, gruu".to_owned()),
            (Name::AllowEvents, "reg, presence, dialog, message-summary".to_owned()),
        ];
        self.answer(now, key, request, 200, &headers);
        Ok(())
    }

    /// The devices of an address, each with its liveliest binding; those that are liked best first.
    fn candidates(&self, now: Time, aor: AorId, only: Option<Device>) -> Vec<Candidate> {
        let mut found: Vec<(u16, Candidate)> = Vec::new();
        let Some(entry) = self.accounts.get(aor) else { return Vec::new() };
        for binding in entry.bindings.iter().filter_map(|id| self.bindings.get(*id)) {
            let device = binding.device();
            if only.is_some_and(|only| only != device) || binding.expires <= now {
                continue;
            }
            let candidate = Candidate { device, binding: binding.id, liveness: self.liveness(now, binding) };
            match found.iter_mut().find(|(_, known)| known.device == device) {
                Some((_, known)) if alive(candidate.liveness) > alive(known.liveness) => *known = candidate,
                Some(_) => {}
                None => found.push((binding.q, candidate)),
            }
        }
        found.sort_by_key(|(q, _)| core::cmp::Reverse(*q));
        found.into_iter().map(|(_, candidate)| candidate).collect()
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request, each once")]
    fn fork(
        &mut self,
        now: Time,
        key: ServerKey,
        request: &Message,
        flow: FlowInfo,
        way: &Way,
        kind: Kind,
        admitted: &Admitted,
        aor: AorId,
        mut candidates: Vec<Candidate>,
    ) -> Result<(), Refused> {
        self.note_summary(now, aor, request, admitted);
        let mut context = self.context(now, key, request, flow, way, kind, admitted, Some(aor));
        let running = self.by_aor.get(&aor).map_or(&[][..], SmallVec::as_slice);
        let waiting = running.iter().filter_map(|id| self.contexts.get(id));
        let waiting = waiting.filter(|other| other.phase == Phase::Open).count();
        if waiting >= self.config.limits.contexts_per_aor {
            return Err(Refused { code: 486, headers: Vec::new() });
        }
        // RFC 5393 §4.2: the same request for the same address while it is still in progress came round in a circle
        // (or by two ways, §8.2.2.2: then once is enough). A spiral has another Request-URI and so another address.
        let circle = running.iter().filter_map(|id| self.contexts.get(id)).any(|other| {
            let same = |other: &Message| {
                other.method() == request.method() && other.header(Name::CSeq) == request.header(Name::CSeq)
            };
            other.wake == context.wake
                && other.phase == Phase::Open
                && other.kind == kind
                && other.request.as_ref().is_some_and(same)
                // An upstream that forks sends one copy to each device.
                && other.branches.iter().any(|branch| candidates.iter().any(|one| one.device == branch.device))
        });
        // Another node has it: its caller came here too before it was answered there.
        if circle || kind == Kind::Call && self.cluster.wakes.contains_key(&context.wake) {
            return Err(Refused::code(482));
        }
        // Row 15: this call was held when we went down, and the caller repeats its INVITE.
        if kind == Kind::Call && self.outcomes.was_lost(aor, &context.wake) {
            return Err(Refused::later(self.config.timers.retry_after));
        }
        if candidates.is_empty() && !self.is_taken_when_absent(kind, aor) {
            return Err(Refused::code(480));
        }
        // RFC 5393 §5.3.
        let breadth = request.header(Name::MaxBreadth).and_then(|text| text.trim().parse::<usize>().ok());
        match breadth {
            Some(0) => return Err(Refused::code(440)),
            Some(most) => candidates.truncate(most),
            None => {}
        }
        let liveness: SmallVec<[Liveness; 2]> = candidates.iter().map(|found| found.liveness).collect();
        context.branches =
            candidates.iter().map(|found| Branch::new(found.device, Some(found.binding))).collect();
        self.start(now, context, admitted, &liveness)
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one request, each once")]
    pub(crate) fn context(
        &self,
        now: Time,
        key: ServerKey,
        request: &Message,
        flow: FlowInfo,
        way: &Way,
        kind: Kind,
        admitted: &Admitted,
        aor: Option<AorId>,
    ) -> Context {
        Context {
            kind,
            phase: Phase::Open,
            server: Some(key),
            request: Some(request.clone()),
            caller: flow,
            caller_binding: self.sender_binding(&flow, request),
            own_routes: way.own_routes,
            trusted: admitted.trusted,
            quota: admitted.quota,
            wake: WakeId::of(request.call_id(), request.from_tag().unwrap_or("")),
            aor,
            upstream: None,
            line: None,
            ahead: 0,
            branches: SmallVec::new(),
            superseded: SmallVec::new(),
            best: None,
            started: now,
            until: now + self.ring_time(kind, aor),
            course: Course::Devices,
            clients: 0,
            armed: Time::NEVER,
        }
    }

    /// Puts a context to work: forwards, pushes, holds.
    pub(crate) fn start(
        &mut self,
        now: Time,
        context: Context,
        admitted: &Admitted,
        liveness: &[Liveness],
    ) -> Result<(), Refused> {
        let sleeping = |step: &Liveness| !matches!(step, Liveness::Proven(_));
        let would_push = |machine: &Registrar, branch: &Branch, live: &Liveness| {
            sleeping(live) && machine.can_push(context.kind, branch)
        };
        let pushes =
            context.branches.iter().zip(liveness).any(|(branch, live)| would_push(self, branch, live));
        let reachable = liveness.iter().any(|live| *live != Liveness::Asleep);
        let mail = self.is_mail(&context);
        let mut allowed = true;
        if pushes
            && !mail
            && let Some(aor) = context.aor
        {
            if self.mode == Mode::Draining && !reachable {
                return Err(Refused::later(self.config.timers.retry_after));
            }
            // Asked before any push (class S24); both allowances count.
            allowed = self.mode == Mode::Serving
                && self.wakes_per_caller.take(now, admitted.quota)
                && self.wakes_per_aor.take(now, self.quota_name(aor));
            if allowed {
                self.tell_spent(aor, Some(admitted.quota));
            }
            if !allowed {
                self.trace(now, Some(context.wake), Leg::OverQuota);
                if !reachable {
                    // Nobody was woken for it, and all the same somebody called.
                    self.note_missed(now, &context, WakeState::Failed);
                    return Err(Refused::code(486));
                }
            }
        }
        let mut context = Box::new(context);
        self.last_context += 1;
        let id = ContextId(self.last_context);
        if let Some(key) = context.server {
            self.by_server.insert(key, id);
        }
        if let Some(aor) = context.aor {
            self.by_aor.entry(aor).or_default().push(id);
        }
        self.call_is(now, &context, CallState::Trying);
        if context.kind == Kind::Call {
            self.trace(now, Some(context.wake), Leg::InviteIn { devices: context.branches.len() });
        }
        for (place, live) in liveness.iter().enumerate() {
            match live {
                Liveness::Proven(flow) => self.forward(now, id, &mut context, place, *flow),
                // It is kept before its sender is answered; whether the device is there shows with the delivery.
                Liveness::Unproven(_) if mail => self.hold(now, id, &mut context, place),
                Liveness::Unproven(flow) => {
                    self.forward(now, id, &mut context, place, *flow);
                    // A call cannot wait to learn that the flow is dead; other requests can.
                    if allowed && context.kind == Kind::Call && !context.branches[place].is_over() {
                        self.ask_push(now, id, &mut context, place);
                    }
                }
                Liveness::Asleep if allowed => self.hold(now, id, &mut context, place),
                Liveness::Asleep => context.branches[place].step = Step::Ended(context.kind.absent()),
            }
            if !allowed {
                context.branches[place].waking = Waking::Over;
            }
        }
        self.put_back(now, id, context);
        Ok(())
    }

    /// Sends a branch's request on a flow. A branch that cannot be sent ends.
    pub(crate) fn forward(
        &mut self,
        now: Time,
        id: ContextId,
        context: &mut Context,
        place: usize,
        flow: FlowId,
    ) {
        let Some(branch) = context.branches.get(place) else { return };
        let (binding, sent) = (branch.binding, branch.sent);
        let outcome = match self.flows.get(flow).map(|flow| flow.info) {
            Some(info) if sent < MOST_SENT => self.written(context, binding, &info).and_then(|request| {
                let sent_by = self.sent_by(&info);
                self.transactions.send_of_any_size(now, request, &info, &sent_by).map_err(|error| match error
                {
                    TransactionError::Full => 503,
                    TransactionError::TooLargeForDatagram { .. } => 513,
                    TransactionError::Message(_)
                    | TransactionError::Gone
                    | TransactionError::Complete
                    | TransactionError::WrongKind => 500,
                })
            }),
            Some(_) => Err(480),
            None => Err(context.kind.absent()),
        };
        let Some(branch) = context.branches.get_mut(place) else { return };
        match outcome {
            Ok(client) => {
                branch.step = Step::Sent { client, flow, since: now, heard: Heard::Nothing };
                branch.sent += 1;
                context.clients += 1;
                self.by_client.insert(client, (id, u8::try_from(place).unwrap_or(u8::MAX)));
                if let Some(binding) = binding {
                    self.trace(now, Some(context.wake), Leg::InviteOut { binding, flow });
                }
            }
            Err(code) => branch.step = Step::Ended(code),
        }
    }

    /// The request of a branch, as it leaves.
    fn written(
        &mut self,
        context: &Context,
        binding: Option<BindingId>,
        info: &FlowInfo,
    ) -> Result<Message, u16> {
        let Some(request) = context.request.as_ref() else { return Err(500) };
        if request.to_tag().is_some() {
            let mut written = within_dialog(request, context.own_routes).map_err(|_| 500_u16)?;
            if let Some(route) = self.handing(binding, info) {
                written = written.edit().prepend(Name::Route, route).finish().map_err(|_| 500_u16)?;
            }
            return match context.upstream {
                Some(_) => self.for_upstream(context, &written).map_err(|_| 500),
                None => Ok(written),
            };
        }
        let opens =
            matches!(request.method(), Method::Invite | Method::Subscribe | Method::Refer | Method::Notify);
        let record_routes = if opens {
            let sips = request
                .request_uri_text()
                .get(..5)
                .is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"));
            let callee = binding.map_or_else(|| self.party_on(info).ahead_by(context.ahead), Party::Binding);
            let caller =
                context.caller_binding.map_or_else(|| self.party_on(&context.caller), Party::Binding);
            vec![self.record_route(callee, info, sips), self.record_route(caller, &context.caller, sips)]
        } else {
            Vec::new()
        };
        let route = self.handing(binding, info);
        let binding = binding.and_then(|id| self.bindings.get(id));
        let written = Written {
            uri: binding.map(Binding::uri),
            // Between two nodes the one Route value says all; the path begins where the device is connected.
            path: match &route {
                Some(route) => route,
                None => binding.map_or("", Binding::path),
            },
            record_routes: &record_routes,
            own_routes: context.own_routes,
            trusted: context.trusted,
            // An upstream's challenge is answered by the phone, whatever it calls its realm.
            realm: if context.upstream.is_some() && context.line.is_none() { "" } else { &self.config.realm },
        };
        let written = towards_device(request, &written).map_err(|_| 500_u16)?;
        match context.upstream {
            Some(_) => self.for_upstream(context, &written).map_err(|_| 500),
            None => Ok(written),
        }
    }

    /// Puts an ended call before a foreign device that woke up late: INVITE, and its CANCEL behind the first response.
    pub(crate) fn show_late(
        &mut self,
        now: Time,
        aor: AorId,
        wake: WakeId,
        request: Message,
        binding: BindingId,
    ) {
        let Some(found) = self.bindings.get(binding) else { return };
        let Some(flow) = found.flow.or_else(|| self.link_towards(binding)) else { return };
        let Some(info) = self.flows.get(flow).map(|flow| flow.info) else { return };
        let device = found.device();
        self.last_context += 1;
        let id = ContextId(self.last_context);
        let mut context = Box::new(Context {
            kind: Kind::Late,
            phase: Phase::Open,
            server: None,
            request: Some(request),
            caller: info,
            caller_binding: None,
            own_routes: 0,
            trusted: false,
            quota: 0,
            wake,
            aor: Some(aor),
            upstream: None,
            line: None,
            ahead: 0,
            branches: SmallVec::from_elem(Branch::new(device, Some(binding)), 1),
            superseded: SmallVec::new(),
            best: None,
            started: now,
            until: now + Kind::Late.total(&self.config.timers),
            course: Course::Devices,
            clients: 0,
            armed: Time::NEVER,
        });
        self.by_aor.entry(aor).or_default().push(id);
        self.forward(now, id, &mut context, 0, flow);
        context.branches[0].waking = Waking::Over;
        if let Step::Sent { client, .. } = context.branches[0].step {
            let reason = match self.outcomes.state(aor, &wake) {
                Some(WakeState::Elsewhere) => Some("SIP;cause=200;text=\"Call completed elsewhere\""),
                Some(WakeState::Declined) => Some("SIP;cause=600;text=\"Declined elsewhere\""),
                Some(WakeState::Pending | WakeState::Cancelled | WakeState::Failed | WakeState::Unknown)
                | None => None,
            };
            let extra: Vec<_> = reason.map(|text| (Name::Reason, text.to_owned())).into_iter().collect();
            // It leaves with the first provisional response (RFC 3261 §9.1).
            let _ = self.transactions.cancel(now, client, &extra);
        }
        self.put_back(now, id, context);
    }
}

fn alive(liveness: Liveness) -> u8 {
    match liveness {
        Liveness::Proven(_) => 2,
        Liveness::Unproven(_) => 1,
        Liveness::Asleep => 0,
    }
}
