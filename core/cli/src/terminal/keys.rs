//! From a key to a wish; nothing here touches a terminal or a phone.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "KeyCode is the terminal's enum, and most keys mean nothing"
)]

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use wakeline_user_agent::{AccountId, CallPhase, Command, MuteDirection};

use super::view::{Mode, View, waits_for_answer};

/// Lines that a page has.
const PAGE: usize = 10;
/// Longest address that can be typed.
const LONGEST: usize = 256;

/// What comes of a key.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Wish {
    /// At most the screen changes.
    Nothing,
    /// The phone is to do something.
    Command(Command),
    /// The program is to end.
    Quit,
}

/// What the keys do, for the last line of the screen.
pub(crate) const HELP: &str =
    "d dial a answer r decline h hang up o hold m mute c join 0-9*# \u{2191}\u{2193} l log q quit";

/// Takes a key.
pub(crate) fn press(view: &mut View, key: KeyEvent) -> Wish {
    if key.kind == KeyEventKind::Release {
        return Wish::Nothing;
    }
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return if matches!(key.code, KeyCode::Char('c' | 'd')) { Wish::Quit } else { Wish::Nothing };
    }
    match &mut view.mode {
        Mode::Dial(text) => match key.code {
            KeyCode::Enter => {
                let to = text.trim().to_owned();
                view.mode = Mode::Keys;
                if to.is_empty() {
                    return Wish::Nothing;
                }
                // A provider's link that was pasted.
                if to.starts_with("https://") {
                    return Wish::Command(Command::Provision { account: AccountId(0), link: to.into() });
                }
                return Wish::Command(Command::Dial { account: AccountId(0), to });
            }
            KeyCode::Esc => view.mode = Mode::Keys,
            KeyCode::Backspace => drop(text.pop()),
            KeyCode::Char(character) if text.len() < LONGEST && !character.is_control() => {
                text.push(character)
            }
            _ => {}
        },
        Mode::Log(up) => match key.code {
            KeyCode::Up => *up = up.saturating_add(1).min(view.log.len()),
            KeyCode::PageUp => *up = up.saturating_add(PAGE).min(view.log.len()),
            KeyCode::Down => *up = up.saturating_sub(1),
            KeyCode::PageDown => *up = up.saturating_sub(PAGE),
            KeyCode::Char('l' | 'q') | KeyCode::Esc => view.mode = Mode::Keys,
            _ => {}
        },
        Mode::Keys => return command(view, key.code),
    }
    Wish::Nothing
}

