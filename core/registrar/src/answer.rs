//! Responses to REGISTER: what a 200 tells, and keeping answers for copies of the request.

use core::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;
use wakeline_clock::Time;
use wakeline_flow::{FlowInfo, Transmit};
use wakeline_push::{
    FeatureCaps, Provider, WAKE_STATE_HEADER, WakeId, WakeState, is_token_parameter, write_wake_states,
};
use wakeline_sip_message::{Message, Name, OwnedUri, Params, Uri, reason};

use crate::SETTINGS_HEADER;
use crate::binding::Binding;
use crate::contact::{Granted, Outbound, instance_urn, is_served_nearer, serves};
use crate::copies::Kept;
use crate::deadline::Due;
use crate::machine::Registrar;
use crate::number::{AorId, BindingId};
use crate::output::Output;
use crate::seal::Purpose;

impl Registrar {
    /// The name under which the answer to a request is kept; none over reliable transports.
    pub(crate) fn copy_name(&self, flow: &FlowInfo, request: &Message) -> Option<u64> {
        (!flow.transport.is_reliable()).then(|| self.keyed.digest(&request.to_bytes()) ^ flow.id.0)
    }

    /// Writes and sends a response to a REGISTER, and keeps what a copy of the request has to be told.
    pub(crate) fn answer_register(
        &mut self,
        now: Time,
        flow: FlowInfo,
        request: &Message,
        copy: Option<u64>,
        code: u16,
        headers: &[(Name, String)],
    ) {
        let bytes = self.send_answer(flow, request, copy, code, headers);
        if let Some(copy) = copy.filter(|_| code != 401) {
            self.keep_answer(now, copy, Kept::Written(Box::new(Bytes::copy_from_slice(&bytes))));
        }
    }

    /// The same for a 200 that can be written again from the bindings of `aor`.
    pub(crate) fn answer_taken(
        &mut self,
        now: Time,
        flow: FlowInfo,
        request: &Message,
        copy: Option<u64>,
        aor: AorId,
        headers: &[(Name, String)],
    ) {
        self.send_answer(flow, request, copy, 200, headers);
        if let Some(copy) = copy {
            self.keep_answer(now, copy, Kept::Taken(aor));
        }
    }

    /// Without keeping anything: for a copy itself. Copies of a request get the same tag (RFC 3261 §8.2.6.2).
    pub(crate) fn send_answer(
        &mut self,
        flow: FlowInfo,
        request: &Message,
        copy: Option<u64>,
        code: u16,
        headers: &[(Name, String)],
    ) -> Bytes {
        let tag = copy.map_or_else(|| self.entropy.token(8), |copy| format!("{:08x}", copy >> 32));
        let bytes = write_response(request, &flow, code, &tag, headers);
        self.transmit(flow.id, bytes.clone());
        bytes
    }

    fn keep_answer(&mut self, now: Time, copy: u64, kept: Kept) {
        self.answers.keep(now, copy, kept);
        let next = self.answers.next();
        self.deadlines.rearm(&mut self.answers.armed, next, Due::Answers);
    }

    pub(crate) fn transmit(&mut self, flow: wakeline_flow::FlowId, bytes: Bytes) {
        self.outputs.push_back(Output::Transmit(Transmit { flow, bytes }));
    }

