//! SUBSCRIBE: who may be told, for how long (RFC 6665 §4.2.1).

use wakeline_clock::Time;
use wakeline_flow::{FlowInfo, Transport};
use wakeline_sip_dialog::{Dialog, DialogId};
use wakeline_sip_message::{Builder, Message, Method, Name};
use wakeline_sip_transaction::ServerKey;

use super::{Package, Subscription, Wish};
use crate::machine::Registrar;
use crate::number::AorId;
use crate::refused::Refused;
use crate::route::{Destination, Way};
use crate::trace::Leg;

/// Seconds: at least, when none are asked for, at most.
const MIN: u32 = 60;
const DEFAULT: u32 = 3600;
const MAX: u32 = 86_400;

impl Registrar {
    /// Serves a SUBSCRIBE or PUBLISH that is for us; `None` for every other request.
    pub(crate) fn serve_event(
        &mut self,
        now: Time,
        key: ServerKey,
        request: &Message,
        flow: FlowInfo,
        way: &Way,
    ) -> Option<Result<(), Refused>> {
        let method = request.method();
        if !matches!(method, Method::Subscribe | Method::Publish) || self.config.limits.subscriptions == 0 {
            return None;
        }
        if let Some(known) =
            DialogId::of_request(request).and_then(|id| self.events.by_dialog.get(&id).copied())
        {
            return Some(self.refresh_subscription(now, key, request, flow, known));
        }
        let Destination::Aor(aor) = way.to else { return None };
        let domain = self.accounts.get(aor)?.domain();
        if request.to_tag().is_some() || self.upstreams.of_domain(domain).is_some() {
            return None;
        }
        Some(self.serve_new(now, key, request, flow, aor))
    }

    fn serve_new(
        &mut self,
        now: Time,
        key: ServerKey,
        request: &Message,
        flow: FlowInfo,
        aor: AorId,
    ) -> Result<(), Refused> {
        // Whoever may not ask learns nothing, not even which packages there are.
        self.admit(now, &flow, request)?;
        let from = request.from().map_err(|_| Refused::code(400))?.uri();
        let user = from.user_unescaped().unwrap_or_default();
        let watcher = self.accounts.find(&user, from.host_text()).ok_or(Refused::code(403))?;
        let event = request.event().ok().flatten();
        let package = event.and_then(|event| Package::named(event.value())).ok_or_else(|| {
            let known: Vec<&str> = Package::ALL.into_iter().map(Package::name).collect();
            Refused { code: 489, headers: vec![(Name::AllowEvents, known.join(", "))] }
        })?;
        if request.method() == Method::Publish {
            return self.publish(now, key, request, aor, watcher, package);
        }
        if package.is_private() && watcher != aor {
            return Err(Refused::code(403));
        }
        let (kind, subtype) = package.body();
        let mut accepts = request.accept().flatten().peekable();
        if accepts.peek().is_some() && !accepts.any(|one| one.takes(kind, subtype)) {
            return Err(Refused::code(406));
        }
        let lifetime = lifetime(request)?;
        let limits = &self.config.limits;
        let count = |numbers: Option<&Vec<u64>>| numbers.map_or(0, Vec::len);
        if self.events.subscriptions.len() >= limits.subscriptions
            || count(self.events.by_state.get(&(aor, package))) >= limits.subscriptions_per_aor
            || count(self.events.by_watcher.get(&watcher)) >= limits.subscriptions_per_aor
        {
            return Err(Refused::busy());
        }
        let tag = self.entropy.token(10);
        let response = Builder::response(request, 200, "")
            .to_tag(&tag)
            .copy(request, Name::RecordRoute)
            .header(Name::Expires, lifetime)
            .header(Name::Contact, self.own_contact(&flow))
            .build()
            .map_err(|_| Refused::code(400))?;
        let dialog = Dialog::from_uas(request, &response).map_err(|_| Refused::code(400))?;
        let _ = self.transactions.respond(now, key, response);
        let number = self.events.next_number();
        self.events.by_dialog.insert(dialog.id().clone(), number);
        self.events.by_state.entry((aor, package)).or_default().push(number);
        self.events.by_watcher.entry(watcher).or_default().push(number);
        let subscription = Subscription {
            package,
            aor,
            watcher,
            dialog,
            event: request.header(Name::Event).unwrap_or(package.name()).to_owned(),
            flow: flow.id,
            binding: self.sender_binding(&flow, request),
            expires: now + core::time::Duration::from_secs(u64::from(lifetime)),
            version: 0,
            told: 0,
            last: now,
            // Zero seconds: one look (RFC 6665 §4.4.3).
            wish: if lifetime == 0 { Wish::End("timeout") } else { Wish::State },
            sending: None,
            armed: Time::NEVER,
        };
        self.events.subscriptions.insert(number, subscription);
        self.trace(now, None, Leg::Subscribed);
        self.notify(now, number);
        Ok(())
    }

    fn refresh_subscription(
        &mut self,
        now: Time,
        key: ServerKey,
        request: &Message,
        flow: FlowInfo,
        number: u64,
    ) -> Result<(), Refused> {
        if request.method() != Method::Subscribe {
            return Err(Refused::code(405));
        }
        self.admit(now, &flow, request)?;
        let lifetime = lifetime(request)?;
        let contact = self.own_contact(&flow);
        let binding = self.sender_binding(&flow, request);
        let known = self.events.subscriptions.get_mut(&number).ok_or(Refused::code(481))?;
        // RFC 3261 §12.2.2.
        known.dialog.accept(request).map_err(|_| Refused::code(500))?;
        known.dialog.refresh_target(request);
        known.flow = flow.id;
        known.binding = binding.or(known.binding);
        known.expires = now + core::time::Duration::from_secs(u64::from(lifetime));
        known.wish = if lifetime == 0 { Wish::End("timeout") } else { Wish::State };
        let headers = [(Name::Expires, lifetime.to_string()), (Name::Contact, contact)];
        self.answer(now, key, request, 200, &headers);
        self.notify(now, number);
        Ok(())
    }

    /// Our Contact in dialogs of our own. It has no user: what comes there is for us.
    pub(super) fn own_contact(&self, flow: &FlowInfo) -> String {
        let transport = match flow.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
            Transport::Ws | Transport::Wss => ";transport=ws",
        };
        format!("<sip:{}{transport}>", self.sent_by(flow))
    }
}

/// What is granted, in seconds (RFC 6665 §4.2.1.1).
pub(super) fn lifetime(request: &Message) -> Result<u32, Refused> {
    match request.expires().map_err(|_| Refused::code(400))? {
        None => Ok(DEFAULT),
        Some(0) => Ok(0),
        Some(asked) if asked < MIN => Err(Refused::brief(MIN)),
        Some(asked) => Ok(asked.min(MAX)),
    }
}
