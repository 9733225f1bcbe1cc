//! One call against a script: the test plays the transactions, the far end and the media.

use std::net::SocketAddr;

use bytes::Bytes;
use wakeline_clock::Time;
use wakeline_entropy::Entropy;
use wakeline_flow::{FlowId, FlowInfo, Transport};
use wakeline_sip_dialog::{DialogContact, SipCallId};
use wakeline_sip_message::{Builder, Message, Method, Name, OwnedUri};
use wakeline_sip_transaction::ServerKey;

use crate::*;

pub(crate) struct Script {
    pub(crate) now: Time,
    pub(crate) call: Call,
    pub(crate) out: Vec<Output>,
    /// Answers the media's questions by itself.
    pub(crate) media: bool,
    keys: u64,
    /// CSeq of the far end's requests.
    cseq: u32,
}

pub(crate) fn contact() -> DialogContact {
    DialogContact::new(&OwnedUri::parse("sip:us@192.0.2.1:5060").unwrap()).unwrap()
}

pub(crate) fn flow(id: u64) -> FlowInfo {
    let address = |port| SocketAddr::from(([192, 0, 2, 1], port));
    FlowInfo { id: FlowId(id), transport: Transport::Udp, local: address(5060), remote: address(5061) }
}

pub(crate) fn sdp(text: &str) -> Bytes {
    Bytes::from(format!("v=0 {text}"))
}

/// An INVITE of a far end, with extra header lines.
pub(crate) fn invite(cseq: u32, branch: &str, extra: &[(Name, &str)], offer: Option<&str>) -> Message {
    let mut builder = Builder::request(Method::Invite, "sip:us@192.0.2.1")
        .header(Name::Via, format!("SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{branch}"))
        .header(Name::From, "\"Bob\" <sip:bob@example.org>;tag=theirs")
        .header(Name::To, "<sip:us@example.org>")
        .header(Name::CallId, "their-call")
        .header(Name::CSeq, format!("{cseq} INVITE"))
        .header(Name::Contact, "<sip:bob@192.0.2.2>")
        .header(Name::Allow, "INVITE, ACK, BYE, CANCEL, UPDATE, PRACK");
    for (name, value) in extra {
        builder = builder.header(name.clone(), value);
    }
    match offer {
        Some(offer) => builder.body("application/sdp", sdp(offer)).build().unwrap(),
        None => builder.build().unwrap(),
    }
}

impl Script {
    pub(crate) fn around(call: Call) -> Script {
        let now = Time::from_millis(1);
        let mut script = Script { now, call, out: Vec::new(), media: true, keys: 100, cseq: 1_000 };
        script.drain();
        script
    }

    pub(crate) fn dial(config: Config, opening: Opening) -> Script {
        let mut script = Script::dial_in(config, opening);
        script.drain();
        script
    }

    /// A call whose media has not answered yet.
    pub(crate) fn dial_undescribed() -> Script {
        let mut script = Script::dial_in(Config::default(), Opening::Offer);
        script.media = false;
        script.drain();
        script
    }

    fn dial_in(config: Config, opening: Opening) -> Script {
        let dial = Dial {
            target: "sip:bob@example.org".into(),
            to: "<sip:bob@example.org>".into(),
            from: "<sip:us@example.org>".into(),
            call_id: SipCallId("our-call".into()),
            contact: contact(),
            routes: vec!["<sip:proxy.example.org;lr>".into()],
            headers: Vec::new(),
            opening,
        };
        let call = Call::dial(Time::from_millis(1), config, dial, Entropy::from_number(1));
        Script { now: Time::from_millis(1), call, out: Vec::new(), media: true, keys: 100, cseq: 1_000 }
    }

    pub(crate) fn incoming(config: Config, invite: &Message) -> Script {
        let (now, entropy) = (Time::from_millis(1), Entropy::from_number(1));
        Script::around(Call::incoming(now, config, contact(), ServerKey(1), flow(1), invite, entropy))
    }

    /// An outgoing call that is answered by the fork `b1`.
    pub(crate) fn talking() -> Script {
        let mut script = Script::dial(Config::default(), Opening::Offer);
        script.answer(200, "b1", Some("answer"));
        script.out.clear();
        script
    }

    /// The far end's next CSeq is lower by this.
    pub(crate) fn rewind(&mut self, by: u32) {
        self.cseq -= by;
    }

    pub(crate) fn drain(&mut self) {
        while let Some(output) = self.call.poll_output() {
            let answer = match &output {
                Output::Describe(Describe::Offer { .. }) => Some(Described::Description(sdp("our offer"))),
                Output::Describe(Describe::Answer { .. }) => Some(Described::Description(sdp("our answer"))),
                Output::Describe(Describe::Conclude { .. }) => Some(Described::Accepted),
                _ => None,
            };
            self.out.push(output);
            if let Some(answer) = answer.filter(|_| self.media) {
                self.call.handle_described(self.now, answer);
            }
        }
    }

    pub(crate) fn media(&mut self, answer: Described) {
        self.call.handle_described(self.now, answer);
        self.drain();
    }

    /// Every request that was sent, with its name.
    pub(crate) fn sent(&self) -> Vec<(RequestId, Message)> {
        let sent = |output: &Output| match output {
            Output::Send { id, request, .. } => Some((*id, request.clone())),
            _ => None,
        };
        self.out.iter().filter_map(sent).collect()
    }

    /// The last request of this method.
    pub(crate) fn last(&self, method: &str) -> (RequestId, Message) {
        self.sent().into_iter().rfind(|(_, request)| request.method().as_str() == method).unwrap()
    }

    pub(crate) fn acks(&self) -> Vec<Message> {
        let ack = |output: &Output| match output {
            Output::Ack { request, .. } => Some(request.clone()),
            _ => None,
        };
        self.out.iter().filter_map(ack).collect()
    }

