//! A REGISTER on its way through us to its upstream, and what its answer changes here (RFC 3261 §10, §16; RFC 8599 §5.6).
//!
//! The phone proves itself to the upstream: challenges, Authorization and Authentication-Info pass through. What leaves
//! us has a Contact of ours and no push parameter. Nothing is bound before the upstream's 2xx, and nothing changes when
//! it refuses.

use smallvec::SmallVec;
use wakeline_clock::Time;
use wakeline_flow::{FlowInfo, Transport};
use wakeline_push::{WAKE_ID_HEADER, X_MPUSH_HEADER};
use wakeline_sip_message::{Contacts, Message, Name, NameAddr};
use wakeline_sip_transaction::{ClientKey, Key, ServerKey};

use super::PATIENCE;
use crate::account::{Account, Credential, name_of};
use crate::contact::Granted;
use crate::context::Lost;
use crate::deadline::Due;
use crate::forward::towards_caller;
use crate::machine::Registrar;
use crate::number::{AorId, BindingId, UpstreamId};
use crate::refused::Refused;
use crate::seal::Purpose;
use crate::trace::Leg;
use crate::uplink::{Heard, Registering};

impl Registrar {
    /// Whether a REGISTER is for an upstream, and for which.
    pub(crate) fn registers_at(&self, request: &Message) -> Option<UpstreamId> {
        if self.upstreams.is_empty() {
            return None;
        }
        let host = request.request_uri().ok()?.host_text();
        let upstream = self.upstreams.of_domain(host)?;
        // An account whose credential we keep registers with us.
        let own = named(request).and_then(|named| self.accounts.by_text(&named));
        Some(upstream).filter(|_| own.is_none_or(|own| self.line_of(own).is_none()))
    }

    /// Takes one in and sends it on.
    pub(crate) fn register_upstream(
        &mut self,
        now: Time,
        server: ServerKey,
        request: &Message,
        flow: FlowInfo,
    ) -> Result<(), Refused> {
        let bad = |_| Refused::code(400);
        let upstream = self.registers_at(request).ok_or(Refused::code(403))?;
        // What comes from there is not sent back there (class S28).
        if self.upstreams.sender(&flow).is_some() {
            return Err(Refused::code(482));
        }
        let to = request.to().map_err(bad)?.uri();
        if !to.is_sip() || self.upstreams.of_domain(to.host_text()) != Some(upstream) {
            return Err(Refused::code(403));
        }
        let user = to.user_unescaped().ok_or(Refused::code(400))?;
        let named = name_of(&user, to.host_text());
        if let Some(wait) = self.must_wait(now, flow.remote.ip(), &named) {
            return Err(Refused::later(wait));
        }
        if self.upstreams.registering.len() >= self.config.limits.registering {
            return Err(Refused::busy());
        }
        let aor = self.accounts.by_text(&named).unwrap_or(AorId::NOBODY);
        let bindings = match request.contacts().map_err(bad)? {
            Contacts::Star if request.expires().ok().flatten() != Some(0) => return Err(Refused::code(400)),
            Contacts::Star => SmallVec::new(),
            Contacts::List(list) => {
                let cseq = request.cseq().map_err(bad)?.number;
                let wanted = self.judge_contacts(aor, request, &list, cseq)?;
                // Nobody goes before the upstream has proven who asks.
                self.room(now, aor, &wanted)?;
                let known: SmallVec<[Option<BindingId>; 1]> = wanted.iter().map(|one| one.existing).collect();
                known.into_iter().map(|known| known.unwrap_or_else(|| self.draw_binding_id())).collect()
            }
        };
        let Some(hop) = self.upstreams.open(upstream, &[]) else { return Err(self.upstream_down(now)) };
        let waiting = Registering {
            server,
            flow,
            request: request.clone(),
            upstream,
            hop,
            tried: SmallVec::new(),
            bindings,
            heard: Heard::Nothing,
        };
        self.send_register(now, Box::new(waiting)).map_err(|(_, refused)| refused)
    }

    /// A number for a binding that does not exist yet. Not the next one: a name made of it may be known to the upstream
    /// before the binding is stored here, and must never be somebody else's after a crash.
    fn draw_binding_id(&mut self) -> BindingId {
        loop {
            let id = BindingId::drawn(self.entropy.u64());
            if self.bindings.get(id).is_none() {
                return id;
            }
        }
    }

