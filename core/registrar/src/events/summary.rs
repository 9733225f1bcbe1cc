//! What a voicemail box has said last (RFC 3842): for those who subscribe to it, beside the phones that get its NOTIFYs
//! unasked.

use wakeline_clock::Time;
use wakeline_sip_message::{Message, Method, OwnedUri};

use super::Package;
use crate::admit::Admitted;
use crate::machine::Registrar;
use crate::number::AorId;

/// A box says little.
const LONGEST: usize = 2048;

impl Registrar {
    /// Takes note of a NOTIFY that passes, if a voicemail server sends it: a trusted peer, or the account that calls of this
    /// address go to.
    pub(crate) fn note_summary(&mut self, now: Time, aor: AorId, request: &Message, admitted: &Admitted) {
        let about_box = request.method() == Method::Notify
            && request.to_tag().is_none()
            && request
                .event()
                .ok()
                .flatten()
                .is_some_and(|event| Package::named(event.value()) == Some(Package::MessageSummary));
        if !about_box || request.body().len() > LONGEST || self.config.limits.subscriptions == 0 {
            return;
        }
        let server = || {
            let target = OwnedUri::parse(&self.voicemail(aor)?.target).ok()?;
            let uri = target.view();
            self.accounts.find(&uri.user_unescaped()?, uri.host_text())
        };
        let sender = || {
            let from = request.from().ok()?.uri();
            self.accounts.find(&from.user_unescaped()?, from.host_text())
        };
        if !admitted.trusted && (server().is_none() || server() != sender()) {
            return;
        }
        let full = self.events.summaries.len() >= self.config.limits.subscriptions;
        if !full || self.events.summaries.contains_key(&aor) {
            self.events.summaries.insert(aor, request.body_bytes());
            self.changed(now, aor, Package::MessageSummary);
        }
    }
}