    pub(crate) fn responses(&self) -> Vec<(ServerKey, Message)> {
        let response = |output: &Output| match output {
            Output::Respond { key, response } => Some((*key, response.clone())),
            _ => None,
        };
        self.out.iter().filter_map(response).collect()
    }

    pub(crate) fn codes(&self) -> Vec<u16> {
        self.responses().iter().filter_map(|(_, response)| response.status()).collect()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let event = |output: &Output| match output {
            Output::Event(event) => Some(event.clone()),
            _ => None,
        };
        self.out.iter().filter_map(event).collect()
    }

    pub(crate) fn records(&self) -> Vec<CallRecord> {
        let record = |event: Event| match event {
            Event::Ended(record) => Some(record),
            _ => None,
        };
        self.events().into_iter().filter_map(record).collect()
    }

    pub(crate) fn reason(&self) -> Option<EndReason> {
        self.records().first().map(|record| record.reason.clone())
    }

    /// A response of the far end to our last INVITE, from the fork with this tag.
    pub(crate) fn answer(&mut self, code: u16, tag: &str, body: Option<&str>) {
        self.answer_with(code, tag, body, &[]);
    }

    pub(crate) fn answer_with(&mut self, code: u16, tag: &str, body: Option<&str>, extra: &[(Name, &str)]) {
        let (id, request) = self.last("INVITE");
        let response = respond(&request, code, tag, body, extra);
        self.call.handle_response(self.now, id, &response);
        self.drain();
    }

    /// A response of the far end to our last request of this method.
    pub(crate) fn answer_to(&mut self, method: &str, code: u16, body: Option<&str>, extra: &[(Name, &str)]) {
        let (id, request) = self.last(method);
        let response = respond(&request, code, "", body, extra);
        self.call.handle_response(self.now, id, &response);
        self.drain();
    }

    /// A request of the far end in the dialog with our tag `ours` and theirs; the codes of what it was answered with.
    pub(crate) fn request(
        &mut self,
        method: &str,
        body: Option<(&str, &str)>,
        extra: &[(Name, &str)],
    ) -> Vec<u16> {
        let id = self.call.dialog_id().unwrap().clone();
        self.request_in(&id, method, body, extra)
    }

    pub(crate) fn request_in(
        &mut self,
        id: &DialogId,
        method: &str,
        body: Option<(&str, &str)>,
        extra: &[(Name, &str)],
    ) -> Vec<u16> {
        let before = self.codes().len();
        let request = self.request_unchecked(id, method, body, extra);
        assert!(self.call.owns_request(&request));
        self.codes().split_off(before)
    }

    /// The same, also for a dialog that the call does not know.
    pub(crate) fn request_unchecked(
        &mut self,
        id: &DialogId,
        method: &str,
        body: Option<(&str, &str)>,
        extra: &[(Name, &str)],
    ) -> Message {
        self.cseq += 1;
        self.keys += 1;
        let mut builder = Builder::request(Method::parse(method).unwrap(), "sip:us@192.0.2.1")
            .header(Name::Via, format!("SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{}", self.keys))
            .header(Name::From, format!("<sip:bob@example.org>;tag={}", id.remote_tag))
            .header(Name::To, format!("<sip:us@example.org>;tag={}", id.local_tag))
            .header(Name::CallId, &id.call_id)
            .header(Name::CSeq, format!("{} {method}", self.cseq))
            .header(Name::Contact, "<sip:bob@192.0.2.77>");
        for (name, value) in extra {
            builder = builder.header(name.clone(), value);
        }
        if let Some((kind, body)) = body {
            builder = builder.body(kind, body.to_owned());
        }
        let request = builder.build().unwrap();
        self.call.handle_request(self.now, ServerKey(self.keys), flow(1), &request);
        self.drain();
        request
    }

    /// The ACK to our last 2xx.
    pub(crate) fn ack(&mut self, body: Option<&str>) {
        let ok = |(_, response): &(ServerKey, Message)| {
            response.status() == Some(200) && response.method() == Method::Invite
        };
        let (_, response) = self.responses().into_iter().rfind(ok).unwrap();
        let mut builder = Builder::request(Method::Ack, "sip:us@192.0.2.1")
            .copy(&response, Name::From)
            .copy(&response, Name::To)
            .copy(&response, Name::CallId)
            .header(Name::CSeq, format!("{} ACK", response.cseq().unwrap().number));
        if let Some(body) = body {
            builder = builder.body("application/sdp", sdp(body));
        }
        self.call.handle_ack(self.now, &builder.build().unwrap());
        self.drain();
    }

    pub(crate) fn wait(&mut self, seconds: u64) {
        let end = self.now + std::time::Duration::from_secs(seconds);
        while let Some(next) = self.call.poll_timeout().filter(|next| *next <= end) {
            self.now = next.max(self.now);
            self.call.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }
}

/// A response to a request of ours, with a To tag where the request has none.
pub(crate) fn respond(
    request: &Message,
    code: u16,
    tag: &str,
    body: Option<&str>,
    extra: &[(Name, &str)],
) -> Message {
    let mut builder = Builder::response(request, code, "");
    if !tag.is_empty() {
        builder = builder.to_tag(tag);
    }
    let names_contact = extra.iter().any(|(name, _)| *name == Name::Contact);
    if !tag.is_empty() && !names_contact {
        builder = builder.header(Name::Contact, format!("<sip:{tag}@192.0.2.2>"));
    }
    for (name, value) in extra {
        builder = builder.header(name.clone(), value);
    }
    match body {
        Some(body) => builder.body("application/sdp", sdp(body)).build().unwrap(),
        None => builder.build().unwrap(),
    }
}