    /// Everything a 200 to a REGISTER says.
    pub(crate) fn register_ok_headers(
        &mut self,
        now: Time,
        aor: AorId,
        request: &Message,
        granted: &[Granted],
        info: Option<String>,
        states: Vec<(WakeId, WakeState)>,
    ) -> Vec<(Name, String)> {
        let mut headers = Vec::with_capacity(10);
        let Some(entry) = self.accounts.get(aor) else { return headers };
        let news = self.settings_news.get(entry.name()).cloned();
        // A GRUU leads through its domain, and an upstream's does not know of ours.
        let gruu = request.supports("gruu") && self.upstreams.of_domain(entry.domain()).is_none();
        let mut outbound = false;
        for id in &entry.bindings {
            let Some(binding) = self.bindings.get(*id) else { continue };
            let own = granted.iter().any(|one| one.binding == *id);
            outbound |= own && binding.reg_id != 0;
            let token_in_header = request.header_by_name(wakeline_push::X_MPUSH_HEADER).is_some();
            let mut text = contact_text(binding, own, token_in_header);
            // Writing into a String cannot fail.
            let _ = write!(text, ";expires={}", binding.seconds_left(now));
            if gruu && own && binding.instance != 0 {
                let urn = instance_urn(binding);
                let temporary = self.seal.seal(Purpose::TemporaryGruu, id.0, &mut self.entropy);
                let _ = write!(
                    text,
                    ";pub-gruu=\"sip:{}@{};gr={urn}\";temp-gruu=\"sip:{temporary}@{};gr\"",
                    escape_user(entry.user()),
                    entry.domain(),
                    entry.domain()
                );
            }
            headers.push((Name::Contact, text));
        }
        if outbound {
            headers.push((Name::Require, "outbound".into()));
            if Outbound::of(request) == Outbound::InUse {
                headers.push((Name::FlowTimer, self.config.timers.flow_timer.as_secs().to_string()));
            }
        }
        if request.supports("path") {
            headers.extend(request.headers(Name::Path).map(|value| (Name::Path, value.to_owned())));
        }
        headers.push((Name::Supported, "path, outbound, gruu".into()));
        let purr_for = granted.iter().find(|one| one.push).map(|one| one.binding);
        if let Some(query) = granted.iter().find_map(|one| one.query.clone()) {
            for caps in self.feature_caps(request, query.as_ref(), purr_for) {
                headers.push((Name::FeatureCaps, caps.to_string()));
            }
        }
        if self.config.service_route {
            headers.push((
                Name::ServiceRoute,
                format!("<sip:{};lr>", self.config.domains.first().map_or("", String::as_str)),
            ));
        }
        if let Some(info) = info {
            headers.push((Name::AuthenticationInfo, info));
        }
        if !states.is_empty() {
            headers.push((self.wake_state_name(), write_wake_states(&states)));
        }
        if let (Some(news), Some(name)) = (news, Name::parse(SETTINGS_HEADER)) {
            headers.push((name, news));
        }
        headers
    }

    fn wake_state_name(&self) -> Name {
        Name::parse(WAKE_STATE_HEADER).unwrap_or(Name::XWakeState)
    }

    /// One value per push service that was asked for (RFC 8599 §4.1.1, §5.6.1.1).
    fn feature_caps(
        &mut self,
        request: &Message,
        query: Option<&Provider>,
        purr_for: Option<BindingId>,
    ) -> SmallVec<[FeatureCaps; 1]> {
        let ours = [Provider::Fcm, Provider::Apns, Provider::WebPush];
        let others = self.config.push.others.iter().map(|name| Provider::Other(name.clone()));
        let push = &self.config.push;
        let offered = ours.into_iter().chain(others).filter(|provider| {
            serves(push, provider)
                && query.is_none_or(|asked| asked.is_served_by(provider))
                && !is_served_nearer(request, provider)
        });
        let (seal, entropy) = (&self.seal, &mut self.entropy);
        offered
            .map(|provider| {
                let vapid = if provider == Provider::WebPush { push.vapid.clone() } else { None };
                let mut caps = FeatureCaps::new(query.cloned().unwrap_or(provider));
                caps.refresh_before = Some(push.pnsreg).filter(|seconds| *seconds > 120);
                caps.purr = purr_for.map(|id| seal.seal(Purpose::Purr, id.0, entropy));
                caps.vapid = vapid;
                caps
            })
            .collect()
    }
}

/// A binding as a 200 shows it: whole to the device that registers it, without its token to the others (RFC 8599 §13).
fn contact_text(binding: &Binding, own: bool, own_token_in_header: bool) -> String {
    let mut text = String::with_capacity(binding.uri().len() + binding.params().len() + 160);
    text.push('<');
    if own {
        text.push_str(binding.uri());
    } else {
        text.push_str(&without_token(binding.uri()));
    }
    text.push('>');
    if own && !own_token_in_header {
        text.push_str(binding.params());
    } else {
        for (name, value) in Params::parse(binding.params()).unwrap_or_default() {
            if is_token_parameter(name) {
                continue;
            }
            text.push(';');
            text.push_str(name);
            if let Some(value) = value {
                text.push('=');
                text.push_str(value);
            }
        }
    }
    text
}

