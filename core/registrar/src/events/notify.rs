//! NOTIFY: what is told, how often, and when nobody listens any more (RFC 6665 §4.2.2).

use wakeline_clock::Time;
use wakeline_flow::FlowInfo;
use wakeline_sip_message::{Message, Method, Name};
use wakeline_sip_transaction::ClientKey;

use super::{Package, Subscription, Wish};
use crate::context::Lost;
use crate::deadline::Due;
use crate::machine::Registrar;
use crate::number::AorId;
use crate::trace::Leg;

impl Registrar {
    /// A state may have changed: whoever watches it is told, not faster than its package allows.
    pub(crate) fn changed(&mut self, now: Time, aor: AorId, package: Package) {
        let Some(watching) = self.events.by_state.get(&(aor, package)).cloned() else { return };
        for number in watching {
            if let Some(known) = self.events.subscriptions.get_mut(&number)
                && known.wish == Wish::Nothing
            {
                known.wish = Wish::Change;
            }
            self.notify_when_due(now, number);
        }
    }

    /// A watcher is on the network again: what it has missed is told.
    pub(crate) fn notify_watcher(&mut self, now: Time, watcher: AorId) {
        let Some(watching) = self.events.by_watcher.get(&watcher).cloned() else { return };
        for number in watching {
            self.notify_when_due(now, number);
        }
    }

    fn notify_when_due(&mut self, now: Time, number: u64) {
        let Some(known) = self.events.subscriptions.get(&number) else { return };
        if known.last + known.package.pace() <= now {
            self.notify(now, number);
        } else {
            self.arm_subscription(number);
        }
    }

    pub(crate) fn on_subscription_due(&mut self, now: Time, number: u64) {
        let Some(known) = self.events.subscriptions.get_mut(&number) else { return };
        known.armed = Time::NEVER;
        if known.expires <= now {
            known.wish = Wish::End("timeout");
        }
        self.notify(now, number);
    }

    fn arm_subscription(&mut self, number: u64) {
        let Some(known) = self.events.subscriptions.get(&number) else { return };
        let waits = match known.wish {
            Wish::Nothing => Time::NEVER,
            // One that sleeps is told when it is back; one that has not answered, when it has.
            Wish::Change | Wish::State | Wish::End(_)
                if known.sending.is_some() || self.flow_of(known).is_none() =>
            {
                Time::NEVER
            }
            Wish::Change | Wish::State | Wish::End(_) => known.last + known.package.pace(),
        };
        let next = waits.min(known.expires);
        let mut armed = known.armed;
        self.deadlines.rearm(&mut armed, next, Due::Subscription(number));
        if let Some(known) = self.events.subscriptions.get_mut(&number) {
            known.armed = armed;
        }
    }

    /// Where a watcher is now: its device's connection, else the one that it asked on.
    fn flow_of(&self, known: &Subscription) -> Option<FlowInfo> {
        let id = match known.binding.and_then(|id| self.bindings.get(id)) {
            Some(binding) => binding.flow?,
            None => known.flow,
        };
        self.flows.get(id).map(|flow| flow.info)
    }

