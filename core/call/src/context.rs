//! What every state of a call needs: rules, names, outputs, requests under way, the record.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::FlowId;
use wakeline_sip_dialog::{Dialog, DialogContact};
use wakeline_sip_message::{Builder, Message, Method, Name};
use wakeline_sip_transaction::ServerKey;

use crate::config::Config;
use crate::end::EndReason;
use crate::key::RequestId;
use crate::lingering::Lingering;
use crate::output::{Describe, Event, Output};
use crate::record::Draft;

pub(crate) const SDP: &str = "application/sdp";

/// Why a request in a dialog was sent; decides what its answer means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    /// The end of the call.
    Bye,
    /// The end of a fork that lost.
    ByeFork,
    /// A re-INVITE or UPDATE.
    Modify,
    /// A digit by INFO.
    Digit(char),
    /// The progress of a transfer (RFC 3515 §2.4.4).
    Notify,
    /// Our new Contact for an early dialog.
    EarlyUpdate,
    /// The acknowledgement of a reliable provisional response; with an answer or without.
    Prack {
        /// The fork.
        tag: String,
    },
}

/// What is needed to send a request again, with credentials or a higher Min-SE.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) method: Method,
    pub(crate) headers: Vec<(Name, String)>,
    pub(crate) body: Option<(&'static str, Bytes)>,
}

impl Recipe {
    pub(crate) fn bare(method: Method) -> Recipe {
        Recipe { method, headers: Vec::new(), body: None }
    }
}

/// A request in a dialog that waits for its final response.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) task: Task,
    pub(crate) message: Message,
    pub(crate) recipe: Recipe,
    pub(crate) credentials: u8,
}

/// How often one request is tried with new credentials: stale nonces and one chain of proxies, but no loop (F14).
pub(crate) const MOST_CREDENTIALS: u8 = 3;

/// What a session description is wanted for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// The offer of our INVITE.
    FirstOffer,
    /// The answer of a fork to it.
    ForkAnswer {
        /// The fork.
        tag: String,
    },
    /// Our answer to the offer of a reliable provisional response; goes into PRACK.
    PrackAnswer {
        /// The fork.
        tag: String,
        /// The response.
        response: Message,
    },
    /// Our answer to the offer of a 2xx; goes into the ACK.
    AckAnswer,
    /// Our answer or offer for an incoming INVITE.
    Invitation,
    /// The answer that came in PRACK or ACK to our offer.
    LateAnswer,
    /// Our answer to an offer in a PRACK or UPDATE before the call is answered.
    EarlyAnswer {
        /// Its transaction.
        key: ServerKey,
        /// The request.
        request: Message,
    },
    /// The offer of a re-INVITE of ours.
    ModifyOffer,
    /// The answer to it.
    ModifyAnswer,
    /// Our answer to their re-INVITE or UPDATE, or our offer if it had none.
    TheirModify,
    /// Nothing any more: the call went on without it.
    Void,
}

/// The INVITE of ours that started the call, as it was last sent.
#[derive(Clone, Debug)]
struct Invite {
    id: RequestId,
    message: Message,
}

/// The INVITE of theirs that started the call, and the flow that it came on.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) invite: Message,
    pub(crate) flow: FlowId,
    pub(crate) is_dead: bool,
}

/// Asks the media one question at a time.
#[derive(Debug, Default)]
struct Describer {
    asked: Option<Purpose>,
    queue: VecDeque<(Describe, Purpose)>,
}

pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) entropy: Entropy,
    pub(crate) contact: DialogContact,
    pub(crate) record: Draft,
    pub(crate) lingering: Lingering,
    pub(crate) requests: BTreeMap<RequestId, Sent>,
    /// Their INVITE, for one that comes again on another flow.
    pub(crate) origin: Option<Origin>,
    /// The network moved before the call was answered: the dialog still has our old Contact.
    pub(crate) moved_early: bool,
    invite: Option<Invite>,
    describer: Describer,
    out: VecDeque<Output>,
    last_id: u64,
}

impl Context {
    pub(crate) fn new(config: Config, contact: DialogContact, entropy: Entropy, record: Draft) -> Context {
        Context {
            config,
            entropy,
            contact,
            record,
            lingering: Lingering::default(),
            requests: BTreeMap::new(),
            origin: None,
            moved_early: false,
            invite: None,
            describer: Describer::default(),
            out: VecDeque::new(),
            last_id: 0,
        }
    }