/// A URI without the parameters that tell how its device is woken.
pub(crate) fn without_token(uri: &str) -> String {
    let Ok(view) = Uri::parse(uri) else { return uri.to_owned() };
    // Behind a question mark in the wrong place stand headers: what would be a token there goes with all of them.
    let tells = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.contains("pn-") || text.contains("app-id")
    };
    if view.headers().any(|(name, value)| tells(name) || tells(value)) {
        return OwnedUri::parse(uri)
            .map_or(String::new(), |uri| without_token(uri.without_headers().as_str()));
    }
    let params = view.params();
    let Some(start) = uri.rfind(params.as_str()).filter(|_| !params.as_str().is_empty()) else {
        return uri.to_owned();
    };
    let mut text = String::with_capacity(uri.len());
    text.push_str(&uri[..start]);
    for (name, value) in params {
        if is_token_parameter(name) {
            continue;
        }
        text.push(';');
        text.push_str(name);
        if let Some(value) = value {
            text.push('=');
            text.push_str(value);
        }
    }
    text.push_str(&uri[start + params.as_str().len()..]);
    text
}

/// A user part with the escapes that RFC 3261 §25.1 asks for.
pub(crate) fn escape_user(user: &str) -> String {
    let mut text = String::with_capacity(user.len());
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Writes a response without body. Every value comes from a message that was read (so it holds no line end) or is our
/// own. The topmost Via gets `received` and `rport` (RFC 3261 §18.2.1, RFC 3581 §4).
pub(crate) fn write_response(
    request: &Message,
    flow: &FlowInfo,
    code: u16,
    tag: &str,
    headers: &[(Name, String)],
) -> Bytes {
    let mut out = BytesMut::with_capacity(request.len() + 512);
    let line = |out: &mut BytesMut, name: &str, value: &str| {
        out.put_slice(name.as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    };
    out.put_slice(b"SIP/2.0 ");
    out.put_slice(code.to_string().as_bytes());
    out.put_slice(b" ");
    out.put_slice(reason::usual(code).as_bytes());
    out.put_slice(b"\r\n");
    for (place, via) in request.headers(Name::Via).enumerate() {
        out.put_slice(b"Via: ");
        if place > 0 || !put_stamped(&mut out, via, flow) {
            out.put_slice(via.as_bytes());
        }
        out.put_slice(b"\r\n");
    }
    line(&mut out, "From", request.header(Name::From).unwrap_or(""));
    out.put_slice(b"To: ");
    out.put_slice(request.header(Name::To).unwrap_or("").as_bytes());
    if request.to_tag().is_none() {
        out.put_slice(b";tag=");
        out.put_slice(tag.as_bytes());
    }
    out.put_slice(b"\r\n");
    line(&mut out, "Call-ID", request.call_id());
    line(&mut out, "CSeq", request.header(Name::CSeq).unwrap_or(""));
    for (name, value) in headers {
        line(&mut out, name.as_str(), value);
    }
    out.put_slice(b"Content-Length: 0\r\n\r\n");
    out.freeze()
}

/// Writes a Via with where it came from; `false`, and nothing, where it tells that already.
fn put_stamped(out: &mut BytesMut, via: &str, flow: &FlowInfo) -> bool {
    let Ok(view) = wakeline_sip_message::Via::parse(via) else { return false };
    let source = flow.remote.ip().to_canonical();
    let named_right = view.host().address() == Some(source);
    let start = out.len();
    out.put_slice(b"SIP/2.0/");
    out.put_slice(view.transport_text().as_bytes());
    out.put_slice(b" ");
    out.put_slice(view.sent_by().as_bytes());
    let (mut received, mut rport) = (false, false);
    for (name, value) in view.params() {
        if name.eq_ignore_ascii_case("received") {
            received = true;
            continue;
        }
        if name.eq_ignore_ascii_case("rport") {
            rport = true;
            continue;
        }
        out.put_slice(b";");
        out.put_slice(name.as_bytes());
        if let Some(value) = value {
            out.put_slice(b"=");
            out.put_slice(value.as_bytes());
        }
    }
    if named_right && !rport && !received {
        out.truncate(start);
        return false;
    }
    // Writing into memory cannot fail.
    if !named_right || rport {
        let _ = write!(out, ";received={source}");
    }
    if rport {
        let _ = write!(out, ";rport={}", flow.remote.port());
    }
    true
}