    /// Tells a watcher what is to be told, now.
    pub(crate) fn notify(&mut self, now: Time, number: u64) {
        let Some(known) = self.events.subscriptions.get(&number) else { return };
        let (aor, package, wish) = (known.aor, known.package, known.wish);
        let flow = self.flow_of(known);
        match wish {
            Wish::Nothing => return self.arm_subscription(number),
            // Nobody is there to be told, or the answer to the last one is: over is over.
            Wish::End(_) if flow.is_none() => return self.end_subscription(number),
            Wish::Change | Wish::State if flow.is_none() || known.sending.is_some() => {
                return self.arm_subscription(number);
            }
            Wish::Change | Wish::State | Wish::End(_) => {}
        }
        let Some(info) = flow else { return };
        let state = self.state_mark(now, aor, package);
        if wish == Wish::Change && state == known.told {
            if let Some(known) = self.events.subscriptions.get_mut(&number) {
                known.wish = Wish::Nothing;
            }
            return self.arm_subscription(number);
        }
        let body = self.content(now, aor, package, known.version);
        let (kind, subtype) = package.body();
        let sent_by = self.sent_by(&info);
        let contact = self.own_contact(&info);
        let Some(known) = self.events.subscriptions.get_mut(&number) else { return };
        let standing = match wish {
            Wish::End(reason) => format!("terminated;reason={reason}"),
            Wish::Nothing | Wish::Change | Wish::State => {
                format!("active;expires={}", known.expires.since(now).as_secs())
            }
        };
        let request = known
            .dialog
            .request(Method::Notify)
            .header(Name::Contact, contact)
            .header(Name::Event, &known.event)
            .header(Name::SubscriptionState, standing)
            .body(format!("{kind}/{subtype}"), body)
            .build();
        known.version = known.version.wrapping_add(1);
        known.last = now;
        known.told = state;
        let sent = request
            .ok()
            .and_then(|request| self.transactions.send_of_any_size(now, request, &info, &sent_by).ok());
        self.trace(now, None, Leg::Notified);
        match (wish, sent) {
            (Wish::End(_), _) | (_, None) => self.end_subscription(number),
            (Wish::Nothing | Wish::Change | Wish::State, Some(client)) => {
                if let Some(known) = self.events.subscriptions.get_mut(&number) {
                    known.wish = Wish::Nothing;
                    known.sending = Some(client);
                }
                self.events.by_client.insert(client, number);
                self.arm_subscription(number);
            }
        }
    }

    /// A response to a NOTIFY of ours; `false` if it is to something else.
    pub(crate) fn on_notify_response(&mut self, now: Time, client: ClientKey, response: &Message) -> bool {
        let Some(number) = self.events.by_client.get(&client).copied() else { return false };
        let status = response.status().unwrap_or(0);
        if status < 200 {
            return true;
        }
        self.events.by_client.remove(&client);
        let Some(known) = self.events.subscriptions.get_mut(&number) else { return true };
        known.sending = None;
        match status {
            200..=299 => {}
            // It may listen another time.
            408 | 480 | 500 | 503 => known.wish = Wish::Change,
            // It does not, or does not know of it (RFC 6665 §4.2.2).
            _ => {
                self.end_subscription(number);
                return true;
            }
        }
        self.notify_when_due(now, number);
        true
    }

    /// No answer to a NOTIFY came; `false` if the transaction was for something else.
    pub(crate) fn notify_lost(&mut self, client: ClientKey, lost: Lost) -> bool {
        let Some(number) = self.events.by_client.remove(&client) else { return false };
        match lost {
            Lost::Silence => self.end_subscription(number),
            // It went to sleep: it is told when it is back.
            Lost::Flow => {
                if let Some(known) = self.events.subscriptions.get_mut(&number) {
                    known.sending = None;
                    known.wish = Wish::State;
                }
                self.arm_subscription(number);
            }
        }
        true
    }

    fn end_subscription(&mut self, number: u64) {
        if let Some(mut gone) = self.events.remove(number) {
            self.deadlines.rearm(&mut gone.armed, Time::NEVER, Due::Subscription(number));
            if !self.events.is_watched(gone.aor, Package::Dialog) {
                self.events.calls.forget(gone.aor);
            }
        }
    }

    /// The account is gone: nobody is told of it any more, and it is told nothing.
    pub(crate) fn drop_events_of(&mut self, now: Time, aor: AorId) {
        for package in Package::ALL {
            for number in self.events.by_state.get(&(aor, package)).cloned().unwrap_or_default() {
                if let Some(known) = self.events.subscriptions.get_mut(&number) {
                    known.wish = Wish::End("noresource");
                }
                self.notify(now, number);
                self.end_subscription(number);
            }
            self.drop_publications(aor, package);
        }
        for number in self.events.by_watcher.get(&aor).cloned().unwrap_or_default() {
            self.end_subscription(number);
        }
        self.events.summaries.remove(&aor);
        self.events.calls.forget(aor);
    }
}
