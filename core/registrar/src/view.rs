//! The machine as an administrator may see it: addresses of record and what they have left. No token, no Contact, no
//! password.

use wakeline_clock::Time;

use crate::machine::{BindingView, Registrar};
use crate::number::AorId;
use crate::quota::Left;

/// One address of record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AorView {
    /// Its place in the list: names the next page.
    pub number: u32,
    /// `user@domain`.
    pub name: String,
    /// Its devices.
    pub bindings: Vec<BindingView>,
    /// How often it may still be woken.
    pub wakes_left: Left,
    /// Messages, states and missed calls that wait for its devices.
    pub mail: usize,
}

impl Registrar {
    /// Up to `most` addresses of record, in the order in which they were added, from the one numbered `from` on.
    pub fn aors(&self, now: Time, from: u32, most: usize) -> Vec<AorView> {
        self.accounts
            .starting_at(from)
            .take(most)
            .map(|(id, entry)| self.aor_view(now, id, entry.name(), entry.user(), entry.domain()))
            .collect()
    }

    /// One address of record; `None` when it is not ours.
    pub fn aor(&self, now: Time, user: &str, domain: &str) -> Option<AorView> {
        let id = self.accounts.find(user, domain)?;
        let entry = self.accounts.get(id)?;
        Some(self.aor_view(now, id, entry.name(), entry.user(), entry.domain()))
    }

    fn aor_view(&self, now: Time, id: AorId, name: &str, user: &str, domain: &str) -> AorView {
        AorView {
            number: id.0,
            name: name.to_owned(),
            bindings: self.bindings_of(now, user, domain),
            wakes_left: self.wakes_per_aor.left(now, self.quota_name(id)),
            mail: self.mails.of(id).count(),
        }
    }
}
