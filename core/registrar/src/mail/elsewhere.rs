//! Mail that another node of the same gateway has taken in, or has delivered: the store is common, the phones are where
//! they have connected.

use wakeline_clock::{Time, WallTime};

use crate::machine::Registrar;
use crate::number::{BindingId, Device};
use crate::output::StoredMail;

impl Registrar {
    /// Another node has put this piece of mail, new or with fewer devices to go. Nothing is written: that node has done so.
    /// A device that is connected here gets it at once.
    pub fn handle_mail_elsewhere(&mut self, now: Time, wall: WallTime, stored: StoredMail) {
        self.wall = wall;
        let number = match self.mails.named(&stored.name) {
            Some(number) => {
                if let Some(mail) = self.mails.get_mut(number) {
                    // What is on its way here is asked for no second time; what was delivered there is done.
                    mail.addressees.retain(|one| stored.devices.contains(&one.name));
                }
                number
            }
            None => {
                let Some(mail) = self.read_mail(now, stored) else { return };
                self.mails.insert(mail)
            }
        };
        self.arm_mail();
        let Some(mail) = self.mails.get(number) else { return };
        let (aor, devices): (_, Vec<Device>) =
            (mail.aor, mail.addressees.iter().map(|one| one.device).collect());
        for device in devices {
            let here: Option<BindingId> = self.binding_of_device(aor, device);
            if let Some(binding) = here {
                self.deliver(now, aor, device, binding);
            }
        }
        self.pump(now);
    }

    /// Another node has removed this piece: every device has it, or its time is over.
    pub fn handle_mail_gone_elsewhere(&mut self, wall: WallTime, name: &str) {
        self.wall = wall;
        if let Some(number) = self.mails.named(name) {
            self.mails.remove(number);
        }
        self.arm_mail();
    }
}
