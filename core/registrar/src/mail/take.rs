//! A request that is kept for a device instead of being held: which ones, how many, until when.

use core::time::Duration;

use smallvec::SmallVec;
use wakeline_clock::{Time, WallTime};
use wakeline_sip_message::{Message, Method, Name, date_text};

use super::{Addressee, Mail, Standing, Target, What};
use crate::binding::Binding;
use crate::contact::instance_urn;
use crate::context::{Context, Kind, Step};
use crate::deadline::Due;
use crate::forward::{Leg as Written, towards_device, within_dialog};
use crate::machine::Registrar;
use crate::number::{AorId, BindingId, Device};
use crate::output::{Output, Persist, StoredDevice, StoredMail, StoredWhat};
use crate::trace::Leg;

/// Packages whose NOTIFY tells the whole state: the last one stands for all before it, and none is worth a push.
const WHOLE_STATE: [&str; 5] = ["message-summary", "presence", "dialog", "reg", "conference"];

/// What a request is when its device sleeps.
enum Kept {
    Message,
    Notice,
}

impl Registrar {
    /// Whether a request waits as mail for a device that is not there, instead of being held.
    pub(crate) fn is_mail(&self, context: &Context) -> bool {
        self.kept_as(context).is_some()
    }

    fn kept_as(&self, context: &Context) -> Option<Kept> {
        let request = context.request.as_ref()?;
        if context.aor.is_none() || context.upstream.is_some() || self.config.limits.mail == 0 {
            return None;
        }
        match (context.kind, request.method()) {
            // RFC 3428 §4: Expires zero is now or never. What is being typed is of no use later (RFC 3994 §3.1).
            (Kind::Other, Method::Message) => {
                let typing = request
                    .content_type_text()
                    .is_some_and(|text| text.to_ascii_lowercase().starts_with("application/im-iscomposing"));
                (request.expires().ok().flatten() != Some(0) && !typing).then_some(Kept::Message)
            }
            (Kind::Other | Kind::InDialog, Method::Notify) => {
                let package = request.event().ok().flatten()?;
                let whole = WHOLE_STATE.iter().any(|known| package.value().eq_ignore_ascii_case(known));
                whole.then_some(Kept::Notice)
            }
            _ => None,
        }
    }

    /// Keeps a context's request for one of its devices; gives what that is worth to the sender.
    pub(crate) fn keep(&mut self, now: Time, context: &Context, place: usize) -> Step {
        let gone = Step::Ended(context.kind.absent());
        let (Some(kept), Some(aor)) = (self.kept_as(context), context.aor) else { return gone };
        let Some(request) = context.request.as_ref() else { return gone };
        let Some(branch) = context.branches.get(place) else { return gone };
        let Some(binding) = branch.binding else { return gone };
        let device = branch.device;
        if request.len() > self.config.limits.mail_each {
            return Step::Ended(513);
        }
        let Some(written) = as_mail(context, request, &self.config.realm, self.wall) else {
            return Step::Ended(500);
        };
        let mark = |parts: [&str; 4]| self.keyed.digest(parts.join("\n").as_bytes());
        let number = aor.0.to_string();
        let tag = request.from_tag().unwrap_or("");
        let (what, worth) = match kept {
            Kept::Message => {
                let cseq = request.header(Name::CSeq).unwrap_or("");
                (What::Message { mark: mark([&number, request.call_id(), tag, cseq]) }, 202)
            }
            Kept::Notice => {
                let event = request.header(Name::Event).unwrap_or("");
                let dialog = if request.to_tag().is_some() { request.call_id() } else { "" };
                (What::Notice { mark: mark([&number, dialog, event, ""]) }, 200)
            }
        };
        let target = if request.to_tag().is_some() { Target::Dialog } else { Target::Contact };
        let asked = request.expires().ok().flatten().filter(|_| matches!(kept, Kept::Message));
        let longest = self.config.mail.keep;
        let keep = asked.map_or(longest, |asked| Duration::from_secs(u64::from(asked)).min(longest));
        match self.put_mail(now, aor, what, target, written, keep, &[(device, binding)]) {
            Ok(()) => {}
            Err(code) => return Step::Ended(code),
        }
        self.trace(now, Some(context.wake), Leg::MailKept(binding));
        if !self.deliver(now, aor, device, binding) || self.is_unproven(now, binding) {
            match kept {
                Kept::Message => self.wake_for_mail(now, aor, device, binding, context),
                Kept::Notice => {}
            }
        }
        Step::Ended(worth)
    }

    fn is_unproven(&self, now: Time, binding: BindingId) -> bool {
        use crate::flow::Liveness;
        let flow = self.bindings.get(binding).and_then(|binding| binding.flow);
        match self.flows.liveness(now, flow) {
            Liveness::Proven(_) => false,
            Liveness::Unproven(_) | Liveness::Asleep => true,
        }
    }

