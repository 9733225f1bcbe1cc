//! REGISTER: who, what, and what it changes (RFC 3261 §10.3, RFC 5626 §6, RFC 8599 §5.6.1).
//!
//! No transaction is kept for it: over a reliable transport nothing is repeated, and over UDP what it met is kept for as
//! long as copies may come (see `copies`). So a refresh costs one reading, one digest, one writing.

use core::time::Duration;

use smallvec::SmallVec;
use wakeline_clock::{Time, WallTime};
use wakeline_flow::FlowInfo;
use wakeline_push::{ContactPush, WAKE_ID_HEADER, WakeId};
use wakeline_sip_message::{Checked, Contacts, Message, Name, Refusal, Role, Understands};

use crate::account::name_of;
use crate::admit::Proof;
use crate::binding::{Binding, BindingText, Client, Wakeable};
use crate::contact::{Granted, Wanted, asked};
use crate::copies::Kept;
use crate::deadline::Due;
use crate::events::Package;
use crate::machine::Registrar;
use crate::number::{AorId, BindingId, Device};
use crate::output::{Output, Persist, StoredBinding};
use crate::refused::Refused;
use crate::trace::Leg;

/// What we understand in a REGISTER.
const UNDERSTANDS: Understands<'static> =
    Understands { role: Role::Endpoint, methods: &[], options: &["path", "outbound", "gruu"], bodies: &[] };

impl Registrar {
    pub(crate) fn on_register(&mut self, now: Time, flow: FlowInfo, request: &Message) {
        let copy = self.copy_name(&flow, request);
        if let Some(copy) = copy
            && let Some(kept) = self.answers.get(copy)
        {
            match kept {
                Kept::Taken(aor) => self.taken_again(now, flow, request, aor, copy),
                Kept::Written(bytes) => self.transmit(flow.id, *bytes),
            }
            return;
        }
        let outcome = match request.checked(&UNDERSTANDS) {
            Ok(read) => self.register(now, flow, &read, copy),
            Err(Refusal::Answer { code, headers, .. }) => Err(Refused { code, headers }),
            Err(Refusal::Drop { .. }) => return,
        };
        if let Err(refused) = outcome {
            self.trace(now, None, Leg::RegisterRefused(refused.code));
            let refused = refused.in_measure(&flow, request);
            self.answer_register(now, flow, request, copy, refused.code, &refused.headers);
        }
    }

