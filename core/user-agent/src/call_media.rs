//! Between the machines of calls and the media: descriptions, agreements, start and pause.

use wakeline_call::{Describe, Described, EndReason};

use crate::agent::UserAgent;
use crate::event::Event;
use crate::output::{MediaAnswer, MediaEvent, MediaRequest, Way};
use crate::snapshot::{CallId, WakeLeg};

impl UserAgent {
    pub(crate) fn describe(&mut self, id: CallId, question: Describe) {
        let Some((account, flow)) = self.whereabouts(id) else { return };
        let info = flow.and_then(|flow| self.flows.info(flow));
        let way = match info {
            Some(info) => Way { local: info.local.ip(), secure: info.transport.is_secure(), account },
            // The flow went meanwhile: whatever is described will be refreshed when the call has a new one.
            None => Way { local: core::net::Ipv4Addr::LOCALHOST.into(), secure: false, account },
        };
        let request = match question {
            Describe::Offer { hold, fresh } => MediaRequest::Offer { hold, fresh, way },
            Describe::Answer { offer, hold } => MediaRequest::Answer { offer, hold, way },
            Describe::Conclude { answer } => MediaRequest::Conclude { answer },
        };
        self.ask_media(id, request);
    }

    pub(crate) fn described(&mut self, id: CallId, answer: MediaAnswer) {
        let answer = match answer {
            MediaAnswer::Description { description } => Described::Description(description),
            MediaAnswer::Accepted => Described::Accepted,
            MediaAnswer::Refused { code, why } => Described::Refused { code, why },
        };
        let now = self.now;
        if let Some(session) = self.session(id) {
            session.handle_described(now, answer);
        }
    }

    pub(crate) fn media_event(&mut self, id: CallId, event: MediaEvent) {
        let now = self.now;
        let Some(call) = self.calls.get_mut(&id) else { return };
        match event {
            MediaEvent::Agreed { codec, encryption, held_by_peer, telephone_events } => {
                call.media.codec = Some(codec);
                call.media.encryption = encryption;
                call.media.held_by_peer = held_by_peer;
                call.media.telephone_events = Some(telephone_events);
                self.changed(id);
            }
            MediaEvent::Flowing => {
                if !call.media.flows {
                    call.media.flows = true;
                    self.changed(id);
                    self.wake_step(id, WakeLeg::FirstAudio);
                }
            }
            MediaEvent::Digit(digit) => self.tell(Event::DtmfReceived { call: id, digit }),
            MediaEvent::TimedOut => {
                if let Some(session) = call.session() {
                    session.hang_up_for(now, EndReason::MediaTimeout);
                }
            }
            MediaEvent::Failed(why) => {
                let account = call.account;
                self.complain(Some(account), Some(id), why, "check microphone, loudspeaker and network");
            }
        }
    }

    /// Starts or pauses the media, as agreement and grant say.
    pub(crate) fn run_media(&mut self, id: CallId) {
        let granted = self.audio_granted;
        let Some(call) = self.calls.get_mut(&id) else { return };
        let may_run = call.media.agreed && granted;
        if may_run != call.media.runs {
            call.media.runs = may_run;
            self.ask_media(id, if may_run { MediaRequest::Start } else { MediaRequest::Pause });
        }
    }

    pub(crate) fn ring_back(&mut self, id: CallId, on: bool) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.media.ringback != on {
            call.media.ringback = on;
            self.ask_media(id, MediaRequest::Ringback { on });
        }
    }
}
