//! Requests of the far end inside a dialog that change neither media nor the call's life, and the answers to UPDATE.

use wakeline_clock::Time;
use wakeline_sip_dialog::Dialog;
use wakeline_sip_message::{Message, Method, Name, NameAddr};

use crate::config::TransferPolicy;
use crate::context::{Context, Recipe, SDP, Task};
use crate::digits;
use crate::output::{Described, Event, Output};
use wakeline_sip_transaction::ServerKey;

/// What a request in a dialog asks of the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Asks {
    /// INVITE: a change of the session.
    Invite,
    /// UPDATE: a change of the session without a third step.
    Update,
    /// PRACK: a provisional response was heard.
    Prack,
    /// BYE: the end.
    Bye,
    /// Nothing that touches the call's life: see [`serve`].
    Nothing,
}

/// Sorts a request by what it asks of the call.
pub(crate) fn asks(request: &Message) -> Asks {
    match request.method() {
        Method::Invite => Asks::Invite,
        Method::Update => Asks::Update,
        Method::Prack => Asks::Prack,
        Method::Bye => Asks::Bye,
        Method::Ack
        | Method::Cancel
        | Method::Register
        | Method::Options
        | Method::Info
        | Method::Subscribe
        | Method::Notify
        | Method::Refer
        | Method::Message
        | Method::Publish
        | Method::Other(_) => Asks::Nothing,
    }
}

/// Refuses a request that requires an extension, or carries a session in a form, that we do not know (RFC 3261
/// §8.2.2.3, §8.2.3); a BYE is never refused, because it ends the call all the same.
pub(crate) fn refused_as_unknown(cx: &mut Context, key: ServerKey, request: &Message) -> bool {
    let asks = asks(request);
    if asks == Asks::Bye {
        return false;
    }
    let unknown: Vec<&str> = request.require().filter(|tag| !cx.config.understands(tag)).collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(", ");
        cx.respond(key, request, 420, |builder| builder.header(Name::Unsupported, unknown));
        return true;
    }
    let is_offer = matches!(asks, Asks::Invite | Asks::Update | Asks::Prack);
    if is_offer && !request.body().is_empty() && request.sdp().is_none() {
        cx.respond(key, request, 415, |builder| builder.header(Name::Accept, SDP));
        return true;
    }
    false
}

/// Serves everything but INVITE, ACK, BYE, CANCEL, PRACK and UPDATE, which the state of the call decides.
pub(crate) fn serve(_now: Time, cx: &mut Context, dialog: &mut Dialog, key: ServerKey, request: &Message) {
    match request.method() {
        Method::Info => info(cx, key, request),
        Method::Options => options(cx, key, request),
        Method::Refer => refer(cx, dialog, key, request),
        // No provisional response of ours waits for it (RFC 3262 §3).
        Method::Prack => cx.respond_plain(key, request, 481),
        // RFC 6665 §4.1.3: we have no subscription in this dialog.
        Method::Notify => cx.respond_plain(key, request, 481),
        Method::Invite
        | Method::Ack
        | Method::Bye
        | Method::Cancel
        | Method::Register
        | Method::Update
        | Method::Subscribe
        | Method::Message
        | Method::Publish => {
            let allow = cx.config.allow();
            cx.respond(key, request, 405, |builder| builder.header(Name::Allow, allow));
        }
        // RFC 3261 §21.5.2: a method that we do not know.
        Method::Other(_) => {
            let allow = cx.config.allow();
            cx.respond(key, request, 501, |builder| builder.header(Name::Allow, allow));
        }
    }
}

fn info(cx: &mut Context, key: ServerKey, request: &Message) {
    // RFC 6086 §4.2.2: no package is ours.
    if request.header_by_name("Info-Package").is_some() {
        cx.respond(key, request, 469, |builder| builder.header_text("Recv-Info", "nil"));
        return;
    }
    match digits::read(request) {
        digits::Read::Digit(digit) => {
            cx.respond_plain(key, request, 200);
            cx.emit(Event::Digit(digit));
        }
        // An INFO without a body is a sign of life of older stacks.
        digits::Read::Nothing => cx.respond_plain(key, request, 200),
        digits::Read::Unreadable => cx.respond_plain(key, request, 400),
        digits::Read::Foreign => {
            let accept = "application/dtmf-relay, application/dtmf";
            cx.respond(key, request, 415, |builder| builder.header(Name::Accept, accept));
        }
    }
}