fn command(view: &mut View, code: KeyCode) -> Wish {
    match code {
        KeyCode::Char(answer @ ('y' | 'n')) if view.asks_consent => {
            view.asks_consent = false;
            return Wish::Command(Command::Consent { account: AccountId(0), agreed: answer == 'y' });
        }
        KeyCode::Char('q') => return Wish::Quit,
        KeyCode::Char('l') => view.mode = Mode::Log(0),
        KeyCode::Char('d' | '/') => view.mode = Mode::Dial(String::new()),
        KeyCode::Up => view.choose(-1),
        KeyCode::Down => view.choose(1),
        _ => {}
    }
    let Some(current) = view.current() else {
        // A digit without a call begins a number.
        if let KeyCode::Char(digit @ ('0'..='9' | '+' | '*' | '#')) = code {
            view.mode = Mode::Dial(digit.to_string());
        }
        return Wish::Nothing;
    };
    let call = current.call;
    let wish = match code {
        KeyCode::Char('a') | KeyCode::Enter if waits_for_answer(current) => Command::Answer { call },
        KeyCode::Char('r') if waits_for_answer(current) => Command::Decline { call },
        KeyCode::Char('h') | KeyCode::Backspace => Command::Hangup { call },
        KeyCode::Char('o') if current.phase == CallPhase::Established => {
            Command::Hold { call, on: !current.on_hold }
        }
        // The others of the conference hear this call, and it them.
        KeyCode::Char('c') if current.phase == CallPhase::Established => {
            Command::Conference { call, on: !current.in_conference }
        }
        KeyCode::Char('m') => {
            Command::Mute { call, direction: MuteDirection::Microphone, on: !current.microphone_muted }
        }
        KeyCode::Char(digit @ ('0'..='9' | '*' | '#' | 'A'..='D'))
            if current.phase == CallPhase::Established =>
        {
            Command::Dtmf { call, digits: digit.to_string() }
        }
        _ => return Wish::Nothing,
    };
    Wish::Command(wish)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wakeline_user_agent::{CallId, Event};

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    fn call(number: u64, phase: &str) -> Event {
        serde_json::from_value(serde_json::json!({
            "event": "call-changed",
            "call": number, "account": 0, "external_id": "2ed6657d-e927-568b-95e1-2665a8aea6a2", "wake_id": null,
            "direction": "incoming", "phase": phase, "peer": "sip:bob@example.org", "peer_name": "Bob\u{1b}[2J",
            "on_hold": false, "held_by_peer": false, "microphone_muted": false, "speaker_muted": false,
            "encryption": "srtp", "codec": "opus", "media_flows": false
        }))
        .unwrap()
    }

    fn typed(view: &mut View, text: &str) -> Wish {
        let mut wish = Wish::Nothing;
        for character in text.chars() {
            let code = if character == '\n' { KeyCode::Enter } else { KeyCode::Char(character) };
            wish = press(view, key(code));
        }
        wish
    }

    #[test]
    fn an_address_is_typed_and_dialled() {
        let mut view = View::default();
        let dial = |to: &str| Wish::Command(Command::Dial { account: AccountId(0), to: to.to_owned() });
        assert_eq!(typed(&mut view, "dsip:q@a.example\n"), dial("sip:q@a.example"));
        assert_eq!(view.mode, Mode::Keys);
        assert_eq!(typed(&mut view, "+361\n"), dial("+361"), "a number needs no key before it");
        assert_eq!(typed(&mut view, "d  \n"), Wish::Nothing);
        typed(&mut view, "dab");
        press(&mut view, key(KeyCode::Backspace));
        assert_eq!(view.mode, Mode::Dial("a".to_owned()));
        press(&mut view, key(KeyCode::Esc));
        assert_eq!(typed(&mut view, "q"), Wish::Quit);
    }

    #[test]
    fn a_pasted_link_is_followed_and_a_provider_is_answered() {
        let mut view = View::default();
        let link = "https://v.example/p/77777777777777777777777777";
        let wish = Wish::Command(Command::Provision { account: AccountId(0), link: link.into() });
        assert_eq!(typed(&mut view, &format!("d{link}\n")), wish);
        assert_eq!(typed(&mut view, "y"), Wish::Nothing, "nobody asks");
        let asks: Event = serde_json::from_value(serde_json::json!({
            "event": "provisioning", "account": 0, "step": "consent-wanted",
            "host": "v.example", "name": null, "settings": { "username": "mia" }, "left_out": []
        }))
        .unwrap();
        view.take(&asks);
        assert!(view.log.iter().any(|line| line.contains("v.example")));
        let agreed = Wish::Command(Command::Consent { account: AccountId(0), agreed: true });
        assert_eq!(typed(&mut view, "y"), agreed);
        assert_eq!(typed(&mut view, "n"), Wish::Nothing, "once");
    }

    #[test]
    fn keys_follow_the_phase_of_the_call() {
        let one = CallId(1);
        for (phase, character, wish) in [
            ("ringing", 'a', Some(Command::Answer { call: one })),
            ("announced", 'a', Some(Command::Answer { call: one })),
            ("ringing", 'r', Some(Command::Decline { call: one })),
            ("established", 'a', None),
            ("established", 'r', None),
            ("alerting", 'h', Some(Command::Hangup { call: one })),
            ("established", 'o', Some(Command::Hold { call: one, on: true })),
            ("ringing", 'o', None),
            (
                "established",
                'm',
                Some(Command::Mute { call: one, direction: MuteDirection::Microphone, on: true }),
            ),
            ("established", '5', Some(Command::Dtmf { call: one, digits: "5".to_owned() })),
            ("ringing", '5', None),
        ] {
            let mut view = View::default();
            view.take(&call(1, phase));
            let expected = wish.map_or(Wish::Nothing, Wish::Command);
            assert_eq!(typed(&mut view, &character.to_string()), expected, "{phase} {character}");
        }
    }

    #[test]
    fn the_ringing_call_is_meant_until_another_is_chosen() {
        let mut view = View::default();
        view.take(&call(1, "established"));
        view.take(&call(2, "ringing"));
        view.take(&call(3, "established"));
        assert_eq!(typed(&mut view, "a"), Wish::Command(Command::Answer { call: CallId(2) }));
        press(&mut view, key(KeyCode::Up));
        assert_eq!(typed(&mut view, "h"), Wish::Command(Command::Hangup { call: CallId(1) }));
        press(&mut view, key(KeyCode::Up));
        assert_eq!(view.current().map(|call| call.call), Some(CallId(1)), "there is none above the first");
    }

    #[test]
    fn a_key_without_a_call_does_nothing() {
        for character in ['a', 'r', 'h', 'o', 'm'] {
            assert_eq!(typed(&mut View::default(), &character.to_string()), Wish::Nothing);
        }
        let mut release = key(KeyCode::Char('q'));
        release.kind = KeyEventKind::Release;
        assert_eq!(press(&mut View::default(), release), Wish::Nothing);
        let end = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        let mut view = View::default();
        typed(&mut view, "dx");
        assert_eq!(press(&mut view, end), Wish::Quit);
    }
}