    fn send_register(
        &mut self,
        now: Time,
        waiting: Box<Registering>,
    ) -> Result<(), (Box<Registering>, Refused)> {
        let written = match self.written_register(&waiting) {
            Ok(written) => written,
            Err(refused) => return Err((waiting, refused)),
        };
        let sent_by = self.sent_by(&waiting.hop);
        match self.transactions.send_of_any_size(now, written, &waiting.hop, &sent_by) {
            Ok(client) => {
                self.upstreams.registering.insert(client, waiting);
                self.upstreams.patience.push_back((now + PATIENCE, client));
                self.arm_patience();
                Ok(())
            }
            Err(_) => Err((waiting, Refused::busy())),
        }
    }

    fn arm_patience(&mut self) {
        let next = self.upstreams.patience.front().map_or(Time::NEVER, |(until, _)| *until);
        self.deadlines.rearm(&mut self.upstreams.patience_armed, next, Due::Registering);
    }

    /// What leaves: nothing that wakes a phone, nothing that is between the phone and us (class S23).
    fn written_register(&self, waiting: &Registering) -> Result<Message, Refused> {
        let bad = |_| Refused::code(400);
        let request = &waiting.request;
        let hops = request.max_forwards().map_err(bad)?.map_or(70, |hops| hops.saturating_sub(1));
        let mut edit = request.edit().replace(Name::MaxForwards, hops);
        // The next hop is the operator's choice. Path and outbound end here: our Contact needs neither.
        let ours = [
            Name::Contact,
            Name::Expires,
            Name::Route,
            Name::Path,
            Name::Supported,
            Name::Require,
            Name::FeatureCaps,
        ];
        for name in ours {
            edit = edit.remove_all(name);
        }
        for name in [WAKE_ID_HEADER, X_MPUSH_HEADER].into_iter().filter_map(Name::parse) {
            edit = edit.remove_all(name);
        }
        for (name, kept) in
            [(Name::Supported, not_ours(request.supported())), (Name::Require, not_ours(request.require()))]
        {
            if !kept.is_empty() {
                edit = edit.append(name, kept);
            }
        }
        let expires = request.expires().map_err(bad)?;
        match request.contacts().map_err(bad)? {
            Contacts::Star => edit = edit.append(Name::Contact, "*").append(Name::Expires, 0),
            Contacts::List(list) => {
                let wish = self.upstreams.get(waiting.upstream).map_or(0, |one| one.expires);
                let mut longest = None;
                for (address, id) in list.iter().zip(&waiting.bindings) {
                    let asked = self.asked_of_upstream(address, expires, wish);
                    longest = longest.max(Some(asked));
                    edit =
                        edit.append(Name::Contact, self.upstream_contact(*id, &waiting.hop, address, asked));
                }
                if let Some(longest) = longest {
                    edit = edit.append(Name::Expires, longest);
                }
            }
        }
        edit.finish().map_err(|_| Refused::code(400))
    }

    /// Seconds that the upstream is asked for: the phone's wish, but for one that sleeps at least the operator's.
    fn asked_of_upstream(&self, address: &NameAddr<'_>, expires: Option<u32>, wish: u32) -> u32 {
        let asked = address.expires().or(expires);
        let all = || address.uri().params().iter().chain(address.params().iter());
        let wakeable = all().any(|(name, _)| wakeline_push::is_token_parameter(name));
        match (asked, wakeable) {
            (Some(0), _) => 0,
            (Some(asked), true) => asked.max(wish),
            (None, true) => self.config.push_expiry.default.max(wish),
            (Some(asked), false) => asked.min(self.config.plain_expiry.max),
            (None, false) => self.config.plain_expiry.default,
        }
    }

    /// Our Contact for a binding: always the same, so that a refresh is one to the upstream too.
    fn upstream_contact(&self, id: BindingId, hop: &FlowInfo, phones: &NameAddr<'_>, expires: u32) -> String {
        let name = self.seal.fixed(Purpose::UpstreamContact, id.0);
        let mut text = format!("{};expires={expires}", self.contact_under(&name, hop));
        if let Some(q) = phones.param("q").filter(|_| phones.q().is_some()) {
            text.push_str(&format!(";q={q}"));
        }
        text
    }

