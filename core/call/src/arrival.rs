//! What an INVITE must stand before it rings, and what it tells (RFC 3261 §8.2, §13.3.1).

use wakeline_sip_dialog::{DialogId, SipCallId};
use wakeline_sip_message::{Message, Name, Params};

use crate::config::Reliable;
use crate::context::{Context, sdp_of};
use crate::output::{Event, Replaces};
use crate::session_timer::SessionTimer;

/// The outcome of the checks.
pub(crate) enum Check {
    /// It may ring.
    Pass,
    /// It is refused with this code, and a field that says what would help.
    Refuse { code: u16, field: Option<(Name, String)> },
}

pub(crate) fn check(cx: &Context, session: &SessionTimer, invite: &Message) -> Check {
    let refuse = |code, name, value: String| Check::Refuse { code, field: Some((name, value)) };
    // RFC 3261 §8.2.2.3.
    let unknown: Vec<&str> = invite.require().filter(|tag| !cx.config.understands(tag)).collect();
    if !unknown.is_empty() {
        return refuse(420, Name::Unsupported, unknown.join(", "));
    }
    if cx.config.reliable == Reliable::Required && !invite.supports("100rel") {
        return refuse(421, Name::Require, "100rel".into());
    }
    // RFC 3261 §8.2.3: a body that we cannot read, and that is not optional.
    let encoded =
        invite.headers(Name::ContentEncoding).any(|coding| !coding.eq_ignore_ascii_case("identity"));
    if encoded && !invite.body().is_empty() {
        return refuse(415, Name::AcceptEncoding, "identity".into());
    }
    let optional = invite
        .header(Name::ContentDisposition)
        .is_some_and(|value| value.to_ascii_lowercase().replace(' ', "").contains("handling=optional"));
    if !invite.body().is_empty() && sdp_of(invite).is_none() && !optional {
        return refuse(415, Name::Accept, "application/sdp".into());
    }
    // RFC 4028 §9.
    if let Some(floor) = session.refuses(invite) {
        return refuse(422, Name::MinSe, floor.to_string());
    }
    // RFC 3891 §3, RFC 3911 §4: one of a kind, and not both.
    let several = invite.count(Name::Replaces) > 1 || invite.count(Name::Join) > 1;
    if several || invite.count(Name::Replaces) + invite.count(Name::Join) > 1 {
        return Check::Refuse { code: 400, field: None };
    }
    Check::Pass
}

/// Takes note of who calls.
pub(crate) fn note_caller(cx: &mut Context, invite: &Message) {
    cx.record.call_id = Some(SipCallId(invite.call_id().into()));
    if let Ok(from) = invite.from() {
        cx.record.peer = from.uri().as_str().into();
        cx.record.peer_name =
            from.display_name().map(|name| name.into_owned()).or(cx.record.peer_name.take());
    }
}

pub(crate) fn event(invite: &Message) -> Event {
    Event::Arrived {
        replaces: replaces_of(invite),
        join: invite.header(Name::Join).and_then(dialog_of).map(|(dialog, _)| dialog),
        answer_after: answer_after(invite),
    }
}

/// The dialog that an INVITE with Replaces names.
pub(crate) fn replaces_of(invite: &Message) -> Option<Replaces> {
    let (dialog, params) = dialog_of(invite.header(Name::Replaces)?)?;
    Some(Replaces { dialog, early_only: params.has("early-only") })
}

/// `call-id;to-tag=…;from-tag=…` (RFC 3891 §6.1): the to-tag is ours. A tag of 0 stands for none (§6.1 and RFC 2543).
fn dialog_of(value: &str) -> Option<(DialogId, Params<'_>)> {
    let (call_id, params) = value.split_at(value.find(';')?);
    let params = Params::parse(params).ok()?;
    let remote = params.get("from-tag")?;
    let dialog = DialogId {
        call_id: SipCallId(call_id.trim().into()),
        local_tag: params.get("to-tag")?.into(),
        remote_tag: if remote == "0" { String::new() } else { remote.into() },
    };
    Some((dialog, params))
}

/// Answer-Mode (RFC 5373), or `answer-after` in Call-Info as many desk phones have it.
fn answer_after(invite: &Message) -> Option<u32> {
    let auto = |name| {
        invite
            .header(name)
            .is_some_and(|value: &str| value.trim_start().to_ascii_lowercase().starts_with("auto"))
    };
    if auto(Name::AnswerMode) || auto(Name::PrivAnswerMode) {
        return Some(0);
    }
    let fields = invite.headers(Name::CallInfo).chain(invite.headers(Name::AlertInfo));
    let mut seconds = fields.filter_map(|value| {
        let at = value.to_ascii_lowercase().find("answer-after")?;
        let rest = value.get(at..)?.split_once('=')?.1;
        let digits: String = rest.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    seconds.next()
}
