//! One REGISTER: what it is to say, and its sending.

use wakeline_clock::Time;
use wakeline_flow::FlowInfo;
use wakeline_push::{PushMode, PushParameters, WakeId};
use wakeline_sip_message::{BuildError, Method, NameAddr};

use crate::compose::{Draft, register};
use crate::config::OutboundUse;
use crate::contact::BindingContact;
use crate::event::{Cause, Output, PushStatus};
use crate::memory::OutboundSupport;
use crate::registration::Registration;
use crate::state::{Asking, Goal, State, WAKES};

impl Registration {
    /// Whether removing the old token's Contact comes first.
    pub(crate) fn bind_goal(&self) -> Goal {
        let changed = self.registered_push.is_some() && self.registered_push != self.wanted_push().cloned();
        match (changed, self.outbound, &self.old_contact) {
            (true, OutboundSupport::Lacking | OutboundSupport::Refused, Some(_)) => Goal::Replace,
            (true | false, _, _) => Goal::Bind,
        }
    }

    pub(crate) fn wanted_push(&self) -> Option<&PushParameters> {
        match (self.push_status, self.config.push_mode) {
            (PushStatus::Refused, _) | (_, PushMode::None) => None,
            (PushStatus::NotAsked | PushStatus::Confirmed | PushStatus::NotOffered, _) => self.push.as_ref(),
        }
    }

    pub(crate) fn outbound_use(&self) -> OutboundUse {
        match (self.config.outbound, self.outbound) {
            (OutboundUse::Off, _) | (OutboundUse::Offered, OutboundSupport::Refused) => OutboundUse::Off,
            // A registrar that ignored it yesterday may know it today.
            (
                OutboundUse::Offered,
                OutboundSupport::Unknown | OutboundSupport::Confirmed | OutboundSupport::Lacking,
            ) => OutboundUse::Offered,
        }
    }

    pub(crate) fn ask(&mut self, now: Time, goal: Goal, flow: FlowInfo) {
        let outbound = self.outbound_use();
        self.ask_with(now, goal, flow, outbound, 1);
    }

    /// Sends the next REGISTER of an attempt.
    pub(crate) fn ask_with(
        &mut self,
        now: Time,
        goal: Goal,
        flow: FlowInfo,
        outbound: OutboundUse,
        rounds: u32,
    ) {
        match self.write(now, goal, flow, outbound, rounds) {
            Ok(asking) => {
                self.recovery.note_sent(now);
                self.remember();
                self.outputs.push_back(Output::Send { request: asking.request.clone(), flow });
                self.state = State::Asking(Box::new(asking));
            }
            Err(error) => {
                self.close(flow.id);
                self.stop(Cause::Settings(error.to_string()));
            }
        }
    }

    fn write(
        &mut self,
        now: Time,
        goal: Goal,
        flow: FlowInfo,
        outbound: OutboundUse,
        rounds: u32,
    ) -> Result<Asking, BuildError> {
        let push = match goal {
            Goal::Bind => self.wanted_push().cloned(),
            Goal::Replace | Goal::Remove | Goal::RemoveAll => None,
        };
        let at = self.as_seen(&flow);
        let contact = BindingContact::new(&self.config, &at, &self.instance, outbound, push.as_ref())?;
        let asked = self.config.expires.max(self.min_expires);
        let (text, expires) = match goal {
            Goal::Bind => {
                let moved = self.binding.as_ref().filter(|old| {
                    old.flow == flow.id && outbound_lacks(self.outbound) && old.contact.uri() != contact.uri()
                });
                // The address that nobody could reach goes in the same request (RFC 3261 §10.2.2).
                let old = moved
                    .map(|old| format!(", {}", old.contact.without_push().written(Some(0))))
                    .unwrap_or_default();
                (format!("{}{old}", contact.written(None)), Some(asked))
            }
            Goal::Replace => match &self.old_contact {
                Some(old) => (format!("{};expires=0", old.expose()), None),
                None => (contact.written(Some(0)), None),
            },
            Goal::Remove => match &self.binding {
                // What was bound is removed, wherever we are now; never with its token (RFC 8599 §4.1.2).
                Some(binding) => (binding.contact.without_push().written(Some(0)), None),
                None => match self.old_contact.as_ref().and_then(|old| bare(old.expose())) {
                    Some(old) => (format!("{old};expires=0"), None),
                    None => (contact.written(Some(0)), None),
                },
            },
            Goal::RemoveAll => ("*".to_owned(), Some(0)),
        };
        let wakes = match goal {
            Goal::Bind => self.wakes.clone(),
            Goal::Replace | Goal::Remove | Goal::RemoveAll => Vec::new(),
        };
        self.cseq = if self.cseq >= (1 << 31) - 2 { 1 } else { self.cseq + 1 };
        let authorization = self.session.authorize(
            &Method::Register,
            self.config.registrar.as_str(),
            b"",
            &self.config.credentials,
            &mut self.entropy,
        );
        let request = register(Draft {
            config: &self.config,
            call_id: &self.call_id,
            from_tag: &self.from_tag,
            cseq: self.cseq,
            contact: &text,
            expires,
            outbound,
            push: push.as_ref(),
            wakes: &wakes,
            authorization,
        })?;
        Ok(Asking { goal, flow, request, contact, expires: asked, push, wakes, rounds, since: now })
    }

    pub(crate) fn note_wake(&mut self, wake: WakeId) {
        if !self.wakes.contains(&wake) {
            if self.wakes.len() >= WAKES {
                self.wakes.remove(0);
            }
            self.wakes.push(wake);
        }
    }
}

/// Whether the registrar tells bindings apart by their address only.
pub(crate) fn outbound_lacks(support: OutboundSupport) -> bool {
    match support {
        OutboundSupport::Lacking | OutboundSupport::Refused => true,
        OutboundSupport::Unknown | OutboundSupport::Confirmed => false,
    }
}

/// A Contact as it was registered, without the token (RFC 8599 §4.1.2).
fn bare(contact: &str) -> Option<String> {
    let read = NameAddr::parse(contact).ok()?;
    let mut uri = read.uri().to_owned();
    for (name, _) in read.uri().params() {
        if wakeline_push::is_token_parameter(name) {
            uri = uri.without_param(name);
        }
    }
    Some(format!("<{uri}>{}", read.params().as_str()))
}