    /// Puts a piece of mail away for some devices; a code when there is no room.
    #[expect(clippy::too_many_arguments, reason = "a piece of mail, each part once")]
    pub(crate) fn put_mail(
        &mut self,
        now: Time,
        aor: AorId,
        what: What,
        target: Target,
        request: Message,
        keep: Duration,
        devices: &[(Device, BindingId)],
    ) -> Result<(), u16> {
        let named = devices.iter().filter_map(|(device, binding)| {
            let name = stored_device(self.bindings.get(*binding)?);
            Some(Addressee { device: *device, name, standing: Standing::Waiting })
        });
        let named: SmallVec<[Addressee; 1]> = named.collect();
        if named.is_empty() {
            return Err(480);
        }
        if let What::Message { mark } = what {
            // For this device it has been here before (the sender missed the 202).
            let had = |device: Device| mark ^ device.0;
            if named.iter().all(|one| self.mails.is_recent(had(one.device))) {
                return Ok(());
            }
        }
        let known = self.mails.of(aor).find(|(_, mail)| mail.what == what).map(|(number, _)| number);
        match (known, what) {
            (Some(number), What::Message { .. } | What::Missed { .. }) => {
                let Some(mail) = self.mails.get_mut(number) else { return Ok(()) };
                for one in named {
                    if !mail.addressees.iter().any(|known| known.device == one.device) {
                        mail.addressees.push(one);
                    }
                }
                self.persist_mail(number);
                return Ok(());
            }
            // A newer state: whoever waits for the old one gets this one, once.
            (Some(number), What::Notice { .. }) => {
                let old = self.mails.remove(number);
                let others = old.into_iter().flat_map(|old| {
                    self.outputs.push_back(Output::Persist(Box::new(Persist::MailRemoved(old.name))));
                    old.addressees
                });
                let mut all = named;
                for mut other in others {
                    if !all.iter().any(|one| one.device == other.device) {
                        other.standing = Standing::Waiting;
                        all.push(other);
                    }
                }
                self.insert_mail(now, aor, what, target, request, keep, all);
                return Ok(());
            }
            (None, _) => {}
        }
        if let What::Missed { .. } = what {
            // Of missed calls the newest count.
            while self.mails.of(aor).filter(|(_, mail)| matches!(mail.what, What::Missed { .. })).count()
                >= self.config.limits.missed_per_aor
            {
                let oldest = self.mails.of(aor).find(|(_, mail)| matches!(mail.what, What::Missed { .. }));
                let Some(number) = oldest.map(|(number, _)| number) else { break };
                self.drop_mail(number);
            }
        }
        let limits = &self.config.limits;
        let full = self.mails.of(aor).count() >= limits.mail_per_aor
            || self.mails.len() >= limits.mail
            || self.mails.bytes() + request.len() > limits.mail_bytes;
        if full {
            self.trace(now, None, Leg::MailFull);
            return Err(480);
        }
        self.insert_mail(now, aor, what, target, request, keep, named);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "a piece of mail, each part once")]
    fn insert_mail(
        &mut self,
        now: Time,
        aor: AorId,
        what: What,
        target: Target,
        request: Message,
        keep: Duration,
        addressees: SmallVec<[Addressee; 1]>,
    ) {
        let millis = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        let mail = Mail {
            // Names of one machine grow with time, and two machines never give the same.
            name: format!(
                "{:012x}-{:06x}-{}",
                self.wall.0,
                self.mails.next_number() & 0xff_ffff,
                self.entropy.token(8)
            ),
            aor,
            what,
            target,
            at: self.wall,
            until: WallTime(self.wall.0.saturating_add(millis)),
            ends: now + keep,
            request,
            addressees,
        };
        let number = self.mails.insert(mail);
        self.persist_mail(number);
        self.arm_mail();
    }

    pub(crate) fn arm_mail(&mut self) {
        let next = self.mails.next();
        let mut armed = self.mails.armed;
        self.deadlines.rearm(&mut armed, next, Due::Mail);
        self.mails.armed = armed;
    }

    pub(crate) fn on_mail_due(&mut self, now: Time) {
        self.mails.armed = Time::NEVER;
        while let Some(number) = self.mails.over(now) {
            self.trace(now, None, Leg::MailExpired);
            self.drop_mail(number);
        }
        self.mails.forget(now);
        self.mails.woken.retain(|_, at| now.since(*at) < self.config.timers.wake);
        self.arm_mail();
    }

    /// Forgets a piece, here and in the store.
    pub(crate) fn drop_mail(&mut self, number: u64) {
        if let Some(mail) = self.mails.remove(number) {
            self.outputs.push_back(Output::Persist(Box::new(Persist::MailRemoved(mail.name))));
        }
        self.arm_mail();
    }

    /// The account is gone.
    pub(crate) fn drop_mail_of(&mut self, aor: AorId) {
        let numbers: Vec<u64> = self.mails.of(aor).map(|(number, _)| number).collect();
        for number in numbers {
            self.drop_mail(number);
        }
    }

    pub(crate) fn persist_mail(&mut self, number: u64) {
        let Some(mail) = self.mails.get(number) else { return };
        let Some(entry) = self.accounts.get(mail.aor) else { return };
        let what = match (mail.what, mail.target) {
            (What::Message { .. }, _) => StoredWhat::Message,
            (What::Notice { .. }, Target::Contact) => StoredWhat::Notice,
            (What::Notice { .. }, Target::Dialog) => StoredWhat::NoticeInDialog,
            (What::Missed { wake }, _) => StoredWhat::Missed { wake },
        };
        let stored = StoredMail {
            name: mail.name.clone(),
            aor: entry.name().to_owned(),
            what,
            at: mail.at,
            until: mail.until,
            request: mail.request.to_bytes().to_vec(),
            devices: mail.addressees.iter().map(|one| one.name.clone()).collect(),
        };
        self.outputs.push_back(Output::Persist(Box::new(Persist::MailPut(stored))));
    }

    /// Takes over a piece that the store held.
    pub(crate) fn load_mail(&mut self, now: Time, stored: StoredMail) {
        let name = stored.name.clone();
        match self.read_mail(now, stored) {
            Some(mail) => drop(self.mails.insert(mail)),
            None => self.outputs.push_back(Output::Persist(Box::new(Persist::MailRemoved(name)))),
        }
        self.arm_mail();
    }

    /// A piece as it was written; none of an address that is not ours, or whose time is over.
    pub(super) fn read_mail(&self, now: Time, stored: StoredMail) -> Option<Mail> {
        let left = stored.until.0.saturating_sub(self.wall.0);
        let aor = self.accounts.by_text(&stored.aor).filter(|_| left > 0)?;
        let request = Message::parse(stored.request.into()).ok()?;
        let mark = |parts: [&str; 4]| self.keyed.digest(parts.join("\n").as_bytes());
        let (number, tag) = (aor.0.to_string(), request.from_tag().unwrap_or(""));
        let event = request.header(Name::Event).unwrap_or("");
        let (what, target) = match stored.what {
            StoredWhat::Message => {
                let cseq = request.header(Name::CSeq).unwrap_or("");
                (What::Message { mark: mark([&number, request.call_id(), tag, cseq]) }, Target::Contact)
            }
            StoredWhat::Notice => (What::Notice { mark: mark([&number, "", event, ""]) }, Target::Contact),
            StoredWhat::NoticeInDialog => {
                (What::Notice { mark: mark([&number, request.call_id(), event, ""]) }, Target::Dialog)
            }
            StoredWhat::Missed { wake } => (What::Missed { wake }, Target::Contact),
        };
        let device = |name: &StoredDevice| match name {
            StoredDevice::Instance(text) => Device(self.keyed.digest(text.as_bytes()) | 1),
            StoredDevice::Binding(id) => self.bindings.get(*id).map_or(Device(id.0), Binding::device),
        };
        let addressees = stored
            .devices
            .iter()
            .map(|name| Addressee { device: device(name), name: name.clone(), standing: Standing::Waiting })
            .collect();
        Some(Mail {
            name: stored.name,
            aor,
            what,
            target,
            at: stored.at,
            until: stored.until,
            ends: now + Duration::from_millis(left),
            request,
            addressees,
        })
    }
}

pub(super) fn stored_device(binding: &Binding) -> StoredDevice {
    match binding.instance {
        0 => StoredDevice::Binding(binding.id),
        _ => StoredDevice::Instance(format!("<{}>", instance_urn(binding))),
    }
}

/// The request as it will leave: without the hops that it came by, and with the time at which it came (RFC 3428 §6).
fn as_mail(context: &Context, request: &Message, realm: &str, wall: WallTime) -> Option<Message> {
    let written = if request.to_tag().is_some() {
        within_dialog(request, context.own_routes)
    } else {
        let leg = Written {
            uri: None,
            path: "",
            record_routes: &[],
            own_routes: context.own_routes,
            trusted: context.trusted,
            realm,
        };
        towards_device(request, &leg)
    };
    let written = written.ok()?;
    let mut edit = written.edit().remove_all(Name::Via);
    if context.kind == Kind::Other {
        edit =
            edit.remove_all(Name::RecordRoute).remove_all(Name::Route).remove_all(Name::ProxyAuthorization);
    }
    if request.count(Name::Date) == 0 {
        edit = edit.append(Name::Date, date_text(wall.as_secs()));
    }
    edit.finish().ok()
}
