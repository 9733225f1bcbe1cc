//! A call to a phone that sleeps: a fake phone registers, goes away, is woken and answers.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use wakeline_push::WakeId;
use wakeline_sip_message::{Message, Method, Name};

use super::phone::{Identity, PATIENCE, Phone, Way};
use super::report::{Hop, Report};
use super::upstream;
use super::view::View;

/// How the fake phone learns that its push has come.
#[derive(Debug)]
pub enum WakeSignal {
    /// The push service says so: it is a stand-in.
    Delivered(mpsc::UnboundedReceiver<()>),
    /// The gateway's view shows that the service took the push; a real service delivers it elsewhere.
    Trace,
}

/// How long a push may take from the INVITE on.
const PUSH: Duration = Duration::from_secs(10);
/// How long a push service's answer is waited for once it has delivered.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a phone takes to start.
const START: Duration = Duration::from_millis(50);
/// What the fake phone asks for, as a phone that can be woken does; it is taken back after the call.
const EXPIRES: u32 = 604_800;

/// Makes the call.
pub(super) async fn examine(
    way: &Way,
    who: &Identity,
    signal: WakeSignal,
    view: Option<&View>,
    report: &mut Report,
) {
    let name = format!("{}@{}", who.user, who.domain);
    let Some(mut callee) = register(way, who, &name, report).await else { return };
    let called = call(way, who, &mut callee, signal, view, &name, report).await;
    if let Some(wake) = called
        && let Some(view) = view
    {
        report.trace = view.json(&format!("/api/wakes/{}", wake.as_str())).await.ok();
    }
    // Nothing of the test stays behind.
    if let Ok(mut last) = Phone::connect(way, who).await {
        last.adopt(&callee);
        let _ = last.register(0).await;
    }
}

async fn register(way: &Way, who: &Identity, name: &str, report: &mut Report) -> Option<Phone> {
    let registered = async {
        let mut phone = Phone::connect(way, who).await?;
        let answer = phone.register(EXPIRES).await?;
        Ok::<_, String>((phone, answer))
    };
    let (phone, answer) = match registered.await {
        Ok(pair) => pair,
        Err(why) => {
            report.broken(Hop::Register, name, why, "see the ports above; the gateway's log tells more");
            return None;
        }
    };
    match answer.status() {
        Some(200) => {}
        Some(401 | 403 | 407) => {
            report.broken(
                Hop::Register,
                name,
                format!("the password is not accepted ({})", answer.start_line()),
                "name the test account and its password: --user USER --password PASSWORD; the realm must be the file's",
            );
            return None;
        }
        Some(404) => {
            report.broken(Hop::Register, name, "there is no such account", "add an [[account]] block for it");
            return None;
        }
        Some(_) | None => {
            let line = answer.start_line().to_owned();
            report.broken(Hop::Register, name, line, "the gateway's log tells why");
            return None;
        }
    }
    let offered = match &who.push {
        None => true,
        Some(push) => {
            let quoted = format!("+sip.pns=\"{}\"", push.provider.as_str());
            answer.headers(Name::FeatureCaps).any(|caps| caps.contains(&quoted))
        }
    };
    if !offered {
        report.broken(
            Hop::Register,
            name,
            "registered, but the gateway does not offer this phone's push service",
            "fill in its part of [push] and start the gateway again",
        );
        return None;
    }
    report.good(Hop::Register, name, "a fake phone is registered");
    upstream::look_at_expiry(&answer, who, name, report);
    Some(phone)
}

/// How long the caller is registered, where it must be.
const CALLER: u32 = 600;

