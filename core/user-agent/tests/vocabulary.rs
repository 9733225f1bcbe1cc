//! Commands, events and snapshots as JSON: the control protocol's exact words, both ways.

#![allow(clippy::unwrap_used, reason = "a test program")]

mod scripted;

use scripted::Phone;
use wakeline_push::{ExternalId, WakeId};
use wakeline_sip_message::{Method, Name};
use wakeline_user_agent::*;

#[test]
fn every_command_has_its_json() {
    let (account, call) = (AccountId(1), CallId(7));
    let table = [
        (Command::Start, r#"{"command":"start"}"#),
        (Command::Stop, r#"{"command":"stop"}"#),
        (Command::Register { account }, r#"{"command":"register","account":1}"#),
        (Command::Unregister { account }, r#"{"command":"unregister","account":1}"#),
        (Command::ClearPushToken, r#"{"command":"clear-push-token"}"#),
        (Command::PushReceived { payload: "{}".into() }, r#"{"command":"push-received","payload":"{}"}"#),
        (
            Command::Provision { account, link: "https://a.example/p/X".into() },
            r#"{"command":"provision","account":1,"link":"https://a.example/p/X"}"#,
        ),
        (Command::Consent { account, agreed: true }, r#"{"command":"consent","account":1,"agreed":true}"#),
        (Command::Suspend, r#"{"command":"suspend"}"#),
        (Command::Resume, r#"{"command":"resume"}"#),
        (Command::NetworkChanged, r#"{"command":"network-changed"}"#),
        (Command::NetworkLost, r#"{"command":"network-lost"}"#),
        (Command::Dial { account, to: "bob".into() }, r#"{"command":"dial","account":1,"to":"bob"}"#),
        (Command::Answer { call }, r#"{"command":"answer","call":7}"#),
        (Command::Decline { call }, r#"{"command":"decline","call":7}"#),
        (Command::Reject { call, code: 486 }, r#"{"command":"reject","call":7,"code":486}"#),
        (Command::Ignore { call }, r#"{"command":"ignore","call":7}"#),
        (Command::Forward { call, to: "bob".into() }, r#"{"command":"forward","call":7,"to":"bob"}"#),
        (Command::Hangup { call }, r#"{"command":"hangup","call":7}"#),
        (Command::Hold { call, on: true }, r#"{"command":"hold","call":7,"on":true}"#),
        (
            Command::Mute { call, direction: MuteDirection::Speaker, on: false },
            r#"{"command":"mute","call":7,"direction":"speaker","on":false}"#,
        ),
        (Command::Conference { call, on: true }, r#"{"command":"conference","call":7,"on":true}"#),
        (Command::Dtmf { call, digits: "1,2#".into() }, r#"{"command":"dtmf","call":7,"digits":"1,2#"}"#),
        (Command::SetAudioGranted { granted: false }, r#"{"command":"set-audio-granted","granted":false}"#),
        (Command::Options { account, to: "bob".into() }, r#"{"command":"options","account":1,"to":"bob"}"#),
    ];
    for (command, json) in table {
        assert_eq!(serde_json::to_string(&command).unwrap(), json);
        assert_eq!(serde_json::from_str::<Command>(json).unwrap(), command);
    }
}

#[test]
fn what_is_left_out_is_the_first_account_and_the_microphone() {
    let dial: Command = serde_json::from_str(r#"{"command":"dial","to":"bob"}"#).unwrap();
    assert_eq!(dial, Command::Dial { account: AccountId(0), to: "bob".into() });
    let mute: Command = serde_json::from_str(r#"{"command":"mute","call":7,"on":true}"#).unwrap();
    assert_eq!(mute, Command::Mute { call: CallId(7), direction: MuteDirection::Microphone, on: true });
    assert!(serde_json::from_str::<Command>(r#"{"command":"fly"}"#).is_err());
}

#[test]
fn commands_that_carry_secrets_have_their_json_and_show_nothing_in_a_log() {
    let (account, secret) = (AccountId(1), "a canary");
    let table = [
        (
            Command::SetParameter { account, name: "password".into(), value: secret.into() },
            r#"{"command":"set-parameter","account":1,"name":"password","value":"a canary"}"#,
        ),
        (
            Command::SetPushToken { provider: "fcm".into(), param: "acme".into(), prid: secret.into() },
            r#"{"command":"set-push-token","provider":"fcm","param":"acme","prid":"a canary"}"#,
        ),
    ];
    for (command, json) in table {
        assert_eq!(serde_json::from_str::<Command>(json).unwrap(), command);
        assert!(!format!("{command:?}").contains(secret), "{command:?}");
    }
}

fn call() -> CallSnapshot {
    CallSnapshot {
        call: CallId(7),
        account: AccountId(1),
        external_id: ExternalId::of(&WakeId::of("c", "t")),
        wake_id: Some("Zk3vQm1xT0aB9wLr".parse().unwrap()),
        direction: Direction::Incoming,
        phase: CallPhase::Ringing,
        peer: "sip:bob@example.org".into(),
        peer_name: Some("Bob \"B\"".into()),
        on_hold: false,
        held_by_peer: true,
        microphone_muted: true,
        speaker_muted: false,
        in_conference: true,
        joins: Some(CallId(3)),
        encryption: Encryption::Srtp,
        codec: Some("opus".into()),
        media_flows: true,
    }
}

fn call_json() -> String {
    let external = ExternalId::of(&WakeId::of("c", "t"));
    format!(
        "\"call\":7,\"account\":1,\"external_id\":\"{external}\",\"wake_id\":\"Zk3vQm1xT0aB9wLr\",\
         \"direction\":\"incoming\",\"phase\":\"ringing\",\"peer\":\"sip:bob@example.org\",\
         \"peer_name\":\"Bob \\\"B\\\"\",\"on_hold\":false,\"held_by_peer\":true,\"microphone_muted\":true,\
         \"speaker_muted\":false,\"in_conference\":true,\"joins\":3,\"encryption\":\"srtp\",\"codec\":\"opus\",\"media_flows\":true"
    )
}

fn registration() -> RegistrationSnapshot {
    RegistrationSnapshot {
        account: AccountId(1),
        address: "sip:mia@example.org".into(),
        phase: RegistrationPhase::Failed,
        push: PushStatus::NotOffered,
        expires_s: None,
        code: Some(403),
        text: Some("refused: 403 Forbidden".into()),
        retry_in_ms: Some(1500),
        round_trips: None,
    }
}

const REGISTRATION: &str = "\"account\":1,\"address\":\"sip:mia@example.org\",\"phase\":\"failed\",\
     \"push\":\"not-offered\",\"expires_s\":null,\"code\":403,\"text\":\"refused: 403 Forbidden\",\
     \"retry_in_ms\":1500,\"round_trips\":null";

#[test]
fn every_event_has_its_json() {
    let ended = EndedCall {
        last: call(),
        reason: "answered-elsewhere".into(),
        code: Some(200),
        by_peer: true,
        total_ms: 1234,
        talk_ms: 0,
    };
    let wake_id: WakeId = "Zk3vQm1xT0aB9wLr".parse().unwrap();
    let table = [
        (
            Event::RegistrationChanged(registration()),
            format!("{{\"event\":\"registration-changed\",{REGISTRATION}}}"),
        ),
        (Event::Rings(call()), format!("{{\"event\":\"rings\",{}}}", call_json())),
        (Event::CallChanged(call()), format!("{{\"event\":\"call-changed\",{}}}", call_json())),
        (
            Event::CallEnded(ended),
            format!(
                "{{\"event\":\"call-ended\",\"last\":{{{}}},\"reason\":\"answered-elsewhere\",\"code\":200,\
                 \"by_peer\":true,\"total_ms\":1234,\"talk_ms\":0}}",
                call_json()
            ),
        ),
        (
            Event::DtmfReceived { call: CallId(7), digit: '#' },
            "{\"event\":\"dtmf-received\",\"call\":7,\"digit\":\"#\"}".into(),
        ),
        (
            Event::Woken { wake_id, leg: WakeLeg::FirstAudio },
            "{\"event\":\"woken\",\"wake_id\":\"Zk3vQm1xT0aB9wLr\",\"leg\":\"first-audio\"}".into(),
        ),
        (
            Event::OptionsAnswered { account: AccountId(0), to: "bob".into(), code: Some(200) },
            "{\"event\":\"options-answered\",\"account\":0,\"to\":\"bob\",\"code\":200}".into(),
        ),
        (
            Event::Problem(Problem {
                account: None,
                call: Some(CallId(7)),
                cause: "a".into(),
                cure: String::new(),
            }),
            "{\"event\":\"problem\",\"account\":null,\"call\":7,\"cause\":\"a\",\"cure\":\"\"}".into(),
        ),
    ];
    for (event, json) in &table {
        // A total match: a new kind of event does not compile without a look at this table.
        match event {
            Event::RegistrationChanged(_)
            | Event::Rings(_)
            | Event::CallChanged(_)
            | Event::CallEnded(_)
            | Event::DtmfReceived { .. }
            | Event::Woken { .. }
            | Event::OptionsAnswered { .. }
            | Event::Provisioning { .. }
            | Event::Problem(_) => {}
        }
        assert_eq!(&serde_json::to_string(event).unwrap(), json);
        assert_eq!(&serde_json::from_str::<Event>(json).unwrap(), event);
    }
}

#[test]
fn a_snapshot_has_its_json() {
    let snapshot = Snapshot {
        registrations: vec![registration()],
        calls: vec![call()],
        dialogs: 1,
        transactions: 2,
        timers: 3,
        flows: 4,
    };
    let json = format!(
        "{{\"registrations\":[{{{REGISTRATION}}}],\"calls\":[{{{}}}],\"dialogs\":1,\"transactions\":2,\"timers\":3,\
         \"flows\":4}}",
        call_json()
    );
    assert_eq!(serde_json::to_string(&snapshot).unwrap(), json);
    assert_eq!(serde_json::from_str::<Snapshot>(&json).unwrap(), snapshot);
}

/// Every word of every enum, as scripts and shells read it.
#[test]
fn every_word_of_the_vocabulary_reads_back() {
    fn words<T>(table: &[(T, &str)])
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        for (value, word) in table {
            let json = format!("\"{word}\"");
            assert_eq!(serde_json::to_string(value).unwrap(), json);
            assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value);
        }
    }
    words(&[
        (CallPhase::Announced, "announced"),
        (CallPhase::Ringing, "ringing"),
        (CallPhase::Answering, "answering"),
        (CallPhase::Dialling, "dialling"),
        (CallPhase::Alerting, "alerting"),
        (CallPhase::Established, "established"),
        (CallPhase::Ending, "ending"),
    ]);
    words(&[
        (RegistrationPhase::Unregistered, "unregistered"),
        (RegistrationPhase::Registering, "registering"),
        (RegistrationPhase::Registered, "registered"),
        (RegistrationPhase::Suspended, "suspended"),
        (RegistrationPhase::Failed, "failed"),
    ]);
    words(&[
        (PushStatus::NotAsked, "not-asked"),
        (PushStatus::Confirmed, "confirmed"),
        (PushStatus::NotOffered, "not-offered"),
        (PushStatus::Refused, "refused"),
    ]);
    words(&[(Direction::Incoming, "incoming"), (Direction::Outgoing, "outgoing")]);
    words(&[(Encryption::Unknown, "unknown"), (Encryption::None, "none"), (Encryption::Srtp, "srtp")]);
    words(&[
        (WakeLeg::Push, "push"),
        (WakeLeg::FlowOpen, "flow-open"),
        (WakeLeg::Register, "register"),
        (WakeLeg::Registered, "registered"),
        (WakeLeg::Invite, "invite"),
        (WakeLeg::Ringing, "ringing"),
        (WakeLeg::Answered, "answered"),
        (WakeLeg::FirstAudio, "first-audio"),
        (WakeLeg::Over, "over"),
    ]);
    words(&[
        (MuteDirection::Both, "both"),
        (MuteDirection::Speaker, "speaker"),
        (MuteDirection::Microphone, "microphone"),
    ]);
}

/// A phone with three secrets: none of them is in anything that it tells or shows.
#[test]
fn s23_no_secret_is_in_any_event_or_snapshot() {
    let secrets = ["canary-of-a-password", "canary-of-a-token", "canary-of-a-header"];
    let header = format!("X-Key: {}", secrets[2]);
    let mut phone = Phone::new(vec![scripted::account(
        "mia",
        &[("password", secrets[0]), ("customsipheader", &header), ("push_mode", "linphone")],
    )]);
    let token =
        Command::SetPushToken { provider: "fcm".into(), param: "acme".into(), prid: secrets[1].into() };
    phone.command(token);
    phone.command(Command::Start);
    let challenge = "Digest realm=\"example.org\", nonce=\"n1\", qop=\"auth\"";
    phone.answer(&phone.last(&Method::Register), 401, &[(Name::WwwAuthenticate, challenge)]);
    phone.accept_register(&phone.last(&Method::Register));
    let flow = phone.last_flow();
    phone.receive(flow, &scripted::invite("mia", "c1"));
    phone.command(Command::Answer { call: phone.rings()[0].call });
    phone.set("password", secrets[0]);
    phone.command(Command::PushReceived { payload: secrets[1].into() });
    phone.command(Command::SetPushToken {
        provider: "fcm".into(),
        param: "\r".into(),
        prid: secrets[1].into(),
    });
    let snapshot = phone.agent.snapshot();
    let mut shown = vec![serde_json::to_string(&snapshot).unwrap(), format!("{snapshot:?}")];
    for event in &phone.events {
        shown.extend([serde_json::to_string(event).unwrap(), format!("{event:?}")]);
    }
    assert!(shown.len() > 10);
    for text in shown {
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    }
}