/// RFC 3261 §11.2: the answer tells what an INVITE would meet.
fn options(cx: &mut Context, key: ServerKey, request: &Message) {
    let (allow, supported) = (cx.config.allow(), cx.config.supported());
    cx.respond(key, request, 200, |builder| {
        builder.header(Name::Allow, allow).header(Name::Supported, supported).header(Name::Accept, SDP)
    });
}

/// RFC 3515 §2.4.2. Accepting makes a subscription, unless the far end wants none (RFC 4488).
fn refer(cx: &mut Context, dialog: &mut Dialog, key: ServerKey, request: &Message) {
    let mut values = request.headers(Name::ReferTo);
    let (first, second) = (values.next(), values.next());
    let target = first.filter(|_| second.is_none()).and_then(|value| NameAddr::parse(value).ok());
    let Some(refer_to) = target.map(|target| target.uri().as_str().to_owned()) else {
        cx.respond_plain(key, request, 400);
        return;
    };
    let referred_by = request.header(Name::ReferredBy).map(str::to_owned);
    let accepted = cx.config.transfer == TransferPolicy::Accept;
    if !accepted {
        cx.respond_plain(key, request, 603);
        cx.emit(Event::TransferAsked { refer_to, referred_by, accepted });
        return;
    }
    let silent =
        request.header(Name::ReferSub).is_some_and(|value| value.trim().eq_ignore_ascii_case("false"));
    let contact = cx.contact.value();
    cx.respond(key, request, 202, |builder| {
        let builder = builder.header(Name::Contact, contact);
        if silent { builder.header(Name::ReferSub, "false") } else { builder }
    });
    cx.emit(Event::TransferAsked { refer_to, referred_by, accepted });
    if !silent {
        notify(cx, dialog, 100, "Trying");
    }
}

/// Reports how far a transfer came (RFC 3515 §2.4.4).
pub(crate) fn notify(cx: &mut Context, dialog: &mut Dialog, code: u16, reason: &str) {
    let mut recipe = Recipe::bare(Method::Notify);
    let state = if code < 200 { "active;expires=60" } else { "terminated;reason=noresource" };
    recipe.headers.push((Name::Event, "refer".into()));
    recipe.headers.push((Name::SubscriptionState, state.into()));
    recipe.body = Some(("message/sipfrag;version=2.0", format!("SIP/2.0 {code} {reason}\r\n").into()));
    cx.request(dialog, Task::Notify, recipe);
}

/// 200 to UPDATE, with our answer if it made an offer (RFC 3311 §5.2).
pub(crate) fn accept_update(
    cx: &mut Context,
    key: ServerKey,
    request: &Message,
    answer: Option<bytes::Bytes>,
) {
    let contact = cx.contact.value();
    let allow = cx.config.allow();
    cx.respond(key, request, 200, |builder| {
        let builder = builder.header(Name::Contact, contact).header(Name::Allow, allow);
        match answer {
            Some(answer) => builder.body(SDP, answer),
            None => builder,
        }
    });
}

/// The answer to an UPDATE before the call is answered, as the media has it.
pub(crate) fn answer_update(cx: &mut Context, key: ServerKey, request: &Message, answer: Described) {
    match answer {
        Described::Description(answer) => {
            accept_update(cx, key, request, Some(answer));
            cx.emit(Event::MediaAgreed);
        }
        Described::Accepted => accept_update(cx, key, request, None),
        Described::Refused { code, why } => {
            refuse_media(cx, key, request, code, &why);
            cx.push(Output::Rollback);
        }
    }
}

/// Refuses an offer and says what is wrong with it (RFC 3261 §21.4.26).
pub(crate) fn refuse_media(
    cx: &mut Context,
    key: ServerKey,
    request: &Message,
    code: u16,
    why: &str,
) -> Option<Message> {
    let text: String =
        why.chars().filter(|letter| !letter.is_control() && !matches!(letter, '"' | '\\')).collect();
    cx.respond(key, request, code, |builder| {
        builder.header(Name::Warning, format!("399 wakeline \"{text}\""))
    })
}