/// The wake's name once the call was let in.
async fn call(
    way: &Way,
    who: &Identity,
    callee: &mut Phone,
    signal: WakeSignal,
    view: Option<&View>,
    name: &str,
    report: &mut Report,
) -> Option<WakeId> {
    if who.push.is_some() {
        callee.sleep().await;
        // The gateway sees the end of the connection before the call.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let caller = Identity { push: None, ..who.clone() };
    let invited = async {
        let mut caller = Phone::connect(way, &caller).await?;
        if who.domain != way.domain {
            // Before a PBX only a phone that is registered through the edge may call.
            let answer = caller.register(CALLER).await?;
            if answer.status() != Some(200) {
                return Err(format!("the caller is not registered: {}", answer.start_line()));
            }
        }
        let (invite, first) = caller.invite(name).await?;
        Ok::<_, String>((caller, invite, first))
    };
    let (mut caller, invite, mut first) = match invited.await {
        Ok(all) => all,
        Err(why) => {
            report.broken(Hop::Push, name, why, "the gateway's log tells why the INVITE got no answer");
            return None;
        }
    };
    let call_id = invite.header(Name::CallId).unwrap_or("").to_owned();
    let from = invite.header(Name::From).unwrap_or("");
    let tag = from.split(";tag=").nth(1).unwrap_or("");
    let wake = WakeId::of(&call_id, tag);
    if who.push.is_some() {
        if let Err((what, cure)) = woken(signal, view, &wake, &mut caller, &mut first).await {
            report.broken(Hop::Push, name, what, cure);
            return Some(wake);
        }
        report.good(Hop::Push, name, "the INVITE was held and the push service took the push");
        if let Err(why) = again(way, who, callee).await {
            report.broken(Hop::Call, name, why, "see the ports above; the gateway's log tells more");
            return Some(wake);
        }
    }
    match answered(callee, &mut caller, &invite).await {
        Ok(()) => report.good(Hop::Call, name, "the woken phone answered, and the call was ended in good order"),
        Err(why) => report.broken(
            Hop::Call,
            name,
            why,
            "the wake's trace shows the last leg that was reached; the gateway's log tells why there was no next",
        ),
    }
    if who.domain != way.domain {
        let _ = caller.register(0).await;
    }
    Some(wake)
}

/// Waits for the push.
async fn woken(
    signal: WakeSignal,
    view: Option<&View>,
    wake: &WakeId,
    caller: &mut Phone,
    first: &mut Message,
) -> Result<(), (String, &'static str)> {
    const CURE: &str =
        "see the credentials above; [[push.canary]] names the token that is pushed to, and it must be alive";
    let refused = |status: u16| {
        let what = format!("the caller was refused with {status} and nobody was woken");
        match status {
            486 | 429 | 603 => {
                (what, "the test account was woken too often (limits.wakes_per_minute): wait a minute")
            }
            401 | 403 | 407 => (what, "the test account may not call; see trust and the account"),
            404 => (what, "there is no such account"),
            _ => (what, CURE),
        }
    };
    let pushed = async {
        match (signal, view) {
            (WakeSignal::Delivered(mut delivered), _) => {
                let came = delivered.recv().await.ok_or(());
                // No phone starts faster. The service's own answer may be slower than its delivery, and is worth seeing.
                tokio::time::sleep(START).await;
                if let (Ok(()), Some(view)) = (came, view) {
                    let _ = tokio::time::timeout(ANSWER, taken(view, wake)).await;
                }
                came
            }
            (WakeSignal::Trace, Some(view)) => taken(view, wake).await,
            // Without a view nobody tells; a push takes no longer than this, or it has failed by a final response.
            (WakeSignal::Trace, None) => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                Ok(())
            }
        }
    };
    tokio::pin!(pushed);
    let deadline = tokio::time::sleep(PUSH);
    tokio::pin!(deadline);
    loop {
        if let Some(status) = first.status().filter(|status| *status >= 300) {
            return Err(refused(status));
        }
        tokio::select! {
            pushed = &mut pushed => return pushed.map_err(|()| ("the push service did not take the push".to_owned(), CURE)),
            next = caller.receive_within(PUSH) => match next {
                Ok(message) if message.is_request() => busy(caller, &message).await,
                Ok(message) => *first = message,
                Err(why) => return Err((format!("the caller: {why}"), "the gateway's log tells why")),
            },
            () = &mut deadline => return Err(("no push came within 10 s".to_owned(), CURE)),
        }
    }
}

/// Waits until the wake's trace tells what the push service said; an error when it refused.
async fn taken(view: &View, wake: &WakeId) -> Result<(), ()> {
    loop {
        let trace = view.json(&format!("/api/wakes/{}", wake.as_str())).await.unwrap_or(Value::Null);
        let legs = trace["legs"].as_array().cloned().unwrap_or_default();
        let has = |what: &str| legs.iter().any(|leg| leg["what"] == what);
        if has("push taken by the service") {
            return Ok(());
        }
        if has("push not taken by the service") {
            return Err(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What a woken phone does first.
async fn again(way: &Way, who: &Identity, callee: &mut Phone) -> Result<(), String> {
    let mut fresh = Phone::connect(way, who).await?;
    fresh.adopt(callee);
    *callee = fresh;
    let answer = callee.register(EXPIRES).await?;
    match answer.status() {
        Some(200) => Ok(()),
        Some(_) | None => Err(format!("the woken phone is not registered again: {}", answer.start_line())),
    }
}

/// Rings, answers, and ends the call.
async fn answered(callee: &mut Phone, caller: &mut Phone, invite: &Message) -> Result<(), String> {
    let incoming =
        callee.receive().await.map_err(|why| format!("no INVITE reached the woken phone: {why}"))?;
    if incoming.method() != Method::Invite {
        return Err(format!("the woken phone got {} instead of the INVITE", incoming.start_line()));
    }
    callee.answer(&incoming, 180).await?;
    callee.answer(&incoming, 200).await?;
    let ok =
        status(caller, 200).await.map_err(|why| format!("the answer did not reach the caller: {why}"))?;
    caller.within(invite, &ok, "ACK").await?;
    request(callee, "ACK").await?;
    caller.within(invite, &ok, "BYE").await?;
    let bye = request(callee, "BYE").await?;
    callee.answer(&bye, 200).await?;
    status(caller, 200).await.map(|_| ())
}

/// The caller has the callee's account, so the call may be forked to it too: it is busy.
async fn busy(caller: &mut Phone, request: &Message) {
    let code = if request.method() == Method::Invite { 486 } else { 200 };
    if request.method() != Method::Ack {
        let _ = caller.answer(request, code).await;
    }
}

/// The next response of this status; earlier provisional ones are passed over.
async fn status(phone: &mut Phone, wanted: u16) -> Result<Message, String> {
    loop {
        let message = phone.receive_within(PATIENCE).await?;
        match message.status() {
            Some(status) if status == wanted => return Ok(message),
            Some(100..=199) => {}
            None => busy(phone, &message).await,
            Some(_) => return Err(message.start_line().to_owned()),
        }
    }
}

/// The next request of this method.
async fn request(phone: &mut Phone, wanted: &str) -> Result<Message, String> {
    let message = phone.receive().await.map_err(|why| format!("no {wanted} reached the phone: {why}"))?;
    if message.is_request() && message.method().as_str() == wanted {
        return Ok(message);
    }
    Err(format!("the phone got {} instead of {wanted}", message.start_line()))
}
