//! The messages that the table writes itself, and the Via of those that pass through.

use core::net::IpAddr;

use wakeline_flow::{FlowInfo, Transport};
use wakeline_sip_message::{BuildError, Builder, Message, Method, Name};

use crate::config::{ReturnPort, SentBy};

/// Puts our Via on top (RFC 3261 §18.1.1), with `rport` unless it is not wanted (RFC 3581 §3).
pub(crate) fn with_via(
    request: &Message,
    transport: Transport,
    sent_by: &SentBy,
    branch: &str,
) -> Result<Message, BuildError> {
    let rport = match sent_by.return_port() {
        ReturnPort::Asked => ";rport",
        ReturnPort::NotAsked => "",
    };
    let via = format!("SIP/2.0/{} {sent_by};branch={branch}{rport}", transport.via_token());
    request.edit().prepend(Name::Via, via).finish()
}

/// Writes the source into the topmost Via (RFC 3261 §18.2.1, RFC 3581 §4). Nothing if it need not be, or if the Via
/// cannot be read.
pub(crate) fn stamped(request: &Message, flow: &FlowInfo) -> Option<Message> {
    let via = request.via().ok()?;
    let source = unmapped(flow.remote.ip());
    let named_right = via.host().address() == Some(source);
    if named_right && !via.wants_rport() && !via.params().has("received") {
        return None;
    }
    let mut value = format!("SIP/2.0/{} {}", via.transport_text(), via.sent_by());
    for (name, text) in via.params() {
        // What the sender claims of itself counts for nothing.
        if name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport") {
            continue;
        }
        value.push(';');
        value.push_str(name);
        if let Some(text) = text {
            value.push('=');
            value.push_str(text);
        }
    }
    if !named_right || via.wants_rport() {
        value.push_str(&format!(";received={source}"));
    }
    if via.wants_rport() {
        value.push_str(&format!(";rport={}", flow.remote.port()));
    }
    request.edit().replace_first(Name::Via, value).finish().ok()
}

/// An IPv4 address that a dual-stack socket shows as IPv6.
fn unmapped(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// The ACK to a non-2xx final response: the INVITE's, with the response's To (RFC 3261 §17.1.1.3).
pub(crate) fn ack(invite: &Message, response: &Message) -> Result<Message, BuildError> {
    hop_by_hop(invite, Method::Ack)?.copy(response, Name::To).build()
}

/// The CANCEL of an INVITE (RFC 3261 §9.1).
pub(crate) fn cancel(invite: &Message, extra: &[(Name, String)]) -> Result<Message, BuildError> {
    let builder = hop_by_hop(invite, Method::Cancel)?.copy(invite, Name::To);
    builder.headers(extra.iter().cloned()).build()
}

fn hop_by_hop(invite: &Message, method: Method) -> Result<Builder, BuildError> {
    let cseq = invite.cseq()?.number;
    let via = invite.via()?.as_str().to_owned();
    Ok(Builder::request(method.clone(), invite.request_uri_text())
        .header(Name::Via, via)
        .copy(invite, Name::Route)
        .copy(invite, Name::From)
        .copy(invite, Name::CallId)
        .header(Name::CSeq, format!("{cseq} {method}")))
}

/// A response without body.
pub(crate) fn response(
    request: &Message,
    code: u16,
    to_tag: Option<&str>,
    extra: &[(Name, String)],
) -> Result<Message, BuildError> {
    let mut builder = Builder::response(request, code, "");
    if let Some(tag) = to_tag {
        builder = builder.to_tag(tag);
    }
    builder.headers(extra.iter().cloned()).build()
}
