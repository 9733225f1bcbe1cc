//! Calls that a device slept through, told when it is back: a MESSAGE of ours, which every client can show.
//!
//! A device that comes while the call is remembered is told by `X-Wake-State` or by INVITE and CANCEL; this is for those
//! who come later.

use smallvec::SmallVec;
use wakeline_clock::Time;
use wakeline_push::{WAKE_ID_HEADER, WakeState};
use wakeline_sip_message::{Builder, Message, Method, Name, date_text};

use super::{Target, What};
use crate::answer::escape_user;
use crate::config::MissedCalls;
use crate::context::{Context, Heard, Kind, Step};
use crate::machine::Registrar;
use crate::number::{BindingId, Device};

impl Registrar {
    /// Keeps a call for those of its devices that have heard nothing of it.
    pub(crate) fn note_missed(&mut self, now: Time, context: &Context, state: WakeState) {
        match (self.config.mail.missed_calls, state) {
            (MissedCalls::Silence, _)
            | (_, WakeState::Elsewhere | WakeState::Declined | WakeState::Pending | WakeState::Unknown) => {
                return;
            }
            (MissedCalls::Message, WakeState::Cancelled | WakeState::Failed) => {}
        }
        let (Kind::Call, Some(aor), Some(request)) = (context.kind, context.aor, context.request.as_ref())
        else {
            return;
        };
        let unheard = |step: Step, sent: u8| match step {
            Step::Held { .. } | Step::Expired => true,
            Step::Sent { heard, .. } => heard < Heard::Ringing,
            Step::Ended(_) => sent == 0,
        };
        let devices: SmallVec<[(Device, BindingId); 2]> = context
            .branches
            .iter()
            .filter(|branch| unheard(branch.step, branch.sent))
            .filter_map(|branch| Some((branch.device, branch.binding?)))
            .collect();
        if devices.is_empty() || self.config.limits.mail == 0 {
            return;
        }
        let Some(message) = self.missed_message(context, request) else { return };
        let keep = self.config.mail.keep;
        // Without room there is none; the call itself is over.
        let _ = self.put_mail(
            now,
            aor,
            What::Missed { wake: context.wake },
            Target::Contact,
            message,
            keep,
            &devices,
        );
    }

    fn missed_message(&mut self, context: &Context, invite: &Message) -> Option<Message> {
        let entry = context.aor.and_then(|aor| self.accounts.get(aor))?;
        let (user, domain) = (escape_user(entry.user()), entry.domain().to_owned());
        let from = invite.from().ok()?;
        let caller = match from.display_name() {
            Some(name) if !name.is_empty() => format!("{name} <{}>", from.uri().as_str()),
            Some(_) | None => format!("<{}>", from.uri().as_str()),
        };
        let (tag, call_id) = (self.entropy.token(10), self.entropy.token(20));
        Builder::request(Method::Message, format!("sip:{user}@{domain}"))
            .header(Name::From, format!("<sip:{domain}>;tag={tag}"))
            .header(Name::To, format!("<sip:{user}@{domain}>"))
            .header(Name::CallId, call_id)
            .header(Name::CSeq, "1 MESSAGE")
            .header(Name::Date, date_text(self.wall.as_secs()))
            .header_text(WAKE_ID_HEADER, context.wake.as_str())
            .body("text/plain;charset=UTF-8", format!("Missed call from {caller}\r\n").into_bytes())
            .build()
            .ok()
    }
}