    fn register(
        &mut self,
        now: Time,
        flow: FlowInfo,
        read: &Checked<'_>,
        copy: Option<u64>,
    ) -> Result<(), Refused> {
        let Checked { message: request, uri, .. } = *read;
        if !uri.is_sip() {
            return Err(Refused::code(416));
        }
        // §10.3 step 1: another domain's registrar would be next; we relay to no one.
        if !self.is_us(uri.host_text()) && self.upstreams.of_domain(uri.host_text()).is_none() {
            return Err(Refused::code(403));
        }
        let (from, to) = (read.from.uri(), read.to.uri());
        let named = name_of(&to.user_unescaped().unwrap_or_default(), to.host_text());
        let source = flow.remote.ip();
        if let Some(wait) = self.must_wait(now, source, &named) {
            return Err(Refused::later(wait));
        }
        let (owner, info) = match self.prove(request, crate::admit::Asked::Registrar) {
            Proof::Given { account, info } => (account, info),
            Proof::Missing(headers) => return Err(Refused { code: 401, headers }),
            Proof::Wrong => {
                self.guard.failed(now, source, &named);
                self.end_wakes_of_token(now, request);
                return Err(Refused::code(403));
            }
        };
        self.guard.succeeded(source, &named);
        // §10.3 steps 4 and 5: the one who proved it must own the address, and registers for no one else (S17).
        let owns = |uri: &wakeline_sip_message::Uri<'_>| {
            let user = uri.user_unescaped().unwrap_or_default();
            self.accounts.find(&user, uri.host_text()) == Some(owner)
        };
        if !to.is_sip() || !owns(&to) || from != to && (!from.is_sip() || !owns(&from)) {
            return Err(Refused::code(403));
        }
        let outcome = self.register_proven(now, flow, read, owner, info, copy);
        if let Err(refused) = &outcome {
            // Row 17: the device is there and will not get in; whoever is held for it waits in vain.
            if refused.code != 503 {
                self.end_wakes_of_contacts(now, owner, request);
            }
        }
        outcome
    }

    fn register_proven(
        &mut self,
        now: Time,
        flow: FlowInfo,
        read: &Checked<'_>,
        aor: AorId,
        info: Option<String>,
        copy: Option<u64>,
    ) -> Result<(), Refused> {
        let request = read.message;
        let mut granted: SmallVec<[Granted; 1]> = SmallVec::new();
        match &read.contacts {
            Some(Contacts::Star) => self.remove_all(now, aor, request, read.cseq)?,
            contacts @ (Some(Contacts::List(_)) | None) => {
                let list = contacts.as_ref().map_or(&[][..], Contacts::list);
                let wanted = self.judge_contacts(aor, request, list, read.cseq)?;
                self.make_room(now, aor, &wanted)?;
                for one in wanted {
                    if let Some(one) = self.apply(now, &flow, aor, request, read.cseq, one) {
                        granted.push(one);
                    }
                }
            }
        }
        let asked_for = asked_wakes(request);
        let states = self.wake_states(aor, &granted, &asked_for);
        let bindings = self.accounts.get(aor).map_or(0, |entry| entry.bindings.len());
        for one in &granted {
            self.trace_pending(now, aor, one.device, Leg::RegisterIn(one.binding));
        }
        let headers = self.register_ok_headers(now, aor, request, &granted, info, states);
        self.answer_taken(now, flow, request, copy, aor, &headers);
        self.trace(now, None, Leg::Registered { bindings });
        // Only now, behind the 200 and in the same drain: what was held for these devices (RFC 8599 §5.6.2).
        for one in &granted {
            self.trace_pending(now, aor, one.device, Leg::RegisterOk(one.binding));
            self.release(now, aor, one.device, one.binding);
        }
        self.line_due(now, aor);
        Ok(())
    }

    /// A copy of a REGISTER that was taken, whose answer went lost or was late: what stands is told, nothing is changed. A
    /// binding that is gone since is not made again.
    fn taken_again(&mut self, now: Time, flow: FlowInfo, request: &Message, aor: AorId, copy: u64) {
        let contacts = request.contacts().ok();
        let list = contacts.as_ref().map_or(&[][..], Contacts::list);
        let granted: SmallVec<[Granted; 1]> =
            list.iter().filter_map(|address| self.granted_before(aor, request, *address)).collect();
        let states = self.wake_states(aor, &granted, &asked_wakes(request));
        let headers = self.register_ok_headers(now, aor, request, &granted, None, states);
        self.send_answer(flow, request, Some(copy), 200, &headers);
    }

    /// `Contact: *` (RFC 3261 §10.2.2, §10.3 step 6).
    pub(crate) fn remove_all(
        &mut self,
        now: Time,
        aor: AorId,
        request: &Message,
        cseq: u32,
    ) -> Result<(), Refused> {
        if request.expires().ok().flatten() != Some(0) {
            return Err(Refused::code(400));
        }
        let ids = self.accounts.get(aor).map(|entry| entry.bindings.clone()).unwrap_or_default();
        let late = ids
            .iter()
            .filter_map(|id| self.bindings.get(*id))
            .any(|binding| binding.call_id() == request.call_id() && cseq <= binding.cseq);
        if late {
            return Err(Refused::code(500));
        }
        for id in ids {
            self.remove_binding(now, id);
        }
        Ok(())
    }

    /// Makes one Contact's wish true.
    pub(crate) fn apply(
        &mut self,
        now: Time,
        flow: &FlowInfo,
        aor: AorId,
        request: &Message,
        cseq: u32,
        wanted: Wanted<'_>,
    ) -> Option<Granted> {
        if wanted.lifetime == 0 {
            if let Some(id) = wanted.existing {
                self.remove_binding(now, id);
            }
            return None;
        }
        let path: String = join(request.headers(Name::Path));
        let text = BindingText {
            uri: wanted.address.uri().as_str(),
            params: &wanted.params,
            call_id: request.call_id(),
            path: &path,
        };
        let (id, changed) = match wanted.existing {
            Some(id) => {
                let binding = self.bindings.get_mut(id)?;
                let changed = binding.text() != text;
                if changed {
                    binding.set_text(text);
                }
                (id, changed)
            }
            None => {
                let id = match wanted.drawn {
                    Some(drawn) => drawn,
                    // Two nodes cannot count together.
                    None if self.cluster.is_on() => BindingId::drawn(self.entropy.u64()),
                    None => self.bindings.next_id(),
                };
                self.bindings.insert(Binding::new(id, aor, text));
                if let Some(entry) = self.accounts.get_mut(aor) {
                    entry.bindings.push(id);
                }
                (id, true)
            }
        };
        self.release_token_of_others(now, aor, id, &wanted);
        self.bindings.set_token(id, wanted.token);
        let reads = self.reads_wake_state(request);
        let wall = self.after(self.bindings.get(id)?.registered);
        let clustered = self.cluster.is_on();
        if clustered {
            self.cluster.homes.remove(&id);
        }
        let binding = self.bindings.get_mut(id)?;
        let old_flow = binding.flow.replace(flow.id);
        binding.cseq = cseq;
        binding.q = wanted.address.q().unwrap_or(1000);
        binding.instance = wanted.instance;
        binding.reg_id = wanted.reg_id;
        binding.lifetime = wanted.lifetime;
        binding.expires = now + Duration::from_secs(u64::from(wanted.lifetime));
        binding.registered = wall;
        binding.wakeable = wanted.wakeable;
        binding.refresh_pushes = 0;
        if reads {
            binding.client = Client::Ours;
        }
        let device = binding.device();
        // The store may be behind by an eighth of the lifetime.
        let behind =
            binding.expires.since(binding.stored) > Duration::from_secs(u64::from(wanted.lifetime / 8));
        // The other nodes look after a binding by what is stored, and so does whoever comes to know where its device is.
        if changed || behind || clustered {
            binding.stored = binding.expires;
            self.persist_binding(now, id);
        }
        if old_flow != Some(flow.id) {
            if let Some(old) = old_flow {
                self.flows.detach(old, id);
            }
            self.flows.attach(flow.id, id);
        }
        self.arm_binding(now, id, false);
        if changed {
            self.changed(now, aor, Package::Reg);
            self.changed(now, aor, Package::Presence);
        }
        Some(Granted {
            binding: id,
            device,
            push: matches!(wanted.push, ContactPush::Bound(_)),
            query: asked(&wanted.push),
        })
    }

    /// The same token in another binding of this address, under another instance: the program was installed anew.
    fn release_token_of_others(&mut self, now: Time, aor: AorId, id: BindingId, wanted: &Wanted<'_>) {
        if wanted.token == 0 {
            return;
        }
        let old: SmallVec<[BindingId; 2]> = self
            .bindings
            .with_token(wanted.token)
            .filter(|other| other.id != id && other.aor == aor && other.instance != wanted.instance)
            .map(|other| other.id)
            .collect();
        for other in old {
            self.remove_binding(now, other);
        }
    }

    /// Whether the device that sends this reads `X-Wake-State`.
    fn reads_wake_state(&self, request: &Message) -> bool {
        request.header_by_name(WAKE_ID_HEADER).is_some()
            || request
                .header(Name::UserAgent)
                .and_then(|agent| agent.get(..8))
                .is_some_and(|agent| agent.eq_ignore_ascii_case("wakeline"))
    }

    /// Takes a binding away: it lapsed, it was unregistered, or its account is gone. What is held for it ends (row 26).
    pub(crate) fn remove_binding(&mut self, now: Time, id: BindingId) {
        if self.bindings.get(id).is_some() {
            self.outputs.push_back(Output::Persist(Box::new(Persist::BindingRemoved(id))));
            self.drop_binding(now, id);
        }
    }

    /// The same, when another node has stored it.
    pub(crate) fn drop_binding(&mut self, now: Time, id: BindingId) {
        let Some(mut binding) = self.bindings.remove(id) else { return };
        self.cluster.homes.remove(&id);
        let aor = binding.aor;
        if let Some(entry) = self.accounts.get_mut(aor) {
            entry.bindings.retain(|bound| *bound != id);
        }
        if let Some(flow) = binding.flow {
            self.flows.detach(flow, id);
        }
        self.deadlines.rearm(&mut binding.armed, Time::NEVER, Due::Binding(id));
        self.binding_gone(now, aor, binding.device(), id);
        self.changed(now, aor, Package::Reg);
        self.changed(now, aor, Package::Presence);
        self.line_due(now, aor);
    }

    /// Queues a binding for the store.
    pub(crate) fn persist_binding(&mut self, now: Time, id: BindingId) {
        let Some(binding) = self.bindings.get(id) else { return };
        let Some(entry) = self.accounts.get(binding.aor) else { return };
        let left = u64::from(binding.seconds_left(now));
        let here = self.cluster.is_on() && binding.flow.is_some();
        // What is told of another node's binding leaves it that node's.
        let (node, connected) =
            self.cluster.named_home(id).unwrap_or_else(|| (self.cluster.name.clone(), here));
        let stored = StoredBinding {
            id,
            aor: entry.name().to_owned(),
            contact: binding.uri().to_owned(),
            params: binding.params().to_owned(),
            call_id: binding.call_id().to_owned(),
            cseq: binding.cseq,
            path: binding.path().to_owned(),
            expires: WallTime(self.wall.0.saturating_add(left * 1000)),
            registered: binding.registered,
            lifetime: binding.lifetime,
            reg_id: binding.reg_id,
            token_dead: binding.wakeable == Wakeable::TokenDead,
            woken_elsewhere: binding.wakeable == Wakeable::Elsewhere,
            reads_wake_state: binding.client == Client::Ours,
            node,
            connected,
        };
        self.outputs.push_back(Output::Persist(Box::new(Persist::BindingPut(stored))));
    }

    /// The devices that the Contacts of a REGISTER are of, whether it succeeds or not.
    fn end_wakes_of_contacts(&mut self, now: Time, aor: AorId, request: &Message) {
        let Ok(contacts) = request.contacts() else { return };
        for address in contacts.list() {
            let Some(instance) = address.instance().filter(|text| !text.is_empty()) else { continue };
            let device = Device(self.keyed.digest(instance.as_bytes()) | 1);
            self.device_rejected(now, aor, device);
        }
    }

    /// A REGISTER with a wrong password. Anybody can send one, so it ends a wake only if it carries the token that only
    /// the device and we know (row 17).
    pub(crate) fn end_wakes_of_token(&mut self, now: Time, request: &Message) {
        let Ok(contacts) = request.contacts() else { return };
        for address in contacts.list() {
            let all = address.uri().params().iter().chain(address.params().iter());
            let Ok(ContactPush::Bound(parameters)) = wakeline_push::PushParameters::read(all) else {
                continue;
            };
            let token = self.keyed.digest(parameters.prid.expose().as_bytes()) | 1;
            let devices: SmallVec<[(AorId, Device); 2]> =
                self.bindings.with_token(token).map(|binding| (binding.aor, binding.device())).collect();
            for (aor, device) in devices {
                self.device_rejected(now, aor, device);
            }
        }
    }
}

/// The wakes that a REGISTER answers.
pub(crate) fn asked_wakes(request: &Message) -> SmallVec<[WakeId; 2]> {
    let asked_for = request.header_by_name(WAKE_ID_HEADER).unwrap_or("");
    asked_for.split(',').take(16).filter_map(|text| text.trim().parse().ok()).collect()
}

fn join<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for value in values {
        if !joined.is_empty() {
            joined.push_str(", ");
        }
        joined.push_str(value);
    }
    joined
}
