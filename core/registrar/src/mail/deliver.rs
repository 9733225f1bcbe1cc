//! Mail on its way to a device that has come back, and the push that asks it to.

use core::time::Duration;

use wakeline_clock::Time;
use wakeline_sip_message::{Message, Name};
use wakeline_sip_transaction::{ClientKey, Key};

use super::{Addressee, Standing, Target, What};
use crate::binding::{Client, Wakeable};
use crate::config::LateForeignDevice;
use crate::context::Context;
use crate::forward::as_request_uri;
use crate::machine::{PushFor, Registrar};
use crate::number::{AorId, BindingId, Device, PushKey};
use crate::output::PushPurpose;
use crate::trace::Leg;

impl Registrar {
    /// Sends a device the oldest piece that waits for it; whether one is on its way now.
    pub(crate) fn deliver(&mut self, now: Time, aor: AorId, device: Device, binding: BindingId) -> bool {
        if !self.mails.has(aor) {
            return false;
        }
        self.adopt(aor, device, binding);
        loop {
            if self.mails.is_busy(aor, device) {
                return true;
            }
            let waits = |one: &Addressee| one.device == device;
            let next = self.mails.of(aor).find(|(_, mail)| mail.addressees.iter().any(waits));
            let Some((number, mail)) = next else { return false };
            if let What::Missed { wake } = mail.what
                && self.told_by_wake_state(aor, &wake, binding)
            {
                self.delivered(now, number, device);
                continue;
            }
            let Some(found) = self.bindings.get(binding) else { return false };
            let flow = found.flow.and_then(|flow| self.flows.get(flow)).map(|flow| flow.info);
            let Some(info) = flow else { return false };
            let mut edit = mail.request.edit();
            if mail.target == Target::Contact {
                edit = edit.set_request_uri(as_request_uri(found.uri()));
                if !found.path().is_empty() {
                    edit = edit.prepend(Name::Route, found.path());
                }
            }
            let sent_by = self.sent_by(&info);
            let sent = edit
                .finish()
                .ok()
                .and_then(|request| self.transactions.send_of_any_size(now, request, &info, &sent_by).ok());
            let Some(client) = sent else { return false };
            self.mails.sent(number, device, client, info.id);
            return true;
        }
    }

    /// A device has registered: what went out on a connection that it has left is sent again on the new one.
    pub(crate) fn deliver_anew(&mut self, now: Time, aor: AorId, device: Device, binding: BindingId) {
        self.mails.woken.remove(&(aor, device));
        let flow = self.bindings.get(binding).and_then(|binding| binding.flow);
        if let Some(client) = flow.and_then(|flow| self.mails.astray(aor, device, flow)) {
            self.transactions.abandon(Key::Client(client));
            self.mails.came_back(client);
        }
        self.deliver(now, aor, device, binding);
    }

    /// Mail whose devices have all left for good is for whoever comes: the address of record is the same.
    fn adopt(&mut self, aor: AorId, device: Device, binding: BindingId) {
        let Some(entry) = self.accounts.get(aor) else { return };
        let bound: Vec<Device> = entry
            .bindings
            .iter()
            .filter_map(|id| self.bindings.get(*id))
            .map(crate::binding::Binding::device)
            .collect();
        let orphans: Vec<u64> = self
            .mails
            .of(aor)
            .filter(|(_, mail)| mail.target == Target::Contact)
            .filter(|(_, mail)| !mail.addressees.iter().any(|one| bound.contains(&one.device)))
            .map(|(number, _)| number)
            .collect();
        let Some(name) = self.bindings.get(binding).map(super::take::stored_device) else { return };
        for number in orphans {
            if let Some(mail) = self.mails.get_mut(number) {
                let one = Addressee { device, name: name.clone(), standing: Standing::Waiting };
                mail.addressees = smallvec::SmallVec::from_elem(one, 1);
            }
            self.persist_mail(number);
        }
    }

    /// Whether the 200 to this device's REGISTER, or the INVITE and CANCEL behind it, tell it of a call.
    fn told_by_wake_state(&self, aor: AorId, wake: &wakeline_push::WakeId, binding: BindingId) -> bool {
        let Some(binding) = self.bindings.get(binding) else { return false };
        let shown = match binding.client {
            Client::Ours => true,
            Client::Foreign => {
                self.config.late_foreign_device == LateForeignDevice::InviteThenCancel
                    && binding.wakeable.by_push()
            }
        };
        shown && self.outcomes.state(aor, wake).is_some()
    }