    pub(crate) fn push(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(crate) fn pop(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    pub(crate) fn emit(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    pub(crate) fn next_id(&mut self) -> RequestId {
        self.last_id += 1;
        RequestId(self.last_id)
    }

    // ---- media -----------------------------------------------------------------------------------------------

    pub(crate) fn describe(&mut self, question: Describe, purpose: Purpose) {
        self.describer.queue.push_back((question, purpose));
        self.ask_next();
    }

    fn ask_next(&mut self) {
        if self.describer.asked.is_none()
            && let Some((question, purpose)) = self.describer.queue.pop_front()
        {
            self.describer.asked = Some(purpose);
            self.push(Output::Describe(question));
        }
    }

    /// What the answer that just came was wanted for; nothing if nothing was asked.
    pub(crate) fn described(&mut self) -> Option<Purpose> {
        let purpose = self.describer.asked.take();
        self.ask_next();
        purpose
    }

    /// Nobody needs the open questions answered any more. UPDATEs that wait for one are refused, as requests are that
    /// are open when a call ends (RFC 3261 §15.1.2).
    pub(crate) fn forget_questions(&mut self) {
        let asked = self.describer.asked.as_mut().map(|purpose| core::mem::replace(purpose, Purpose::Void));
        let queued = core::mem::take(&mut self.describer.queue);
        for purpose in asked.into_iter().chain(queued.into_iter().map(|(_, purpose)| purpose)) {
            if let Purpose::EarlyAnswer { key, request } = purpose {
                self.respond_plain(key, &request, 487);
            }
        }
    }

    // ---- the INVITE that started the call --------------------------------------------------------------------

    /// Takes note of our INVITE; every attempt has the same name.
    pub(crate) fn sent_invite(&mut self, message: Message) -> RequestId {
        let id = match &self.invite {
            Some(invite) => invite.id,
            None => self.next_id(),
        };
        self.invite = Some(Invite { id, message });
        id
    }

    pub(crate) fn invite_sent(&self) -> Option<(RequestId, Message)> {
        self.invite.as_ref().map(|invite| (invite.id, invite.message.clone()))
    }

    pub(crate) fn invite_message(&self) -> Option<Message> {
        self.invite.as_ref().map(|invite| invite.message.clone())
    }

    /// Whether this is the INVITE that started the call, on another branch (RFC 3261 §8.2.2.2).
    pub(crate) fn is_same_invite(&self, request: &Message) -> bool {
        let Some(origin) = &self.origin else { return false };
        request.method() == Method::Invite
            && request.to_tag().is_none()
            && request.call_id() == origin.invite.call_id()
            && request.from_tag() == origin.invite.from_tag()
            && request.cseq().ok() == origin.invite.cseq().ok()
    }

    /// Whether this is an INVITE of the same caller for the same call, with another CSeq.
    pub(crate) fn is_next_try(&self, request: &Message) -> bool {
        let Some(origin) = &self.origin else { return false };
        request.method() == Method::Invite
            && request.to_tag().is_none()
            && request.call_id() == origin.invite.call_id()
            && request.from_tag() == origin.invite.from_tag()
    }

    /// Sends a response again on the transaction of the INVITE's other branch.
    pub(crate) fn repeat_on(&mut self, key: ServerKey, invite: &Message, last: &Message) -> Option<Message> {
        let fields =
            [Name::Contact, Name::Allow, Name::Supported, Name::Require, Name::RSeq, Name::SessionExpires];
        let (code, sdp) = (last.status().unwrap_or(500), sdp_of(last));
        let tag = last.to_tag().unwrap_or("").to_owned();
        self.respond(key, invite, code, |builder| {
            let mut builder = builder.to_tag(&tag).copy(invite, Name::RecordRoute);
            for name in fields {
                builder = builder.copy(last, name);
            }
            match sdp {
                Some(sdp) => builder.body(SDP, sdp),
                None => builder,
            }
        })
    }

    // ---- responses -------------------------------------------------------------------------------------------

    /// Builds and sends a response. What cannot be written is answered with a bare 500.
    pub(crate) fn respond(
        &mut self,
        key: ServerKey,
        request: &Message,
        code: u16,
        fill: impl FnOnce(Builder) -> Builder,
    ) -> Option<Message> {
        let builder = Builder::response(request, code, "");
        let builder = match &self.config.user_agent {
            Some(name) => builder.header(Name::Server, name),
            None => builder,
        };
        let response = fill(builder).build().or_else(|_| Builder::response(request, 500, "").build()).ok()?;
        self.push(Output::Respond { key, response: response.clone() });
        Some(response)
    }

    /// A response without any field of its own.
    pub(crate) fn respond_plain(&mut self, key: ServerKey, request: &Message, code: u16) {
        self.respond(key, request, code, |builder| builder);
    }

    /// 500 with a random Retry-After of up to ten seconds (RFC 3261 §14.2, RFC 3311 §5.2).
    pub(crate) fn respond_later(&mut self, key: ServerKey, request: &Message) {
        let seconds = self.entropy.below(11);
        self.respond(key, request, 500, |builder| builder.header(Name::RetryAfter, seconds));
    }

    // ---- requests in a dialog --------------------------------------------------------------------------------

    /// Sends a request in this dialog; nothing if one of our own values cannot be written.
    pub(crate) fn request(&mut self, dialog: &mut Dialog, task: Task, recipe: Recipe) -> Option<RequestId> {
        let id = self.next_id();
        self.request_again(dialog, id, task, recipe, &[], 0)
    }

    fn request_again(
        &mut self,
        dialog: &mut Dialog,
        id: RequestId,
        task: Task,
        recipe: Recipe,
        extra: &[(Name, String)],
        credentials: u8,
    ) -> Option<RequestId> {
        let mut builder = dialog.request(recipe.method.clone());
        for (name, value) in recipe.headers.iter().chain(extra) {
            builder = builder.header(name.clone(), value);
        }
        match recipe.method {
            // Target refresh requests carry a Contact (RFC 3261 §12.2.1.1, RFC 3311 §5.1).
            Method::Invite | Method::Update => {
                builder = builder
                    .header(Name::Contact, self.contact.value())
                    .header(Name::Allow, self.config.allow())
                    .header(Name::Supported, self.config.supported());
            }
            Method::Notify | Method::Refer | Method::Subscribe => {
                builder = builder.header(Name::Contact, self.contact.value());
            }
            Method::Bye
            | Method::Prack
            | Method::Info
            | Method::Message
            | Method::Options
            | Method::Ack
            | Method::Cancel
            | Method::Register
            | Method::Publish
            | Method::Other(_) => {}
        }
        if let Some(name) = &self.config.user_agent {
            builder = builder.header(Name::UserAgent, name);
        }
        if let Some((kind, body)) = &recipe.body {
            builder = builder.body(kind, body.clone());
        }
        let message = builder.build().ok()?;
        self.requests.insert(id, Sent { task, message: message.clone(), recipe, credentials });
        self.push(Output::Send { id, request: message, next_hop: dialog.next_hop() });
        Some(id)
    }

    /// Sends a request again with credentials, under its old name and a new CSeq (RFC 3261 §22.2). If that cannot be,
    /// the request is over.
    pub(crate) fn retry(
        &mut self,
        dialog: &mut Dialog,
        id: RequestId,
        extra: &[(Name, String)],
    ) -> Option<RequestId> {
        let sent = self.requests.remove(&id)?;
        // Asked in an early dialog of another fork: it has no place in this one.
        if sent.message.to_tag() != Some(dialog.id().remote_tag.as_str()) {
            return None;
        }
        self.request_again(dialog, id, sent.task, sent.recipe, extra, sent.credentials + 1)
    }

    /// Whether a challenge to this request is worth an answer; asks for it then.
    pub(crate) fn challenged(&mut self, id: RequestId, response: &Message) -> bool {
        if !matches!(response.status(), Some(401 | 407)) {
            return false;
        }
        let Some(sent) = self.requests.get(&id).filter(|sent| sent.credentials < MOST_CREDENTIALS) else {
            return false;
        };
        let request = sent.message.clone();
        self.push(Output::Authorize { id, request, challenge: response.clone() });
        true
    }

    /// Sends an ACK to a 2xx and keeps it for repeated ones.
    pub(crate) fn acknowledge(
        &mut self,
        now: Time,
        dialog: &Dialog,
        invite: &Message,
        answer: Option<Bytes>,
    ) {
        let Ok(cseq) = invite.cseq() else { return };
        let mut builder = dialog.ack(cseq.number);
        // RFC 3261 §13.2.2.4: the ACK carries the credentials of its INVITE.
        builder = builder.copy(invite, Name::Authorization).copy(invite, Name::ProxyAuthorization);
        if let Some(answer) = answer {
            builder = builder.body(SDP, answer);
        }
        let Ok(request) = builder.build() else { return };
        let next_hop = dialog.next_hop();
        let until = now + self.config.patience();
        self.lingering.keep_ack(dialog.id(), cseq.number, request.clone(), next_hop.clone(), until);
        self.push(Output::Ack { request, next_hop });
    }

    /// Sends a BYE with the Reason that fits.
    pub(crate) fn bye(
        &mut self,
        dialog: &mut Dialog,
        task: Task,
        reason: Option<&EndReason>,
    ) -> Option<RequestId> {
        let mut recipe = Recipe::bare(Method::Bye);
        recipe.headers.extend(self.config.headers.iter().cloned());
        recipe.headers.extend(reason.and_then(EndReason::header));
        // A header of the account that cannot be written must not keep the call alive.
        let bare = Recipe::bare(Method::Bye);
        self.request(dialog, task.clone(), recipe).or_else(|| self.request(dialog, task, bare))
    }
}

/// The session description of a message; nothing if its body is none.
pub(crate) fn sdp_of(message: &Message) -> Option<Bytes> {
    message.sdp()
}
