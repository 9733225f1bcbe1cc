//! Commands as JSON: the control protocol's exact words, both ways.

#![allow(clippy::unwrap_used, reason = "a test program")]

use wakeline_user_agent::{AccountId, CallId, Command, Event, MuteDirection, Problem};

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
fn events_have_their_json() {
    let table = [
        (
            Event::DtmfReceived { call: CallId(7), digit: '#' },
            r##"{"event":"dtmf-received","call":7,"digit":"#"}"##,
        ),
        (
            Event::OptionsAnswered { account: AccountId(0), to: "bob".into(), code: None },
            r#"{"event":"options-answered","account":0,"to":"bob","code":null}"#,
        ),
        (
            Event::Problem(Problem {
                account: Some(AccountId(0)),
                call: None,
                cause: "a".into(),
                cure: "b".into(),
            }),
            r#"{"event":"problem","account":0,"call":null,"cause":"a","cure":"b"}"#,
        ),
    ];
    for (event, json) in table {
        assert_eq!(serde_json::to_string(&event).unwrap(), json);
        assert_eq!(serde_json::from_str::<Event>(json).unwrap(), event);
    }
}