    /// A device has it, or will never take it.
    fn delivered(&mut self, now: Time, number: u64, device: Device) {
        let Some(mail) = self.mails.get_mut(number) else { return };
        mail.addressees.retain(|one| one.device != device);
        let (left, what) = (mail.addressees.len(), mail.what);
        if let What::Message { mark } = what {
            let most = self.config.limits.mail;
            self.mails.remember(now, mark ^ device.0, most);
        }
        if left == 0 {
            self.drop_mail(number);
        } else {
            self.persist_mail(number);
        }
    }

    /// A response to a piece of mail; `false` if it is to something else.
    pub(crate) fn on_mail_response(&mut self, now: Time, client: ClientKey, response: &Message) -> bool {
        if !self.mails.is_sent_by(client) {
            return false;
        }
        let status = response.status().unwrap_or(0);
        if status < 200 {
            return true;
        }
        let Some((number, device)) = self.mails.came_back(client) else { return true };
        let Some(aor) = self.mails.get(number).map(|mail| mail.aor) else { return true };
        match status {
            // It may take it another time: after its next REGISTER.
            408 | 430 | 480 | 486 | 491 | 500 | 503 | 504 | 600 => return true,
            200..=299 => self.trace(now, None, Leg::MailDelivered),
            // 482: it has it already. Anything else: it will not take this one, however often it comes.
            _ => self.trace(now, None, Leg::MailRefused(status)),
        }
        self.delivered(now, number, device);
        if let Some(binding) = self.binding_of_device(aor, device) {
            self.deliver(now, aor, device, binding);
        }
        true
    }

    /// No answer came; `false` if the transaction was for something else.
    pub(crate) fn mail_lost(&mut self, client: ClientKey) -> bool {
        self.mails.came_back(client).is_some()
    }

    /// The binding of a device whose connection lives.
    pub(super) fn binding_of_device(&self, aor: AorId, device: Device) -> Option<BindingId> {
        let bindings = self.accounts.get(aor)?.bindings.iter().filter_map(|id| self.bindings.get(*id));
        let alive = |flow| self.flows.get(flow).is_some();
        bindings.filter(|one| one.device() == device && one.flow.is_some_and(alive)).map(|one| one.id).next()
    }

    /// Asks a device to come for a MESSAGE. Never by a push that rings; once in a while only, since one REGISTER fetches all
    /// that waits; and within allowances of its own, so that a chat uses up no call's (class S24).
    pub(crate) fn wake_for_mail(
        &mut self,
        now: Time,
        aor: AorId,
        device: Device,
        binding: BindingId,
        context: &Context,
    ) {
        let quiet = self.bindings.get(binding).is_some_and(|found| match found.wakeable {
            Wakeable::Fcm | Wakeable::ApnsRemote | Wakeable::Hook | Wakeable::Webpush => true,
            Wakeable::Apns | Wakeable::Never | Wakeable::Elsewhere | Wakeable::TokenDead => false,
        });
        let again = self.mails.woken.get(&(aor, device)).is_some_and(|at| {
            // The same push is still good.
            now.since(*at) < self.config.timers.wake
        });
        // Where it is connected it gets its mail at once.
        if !quiet || again || self.cluster.home(binding).is_some() {
            return;
        }
        if !self.mail_per_caller.take(now, context.quota)
            || !self.mail_per_aor.take(now, self.quota_name(aor))
        {
            self.trace(now, Some(context.wake), Leg::OverQuota);
            return;
        }
        self.mails.woken.insert((aor, device), now);
        self.last_push += 1;
        let key = PushKey(self.last_push);
        self.pushes.insert(key, PushFor::Mail(binding));
        // Worth delivering for as long as the mail waits; services keep nothing for longer than this.
        let good_for = self.config.mail.keep.min(Duration::from_secs(28 * 86_400));
        if self.push_out(binding, key, PushPurpose::Message { wake: context.wake }, 1, good_for) {
            self.trace(now, Some(context.wake), Leg::PushAsked { key, binding, attempt: 1 });
        } else {
            self.pushes.remove(&key);
        }
    }
}