    /// `<sip:name@us>` as an upstream behind this flow reaches it.
    pub(crate) fn contact_under(&self, name: &str, hop: &FlowInfo) -> String {
        let transport = match hop.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
            Transport::Ws | Transport::Wss => ";transport=ws",
        };
        format!("<sip:{name}@{}{transport}>", self.sent_by(hop))
    }

    /// A response to a REGISTER that we sent on.
    pub(crate) fn on_register_response(&mut self, now: Time, client: ClientKey, response: &Message) {
        let status = response.status().unwrap_or(0);
        let Some(waiting) = self.upstreams.registering.get_mut(&client) else { return };
        let hop = waiting.hop.id;
        if status < 200 {
            waiting.heard = Heard::Trying;
            return self.hop_answered(hop);
        }
        let Some(waiting) = self.upstreams.registering.remove(&client) else { return };
        self.hop_answered(hop);
        match status {
            200..=299 => self.registered_upstream(now, *waiting, response),
            // Another one may have room.
            503 if self.upstreams.open(waiting.upstream, &and(&waiting.tried, hop)).is_some() => {
                self.register_elsewhere(now, waiting);
            }
            _ => self.refused_upstream(now, &waiting, response),
        }
    }

    /// No answer came from a next hop: the next one, or 503.
    pub(crate) fn register_lost(&mut self, now: Time, client: ClientKey, lost: Lost) {
        let Some(waiting) = self.upstreams.registering.remove(&client) else { return };
        match lost {
            Lost::Silence => self.hop_silent(now, waiting.hop.id),
            Lost::Flow => {}
        }
        self.register_elsewhere(now, waiting);
    }

    fn register_elsewhere(&mut self, now: Time, mut waiting: Box<Registering>) {
        waiting.tried.push(waiting.hop.id);
        let failed = match self.upstreams.open(waiting.upstream, &waiting.tried) {
            Some(hop) => {
                waiting.hop = hop;
                waiting.heard = Heard::Nothing;
                match self.send_register(now, waiting) {
                    Ok(()) => return,
                    Err(failed) => failed,
                }
            }
            None => {
                let refused = self.upstream_down(now);
                (waiting, refused)
            }
        };
        let (waiting, refused) = failed;
        self.trace(now, None, Leg::RegisterRefused(refused.code));
        self.answer(now, waiting.server, &waiting.request, refused.code, &refused.headers);
    }

    /// Those that have waited long enough for a first word.
    pub(crate) fn on_registering_due(&mut self, now: Time) {
        self.upstreams.patience_armed = Time::NEVER;
        while let Some((until, client)) = self.upstreams.patience.front().copied() {
            if until > now {
                break;
            }
            self.upstreams.patience.pop_front();
            let silent = self
                .upstreams
                .registering
                .get(&client)
                .is_some_and(|waiting| waiting.heard == Heard::Nothing);
            if silent {
                self.transactions.abandon(Key::Client(client));
                self.register_lost(now, client, Lost::Silence);
            }
        }
        self.arm_patience();
    }

    /// 503, and the trace that says why.
    pub(crate) fn upstream_down(&mut self, now: Time) -> Refused {
        self.trace(now, None, Leg::UpstreamDown);
        Refused::later(self.config.timers.retry_after)
    }

    /// The upstream refuses, or challenges. It goes to the phone as it came; here nothing changes but the account of
    /// failed attempts.
    fn refused_upstream(&mut self, now: Time, waiting: &Registering, response: &Message) {
        let status = response.status().unwrap_or(500);
        let request = &waiting.request;
        let proved = request.count(Name::Authorization) + request.count(Name::ProxyAuthorization) > 0;
        let challenges = [Name::WwwAuthenticate, Name::ProxyAuthenticate];
        let stale = challenges
            .into_iter()
            .flat_map(|name| response.challenges(name))
            .any(|challenge| challenge.is_ok_and(|challenge| challenge.is_stale()));
        // A number that is not there and a password that is wrong are both guesses (class S16).
        let guess = matches!(status, 403 | 404) || matches!(status, 401 | 407) && proved && !stale;
        if guess && let Some(named) = named(request) {
            self.guard.failed(now, waiting.flow.remote.ip(), &named);
        }
        if matches!(status, 403 | 404) {
            self.end_wakes_of_token(now, request);
        }
        self.trace(now, None, Leg::RegisterRefused(status));
        let Ok(passed) = towards_caller(response, 0) else { return };
        // Of its bindings a refusal says nothing that a phone needs.
        if let Ok(passed) = passed.edit().remove_all(Name::Contact).finish() {
            let _ = self.transactions.respond(now, waiting.server, passed);
        }
    }

    /// The upstream's 2xx: now the phone is bound here, told what it was granted, and given what was held for it.
    fn registered_upstream(&mut self, now: Time, waiting: Registering, response: &Message) {
        let Registering { server, flow, request, bindings, .. } = waiting;
        let Some(named) = named(&request) else { return };
        self.guard.succeeded(flow.remote.ip(), &named);
        let aor = match (self.accounts.by_text(&named), named.rsplit_once('@')) {
            (Some(aor), _) => aor,
            (None, Some((user, domain))) => self.accounts.put(Account {
                user: user.to_owned(),
                domain: domain.to_owned(),
                credential: Credential::AtUpstream,
                upstream: None,
                voicemail: None,
            }),
            (None, None) => return,
        };
        let granted = match self.bind(now, &flow, aor, &request, &bindings, response) {
            Ok(granted) => granted,
            Err(refused) => {
                self.trace(now, None, Leg::RegisterRefused(refused.code));
                return self.answer(now, server, &request, refused.code, &refused.headers);
            }
        };
        let asked_for = crate::register::asked_wakes(&request);
        let states = self.wake_states(aor, &granted, &asked_for);
        for one in &granted {
            self.trace_pending(now, aor, one.device, Leg::RegisterIn(one.binding));
        }
        let headers = self.register_ok_headers(now, aor, &request, &granted, None, states);
        // The proof of the upstream and what else it tells the phone stay; what it says of Contacts and ways is ours to say.
        let mut edit = response.edit().remove_first(Name::Via);
        let ours = [
            Name::Contact,
            Name::Expires,
            Name::Supported,
            Name::Require,
            Name::Path,
            Name::ServiceRoute,
            Name::FeatureCaps,
            Name::RecordRoute,
        ];
        for name in ours {
            edit = edit.remove_all(name);
        }
        for (name, value) in headers {
            edit = edit.append(name, value);
        }
        if let Ok(passed) = edit.finish() {
            let _ = self.transactions.respond(now, server, passed);
        }
        let bindings = self.accounts.get(aor).map_or(0, |entry| entry.bindings.len());
        self.trace(now, None, Leg::Registered { bindings });
        // Behind the 200 and in the same flight, once per device (RFC 8599 §5.6.2).
        for one in &granted {
            self.trace_pending(now, aor, one.device, Leg::RegisterOk(one.binding));
            self.release(now, aor, one.device, one.binding);
        }
    }

    /// Makes true what the upstream has granted.
    fn bind(
        &mut self,
        now: Time,
        flow: &FlowInfo,
        aor: AorId,
        request: &Message,
        bindings: &[BindingId],
        response: &Message,
    ) -> Result<SmallVec<[Granted; 1]>, Refused> {
        let bad = |_| Refused::code(400);
        let cseq = request.cseq().map_err(bad)?.number;
        let list = match request.contacts().map_err(bad)? {
            Contacts::Star => {
                self.remove_all(now, aor, request, cseq)?;
                return Ok(SmallVec::new());
            }
            Contacts::List(list) => list,
        };
        // Meanwhile another REGISTER may have been granted: what was judged before is judged again.
        let wanted = self.judge_contacts(aor, request, &list, cseq)?;
        self.make_room(now, aor, &wanted)?;
        let mut granted = SmallVec::new();
        for (mut one, id) in wanted.into_iter().zip(bindings) {
            let lifetime = self.lifetime_from(response, Purpose::UpstreamContact, id.0, one.lifetime);
            one.lifetime = one.lifetime.min(lifetime);
            one.drawn = Some(*id);
            granted.extend(self.apply(now, flow, aor, request, cseq, one));
        }
        Ok(granted)
    }

    /// The lifetime that a 2xx gives to our Contact. An upstream that lists none has granted what its Expires says, or
    /// what was asked (RFC 3261 §10.3 step 8 wants the list).
    pub(super) fn lifetime_from(&self, response: &Message, purpose: Purpose, number: u64, asked: u32) -> u32 {
        let general = response.expires().ok().flatten();
        let Ok(contacts) = response.contacts() else { return general.unwrap_or(asked) };
        let ours = contacts.list().iter().find(|address| {
            let name = address.uri().user();
            name.and_then(|name| self.seal.open(purpose, name)) == Some(number)
        });
        ours.and_then(|address| address.expires()).or(general).unwrap_or(asked)
    }
}

/// The address of record that a REGISTER is for.
fn named(request: &Message) -> Option<String> {
    let to = request.to().ok()?.uri();
    Some(name_of(&to.user_unescaped()?, to.host_text()))
}

fn and(tried: &[wakeline_flow::FlowId], one: wakeline_flow::FlowId) -> SmallVec<[wakeline_flow::FlowId; 2]> {
    tried.iter().copied().chain([one]).collect()
}

/// Option tags without those that end at this edge.
fn not_ours<'a>(tags: impl Iterator<Item = &'a str>) -> String {
    let kept: Vec<&str> = tags
        .filter(|tag| !["path", "outbound", "gruu"].iter().any(|ours| tag.eq_ignore_ascii_case(ours)))
        .collect();
    kept.join(", ")
}
