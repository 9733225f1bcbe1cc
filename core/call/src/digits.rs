//! Digits by INFO: `application/dtmf-relay` and `application/dtmf`, both ways. No RFC defines them; every PBX knows them.

use bytes::Bytes;
use wakeline_sip_message::{Message, Method};

use crate::config::InfoDigits;
use crate::context::Recipe;

/// What an INFO carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    /// A digit, or `R` for a hook flash.
    Digit(char),
    /// No body.
    Nothing,
    /// The right type, but no digit.
    Unreadable,
    /// Another type.
    Foreign,
}

/// How long a digit is said to last, in milliseconds.
const DURATION: u32 = 160;

pub(crate) fn read(request: &Message) -> Read {
    if request.body().is_empty() {
        return Read::Nothing;
    }
    let kind = request.content_type_text().unwrap_or("").split(';').next().unwrap_or("").trim();
    let text = core::str::from_utf8(request.body()).unwrap_or("");
    let found = if kind.eq_ignore_ascii_case("application/dtmf-relay") {
        relayed(text)
    } else if kind.eq_ignore_ascii_case("application/dtmf") {
        digit_of(text.lines().next().unwrap_or(""))
    } else {
        return Read::Foreign;
    };
    found.map_or(Read::Unreadable, Read::Digit)
}

fn relayed(text: &str) -> Option<char> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once('=')?;
        name.trim().eq_ignore_ascii_case("signal").then(|| digit_of(value)).flatten()
    })
}

/// A digit as peers write it: itself, the event number of RFC 4733, or a word for the hook flash.
fn digit_of(text: &str) -> Option<char> {
    let text = text.trim();
    match text {
        "10" => return Some('*'),
        "11" => return Some('#'),
        "16" => return Some('R'),
        "12" => return Some('A'),
        "13" => return Some('B'),
        "14" => return Some('C'),
        "15" => return Some('D'),
        _ if text.eq_ignore_ascii_case("hf") || text.eq_ignore_ascii_case("flash") || text == "!" => {
            return Some('R');
        }
        _ => {}
    }
    let mut letters = text.chars();
    let letter = letters.next()?.to_ascii_uppercase();
    (letters.next().is_none() && is_digit(letter)).then_some(letter)
}

/// What can be sent.
pub(crate) fn is_digit(letter: char) -> bool {
    letter.is_ascii_digit() || matches!(letter, '*' | '#' | 'A'..='D' | 'R')
}

pub(crate) fn write(style: InfoDigits, digit: char) -> Recipe {
    let mut recipe = Recipe::bare(Method::Info);
    let name = if digit == 'R' { "hf".to_owned() } else { digit.to_string() };
    recipe.body = Some(match style {
        InfoDigits::Relay => {
            let body = format!("Signal={name}\r\nDuration={DURATION}\r\n");
            ("application/dtmf-relay", Bytes::from(body))
        }
        InfoDigits::Plain => ("application/dtmf", Bytes::from(name)),
    });
    recipe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kind: &str, body: &str) -> Message {
        let text = format!(
            "INFO sip:a@a SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 INFO\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(text.into()).unwrap()
    }

    #[test]
    fn both_forms_are_read() {
        for (kind, body, wanted) in [
            ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", Read::Digit('5')),
            ("application/dtmf-relay; x=y", "Signal= #\nDuration= 250", Read::Digit('#')),
            ("APPLICATION/DTMF-RELAY", "signal=10\r\n", Read::Digit('*')),
            ("application/dtmf-relay", "Signal=hf\r\n", Read::Digit('R')),
            ("application/dtmf-relay", "Duration=160\r\n", Read::Unreadable),
            ("application/dtmf-relay", "Signal=55\r\n", Read::Unreadable),
            ("application/dtmf", "9", Read::Digit('9')),
            ("application/dtmf", "d\r\n", Read::Digit('D')),
            ("application/dtmf", "x", Read::Unreadable),
            ("text/plain", "5", Read::Foreign),
            ("application/dtmf", "", Read::Nothing),
        ] {
            assert_eq!(read(&info(kind, body)), wanted, "{kind} {body:?}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for style in [InfoDigits::Relay, InfoDigits::Plain] {
            for digit in "0123456789*#ABCDR".chars() {
                let (kind, body) = write(style, digit).body.unwrap();
                let message = info(kind, core::str::from_utf8(&body).unwrap());
                assert_eq!(read(&message), Read::Digit(digit), "{style:?}");
            }
        }
    }
}
