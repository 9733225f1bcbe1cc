//! What a script has a person want of a phone, and a stranger send to it.

use bytes::Bytes;
use wakeline_secret::Secret;
use wakeline_sip_message::{Message, Method, Name};
use wakeline_user_agent::{AccountId, CallId, Command};

use crate::bend::{METHODS, Request, bend, request};
use crate::script::Script;

/// A wish, of one of these calls or of one that never was. Tokens begin with `token`.
pub(crate) fn command(calls: &[CallId], token: &str, script: &mut Script<'_>) -> Command {
    let call = script.pick(calls).unwrap_or(CallId(u64::from(script.byte() & 7)));
    let account = AccountId(u32::from(script.byte() % 3));
    const TO: [&str; 7] = [
        "tom",
        "sip:bob@example.org",
        "sip:bob@203.0.113.9:5060;transport=tcp",
        "sips:bob@other.example",
        "sip:bob@x?Route=%3Csip:evil%3E&Subject=a%0d%0aEvil:1",
        "+1 (555) 0100",
        "\r\nEvil: 1",
    ];
    let to = match script.below(TO.len() + 1) {
        own if own == TO.len() => script.text(20),
        known => TO[known].to_owned(),
    };
    match script.below(26) {
        0 | 1 => Command::Start,
        2 => Command::Register { account },
        3 => Command::Unregister { account },
        4 => Command::SetPushToken {
            provider: ["fcm", "apns", "x\r\ny"][script.below(3)].into(),
            param: ["acme", "AB12.org.example.voip", ""][script.below(3)].into(),
            prid: Secret::from(format!("{token}{}", script.byte() & 1)),
        },
        5 => Command::ClearPushToken,
        6 => Command::PushReceived {
            payload: ["{\"v\":1,\"t\":\"call\",\"wid\":\"Zk3vQm1xT0aB9wLr\"}", "{}", "\0"][script.below(3)]
                .into(),
        },
        7 => Command::PushReceived { payload: script.text(60) },
        8 => Command::Suspend,
        9 => Command::Resume,
        10 => Command::NetworkChanged,
        11 => Command::NetworkLost,
        12 | 13 => Command::Dial { account, to },
        14 | 15 => Command::Answer { call },
        16 => Command::Decline { call },
        17 => Command::Reject { call, code: script.u16() },
        18 => Command::Forward { call, to },
        19 => Command::Hangup { call },
        20 => Command::Hold { call, on: script.flag() },
        21 => Command::Dtmf { call, digits: script.text(6) },
        22 => Command::SetAudioGranted { granted: script.flag() },
        23 => Command::Options { account, to },
        24 => Command::Ignore { call },
        _ => Command::SetParameter {
            account,
            name: ["displayname", "username", "transport", "customsipheader", "autoaccept"][script.below(5)]
                .into(),
            value: Secret::from(script.text(20)),
        },
    }
}

/// A request, within a dialog that the phone has named lately in what it `sent`, or a new one; or no message at all.
pub(crate) fn incoming(sent: &[Message], script: &mut Script<'_>, cseq: &mut u32) -> Bytes {
    if script.below(6) == 0 {
        return Bytes::copy_from_slice(script.bytes(60));
    }
    *cseq += u32::from(script.byte() & 1);
    // Within a dialog that the phone itself has named lately, or a new one.
    let known = script.pick(sent).filter(|_| script.flag());
    let (call_id, from, to) = match &known {
        Some(message) if message.is_request() => (
            message.call_id().to_owned(),
            "<sip:far@192.0.2.9>;tag=t1".to_owned(),
            message.header(Name::From).unwrap_or("").to_owned(),
        ),
        Some(message) => (
            message.call_id().to_owned(),
            message.header(Name::From).unwrap_or("").to_owned(),
            message.header(Name::To).unwrap_or("").to_owned(),
        ),
        None => (
            ["in1", "in2", "in3"][script.below(3)].to_owned(),
            "\"%s%n\" <sip:far@192.0.2.9>;tag=t1".to_owned(),
            "<sip:mia@example.org>".to_owned(),
        ),
    };
    let method = match script.below(3) {
        0 => METHODS[script.below(METHODS.len())].clone(),
        1 => Method::Cancel,
        _ => Method::Invite,
    };
    let branch = format!("z9hG4bK{}", script.byte() % 6);
    let names = Request {
        method,
        uri: "sip:mia@10.20.0.5:40001",
        call_id: &call_id,
        from: &from,
        to: &to,
        cseq: *cseq,
        branch: &branch,
        via: "SIP/2.0/UDP 192.0.2.1:5060",
    };
    request(script, &names).map(|message| bend(script, &message)).unwrap_or_default()
}
